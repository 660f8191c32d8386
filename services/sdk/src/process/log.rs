//! The output of one stream with absolute byte offsets: the pump appends, every consumer reads the same log.
//!
//! A holding reader holds the program back: the pump does not read while one of them lags by a window, or by all that can
//! be kept, so such a reader never meets a gap. Without one the pump runs on and the oldest goes. What it deliberately does
//! not do: decode, parse or count lines before somebody asks; touch the file under its lock.

use std::path::Path;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;

use super::lock;
use super::log_state::{State, tail_start};
use super::reader::{Cursor, Hold, LogReader};
use super::spec::Keep;
use super::spill::{Ring, Written};
use crate::limits::{REPLAY_FILE_BYTES, REPLAY_MEMORY_BYTES, SPILL_BATCH_BYTES, TAIL_BYTES};
use crate::runtimes::Runtimes;

/// The log of one stream. Clones share it.
#[derive(Clone)]
pub struct OutputLog {
    pub(super) shared: Arc<Shared>,
}

pub(super) struct Shared {
    pub(super) state: Mutex<State>,
    /// Wakes readers: bytes, settled, end.
    pub(super) news: Notify,
    /// Wakes the pump: room, exit of the leader, hang-up.
    pub(super) pump: Notify,
    pub(super) bounds: Bounds,
    folder: Option<Arc<Path>>,
    pub(super) runtimes: Runtimes,
    busy: AtomicBool,
}

/// How much a log keeps.
#[derive(Clone, Copy)]
pub(super) struct Bounds {
    pub(super) memory: u64,
    pub(super) file: u64,
    pub(super) batch: usize,
}

impl From<Keep> for Bounds {
    fn from(keep: Keep) -> Self {
        let (memory, file) = match keep {
            Keep::Tail => (TAIL_BYTES, 0),
            Keep::Replay => (REPLAY_MEMORY_BYTES, REPLAY_FILE_BYTES),
        };
        Self { memory: memory as u64, file, batch: SPILL_BATCH_BYTES }
    }
}

/// What the pump is to do next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Read until nothing is left. If the leader had exited before that began, all it wrote is then read; a flag looked
    /// at afterwards could belong to an exit, and to bytes, that came after the last read.
    ///
    /// If `closing`, the pump closes the stream once nothing is left.
    Read { leader_exited: bool, closing: bool },
    /// A holding reader lags: wait for `Shared::pump`.
    Wait,
    /// A reader is about to take what would soon be in the file only: wait for `Shared::pump`, but not longer than this, and
    /// call `lingered`.
    Linger(Duration),
    /// Take what is there at once, then close.
    HangUp,
}

impl OutputLog {
    pub(super) fn new(bounds: Bounds, folder: Option<Arc<Path>>, runtimes: Runtimes) -> Self {
        let state = State::new(bounds.file == 0 || folder.is_none());
        Self {
            shared: Arc::new(Shared {
                state: Mutex::new(state),
                news: Notify::new(),
                pump: Notify::new(),
                bounds,
                folder,
                runtimes,
                busy: AtomicBool::new(false),
            }),
        }
    }

    /// Attaches a reader at byte `from`. If that is no longer kept, its first item is a `Gap`; if it is not yet written,
    /// it waits. Dropping the reader detaches it.
    pub fn reader(&self, from: u64, hold: Hold) -> LogReader {
        let slot = lock(&self.shared.state).holders.add(from, hold);
        LogReader::new(self.shared.clone(), Cursor::new(from), slot)
    }

    /// The offset of the oldest byte that is still kept.
    pub fn start_offset(&self) -> u64 {
        lock(&self.shared.state).start()
    }

    /// The offset behind the newest byte: the number of bytes the program has written so far and the pump has read.
    pub fn end_offset(&self) -> u64 {
        lock(&self.shared.state).memory.end()
    }

