//! The monitor: hints in, recorded changes out.
//!
//! One thread reads the kernel's events and only puts them into a bounded queue; one engine thread takes
//! them from there, looks, compares and records. Overflow, lost marks, mounts and the start itself are one code path:
//! check what is affected against the baseline.

mod control;
mod objects;
mod queue;

use crate::check::{self, Request, Scan};
use crate::coverage::Coverage;
use crate::error::EngineError;
use crate::seal::Trouble;
use control::{Desk, Waiter};
use objects::Objects;
use queue::{Queue, Work};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use waxseal_model::control::Refusal;
use waxseal_model::{Change, FileType, RawPath, Source, Timestamp};
use waxseal_observe::control::Listener;
use waxseal_observe::watch::{self as watcher, Hint, WatchRoot, Watcher};
use waxseal_observe::{Options, Progress, now};
use waxseal_store::{Baseline, Findings, Outcome, Place, ScanKind, ScanRecord, Store, StoreError};

/// What a monitor tells, in the order in which it became true. Changes are recorded before they are told.
#[derive(Debug)]
pub enum Event {
    /// From now on nothing can be missed any more.
    Ready {
        /// What watches what.
        coverage: Vec<watcher::Coverage>,
        /// How many entries the baseline holds.
        watching: u64,
    },
    /// A change was opened, or an open one moved again.
    Changed(Box<Change>),
    /// A changed path is back in its baseline state.
    Resolved(Box<Change>),
    /// Something was there and is gone, and was never sealed.
    Touched(RawPath),
    /// Events were lost: what is below was looked at again.
    Rescan {
        /// The place.
        path: RawPath,
        /// Why.
        reason: &'static str,
    },
    /// Something could not be looked at.
    Trouble(Trouble),
    /// Changes cannot be recorded; they will be found again by scan.
    Blind {
        /// Why: `disk-full`, `database-busy` or `database`.
        reason: &'static str,
        /// The same for people.
        message: String,
    },
    /// Changes can be recorded again, and everything has been looked at.
    Sighted,
}

/// What a monitor works on.
#[derive(Debug)]
pub struct Monitor<'a> {
    /// Where changes are recorded.
    pub store: &'a Store,
    /// What the disk is held against.
    pub baseline: &'a Baseline,
    /// What is watched, and by which rules.
    pub coverage: &'a Coverage,
    /// How contents are hashed.
    pub options: Options,
    /// Only these places; everything that is covered when empty.
    pub only: Vec<RawPath>,
}

/// Ends a running monitor.
#[derive(Debug, Clone)]
pub struct Stopper(Arc<Queue>, watcher::Waker);

impl Stopper {
    /// Asks the monitor to end; what is queued before is still looked at.
    pub fn stop(&self) {
        self.0.end();
        self.1.wake();
    }
}

/// How many events the kernel holds for us: 128 bytes of its memory each when they are there.
const QUEUE_LIMIT: usize = 262_144;
/// How long to wait before trying again to record.
const RETRY: Duration = Duration::from_secs(1);

/// A started watch that nobody has looked at yet.
pub struct Started<'a> {
    monitor: Monitor<'a>,
    watcher: Watcher,
    queue: Arc<Queue>,
    /// Where commands reach it.
    listener: std::io::Result<Listener>,
}

impl<'a> Monitor<'a> {
    /// Begins to watch. Whatever changes from now on will be looked at once [`Started::run`] is called. The caller holds
    /// the lock of the state directory: commands are listened to there.
    ///
    /// # Errors
    /// When nothing can be watched.
    pub fn start(self) -> Result<Started<'a>, EngineError> {
        let roots: Vec<WatchRoot> = self
            .coverage
            .roots()
            .iter()
            .map(|root| WatchRoot {
                path: root.path.clone(),
                cross_filesystems: self.coverage.watch(root).cross_filesystems,
            })
            .collect();
        let options = watcher::Options {
            queue_limit: QUEUE_LIMIT,
            canary_dir: Some(self.store.dir().path().to_path_buf()),
            ignored: self.coverage.own().to_vec(),
            pidfds: false,
        };
        let watcher =
            Watcher::start(&roots, options).map_err(|error| EngineError::Watch(error.to_string()))?;
        let listener = control::listen(self.store.dir());
        Ok(Started { monitor: self, watcher, queue: Arc::default(), listener })
    }
}

