//! Decisions: the next baseline and the end of the changes that it contains, or what was put back, in one transaction.

use crate::Store;
use crate::baseline::{NewBaseline, insert_baseline, number, sealed_leaf};
use crate::changes::{CHANGE_COLUMNS, change_from};
use crate::error::StoreError;
use crate::evidence::{self, Content};
use rusqlite::Connection;
use waxseal_ledger::leaf::{By, Decision, Event, LeafPath, LeafState, LeafText, Sealed};
use waxseal_model::{Change, ChangeId, Digest, FileState, Timestamp};

/// One change that was decided about, as it was shown, and the state that was approved.
#[derive(Debug, Clone)]
pub struct Approved {
    /// The open change.
    pub change: Change,
    /// What stands at its path now; nothing when absent.
    pub state: Option<FileState>,
}

/// One change that was undone.
#[derive(Debug, Clone)]
pub struct Restored {
    /// The change as it was recorded.
    pub change: Change,
    /// What stands at its path, or at the one that it had moved from, again; nothing when absent.
    pub state: Option<FileState>,
}

/// Who decided, and why.
#[derive(Debug, Clone, Default)]
pub struct Decider {
    /// Who.
    pub by: By,
    /// Why.
    pub note: String,
}

impl Store {
    /// Stores the sealed baseline that follows generation `previous`, with its new directory records, and ends these
    /// changes as approved: durably, all of it or nothing. Each change becomes a leaf of the log with the state that was
    /// approved; then come the leaf of the seal, and that of what is kept of their contents.
    ///
    /// # Errors
    /// [`StoreError::Superseded`] when another baseline was sealed meanwhile, or one of the changes moved or is over;
    /// others as the disk says. Nothing has been stored then.
    pub fn approve(
        &self,
        previous: u64,
        records: &mut dyn Iterator<Item = (&Digest, &[u8])>,
        next: &NewBaseline,
        approved: &[Approved],
        kept: &[Content],
        decider: &Decider,
    ) -> Result<u64, StoreError> {
        let mut generation = 0;
        self.with_log(|connection, log| {
            if newest(connection)? != previous {
                return Err(StoreError::Superseded);
            }
            let mut insert = connection.prepare_cached("INSERT INTO node(hash, record) VALUES (?1, ?2)")?;
            for (hash, record) in records {
                insert.execute((hash, record))?;
            }
            generation = insert_baseline(connection, next)?;
            let mut end = connection.prepare_cached(
                "UPDATE change SET status = 'approved', closed = ?3 WHERE id = ?1 AND count = ?2 AND status = 'open'",
            )?;
            for Approved { change, state } in approved {
                let at = (number(change.id.0), number(change.count), next.time.as_micros());
                if end.execute(at)? != 1 {
                    return Err(StoreError::Superseded);
                }
                let decision = Decision {
                    id: change.id,
                    path: LeafPath::new(&change.path),
                    state: state.as_ref().map(LeafState::new),
                    by: decider.by.clone(),
                    note: LeafText::new(&decider.note),
                };
                log.add(connection, next.time, Event::Approved(Box::new(decision)))?;
            }
            let sealed = Sealed { by: By { user: LeafText::new(&next.who), ..decider.by.clone() }, ..sealed_leaf(generation, next) };
            log.add(connection, next.time, Event::Sealed(Box::new(sealed)))?;
            kept.iter().try_for_each(|content| evidence::insert(connection, content).map(drop))?;
            evidence::tell(connection, log, next.time, false)
        })?;
        Ok(generation)
    }

