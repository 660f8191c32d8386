//! What waits to be sent to one session: bounded in bytes, fair between its channels, never waited on by an actor.
//!
//! Every channel that the session is a member of has a *lane*. A lane keeps its order; between lanes small goes
//! before bulk, so an echo does not queue behind a flood. Lane 0 (control) goes before all others. A lane is opened
//! by the very message that tells the client of the channel and closed by the one that ends it, so nothing can be
//! sent on a channel before or after: frames for a lane that is not open are dropped here, in one place.
//!
//! The outbox knows no socket. A door takes [`Batch`]es and says how many bytes its socket took.

mod lanes;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::{Notify, Semaphore, SemaphorePermit};

use crate::identity::ChannelId;
use crate::limits;
use lanes::Lanes;

/// One encoded message on its way out, shared by all its receivers.
#[derive(Clone, Debug)]
pub struct Frame {
    /// The bytes: an encoded `Command`, or, if `framed`, bytes of the door's own protocol.
    pub bytes: Bytes,
    /// The rest of the same message, if it is long: it is sent from where it is, not copied behind the beginning.
    pub tail: Bytes,
    /// True for what the door framed itself (pings, pongs, close): it goes out as it is.
    pub framed: bool,
}

impl From<Bytes> for Frame {
    fn from(bytes: Bytes) -> Self {
        Frame { bytes, tail: Bytes::new(), framed: false }
    }
}

impl Frame {
    /// Length of the whole message.
    pub fn size_bytes(&self) -> usize {
        self.bytes.len() + self.tail.len()
    }

    fn cost_bytes(&self) -> usize {
        self.size_bytes() + limits::FRAME_COST_BYTES
    }
}

/// Why an outbox takes nothing more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// An orderly end: what is queued still goes out, then the connection closes with this code and reason.
    Close {
        /// A WebSocket close code; other doors translate it.
        code: u16,
        /// What the client is told.
        reason: String,
    },
    /// The session took too little for too long; what was queued is gone.
    TooSlow(String),
    /// The connection is gone.
    Gone,
}

/// The outbox of one session. Cheap to share; all methods are safe from any thread.
#[derive(Debug)]
pub struct Outbox {
    state: Mutex<State>,
    /// Wakes the one writer.
    frames: Notify,
    /// Wakes everybody who waits for room.
    room: Notify,
    /// How many wait for room on behalf of somebody else.
    awaited: AtomicUsize,
    /// Whose turn it is to send one large message.
    large: Semaphore,
    hard_mark_bytes: usize,
}

/// Somebody else's output waits for this session while this lives.
#[derive(Debug)]
pub struct Awaited<'a>(&'a Outbox);

impl Drop for Awaited<'_> {
    fn drop(&mut self) {
        self.0.awaited.fetch_sub(1, Ordering::Relaxed);
    }
}

#[derive(Debug)]
struct State {
    lanes: Lanes,
    /// Cost of everything queued or in the writer's hands.
    queued_bytes: usize,
    /// Payload bytes that the socket has taken since the session began.
    taken_bytes: u64,
    ended: Option<Ended>,
}

/// Frames in the writer's hands.
#[derive(Debug, Default)]
pub struct Batch {
    /// In sending order.
    pub frames: Vec<Frame>,
    cost_bytes: usize,
}

impl Outbox {
    /// An empty outbox for messages of at most `max_message_bytes`.
    pub fn new(max_message_bytes: usize) -> Arc<Self> {
        Arc::new(Outbox {
            state: Mutex::new(State {
                lanes: Lanes::default(),
                queued_bytes: 0,
                taken_bytes: 0,
                ended: None,
            }),
            frames: Notify::new(),
            room: Notify::new(),
            awaited: AtomicUsize::new(0),
            large: Semaphore::new(1),
            hard_mark_bytes: limits::OUTBOX_HARD_BYTES + max_message_bytes,
        })
    }

    /// Sends `frame` on `channel`. False, and nothing is sent, if the session is not (or no longer) a member of it.
    pub fn push(&self, channel: ChannelId, frame: impl Into<Frame>) -> bool {
        self.add(|state, frame| state.lanes.push(channel, frame), frame.into())
    }

    /// Answers something about `channel`, behind whatever is still queued on it: nothing overtakes its farewell.
    pub fn push_behind(&self, channel: ChannelId, frame: Bytes) {
        self.add(|state, frame| state.lanes.push_behind(channel, frame), frame.into());
    }

    /// Sends bytes that the door framed itself, before everything else.
    pub fn push_framed(&self, bytes: Bytes) {
        self.add(|state, frame| state.lanes.push_first(frame), Frame { framed: true, ..bytes.into() });
    }

    /// Tells the session of a channel: from here on it can be sent to.
    pub fn open_lane(&self, channel: ChannelId, announcement: Bytes) {
        let open = |state: &mut State, frame| {
            state.lanes.open(channel);
            state.lanes.push(ChannelId::CONTROL, frame)
        };
        self.add(open, announcement.into());
    }

