//! What is to be looked at: hints, merged by path, bounded.

use super::control::Waiter;
use super::objects::Object;
use super::own::Tampered;
use super::touched::Arrived;
use super::word::Word;
use crate::written::{Marks, Writers};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};
use waxseal_model::{RawPath, Timestamp};
use waxseal_observe::watch::{Coverage, WatchError, WatchRoot};
use waxseal_store::Place;

/// How many paths wait at most, before everything below a directory is looked at instead of its parts.
const MOST: usize = 50_000;

/// How many places are taken at once, at most, but for what was moved and what lies below one of them: changes are told,
/// and memory is given back, before the next are looked at.
const PORTION: usize = 4000;

/// How long a file that is being written is left alone, counted from the first such file: closing it ends that.
const HELD: Duration = Duration::from_millis(10);

/// How many places wait to be reconciled at most, before everything is.
const MOST_RESCANS: usize = 1000;
/// In whose name everything is reconciled.
const ALL: &[u8] = b"/";
/// The queue of the kernel or our own was full.
const OVERFLOW: &str = "overflow";

/// Why a place must be reconciled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rescan {
    /// In a word, for programs.
    pub reason: &'static str,
    /// What happened before then was seen.
    pub since: Timestamp,
}

/// A place that may have changed.
#[derive(Debug, Clone)]
pub struct Target {
    pub place: Place,
    /// It is being written, so that more is about to come.
    pub unfinished: bool,
    /// The name appeared.
    pub arrived: bool,
    /// Something was moved from here or to here: both names are looked at together.
    pub moved: bool,
    /// Who did it, as far as that is known.
    pub writers: Marks,
}

/// What events tell of together.
#[derive(Debug, Default)]
pub struct News {
    pub targets: Vec<Target>,
    /// Objects, all of whose names are to be looked at, and who wrote them.
    pub objects: Vec<(Object, Marks)>,
}

/// What the engine thread is to do next.
#[derive(Debug, Default)]
pub struct Work {
    /// Places that may have changed, without those that lie below a deep one.
    pub targets: Vec<Place>,
    /// Objects whose other names may have changed, and who wrote them.
    pub objects: BTreeMap<Object, Marks>,
    /// Places that must be reconciled, because events were lost or something was mounted there, and why.
    pub rescans: BTreeMap<RawPath, Rescan>,
    /// Which of the names appeared.
    pub arrived: Arrived,
    /// Who wrote where.
    pub writers: Writers,
    /// What to say besides.
    pub notes: Vec<String>,
    /// Who is to be told when all of this is done: everything that happened before they asked is in this or was in
    /// earlier work.
    pub waiters: Vec<Waiter>,
    /// Places of which events do not tell, to be scanned before the waiters are told.
    pub unheard: Vec<RawPath>,
    /// What scans have to say.
    pub words: Vec<Word>,
    /// The clock may have been set.
    pub clock: bool,
    /// What others did to the own files.
    pub tampered: Vec<Tampered>,
    /// What was not known of executables when changes were recorded is known now.
    pub facts: bool,
    /// The config is to be read again: true when somebody asked for it, false when it may have changed.
    pub reload: Option<bool>,
    /// End.
    pub end: bool,
}

impl Work {
    /// Whether there is more to it than single places, so that it may take long.
    pub fn scans(&self) -> bool {
        self.targets.iter().any(|target| target.deep)
            || !self.objects.is_empty()
            || !self.rescans.is_empty()
            || !self.words.is_empty()
            || !self.unheard.is_empty()
            || self.reload.is_some()
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        let Work {
            targets,
            objects,
            rescans,
            notes,
            waiters,
            words,
            clock,
            tampered,
            facts,
            reload,
            end,
            ..
        } = self;
        targets.is_empty()
            && objects.is_empty()
            && rescans.is_empty()
            && notes.is_empty()
            && waiters.is_empty()
            && words.is_empty()
            && !clock
            && tampered.is_empty()
            && !facts
            && reload.is_none()
            && !end
    }
}

/// What is known of a place that waits.
#[derive(Debug, Default)]
struct Waiting {
    /// To be looked at with everything below it.
    deep: bool,
    /// The name appeared.
    arrived: bool,
    /// It was moved from here or to here.
    moved: bool,
    writers: Marks,
}

impl Waiting {
    /// More happened there.
    fn add(&mut self, later: Waiting) {
        self.deep |= later.deep;
        self.arrived |= later.arrived;
        self.moved |= later.moved;
        self.writers.append(later.writers);
    }
}

#[derive(Debug, Default)]
struct State {
    /// What is to be looked at now.
    paths: BTreeMap<RawPath, Waiting>,
    /// What is being written, and until when it is left alone.
    held: BTreeMap<RawPath, Waiting>,
    held_until: Option<Instant>,
    /// All else.
    rest: Work,
    /// What is being worked off in portions, and what comes with the last of them.
    round: BTreeMap<RawPath, Waiting>,
    round_rest: Work,
    /// Who asked and was not yet noticed by the reader.
    asking: Vec<Waiter>,
    /// What the reader is to watch from now on.
    roots: Option<NewRoots>,
    ending: bool,
    /// The engine waits for work.
    is_wanted: bool,
    /// What scans say is not heard any more.
    deaf: bool,
}

