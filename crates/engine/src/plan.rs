//! Which names of a directory are covered and walked: the same for sealing, checking and counting.

use crate::coverage::{Coverage, select};
use waxseal_model::{FileState, FileType, RawPath};
use waxseal_observe::{Entry, Node};
use waxseal_policy::{Selection, Watch};

/// Which names of a directory are covered and walked.
pub(crate) struct Plan<'a> {
    pub coverage: &'a Coverage,
    is_roots: bool,
    root: usize,
    path: RawPath,
    /// The directory's path below its root, with a trailing slash unless empty.
    prefix: Vec<u8>,
    /// Whether other roots, or directories of our own, lie below this one.
    nested: bool,
    /// The watch that decides about every name, unless the names are roots.
    watch: Option<&'a Watch>,
    /// Whether every name is selected and every directory walked, so that nobody need ask.
    everything: bool,
}

impl<'a> Plan<'a> {
    pub fn of<D>(coverage: &'a Coverage, node: &Node<D>, root: usize) -> Plan<'a> {
        let path = node.path();
        let mut prefix = Vec::new();
        if !node.is_roots()
            && let Some(root) = coverage.roots().get(root)
            && let Some(below) = path.below(&root.path)
            && !below.is_empty()
        {
            prefix.extend_from_slice(below);
            prefix.push(b'/');
        }
        let nested = coverage.has_below(&path);
        let is_roots = node.is_roots();
        let watch = coverage.roots().get(root).map(|root| coverage.watch(root)).filter(|_| !is_roots);
        let plain = |watch: &Watch| watch.selects_everything() && watch.recursion.is_none();
        let everything = !nested && watch.is_some_and(plain);
        Plan { coverage, is_roots, root, path, prefix, nested, watch, everything }
    }

    /// The root and the watch that decide about one of the names. A name of the list of roots is a path, which
    /// need not be a root itself when only part of a tree is scanned.
    pub fn rules_of(&self, name: &[u8]) -> Option<(usize, &'a Watch)> {
        if let Some(watch) = self.watch {
            return Some((self.root, watch));
        }
        let owner = self.coverage.owner(&RawPath::new(name))?;
        let root = self.coverage.roots().iter().position(|root| std::ptr::eq(root, owner.root))?;
        Some((root, owner.watch))
    }

    fn path_of(&self, name: &[u8]) -> RawPath {
        if self.is_roots { RawPath::new(name) } else { self.path.join(name) }
    }

    /// How one name is covered.
    pub fn selection(&self, name: &[u8], is_dir: bool) -> Selection {
        if self.everything {
            return Selection::Selected;
        }
        if self.is_roots {
            return self.coverage.selection(&RawPath::new(name), is_dir).0;
        }
        if self.nested {
            let path = self.path_of(name);
            if self.coverage.root_at(&path).is_some() || self.coverage.own().contains(&path) {
                return Selection::Skipped;
            }
        }
        let Some(watch) = self.watch else { return Selection::Skipped };
        let mut relative = Vec::with_capacity(self.prefix.len() + name.len());
        relative.extend_from_slice(&self.prefix);
        relative.extend_from_slice(name);
        select(watch, &relative, is_dir)
    }

    /// Whether a name is the root of another watch, which looks at it itself.
    pub fn is_other_root(&self, name: &[u8]) -> bool {
        self.nested && !self.is_roots && self.coverage.root_at(&self.path_of(name)).is_some()
    }

    /// Takes out what is not covered.
    pub fn retain_covered<D>(&self, entries: &mut Vec<Entry<D>>) {
        if self.everything {
            return;
        }
        entries.retain(|entry| {
            let is_dir = entry.state.as_ref().is_some_and(|state| state.file_type == FileType::Dir);
            self.selection(&entry.name, is_dir) != Selection::Skipped
        });
    }

    /// Whether a directory is walked: its depth and its filesystem allow it.
    pub fn may_descend(&self, watch: &Watch, state: &FileState, name: &[u8]) -> bool {
        if state.file_type != FileType::Dir
            || (state.mount_root && !self.is_roots && !watch.cross_filesystems)
        {
            return false;
        }
        if watch.recursion.is_none() {
            return true;
        }
        let mut below = self.prefix.clone();
        if !self.is_roots {
            below.extend_from_slice(name);
            below.push(b'/');
        } else if let Some(root) = self.coverage.roots().get(self.root)
            && let Some(path) = RawPath::new(name).below(&root.path)
            && !path.is_empty()
        {
            below.extend_from_slice(path);
            below.push(b'/');
        }
        below.push(b'x');
        watch.depth_allows(&below)
    }
}
