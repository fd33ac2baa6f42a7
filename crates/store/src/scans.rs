//! When was looked, and how it went.

use crate::Store;
use crate::baseline::number;
use crate::error::StoreError;
use rusqlite::{Connection, OptionalExtension};
use waxseal_ledger::leaf::{Event, LeafText, Scan};
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
    /// Remembers a scan of everything, which the log tells of at `now`.
    ///
    /// # Errors
    /// As the database says.
    pub fn add_scan(&self, kind: ScanKind, scan: &ScanRecord, now: Timestamp) -> Result<(), StoreError> {
        self.with_log(|connection, log| {
            insert(connection, kind, scan)?;
            log.add(connection, now, leaf_of(kind, scan))
        })
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

/// What the log says of a scan.
pub(crate) fn leaf_of(kind: ScanKind, scan: &ScanRecord) -> Event {
    Event::Scan(Box::new(Scan {
        full: kind == ScanKind::Full,
        started: scan.started,
        ended: scan.ended,
        outcome: LeafText::new(&scan.outcome),
        checked: number(scan.checked).unsigned_abs(),
        errors: number(scan.errors).unsigned_abs(),
        bytes: number(scan.bytes).unsigned_abs(),
    }))
}

pub(crate) fn insert(connection: &Connection, kind: ScanKind, scan: &ScanRecord) -> Result<(), StoreError> {
    connection.execute(
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::store;

    #[test]
    fn the_last_scan_of_each_kind_is_known() {
        let (_home, store) = store();
        let at = Timestamp::new(2_000_000_000, 0);
        let scan = |seconds, outcome: &str| ScanRecord {
            started: Timestamp::new(seconds, 0),
            ended: Timestamp::new(seconds + 1, 0),
            outcome: outcome.into(),
            checked: 7,
            errors: 1,
            bytes: u64::MAX,
        };
        assert_eq!(store.last_scan(ScanKind::Full).unwrap(), None);
        store.add_scan(ScanKind::Full, &scan(10, "intact"), at).unwrap();
        store.add_scan(ScanKind::Quick, &scan(20, "changed"), at).unwrap();
        // By the order in which they were recorded: a clock may have been set back.
        store.add_scan(ScanKind::Full, &scan(5, "incomplete"), at).unwrap();
        let last = store.last_scan(ScanKind::Full).unwrap().unwrap();
        assert_eq!((last.outcome.as_str(), last.started), ("incomplete", Timestamp::new(5, 0)));
        assert_eq!(last.bytes, i64::MAX.unsigned_abs());
        assert_eq!(store.last_scan(ScanKind::Quick).unwrap().unwrap().outcome, "changed");
    }
}
