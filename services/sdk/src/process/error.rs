//! The errors of this module, each with the facts a reader needs.
//!
//! What it deliberately does not do: carry payloads or environments, which may hold secrets.

use std::io;
use std::os::fd::RawFd;
use std::path::PathBuf;

use nix::errno::Errno;

use crate::error::printable;

use crate::limits::{MAX_MAPPED_FD, STDIN_TOTAL_BYTES};

/// Why a program was not started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The argument list is empty.
    #[error("exec: no command")]
    NoCommand,
    /// An argument, a variable or the folder holds a NUL, which no program can be given.
    #[error("exec: {what} contains a NUL byte")]
    Nul {
        /// Which of them.
        what: &'static str,
    },
    /// The name of a variable is empty or holds `=`.
    #[error("exec: environment variable name {name:?} is empty or contains \"=\"")]
    VariableName {
        /// The name.
        name: String,
    },
    /// A bare name is in no folder of the program's `PATH`.
    #[error("exec: {program:?}: executable file not found in $PATH")]
    NotInPath {
        /// The name.
        program: String,
    },
    /// The file cannot be run; `reason` is the system's word for it.
    #[error("exec: {program:?}: {}", reason_text(*reason))]
    Program {
        /// As given.
        program: String,
        /// What the system said.
        reason: Errno,
    },
    /// The file is there, but the interpreter its first line or header names is not.
    #[error("exec: {program:?}: its interpreter was not found: no such file or directory")]
    Interpreter {
        /// As given.
        program: String,
    },
    /// The system lets this container or user run no more processes.
    #[error(
        "exec: {program:?}: the limit of processes of this container or user is reached; end some and start it again"
    )]
    NoProcesses {
        /// As given.
        program: String,
    },
    /// It is to run as somebody else, and the agent may not change users.
    #[error(
        "exec: {program:?}: cannot run it as {user}: the agent runs as uid {own}, and only root changes users; start the \
         agent as root, or leave the user out"
    )]
    NotRoot {
        /// As given.
        program: String,
        /// As whom.
        user: String,
        /// The agent's own user.
        own: u32,
    },
    /// It is to run as somebody else or with `no_new_privs`, and the table has nothing that does that.
    #[error(
        "exec: {program:?}: another user or no_new_privs takes a launcher, and this agent was built without one; leave \
         them out"
    )]
    NoLauncher {
        /// As given.
        program: String,
    },
    /// What would have started it cannot be started itself.
    #[error("exec: {program:?}: its launcher cannot be executed: {}; is /proc mounted?", reason_text(*reason))]
    Launcher {
        /// As given.
        program: String,
        /// What the system said.
        reason: Errno,
    },
    /// The working folder cannot be used.
    #[error("chdir {}: {}", printable(&cwd.to_string_lossy()), reason_text(*reason))]
    Cwd {
        /// The folder.
        cwd: PathBuf,
        /// What the system said.
        reason: Errno,
    },
    /// Two descriptors for one number, or a number below 3 or above `MAX_MAPPED_FD`.
    #[error("exec: descriptor {fd} is mapped twice or is not within 3 to {MAX_MAPPED_FD}")]
    Descriptor {
        /// The number.
        fd: RawFd,
    },
    /// The table is full.
    #[error("exec: {limit} programs are running, which is the limit")]
    TooMany {
        /// The limit.
        limit: usize,
    },
    /// The agent is ending.
    #[error("exec: the agent is shutting down")]
    ShuttingDown,
    /// No terminal could be opened.
    #[error("exec: cannot open a terminal: {reason}")]
    Terminal {
        /// The system's reason.
        reason: String,
    },
    /// Pipes, pidfd or registration failed for lack of descriptors or memory.
    #[error("exec: cannot {step}: {source}")]
    System {
        /// What was tried.
        step: &'static str,
        /// The system's reason.
        source: io::Error,
    },
}

