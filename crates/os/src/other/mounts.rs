//! The mount table, which nobody has to know here: no file is mounted over another.

use crate::errno::Errno;
use std::convert::Infallible;
use waxseal_model::RawPath;

/// Whether a file can be mounted over another.
pub const OVER_FILES: bool = false;

/// One mounted filesystem. There is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Where it is seen.
    pub point: RawPath,
    never: Infallible,
}

/// What a filesystem tells about changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nature {
    /// Others change it as well, without a word.
    Remote,
}

impl Mount {
    /// What it tells about changes.
    pub fn nature(&self) -> Nature {
        match self.never {}
    }
}

/// All mounts that matter: none.
///
/// # Errors
/// None.
pub fn read() -> Result<Vec<Mount>, Errno> {
    Ok(Vec::new())
}

/// The mount that holds a path, if it is in the table.
pub fn holding<'a>(_: &'a [Mount], _: Option<u64>, _: &RawPath) -> Option<&'a Mount> {
    None
}
