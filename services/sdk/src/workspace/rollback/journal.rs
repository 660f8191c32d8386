//! The journal of a change: which files it is of, what they were, and where the copies are.
//!
//! It is on disk before the change begins, and is the change's only state: there it is undecided, gone it is done. What it
//! says is believed only as far as it can do no harm: paths below the root without `..`, copies by names that only the
//! agent gives. What it deliberately does not do: hold content.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::Stat;
use serde::{Deserialize, Deserializer, Serialize};

use crate::limits;
use crate::workspace::error::{Cause, shown};
use crate::workspace::metadata::Kind;
use crate::workspace::place::{Place, look};
use crate::workspace::{is_temporary, path_from_wire, to_wire};

/// One, as one change is under way at a time.
const FILE: &str = "rollback";

/// What this agent writes, and all it reads.
const FORM: u32 = 1;

/// One file of a change.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Entry {
    /// From the root, without links on the way.
    #[serde(with = "from_the_root")]
    pub(super) path: PathBuf,
    pub(super) was: Was,
}

/// What a file was.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Was {
    Absent,
    There(Original),
}

/// What is known of a file that was there, or of a link.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Original {
    /// The name of the copy, in the same folder.
    #[serde(deserialize_with = "temporary")]
    copy: String,
    mode: u32,
    owner: u32,
    group: u32,
}

#[derive(Serialize, Deserialize)]
struct Journal<E> {
    form: u32,
    /// The workspace it is of: a state folder may be given another one.
    root: String,
    files: E,
}

impl Original {
    pub(super) fn of(stat: &Stat, copy: String) -> Original {
        Original { copy, mode: stat.st_mode & 0o7777, owner: stat.st_uid, group: stat.st_gid }
    }

    pub(super) fn has_attributes_of(&self, stat: &Stat) -> bool {
        (self.mode, self.owner, self.group) == (stat.st_mode & 0o7777, stat.st_uid, stat.st_gid)
    }

    /// Where the copy is of what is at `place`.
    pub(super) fn place(&self, place: &Place) -> Result<Place, Cause> {
        let name = OsString::from(&self.copy);
        // Only what can have been copied.
        let stat = look(&place.dir, &name)?.filter(|stat| matches!(Kind::of(stat), Kind::File | Kind::Link));
        Ok(Place { dir: place.dir.try_clone()?, name, stat })
    }
}

pub(super) fn path(scratch: &Path) -> PathBuf {
    scratch.join(FILE)
}

pub(super) fn is_there(scratch: &Path) -> Result<bool, Cause> {
    Ok(path(scratch).try_exists()?)
}

/// Writes it whole, and returns when it is on disk.
pub(super) fn write(scratch: &Path, root: &Path, entries: &[Entry]) -> Result<(), Cause> {
    let journal = Journal { form: FORM, root: to_wire(root.as_os_str()).into_owned(), files: entries };
    let text = serde_json::to_vec(&journal).map_err(|error| Cause::Refused(error.to_string()))?;
    let beside = path(scratch).with_extension("new");
    let put = || {
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
        file.write_all(&text)?;
        file.sync_all()?;
        fs::rename(&beside, path(scratch))?;
        File::open(scratch)?.sync_all()
    };
    put().map_err(|error: io::Error| {
        let _ = fs::remove_file(&beside);
        error.into()
    })
}

/// What it says of `root`. `None` if there is none.
pub(super) fn read(scratch: &Path, root: &Path) -> Result<Option<Vec<Entry>>, Cause> {
    let file = match File::open(path(scratch)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let mut text = Vec::new();
    file.take(limits::CHANGE_JOURNAL_BYTES).read_to_end(&mut text)?;
    let journal: Journal<Vec<Entry>> = serde_json::from_slice(&text)
        .map_err(|error| Cause::Refused(format!("it is no journal of a change: {error}")))?;
    if journal.form != FORM {
        return Err(Cause::Refused(format!("it is of the form {}, not {FORM}", journal.form)));
    }
    if journal.root != to_wire(root.as_os_str()) {
        return Err(Cause::Refused(format!("it is of another workspace, {}", shown(journal.root.as_ref()))));
    }
    Ok(Some(journal.files))
}

/// Removes it, and returns when that is on disk.
pub(super) fn remove(scratch: &Path) -> Result<(), Cause> {
    match fs::remove_file(path(scratch)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        removed => removed?,
    }
    Ok(File::open(scratch)?.sync_all()?)
}

/// Gives it a name under which nobody looks for it, in the place of an earlier one.
pub(super) fn put_aside(scratch: &Path) -> io::Result<OsString> {
    let aside = path(scratch).with_extension("failed");
    fs::rename(path(scratch), &aside)?;
    Ok(aside.into())
}

/// A path as text and back, if it can only lead to something in the workspace.
mod from_the_root {
    use serde::{Serializer, de::Error};

    use super::*;

    pub(super) fn serialize<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&to_wire(path.as_os_str()))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
        let text = String::deserialize(deserializer)?;
        let normal = |path: &PathBuf| {
            let mut parts = path.components().peekable();
            parts.peek().is_some() && parts.all(|part| matches!(part, Component::Normal(_)))
        };
        path_from_wire(&text)
            .filter(normal)
            .ok_or_else(|| D::Error::custom("a path that is not from the root of the workspace"))
    }
}

fn temporary<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let name = String::deserialize(deserializer)?;
    if is_temporary(name.as_ref()) {
        return Ok(name);
    }
    Err(serde::de::Error::custom("a copy with a name that the agent gives to none"))
}