impl Started<'_> {
    /// What ends it.
    pub fn stopper(&self) -> Stopper {
        Stopper(Arc::clone(&self.queue), self.watcher.waker())
    }

    /// Checks what happened while nobody watched, then follows the events until it is stopped.
    ///
    /// # Errors
    /// When the baseline cannot be read, or events cannot be had any more.
    pub fn run(self, tell: &mut dyn FnMut(Event)) -> Result<(), EngineError> {
        let Started { monitor, watcher, queue, listener } = self;
        let coverage = watcher.coverage().to_vec();
        let waker = watcher.waker();
        let objects = Objects::of(monitor.store, monitor.baseline)?;
        let findings = Mutex::new(monitor.store.findings()?);
        if let Err(error) = &listener {
            let message = format!("commands cannot reach this monitor, its socket cannot be made: {error}");
            tell(Event::Trouble(Trouble { path: None, message }));
        }
        std::thread::scope(|scope| {
            let reading = thread("events")
                .spawn_scoped(scope, || read_events(watcher, &queue))
                .map_err(|error| EngineError::Watch(error.to_string()))?;
            let desk = Desk { queue: Arc::clone(&queue), waker: waker.clone() };
            if let Ok(listener) = &listener {
                let served = thread("control").spawn_scoped(scope, move || control::serve(listener, &desk));
                if let Err(error) = served {
                    let message = format!("commands cannot reach this monitor: {error}");
                    tell(Event::Trouble(Trouble { path: None, message }));
                }
            }
            let now = Instant::now();
            let quick_at = now + monitor.coverage.config().scan.quick_every;
            let full_at = now + monitor.coverage.config().scan.full_every;
            let mut engine = Engine {
                monitor: &monitor,
                objects,
                findings: &findings,
                blind: None,
                told_blind: None,
                quick_at,
                full_at,
                tell,
            };
            let result = engine.follow(&queue, coverage);
            queue.end();
            waker.wake();
            if let Ok(listener) = &listener {
                listener.closer().close();
            }
            reading.join().map_err(|_| EngineError::Watch("the event reader ended".into()))??;
            result
        })
    }
}

fn thread(name: &str) -> std::thread::Builder {
    std::thread::Builder::new().name(name.into()).stack_size(512 * 1024)
}

/// The reader: only copies what the kernel says into the queue.
fn read_events(mut watcher: Watcher, queue: &Queue) -> Result<(), EngineError> {
    watcher::raise_priority();
    let mut hints = Vec::new();
    // Who asked before the last cookie was made.
    let mut waiters = Vec::new();
    loop {
        let failed = |error: watcher::WatchError| {
            queue.end();
            EngineError::Watch(error.to_string())
        };
        let at_once = waiters.is_empty() && queue.is_asked();
        let wake = watcher.wait(at_once.then_some(Duration::ZERO)).map_err(failed)?;
        if waiters.is_empty() {
            waiters = queue.take_asking();
            if !waiters.is_empty() {
                watcher.catch_up();
            }
        }
        watcher.read(&mut hints).map_err(failed)?;
        for hint in &hints {
            if let Hint::Name { dir, name, deep: true, .. } = hint {
                watcher.directory_appeared(&dir.join(name));
            }
        }
        queue_hints(&mut hints, queue);
        if !waiters.is_empty() && watcher.has_caught_up() {
            // Behind all that was queued, so they are told when all of it is recorded.
            queue.add_rest(|work| {
                work.waiters.append(&mut waiters);
                work.unheard = watcher.unheard();
            });
        }
        if wake.woken && queue.is_ending() {
            return Ok(());
        }
    }
}

