//! Opening the store's file.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rusqlite::{Connection, ErrorCode};
use tracing::error;

use super::StoreError;

/// What the tables are like; a later one is not touched.
pub(super) const FORMAT: i64 = 1;

/// How long one connection waits for another: a checkpoint takes a moment, and nobody else may have the file.
const BUSY: Duration = Duration::from_secs(5);

/// Statements that are kept ready.
const STATEMENTS: usize = 32;

/// Numbers are given to names once, so that each of a million entries is small. Entries stand together by name, in order:
/// adding one at the end changes one page.
const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS names (
        id INTEGER PRIMARY KEY,
        space TEXT NOT NULL,
        name BLOB NOT NULL,
        UNIQUE (space, name)
    );
    CREATE TABLE IF NOT EXISTS entries (
        name INTEGER NOT NULL,
        number INTEGER NOT NULL,
        data BLOB NOT NULL,
        PRIMARY KEY (name, number)
    ) WITHOUT ROWID;
";

/// Opens the store, makes it if there is none, and begins anew beside one that cannot be read.
pub(super) fn open(file: &Path) -> Result<Connection, StoreError> {
    match connect(file) {
        Err(StoreError::Sqlite { cause, .. }) if is_broken(&cause) => {
            let kept = put_aside(file);
            error!(
                error = %cause,
                kept = %kept.display(),
                "the store cannot be read: what was in it is kept there, and a new one is begun"
            );
            connect(file)
        }
        other => other,
    }
}

/// Opens the store as it is.
pub(super) fn connect(file: &Path) -> Result<Connection, StoreError> {
    let failed = |cause| StoreError::Sqlite { doing: "open", file: file.to_owned(), cause };
    // Made by us, so that nobody else can look into it; what SQLite puts beside it gets the same mode.
    let _ = OpenOptions::new().create_new(true).write(true).mode(0o600).open(file);
    let connection = Connection::open(file).map_err(failed)?;
    connection.busy_timeout(BUSY).map_err(failed)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    let found: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(failed)?;
    if found > FORMAT {
        return Err(StoreError::TooNew { file: file.to_owned(), found });
    }
    connection
        .execute_batch(
            "PRAGMA journal_mode = WAL;
             PRAGMA synchronous = NORMAL;
             PRAGMA wal_autocheckpoint = 0;
             PRAGMA journal_size_limit = 4194304;
             PRAGMA temp_store = MEMORY;",
        )
        .map_err(failed)?;
    if found < FORMAT {
        let make = format!("BEGIN IMMEDIATE; {TABLES} PRAGMA user_version = {FORMAT}; COMMIT;");
        connection.execute_batch(&make).map_err(failed)?;
    }
    Ok(connection)
}

fn is_broken(cause: &rusqlite::Error) -> bool {
    matches!(cause.sqlite_error_code(), Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt))
}

/// Moves a broken store out of the way, with what belongs to it.
fn put_aside(file: &Path) -> PathBuf {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let with = |ending: &str| {
        let mut name = OsString::from(file);
        name.push(ending);
        PathBuf::from(name)
    };
    let kept = |ending: &str| with(&format!(".broken-{now}{ending}"));
    for ending in ["", "-wal", "-shm"] {
        // What cannot be moved is met again when the new one is made, and told then.
        let _ = std::fs::rename(with(ending), kept(ending));
    }
    kept("")
}
