//! The sealed baseline as a tree of directory records, read one record at a time.

use std::collections::BTreeMap;
use waxseal_model::record::{Entry, Reader};
use waxseal_model::{Digest, FileState, RawPath};
use waxseal_store::{SealedFile, Snapshot, Store, StoreError};

/// One sealed entry: its state, and the record of what is in it when it is a directory.
#[derive(Debug, Clone)]
pub struct Sealed {
    /// The approved state.
    pub state: FileState,
    /// The hash of its directory record.
    pub child: Option<Digest>,
}

/// Where the records of a baseline are.
#[derive(Debug)]
enum Records<'s> {
    Store(Snapshot<'s>),
    File(&'s SealedFile),
}

impl Records<'_> {
    fn record(&self, hash: &Digest) -> Result<Vec<u8>, StoreError> {
        match self {
            Records::Store(records) => records.record(hash),
            Records::File(file) => file.record(hash),
        }
    }
}

/// A baseline in a store or in an export. Every record is checked against its hash when it is read.
#[derive(Debug)]
pub struct Tree<'s> {
    records: Records<'s>,
    root: Digest,
    roots: BTreeMap<RawPath, Sealed>,
}

impl<'s> Tree<'s> {
    /// The tree of this root hash.
    ///
    /// # Errors
    /// As the database says.
    pub fn open(store: &'s Store, root: &Digest) -> Result<Tree<'s>, StoreError> {
        Tree::read(Records::Store(store.snapshot()), root)
    }

    /// The tree of a sealed export.
    ///
    /// # Errors
    /// As the file says.
    pub fn of_file(file: &'s SealedFile) -> Result<Tree<'s>, StoreError> {
        Tree::read(Records::File(file), &file.seal().root)
    }

    fn read(records: Records<'s>, root: &Digest) -> Result<Tree<'s>, StoreError> {
        let record = records.record(root)?;
        let mut roots = BTreeMap::new();
        for entry in Reader::new(&record)? {
            let entry = entry?;
            let path = RawPath::new(entry.name);
            roots.insert(path, Sealed { state: entry.state, child: entry.child });
        }
        Ok(Tree { records, root: *root, roots })
    }

    /// The hash of the record of roots.
    pub fn root(&self) -> &Digest {
        &self.root
    }

    /// The sealed roots.
    pub fn roots(&self) -> &BTreeMap<RawPath, Sealed> {
        &self.roots
    }

    /// The record of a directory.
    ///
    /// # Errors
    /// As the database says.
    pub fn record(&self, hash: &Digest) -> Result<Vec<u8>, StoreError> {
        self.records.record(hash)
    }

    /// What was sealed at a path, below the deepest root at or above it.
    ///
    /// # Errors
    /// As the database says.
    pub fn find(&self, path: &RawPath) -> Result<Option<Sealed>, StoreError> {
        let mut at = Some(path.clone());
        while let Some(candidate) = at {
            if let Some(root) = self.roots.get(&candidate)
                && let Some(below) = path.below(&candidate)
            {
                return self.descend(root, below);
            }
            at = candidate.parent();
        }
        Ok(None)
    }

    fn descend(&self, root: &Sealed, below: &[u8]) -> Result<Option<Sealed>, StoreError> {
        let mut here = root.clone();
        for name in below.split(|b| *b == b'/').filter(|name| !name.is_empty()) {
            let Some(child) = here.child else { return Ok(None) };
            let record = self.record(&child)?;
            let mut found = None;
            for entry in Reader::new(&record)? {
                let entry = entry?;
                if entry.name >= name {
                    found = (entry.name == name).then_some(Sealed { state: entry.state, child: entry.child });
                    break;
                }
            }
            match found {
                Some(sealed) => here = sealed,
                None => return Ok(None),
            }
        }
        Ok(Some(here))
    }

    /// Calls `each` with everything that was sealed, root by root, parents first.
    ///
    /// # Errors
    /// As the database says.
    pub fn each(&self, each: &mut dyn FnMut(&RawPath, &FileState)) -> Result<(), StoreError> {
        for (path, root) in &self.roots {
            each(path, &root.state);
            if let Some(child) = &root.child {
                self.each_below(path, child, &mut |path, entry| {
                    each(path, &entry.state);
                    Ok(())
                })?;
            }
        }
        Ok(())
    }

    /// Calls `each` with everything below a sealed directory, a directory after the other, each with its entries by
    /// name, parents first. Memory grows with the depth and
    /// width of one path, not with the number of entries.
    ///
    /// # Errors
    /// As the database says, or the first error of `each`.
    pub fn each_below(
        &self,
        path: &RawPath,
        child: &Digest,
        each: &mut dyn FnMut(&RawPath, &Entry<'_>) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut directories = vec![(path.clone(), *child)];
        while let Some((directory, hash)) = directories.pop() {
            let record = self.record(&hash)?;
            let first_inner = directories.len();
            for entry in Reader::new(&record)? {
                let entry = entry?;
                let path = directory.join(entry.name);
                each(&path, &entry)?;
                directories.extend(entry.child.map(|child| (path, child)));
            }
            // The last one is taken first: so they are visited in the order of their names.
            if let Some(inner) = directories.get_mut(first_inner..) {
                inner.reverse();
            }
        }
        Ok(())
    }
}