fn queue_hints(hints: &mut Vec<Hint>, queue: &Queue) {
    let mut targets = Vec::with_capacity(hints.len());
    for hint in hints.drain(..) {
        match hint {
            Hint::Name { dir, name, deep, .. } => targets.push(Place { path: dir.join(&name), deep }),
            Hint::Renamed { from, to, is_dir, .. } => {
                let both = [from, to].map(|(dir, name)| Place { path: dir.join(&name), deep: is_dir });
                targets.extend(both);
            }
            Hint::Itself { dir, .. } => targets.push(Place { path: dir, deep: false }),
            Hint::Object { inode, device, .. } => queue.add_rest(|work| {
                work.objects.insert((device.major, device.minor, inode));
            }),
            Hint::Lost { root, reason } => queue.add_rest(|work| {
                work.rescans.insert(root, reason);
            }),
            Hint::MountChanged { at } => queue.add_rest(|work| {
                work.rescans.insert(at, "mount");
            }),
            Hint::FilesystemError { root, errno } => queue.add_rest(|work| {
                work.notes.push(format!("{root}: its filesystem reports that it is damaged (error {errno})"));
            }),
        }
    }
    queue.add(targets);
}

/// Why nothing can be recorded, and when to try again.
struct Blind {
    retry: Instant,
    refusal: Refusal,
}

/// The engine thread: owns all looking and recording.
struct Engine<'a> {
    monitor: &'a Monitor<'a>,
    objects: Objects,
    findings: &'a Mutex<Findings>,
    /// Since something could not be recorded.
    blind: Option<Blind>,
    /// Why, as it was told.
    told_blind: Option<&'static str>,
    /// When the next scheduled scans are due: they find what the kernel does not tell of.
    quick_at: Instant,
    full_at: Instant,
    tell: &'a mut dyn FnMut(Event),
}

