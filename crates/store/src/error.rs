//! What can go wrong with the state, and what to do about it.

use std::path::PathBuf;

/// Why the state could not be read or written. Each message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Nothing has been sealed here.
    #[error("there is no baseline in {}: run `waxseal init` first", show(.0))]
    NoState(PathBuf),
    /// Something has been sealed here before.
    #[error("{} already holds a baseline; it is never overwritten: use `waxseal check`, or give another --state-dir", show(.0))]
    Exists(PathBuf),
    /// The directory could be changed by others.
    #[error("the state directory {} {}", show(.0), .1)]
    Insecure(PathBuf, &'static str),
    /// The file is not ours.
    #[error("{} {}", show(.0), .1)]
    Foreign(PathBuf, String),
    /// The file is ours, and a newer program has written it.
    #[error(
        "{} has version {}, and this program reads versions up to {}: use the program that wrote it, or a newer one", show(.0), .1, .2
    )]
    Newer(PathBuf, i32, i32),
    /// Nothing can be recorded there.
    #[error("the state directory {} cannot be written to: nothing was recorded", show(.0))]
    ReadOnly(PathBuf),
    /// A sealed export that cannot be read or trusted.
    #[error("{}: {}", show(.0), .1)]
    Export(PathBuf, waxseal_ledger::ExportError),
    /// The file is ours and broken.
    #[error(
        "the database is damaged ({0}): what it says cannot be trusted; restore the state directory from a backup, or move it away and seal anew"
    )]
    Damaged(String),
    /// A content that is kept is not what was kept.
    #[error(
        "the content {} that is kept as evidence is damaged: {why}; it cannot be shown or put back",
        waxseal_model::digest::hex(hash)
    )]
    Rotten {
        /// Its SHA-256.
        hash: waxseal_model::Digest,
        /// What is wrong.
        why: String,
    },
    /// The log cannot be continued, or its keys cannot be used.
    #[error("the log cannot be written: {0}")]
    Log(String),
    /// No room.
    #[error("the disk that holds the state directory is full: nothing was recorded; make room and try again")]
    Full,
    /// What was looked at is not what is on record any more.
    #[error("meanwhile a baseline was sealed, or a change moved: nothing was recorded; try again")]
    Superseded,
    /// Another process writes for longer than we wait.
    #[error("the database is in use by another program ({0}); try again when it is done")]
    Busy(String),
    /// The monitor or an init holds the lock.
    #[error("another waxseal is running on {} ({})", show(.0), waxseal_model::escape::for_people(.1.as_bytes()))]
    Locked(PathBuf, String),
    /// The file system refused.
    #[error("{}: {}", show(.0), .1)]
    Io(PathBuf, std::io::Error),
    /// Anything else that SQLite says.
    #[error("the database could not be used: {0}")]
    Sqlite(rusqlite::Error),
}

fn show(path: &std::path::Path) -> String {
    waxseal_model::escape::for_people(path.as_os_str().as_encoded_bytes())
}

impl StoreError {
    /// Whether it says that what is there is not what was written, rather than that it could not be looked at.
    pub fn is_contradiction(&self) -> bool {
        use rusqlite::ErrorCode::*;
        match self {
            StoreError::Damaged(_) | StoreError::Foreign(..) => true,
            StoreError::Sqlite(error) => !matches!(
                error.sqlite_error_code(),
                Some(
                    SystemIoFailure
                        | CannotOpen
                        | PermissionDenied
                        | AuthorizationForStatementDenied
                        | ReadOnly
                        | OutOfMemory
                        | OperationInterrupted
                        | OperationAborted
                        | ApiMisuse
                )
            ),
            _ => false,
        }
    }

    /// An error of a file operation, with a full disk recognised.
    pub fn io(path: impl Into<PathBuf>, error: std::io::Error) -> StoreError {
        match error.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => StoreError::Full,
            _ => StoreError::Io(path.into(), error),
        }
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> StoreError {
        use rusqlite::{Error, ErrorCode::*};
        let text = error.to_string();
        // The file that the processes share could not grow: SQLite calls that an input/output error.
        let extended = error.sqlite_error().map(|error| error.extended_code);
        if extended == Some(rusqlite::ffi::SQLITE_IOERR_SHMSIZE) {
            return StoreError::Full;
        }
        if matches!(error, Error::InvalidColumnType(..) | Error::FromSqlConversionFailure(..)) {
            return StoreError::Damaged(text);
        }
        match error.sqlite_error_code() {
            Some(DiskFull) => StoreError::Full,
            Some(DatabaseBusy | DatabaseLocked | FileLockingProtocolFailed) => StoreError::Busy(text),
            Some(DatabaseCorrupt) => StoreError::Damaged(text),
            Some(NotADatabase) => StoreError::Damaged("it is not a SQLite database".into()),
            _ => StoreError::Sqlite(error),
        }
    }
}

impl From<waxseal_model::record::RecordError> for StoreError {
    fn from(error: waxseal_model::record::RecordError) -> StoreError {
        StoreError::Damaged(error.to_string())
    }
}
