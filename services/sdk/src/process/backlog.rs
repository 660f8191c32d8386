//! What the inputs of all programs hold together, and each one's part of that.
//!
//! What it deliberately does not do: refuse. A program's input does, by what it finds here.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// Unread input of all programs.
#[derive(Default)]
pub(super) struct Backlog {
    bytes: AtomicUsize,
    /// Wakes those who wait for it to fall.
    pub(super) fell: Notify,
}

impl Backlog {
    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }
}

/// One program's part, given back when this is dropped.
pub(super) struct Charge {
    backlog: Arc<Backlog>,
    bytes: usize,
}

impl Charge {
    pub(super) fn new(backlog: Arc<Backlog>) -> Self {
        Self { backlog, bytes: 0 }
    }

    /// What this is a part of.
    pub(super) fn backlog(&self) -> &Arc<Backlog> {
        &self.backlog
    }

    /// Counts `bytes` instead of what was counted.
    pub(super) fn set(&mut self, bytes: usize) {
        let before = std::mem::replace(&mut self.bytes, bytes);
        self.backlog.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.backlog.bytes.fetch_sub(before, Ordering::Relaxed);
        if bytes < before {
            self.backlog.fell.notify_waiters();
        }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.set(0);
    }
}
