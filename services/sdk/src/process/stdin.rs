//! A program's input: taken at once where the kernel has room, queued where not, never waited for.
//!
//! A key stroke is written in the caller's own step, which is the shortest way to its echo. Only what the kernel does not
//! take goes into the queue, which a task drains on the bulk runtime and which ends with it. What it deliberately does
//! not do: block, or keep what has been written.

mod state;

use std::collections::VecDeque;
use std::future::Future;
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::{Buf, Bytes};
use rustix::event::{PollFd, PollFlags, Timespec};
use tokio::io::Interest;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::error::StdinError;
use super::lock;
use super::reactor::register;
use super::terminal::Terminal;
use crate::limits::{
    STDIN_ALWAYS_BYTES, STDIN_BUFFER_BYTES, STDIN_HOLD_BYTES, STDIN_PATIENCE, STDIN_TOTAL_BYTES,
};
use crate::runtimes::Runtimes;
use state::State;

/// Half of what the kernel has room for of a terminal's input.
const TERMINAL_MUCH_BYTES: u64 = 2048;

/// A program's input. Clones share it.
#[derive(Clone)]
pub struct Stdin {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    /// Wakes those who wait for room.
    room: Notify,
    /// Wakes the draining task when the input is abandoned.
    abandoned: Notify,
    terminal: Option<Terminal>,
    runtimes: Runtimes,
}

impl Stdin {
    /// `total` counts what the inputs of all programs hold.
    pub(super) fn new(
        target: Arc<OwnedFd>,
        terminal: Option<Terminal>,
        runtimes: Runtimes,
        total: Arc<AtomicUsize>,
    ) -> Self {
        Self {
            shared: Arc::new(Shared {
                state: Mutex::new(State {
                    target: Some(target),
                    queue: VecDeque::new(),
                    queued: 0,
                    accepted: 0,
                    closing: false,
                    draining: false,
                    within_line: false,
                    written: 0,
                    taken: 0,
                    taken_at: Instant::now(),
                    lately: (Instant::now(), 0),
                    pipe: terminal.is_none(),
                    total,
                    charged: 0,
                }),
                room: Notify::new(),
                abandoned: Notify::new(),
                terminal,
                runtimes,
            }),
        }
    }

    /// Takes all of `bytes`, or nothing.
    ///
    /// # Errors
    /// `Full` if more than `STDIN_BUFFER_BYTES` would wait (a larger message is taken if nothing else waits); `Crowded` if
    /// more than `STDIN_TOTAL_BYTES` would for all programs together, and more than `STDIN_ALWAYS_BYTES` for this one;
    /// `Closed` after `close`, or once the program no longer reads.
    pub fn push(&self, bytes: Bytes) -> Result<(), StdinError> {
        self.take(bytes, |state, more| state.queued > 0 && state.queued + more > STDIN_BUFFER_BYTES)
    }

    /// As `push`, for who is not told when there is room, and does not send again: whatever comes is taken while at most
    /// `STDIN_HOLD_BYTES` wait.
    ///
    /// # Errors
    /// As `push`; `Full` at once if more waits and the program has taken nothing for `STDIN_PATIENCE`.
    pub(crate) fn type_in(&self, bytes: Bytes) -> Result<(), StdinError> {
        self.take(bytes, |state, more| {
            state.queued > STDIN_HOLD_BYTES && (state.stuck() || state.queued + more > STDIN_BUFFER_BYTES)
        })
    }

    fn take(&self, mut bytes: Bytes, full: impl FnOnce(&State, usize) -> bool) -> Result<(), StdinError> {
        let mut state = lock(&self.shared.state);
        let Some(target) = state.target.clone().filter(|_| !state.closing) else {
            return Err(StdinError::Closed);
        };
        if state.queued > 0 || self.key_is_buried(&state, &bytes) {
            self.signal(&mut state, &mut bytes);
            self.write(&mut state, &target)?;
        }
        if state.queued == 0 {
            // Whatever waits from now on has not waited before.
            state.taken_at = Instant::now();
        }
        let (length, queued) = (bytes.len(), state.queued + bytes.len());
        if length == 0 {
            return Ok(());
        }
        if full(&state, length) {
            return Err(StdinError::Full);
        }
        let total = state.total.load(Ordering::Relaxed) + length;
        if queued > STDIN_ALWAYS_BYTES && total > STDIN_TOTAL_BYTES {
            return Err(StdinError::Crowded);
        }
        let within_line = !matches!(bytes.last(), Some(b'\n' | b'\r'));
        state.queue.push_back(bytes);
        state.queued = queued;
        self.write(&mut state, &target)?;
        state.accepted += length as u64;
        state.note_lately(length as u64);
        state.within_line = within_line;
        self.drain_rest(&mut state);
        Ok(())
    }

