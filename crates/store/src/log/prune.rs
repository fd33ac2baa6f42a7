//! Retention: what is old or too much loses its details, and a leaf says which.
//!
//! In: limits. Out: leaves without bytes, whose hashes stay, so that every proof holds; no rows of the changes that these were
//! about; and, in the same transaction, a leaf that names them all. Kept contents that nothing needs any more go by the same age. A change goes as a whole when it is over: its row with all
//! of its leaves. Keys, decisions, baselines, starts, stops, configs and what was pruned before stay for ever.

use crate::Store;
use crate::baseline::number;
use crate::error::StoreError;
use crate::evidence;
use rusqlite::{Connection, OptionalExtension};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use waxseal_ledger::Leaf;
use waxseal_ledger::leaf::{Event, LeafText, Pruned};
use waxseal_ledger::verify::RETENTION_FLOOR;
use waxseal_model::{Digest, Timestamp};

/// What is kept of details.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// How old they may become; [`RETENTION_FLOOR`] at least.
    pub age: Duration,
    /// How large the database may become, in bytes, as far as what is older than [`RETENTION_FLOOR`] can be deleted.
    pub size: u64,
}

/// What was deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Deleted {
    /// How many leaves lost their bytes.
    pub leaves: u64,
    /// How many changes went.
    pub changes: u64,
}

/// About how many leaves go in one transaction.
const PORTION: usize = 20_000;
/// How many free pages are given back in one transaction.
const PAGES: u64 = 4096;
/// From how many free pages on they are given back.
const SPARE: u64 = 32;

/// What goes together: a change that is over with all its leaves, or one leaf by itself.
#[derive(Debug, Default)]
struct Piece {
    /// The change; none for a leaf by itself.
    change: Option<u64>,
    leaves: Vec<u64>,
    /// The newest of them.
    time: Timestamp,
    /// The row that tells the same, of `gap` or `scan`.
    row: Option<(&'static str, i64)>,
}

impl Store {
    /// Deletes the details that are older than the limit, and then the oldest ones until the database is no larger than it
    /// may be. Gives back to the disk what that frees.
    ///
    /// # Errors
    /// As the database says; what was deleted by then is on record.
    pub fn prune(&self, limits: &Retention, now: Timestamp) -> Result<Deleted, StoreError> {
        let (age, floor) = (before(now, limits.age.max(RETENTION_FLOOR)), before(now, RETENTION_FLOOR));
        if !self.read(|connection| may_be_due(connection, age, limits.size))? {
            return Ok(Deleted::default());
        }
        let mut pieces = self.read(|connection| {
            let transaction = connection.unchecked_transaction()?;
            pieces(&transaction, floor)
        })?;
        pieces.sort_by_key(|piece| piece.time);
        let old = pieces.partition_point(|piece| piece.time <= age);
        let young = pieces.split_off(old);
        let mut deleted = Deleted::default();
        let days = limits.age.max(RETENTION_FLOOR).as_secs() / (24 * 3600);
        let reason = format!("older than {days} days");
        self.delete(pieces, &reason, now, &mut deleted, |_| Ok(true))?;
        let reason = format!("the oldest, since the database was larger than {} bytes", limits.size);
        self.delete(young, &reason, now, &mut deleted, |connection| Ok(used(connection)? > limits.size))?;
        self.drop_older_evidence(age, &format!("older than {days} days"), now)?;
        self.give_back()?;
        Ok(deleted)
    }