    /// The last `lines` lines (and an unfinished one behind them) or `max_bytes` bytes below offset `until`, whichever is
    /// less, with the offset of the first byte; of what is in memory only, where `shelve` leaves little. The cut is right
    /// behind a line feed, unless the log is whole or has no line feed in reach.
    pub fn tail(&self, until: u64, lines: usize, max_bytes: usize) -> (u64, Bytes) {
        let state = lock(&self.shared.state);
        // What is not shown yet stands behind what is asked for.
        let beyond = usize::try_from(state.memory.end().saturating_sub(until)).unwrap_or(usize::MAX);
        let (from, mut joined) = state.memory.last(max_bytes.saturating_add(beyond));
        drop(state);
        joined.truncate(usize::try_from(until.saturating_sub(from)).unwrap_or(usize::MAX));
        let at = tail_start(&joined, lines, from == 0);
        (from + at as u64, Bytes::from(joined).slice(at..))
    }

    /// The offset behind all that had been written to the stream when this was called, read by the pump or not: whoever has
    /// read up to there has read that. Found out without reading, so one who prints without end does not put it off.
    ///
    /// For pipes: of what stands in a terminal the kernel does not tell all. Cancel-safe.
    pub async fn written(&self) -> u64 {
        let question = {
            let mut state = lock(&self.shared.state);
            state.asked += 1;
            state.asked
        };
        self.shared.pump.notify_one();
        loop {
            let mut news = pin!(self.shared.news.notified());
            news.as_mut().enable();
            {
                let state = lock(&self.shared.state);
                if state.ended {
                    return state.memory.end();
                }
                if state.written.0 >= question {
                    return state.written.1;
                }
            }
            news.await;
        }
    }

    /// Whether the stream is at its end: all who could write to it have closed it.
    pub fn ended(&self) -> bool {
        lock(&self.shared.state).ended
    }

    /// Whether a reader is attached that holds the program back, at once or when the log is full.
    pub fn is_held(&self) -> bool {
        lock(&self.shared.state).holders.any()
    }

    /// Whether its pump runs on the bulk runtime.
    pub fn busy(&self) -> bool {
        self.shared.busy.load(Ordering::Relaxed)
    }

    pub(super) fn set_busy(&self, busy: bool) {
        self.shared.busy.store(busy, Ordering::Relaxed);
    }

    pub(super) fn turn(&self) -> Turn {
        let mut state = lock(&self.shared.state);
        let standing = state.standing(self.shared.bounds);
        if state.hung_up {
            Turn::HangUp
        } else if state.holders.stop(standing) {
            Turn::Wait
        } else if let Some(patience) = state.holders.patience(standing) {
            Turn::Linger(patience)
        } else {
            Turn::Read { leader_exited: state.leader_exited, closing: state.closing }
        }
    }

    /// The pump has waited for `time` as `Turn::Linger` says.
    pub(super) fn lingered(&self, time: Duration) {
        lock(&self.shared.state).holders.lingered(time);
    }

    /// Answers who asks how far the stream is written. The pump has added all that it has read; `unread` is what it could.
    pub(super) fn answer_written(&self, unread: impl FnOnce() -> u64) {
        let mut state = lock(&self.shared.state);
        if state.written.0 == state.asked {
            return;
        }
        state.written = (state.asked, state.memory.end() + unread());
        drop(state);
        self.shared.news.notify_waiters();
    }

    /// Adds what is in `buffer` and empties it; true if `spill` is to be called before more is added.
    pub(super) fn append(&self, buffer: &mut Vec<u8>) -> bool {
        if buffer.is_empty() {
            return false;
        }
        let bounds = &self.shared.bounds;
        let mut state = lock(&self.shared.state);
        state.memory.append(buffer);
        let spill = if state.no_file {
            let keep = state.memory.end().saturating_sub(bounds.memory).min(state.holders.slowest());
            state.memory.drop_before(keep);
            false
        } else {
            state.memory.len() >= bounds.memory + bounds.batch as u64
        };
        drop(state);
        self.shared.news.notify_waiters();
        spill
    }

