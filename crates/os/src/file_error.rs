//! Why a file could not be looked at.

use crate::errno::Errno;
use std::time::Duration;

/// A system call that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// Nothing has this name, or it vanished meanwhile.
    #[error("it does not exist")]
    NotFound,
    /// The object is of another type than the caller was told: a link, or no regular file, or no directory.
    #[error("it changed its type while it was being looked at")]
    WrongType,
    /// A name with a slash, a NUL byte, or of no length.
    #[error("the name is not one that a directory can hold")]
    BadName,
    /// The server or the program behind its filesystem is silent for so long.
    #[error(
        "its filesystem did not answer within {0:?}: see to the server or program behind it, or exclude it in the config"
    )]
    NoAnswer(Duration),
    /// This version cannot do it on this system.
    #[error("this version cannot do that on this system")]
    Unsupported,
    /// Any other refusal of the kernel.
    #[error("{}", describe(.0))]
    Os(Errno),
}

#[cfg(unix)]
fn describe(errno: &Errno) -> String {
    let text = std::io::Error::from(*errno).to_string();
    match *errno {
        Errno::ACCESS | Errno::PERM => format!("{text}: run as root, or exclude it in the config"),
        Errno::MFILE | Errno::NFILE => format!("{text}: raise the limit of open files (ulimit -n)"),
        Errno::IO => format!("{text}: the disk or filesystem has an error here"),
        _ => text,
    }
}

#[cfg(unix)]
impl From<Errno> for FileError {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::NOENT => FileError::NotFound,
            Errno::LOOP | Errno::NOTDIR | Errno::ISDIR | Errno::XDEV | Errno::NXIO => FileError::WrongType,
            other => FileError::Os(other),
        }
    }
}

#[cfg(windows)]
fn describe(code: &Errno) -> String {
    use windows_sys::Win32::Foundation::{ERROR_ACCESS_DENIED, ERROR_SHARING_VIOLATION};
    let text = std::io::Error::from(*code).to_string();
    match code.0 {
        ERROR_ACCESS_DENIED => format!("{text}: run as administrator, or exclude it in the config"),
        ERROR_SHARING_VIOLATION => format!("{text}: a program that has it open lets nobody read it"),
        _ => text,
    }
}

#[cfg(windows)]
impl From<Errno> for FileError {
    fn from(code: Errno) -> Self {
        use windows_sys::Win32::Foundation as codes;
        match code.0 {
            codes::ERROR_FILE_NOT_FOUND | codes::ERROR_PATH_NOT_FOUND | codes::ERROR_DELETE_PENDING => {
                FileError::NotFound
            }
            codes::ERROR_DIRECTORY | codes::ERROR_DIRECTORY_NOT_SUPPORTED => FileError::WrongType,
            codes::ERROR_INVALID_NAME => FileError::BadName,
            _ => FileError::Os(code),
        }
    }
}
