//! What is to be looked at: hints, merged by path, bounded.

use super::control::Waiter;
use super::objects::Object;
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
        let Work { targets, objects, rescans, notes, waiters, words, clock, reload, end, .. } = self;
        targets.is_empty()
            && objects.is_empty()
            && rescans.is_empty()
            && notes.is_empty()
            && waiters.is_empty()
            && words.is_empty()
            && !clock
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
mod tests {
    use super::*;
    use waxseal_observe::actors::Who;

    const NOW: Timestamp = Timestamp::new(1, 0);

    fn place(path: &str, deep: bool) -> Place {
        Place { path: RawPath::normalized(path.as_bytes()).unwrap(), deep }
    }

    fn target(path: &str, deep: bool) -> Target {
        Target {
            place: place(path, deep),
            unfinished: false,
            arrived: false,
            moved: false,
            writers: Marks::default(),
        }
    }

    fn unfinished(path: &str) -> Target {
        Target { unfinished: true, ..target(path, false) }
    }

    fn by(pid: u32, target: Target) -> Target {
        Target { writers: Marks::of(Some(Who::Unknown(pid)), target.place.deep), ..target }
    }

    fn news(targets: impl IntoIterator<Item = Target>) -> News {
        News { targets: targets.into_iter().collect(), objects: Vec::new() }
    }

    #[test]
    fn merges_by_path_and_drops_what_a_deep_look_covers() {
        let queue = Queue::default();
        queue.add(
            news([
                target("/t/a", false),
                target("/t/a", false),
                target("/t/d/x", false),
                target("/t/d", true),
            ]),
            NOW,
        );
        assert_eq!(queue.take(None).targets, [place("/t/a", false), place("/t/d", true)]);
        queue.add(news([target("/t/d", false), target("/t/d/x", false)]), NOW);
        assert_eq!(queue.take(None).targets, [place("/t/d", false), place("/t/d/x", false)]);
    }

    /// Places of all portions, and all else.
    fn take_all(queue: &Queue) -> Work {
        let mut targets = Vec::new();
        loop {
            let mut work = queue.take(None);
            targets.append(&mut work.targets);
            if queue.lock().round.is_empty() {
                return Work { targets, ..work };
            }
        }
    }

    /// Whether a look at what is in the queue is a look at this path.
    fn covers(work: &Work, path: &RawPath) -> bool {
        let by_target = |t: &Place| path.below(&t.path).is_some_and(|below| below.is_empty() || t.deep);
        work.targets.iter().any(by_target) || work.rescans.keys().any(|place| path.below(place).is_some())
    }

    #[test]
    fn a_storm_stays_bounded_loses_no_place_and_is_told() {
        let queue = Queue::default();
        for d in 0..300 {
            queue.add(news((0..300).map(|f| target(&format!("/t/d{d}/f{f}"), false))), NOW);
        }
        let work = take_all(&queue);
        assert!(work.targets.len() <= MOST && work.rescans.len() <= MOST_RESCANS);
        assert!(work.rescans.values().all(|rescan| *rescan == Rescan { reason: OVERFLOW, since: NOW }));
        assert!(!work.rescans.is_empty());
        for d in 0..300 {
            let path = place(&format!("/t/d{d}/f7"), false).path;
            assert!(covers(&work, &path), "{path}");
        }
    }

    #[test]
    fn names_that_have_a_directory_each_end_as_a_look_at_everything() {
        let queue = Queue::default();
        queue.add(news((0..MOST + 1).map(|i| target(&format!("/t/d{i}/f"), false))), NOW);
        let work = take_all(&queue);
        assert!(work.targets.len() <= MOST && work.rescans.len() <= MOST_RESCANS);
        assert!(
            covers(&work, &place("/t/d1/f", false).path) && covers(&work, &place("/t/d49999/f", false).path)
        );
    }

