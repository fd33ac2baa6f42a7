//! How far the monitor's full scan is, so that a restart goes on where the one before ended.

use crate::baseline::number;
use crate::error::StoreError;
use crate::scans::leaf_of;
use crate::{ScanKind, ScanRecord, Store};
use rusqlite::{Connection, OptionalExtension, Row, types::FromSql};
use waxseal_model::{Digest, RawPath, Timestamp};

/// Keys in `meta`: the numbers; of what it is a scan; the first directory that is left; when the last one that ended began.
const NUMBERS: &str = "full_scan";
const BASIS: &str = "full_scan_basis";
const NEXT: &str = "full_scan_next";
const LAST: &str = "full_scan_last";

/// A full scan of the monitor that goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FullScan {
    /// When it began.
    pub started: Timestamp,
    /// The hash of all that decides what is scanned, and against what.
    pub basis: Digest,
    /// The first directory that was not looked at, in the order of the scan; `None` at the beginning.
    pub next: Option<RawPath>,
    /// Entries looked at so far.
    pub checked: u64,
    /// Places that could not be looked at so far.
    pub errors: u64,
    /// Bytes hashed so far.
    pub bytes: u64,
}

impl Store {
    /// The full scan that goes on, if one does.
    ///
    /// # Errors
    /// As the database says.
    pub fn full_scan(&self) -> Result<Option<FullScan>, StoreError> {
        self.read(|connection| {
            let numbers: Option<String> = value(connection, NUMBERS)?;
            let basis: Option<Digest> = value(connection, BASIS)?;
            let next: Option<Vec<u8>> = value(connection, NEXT)?;
            let numbers = numbers.unwrap_or_default();
            let mut numbers = numbers.split(' ').map_while(|number| number.parse::<i64>().ok());
            let mut number = || numbers.next();
            Ok((|| {
                Some(FullScan {
                    started: Timestamp::from_micros(number()?),
                    checked: number()?.unsigned_abs(),
                    errors: number()?.unsigned_abs(),
                    bytes: number()?.unsigned_abs(),
                    basis: basis?,
                    next: next.map(RawPath::new),
                })
            })())
        })
    }

    /// Remembers how far the full scan is.
    ///
    /// # Errors
    /// As the database says.
    pub fn set_full_scan(&self, scan: &FullScan) -> Result<(), StoreError> {
        let FullScan { started, basis, next, checked, errors, bytes } = scan;
        let numbers =
            format!("{} {} {} {}", started.as_micros(), number(*checked), number(*errors), number(*bytes));
        let mut writer = self.writer();
        let transaction = writer.transaction()?;
        let sql = "INSERT OR REPLACE INTO meta(key, value) VALUES (?1, ?2)";
        transaction.execute(sql, (NUMBERS, numbers))?;
        transaction.execute(sql, (BASIS, basis.as_slice()))?;
        match next {
            Some(next) => transaction.execute(sql, (NEXT, next.as_bytes()))?,
            None => transaction.execute("DELETE FROM meta WHERE key = ?1", [NEXT])?,
        };
        Ok(transaction.commit()?)
    }

    /// The full scan has ended. Where it was one of everything, that is remembered, with its outcome.
    ///
    /// # Errors
    /// As the database says; it has not ended then.
    pub fn end_full_scan(&self, record: Option<&ScanRecord>, now: Timestamp) -> Result<(), StoreError> {
        self.with_log(|transaction, log| {
            transaction.execute("DELETE FROM meta WHERE key IN (?1, ?2, ?3)", [NUMBERS, BASIS, NEXT])?;
            if let Some(record) = record {
                crate::scans::insert(transaction, ScanKind::Full, record)?;
                transaction.execute(
                    "INSERT OR REPLACE INTO meta(key, value) VALUES (?1, ?2)",
                    (LAST, record.started.as_micros().to_string()),
                )?;
                log.add(transaction, now, leaf_of(ScanKind::Full, record))?;
            }
            Ok(())
        })
    }

    /// When the monitor's last full scan of everything began, of those that ended.
    ///
    /// # Errors
    /// As the database says.
    pub fn last_full_scan(&self) -> Result<Option<Timestamp>, StoreError> {
        self.read(|connection| {
            let last: Option<String> = value(connection, LAST)?;
            Ok(last.and_then(|micros| micros.parse().ok()).map(Timestamp::from_micros))
        })
    }
}

/// What `meta` holds under a key; a value of another form is none.
fn value<T: FromSql>(connection: &Connection, key: &str) -> Result<Option<T>, StoreError> {
    let get = |row: &Row<'_>| Ok(row.get::<_, T>(0).ok());
    Ok(connection.query_row("SELECT value FROM meta WHERE key = ?1", [key], get).optional()?.flatten())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::store;

    fn scan(next: Option<&[u8]>) -> FullScan {
        FullScan {
            started: Timestamp::new(1_700_000_000, 5_000),
            basis: [7; 32],
            next: next.map(RawPath::new),
            checked: 3,
            errors: 1,
            bytes: 1 << 40,
        }
    }

    fn record() -> ScanRecord {
        let (started, ended) = (Timestamp::new(5, 0), Timestamp::new(4, 0));
        ScanRecord { started, ended, outcome: "intact".into(), checked: 9, errors: 0, bytes: 8 }
    }

    #[test]
    fn it_is_known_how_far_it_is_until_it_ends() {
        let (_home, store) = store();
        assert_eq!(store.full_scan().unwrap(), None);
        for next in [None, Some(&b"/srv/\xff\n"[..]), None] {
            store.set_full_scan(&scan(next)).unwrap();
            assert_eq!(store.full_scan().unwrap(), Some(scan(next)));
        }
        assert_eq!(store.last_full_scan().unwrap(), None);
        store.end_full_scan(Some(&record()), Timestamp::new(2_000_000_000, 0)).unwrap();
        assert_eq!(store.full_scan().unwrap(), None);
        assert_eq!(store.last_full_scan().unwrap(), Some(Timestamp::new(5, 0)));
        assert_eq!(store.last_scan(ScanKind::Full).unwrap(), Some(record()));
    }

    #[test]
    fn one_of_a_part_leaves_nothing_behind() {
        let (_home, store) = store();
        store.set_full_scan(&scan(None)).unwrap();
        store.end_full_scan(None, Timestamp::new(2_000_000_000, 0)).unwrap();
        assert_eq!(store.full_scan().unwrap(), None);
        assert_eq!((store.last_full_scan().unwrap(), store.last_scan(ScanKind::Full).unwrap()), (None, None));
    }

    #[test]
    fn what_makes_no_sense_is_no_scan() {
        let (_home, store) = store();
        for broken in ["", "1", "1 2 3 x", "one"] {
            store.set_full_scan(&scan(None)).unwrap();
            store.writer().execute("UPDATE meta SET value = ?1 WHERE key = ?2", (broken, NUMBERS)).unwrap();
            assert_eq!(store.full_scan().unwrap(), None, "{broken}");
        }
        store.set_full_scan(&scan(None)).unwrap();
        store.writer().execute("UPDATE meta SET value = x'00' WHERE key = ?1", [BASIS]).unwrap();
        assert_eq!(store.full_scan().unwrap(), None);
    }
}
