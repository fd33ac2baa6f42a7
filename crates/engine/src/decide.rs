//! What people decide about: from what they type to the open changes that it means.

use crate::compare;
use crate::coverage::{self, Coverage};
use std::collections::{BTreeMap, BTreeSet};
use waxseal_model::{Change, ChangeId, ChangeKind, FileState, FileType, RawPath, SetId};
use waxseal_observe::probe::Hashing;
use waxseal_observe::{Look, place};
use waxseal_policy::ChangeRule;
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

/// A change that is not decided about.
#[derive(Debug)]
pub struct Refused {
    /// The change as it was recorded.
    pub change: Change,
    /// Why, for people.
    pub why: String,
    /// Whether its path has to be looked at and recorded anew.
    pub is_stale: bool,
}

/// The state of a path now, if it is the one that is on record for this change.
///
/// # Errors
/// Why it is not, for people.
pub(crate) fn as_recorded(
    coverage: &Coverage,
    hashing: &Hashing,
    change: &Change,
) -> Result<Option<FileState>, String> {
    if coverage.is_own(&change.path) {
        // Taken note of: the own files are no part of the baseline, and this program goes on writing to them.
        return Ok(change.after.as_ref().map(|seen| seen.state.clone()));
    }
    let anchor = coverage.anchor(&change.path);
    let Some(owner) = coverage.owner(&change.path) else {
        return Err("no watch covers it any more".into());
    };
    let recorded = change.after.as_ref().map(|seen| &seen.state);
    let is_file = recorded.is_some_and(|state| state.file_type == FileType::File);
    let look = match owner.watch.change {
        ChangeRule::AppendOnly if is_file => Look::Growing { prefix: None },
        _ => Look::Full,
    };
    let found = place::observe(&change.path, anchor.as_ref(), look, hashing);
    let state = found.map_err(|problem| problem.to_string())?.map(|observation| observation.state);
    if change.kind == ChangeKind::Moved
        && let Some(from) = &change.from
        && place::stat(from, coverage.anchor(from).as_ref()).is_ok_and(|state| state.is_some())
    {
        return Err(format!("{from}, where it came from, is there again"));
    }
    match (recorded, state) {
        (None, None) => Ok(None),
        (None, Some(_)) => Err("it is there again".into()),
        (Some(_), None) => Err("it is gone".into()),
        (Some(recorded), Some(state)) => {
            let moved = compare::differences(recorded, &state).intersection(coverage::counted(owner.watch));
            let is_hashed = recorded.digests.sha256.is_some() || !is_file;
            match (moved.iter().next(), is_hashed) {
                (Some(_), _) => Err("it has changed since it was recorded".into()),
                (None, false) => Err("its content was not known when it was recorded".into()),
                (None, true) => Ok(Some(state)),
            }
        }
    }
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
