//! The log: what is recorded becomes a leaf in the same transaction, and the checkpoint over it is signed there.
//!
//! In: a transaction, and what happened. Out: leaves, the hashes of their tree, and one signed checkpoint, which are on disk
//! with the transaction or not at all; so after a crash there is nothing to mend, and a checkpoint never speaks of leaves that
//! are not there. `docs/log-format.md` describes the leaves; the tree and the keys are those of the crate `ledger`.

mod export;
mod keys;
mod proof;
mod prune;
mod read;

pub use export::Exported;
pub use keys::HostKeys;
pub use proof::{Agreement, Disagreement};
pub use prune::{Deleted, Retention};
pub use read::{Entry, LogSnapshot};

use crate::anchors::Growth;
use crate::baseline::number;
use crate::error::StoreError;
use crate::{StateDir, Store};
use keys::{Found, Keys};
use rusqlite::{Connection, OptionalExtension, TransactionBehavior};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use waxseal_ledger::leaf::Event;
use waxseal_ledger::merkle::{Edge, Hashes, TreeError};
use waxseal_ledger::tail::{Stored, Tail, TailError};
use waxseal_ledger::{Leaf, SigningKey};
use waxseal_model::{Digest, Timestamp};

/// How long a key signs. What was recorded in earlier epochs cannot be forged with the keys that are on the machine.
pub const EPOCH: Duration = Duration::from_secs(15 * 60);

/// The log, as far as it is in memory. All writing to it is done with the database's write lock held.
#[derive(Debug, Default)]
pub(crate) struct Log {
    current: Mutex<Option<Current>>,
    growth: Arc<Growth>,
}

/// Where the log ends, and the keys that go on.
#[derive(Debug, Clone)]
struct Current {
    tail: Tail,
    keys: Keys,
    /// The epoch's key is in its place on disk; otherwise it is beside it, where the next one would be.
    in_place: bool,
    /// When the last key was announced.
    turned: Timestamp,
    /// Something was recorded since.
    used: bool,
}

/// The log while a transaction is written. It takes effect with [`Appending::settle`], after the transaction is on disk;
/// dropped before that, nothing has happened.
pub(crate) struct Appending<'s> {
    dir: &'s StateDir,
    current: MutexGuard<'s, Option<Current>>,
    ahead: Option<Current>,
    /// A new key is waiting to take the place of the old one.
    is_turned: bool,
    growth: &'s Growth,
}

impl Log {
    /// Begins a log in a new database; gives its first checkpoint.
    pub(crate) fn begin(
        connection: &Connection,
        keys: &HostKeys,
        time: Timestamp,
        events: Vec<Event>,
    ) -> Result<String, StoreError> {
        let (mut tail, first) = Tail::begin(keys.host(), keys.epoch(), time).map_err(broken)?;
        insert(connection, &first)?;
        for event in events {
            tail.append(time, event).iter().try_for_each(|stored| insert(connection, stored))?;
        }
        let checkpoint = tail.checkpoint(keys.host(), keys.epoch()).map_err(broken)?;
        put_checkpoint(connection, &checkpoint)?;
        Ok(checkpoint)
    }

    pub(crate) fn append<'s>(&'s self, dir: &'s StateDir) -> Appending<'s> {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        Appending { dir, current, ahead: None, is_turned: false, growth: &self.growth }
    }

    pub(crate) fn growth(&self) -> &Arc<Growth> {
        &self.growth
    }
}

