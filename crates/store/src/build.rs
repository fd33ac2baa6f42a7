//! A first baseline, written to a fresh file that takes its name only when it is complete.

use crate::baseline::{NewBaseline, insert_baseline, sealed_leaf};
use crate::error::StoreError;
use crate::evidence::{self, Content};
use crate::log::{HostKeys, Log};
use crate::permissions;
use crate::state_dir::{StateDir, sync_parent};
use crate::{Store, schema};
use rusqlite::Connection;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use waxseal_ledger::leaf::Event;
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
        permissions::with_mode(create.write(true).create_new(true), 0o600)
            .open(&temporary)
            .map_err(|error| StoreError::io(&temporary, error))?;
        // From here on, whatever goes wrong takes the file away again.
        let builder = Builder { dir: dir.clone(), temporary, connection: Mutex::default() };
        let connection = empty_database(&builder.temporary)?;
        *builder.connection.lock().unwrap_or_else(PoisonError::into_inner) = Some(connection);
        Ok(builder)
    }

    /// Adds the sealed baseline, syncs the file and gives it its name.
    ///
    /// # Errors
    /// As the disk says; nothing remains then.
    pub fn finish(self, baseline: &NewBaseline, keys: &HostKeys) -> Result<Store, StoreError> {
        let connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(connection) = connection {
            let generation = insert_baseline(&connection, baseline)?;
            let mut events = vec![Event::Sealed(Box::new(sealed_leaf(generation, baseline)))];
            events.extend(evidence::told(&connection, false)?);
            let checkpoint = Log::begin(&connection, keys, baseline.time, events)?;
            evidence::settle(&connection)?;
            keys.write_verification(&self.dir, &checkpoint)?;
            connection.execute_batch("CREATE INDEX node_by_hash ON node(hash); CREATE INDEX evidence_by_leaf ON evidence(leaf, hash); COMMIT")?;
            connection.close().map_err(|(_, error)| error)?;
        }
        let io = |error| StoreError::io(&self.temporary, error);
        permissions::sync_file(&self.temporary).map_err(io)?;
        fs::rename(&self.temporary, self.dir.database()).map_err(io)?;
        // A baseline that was said to have failed must not be there all the same.
        let named = sync_parent(&self.dir.database()).map_err(io).and_then(|()| Store::open(&self.dir));
        if named.is_err() {
            for suffix in ["", "-wal", "-shm"] {
                remove(&self.dir.path().join(format!("waxseal.db{suffix}")));
            }
        }
        named
    }
}

/// A connection to a new file with our tables, in a transaction.
fn empty_database(path: &Path) -> Result<Connection, StoreError> {
    let connection = Connection::open(path)?;
    // A crash leaves a file under another name, which the next attempt removes: no journal is needed.
    connection.pragma_update(None, "journal_mode", "OFF")?;
    connection.pragma_update(None, "synchronous", "OFF")?;
    connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    connection.pragma_update(None, "cache_size", -2048)?;
    schema::create(&connection)?;
    connection.execute_batch("DROP INDEX node_by_hash; DROP INDEX evidence_by_leaf; BEGIN")?;
    Ok(connection)
}

/// Takes directory records, in any order, from many threads.
pub trait RecordSink: Sync {
    /// Adds one directory record under its hash.
    ///
    /// # Errors
    /// As the disk says.
    fn add(&self, hash: &Digest, record: &[u8]) -> Result<(), StoreError>;

    /// Keeps the content of a file that is sealed with them, unless it is kept already; whether it was not.
    ///
    /// # Errors
    /// As the disk says.
    fn keep(&self, content: &Content) -> Result<bool, StoreError>;

    /// Whether a content is kept.
    ///
    /// # Errors
    /// As the disk says.
    fn is_kept(&self, hash: &Digest) -> Result<bool, StoreError>;
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

    fn keep(&self, content: &Content) -> Result<bool, StoreError> {
        let guard = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        guard.as_ref().map_or(Ok(false), |connection| evidence::insert(connection, content))
    }

    fn is_kept(&self, hash: &Digest) -> Result<bool, StoreError> {
        let guard = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        guard.as_ref().map_or(Ok(false), |connection| Ok(evidence::kept(connection, hash)?.is_some()))
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
        self.writable()?;
        let writer = self.database.connect(false, self.patience)?;
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
    pub fn finish(self, store: &Store, baseline: &NewBaseline) -> Result<u64, StoreError> {
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let generation = insert_baseline(&writer, baseline)?;
        let mut log = store.appending();
        log.add(&writer, baseline.time, Event::Sealed(Box::new(sealed_leaf(generation, baseline))))?;
        evidence::tell(&writer, &mut log, baseline.time, false)?;
        log.sign(&writer)?;
        writer.execute_batch("COMMIT")?;
        log.settle();
        Ok(generation)
    }
}

impl RecordSink for Extension {
    fn add(&self, hash: &Digest, record: &[u8]) -> Result<(), StoreError> {
        insert(&self.writer.lock().unwrap_or_else(PoisonError::into_inner), hash, record)
    }

    fn keep(&self, content: &Content) -> Result<bool, StoreError> {
        evidence::insert(&self.writer.lock().unwrap_or_else(PoisonError::into_inner), content)
    }

