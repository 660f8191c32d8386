//! What is queued of one program's input, and how far the program has read.
//!
//! What it deliberately does not do: wait, or wake anybody.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{Buf, Bytes};
use rustix::io::Errno;
use tokio::time::Instant;

use crate::limits::STDIN_PATIENCE;

/// The kernel has counted what it was given that long ago, on a busy machine, too.
const LATELY: Duration = Duration::from_secs(1);

/// The input of one program.
pub(super) struct State {
    /// None once no byte can follow.
    pub(super) target: Option<Arc<OwnedFd>>,
    pub(super) queue: VecDeque<Bytes>,
    pub(super) queued: usize,
    pub(super) accepted: u64,
    /// `close` was called: nothing more is taken, the queue still goes out.
    pub(super) closing: bool,
    pub(super) draining: bool,
    /// Whether a terminal's program would see a line without its end.
    pub(super) within_line: bool,
    /// What the kernel was given, what of that the program has read as far as is known, and when that was last more.
    pub(super) written: u64,
    pub(super) taken: u64,
    pub(super) taken_at: Instant,
    /// What has been accepted since then, at most [`LATELY`] ago.
    pub(super) lately: (Instant, u64),
    /// Whether it is a pipe, which says how much of it is unread.
    pub(super) pipe: bool,
    /// What all programs' inputs hold together, and this one's part of it.
    pub(super) total: Arc<AtomicUsize>,
    pub(super) charged: usize,
}

impl Drop for State {
    fn drop(&mut self) {
        self.total.fetch_sub(self.charged, Ordering::Relaxed);
    }
}

impl State {
    /// Writes until the queue is empty or the kernel takes no more.
    pub(super) fn write(&mut self, target: &OwnedFd) -> Result<(), Errno> {
        while let Some(front) = self.queue.front_mut() {
            match rustix::io::write(target, front) {
                Ok(count) => {
                    front.advance(count);
                    self.queued -= count;
                    self.written += count as u64;
                    if front.is_empty() {
                        self.queue.pop_front();
                    }
                }
                Err(Errno::AGAIN) => {
                    self.look(target);
                    return Ok(());
                }
                Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Notes whether the program has read more since the last look. A pipe takes more by the page, and a program may read
    /// less at a time: so it is asked. A terminal cannot be; it takes more after about 4 KiB.
    pub(super) fn look(&mut self, target: &OwnedFd) {
        let unread = if self.pipe { rustix::io::ioctl_fionread(target).unwrap_or(0) } else { 0 };
        let taken = self.written.saturating_sub(unread);
        if taken != self.taken {
            (self.taken, self.taken_at) = (taken, Instant::now());
        }
    }

    /// Whether the program lets its input wait and has taken nothing of it for long.
    pub(super) fn stuck(&self) -> bool {
        self.taken_at.elapsed() >= STDIN_PATIENCE
    }

    /// What has been accepted in the last moments.
    pub(super) fn lately(&self) -> u64 {
        if self.lately.0.elapsed() < LATELY { self.lately.1 } else { 0 }
    }

    pub(super) fn note_lately(&mut self, bytes: u64) {
        let before = self.lately();
        self.lately = (if before == 0 { Instant::now() } else { self.lately.0 }, before + bytes);
    }

    /// Counts what is queued now.
    pub(super) fn charge(&mut self) {
        self.total.fetch_add(self.queued, Ordering::Relaxed);
        self.total.fetch_sub(std::mem::replace(&mut self.charged, self.queued), Ordering::Relaxed);
    }

    pub(super) fn close_if_done(&mut self) {
        if self.closing && self.queued == 0 && !self.draining {
            self.target = None;
        }
    }
}
