//! Changes of several files by programs, such as a package manager that writes its specfile and its lock file: whole, or
//! they have not happened.
//!
//! Such a program writes as it likes, also in place, and may end half-way, and so may the agent. So what is there is
//! copied before it starts, each file beside itself under a name that [`is_temporary`](super::is_temporary) knows: to put
//! one back is to rename, for which there is room on the fullest disk. A *journal* in the scratch folder names the files
//! and their copies. While it is there the change is undecided, and whoever finds it rolls the change back: this agent
//! ([`Rollback::roll_back`]) or the next one ([`Workspace::roll_back_left`]).
//!
//! A file that a client has written meanwhile, through the agent, and nobody after him, stays as he has it. What else stands
//! where a file is put back is not destroyed, for somebody may have edited it meanwhile, too ([`Replaced`]).
//!
//! What it deliberately does not do: start or stop a program, which must have ended before anything is put back; look
//! after folders and what else a program makes; hold off others who write the same files.

mod journal;
mod put_back;
mod replaced;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{MutexGuard, PoisonError};

use nix::errno::Errno;
use rustix::fs::{AtFlags, Mode, OFlags};

use super::across::copy_alone;
use super::change::sync_folder;
use super::error::{Cause, FileError, shown};
use super::metadata::{Kind, Metadata};
use super::place::Place;
use super::read::open_regular;
use super::{Result, Workspace};
use crate::limits;
use journal::{Entry, Original, Was};
use put_back::Attempt;
pub use replaced::Replaced;

/// A change that is under way. To be decided by [`keep`](Rollback::keep) or [`roll_back`](Rollback::roll_back).
///
/// Dropped without either, its journal and copies stay, as if the agent had been killed: the next agent rolls it back, or
/// this one as soon as it calls [`Workspace::roll_back_left`]. Until then no other change can begin.
#[derive(Debug)]
#[must_use = "dropped, it is undecided until the next start of the agent"]
pub struct Rollback {
    workspace: Workspace,
    entries: Vec<Entry>,
    _open: Open,
}

/// A file that is as it was before the change, or as a client has made it since.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// The file, from the root. One that was not there before is gone now.
    pub path: PathBuf,
    /// What has become of what stood there.
    pub replaced: Replaced,
}

/// Files that clients have written through the agent while a change is under way: what they have made of them is theirs.
#[derive(Debug, Default)]
pub(super) struct Written(VecDeque<Metadata>);

/// Held while a change is under way in this agent.
#[derive(Debug)]
struct Open(Workspace);

impl Drop for Open {
    fn drop(&mut self) {
        *self.0.changing() = None;
    }
}

impl Workspace {
    /// Begins a change of these files, which need not be there: takes copies of what they hold now, with permissions and,
    /// where the agent may give it, owner. Of a path that is a link, the link and what it leads to are meant.
    ///
    /// # Errors
    /// If another change is under way; for what is neither file nor link; for more than [`limits::CHANGE_FILES`] files, or
    /// [`limits::CHANGE_BYTES`] in them; if the disk is full. Then nothing has happened.
    pub fn begin_change(&self, files: &[&Path]) -> Result<Rollback> {
        let refused = |text: String| {
            let first = files.first().copied().unwrap_or(Path::new(""));
            FileError::new("change", first, Cause::Refused(text))
        };
        if files.len() > limits::CHANGE_FILES {
            let (count, limit) = (files.len(), limits::CHANGE_FILES);
            return Err(refused(format!("{count} files are more than the {limit} of one change")));
        }
        let open = self.open_change().ok_or_else(|| refused("another change is under way".to_owned()))?;
        if journal::is_there(self.scratch()).map_err(|cause| self.journal_error("open", cause))? {
            return Err(refused("an earlier change has not been rolled back yet".to_owned()));
        }
        let mut rollback = Rollback { workspace: self.clone(), entries: Vec::new(), _open: open };
        if let Err(error) = rollback.prepare(files) {
            rollback.forget();
            return Err(error);
        }
        Ok(rollback)
    }

    fn open_change(&self) -> Option<Open> {
        let mut changing = self.changing();
        if changing.is_some() {
            return None;
        }
        *changing = Some(Written::default());
        Some(Open(self.clone()))
    }

    fn changing(&self) -> MutexGuard<'_, Option<Written>> {
        self.0.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A client has written this file: while a change is under way that is remembered.
    pub(super) fn note_written(&self, file: &Metadata) {
        if let Some(Written(files)) = self.changing().as_mut() {
            if files.len() >= limits::CHANGE_WRITTEN {
                files.pop_front();
            }
            files.push_back(*file);
        }
    }

    /// Whether the last to write this file was a client, during the change that is under way.
    fn is_written(&self, file: &Metadata) -> bool {
        let same =
            |one: &Metadata| (one.device, one.inode, one.changed) == (file.device, file.inode, file.changed);
        self.changing().as_ref().is_some_and(|Written(files)| files.iter().any(same))
    }

