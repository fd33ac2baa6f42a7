//! Putting back by itself what is changed under watches with `restore = "auto"`.
//!
//! In: changes that have just been recorded. Out: paths as they were sealed, and the changes ended. A path that is changed again and again is left
//! alone for a while, as a critical change: whoever keeps writing must be stopped by other means, and must not keep us busy.

use super::Event;
use super::engine::{Engine, is_passing};
use crate::error::EngineError;
use crate::restore::Restoration;
use crate::seal::Trouble;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};
use waxseal_ledger::leaf::{By, LeafText};
use waxseal_model::{Change, RawPath, Severity};
use waxseal_observe::now;
use waxseal_policy::Restore;
use waxseal_store::{Decider, Restored};

/// How often one path is put back in a minute, at most.
const MOST: usize = 5;
const MINUTE: Duration = Duration::from_secs(60);
/// For how long a path is left alone then.
const PAUSE: Duration = Duration::from_secs(600);

/// How often each path was put back lately, and which are left alone.
#[derive(Debug, Default)]
pub struct Restraint {
    recent: BTreeMap<RawPath, VecDeque<Instant>>,
    paused: BTreeMap<RawPath, Instant>,
}

/// Whether a path may be put back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Allowed {
    Yes,
    /// Not from now on.
    NoMore,
    /// It is left alone.
    No,
}

impl Restraint {
    /// Counts one more time, if it may be.
    fn may(&mut self, path: &RawPath, at: Instant) -> Allowed {
        if self.is_paused(path, at) {
            return Allowed::No;
        }
        self.paused.remove(path);
        let is_old = |time: &Instant| at.saturating_duration_since(*time) >= MINUTE;
        self.recent.retain(|other, times| other == path || !times.back().is_none_or(is_old));
        let times = self.recent.entry(path.clone()).or_default();
        while times.front().is_some_and(is_old) {
            times.pop_front();
        }
        if times.len() >= MOST {
            self.recent.remove(path);
            self.paused.insert(path.clone(), at + PAUSE);
            return Allowed::NoMore;
        }
        times.push_back(at);
        Allowed::Yes
    }

    fn is_paused(&self, path: &RawPath, at: Instant) -> bool {
        self.paused.get(path).is_some_and(|until| at < *until)
    }

    /// When the next pause ends.
    pub fn next(&self) -> Option<Instant> {
        self.paused.values().min().copied()
    }

    /// The paths whose pause has ended.
    fn ended(&mut self, at: Instant) -> Vec<RawPath> {
        let ended: Vec<RawPath> =
            self.paused.iter().filter(|(_, until)| **until <= at).map(|(path, _)| path.clone()).collect();
        self.paused.retain(|_, until| *until > at);
        ended
    }
}

impl Engine<'_> {
    /// Of what was just recorded, what is to be put back by itself; and the change as it is to be told: critical where its path is
    /// left alone.
    pub fn note_for_undo(&mut self, change: Change) -> Result<Change, EngineError> {
        let owner = self.rules.coverage.owner(&change.path);
        if owner.is_none_or(|owner| owner.watch.restore != Restore::Auto) {
            return Ok(change);
        }
        if self.restraint.is_paused(&change.path, Instant::now()) {
            return self.raise(change);
        }
        self.to_undo.push(change.clone());
        Ok(change)
    }

    /// Puts back what was noted.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn undo(&mut self) -> Result<(), EngineError> {
        let noted = std::mem::take(&mut self.to_undo);
        if noted.is_empty() {
            return Ok(());
        }
        // Nothing is written by a baseline that nobody vouches for.
        if let Err(why) = (self.trust)(&self.baseline) {
            let message = format!("nothing is put back by itself: the baseline's seal is broken: {why}");
            (self.tell)(Event::Trouble(Trouble { path: None, message }));
            return Ok(());
        }
        let mut changes = Vec::new();
        for change in noted {
            match self.restraint.may(&change.path, Instant::now()) {
                Allowed::Yes => changes.push(change),
                Allowed::No => {}
                Allowed::NoMore => {
                    let path = Some(change.path.clone());
                    let message = format!(
                        "it was put back {MOST} times within a minute and is changed again: it is left alone for {} minutes; stop whoever keeps writing",
                        PAUSE.as_secs() / 60
                    );
                    let change = self.raise(change)?;
                    (self.tell)(Event::Changed(Box::new(change)));
                    (self.tell)(Event::Trouble(Trouble { path, message }));
                }
            }
        }
        self.put_back(changes)
    }

    /// What is changed at paths whose time of being left alone has ended is put back.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn undo_after_pause(&mut self) -> Result<(), EngineError> {
        for path in self.restraint.ended(Instant::now()) {
            self.to_undo.extend(self.store.open_change_of(&path)?);
        }
        self.undo()
    }

    fn put_back(&mut self, changes: Vec<Change>) -> Result<(), EngineError> {
        if changes.is_empty() {
            return Ok(());
        }
        let baseline = Arc::clone(&self.baseline);
        let restoration = Restoration {
            store: self.store,
            baseline: &baseline,
            coverage: &self.rules.coverage,
            hashing: &self.rules.options.hashing,
        };
        let by = By { user: LeafText::new("waxseal"), ..By::default() };
        let decider = Decider { by, note: "restore = \"auto\"".into() };
        let outcome = restoration.plan(changes).and_then(|plan| restoration.restore(plan, &decider));
        let outcome = match outcome {
            Ok(outcome) => outcome,
            Err(EngineError::Store(error)) if is_passing(&error) => {
                self.go_blind(&error);
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        for Restored { change, state } in outcome.restored {
            state.iter().for_each(|state| self.objects.add(state));
            (self.tell)(Event::Restored(Box::new(change)));
        }
        // What has moved again has an event of its own.
        for refused in outcome.failed.into_iter().filter(|refused| !refused.is_stale) {
            let message = format!("it could not be put back by itself: {}", refused.why);
            (self.tell)(Event::Trouble(Trouble { path: Some(refused.change.path), message }));
        }
        Ok(())
    }

    /// The change as critical, on record.
    fn raise(&mut self, change: Change) -> Result<Change, EngineError> {
        match self.store.raise(&change, Severity::Critical, now()) {
            Ok(Some(raised)) => Ok(raised),
            Ok(None) => Ok(change),
            Err(error) if is_passing(&error) => Ok(change),
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_is_changed_again_and_again_is_left_alone_for_a_while() {
        let (mut restraint, start) = (Restraint::default(), Instant::now());
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let (path, other) = (RawPath::new(&b"/a"[..]), RawPath::new(&b"/b"[..]));
        for second in 0..5 {
            assert_eq!(restraint.may(&path, at(second)), Allowed::Yes);
        }
        assert_eq!(restraint.may(&other, at(5)), Allowed::Yes);
        assert_eq!(restraint.may(&path, at(6)), Allowed::NoMore);
        assert_eq!(restraint.may(&path, at(7)), Allowed::No);
        assert_eq!(restraint.next(), Some(at(606)));
        assert_eq!(restraint.ended(at(605)), []);
        assert_eq!(restraint.ended(at(606)), std::slice::from_ref(&path));
        assert_eq!(restraint.may(&path, at(606)), Allowed::Yes);
        // Slowly, it may be done for ever; and what was long ago is forgotten.
        for minute in 20..60 {
            assert_eq!(restraint.may(&other, at(minute * 13)), Allowed::Yes);
        }
        assert_eq!(restraint.recent.len(), 1);
    }
}
