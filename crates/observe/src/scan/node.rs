//! A directory while it is being scanned.

use crate::entry::Entry;
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use waxseal_model::RawPath;
use waxseal_os::files::{Dir, FileError};
use waxseal_os::remote::Mounts;

/// A directory while it is being scanned. It knows its name and its parent, not its path: in a tree of ten thousand
/// levels the paths would fill the memory.
pub struct Node<D> {
    parent: Option<(Arc<Node<D>>, usize)>,
    name: Box<[u8]>,
    /// What the visitor keeps of it.
    pub context: D,
    pub(super) contents: Mutex<Contents<D>>,
    pending: AtomicUsize,
    /// Of the list of roots: where links end to be followed, for the roots where that is not the root itself.
    anchors: HashMap<RawPath, RawPath>,
}

/// What is known so far of a directory's entries.
pub(super) struct Contents<D> {
    pub entries: Vec<Entry<D>>,
    pub listing: Option<FileError>,
}

impl<D> Node<D> {
    pub(super) fn new(parent: Option<(Arc<Node<D>>, usize)>, name: &[u8], context: D) -> Node<D> {
        Node {
            parent,
            name: name.into(),
            context,
            contents: Mutex::new(Contents { entries: Vec::new(), listing: None }),
            // Held by whoever lists the directory, until everything found in it has been handed out.
            pending: AtomicUsize::new(1),
            anchors: HashMap::new(),
        }
    }

    /// The list of roots.
    pub(super) fn roots(context: D, anchors: HashMap<RawPath, RawPath>) -> Node<D> {
        let mut list = Node::new(None, b"", context);
        list.anchors = anchors;
        list
    }

    /// The directory that holds a root, and the root's name there.
    pub(super) fn parent_of_root(&self, root: &RawPath) -> Result<(Dir, Vec<u8>), FileError> {
        Dir::parent_below(root, self.anchor_of(root).unwrap_or(root))
    }

    /// Where links end to be followed on the way to a root, if that is not the root itself.
    pub(super) fn anchor_of(&self, root: &RawPath) -> Option<&RawPath> {
        let mut top = self;
        while let Some((parent, _)) = &top.parent {
            top = parent;
        }
        top.anchors.get(root)
    }

    /// Whether this is the list of roots, whose entries are named by their whole paths.
    pub fn is_roots(&self) -> bool {
        self.parent.is_none()
    }

    /// Whether this directory is a root itself.
    pub fn is_root(&self) -> bool {
        self.parent.as_ref().is_some_and(|(parent, _)| parent.is_roots())
    }

    /// The names that lead to it: its root's whole path, then one for each level. None for the list of roots.
    fn names(&self) -> Vec<&[u8]> {
        let mut names = Vec::new();
        let mut node = self;
        while let Some((parent, _)) = &node.parent {
            names.push(&*node.name);
            node = parent;
        }
        names.reverse();
        names
    }

    /// Opens it by its path: links above its root's anchor are followed, none from there on.
    pub(super) fn open(&self) -> Result<Dir, FileError> {
        let names = self.names();
        let (root, below) = names.split_first().ok_or(FileError::NotFound)?;
        let (mut parent, name) = self.parent_of_root(&RawPath::new(*root))?;
        if let Some(mount) = Mounts::now().holding(&self.path()) {
            parent = parent.looking_into(&mount)?;
        }
        let mut dir = parent.open_dir(&name)?;
        drop(parent);
        for name in below {
            dir = dir.open_dir(name)?;
        }
        Ok(dir)
    }

    /// Opens the directory that holds one of its entries: this one, unless it is the list of roots.
    pub(super) fn open_for(&self, index: usize) -> Result<Dir, FileError> {
        if !self.is_roots() {
            return self.open();
        }
        let contents = self.contents.lock().unwrap_or_else(PoisonError::into_inner);
        let root = contents.entries.get(index).map(|entry| RawPath::new(&*entry.name));
        drop(contents);
        self.parent_of_root(&root.ok_or(FileError::NotFound)?).map(|(dir, _)| dir)
    }

    /// Its absolute path; empty for the list of roots. Costs a walk up to the root.
    pub fn path(&self) -> RawPath {
        let names = self.names();
        let mut path = Vec::with_capacity(names.iter().map(|n| n.len() + 1).sum());
        for name in names {
            if !path.is_empty() && path.last() != Some(&b'/') {
                path.push(b'/');
            }
            path.extend_from_slice(name);
        }
        RawPath::new(path)
    }

    /// The path of one of its entries.
    pub fn path_of(&self, name: &[u8]) -> RawPath {
        if self.is_roots() { RawPath::new(name) } else { self.path().join(name) }
    }

    pub(super) fn add_pending(&self, n: usize) {
        self.pending.fetch_add(n, Ordering::AcqRel);
    }

    /// One of the things that were waited for is known: whether it was the last.
    pub(super) fn settle_one(&self) -> bool {
        self.pending.fetch_sub(1, Ordering::AcqRel) == 1
    }

    pub(super) fn parent(&self) -> Option<(&Arc<Node<D>>, usize)> {
        self.parent.as_ref().map(|(parent, index)| (parent, *index))
    }

    /// Changes one entry.
    pub(super) fn update(&self, index: usize, change: impl FnOnce(&mut Entry<D>)) {
        let mut contents = self.contents.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = contents.entries.get_mut(index) {
            change(entry);
        }
    }
}

/// A chain of ten thousand parents must not be dropped by ten thousand nested calls.
impl<D> Drop for Node<D> {
    fn drop(&mut self) {
        let mut next = self.parent.take();
        while let Some((parent, _)) = next {
            next = Arc::into_inner(parent).and_then(|mut node| node.parent.take());
        }
    }
}