    fn is_kept(&self, hash: &Digest) -> Result<bool, StoreError> {
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(evidence::kept(&writer, hash)?.is_some())
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

fn remove(temporary: &Path) {
    let _ = fs::remove_file(temporary);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{TinyDisk, baseline, keys, record, state_below, store};
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn names(dir: &StateDir) -> Vec<String> {
        let entries = fs::read_dir(dir.path()).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_baseline_is_there_when_it_is_finished_and_not_before() {
        let home = tempfile::tempdir().unwrap();
        let dir = state_below(home.path());
        let builder = Builder::new(&dir).unwrap();
        let (root, bytes) = record(&["/a"]);
        builder.add(&root, &bytes).unwrap();
        assert!(!dir.has_database());
        assert!(matches!(Store::open(&dir), Err(StoreError::NoState(_))));
        let store = builder.finish(&baseline(root), &keys(&dir)).unwrap();
        assert_eq!(store.snapshot().record(&root).unwrap(), bytes);
        assert_eq!(store.current_baseline().unwrap().generation, 1);
        let mode = fs::metadata(dir.database()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(matches!(Builder::new(&dir), Err(StoreError::Exists(_))));
        // The attempt did not touch it.
        assert_eq!(store.snapshot().record(&root).unwrap(), bytes);
    }

    #[test]
    fn given_up_it_leaves_nothing() {
        let home = tempfile::tempdir().unwrap();
        let dir = state_below(home.path());
        let builder = Builder::new(&dir).unwrap();
        let (root, bytes) = record(&["/a"]);
        builder.add(&root, &bytes).unwrap();
        assert_eq!(names(&dir), ["waxseal.db.new"]);
        drop(builder);
        assert_eq!(names(&dir), Vec::<String>::new());
    }

    #[test]
    fn what_an_earlier_attempt_or_somebody_else_left_is_replaced_and_not_followed() {
        let home = tempfile::tempdir().unwrap();
        let dir = state_below(home.path());
        let victim = home.path().join("victim");
        fs::write(&victim, "precious").unwrap();
        symlink(&victim, dir.path().join("waxseal.db.new")).unwrap();
        let (root, bytes) = record(&["/a"]);
        let builder = Builder::new(&dir).unwrap();
        builder.add(&root, &bytes).unwrap();
        builder.finish(&baseline(root), &keys(&dir)).unwrap();
        assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
        assert!(fs::symlink_metadata(dir.database()).unwrap().is_file());
        drop(fs::remove_file(dir.database()));
        fs::write(dir.path().join("waxseal.db.new"), "half a database").unwrap();
        let builder = Builder::new(&dir).unwrap();
        builder.add(&root, &bytes).unwrap();
        assert_eq!(
            builder.finish(&baseline(root), &keys(&dir)).unwrap().snapshot().record(&root).unwrap(),
            bytes
        );
    }

    #[test]
    fn without_room_nothing_remains_wherever_it_ended() {
        // From so little that not even the tables fit, to so much that only the last step fails.
        let mut late = 0;
        let mut done = false;
        for kib in [8, 64, 128].into_iter().chain((144..=400).step_by(8)) {
            let Some(disk) = TinyDisk::of(&format!("{kib}k")) else { return };
            let dir = state_below(disk.path());
            let mut failed_late = false;
            let mut build = || -> Result<Store, StoreError> {
                let builder = Builder::new(&dir)?;
                let (root, bytes) = record(&["/a"]);
                for n in 0..1500_u32 {
                    let mut hash = root;
                    hash[..4].copy_from_slice(&n.to_le_bytes());
                    builder.add(&hash, &bytes)?;
                    failed_late = n == 1499;
                }
                builder.add(&root, &bytes)?;
                builder.finish(&baseline(root), &keys(&dir))
            };
            match build() {
                // A key without a baseline is used next time.
                Err(StoreError::Full) => {
                    assert!(names(&dir).iter().all(|name| !name.starts_with("waxseal.db")), "{kib} KiB");
                }
                Ok(_) => {
                    done = true;
                    break;
                }
                other => panic!("{kib} KiB: {other:?}"),
            }
            late += usize::from(failed_late);
        }
        assert!(done && late > 0, "{late} sizes let the records in and the rest not");
    }

    #[test]
    fn a_further_generation_is_added_whole_or_not_at_all() {
        let (_home, store) = store();
        let (root, bytes) = record(&["/a", "/b", "/c"]);
        let extension = store.extend().unwrap();
        extension.add(&root, &bytes).unwrap();
        drop(extension);
        assert_eq!(store.baselines().unwrap().len(), 1);
        assert!(store.snapshot().record(&root).is_err(), "its records went with it");
        let extension = store.extend().unwrap();
        extension.add(&root, &bytes).unwrap();
        assert_eq!(extension.finish(&store, &baseline(root)).unwrap(), 2);
        let newest = store.current_baseline().unwrap();
        assert_eq!((newest.generation, newest.stored.root), (2, root));
        assert_eq!(store.snapshot().record(&root).unwrap(), bytes);
        assert_eq!(store.baseline(Some(1)).unwrap().unwrap().generation, 1);
        assert!(store.baseline(Some(3)).unwrap().is_none());
    }
}
