//! When the engine goes before ordinary programs: with little to do, so that single changes are on record at once. In a
//! storm it takes its turn, or it would hold up whoever writes.

use std::time::{Duration, Instant};
use waxseal_observe::priority;

/// How nice the engine is when it goes ahead.
const AHEAD: i32 = -10;
/// How long places are counted together.
const WINDOW: Duration = Duration::from_millis(100);
/// How many places in such a time are few.
const FEW: usize = 200;

/// How long work gathers in a storm: each batch ends with a sync of the disk, which writers wait for as well.
const GATHER: Duration = Duration::from_millis(25);

/// Counts what there was to do of late.
#[derive(Debug)]
pub struct Haste {
    usual: i32,
    since: Instant,
    places: usize,
    /// There were more than a few places in the time before, or something that scans.
    was_busy: bool,
}

impl Haste {
    /// Nothing was to do yet; the calling thread is as nice as it usually is.
    pub fn new() -> Haste {
        Haste { usual: priority::nice(), since: Instant::now(), places: 0, was_busy: false }
    }

    /// So many places are to be looked at now; `scans` when the work is of another kind and may take long.
    pub fn take(&mut self, places: usize, scans: bool) {
        self.count(places, scans, Instant::now());
        self.go(!scans);
    }

    /// Before a wait: what wakes the thread up may already compete. In a storm it waits until work has gathered, unless it
    /// has `more` already.
    pub fn wait(&mut self, more: bool) {
        self.go(true);
        if self.places > FEW && !more {
            std::thread::sleep(GATHER);
        }
    }

    fn count(&mut self, places: usize, scans: bool, now: Instant) {
        let passed = now.saturating_duration_since(self.since);
        if passed >= WINDOW {
            self.was_busy = self.places > FEW && passed < 2 * WINDOW;
            (self.since, self.places) = (now, 0);
        }
        self.places = self.places.saturating_add(places);
        self.was_busy |= scans;
    }

    fn is_hasty(&self) -> bool {
        !self.was_busy && self.places <= FEW
    }

    fn go(&self, may: bool) {
        // Where it is not permitted, it stays as it was.
        let nice = if may && self.is_hasty() { self.usual.min(AHEAD) } else { self.usual };
        priority::set_nice(nice);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_places_are_hurried_and_a_storm_is_not() {
        let mut haste = Haste::new();
        let at = |millis| haste.since + Duration::from_millis(millis);
        let (now, later, much_later) = (at(1), at(101), at(1000));
        assert!(haste.is_hasty());
        haste.count(150, false, now);
        assert!(haste.is_hasty());
        haste.count(150, false, now);
        assert!(!haste.is_hasty());
        // The storm is remembered for a while, and not for long.
        haste.count(1, false, later);
        assert!(!haste.is_hasty());
        haste.count(1, false, much_later);
        assert!(haste.is_hasty());
        haste.count(0, true, much_later);
        assert!(!haste.is_hasty());
    }
}
