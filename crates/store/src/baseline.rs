//! Sealed baselines through time, and the directory records they are made of.

use crate::Store;
use crate::error::StoreError;
use rusqlite::{Connection, OptionalExtension, Row};
use std::sync::{Mutex, PoisonError};
use waxseal_ledger::leaf::{By, LeafText, Sealed};
use waxseal_ledger::tree;
use waxseal_model::{Digest, Timestamp};

/// A baseline that has been sealed and is about to be stored.
#[derive(Debug, Clone)]
pub struct NewBaseline {
    /// The hash of the record of roots.
    pub root: Digest,
    /// The signed note.
    pub seal: String,
    /// The rules under which it was taken, as text.
    pub rules: String,
    /// When it was sealed.
    pub time: Timestamp,
    /// When the scan that it rests on began: what changed at or after this moment may have been read before it did.
    pub scan_start: Timestamp,
    /// Who sealed it.
    pub who: String,
    /// Why.
    pub note: String,
    /// Entries of all types.
    pub entries: u64,
    /// Regular files.
    pub files: u64,
    /// Bytes hashed.
    pub bytes: u64,
}

/// A stored baseline. Its seal has not been verified by this crate.
#[derive(Debug, Clone)]
pub struct Baseline {
    /// Counted from 1.
    pub generation: u64,
    /// What was stored.
    pub stored: NewBaseline,
}

/// Stores a baseline as the next generation.
pub(crate) fn insert_baseline(connection: &Connection, b: &NewBaseline) -> Result<u64, StoreError> {
    connection.execute(
        "INSERT INTO baseline(root, seal, rules, time, scan_start, who, note, entries, files, bytes)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        rusqlite::params![
            b.root,
            b.seal,
            b.rules,
            b.time.as_micros(),
            b.scan_start.as_micros(),
            b.who,
            b.note,
            number(b.entries),
            number(b.files),
            number(b.bytes)
        ],
    )?;
    Ok(connection.last_insert_rowid().unsigned_abs())
}

/// The leaf of a baseline, as its row has it.
pub(crate) fn sealed_leaf(generation: u64, b: &NewBaseline) -> Sealed {
    Sealed {
        generation,
        root: b.root,
        entries: b.entries,
        files: b.files,
        bytes: b.bytes,
        scan_start: Timestamp::from_micros(b.scan_start.as_micros()),
        rules: tree::rules_hash(&b.rules),
        seal: tree::seal_hash(&b.seal),
        by: By { user: LeafText::new(&b.who), ..By::default() },
        note: LeafText::new(&b.note),
    }
}

/// SQLite's integers are signed; counts never come near the limit.
pub(crate) fn number(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// A number that has no sign.
pub(crate) fn natural(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let number: i64 = row.get(column)?;
    u64::try_from(number).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, number))
}

const COLUMNS: &str = "generation, root, seal, rules, time, scan_start, who, note, entries, files, bytes";

fn from_row(row: &Row<'_>) -> rusqlite::Result<Baseline> {
    let count = |i| natural(row, i);
    let time = |i| row.get::<_, i64>(i).map(Timestamp::from_micros);
    Ok(Baseline {
        generation: count(0)?,
        stored: NewBaseline {
            root: row.get(1)?,
            seal: row.get(2)?,
            rules: row.get(3)?,
            time: time(4)?,
            scan_start: time(5)?,
            who: row.get(6)?,
            note: row.get(7)?,
            entries: count(8)?,
            files: count(9)?,
            bytes: count(10)?,
        },
    })
}

/// All baselines, oldest first.
pub(crate) fn all(connection: &Connection) -> Result<Vec<Baseline>, StoreError> {
    let mut query = connection.prepare(&format!("SELECT {COLUMNS} FROM baseline ORDER BY generation"))?;
    let rows = query.query_map([], from_row)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

impl Store {
    /// The newest baseline.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when there is none although there is a database.
    pub fn current_baseline(&self) -> Result<Baseline, StoreError> {
        self.baseline(None)?.ok_or_else(|| StoreError::Damaged("it holds no baseline".into()))
    }

    /// The baseline of a generation, or the newest one.
    ///
    /// # Errors
    /// As the database says.
    pub fn baseline(&self, generation: Option<u64>) -> Result<Option<Baseline>, StoreError> {
        let newest = i64::MAX;
        let at = generation.map_or(newest, number);
        let sql = if generation.is_some() {
            format!("SELECT {COLUMNS} FROM baseline WHERE generation = ?1")
        } else {
            format!("SELECT {COLUMNS} FROM baseline WHERE generation <= ?1 ORDER BY generation DESC LIMIT 1")
        };
        self.read(|connection| Ok(connection.query_row(&sql, [at], from_row).optional()?))
    }

    /// All baselines, oldest first.
    ///
    /// # Errors
    /// As the database says.
    pub fn baselines(&self) -> Result<Vec<Baseline>, StoreError> {
        self.read(all)
    }

    /// Directory records as they are now, whatever is written meanwhile. While it lives, the write-ahead log
    /// cannot be cleared.
    pub fn snapshot(&self) -> Snapshot<'_> {
        Snapshot { store: self, connections: Mutex::default() }
    }
}

