//! What outlives the agent: entries of bytes under names and numbers, in one SQLite file in the state folder.
//!
//! A service commits a change before anybody is told of it: then whatever a client has seen survives the agent, also when
//! that is killed. A loss of power may take the last moments. Commits happen where they are asked for: they take
//! microseconds, and a hop to another thread takes longer. The file is opened at first use.
//!
//! Deliberately without tables of services' own: what an entry says is theirs, where it stands is the same for all.

mod open;
mod transaction;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, TransactionBehavior};
use tracing::{debug, warn};

pub use transaction::{Name, Named, Transaction};

use crate::error::{Error, Result};
use crate::limits;
use crate::runtimes::Runtimes;

/// The store of one agent. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Store(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    file: PathBuf,
    runtimes: Runtimes,
    connection: Mutex<Option<Connection>>,
    /// Pages of changes that are not in the main file yet.
    pages: Arc<AtomicUsize>,
    is_checkpointing: AtomicBool,
    /// Held by whoever takes changes into the main file: SQLite lets a second one fail instead of wait.
    checkpoint_turn: Mutex<()>,
    /// Who uses a name alone.
    claims: Mutex<HashMap<(&'static str, Vec<u8>), String>>,
}

/// The right to use a name alone, until it is dropped.
#[derive(Debug)]
pub struct Claim {
    store: Store,
    of: (&'static str, Vec<u8>),
}

/// Why nothing was read or changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The library's own words: the disk is full, or the file cannot be read.
    #[error("cannot {doing} {}: {cause}", file.display())]
    Sqlite {
        /// What was tried.
        doing: &'static str,
        /// The store's file.
        file: PathBuf,
        /// Why it failed.
        cause: rusqlite::Error,
    },
    /// A later release has changed what is in there.
    #[error(
        "the store {} was written by a later release (its format is {found}, this one knows {}): use that release, or \
         give this one a state folder of its own with --state-dir",
        file.display(),
        open::FORMAT
    )]
    TooNew {
        /// The store's file.
        file: PathBuf,
        /// The format that was found.
        found: i64,
    },
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Error {
        Error::new(error.to_string())
    }
}

impl Store {
    /// The store in this file, which is opened, and made if need be, at first use.
    pub fn new(file: PathBuf, runtimes: Runtimes) -> Store {
        Store(Arc::new(Inner {
            file,
            runtimes,
            connection: Mutex::default(),
            pages: Arc::default(),
            is_checkpointing: AtomicBool::new(false),
            checkpoint_turn: Mutex::default(),
            claims: Mutex::default(),
        }))
    }

    /// Everything that `work` changes becomes lasting in one step, or nothing does. When this returns, it outlives the
    /// agent. Others wait meanwhile: `work` should do nothing but read and change the store.
    ///
    /// # Errors
    /// What `work` returns; or that it could not be made lasting, as when the disk is full. Then nothing has changed.
    pub fn commit<T>(&self, work: impl FnOnce(&Transaction<'_>) -> Result<T>) -> Result<T> {
        let done = self.transact(work)?;
        if self.0.pages.load(Ordering::Relaxed) > limits::STORE_CHECKPOINT_PAGES {
            self.checkpoint();
        }
        Ok(done)
    }

    fn transact<T>(&self, work: impl FnOnce(&Transaction<'_>) -> Result<T>) -> Result<T> {
        let mut guard = self.lock();
        let connection = match &mut *guard {
            Some(connection) => connection,
            none => none.insert(self.open()?),
        };
        let failed = |doing| move |cause| StoreError::Sqlite { doing, file: self.0.file.clone(), cause };
        let transaction = connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(failed("begin a change of"))?;
        let done = work(&Transaction::new(&transaction, &self.0.file))?;
        transaction.commit().map_err(failed("change"))?;
        Ok(done)
    }

    fn open(&self) -> Result<Connection, StoreError> {
        let mut connection = open::open(&self.0.file)?;
        let pages = self.0.pages.clone();
        let count = move |_: &mut rusqlite::hooks::Wal, now: i32| {
            pages.store(usize::try_from(now).unwrap_or_default(), Ordering::Relaxed);
            Ok(())
        };
        connection.wal_hook(Some(count)).map_err(|cause| StoreError::Sqlite {
            doing: "open",
            file: self.0.file.clone(),
            cause,
        })?;
        Ok(connection)
    }

    /// Takes what has gathered into the main file, by a connection of its own: nobody waits for the disk. Where changes
    /// come without a pause that never gets to the end, and at [`limits::STORE_WAL_PAGES`] everybody waits once; while the
    /// other connection is still at it, that is put off.
    fn checkpoint(&self) {
        if self.0.pages.load(Ordering::Relaxed) > limits::STORE_WAL_PAGES {
            if let Some(connection) = &*self.lock() {
                run_checkpoint(connection, "RESTART");
            }
            return;
        }
        if self.0.is_checkpointing.swap(true, Ordering::Relaxed) {
            return;
        }
        let store = self.clone();
        self.0.runtimes.spawn_blocking(move || {
            let _turn = store.checkpoint_turn();
            match open::connect(&store.0.file) {
                Ok(connection) => run_checkpoint(&connection, "PASSIVE"),
                Err(error) => warn!(error = %error, "the store's changes stay where they are for now"),
            }
            store.0.is_checkpointing.store(false, Ordering::Relaxed);
        });
    }

    /// The right to use this name alone, for a service whose channels must not share what is kept there.
    ///
    /// # Errors
    /// If somebody has it: the `holder` that was given then.
    pub fn claim(&self, space: &'static str, name: &[u8], holder: &str) -> Result<Claim, String> {
        let of = (space, name.to_owned());
        match self.claims().entry(of.clone()) {
            Entry::Occupied(taken) => Err(taken.get().clone()),
            Entry::Vacant(free) => {
                free.insert(holder.to_owned());
                Ok(Claim { store: self.clone(), of })
            }
        }
    }

    fn claims(&self) -> MutexGuard<'_, HashMap<(&'static str, Vec<u8>), String>> {
        self.0.claims.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes everything into the main file and closes it; what comes later opens it again. May wait for the disk.
    pub fn close(&self) {
        let _turn = self.checkpoint_turn();
        if let Some(connection) = self.lock().take() {
            run_checkpoint(&connection, "TRUNCATE");
        }
    }

    fn checkpoint_turn(&self) -> MutexGuard<'_, ()> {
        self.0.checkpoint_turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Connection>> {
        // A transaction that was given up half-way has been rolled back when it was dropped.
        self.0.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.store.claims().remove(&self.of);
    }
}

fn run_checkpoint(connection: &Connection, mode: &'static str) {
    let sql = format!("PRAGMA wal_checkpoint({mode})");
    match connection.query_row(&sql, [], |row| Ok((row.get::<_, i64>(1)?, row.get::<_, i64>(2)?))) {
        Ok((all, done)) => debug!(mode, all, done, "checkpoint of the store"),
        Err(error) => warn!(error = %error, "the store's changes stay where they are for now"),
    }
}

#[cfg(test)]
mod tests;