impl Appending<'_> {
    /// Appends what happened.
    ///
    /// # Errors
    /// As the database says, or when the log's end or its keys cannot be read: the transaction must not be committed then.
    pub(crate) fn add(
        &mut self,
        connection: &Connection,
        time: Timestamp,
        event: Event,
    ) -> Result<(), StoreError> {
        self.catch_up(connection, time)?;
        // The epoch lasts longer while its key has no place: what happens is recorded in any case.
        if self.is_due(time) && self.put_in_place().is_ok() {
            self.turn(connection, time)?;
        }
        let Some(ahead) = &mut self.ahead else { return Ok(()) };
        ahead.used = true;
        ahead.tail.append(time, event).iter().try_for_each(|stored| insert(connection, stored))
    }

    /// Ends the epoch: what is on record cannot be forged from now on with what is on the machine.
    pub(crate) fn end_epoch(&mut self, connection: &Connection, time: Timestamp) -> Result<(), StoreError> {
        self.catch_up(connection, time)?;
        if self.ahead.as_ref().is_some_and(|ahead| ahead.used) && !self.is_turned {
            self.put_in_place()?;
            self.turn(connection, time)?;
        }
        Ok(())
    }

    /// Signs what was appended, as the last thing in the transaction.
    pub(crate) fn sign(&self, connection: &Connection) -> Result<(), StoreError> {
        let Some(ahead) = &self.ahead else { return Ok(()) };
        let note = ahead.tail.checkpoint(ahead.keys.host(), ahead.keys.epoch()).map_err(broken)?;
        put_checkpoint(connection, &note)
    }

    /// The transaction is on disk.
    pub(crate) fn settle(mut self) {
        let Some(mut ahead) = self.ahead.take() else { return };
        if self.is_turned {
            // When that fails, it is done before the next key is made, or by the next one who reads the keys: the log says
            // which of the two is the last.
            ahead.in_place = ahead.keys.settle(self.dir).is_ok();
        }
        *self.current = Some(ahead);
        self.growth.grow();
    }

    /// Makes sure that the next key is not written over the only copy of this one.
    fn put_in_place(&mut self) -> Result<(), StoreError> {
        let Some(ahead) = self.ahead.as_mut().filter(|ahead| !ahead.in_place) else { return Ok(()) };
        ahead.keys.settle(self.dir)?;
        ahead.in_place = true;
        Ok(())
    }

    /// Whether the epoch has lasted its time. A clock that was set back ends it as well.
    fn is_due(&self, time: Timestamp) -> bool {
        let Some(ahead) = self.ahead.as_ref().filter(|ahead| ahead.used && !self.is_turned) else {
            return false;
        };
        let age = time.as_micros().saturating_sub(ahead.turned.as_micros());
        !(0..EPOCH.as_micros() as i64).contains(&age)
    }

    /// Reads where the log ends, unless that is known: another process may have written since.
    fn catch_up(&mut self, connection: &Connection, time: Timestamp) -> Result<(), StoreError> {
        if self.ahead.is_some() {
            return Ok(());
        }
        // A log that somebody damaged does not end the monitor.
        self.read_end(connection, time).map_err(|error| match error {
            StoreError::Damaged(why) => StoreError::Log(why),
            other => other,
        })
    }

    fn read_end(&mut self, connection: &Connection, time: Timestamp) -> Result<(), StoreError> {
        let size = size(connection)?;
        let known = self.current.as_ref().filter(|current| current.tail.size() == size).cloned();
        if known.is_some() {
            self.ahead = known;
        } else if size == 0 {
            self.begin(connection, time)?;
        } else {
            self.resume(connection, size, time)?;
        }
        Ok(())
    }

    /// A database from before there was a log.
    fn begin(&mut self, connection: &Connection, time: Timestamp) -> Result<(), StoreError> {
        let keys = HostKeys::adopt(self.dir)?;
        let (tail, first) = Tail::begin(keys.host(), keys.epoch(), time).map_err(broken)?;
        insert(connection, &first)?;
        let note = tail.checkpoint(keys.host(), keys.epoch()).map_err(broken)?;
        keys.write_verification(self.dir, &note)?;
        self.ahead =
            Some(Current { tail, keys: keys.into_keys(), in_place: true, turned: time, used: false });
        Ok(())
    }

    fn resume(&mut self, connection: &Connection, size: u64, time: Timestamp) -> Result<(), StoreError> {
        let host = Keys::read_host(self.dir)?;
        let edge = Edge::read(size, &Rows(connection)).map_err(broken_log)?;
        let last = leaf_bytes(connection, size - 1)?;
        let (key_seq, last_key) = last_key(connection)?;
        let tail = Tail::resume(host.verifier_key(), edge, &last, &last_key).map_err(broken)?;
        let turned = Leaf::parse(&last_key).map_or(time, |leaf| leaf.time);
        let epoch = tail.epoch().map_or(0, |(number, _)| number);
        match Keys::read_epoch(self.dir, &host, &tail) {
            Some(Found { keys, in_place }) => {
                self.ahead = Some(Current { tail, keys, in_place, turned, used: key_seq + 1 < size });
            }
            None => {
                // Its key is lost, as after a restore from a copy. Verifiers will say so.
                let mut tail = tail;
                let keys = Keys::next(self.dir, &host, epoch)?;
                let stored = tail.restart(keys.host(), keys.epoch(), time).map_err(broken)?;
                insert_key(connection, &stored)?;
                self.is_turned = true;
                self.ahead = Some(Current { tail, keys, in_place: false, turned: time, used: false });
            }
        }
        Ok(())
    }

    fn turn(&mut self, connection: &Connection, time: Timestamp) -> Result<(), StoreError> {
        let Some(ahead) = &mut self.ahead else { return Ok(()) };
        let next = Keys::next(self.dir, ahead.keys.host(), ahead.keys.epoch().number())?;
        let stored = ahead.tail.turn(ahead.keys.epoch(), next.epoch(), time).map_err(broken)?;
        insert_key(connection, &stored)?;
        (ahead.keys, ahead.in_place, ahead.turned, ahead.used) = (next, false, time, false);
        self.is_turned = true;
        Ok(())
    }
}

