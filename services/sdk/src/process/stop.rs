//! Ends a program and its family: polite signal, grace, SIGKILL to what is left.
//!
//! Members are found in /proc and signalled through pidfds whose start time was checked, so a reused pid is never hit.
//! Waiting is for pidfds, not for time: when nobody is left the grace is over. What cannot be told to be of a family (a
//! daemon that left group, session and parent) is ended with the agent only, by [`rest`].

use std::collections::HashSet;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::Signal;
use rustix::process::{Pid, PidfdFlags, pidfd_open, pidfd_send_signal};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use super::handle::Process;
use super::lock;
use super::proc_fs::{self, Identity, Kinship, Scans, Stat};
use super::reap::died;
use super::signal::Ignored;
use super::table::Table;
use crate::limits::{KILL_ROUNDS, KILL_WAIT};
use crate::runtimes::Runtimes;

/// Stops one program of the table; the task behind `Process::stop`.
pub(super) async fn run(table: Arc<Table>, process: Process, grace: Duration) {
    let inner = &process.inner;
    let mut family = Family::new(&table.scans, &table.runtimes, inner.leader, process.kinship());
    if inner.term_first && !Ignored::by(inner.leader.pid.unsigned_abs()).has(Signal::SIGTERM) {
        family.ask_by_term();
    }
    let soft = family.soft_signals();
    let hurry = process.wait_stop(|stop| stop.without_grace);
    if !lock(&inner.stop).without_grace {
        let deadline = Instant::now() + grace;
        match family.signal(soft).await {
            Some(members) => {
                if let Some(terminal) = inner.terminal.as_ref().filter(|_| soft.contains(&Signal::SIGHUP)) {
                    terminal.close();
                    inner.stdin.abandon();
                    inner.stdout.hang_up();
                }
                tokio::select! {
                    () = family.gone(members, deadline) => {}
                    () = hurry => {}
                }
            }
            // Without /proc only the group can be reached, and only while its leader is ours.
            None => {
                for signal in soft {
                    let _ = table.signal_group(inner, (*signal).into());
                }
                tokio::select! {
                    _ = timeout_at(deadline, process.exited()) => {}
                    () = hurry => {}
                }
            }
        }
    }
    if !family.kill().await {
        let _ = table.signal_group(inner, Signal::SIGKILL.into());
    }
    // Dead by now, unless it sits in the kernel; its own watcher reaps it, whenever that is.
    if timeout_at(Instant::now() + KILL_WAIT, process.exited()).await.is_err() {
        tracing::warn!(pid = inner.leader.pid, "a killed process has not ended");
    }
    // Whoever still has the other end is not of the family; the output of this program ends here.
    for log in inner.logs() {
        log.close();
    }
    inner.stdin.abandon();
    lock(&inner.stop).done = true;
    inner.stop_news.notify_waiters();
}

/// Ends who is left when all programs of the table have ended: daemons of theirs that this process has become the parent
/// of, or as process 1 everybody else. `strangers` are spared, with all they started. `hurry` ends the grace.
pub(super) async fn rest(table: &Table, strangers: &[Identity], grace: Duration, hurry: &CancellationToken) {
    let who = Who::Rest { strangers: strangers.to_vec() };
    let mut rest = Family { scans: &table.scans, runtimes: &table.runtimes, who };
    let deadline = Instant::now() + grace;
    if !hurry.is_cancelled()
        && let Some(members) = rest.signal(rest.soft_signals()).await
    {
        tokio::select! {
            () = rest.gone(members, deadline) => {}
            () = hurry.cancelled() => {}
        }
    }
    rest.kill().await;
}

/// Processes that are ended together, over several looks.
pub(super) struct Family<'a> {
    scans: &'a Scans,
    runtimes: &'a Runtimes,
    who: Who,
}

enum Who {
    /// A leader and everybody who belongs to it.
    Kin { leader: Identity, kinship: Kinship, known: HashSet<Identity>, by_term: bool },
    /// Everybody who is left to this process.
    Rest { strangers: Vec<Identity> },
}

/// Members of a family that were there at one look.
pub(super) struct Members {
    /// Handles of those who can be waited for.
    handles: Vec<Arc<OwnedFd>>,
    /// How many there were.
    pub(super) count: usize,
}

impl Members {
    pub(super) fn none() -> Self {
        Self { handles: Vec::new(), count: 0 }
    }
}

impl<'a> Family<'a> {
    pub(super) fn new(scans: &'a Scans, runtimes: &'a Runtimes, leader: Identity, kinship: Kinship) -> Self {
        Self { scans, runtimes, who: Who::Kin { leader, kinship, known: HashSet::new(), by_term: false } }
    }

    /// Its leader is no shell.
    fn ask_by_term(&mut self) {
        if let Who::Kin { by_term, .. } = &mut self.who {
            *by_term = true;
        }
    }

