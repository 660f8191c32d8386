//! One child: its handle right after the start, the wait for its death, its status.
//!
//! What it deliberately does not do: lock. `register`, `look` and `any` are called under the table's lock.
#![expect(
    clippy::disallowed_methods,
    reason = "this is where the table looks: each program by its own pidfd, or under its lock whoever is dead"
)]

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions, WaitOptions, pidfd_open, wait, waitid};
use tokio::io::Interest;

use super::error::StartError;
use super::exit::{Cause, Exit, ExitStatus, StopCause};
use super::proc_fs::{self, Identity};
use super::reactor::register as watch_fd;
use super::table::ProcessTable;

/// The bit of a wait status that tells of a core dump.
const CORE_DUMPED: i32 = 0x80;

/// On a busy machine a child may have run before its parent did, and started others before it had its own score. After
/// so long they are looked for: who ends sooner, as most do, need not pay for that, nor take much memory.
const SETTLED: Duration = Duration::from_millis(100);

/// Ends when the child has been reaped, by whomever.
pub(super) async fn watch(table: ProcessTable, pid: i32, pidfd: Arc<OwnedFd>) {
    let mut dead = pin!(died(pidfd.clone()));
    let early = tokio::time::timeout(SETTLED, &mut dead).await;
    if let (Err(_still_runs), Some(score)) = (&early, table.shared.config.child_oom_score) {
        let children = proc_fs::children_of(pid);
        let alive =
            rustix::event::poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&Timespec::default()));
        // Else the pid may be another's by now.
        if alive == Ok(0) {
            proc_fs::set_oom_scores(children, score);
        }
    }
    let dead = match early {
        Ok(result) => result,
        Err(_still_runs) => dead.await,
    };
    if let Err(error) = dead {
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

/// What the system says of a child that has just been reaped.
pub(super) struct Status {
    status: ExitStatus,
    core_dumped: bool,
}

impl Status {
    /// As an exit; `stopped` is who had wanted it.
    pub(super) fn exit(self, stopped: Option<StopCause>) -> Exit {
        let Status { status, core_dumped } = self;
        let by_itself = match status {
            ExitStatus::Code(_) => Cause::Exited,
            ExitStatus::Signal(_) => Cause::Signalled,
            ExitStatus::Unknown => return Exit { status, cause: Cause::Unknown, core_dumped },
        };
        Exit { status, cause: stopped.map_or(by_itself, Cause::Stopped), core_dumped }
    }
}

/// Reaps this child; None while it runs.
pub(super) fn look(pidfd: &OwnedFd) -> Option<Status> {
    loop {
        return match waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED | WaitIdOptions::NOHANG) {
            Ok(None) => None,
            Ok(Some(status)) => match (status.exit_status(), status.terminating_signal()) {
                (Some(code), _) => Some(Status { status: ExitStatus::Code(code), core_dumped: false }),
                (None, Some(signal)) => {
                    Some(Status { status: ExitStatus::Signal(signal), core_dumped: status.dumped() })
                }
                (None, None) => None,
            },
            Err(Errno::INTR) => continue,
            // Somebody else in this process waited for our child: a fault, but no reason to invent a status.
            Err(error) => {
                tracing::error!(%error, "the exit status of a child was lost");
                Some(Status { status: ExitStatus::Unknown, core_dumped: false })
            }
        };
    }
}

/// Reaps any child of this process that is dead, whosever it is.
pub(super) fn any() -> Option<(i32, Status)> {
    loop {
        return match wait(WaitOptions::NOHANG) {
            Ok(dead) => {
                let (pid, status) = dead?;
                let code = status.exit_status().map(ExitStatus::Code);
                let by_signal = || status.terminating_signal().map(ExitStatus::Signal);
                let core_dumped = status.signaled() && status.as_raw() & CORE_DUMPED != 0;
                let status = code.or_else(by_signal).unwrap_or(ExitStatus::Unknown);
                Some((pid.as_raw_nonzero().get(), Status { status, core_dumped }))
            }
            Err(Errno::INTR) => continue,
            // There are no children.
            Err(_) => None,
        };
    }
}
