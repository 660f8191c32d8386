//! What stood where a file was put back: the work of a program that failed, and maybe of somebody who edited the file
//! meanwhile. It is kept in the agent's own folder, the last few.
//!
//! To keep it is a second name for it where that is possible: so nothing is copied, and no room is needed. What it
//! deliberately does not do: hold up the putting back if it cannot be kept.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode};

use crate::limits;
use crate::workspace::Workspace;
use crate::workspace::across::copy_alone;
use crate::workspace::error::{Cause, shown};
use crate::workspace::metadata::Kind;
use crate::workspace::place::{Place, look};
use crate::workspace::remove::FOLDER;

const NAME: &str = "replaced";

/// Of a name, so that a number finds room behind it.
const NAME_BYTES: usize = 200;

/// What has become of what stood where a file was put back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Replaced {
    /// Nothing was there.
    Nothing,
    /// It stays: a client has written it meanwhile.
    Stays,
    /// It is kept in this file, as one of the last [`limits::CHANGE_REPLACED`].
    Kept(PathBuf),
    /// It is gone, as it could not be kept, for this reason.
    Lost(String),
}

impl fmt::Display for Replaced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Replaced::Nothing => f.write_str("nothing"),
            Replaced::Stays => f.write_str("written meanwhile, so it stays"),
            Replaced::Kept(path) => f.write_str(&shown(path.as_os_str())),
            Replaced::Lost(reason) => write!(f, "lost: {reason}"),
        }
    }
}

/// The folder, which is made if there is none.
pub(super) fn make_folder(scratch: &Path) -> Result<OwnedFd, Cause> {
    let path = scratch.join(NAME);
    match rustix::fs::mkdir(&path, Mode::RWXU) {
        Ok(()) | Err(rustix::io::Errno::EXIST) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(rustix::fs::open(&path, FOLDER, Mode::empty())?)
}

impl Workspace {
    /// Keeps what is there, as well as that goes; it is there still.
    pub(super) fn keep_replaced(&self, place: &Place) -> Replaced {
        let keep = || {
            let Some(stat) = look(&place.dir, &place.name)? else { return Ok(Replaced::Nothing) };
            let folder = make_folder(self.scratch())?;
            let name = next_name(&folder, &place.name)?;
            // On another file system, of somebody else, or where files have one name.
            if rustix::fs::linkat(&place.dir, &place.name, &folder, &name, AtFlags::empty()).is_err() {
                let size_bytes = u64::try_from(stat.st_size).unwrap_or(0);
                if size_bytes > limits::CHANGE_BYTES {
                    let limit = limits::CHANGE_BYTES.to_string();
                    return Err(Cause::TooMuch { what: format!("it holds {size_bytes} bytes"), limit });
                }
                copy_alone(&place.dir, &place.name, &folder, &name)?;
            }
            Ok(Replaced::Kept(self.scratch().join(NAME).join(name)))
        };
        keep().unwrap_or_else(|cause: Cause| Replaced::Lost(cause.to_string()))
    }
}

/// `name` with the next number, after making room for one more.
fn next_name(folder: &OwnedFd, name: &OsStr) -> Result<OsString, Cause> {
    let mut kept = Vec::new();
    for entry in rustix::fs::Dir::read_from(folder)? {
        let entry = entry?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if Kind::of_type(entry.file_type()) != Kind::Folder
            && let Some(number) = number_of(name)
        {
            kept.push((number, name.to_owned()));
        }
    }
    kept.sort_unstable();
    let next = kept.last().map_or(1, |(number, _)| u64::from(*number) + 1);
    let most = limits::CHANGE_REPLACED.saturating_sub(1);
    for (_, oldest) in kept.iter().take(kept.len().saturating_sub(most)) {
        rustix::fs::unlinkat(folder, oldest, AtFlags::empty())?;
    }
    let mut next_name = OsStr::from_bytes(&name.as_bytes()[..name.len().min(NAME_BYTES)]).to_owned();
    next_name.push(format!(".{next}"));
    Ok(next_name)
}

fn number_of(name: &OsStr) -> Option<u32> {
    let digits = name.as_bytes().rsplit(|byte| *byte == b'.').next()?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}
