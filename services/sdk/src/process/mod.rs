//! The one way to run a program: with a terminal or with pipes, its input and output with offsets, its exit status.
//!
//! Read in this order: `spec` (what is asked for), `table` (start, list, reap), `handle` (what a holder may do),
//! `log` with `pump` and `shelf` (output), `stdin` (input), `stop` with `proc_fs` (ending a whole family), `record` (what a
//! killed agent left behind), `account` with `launch` (running as somebody else); `heir` is for an init without an agent.
//! `spawn` is the only file with `unsafe`.
//!
//! What it deliberately does not do: know sessions, channels, roles or any wire protocol; parse output; wait for
//! children that are not its own.

mod account;
mod config;
mod ending;
mod error;
mod exit;
mod handle;
pub mod heir;
mod holders;
pub mod launch;
mod listed;
mod log;
mod log_state;
mod memory;
mod plumbing;
mod proc_fs;
mod pump;
mod rate;
mod reactor;
mod reader;
mod reap;
pub mod record;
mod search;
mod shelf;
mod signal;
mod spawn;
mod spec;
mod spill;
mod start;
mod stdin;
mod stop;
mod table;
mod terminal;

pub use account::{Account, AccountError};
pub use config::TableConfig;
pub use error::{LaunchError, SignalError, StartError, StdinError, TerminalError};
pub use exit::{Cause, Exit, ExitStatus, StopCause};
pub use handle::Process;
pub use log::OutputLog;
pub use nix::sys::signal::Signal;
pub use reader::{Hold, Item, LogReader};
pub(crate) use search::DEFAULT_PATH;
pub use shelf::Kept;
pub use signal::{Ignored, SignalNumber};
pub use spec::{Discard, Io, Keep, ProcessId, Spec, Stream, WindowSize};
pub(crate) use spill::nameless_file;
pub use stdin::Stdin;
pub use table::ProcessTable;

#[cfg(test)]
mod tests;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks although another holder panicked: every holder in this module leaves the data whole at each step, and one
/// panic must not end all programs of all clients.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
