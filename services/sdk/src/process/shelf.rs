//! A log that has ended, kept for whoever may come: what it costs, and how it is made to cost less.
//!
//! What it deliberately does not do: decide when. Whoever keeps exited programs does.

use std::pin::pin;

use super::lock;
use super::log::OutputLog;
use crate::limits::SHELVED_BYTES;

/// What a log keeps, and where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// Bytes in memory.
    pub memory_bytes: u64,
    /// Bytes in its file.
    pub file_bytes: u64,
}

impl OutputLog {
    /// What it keeps now.
    pub fn kept(&self) -> Kept {
        let state = lock(&self.shared.state);
        let file_bytes = state.ring.as_ref().map_or(0, |ring| ring.end - ring.start);
        Kept { memory_bytes: state.memory.len(), file_bytes }
    }

    /// Resolves when the stream is at its end, as `ended` says. Cancel-safe.
    pub async fn at_end(&self) {
        loop {
            let mut news = pin!(self.shared.news.notified());
            news.as_mut().enable();
            if self.ended() {
                return;
            }
            news.await;
        }
    }

    /// Puts a log that is at its end away: what it has in memory goes to its file, unless that is at most `SHELVED_BYTES`.
    /// Readers find everything where it was; only `tail` does not. What the file does not take stays in memory: nothing is
    /// given up for it.
    ///
    /// Does nothing before the end, for a log that has no file, and a second time. Once begun it is done although nobody
    /// waits for it any more.
    pub async fn shelve(&self) {
        {
            let mut state = lock(&self.shared.state);
            let stays = state.no_file || state.memory.len() <= SHELVED_BYTES;
            if stays || !state.ended || std::mem::replace(&mut state.shelved, true) {
                return;
            }
            state.memory.close_block();
        }
        let log = self.clone();
        // Fails only when the runtime ends.
        let _ = self.shared.runtimes.spawn(async move { log.put_away().await }).await;
    }

    async fn put_away(&self) {
        let mut start = lock(&self.shared.state).memory.start();
        loop {
            self.spill().await;
            let mut state = lock(&self.shared.state);
            let before = std::mem::replace(&mut start, state.memory.start());
            if start == before || state.memory.len() == 0 {
                return state.memory.shrink();
            }
        }
    }

    /// Gives up all that is kept: `start_offset` is then `end_offset`, readers behind it get a `Gap`, and the file is
    /// closed, in a moment. If the program still writes, that is kept in memory only.
    pub fn forget(&self) {
        let ring = {
            let mut state = lock(&self.shared.state);
            state.no_file = true;
            state.memory.clear();
            state.ring.take()
        };
        // Whoever closes a large file without a name waits until its blocks are free.
        if let Some(ring) = ring {
            self.shared.runtimes.spawn_blocking(move || drop(ring));
        }
    }
}
