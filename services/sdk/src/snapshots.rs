//! Everything in the workspace on disk, and the named locks that hold that off while something is half done: a package
//! being installed is of no use in a snapshot.
//!
//! One agent has one set of locks, whoever takes them. What it deliberately does not do: keep copies; that is for
//! whoever runs the container.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, Semaphore, SemaphorePermit};
use tokio::time::timeout;

use crate::error::printable;
use crate::limits;
use crate::runtimes::Runtimes;
use crate::workspace::{FileError, Workspace};

/// The locks of one agent, and whose turn it is to put things on disk. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Snapshots(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// Each lock's holder, as people know it.
    locks: Mutex<BTreeMap<String, String>>,
    released: Notify,
    turn: Semaphore,
    /// How many have begun, and which of them was the last to succeed.
    begun: AtomicU64,
    saved: AtomicU64,
}

/// A lock; it is released when this is dropped.
#[derive(Debug)]
pub struct SnapshotLock {
    of: Snapshots,
    name: String,
}

/// Why there was no lock, or no snapshot.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// A name must say something, and is no text.
    #[error("snapshot: the name of a lock has 1 to {} bytes", limits::LOCK_NAME_BYTES)]
    Name,
    /// Somebody holds it.
    #[error("snapshot: the lock {name} is held by {holder}")]
    Held {
        /// Which lock.
        name: String,
        /// By whom.
        holder: String,
    },
    /// There are as many as there may be.
    #[error("snapshot: {} locks are held, which is the limit", limits::SNAPSHOT_LOCKS)]
    TooMany,
    /// Locks were held for as long as anybody waited.
    #[error(
        "snapshot: held off for {:?} by {holders}; try again when that is released",
        limits::SNAPSHOT_WAIT
    )]
    HeldOff {
        /// Which locks, by whom.
        holders: String,
    },
    /// The disk failed.
    #[error(transparent)]
    File(#[from] FileError),
    /// Nothing runs any more.
    #[error("snapshot: given up, because the agent ends")]
    Ending,
}

impl Default for Snapshots {
    fn default() -> Self {
        Snapshots(Arc::new(Shared {
            locks: Mutex::default(),
            released: Notify::new(),
            turn: Semaphore::new(1),
            begun: AtomicU64::new(0),
            saved: AtomicU64::new(0),
        }))
    }
}

impl Snapshots {
    /// Takes a lock, for `holder`: who that is, for people.
    ///
    /// # Errors
    /// If somebody has it, whoever that is.
    pub fn take(&self, name: &str, holder: &str) -> Result<SnapshotLock, SnapshotError> {
        if name.is_empty() || name.len() > limits::LOCK_NAME_BYTES {
            return Err(SnapshotError::Name);
        }
        let mut locks = self.locks();
        if let Some(holder) = locks.get(name) {
            return Err(SnapshotError::Held { name: printable(name), holder: holder.clone() });
        }
        if locks.len() >= limits::SNAPSHOT_LOCKS {
            return Err(SnapshotError::TooMany);
        }
        locks.insert(name.to_owned(), printable(holder));
        Ok(SnapshotLock { of: self.clone(), name: name.to_owned() })
    }

    /// Who holds the lock of this name.
    pub fn holder(&self, name: &str) -> Option<String> {
        self.locks().get(name).cloned()
    }

    /// Returns when all that was in the workspace when this was called is on disk. Waits while a lock is held. Who asks
    /// while others wait shares what they get.
    ///
    /// # Errors
    /// If a lock was held for [`limits::SNAPSHOT_WAIT`], or the disk fails.
    pub async fn save(&self, workspace: &Workspace, runtimes: &Runtimes) -> Result<(), SnapshotError> {
        let asked = self.0.begun.load(Ordering::SeqCst);
        let Ok(turn) = timeout(limits::SNAPSHOT_WAIT, self.turn_without_locks()).await else {
            let holders =
                self.locks().iter().map(|(n, by)| format!("{} ({by})", printable(n))).collect::<Vec<_>>();
            return Err(SnapshotError::HeldOff { holders: holders.join(", ") });
        };
        let Some(_turn) = turn else { return Err(SnapshotError::Ending) };
        // One that began after this was called has ended well.
        if self.0.saved.load(Ordering::SeqCst) > asked {
            return Ok(());
        }
        let number = self.0.begun.fetch_add(1, Ordering::SeqCst) + 1;
        let workspace = workspace.clone();
        runtimes.long_file_work(move || workspace.sync_all()).await.ok_or(SnapshotError::Ending)??;
        self.0.saved.store(number, Ordering::SeqCst);
        Ok(())
    }

    /// The turn, at a moment in which there is no lock; one may have been taken while others had it.
    async fn turn_without_locks(&self) -> Option<SemaphorePermit<'_>> {
        loop {
            self.unlocked().await;
            let turn = self.0.turn.acquire().await.ok()?;
            if self.locks().is_empty() {
                return Some(turn);
            }
        }
    }

    async fn unlocked(&self) {
        loop {
            // Made before the look, so that a release between the two is not missed.
            let released = self.0.released.notified();
            if self.locks().is_empty() {
                return;
            }
            released.await;
        }
    }

    fn locks(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.0.locks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for SnapshotLock {
    fn drop(&mut self) {
        self.of.locks().remove(&self.name);
        self.of.0.released.notify_waiters();
    }
}
