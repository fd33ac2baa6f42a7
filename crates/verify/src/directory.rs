//! Files of an export and of the user, which may be anything.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};
use waxseal_ledger::tiles::Get;

/// The directory of an export.
pub struct Directory(PathBuf);

/// A file that is there and cannot be read.
#[derive(Debug)]
pub struct Unreadable(PathBuf, io::Error);

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot read {:?}: {}", self.0, self.1)
    }
}

impl Directory {
    /// The export in this directory.
    ///
    /// # Errors
    /// When it is none.
    pub fn open(path: &Path) -> Result<Directory, String> {
        match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => Ok(Directory(path.to_owned())),
            Ok(_) => Err(format!("{path:?} is not a directory")),
            Err(error) => Err(format!("cannot read {path:?}: {error}")),
        }
    }
}

impl Get for Directory {
    type Error = Unreadable;

    fn get(&self, path: &str, limit: usize) -> Result<Option<Vec<u8>>, Unreadable> {
        let path = self.0.join(path);
        match read(&path, limit) {
            Ok(bytes) => Ok(Some(bytes)),
            // Also where a file stands in the place of a directory.
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
            Err(error) => Err(Unreadable(path, error)),
        }
    }
}

/// The text of a file that the user named.
///
/// # Errors
/// When it cannot be read, is longer than `limit` bytes, or is no text.
pub fn text(path: &Path, limit: usize) -> Result<String, String> {
    let bytes = read(path, limit).map_err(|error| format!("cannot read {path:?}: {error}"))?;
    if bytes.len() > limit {
        return Err(format!("{path:?} is longer than {limit} bytes"));
    }
    String::from_utf8(bytes).map_err(|_| format!("{path:?} is not text"))
}

/// At most `limit + 1` bytes of a regular file: whatever else there is might never end.
fn read(path: &Path, limit: usize) -> io::Result<Vec<u8>> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::new(ErrorKind::InvalidInput, "it is not a regular file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(limit as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}
