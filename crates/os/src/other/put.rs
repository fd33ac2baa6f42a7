//! Putting back what a file state says: not on this system yet.

use crate::files::{Dir, FileError};
use std::marker::PhantomData;
use waxseal_model::{FileState, FileType};

/// Names of files that are being put in place begin like this.
pub const TEMPORARY: &[u8] = b".waxseal-";

const NO: Result<(), FileError> = Err(FileError::Unsupported);

/// A file that is being written and has no name yet.
#[derive(Debug)]
pub struct Draft<'d>(PhantomData<&'d Dir>);

impl<'d> Draft<'d> {
    /// # Errors
    /// Always.
    pub fn new(_: &'d Dir) -> Result<Draft<'d>, FileError> {
        Err(FileError::Unsupported)
    }

    /// # Errors
    /// Always.
    pub fn write(&mut self, _: &[u8]) -> Result<(), FileError> {
        NO
    }

    /// # Errors
    /// Always.
    pub fn finish(&self, _: &FileState) -> Result<(), FileError> {
        NO
    }

    /// # Errors
    /// Always.
    pub fn sync(&self) -> Result<(), FileError> {
        NO
    }

    /// # Errors
    /// Always.
    pub fn publish(self, _: &[u8], _: &FileState) -> Result<(), FileError> {
        NO
    }
}

/// # Errors
/// Always.
pub fn make(_: &Dir, _: &[u8], _: &FileState) -> Result<(), FileError> {
    NO
}

/// # Errors
/// Always.
pub fn link(_: &Dir, _: &[u8], _: &Dir, _: &[u8]) -> Result<(), FileError> {
    NO
}

/// # Errors
/// Always.
pub fn move_back(_: &Dir, _: &[u8], _: &Dir, _: &[u8]) -> Result<(), FileError> {
    NO
}

/// # Errors
/// Always.
pub fn remove(_: &Dir, _: &[u8], _: bool) -> Result<(), FileError> {
    NO
}

/// # Errors
/// Always.
pub fn adjust(_: &Dir, _: &[u8], _: u64, _: &FileState) -> Result<(), FileError> {
    NO
}

/// # Errors
/// Always.
pub fn loosen(_: &Dir, _: &[u8], _: FileType) -> Result<(), FileError> {
    NO
}

/// # Errors
/// Always.
pub fn sync_filesystem(_: &Dir) -> Result<(), FileError> {
    NO
}

/// # Errors
/// Always.
pub fn sync_names(_: &Dir) -> Result<(), FileError> {
    NO
}
