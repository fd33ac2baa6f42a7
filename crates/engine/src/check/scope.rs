//! Where a look begins, and what is looked at because of what was asked for.

use super::Request;
use crate::coverage::{self, Coverage};
use crate::error::EngineError;
use crate::tree::Tree;
use std::collections::{BTreeMap, BTreeSet};
use waxseal_model::{FileType, RawPath, Source};
use waxseal_observe::place;
use waxseal_policy::{ChangeRule, Selection};
use waxseal_store::{Place, Store, StoreError};

/// The request, and where what it asks for has moved from: one change stands for both names, and would otherwise be
/// replaced by what is found at one of them. Where something happened, also where what was there has moved to: what has
/// its old name now may be something else.
pub(super) fn with_other_ends(
    store: &Store,
    coverage: &Coverage,
    request: &Request,
) -> Result<Request, StoreError> {
    let mut request = request.clone();
    let mut ends = store.sources_of_moves(&request.targets)?;
    if request.source == Source::Event {
        ends.extend(store.destinations_of_moves(&request.targets)?);
    }
    if !ends.is_empty() {
        let asked: BTreeMap<RawPath, bool> =
            request.targets.iter().map(|target| (target.path.clone(), target.deep)).collect();
        let is_asked = |path: &RawPath| {
            let mut above = path.parent();
            while let Some(directory) = above.take_if(|directory| asked.get(directory) != Some(&true)) {
                above = directory.parent();
            }
            above.is_some() || asked.contains_key(path)
        };
        ends.retain(|path| !is_asked(path) && coverage.may_cover(path));
        request.targets.extend(ends.into_iter().map(|path| Place { path, deep: false }));
    }
    Ok(request)
}

/// Where to begin: the given paths, or every root that is configured or was sealed.
pub(super) fn roots_of(
    coverage: &Coverage,
    tree: &Tree<'_>,
    request: &Request,
    around: &BTreeSet<RawPath>,
) -> Result<Vec<RawPath>, EngineError> {
    if request.targets.is_empty() {
        let configured = coverage.roots().iter().map(|root| root.path.clone());
        // A sealed root that a glob no longer matches has vanished: looking for it finds that out.
        let sealed =
            tree.roots().keys().filter(|path| coverage.selection(path, true).0 != Selection::Skipped);
        let sealed = sealed.filter(|path| coverage.root_at(path).is_none() && is_glob_match(coverage, path));
        return Ok(configured.chain(sealed.cloned()).collect());
    }
    for path in request.targets.iter().map(|target| &target.path) {
        if !coverage.may_cover(path) {
            let why =
                if coverage.is_own(path) { "is Waxseal's own state" } else { "is not covered by any watch" };
            let hint = "see `waxseal config show` for what is";
            return Err(EngineError::NotCovered(format!("{path} {why}: {hint}")));
        }
    }
    let deep: Vec<&Place> = request.targets.iter().filter(|target| target.deep).collect();
    let below = |path: &RawPath| deep.iter().any(|outer| path.below(&outer.path).is_some());
    let inner = coverage.roots().iter().map(|root| root.path.clone()).filter(below);
    let alone = request.targets.iter().filter(|target| !is_within(coverage, &target.path, around));
    Ok(alone.map(|target| target.path.clone()).chain(inner).chain(around.iter().cloned()).collect())
}

/// Whether a path is an entry of one of these directories, and no directory itself.
fn is_within(coverage: &Coverage, path: &RawPath, around: &BTreeSet<RawPath>) -> bool {
    path.parent().is_some_and(|parent| around.contains(&parent)) && !is_directory(coverage, path)
}

fn is_directory(coverage: &Coverage, path: &RawPath) -> bool {
    !matches!(place::stat(path, coverage.anchor(path).as_ref()), Ok(state) if state.as_ref().is_none_or(|s| s.file_type != FileType::Dir))
}

/// The directories of logs whose entries are targets.
pub(super) fn around_of(coverage: &Coverage, targets: &[Place]) -> BTreeSet<RawPath> {
    let of = |target: &Place| {
        let (owner, parent) = (coverage.owner(&target.path)?, target.path.parent()?);
        let inside = parent.below(&owner.root.path).is_some();
        (owner.watch.change == ChangeRule::AppendOnly && inside && !is_directory(coverage, &target.path))
            .then_some(parent)
    };
    targets.iter().filter_map(of).collect()
}

fn is_glob_match(coverage: &Coverage, path: &RawPath) -> bool {
    coverage
        .config()
        .watches
        .iter()
        .flat_map(|watch| &watch.paths)
        .any(|watched| coverage::means(watched, path))
}
