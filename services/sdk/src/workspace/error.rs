//! What goes wrong with files, in the words that clients look for: `open a/b: no such file or directory`.

use std::ffi::OsStr;
use std::io;
use std::path::Path;

use nix::errno::Errno;

use super::names::to_wire;
use crate::error::printable;

/// What was tried, on which path, and why it failed.
#[derive(Debug, thiserror::Error)]
#[error("{doing} {path}: {cause}")]
pub struct FileError {
    doing: &'static str,
    path: String,
    /// Why it failed.
    pub cause: Cause,
}

/// Why a file operation failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Cause {
    /// The system's reason.
    #[error("{}", .0.desc().to_lowercase())]
    System(Errno),
    /// It is the agent's own folder, or in there, which is not there for anybody.
    #[error("no such file or directory")]
    Hidden,
    /// The path, or something on its way, is not below the workspace's root.
    #[error("the path leads out of the workspace")]
    Outside,
    /// A link on the way is what leads out.
    #[error("the link {link} leads out of the workspace, to {target}")]
    Link {
        /// The link, from the root.
        link: String,
        /// What it says.
        target: String,
    },
    /// Neither a file with content nor a folder.
    #[error("it is a device, a pipe or a socket, not a regular file")]
    Special,
    /// The root cannot be removed, moved or replaced.
    #[error("that is the workspace itself")]
    Root,
    /// A folder cannot become a part of itself.
    #[error("a folder cannot be moved into itself")]
    IntoItself,
    /// Somebody else replaces the same thing, and that takes long.
    #[error("somebody else is writing it right now, which takes long: try again in a moment")]
    Busy,
    /// More than is given in one piece.
    #[error("{what}, which is more than the {limit} that are given at once")]
    TooMuch {
        /// What there is.
        what: String,
        /// What is given.
        limit: String,
    },
    /// What the caller demanded of the file does not hold.
    #[error("{0}")]
    Refused(String),
}

impl FileError {
    /// An error of the caller's own, on `path`.
    pub fn new(doing: &'static str, path: &Path, cause: impl Into<Cause>) -> Self {
        FileError { doing, path: shown(path.as_os_str()), cause: cause.into() }
    }

    pub(super) fn of_two(doing: &'static str, from: &Path, to: &Path, cause: impl Into<Cause>) -> Self {
        let path = format!("{} {}", shown(from.as_os_str()), shown(to.as_os_str()));
        FileError { doing, path, cause: cause.into() }
    }

    /// The same for another reason.
    pub(super) fn because(self, cause: Cause) -> Self {
        FileError { cause, ..self }
    }

    /// Whether the two paths of a move are on two file systems.
    pub fn is_across(&self) -> bool {
        matches!(self.cause, Cause::System(Errno::EXDEV))
    }

    /// Whether nothing can be at that path: there is none, or a file on the way to it.
    pub fn names_nothing(&self) -> bool {
        self.is_not_found() || matches!(self.cause, Cause::System(Errno::ENOTDIR))
    }

    /// Whether there is nothing at that path.
    pub fn is_not_found(&self) -> bool {
        matches!(self.cause, Cause::System(Errno::ENOENT) | Cause::Hidden)
    }
}

impl From<io::Error> for Cause {
    fn from(error: io::Error) -> Self {
        match error.raw_os_error() {
            Some(number) => Cause::System(Errno::from_raw(number)),
            // cap-std's own word for a path that leads out.
            None if error.kind() == io::ErrorKind::PermissionDenied => Cause::Outside,
            None if error.kind() == io::ErrorKind::InvalidInput => Cause::System(Errno::EINVAL),
            None => Cause::Refused(printable(&error.to_string())),
        }
    }
}

impl From<rustix::io::Errno> for Cause {
    fn from(error: rustix::io::Errno) -> Self {
        Cause::System(Errno::from_raw(error.raw_os_error()))
    }
}

impl From<Errno> for Cause {
    fn from(error: Errno) -> Self {
        Cause::System(error)
    }
}

/// A path as people may be shown it; the root is a dot, as clients call it.
pub(super) fn shown(path: &OsStr) -> String {
    if path.is_empty() { ".".to_owned() } else { printable(&to_wire(path)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_texts_are_those_that_clients_look_for() {
        let text = |errno: Errno| {
            FileError::new("open", Path::new("a/b"), errno).to_string().replace("open a/b: ", "")
        };
        assert_eq!(text(Errno::ENOENT), "no such file or directory");
        assert_eq!(text(Errno::EISDIR), "is a directory");
        assert_eq!(text(Errno::ENOTDIR), "not a directory");
        assert_eq!(text(Errno::EEXIST), "file exists");
        assert_eq!(text(Errno::EACCES), "permission denied");
        assert_eq!(text(Errno::ENOSPC), "no space left on device");
        assert_eq!(text(Errno::EROFS), "read-only file system");
        assert_eq!(
            FileError::new("open", Path::new("a\x1b[0m\n"), Cause::Root).to_string().find('\x1b'),
            None
        );
    }
}