/// The directory records of one moment, for many threads.
#[derive(Debug)]
pub struct Snapshot<'s> {
    store: &'s Store,
    /// Each within a read transaction, so that no statement takes locks of its own.
    connections: Mutex<Vec<Connection>>,
}

impl Snapshot<'_> {
    /// The directory record of this hash.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when it is missing or does not have the hash any more.
    pub fn record(&self, hash: &Digest) -> Result<Vec<u8>, StoreError> {
        let pooled = self.connections.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let connection = match pooled {
            Some(connection) => connection,
            None => {
                let connection = self.store.take_reader()?;
                connection.execute_batch("BEGIN")?;
                connection
            }
        };
        let record = record(&connection, hash);
        self.connections.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        record
    }
}

/// The directory record of this hash.
///
/// # Errors
/// [`StoreError::Damaged`] when it is missing or does not have the hash any more.
pub(crate) fn record(connection: &Connection, hash: &Digest) -> Result<Vec<u8>, StoreError> {
    let record: Option<Vec<u8>> = connection
        .prepare_cached("SELECT record FROM node WHERE hash = ?1 LIMIT 1")?
        .query_row([hash], |row| row.get(0))
        .optional()?;
    let name = || waxseal_model::digest::hex(hash);
    match record {
        None => Err(StoreError::Damaged(format!("the directory record {} is missing", name()))),
        Some(record) if tree::directory_hash(&record) == *hash => Ok(record),
        Some(_) => Err(StoreError::Damaged(format!("the directory record {} was changed", name()))),
    }
}

impl Drop for Snapshot<'_> {
    fn drop(&mut self) {
        for connection in std::mem::take(self.connections.get_mut().unwrap_or_else(PoisonError::into_inner)) {
            if connection.execute_batch("COMMIT").is_ok() {
                self.store.put_reader(connection);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{record, store};

    #[test]
    fn what_was_stored_comes_back() {
        let (_home, store) = store();
        let (root, bytes) = record(&["/a", "/b"]);
        let baseline = store.current_baseline().unwrap();
        let stored = &baseline.stored;
        assert_eq!((baseline.generation, stored.root), (1, root));
        assert_eq!((stored.seal.as_str(), stored.rules.as_str()), ("a note", "rules"));
        assert_eq!((stored.time, stored.scan_start), (Timestamp::new(100, 0), Timestamp::new(99, 0)));
        assert_eq!((stored.entries, stored.files, stored.bytes), (2, 2, 6));
        assert_eq!(store.snapshot().record(&root).unwrap(), bytes);
    }

    #[test]
    fn a_record_that_does_not_have_its_hash_is_not_given_out() {
        let (root, _) = record(&["/a", "/b"]);
        for damage in [
            "UPDATE node SET record = zeroblob(length(record))",
            "UPDATE node SET record = substr(record, 1, length(record) - 1)",
            "UPDATE node SET record = CAST(record || x'00' AS BLOB)",
            "UPDATE node SET record = x''",
            "UPDATE node SET record = 7",
            "DELETE FROM node",
        ] {
            let (_home, store) = store();
            store.writer().execute_batch(damage).unwrap();
            let refused = store.snapshot().record(&root);
            assert!(matches!(refused, Err(StoreError::Damaged(_))), "{damage}: {refused:?}");
        }
    }

    #[test]
    fn a_database_without_a_baseline_is_damaged() {
        let (_home, store) = store();
        store.writer().execute_batch("DELETE FROM baseline").unwrap();
        assert!(matches!(store.current_baseline(), Err(StoreError::Damaged(_))));
    }
}