impl StartError {
    /// The exit code a shell gives for it: 127 if the program was not found, else 126.
    pub fn shell_code(&self) -> i32 {
        match self {
            Self::NotInPath { .. } | Self::Interpreter { .. } => 127,
            Self::Program { reason, .. } if *reason == Errno::ENOENT => 127,
            _ => 126,
        }
    }
}

/// The system's word for an error number in the form clients compare with: lower case, no number.
fn reason_text(reason: Errno) -> String {
    reason.desc().to_lowercase()
}

/// Why the program does not run in the launcher's place.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LaunchError {
    /// Somebody else than the agent has started it.
    #[error(
        "launch is for the agent itself, from which it gets its orders; to run a command as another user, use pid1 exec \
         --user"
    )]
    NoOrders,
    /// The system does not let it become that user.
    #[error(
        "cannot run {program:?} {how}: {step} failed: {}; give the agent's container the capabilities SETUID and SETGID \
         and these numbers of users and groups, or choose another user",
        reason_text(*reason)
    )]
    Rights {
        /// The file.
        program: String,
        /// As whom.
        how: String,
        /// What was tried.
        step: &'static str,
        /// What the system said.
        reason: Errno,
    },
    /// The system does not let this user execute the file.
    #[error("cannot run {program:?} {how}: {}; {}", reason_text(*reason), remedy(*reason))]
    Program {
        /// The file.
        program: String,
        /// As whom.
        how: String,
        /// What the system said.
        reason: Errno,
    },
}

impl LaunchError {
    /// The exit status that a shell gives for it; 1 for what is no start at all.
    pub fn status(&self) -> u8 {
        match self {
            Self::NoOrders => 1,
            Self::Program { reason: Errno::ENOENT, .. } => 127,
            Self::Rights { .. } | Self::Program { .. } => 126,
        }
    }
}

fn remedy(reason: Errno) -> &'static str {
    match reason {
        Errno::EACCES | Errno::EPERM => {
            "let this user read and execute it and enter every folder above it, or choose another user"
        }
        // The agent has seen the file.
        Errno::ENOENT => "put it back, or the interpreter that its first line or header names",
        Errno::EAGAIN => "this user runs as many processes as it may: end some and start it again",
        Errno::ENOEXEC => "a script needs a first line such as #!/bin/sh",
        Errno::E2BIG => "give it fewer or shorter arguments and variables",
        _ => "see to that and start it again",
    }
}

/// Why input was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StdinError {
    /// The program closed its input or is gone, or `close` was called.
    #[error("the program's input is closed")]
    Closed,
    /// Too much is waiting; try again when `room` resolves.
    #[error(
        "the program does not read its input, and its buffer is full: stop the program, or wait until it reads"
    )]
    Full,
    /// `STDIN_TOTAL_BYTES` are waiting for all programs together: `STDIN_ALWAYS_BYTES` at a time are still taken.
    #[error("programs of this agent leave {} MiB of input unread together", STDIN_TOTAL_BYTES >> 20)]
    Crowded,
}

/// Why a signal was not sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SignalError {
    /// The program has ended; what it left behind is reached by `stop`.
    #[error("cannot signal process {pid}: it has exited")]
    Exited {
        /// Its former pid.
        pid: i32,
    },
    /// There is no terminal, or it is closed.
    #[error("cannot signal the foreground of process {pid}: it has no open terminal")]
    NoTerminal {
        /// Its pid.
        pid: i32,
    },
    /// The system refused.
    #[error("cannot signal process {pid}: {}", reason_text(*reason))]
    System {
        /// Its pid.
        pid: i32,
        /// What the system said.
        reason: Errno,
    },
}

/// Why a terminal was not read or changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TerminalError {
    /// The program runs with pipes, or its terminal is closed.
    #[error("the program has no open terminal")]
    Closed,
    /// The system refused.
    #[error("cannot {step} the terminal: {source}")]
    System {
        /// What was tried.
        step: &'static str,
        /// What the system said.
        source: io::Error,
    },
}