impl Store {
    /// The log, to be appended to in a transaction; the caller holds the writer.
    pub(crate) fn appending(&self) -> Appending<'_> {
        self.log.append(self.dir())
    }

    /// Records in the log alone what has no row of its own, durably.
    ///
    /// # Errors
    /// As the database says; nothing is recorded then.
    pub fn log_events(&self, time: Timestamp, events: Vec<Event>) -> Result<(), StoreError> {
        self.with_log(|connection, log| {
            events.into_iter().try_for_each(|event| log.add(connection, time, event))
        })
    }

    /// [`Store::log_events`], after which the epoch ends: what was recorded last cannot be forged from now on either.
    ///
    /// # Errors
    /// As the database says; nothing is recorded then.
    pub fn log_last_events(&self, time: Timestamp, events: Vec<Event>) -> Result<(), StoreError> {
        self.with_log(|connection, log| {
            events.into_iter().try_for_each(|event| log.add(connection, time, event))?;
            // Recording does not wait for a key that has no place yet.
            if log.put_in_place().is_ok() { log.end_epoch(connection, time) } else { Ok(()) }
        })
    }

    /// Ends the epoch, if anything was recorded in it: as a monitor does when it stops, and after [`EPOCH`].
    ///
    /// # Errors
    /// As the database says. Also when the new key is on record and the old one could not be erased yet, which is tried again.
    pub fn end_epoch(&self, time: Timestamp) -> Result<(), StoreError> {
        self.with_log(|connection, log| log.end_epoch(connection, time))?;
        let mut current = self.log.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(current) = current.as_mut().filter(|current| !current.in_place) {
            current.keys.settle(&self.dir)?;
            current.in_place = true;
        }
        Ok(())
    }

    /// The host's key, which signs the log, and what is sealed besides the key that seals.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn host_key(&self, now: Timestamp) -> Result<SigningKey, StoreError> {
        // A state from before the log has one from now on.
        if self.log_size()? == 0 {
            self.with_log(|connection, log| log.catch_up(connection, now))?;
        }
        Keys::read_host(self.dir())
    }

    /// Whether a file holds a key of the log that may be there now: that of its last epoch, or of the one that is about to be
    /// announced.
    pub fn holds_epoch_key(&self, file: &Path) -> bool {
        let look = || -> Result<bool, StoreError> {
            let origin = Keys::read_host(&self.dir)?.verifier_key().name().clone();
            let Some(key) = keys::read_key(file, &origin) else { return Ok(false) };
            let (_, last) = self.read(last_key)?;
            let Ok(Leaf { event: Event::Key(last), .. }) = Leaf::parse(&last) else { return Ok(false) };
            let is_last = key.number() == last.epoch && *key.verifier_key().public_key() == last.key;
            Ok(is_last || key.number() == last.epoch.saturating_add(1))
        };
        look().unwrap_or_default()
    }

    /// Whether anything was recorded by this process in the epoch that lasts.
    pub fn is_epoch_used(&self) -> bool {
        let current = self.log.current.lock().unwrap_or_else(PoisonError::into_inner);
        current.as_ref().is_some_and(|current| current.used)
    }

    pub(crate) fn with_log(
        &self,
        write: impl FnOnce(&Connection, &mut Appending<'_>) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        self.writable()?;
        let mut writer = self.writer();
        let transaction = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut log = self.appending();
        write(&transaction, &mut log)?;
        log.sign(&transaction)?;
        transaction.commit()?;
        log.settle();
        Ok(())
    }
}