    #[test]
    fn a_storm_is_taken_in_portions_and_who_waits_is_told_with_the_last() {
        let queue = Queue::default();
        let name = |f: usize| format!("/t/f{f:05}");
        queue.add(news((0..10_000).map(|f| target(&name(f), false))), NOW);
        queue.add_rest(|work| work.waiters.push(Waiter::new().0));
        let first = queue.take(None);
        assert_eq!((first.targets.len(), first.waiters.len()), (PORTION, 0));
        // More happens at a place that waits, and elsewhere: the one is seen by the same look, the other is left for later.
        queue.add(news([by(7, target(&name(PORTION), false)), target("/t/e", false)]), NOW);
        queue.add_rest(|work| work.waiters.push(Waiter::new().0));
        let second = queue.take(None);
        assert_eq!(second.targets[0], place(&name(PORTION), false));
        assert_eq!(second.writers.of(&second.targets[0].path).len(), 1);
        let third = queue.take(None);
        assert_eq!((third.targets.len(), third.waiters.len()), (10_000 - 2 * PORTION, 1));
        let fourth = queue.take(None);
        assert_eq!((fourth.targets, fourth.waiters.len()), (vec![place("/t/e", false)], 1));
    }

    #[test]
    fn both_names_of_what_was_moved_are_in_one_portion() {
        let queue = Queue::default();
        let moved = |at| Target { moved: true, ..target(at, false) };
        queue.add(news((0..2 * PORTION).map(|f| target(&format!("/t/f{f:05}"), false))), NOW);
        queue.add(news([moved("/t/a"), moved("/t/z")]), NOW);
        let first = queue.take(None).targets;
        assert_eq!((&first[0], &first[first.len() - 1]), (&place("/t/a", false), &place("/t/z", false)));
        // The next move waits for its other name.
        queue.add(news([moved("/t/f07000"), moved("/t/y")]), NOW);
        let rest: Vec<_> = std::iter::repeat_with(|| queue.take(None).targets).take(3).collect();
        assert_eq!(rest[2], [place("/t/f07000", false), place("/t/y", false)]);
    }

    #[test]
    fn a_portion_has_all_that_waits_below_its_directories() {
        let queue = Queue::default();
        queue.add(news((0..=PORTION).map(|f| by(1, target(&format!("/t/d/f{f:05}"), false)))), NOW);
        queue.add(news([target("/t/d", true), target("/t/d-more", false), target("/t/e", false)]), NOW);
        let work = queue.take(None);
        // By one look at the directory.
        assert_eq!(work.targets, [place("/t/d", true), place("/t/d-more", false)]);
        assert_eq!(work.writers.of(&place(&format!("/t/d/f{PORTION:05}"), false).path).len(), 1);
        assert_eq!(queue.take(None).targets, [place("/t/e", false)]);
    }

    #[test]
    fn objects_are_bounded_as_well() {
        let queue = Queue::default();
        let objects = (0..=MOST as u64).map(|inode| ((8, 1, inode), Marks::default())).collect();
        queue.add(News { objects, ..News::default() }, NOW);
        let work = queue.take(None);
        assert!(work.objects.is_empty());
        assert_eq!(work.rescans.keys().next().unwrap().as_bytes(), ALL);
    }

    #[test]
    fn an_overflow_is_not_called_by_another_name() {
        let queue = Queue::default();
        let (early, late) = (NOW, Timestamp::new(2, 0));
        let path = || place("/t", true).path;
        queue.add_rescan(path(), Rescan { reason: OVERFLOW, since: late });
        queue.add_rescan(path(), Rescan { reason: "mount", since: early });
        let wanted = Rescan { reason: OVERFLOW, since: early };
        assert_eq!(queue.take(None).rescans.into_values().collect::<Vec<_>>(), [wanted]);
    }

    #[test]
    fn who_wrote_stays_with_what_is_still_being_written() {
        let queue = Queue::default();
        let pids = |work: &Work, at: &str| -> Vec<u32> {
            work.writers.of(&place(at, false).path).iter().map(Who::pid).collect()
        };
        queue.add(news([by(1, unfinished("/t/a")), by(2, target("/t/b", false))]), NOW);
        let work = queue.take(None);
        assert_eq!((pids(&work, "/t/b"), work.targets.as_slice()), (vec![2], &[place("/t/b", false)][..]));
        assert!(pids(&work, "/t/a").is_empty());
        queue.add(news([by(3, target("/t/a", false))]), NOW);
        assert_eq!(pids(&queue.take(None), "/t/a"), [1, 3]);
        // What was lost may have been by others.
        let objects = vec![((8, 1, 2), Marks::of(Some(Who::Unknown(3)), false))];
        queue.add(News { objects, ..news([by(1, target("/t/a", false)), by(1, unfinished("/t/b"))]) }, NOW);
        queue.forget_writers();
        queue.add(news([by(4, target("/t/b", false))]), NOW);
        let work = queue.take(None);
        assert!(pids(&work, "/t/a").is_empty() && work.objects.values().all(Marks::is_empty));
        assert_eq!((pids(&work, "/t/b"), work.objects.len()), (vec![4], 1));
    }

