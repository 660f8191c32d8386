//! The one process table: starts, lists and reaps every program of the agent.
//!
//! The lock is held from before a program is started until it is registered, and around every look-and-reap: so a pid
//! under the lock is either ours and not yet reaped, or not ours. What it deliberately does not do: wait for children it
//! did not start; several tables can live in one process.

use std::collections::{HashMap, VecDeque};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::path::Path;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::SystemTime;

use nix::errno::Errno;
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;

use super::config::TableConfig;
use super::error::{SignalError, StartError};
use super::exit::{Exit, StopCause};
use super::handle::{Inner, Process, Stop};
use super::listed::Listed;
use super::lock;
use super::log::OutputLog;
use super::plumbing::{self, ChildEnds};
use super::proc_fs::{self, Identity, Scans};
use super::pump::Pump;
use super::record::{Lost, Record};
use super::signal::SignalNumber;
use super::spawn::{self, Order};
use super::spec::{Io, Keep, ProcessId, Spec};
use super::start::Prepared;
use super::stdin::Stdin;
use super::{launch, reap, stop};
use crate::limits::BUSY_PIPES;
use crate::runtimes::Runtimes;

/// The table. Clones are the same table.
#[derive(Clone)]
pub struct ProcessTable {
    pub(super) shared: Arc<Table>,
}

pub(super) struct Table {
    pub(super) state: Mutex<State>,
    pub(super) config: TableConfig,
    folder: Option<Arc<Path>>,
    pub(super) runtimes: Runtimes,
    pub(super) scans: Scans,
    big_pipes: Arc<Semaphore>,
    /// Unread input of all programs.
    stdin_bytes: Arc<AtomicUsize>,
    record: Option<Record>,
    /// Children of this process from before it took over orphans; empty until then.
    pub(super) strangers: OnceLock<Vec<Identity>>,
    /// Of the agent before this one.
    lost: Vec<Lost>,
    /// Nobody gets any more grace.
    pub(super) hurry: CancellationToken,
    /// All programs have ended, and none will be started.
    pub(super) stopped: CancellationToken,
}

#[derive(Default)]
pub(super) struct State {
    last_id: u64,
    live: HashMap<i32, Live>,
    pub(super) listed: Listed,
    recent: VecDeque<Process>,
    pub(super) closed: bool,
}

struct Live {
    process: Process,
    pidfd: Arc<OwnedFd>,
}

/// A program that was just reaped.
struct Ended {
    process: Process,
    exit: Exit,
    /// Dropped after the lock: the last handle of an old program closes files.
    evicted: Option<Process>,
}

impl ProcessTable {
    /// An empty table. A state folder that cannot be written costs the record, with a warning, not the table.
    pub fn new(runtimes: Runtimes, config: TableConfig) -> Self {
        Self::after(Vec::new(), runtimes, config)
    }

    /// The same, on the state folder of an earlier agent that left `lost`.
    pub fn after(mut lost: Vec<Lost>, runtimes: Runtimes, config: TableConfig) -> Self {
        let record = config.state_dir.as_deref().and_then(|folder| {
            Record::open(folder)
                .inspect_err(|error| tracing::warn!(%error, "started programs cannot be recorded"))
                .ok()
        });
        lost.drain(..lost.len().saturating_sub(config.exited_kept));
        let last_id = record.as_ref().map_or(0, Record::last_id);
        Self {
            shared: Arc::new(Table {
                state: Mutex::new(State { last_id, ..State::default() }),
                folder: config.state_dir.as_deref().map(Arc::from),
                config,
                scans: Scans::new(runtimes.clone()),
                runtimes,
                big_pipes: Arc::new(Semaphore::new(BUSY_PIPES)),
                stdin_bytes: Arc::default(),
                record,
                lost,
                strangers: OnceLock::new(),
                hurry: CancellationToken::new(),
                stopped: CancellationToken::new(),
            }),
        }
    }

