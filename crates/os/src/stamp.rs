//! What tells that a file was changed.

use waxseal_model::{FileState, Timestamp};

/// What moves when a file's content or attributes do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Inode number.
    pub inode: u64,
    /// Length in bytes.
    pub size: u64,
    /// Last content change.
    pub mtime: Timestamp,
    /// Last change of any kind.
    pub ctime: Timestamp,
}

impl From<&FileState> for Stamp {
    fn from(state: &FileState) -> Stamp {
        let FileState { inode, size, mtime, ctime, .. } = *state;
        Stamp { inode, size, mtime, ctime }
    }
}
