//! One consumer of an output log: its place in the stream, and whether it holds the program back.
//!
//! What it deliberately does not do: buffer. What was not taken from the log is still there, or is a gap.

use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;

use super::holders::Slot;
use super::lock;
use super::log::Shared;
use super::log_state::Look;

/// Whether a reader holds the program back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// The program waits when this reader lags by a window; the reader never meets a gap after its first item.
    Back,
    /// The program waits only when the next byte would cost one that this reader has not read: when that lags by all that
    /// the log can keep, or by a window if there is no file (any more). The reader never meets a gap after its first item.
    /// As long as it reads fast enough from memory, the program is slowed down to its pace rather than get ahead of it.
    WhenFull,
    /// The program runs on; a reader that lags too far gets a `Gap`.
    Not,
}

/// What a reader gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// Bytes of the stream.
    Chunk {
        /// Where the first of them is.
        offset: u64,
        /// At least one.
        bytes: Bytes,
    },
    /// Bytes `from..to` are no longer kept.
    Gap {
        /// The first byte missing.
        from: u64,
        /// The first byte there.
        to: u64,
    },
    /// The program has exited, and all it wrote before has been read by this reader. Comes once. What its background
    /// children write still follows.
    Settled,
    /// The stream is at its end; comes again if asked again.
    End,
}

/// A place in the stream.
#[derive(Clone, Copy)]
pub(super) struct Cursor {
    pub(super) at: u64,
    pub(super) settled: bool,
}

impl Cursor {
    pub(super) fn new(at: u64) -> Self {
        Self { at, settled: false }
    }
}

/// A reader of an output log. Dropping it detaches it and lets the program go on.
pub struct LogReader {
    log: Arc<Shared>,
    cursor: Cursor,
    slot: Option<Slot>,
}

impl LogReader {
    pub(super) fn new(log: Arc<Shared>, cursor: Cursor, slot: Option<Slot>) -> Self {
        Self { log, cursor, slot }
    }

    /// The offset of the next byte this reader will get.
    pub fn offset(&self) -> u64 {
        self.cursor.at
    }

    /// The next item, at most `max_bytes` (at least 1) of it; waits while there is none.
    ///
    /// Cancel-safe: what was not returned is returned by the next call.
    pub async fn next(&mut self, max_bytes: usize) -> Item {
        loop {
            if let Some(item) = self.take(max_bytes).await {
                return item;
            }
            let log = self.log.clone();
            let mut news = pin!(log.news.notified());
            // Registered before the second look, so that nothing appended in between is missed.
            news.as_mut().enable();
            if let Some(item) = self.take(max_bytes).await {
                return item;
            }
            news.await;
        }
    }

    /// The next item if there is one now and it is in memory.
    pub fn try_next(&mut self, max_bytes: usize) -> Option<Item> {
        match self.look(max_bytes) {
            Look::Item(item) => Some(item),
            Look::InFile(..) | Look::Nothing => None,
        }
    }

    async fn take(&mut self, max_bytes: usize) -> Option<Item> {
        loop {
            let (ring, offset, length) = match self.look(max_bytes) {
                Look::Item(item) => return Some(item),
                Look::Nothing => return None,
                Look::InFile(ring, offset, length) => (ring, offset, length),
            };
            let work = self.log.runtimes.spawn_blocking(move || ring.read(offset, length));
            let read = work.await.unwrap_or_else(|error| Err(error.into()));
            let kept = lock(&self.log.state).still_in_file(offset);
            match read {
                // The ring was overwritten while we read: look again, which finds the gap.
                _ if !kept => {}
                Ok(bytes) => {
                    self.move_to(offset + bytes.len() as u64);
                    return Some(Item::Chunk { offset, bytes });
                }
                Err(error) => {
                    tracing::warn!(%error, "kept output cannot be read back");
                    let to = offset + length as u64;
                    self.move_to(to);
                    return Some(Item::Gap { from: offset, to });
                }
            }
        }
    }

    fn look(&mut self, max_bytes: usize) -> Look {
        let mut state = lock(&self.log.state);
        let waits = state.waits(self.log.bounds);
        let look = state.look(&mut self.cursor, max_bytes);
        if let Some(slot) = self.slot {
            state.advance(slot, self.cursor.at);
            if state.waits(self.log.bounds) != waits {
                self.log.pump.notify_one();
            }
        }
        look
    }

    fn move_to(&mut self, at: u64) {
        self.cursor.at = at;
        if let Some(slot) = self.slot {
            lock(&self.log.state).advance(slot, at);
            self.log.pump.notify_one();
        }
    }
}

impl Drop for LogReader {
    fn drop(&mut self) {
        if let Some(slot) = self.slot {
            lock(&self.log.state).release(slot);
            self.log.pump.notify_one();
        }
    }
}

impl std::fmt::Debug for LogReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogReader").field("offset", &self.offset()).finish_non_exhaustive()
    }
}
