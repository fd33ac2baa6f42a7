//! When it did not see, or could not record: kept until it is on record.

use super::engine::{Engine, is_passing};
use super::queue::Rescan;
use crate::error::EngineError;
use std::time::{Duration, Instant};
use waxseal_model::{RawPath, Timestamp};
use waxseal_observe::now;
use waxseal_store::Gap;

/// How many gaps wait to be recorded at most; more of them are one.
const MOST: usize = 1000;
/// How often is left on record that it watches, while something happens.
const EVERY: Duration = Duration::from_secs(60);

/// Gaps that are not on record yet.
#[derive(Debug)]
pub struct Blindness {
    gaps: Vec<Gap>,
    /// When it was last left on record that it watches.
    told: Instant,
}

impl Blindness {
    pub fn new() -> Blindness {
        Blindness { gaps: Vec::new(), told: Instant::now() }
    }

    /// Notes a gap that ends now.
    pub fn add(&mut self, path: Option<RawPath>, reason: &str, started: Timestamp) {
        // By a clock that was set back, it would end before it began.
        let gap = Gap { path, reason: reason.to_owned(), started, ended: now().max(started) };
        match self.gaps.first().filter(|_| self.gaps.len() >= MOST) {
            None => self.gaps.push(gap),
            Some(first) => {
                let started =
                    self.gaps.iter().map(|gap| gap.started).min().unwrap_or(started).min(gap.started);
                self.gaps = vec![Gap { path: None, reason: first.reason.clone(), started, ended: gap.ended }];
            }
        }
    }
}

impl Engine<'_> {
    /// From when nobody watched until this monitor did.
    pub fn note_downtime(&mut self) -> Result<(), EngineError> {
        let since = self.store.last_watched()?.unwrap_or(self.baseline.stored.scan_start);
        self.blindness.add(None, "downtime", since);
        Ok(())
    }

    /// A place that was reconciled.
    pub fn note_rescan(&mut self, path: RawPath, rescan: Rescan) {
        self.blindness.add(Some(path), rescan.reason, rescan.since);
    }

    /// Puts on record what is not yet, and that it watches, unless that was done a moment ago.
    ///
    /// # Errors
    /// As the database says, unless it may take it later.
    pub fn leave_word(&mut self, at_once: bool) -> Result<(), EngineError> {
        let blindness = &mut self.blindness;
        let is_time = at_once || !blindness.gaps.is_empty() || blindness.told.elapsed() >= EVERY;
        if !is_time || self.blind.is_some() {
            return Ok(());
        }
        match self.store.add_gaps(&blindness.gaps, now()) {
            Ok(()) => {
                blindness.gaps.clear();
                blindness.told = Instant::now();
                Ok(())
            }
            Err(error) if is_passing(&error) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
