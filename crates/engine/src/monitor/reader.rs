//! The reader: only copies what the kernel says into the queue.
//!
//! In: a watcher. Out: places in the queue, and behind them those who asked to be told when all before is done. Nothing
//! ends it but the monitor's end: what fails is said, tried again, and made good by a scan.

use super::queue::{NewRoots, News, Queue, Rescan, Target};
use crate::written::Marks;
use std::collections::HashMap;
use std::time::{Duration, Instant};
use waxseal_model::Timestamp;
use waxseal_observe::actors::{Describer, Who};
use waxseal_observe::now;
use waxseal_observe::process::{Window, uptime};
use waxseal_observe::watch::{self as watcher, Hint, Process, WatchError, Watcher, What};
use waxseal_store::Place;

/// The pause after a failure.
const PAUSE: Duration = Duration::from_millis(500);
/// What is told when records of processes were lost.
const LOST_RECORDS: &str = "records of processes were lost, because too much happened at once: who made the changes of \
                            this moment is not known; all processes are looked at anew";
/// How many sentences wait to be told, at most.
const NOTES: usize = 100;

/// The least and the longest pause between two reads while events keep coming: waking up costs more than an event does,
/// and what is read together has been merged by the kernel.
const GATHER: (Duration, Duration) = (Duration::from_micros(100), Duration::from_millis(2));
/// The least pause after a read that brought nothing but noise from elsewhere.
const NOISE: Duration = Duration::from_micros(200);
/// How many times as long as a read took the pause after it lasts at least, within those.
const REST: u32 = 8;

/// Lets events gather in a storm, so that this thread, which goes before others, takes a small share of a processor. The
/// first event after a pause is read at once, and so is what comes while the engine has nothing to do.
struct Gathering {
    /// When the pause after the last read ends, at the earliest and at the latest.
    pause: (Instant, Instant),
}

impl Gathering {
    fn new() -> Gathering {
        Gathering { pause: (Instant::now(), Instant::now()) }
    }

    /// Before a read: waits until the pause after the last one is over. Says when that was.
    fn wait(&self, queue: &Queue) -> Instant {
        std::thread::sleep(self.pause.0.saturating_duration_since(Instant::now()));
        queue.wait_until_wanted(self.pause.1);
        Instant::now()
    }

    /// After a read that began then, and brought so many places.
    fn done(&mut self, began: Instant, places: usize) {
        let now = Instant::now();
        let least = if places == 0 { NOISE } else { GATHER.0 };
        let pause = (now.duration_since(began) * REST).clamp(least, GATHER.1);
        self.pause = (now + pause, now + GATHER.1);
    }
}

