//! From a path to the open folder that holds the thing, and its name in there. After that no name is looked up again
//! but in that folder, so it does not matter what becomes of the path meanwhile.
//!
//! Folders are opened through cap-std: the kernel itself (openat2), or where there is none a walk step by step, sees to
//! it that nothing above the root is reached, however links and `..` change under way.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Component, Path, PathBuf};

use cap_std::fs::Dir;
use nix::errno::Errno;
use rustix::fs::{AtFlags, OFlags, Stat};

use super::error::{Cause, shown};
use super::metadata::{Kind, identity};
use super::{HIDDEN, Workspace, is_hidden};
use crate::limits;

/// A thing in the workspace, or where one could be.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) dir: Dir,
    /// Empty if it is the folder itself.
    pub(super) name: OsString,
    /// What is there, if anything is. Of a link, the link.
    pub(super) stat: Option<Stat>,
}

impl Place {
    pub(super) fn kind(&self) -> Option<Kind> {
        self.stat.as_ref().map(Kind::of)
    }

    /// The same, for what must be there.
    pub(super) fn existing(self) -> Result<(Self, Stat), Cause> {
        let stat = self.stat.ok_or(Errno::ENOENT)?;
        Ok((self, stat))
    }

    /// What cannot be done to the root, nor to a folder that is named by what is in it.
    pub(super) fn named(self) -> Result<Self, Cause> {
        if self.name.is_empty() { Err(Cause::Root) } else { Ok(self) }
    }

    /// The name to open it by, within the folder.
    pub(super) fn own_name(&self) -> &OsStr {
        if self.name.is_empty() { OsStr::new(".") } else { &self.name }
    }
}

/// What `dir` has under `name`; the folder itself if that is empty. Never follows a link.
pub(super) fn look(dir: &Dir, name: &OsStr) -> Result<Option<Stat>, Cause> {
    let whose = if name.is_empty() { AtFlags::EMPTY_PATH } else { AtFlags::empty() };
    match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW | whose) {
        Ok(stat) => Ok(Some(stat)),
        Err(rustix::io::Errno::NOENT) => Ok(None),
        Err(other) => Err(other.into()),
    }
}

impl Workspace {
    /// Where `path` leads; the last link is not followed.
    pub(super) fn place(&self, path: &Path) -> Result<Place, Cause> {
        let inner = self.relative(path)?;
        match self.enter(&inner) {
            Err(Cause::Outside) => self.enter(&self.without_links(&inner, false)?),
            done => done,
        }
    }

    /// Where `path` leads in the end; of a link, what it leads to, which need not exist.
    pub(super) fn target(&self, path: &Path) -> Result<Place, Cause> {
        let place = self.place(path)?;
        if place.kind() != Some(Kind::Link) {
            return Ok(place);
        }
        let target = self.enter(&self.without_links(&self.relative(path)?, true)?)?;
        // Somebody has just put another one there.
        if target.kind() == Some(Kind::Link) { Err(Errno::ELOOP.into()) } else { Ok(target) }
    }

    /// `path` from the root, without what means nothing in it.
    pub(super) fn relative(&self, path: &Path) -> Result<PathBuf, Cause> {
        let inner = if path.is_absolute() {
            path.strip_prefix(self.root()).map_err(|_| Cause::Outside)?
        } else {
            path
        };
        if inner.as_os_str().len() > limits::PATH_BYTES {
            return Err(Errno::ENAMETOOLONG.into());
        }
        Ok(inner.components().filter(|part| *part != Component::CurDir).collect())
    }

    fn enter(&self, path: &Path) -> Result<Place, Cause> {
        if path.iter().next().is_some_and(is_hidden) {
            return Err(Cause::Hidden);
        }
        let (parent, name) = match path.components().next_back() {
            Some(Component::Normal(name)) => (path.parent().unwrap_or(Path::new("")), name),
            _ => (path, OsStr::new("")),
        };
        let dir = if parent.as_os_str().is_empty() {
            self.dir().try_clone()?
        } else {
            let dir = self.dir().open_dir(parent).map_err(|error| match error.into() {
                known @ (Cause::Outside | Cause::System(Errno::ENOENT)) => known,
                // Of what is hidden this must not tell, either.
                _ if self.ends_in_hidden(parent) => Cause::Hidden,
                other => other,
            })?;
            self.not_hidden(&dir, name)?;
            dir
        };
        let stat = look(&dir, name)?;
        Ok(Place { dir, name: name.to_owned(), stat })
    }

