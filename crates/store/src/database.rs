//! Where the database is, and how a connection to it is made.
//!
//! A state on a medium that cannot be written to is read as it stands: SQLite wants to make files beside a database with a
//! write-ahead log, so one without a log is opened as immutable, and one with a log that was left behind is read from a
//! private copy, which goes when the store is closed.

use crate::StateDir;
use crate::error::StoreError;
use crate::permissions;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A database, and how it may be used.
#[derive(Debug)]
pub(crate) enum Database {
    /// A file that is written to.
    File(PathBuf),
    /// A file that is only read, perhaps while another process writes.
    Read(PathBuf),
    /// A file that nobody can change.
    #[cfg(unix)]
    Still(PathBuf),
    /// A copy of one, of our own.
    Copy(PrivateDir),
    /// Nothing but tables, in memory, under this name.
    Memory(String),
}

impl Database {
    /// Whether what is recorded there stays.
    pub(crate) fn is_kept(&self) -> bool {
        matches!(self, Database::File(_))
    }

    /// The database of a state directory that cannot be written to.
    pub(crate) fn read_only(dir: &StateDir) -> Result<Database, StoreError> {
        let [file, log] = dir.written();
        let has_log = fs::symlink_metadata(&log).is_ok_and(|meta| meta.len() > 0);
        if fs::symlink_metadata(dir.path().join("waxseal.db-shm")).is_ok() {
            Ok(Database::Read(file))
        } else if has_log {
            Database::copy(dir)
        } else {
            Ok(Database::still(file))
        }
    }

    #[cfg(unix)]
    fn still(file: PathBuf) -> Database {
        Database::Still(file)
    }

    #[cfg(not(unix))]
    fn still(file: PathBuf) -> Database {
        Database::Read(file)
    }

    /// A private copy of the database of a state directory and of its log.
    pub(crate) fn copy(dir: &StateDir) -> Result<Database, StoreError> {
        let copy = PrivateDir::new()?;
        for (from, name) in dir.written().iter().zip(COPIED) {
            match fs::copy(from, copy.0.join(name)) {
                Err(error) if error.kind() == ErrorKind::NotFound && name != DATABASE => {}
                Err(error) => return Err(StoreError::io(from, error)),
                Ok(_) => {}
            }
        }
        Ok(Database::Copy(copy))
    }

    /// Tables in memory.
    pub(crate) fn memory() -> Database {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Database::Memory(format!("file:/waxseal-{}?vfs=memdb", NEXT.fetch_add(1, Ordering::Relaxed)))
    }

    /// A connection.
    pub(crate) fn connect(&self, read_only: bool, patience: Duration) -> Result<Connection, StoreError> {
        let to = |read_only: bool| match read_only {
            true => OpenFlags::SQLITE_OPEN_READ_ONLY,
            false => OpenFlags::SQLITE_OPEN_READ_WRITE,
        };
        let flags = OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
        let connection = match self {
            Database::File(path) => Connection::open_with_flags(path, to(read_only) | flags),
            Database::Read(path) => Connection::open_with_flags(path, to(true) | flags),
            #[cfg(unix)]
            Database::Still(path) => {
                Connection::open_with_flags(immutable(path), to(true) | flags | OpenFlags::SQLITE_OPEN_URI)
            }
            Database::Copy(dir) => Connection::open_with_flags(dir.0.join(DATABASE), to(read_only) | flags),
            Database::Memory(name) => Connection::open_with_flags(
                name,
                to(false)
                    | OpenFlags::SQLITE_OPEN_CREATE
                    | OpenFlags::SQLITE_OPEN_NO_MUTEX
                    | OpenFlags::SQLITE_OPEN_URI,
            ),
        }?;
        connection.busy_timeout(patience)?;
        connection.pragma_update(None, "cache_size", -1024)?;
        connection.pragma_update(None, "trusted_schema", false)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
        Ok(connection)
    }
}

