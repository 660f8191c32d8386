//! What the local side does to a remote program: types, signals, resizes, leaves. Kept until the agent has it, so that
//! it outlives a connection.
//!
//! Input has byte offsets: what was not yet taken is sent again on the next connection, and the agent drops what it
//! has. Signals are sent again if the answer is missing, so one may arrive twice, but none is lost. Of sizes the last
//! counts. What this deliberately does not do: connect, or wait for the network.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::pin::pin;
use std::rc::Rc;

use bytes::{Buf, Bytes};
use pid1_sdk::api::{ProcessSignal, ProcessStdin, ResizeTerm, command::Body};
use tokio::sync::Notify;

use super::ClientError;

/// Input kept here: half of what the agent keeps for a program that does not read.
const INPUT_BYTES: usize = 512 << 10;

/// Typed pieces are joined up to this size while they wait, so that a thousand key strokes are not a thousand buffers.
const JOIN_BYTES: usize = 4 << 10;

/// Signals that wait for a connection; more are as good as these.
const SIGNALS: usize = 16;

/// The `ref` of every message of input.
pub(super) const INPUT: &str = "stdin";

/// The `ref` of every signal.
pub(super) const SIGNAL: &str = "signal";

/// How to leave a program before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leave {
    /// It runs on, for as long as it is kept.
    Detach,
    /// It is stopped, and nothing of it is kept.
    Close,
}

/// The local side's hold on a [`Remote`](super::Remote). Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Controls {
    shared: Rc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: RefCell<State>,
    /// There is something to send.
    wake: Notify,
    /// Something has changed: there may be room for more input.
    room: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// Input that was not yet taken.
    pieces: VecDeque<Bytes>,
    /// The offset of the first of it.
    taken: u64,
    queued_bytes: usize,
    /// How many of the pieces were sent on this connection.
    sent: usize,
    /// Where each message ends that is not answered yet.
    unanswered: VecDeque<u64>,
    /// One was not taken whole: when all are answered, it goes on from what was taken.
    again: bool,
    /// Where it was so the last time.
    refused_at: Option<u64>,
    eof: bool,
    eof_sent: bool,
    /// Nobody wants more input.
    over: bool,
    signals: VecDeque<i32>,
    signals_sent: usize,
    size: Option<(u16, u16)>,
    size_sent: bool,
    leave: Option<Leave>,
    started: bool,
    ended: bool,
    away: bool,
}

impl Controls {
    /// Types. What nobody wants any more is dropped, as by a closed pipe.
    pub fn type_in(&self, bytes: Bytes) {
        self.change(|state| state.type_in(bytes));
    }

    /// Ends the input behind what was typed.
    pub fn end_input(&self) {
        self.change(|state| state.eof = true);
    }

    /// Resolves when there is room for more input. Cancel-safe.
    pub async fn room(&self) {
        loop {
            let mut room = pin!(self.shared.room.notified());
            room.as_mut().enable();
            if self.shared.state.borrow().queued_bytes < INPUT_BYTES {
                return;
            }
            room.await;
        }
    }

    /// Sends a signal by its number.
    pub fn signal(&self, signal: i32) {
        self.change(|state| {
            if state.signals.len() < SIGNALS {
                state.signals.push_back(signal);
            }
        });
    }

    /// Says the size of the window; said again on each new connection.
    pub fn resize(&self, rows: u16, cols: u16) {
        self.change(|state| (state.size, state.size_sent) = (Some((rows, cols)), false));
    }

    /// Leaves; the first who says how decides.
    pub fn leave(&self, how: Leave) {
        self.change(|state| state.leave = state.leave.or(Some(how)));
    }

    /// Whether the connection has been lost for long enough to be told.
    pub fn away(&self) -> bool {
        self.shared.state.borrow().away
    }

    /// Whether the program was ever reached.
    pub fn started(&self) -> bool {
        self.shared.state.borrow().started
    }

    /// Whether the program has come to its end.
    pub fn ended(&self) -> bool {
        self.shared.state.borrow().ended
    }

    /// Resolves when the agent has every signal. Cancel-safe.
    pub async fn signals_delivered(&self) {
        loop {
            let mut change = pin!(self.shared.room.notified());
            change.as_mut().enable();
            if self.shared.state.borrow().signals.is_empty() {
                return;
            }
            change.await;
        }
    }

    /// How the local side wants to leave, once it does. Cancel-safe.
    pub(super) async fn leaving(&self) -> Leave {
        loop {
            let wake = self.shared.wake.notified();
            if let Some(how) = self.shared.state.borrow().leave {
                return how;
            }
            wake.await;
        }
    }

    pub(super) fn left(&self) -> Option<Leave> {
        self.shared.state.borrow().leave
    }

    /// Something to send, or a reason to leave, may be there now. Cancel-safe.
    pub(super) async fn news(&self) {
        self.shared.wake.notified().await;
    }

    pub(super) fn set_ended(&self) {
        self.shared.state.borrow_mut().ended = true;
    }

