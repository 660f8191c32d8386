//! The one program of an init: it inherits everything, and is waited for by whoever is process 1.
//!
//! What it deliberately does not do: table, pipes, logs, threads, limits; wait. For `pid1 init` alone: whatever an agent
//! or a service starts, it starts through the `ProcessTable`.

use std::ffi::{CString, OsStr, OsString};
use std::os::fd::BorrowedFd;
use std::path::Path;

use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal};

use super::error::StartError;
use super::{search, spawn, start};

pub use super::spawn::Stand;

/// What runs a file that is executable but has no header the system knows, as `execvp` does it.
const SHELL: &str = "/bin/sh";

/// Starts `args`, found in our own `PATH`, with our environment and `mask` as its blocked signals; its pid.
///
/// # Errors
/// If there is nothing to start or it cannot be; [`StartError::shell_code`] is 127 or 126.
pub fn spawn(args: &[OsString], stand: Stand<'_>, mask: &SigSet) -> Result<i32, StartError> {
    let name = args.first().ok_or(StartError::NoCommand)?;
    let env: Vec<(OsString, OsString)> = std::env::vars_os().collect();
    // Relative to our folder, which is the program's: a script sees its own name as it was given.
    let path = search::find_as_execvp(name, &env, Path::new(""))?;
    let env: Vec<CString> =
        env.iter().map(|(name, value)| text(&[name, OsStr::new("="), value])).collect::<Result<_, _>>()?;
    let program = text(&[path.as_os_str()])?;
    let mut argv: Vec<CString> = args.iter().map(|arg| text(&[arg])).collect::<Result<_, _>>()?;
    let started = match spawn::spawn_heir(&program, &argv, &env, stand, mask) {
        Err(Errno::ENOEXEC) => {
            let shell = text(&[OsStr::new(SHELL)])?;
            argv.splice(..1, [shell.clone(), program]);
            spawn::spawn_heir(&shell, &argv, &env, stand, mask)
        }
        other => other,
    };
    match started {
        Ok(pid) => Ok(pid.as_raw_nonzero().get()),
        Err(reason) => Err(start::refusal(name.to_string_lossy().into_owned(), reason)),
    }
}

fn text(parts: &[&OsStr]) -> Result<CString, StartError> {
    start::terminated("the command or its environment", parts)
}

/// Gives up our controlling terminal, so that the program's session can have it.
///
/// # Errors
/// If it is not ours.
pub fn leave_terminal(terminal: BorrowedFd<'_>) -> Result<(), Errno> {
    spawn::leave_terminal(terminal)
}

/// Children that end stay until they are waited for, even if whoever started us ignores such ends.
///
/// # Errors
/// None that the system documents.
pub fn keep_dead_children() -> Result<(), Errno> {
    // So do those of the program.
    spawn::default_action(Signal::SIGCHLD)
}

/// Sends the signal of this number, real-time ones too, to the process `pid`, or to its group if `whole_group`.
///
/// # Errors
/// What the system says.
pub fn send(pid: i32, whole_group: bool, number: i32) -> Result<(), Errno> {
    // 0 and what is below mean something else to the system.
    let pid = if pid > 0 { pid } else { return Err(Errno::ESRCH) };
    spawn::send(if whole_group { -pid } else { pid }, number)
}
