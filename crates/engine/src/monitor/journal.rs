//! What the log says of the monitor itself, and when its keys change.

use super::engine::{Engine, is_passing};
use crate::error::EngineError;
use std::time::Instant;
use waxseal_ledger::leaf::{Event, LeafPath, LeafText, Who, actors_hash};
use waxseal_ledger::rules_hash;
use waxseal_model::{Actor, Digest, RawPath};
use waxseal_observe::now;
use waxseal_store::{EPOCH, StoreError};

/// The leaf of a name that came and went.
pub fn touched(path: &RawPath, actors: &[Actor]) -> Event {
    Event::Touched {
        path: LeafPath::new(path),
        who: actors.last().map(Who::of),
        details: actors_hash(actors),
    }
}

impl Engine<'_> {
    /// Puts on record what has no row of its own. False when that is not possible now.
    ///
    /// # Errors
    /// As the database says, unless it may take it later.
    pub fn record(&mut self, events: Vec<Event>) -> Result<bool, EngineError> {
        if events.is_empty() {
            return Ok(true);
        }
        let recorded = self.store.log_events(now(), events);
        self.passing(recorded)
    }

    /// The monitor begins, by these rules.
    pub fn record_start(&mut self) -> Result<(), EngineError> {
        let baseline = Some((self.baseline.generation, self.baseline.stored.root));
        let program = LeafText::new(concat!("waxseal ", env!("CARGO_PKG_VERSION")));
        let rules = self.rules_hash();
        self.record(vec![Event::Start { program, rules, baseline }]).map(drop)
    }

    /// Other rules hold.
    pub fn record_config(&mut self, previous: Digest) -> Result<(), EngineError> {
        let rules = self.rules_hash();
        let event = Event::Config { rules, previous: Some(previous) };
        if rules == previous { Ok(()) } else { self.record(vec![event]).map(drop) }
    }

    /// The monitor ends. What it recorded cannot be forged any more with what is left on the machine.
    pub fn record_stop(&mut self, reason: &str) {
        let stop = Event::Stop { reason: LeafText::new(reason) };
        // Whoever cannot record it any more ends all the same; the gap shows.
        let _ = self.store.log_events(now(), vec![stop]).and_then(|()| self.store.end_epoch(now()));
    }

    /// The hash of the rules that hold.
    pub fn rules_hash(&self) -> Digest {
        rules_hash(&waxseal_policy::show(self.rules.coverage.config()))
    }

    /// Ends the epoch when it is time to, if anything was recorded in it.
    pub fn turn_keys(&mut self) -> Result<(), EngineError> {
        if self.epoch_ends.take_if(|end| *end <= Instant::now()).is_some() {
            let ended = self.store.end_epoch(now());
            self.passing(ended)?;
        }
        if self.store.is_epoch_used() {
            self.epoch_ends.get_or_insert_with(|| Instant::now() + EPOCH);
        }
        Ok(())
    }

    /// Whether something was recorded. False when it cannot be now, which is told.
    pub fn passing(&mut self, recorded: Result<(), StoreError>) -> Result<bool, EngineError> {
        match recorded {
            Ok(()) => Ok(true),
            Err(error) if is_passing(&error) => {
                self.go_blind(&error);
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }
}
