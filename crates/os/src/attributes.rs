//! Extended attributes and inode flags of an open object.

use crate::files::{FileError, inode_flags};
use rustix::io::Errno;
use std::os::fd::{AsRawFd, BorrowedFd};
use waxseal_model::state::Xattrs;

/// What needs a descriptor to be seen.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Attributes {
    /// All extended attributes by name.
    pub xattrs: Xattrs,
    /// Inode flags that count; `None` where the filesystem has none.
    pub flags: Option<u32>,
}

/// How often a list that changes while being read is read again.
const TRIES: usize = 8;
/// The kernel's own limit of one value and of one list of names (`XATTR_SIZE_MAX`, `XATTR_LIST_MAX`).
const LARGEST: usize = 64 * 1024;

pub(crate) fn of_open(fd: BorrowedFd<'_>) -> Result<Attributes, FileError> {
    let xattrs = read(
        |buffer| rustix::fs::flistxattr(fd, buffer),
        |name, buffer| rustix::fs::fgetxattr(fd, name, buffer),
    )?;
    Ok(Attributes { xattrs, flags: inode_flags(fd) })
}

/// Attributes through `/proc`, since the calls on descriptors refuse one opened with `O_PATH`.
pub(crate) fn of_node(fd: BorrowedFd<'_>) -> Result<Attributes, FileError> {
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    let xattrs = read(
        |buffer| rustix::fs::listxattr(path.as_str(), buffer),
        |name, buffer| rustix::fs::getxattr(path.as_str(), name, buffer),
    )?;
    Ok(Attributes { xattrs, flags: None })
}

fn read(
    list: impl Fn(&mut [u8]) -> Result<usize, Errno>,
    get: impl Fn(&[u8], &mut [u8]) -> Result<usize, Errno>,
) -> Result<Xattrs, FileError> {
    let mut small = [0u8; 512];
    match list(&mut small) {
        Ok(0) | Err(Errno::NOTSUP | Errno::NOSYS) => return Ok(Xattrs::new()),
        Ok(_) | Err(Errno::RANGE) => {}
        Err(errno) => return Err(errno.into()),
    }
    for _ in 0..TRIES {
        let names = sized(&list)?;
        let mut xattrs = Xattrs::new();
        let mut whole = true;
        for name in names.split(|b| *b == 0).filter(|name| !name.is_empty()) {
            match sized(&|buffer: &mut [u8]| get(name, buffer)) {
                Ok(value) => drop(xattrs.insert(name.into(), value.into())),
                // It vanished between list and look: the list is read again.
                Err(FileError::Os(Errno::NODATA)) => whole = false,
                Err(error) => return Err(error),
            }
        }
        if whole {
            return Ok(xattrs);
        }
    }
    Err(FileError::Os(Errno::AGAIN))
}

/// The result of a call that fills a buffer and says `ERANGE` when it is too small.
fn sized(call: &impl Fn(&mut [u8]) -> Result<usize, Errno>) -> Result<Vec<u8>, FileError> {
    let mut buffer = vec![0u8; 512];
    loop {
        match call(&mut buffer) {
            Ok(len) => {
                buffer.truncate(len);
                return Ok(buffer);
            }
            Err(Errno::RANGE) if buffer.len() < LARGEST => buffer.resize(buffer.len() * 4, 0),
            Err(errno) => return Err(errno.into()),
        }
    }
}