    fn journal_error(&self, doing: &'static str, cause: Cause) -> FileError {
        FileError::new(doing, &journal::path(self.scratch()), cause)
    }
}

impl Rollback {
    /// The change is good: from now on what is there now is what is there.
    ///
    /// # Errors
    /// If it cannot be told to the disk. Then it is undecided, as if this had been dropped.
    pub fn keep(self) -> Result<()> {
        if self.workspace.fsync() {
            for Entry { path, .. } in &self.entries {
                self.workspace.sync_new(path).map_err(|cause| FileError::new("sync", path, cause))?;
            }
        }
        let removed = journal::remove(self.workspace.scratch());
        removed.map_err(|cause| self.workspace.journal_error("remove", cause))?;
        self.remove_copies();
        Ok(())
    }

    /// The change has failed: what differs from what it was is put back, what was not there goes away.
    ///
    /// # Errors
    /// As [`Workspace::roll_back_left`], which is the way to another attempt.
    pub fn roll_back(self) -> Result<Vec<Restored>> {
        self.workspace.put_all_back(&self.entries, Attempt::First)
    }

    fn prepare(&mut self, files: &[&Path]) -> Result<()> {
        let mut room_bytes = limits::CHANGE_BYTES;
        for file in files {
            self.add(file, &mut room_bytes).map_err(|cause| FileError::new("change", file, cause))?;
        }
        let workspace = &self.workspace;
        // Before the disk is full.
        let written = replaced::make_folder(workspace.scratch())
            .and_then(|_| journal::write(workspace.scratch(), workspace.root(), &self.entries));
        written.map_err(|cause| workspace.journal_error("write", cause))
    }

    fn add(&mut self, file: &Path, room_bytes: &mut u64) -> Result<(), Cause> {
        let inner = self.workspace.relative(file)?;
        for what_it_leads_to in [false, true] {
            let path = self.workspace.without_links(&inner, what_it_leads_to)?;
            if self.entries.iter().any(|entry| entry.path == path) {
                continue;
            }
            let was = match self.workspace.place(&path) {
                Err(Cause::System(Errno::ENOENT)) => Was::Absent,
                place => self.workspace.copy_beside(place?.named()?, room_bytes)?,
            };
            self.entries.push(Entry { path, was });
        }
        Ok(())
    }

    /// Nothing has happened.
    fn forget(self) {
        let _ = journal::remove(self.workspace.scratch());
        self.remove_copies();
    }

    fn remove_copies(&self) {
        for Entry { path, was } in &self.entries {
            let Was::There(original) = was else { continue };
            let removed = self.workspace.place(path).and_then(|place| remove(&original.place(&place)?));
            match removed {
                // It went with its folder.
                Ok(()) | Err(Cause::System(Errno::ENOENT | Errno::ENOTDIR)) => {}
                Err(error) => {
                    tracing::warn!(%error, path = %shown(path.as_os_str()), "a copy of a file stays beside it");
                }
            }
        }
    }
}

impl Workspace {
    /// Copies what is there beside it, and returns when that is on disk.
    fn copy_beside(&self, place: Place, room_bytes: &mut u64) -> Result<Was, Cause> {
        not_a_folder(&place)?;
        let Some(stat) = &place.stat else { return Ok(Was::Absent) };
        if Kind::of(stat) == Kind::Special {
            return Err(Cause::Special);
        }
        let size_bytes = u64::try_from(stat.st_size).unwrap_or(0);
        *room_bytes = room_bytes.checked_sub(size_bytes).ok_or_else(|| Cause::TooMuch {
            what: format!("it holds {size_bytes} bytes"),
            limit: format!("{room_bytes}"),
        })?;
        let original = Original::of(stat, self.next_temporary());
        let copy = original.place(&place)?;
        let copied = copy_alone(&place.dir, &place.name, &copy.dir, &copy.name).and_then(|()| {
            if Kind::of(stat) == Kind::File {
                let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                rustix::fs::fsync(rustix::fs::openat(&copy.dir, &copy.name, flags, Mode::empty())?)?;
            }
            sync_folder(&copy.dir)
        });
        if let Err(cause) = copied {
            let _ = remove(&copy);
            return Err(cause);
        }
        Ok(Was::There(original))
    }

    /// Returns when what a program has made of a file is on disk.
    fn sync_new(&self, path: &Path) -> Result<(), Cause> {
        let place = match self.place(path) {
            Err(Cause::System(Errno::ENOENT | Errno::ENOTDIR)) => return Ok(()),
            place => place?,
        };
        if place.kind() == Some(Kind::File) {
            open_regular(&place)?.0.sync_all()?;
        }
        sync_folder(&place.dir)
    }
}

fn not_a_folder(place: &Place) -> Result<(), Cause> {
    if place.kind() == Some(Kind::Folder) { Err(Errno::EISDIR.into()) } else { Ok(()) }
}

fn remove(place: &Place) -> Result<(), Cause> {
    match rustix::fs::unlinkat(&place.dir, &place.name, AtFlags::empty()) {
        Ok(()) | Err(rustix::io::Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
