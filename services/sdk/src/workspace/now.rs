//! Reading what the kernel has in memory, without ever waiting: small files and metadata, answered where they are asked
//! for. A hop to another thread costs more than all of this.
//!
//! Whatever is not plain success is `None`, which means: ask the methods that may wait. So links, mounts, file systems
//! that are far away, and the agent's own folder are no business of this module.

use std::ffi::OsStr;
use std::io::IoSliceMut;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path};

use cap_std::fs::Dir;
use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, StatxFlags};
use rustix::io::ReadWriteFlags;

use super::metadata::{Kind, Metadata};
use super::read::reopen;
use super::{HIDDEN, Workspace};
use crate::limits;

/// File systems whose files are opened from memory: nobody else is asked. Their magic numbers: ext2 to ext4, XFS, btrfs,
/// tmpfs, overlay, F2FS, ZFS.
const LOCAL: [u64; 7] =
    [0xEF53, 0x5846_5342, 0x9123_683E, 0x0102_1994, 0x794C_7630, 0xF2F5_2010, 0x2FC1_2FC1];

/// Whether the workspace at `dir` is on such a file system, and the kernel can look only at what it has.
pub(super) fn is_quick(dir: &Dir) -> bool {
    let local = rustix::fs::fstatfs(dir).is_ok_and(|found| LOCAL.contains(&(found.f_type as u64)));
    local && find(dir, Path::new(".")).is_some()
}

impl Workspace {
    /// What is at `path`, if that is known without waiting.
    pub fn stat_now(&self, path: &Path) -> Option<Metadata> {
        let found = find(self.dir(), self.plain(path)?)?;
        metadata(&found)
    }

    /// The content of the regular file at `path`, if it is small and all of it is in memory.
    pub fn read_now(&self, path: &Path) -> Option<Vec<u8>> {
        let found = find(self.dir(), self.plain(path)?)?;
        let metadata = metadata(&found)?;
        if metadata.kind != Kind::File || metadata.size_bytes > limits::INLINE_READ_BYTES as u64 {
            return None;
        }
        let file = reopen(&found, OFlags::RDONLY).ok()?;
        // One byte more than it holds, so that its end is seen.
        let mut content = vec![0; metadata.size_bytes as usize + 1];
        let read =
            rustix::io::preadv2(&file, &mut [IoSliceMut::new(&mut content)], 0, ReadWriteFlags::NOWAIT)
                .ok()?;
        if read as u64 != metadata.size_bytes {
            return None;
        }
        content.truncate(read);
        Some(content)
    }

    /// `path` below the root, if nothing in it needs thought.
    fn plain<'a>(&self, path: &'a Path) -> Option<&'a Path> {
        if !self.0.quick {
            return None;
        }
        let inner = if path.is_absolute() { path.strip_prefix(self.root()).ok()? } else { path };
        let inner = inner.strip_prefix(".").unwrap_or(inner);
        let plain = |part| matches!(part, Component::Normal(_));
        if !inner.components().all(plain) || inner.starts_with(HIDDEN) {
            return None;
        }
        Some(if inner == OsStr::new("") { Path::new(".") } else { inner })
    }
}

fn find(dir: &Dir, path: &Path) -> Option<OwnedFd> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve =
        ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV | ResolveFlags::CACHED;
    rustix::fs::openat2(dir, path, flags, Mode::empty(), resolve).ok()
}

fn metadata(found: &impl AsFd) -> Option<Metadata> {
    let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
    let stat = rustix::fs::statx(found, "", flags, StatxFlags::BASIC_STATS).ok()?;
    Some(Metadata::of_statx(&stat))
}
