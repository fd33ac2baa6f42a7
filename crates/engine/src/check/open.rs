//! Which paths have an open change: a quick look reads them whatever their times say. The change may have been found by
//! the content alone, and then times that stand still are no sign that it is over.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use waxseal_model::RawPath;
use waxseal_store::{Store, StoreError};

/// Paths with an open change, as hashes of eight bytes: one that is taken for another is read without need.
#[derive(Debug, Default)]
pub(super) struct OpenPaths {
    hasher: RandomState,
    names: HashSet<u64>,
    directories: HashSet<u64>,
}

impl OpenPaths {
    /// Adds what is open below a directory, or everywhere.
    pub fn add(&mut self, store: &Store, below: Option<&RawPath>) -> Result<(), StoreError> {
        store.each_open_path(below, |path| {
            self.names.insert(self.hasher.hash_one(path));
            let slash = path.iter().rposition(|b| *b == b'/').unwrap_or(0);
            self.directories.insert(self.hasher.hash_one(path.get(..slash.max(1)).unwrap_or_default()));
        })
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Whether something in this directory may have one.
    pub fn may_be_in(&self, directory: &RawPath) -> bool {
        self.directories.contains(&self.hasher.hash_one(directory.as_bytes()))
    }

    /// Whether this path may have one.
    pub fn may_hold(&self, path: &RawPath) -> bool {
        self.names.contains(&self.hasher.hash_one(path.as_bytes()))
    }
}