/// How many leaves there are. A gap in their numbers is for verification to find.
pub(crate) fn size(connection: &Connection) -> Result<u64, StoreError> {
    let last: Option<i64> = connection
        .prepare_cached("SELECT seq FROM leaf ORDER BY seq DESC LIMIT 1")?
        .query_row([], |row| row.get(0))
        .optional()?;
    Ok(last.map_or(0, |last| last.unsigned_abs().saturating_add(1)))
}

pub(crate) fn leaf_bytes(connection: &Connection, seq: u64) -> Result<Vec<u8>, StoreError> {
    let bytes: Option<Option<Vec<u8>>> = connection
        .prepare_cached("SELECT bytes FROM leaf WHERE seq = ?1")?
        .query_row([number(seq)], |row| row.get(0))
        .optional()?;
    bytes.flatten().ok_or_else(|| StoreError::Damaged(format!("leaf {seq} of the log is missing")))
}

/// The place and the bytes of the last leaf that announces a key.
fn last_key(connection: &Connection) -> Result<(u64, Vec<u8>), StoreError> {
    let seq: i64 = connection.query_row("SELECT last_key FROM checkpoint", [], |row| row.get(0))?;
    let seq = seq.unsigned_abs();
    Ok((seq, leaf_bytes(connection, seq)?))
}

fn insert(connection: &Connection, stored: &Stored) -> Result<(), StoreError> {
    connection.prepare_cached("INSERT INTO leaf(seq, bytes, hash) VALUES (?1, ?2, ?3)")?.execute((
        number(stored.index),
        &stored.bytes,
        stored.hash,
    ))?;
    for level in &stored.levels {
        connection.prepare_cached("INSERT INTO level(level, seq, hash) VALUES (?1, ?2, ?3)")?.execute((
            level.level,
            number(level.index),
            level.hash,
        ))?;
    }
    Ok(())
}

/// Leaves of which the last one announces a key.
fn insert_key(connection: &Connection, stored: &[Stored]) -> Result<(), StoreError> {
    stored.iter().try_for_each(|stored| insert(connection, stored))?;
    let seq = stored.last().map_or(0, |stored| stored.index);
    connection.execute("UPDATE checkpoint SET last_key = ?1", [number(seq)])?;
    Ok(())
}

fn put_checkpoint(connection: &Connection, note: &str) -> Result<(), StoreError> {
    let sql = "INSERT INTO checkpoint(id, note, last_key) VALUES (1, ?1, 0) ON CONFLICT(id) DO UPDATE SET note = excluded.note";
    connection.prepare_cached(sql)?.execute([note])?;
    Ok(())
}

fn broken(error: TailError) -> StoreError {
    StoreError::Log(error.to_string())
}

fn broken_log(error: TreeError<StoreError>) -> StoreError {
    match error {
        TreeError::Read(error) => error,
        other => StoreError::Damaged(other.to_string()),
    }
}

/// The hashes of the tree, in the database.
struct Rows<'c>(&'c Connection);

impl Hashes for Rows<'_> {
    type Error = StoreError;

    fn read(&self, level: u8, first: u64, count: u16) -> Result<Vec<Digest>, StoreError> {
        let end = first.saturating_add(count.into());
        // The leaves are the level 0.
        let (table, own) = if level == 0 { ("leaf", "0") } else { ("level", "level") };
        let sql =
            format!("SELECT seq, hash FROM {table} WHERE {own} = ?1 AND seq >= ?2 AND seq < ?3 ORDER BY seq");
        let mut query = self.0.prepare_cached(&sql)?;
        let mut rows = query.query((level, number(first), number(end)))?;
        let mut hashes = Vec::new();
        while let Some(row) = rows.next()? {
            // One that is missing ends the row.
            if row.get::<_, i64>(0)?.unsigned_abs() != first + hashes.len() as u64 {
                break;
            }
            hashes.push(row.get(1)?);
        }
        Ok(hashes)
    }
}

#[cfg(test)]
pub(crate) mod tests;
