//! The other ends of moves, where only a part of what is covered was looked at: a file that came from outside of that
//! part has moved, and one that went out of it as well, just as a look at everything would say.

use super::{Checking, Report};
use crate::coverage::Coverage;
use std::collections::BTreeSet;
use std::sync::PoisonError;
use waxseal_model::{FileState, FileType, RawPath, Source};
use waxseal_observe::place;
use waxseal_policy::Selection;
use waxseal_store::{Place, StoreError};

/// What was looked at besides.
#[derive(Debug, Default)]
pub(super) struct Elsewhere {
    /// Names outside that are gone, and whose objects were found under other names.
    pub gone: Vec<Place>,
    /// New names outside of what is missing inside: their changes are on record, and stay as they are.
    pub went: BTreeSet<RawPath>,
}

impl Checking<'_> {
    /// Completes the findings of a look at `report`'s scope.
    pub(super) fn look_elsewhere(&self, report: &Report) -> Result<Elsewhere, StoreError> {
        let mut elsewhere = Elsewhere::default();
        for (path, state) in self.origins(report)? {
            self.removed(path.clone(), state);
            elsewhere.gone.push(Place { path, deep: false });
        }
        let findings = self.findings.lock().unwrap_or_else(PoisonError::into_inner);
        for change in findings.recorded_moves()? {
            let (Some(from), Some(after)) = (&change.from, &change.after) else { continue };
            let outside = !report.is_in_scope(&change.path);
            let now = || place::stat(&change.path, self.coverage.anchor(&change.path).as_ref());
            if outside && matches!(now(), Ok(Some(now)) if after.state.same_object(&now)) {
                findings.retract(from)?;
                elsewhere.went.insert(change.path);
            }
        }
        Ok(elsewhere)
    }

    /// Sealed names outside of the scope that are gone, and whose objects may have been found inside.
    fn origins(&self, report: &Report) -> Result<Vec<(RawPath, FileState)>, StoreError> {
        let (appeared, recorded) = {
            let findings = self.findings.lock().unwrap_or_else(PoisonError::into_inner);
            (findings.appeared()?, findings.recorded_origins()?)
        };
        if appeared.is_empty() {
            return Ok(Vec::new());
        }
        let mut origins = Vec::new();
        let is_origin = |path: &RawPath, state: &FileState| {
            appeared.holds(state) && !report.is_in_scope(path) && has_gone(self.coverage, path, state)
        };
        if self.request.source == Source::Scan {
            self.tree.each(&mut |path, state| {
                if is_origin(path, state) {
                    origins.push((path.clone(), state.clone()));
                }
            })?;
            return Ok(origins);
        }
        // An event must not cost a walk through the baseline: what is on record is enough, until the next scan.
        for path in recorded {
            if let Some(sealed) = self.tree.find(&path)?.filter(|sealed| is_origin(&path, &sealed.state)) {
                origins.push((path, sealed.state));
            }
        }
        Ok(origins)
    }
}

/// Whether a look at everything would find this sealed name removed.
fn has_gone(coverage: &Coverage, path: &RawPath, state: &FileState) -> bool {
    let is_dir = state.file_type == FileType::Dir;
    coverage.selection(path, is_dir).0 == Selection::Selected
        && matches!(place::stat(path, coverage.anchor(path).as_ref()), Ok(None))
}
