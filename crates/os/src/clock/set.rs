//! The clock on the wall being set.

use rustix::io::Errno;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Becomes readable when the clock on the wall is set, by whatever amount, and when the system wakes from sleep. A clock
/// that is only made to go a little faster or slower, as time servers have it done, is not set.
#[derive(Debug)]
pub struct ClockWatch(OwnedFd);

impl ClockWatch {
    /// Begins to watch.
    ///
    /// # Errors
    /// For want of descriptors or memory.
    pub fn new() -> Result<ClockWatch, Errno> {
        let timer = timerfd_create(TimerfdClockId::Realtime, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?;
        // A time that does not come: what counts is the end that setting the clock puts to it.
        let never = Timespec { tv_sec: i64::MAX / 1_000_000_000 - 1, tv_nsec: 0 };
        let never = Itimerspec { it_interval: Timespec::default(), it_value: never };
        timerfd_settime(&timer, TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET, &never)?;
        Ok(ClockWatch(timer))
    }

    /// Whether the clock was set since the last call.
    pub fn was_set(&self) -> bool {
        // `man 2 timerfd_create`: the read fails so after each time that the clock was set.
        rustix::io::read(&self.0, &mut [0u8; 8]) == Err(Errno::CANCELED)
    }
}

impl AsFd for ClockWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::time::{ClockId, clock_gettime, clock_settime};

    #[test]
    fn the_clock_being_set_is_noticed_each_time() {
        let watch = ClockWatch::new().unwrap();
        assert!(!watch.was_set());
        for _ in 0..3 {
            // To what it is: nothing else on this machine is disturbed.
            match clock_settime(ClockId::Realtime, clock_gettime(ClockId::Realtime)) {
                Err(Errno::PERM) => {
                    return println!(
                        "SKIPPED the_clock_being_set_is_noticed_each_time: it may not be set here"
                    );
                }
                other => other.unwrap(),
            }
            assert!(watch.was_set());
            assert!(!watch.was_set());
        }
    }
}