    /// An interactive shell ignores TERM but not HUP, which to a daemon without a terminal means something else: of the
    /// rest only those on terminals of others (`docker exec`) get it. CONT wakes a suspended program, which could not
    /// react otherwise.
    pub(super) fn soft_signals(&self) -> &'static [Signal] {
        match self.who {
            Who::Kin { kinship: Kinship::Session | Kinship::Tree, by_term: false, .. } => {
                &[Signal::SIGHUP, Signal::SIGCONT]
            }
            Who::Kin { .. } => &[Signal::SIGTERM, Signal::SIGCONT],
            Who::Rest { .. } => &[Signal::SIGTERM, Signal::SIGHUP, Signal::SIGCONT],
        }
    }

    /// Looks who is there and sends each of them `signals`; None if /proc cannot be read.
    pub(super) async fn signal(&mut self, signals: &'static [Signal]) -> Option<Members> {
        let snapshot = self.scans.fresh().await?;
        let mut members = match &mut self.who {
            Who::Kin { leader, kinship, known, .. } => snapshot.family(*leader, *kinship, known),
            Who::Rest { strangers } => snapshot.rest(strangers),
        };
        if signals == self.soft_signals() {
            // Parents before their children, as far as start times tell: a shell whose program was ended first would go on
            // with its next command.
            members.sort_unstable_by_key(|member| (member.start, member.pid));
        }
        let is_rest = matches!(self.who, Who::Rest { .. });
        let work = move || {
            let count = members.len();
            if signals.contains(&Signal::SIGKILL) && count > 1 {
                // First everybody stands still: nobody acts on another's death, or multiplies meanwhile.
                for member in &members {
                    reach(*member, &[Signal::SIGSTOP], |_, _| true);
                }
            }
            let concerns = |stat: &Stat, signal| !is_rest || signal != Signal::SIGHUP || stat.terminal;
            let handles = members.into_iter().filter_map(|member| reach(member, signals, concerns));
            Members { handles: handles.map(Arc::new).collect(), count }
        };
        self.runtimes.spawn_blocking(work).await.ok()
    }

    /// Returns when nobody is left, at the latest at the deadline.
    pub(super) async fn gone(&mut self, mut members: Members, deadline: Instant) {
        while members.count > 0 {
            if members.handles.is_empty() {
                // No descriptor is to be had to wait with.
                tokio::time::sleep_until(deadline).await;
                return;
            }
            if !wait_all(members.handles, deadline).await {
                return;
            }
            // Started while we looked, by one who is dead now: it gets its signal too. What a signalled program starts to
            // clean up is not met here, because its parent is still waited for. Every round waits for living ones, so
            // this is no spinning.
            match self.signal(self.soft_signals()).await {
                Some(left) => members = left,
                None => return,
            }
        }
    }

    /// Kills everybody, and who is started meanwhile; false if /proc cannot be read.
    pub(super) async fn kill(&mut self) -> bool {
        for _ in 0..KILL_ROUNDS {
            let Some(members) = self.signal(&[Signal::SIGKILL]).await else {
                return false;
            };
            if members.count == 0 {
                return true;
            }
            wait_all(members.handles, Instant::now() + KILL_WAIT).await;
        }
        tracing::warn!("a family of processes outlives SIGKILL");
        true
    }
}

/// Waits until all are dead; false if the deadline came first.
async fn wait_all(handles: Vec<Arc<OwnedFd>>, deadline: Instant) -> bool {
    for handle in handles {
        match timeout_at(deadline, died(handle)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "cannot wait for a process"),
            Err(_) => return false,
        }
    }
    true
}

/// A handle of exactly this process, after sending it those of the `signals` that concern it; None if it is gone or
/// there is no descriptor left, in which case it got them by number right after its start time was looked at.
fn reach(member: Identity, signals: &[Signal], concerns: impl Fn(&Stat, Signal) -> bool) -> Option<OwnedFd> {
    let look = || proc_fs::stat(member.pid).filter(|stat| stat.identity == member);
    match pidfd_open(Pid::from_raw(member.pid)?, PidfdFlags::empty()) {
        Ok(handle) => {
            // Looked at after the handle was opened: the same start time means the handle is this process's.
            let stat = look()?;
            for signal in signals.iter().filter(|signal| concerns(&stat, **signal)) {
                // It may be dead already, or somebody else's by now (setuid), which `kill` reports by its count.
                let _ = send(&handle, *signal);
            }
            Some(handle)
        }
        Err(rustix::io::Errno::SRCH) => None,
        Err(_) => {
            if let Some(stat) = look() {
                for signal in signals.iter().filter(|signal| concerns(&stat, **signal)) {
                    let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(member.pid), *signal);
                }
            }
            None
        }
    }
}

/// Sends through a handle, which cannot hit another process.
pub(super) fn send(handle: impl AsFd, signal: Signal) -> Result<(), Errno> {
    let signal = rustix::process::Signal::from_named_raw(signal as i32).ok_or(Errno::EINVAL)?;
    pidfd_send_signal(handle, signal).map_err(|error| Errno::from_raw(error.raw_os_error()))
}
