//! What large messages being received may hold together: one budget for all connections of all protocols. Where it is
//! used up, the next large message waits, unread.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Sleep, sleep};
use tokio_util::sync::PollSemaphore;

/// A message up to this size needs no budget.
pub(super) const FREE_BYTES: u64 = 1 << 20;

/// A large message must come at this rate at least, or it keeps others waiting for the budget that it holds.
const SLOWEST_BYTES_PER_SECOND: u64 = 64 << 10;

/// ...with this much time on top.
const GRACE: Duration = Duration::from_secs(30);

/// One stream's part in it, for one message at a time.
pub(super) struct Budget {
    budget: PollSemaphore,
    /// KiB to be had before reading on.
    owed_kib: u32,
    held: Option<Held>,
}

struct Held {
    _budget: OwnedSemaphorePermit,
    deadline: Pin<Box<Sleep>>,
}

impl Budget {
    /// Of `all`, which counts KiB.
    pub(super) fn of(all: Arc<Semaphore>) -> Budget {
        Budget { budget: PollSemaphore::new(all), owed_kib: 0, held: None }
    }

    /// Another stream's part in the same.
    pub(super) fn another(&self) -> Budget {
        Budget::of(self.budget.clone_inner())
    }

    /// A message of so many bytes is coming. Asked for once for a message: two that grow could wait for each other.
    pub(super) fn want(&mut self, bytes: u64) {
        if bytes > FREE_BYTES && self.held.is_none() && self.owed_kib == 0 {
            self.owed_kib = u32::try_from(bytes >> 10).unwrap_or(u32::MAX);
        }
    }

    /// Whether a large message is coming.
    pub(super) fn is_held(&self) -> bool {
        self.held.is_some()
    }

    /// The message has been handled, or will not be.
    pub(super) fn release(&mut self) {
        self.held = None;
    }

    /// Waits for what the message needs; an error if it comes too slowly.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.owed_kib > 0 {
            let Some(permit) = ready!(self.budget.poll_acquire_many(cx, self.owed_kib)) else {
                return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
            };
            let transfer = Duration::from_secs((u64::from(self.owed_kib) << 10) / SLOWEST_BYTES_PER_SECOND);
            self.owed_kib = 0;
            self.held = Some(Held { _budget: permit, deadline: Box::pin(sleep(GRACE + transfer)) });
        }
        if let Some(held) = &mut self.held
            && held.deadline.as_mut().poll(cx).is_ready()
        {
            let text = format!("a message of over {FREE_BYTES} bytes came too slowly");
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, text)));
        }
        Poll::Ready(Ok(()))
    }
}
