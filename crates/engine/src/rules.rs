//! The rules as recording needs them.

use crate::compare;
use crate::coverage::{self, Coverage};
use crate::written::Written;
use waxseal_model::change::Seen;
use waxseal_model::{Actor, AttributeSet, Severity};
use waxseal_store::{Found, Rules};

/// Answers what the store asks while it pairs and records findings.
pub struct RecordRules<'c> {
    /// The rules in force.
    pub coverage: &'c Coverage,
    /// Who wrote where.
    pub written: Option<&'c Written>,
}

impl Rules for RecordRules<'_> {
    fn differences(&self, watch: &str, before: &Seen, after: &Seen) -> AttributeSet {
        let differ = compare::differences(&before.state, &after.state);
        match self.coverage.watch_named(watch) {
            Some(watch) => differ.intersection(coverage::counted(watch)),
            None => differ,
        }
    }

    fn severity_of_move(&self, found: &Found) -> Severity {
        match self.coverage.watch_named(&found.watch) {
            Some(watch) => {
                let state = |seen: &Option<Seen>| seen.as_ref().map(|seen| seen.state.clone());
                let (before, after) = (state(&found.before), state(&found.after));
                coverage::severity(watch, found.kind, found.fields, before.as_ref(), after.as_ref())
            }
            None => found.severity,
        }
    }

    fn actors(&self, found: &Found) -> Vec<Actor> {
        self.written.map_or(Vec::new(), |written| written.actors(&found.path))
    }

    fn severity_by(&self, found: &Found, actors: &[Actor]) -> Severity {
        match self.coverage.watch_named(&found.watch) {
            Some(watch) => waxseal_policy::severity_by(watch, found.severity, actors),
            None => found.severity,
        }
    }
}
