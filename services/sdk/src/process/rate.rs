//! Whether a stream is busy: the bytes of the current window against two limits, with a gap between them.
//!
//! What it deliberately does not do: read a clock by itself, so that it can be tested without waiting.

use tokio::time::Instant;

use crate::limits::{BUSY_BYTES, QUIET_BYTES, RATE_WINDOW};

/// Counts the bytes of one stream.
pub(super) struct Rate {
    window: Instant,
    bytes: u64,
    busy: bool,
}

impl Rate {
    pub(super) fn new(now: Instant) -> Self {
        Self { window: now, bytes: 0, busy: false }
    }

    pub(super) fn busy(&self) -> bool {
        self.busy
    }

    /// When `count` has to be called at the latest while the stream is busy.
    pub(super) fn window_end(&self) -> Instant {
        self.window + RATE_WINDOW
    }

    /// Counts `bytes` read at `now`; true if the stream has just become busy or quiet.
    pub(super) fn count(&mut self, bytes: usize, now: Instant) -> bool {
        let before = self.busy;
        if now >= self.window_end() {
            if self.bytes < QUIET_BYTES {
                self.busy = false;
            }
            self.window = now;
            self.bytes = 0;
        }
        self.bytes += bytes as u64;
        if self.bytes > BUSY_BYTES {
            self.busy = true;
        }
        self.busy != before
    }
}
