//! The log, read.

use super::{Rows, broken_log};
use crate::Store;
use crate::anchors::Cosigned;
use crate::baseline::number;
use crate::changes;
use crate::error::StoreError;
use rusqlite::{Connection, OptionalExtension};
use waxseal_ledger::leaf::ChangeLeaf;
use waxseal_ledger::merkle;
use waxseal_model::{Change, Digest};

/// A leaf as it is stored. Nothing about it has been verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its place, from 0.
    pub seq: u64,
    /// What it says; `None` when that was deleted by the rules of retention.
    pub bytes: Option<Vec<u8>>,
    /// Its hash.
    pub hash: Digest,
}

impl Store {
    /// The last checkpoint, a signed note; `None` when there is no log yet.
    ///
    /// # Errors
    /// As the database says.
    pub fn checkpoint(&self) -> Result<Option<String>, StoreError> {
        self.log_snapshot(|log| log.checkpoint())
    }

    /// How many leaves the log has.
    ///
    /// # Errors
    /// As the database says.
    pub fn log_size(&self) -> Result<u64, StoreError> {
        self.read(super::size)
    }

    /// Reads the log and what belongs to it as they stand at one moment.
    ///
    /// # Errors
    /// As the database says, or as `look` does.
    pub fn log_snapshot<T, E: From<StoreError>>(
        &self,
        look: impl FnOnce(&LogSnapshot<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut answer = None;
        self.read(|connection| {
            let transaction = connection.unchecked_transaction()?;
            answer = Some(look(&LogSnapshot { connection: &transaction }));
            Ok(())
        })?;
        answer.unwrap_or_else(|| Err(StoreError::Damaged("the log was not read".into()).into()))
    }
}

/// The log at one moment.
pub struct LogSnapshot<'c> {
    pub(crate) connection: &'c Connection,
}

impl LogSnapshot<'_> {
    /// The last checkpoint.
    ///
    /// # Errors
    /// As the database says.
    pub fn checkpoint(&self) -> Result<Option<String>, StoreError> {
        Ok(self.connection.query_row("SELECT note FROM checkpoint", [], |row| row.get(0)).optional()?)
    }

    /// Calls `each` with every leaf from `first` on, in order. Those that are missing are left out.
    ///
    /// # Errors
    /// As the database says, or the first error of `each`.
    pub fn each_leaf<E: From<StoreError>>(
        &self,
        first: u64,
        mut each: impl FnMut(Entry) -> Result<(), E>,
    ) -> Result<(), E> {
        let from = |error: rusqlite::Error| E::from(StoreError::from(error));
        let sql = "SELECT seq, bytes, hash FROM leaf WHERE seq >= ?1 ORDER BY seq";
        let mut query = self.connection.prepare_cached(sql).map_err(from)?;
        let rows = query.query_map([number(first)], |row| {
            Ok(Entry { seq: row.get::<_, i64>(0)?.unsigned_abs(), bytes: row.get(1)?, hash: row.get(2)? })
        });
        for entry in rows.map_err(from)? {
            each(entry.map_err(from)?)?;
        }
        Ok(())
    }

    /// The proof that the first `old` leaves are the beginning of the first `new` ones; `old` is 1 to `new`.
    ///
    /// # Errors
    /// As the database says, or when hashes are missing.
    pub fn consistency(&self, old: u64, new: u64) -> Result<Vec<Digest>, StoreError> {
        merkle::consistency(&Rows(self.connection), old, new).map_err(broken_log)
    }

    /// The last checkpoint that each witness cosigned, in the order of their names. Nothing about it has been verified.
    ///
    /// # Errors
    /// As the database says.
    pub fn cosigned(&self) -> Result<Vec<Cosigned>, StoreError> {
        let mut query = self.connection.prepare("SELECT note, line FROM cosigned ORDER BY name")?;
        let rows = query.query_map([], |row| Ok(Cosigned { note: row.get(0)?, line: row.get(1)? }))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// How many leaves there are.
    ///
    /// # Errors
    /// As the database says.
    pub fn size(&self) -> Result<u64, StoreError> {
        super::size(self.connection)
    }

    /// The record of a change, if it still says what this leaf says of it.
    ///
    /// # Errors
    /// As the database says.
    pub fn change_of(&self, leaf: &ChangeLeaf) -> Result<Option<Change>, StoreError> {
        match changes::change(self.connection, leaf.id) {
            Ok(change) => Ok(change.filter(|change| ChangeLeaf::of(change) == *leaf)),
            // A record that cannot be read says nothing.
            Err(StoreError::Damaged(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
