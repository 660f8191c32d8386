//! What a caller asks for: program, environment, folder, terminal or pipes, and how much output is kept.
//!
//! What it deliberately does not do: fill in defaults from the agent's own environment; the caller gives the whole.

use std::ffi::OsString;
use std::fmt;
use std::os::fd::{OwnedFd, RawFd};
use std::path::PathBuf;

use super::account::Account;
use super::error::StartError;
use super::search;

/// A program to start.
#[derive(Debug)]
pub struct Spec {
    /// The argument list; the first is also the program, searched in the `PATH` of `env` if it has no slash.
    pub args: Vec<OsString>,
    /// The whole environment: nothing is inherited.
    pub env: Vec<(OsString, OsString)>,
    /// The working folder; must exist. A relative one is taken from the agent's.
    pub cwd: PathBuf,
    /// Terminal or pipes.
    pub io: Io,
    /// Further descriptors, each with the number the program finds it at (3 to `MAX_MAPPED_FD`). Closed here after the start.
    pub fds: Vec<(OwnedFd, RawFd)>,
    /// What of its output nobody wants.
    pub discard: Discard,
    /// How much output is remembered.
    pub keep: Keep,
    /// A word for lists, such as the name of a shell; not interpreted.
    pub label: Option<String>,
    /// On a terminal: that it is asked to end by TERM, as a server in the foreground expects, and its terminal stays as
    /// long as it has time. One that ignores TERM, as shells do, is hung up like any other.
    pub term_first: bool,
    /// On a terminal: that stopping it reaches what it has started in sessions of its own, as pipes have it. A shell's
    /// daemons outlive it on purpose.
    pub stop_descendants: bool,
    /// Who it runs as, if not as the agent; `env` is not changed by that.
    pub account: Option<Account>,
    /// That neither it nor what it starts gains rights by executing a file: setuid bits and the like do nothing.
    pub no_new_privs: bool,
}

impl Spec {
    /// A program with pipes, an empty environment, the root folder and a `Tail` log: the least a start needs.
    pub fn new<A: Into<OsString>>(args: impl IntoIterator<Item = A>) -> Self {
        Self {
            args: args.into_iter().map(Into::into).collect(),
            env: Vec::new(),
            cwd: PathBuf::from("/"),
            io: Io::Pipes { split_stderr: false },
            fds: Vec::new(),
            discard: Discard::default(),
            keep: Keep::Tail,
            label: None,
            term_first: false,
            stop_descendants: false,
            account: None,
            no_new_privs: false,
        }
    }

    /// The absolute path of the file that would be run, as the program's own `PATH` and folder have it.
    ///
    /// # Errors
    /// If there is none, or it may not be run.
    pub fn program(&self) -> Result<PathBuf, StartError> {
        search::find(self.args.first().ok_or(StartError::NoCommand)?, &self.env, &self.cwd)
    }
}

/// What the program has as its first three descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Io {
    /// A terminal of its own, in a session of its own.
    Terminal(WindowSize),
    /// Pipes, in a process group of its own. Stdin is always a pipe.
    Pipes {
        /// Whether stderr is a stream of its own; otherwise it shares the pipe of stdout.
        split_stderr: bool,
    },
}

/// Output that goes to /dev/null: nothing of it is read or kept, and its log is empty and at its end from the start. On a
/// terminal nothing is discarded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Discard {
    /// Standard output, and with it stderr where that is not split off.
    pub stdout: bool,
    /// Standard error, also where it would share the pipe of stdout.
    pub stderr: bool,
}

/// How much output is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// The last `TAIL_BYTES`, in memory.
    Tail,
    /// `REPLAY_MEMORY_BYTES` in memory, then `REPLAY_FILE_BYTES` in an unlinked file, then the oldest goes.
    Replay,
}

/// Size of a terminal in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowSize {
    /// Lines.
    pub rows: u16,
    /// Characters in a line.
    pub cols: u16,
}

impl Default for WindowSize {
    /// What terminals have had since there were any, until a client says its own.
    fn default() -> Self {
        Self { rows: 24, cols: 80 }
    }
}

impl WindowSize {
    /// What a client asked for, within what the kernel can hold; 0 would make programs divide by it.
    pub fn clamped(rows: u32, cols: u32) -> Self {
        let side = |wanted: u32| u16::try_from(wanted.max(1)).unwrap_or(u16::MAX);
        Self { rows: side(rows), cols: side(cols) }
    }
}

/// One of a program's output streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stream {
    /// Standard output; of a terminal and of merged pipes everything.
    Stdout,
    /// Standard error, where it is split off.
    Stderr,
}

/// Names a program for the life of its table; never used twice, unlike a pid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProcessId(pub u64);

impl fmt::Display for ProcessId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
