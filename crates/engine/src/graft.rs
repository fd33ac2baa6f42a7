//! A baseline with some of its entries replaced: the directory records that differ from those that are stored.

use crate::tree::Tree;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use waxseal_ledger::directory_hash;
use waxseal_model::record::{Reader, Writer};
use waxseal_model::{Digest, FileState, FileType, RawPath};
use waxseal_store::StoreError;

/// What is to stand at each path from now on: a state, or nothing.
pub type Edits = BTreeMap<RawPath, Option<FileState>>;

/// A tree that has been edited and not stored.
#[derive(Debug, Default)]
pub struct Grafted {
    /// The hash of its record of roots.
    pub root: Digest,
    /// The records that the old tree does not have.
    pub records: HashMap<Digest, Vec<u8>>,
    /// By how much it differs from the old one.
    pub difference: Tally,
}

/// How many entries and regular files there are, and how many bytes the files have; of a difference, each may be negative.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Tally {
    /// Entries of all types.
    pub entries: i64,
    /// Regular files.
    pub files: i64,
    /// The sum of their sizes.
    pub bytes: i64,
}

impl Tally {
    fn add(&mut self, state: &FileState, sign: i64) {
        let is_file = state.file_type == FileType::File;
        self.entries += sign;
        if is_file {
            self.files += sign;
            self.bytes = self.bytes.saturating_add(sign * i64::try_from(state.size).unwrap_or(i64::MAX));
        }
    }

    /// This much more, or less, than `before`, and nothing below zero.
    pub fn applied_to(self, before: [u64; 3]) -> [u64; 3] {
        let [entries, files, bytes] = before;
        [
            entries.saturating_add_signed(self.entries),
            files.saturating_add_signed(self.files),
            bytes.saturating_add_signed(self.bytes),
        ]
    }
}

/// Edits of one directory, by name.
type Names = BTreeMap<Vec<u8>, Edit>;

#[derive(Debug, Default)]
struct Edit {
    /// What is to stand there; as it is when absent.
    state: Option<Option<FileState>>,
    /// The record of what is in it, when that differs.
    child: Option<Digest>,
}

/// The states that cannot be put into the tree, as the directory that they are in is in neither the tree nor the edits. A
/// path that `is_root` needs none.
///
/// # Errors
/// As the database says.
pub fn misplaced(
    tree: &Tree<'_>,
    edits: &Edits,
    is_root: &dyn Fn(&RawPath) -> bool,
) -> Result<BTreeSet<RawPath>, StoreError> {
    let mut misplaced = BTreeSet::new();
    let mut sealed: BTreeMap<RawPath, bool> = BTreeMap::new();
    // A directory comes before what is in it.
    for (path, state) in edits {
        if state.is_none() || is_top(tree, path, is_root) {
            continue;
        }
        let is_placed = match path.parent() {
            None => false,
            Some(parent) if misplaced.contains(&parent) => false,
            Some(parent) => match (edits.get(&parent), sealed.get(&parent)) {
                (Some(edited), _) => is_directory(edited.as_ref()),
                (None, Some(known)) => *known,
                (None, None) => {
                    let found = tree.find(&parent)?.map(|sealed| sealed.state);
                    *sealed.entry(parent).or_insert(is_directory(found.as_ref()))
                }
            },
        };
        if !is_placed {
            misplaced.insert(path.clone());
        }
    }
    Ok(misplaced)
}

fn is_directory(state: Option<&FileState>) -> bool {
    state.is_some_and(|state| state.file_type == FileType::Dir)
}

/// Whether a path stands in the record of roots, or will: a root of the tree, or a new one that is in none of them.
fn is_top(tree: &Tree<'_>, path: &RawPath, is_root: &dyn Fn(&RawPath) -> bool) -> bool {
    let roots = tree.roots();
    roots.contains_key(path) || is_root(path) && !roots.keys().any(|root| path.below(root).is_some())
}

/// The tree with these edits, none of which is [`misplaced`].
///
/// # Errors
/// As the database says.
pub fn graft(
    tree: &Tree<'_>,
    edits: Edits,
    is_root: &dyn Fn(&RawPath) -> bool,
) -> Result<Grafted, StoreError> {
    let mut work =
        Work { tree, grafted: Grafted::default(), roots: Names::new(), directories: BTreeMap::new() };
    for (path, state) in edits {
        work.edit(&path, is_root).state = Some(state);
    }
    while let Some(((_, directory), names)) = work.directories.pop_first() {
        let sealed = tree.find(&directory)?.filter(|sealed| sealed.state.file_type == FileType::Dir);
        let record = sealed.and_then(|sealed| sealed.child);
        let record = record.map(|hash| tree.record(&hash)).transpose()?;
        let child = work.rewrite(record.as_deref(), names)?;
        work.edit(&directory, is_root).child = Some(child);
    }
    let roots = std::mem::take(&mut work.roots);
    let record = tree.record(tree.root())?;
    work.grafted.root = work.rewrite(Some(&record), roots)?;
    Ok(work.grafted)
}

