//! Moves a program's output into its log: one task per stream, no thread, no pause.
//!
//! A pump reads until the kernel has no more or a bound is reached and appends that at once, so the first byte is never
//! delayed. A busy stream's pump lives on the bulk runtime. What it deliberately does not do: know who reads the log, or
//! read while a holding reader lags.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::io::Errno;
use tokio::io::Interest;
use tokio::io::unix::AsyncFdReadyGuard;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until, timeout};

use super::log::{OutputLog, Turn};
use super::rate::Rate;
use super::reactor::register;
use super::stdin::Stdin;
use super::terminal::Terminal;
use crate::limits::{
    BUSY_PIPE_BYTES, BUSY_PIPE_READ_BYTES, PIPE_READ_BYTES, QUIET_PIPE_BYTES, TERMINAL_DRAIN_BYTES,
    TERMINAL_READ_BYTES,
};
use crate::runtimes::Runtimes;

/// One stream's way into its log.
pub(super) struct Pump {
    source: Arc<OwnedFd>,
    log: OutputLog,
    /// Set if the stream is a terminal: its other holders let go of it when the stream ends.
    terminal: Option<Terminal>,
    stdin: Stdin,
    big_pipes: Arc<Semaphore>,
    runtimes: Runtimes,
    rate: Rate,
    buffer: Vec<u8>,
    big: Option<OwnedSemaphorePermit>,
}

/// Why a pump left its runtime.
enum Leave {
    Done,
    Move,
}

/// What one drain came to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Drained {
    /// The kernel has no more at present.
    Empty,
    /// A bound was reached; there may be more.
    Bound,
    /// End of file, a hang-up, or an error.
    End,
}

impl Pump {
    pub(super) fn new(
        source: Arc<OwnedFd>,
        log: OutputLog,
        terminal: Option<Terminal>,
        stdin: Stdin,
        big_pipes: Arc<Semaphore>,
        runtimes: Runtimes,
    ) -> Self {
        Self {
            source,
            log,
            terminal,
            stdin,
            big_pipes,
            runtimes,
            rate: Rate::new(Instant::now()),
            buffer: Vec::new(),
            big: None,
        }
    }

    /// Runs the pump as a task on the runtime that its rate asks for, and again on the other when that changes.
    pub(super) fn launch(mut self) {
        let busy = self.rate.busy();
        let runtimes = self.runtimes.clone();
        let task = async move {
            self.log.set_busy(busy);
            match self.run().await {
                Ok(Leave::Move) => self.launch(),
                Ok(Leave::Done) => self.end(),
                Err(error) => {
                    tracing::warn!(%error, "output can no longer be read");
                    self.end();
                }
            }
        };
        if busy {
            runtimes.spawn_bulk(task);
        } else {
            runtimes.spawn(task);
        }
    }

    async fn run(&mut self) -> std::io::Result<Leave> {
        if self.rate.busy() {
            self.raise_pipe();
        } else {
            self.lower_pipe();
        }
        let log = self.log.clone();
        // Re-made in each runtime: a registration belongs to one reactor.
        let fd = register(self.source.clone(), Interest::READABLE)?;
        let mut ready = None;
        loop {
            // It can fail on what is no stream at all; then there is nothing to be read.
            log.answer_written(|| rustix::io::ioctl_fionread(&*self.source).unwrap_or_default());
            let (leader_exited, closing) = match log.turn() {
                Turn::Read { leader_exited, closing } => (leader_exited, closing),
                Turn::Wait => {
                    self.buffer = Vec::new();
                    log.shared.pump.notified().await;
                    continue;
                }
                Turn::Linger(patience) => {
                    self.buffer = Vec::new();
                    let since = Instant::now();
                    // Either way the next turn is what counts.
                    let _ = timeout(patience, log.shared.pump.notified()).await;
                    log.lingered(since.elapsed());
                    continue;
                }
                Turn::HangUp => {
                    self.drain();
                    log.append(&mut self.buffer);
                    return Ok(Leave::Done);
                }
            };
            let drained = self.drain();
            let bytes = self.buffer.len();
            if log.append(&mut self.buffer) {
                log.spill().await;
            }
            if drained == Drained::End {
                return Ok(Leave::Done);
            }
            if self.rate.count(bytes, Instant::now()) {
                return Ok(Leave::Move);
            }
            if drained == Drained::Bound {
                // Others on this runtime, the readers of this very log among them, get their turn.
                tokio::task::yield_now().await;
                continue;
            }
            if leader_exited {
                log.settle();
            }
            if closing {
                return Ok(Leave::Done);
            }
            if !self.rate.busy() {
                // A quiet stream keeps no buffer: there are hundreds of them.
                self.buffer = Vec::new();
            }
            if let Some(mut guard) = ready.take() {
                AsyncFdReadyGuard::clear_ready(&mut guard);
            }
            // All arms are cancel-safe: readiness stays until cleared, a notification stays as a permit.
            tokio::select! {
                biased;
                guard = fd.readable() => ready = Some(guard?),
                () = log.shared.pump.notified() => {}
                () = sleep_until(self.rate.window_end()), if self.rate.busy() => {}
            }
        }
    }

    /// Reads into the buffer until the kernel has no more or the buffer is at its bound.
    fn drain(&mut self) -> Drained {
        let (first, bound) = match (self.terminal.is_some(), self.rate.busy()) {
            (true, false) => (TERMINAL_READ_BYTES, TERMINAL_DRAIN_BYTES),
            (true, true) => (TERMINAL_DRAIN_BYTES, TERMINAL_DRAIN_BYTES),
            (false, false) => (PIPE_READ_BYTES, PIPE_READ_BYTES),
            (false, true) => (BUSY_PIPE_READ_BYTES, BUSY_PIPE_READ_BYTES),
        };
        loop {
            let length = self.buffer.len();
            if length >= bound {
                return Drained::Bound;
            }
            if self.buffer.capacity() < first || self.buffer.capacity() == length {
                self.buffer.reserve_exact(first.max(length).min(bound - length));
            }
            match rustix::io::read(&*self.source, rustix::buffer::spare_capacity(&mut self.buffer)) {
                Ok(0) => return Drained::End,
                Ok(_) | Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Drained::Empty,
                // A terminal whose last program is gone. What was read before stays in the buffer.
                Err(Errno::IO) if self.terminal.is_some() => return Drained::End,
                Err(error) => {
                    tracing::warn!(%error, "reading output failed");
                    return Drained::End;
                }
            }
        }
    }

    fn raise_pipe(&mut self) {
        if self.terminal.is_some() || self.big.is_some() {
            return;
        }
        let Ok(permit) = self.big_pipes.clone().try_acquire_owned() else {
            return;
        };
        // Refused when the user's quota is used up: then the pipe stays as it is.
        if rustix::pipe::fcntl_setpipe_size(&*self.source, BUSY_PIPE_BYTES).is_ok() {
            self.big = Some(permit);
        }
    }

    fn lower_pipe(&mut self) {
        // Refused only while more is in it than would fit, which a quiet stream is not; the permit then stays taken.
        if self.big.is_some() && rustix::pipe::fcntl_setpipe_size(&*self.source, QUIET_PIPE_BYTES).is_ok() {
            self.big = None;
        }
    }

    fn end(self) {
        match &self.terminal {
            Some(terminal) => {
                terminal.close();
                self.stdin.abandon();
            }
            None => self.stdin.abandon_if_unread(),
        }
        let log = self.log.clone();
        // The descriptor is closed before readers learn of the end.
        drop(self);
        log.set_busy(false);
        log.end();
    }
}
