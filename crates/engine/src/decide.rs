//! What people decide about: from what they type to the open changes that it means.

use std::collections::{BTreeMap, BTreeSet};
use waxseal_model::{Change, ChangeId, ChangeKind, FileType, RawPath, SetId};
use waxseal_store::{Store, StoreError};

/// What somebody names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// One change.
    Change(ChangeId),
    /// All open changes of a set.
    Set(SetId),
    /// The open changes at a path and below it.
    Path(RawPath),
    /// Every open change.
    All,
}

/// The open changes that were named.
#[derive(Debug, Default)]
pub struct Selection {
    /// Each once, by path.
    pub changes: Vec<Change>,
    /// What was named and stands for no open change.
    pub nothing: Vec<Target>,
}

/// The open changes that `targets` name. Where a directory that was sealed is gone, or is another thing or at another place now,
/// what was in it goes with it: its changes are named with that of the directory.
///
/// # Errors
/// As the database says.
pub fn select(store: &Store, targets: &[Target]) -> Result<Selection, StoreError> {
    let mut open = BTreeMap::new();
    store.each_open_change(|change| -> Result<(), StoreError> {
        open.insert(change.path.clone(), change);
        Ok(())
    })?;
    let mut chosen = BTreeSet::new();
    let mut nothing = Vec::new();
    for target in targets {
        let before = chosen.len();
        let names = |change: &&Change| match target {
            Target::Change(id) => change.id == *id,
            Target::Set(id) => change.set == *id,
            Target::Path(path) => change.path.below(path).is_some(),
            Target::All => true,
        };
        let mut any = false;
        for change in open.values().filter(names) {
            any = true;
            chosen.insert(change.path.clone());
        }
        if !any && chosen.len() == before {
            nothing.push(target.clone());
        }
    }
    let takes_along = |path: &&RawPath| open.get(*path).is_some_and(takes_along);
    let directories: Vec<RawPath> = chosen.iter().filter(takes_along).cloned().collect();
    for directory in directories {
        let (first, end) = below(&directory);
        chosen.extend(open.range(first..end).map(|(path, _)| path.clone()));
    }
    let changes = chosen.into_iter().filter_map(|path| open.remove(&path)).collect();
    Ok(Selection { changes, nothing })
}

/// The range of paths below a directory: those that begin with it and a slash, whose successor is `0`.
fn below(directory: &RawPath) -> (RawPath, RawPath) {
    let bare = directory.as_bytes().strip_suffix(b"/").unwrap_or(directory.as_bytes());
    (RawPath::new([bare, b"/"].concat()), RawPath::new([bare, b"0"].concat()))
}

/// Whether what is below a path cannot be decided about apart from it.
fn takes_along(change: &Change) -> bool {
    let was_directory = change.before.as_ref().is_some_and(|seen| seen.state.file_type == FileType::Dir);
    was_directory && matches!(change.kind, ChangeKind::Removed | ChangeKind::Retyped | ChangeKind::Moved)
}
