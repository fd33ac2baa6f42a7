//! What Waxseal remembers, and where: the state directory and its SQLite database.
//!
//! In: records, seals, changes. Out: the same, checked: a directory record is only given out when it still has the
//! hash it was asked for by. Everything written in one transaction is there wholly or not at all after a crash.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "this crate owns the state directory"
)]

mod anchors;
mod approve;
pub mod baseline;
mod build;
pub mod changes;
mod database;
pub mod error;
pub mod evidence;
pub mod full_scan;
pub mod gaps;
pub mod lock;
pub mod log;
mod permissions;
pub mod proof;
pub mod scans;
mod schema;
mod sealed_file;
pub mod state_dir;
#[cfg(test)]
mod testing;
mod tracked;

pub use anchors::{Anchored, Cosigned, Growth, Newest, Seen};
pub use approve::{Approved, Decider, Restored};
pub use baseline::{Baseline, NewBaseline, Snapshot};
pub use build::{Builder, Extension, RecordSink};
pub use changes::{Appeared, ChangeSet, Commit, Findings, Found, Outcome, Page, Place, Rules};
pub use error::StoreError;
pub use evidence::{Content, ContentWriter, EvidenceSize, Kept};
pub use full_scan::FullScan;
pub use gaps::Gap;
pub use lock::Lock;
pub use log::{Deleted, EPOCH, HostKeys, Retention};
pub use scans::{ScanKind, ScanRecord};
pub use sealed_file::SealedFile;
pub use state_dir::StateDir;
pub use tracked::Tracked;

use database::Database;
use rusqlite::Connection;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The open database. One connection writes, others read; a write transaction of another process is waited for.
#[derive(Debug)]
pub struct Store {
    dir: StateDir,
    database: Database,
    writer: Mutex<Connection>,
    readers: Mutex<Vec<Connection>>,
    log: log::Log,
    room: Mutex<evidence::Room>,
    /// How long a transaction of another process is waited for.
    patience: Duration,
}

/// How long a transaction of another process is waited for, unless it is said otherwise.
const BUSY: Duration = Duration::from_secs(20);

impl Store {
    /// Opens the database of a state directory.
    ///
    /// # Errors
    /// [`StoreError::NoState`] when there is none yet, [`StoreError::Foreign`] when the file is of another program,
    /// [`StoreError::Newer`] when it is of a newer version, [`StoreError::Damaged`] when it is broken.
    pub fn open(dir: &StateDir) -> Result<Store, StoreError> {
        if !dir.has_database() {
            return Err(StoreError::NoState(dir.path().to_path_buf()));
        }
        let store = Store::of(dir, Database::File(dir.database()))?;
        schema::migrate(&mut store.writer())?;
        schema::check(&store.writer(), dir)?;
        store.writer().pragma_update(None, "journal_mode", "WAL")?;
        store.writer().pragma_update(None, "synchronous", "FULL")?;
        Ok(store)
    }

    /// The same for somebody who can do without recording: a state that cannot be written to, on a read-only medium, say,
    /// is read as it stands.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_to_read(dir: &StateDir) -> Result<Store, StoreError> {
        if dir.has_database() && database::cannot_be_written(dir) {
            Store::open_still(dir)
        } else {
            Store::open(dir)
        }
    }

    fn open_still(dir: &StateDir) -> Result<Store, StoreError> {
        let mut store = Store::of(dir, Database::read_only(dir)?)?;
        if schema::is_older(&store.writer())? {
            store = Store::of(dir, Database::copy(dir)?)?;
            schema::migrate(&mut store.writer())?;
        }
        schema::check(&store.writer(), dir)?;
        Ok(store)
    }

    /// A store that remembers nothing and belongs to no state directory, for looking at a disk without one.
    ///
    /// # Errors
    /// When there is no memory for it.
    pub fn in_memory() -> Result<Store, StoreError> {
        let store = Store::of(&StateDir::nowhere(), Database::memory())?;
        schema::create(&store.writer())?;
        Ok(store)
    }

    fn of(dir: &StateDir, database: Database) -> Result<Store, StoreError> {
        let writer = database.connect(false, BUSY)?;
        Ok(Store {
            dir: dir.clone(),
            database,
            writer: Mutex::new(writer),
            readers: Mutex::default(),
            log: log::Log::default(),
            room: Mutex::default(),
            patience: BUSY,
        })
    }

    /// Whether nothing can be recorded.
    pub fn is_read_only(&self) -> bool {
        !self.database.is_kept()
    }

    /// For whoever is about to record something.
    fn writable(&self) -> Result<(), StoreError> {
        if self.is_read_only() { Err(StoreError::ReadOnly(self.dir.path().to_path_buf())) } else { Ok(()) }
    }

    /// The same, waiting for a transaction of another process so long and no longer.
    ///
    /// # Errors
    /// As the database says.
    pub fn with_patience(mut self, patience: Duration) -> Result<Store, StoreError> {
        self.writer().busy_timeout(patience)?;
        self.patience = patience;
        self.readers = Mutex::default();
        Ok(self)
    }

    /// The directory it lives in.
    pub fn dir(&self) -> &StateDir {
        &self.dir
    }

    fn writer(&self) -> MutexGuard<'_, Connection> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a query on a connection that no other thread uses.
    fn read<T>(&self, query: impl FnOnce(&Connection) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let connection = self.take_reader()?;
        let answer = query(&connection);
        self.put_reader(connection);
        answer
    }

    fn take_reader(&self) -> Result<Connection, StoreError> {
        let pooled = self.readers.lock().unwrap_or_else(PoisonError::into_inner).pop();
        pooled.map_or_else(|| self.database.connect(true, self.patience), Ok)
    }

    fn put_reader(&self, connection: Connection) {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
    }
}