    /// Deletes pieces, the oldest first, as long as `goes_on` says so.
    fn delete(
        &self,
        pieces: Vec<Piece>,
        reason: &str,
        now: Timestamp,
        deleted: &mut Deleted,
        goes_on: impl Fn(&Connection) -> Result<bool, StoreError>,
    ) -> Result<(), StoreError> {
        let mut pieces = pieces.into_iter().peekable();
        while pieces.peek().is_some() {
            let (mut portion, mut count) = (Vec::new(), 0);
            while let Some(piece) = pieces.next_if(|_| count < PORTION) {
                count += piece.leaves.len();
                portion.push(piece);
            }
            if !self.read(|connection| goes_on(connection))? {
                return Ok(());
            }
            self.with_log(|connection, log| {
                let mut leaves = BTreeSet::new();
                let mut changes = 0;
                for piece in &portion {
                    leaves.extend(&piece.leaves);
                    changes += u64::from(piece.change.is_some());
                    forget(connection, piece)?;
                }
                blank(connection, &leaves)?;
                deleted.leaves += leaves.len() as u64;
                deleted.changes += changes;
                for (part, rows) in rows(&leaves).chunks(Pruned::MOST_ROWS).enumerate() {
                    let changes = if part == 0 { changes } else { 0 };
                    let pruned = Pruned { reason: LeafText::new(reason), changes, rows: rows.to_vec() };
                    log.add(connection, now, Event::Pruned(Box::new(pruned)))?;
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    /// Gives free pages of the file back to the disk, in portions that nobody has to wait for.
    fn give_back(&self) -> Result<(), StoreError> {
        let mut free = self.read(|connection| pragma(connection, "freelist_count"))?;
        if free <= SPARE {
            return Ok(());
        }
        let writer = self.writer();
        if pragma(&writer, "auto_vacuum")? == 0 {
            // A file from before this could be done by and by: once, when half of it is empty.
            if free > pragma(&writer, "page_count")? / 2 {
                writer.execute_batch("PRAGMA auto_vacuum = INCREMENTAL; VACUUM")?;
            }
            return Ok(());
        }
        drop(writer);
        while free > SPARE {
            let sql = format!("PRAGMA incremental_vacuum({PAGES})");
            let writer = self.writer();
            writer.execute_batch(&sql)?;
            let left = pragma(&writer, "freelist_count")?;
            if left >= free {
                break;
            }
            free = left;
        }
        // What it gave back is in the write-ahead log; the file shrinks when that is carried over.
        self.writer().query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))?;
        Ok(())
    }
}

fn before(now: Timestamp, age: Duration) -> Timestamp {
    let age = i64::try_from(age.as_micros()).unwrap_or(i64::MAX);
    Timestamp::from_micros(now.as_micros().saturating_sub(age))
}

/// Whether anything can be past the limits: all leaves are read only then.
fn may_be_due(connection: &Connection, age: Timestamp, size: u64) -> Result<bool, StoreError> {
    let first: Option<Vec<u8>> = connection
        .query_row("SELECT bytes FROM leaf WHERE seq = 0", [], |row| row.get(0))
        .optional()?
        .flatten();
    let began = first.and_then(|bytes| Leaf::parse(&bytes).ok()).map(|leaf| leaf.time);
    Ok(began.is_some_and(|began| began <= age) || used(connection)? > size)
}

fn pragma(connection: &Connection, name: &str) -> Result<u64, StoreError> {
    let value: i64 = connection.query_row(&format!("PRAGMA {name}"), [], |row| row.get(0))?;
    Ok(value.unsigned_abs())
}

/// How many bytes of the file are in use, kept contents aside, which have a budget of their own.
fn used(connection: &Connection) -> Result<u64, StoreError> {
    let pages = pragma(connection, "page_count")?.saturating_sub(pragma(connection, "freelist_count")?);
    let used = pages.saturating_mul(pragma(connection, "page_size")?);
    Ok(used.saturating_sub(evidence::size(connection)?.stored))
}

/// Whatever may go that is no younger than `floor`.
fn pieces(connection: &Connection, floor: Timestamp) -> Result<Vec<Piece>, StoreError> {
    let mut over = connection.prepare("SELECT status, closed FROM change WHERE id = ?1")?;
    // None: it stays.
    let mut changes: BTreeMap<u64, Option<Piece>> = BTreeMap::new();
    let mut is_over = |id: u64| -> Result<bool, StoreError> {
        let row =
            over.query_row([number(id)], |row| Ok((row.get::<_, String>(0)?, row.get::<_, Option<i64>>(1)?)));
        Ok(row.optional()?.is_some_and(|(status, closed)| {
            status != "open" && closed.is_some_and(|closed| closed <= floor.as_micros())
        }))
    };
    let (mut single, mut blind, mut scans) = (Vec::new(), Vec::new(), Vec::new());
    // Of each kind, among the scans.
    let mut newest = [usize::MAX; 2];
    let mut query = connection.prepare("SELECT seq, bytes FROM leaf WHERE bytes IS NOT NULL ORDER BY seq")?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        let seq = row.get::<_, i64>(0)?.unsigned_abs();
        let Ok(leaf) = Leaf::parse(row.get_ref(1)?.as_blob().unwrap_or_default()) else { continue };
        let id = match &leaf.event {
            Event::Change(change) => Some(change.id.0),
            Event::Resolved { id, .. } => Some(id.0),
            Event::Blind { until: Some(_), .. } => {
                blind.push((single.len(), leaf.time <= floor));
                None
            }
            Event::Scan(scan) => {
                scans.push((single.len(), leaf.time <= floor));
                *(if scan.full { &mut newest[0] } else { &mut newest[1] }) = scans.len() - 1;
                None
            }
            Event::Touched { .. } | Event::Heartbeat { .. } | Event::Alert { .. } => None,
            _ => continue,
        };
        if let Some(id) = id {
            let slot = match changes.entry(id) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(new) => {
                    new.insert(is_over(id)?.then(|| Piece { change: Some(id), ..Piece::default() }))
                }
            };
            // A clock that was set makes leaves that are younger than the end of their change.
            slot.take_if(|_| leaf.time > floor);
            if let Some(piece) = slot {
                piece.leaves.push(seq);
                piece.time = piece.time.max(leaf.time);
            }
        } else if leaf.time <= floor {
            single.push(Piece { leaves: vec![seq], time: leaf.time, ..Piece::default() });
        }
    }
    for (piece, goes) in newest.into_iter().filter_map(|one| scans.get(one).copied()) {
        if goes && let Some(piece) = single.get_mut(piece) {
            piece.leaves.clear();
        }
    }
    join(connection, "gap", &blind, &mut single)?;
    join(connection, "scan", &scans, &mut single)?;
    single.extend(changes.into_values().flatten());
    single.retain(|piece| !piece.leaves.is_empty());
    Ok(single)
}

/// The rows of a table and their leaves, from the newest on; the oldest rows may be gone already. `told` says of each such leaf
/// which piece it is, if it may go. The newest scans stay: they are what `status` tells.
fn join(
    connection: &Connection,
    table: &'static str,
    told: &[(usize, bool)],
    single: &mut [Piece],
) -> Result<(), StoreError> {
    let mut query = connection.prepare(&format!("SELECT id FROM {table} ORDER BY id DESC"))?;
    let ids = query.query_map([], |row| row.get::<_, i64>(0))?;
    for (id, (piece, goes)) in ids.zip(told.iter().rev()) {
        if *goes && let Some(piece) = single.get_mut(*piece) {
            piece.row = Some((table, id?));
        }
    }
    Ok(())
}

/// Takes the bytes of leaves away. Their rows are taken away and made anew: rows that only become shorter would leave pages
/// behind that are nearly empty, and the file as large as it was.
fn blank(connection: &Connection, leaves: &BTreeSet<u64>) -> Result<(), StoreError> {
    let mut delete = connection.prepare_cached("DELETE FROM leaf WHERE seq = ?1 RETURNING hash")?;
    let mut hashes: Vec<(u64, Digest)> = Vec::with_capacity(leaves.len());
    for seq in leaves {
        hashes.push((*seq, delete.query_row([number(*seq)], |row| row.get(0))?));
    }
    let mut insert = connection.prepare_cached("INSERT INTO leaf(seq, bytes, hash) VALUES (?1, NULL, ?2)")?;
    for (seq, hash) in hashes {
        insert.execute((number(seq), hash))?;
    }
    Ok(())
}

/// Takes the rows of a piece away, but for its leaves.
fn forget(connection: &Connection, piece: &Piece) -> Result<(), StoreError> {
    if let Some(id) = piece.change {
        let sql = "DELETE FROM change WHERE id = ?1 RETURNING change_set";
        let set: Option<i64> =
            connection.prepare_cached(sql)?.query_row([number(id)], |row| row.get(0)).optional()?;
        if let Some(set) = set {
            let sql = "DELETE FROM change_set WHERE id = ?1
                       AND NOT EXISTS (SELECT 1 FROM change WHERE change_set = ?1)";
            connection.prepare_cached(sql)?.execute([set])?;
            // It lasted from the first to the last of the changes that are left.
            let sql = "UPDATE change_set SET first = (SELECT min(first) FROM change WHERE change_set = ?1),
                       last = (SELECT max(last) FROM change WHERE change_set = ?1) WHERE id = ?1";
            connection.prepare_cached(sql)?.execute([set])?;
        }
    }
    if let Some((table, id)) = piece.row {
        connection.prepare_cached(&format!("DELETE FROM {table} WHERE id = ?1"))?.execute([id])?;
    }
    Ok(())
}

/// Numbers as rows: the first, and how many follow without another between.
fn rows(leaves: &BTreeSet<u64>) -> Vec<(u64, u64)> {
    let mut rows: Vec<(u64, u64)> = Vec::new();
    for leaf in leaves {
        match rows.last_mut() {
            Some((first, count)) if *first + *count == *leaf => *count += 1,
            _ => rows.push((*leaf, 1)),
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::changes::tests::{commit, modified};
    use crate::log::tests::{expect_proven, trust};
    use crate::proof::tests::prove_all;
    use crate::testing::store;
    use crate::{EPOCH, Gap};
    use tempfile::TempDir;

    const DAY: i64 = 24 * 3600;

    fn at(days: i64) -> Timestamp {
        Timestamp::new(2_000_000_000 + days * DAY, 0)
    }

    fn limits(days: u64, size: u64) -> Retention {
        Retention { age: Duration::from_secs(days * 24 * 3600), size }
    }

    fn beat(store: &Store, day: i64) {
        let event = Event::Heartbeat { watching: 1, open: 0, backend: LeafText::default() };
        store.log_events(at(day), vec![event]).unwrap();
    }

    /// Changes that are over and open, gaps and heartbeats, a day each, from `commit`'s time on.
    fn sample() -> (TempDir, Store) {
        let (home, store) = store();
        for n in 0..40 {
            commit(&store, &[modified(&format!("/t/{n}"), 2), modified(&format!("/t/x{n}"), 2)]);
        }
        commit(&store, &[modified("/t/open", 2)]);
        for day in 0..40 {
            beat(&store, day);
            let gap = Gap { path: None, reason: "downtime".into(), started: at(day), ended: at(day) };
            store.add_gaps(&[gap], at(day)).unwrap();
        }
        (home, store)
    }

    #[test]
    fn what_is_old_goes_and_everything_else_is_proven() {
        let (_home, store) = sample();
        let (size, gaps) = (store.log_size().unwrap(), store.last_gaps(1).unwrap().0);
        let deleted = store.prune(&limits(20, u64::MAX), at(41)).unwrap();
        // All that is over, with two leaves each; half of what has a time of its own.
        assert_eq!(deleted.changes, 80);
        assert!(deleted.leaves >= 160 + 20 * 2, "{deleted:?}");
        let report = expect_proven(&store);
        assert_eq!(report.deleted, deleted.leaves);
        assert!(store.log_size().unwrap() > size);
        assert_eq!(store.count_open().unwrap().iter().sum::<u64>(), 1);
        assert_eq!(store.last_gaps(1).unwrap().0, gaps - 22);
        let proof = prove_all(&store);
        assert!(proof.is_proven(), "{:?}", proof.problems);
        // Nothing is left to be done, and the log goes on.
        assert_eq!(store.prune(&limits(20, u64::MAX), at(41)).unwrap(), Deleted::default());
        commit(&store, &[modified("/t/late", 2)]);
        store.end_epoch(at(42)).unwrap();
        expect_proven(&store);
        assert!(prove_all(&store).is_proven());
        let again = Store::open(store.dir()).unwrap();
        beat(&again, 43);
        expect_proven(&again);
        assert!(again.log_events(at(43), Vec::new()).is_ok() && EPOCH.as_secs() > 0);
    }

    #[test]
    fn what_is_too_much_goes_oldest_first_and_nothing_that_is_young() {
        let (_home, store) = sample();
        let deleted = store.prune(&limits(10_000, 0), at(41)).unwrap();
        assert_eq!(deleted.changes, 80);
        let left = store.last_gaps(100).unwrap().1;
        assert_eq!(left.last().unwrap().started, at(35), "a week stays: {left:?}");
        assert_eq!(expect_proven(&store).deleted, deleted.leaves);
        assert!(prove_all(&store).is_proven());
    }

    /// Whoever deletes more than was named, or another way, is found.
    #[test]
    fn nothing_else_passes_for_pruned() {
        let (_home, store) = sample();
        store.prune(&limits(20, u64::MAX), at(41)).unwrap();
        let trust = trust(&store);
        let kept: Vec<i64> = {
            let writer = store.writer();
            let mut query = writer.prepare("SELECT seq FROM leaf WHERE bytes IS NOT NULL").unwrap();
            query.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
        };
        for seq in kept {
            let writer = store.writer();
            writer.execute_batch("SAVEPOINT damage").unwrap();
            writer.execute("UPDATE leaf SET bytes = NULL WHERE seq = ?1", [seq]).unwrap();
            let found = crate::log::tests::look(&writer, &trust);
            writer.execute_batch("ROLLBACK TO damage; RELEASE damage").unwrap();
            assert!(found > 0, "leaf {seq}");
        }
        expect_proven(&store);
    }

    #[test]
    fn the_file_shrinks() {
        let (_home, store) = store();
        for round in 0..10 {
            let many: Vec<_> = (0..600).map(|n| modified(&format!("/t/{round}/{n}"), 2)).collect();
            commit(&store, &many);
        }
        commit(&store, &[]);
        let length = || {
            store.writer().query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
            std::fs::metadata(store.dir().database()).unwrap().len()
        };
        let full = length();
        let deleted = store.prune(&limits(20, u64::MAX), at(41)).unwrap();
        assert!(deleted.changes >= 5400, "{deleted:?}");
        let left = length();
        assert!(left * 3 < full, "{full} bytes became {left}");
        expect_proven(&store);
    }

    #[test]
    fn rows_have_one_form() {
        let rows = |leaves: &[u64]| rows(&leaves.iter().copied().collect());
        assert_eq!(rows(&[]), []);
        assert_eq!(rows(&[1, 2, 3, 7, 9, 10]), [(1, 3), (7, 1), (9, 2)]);
    }
}