    /// Whether there may be a key that signals among `bytes` and so much is unread on the terminal that it would not get there:
    /// the kernel looks at what it has room for only. What it was given just now it may not have counted yet.
    fn key_is_buried(&self, state: &State, bytes: &[u8]) -> bool {
        let Some(terminal) = &self.shared.terminal else { return false };
        let much = || state.lately() >= TERMINAL_MUCH_BYTES || terminal.unread() >= TERMINAL_MUCH_BYTES;
        let signals = |byte: &u8| matches!(byte, 0x01..=0x1f) && !b"\r\n\t\x1b\x08".contains(byte);
        bytes.iter().any(signals) && much()
    }

    /// A key that interrupts, behind input that the program does not read, would never reach it. So what waits is dropped
    /// and the signal sent, as the kernel itself does it with what it holds.
    fn signal(&self, state: &mut State, bytes: &mut Bytes) {
        let Some(terminal) = &self.shared.terminal else { return };
        let Some((at, signal)) = terminal.signal_key(bytes) else { return };
        state.queue.clear();
        state.queued = 0;
        state.within_line = false;
        bytes.advance(at + 1);
        terminal.interrupt(signal);
    }

    /// Hands over what the kernel takes.
    fn write(&self, state: &mut State, target: &OwnedFd) -> Result<(), StdinError> {
        if state.write(target).is_err() {
            self.lose(state);
            return Err(StdinError::Closed);
        }
        state.charge();
        if state.queued == 0 {
            self.shared.room.notify_waiters();
        }
        Ok(())
    }

    /// Whether the program has a terminal that makes a signal of a key among `bytes`: then `push` takes them past all
    /// that waits, which is dropped.
    pub fn interrupted_by(&self, bytes: &[u8]) -> bool {
        self.shared.terminal.as_ref().is_some_and(|terminal| terminal.signal_key(bytes).is_some())
    }

    /// How many bytes wait for the program.
    pub fn queued_bytes(&self) -> usize {
        lock(&self.shared.state).queued
    }

    /// Whether a message of any size would be taken now, or refused as `Closed`.
    pub fn has_room(&self) -> bool {
        let state = lock(&self.shared.state);
        state.queued == 0 || state.closing || state.target.is_none()
    }

