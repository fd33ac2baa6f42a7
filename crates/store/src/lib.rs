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
pub mod error;
pub mod full_scan;
pub mod gaps;
pub mod lock;
pub mod log;
mod permissions;
pub mod proof;
pub mod scans;
mod schema;
pub mod state_dir;
#[cfg(test)]
mod testing;
mod tracked;

pub use anchors::{Anchored, Cosigned, Growth, Newest, Seen};
pub use approve::{Approved, Decider};
pub use baseline::{Baseline, NewBaseline, Snapshot};
pub use build::{Builder, Extension, RecordSink};
pub use changes::{Appeared, ChangeSet, Commit, Findings, Found, Outcome, Page, Place, Rules};
pub use error::StoreError;
pub use full_scan::FullScan;
pub use gaps::Gap;
pub use lock::Lock;
pub use log::{Deleted, EPOCH, HostKeys, Retention};
pub use scans::{ScanKind, ScanRecord};
pub use state_dir::StateDir;
pub use tracked::Tracked;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The open database. One connection writes, others read; a write transaction of another process is waited for.
#[derive(Debug)]
pub struct Store {
    dir: StateDir,
    writer: Mutex<Connection>,
    readers: Mutex<Vec<Connection>>,
    log: log::Log,
    /// How long a transaction of another process is waited for.
    patience: Duration,
}

/// How long a transaction of another process is waited for, unless it is said otherwise.
const BUSY: Duration = Duration::from_secs(20);

impl Store {
    /// Opens the database of a state directory.
    ///
    /// # Errors
    /// [`StoreError::NoState`] when there is none yet, [`StoreError::Foreign`] when the file is of another program
    /// or of a newer version, [`StoreError::Damaged`] when it is broken.
    pub fn open(dir: &StateDir) -> Result<Store, StoreError> {
        if !dir.has_database() {
            return Err(StoreError::NoState(dir.path().to_path_buf()));
        }
        let mut writer = connect(dir, false, BUSY)?;
        schema::migrate(&mut writer)?;
        schema::check(&writer, dir)?;
        writer.pragma_update(None, "journal_mode", "WAL")?;
        writer.pragma_update(None, "synchronous", "FULL")?;
        Ok(Store {
            dir: dir.clone(),
            writer: Mutex::new(writer),
            readers: Mutex::default(),
            log: log::Log::default(),
            patience: BUSY,
        })
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
        pooled.map_or_else(|| connect(&self.dir, true, self.patience), Ok)
    }

    fn put_reader(&self, connection: Connection) {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
    }
}

fn connect(dir: &StateDir, read_only: bool, patience: Duration) -> Result<Connection, StoreError> {
    let access = if read_only { OpenFlags::SQLITE_OPEN_READ_ONLY } else { OpenFlags::SQLITE_OPEN_READ_WRITE };
    let flags = access | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let connection = Connection::open_with_flags(dir.database(), flags)?;
    connection.busy_timeout(patience)?;
    connection.pragma_update(None, "cache_size", -1024)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    Ok(connection)
}