    /// Moves the oldest bytes from memory to the file. Called by the pump, or after its end: nothing is added meanwhile.
    pub(super) async fn spill(&self) {
        loop {
            let Some((ring, offset, blocks)) = self.next_batch().await else {
                return;
            };
            let length: usize = blocks.iter().map(Bytes::len).sum();
            let work = self.shared.runtimes.spawn_blocking(move || ring.write(offset, &blocks));
            let written = work.await.unwrap_or_else(|error| Written::Failed(error.into()));
            let end = offset + length as u64;
            let mut state = lock(&self.shared.state);
            match written {
                Written::Done => {
                    if let Some(ring) = &mut state.ring {
                        ring.end = end;
                    }
                    state.memory.drop_before(end);
                    return;
                }
                Written::Full(capacity) if capacity > 2 * self.shared.bounds.batch as u64 => {
                    if let Some(ring) = &mut state.ring {
                        ring.capacity = capacity;
                    }
                }
                Written::Full(_) => return state.give_up_file(),
                Written::Failed(error) => {
                    tracing::warn!(%error, "output can no longer be kept in a file");
                    return state.give_up_file();
                }
            }
        }
    }

    /// The next bytes for the file, after giving up what they will overwrite.
    async fn next_batch(&self) -> Option<(Ring, u64, Vec<Bytes>)> {
        let (no_file, no_ring) = {
            let state = lock(&self.shared.state);
            (state.no_file, state.ring.is_none())
        };
        if no_file {
            return None;
        }
        if no_ring {
            let folder = self.shared.folder.clone()?;
            let capacity = self.shared.bounds.file;
            let work = self.shared.runtimes.spawn_blocking(move || Ring::create(&folder, capacity));
            let created = work.await.unwrap_or_else(|error| Err(error.into()));
            let mut state = lock(&self.shared.state);
            match created {
                // All was given up meanwhile.
                Ok(_) if state.no_file => return None,
                Ok(ring) => state.ring = Some(ring),
                Err(error) => {
                    tracing::warn!(%error, "output cannot be kept in a file");
                    state.give_up_file();
                    return None;
                }
            }
        }
        let mut state = lock(&self.shared.state);
        // A log at its end has no need to give up anything: nothing comes.
        let slowest = if state.ended { 0 } else { state.holders.slowest() };
        let (offset, blocks) = state.memory.oldest(self.shared.bounds.batch);
        let end = offset + blocks.iter().map(|block| block.len() as u64).sum::<u64>();
        let ring = state.ring.as_mut()?;
        let start = end.saturating_sub(ring.capacity);
        if start > ring.start && start > slowest {
            // A holding reader needs it. It lags by more than the file and the window, so the pump waits for it, and memory
            // does not grow.
            return None;
        }
        ring.start = ring.start.max(start);
        Some((ring.clone(), offset, blocks))
    }

    /// The pump found the stream empty after the leader's exit: all it wrote has been read.
    pub(super) fn settle(&self) {
        let mut state = lock(&self.shared.state);
        if state.settled.is_none() {
            state.settled = Some(state.memory.end());
            drop(state);
            self.shared.news.notify_waiters();
        }
    }

    /// The pump is done: no byte follows.
    pub(super) fn end(&self) {
        let mut state = lock(&self.shared.state);
        state.ended = true;
        state.memory.shrink();
        if state.leader_exited && state.settled.is_none() {
            state.settled = Some(state.memory.end());
        }
        drop(state);
        self.shared.news.notify_waiters();
    }

    /// The leader was reaped.
    pub(super) fn leader_exited(&self) {
        let mut state = lock(&self.shared.state);
        state.leader_exited = true;
        if state.ended && state.settled.is_none() {
            state.settled = Some(state.memory.end());
        }
        drop(state);
        self.shared.news.notify_waiters();
        self.shared.pump.notify_one();
    }

    /// Tells the pump to read on until nothing is left, and then to close the stream, whoever still has it open.
    pub(super) fn close(&self) {
        lock(&self.shared.state).closing = true;
        self.shared.pump.notify_one();
    }

    /// Takes what is there at once, without regard to readers, and closes the stream: the program's next write finds a
    /// broken pipe, or a terminal that is gone.
    pub fn hang_up(&self) {
        lock(&self.shared.state).hung_up = true;
        self.shared.pump.notify_one();
    }
}

impl std::fmt::Debug for OutputLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OutputLog").field("end", &self.end_offset()).finish_non_exhaustive()
    }
}