impl Engine<'_> {
    fn follow(&mut self, queue: &Queue, coverage: Vec<watcher::Coverage>) -> Result<(), EngineError> {
        self.look(self.everything(), true, Source::Scan, "found at the start of the monitor")?;
        let watching = self.monitor.baseline.stored.entries;
        (self.tell)(Event::Ready { coverage, watching });
        loop {
            let due = self.quick_at.min(self.full_at);
            let mut work = queue.take(Some(self.blind.as_ref().map_or(due, |blind| blind.retry.min(due))));
            let end = work.end;
            let waiters = std::mem::take(&mut work.waiters);
            let unheard = std::mem::take(&mut work.unheard);
            self.work_off(work)?;
            self.answer(waiters, unheard)?;
            if !end {
                self.scheduled()?;
            }
            if end {
                return Ok(());
            }
        }
    }

    /// Tells those who asked that everything before is recorded, or why it is not.
    fn answer(&mut self, waiters: Vec<Waiter>, unheard: Vec<RawPath>) -> Result<(), EngineError> {
        if waiters.is_empty() {
            return Ok(());
        }
        let unheard = unheard.into_iter().map(|path| Place { path, deep: true }).collect();
        let unheard = self.of_interest(unheard);
        if !unheard.is_empty() {
            self.look(unheard, true, Source::Scan, "found by a scan that was asked for")?;
        }
        let answer = self.blind.as_ref().map_or(Ok(()), |blind| Err(blind.refusal.clone()));
        waiters.into_iter().for_each(|waiter| waiter.answer(answer.clone()));
        Ok(())
    }

    /// Scans that are due.
    fn scheduled(&mut self) -> Result<(), EngineError> {
        let now = Instant::now();
        let every = &self.monitor.coverage.config().scan;
        if now >= self.full_at {
            self.look(self.everything(), false, Source::Scan, "found by a scheduled full scan")?;
            self.full_at = Instant::now() + every.full_every;
            self.quick_at = Instant::now() + every.quick_every;
        } else if now >= self.quick_at {
            self.look(self.everything(), true, Source::Scan, "found by a scheduled quick scan")?;
            self.quick_at = Instant::now() + every.quick_every;
        }
        Ok(())
    }

    /// Everything that this monitor looks at, as targets: none means all.
    fn everything(&self) -> Vec<Place> {
        self.monitor.only.iter().map(|path| Place { path: path.clone(), deep: true }).collect()
    }

    fn work_off(&mut self, work: Work) -> Result<(), EngineError> {
        for note in work.notes {
            (self.tell)(Event::Trouble(Trouble { path: None, message: note }));
        }
        if self.blind.take_if(|blind| blind.retry <= Instant::now()).is_some() {
            // What was seen meanwhile was not recorded: everything is looked at, by times and sizes.
            self.look(self.everything(), true, Source::Scan, "found when changes could be recorded again")?;
            if self.blind.is_none() {
                self.told_blind = None;
                (self.tell)(Event::Sighted);
            }
        }
        self.rescan(work.rescans)?;
        let mut targets = work.targets;
        let others = self.objects.names(&work.objects, self.monitor.store, self.monitor.baseline)?;
        targets.extend(others.into_iter().map(|path| Place { path, deep: false }));
        targets.sort();
        targets.dedup();
        let targets = self.of_interest(targets);
        if targets.is_empty() {
            return Ok(());
        }
        self.look(targets, false, Source::Event, "seen by the monitor")
    }

    fn rescan(&mut self, rescans: BTreeMap<RawPath, &'static str>) -> Result<(), EngineError> {
        for (path, reason) in rescans {
            (self.tell)(Event::Rescan { path: path.clone(), reason });
            let below = self.monitor.coverage.roots().iter().map(|root| root.path.clone());
            let below = below.filter(|root| root.below(&path).is_some());
            let mut places: BTreeSet<RawPath> = below.collect();
            if self.is_covered(&path) {
                places.insert(path);
            }
            let targets = places.into_iter().map(|path| Place { path, deep: true }).collect();
            let targets = self.of_interest(targets);
            if !targets.is_empty() {
                self.look(targets, true, Source::Scan, "found after events were lost")?;
            }
        }
        Ok(())
    }

    fn is_covered(&self, path: &RawPath) -> bool {
        use waxseal_policy::Selection::Skipped;
        [true, false].into_iter().any(|is_dir| self.monitor.coverage.selection(path, is_dir).0 != Skipped)
    }

    /// Without what no watch covers, and what is outside of what was asked for.
    fn of_interest(&self, targets: Vec<Place>) -> Vec<Place> {
        let only = &self.monitor.only;
        let wanted = |path: &RawPath| only.is_empty() || only.iter().any(|outer| path.below(outer).is_some());
        targets.into_iter().filter(|target| wanted(&target.path) && self.is_covered(&target.path)).collect()
    }

    /// Looks, compares, records, tells. What cannot be recorded is looked at again later.
    fn look(
        &mut self,
        targets: Vec<Place>,
        quick: bool,
        source: Source,
        cause: &str,
    ) -> Result<(), EngineError> {
        let few = targets.iter().filter(|target| target.deep).count() == 0 && !targets.is_empty();
        let Monitor { store, baseline, coverage, options, .. } = *self.monitor;
        // What a glob matches may have come since the start: scans of everything look for it.
        let mut fresh = None;
        let coverage = if targets.is_empty() {
            let fresh = fresh.insert(coverage.clone());
            fresh.refresh();
            &*fresh
        } else {
            coverage
        };
        let whole = targets.is_empty();
        let started = now();
        let request = Request { targets, quick, source, cause: cause.to_string() };
        let options = Options { threads: if few { Some(1) } else { options.threads }, ..options };
        let progress = Progress::default();
        let scan = Scan { store, baseline, coverage, progress: &progress, findings: self.findings };
        let mut outcomes = Vec::new();
        let report = match check::check(&scan, &request, &options, Some(&mut outcomes), &mut |_| {}) {
            Ok(report) => report,
            Err(EngineError::Store(error)) if is_passing(&error) => {
                self.go_blind(&error);
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        if let Err(error) = &report.recorded {
            self.go_blind(error);
            return Ok(());
        }
        if whole {
            self.remember_scan(quick, started, &report, progress.bytes.into_inner())?;
        }
        self.tell_touched(&request, &report, &outcomes);
        for trouble in report.troubles {
            (self.tell)(Event::Trouble(trouble));
        }
        let relatives = relatives(&outcomes);
        for outcome in outcomes {
            (self.tell)(match outcome {
                Outcome::New(change) | Outcome::Again(change) => Event::Changed(Box::new(change)),
                Outcome::Resolved(change) => Event::Resolved(Box::new(change)),
            });
        }
        if source == Source::Event && !relatives.is_empty() {
            let names = self.objects.names(&relatives, store, baseline)?;
            let names = names.into_iter().filter(|name| !request.targets.iter().any(|t| t.path == *name));
            let names = self.of_interest(names.map(|path| Place { path, deep: false }).collect());
            if !names.is_empty() {
                self.look(names, false, Source::Scan, "other names of what changed")?;
            }
        }
        Ok(())
    }

    /// A scan of everything, for `status`.
    fn remember_scan(
        &self,
        quick: bool,
        started: Timestamp,
        report: &check::Report,
        bytes: u64,
    ) -> Result<(), EngineError> {
        let store = self.monitor.store;
        let outcome = match (report.troubles.is_empty(), store.count_open()?.iter().any(|n| *n > 0)) {
            (false, _) => "incomplete",
            (true, true) => "changed",
            (true, false) => "intact",
        };
        let errors = report.troubles.len() as u64;
        let (ended, checked) = (now(), report.checked);
        let scan = ScanRecord { started, ended, outcome: outcome.into(), checked, errors, bytes };
        match store.add_scan(if quick { ScanKind::Quick } else { ScanKind::Full }, &scan) {
            Err(error) if !is_passing(&error) => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Names that events spoke of and that are neither there nor sealed: they came and went.
    fn tell_touched(&mut self, request: &Request, report: &check::Report, outcomes: &[Outcome]) {
        let resolved = outcomes.iter().filter_map(|outcome| match outcome {
            Outcome::Resolved(change) => Some(&change.path),
            _ => None,
        });
        let resolved: BTreeSet<&RawPath> = resolved.collect();
        if request.source == Source::Event {
            for path in report.vanished.iter().filter(|path| !resolved.contains(path)) {
                (self.tell)(Event::Touched(path.clone()));
            }
        }
    }

    fn go_blind(&mut self, error: &StoreError) {
        let reason = match error {
            StoreError::Full => "disk-full",
            StoreError::Busy(_) => "database-busy",
            _ => "database",
        };
        let message = error.to_string();
        if self.told_blind != Some(reason) {
            self.told_blind = Some(reason);
            (self.tell)(Event::Blind { reason, message: message.clone() });
        }
        let refusal = Refusal::new(reason, format!("changes cannot be recorded: {message}"));
        self.blind = Some(Blind { retry: Instant::now() + RETRY, refusal });
    }
}

/// Objects that changed and have, or had, other names: what changed through one name changed under all.
fn relatives(outcomes: &[Outcome]) -> BTreeSet<(u32, u32, u64)> {
    let changes = outcomes.iter().map(|outcome| match outcome {
        Outcome::New(change) | Outcome::Again(change) | Outcome::Resolved(change) => change,
    });
    let sides = changes.flat_map(|change| [&change.before, &change.after]).flatten().map(|seen| &seen.state);
    sides.filter(|state| state.file_type != FileType::Dir && state.links > 1).map(objects::key).collect()
}

/// Whether a store that refuses now may take it later.
fn is_passing(error: &StoreError) -> bool {
    matches!(error, StoreError::Full | StoreError::Busy(_) | StoreError::Sqlite(_) | StoreError::Io(..))
}
