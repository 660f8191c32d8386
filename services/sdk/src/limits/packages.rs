//! Bounds of what package managers are asked and answer.

use std::time::Duration;

use super::{KIB, MIB};

/// Requests of one channel that are not answered yet: a person has a few.
pub const PACKAGE_REQUESTS: usize = 64;

/// Questions to registries at once, for the whole agent: each is a process of some 50 to 100 MB.
pub const PACKAGE_LOOKUPS: usize = 4;

/// Packages in one request: more than a command line should name.
pub const PACKAGES_AT_ONCE: usize = 256;

/// Longest name, and longest spec, of a package.
pub const PACKAGE_WORD_BYTES: usize = KIB;

/// Largest specfile that is read: people write it.
pub const PACKAGE_FILE_BYTES: usize = MIB;

/// Most that a package manager may answer to a question; what npm knows of a package with a thousand versions is 2 MB.
pub const PACKAGE_ANSWER_BYTES: usize = 8 * MIB;

/// Source files whose imports are looked at in one request.
pub const PACKAGE_SOURCES: usize = 2_000;

/// Largest of them; larger ones are made by programs.
pub const PACKAGE_SOURCE_BYTES: usize = MIB;

/// Longest that one command of a package manager may take: what is compiled from source takes minutes, on a small machine
/// many.
pub const PACKAGE_COMMAND: Duration = Duration::from_secs(3600);

/// How long packages are still changed for people who have all left: a page that is loaded anew is back by then.
pub const PACKAGE_DESERTED: Duration = Duration::from_secs(60);
