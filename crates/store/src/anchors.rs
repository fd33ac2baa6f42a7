//! Where the log's checkpoints went, and that the log has grown.
//!
//! In: that a checkpoint arrived somewhere, or why not. Out: how far each place is. Nothing of it is proven by the log: a place
//! itself has the proof.

use crate::Store;
use crate::baseline::number;
use crate::error::StoreError;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use waxseal_ledger::Checkpoint;
use waxseal_ledger::note::UnverifiedNote;
use waxseal_model::{Digest, Timestamp};

/// The newest checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Newest {
    /// How many leaves it covers.
    pub size: u64,
    /// The signed note.
    pub note: String,
}

/// A checkpoint that a witness cosigned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cosigned {
    /// The checkpoint as the log has signed it, a note.
    pub note: String,
    /// The witness's line for it, with a newline.
    pub line: String,
}

impl Cosigned {
    /// The note with the line of the witness.
    pub fn whole(&self) -> String {
        format!("{}{}", self.note, self.line)
    }
}

/// How far a place for checkpoints is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anchored {
    /// The name of the place.
    pub name: String,
    /// How many leaves the last checkpoint covers that arrived there.
    pub size: Option<u64>,
    /// When it did.
    pub time: Option<Timestamp>,
    /// Why the last attempt failed.
    pub error: Option<String>,
    /// Since when attempts fail.
    pub since: Option<Timestamp>,
}

fn newest(note: String) -> Result<Newest, StoreError> {
    let damaged = |error: String| StoreError::Damaged(error);
    let claimed = UnverifiedNote::parse(&note).map_err(|error| damaged(error.to_string()))?;
    let claimed = Checkpoint::claimed(&claimed).map_err(|error| damaged(error.to_string()))?;
    Ok(Newest { size: claimed.size, note })
}

impl Store {
    /// The newest checkpoint; `None` when there is no log yet.
    ///
    /// # Errors
    /// As the database says, or when it is no checkpoint.
    pub fn newest_checkpoint(&self) -> Result<Option<Newest>, StoreError> {
        let Some(note) = self.checkpoint()? else { return Ok(None) };
        newest(note).map(Some)
    }

    /// The newest checkpoint, with the proof that the log of `seen` leaves is its beginning: none where that is as large, larger
    /// or empty. `None` when there is no log yet.
    ///
    /// # Errors
    /// As the database says, or when something of the log is missing.
    pub fn newest_since(&self, seen: u64) -> Result<Option<(Newest, Vec<Digest>)>, StoreError> {
        self.log_snapshot(|log| {
            let Some(note) = log.checkpoint()? else { return Ok(None) };
            let newest = newest(note)?;
            let proof = match (1..newest.size).contains(&seen) {
                true => log.consistency(seen, newest.size)?,
                false => Vec::new(),
            };
            Ok(Some((newest, proof)))
        })
    }

    /// The last checkpoint that each witness cosigned, in the order of their names.
    ///
    /// # Errors
    /// As the database says.
    pub fn cosigned(&self) -> Result<Vec<Cosigned>, StoreError> {
        self.log_snapshot(|log| log.cosigned())
    }

