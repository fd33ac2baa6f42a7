//! What differs between two baselines: both trees are walked down together, and where the hashes of two directories are
//! the same, all that is below them is.

use crate::compare;
use crate::tree::Tree;
use std::cmp::Ordering;
use std::iter::Peekable;
use waxseal_model::record::{Entry, Reader, RecordError};
use waxseal_model::{AttributeSet, ChangeKind, Digest, FileState, RawPath};
use waxseal_store::StoreError;

/// One path that is not the same in both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Where.
    pub path: RawPath,
    /// Never `moved`: names are compared, not objects.
    pub kind: ChangeKind,
    /// What counts and differs; empty for what was added or removed.
    pub fields: AttributeSet,
    /// As the first baseline has it.
    pub before: Option<FileState>,
    /// As the second one has it.
    pub after: Option<FileState>,
}

/// How much differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Count {
    /// Entries that differ in what counts.
    pub differences: u64,
    /// Entries that differ in something that does not count.
    pub uncounted: u64,
    /// Directory records that were read.
    pub records: u64,
}

/// Calls `each` with what differs between `before` and `after`, a directory after the other. Attributes beside `counted`
/// are only added up. At most `entries` entries are looked at in each of them, which is how many it says that it has.
///
/// # Errors
/// When a record cannot be read, when a baseline has more entries than it says, or the first error of `each`.
pub fn differences<E: From<StoreError>>(
    before: &Tree<'_>,
    after: &Tree<'_>,
    counted: AttributeSet,
    entries: [u64; 2],
    each: &mut dyn FnMut(Difference) -> Result<(), E>,
) -> Result<Count, E> {
    let mut walk = Walk { before, after, counted, left: entries, count: Count::default(), open: Vec::new() };
    walk.pair(None, Some(*before.root()), Some(*after.root()), each)?;
    while let Some((path, old, new)) = walk.open.pop() {
        walk.pair(Some(&path), old, new, each)?;
    }
    Ok(walk.count)
}

struct Walk<'t, 's> {
    before: &'t Tree<'s>,
    after: &'t Tree<'s>,
    counted: AttributeSet,
    left: [u64; 2],
    count: Count,
    /// Directories that are to be compared, the next one last.
    open: Vec<(RawPath, Option<Digest>, Option<Digest>)>,
}

impl Walk<'_, '_> {
    /// Compares the entries of a directory; of the list of roots, when it has no path.
    fn pair<E: From<StoreError>>(
        &mut self,
        path: Option<&RawPath>,
        old: Option<Digest>,
        new: Option<Digest>,
        each: &mut dyn FnMut(Difference) -> Result<(), E>,
    ) -> Result<(), E> {
        if old == new {
            return Ok(());
        }
        let old = self.read(self.before, old)?;
        let new = self.read(self.after, new)?;
        let (mut old, mut new) = (entries(&old)?, entries(&new)?);
        let first = self.open.len();
        loop {
            let order = match (old.peek(), new.peek()) {
                (None, None) => break,
                (Some(Ok(a)), Some(Ok(b))) => a.name.cmp(b.name),
                (Some(_), None) | (Some(Err(_)), _) => Ordering::Less,
                (None, Some(_)) | (_, Some(Err(_))) => Ordering::Greater,
            };
            let a = if order == Ordering::Greater { None } else { self.next(0, &mut old)? };
            let b = if order == Ordering::Less { None } else { self.next(1, &mut new)? };
            let Some(name) = a.as_ref().or(b.as_ref()).map(|entry| entry.name) else { continue };
            let path = path.map_or_else(|| RawPath::new(name), |path| path.join(name));
            let child = |entry: &Option<Entry<'_>>| entry.as_ref().and_then(|entry| entry.child);
            let (old_child, new_child) = (child(&a), child(&b));
            if let Some(difference) = self.compare(&path, a, b) {
                each(difference)?;
            }
            if old_child != new_child {
                self.open.push((path, old_child, new_child));
            }
        }
        if let Some(inner) = self.open.get_mut(first..) {
            inner.reverse();
        }
        Ok(())
    }

    fn read(&mut self, tree: &Tree<'_>, hash: Option<Digest>) -> Result<Option<Vec<u8>>, StoreError> {
        self.count.records += u64::from(hash.is_some());
        hash.map(|hash| tree.record(&hash)).transpose()
    }

    fn next<'r>(&mut self, side: usize, entries: &mut Entries<'r>) -> Result<Option<Entry<'r>>, StoreError> {
        let entry = entries.next().transpose()?;
        let left = self.left.get_mut(side).filter(|left| entry.is_none() || **left > 0);
        let left = left.ok_or_else(|| StoreError::Damaged("it has more entries than were sealed".into()))?;
        *left -= u64::from(entry.is_some());
        Ok(entry)
    }

    fn compare(&mut self, path: &RawPath, a: Option<Entry<'_>>, b: Option<Entry<'_>>) -> Option<Difference> {
        let (before, after) = (a.map(|entry| entry.state), b.map(|entry| entry.state));
        let (kind, fields) = match (&before, &after) {
            (Some(old), Some(new)) if old == new => return None,
            (Some(old), Some(new)) => match compare::compare(old, new, self.counted) {
                Some(found) => found,
                None => {
                    self.count.uncounted += 1;
                    return None;
                }
            },
            (None, _) => (ChangeKind::Added, AttributeSet::EMPTY),
            (_, None) => (ChangeKind::Removed, AttributeSet::EMPTY),
        };
        self.count.differences += 1;
        Some(Difference { path: path.clone(), kind, fields, before, after })
    }
}

type Entries<'r> = Peekable<Box<dyn Iterator<Item = Result<Entry<'r>, RecordError>> + 'r>>;

fn entries(record: &Option<Vec<u8>>) -> Result<Entries<'_>, StoreError> {
    let entries: Box<dyn Iterator<Item = _>> = match record {
        Some(record) => Box::new(Reader::new(record)?),
        None => Box::new(std::iter::empty()),
    };
    Ok(entries.peekable())
}
