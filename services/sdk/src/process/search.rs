//! Finding the program: in the child's `PATH` and from the child's folder, as the child would see them.
//!
//! What it deliberately does not do: use the agent's own `PATH` or folder, or run anything.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use rustix::fs::{Access, AtFlags, CWD, FileType};

use super::error::StartError;

/// Where a program without a `PATH` variable is searched, as `execvp` does.
pub(crate) const DEFAULT_PATH: &str = "/bin:/usr/bin";

/// The absolute path of `program` for a child with this environment and folder.
///
/// # Errors
/// `NotInPath` for a bare name that is nowhere (files that cannot be run are passed over), `Program` for a path that
/// is missing, a folder, or not executable.
pub(super) fn find(program: &OsStr, env: &[(OsString, OsString)], cwd: &Path) -> Result<PathBuf, StartError> {
    if program.as_bytes().contains(&b'/') {
        let path = cwd.join(program);
        return match executable(&path) {
            Ok(()) => Ok(path),
            Err(reason) => {
                Err(StartError::Program { program: program.to_string_lossy().into_owned(), reason })
            }
        };
    }
    candidates(program, env, cwd)
        .find(|candidate| executable(candidate).is_ok())
        .ok_or_else(|| StartError::NotInPath { program: program.to_string_lossy().into_owned() })
}

/// As [`find`], but a file that is there and may not be run is told apart from none, as `execvp` does it.
///
/// # Errors
/// As [`find`], and `Program` with the reason for such a file.
pub(super) fn find_as_execvp(
    program: &OsStr,
    env: &[(OsString, OsString)],
    cwd: &Path,
) -> Result<PathBuf, StartError> {
    let denied = |candidate: PathBuf| executable(&candidate) == Err(Errno::EACCES);
    find(program, env, cwd).map_err(|error| match error {
        StartError::NotInPath { program: name } if candidates(program, env, cwd).any(denied) => {
            StartError::Program { program: name, reason: Errno::EACCES }
        }
        error => error,
    })
}

/// Where a bare name may be. An empty entry means the current folder, which `join` of an empty path gives.
fn candidates(program: &OsStr, env: &[(OsString, OsString)], cwd: &Path) -> impl Iterator<Item = PathBuf> {
    // The last of two equal names wins, as in the shells.
    let path = env.iter().rev().find(|(name, _)| name == "PATH");
    let path = path.map_or(OsStr::new(DEFAULT_PATH), |(_, value)| value.as_os_str());
    let folders = path.as_bytes().split(|byte| *byte == b':').filter(|_| !program.is_empty());
    folders.map(move |folder| cwd.join(OsStr::from_bytes(folder)).join(program))
}

/// Whether `cwd` can be a working folder.
///
/// # Errors
/// `Cwd` with the reason; without this look a missing folder could not be told from a missing program.
pub(super) fn check_folder(cwd: &Path) -> Result<(), StartError> {
    let refuse = |reason| StartError::Cwd { cwd: cwd.to_owned(), reason };
    let stat = rustix::fs::stat(cwd).map_err(|error| refuse(errno(error)))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
        return Err(refuse(Errno::ENOTDIR));
    }
    rustix::fs::accessat(CWD, cwd, Access::EXEC_OK, AtFlags::EACCESS).map_err(|error| refuse(errno(error)))
}

fn executable(path: &Path) -> Result<(), Errno> {
    let stat = rustix::fs::stat(path).map_err(errno)?;
    if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
        return Err(Errno::EISDIR);
    }
    rustix::fs::accessat(CWD, path, Access::EXEC_OK, AtFlags::EACCESS).map_err(errno)?;
    Ok(())
}

fn errno(error: rustix::io::Errno) -> Errno {
    Errno::from_raw(error.raw_os_error())
}
