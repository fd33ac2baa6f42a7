//! A walk over whole trees that reads and hashes what its visitor asks for.
//!
//! Work is shared by file, not by directory: directories are walked depth first, their files go to two pools, small
//! ones to be read in batches and hashed side by side, large ones to be streamed in lanes, largest first. As many
//! workers run as there are processors; while they mostly wait for the disk, more are started.

mod descriptors;
mod mounted;
mod node;
mod queue;
mod worker;

pub use node::Node;

use crate::entry::Entry;
use crate::probe::Hashing;
use descriptors::Descriptors;
use mounted::Mounted;
use queue::{BATCH, Queue};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use waxseal_model::{Digest, RawPath};
use waxseal_os::files::FileError;
use waxseal_os::limits;
use waxseal_os::remote::Mounts;

/// Decides what a scan looks at, and takes what it finds. Called by many workers at once.
pub trait Visitor: Sync {
    /// What the visitor keeps of a directory while it is being scanned.
    type Dir: Send + Sync;

    /// Where links end to be followed on the way to a root: above this path they are, at and below it they are not. The
    /// root itself, where none is given.
    fn anchor(&self, _root: &RawPath) -> Option<RawPath> {
        None
    }

    /// Whether the plan needs the stat of a directory's regular files. Where it does not, those are looked at by
    /// stat only once they are open, which saves a system call for each.
    fn wants_stat(&self, _node: &Node<Self::Dir>) -> bool {
        true
    }

    /// All names of a directory have been listed and looked at by stat, except regular files where
    /// [`Visitor::wants_stat`] says no; they come sorted. Sets each entry's `look` and, for directories to be
    /// walked, `descend`. Entries may be taken out.
    fn plan(&self, node: &Node<Self::Dir>, entries: &mut Vec<Entry<Self::Dir>>);

    /// Everything in a directory is known: called once for each that was descended into. `listing` says why its
    /// names are not (all) known. In a bottom-up scan every subdirectory has been done before, and what is
    /// returned here stands as `child` in the entry above.
    fn done(
        &self,
        node: &Node<Self::Dir>,
        entries: Vec<Entry<Self::Dir>>,
        listing: Option<FileError>,
    ) -> Option<Digest>;

    /// A small file was read whole: its content. Nothing is known of it yet; it may be read again.
    fn read(&self, _node: &Node<Self::Dir>, _name: &[u8], _content: &[u8]) {}

    /// Called by a worker after each piece of work: a directory, a batch of small files, a part of the large ones it
    /// streams. It may take its time.
    fn breathe(&self) {}
}

/// How to scan.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// How contents are hashed.
    pub hashing: Hashing,
    /// How many workers; chosen as the disk needs when absent.
    pub threads: Option<usize>,
    /// Whether directories are done only after all below them, so that `child` is known.
    pub bottom_up: bool,
}

/// Where a scan begins.
#[derive(Debug)]
pub struct Root {
    /// An absolute path. Links above it are followed as far as [`Visitor::anchor`] says, itself never.
    pub path: RawPath,
}

/// Counters that a scan moves and others may read; only for showing.
#[derive(Debug, Default)]
pub struct Progress {
    /// Names looked at.
    pub entries: AtomicU64,
    /// Regular files read.
    pub files: AtomicU64,
    /// Bytes hashed.
    pub bytes: AtomicU64,
    /// Set from outside to end the scan early.
    pub stop: AtomicBool,
}

impl Progress {
    fn add(counter: &AtomicU64, n: u64) {
        counter.fetch_add(n, Ordering::Relaxed);
    }
}

/// The most workers that are ever started: on this many requests at once, disks without moving parts reach
/// their limit (performance, section 3).
const MOST_WORKERS: usize = 24;
/// How often the need for more workers is looked at.
const REVIEW: Duration = Duration::from_millis(15);
/// From how many blocks of 512 bytes in that time on the disk counts as being read.
const FETCHING: u64 = 64;
/// From how many open files on half of them are enough for a scan, however many are in use.
const PLENTY: u64 = 8192;
/// Workers need little stack: nothing here recurses.
const STACK: usize = 256 * 1024;

/// Scans the roots. The visitor is called for the list of roots first, as for a directory (its [`Node::is_roots`]
/// is true, its entries are the roots, sorted by path), with `top` as its context. Returns what `done` of
/// the list of roots returned, or `None` when the scan was stopped.
pub fn scan<V: Visitor>(
    roots: Vec<Root>,
    top: V::Dir,
    visitor: &V,
    options: &Options,
    progress: &Progress,
) -> Option<Digest> {
    let open_files = limits::raise_open_files();
    // Counting either takes longer than a look at one place.
    let processors = if options.threads == Some(1) { 1 } else { limits::processors() };
    let in_use = if open_files >= PLENTY { open_files / 2 } else { limits::open_files() };
    let (least, most) = match options.threads {
        Some(threads) => (threads.max(1), threads.max(1)),
        None => (processors, MOST_WORKERS.max(processors)),
    };
    let descriptors = Descriptors::new(open_files, in_use, most, BATCH);
    let (least, most) = (least.min(descriptors.workers), most.min(descriptors.workers));
    let queue = Queue::new(least.min(processors), descriptors);
    let shared = worker::Shared {
        queue: &queue,
        visitor,
        options,
        progress,
        remote: Mounts::now(),
        mounted: Mounted::below(roots.iter().map(|root| root.path.clone()).collect()),
        result: Default::default(),
    };
    if most == 1 {
        shared.start(roots, top);
        shared.work();
        return if progress.stop.load(Ordering::Relaxed) { None } else { shared.into_result() };
    }
    std::thread::scope(|scope| {
        shared.start(roots, top);
        let mut workers = 0;
        let spawn = || {
            let builder = std::thread::Builder::new().name("scan".into()).stack_size(STACK);
            builder.spawn_scoped(scope, || shared.work()).is_ok()
        };
        workers += (0..least).filter(|_| spawn()).count();
        if workers == 0 {
            // No more threads are to be had: this one does it all.
            return shared.work();
        }
        let (mut used, mut fetched) = (limits::cpu_time(), limits::blocks_read());
        while queue.wait_until_done(REVIEW) {
            if progress.stop.load(Ordering::Relaxed) {
                queue.stop();
            }
            let (now, blocks) = (limits::cpu_time(), limits::blocks_read());
            let idle = now.saturating_sub(used) < REVIEW.mul_f64(0.7 * processors as f64);
            let fetching = blocks > fetched + FETCHING;
            (used, fetched) = (now, blocks);
            // Processors idle although there is work, and the disk is read: more requests at once help.
            if idle && fetching && queue.has_waiting_work() {
                workers += (0..more_workers(workers, most)).filter(|_| spawn()).count();
            }
        }
    });
    if progress.stop.load(Ordering::Relaxed) { None } else { shared.into_result() }
}

/// How many workers to add to so many when the disk could serve more: to the next multiple of four.
fn more_workers(running: usize, most: usize) -> usize {
    (4 - running % 4).min(most.saturating_sub(running))
}

#[cfg(test)]
mod tests;
