//! Putting files back: by those who began the change, or at the next start.
//!
//! It may end at any moment and be done again: a file takes its place in one step, with its copy's name goes what is to be
//! done for it, and the journal goes last. One file that cannot be put back keeps no other one from it. What it
//! deliberately does not do: undo what was put back already when something else fails.

use std::fs::File;
use std::io::{self, Read};

use nix::errno::Errno;
use rustix::fs::Stat;

use super::journal::{self, Entry, Original, Was};
use super::{Replaced, Restored, not_a_folder, remove};
use crate::workspace::change::sync_folder;
use crate::workspace::draft::rewrite;
use crate::workspace::error::{Cause, FileError, shown};
use crate::workspace::metadata::{Kind, Metadata};
use crate::workspace::place::{Place, look};
use crate::workspace::read::open_regular;
use crate::workspace::{Result, Workspace};

/// What is compared at a time.
const PIECE_BYTES: u64 = 64 << 10;

/// Whether files may have been put back already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attempt {
    /// None: each copy must be there.
    First,
    /// Somebody may have been killed over it: of what has no copy any more he was done.
    Again,
}

impl Workspace {
    /// Rolls back the change that an earlier agent has left undecided, if there is one. To be called before anybody else
    /// sees the workspace, and after the programs of that agent were ended.
    ///
    /// # Errors
    /// If the journal cannot be understood, or a file cannot be put back; the others are. What another attempt may do is
    /// left for one; else the journal is put out of the way, under a name that the error tells.
    pub fn roll_back_left(&self) -> Result<Vec<Restored>> {
        let entries = match journal::read(self.scratch(), self.root()) {
            Ok(None) => return Ok(Vec::new()),
            Ok(Some(entries)) => entries,
            Err(cause) => return Err(self.not_put_back(self.journal_error("roll back", cause))),
        };
        let Some(_open) = self.open_change() else {
            let text = "the change is still under way".to_owned();
            return Err(self.journal_error("roll back", Cause::Refused(text)));
        };
        self.put_all_back(&entries, Attempt::Again)
    }

    pub(super) fn put_all_back(&self, entries: &[Entry], attempt: Attempt) -> Result<Vec<Restored>> {
        let mut restored = Vec::new();
        let mut errors = Vec::new();
        for entry in entries {
            match self.put_back(entry, attempt) {
                Ok(done) => restored.extend(done),
                Err(cause) => errors.push(FileError::new("roll back", &entry.path, cause)),
            }
        }
        if errors.is_empty() {
            journal::remove(self.scratch()).map_err(|cause| self.journal_error("remove", cause))?;
            return Ok(restored);
        }
        // The caller learns of one error only.
        for Restored { path, replaced } in restored {
            tracing::warn!(path = %shown(path.as_os_str()), %replaced, "put back a file of a change that failed");
        }
        let again = errors.iter().position(|error| may_pass(&error.cause));
        let error = errors.swap_remove(again.unwrap_or(0));
        for error in errors {
            tracing::warn!(%error, "a file of a change that failed cannot be put back");
        }
        Err(self.not_put_back(error))
    }

    /// Makes one file what it was. `None` if it is that already.
    fn put_back(&self, entry: &Entry, attempt: Attempt) -> Result<Option<Restored>, Cause> {
        let gone = || match (&entry.was, attempt) {
            (Was::Absent, _) | (_, Attempt::Again) => Ok(None::<Replaced>),
            _ => Err(Cause::Refused("the copy of what it held is gone".to_owned())),
        };
        let place = match self.place(&entry.path) {
            Err(Cause::System(Errno::ENOENT | Errno::ENOTDIR)) => return gone().map(|_| None),
            place => place?.named()?,
        };
        let replaced = match &entry.was {
            Was::Absent if place.stat.is_none() => None,
            Was::Absent => {
                // Nothing here proves that it is the folder that was meant.
                if self.without_links(&entry.path, false)? != entry.path {
                    return Err(Cause::Refused("a folder on its way is a link now".to_owned()));
                }
                Some(self.take_away(&place)?)
            }
            Was::There(original) => {
                let copy = original.place(&place)?;
                match &copy.stat {
                    None => gone()?,
                    Some(copied) if is_unchanged(&place, original, &copy, copied)? => {
                        remove(&copy)?;
                        None
                    }
                    Some(_) => Some(self.replace_by(&place, &copy)?),
                }
            }
        };
        // Before the journal goes; also what one before us has done.
        sync_folder(&place.dir)?;
        Ok(replaced.map(|replaced| Restored { path: entry.path.clone(), replaced }))
    }