    /// Records what `act` puts back, and ends those changes as restored, durably. Where it is done `together`, nothing else is recorded
    /// meanwhile: whoever sees what is put back finds it ended. A change that is over by then, or has moved on, is left as it is; the
    /// log tells of the path all the same.
    ///
    /// # Errors
    /// As the database says. What has been put back stays so, and the next look finds it.
    pub fn restore(
        &self,
        together: bool,
        decider: &Decider,
        time: Timestamp,
        act: impl FnOnce() -> Vec<Restored>,
    ) -> Result<Vec<Restored>, StoreError> {
        let (mut act, mut done) = (Some(act), Vec::new());
        if !together && let Some(act) = act.take() {
            done = act();
        }
        self.with_log(|connection, log| {
            if let Some(act) = act.take() {
                done = act();
            }
            let mut end = connection.prepare_cached(
                "UPDATE change SET status = 'restored', closed = ?3 WHERE id = ?1 AND count = ?2 AND status = 'open'",
            )?;
            for Restored { change, state } in &done {
                let at = (number(change.id.0), number(change.count), time.as_micros());
                let ended = end.execute(at)? == 1;
                let decision = Decision {
                    id: if ended { change.id } else { ChangeId::NONE },
                    path: LeafPath::new(&change.path),
                    state: state.as_ref().map(LeafState::new),
                    by: decider.by.clone(),
                    note: LeafText::new(&decider.note),
                };
                log.add(connection, time, Event::Restored(Box::new(decision)))?;
            }
            Ok(())
        })?;
        Ok(done)
    }

    /// The number of the newest baseline.
    ///
    /// # Errors
    /// As the database says.
    pub fn newest_generation(&self) -> Result<u64, StoreError> {
        self.read(newest)
    }

    /// The changes that were approved at this moment, which is that of a baseline's seal; by path.
    ///
    /// # Errors
    /// As the database says.
    pub fn approved_at(&self, time: Timestamp) -> Result<Vec<Change>, StoreError> {
        self.read(|connection| {
            let sql = format!(
                "SELECT {CHANGE_COLUMNS} FROM change WHERE status = 'approved' AND closed = ?1 ORDER BY path"
            );
            let mut query = connection.prepare_cached(&sql)?;
            let changes = query.query_map([time.as_micros()], change_from)?;
            Ok(changes.collect::<Result<_, _>>()?)
        })
    }
}

/// The number of the newest baseline; 0 without any.
pub(crate) fn newest(connection: &Connection) -> Result<u64, StoreError> {
    let sql = "SELECT coalesce(max(generation), 0) FROM baseline";
    let generation: i64 = connection.prepare_cached(sql)?.query_row([], |row| row.get(0))?;
    Ok(generation.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::changes::tests::{commit, modified};
    use crate::testing::{baseline, record, store};

    fn approved(store: &Store, path: &str) -> Approved {
        let change = store.open_change_of(&modified(path, 2).path).unwrap().unwrap();
        Approved { state: change.after.as_ref().map(|seen| seen.state.clone()), change }
    }

    #[test]
    fn all_of_it_is_stored_or_nothing() {
        let (_home, store) = store();
        commit(&store, &[modified("/t/a", 2), modified("/t/b", 2)]);
        let both = [approved(&store, "/t/a"), approved(&store, "/t/b")];
        let (root, bytes) = record(&["/a", "/b", "/c"]);
        let next = NewBaseline { time: Timestamp::new(2000, 0), ..baseline(root) };
        let decider = Decider::default();
        let approve = |previous, changes: &[Approved]| {
            store.approve(
                previous,
                &mut [(&root, bytes.as_slice())].into_iter(),
                &next,
                changes,
                &[],
                &decider,
            )
        };
        // On another baseline than it was decided by; and when one of the changes has moved since.
        assert!(matches!(approve(7, &both), Err(StoreError::Superseded)));
        commit(&store, &[modified("/t/a", 2), modified("/t/b", 3)]);
        let size = store.log_size().unwrap();
        assert!(matches!(approve(1, &both), Err(StoreError::Superseded)));
        assert_eq!((store.newest_generation().unwrap(), store.log_size().unwrap()), (1, size));
        assert!(store.snapshot().record(&root).is_err(), "its records went with it");
        assert_eq!(store.count_open().unwrap().iter().sum::<u64>(), 2);
        let both = [approved(&store, "/t/a"), approved(&store, "/t/b")];
        assert_eq!(approve(1, &both).unwrap(), 2);
        assert!(store.log_size().unwrap() >= size + 3, "one leaf each, and the seal");
        assert_eq!(store.count_open().unwrap().iter().sum::<u64>(), 0);
        let told = store.approved_at(next.time).unwrap();
        assert_eq!(told.iter().map(|change| change.id).collect::<Vec<_>>(), both.map(|one| one.change.id));
    }
}
