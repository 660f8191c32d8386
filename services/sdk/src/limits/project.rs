//! Bounds of what is read and written to know how the workspace's program is run.

use super::{KIB, MIB};

/// Largest `.replit`: it is written by hand.
pub const DOT_REPLIT_BYTES: usize = MIB;

/// Changes of it in one request.
pub const DOT_REPLIT_OPS: usize = 1_024;

/// Keys of the path of one change; a third of what TOML may be nested.
pub const DOT_REPLIT_DEPTH: usize = 32;

/// How often a change of a file is made anew because somebody else has written it.
pub const EDIT_ROUNDS: u32 = 8;

/// What its variables may take together: as much as the kernel gives to one string of a program.
pub const PROJECT_ENV_BYTES: usize = 128 * KIB;

/// Entries of the root that are looked at to know the language.
pub const PROJECT_ENTRIES: usize = 4_096;

/// Files with one ending that are looked into to find the one that is the program.
pub const PROJECT_SOURCES: usize = 64;

/// How deep workflows may run each other: Replit has a bound, too.
pub const WORKFLOW_DEPTH: usize = 8;

/// Tasks of a workflow with those of all that it runs: they become one script, which is an argument of a shell.
pub const WORKFLOW_TASKS: usize = 64;

/// Largest `package.json` and the like that is looked into.
pub const PROJECT_MANIFEST_BYTES: usize = MIB;
