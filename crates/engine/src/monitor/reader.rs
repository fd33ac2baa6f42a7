//! The reader: only copies what the kernel says into the queue.
//!
//! In: a watcher. Out: places in the queue, and behind them those who asked to be told when all before is done. Nothing
//! ends it but the monitor's end: what fails is said, tried again, and made good by a scan.

use super::queue::{NewRoots, Queue, Rescan};
use std::time::Duration;
use waxseal_model::Timestamp;
use waxseal_observe::now;
use waxseal_observe::watch::{self as watcher, Hint, WatchError, Watcher, What};
use waxseal_store::Place;

/// The pause after a failure.
const PAUSE: Duration = Duration::from_millis(500);
/// How many sentences wait to be told, at most.
const NOTES: usize = 100;

/// Reads until the queue is ended and the watcher woken.
pub fn read_events(mut watcher: Watcher, queue: &Queue) {
    watcher::raise_priority();
    let mut hints = Vec::new();
    // Who asked before the last cookie was made.
    let mut waiters = Vec::new();
    let mut failures = Failures::default();
    // When the last read began: what happened before then was read.
    let mut last = now();
    loop {
        let at_once = waiters.is_empty() && queue.is_asked();
        let woken = watcher.wait(at_once.then_some(Duration::ZERO));
        if queue.is_ending() {
            return;
        }
        if let Some(new) = queue.take_roots() {
            set_roots(&mut watcher, new);
        }
        if waiters.is_empty() {
            waiters = queue.take_asking();
            if !waiters.is_empty() {
                watcher.catch_up();
            }
        }
        let before = std::mem::replace(&mut last, now());
        // Also when waiting failed: what is queued can be read all the same.
        let read = watcher.read(&mut hints);
        queue_hints(&mut hints, queue, before);
        match woken.and(read) {
            Ok(()) => failures.over(&watcher, queue),
            Err(error) => {
                failures.another(error, before, queue);
                std::thread::sleep(PAUSE);
            }
        }
        if !waiters.is_empty() && watcher.has_caught_up() {
            // Behind all that was queued, so they are told when all of it is recorded.
            queue.add_rest(|work| {
                work.waiters.append(&mut waiters);
                work.unheard = watcher.unheard();
            });
        }
    }
}

fn set_roots(watcher: &mut Watcher, new: NewRoots) {
    let answer = watcher.set_roots(&new.roots).map(|()| watcher.coverage().to_vec());
    let _ = new.answer.send(answer);
}

/// Failures that have not ended yet.
#[derive(Debug, Default)]
struct Failures {
    since: Option<Timestamp>,
    told: Option<WatchError>,
}

impl Failures {
    fn another(&mut self, error: WatchError, since: Timestamp, queue: &Queue) {
        self.since.get_or_insert(since);
        if self.told.replace(error) != Some(error) {
            let note = format!(
                "events cannot be followed now, which is tried again, and made good by a scan: {error}"
            );
            add_note(queue, note);
        }
    }

    /// It works again: what was missed is looked for.
    fn over(&mut self, watcher: &Watcher, queue: &Queue) {
        self.told = None;
        if let Some(since) = self.since.take() {
            for root in watcher.roots() {
                queue.add_rescan(root.path.clone(), Rescan { reason: "unreadable", since });
            }
        }
    }
}

fn add_note(queue: &Queue, note: String) {
    queue.add_rest(|work| {
        if work.notes.len() < NOTES {
            work.notes.push(note);
        }
    });
}

fn queue_hints(hints: &mut Vec<Hint>, queue: &Queue, since: Timestamp) {
    let (mut targets, mut arrived) = (Vec::with_capacity(hints.len()), Vec::new());
    for hint in hints.drain(..) {
        match hint {
            Hint::Name { dir, name, deep, what, .. } => {
                let path = dir.join(&name);
                if what.has(What::CREATED.with(What::MOVED)) {
                    arrived.push(path.clone());
                }
                targets.push(Place { path, deep });
            }
            Hint::Renamed { from, to, is_dir, .. } => {
                arrived.push(to.0.join(&to.1));
                let both = [from, to].map(|(dir, name)| Place { path: dir.join(&name), deep: is_dir });
                targets.extend(both);
            }
            Hint::Itself { dir, .. } => targets.push(Place { path: dir, deep: false }),
            Hint::Object { inode, device, .. } => {
                queue.add_object((device.major, device.minor, inode), since);
            }
            Hint::Lost { root, loss } => queue.add_rescan(root, Rescan { reason: loss.word(), since }),
            Hint::MountChanged { at } => queue.add_rescan(at, Rescan { reason: "mount", since }),
            Hint::FilesystemError { root, errno } => {
                add_note(queue, format!("{root}: its filesystem reports that it is damaged (error {errno})"));
            }
        }
    }
    if !arrived.is_empty() {
        // Before the places: a name is never taken for one that was told already.
        queue.add_rest(|work| arrived.into_iter().for_each(|path| work.arrived.add(path)));
    }
    queue.add(targets, since);
}
