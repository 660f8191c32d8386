//! The files of the workspace. Every path that a client gives is opened here, and nothing here leaves the root.
//!
//! - Paths are relative to the root, or absolute with the root as their beginning. A link that is absolute is followed
//!   if what it says is below the root. `.pid1` at the root is the agent's own: it is not there for anybody, in capitals
//!   neither ([`is_hidden`]).
//! - `stat`, `list`'s entries, `remove` and `rename` mean a link itself; reading and writing mean what it leads to.
//! - Only regular files are read and written. A pipe or device is not even opened.
//! - A write is whole or has not happened: the content is gathered in a file without a name beside the target, which
//!   then takes its place ([`Draft`]). Readers see the old file or the new one, whatever happens to the agent.
//! - A change of several files by a program is whole or has not happened: what it leaves half-way is rolled back
//!   ([`Rollback`]).
//! - Names that are no text survive: [`to_wire`] and [`from_wire`].
//!
//! All methods but those of [`now`] may wait for the disk: call them through
//! [`Runtimes::file_work`](crate::runtimes::Runtimes::file_work).

mod across;
mod change;
mod changed;
mod draft;
mod edit;
mod error;
mod metadata;
mod names;
pub mod now;
mod place;
mod read;
mod remove;
mod rollback;
#[cfg(test)]
mod tests;
mod turn;

use std::ffi::OsStr;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use rustix::io::ReadWriteFlags;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub use changed::Moment;
pub use draft::Draft;
pub use error::{Cause, FileError};
pub use metadata::{Kind, Metadata};
pub use names::{from_wire, is_hidden, is_temporary, path_from_wire, to_wire};
pub use read::{Entry, Listing};
use rollback::Written;
pub use rollback::{Replaced, Restored, Rollback};
use turn::{Turn, Turns};

use crate::limits;

/// The agent's own folder, if it is in the workspace at all: at the root, under this name.
pub const HIDDEN: &str = ".pid1";

/// What file operations return.
pub type Result<T, E = FileError> = std::result::Result<T, E>;

/// What a workspace is made from.
#[derive(Clone, Debug)]
pub struct WorkspaceConfig {
    /// The root, absolute and without links.
    pub root: PathBuf,
    /// Where the content of files is gathered that cannot be written beside their place: a folder of the agent's own.
    pub scratch: PathBuf,
    /// Whether a change is on disk before it is acknowledged. Without it a change outlives the agent, but not a loss of
    /// power.
    pub fsync: bool,
}

/// The workspace of one agent. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Workspace(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: WorkspaceConfig,
    dir: Dir,
    /// How what is cached is read without waiting, if that is possible.
    quick: Option<ReadWriteFlags>,
    /// From the check of what is there to its replacement, among those who write through the agent.
    commits: Turns,
    temporaries: AtomicU64,
    /// While a change of several files is under way: what clients have written since it began.
    changing: Mutex<Option<Written>>,
    memory: Arc<Semaphore>,
}

impl Workspace {
    /// Opens the workspace.
    ///
    /// # Errors
    /// If the root cannot be opened.
    pub fn open(config: WorkspaceConfig) -> io::Result<Workspace> {
        let dir = Dir::open_ambient_dir(&config.root, ambient_authority())?;
        let quick = now::how(&dir);
        let temporaries = AtomicU64::new(RandomState::new().hash_one(std::process::id()));
        Ok(Workspace(Arc::new(Inner {
            config,
            dir,
            quick,
            commits: Turns::default(),
            temporaries,
            changing: Mutex::default(),
            memory: Arc::new(Semaphore::new(limits::LARGE_FILES_BYTES)),
        })))
    }

    /// The root, absolute.
    pub fn root(&self) -> &Path {
        &self.0.config.root
    }

    /// Waits for memory to hold that much of a file; it is given back with the result. All that holds large files
    /// shares [`limits::LARGE_FILES_BYTES`].
    pub async fn memory_for(&self, size_bytes: u64) -> Option<OwnedSemaphorePermit> {
        let share = size_bytes.min(limits::LARGE_FILES_BYTES as u64);
        self.0.memory.clone().acquire_many_owned(u32::try_from(share).unwrap_or(u32::MAX)).await.ok()
    }

    fn dir(&self) -> &Dir {
        &self.0.dir
    }

    /// The agent's own folder, which no client sees.
    pub fn scratch(&self) -> &Path {
        &self.0.config.scratch
    }

    fn fsync(&self) -> bool {
        self.0.config.fsync
    }

    fn next_temporary(&self) -> String {
        names::temporary(self.0.temporaries.fetch_add(1, Ordering::Relaxed))
    }

    /// Held while what has this name in that folder is replaced.
    fn commit_turn(&self, folder: &Dir, name: &OsStr) -> Result<Turn<'_>, Cause> {
        self.0.commits.take(metadata::identity(&rustix::fs::fstat(folder)?), name)
    }
}