    /// Whether what is there now is what a client has written. To be asked in the file's turn.
    fn is_clients(&self, place: &Place) -> Result<bool, Cause> {
        let stat = look(&place.dir, &place.name)?;
        Ok(stat.is_some_and(|stat| self.is_written(&Metadata::of(&stat))))
    }

    fn take_away(&self, place: &Place) -> Result<Replaced, Cause> {
        not_a_folder(place)?;
        let _turn = self.commit_turn(&place.dir, &place.name)?;
        if self.is_clients(place)? {
            return Ok(Replaced::Stays);
        }
        let replaced = self.keep_replaced(place);
        remove(place)?;
        Ok(replaced)
    }

    fn replace_by(&self, place: &Place, copy: &Place) -> Result<Replaced, Cause> {
        not_a_folder(place)?;
        // What is kept is what is replaced, even if that takes a copy of it.
        let _turn = self.commit_turn(&place.dir, &place.name)?;
        if self.is_clients(place)? {
            remove(copy)?;
            return Ok(Replaced::Stays);
        }
        let replaced = self.keep_replaced(place);
        match rustix::fs::renameat(&copy.dir, &copy.name, &place.dir, &place.name) {
            Ok(()) => {}
            // A file that something is mounted on. What was kept of it is a copy: such a file has no second name.
            Err(rustix::io::Errno::BUSY) => {
                let old = look(&place.dir, &place.name)?.ok_or(Errno::EBUSY)?;
                let (mut content, _) = open_regular(copy)?;
                let (rewritten, _) = rewrite(&mut content, &place.dir, &place.name, &old)?;
                rewritten.map_or(Ok(()), |file| file.sync_all())?;
                remove(copy)?;
            }
            Err(error) => return Err(error.into()),
        }
        Ok(replaced)
    }

    /// Puts the journal out of the way if nobody will ever do better with it.
    fn not_put_back(&self, error: FileError) -> FileError {
        if may_pass(&error.cause) {
            return error;
        }
        match journal::put_aside(self.scratch()) {
            Ok(aside) => {
                let text = format!("{}; what was to be put back is told in {}", error.cause, shown(&aside));
                error.because(Cause::Refused(text))
            }
            Err(_) => error,
        }
    }
}

/// Whether there is what was copied, with the permissions and the owner it had.
fn is_unchanged(place: &Place, original: &Original, copy: &Place, copied: &Stat) -> Result<bool, Cause> {
    let Some(stat) = &place.stat else { return Ok(false) };
    match (Kind::of(stat), Kind::of(copied)) {
        (Kind::Link, Kind::Link) => {
            let target = |place: &Place| rustix::fs::readlinkat(&place.dir, &place.name, Vec::new());
            Ok(target(place)? == target(copy)?)
        }
        (Kind::File, Kind::File) if original.has_attributes_of(stat) && stat.st_size == copied.st_size => {
            Ok(is_same(open_regular(place)?.0, open_regular(copy)?.0)?)
        }
        _ => Ok(false),
    }
}

fn is_same(mut one: File, mut other: File) -> io::Result<bool> {
    let (mut left, mut right) = (Vec::new(), Vec::new());
    loop {
        left.clear();
        right.clear();
        (&mut one).take(PIECE_BYTES).read_to_end(&mut left)?;
        (&mut other).take(PIECE_BYTES).read_to_end(&mut right)?;
        if left != right || left.is_empty() {
            return Ok(left == right);
        }
    }
}

/// Whether what was in the way may be out of it another time.
fn may_pass(cause: &Cause) -> bool {
    matches!(cause, Cause::System(_) | Cause::Busy)
}