    #[test]
    fn a_directory_that_came_with_nobodys_name_speaks_for_nobody() {
        let queue = Queue::default();
        queue.add(news([target("/t/d", true), by(7, target("/t/d", false))]), NOW);
        let work = queue.take(None);
        assert_eq!(work.targets, [place("/t/d", true)]);
        assert!(work.writers.of(&place("/t/d/x", false).path).is_empty());
    }

    #[test]
    fn what_appeared_is_told_with_its_place_and_too_much_of_it_as_many() {
        let queue = Queue::default();
        let told = |work: &Work, at: &str| {
            let mut touched = super::super::touched::Touched::default();
            let path = place(at, false).path;
            assert!(touched.is_news(&path) && !touched.is_news(&path));
            touched.forget(&work.arrived);
            touched.is_news(&path)
        };
        queue.add(news([Target { arrived: true, ..unfinished("/t/a") }, target("/t/b", false)]), NOW);
        let work = queue.take(None);
        assert!(!told(&work, "/t/a") && !told(&work, "/t/b"));
        queue.add(news([target("/t/a", false)]), NOW);
        assert!(told(&queue.take(None), "/t/a"));
        queue.add(news((0..=MOST).map(|f| target(&format!("/t/f{f}"), false))), NOW);
        assert!(told(&queue.take(None), "/t/c"));
    }

    #[test]
    fn what_is_being_written_waits_for_its_end_or_a_moment() {
        let queue = Queue::default();
        queue.add(news([unfinished("/t/a"), unfinished("/t/b"), target("/t/c", false)]), NOW);
        assert_eq!(queue.take(None).targets, [place("/t/c", false)]);
        queue.add(news([target("/t/a", false)]), NOW);
        assert_eq!(queue.take(None).targets, [place("/t/a", false)]);
        // Nothing more comes: it is looked at as it is.
        assert_eq!(queue.take(None).targets, [place("/t/b", false)]);
        queue.add(news([target("/t/a", false), unfinished("/t/a")]), NOW);
        assert_eq!(queue.take(None).targets, [place("/t/a", false)]);
        assert!(queue.take(Some(Instant::now())).is_empty());
    }

    #[test]
    fn who_waits_for_everything_gets_what_is_being_written_as_well() {
        let queue = Queue::default();
        queue.add(news([unfinished("/t/a")]), NOW);
        queue.add_rest(|work| work.waiters.push(Waiter::new().0));
        assert_eq!(queue.take(None).targets, [place("/t/a", false)]);
        queue.add(news([unfinished("/t/a")]), NOW);
        queue.end();
        assert_eq!(queue.take(None).targets, [place("/t/a", false)]);
    }

    #[test]
    fn a_storm_of_files_that_are_not_closed_stays_bounded() {
        let queue = Queue::default();
        queue.add(news((0..=MOST).map(|f| unfinished(&format!("/t/f{f}")))), NOW);
        let work = queue.take(None);
        assert!(work.targets.is_empty());
        assert_eq!(work.rescans.keys().next().unwrap().as_bytes(), b"/t");
    }

    #[test]
    fn what_is_more_than_single_places_scans() {
        let one = |deep| Work { targets: vec![place("/t/a", deep)], ..Work::default() };
        assert!(!one(false).scans() && !Work::default().scans());
        let unheard = vec![place("/t", true).path];
        let reload = Work { reload: Some(true), ..Work::default() };
        for work in [one(true), Work { unheard, ..Work::default() }, reload] {
            assert!(work.scans(), "{work:?}");
        }
    }

    #[test]
    fn a_retry_ends_the_wait() {
        assert!(Queue::default().take(Some(Instant::now())).is_empty());
    }
}
