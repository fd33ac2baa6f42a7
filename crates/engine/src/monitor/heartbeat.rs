//! That the monitor is alive, from time to time: an auditor sees that it ran, and for how long it was silent.
//!
//! In: the time since the last one. Out: a leaf of the log, a new key, and a line. The epoch ends with it, so an idle monitor
//! wakes for both at once.

use super::engine::Engine;
use super::{Event, Heartbeat};
use crate::error::EngineError;
use crate::retention::retention;
use std::time::{Duration, Instant};
use waxseal_ledger::leaf::{self, LeafText};
use waxseal_observe::guard::Bell;
use waxseal_observe::now;
use waxseal_observe::watch::Coverage;

const DAY: Duration = Duration::from_secs(24 * 3600);
/// How long after the start nothing is deleted: then there is more urgent work.
const SETTLED: Duration = Duration::from_secs(60);

/// When the last one was, and what it says.
pub struct Pulse {
    last: Instant,
    /// What watches, several joined by `+`.
    backend: String,
    started: Instant,
    /// When retention was seen to.
    pruned: Option<Instant>,
}

impl Pulse {
    pub fn new() -> Pulse {
        let now = Instant::now();
        Pulse { last: now, backend: String::new(), started: now, pruned: None }
    }

    /// What watches now.
    pub fn set_coverage(&mut self, coverage: &[Coverage]) {
        let mut names: Vec<&str> = coverage.iter().map(|part| part.backend.name()).collect();
        names.sort_unstable();
        names.dedup();
        self.backend = names.join("+");
    }

    fn due(&self, every: Duration) -> Option<Instant> {
        self.last.checked_add(every).filter(|_| !every.is_zero())
    }
}

impl Engine<'_> {
    /// When to wake for the next one. While nothing can be recorded there is none.
    pub fn next_heartbeat(&self) -> Option<Instant> {
        let every = self.rules.coverage.config().ledger.heartbeat;
        self.pulse.due(every).filter(|_| self.blind.is_none())
    }

    /// Records and tells that the monitor is alive, when it is time to. At the end of an epoch that comes in the second half
    /// of the time it is done at once, which spares a wake-up.
    pub fn beat(&mut self) -> Result<(), EngineError> {
        let Some(due) = self.next_heartbeat() else { return Ok(()) };
        let (at, half) = (Instant::now(), self.rules.coverage.config().ledger.heartbeat / 2);
        let is_epoch_over = self.epoch_ends.is_some_and(|end| end <= at);
        if at < due && !(is_epoch_over && due.saturating_duration_since(at) <= half) {
            return Ok(());
        }
        self.pulse.last = at;
        let (time, watching) = (now(), self.baseline.stored.entries);
        let open = match self.store.count_open() {
            Ok(open) => open.iter().sum(),
            Err(error) => return self.passing(Err(error)).map(drop),
        };
        let backend = LeafText::new(&self.pulse.backend);
        let recorded =
            self.store.log_last_events(time, vec![leaf::Event::Heartbeat { watching, open, backend }]);
        if !self.passing(recorded)? {
            return Ok(());
        }
        self.epoch_ends = None;
        // What its events do not tell of, such as a directory above it that was moved.
        self.guard.iter().for_each(Bell::look);
        let checkpoint = match self.store.checkpoint() {
            Ok(note) => note.unwrap_or_default(),
            Err(error) => return self.passing(Err(error)).map(drop),
        };
        let backend = self.pulse.backend.clone();
        (self.tell)(Event::Heartbeat(Box::new(Heartbeat { time, watching, open, backend, checkpoint })));
        Ok(())
    }
}

impl Engine<'_> {
    /// Deletes what the rules of retention let go, once a day, when the monitor is awake in any case.
    pub fn prune(&mut self) -> Result<(), EngineError> {
        let is_due = self
            .pulse
            .pruned
            .map_or_else(|| self.pulse.started.elapsed() >= SETTLED, |last| last.elapsed() >= DAY);
        if !is_due || self.blind.is_some() {
            return Ok(());
        }
        self.pulse.pruned = Some(Instant::now());
        let limits = retention(self.rules.coverage.config());
        let pruned = self.store.prune(&limits, now()).map(drop);
        self.passing(pruned).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_due_after_its_time_and_never_when_that_is_zero() {
        let pulse = Pulse::new();
        let minute = Duration::from_secs(60);
        assert_eq!(pulse.due(minute).map(|due| due - pulse.last), Some(minute));
        assert_eq!(pulse.due(Duration::ZERO), None);
        assert_eq!(pulse.due(Duration::MAX), None);
    }
}
