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
use super::{Workspace, is_hidden};
use crate::limits;

/// tmpfs. It does not know of reads that must not wait, and has no need to: its files are in memory.
const MEMORY: u64 = 0x0102_1994;

/// File systems whose files are opened from memory, so that nobody else is asked: ext2 to ext4, XFS, btrfs, tmpfs,
/// overlay, F2FS, ZFS, by their magic numbers.
const LOCAL: [u64; 7] = [0xEF53, 0x5846_5342, 0x9123_683E, MEMORY, 0x794C_7630, 0xF2F5_2010, 0x2FC1_2FC1];

const FIND: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
const READ: OFlags = OFlags::RDONLY
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// How what is cached is read without waiting in the workspace at `dir`; `None` if its file system, or the kernel,
/// cannot look only at what it has.
pub(super) fn how(dir: &Dir) -> Option<ReadWriteFlags> {
    let magic = rustix::fs::fstatfs(dir).ok()?.f_type as u64;
    open(dir, Path::new("."), FIND).filter(|_| LOCAL.contains(&magic))?;
    Some(if magic == MEMORY { ReadWriteFlags::empty() } else { ReadWriteFlags::NOWAIT })
}

impl Workspace {
    /// What is at `path`, if that is known without waiting.
    pub fn stat_now(&self, path: &Path) -> Option<Metadata> {
        metadata(&open(self.dir(), self.plain(path)?, FIND)?)
    }

    /// The content of the regular file at `path`, if it is small and all of it is in memory.
    pub fn read_now(&self, path: &Path) -> Option<Vec<u8>> {
        let path = self.plain(path)?;
        // To open a pipe or device has effects, so it is looked at first. In between it may become one, by somebody who
        // could as well have opened that himself; it is looked at again, so that nobody gets anything out of it.
        small_file(&open(self.dir(), path, FIND)?)?;
        let file = open(self.dir(), path, READ)?;
        let size = small_file(&file)?;
        // One byte more than it holds, so that its end is seen.
        let mut content = vec![0; size + 1];
        let read = rustix::io::preadv2(&file, &mut [IoSliceMut::new(&mut content)], 0, self.0.quick?).ok()?;
        content.truncate(read);
        (read == size).then_some(content)
    }

    /// `path` below the root, if nothing in it needs thought.
    fn plain<'a>(&self, path: &'a Path) -> Option<&'a Path> {
        self.0.quick?;
        let inner = if path.is_absolute() { path.strip_prefix(self.root()).ok()? } else { path };
        let inner = inner.strip_prefix(".").unwrap_or(inner);
        let plain = |part| matches!(part, Component::Normal(_));
        if !inner.components().all(plain) || inner.iter().next().is_some_and(is_hidden) {
            return None;
        }
        Some(if inner == OsStr::new("") { Path::new(".") } else { inner })
    }
}

fn open(dir: &Dir, path: &Path, flags: OFlags) -> Option<OwnedFd> {
    let resolve =
        ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV | ResolveFlags::CACHED;
    rustix::fs::openat2(dir, path, flags, Mode::empty(), resolve).ok()
}

/// The length of what was found, if it is a small regular file.
fn small_file(found: &impl AsFd) -> Option<usize> {
    let metadata = metadata(found)?;
    let size = usize::try_from(metadata.size_bytes).ok()?;
    (metadata.kind == Kind::File && size <= limits::INLINE_READ_BYTES).then_some(size)
}

fn metadata(found: &impl AsFd) -> Option<Metadata> {
    let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
    let stat = rustix::fs::statx(found, "", flags, StatxFlags::BASIC_STATS).ok()?;
    Some(Metadata::of_statx(&stat))
}
