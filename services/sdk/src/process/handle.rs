//! What a holder may do with a program: read its output, type, signal, resize, stop, and learn how it ended.
//!
//! What it deliberately does not do: end the program when the last handle goes; the table owns it until it is reaped.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fmt;
use std::pin::pin;
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::SystemTime;

use nix::sys::signal::killpg;
use nix::unistd::Pid;
use tokio::sync::Notify;

use super::error::{SignalError, TerminalError};
use super::exit::{Exit, StopCause};
use super::lock;
use super::log::OutputLog;
use super::proc_fs::{Identity, Kinship};
use super::signal::SignalNumber;
use super::spawn;
use super::spec::{ProcessId, Stream, WindowSize};
use super::stdin::Stdin;
use super::table::Table;
use super::terminal::Terminal;

/// A program, running or exited. Clones are the same program.
#[derive(Clone)]
pub struct Process {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) id: ProcessId,
    pub(super) leader: Identity,
    pub(super) args: Vec<OsString>,
    pub(super) label: Option<String>,
    pub(super) term_first: bool,
    pub(super) stop_descendants: bool,
    pub(super) started: SystemTime,
    pub(super) terminal: Option<Terminal>,
    /// Its logs have no file.
    pub(super) kept_in_memory: bool,
    pub(super) stdin: Stdin,
    pub(super) stdout: OutputLog,
    pub(super) stderr: Option<OutputLog>,
    pub(super) exit: OnceLock<Exit>,
    pub(super) exit_news: Notify,
    /// Set under the table's lock while the program lives, so that an exit has one cause.
    pub(super) stop_cause: OnceLock<StopCause>,
    pub(super) stop: Mutex<Stop>,
    pub(super) stop_news: Notify,
    pub(super) table: Weak<Table>,
}

/// How far stopping has come.
#[derive(Clone, Copy, Default)]
pub(super) struct Stop {
    pub(super) begun: bool,
    pub(super) without_grace: bool,
    pub(super) done: bool,
}

impl Process {
    /// Its name for the life of the table.
    pub fn id(&self) -> ProcessId {
        self.inner.id
    }

    /// Its pid; somebody else's once it has exited and time has passed.
    pub fn pid(&self) -> i32 {
        self.inner.leader.pid
    }

    /// Its argument list.
    pub fn args(&self) -> &[OsString] {
        &self.inner.args
    }

    /// The word its starter gave it.
    pub fn label(&self) -> Option<&str> {
        self.inner.label.as_deref()
    }

    /// When it was started.
    pub fn started(&self) -> SystemTime {
        self.inner.started
    }

    /// Whether it runs on a terminal.
    pub fn terminal(&self) -> bool {
        self.inner.terminal.is_some()
    }

    /// Its input.
    pub fn stdin(&self) -> &Stdin {
        &self.inner.stdin
    }

    /// One of its output streams; `Stderr` only where it was split off.
    pub fn output(&self, stream: Stream) -> Option<&OutputLog> {
        match stream {
            Stream::Stdout => Some(&self.inner.stdout),
            Stream::Stderr => self.inner.stderr.as_ref(),
        }
    }

    /// Its standard output, which it always has.
    pub fn stdout(&self) -> &OutputLog {
        &self.inner.stdout
    }

    /// How it ended, as soon as it is reaped; its output may still have to be read. Cancel-safe.
    pub async fn exited(&self) -> Exit {
        loop {
            let mut news = pin!(self.inner.exit_news.notified());
            news.as_mut().enable();
            if let Some(exit) = self.try_exit() {
                return exit;
            }
            news.await;
        }
    }

    /// How it ended, if it has.
    pub fn try_exit(&self) -> Option<Exit> {
        self.inner.exit.get().copied()
    }

    /// Sets the size of its terminal; its foreground group gets SIGWINCH if that is a change.
    ///
    /// # Errors
    /// `Closed` without an open terminal.
    pub fn resize(&self, size: WindowSize) -> Result<(), TerminalError> {
        self.open_terminal()?.resize(size)
    }

    /// The size of its terminal.
    ///
    /// # Errors
    /// `Closed` without an open terminal.
    pub fn size(&self) -> Result<WindowSize, TerminalError> {
        self.open_terminal()?.size()
    }

    /// Sends `signal` to its process group. Does not count as stopping it.
    ///
    /// # Errors
    /// `Exited` once it is reaped, `System` if it runs as somebody this agent may not signal.
    pub fn signal(&self, signal: impl Into<SignalNumber>) -> Result<(), SignalError> {
        let pid = self.pid();
        let table = self.inner.table.upgrade().ok_or(SignalError::Exited { pid })?;
        table.signal_group(&self.inner, signal.into())
    }