    /// Ends a channel for this session at its own wish: what is still queued on it is dropped, and `farewell` is
    /// the last word about it.
    pub fn cut_lane(&self, channel: ChannelId, farewell: Bytes) {
        let cut = |state: &mut State, frame| {
            // Before the farewell is counted: whoever makes room is not given up for it.
            state.queued_bytes -= state.lanes.cut(channel, frame);
            true
        };
        self.add(cut, farewell.into());
        self.room.notify_waiters();
    }

    /// Ends a channel that ended without this session asking: what is queued goes out first, then `farewell`.
    pub fn close_lane(&self, channel: ChannelId, farewell: Bytes) {
        let close = |state: &mut State, frame| {
            state.lanes.close(channel, frame);
            true
        };
        self.add(close, farewell.into());
    }

    fn add(&self, put: impl FnOnce(&mut State, Frame) -> bool, frame: Frame) -> bool {
        let mut state = self.lock();
        let cost = frame.cost_bytes();
        if state.ended.is_some() || !put(&mut state, frame) {
            return false;
        }
        // One message may exceed the bound if it is alone: a large file must be deliverable at all.
        let alone = state.queued_bytes == 0;
        state.queued_bytes += cost;
        if state.queued_bytes > self.hard_mark_bytes && !alone {
            let reason = format!("more than {} bytes wait to be taken", self.hard_mark_bytes);
            self.end_in(state, Ended::TooSlow(reason));
        } else {
            drop(state);
            self.frames.notify_one();
        }
        true
    }

    /// Ends the outbox; the first reason given stays. After [`Ended::Close`] what is queued still goes out.
    pub fn end(&self, why: Ended) {
        self.end_in(self.lock(), why);
    }

    fn end_in(&self, mut state: MutexGuard<'_, State>, why: Ended) {
        let drop_all = !matches!(why, Ended::Close { .. });
        state.ended.get_or_insert(why);
        if drop_all {
            state.queued_bytes -= state.lanes.clear();
        }
        drop(state);
        self.frames.notify_one();
        self.room.notify_waiters();
    }

    /// Why it ended, once it has.
    pub fn ended(&self) -> Option<Ended> {
        self.lock().ended.clone()
    }

    /// Fills `batch`, waiting until there is something. False once ended and empty. One writer only. Cancel-safe:
    /// frames leave the queue only in the poll that completes.
    pub async fn next_batch(&self, batch: &mut Batch) -> bool {
        loop {
            {
                let mut state = self.lock();
                batch.cost_bytes = state.lanes.take(&mut batch.frames);
                if !batch.frames.is_empty() {
                    return true;
                }
                if state.ended.is_some() {
                    return false;
                }
            }
            self.frames.notified().await;
            // Whoever is at work already goes first: what it says in this turn goes out in the same write.
            tokio::task::yield_now().await;
        }
    }

    /// The socket took `bytes` of the current batch.
    pub fn taken(&self, bytes: usize) {
        self.lock().taken_bytes += bytes as u64;
    }

    /// The whole batch is written; it is emptied for the next.
    pub fn written(&self, batch: &mut Batch) {
        batch.frames.clear();
        let mut state = self.lock();
        state.queued_bytes -= std::mem::take(&mut batch.cost_bytes);
        drop(state);
        self.room.notify_waiters();
    }

    /// Bytes queued or being written, with bookkeeping.
    pub fn queued_bytes(&self) -> usize {
        self.lock().queued_bytes
    }

    /// Says that others wait for this session: it may then take nothing only for so long.
    pub fn awaited(&self) -> Awaited<'_> {
        self.awaited.fetch_add(1, Ordering::Relaxed);
        Awaited(self)
    }

    /// Whether its taking nothing harms: it asks for more than it takes, or others wait for it.
    pub fn owes(&self) -> bool {
        self.queued_bytes() > limits::OUTBOX_HIGH_BYTES || self.awaited.load(Ordering::Relaxed) > 0
    }

    /// Payload bytes the socket has taken so far: how a laggard is told from somebody who keeps up.
    pub fn taken_bytes(&self) -> u64 {
        self.lock().taken_bytes
    }

    /// Waits for the turn to send one large message, and for what is queued to be nearly all sent: so a client that asks
    /// for many large things at once gets them one after the other, and one at a time is in memory. Whoever makes the
    /// message begins to once he has the turn, and keeps it until he has pushed it. Cancel-safe.
    pub async fn turn_for_large(&self) -> Option<SemaphorePermit<'_>> {
        let turn = self.large.acquire().await.ok()?;
        // Others may wait for what this is about: who takes nothing meanwhile is dropped in the end.
        let _owed = self.awaited();
        self.until_at_most(limits::OUTBOX_ROOM_BYTES).await;
        Some(turn)
    }

    /// Waits until at most `mark` bytes are queued, or the outbox has ended. Cancel-safe.
    pub async fn until_at_most(&self, mark_bytes: usize) {
        loop {
            let room = self.room.notified();
            {
                let state = self.lock();
                if state.queued_bytes <= mark_bytes || state.ended.is_some() {
                    return;
                }
            }
            room.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic under this lock cannot leave the state half-changed in a way that matters more than going on.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
