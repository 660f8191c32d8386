//! The watcher's looks at the disk. Every folder is reached from the root one name at a time and through no link, so
//! nothing outside is ever looked at or watched, whatever is moved about meanwhile.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, fstat, open, openat, statat};
use rustix::io::{Errno, Result};

use super::listing::{Entry, Kind, Name};

const FOLDER: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// An open folder.
#[derive(Debug)]
pub(super) struct Folder {
    fd: OwnedFd,
    pub(super) id: FolderId,
}

/// Which folder it is, whatever it is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FolderId {
    device: u64,
    inode: u64,
}

impl Folder {
    pub(super) fn root(path: &Path) -> Result<Folder> {
        Folder::new(open(path, FOLDER.difference(OFlags::NOFOLLOW), Mode::empty())?)
    }

    fn new(fd: OwnedFd) -> Result<Folder> {
        let stat = fstat(&fd)?;
        Ok(Folder { id: FolderId { device: stat.st_dev, inode: stat.st_ino }, fd })
    }

    /// The folder at `path` beneath this one; an error if there is none, or only through a link.
    pub(super) fn open(&self, path: &Path) -> Result<Folder> {
        let mut names = path.iter();
        let mut folder = self.child(names.next().unwrap_or(OsStr::new(".")))?;
        for name in names {
            folder = folder.child(name)?;
        }
        Ok(folder)
    }

    pub(super) fn child(&self, name: &OsStr) -> Result<Folder> {
        Folder::new(openat(&self.fd, name, FOLDER, Mode::empty())?)
    }

    /// What is at `name`; `None` if nothing is, or it cannot be said.
    pub(super) fn look(&self, name: &OsStr) -> Option<Entry> {
        let stat = statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        Some(match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => Entry { kind: Kind::Folder, inode: stat.st_ino, content: (0, 0, 0) },
            _ => {
                let modified =
                    stat.st_mtime.wrapping_mul(1_000_000_000).wrapping_add(stat.st_mtime_nsec as i64);
                Entry {
                    kind: Kind::File,
                    inode: stat.st_ino,
                    content: (stat.st_size as u64, modified, stat.st_mode),
                }
            }
        })
    }

    /// All its names.
    pub(super) fn names(&self) -> Result<Vec<Name>> {
        let readable =
            openat(&self.fd, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let mut names = Vec::new();
        for entry in Dir::new(readable)? {
            let entry = entry?;
            match entry.file_name().to_bytes() {
                b"." | b".." => {}
                name => names.push(OsStr::from_bytes(name).into()),
            }
        }
        Ok(names)
    }

    /// The descriptor, for calls that act on the folder itself and not on whatever has its name by then.
    pub(super) fn fd(&self) -> &OwnedFd {
        &self.fd
    }
}

/// Whether an error says nothing about what is there.
pub(super) fn is_passing(error: Errno) -> bool {
    is_short(error) || matches!(error, Errno::IO | Errno::INTR | Errno::STALE)
}

/// Whether an error says nothing about the folder, and would be the same with any other.
pub(super) fn is_short(error: Errno) -> bool {
    matches!(error, Errno::MFILE | Errno::NFILE | Errno::NOMEM)
}
