//! The length of the queue of a new group.
//!
//! The kernel copies the system-wide limit into a group when it is made. An unlimited queue would be charged to this
//! process, which the kernel then kills when memory runs out (kernel-events, section 1.5); so the limit is changed
//! just while the group is made.

use rustix::fs::{FlockOperation, Mode, OFlags, flock};
use std::os::fd::OwnedFd;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

const LIMIT: &str = "/proc/sys/fs/fanotify/max_queued_events";

/// Two threads at once would each take the other's value for the system's own.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Runs `make` while the limit is `wanted`, and puts the limit back whatever happens in it. Where the limit may not
/// be changed, `make` runs with the one there is. The second value is the limit that held, if it could be read.
pub(super) fn with_limit<T>(wanted: u32, make: impl FnOnce() -> T) -> (T, Option<u32>) {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    changed(wanted, make)
}

fn changed<T>(wanted: u32, make: impl FnOnce() -> T) -> (T, Option<u32>) {
    let _alone_on_the_machine = lock();
    let Some(before) = read() else { return (make(), None) };
    let _putting_back = (before != wanted && write(wanted)).then_some(PutBack { before, wanted });
    let held = read();
    (make(), held)
}

/// Holds off other processes that do the same, by a lock on the file. Anyone may take such a lock and keep it, so it is
/// not waited for longer than another process would need many times over.
fn lock() -> Option<OwnedFd> {
    let file = rustix::fs::open(LIMIT, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    for _ in 0..100 {
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
            return Some(file);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    None
}

struct PutBack {
    before: u32,
    wanted: u32,
}

impl Drop for PutBack {
    fn drop(&mut self) {
        // When somebody else has set another limit meanwhile, theirs stays.
        if read() == Some(self.wanted) {
            write(self.before);
        }
    }
}

fn read() -> Option<u32> {
    let file = rustix::fs::open(LIMIT, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let mut text = [0u8; 32];
    let len = rustix::io::read(&file, &mut text).ok()?;
    std::str::from_utf8(text.get(..len)?).ok()?.trim().parse().ok()
}

fn write(limit: u32) -> bool {
    let Ok(file) = rustix::fs::open(LIMIT, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty()) else {
        return false;
    };
    rustix::io::write(&file, format!("{limit}\n").as_bytes()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The limit while nobody changes it.
    fn usual() -> Option<u32> {
        let _alone = lock();
        read()
    }

    #[test]
    fn puts_the_limit_back_even_on_panic() {
        let Some(before) = usual() else { return };
        let (inside, held) = with_limit(before + 1, read);
        assert_eq!(inside, held);
        assert_eq!(read(), Some(before));
        let panicked = std::panic::catch_unwind(|| with_limit(before + 2, || panic!("on purpose")));
        assert!(panicked.is_err());
        // Another test or process may be at it now; ours is back once nobody holds the locks.
        let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let _alone_on_the_machine = lock();
        assert_eq!(read(), Some(before));
    }

    #[test]
    fn many_processes_leave_the_limit_as_it_was() {
        // A descriptor of one's own has a lock of its own, so threads without the mutex stand for processes.
        let before = usual();
        std::thread::scope(|scope| {
            for thread in 0..4 {
                scope.spawn(move || {
                    for round in 0..50 {
                        changed(before.unwrap_or(0) + 1 + thread * 50 + round, || ());
                    }
                });
            }
        });
        let _alone = lock();
        assert_eq!(read(), before);
    }
}
