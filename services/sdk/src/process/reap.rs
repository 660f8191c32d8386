//! One child: its handle right after the start, the wait for its death, its status.
//!
//! What it deliberately does not do: lock. `register` and `look` are called under the table's lock.
#![expect(
    clippy::disallowed_methods,
    reason = "this is where the table looks, each program by its own pidfd"
)]

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions, pidfd_open, waitid};
use tokio::io::Interest;

use super::error::StartError;
use super::exit::{Cause, Exit, ExitStatus, StopCause};
use super::proc_fs::{self, Identity};
use super::reactor::register as watch_fd;
use super::table::ProcessTable;

/// Ends when the child has been reaped, by whomever.
pub(super) async fn watch(table: ProcessTable, pid: i32, pidfd: Arc<OwnedFd>) {
    if let Err(error) = died(pidfd.clone()).await {
        // The reactor is out of memory or watches: rare enough to spend a blocking thread on it.
        tracing::warn!(pid, %error, "a child cannot be watched by the reactor");
        let blocking = move || {
            let mut fds = [PollFd::new(&pidfd, PollFlags::IN)];
            while rustix::event::poll(&mut fds, None).is_err_and(|error| error == Errno::INTR) {}
        };
        // Fails only when the runtime ends.
        let _ = table.runtimes().spawn_blocking(blocking).await;
    }
    table.reap(pid);
}

/// Resolves when the process is dead, reaped or not.
pub(super) async fn died(pidfd: Arc<OwnedFd>) -> io::Result<()> {
    let fd = watch_fd(pidfd, Interest::READABLE)?;
    // A pidfd becomes readable once, for good.
    let _ready = fd.readable().await?;
    Ok(())
}

/// A handle and the start time of a child that was just started. Without a handle it is ended again.
pub(super) fn register(pid: Pid) -> Result<(Identity, OwnedFd), StartError> {
    let raw = pid.as_raw_nonzero().get();
    match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(pidfd) => {
            // Not yet reaped, so it is in /proc; without /proc the start time is 0 and fits no other process.
            let start = proc_fs::stat(raw).map_or(0, |stat| stat.identity.start);
            Ok((Identity { pid: raw, start }, pidfd))
        }
        Err(error) => {
            // Ours and not reaped, so these reach nobody else.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            let _ = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED);
            Err(StartError::System { step: "watch the new process", source: error.into() })
        }
    }
}

/// The exit of a child, taken from the system, or None while it runs.
pub(super) fn look(pidfd: &OwnedFd, stopped: Option<StopCause>) -> Option<Exit> {
    let by_stop = |otherwise| stopped.map_or(otherwise, Cause::Stopped);
    loop {
        return match waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED | WaitIdOptions::NOHANG) {
            Ok(None) => None,
            Ok(Some(status)) => Some(match (status.exit_status(), status.terminating_signal()) {
                (Some(code), _) => {
                    Exit { status: ExitStatus::Code(code), cause: by_stop(Cause::Exited), core_dumped: false }
                }
                (None, Some(signal)) => Exit {
                    status: ExitStatus::Signal(signal),
                    cause: by_stop(Cause::Signalled),
                    core_dumped: status.dumped(),
                },
                (None, None) => return None,
            }),
            Err(Errno::INTR) => continue,
            // Somebody else in this process waited for our child: a fault, but no reason to invent a status.
            Err(error) => {
                tracing::error!(%error, "the exit status of a child was lost");
                Some(Exit { status: ExitStatus::Unknown, cause: Cause::Unknown, core_dumped: false })
            }
        };
    }
}