const DATABASE: &str = "waxseal.db";
const COPIED: [&str; 2] = [DATABASE, "waxseal.db-wal"];

/// Whether the file can only be read: its filesystem is mounted so, or it may not be changed.
pub(crate) fn cannot_be_written(dir: &StateDir) -> bool {
    let mut options = fs::OpenOptions::new();
    let opened = permissions::without_waiting(options.read(true).write(true)).open(dir.database());
    opened.is_err_and(|error| {
        matches!(error.kind(), ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied)
    })
}

/// The name by which SQLite opens a file that nobody changes (<https://www.sqlite.org/uri.html>).
#[cfg(unix)]
fn immutable(path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt;
    let mut uri = "file://".to_owned();
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' => {
                uri.push(char::from(*byte))
            }
            byte => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    uri.push_str("?immutable=1");
    uri
}

/// A directory for its owner alone, which goes with the value.
#[derive(Debug)]
pub(crate) struct PrivateDir(PathBuf);

impl PrivateDir {
    fn new() -> Result<PrivateDir, StoreError> {
        let base = std::env::temp_dir();
        let process = std::process::id();
        for attempt in 0..1000 {
            let path = base.join(format!("waxseal-{process}-{attempt}"));
            match permissions::create_dir(&path) {
                Ok(()) => return Ok(PrivateDir(path)),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(StoreError::io(path, error)),
            }
        }
        Err(StoreError::io(base, io::Error::from(ErrorKind::AlreadyExists)))
    }
}

impl Drop for PrivateDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{state_below, store_in};
    use crate::{Store, StoreError};
    use std::fs;
    use waxseal_model::Timestamp;

    #[test]
    fn what_cannot_be_written_is_read_as_it_stands() {
        let home = tempfile::tempdir().unwrap();
        let odd = home.path().join("a %?#");
        fs::create_dir(&odd).unwrap();
        let dir = state_below(&odd);
        drop(store_in(&dir));
        let [_, log] = dir.written();
        // Without a log.
        assert!(!fs::exists(&log).unwrap() || fs::metadata(&log).unwrap().len() == 0);
        let _ = fs::remove_file(&log);
        let store = Store::open_still(&dir).unwrap();
        assert_eq!(store.current_baseline().unwrap().generation, 1);
        assert!(store.is_read_only());
        drop(store);
        // With one that was left behind.
        let writing = Store::open(&dir).unwrap();
        let scan = crate::ScanRecord {
            started: Timestamp::new(1, 0),
            ended: Timestamp::new(2, 0),
            outcome: "intact".into(),
            checked: 1,
            errors: 0,
            bytes: 0,
        };
        writing.add_scan(crate::ScanKind::Full, &scan, Timestamp::new(2, 0)).unwrap();
        let left = home.path().join("left");
        fs::create_dir(&left).unwrap();
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(&left, fs::Permissions::from_mode(0o700)).unwrap();
        for file in dir.written() {
            fs::copy(&file, left.join(file.file_name().unwrap())).unwrap();
        }
        drop(writing);
        let left = crate::StateDir::open(&left, crate::testing::uid(&left)).unwrap();
        let names = || fs::read_dir(left.path()).unwrap().count();
        assert_eq!(names(), 2);
        let store = Store::open_still(&left).unwrap();
        assert!(store.last_scan(crate::ScanKind::Full).unwrap().is_some(), "what is only in the log");
        let refused = store.add_scan(crate::ScanKind::Full, &scan, Timestamp::new(2, 0));
        assert!(matches!(refused, Err(StoreError::ReadOnly(_))), "{refused:?}");
        assert_eq!(names(), 2);
    }

    #[test]
    fn tables_in_memory_are_of_one_store() {
        let (one, other) = (Store::in_memory().unwrap(), Store::in_memory().unwrap());
        for store in [&one, &other] {
            assert_eq!(store.count_open().unwrap(), [0; 5]);
            store.findings().unwrap().clear().unwrap();
            assert!(store.is_read_only());
        }
    }
}