/// What is to be watched from now on, and where to say by what it is watched.
#[derive(Debug)]
pub struct NewRoots {
    pub roots: Vec<WatchRoot>,
    pub answer: mpsc::Sender<Result<Vec<Coverage>, WatchError>>,
}

/// Filled by the reader, emptied by the engine.
#[derive(Debug, Default)]
pub struct Queue {
    state: Mutex<State>,
    filled: Condvar,
    /// The engine has begun to wait.
    wanted: Condvar,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds places and objects. A storm in one directory ends as one look at everything below it; `since` is when it
    /// began.
    pub fn add(&self, news: News, since: Timestamp) {
        let overflow = Rescan { reason: OVERFLOW, since };
        let mut state = self.lock();
        news.targets.into_iter().for_each(|target| state.add(target));
        for (object, writers) in news.objects {
            state.rest.objects.entry(object).or_default().append(writers);
        }
        if state.paths.len() + state.held.len() > MOST {
            state.release();
            state.rest.arrived.add_many();
            for directory in collapse(&mut state.paths) {
                insert_rescan(&mut state.rest.rescans, directory, overflow);
            }
        }
        if state.rest.objects.len() > MOST {
            state.rest.objects.clear();
            insert_rescan(&mut state.rest.rescans, RawPath::new(ALL), overflow);
        }
        self.filled.notify_one();
    }

    /// Adds a place that must be reconciled.
    pub fn add_rescan(&self, path: RawPath, rescan: Rescan) {
        insert_rescan(&mut self.lock().rest.rescans, path, rescan);
        self.filled.notify_one();
    }

    /// Events were lost: who else wrote is not known.
    pub fn forget_writers(&self) {
        let state = &mut *self.lock();
        let places = state.paths.values_mut().chain(state.held.values_mut()).chain(state.round.values_mut());
        let places = places.map(|waiting| &mut waiting.writers);
        let objects = state.rest.objects.values_mut().chain(state.round_rest.objects.values_mut());
        places.chain(objects).for_each(Marks::clear);
    }

    /// Adds anything else.
    pub fn add_rest(&self, add: impl FnOnce(&mut Work)) {
        add(&mut self.lock().rest);
        self.filled.notify_one();
    }

    /// A scan says something. False when nobody will hear it any more.
    pub fn say(&self, word: Word) -> bool {
        let mut state = self.lock();
        if !state.deaf {
            state.rest.words.push(word);
            self.filled.notify_one();
        }
        !state.deaf
    }