struct Work<'t> {
    tree: &'t Tree<'t>,
    grafted: Grafted,
    roots: Names,
    /// The deepest first, so that what is in a directory is known when its turn comes. Not by recursion: a path may have
    /// ten thousand components.
    directories: BTreeMap<(Reverse<usize>, RawPath), Names>,
}

impl Work<'_> {
    /// What is to be done with a path.
    fn edit(&mut self, path: &RawPath, is_root: &dyn Fn(&RawPath) -> bool) -> &mut Edit {
        match path.parent().filter(|_| !is_top(self.tree, path, is_root)) {
            None => self.roots.entry(path.as_bytes().to_vec()).or_default(),
            Some(parent) => {
                let depth =
                    parent.as_bytes().split(|byte| *byte == b'/').filter(|name| !name.is_empty()).count();
                let names = self.directories.entry((Reverse(depth), parent)).or_default();
                names.entry(path.name().to_vec()).or_default()
            }
        }
    }

    /// The record of a directory with these edits.
    fn rewrite(&mut self, record: Option<&[u8]>, mut names: Names) -> Result<Digest, StoreError> {
        let mut writer = Writer::default();
        for entry in record.map(Reader::new).transpose()?.into_iter().flatten() {
            let entry = entry?;
            while let Some(first) = names.first_entry().filter(|first| first.key().as_slice() < entry.name) {
                let (name, edit) = first.remove_entry();
                self.add(&mut writer, &name, edit);
            }
            match names.remove(entry.name) {
                None => writer.push(entry.name, &entry.state, entry.child.as_ref()),
                Some(Edit { state: None, child }) => {
                    writer.push(entry.name, &entry.state, child.or(entry.child).as_ref());
                }
                Some(Edit { state: Some(None), child }) => {
                    self.grafted.difference.add(&entry.state, -1);
                    self.forget(child.or(entry.child))?;
                }
                Some(Edit { state: Some(Some(state)), child }) => {
                    self.grafted.difference.add(&entry.state, -1);
                    self.grafted.difference.add(&state, 1);
                    let inner = child.or(entry.child);
                    if state.file_type == FileType::Dir {
                        let inner = inner.unwrap_or_else(|| self.empty());
                        writer.push(entry.name, &state, Some(&inner));
                    } else {
                        self.forget(inner)?;
                        writer.push(entry.name, &state, None);
                    }
                }
            }
        }
        while let Some((name, edit)) = names.pop_first() {
            self.add(&mut writer, &name, edit);
        }
        Ok(self.keep(writer.finish()))
    }

    /// Adds a name that was not there. Without a state there is nothing to add.
    fn add(&mut self, writer: &mut Writer, name: &[u8], edit: Edit) {
        let Some(state) = edit.state.flatten() else { return };
        self.grafted.difference.add(&state, 1);
        let is_directory = state.file_type == FileType::Dir;
        let child = is_directory.then(|| edit.child.unwrap_or_else(|| self.empty()));
        writer.push(name, &state, child.as_ref());
    }

    /// The record of a directory in which nothing is approved.
    fn empty(&mut self) -> Digest {
        self.keep(Writer::default().finish())
    }

    fn keep(&mut self, record: Vec<u8>) -> Digest {
        let hash = directory_hash(&record);
        self.grafted.records.insert(hash, record);
        hash
    }

    /// Takes what is in a directory that goes off the counts.
    fn forget(&mut self, record: Option<Digest>) -> Result<(), StoreError> {
        let mut records: Vec<Digest> = record.into_iter().collect();
        while let Some(hash) = records.pop() {
            let record = match self.grafted.records.get(&hash) {
                Some(record) => record.clone(),
                None => self.tree.record(&hash)?,
            };
            for entry in Reader::new(&record)? {
                let entry = entry?;
                self.grafted.difference.add(&entry.state, -1);
                records.extend(entry.child);
            }
        }
        Ok(())
    }
}