    /// Starts a program; returns when it runs, or could not be executed.
    ///
    /// # Errors
    /// See `StartError`; nothing is left behind.
    pub fn start(&self, spec: Spec) -> Result<Process, StartError> {
        let table = &self.shared;
        let prepared = launch::through(table.config.launcher.as_deref(), &spec, Prepared::new(&spec)?)?;
        let plumbing = plumbing::open(spec.io, spec.discard)?;
        let ours = plumbing.ours;
        let log = || OutputLog::new(spec.keep.into(), table.folder.clone(), table.runtimes.clone());
        let stdin =
            Stdin::new(ours.stdin, ours.terminal.clone(), table.runtimes.clone(), table.stdin_bytes.clone());
        let stderr = (spec.io == Io::Pipes { split_stderr: true }).then(log);
        let mut inner = Inner {
            id: ProcessId(0),
            leader: Identity { pid: 0, start: 0 },
            args: spec.args,
            label: spec.label,
            term_first: spec.term_first,
            stop_descendants: spec.stop_descendants,
            started: SystemTime::now(),
            terminal: ours.terminal,
            kept_in_memory: spec.keep == Keep::Tail,
            stdin,
            stdout: log(),
            stderr,
            exit: OnceLock::new(),
            exit_news: Notify::new(),
            stop_cause: OnceLock::new(),
            stop: Mutex::new(Stop::default()),
            stop_news: Notify::new(),
            table: Arc::downgrade(table),
        };
        let mut fds: Vec<(BorrowedFd<'_>, RawFd)> = Vec::with_capacity(4 + spec.fds.len());
        let terminal = match &plumbing.child {
            ChildEnds::Terminal { path } => Some(path.as_c_str()),
            ChildEnds::Pipes { stdin, stdout, stderr } => {
                let stderr = stderr.as_ref().unwrap_or(stdout);
                fds.extend([(stdin.as_fd(), 0), (stdout.as_fd(), 1), (stderr.as_fd(), 2)]);
                None
            }
        };
        fds.extend(spec.fds.iter().chain(&prepared.orders).map(|(fd, to)| (fd.as_fd(), *to)));
        let order = Order {
            program: &prepared.program,
            args: &prepared.args,
            env: &prepared.env,
            cwd: &prepared.cwd,
            terminal,
            fds: &fds,
            nofile_soft: table.config.child_nofile_soft,
        };
        let (process, pidfd) = {
            let mut state = lock(&table.state);
            state.may_start(table.config.max_processes)?;
            let pid = spawn::spawn(&order).map_err(|reason| prepared.refused(reason))?;
            if let Some(score) = table.config.child_oom_score {
                proc_fs::set_oom_score(pid.as_raw_nonzero().get(), score);
            }
            let (leader, pidfd) = reap::register(pid)?;
            state.last_id += 1;
            inner.id = ProcessId(state.last_id);
            inner.leader = leader;
            let process = Process { inner: Arc::new(inner) };
            let pidfd = Arc::new(pidfd);
            state.insert(process.clone(), pidfd.clone());
            // Who looks at its exit whether anybody reads its input must not find us.
            drop(plumbing.child);
            // Under the lock, so that the record has the start before the end.
            if let Some(record) = &table.record {
                record.started(process.id(), leader, process.kinship());
            }
            (process, pidfd)
        };
        table.pump(&process, [ours.stdout, ours.stderr]);
        table.runtimes.spawn(reap::watch(self.clone(), process.pid(), pidfd));
        Ok(process)
    }

    /// Every program that runs, ended lately, or is held by somebody, oldest first.
    pub fn list(&self) -> Vec<Process> {
        let mut processes: Vec<Process> = lock(&self.shared.state).listed.iter().collect();
        processes.sort_unstable_by_key(Process::id);
        processes
    }

    /// The program of that name, if it is listed.
    pub fn by_id(&self, id: ProcessId) -> Option<Process> {
        lock(&self.shared.state).listed.get(id)
    }

    /// The program that has this pid, or if none runs, the last listed one that had it.
    pub fn by_pid(&self, pid: i32) -> Option<Process> {
        let state = lock(&self.shared.state);
        if let Some(live) = state.live.get(&pid) {
            return Some(live.process.clone());
        }
        state.listed.iter().filter(|process| process.pid() == pid).max_by_key(Process::id)
    }

    /// The last program that its starter called so, if one is listed.
    pub fn by_label(&self, label: &str) -> Option<Process> {
        let state = lock(&self.shared.state);
        state.listed.iter().filter(|process| process.label() == Some(label)).max_by_key(Process::id)
    }

    /// Programs that an earlier agent had started and whose end nobody saw, oldest first, as many as this table keeps of
    /// exited ones.
    pub fn lost(&self) -> &[Lost] {
        &self.shared.lost
    }

    /// How many programs run.
    pub fn live(&self) -> usize {
        lock(&self.shared.state).live.len()
    }

    pub(super) fn runtimes(&self) -> &Runtimes {
        &self.shared.runtimes
    }

    /// Looks whether the program with this pid has exited, and if so reaps it. True if the pid is one of this table's.
    pub fn reap(&self, pid: i32) -> bool {
        self.shared.reap(pid)
    }
}

impl Table {
    /// `sources` are where stdout and stderr come from, if they are not discarded.
    fn pump(&self, process: &Process, sources: [Option<Arc<OwnedFd>>; 2]) {
        let inner = &process.inner;
        for (log, source) in inner.logs().zip(sources) {
            let Some(source) = source else {
                log.end();
                continue;
            };
            Pump::new(
                source,
                log.clone(),
                inner.terminal.clone(),
                inner.stdin.clone(),
                self.big_pipes.clone(),
                self.runtimes.clone(),
            )
            .launch();
        }
    }

