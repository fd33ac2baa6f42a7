//! Files that no baseline holds and that rules allow: their first sighting stands in for one.

use crate::Store;
use crate::error::StoreError;
use waxseal_model::{FileState, RawPath, Timestamp, record};

/// A name that is tracked, and the state it had when it was first seen.
pub type Tracked = (Vec<u8>, FileState);

impl Store {
    /// What is tracked directly below a directory, sorted by name.
    ///
    /// # Errors
    /// As the database says.
    pub fn tracked_in(&self, directory: &RawPath) -> Result<Vec<Tracked>, StoreError> {
        self.read(|connection| {
            let mut query = connection
                .prepare_cached("SELECT name, state FROM tracked WHERE directory = ?1 ORDER BY name")?;
            let mut rows = query.query([directory.as_bytes()])?;
            let mut tracked = Vec::new();
            while let Some(row) = rows.next()? {
                let state: Vec<u8> = row.get(1)?;
                tracked.push((row.get(0)?, record::state_from_bytes(&state)?));
            }
            Ok(tracked)
        })
    }

    /// Tracks new names of a directory. A name that is tracked already keeps its first state.
    ///
    /// # Errors
    /// As the database says.
    pub fn track(&self, directory: &RawPath, new: &[Tracked], now: Timestamp) -> Result<(), StoreError> {
        let mut writer = self.writer();
        let transaction = writer.transaction()?;
        for (name, state) in new {
            transaction
                .prepare_cached(
                    "INSERT OR IGNORE INTO tracked(directory, name, state, first) VALUES (?1, ?2, ?3, ?4)",
                )?
                .execute((directory.as_bytes(), name, record::state_to_bytes(state), now.as_micros()))?;
        }
        Ok(transaction.commit()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{file, store};

    #[test]
    fn the_first_sighting_stays() {
        let (_home, store) = store();
        let directory = RawPath::new(b"/srv/\xff".as_slice());
        let now = Timestamp::new(1, 0);
        let names = |names: &[&[u8]], content| -> Vec<Tracked> {
            names.iter().map(|name| (name.to_vec(), file(7, content))).collect()
        };
        store.track(&directory, &names(&[b"b", b"\xfe\n"], 1), now).unwrap();
        store.track(&directory, &names(&[b"a", b"b"], 2), now).unwrap();
        let tracked = store.tracked_in(&directory).unwrap();
        let seen: Vec<(&[u8], Option<u8>)> = tracked
            .iter()
            .map(|(name, state)| (name.as_slice(), state.digests.sha256.map(|digest| digest[0])))
            .collect();
        assert_eq!(seen, [(&b"a"[..], Some(2)), (b"b", Some(1)), (b"\xfe\n", Some(1))]);
        assert_eq!(store.tracked_in(&RawPath::new(b"/srv".as_slice())).unwrap(), []);
        store.writer().execute_batch("UPDATE tracked SET state = x'ff'").unwrap();
        assert!(store.tracked_in(&directory).is_err());
    }
}
