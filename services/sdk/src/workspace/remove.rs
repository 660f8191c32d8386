//! Removing, folders with all that is in them.
//!
//! However deep a folder is, this takes two descriptors and a few bytes for each level: a program may have made one that
//! is a hundred thousand levels deep, and the agent must not run out of descriptors or stack over it. No link is
//! followed, and the way back up is the way it came.

use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use cap_std::fs::Dir;
use nix::errno::Errno;
use rustix::fs::{AtFlags, Mode, OFlags};

use super::change::sync_folder;
use super::error::{Cause, FileError};
use super::metadata::{Kind, Metadata, identity};
use super::place::look;
use super::{Result, Workspace};

/// How a folder is opened to be read.
pub(super) const FOLDER: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

impl Workspace {
    /// Removes a file, a link, or a folder with all that is in it.
    ///
    /// # Errors
    /// If there is nothing, or something in it cannot be removed. What came before that is gone then.
    pub fn remove(&self, path: &Path) -> Result<()> {
        self.remove_if(path, |_| Ok(()))
    }

    /// As [`remove`](Workspace::remove) if `check`, which is shown what is there at that moment, has nothing against it.
    /// Between the two nobody writes or removes that file through the agent.
    ///
    /// # Errors
    /// What `check` says; and as [`remove`](Workspace::remove).
    pub fn remove_if(
        &self,
        path: &Path,
        check: impl FnOnce(&Metadata) -> std::result::Result<(), String>,
    ) -> Result<()> {
        let remove = || {
            let place = self.place(path)?.named()?;
            let turn = self.commit_turn(&place.dir, &place.name)?;
            let stat = look(&place.dir, &place.name)?.ok_or(Errno::ENOENT)?;
            check(&Metadata::of(&stat)).map_err(Cause::Refused)?;
            // A folder may take long, and nobody writes a file over one.
            let turn = (Kind::of(&stat) != Kind::Folder).then_some(turn);
            remove_at(&place.dir, &place.name, Kind::of(&stat))?;
            drop(turn);
            if self.fsync() {
                sync_folder(&place.dir)?;
            }
            Ok(())
        };
        remove().map_err(|cause: Cause| FileError::new("remove", path, cause))
    }
}

/// Removes what is in `dir` under `name`, which is a `kind`.
pub(super) fn remove_at(dir: &Dir, name: &OsStr, kind: Kind) -> Result<(), Cause> {
    if kind != Kind::Folder {
        return Ok(rustix::fs::unlinkat(dir, name, AtFlags::empty())?);
    }
    remove_tree(rustix::fs::openat(dir, name, FOLDER, Mode::empty())?)?;
    Ok(rustix::fs::unlinkat(dir, name, AtFlags::REMOVEDIR)?)
}

/// A folder on the way down: its name in the one above, and that one's identity.
struct Level {
    name: OsString,
    above: (u64, u64),
}

/// Removes all that is in `top`.
fn remove_tree(top: OwnedFd) -> Result<(), Cause> {
    let mut way: Vec<Level> = Vec::new();
    let mut folder = top;
    loop {
        match first_folder(&folder)? {
            Some(name) => {
                let below = match rustix::fs::openat(&folder, &name, FOLDER, Mode::empty()) {
                    Ok(below) => below,
                    // Somebody else has removed or replaced it.
                    Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR | rustix::io::Errno::LOOP) => {
                        continue;
                    }
                    Err(error) => return Err(error.into()),
                };
                way.push(Level { name, above: identity(&rustix::fs::fstat(&folder)?) });
                folder = below;
            }
            None => {
                let Some(level) = way.pop() else { return Ok(()) };
                let above = rustix::fs::openat(&folder, "..", FOLDER, Mode::empty())?;
                // Moved elsewhere meanwhile: what is around it there was never meant.
                if identity(&rustix::fs::fstat(&above)?) != level.above {
                    return Err(Errno::EBUSY.into());
                }
                match rustix::fs::unlinkat(&above, &level.name, AtFlags::REMOVEDIR) {
                    // Somebody has put something in: once more.
                    Ok(()) | Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTEMPTY) => {}
                    Err(error) => return Err(error.into()),
                }
                folder = above;
            }
        }
    }
}

/// Removes all that is no folder, up to the first folder; its name.
fn first_folder(folder: &OwnedFd) -> Result<Option<OsString>, Cause> {
    for entry in rustix::fs::Dir::read_from(folder)? {
        let entry = entry?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if name == "." || name == ".." {
            continue;
        }
        if Kind::of_type(entry.file_type()) == Kind::Folder {
            return Ok(Some(name.to_owned()));
        }
        match rustix::fs::unlinkat(folder, name, AtFlags::empty()) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => {}
            // Of a file system that does not say what is a folder.
            Err(rustix::io::Errno::ISDIR) => return Ok(Some(name.to_owned())),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(None)
}
