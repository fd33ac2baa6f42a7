//! How a scan shares out the files that the process may have open.
//!
//! Directories stay open while something in them waits to be looked at, as long as there is room; without, they are
//! closed and opened again by their path. So a low limit costs time and hides nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use waxseal_os::files::Dir;

/// What everything but the scan may open meanwhile: the database's files, accounts, a watcher's directories.
const RESERVE: u64 = 16;
/// What a worker has open for a moment besides the files of a batch: a directory, its parent, one more on the way
/// down to it, and a name in it.
const MOMENTARY: u64 = 4;
/// The fewest with which one more worker is worth it.
const PER_WORKER: u64 = 12;

/// The shares of one scan.
#[derive(Debug)]
pub(super) struct Descriptors {
    /// How many workers there may be; at least one.
    pub workers: usize,
    /// How many files one worker may have open at once; at least one.
    pub files: usize,
    most_kept: u64,
    kept: Arc<AtomicU64>,
}

impl Descriptors {
    /// Shares out `limit` descriptors of which `in_use` are taken. No more than `most_workers` and `most_files` are
    /// of use to the caller.
    pub fn new(limit: u64, in_use: u64, most_workers: usize, most_files: usize) -> Descriptors {
        let free = limit.saturating_sub(in_use).saturating_sub(RESERVE);
        let workers = (free / PER_WORKER).clamp(1, most_workers.max(1) as u64);
        let files = (free / 2 / workers).saturating_sub(MOMENTARY).clamp(1, most_files.max(1) as u64);
        let most_kept = free.saturating_sub(workers * (files + MOMENTARY));
        Descriptors { workers: workers as usize, files: files as usize, most_kept, kept: Arc::default() }
    }

    /// Whether one more directory may be kept open.
    pub fn may_keep(&self) -> bool {
        self.kept.load(Ordering::Relaxed) < self.most_kept
    }

    /// Takes an open directory, which may be kept if there is room for it now.
    pub fn opened(&self, dir: Dir) -> Opened {
        let room = self.kept.fetch_add(1, Ordering::Relaxed) < self.most_kept;
        if !room {
            self.kept.fetch_sub(1, Ordering::Relaxed);
        }
        Opened { dir, counted: room.then(|| Arc::clone(&self.kept)) }
    }
}

/// An open directory, and whether there is room to keep it so.
#[derive(Debug)]
pub(super) struct Opened {
    dir: Dir,
    /// Where it is counted; absent when it must be closed soon.
    counted: Option<Arc<AtomicU64>>,
}

impl Opened {
    /// Whether it may be kept open.
    pub fn may_stay(&self) -> bool {
        self.counted.is_some()
    }
}

impl std::ops::Deref for Opened {
    type Target = Dir;

    fn deref(&self) -> &Dir {
        &self.dir
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        if let Some(kept) = &self.counted {
            kept.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use waxseal_model::RawPath;

    #[test]
    fn the_shares_never_exceed_what_is_free() {
        for limit in (0..4096).chain([65_536, 1 << 20]) {
            for in_use in [3, 14, 40, 900] {
                let shares = Descriptors::new(limit, in_use, 24, 64);
                assert!(shares.workers >= 1 && shares.files >= 1);
                assert!(shares.workers <= 24 && shares.files <= 64);
                let busy = shares.workers as u64 * (shares.files as u64 + MOMENTARY);
                let free = limit.saturating_sub(in_use + RESERVE);
                assert!(busy + shares.most_kept <= free.max(1 + MOMENTARY), "{limit}: {shares:?}");
            }
        }
        let plenty = Descriptors::new(1 << 20, 14, 24, 64);
        assert_eq!((plenty.workers, plenty.files), (24, 64));
        assert!(plenty.most_kept > 1_000_000);
    }

    #[test]
    fn what_is_closed_makes_room() {
        let shares = Descriptors::new(64, 40, 1, 1);
        assert_eq!(shares.most_kept, 3);
        let open = || shares.opened(Dir::parent_of(&RawPath::new(b"/x".as_slice())).unwrap().0);
        let mut kept: Vec<_> = (0..3).map(|_| open()).collect();
        assert!(kept.iter().all(Opened::may_stay) && !shares.may_keep());
        assert!(!open().may_stay());
        assert!(!shares.may_keep());
        kept.pop();
        assert!(shares.may_keep() && open().may_stay());
    }
}
