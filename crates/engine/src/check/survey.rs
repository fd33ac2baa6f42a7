//! A look that records nothing: it only says which paths are to be looked at by the one who records. So it can take its
//! time beside that one, and what it saw may be stale by then.

use super::{Checking, Report, Request, Scan, Stretch};
use crate::error::EngineError;
use crate::rules::RecordRules;
use crate::seal::Trouble;
use crate::tree::Tree;
use std::sync::PoisonError;
use waxseal_model::RawPath;
use waxseal_observe::Options;
use waxseal_store::Findings;

/// How a survey goes about.
#[derive(Clone, Copy)]
pub(crate) struct Manner<'a> {
    /// The directories to look at.
    pub stretch: &'a Stretch,
    /// Called after each piece of work; it may take its time.
    pub breathe: &'a (dyn Fn() + Sync),
}

/// What a survey saw; the rest is in its findings.
pub(crate) struct Survey<'a> {
    scan: Scan<'a>,
    /// What could not be looked at, sorted by path.
    pub troubles: Vec<Trouble>,
    /// Entries that were looked at.
    pub checked: u64,
    /// Open changes that may be over.
    over: Vec<RawPath>,
    after: Option<RawPath>,
    is_through: bool,
}

/// Looks at what `request` asks for, as far as it lies in the stretch.
///
/// # Errors
/// As [`super::check`].
pub(crate) fn survey<'a>(
    scan: Scan<'a>,
    request: &Request,
    options: &Options,
    manner: Manner<'_>,
) -> Result<Survey<'a>, EngineError> {
    let tree = Tree::open(scan.store, &scan.baseline.stored.root)?;
    let checking = Checking::new(&scan, request, &tree, Some(manner))?;
    let report = checking.walk(options)?;
    let findings = scan.findings.lock().unwrap_or_else(PoisonError::into_inner);
    let over = conclude(&scan, &checking, &report, &findings).inspect_err(|_| drop(findings.clear()))?;
    drop(findings);
    Ok(Survey {
        scan,
        checked: report.checked,
        troubles: report.troubles,
        over,
        after: None,
        is_through: false,
    })
}

fn conclude(
    scan: &Scan<'_>,
    checking: &Checking<'_>,
    report: &Report,
    findings: &Findings,
) -> Result<Vec<RawPath>, EngineError> {
    findings.pair(&RecordRules { coverage: scan.coverage, written: None })?;
    let seen = |path: &RawPath| {
        report.looked_at(path) && !scan.coverage.is_own(path) && checking.is_judged_here(path)
    };
    Ok(findings.not_found_again(&report.scope, &seen)?)
}

impl Survey<'_> {
    /// The next of the paths that are to be looked at, about `most`; none when that was all.
    ///
    /// # Errors
    /// As the database says.
    pub fn next(&mut self, most: usize) -> Result<Vec<RawPath>, EngineError> {
        let rules = RecordRules { coverage: self.scan.coverage, written: None };
        let findings = self.scan.findings.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.is_through {
            let page = findings.unrecorded(&rules, self.after.as_ref(), most)?;
            self.is_through = page.last.is_none();
            self.after = page.last;
            if !page.paths.is_empty() {
                return Ok(page.paths);
            }
        }
        let rest = self.over.len().saturating_sub(most);
        Ok(self.over.split_off(rest))
    }
}

/// What was found is forgotten with it.
impl Drop for Survey<'_> {
    fn drop(&mut self) {
        let findings = self.scan.findings.lock().unwrap_or_else(PoisonError::into_inner);
        // What cannot be forgotten is looked at once more.
        let _ = findings.clear();
    }
}

impl Checking<'_> {
    /// Whether the stretch leads through a directory.
    pub(super) fn reaches(&self, directory: impl FnOnce() -> RawPath) -> bool {
        let stretch = self.survey.map(|survey| survey.stretch).filter(|stretch| !stretch.is_all());
        stretch.is_none_or(|stretch| stretch.reaches(&directory()))
    }

    /// Whether a directory belongs to the stretch.
    pub(super) fn holds(&self, directory: impl FnOnce() -> RawPath) -> bool {
        let stretch = self.survey.map(|survey| survey.stretch).filter(|stretch| !stretch.is_all());
        stretch.is_none_or(|stretch| stretch.holds(&directory()))
    }

    /// Whether a path is judged in this stretch: where it begins a walk, or with the directory that it is in.
    fn is_judged_here(&self, path: &RawPath) -> bool {
        let is_root = self.coverage.root_at(path).is_some() || self.is_target(path);
        self.holds(|| if is_root { path.clone() } else { path.parent().unwrap_or_else(|| path.clone()) })
    }

    /// Leaves a path to the one who records.
    pub(super) fn leave(&self, path: &RawPath) {
        let findings = self.findings.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = findings.note(path) {
            drop(findings);
            self.fail(error);
        }
    }
}
