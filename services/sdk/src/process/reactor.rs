//! Puts a descriptor into the reactor of the runtime this runs on.
//!
//! What it deliberately does not do: accept anything but an owned descriptor.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Registers `fd` until the result is dropped.
///
/// tokio calls its safe constructor deprecated because a type could answer with another descriptor each time, or close
/// it early. A shared `OwnedFd` can do neither: it stays the same open descriptor as long as the registration holds it.
/// So the safe one is right here, and this file needs no `unsafe`.
///
/// # Errors
/// If the reactor has no memory or the user no watches left.
#[allow(deprecated, reason = "sound for an owned descriptor, see above")]
pub(super) fn register(fd: Arc<OwnedFd>, interest: Interest) -> io::Result<AsyncFd<Arc<OwnedFd>>> {
    AsyncFd::with_interest(fd, interest)
}
