//! What may be done to the store in one step.

use std::ops::RangeInclusive;
use std::path::Path;

use rusqlite::{OptionalExtension, Params, Row, params};

use super::StoreError;
use crate::error::Result;

/// Where entries stand: a service's space and a name in it, once looked up. Good for as long as the name is not removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Name(i64);

/// A name with one of its entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// Where it stands.
    pub name: Name,
    /// What it is called.
    pub text: Vec<u8>,
    /// The entry.
    pub data: Vec<u8>,
}

/// One step of change.
#[derive(Debug)]
pub struct Transaction<'a> {
    sqlite: &'a rusqlite::Transaction<'a>,
    file: &'a Path,
}

impl<'a> Transaction<'a> {
    pub(super) fn new(sqlite: &'a rusqlite::Transaction<'a>, file: &'a Path) -> Self {
        Transaction { sqlite, file }
    }

    /// The name in a service's space, if there is such a one.
    ///
    /// # Errors
    /// As all methods here: if the file cannot be read or written.
    pub fn find(&self, space: &'static str, name: &[u8]) -> Result<Option<Name>> {
        let sql = "SELECT id FROM names WHERE space = ?1 AND name = ?2";
        self.one(sql, params![space, name], |row| row.get(0).map(Name))
    }

    /// The name in a service's space; it is there from now on.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn name(&self, space: &'static str, name: &[u8]) -> Result<Name> {
        if let Some(found) = self.find(space, name)? {
            return Ok(found);
        }
        self.run("INSERT INTO names (space, name) VALUES (?1, ?2)", params![space, name])?;
        Ok(Name(self.sqlite.last_insert_rowid()))
    }

    /// How many names a service has.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn count(&self, space: &'static str) -> Result<usize> {
        let sql = "SELECT count(*) FROM names WHERE space = ?1";
        let count: i64 = self.one(sql, [space], |row| row.get(0))?.unwrap_or_default();
        Ok(usize::try_from(count).unwrap_or_default())
    }

    /// All names of a service that have an entry of this number, with it.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn all(&self, space: &'static str, number: i64) -> Result<Vec<Named>> {
        let sql = "SELECT id, names.name, data FROM names JOIN entries ON entries.name = id AND number = ?2 \
                   WHERE space = ?1";
        let named =
            |row: &Row<'_>| Ok(Named { name: Name(row.get(0)?), text: row.get(1)?, data: row.get(2)? });
        self.many(sql, params![space, number], named)
    }

    /// One entry.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn get(&self, name: Name, number: i64) -> Result<Option<Vec<u8>>> {
        let sql = "SELECT data FROM entries WHERE name = ?1 AND number = ?2";
        self.one(sql, [name.0, number], |row| row.get(0))
    }

    /// The entries with these numbers, in order.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn range(&self, name: Name, numbers: RangeInclusive<i64>) -> Result<Vec<(i64, Vec<u8>)>> {
        let sql =
            "SELECT number, data FROM entries WHERE name = ?1 AND number BETWEEN ?2 AND ?3 ORDER BY number";
        let params = [name.0, *numbers.start(), *numbers.end()];
        self.many(sql, params, |row| Ok((row.get(0)?, row.get(1)?)))
    }

    /// How many bytes the entries with these numbers have. They are not read for that.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn size_bytes(&self, name: Name, numbers: RangeInclusive<i64>) -> Result<usize> {
        let sql = "SELECT sum(length(data)) FROM entries WHERE name = ?1 AND number BETWEEN ?2 AND ?3";
        let params = [name.0, *numbers.start(), *numbers.end()];
        let sum: Option<Option<i64>> = self.one(sql, params, |row| row.get(0))?;
        Ok(sum.flatten().and_then(|sum| usize::try_from(sum).ok()).unwrap_or_default())
    }

    /// The number of the last entry.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn last(&self, name: Name) -> Result<Option<i64>> {
        let sql = "SELECT number FROM entries WHERE name = ?1 ORDER BY number DESC LIMIT 1";
        self.one(sql, [name.0], |row| row.get(0))
    }

    /// Sets an entry, whether it is there or not.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn put(&self, name: Name, number: i64, data: &[u8]) -> Result<()> {
        let sql = "INSERT OR REPLACE INTO entries (name, number, data) VALUES (?1, ?2, ?3)";
        self.run(sql, params![name.0, number, data])
    }

    /// Removes the entries with these numbers.
    ///
    /// # Errors
    /// If that cannot be written.
    pub fn remove_range(&self, name: Name, numbers: RangeInclusive<i64>) -> Result<()> {
        let sql = "DELETE FROM entries WHERE name = ?1 AND number BETWEEN ?2 AND ?3";
        self.run(sql, [name.0, *numbers.start(), *numbers.end()])
    }

    /// Removes at most so many of the entries with these numbers, and says whether there may be more: a long history is
    /// removed in steps, so that nobody waits for all of it.
    ///
    /// # Errors
    /// If that cannot be written.
    pub fn remove_some(&self, name: Name, numbers: RangeInclusive<i64>, most: usize) -> Result<bool> {
        let sql = "SELECT number FROM entries WHERE name = ?1 AND number BETWEEN ?2 AND ?3 ORDER BY number LIMIT ?4";
        let most_rows = i64::try_from(most).unwrap_or(i64::MAX);
        let params = [name.0, *numbers.start(), *numbers.end(), most_rows];
        let found: Vec<i64> = self.many(sql, params, |row| row.get(0))?;
        if let (Some(first), Some(last)) = (found.first(), found.last()) {
            self.remove_range(name, *first..=*last)?;
        }
        Ok(found.len() == most)
    }

    /// Removes a name and all its entries.
    ///
    /// # Errors
    /// If that cannot be written.
    pub fn remove(&self, name: Name) -> Result<()> {
        self.run("DELETE FROM entries WHERE name = ?1", [name.0])?;
        self.run("DELETE FROM names WHERE id = ?1", [name.0])
    }

    fn run(&self, sql: &'static str, params: impl Params) -> Result<()> {
        let done = self.sqlite.prepare_cached(sql).and_then(|mut statement| statement.execute(params));
        Ok(done.map(|_rows| ()).map_err(|cause| self.failed("change", cause))?)
    }

    fn one<T>(
        &self,
        sql: &'static str,
        params: impl Params,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>> {
        let found = self
            .sqlite
            .prepare_cached(sql)
            .and_then(|mut statement| statement.query_row(params, read).optional());
        Ok(found.map_err(|cause| self.failed("read", cause))?)
    }

    fn many<T>(
        &self,
        sql: &'static str,
        params: impl Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>> {
        let found = self
            .sqlite
            .prepare_cached(sql)
            .and_then(|mut statement| statement.query_map(params, read).and_then(|rows| rows.collect()));
        Ok(found.map_err(|cause| self.failed("read", cause))?)
    }

    fn failed(&self, doing: &'static str, cause: rusqlite::Error) -> StoreError {
        StoreError::Sqlite { doing, file: self.file.to_owned(), cause }
    }
}
