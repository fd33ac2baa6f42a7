//! Another config while the monitor runs.
//!
//! In: that the config may be another. Out: the new rules in effect and what they cover looked at, or the old ones as they
//! were. The new watches are in place before the old ones end, and before anything is looked at: no gap is left.

use super::engine::Engine;
use super::queue::NewRoots;
use super::{Applied, Event, Rules, roots_of};
use crate::coverage::Coverage;
use crate::error::EngineError;
use crate::seal::Trouble;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc;
use std::time::Duration;
use waxseal_model::{RawPath, Source};
use waxseal_observe::watch;
use waxseal_store::Place;

/// How often is looked whether the reader, which is to answer, is still there.
const LOOK: Duration = Duration::from_millis(500);

impl Engine<'_> {
    /// Reads the config again, and applies it.
    ///
    /// # Errors
    /// When the baseline cannot be read. A config that is wrong is told, and the old one stays.
    pub fn reload(&mut self, asked: bool) -> Result<(), EngineError> {
        let rules = match (self.load)(asked) {
            Ok(None) => return Ok(()),
            Ok(Some(rules)) => rules,
            Err(error) => {
                (self.tell)(Event::Config(Err(error)));
                return Ok(());
            }
        };
        match self.watch_for(&rules.coverage) {
            Ok(coverage) => {
                let watches = rules.coverage.config().watches.len();
                self.pulse.set_coverage(&coverage);
                (self.tell)(Event::Config(Ok(Applied { coverage, watches })));
                self.take_over(rules)
            }
            Err(error) => {
                (self.tell)(Event::Config(Err(error)));
                Ok(())
            }
        }
    }

    /// Looks at what the new rules may judge in another way than the old ones: everything, by times and sizes; and before
    /// that at what is covered anew, so that it is one change set of its own for each watch.
    fn take_over(&mut self, rules: Rules) -> Result<(), EngineError> {
        let previous = self.rules_hash();
        let old = std::mem::replace(&mut self.rules, rules);
        self.record_config(previous)?;
        self.patrol.set(&self.rules.coverage.config().scan);
        self.tell_lost_paths();
        for (watch, roots) in self.new_roots(&old.coverage) {
            for path in &roots {
                (self.tell)(Event::Rescan { path: path.clone(), reason: "reload" });
            }
            let targets = roots.into_iter().map(|path| Place { path, deep: true }).collect();
            let targets = self.of_interest(targets);
            if !targets.is_empty() {
                let cause = format!("watch \"{watch}\" was added to the config");
                self.look(targets, true, Source::Scan, &cause)?;
            }
        }
        self.look(self.everything(), true, Source::Scan, "found after the config was changed")
    }

    /// The roots that were not there before, by the names of their watches.
    fn new_roots(&self, old: &Coverage) -> BTreeMap<String, BTreeSet<RawPath>> {
        let now = &self.rules.coverage;
        let mut new: BTreeMap<String, BTreeSet<RawPath>> = BTreeMap::new();
        for root in now.roots().iter().filter(|root| old.root_at(&root.path).is_none()) {
            new.entry(now.watch(root).name.clone()).or_default().insert(root.path.clone());
        }
        new
    }

    /// Of the places that this monitor was started for, those that nothing covers any more.
    fn tell_lost_paths(&mut self) {
        let lost: Vec<RawPath> =
            self.only.iter().filter(|path| !self.rules.coverage.may_cover(path)).cloned().collect();
        for path in lost {
            let message = "the config no longer covers it, and this monitor was started for it".to_owned();
            (self.tell)(Event::Trouble(Trouble::at(path, message)));
        }
    }

    /// Watches what a coverage names from now on.
    fn watch_for(&mut self, coverage: &Coverage) -> Result<Vec<watch::Coverage>, String> {
        let (answer, answered) = mpsc::channel();
        self.queue.set_roots(NewRoots { roots: roots_of(coverage), answer });
        self.waker.wake();
        loop {
            match answered.recv_timeout(LOOK) {
                Ok(answer) => return answer.map_err(|error| error.to_string()),
                Err(mpsc::RecvTimeoutError::Timeout) if !self.queue.is_ending() => {}
                Err(_) => return Err("the monitor is ending".to_owned()),
            }
        }
    }

    /// Takes over what globs match by now.
    pub fn grow(&mut self) {
        let mut fresh = self.rules.coverage.clone();
        fresh.refresh();
        let mut grown = self.rules.coverage.clone();
        if grown.grow(&fresh) || self.unwatched {
            let watched = self.watch_for(&grown);
            self.unwatched = watched.is_err();
            match watched {
                Ok(coverage) => self.pulse.set_coverage(&coverage),
                Err(error) => {
                    let message = format!("what the globs match by now is found by scans only: {error}");
                    (self.tell)(Event::Trouble(Trouble { path: None, message }));
                }
            }
        }
        self.rules.coverage = grown;
    }
}
