//! Changing what there is: new folders, new names, and what is on disk.

use std::ffi::{OsStr, OsString};
use std::path::{Component, Path};

use cap_std::fs::Dir;
use nix::errno::Errno;
use rustix::fs::{Mode, OFlags, RenameFlags};

use super::error::{Cause, FileError};
use super::metadata::Kind;
use super::place::Place;
use super::read::open_regular;
use super::{Result, Workspace};

impl Workspace {
    /// Makes a folder, and those above it. One that is there already is fine.
    ///
    /// # Errors
    /// If something else is there, or the folder cannot be made.
    pub fn make_folder(&self, path: &Path) -> Result<()> {
        let make = || {
            let (place, mut missing) = self.place_with_parents(path)?;
            match place.kind() {
                _ if !missing.is_empty() => {}
                None => {}
                Some(Kind::Folder) => return Ok(()),
                // A link to a folder is a folder to whoever puts something in it.
                Some(Kind::Link) if self.target(path)?.kind() == Some(Kind::Folder) => return Ok(()),
                Some(_) => return Err(Errno::EEXIST.into()),
            }
            missing.push(place.name);
            make_folders(&place.dir, &missing, self.fsync())?;
            Ok(())
        };
        make().map_err(|cause: Cause| FileError::new("mkdir", path, cause))
    }

    /// Gives a file, folder or link another name on the same file system ([`FileError::is_across`] says that they are
    /// two), in the place of a file, or of an empty folder, that has it.
    ///
    /// # Errors
    /// If there is nothing to move, or it cannot be moved there. Then nothing has changed.
    pub fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        self.move_to(from, to, true)
    }

    /// As [`rename`](Workspace::rename) if nothing has that name; else nothing has changed.
    ///
    /// # Errors
    /// "file exists"; and as [`rename`](Workspace::rename).
    pub fn rename_new(&self, from: &Path, to: &Path) -> Result<()> {
        self.move_to(from, to, false)
    }

    fn move_to(&self, from: &Path, to: &Path, replace: bool) -> Result<()> {
        let rename = || {
            let (source, stat) = self.place(from)?.named()?.existing()?;
            let target = self.place(to)?.named()?;
            // Whoever is about to replace what has that name has seen it.
            let turn = self.commit_turn(&target.dir, &target.name)?;
            rename_to(&source, &target, replace).map_err(|error| match Cause::from(error) {
                Cause::System(Errno::EINVAL) if Kind::of(&stat) == Kind::Folder => Cause::IntoItself,
                Cause::System(Errno::ENOTEMPTY) => Errno::EEXIST.into(),
                other => other,
            })?;
            drop(turn);
            if self.fsync() {
                sync_folder(&target.dir)?;
                sync_folder(&source.dir)?;
            }
            Ok(())
        };
        rename().map_err(|cause: Cause| FileError::of_two("rename", from, to, cause))
    }

    /// Returns when a file, or a folder's list of names, is on disk.
    ///
    /// # Errors
    /// If there is none, or the disk fails.
    pub fn sync(&self, path: &Path) -> Result<()> {
        let sync = || {
            let (place, stat) = self.target(path)?.existing()?;
            match Kind::of(&stat) {
                Kind::Folder => {
                    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                    rustix::fs::fsync(rustix::fs::openat(
                        &place.dir,
                        place.own_name(),
                        flags,
                        Mode::empty(),
                    )?)?;
                }
                _ => open_regular(&place)?.0.sync_all()?,
            }
            if !place.name.is_empty() {
                sync_folder(&place.dir)?;
            }
            Ok(())
        };
        sync().map_err(|cause: Cause| FileError::new("sync", path, cause))
    }

    /// Returns when everything that was written in the workspace is on disk.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn sync_all(&self) -> Result<()> {
        let root = open_to_sync(self.dir());
        root.and_then(rustix::fs::syncfs).map_err(|error| FileError::new("sync", Path::new(""), error))
    }

    /// As [`place`](Workspace::place) for what may have no folder yet: the place is then in the last folder that is
    /// there, and the names of those that are missing on the way come with it.
    pub(super) fn place_with_parents(&self, path: &Path) -> Result<(Place, Vec<OsString>), Cause> {
        match self.place(path) {
            Err(Cause::System(Errno::ENOENT)) => {}
            done => return done.map(|place| (place, Vec::new())),
        }
        let whole = self.relative(path)?;
        let (mut parent, name) = parent_and_name(&whole)?;
        let mut missing = Vec::new();
        loop {
            match self.target(parent) {
                Ok(place) if place.stat.is_some() => {
                    missing.reverse();
                    let dir = open_folder(&place)?;
                    return Ok((Place { dir, name: name.to_owned(), stat: None }, missing));
                }
                Ok(_) | Err(Cause::System(Errno::ENOENT)) => {}
                Err(other) => return Err(other),
            }
            let above = parent_and_name(parent)?;
            missing.push(above.1.to_owned());
            parent = above.0;
        }
    }
}

/// Renames within one file system.
pub(super) fn rename_to(source: &Place, target: &Place, replace: bool) -> rustix::io::Result<()> {
    use rustix::io::Errno;
    let rename =
        |flags| rustix::fs::renameat_with(&source.dir, &source.name, &target.dir, &target.name, flags);
    if replace {
        return rename(RenameFlags::empty());
    }
    match rename(RenameFlags::NOREPLACE) {
        // The file system cannot do it in one step, or the folder would become a part of itself: then so says the other.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) if target.stat.is_none() => {
            rename(RenameFlags::empty())
        }
        done => done,
    }
}

/// What is above a `..` that is not there nobody knows.
fn parent_and_name(path: &Path) -> Result<(&Path, &OsStr), Cause> {
    match (path.parent(), path.components().next_back()) {
        (Some(parent), Some(Component::Normal(name))) => Ok((parent, name)),
        _ => Err(Errno::ENOENT.into()),
    }
}

fn open_folder(place: &Place) -> Result<Dir, Cause> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let folder = rustix::fs::openat(&place.dir, place.own_name(), flags, Mode::empty())?;
    Ok(Dir::from_std_file(folder.into()))
}

/// Makes each of `names` in the one before; gives the last. Those that are there are gone into.
pub(super) fn make_folders(start: &Dir, names: &[OsString], fsync: bool) -> Result<Dir, Cause> {
    let mut dir = start.try_clone()?;
    for name in names {
        match rustix::fs::mkdirat(&dir, name.as_os_str(), Mode::from_raw_mode(0o777)) {
            Ok(()) if fsync => sync_folder(&dir)?,
            Ok(()) | Err(rustix::io::Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        dir = dir.open_dir(Path::new(name))?;
    }
    Ok(dir)
}

/// Returns when the names in a folder are on disk.
pub(super) fn sync_folder(dir: &Dir) -> Result<(), Cause> {
    Ok(open_to_sync(dir).and_then(rustix::fs::fsync)?)
}

/// The folder itself: what is opened to find things in cannot be synced.
fn open_to_sync(dir: &Dir) -> rustix::io::Result<std::os::fd::OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(dir, OsStr::new("."), flags, Mode::empty())
}
