//! The reader: only copies what the kernel says into the queue.
//!
//! In: a watcher. Out: places in the queue, and behind them those who asked to be told when all before is done. Nothing
//! ends it but the monitor's end: what fails is said, tried again, and made good by a scan.

use super::queue::{NewRoots, Queue, Rescan, Target};
use std::time::{Duration, Instant};
use waxseal_model::Timestamp;
use waxseal_observe::actors::Who;
use waxseal_observe::now;
use waxseal_observe::process::{Processes, Window, uptime};
use waxseal_observe::watch::{self as watcher, Hint, WatchError, Watcher, What};
use waxseal_store::Place;

/// The pause after a failure.
const PAUSE: Duration = Duration::from_millis(500);
/// How many sentences wait to be told, at most.
const NOTES: usize = 100;

/// The least and the longest pause between two reads while events keep coming: waking up costs more than an event does,
/// and what is read together has been merged by the kernel.
const GATHER: (Duration, Duration) = (Duration::from_micros(100), Duration::from_millis(2));
/// The pause for each place that a read brought, within those; what brought none is noise from elsewhere.
const EACH: Duration = Duration::from_micros(100);
/// The pause after noise.
const NOISE: Duration = Duration::from_micros(200);
/// How many times as long as a read took the pause after it lasts at least, within those.
const REST: u32 = 8;

/// Lets events gather in a storm, so that this thread, which goes before others, takes a small share of a processor. The
/// first event after a pause is read at once.
struct Gathering {
    next: Instant,
}

impl Gathering {
    fn new() -> Gathering {
        Gathering { next: Instant::now() }
    }

    /// Before a read: waits until the pause after the last one is over. Says when that was.
    fn wait(&self) -> Instant {
        std::thread::sleep(self.next.saturating_duration_since(Instant::now()));
        Instant::now()
    }

    /// After a read that began then, and brought so many places.
    fn done(&mut self, began: Instant, places: usize) {
        let now = Instant::now();
        let by_places = match u32::try_from(places).unwrap_or(u32::MAX) {
            0 => NOISE,
            places => EACH * places.min(1000),
        };
        self.next = now + (now.duration_since(began) * REST).max(by_places).clamp(GATHER.0, GATHER.1);
    }
}

/// Reads until the queue is ended and the watcher woken.
pub fn read_events(mut watcher: Watcher, queue: &Queue, processes: &Processes) {
    watcher::raise_priority();
    let mut hints = Vec::new();
    // Who asked before the last cookie was made.
    let mut waiters = Vec::new();
    let mut failures = Failures::default();
    // When the last read began: what happened before then was read.
    let mut last = now();
    let mut gathering = Gathering::new();
    // The same for processes, by the clock of their beginnings.
    let mut quiet = processes.started();
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
        let may_wait = waiters.is_empty() && matches!(woken, Ok(wake) if wake.events && !wake.woken);
        let began = if may_wait { gathering.wait() } else { Instant::now() };
        let before = std::mem::replace(&mut last, now());
        let earlier = uptime();
        // Also when waiting failed: what is queued can be read all the same.
        let read = watcher.read(&mut hints);
        let places = hints.len();
        if !hints.is_empty() {
            // After the events: whoever caused them is on record by now.
            processes.catch_up();
            note_writers(&hints, queue, processes, Window { since: quiet, until: uptime() });
        }
        if watcher.is_drained() {
            quiet = earlier;
        }
        queue_hints(&mut hints, queue, before);
        gathering.done(began, places);
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

/// Notes who wrote, before the places are queued.
fn note_writers(hints: &[Hint], queue: &Queue, processes: &Processes, window: Window) {
    if hints.iter().any(|hint| matches!(hint, Hint::Lost { .. })) {
        return queue.forget_writers();
    }
    let (mut places, mut objects) = (Vec::new(), Vec::new());
    // Most events come in rows by one process.
    let mut last: Option<Who> = None;
    for hint in hints {
        let (Hint::Name { process, .. }
        | Hint::Renamed { process, .. }
        | Hint::Itself { process, .. }
        | Hint::Object { process, .. }) = hint
        else {
            continue;
        };
        let Some(process) = process else { continue };
        let Ok(pid) = u32::try_from(process.pid) else { continue };
        let who = last
            .take()
            .filter(|last| last.pid() == pid)
            .unwrap_or_else(|| processes.writer_of(process, window).map_or(Who::Unknown(pid), Who::Known));
        last = Some(who.clone());
        match hint {
            Hint::Name { dir, name, deep, .. } => places.push((dir.join(name), who, *deep)),
            Hint::Renamed { from, to, is_dir, .. } => {
                for (dir, name) in [from, to] {
                    places.push((dir.join(name), who.clone(), *is_dir));
                }
            }
            Hint::Itself { dir, .. } => places.push((dir.clone(), who, false)),
            Hint::Object { inode, device, .. } => objects.push(((device.major, device.minor, *inode), who)),
            _ => {}
        }
    }
    queue.add_writers(places, objects);
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
                // What is closed, or goes by another name, is whole; links and the like are looked at a moment later.
                let unfinished = !deep && what.is_only(What::CONTENT.with(What::CREATED));
                targets.push(Target { place: Place { path, deep }, unfinished });
            }
            Hint::Renamed { from, to, is_dir, .. } => {
                arrived.push(to.0.join(&to.1));
                let both = [from, to].map(|(dir, name)| Place { path: dir.join(&name), deep: is_dir });
                targets.extend(both.map(|place| Target { place, unfinished: false }));
            }
            Hint::Itself { dir, .. } => {
                targets.push(Target { place: Place { path: dir, deep: false }, unfinished: false });
            }
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
    if !targets.is_empty() {
        queue.add(targets, since);
    }
}
