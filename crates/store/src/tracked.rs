//! What no baseline holds and rules allow: a sighting that was verified stands in for a sealed state.

use crate::Store;
use crate::error::StoreError;
use waxseal_model::{Digest, FileState, RawPath, Timestamp, record};

/// A name that is tracked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tracked {
    /// The name in its directory.
    pub name: Vec<u8>,
    /// The state that was verified last.
    pub state: FileState,
    /// When the look began that saw it.
    pub seen: Timestamp,
    /// When a rotation gave the name this content; of a name that ended, when that content moved on.
    pub rotated: Option<Timestamp>,
    /// The hash of the sealed state on which it stands; it counts only while that is the sealed state.
    pub base: Option<Digest>,
}

impl Store {
    /// What is tracked directly below a directory, sorted by name.
    ///
    /// # Errors
    /// As the database says.
    pub fn tracked_in(&self, directory: &RawPath) -> Result<Vec<Tracked>, StoreError> {
        self.read(|connection| {
            let mut query = connection.prepare_cached(
                "SELECT name, state, seen, rotated, base FROM tracked WHERE directory = ?1 ORDER BY name",
            )?;
            let mut rows = query.query([directory.as_bytes()])?;
            let mut tracked = Vec::new();
            while let Some(row) = rows.next()? {
                let state: Vec<u8> = row.get(1)?;
                tracked.push(Tracked {
                    name: row.get(0)?,
                    state: record::state_from_bytes(&state)?,
                    seen: Timestamp::from_micros(row.get(2)?),
                    rotated: row.get::<_, Option<i64>>(3)?.map(Timestamp::from_micros),
                    base: row.get::<_, Option<Digest>>(4)?,
                });
            }
            Ok(tracked)
        })
    }

    /// Tracks names of a directory from their first sighting. A name that is tracked already keeps its state.
    ///
    /// # Errors
    /// As the database says.
    pub fn track(&self, directory: &RawPath, new: &[Tracked]) -> Result<(), StoreError> {
        self.write_tracked(directory, new, "ON CONFLICT DO NOTHING")
    }

    /// Tracks names of a directory by what they are now; what was tracked of them before is replaced.
    ///
    /// # Errors
    /// As the database says.
    pub fn retrack(&self, directory: &RawPath, tracked: &[Tracked]) -> Result<(), StoreError> {
        self.write_tracked(
            directory,
            tracked,
            "ON CONFLICT DO UPDATE SET state = excluded.state, seen = excluded.seen,
                rotated = excluded.rotated, base = excluded.base",
        )
    }

    fn write_tracked(
        &self,
        directory: &RawPath,
        tracked: &[Tracked],
        conflict: &str,
    ) -> Result<(), StoreError> {
        // What is seen is not remembered where nothing can be: whoever looks says so, once.
        if tracked.is_empty() || self.is_read_only() {
            return Ok(());
        }
        let mut writer = self.writer();
        let transaction = writer.transaction()?;
        let sql = format!(
            "INSERT INTO tracked(directory, name, state, first, seen, rotated, base)
             VALUES (?1, ?2, ?3, ?4, ?4, ?5, ?6) {conflict}"
        );
        for one in tracked {
            transaction.prepare_cached(&sql)?.execute((
                directory.as_bytes(),
                &one.name,
                record::state_to_bytes(&one.state),
                one.seen.as_micros(),
                one.rotated.map(|time| time.as_micros()),
                one.base,
            ))?;
        }
        Ok(transaction.commit()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{file, store};

    #[test]
    fn the_first_sighting_stays_until_it_is_replaced() {
        let (_home, store) = store();
        let directory = RawPath::new(b"/srv/\xff".as_slice());
        let one = |name: &[u8], content| Tracked {
            name: name.to_vec(),
            state: file(7, content),
            seen: Timestamp::new(1, 0),
            rotated: None,
            base: None,
        };
        store.track(&directory, &[one(b"b", 1), one(b"\xfe\n", 1)]).unwrap();
        store.track(&directory, &[one(b"a", 2), one(b"b", 2)]).unwrap();
        let first = [one(b"a", 2), one(b"b", 1), one(b"\xfe\n", 1)];
        assert_eq!(store.tracked_in(&directory).unwrap(), first);
        store.retrack(&directory, &[one(b"b", 2)]).unwrap();
        assert_eq!(store.tracked_in(&directory).unwrap().get(1), Some(&one(b"b", 2)));
        assert_eq!(store.tracked_in(&RawPath::new(b"/srv".as_slice())).unwrap(), []);
        store.writer().execute_batch("UPDATE tracked SET state = x'ff'").unwrap();
        assert!(store.tracked_in(&directory).is_err());
    }
}
