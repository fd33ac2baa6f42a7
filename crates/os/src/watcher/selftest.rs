//! Whether events arrive at all: a canary is written, and must be seen.

use super::filesystem::Filesystem;
use super::places::Root;
use super::{Hint, Options};
use crate::mounts::{self, Mount};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::time::Timespec;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// A loaded machine takes milliseconds; a listener that never hears must not hold up the start for long.
const PATIENCE: Duration = Duration::from_secs(3);

/// What the test showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The event arrived.
    Works,
    /// There is no place on this filesystem for a canary, or none could be made there.
    NotTested,
    /// The event did not arrive.
    Deaf,
}

static COUNT: AtomicU32 = AtomicU32::new(0);

/// Tests a filesystem that has just been marked. Other hints that arrive meanwhile go to `hints`.
pub(super) fn run(
    filesystem: &mut Filesystem,
    table: &[Mount],
    options: &Options,
    roots: &[Root],
    hints: &mut Vec<Hint>,
) -> Verdict {
    let Some(dir) = canary_dir(filesystem, table, options) else { return Verdict::NotTested };
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!(".waxseal-canary-{}-{number}", std::process::id());
    filesystem.canary = Some((name.as_bytes().into(), false));
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let made = rustix::fs::openat(&dir, name.as_str(), flags, Mode::RUSR | Mode::WUSR);
    let verdict = match made {
        Ok(file) => {
            drop(file);
            let _ = rustix::fs::unlinkat(&dir, name.as_str(), AtFlags::empty());
            listen(filesystem, options, roots, hints)
        }
        Err(_) => Verdict::NotTested,
    };
    filesystem.canary = None;
    verdict
}

fn canary_dir(filesystem: &Filesystem, table: &[Mount], options: &Options) -> Option<OwnedFd> {
    open_canary_dir(options).filter(|dir| is_on(filesystem, table, dir.as_fd()))
}

/// The directory for files that are made to be seen.
pub(super) fn open_canary_dir(options: &Options) -> Option<OwnedFd> {
    let path = options.canary_dir.as_ref()?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path.as_os_str().as_bytes(), flags, Mode::empty()).ok()
}

/// Whether a directory lies on a filesystem.
pub(super) fn is_on(filesystem: &Filesystem, table: &[Mount], dir: BorrowedFd<'_>) -> bool {
    let Some(id) = mounts::id_of(dir) else { return false };
    table.iter().any(|mount| mount.id == id && mount.device == filesystem.device)
}

fn listen(filesystem: &mut Filesystem, options: &Options, roots: &[Root], hints: &mut Vec<Hint>) -> Verdict {
    let deadline = Instant::now() + PATIENCE;
    loop {
        filesystem.read(roots, &options.ignored, hints);
        if filesystem.canary.as_ref().is_some_and(|(_, seen)| *seen) {
            return Verdict::Works;
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() || filesystem.broken {
            return Verdict::Deaf;
        }
        let timeout = Timespec { tv_sec: 0, tv_nsec: left.min(Duration::from_millis(500)).as_nanos() as i64 };
        let group = filesystem.group.as_fd();
        let mut fds = [PollFd::new(&group, PollFlags::IN)];
        // Interrupted, timed out or ready: the queue is looked at again.
        let _ = poll(&mut fds, Some(&timeout));
    }
}
