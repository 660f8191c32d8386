//! Moving what cannot be renamed because it is on another file system: a volume in the workspace, or a folder that an
//! image's lower layer holds.
//!
//! All is copied under a temporary name beside its new place, takes that in one step, and then the original goes. So at
//! the new place is all of it or nothing. Permissions, times and, where that is allowed, owners come along.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use cap_std::fs::Dir;
use nix::errno::Errno;
use rustix::fs::{AtFlags, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid};

use super::change::rename_to;
use super::error::{Cause, FileError};
use super::metadata::{Kind, identity};
use super::place::Place;
use super::read::reopen;
use super::remove::{FOLDER, remove_at};
use super::{Result, Workspace};
use crate::limits;

impl Workspace {
    /// As [`rename`](Workspace::rename), or without `replace` as [`rename_new`](Workspace::rename_new), from one file system
    /// to another.
    ///
    /// # Errors
    /// If something cannot be copied: then nothing has changed. If the original cannot be removed, both are there.
    pub fn move_across(&self, from: &Path, to: &Path, replace: bool) -> Result<()> {
        let go = || {
            let (source, stat) = self.place(from)?.named()?.existing()?;
            let target = self.place(to)?.named()?;
            let temporary = self.next_temporary();
            let moved = copy(&source, &stat, &target.dir, OsStr::new(&temporary)).and_then(|()| {
                if self.fsync() {
                    rustix::fs::syncfs(rustix::fs::openat(&target.dir, ".", FOLDER, Mode::empty())?)?;
                }
                let _turn = self.commit_turn(&target.dir, &target.name)?;
                let copied =
                    Place { dir: target.dir.try_clone()?, name: temporary.clone().into(), stat: None };
                Ok(rename_to(&copied, &target, replace)?)
            });
            if let Err(cause) = moved {
                let _ = remove_at(&target.dir, OsStr::new(&temporary), Kind::of(&stat));
                return Err(if matches!(cause, Cause::System(Errno::ENOTEMPTY)) {
                    Errno::EEXIST.into()
                } else {
                    cause
                });
            }
            remove_at(&source.dir, &source.name, Kind::of(&stat))
        };
        go().map_err(|cause: Cause| FileError::of_two("rename", from, to, cause))
    }
}

/// A folder that is being copied: where to, what of it is still to come, and what it is to look like in the end.
struct Level {
    from: OwnedFd,
    entries: rustix::fs::Dir,
    to: OwnedFd,
    stat: Stat,
}

fn copy(source: &Place, stat: &Stat, dir: &Dir, name: &OsStr) -> Result<(), Cause> {
    let around = identity(&rustix::fs::fstat(dir)?);
    let mut way: Vec<Level> = Vec::new();
    way.extend(copy_one(&source.dir, &source.name, dir, name)?);
    while let Some(level) = way.last_mut() {
        if identity(&level.stat) == around {
            return Err(Cause::IntoItself);
        }
        if level.stat.st_dev != stat.st_dev {
            return Err(Cause::Refused("another file system is mounted in it".to_owned()));
        }
        match level.entries.next().transpose()? {
            Some(entry) => {
                let name = OsStr::from_bytes(entry.file_name().to_bytes());
                if name != "." && name != ".." {
                    let below = copy_one(&level.from, name, &level.to, name)?;
                    way.extend(below);
                    if way.len() > limits::COPY_DEPTH {
                        let text = format!("it is more than {} folders deep", limits::COPY_DEPTH);
                        return Err(Cause::Refused(text));
                    }
                }
            }
            None => {
                if let Some(done) = way.pop() {
                    dress(&done.to, &done.stat)?;
                }
            }
        }
    }
    Ok(())
}

/// Copies a file or a link. If that fails, nothing is left of it.
pub(super) fn copy_alone(from: &impl AsFd, name: &OsStr, to: &impl AsFd, new: &OsStr) -> Result<(), Cause> {
    let (cause, made) = match copy_one(from, name, to, new) {
        Ok(None) => return Ok(()),
        Ok(Some(_)) => (Errno::EISDIR.into(), AtFlags::REMOVEDIR),
        // Somebody else's.
        Err(cause @ Cause::System(Errno::EEXIST)) => return Err(cause),
        Err(cause) => (cause, AtFlags::empty()),
    };
    let _ = rustix::fs::unlinkat(to, new, made);
    Err(cause)
}

/// Copies one thing. Of a folder, the folder alone: what is in it is still to come.
fn copy_one(from: &impl AsFd, name: &OsStr, to: &impl AsFd, new: &OsStr) -> Result<Option<Level>, Cause> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let found = rustix::fs::openat(from, name, flags, Mode::empty())?;
    let stat = rustix::fs::fstat(&found)?;
    match Kind::of(&stat) {
        Kind::Folder => {
            rustix::fs::mkdirat(to, new, Mode::RWXU)?;
            let from = rustix::fs::openat(&found, ".", FOLDER, Mode::empty())?;
            let to = rustix::fs::openat(to, new, FOLDER, Mode::empty())?;
            Ok(Some(Level { entries: rustix::fs::Dir::read_from(&from)?, from, to, stat }))
        }
        Kind::File => {
            let mut content = File::from(reopen(&found, OFlags::RDONLY)?);
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
            let mut copied = File::from(rustix::fs::openat(to, new, flags, Mode::RUSR | Mode::WUSR)?);
            io::copy(&mut content, &mut copied)?;
            dress(&copied, &stat)?;
            Ok(None)
        }
        Kind::Link => {
            let target =
                OsString::from(OsStr::from_bytes(rustix::fs::readlinkat(from, name, Vec::new())?.as_bytes()));
            rustix::fs::symlinkat(target, to, new)?;
            let _ = rustix::fs::chownat(to, new, owner(&stat), group(&stat), AtFlags::SYMLINK_NOFOLLOW);
            Ok(None)
        }
        Kind::Special => Err(Cause::Special),
    }
}

/// Gives a copy the permissions, times and, if that is allowed, the owner of the original.
fn dress(copied: &impl AsFd, stat: &Stat) -> Result<(), Cause> {
    let owned = rustix::fs::fchown(copied, owner(stat), group(stat)).is_ok();
    // Not the right to be somebody else, if it would be another one.
    let mode = if owned { stat.st_mode & 0o7777 } else { stat.st_mode & 0o777 };
    rustix::fs::fchmod(copied, Mode::from_raw_mode(mode))?;
    let time = |seconds, nanoseconds: u64| Timespec { tv_sec: seconds, tv_nsec: nanoseconds.cast_signed() };
    let times = Timestamps {
        last_access: time(stat.st_atime, stat.st_atime_nsec),
        last_modification: time(stat.st_mtime, stat.st_mtime_nsec),
    };
    Ok(rustix::fs::futimens(copied, &times)?)
}

fn owner(stat: &Stat) -> Option<Uid> {
    Some(Uid::from_raw(stat.st_uid))
}

fn group(stat: &Stat) -> Option<Gid> {
    Some(Gid::from_raw(stat.st_gid))
}
