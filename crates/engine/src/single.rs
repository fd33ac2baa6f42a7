//! One path against the baseline, now, without recording anything.

use crate::compare::compare;
use crate::coverage::{self, Coverage};
use crate::error::EngineError;
use crate::tree::Tree;
use waxseal_model::change::Seen;
use waxseal_model::{AttributeSet, ChangeKind, FileState, FileType, RawPath, Source};
use waxseal_observe::probe::Hashing;
use waxseal_observe::{Accounts, Look, Problem, place};
use waxseal_policy::Selection;
use waxseal_store::{Baseline, Found, Store};

/// How a path stands to its baseline.
#[derive(Debug)]
pub enum Now {
    /// Nothing that counts differs.
    Same,
    /// It differs like this.
    Differs(Box<Found>),
    /// It was not sealed and is not there.
    NotSealed,
    /// No watch covers it.
    NotCovered,
    /// It could not be looked at.
    Unknown(Problem),
}

/// Looks at one path.
///
/// # Errors
/// As the database says.
pub fn look(
    store: &Store,
    baseline: &Baseline,
    coverage: &Coverage,
    path: &RawPath,
    hashing: &Hashing,
) -> Result<Now, EngineError> {
    let sealed = Tree::open(store, &baseline.stored.root)?.find(path)?.map(|sealed| sealed.state);
    let now = match place::observe(path, coverage.anchor(path).as_ref(), Look::Full, hashing) {
        Ok(observation) => observation.map(|o| o.state),
        Err(problem) => return Ok(Now::Unknown(problem)),
    };
    let is_dir = now.as_ref().or(sealed.as_ref()).is_some_and(|s| s.file_type == FileType::Dir);
    let (Selection::Selected, Some(owner)) = coverage.selection(path, is_dir) else {
        return Ok(Now::NotCovered);
    };
    let (kind, fields) = match (&sealed, &now) {
        (None, None) => return Ok(Now::NotSealed),
        (None, Some(_)) => (ChangeKind::Added, AttributeSet::EMPTY),
        (Some(_), None) => (ChangeKind::Removed, AttributeSet::EMPTY),
        (Some(before), Some(after)) => match compare(before, after, coverage::counted(owner.watch)) {
            Some(difference) => difference,
            None => return Ok(Now::Same),
        },
    };
    let severity = coverage::severity(owner.watch, kind, fields, sealed.as_ref(), now.as_ref());
    let mut accounts = Accounts::default();
    let mut seen = |state: FileState| {
        let (user, group) = (accounts.user(state.uid), accounts.group(state.gid));
        Seen { state, user, group }
    };
    Ok(Now::Differs(Box::new(Found {
        path: path.clone(),
        watch: owner.watch.name.clone(),
        kind,
        fields,
        severity,
        source: Source::Scan,
        before: sealed.map(&mut seen),
        after: now.map(&mut seen),
        from: None,
    })))
}
