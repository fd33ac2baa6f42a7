//! How fast a scan goes that nobody waits for: no faster than its share of a processor, and no further than its schedule.

use std::time::{Duration, Instant};

/// Rests shorter than this are put off: each costs a wake-up.
const LEAST: Duration = Duration::from_millis(20);

/// What a pace is kept by.
pub trait Clock {
    /// Processor time that the work has used so far.
    fn used(&self) -> Duration;
    /// The time.
    fn now(&self) -> Instant;
    /// Waits until then, or until the wait is ended from outside.
    fn rest_until(&self, at: Instant);
}

/// Keeps processor time at a share of the time that passes.
#[derive(Debug)]
pub struct Pace {
    /// Of one processor.
    share: f64,
    used: Duration,
    at: Instant,
    /// The time that has yet to pass for what was used.
    owed: Duration,
}

impl Pace {
    /// A pace from now on; `percent` of a processor, at least one.
    pub fn new(percent: u8, clock: &impl Clock) -> Pace {
        let share = f64::from(percent.clamp(1, 100)) / 100.0;
        Pace { share, used: clock.used(), at: clock.now(), owed: Duration::ZERO }
    }

    /// Rests as long as is due for what was used since the last call. What passed without use is not saved up: after
    /// waiting for a disk it goes on no faster than before.
    pub fn keep(&mut self, clock: &impl Clock) {
        let (used, now) = (clock.used(), clock.now());
        let spent = used.saturating_sub(self.used);
        let passed = now.saturating_duration_since(self.at);
        self.owed = (self.owed + spent.div_f64(self.share)).saturating_sub(passed);
        (self.used, self.at) = (used, now);
        if self.owed >= LEAST {
            clock.rest_until(now + self.owed);
        }
    }
}

/// Spreads work over a time.
#[derive(Debug, Clone, Copy)]
pub struct Schedule {
    begin: Instant,
    span: Duration,
    /// The work that the span is for.
    total: f64,
}

impl Schedule {
    /// From `begin` on, with `done` of `total` done before; the rest gets its share of `span`, which is the time for all.
    pub fn new(begin: Instant, span: Duration, done: u64, total: u64) -> Schedule {
        let left = total.saturating_sub(done) as f64;
        let span = if total == 0 { Duration::ZERO } else { span.mul_f64(left / total as f64) };
        Schedule { begin, span, total: left }
    }

    /// When so much work after the beginning should not be done before.
    pub fn at(&self, work: u64) -> Instant {
        let part = if self.total > 0.0 { (work as f64 / self.total).min(1.0) } else { 1.0 };
        self.begin + self.span.mul_f64(part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    /// A clock that moves only when it is told.
    struct Fake {
        start: Instant,
        used: Cell<Duration>,
        passed: Cell<Duration>,
        rests: Cell<u32>,
    }

    impl Fake {
        fn new() -> Fake {
            let (used, passed, rests) = Default::default();
            Fake { start: Instant::now(), used, passed, rests }
        }

        /// Works for so long on a processor of which others leave this much.
        fn work(&self, time: Duration, left: f64) {
            self.used.set(self.used.get() + time);
            self.passed.set(self.passed.get() + time.div_f64(left));
        }
    }

    impl Clock for Fake {
        fn used(&self) -> Duration {
            self.used.get()
        }
        fn now(&self) -> Instant {
            self.start + self.passed.get()
        }
        fn rest_until(&self, at: Instant) {
            self.rests.set(self.rests.get() + 1);
            self.passed.set(self.passed.get().max(at - self.start));
        }
    }

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn the_share_is_kept_over_any_stretch() {
        for percent in [1, 10, 25, 99, 100] {
            let clock = Fake::new();
            let mut pace = Pace::new(percent, &clock);
            // A stretch of waiting for the disk earns nothing.
            clock.passed.set(Duration::from_secs(1000));
            pace.keep(&clock);
            let (used, passed) = (clock.used.get(), clock.passed.get());
            for step in 0..1000 {
                clock.work(MS * (step % 7), 1.0);
                pace.keep(&clock);
            }
            let (used, passed) = (clock.used.get() - used, clock.passed.get() - passed);
            let most = (passed + LEAST).as_secs_f64() * f64::from(percent) / 100.0;
            assert!(used.as_secs_f64() <= most * 1.001, "{percent}: {used:?} in {passed:?}");
            // And it is used.
            assert!(used.as_secs_f64() >= most * 0.9, "{percent}: {used:?} in {passed:?}");
        }
    }

    #[test]
    fn who_gets_less_than_the_share_anyway_never_rests() {
        let clock = Fake::new();
        let mut pace = Pace::new(25, &clock);
        for _ in 0..1000 {
            clock.work(MS * 3, 0.2);
            pace.keep(&clock);
        }
        assert_eq!(clock.rests.get(), 0);
    }

    #[test]
    fn many_small_pieces_make_few_rests() {
        let clock = Fake::new();
        let mut pace = Pace::new(25, &clock);
        for _ in 0..10_000 {
            clock.work(MS / 20, 1.0);
            pace.keep(&clock);
        }
        assert!(clock.rests.get() <= 100, "{}", clock.rests.get());
    }

    #[test]
    fn work_is_spread_and_ends_in_time() {
        let (begin, hour) = (Instant::now(), Duration::from_secs(3600));
        let whole = Schedule::new(begin, hour, 0, 1000);
        assert_eq!(whole.at(0), begin);
        assert_eq!(whole.at(500), begin + hour / 2);
        // More than was expected does not put the end off.
        assert_eq!((whole.at(1000), whole.at(5000)), (begin + hour, begin + hour));
        let rest = Schedule::new(begin, hour, 750, 1000);
        assert_eq!((rest.at(0), rest.at(250)), (begin, begin + hour / 4));
        for (done, total) in [(0, 0), (7, 7), (9, 7)] {
            let nothing = Schedule::new(begin, hour, done, total);
            assert_eq!((nothing.at(0), nothing.at(9)), (begin, begin));
        }
    }
}
