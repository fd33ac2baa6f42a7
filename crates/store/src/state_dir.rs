//! The state directory: who may own it, and what is in it.

use crate::error::StoreError;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// A state directory that only its owner can change.
#[derive(Debug, Clone)]
pub struct StateDir {
    path: PathBuf,
}

impl StateDir {
    /// The directory at `path`, which must exist.
    ///
    /// # Errors
    /// [`StoreError::NoState`] when it does not exist; [`StoreError::Insecure`] when it is a link, belongs to
    /// somebody else than `uid`, or others may write to it.
    pub fn open(path: &Path, uid: u32) -> Result<StateDir, StoreError> {
        let insecure = |why| Err(StoreError::Insecure(path.to_path_buf(), why));
        let meta = match fs::symlink_metadata(path) {
            Ok(meta) => meta,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(StoreError::NoState(path.to_path_buf()));
            }
            Err(error) => return Err(StoreError::io(path, error)),
        };
        if meta.is_symlink() {
            return insecure("is a symbolic link: give the directory that it points to");
        }
        if !meta.is_dir() {
            return insecure("is not a directory: give another one with --state-dir");
        }
        if meta.uid() != uid {
            return insecure("belongs to another user: give one of your own with --state-dir, or chown it");
        }
        if meta.mode() & 0o022 != 0 {
            return insecure(
                "may be written to by others: `chmod go-w` it after making sure that nobody did",
            );
        }
        Ok(StateDir { path: path.to_path_buf() })
    }

    /// The directory at `path`, made (with those above it) when missing, for its owner only.
    ///
    /// # Errors
    /// As [`StateDir::open`], and when it cannot be made.
    pub fn create(path: &Path, uid: u32) -> Result<StateDir, StoreError> {
        if fs::symlink_metadata(path).is_err() {
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent).map_err(|error| StoreError::io(parent, error))?;
            }
            match DirBuilder::new().mode(0o700).create(path) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(StoreError::io(path, error));
                }
                _ => {}
            }
        }
        StateDir::open(path, uid)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The database.
    pub fn database(&self) -> PathBuf {
        self.path.join("waxseal.db")
    }

    /// The sealing key, unless it was put elsewhere.
    pub fn sealing_key(&self) -> PathBuf {
        self.path.join("sealing.key")
    }

    /// The verifier key line.
    pub fn verifier_key(&self) -> PathBuf {
        self.path.join("waxseal.vkey")
    }

    /// The lock of the one monitor.
    pub fn lock_file(&self) -> PathBuf {
        self.path.join("waxseal.lock")
    }

    /// Whether a baseline was ever sealed here.
    pub fn has_database(&self) -> bool {
        fs::symlink_metadata(self.database()).is_ok()
    }
}

/// Reads a small text file: a key, a config.
///
/// # Errors
/// When it cannot be read, is larger than 4 MiB, or is not UTF-8.
pub fn read_text(path: &Path) -> Result<String, StoreError> {
    let bytes = read_bytes(path, 4 << 20)?;
    String::from_utf8(bytes).map_err(|_| StoreError::io(path, io::Error::other("it is not UTF-8 text")))
}

/// Reads a regular file of at most `limit` bytes.
///
/// # Errors
/// When it cannot be read, is no regular file, or is larger.
pub fn read_bytes(path: &Path, limit: u64) -> Result<Vec<u8>, StoreError> {
    use std::io::Read;
    let io = |error| StoreError::io(path, error);
    let mut file = OpenOptions::new().read(true).custom_flags(NONBLOCK).open(path).map_err(io)?;
    if !file.metadata().map_err(io)?.is_file() {
        return Err(io(io::Error::other("it is not a regular file")));
    }
    let mut bytes = Vec::new();
    let read = (&mut file).take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(io)?;
    if read as u64 > limit {
        return Err(io(io::Error::other(format!("it is larger than {limit} bytes"))));
    }
    Ok(bytes)
}

/// Opening a FIFO must not wait for a writer (`O_NONBLOCK` of Linux and of the other systems).
const NONBLOCK: i32 = if cfg!(target_os = "linux") { 0o4000 } else { 4 };

/// Writes a new file durably: under a temporary name, synced, then renamed; the directory is synced as well. The
/// file appears whole or not at all.
///
/// # Errors
/// When it exists already, or cannot be written; nothing is left behind then.
pub fn write_new(path: &Path, text: &[u8], mode: u32) -> Result<(), StoreError> {
    if fs::symlink_metadata(path).is_ok() {
        return Err(StoreError::io(path, io::Error::from(io::ErrorKind::AlreadyExists)));
    }
    replace(path, text, mode)
}

/// As [`write_new`], and takes the place of a file that exists.
///
/// # Errors
/// When it cannot be written; the old file stays then.
pub fn replace(path: &Path, text: &[u8], mode: u32) -> Result<(), StoreError> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    let temporary = PathBuf::from(temporary);
    let write = || -> io::Result<()> {
        let _ = fs::remove_file(&temporary);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary)?;
        file.write_all(text)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        sync_parent(path)
    };
    write().map_err(|error| {
        let _ = fs::remove_file(&temporary);
        StoreError::io(path, error)
    })
}

/// Makes a directory and those above it where they are missing.
///
/// # Errors
/// As the file system says.
pub fn make_directories(path: &Path) -> Result<(), StoreError> {
    fs::create_dir_all(path).map_err(|error| StoreError::io(path, error))
}

/// Makes a rename in the file's directory durable.
pub(crate) fn sync_parent(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::File::open(parent)?.sync_all()
}