    /// Resolves when the queue is empty or the input is closed: then `push` does not answer `Full`, unless another
    /// writer was faster.
    pub fn room(&self) -> impl Future<Output = ()> + Send + 'static + use<> {
        let stdin = self.clone();
        async move {
            loop {
                let mut room = pin!(stdin.shared.room.notified());
                room.as_mut().enable();
                if stdin.has_room() {
                    return;
                }
                room.await;
            }
        }
    }

    /// Resolves when there is room, or the program has taken nothing for `STDIN_PATIENCE`: who waits for it holds up
    /// others.
    pub(crate) fn room_or_stuck(&self) -> impl Future<Output = ()> + Send + 'static + use<> {
        let stdin = self.clone();
        async move {
            let mut room = pin!(stdin.room());
            while let Some(patience_ends) = stdin.patience_ends() {
                tokio::select! {
                    () = &mut room => return,
                    () = sleep_until(patience_ends) => {}
                }
            }
        }
    }

    /// When who waits for room need wait no longer, if the program takes nothing until then. None for now.
    fn patience_ends(&self) -> Option<Instant> {
        let mut state = lock(&self.shared.state);
        let target = state.target.clone()?;
        self.write(&mut state, &target).ok()?;
        (state.queued > 0 && !state.stuck()).then(|| state.taken_at + STDIN_PATIENCE)
    }

    /// Ends the input after what is queued: the program reads end of file.
    ///
    /// A terminal has no end of file of its own; a program on it gets the terminal's end-of-input character (^D), twice
    /// within a line, if the terminal collects lines, and nothing in raw mode. Either way nothing more is taken.
    pub fn close(&self) {
        let mut state = lock(&self.shared.state);
        if state.closing || state.target.is_none() {
            return;
        }
        state.closing = true;
        if let Some(terminal) = &self.shared.terminal
            && let Some(code) = terminal.end_of_input()
        {
            let count = if state.within_line { 2 } else { 1 };
            state.queued += count;
            state.queue.push_back(Bytes::from(vec![code; count]));
        }
        if let Some(target) = state.target.clone().filter(|_| !state.draining)
            && state.write(&target).is_err()
        {
            self.lose(&mut state);
            return;
        }
        self.drain_rest(&mut state);
        state.close_if_done();
        drop(state);
        self.shared.room.notify_waiters();
    }

    /// Whether `close` was called or the program no longer reads.
    pub fn closed(&self) -> bool {
        let state = lock(&self.shared.state);
        state.closing || state.target.is_none()
    }

    /// How many bytes have been taken since the start: the offset of the next.
    pub fn accepted(&self) -> u64 {
        lock(&self.shared.state).accepted
    }

    /// Closes at once and drops what is queued.
    pub(super) fn abandon(&self) {
        self.lose(&mut lock(&self.shared.state));
    }

    /// Closes a pipe that nobody is left to read, so that an exited program that is still listed costs no descriptor.
    /// A background child of it may still read, so this is asked at the exit and again at the end of the output; at the
    /// exit under the table's lock, because a program that is just being started has a copy of all pipes for a moment.
    pub(super) fn abandon_if_unread(&self) {
        let target = lock(&self.shared.state).target.clone();
        if target.is_some_and(|target| has_no_reader(&target)) {
            self.abandon();
        }
    }

    fn lose(&self, state: &mut State) {
        state.target = None;
        state.queue = VecDeque::new();
        state.queued = 0;
        state.charge();
        self.shared.room.notify_waiters();
        self.shared.abandoned.notify_one();
    }

    /// Starts the draining task if something is queued and none runs.
    fn drain_rest(&self, state: &mut State) {
        if state.draining || state.queued == 0 {
            return;
        }
        state.draining = true;
        let stdin = self.clone();
        self.shared.runtimes.spawn_bulk(async move { stdin.drain().await });
    }

    async fn drain(&self) {
        let target = lock(&self.shared.state).target.clone();
        if let Some(target) = target
            && let Err(error) = self.drain_into(&target).await
        {
            tracing::debug!(%error, "the program no longer reads its input");
            self.abandon();
        }
        let mut state = lock(&self.shared.state);
        state.draining = false;
        // Pushed between the last look and this lock.
        self.drain_rest(&mut state);
        state.close_if_done();
        drop(state);
        self.shared.room.notify_waiters();
    }

    async fn drain_into(&self, target: &Arc<OwnedFd>) -> std::io::Result<()> {
        // A duplicate, because the pump of a terminal has the master itself in the reactor.
        let copy = rustix::io::fcntl_dupfd_cloexec(target, 3)?;
        let fd = register(Arc::new(copy), Interest::WRITABLE)?;
        loop {
            let mut ready = tokio::select! {
                ready = fd.writable() => ready?,
                () = self.shared.abandoned.notified() => return Ok(()),
            };
            let mut state = lock(&self.shared.state);
            if state.target.is_none() {
                return Ok(());
            }
            state.write(fd.get_ref())?;
            state.charge();
            if state.queued == 0 {
                return Ok(());
            }
            ready.clear_ready();
        }
    }
}

/// Whether nobody is left to read what is written into this pipe.
fn has_no_reader(pipe: &OwnedFd) -> bool {
    let mut fds = [PollFd::new(pipe, PollFlags::empty())];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    rustix::event::poll(&mut fds, Some(&now)).is_ok() && fds[0].revents().contains(PollFlags::ERR)
}
