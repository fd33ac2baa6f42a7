//! When was looked, and how it went.

use crate::Store;
use crate::baseline::number;
use crate::error::StoreError;
use rusqlite::OptionalExtension;
use waxseal_model::Timestamp;

/// What kind of scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScanKind {
    /// Every byte was hashed.
    Full,
    /// Only what had moved by its times, size or inode was hashed.
    Quick,
}

impl ScanKind {
    /// As stored and shown.
    pub const fn name(self) -> &'static str {
        match self {
            ScanKind::Full => "full",
            ScanKind::Quick => "quick",
        }
    }
}

/// One scan of everything that is watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScanRecord {
    /// When it began.
    pub started: Timestamp,
    /// When it ended.
    pub ended: Timestamp,
    /// `intact`, `changed` or `incomplete`.
    pub outcome: String,
    /// Entries looked at.
    pub checked: u64,
    /// Places that could not be looked at.
    pub errors: u64,
    /// Bytes hashed.
    pub bytes: u64,
}

impl Store {
    /// Remembers a scan of everything.
    ///
    /// # Errors
    /// As the database says.
    pub fn add_scan(&self, kind: ScanKind, scan: &ScanRecord) -> Result<(), StoreError> {
        self.writer().execute(
            "INSERT INTO scan(kind, started, ended, outcome, checked, errors, bytes)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            rusqlite::params![
                kind.name(),
                scan.started.as_micros(),
                scan.ended.as_micros(),
                scan.outcome,
                number(scan.checked),
                number(scan.errors),
                number(scan.bytes)
            ],
        )?;
        Ok(())
    }

    /// The last scan of a kind.
    ///
    /// # Errors
    /// As the database says.
    pub fn last_scan(&self, kind: ScanKind) -> Result<Option<ScanRecord>, StoreError> {
        let sql = "SELECT started, ended, outcome, checked, errors, bytes FROM scan WHERE kind = ?1
                   ORDER BY id DESC LIMIT 1";
        self.read(|connection| {
            let row = connection.query_row(sql, [kind.name()], |row| {
                let count = |i| row.get::<_, i64>(i).map(i64::unsigned_abs);
                Ok(ScanRecord {
                    started: Timestamp::from_micros(row.get(0)?),
                    ended: Timestamp::from_micros(row.get(1)?),
                    outcome: row.get(2)?,
                    checked: count(3)?,
                    errors: count(4)?,
                    bytes: count(5)?,
                })
            });
            Ok(row.optional()?)
        })
    }
}