    /// How far all places are, also those that the config no longer has.
    ///
    /// # Errors
    /// As the database says.
    pub fn anchored(&self) -> Result<Vec<Anchored>, StoreError> {
        self.read(|connection| {
            let mut query =
                connection.prepare("SELECT name, size, time, error, since FROM anchor ORDER BY name")?;
            let rows = query.query_map([], |row| {
                Ok(Anchored {
                    name: row.get(0)?,
                    size: row.get::<_, Option<i64>>(1)?.map(i64::unsigned_abs),
                    time: row.get::<_, Option<i64>>(2)?.map(Timestamp::from_micros),
                    error: row.get(3)?,
                    since: row.get::<_, Option<i64>>(4)?.map(Timestamp::from_micros),
                })
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// A checkpoint of this size has arrived.
    ///
    /// # Errors
    /// As the database says.
    pub fn anchor_arrived(&self, name: &str, size: u64, time: Timestamp) -> Result<(), StoreError> {
        let sql = "INSERT INTO anchor(name, size, time) VALUES (?1, ?2, ?3) ON CONFLICT(name) \
                   DO UPDATE SET size = excluded.size, time = excluded.time, error = NULL, since = NULL";
        self.writable()?;
        self.writer().execute(sql, (name, number(size), time.as_micros()))?;
        Ok(())
    }

    /// A witness has cosigned this checkpoint.
    ///
    /// # Errors
    /// As the database says.
    pub fn witness_cosigned(
        &self,
        name: &str,
        newest: &Newest,
        line: &str,
        time: Timestamp,
    ) -> Result<(), StoreError> {
        let sql = "INSERT INTO cosigned(name, note, line) VALUES (?1, ?2, ?3) ON CONFLICT(name) \
                   DO UPDATE SET note = excluded.note, line = excluded.line";
        self.writer().execute(sql, (name, &newest.note, line))?;
        self.anchor_arrived(name, newest.size, time)
    }

    /// An attempt failed.
    ///
    /// # Errors
    /// As the database says.
    pub fn anchor_failed(&self, name: &str, error: &str, time: Timestamp) -> Result<(), StoreError> {
        let sql = "INSERT INTO anchor(name, error, since) VALUES (?1, ?2, ?3) ON CONFLICT(name) \
                   DO UPDATE SET error = excluded.error, since = coalesce(since, excluded.since)";
        self.writable()?;
        self.writer().execute(sql, (name, error, time.as_micros()))?;
        Ok(())
    }

    /// That this process has recorded something, for whoever waits for it.
    pub fn growth(&self) -> Arc<Growth> {
        Arc::clone(self.log.growth())
    }
}

/// Wakes those who wait for the record to grow.
#[derive(Debug, Default)]
pub struct Growth {
    state: Mutex<State>,
    moved: Condvar,
}

/// How far it had come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Seen {
    grown: u64,
    woken: u64,
}

#[derive(Debug, Default)]
struct State {
    seen: Seen,
    /// How many wait for the record: others need not be disturbed by it.
    listening: usize,
}

impl Growth {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The record has grown.
    pub(crate) fn grow(&self) {
        let mut state = self.lock();
        state.seen.grown = state.seen.grown.wrapping_add(1);
        if state.listening > 0 {
            self.moved.notify_all();
        }
    }

    /// Wakes all, for another reason.
    pub fn wake(&self) {
        let mut state = self.lock();
        state.seen.woken = state.seen.woken.wrapping_add(1);
        self.moved.notify_all();
    }

    /// How far it has come.
    pub fn seen(&self) -> Seen {
        self.lock().seen
    }

    /// Waits until the record has grown since, or somebody wakes all.
    pub fn wait(&self, since: Seen) {
        let mut state = self.lock();
        state.listening += 1;
        while state.seen == since {
            state = self.moved.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.listening -= 1;
    }

    /// Waits until a time, or until somebody wakes all.
    pub fn rest(&self, since: Seen, until: Instant) {
        let mut state = self.lock();
        while state.seen.woken == since.woken {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            state = self.moved.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{state_below, store_in};

    #[test]
    fn a_failure_leaves_what_arrived_and_is_over_with_the_next_arrival() {
        let home = tempfile::tempdir().unwrap();
        let store = store_in(&state_below(home.path()));
        let at = |seconds| Timestamp::new(seconds, 0);
        assert_eq!(store.anchored().unwrap(), []);
        let newest = store.newest_checkpoint().unwrap().unwrap();
        assert_eq!(newest.size, store.log_size().unwrap());
        store.anchor_failed("usb", "gone", at(1)).unwrap();
        store.anchor_failed("usb", "still gone", at(2)).unwrap();
        let row = |size: Option<u64>, time, error: Option<&str>, since| Anchored {
            name: "usb".into(),
            size,
            time,
            error: error.map(str::to_owned),
            since,
        };
        assert_eq!(store.anchored().unwrap(), [row(None, None, Some("still gone"), Some(at(1)))]);
        store.anchor_arrived("usb", 7, at(3)).unwrap();
        assert_eq!(store.anchored().unwrap(), [row(Some(7), Some(at(3)), None, None)]);
        store.anchor_failed("usb", "full", at(4)).unwrap();
        assert_eq!(store.anchored().unwrap(), [row(Some(7), Some(at(3)), Some("full"), Some(at(4)))]);
    }

    #[test]
    fn what_is_recorded_wakes_whoever_waits_for_it() {
        let home = tempfile::tempdir().unwrap();
        let store = store_in(&state_below(home.path()));
        let growth = store.growth();
        let seen = growth.seen();
        std::thread::scope(|scope| {
            scope.spawn(|| growth.wait(seen));
            store.end_epoch(Timestamp::new(2_000_000_000, 0)).unwrap();
        });
        let seen = growth.seen();
        std::thread::scope(|scope| {
            scope.spawn(|| growth.rest(seen, Instant::now() + std::time::Duration::from_secs(1 << 30)));
            growth.wake();
        });
    }
}