    /// Sends `signal` to the foreground group of its terminal, as a key on the keyboard would.
    ///
    /// # Errors
    /// `NoTerminal` without an open terminal.
    pub fn signal_foreground(&self, signal: impl Into<SignalNumber>) -> Result<(), SignalError> {
        let pid = self.pid();
        let group = self
            .open_terminal()
            .and_then(Terminal::foreground)
            .map_err(|_| SignalError::NoTerminal { pid })?;
        spawn::send(-group.as_raw_nonzero().get(), signal.into().get())
            .map_err(|reason| SignalError::System { pid, reason })
    }

    /// Puts its terminal back into the state a shell expects, like `stty sane`.
    ///
    /// # Errors
    /// `Closed` without an open terminal.
    pub fn sane(&self) -> Result<(), TerminalError> {
        self.open_terminal()?.sane()
    }

    /// With `true` its terminal passes bytes like a pipe (`stty raw icrnl isig -echo`), with `false` it is sane again.
    ///
    /// # Errors
    /// `Closed` without an open terminal.
    pub fn pipe_mode(&self, on: bool) -> Result<(), TerminalError> {
        let terminal = self.open_terminal()?;
        if on { terminal.raw_pipe() } else { terminal.sane() }
    }

    /// Begins to stop it and its family: the polite signal, the table's grace, SIGKILL; returns at once.
    ///
    /// On a terminal the family is the session, and with `stop_descendants` all descendants; else the group and all descendants. If the program has exited by itself,
    /// what it left behind is stopped. A second call changes nothing. Its output ends when the family is gone.
    pub fn stop(&self, cause: StopCause) {
        self.begin_stop(cause, false);
    }

    /// As `stop`, without the grace; cuts the grace of a `stop` short.
    pub fn kill(&self, cause: StopCause) {
        self.begin_stop(cause, true);
    }

    /// Whether a `stop` or `kill`, by whomever, has begun.
    pub fn stopping(&self) -> bool {
        lock(&self.inner.stop).begun
    }

    /// Resolves when a `stop` or `kill`, by whomever, is done. Cancel-safe.
    pub async fn stopped(&self) {
        self.wait_stop(|stop| stop.done).await;
    }

    /// Whether anything of its family still runs after its own exit: what `stop` would end. False if that cannot be told.
    pub async fn left_anything(&self) -> bool {
        match self.kinship() {
            // Cheap, and asked after every run. A number that another group has got meanwhile costs a useless `stop`.
            Kinship::Group => killpg(Pid::from_raw(self.pid()), None).is_ok(),
            kinship => {
                let Some(table) = self.inner.table.upgrade() else { return false };
                let Some(snapshot) = table.scans.fresh().await else { return false };
                !snapshot.family(self.inner.leader, kinship, &mut HashSet::new()).is_empty()
            }
        }
    }

    fn begin_stop(&self, cause: StopCause, without_grace: bool) {
        if let Some(table) = self.inner.table.upgrade() {
            table.begin_stop(self, cause, without_grace);
        }
    }

    /// Resolves when the progress of stopping is as wanted.
    pub(super) async fn wait_stop(&self, wanted: impl Fn(Stop) -> bool) {
        loop {
            let mut news = pin!(self.inner.stop_news.notified());
            news.as_mut().enable();
            if wanted(*lock(&self.inner.stop)) {
                return;
            }
            news.await;
        }
    }

    pub(super) fn kinship(&self) -> Kinship {
        match (self.terminal(), self.inner.stop_descendants) {
            (true, false) => Kinship::Session,
            (true, true) => Kinship::Tree,
            (false, _) => Kinship::Group,
        }
    }

    fn open_terminal(&self) -> Result<&Terminal, TerminalError> {
        self.inner.terminal.as_ref().ok_or(TerminalError::Closed)
    }
}

impl Inner {
    pub(super) fn logs(&self) -> impl Iterator<Item = &OutputLog> {
        std::iter::once(&self.stdout).chain(&self.stderr)
    }

    /// Makes the exit known. Called once, without a lock.
    pub(super) fn publish(&self, exit: Exit) {
        if self.exit.set(exit).is_err() {
            return;
        }
        self.exit_news.notify_waiters();
        if let Some(terminal) = &self.terminal {
            terminal.leader_exited();
        }
        for log in self.logs() {
            log.leader_exited();
        }
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process")
            .field("id", &self.inner.id)
            .field("pid", &self.pid())
            .field("exit", &self.inner.exit.get())
            .finish_non_exhaustive()
    }
}