    pub(super) fn reap(&self, pid: i32) -> bool {
        let ended = {
            let mut state = lock(&self.state);
            let Some(live) = state.live.get(&pid) else {
                return false;
            };
            let Some(status) = reap::look(&live.pidfd) else {
                return true;
            };
            state.end(pid, status, self.config.exited_kept)
        };
        self.publish(ended);
        true
    }

    pub(super) fn reap_any(&self) -> bool {
        let ended = {
            let mut state = lock(&self.state);
            let Some((pid, status)) = reap::any() else {
                return false;
            };
            state.end(pid, status, self.config.exited_kept)
        };
        self.publish(ended);
        true
    }

    /// Makes the end of a program known; without the lock.
    fn publish(&self, ended: Option<Ended>) {
        let Some(Ended { process, exit, evicted }) = ended else { return };
        if let Some(record) = &self.record {
            record.ended(process.inner.leader);
        }
        process.inner.publish(exit);
        drop(evicted);
    }

    pub(super) fn signal_group(&self, inner: &Inner, signal: SignalNumber) -> Result<(), SignalError> {
        let pid = inner.leader.pid;
        // Under the lock the leader, dead or alive, keeps its pid, so the group cannot be another's.
        let state = lock(&self.state);
        let live = state.live.get(&pid).filter(|live| live.process.id() == inner.id);
        if live.is_none() {
            return Err(SignalError::Exited { pid });
        }
        let sent = match spawn::send(-pid, signal.get()) {
            // It has moved to another group, which only a program that is not a session leader can do.
            Err(Errno::ESRCH) => spawn::send(pid, signal.get()),
            other => other,
        };
        sent.map_err(|reason| SignalError::System { pid, reason })
    }

    pub(super) fn begin_stop(self: &Arc<Self>, process: &Process, cause: StopCause, without_grace: bool) {
        // If it has just exited by itself, that is the cause.
        self.reap(process.pid());
        {
            let state = lock(&self.state);
            let live = state.live.get(&process.pid());
            if live.is_some_and(|live| live.process.id() == process.id()) {
                // A second cause comes too late.
                let _ = process.inner.stop_cause.set(cause);
            }
        }
        let begin = {
            let mut stop = lock(&process.inner.stop);
            stop.without_grace |= without_grace;
            !std::mem::replace(&mut stop.begun, true)
        };
        process.inner.stop_news.notify_waiters();
        if begin {
            let grace = self.config.stop_grace;
            self.runtimes.spawn(stop::run(self.clone(), process.clone(), grace));
        }
    }
}

impl State {
    fn may_start(&self, limit: usize) -> Result<(), StartError> {
        if self.closed {
            return Err(StartError::ShuttingDown);
        }
        if self.live.len() >= limit {
            return Err(StartError::TooMany { limit });
        }
        Ok(())
    }

    fn insert(&mut self, process: Process, pidfd: Arc<OwnedFd>) {
        self.listed.insert(&process);
        self.live.insert(process.pid(), Live { process, pidfd });
    }

    /// Takes a dead child that was just reaped out of the table; None if it was an orphan.
    fn end(&mut self, pid: i32, status: reap::Status, exited_kept: usize) -> Option<Ended> {
        let process = self.live.remove(&pid)?.process;
        let exit = status.exit(process.inner.stop_cause.get().copied());
        if !process.terminal() {
            process.inner.stdin.abandon_if_unread();
        }
        // A log with a file is kept by its holders only: nobody may ever ask for its gigabyte again.
        if process.inner.kept_in_memory {
            self.recent.push_back(process.clone());
        }
        let evicted = (self.recent.len() > exited_kept).then(|| self.recent.pop_front()).flatten();
        Some(Ended { process, exit, evicted })
    }
}

impl std::fmt::Debug for ProcessTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProcessTable").field("live", &self.live()).finish_non_exhaustive()
    }
}