/// Reads until the queue is ended and the watcher woken.
pub fn read_events(mut watcher: Watcher, queue: &Queue, describer: &Describer) {
    let processes = describer.processes();
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
    processes.follow(&watcher);
    let mut lost_records = processes.losses();
    loop {
        let at_once = waiters.is_empty() && queue.is_asked();
        let woken = watcher.wait(at_once.then_some(Duration::ZERO));
        if queue.is_ending() {
            return;
        }
        let new = queue.take_roots();
        // What the former watches brought last was read before.
        let is_read_now = new.is_none();
        if let Some(new) = new {
            set_roots(&mut watcher, new);
        }
        if waiters.is_empty() {
            waiters = queue.take_asking();
            if !waiters.is_empty() {
                watcher.catch_up();
            }
        }
        let may_wait = waiters.is_empty() && matches!(woken, Ok(wake) if wake.events && !wake.woken);
        let began = if may_wait { gathering.wait(queue) } else { Instant::now() };
        let before = std::mem::replace(&mut last, now());
        let earlier = uptime();
        // Also when waiting failed: what is queued can be read all the same.
        let read = watcher.read(&mut hints);
        let places = hints.len();
        processes.follow(&watcher);
        if !hints.is_empty() {
            // After the events: whoever caused them is on record by now.
            processes.catch_up();
            let read = if is_read_now { earlier } else { 0 };
            let window = Window { since: quiet, until: uptime(), read };
            let namer = Namer { describer, window, lost: false, known: HashMap::new() };
            queue_hints(&mut hints, queue, namer, before);
            let losses = processes.losses();
            if std::mem::replace(&mut lost_records, losses) != losses {
                add_note(queue, LOST_RECORDS.into());
            }
        }
        if watcher.is_drained() {
            quiet = earlier;
        }
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

/// Tells who did what a batch of events tells of.
struct Namer<'a> {
    describer: &'a Describer,
    /// When the events happened.
    window: Window,
    /// Events were lost, so others may have written as well: nobody is named.
    lost: bool,
    /// Most events come in rows by few processes. By the number, and whether it may be late.
    known: HashMap<(u32, bool), Who>,
}

impl Namer<'_> {
    /// `may_be_late`: it may be what the kernel did for a process that was another program by then, as when a file is
    /// closed that a program had open or mapped.
    fn name(&mut self, process: Option<&Process>, may_be_late: bool) -> Option<Who> {
        let process = process.filter(|_| !self.lost)?;
        let pid = u32::try_from(process.pid).ok()?;
        let window = Window { read: if may_be_late { 0 } else { self.window.read }, ..self.window };
        let ask = || match self.describer.processes().writer_of(process, window) {
            None => Who::Unknown(pid),
            Some(writer) => {
                // The facts are worked out while the change is looked at.
                self.describer.executables().ask(&writer);
                Who::Known(writer)
            }
        };
        Some(self.known.entry((pid, may_be_late)).or_insert_with(ask).clone())
    }
}

fn queue_hints(hints: &mut Vec<Hint>, queue: &Queue, mut namer: Namer<'_>, since: Timestamp) {
    if hints.iter().any(|hint| matches!(hint, Hint::Lost { .. })) {
        namer.lost = true;
        queue.forget_writers();
    }
    let mut news = News::default();
    for hint in hints.drain(..) {
        match hint {
            Hint::Name { path, deep, what, process } => {
                let arrived = what.has(What::CREATED.with(What::MOVED));
                // What is in a directory that was made was made after it, and has events of its own.
                let writers = Marks::of(
                    namer.name(process.as_ref(), what.is_only(What::CLOSED)),
                    deep && what.is_only(What::MOVED),
                );
                // What is closed, or goes by another name, is whole; links and the like are looked at a moment later.
                let unfinished = !deep && what.is_only(What::CONTENT.with(What::CREATED));
                let moved = what.has(What::MOVED);
                news.targets.push(Target {
                    place: Place { path, deep },
                    unfinished,
                    arrived,
                    moved,
                    writers,
                });
            }
            Hint::Renamed { from, to, is_dir, process } => {
                let writers = Marks::of(namer.name(process.as_ref(), false), is_dir);
                for (path, arrived) in [(from, false), (to, true)] {
                    let (place, writers) = (Place { path, deep: is_dir }, writers.clone());
                    news.targets.push(Target { place, unfinished: false, arrived, moved: true, writers });
                }
            }
            Hint::Itself { dir, process } => {
                let writers = Marks::of(namer.name(process.as_ref(), false), false);
                let place = Place { path: dir, deep: false };
                news.targets.push(Target { place, unfinished: false, arrived: false, moved: false, writers });
            }
            Hint::Object { inode, device, process } => {
                let writers = Marks::of(namer.name(process.as_ref(), true), false);
                news.objects.push(((device.major, device.minor, inode), writers));
            }
            Hint::Lost { root, loss } => queue.add_rescan(root, Rescan { reason: loss.word(), since }),
            Hint::ClockSet => queue.add_rest(|work| work.clock = true),
            Hint::MountChanged { at } => queue.add_rescan(at, Rescan { reason: "mount", since }),
            Hint::FilesystemError { root, errno } => {
                add_note(queue, format!("{root}: its filesystem reports that it is damaged (error {errno})"));
            }
        }
    }
    if !(news.targets.is_empty() && news.objects.is_empty()) {
        queue.add(news, since);
    }
}
