//! When scans are due, and what steers them: shared by the engine, which says by which settings, and the threads that scan.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use waxseal_model::Timestamp;
use waxseal_policy::Scan;

/// How the scans are set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// From the end of a quick scan to the next.
    pub quick_every: Duration,
    /// From the beginning of a full scan to that of the next.
    pub full_every: Duration,
    /// Percent of one processor.
    pub cpu_budget: u8,
    /// Counts up with each config that was applied.
    pub version: u64,
}

/// How a rest ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rest {
    /// By its time.
    Over,
    /// By another config.
    Changed,
    /// By the end of the monitor.
    Ending,
}

#[derive(Debug, Default)]
struct State {
    settings: Option<Settings>,
    /// A quick scan is going on: the full one waits, so that both together keep the budget.
    quick: bool,
    ending: bool,
}

/// Steers the scans.
#[derive(Debug, Default)]
pub struct Patrol {
    state: Mutex<State>,
    changed: Condvar,
}

impl Patrol {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to scan by these settings, or goes on by them: what is going on is ended, and begun anew as far as needed.
    pub fn set(&self, scan: &Scan) {
        let mut state = self.lock();
        let version = state.settings.map_or(0, |settings| settings.version) + 1;
        let Scan { quick_every, full_every, cpu_budget, .. } = *scan;
        state.settings = Some(Settings { quick_every, full_every, cpu_budget, version });
        self.changed.notify_all();
    }

    /// Ends all scans.
    pub fn end(&self) {
        self.lock().ending = true;
        self.changed.notify_all();
    }

    /// The settings, once there are any; `None` when all is to end.
    pub fn settings(&self) -> Option<Settings> {
        let mut state = self.lock();
        loop {
            match state.settings {
                _ if state.ending => return None,
                Some(settings) => return Some(settings),
                None => state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    /// Waits until a time, as long as these settings hold.
    pub fn rest_until(&self, at: Instant, version: u64) -> Rest {
        self.rest_while(version, |_| at.saturating_duration_since(Instant::now()))
    }

    /// Whether to go on by these settings; the full scan waits here for the quick one.
    pub fn go_on(&self, version: u64, is_full: bool) -> Rest {
        // A minute stands for any time: what is waited for wakes up.
        let minute = Duration::from_secs(60);
        self.rest_while(version, |state| if is_full && state.quick { minute } else { Duration::ZERO })
    }

    /// Waits as long as `left` says that there is time left.
    fn rest_while(&self, version: u64, left: impl Fn(&State) -> Duration) -> Rest {
        let mut state = self.lock();
        loop {
            if state.ending {
                return Rest::Ending;
            }
            if state.settings.is_none_or(|settings| settings.version != version) {
                return Rest::Changed;
            }
            let left = left(&state);
            if left.is_zero() {
                return Rest::Over;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// A quick scan begins or ends.
    pub fn set_quick(&self, goes_on: bool) {
        self.lock().quick = goes_on;
        self.changed.notify_all();
    }
}

/// A moment that may lie before this process.
#[derive(Debug, Clone, Copy)]
pub struct Since {
    at: Instant,
    /// How long ago the moment was then.
    age: Duration,
}

impl Since {
    /// A moment of the wall clock. One that lies in the future, by a clock that was set back, counts as now: nothing waits
    /// for longer than its period.
    pub fn time(then: Timestamp, now: Timestamp) -> Since {
        let micros = now.as_micros().saturating_sub(then.as_micros());
        Since { at: Instant::now(), age: Duration::from_micros(u64::try_from(micros).unwrap_or(0)) }
    }

    /// So long after it; now, when that is over.
    pub fn plus(&self, time: Duration) -> Instant {
        self.at + time.saturating_sub(self.age)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rest_ends_at_once_when_all_ends_or_another_config_comes() {
        let patrol = &Patrol::default();
        let never = Instant::now() + Duration::from_secs(1 << 30);
        patrol.set(&Scan::default());
        let first = patrol.settings().unwrap();
        assert_eq!(first.cpu_budget, 25);
        std::thread::scope(|scope| {
            // Whether they rest by then or not, they must notice.
            let waiting = scope.spawn(|| patrol.rest_until(never, first.version));
            patrol.set(&Scan { cpu_budget: 7, ..Scan::default() });
            assert_eq!(waiting.join().unwrap(), Rest::Changed);
            let second = patrol.settings().unwrap();
            assert_eq!(second.cpu_budget, 7);
            let waiting = scope.spawn(move || patrol.rest_until(never, second.version));
            patrol.end();
            assert_eq!(waiting.join().unwrap(), Rest::Ending);
        });
        assert_eq!(patrol.settings(), None);
    }

    #[test]
    fn the_full_scan_waits_for_the_quick_one_and_not_the_other_way_round() {
        let patrol = Patrol::default();
        patrol.set(&Scan::default());
        let version = patrol.settings().unwrap().version;
        assert_eq!(patrol.go_on(version, true), Rest::Over);
        patrol.set_quick(true);
        assert_eq!(patrol.go_on(version, false), Rest::Over);
        std::thread::scope(|scope| {
            let full = scope.spawn(|| patrol.go_on(version, true));
            patrol.set_quick(false);
            assert_eq!(full.join().unwrap(), Rest::Over);
        });
    }

    #[test]
    fn nothing_is_waited_for_longer_than_its_period() {
        let (hour, now) = (Duration::from_secs(3600), Timestamp::new(1_000_000, 0));
        let ago = |seconds: i64| Since::time(Timestamp::new(1_000_000 - seconds, 0), now);
        let wait = |since: Since| since.plus(hour) - since.at;
        assert_eq!(wait(ago(600)), hour - Duration::from_secs(600));
        assert_eq!(wait(ago(3600 * 24)), Duration::ZERO);
        // The clock was set back.
        assert_eq!(wait(ago(-3600 * 24 * 365)), hour);
        assert_eq!(wait(Since::time(Timestamp::new(i64::MAX, 0), now)), hour);
        assert_eq!(wait(Since::time(Timestamp::new(i64::MIN, 0), now)), Duration::ZERO);
    }
}
