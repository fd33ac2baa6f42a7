//! Whether the clock on the wall was set.

use waxseal_observe::now;
use waxseal_observe::process::uptime;

/// What a clock may move by at once without having been set, in microseconds.
const SLACK: i64 = 1_000_000;
/// A clock that is corrected slowly gains or loses one part in so many at most; `adjtimex(2)` allows 500 in a million.
const SLEW: i64 = 1000;

/// The clock, held against the time since the system started, which nobody sets.
#[derive(Debug)]
pub struct Clock {
    /// Both, in microseconds, when they were last compared.
    wall: i64,
    up: i64,
}

impl Clock {
    /// From now on.
    pub fn new() -> Clock {
        let (wall, up) = read();
        Clock { wall, up }
    }

    /// By how many microseconds it was set since the last call, if it was; back, when negative.
    pub fn moved(&mut self) -> Option<i64> {
        let (wall, up) = read();
        self.compare(wall, up)
    }

    fn compare(&mut self, wall: i64, up: i64) -> Option<i64> {
        let passed = up.saturating_sub(self.up);
        let moved = wall.saturating_sub(self.wall).saturating_sub(passed);
        (self.wall, self.up) = (wall, up);
        (moved.saturating_abs() > SLACK.saturating_add(passed / SLEW)).then_some(moved)
    }
}

/// Both at one moment: whoever is stopped between the two asks again.
fn read() -> (i64, i64) {
    let up = || i64::try_from(uptime() / 1000).unwrap_or(i64::MAX);
    loop {
        let (before, wall, after) = (up(), now().as_micros(), up());
        if after.saturating_sub(before) < SLACK / 10 {
            return (wall, before);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000;
    const DAY: i64 = 86_400 * SECOND;

    fn clock() -> Clock {
        Clock { wall: 1000 * DAY, up: DAY }
    }

    #[test]
    fn a_clock_that_goes_was_not_set() {
        let mut clock = clock();
        assert_eq!(clock.compare(1000 * DAY + SECOND, DAY + SECOND), None);
        // Corrected by half a second at once, and slowly over a day.
        assert_eq!(clock.compare(1000 * DAY + SECOND / 2, DAY + SECOND), None);
        assert_eq!(clock.compare(1001 * DAY + 43 * SECOND, 2 * DAY + SECOND), None);
        assert_eq!(Clock::new().moved(), None);
    }

    #[test]
    fn a_clock_that_was_set_is_told_once_with_how_far() {
        let mut clock = clock();
        assert_eq!(clock.compare(998 * DAY + SECOND, DAY + SECOND), Some(-2 * DAY));
        assert_eq!(clock.compare(998 * DAY + 2 * SECOND, DAY + 2 * SECOND), None);
        assert_eq!(clock.compare(998 * DAY + 3602 * SECOND, DAY + 2 * SECOND), Some(3600 * SECOND));
        assert!(Clock { wall: i64::MIN, up: i64::MAX }.compare(i64::MAX, 0).is_some());
    }
}
