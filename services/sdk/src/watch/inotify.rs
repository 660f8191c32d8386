//! The one inotify instance: which folders are watched, and what the kernel says of them.
//!
//! Not through a library that watches paths: the kernel knows a folder by its inode, however it is called, and gives the
//! same number for the same inode. Whoever keeps watches by path loses that of a folder which is moved and then watched
//! at its new place, or watches what a link was made to lead to in between.

use std::ffi::OsStr;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::{Errno, Result};

use super::disk::Folder;
use super::listing::{Marks, Name};

/// What is asked of the kernel. Links are not followed: the descriptor that is watched leads to the folder itself.
const WANTED: WatchFlags = WatchFlags::CREATE
    .union(WatchFlags::DELETE)
    .union(WatchFlags::MOVE)
    .union(WatchFlags::MODIFY)
    .union(WatchFlags::CLOSE_WRITE)
    .union(WatchFlags::ATTRIB)
    .union(WatchFlags::EXCL_UNLINK)
    .union(WatchFlags::ONLYDIR);

/// One read: some hundred events with names of usual length.
const READ_BYTES: usize = 64 << 10;

/// The number of a watch; never used twice.
pub(super) type WatchId = i32;

/// Something the kernel says.
pub(super) enum Said {
    /// This name of that folder may have changed. The number joins the two halves of a move.
    Name(WatchId, Name, Marks, u32),
    /// The folder's own mode may have changed, and with it what can be seen in it.
    Folder(WatchId),
    /// The folder is no longer watched: it was removed, or unmounted.
    Ended(WatchId),
    /// Events were lost.
    Lost,
}

#[derive(Debug)]
pub(super) struct Inotify {
    fd: OwnedFd,
    buffer: Vec<MaybeUninit<u8>>,
}

impl Inotify {
    pub(super) fn new() -> Result<Inotify> {
        let fd = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        Ok(Inotify { fd, buffer: vec![MaybeUninit::uninit(); READ_BYTES] })
    }

    /// Watches this folder, wherever it goes. Doing so again gives the same number for as long as it is watched.
    pub(super) fn watch(&self, folder: &Folder) -> Result<WatchId> {
        inotify::add_watch(&self.fd, format!("/proc/self/fd/{}", folder.fd().as_raw_fd()), WANTED)
    }

    pub(super) fn unwatch(&self, watch: WatchId) {
        // It may have ended by itself.
        let _ = inotify::remove_watch(&self.fd, watch);
    }

    /// Takes what has been said so far, about `most` of it; false if there may be more.
    pub(super) fn drain(&mut self, most: usize, mut take: impl FnMut(Said)) -> bool {
        let mut reader = Reader::new(&self.fd, &mut self.buffer);
        let mut taken = 0;
        // What has been read is taken to its end: it would be lost.
        while taken < most || !reader.is_buffer_empty() {
            let event = match reader.next() {
                Ok(event) => event,
                Err(Errno::INTR) => continue,
                Err(_) => return true,
            };
            taken += 1;
            let flags = event.events();
            if flags.contains(ReadFlags::QUEUE_OVERFLOW) {
                take(Said::Lost);
            } else if flags.contains(ReadFlags::IGNORED) {
                take(Said::Ended(event.wd()));
            } else if let Some(name) = event.file_name() {
                let marks = Marks {
                    gone: flags.intersects(ReadFlags::DELETE | ReadFlags::MOVED_FROM),
                    from: flags.contains(ReadFlags::MOVED_FROM),
                    to: flags.contains(ReadFlags::MOVED_TO),
                    written: flags.contains(ReadFlags::MODIFY),
                    brief: false,
                };
                let name = OsStr::from_bytes(name.to_bytes()).into();
                take(Said::Name(event.wd(), name, marks, event.cookie()));
            } else {
                take(Said::Folder(event.wd()));
            }
        }
        false
    }
}

impl AsFd for Inotify {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
