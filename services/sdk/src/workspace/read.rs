//! Looking: what a path is, what a file holds, what is in a folder.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use rustix::fs::{Mode, OFlags};

use super::error::{Cause, FileError};
use super::metadata::{Kind, Metadata, identity};
use super::names::is_temporary;
use super::place::Place;
use super::{Result, Workspace, is_hidden};

/// One entry of a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its bare name.
    pub name: OsString,
    /// What it is; a link is a link, wherever it leads.
    pub kind: Kind,
}

/// The entries of a folder, read as they are asked for, in no order.
pub struct Listing {
    entries: rustix::fs::Dir,
    path: std::path::PathBuf,
    is_root: bool,
}

impl Workspace {
    /// What is at `path`; a link is not followed. `None` if nothing is.
    ///
    /// # Errors
    /// If that cannot be told, or `path` leads out of the workspace.
    pub fn stat(&self, path: &Path) -> Result<Option<Metadata>> {
        match self.place(path) {
            Ok(place) => Ok(place.stat.as_ref().map(Metadata::of)),
            Err(Cause::System(Errno::ENOENT | Errno::ENOTDIR) | Cause::Hidden) => Ok(None),
            Err(cause) => Err(FileError::new("stat", path, cause)),
        }
    }

    /// Where `path` leads, links followed, from the root. Neither it nor what is on the way need be there.
    ///
    /// # Errors
    /// If it leads out of the workspace.
    pub fn resolve(&self, path: &Path) -> Result<PathBuf> {
        self.relative(path)
            .and_then(|inner| self.without_links(&inner, true))
            .map_err(|cause| FileError::new("resolve", path, cause))
    }

    /// Opens a regular file for reading; links are followed.
    ///
    /// # Errors
    /// If there is none, or it may not be read.
    pub fn open_file(&self, path: &Path) -> Result<(File, Metadata)> {
        self.target(path)
            .and_then(|place| open_regular(&place))
            .map_err(|cause| FileError::new("open", path, cause))
    }

    /// All that a file holds.
    ///
    /// # Errors
    /// As [`open_file`](Workspace::open_file); and if it holds more than `limit_bytes`.
    pub fn read(&self, path: &Path, limit_bytes: usize) -> Result<Vec<u8>> {
        let (file, metadata) = self.open_file(path)?;
        self.read_opened(path, &file, &metadata, limit_bytes)
    }

    /// All that a file holds, which [`open_file`](Workspace::open_file) has opened at `path`.
    ///
    /// # Errors
    /// If it cannot be read, or holds more than `limit_bytes`.
    pub fn read_opened(
        &self,
        path: &Path,
        file: &File,
        metadata: &Metadata,
        limit_bytes: usize,
    ) -> Result<Vec<u8>> {
        read_all(file, metadata, limit_bytes).map_err(|cause| FileError::new("read", path, cause))
    }

    /// What is in a folder. Neither the agent's own folder nor files that are being written are.
    ///
    /// # Errors
    /// If there is no folder, or it may not be read.
    pub fn list(&self, path: &Path) -> Result<Listing> {
        let open = || {
            let (place, stat) = self.target(path)?.existing()?;
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let folder = rustix::fs::openat(&place.dir, place.own_name(), flags, Mode::empty())?;
            let is_root = identity(&stat) == identity(&rustix::fs::fstat(self.dir())?);
            Ok((rustix::fs::Dir::new(folder)?, is_root))
        };
        let (entries, is_root) = open().map_err(|cause: Cause| FileError::new("open", path, cause))?;
        Ok(Listing { entries, path: path.to_owned(), is_root })
    }
}

impl Listing {
    /// What is known about an entry of this folder. `None` if it has gone since, or cannot be told.
    pub fn stat(&self, entry: &Entry) -> Option<Metadata> {
        let dir = self.entries.fd().ok()?;
        let stat = rustix::fs::statat(dir, &entry.name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW).ok()?;
        Some(Metadata::of(&stat))
    }
}

impl Iterator for Listing {
    type Item = Result<Entry>;

    fn next(&mut self) -> Option<Result<Entry>> {
        loop {
            let entry = match self.entries.next()? {
                Ok(entry) => entry,
                Err(error) => return Some(Err(FileError::new("readdir", &self.path, error))),
            };
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            let hidden = self.is_root && is_hidden(name);
            if name == "." || name == ".." || hidden || is_temporary(name) {
                continue;
            }
            let kind = match entry.file_type() {
                // Not every file system says.
                rustix::fs::FileType::Unknown => {
                    match self.entries.fd().ok().and_then(|dir| kind_in(&dir, name)) {
                        Some(kind) => kind,
                        // Gone since.
                        None => continue,
                    }
                }
                known => Kind::of_type(known),
            };
            return Some(Ok(Entry { name: name.to_owned(), kind }));
        }
    }
}

fn kind_in(dir: &impl AsFd, name: &OsStr) -> Option<Kind> {
    rustix::fs::statat(dir, name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW).ok().map(|stat| Kind::of(&stat))
}

/// Opens what is there if it is a regular file, and does nothing to it otherwise: to open a pipe or device may wait, or
/// have effects. It is found first and then opened as what was found, so it cannot become something else in between.
pub(super) fn open_regular(place: &Place) -> Result<(File, Metadata), Cause> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let found = rustix::fs::openat(&place.dir, place.own_name(), flags, Mode::empty())?;
    let stat = rustix::fs::fstat(&found)?;
    match Kind::of(&stat) {
        Kind::File => {}
        Kind::Folder => return Err(Errno::EISDIR.into()),
        Kind::Link => return Err(Errno::ELOOP.into()),
        Kind::Special => return Err(Cause::Special),
    }
    let file = File::from(reopen(&found, OFlags::RDONLY)?);
    Ok((file, Metadata::of(&stat)))
}

/// Opens the very file that `found` has found.
pub(super) fn reopen(found: &impl AsFd, access: OFlags) -> rustix::io::Result<OwnedFd> {
    let path = format!("/proc/self/fd/{}", found.as_fd().as_raw_fd());
    let flags = access | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty())
}

fn read_all(file: &File, metadata: &Metadata, limit_bytes: usize) -> Result<Vec<u8>, Cause> {
    let too_much = |size_bytes: u64| Cause::TooMuch {
        what: format!("it holds {size_bytes} bytes"),
        limit: format!("{limit_bytes}"),
    };
    let limit = limit_bytes as u64;
    if metadata.size_bytes > limit {
        return Err(too_much(metadata.size_bytes));
    }
    // At most the limit. One more, to see the end without making room for more.
    let mut content = Vec::with_capacity(metadata.size_bytes as usize + 1);
    file.take(limit + 1).read_to_end(&mut content)?;
    // It grows, or is one of those files that do not say how long they are.
    if content.len() as u64 > limit { Err(too_much(content.len() as u64)) } else { Ok(content) }
}

impl std::fmt::Debug for Listing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listing").field("path", &self.path).finish_non_exhaustive()
    }
}
