//! What is to be looked at: hints, merged by path, bounded.

use super::control::Waiter;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use waxseal_model::RawPath;
use waxseal_store::Place;

/// How many paths wait at most, before everything below a directory is looked at instead of its parts.
const MOST: usize = 50_000;

/// What the engine thread is to do next.
#[derive(Debug, Default)]
pub struct Work {
    /// Places that may have changed, without those that lie below a deep one.
    pub targets: Vec<Place>,
    /// Objects whose other names may have changed: device and inode.
    pub objects: BTreeSet<(u32, u32, u64)>,
    /// Places that must be reconciled, because events were lost or something was mounted there, and why.
    pub rescans: BTreeMap<RawPath, &'static str>,
    /// What to say besides.
    pub notes: Vec<String>,
    /// Who is to be told when all of this is done: everything that happened before they asked is in this or was in
    /// earlier work.
    pub waiters: Vec<Waiter>,
    /// Places of which events do not tell, to be scanned before the waiters are told.
    pub unheard: Vec<RawPath>,
    /// End.
    pub end: bool,
}

impl Work {
    fn is_empty(&self) -> bool {
        let Work { targets, objects, rescans, notes, waiters, unheard: _, end } = self;
        targets.is_empty()
            && objects.is_empty()
            && rescans.is_empty()
            && notes.is_empty()
            && waiters.is_empty()
            && !end
    }
}

#[derive(Debug, Default)]
struct State {
    paths: BTreeMap<RawPath, bool>,
    rest: Work,
    /// Who asked and was not yet noticed by the reader.
    asking: Vec<Waiter>,
    ending: bool,
}

/// Filled by the reader, emptied by the engine.
#[derive(Debug, Default)]
pub struct Queue {
    state: Mutex<State>,
    filled: Condvar,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds places. A storm in one directory ends as one look at everything below it.
    pub fn add(&self, targets: impl IntoIterator<Item = Place>) {
        let mut state = self.lock();
        for target in targets {
            *state.paths.entry(target.path).or_default() |= target.deep;
        }
        if state.paths.len() > MOST {
            collapse(&mut state.paths);
        }
        self.filled.notify_one();
    }

    /// Adds anything else.
    pub fn add_rest(&self, add: impl FnOnce(&mut Work)) {
        add(&mut self.lock().rest);
        self.filled.notify_one();
    }

    /// Somebody asks to be told when everything up to now is recorded. The reader is to be woken after it.
    pub fn ask(&self, waiter: Waiter) {
        self.lock().asking.push(waiter);
    }

    /// Whether somebody has asked.
    pub fn is_asked(&self) -> bool {
        !self.lock().asking.is_empty()
    }

    /// Those who have asked.
    pub fn take_asking(&self) -> Vec<Waiter> {
        std::mem::take(&mut self.lock().asking)
    }

    /// Ends the engine after what is queued, and the reader when it is woken.
    pub fn end(&self) {
        let mut state = self.lock();
        state.ending = true;
        state.rest.end = true;
        self.filled.notify_one();
    }

    /// Whether it is to end.
    pub fn is_ending(&self) -> bool {
        self.lock().ending
    }

    /// Waits for work, or until `retry` when there is something to be tried again; takes all of it.
    pub fn take(&self, retry: Option<Instant>) -> Work {
        let mut state = self.lock();
        while state.paths.is_empty() && state.rest.is_empty() {
            match retry.map(|at| at.saturating_duration_since(Instant::now())) {
                None => state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(Duration::ZERO) => break,
                Some(left) => {
                    state = self.filled.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
                }
            }
        }
        let mut work = std::mem::take(&mut state.rest);
        work.targets = outermost(std::mem::take(&mut state.paths));
        work
    }
}

/// Drops what lies below a deep target: it is looked at anyway.
fn outermost(paths: BTreeMap<RawPath, bool>) -> Vec<Place> {
    let mut deep: BTreeSet<RawPath> = BTreeSet::new();
    let mut targets = Vec::new();
    // A directory sorts before what is in it.
    for (path, is_deep) in paths {
        let mut above = path.parent();
        let covered = loop {
            match above {
                Some(directory) if deep.contains(&directory) => break true,
                Some(directory) => above = directory.parent(),
                None => break false,
            }
        };
        if covered {
            continue;
        }
        if is_deep {
            deep.insert(path.clone());
        }
        targets.push(Place { path, deep: is_deep });
    }
    targets
}

/// Replaces the names of the fullest directories by the directory, until half of the room is free.
fn collapse(paths: &mut BTreeMap<RawPath, bool>) {
    while paths.len() > MOST / 2 {
        let mut counts: BTreeMap<RawPath, usize> = BTreeMap::new();
        for path in paths.keys() {
            *counts.entry(path.parent().unwrap_or_else(|| path.clone())).or_default() += 1;
        }
        let before = paths.len();
        let mut fullest: VecDeque<(usize, RawPath)> = counts.into_iter().map(|(path, n)| (n, path)).collect();
        fullest.make_contiguous().sort_by(|a, b| b.cmp(a));
        let directories: BTreeSet<RawPath> =
            fullest.into_iter().take(1 + before / 1000).map(|(_, path)| path).collect();
        paths.retain(|path, _| path.parent().is_none_or(|parent| !directories.contains(&parent)));
        paths.extend(directories.into_iter().map(|directory| (directory, true)));
        if paths.len() >= before {
            // Every name has a directory of its own: the root stands for them all.
            let roots: BTreeSet<RawPath> = paths.keys().filter_map(RawPath::parent).collect();
            *paths = roots.into_iter().map(|path| (path, true)).collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(path: &str, deep: bool) -> Place {
        Place { path: RawPath::normalized(path.as_bytes()).unwrap(), deep }
    }

    #[test]
    fn merges_by_path_and_drops_what_a_deep_look_covers() {
        let queue = Queue::default();
        queue.add([
            target("/t/a", false),
            target("/t/a", false),
            target("/t/d/x", false),
            target("/t/d", true),
        ]);
        assert_eq!(queue.take(None).targets, [target("/t/a", false), target("/t/d", true)]);
        queue.add([target("/t/d", false), target("/t/d/x", false)]);
        assert_eq!(queue.take(None).targets, [target("/t/d", false), target("/t/d/x", false)]);
    }

    #[test]
    fn a_storm_stays_bounded_and_loses_no_place() {
        let queue = Queue::default();
        for d in 0..300 {
            queue.add((0..300).map(|f| target(&format!("/t/d{d}/f{f}"), false)));
        }
        let targets = queue.take(None).targets;
        assert!(targets.len() <= MOST);
        for d in 0..300 {
            let path = target(&format!("/t/d{d}/f7"), false).path;
            let covers = |t: &Place| path.below(&t.path).is_some_and(|below| below.is_empty() || t.deep);
            assert!(targets.iter().any(covers), "{path}");
        }
    }

    #[test]
    fn names_that_have_a_directory_each_collapse_upwards() {
        let queue = Queue::default();
        queue.add((0..MOST + 1).map(|i| target(&format!("/t/d{i}/f"), false)));
        assert!(queue.take(None).targets.len() <= MOST);
    }

    #[test]
    fn a_retry_ends_the_wait() {
        assert!(Queue::default().take(Some(Instant::now())).is_empty());
    }
}
