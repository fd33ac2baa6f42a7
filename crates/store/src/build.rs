//! A first baseline, written to a fresh file that takes its name only when it is complete.

use crate::baseline::{NewBaseline, insert_baseline};
use crate::error::StoreError;
use crate::state_dir::{StateDir, sync_parent};
use crate::{Store, connect, schema};
use rusqlite::Connection;
use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use waxseal_model::Digest;

/// Takes the directory records of a first baseline, in any order, from many threads. Unless it is finished,
/// nothing of it remains.
#[derive(Debug)]
pub struct Builder {
    dir: StateDir,
    temporary: PathBuf,
    connection: Mutex<Option<Connection>>,
}

impl Builder {
    /// Begins a database beside the place where it will be.
    ///
    /// # Errors
    /// [`StoreError::Exists`] when the state directory holds a baseline, others as the disk says.
    pub fn new(dir: &StateDir) -> Result<Builder, StoreError> {
        if dir.has_database() {
            return Err(StoreError::Exists(dir.path().to_path_buf()));
        }
        let temporary = dir.path().join("waxseal.db.new");
        remove(&temporary);
        let mut create = fs::OpenOptions::new();
        create.write(true).create_new(true).mode(0o600);
        create.open(&temporary).map_err(|error| StoreError::io(&temporary, error))?;
        let connection = Connection::open(&temporary)?;
        // A crash leaves a file under another name, which the next attempt removes: no journal is needed.
        connection.pragma_update(None, "journal_mode", "OFF")?;
        connection.pragma_update(None, "synchronous", "OFF")?;
        connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
        connection.pragma_update(None, "cache_size", -2048)?;
        schema::create(&connection)?;
        connection.execute_batch("DROP INDEX node_by_hash; BEGIN")?;
        Ok(Builder { dir: dir.clone(), temporary, connection: Mutex::new(Some(connection)) })
    }

    /// Adds the sealed baseline, syncs the file and gives it its name.
    ///
    /// # Errors
    /// As the disk says; nothing remains then.
    pub fn finish(self, baseline: &NewBaseline) -> Result<Store, StoreError> {
        let connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(connection) = connection {
            insert_baseline(&connection, baseline)?;
            connection.execute_batch("CREATE INDEX node_by_hash ON node(hash); COMMIT")?;
            connection.close().map_err(|(_, error)| error)?;
        }
        let io = |error| StoreError::io(&self.temporary, error);
        fs::File::open(&self.temporary).and_then(|file| file.sync_all()).map_err(io)?;
        fs::rename(&self.temporary, self.dir.database()).map_err(io)?;
        sync_parent(&self.dir.database()).map_err(io)?;
        Store::open(&self.dir)
    }
}

/// Takes directory records, in any order, from many threads.
pub trait RecordSink: Sync {
    /// Adds one directory record under its hash.
    ///
    /// # Errors
    /// As the disk says.
    fn add(&self, hash: &Digest, record: &[u8]) -> Result<(), StoreError>;
}

fn insert(connection: &Connection, hash: &Digest, record: &[u8]) -> Result<(), StoreError> {
    let mut insert = connection.prepare_cached("INSERT INTO node(hash, record) VALUES (?1, ?2)")?;
    insert.execute((hash, record))?;
    Ok(())
}

impl RecordSink for Builder {
    fn add(&self, hash: &Digest, record: &[u8]) -> Result<(), StoreError> {
        let guard = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        guard.as_ref().map_or(Ok(()), |connection| insert(connection, hash, record))
    }
}

/// A further generation: directory records are added to those that are there, in one transaction that holds
/// the write lock until it is finished. Unless it is, nothing of it remains.
#[derive(Debug)]
pub struct Extension {
    writer: Mutex<Connection>,
}

impl Store {
    /// Begins a further generation.
    ///
    /// # Errors
    /// As the database says.
    pub fn extend(&self) -> Result<Extension, StoreError> {
        let writer = connect(self.dir(), false)?;
        writer.pragma_update(None, "synchronous", "FULL")?;
        writer.execute_batch("BEGIN IMMEDIATE")?;
        Ok(Extension { writer: Mutex::new(writer) })
    }
}

impl Extension {
    /// Stores the sealed baseline as the next generation, durably.
    ///
    /// # Errors
    /// As the disk says; nothing remains then.
    pub fn finish(self, baseline: &NewBaseline) -> Result<u64, StoreError> {
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let generation = insert_baseline(&writer, baseline)?;
        writer.execute_batch("COMMIT")?;
        Ok(generation)
    }
}

impl RecordSink for Extension {
    fn add(&self, hash: &Digest, record: &[u8]) -> Result<(), StoreError> {
        insert(&self.writer.lock().unwrap_or_else(PoisonError::into_inner), hash, record)
    }
}

impl Drop for Extension {
    fn drop(&mut self) {
        let writer = self.writer.get_mut().unwrap_or_else(PoisonError::into_inner);
        if !writer.is_autocommit() {
            let _ = writer.execute_batch("ROLLBACK");
        }
    }
}

impl Drop for Builder {
    fn drop(&mut self) {
        drop(self.connection.lock().unwrap_or_else(PoisonError::into_inner).take());
        remove(&self.temporary);
    }
}

fn remove(temporary: &std::path::Path) {
    let _ = fs::remove_file(temporary);
}
