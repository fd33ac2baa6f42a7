//! Paths by name: what is there, and what is in a directory.

use crate::entry::{Look, Problem};
use crate::probe::{self, Hashing, Observation};
use std::mem::MaybeUninit;
use waxseal_model::{FileState, RawPath};
use waxseal_os::files::{Dir, FileError};

/// The stat of a path, links above its anchor followed (above itself without one), and none from there on; `None` when
/// nothing is there.
///
/// # Errors
/// As the kernel says.
pub fn stat(path: &RawPath, anchor: Option<&RawPath>) -> Result<Option<FileState>, FileError> {
    match Dir::parent_below(path, anchor.unwrap_or(path)).and_then(|(dir, name)| dir.stat(&name)) {
        Ok(state) => Ok(Some(state)),
        Err(FileError::NotFound | FileError::WrongType) => Ok(None),
        Err(error) => Err(error),
    }
}

/// One careful look at a path, as [`probe::observe`]; links as for [`stat`].
///
/// # Errors
/// When it cannot be looked at.
pub fn observe(
    path: &RawPath,
    anchor: Option<&RawPath>,
    look: Look,
    hashing: &Hashing,
) -> Result<Option<Observation>, Problem> {
    match Dir::parent_below(path, anchor.unwrap_or(path)) {
        Ok((dir, name)) => probe::observe(&dir, &name, look, hashing),
        Err(FileError::NotFound | FileError::WrongType) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The names in a directory that `wanted` admits, sorted; none when there is no such directory.
///
/// # Errors
/// As the kernel says.
pub fn names(directory: &RawPath, wanted: impl Fn(&[u8]) -> bool) -> Result<Vec<Box<[u8]>>, FileError> {
    let dir = match Dir::parent_of(directory).and_then(|(parent, name)| parent.open_dir(&name)) {
        Ok(dir) => dir,
        Err(FileError::NotFound | FileError::WrongType) => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut names: Vec<Box<[u8]>> = Vec::new();
    dir.list(&mut vec![MaybeUninit::uninit(); 32 * 1024], |name, _| {
        if wanted(name) {
            names.push(name.into());
        }
    })?;
    names.sort_unstable();
    Ok(names)
}
