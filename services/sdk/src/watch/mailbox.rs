//! What waits for one subscriber: bounded, and never waited on by the watcher. What does not fit is not queued: the
//! watcher remembers what the subscriber knows and sends the difference once there is room.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::event::{EventfdFlags, eventfd};
use tokio::sync::Notify;

use super::{Change, News};
use crate::limits;

/// Wakes the watcher's thread.
#[derive(Debug)]
pub(super) struct Bell(OwnedFd);

impl Bell {
    pub(super) fn new() -> rustix::io::Result<Bell> {
        Ok(Bell(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?))
    }

    pub(super) fn ring(&self) {
        // It fails only when it rings already.
        let _ = rustix::io::write(&self.0, &1u64.to_ne_bytes());
    }

    pub(super) fn silence(&self) {
        let _ = rustix::io::read(&self.0, &mut [0; 8]);
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[derive(Debug)]
pub(super) struct Mailbox {
    state: Mutex<State>,
    arrived: Notify,
    bell: Arc<Bell>,
    /// Changes that may wait.
    pub(super) most: usize,
}

#[derive(Debug, Default)]
struct State {
    changes: VecDeque<Arc<Change>>,
    notice: Option<String>,
    /// The watcher waits until this is empty.
    behind: bool,
    closed: bool,
}

impl Mailbox {
    pub(super) fn new(bell: Arc<Bell>, most: usize) -> Mailbox {
        Mailbox { state: Mutex::default(), arrived: Notify::new(), bell, most }
    }

    /// Queues all of `changes`, or, if they do not fit, none; then the watcher is woken when there is room.
    pub(super) fn offer(&self, changes: &[Arc<Change>]) -> bool {
        let mut state = self.lock();
        let fits = state.changes.len() + changes.len() <= self.most;
        if fits {
            state.changes.extend(changes.iter().cloned());
        } else {
            state.behind = true;
        }
        drop(state);
        self.arrived.notify_one();
        fits
    }

    /// Whether nothing waits. If something does, the watcher is woken when it is taken.
    pub(super) fn has_room(&self) -> bool {
        let mut state = self.lock();
        state.behind = !state.changes.is_empty();
        !state.behind
    }

    /// Says something to people, once: a second notice replaces one that was not taken yet.
    pub(super) fn notify(&self, notice: String) {
        self.lock().notice = Some(notice);
        self.arrived.notify_one();
    }

    /// Nobody wants anything more, or nothing more will come.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.arrived.notify_one();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// What has come, waiting until something has; `None` once closed. One reader only. Cancel-safe.
    pub(super) async fn next(&self) -> Option<News> {
        loop {
            {
                let mut state = self.lock();
                if state.closed {
                    return None;
                }
                if let Some(notice) = state.notice.take() {
                    return Some(News::Notice(notice));
                }
                let count = state.changes.len().min(limits::WATCH_BATCH);
                if count > 0 {
                    let batch = state.changes.drain(..count).collect();
                    let is_awaited = state.changes.is_empty() && std::mem::take(&mut state.behind);
                    drop(state);
                    if is_awaited {
                        self.bell.ring();
                    }
                    return Some(News::Changes(batch));
                }
            }
            self.arrived.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
