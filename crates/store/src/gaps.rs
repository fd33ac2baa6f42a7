//! When nobody was watching: where, why, and for how long.

use crate::Store;
use crate::error::StoreError;
use rusqlite::{OptionalExtension, Row};
use waxseal_ledger::leaf::{Event, LeafPath, LeafText};
use waxseal_model::{RawPath, Timestamp};

/// How many gaps are kept; the oldest go.
pub(crate) const KEPT: i64 = 10_000;
/// The key under which the monitor leaves when it last watched.
const WATCHED: &str = "watched";

/// A time in which changes could not be seen as they happened, or not be recorded. They were looked for afterwards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// At and below which path; `None`: everything that is watched.
    pub path: Option<RawPath>,
    /// Why, in a word: `downtime`, what made changes impossible to record, or the reason of a rescan.
    pub reason: String,
    /// Up to then everything was seen.
    pub started: Timestamp,
    /// By then everything had been looked at again.
    pub ended: Timestamp,
}

impl Store {
    /// Remembers gaps, and that everything was seen and recorded at `now`.
    ///
    /// # Errors
    /// As the database says; nothing of it is remembered then.
    pub fn add_gaps(&self, gaps: &[Gap], now: Timestamp) -> Result<(), StoreError> {
        self.with_log(|connection, log| {
            for gap in gaps {
                let path = gap.path.as_ref();
                let leaf = Event::Blind {
                    reason: LeafText::new(&gap.reason),
                    path: path.map(LeafPath::new),
                    since: gap.started.min(gap.ended),
                    until: Some(gap.ended),
                };
                log.add(connection, now, leaf)?;
                connection.execute(
                    "INSERT INTO gap(path, path_text, reason, started, ended) VALUES (?1, ?2, ?3, ?4, ?5)",
                    rusqlite::params![
                        path.map(RawPath::as_bytes),
                        path.map(RawPath::for_people),
                        gap.reason,
                        gap.started.min(gap.ended).as_micros(),
                        gap.ended.as_micros()
                    ],
                )?;
            }
            if !gaps.is_empty() {
                connection.execute("DELETE FROM gap WHERE id <= (SELECT max(id) FROM gap) - ?1", [KEPT])?;
            }
            connection.execute(
                "INSERT OR REPLACE INTO meta(key, value) VALUES (?1, ?2)",
                (WATCHED, now.as_micros().to_string()),
            )?;
            Ok(())
        })
    }

    /// How many gaps are known, and the last `most` of them, the latest first.
    ///
    /// # Errors
    /// As the database says.
    pub fn last_gaps(&self, most: u32) -> Result<(u64, Vec<Gap>), StoreError> {
        self.read(|connection| {
            let count: i64 = connection.query_row("SELECT count(*) FROM gap", [], |row| row.get(0))?;
            let sql = "SELECT path, reason, started, ended FROM gap ORDER BY id DESC LIMIT ?1";
            let mut query = connection.prepare(sql)?;
            let gaps = query.query_map([most], gap_from)?.collect::<Result<Vec<_>, _>>()?;
            Ok((count.unsigned_abs(), gaps))
        })
    }

    /// When a monitor is last known to have watched; `None` when there never was one.
    ///
    /// # Errors
    /// As the database says.
    pub fn last_watched(&self) -> Result<Option<Timestamp>, StoreError> {
        self.read(|connection| {
            let sql = "SELECT value FROM meta WHERE key = ?1";
            let left: Option<String> = connection.query_row(sql, [WATCHED], |row| row.get(0)).optional()?;
            let left = left.and_then(|text| text.parse().ok());
            // One that was killed left nothing, but what it had seen.
            let sql = "SELECT max(last) FROM change WHERE source = 'event'";
            let seen: Option<i64> = connection.query_row(sql, [], |row| row.get(0))?;
            Ok(left.max(seen).map(Timestamp::from_micros))
        })
    }
}

fn gap_from(row: &Row<'_>) -> rusqlite::Result<Gap> {
    Ok(Gap {
        path: row.get::<_, Option<Vec<u8>>>(0)?.map(RawPath::new),
        reason: row.get(1)?,
        started: Timestamp::from_micros(row.get(2)?),
        ended: Timestamp::from_micros(row.get(3)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::store;

    fn gap(path: Option<&[u8]>, started: i64, ended: i64) -> Gap {
        Gap {
            path: path.map(RawPath::new),
            reason: "overflow".into(),
            started: Timestamp::new(started, 0),
            ended: Timestamp::new(ended, 0),
        }
    }

    #[test]
    fn the_last_ones_are_known() {
        let (_home, store) = store();
        assert_eq!(store.last_gaps(10).unwrap(), (0, Vec::new()));
        assert_eq!(store.last_watched().unwrap(), None);
        let gaps = [gap(None, 1, 2), gap(Some(b"/t\xff"), 3, 4), gap(Some(b"/u"), 5, 5)];
        store.add_gaps(&gaps[..1], Timestamp::new(7, 0)).unwrap();
        store.add_gaps(&gaps[1..], Timestamp::new(8, 0)).unwrap();
        assert_eq!(store.last_gaps(2).unwrap(), (3, vec![gaps[2].clone(), gaps[1].clone()]));
        assert_eq!(store.last_watched().unwrap(), Some(Timestamp::new(8, 0)));
        store.add_gaps(&[], Timestamp::new(9, 0)).unwrap();
        assert_eq!(store.last_watched().unwrap(), Some(Timestamp::new(9, 0)));
        // A clock that was set back makes no time that ends before it began.
        store.add_gaps(&[gap(None, 20, 10)], Timestamp::new(10, 0)).unwrap();
        assert_eq!(store.last_gaps(1).unwrap().1, [gap(None, 10, 10)]);
    }

    #[test]
    fn the_oldest_go() {
        let (_home, store) = store();
        let gaps: Vec<Gap> = (0..KEPT + 5).map(|second| gap(None, second, second)).collect();
        store.add_gaps(&gaps, Timestamp::default()).unwrap();
        assert_eq!(store.last_gaps(1).unwrap().0, KEPT.unsigned_abs());
    }
}