    pub(super) fn set_away(&self, away: bool) {
        self.shared.state.borrow_mut().away = away;
    }

    /// A new connection follows the program: what was sent and not taken is sent again.
    pub(super) fn connected_at(&self, stdin_taken: u64) -> Result<(), ClientError> {
        let fits = self.change(|state| {
            state.started = true;
            let end = state.taken + state.queued_bytes as u64;
            if !state.over && !(state.taken..=end).contains(&stdin_taken) {
                return false;
            }
            state.forget_until(stdin_taken);
            (state.sent, state.signals_sent, state.again, state.refused_at) = (0, 0, false, None);
            (state.eof_sent, state.size_sent) = (false, false);
            state.unanswered.clear();
            true
        });
        match fits {
            true => Ok(()),
            false => Err(ClientError::Refused(format!(
                "the agent no longer knows how much of our input it has taken ({stdin_taken} bytes, it says); \
                 attach again"
            ))),
        }
    }

    /// We only look on.
    pub(super) fn never_types(&self) {
        self.change(State::end);
    }

    /// A message of input was answered.
    pub(super) fn taken(&self, offset: u64) {
        self.change(|state| {
            let end = state.unanswered.pop_front().unwrap_or_default();
            state.forget_until(offset);
            state.again |= state.taken < end;
            state.go_back();
        });
    }

    /// A message of input was refused: behind one that was not taken, or for good. Whether it was for good.
    pub(super) fn refused(&self) -> bool {
        self.change(|state| {
            state.unanswered.pop_front();
            state.again = true;
            if state.unanswered.is_empty() && state.refused_at.replace(state.taken) == Some(state.taken) {
                state.end();
                return true;
            }
            state.go_back();
            false
        })
    }

    /// A signal was answered.
    pub(super) fn signalled(&self) {
        self.change(|state| {
            state.signals.pop_front();
            state.signals_sent = state.signals_sent.saturating_sub(1);
        });
    }

    /// The next message, with its `ref`.
    pub(super) fn next_message(&self) -> Option<(Body, &'static str)> {
        self.shared.state.borrow_mut().next_message()
    }

    fn change<T>(&self, edit: impl FnOnce(&mut State) -> T) -> T {
        let done = edit(&mut self.shared.state.borrow_mut());
        self.shared.wake.notify_one();
        self.shared.room.notify_waiters();
        done
    }
}

impl State {
    fn type_in(&mut self, bytes: Bytes) {
        if self.over || self.eof || bytes.is_empty() {
            return;
        }
        self.queued_bytes += bytes.len();
        let unsent = self.pieces.len() > self.sent;
        match self.pieces.back_mut().filter(|last| unsent && last.len() + bytes.len() <= JOIN_BYTES) {
            Some(last) => *last = [&last[..], &bytes[..]].concat().into(),
            None => self.pieces.push_back(bytes),
        }
    }

    /// Everything below `offset` is safe with the agent.
    fn forget_until(&mut self, offset: u64) {
        while let Some(first) = self.pieces.front_mut().filter(|_| self.taken < offset) {
            let safe = usize::try_from(offset - self.taken).map_or(first.len(), |n| n.min(first.len()));
            first.advance(safe);
            self.taken += safe as u64;
            self.queued_bytes -= safe;
            if first.is_empty() {
                self.pieces.pop_front();
                self.sent = self.sent.saturating_sub(1);
            }
        }
    }

    /// Once every message is answered and one was not taken, sends on from what was taken.
    fn go_back(&mut self) {
        if self.again && self.unanswered.is_empty() {
            (self.again, self.sent, self.eof_sent) = (false, 0, false);
        }
    }

    fn end(&mut self) {
        self.over = true;
        self.pieces.clear();
        (self.queued_bytes, self.sent, self.again) = (0, 0, false);
    }

    fn next_message(&mut self) -> Option<(Body, &'static str)> {
        if let Some((rows, cols)) = self.size.filter(|_| !std::mem::replace(&mut self.size_sent, true)) {
            let size = ResizeTerm { rows: rows.into(), cols: cols.into() };
            return Some((Body::ResizeTerm(size), ""));
        }
        if let Some(&signal) = self.signals.get(self.signals_sent) {
            self.signals_sent += 1;
            return Some((Body::ProcessSignal(ProcessSignal { signal }), SIGNAL));
        }
        if self.again || self.over {
            return None;
        }
        let before: usize = self.pieces.iter().take(self.sent).map(Bytes::len).sum();
        let offset = self.taken + before as u64;
        let (data, eof) = match self.pieces.get(self.sent) {
            Some(piece) => (piece.clone(), false),
            None if self.eof && !self.eof_sent => (Bytes::new(), true),
            None => return None,
        };
        if eof {
            self.eof_sent = true;
        } else {
            self.sent += 1;
        }
        self.unanswered.push_back(offset + data.len() as u64);
        Some((Body::ProcessStdin(ProcessStdin { offset: Some(offset), data, eof }), INPUT))
    }
}