    /// Nobody will hear what scans say from now on: those that wait for an answer go on without.
    pub fn close(&self) {
        let mut state = self.lock();
        state.deaf = true;
        state.rest.words.clear();
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

    /// Asks the reader, which is to be woken after it, to watch other roots.
    pub fn set_roots(&self, roots: NewRoots) {
        self.lock().roots = Some(roots);
    }

    /// What the reader is to watch from now on.
    pub fn take_roots(&self) -> Option<NewRoots> {
        self.lock().roots.take()
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

    /// Whether there are further portions of what was taken.
    pub fn has_more(&self) -> bool {
        !self.lock().round.is_empty()
    }

    /// Waits until the engine has nothing to do, or that time.
    pub fn wait_until_wanted(&self, until: Instant) {
        let mut state = self.lock();
        while !state.is_wanted {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            state = self.wanted.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits for work, or until `retry` when there is something to be tried again; takes all of it. What is being
    /// written is left for later, unless somebody waits for everything.
    pub fn take(&self, retry: Option<Instant>) -> Work {
        let mut state = self.lock();
        while state.round.is_empty() && state.paths.is_empty() && state.rest.is_empty() {
            state.is_wanted = true;
            self.wanted.notify_one();
            let next = [retry, state.held_until].into_iter().flatten().min();
            match next.map(|at| at.saturating_duration_since(Instant::now())) {
                None => state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(Duration::ZERO) => break,
                Some(left) => {
                    state = self.filled.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
                }
            }
        }
        state.is_wanted = false;
        let is_waited_for = !state.rest.waiters.is_empty() || state.rest.end;
        if is_waited_for || state.held_until.is_some_and(|until| until <= Instant::now()) {
            state.release();
        }
        let (paths, mut work) = state.portion();
        // The reader can go on.
        drop(state);
        let (mut arrived, mut writers) = (std::mem::take(&mut work.arrived), Writers::default());
        work.targets = outermost(paths.into_iter().map(|(path, waiting)| {
            if waiting.arrived {
                arrived.add(path.clone());
            }
            if !waiting.writers.is_empty() {
                writers.add(path.clone(), waiting.writers);
            }
            Place { path, deep: waiting.deep }
        }));
        Work { arrived, writers, ..work }
    }
}

impl State {
    fn add(&mut self, target: Target) {
        let Target { place: Place { path, deep }, unfinished, arrived, moved, writers } = target;
        let news = Waiting { deep, arrived, moved, writers };
        if let Some(known) = self.paths.get_mut(&path) {
            known.add(news);
        } else if unfinished {
            self.held.entry(path).or_default().add(news);
            self.held_until.get_or_insert_with(|| Instant::now() + HELD);
        } else {
            let mut all = self.held.remove(&path).unwrap_or_default();
            all.add(news);
            self.paths.insert(path, all);
        }
    }

    /// The next places, and with the last ones that waited when the first were taken, all else that did.
    fn portion(&mut self) -> (BTreeMap<RawPath, Waiting>, Work) {
        let mut portion = BTreeMap::new();
        if self.round.is_empty() {
            let paths = std::mem::take(&mut self.paths);
            self.round_rest = std::mem::take(&mut self.rest);
            if paths.len() <= PORTION {
                return (paths, std::mem::take(&mut self.round_rest));
            }
            // Both names of what was moved are looked at together.
            (portion, self.round) = paths.into_iter().partition(|(_, waiting)| waiting.moved);
        }
        while portion.len() < PORTION {
            let Some((path, mut waiting)) = self.round.pop_first() else { break };
            // What happened there since is seen by the same look.
            if self.paths.get(&path).is_some_and(|later| !later.moved) {
                self.paths.remove(&path).into_iter().for_each(|later| waiting.add(later));
            }
            portion.insert(path, waiting);
        }
        // What a deep look finds is told with who wrote it.
        let deep: Vec<RawPath> =
            portion.iter().filter(|(_, waiting)| waiting.deep).map(|(path, _)| path.clone()).collect();
        for directory in deep {
            let is_below = |path: &RawPath| path.below(&directory).is_some();
            let from = directory.join(b"");
            let below: Vec<RawPath> =
                self.round.range(from..).map(|(path, _)| path.clone()).take_while(is_below).collect();
            below.into_iter().for_each(|path| {
                portion.extend(self.round.remove(&path).map(|waiting| (path, waiting)));
            });
        }
        let rest = if self.round.is_empty() { std::mem::take(&mut self.round_rest) } else { Work::default() };
        (portion, rest)
    }

    /// What is being written is looked at all the same.
    fn release(&mut self) {
        self.held_until = None;
        let held = std::mem::take(&mut self.held);
        held.into_iter().for_each(|(path, waiting)| self.paths.entry(path).or_default().add(waiting));
    }
}

/// Drops what lies below a deep target: it is looked at anyway. In: places in the order of their paths.
fn outermost(places: impl Iterator<Item = Place>) -> Vec<Place> {
    let mut deep: BTreeSet<RawPath> = BTreeSet::new();
    let mut targets = Vec::new();
    // A directory sorts before what is in it.
    for Place { path, deep: is_deep } in places {
        let mut above = path.parent();
        let covered = loop {
            match above {
                _ if deep.is_empty() => break false,
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

/// Adds a place; of two reasons for one place the overflow is kept, and the earlier time.
fn insert_rescan(rescans: &mut BTreeMap<RawPath, Rescan>, path: RawPath, rescan: Rescan) {
    let known = rescans.entry(path).or_insert(rescan);
    known.since = known.since.min(rescan.since);
    if rescan.reason == OVERFLOW {
        known.reason = OVERFLOW;
    }
    if rescans.len() > MOST_RESCANS {
        let since = rescans.values().map(|rescan| rescan.since).min().unwrap_or(rescan.since);
        *rescans = BTreeMap::from([(RawPath::new(ALL), Rescan { reason: OVERFLOW, since })]);
    }
}

/// Takes the names of the fullest directories out, until half of the room is free; the directories stand for them.
fn collapse<T>(paths: &mut BTreeMap<RawPath, T>) -> BTreeSet<RawPath> {
    let directory_of = |path: &RawPath| path.parent().unwrap_or_else(|| path.clone());
    let mut counts: BTreeMap<RawPath, usize> = BTreeMap::new();
    for path in paths.keys() {
        *counts.entry(directory_of(path)).or_default() += 1;
    }
    let mut fullest: Vec<(usize, RawPath)> = counts.into_iter().map(|(path, n)| (n, path)).collect();
    fullest.sort_by(|a, b| b.cmp(a));
    let mut left = paths.len();
    let mut directories = BTreeSet::new();
    for (names, directory) in fullest {
        if left <= MOST / 2 {
            break;
        }
        left -= names;
        directories.insert(directory);
    }
    if directories.len() > MOST_RESCANS {
        paths.clear();
        return BTreeSet::from([RawPath::new(ALL)]);
    }
    paths.retain(|path, _| !directories.contains(&directory_of(path)));
    directories
}

#[cfg(test)]
mod tests;