    /// Whether the part of `path` that can be opened leads to what is hidden.
    fn ends_in_hidden(&self, path: &Path) -> bool {
        let known = path.ancestors().skip(1).find_map(|part| self.dir().open_dir(part).ok());
        known.is_some_and(|dir| matches!(self.not_hidden(&dir, OsStr::new("")), Err(Cause::Hidden)))
    }

    /// Fails if `dir` is the agent's own folder or below it, or is the root and `name` that folder: links and `..` lead
    /// there past any look at the path.
    fn not_hidden(&self, dir: &Dir, name: &OsStr) -> Result<(), Cause> {
        let root = identity(&rustix::fs::fstat(self.dir())?);
        let first = identity(&rustix::fs::fstat(dir)?);
        // Also if it is not there: nobody is to make it.
        if is_hidden(name) && first == root {
            return Err(Cause::Hidden);
        }
        let Some(hidden) = look(self.dir(), OsStr::new(HIDDEN))? else { return Ok(()) };
        let (mut at, mut above) = (first, None);
        while at != root {
            if at == identity(&hidden) {
                return Err(Cause::Hidden);
            }
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let next = match &above {
                None => rustix::fs::openat(dir, "..", flags, rustix::fs::Mode::empty())?,
                Some(above) => rustix::fs::openat(above, "..", flags, rustix::fs::Mode::empty())?,
            };
            let up = identity(&rustix::fs::fstat(&next)?);
            // The top of the file system: it was moved out of the workspace in the meantime.
            if up == at {
                return Err(Cause::Outside);
            }
            (at, above) = (up, Some(next));
        }
        Ok(())
    }

    /// `path` with its links replaced by what they say, one after the other: for paths that cannot be opened in one go
    /// because a link is absolute. What comes of it is opened like any path, so it need not be safe, only right.
    pub(super) fn without_links(&self, path: &Path, last_too: bool) -> Result<PathBuf, Cause> {
        let mut links: Vec<(PathBuf, PathBuf)> = Vec::new();
        // What is still to be gone, last things first; and which of the links says so, if it is not the path itself.
        let mut todo: Vec<(OsString, Option<usize>)> = parts_reversed(path, None);
        let mut done = PathBuf::new();
        let outside = |links: &[(PathBuf, PathBuf)], by: Option<usize>| match by.and_then(|by| links.get(by))
        {
            Some((link, target)) => {
                Cause::Link { link: shown(link.as_os_str()), target: shown(target.as_os_str()) }
            }
            None => Cause::Outside,
        };
        while let Some((part, by)) = todo.pop() {
            if part == ".." {
                if !done.pop() {
                    return Err(outside(&links, by));
                }
                continue;
            }
            let next = done.join(part);
            if todo.is_empty() && !last_too {
                return Ok(next);
            }
            let target = match self.dir().read_link_contents(&next) {
                Ok(target) => target,
                Err(error) if is_no_link(&error) => {
                    done = next;
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            if links.len() == limits::LINKS {
                return Err(Errno::ELOOP.into());
            }
            let by = Some(links.len());
            links.push((next, target.clone()));
            let target = if target.is_absolute() {
                done = PathBuf::new();
                self.relative(&target).map_err(|cause| match cause {
                    Cause::Outside => outside(&links, by),
                    other => other,
                })?
            } else {
                target
            };
            todo.extend(parts_reversed(&target, by));
        }
        Ok(done)
    }
}

/// What follows a thing that is no link, or is not there, is for whoever opens the path to complain of.
fn is_no_link(error: &io::Error) -> bool {
    matches!(error.raw_os_error().map(Errno::from_raw), Some(Errno::EINVAL | Errno::ENOENT | Errno::ENOTDIR))
}

fn parts_reversed(path: &Path, by: Option<usize>) -> Vec<(OsString, Option<usize>)> {
    let parts = path.components().filter(|part| *part != Component::CurDir);
    parts.rev().map(|part| (part.as_os_str().to_owned(), by)).collect()
}
