//! The engine thread: owns all looking and recording.
//!
//! In: work from the queue. Out: recorded changes, then told.

use super::blindness::Blindness;
use super::clock::Clock;
use super::control::Waiter;
use super::haste::Haste;
use super::heartbeat::Pulse;
use super::journal;
use super::objects::{self, Objects};
use super::own::Tampered;
use super::patrol::Patrol;
use super::queue::{Queue, Rescan, Work};
use super::touched::Touched;
use super::undo::Restraint;
use super::word::Recorded;
use super::{Event, KnownBy, Load, Monitor, Rules, Trust};
use crate::check::{self, Request, Scan};
use crate::error::EngineError;
use crate::seal::Trouble;
use crate::written::Written;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use waxseal_model::control::Refusal;
use waxseal_model::{Change, FileType, RawPath, Source, Timestamp};
use waxseal_observe::actors::Describer;
use waxseal_observe::guard::Bell;
use waxseal_observe::watch::{self as watcher, Waker};
use waxseal_observe::{Options, Progress, now};
use waxseal_store::{Baseline, Findings, Outcome, Place, ScanKind, ScanRecord, Store, StoreError};

/// How long whoever waits for the record waits for the facts about executables, at most.
const FACTS: Duration = Duration::from_secs(5);
/// How long to wait before trying again to record.
const RETRY: Duration = Duration::from_secs(1);

/// How many names that came and went are recorded at once.
const TOUCHED: usize = 2000;

/// After how long without work memory is given back. What comes next has to fetch some of it again, which takes a
/// fraction of a millisecond.
const QUIET: Duration = Duration::from_secs(5);

/// Why nothing can be recorded, and when to try again.
pub struct Blind {
    since: Timestamp,
    retry: Instant,
    refusal: Refusal,
}

/// Looks, compares, records and tells.
pub struct Engine<'a> {
    pub store: &'a Store,
    pub baseline: Arc<Baseline>,
    /// The newest baseline on record, which is that one unless its seal is broken.
    pub newest: u64,
    pub trust: Trust<'a>,
    /// By which it looks now.
    pub rules: Rules,
    pub only: Vec<RawPath>,
    pub queue: &'a Queue,
    pub waker: &'a Waker,
    /// Steers the scheduled scans.
    pub patrol: &'a Patrol,
    pub load: Load<'a>,
    pub tell: &'a mut dyn FnMut(Event),
    pub objects: Objects,
    /// Tells who wrote.
    pub describer: Arc<Describer>,
    findings: Mutex<Findings>,
    /// Since something could not be recorded.
    pub blind: Option<Blind>,
    /// When the epoch of the log's key ends, if anything was recorded in it.
    pub epoch_ends: Option<Instant>,
    /// Says that it is alive.
    pub pulse: Pulse,
    /// When it did not see, or could not record.
    pub blindness: Blindness,
    /// Why, as it was told.
    told_blind: Option<&'static str>,
    /// Names that came and went, as it was told.
    touched: Touched,
    /// Has the own files be looked at, where there is a guard.
    pub guard: Option<Bell>,
    /// What others did to the own files and is not on record yet.
    pub tampered: Vec<Tampered>,
    /// What was put back by itself.
    pub restraint: Restraint,
    /// What is to be.
    pub to_undo: Vec<Change>,
    /// How many looks are going on, one inside the other.
    looks: u32,
    /// Whether there are roots that could not be watched when they were found.
    pub unwatched: bool,
}

impl<'a> Engine<'a> {
    /// An engine that has looked at nothing yet.
    ///
    /// # Errors
    /// When the baseline cannot be read.
    pub fn new(
        monitor: Monitor<'a>,
        queue: &'a Queue,
        waker: &'a Waker,
        patrol: &'a Patrol,
        describer: &Arc<Describer>,
        load: Load<'a>,
        tell: &'a mut dyn FnMut(Event),
    ) -> Result<Engine<'a>, EngineError> {
        let Monitor { store, baseline, trust, rules, only } = monitor;
        let objects = Objects::of(store, &baseline)?;
        let describer = Arc::clone(describer);
        let findings = Mutex::new(store.findings()?);
        Ok(Engine {
            store,
            newest: baseline.generation,
            baseline: Arc::new(baseline),
            trust,
            rules,
            only,
            queue,
            waker,
            patrol,
            load,
            tell,
            objects,
            describer,
            findings,
            blind: None,
            epoch_ends: None,
            pulse: Pulse::new(),
            blindness: Blindness::new(),
            told_blind: None,
            touched: Touched::default(),
            guard: None,
            tampered: Vec::new(),
            restraint: Restraint::default(),
            to_undo: Vec::new(),
            looks: 0,
            unwatched: false,
        })
    }

    /// Looks at everything, then works off what is queued until it is to end.
    ///
    /// # Errors
    /// When the baseline cannot be read.
    pub fn follow(&mut self, coverage: Vec<watcher::Coverage>) -> Result<(), EngineError> {
        self.record_start()?;
        if (self.trust)(&self.baseline).is_err() {
            let database = Tampered::database(self.store);
            self.record_tampered(database.into_iter().collect())?;
        }
        self.look(self.everything(), true, Source::Scan, "found at the start of the monitor")?;
        self.note_downtime()?;
        self.leave_word(true)?;
        let watching = self.baseline.stored.entries;
        let names = coverage.iter().any(|part| part.backend == watcher::Backend::Fanotify);
        let processes = self.describer.processes();
        let actors = processes.source().filter(|_| names);
        let actors = actors.map(|source| KnownBy { source, refused: processes.refused().to_vec() });
        self.pulse.set_coverage(&coverage);
        (self.tell)(Event::Ready { coverage, watching, actors });
        self.patrol.set(&self.rules.coverage.config().scan);
        let (mut haste, mut clock, mut is_tidy) = (Haste::new(), Clock::new(), false);
        loop {
            haste.wait(self.queue.has_more());
            let quiet = (!is_tidy).then(|| Instant::now() + QUIET);
            let retry = self.blind.as_ref().map(|blind| blind.retry);
            let times = [retry, quiet, self.epoch_ends, self.next_heartbeat(), self.restraint.next()];
            let mut work = self.queue.take(times.into_iter().flatten().min());
            is_tidy = work.is_empty() && quiet.is_some_and(|quiet| quiet <= Instant::now());
            if is_tidy {
                waxseal_observe::let_code_go();
            }
            clock.moved().into_iter().for_each(|by| (self.tell)(Event::Clock(by)));
            haste.take(work.targets.len(), work.scans());
            let end = work.end;
            let waiters = std::mem::take(&mut work.waiters);
            let unheard = std::mem::take(&mut work.unheard);
            let words = std::mem::take(&mut work.words);
            let (reload, facts) = (work.reload.take(), work.facts);
            let tampered = std::mem::take(&mut work.tampered);
            self.renew()?;
            self.work_off(work)?;
            self.record_tampered(tampered)?;
            if facts {
                self.complete_actors()?;
            }
            words.into_iter().try_for_each(|word| self.hear(word))?;
            if let Some(asked) = reload {
                self.reload(asked)?;
            }
            self.leave_word(end)?;
            self.beat()?;
            self.undo_after_pause()?;
            self.turn_keys()?;
            self.prune()?;
            self.answer(waiters, unheard)?;
            if end {
                return Ok(());
            }
        }
    }

    /// Where findings are collected.
    pub fn findings(&self) -> MutexGuard<'_, Findings> {
        self.findings.lock().unwrap_or_else(PoisonError::into_inner)
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
        self.describer.executables().settle(FACTS);
        self.complete_actors()?;
        let answer = self.blind.as_ref().map_or(Ok(()), |blind| Err(blind.refusal.clone()));
        waiters.into_iter().for_each(|waiter| waiter.answer(answer.clone()));
        Ok(())
    }

    /// Records what has become known of executables since changes by them were recorded. What cannot be recorded now is
    /// told of their next change.
    fn complete_actors(&self) -> Result<(), EngineError> {
        let finished = self.describer.finished();
        if finished.is_empty() || self.blind.is_some() {
            return Ok(());
        }
        match self.store.complete_actors(&finished, now()) {
            Err(error) if !is_passing(&error) => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Everything that this monitor looks at, as targets: none means all.
    pub fn everything(&self) -> Vec<Place> {
        self.only.iter().map(|path| Place { path: path.clone(), deep: true }).collect()
    }

    fn work_off(&mut self, work: Work) -> Result<(), EngineError> {
        self.touched.forget(&work.arrived);
        for note in work.notes {
            (self.tell)(Event::Trouble(Trouble { path: None, message: note }));
        }
        if let Some(Blind { since, .. }) = self.blind.take_if(|blind| blind.retry <= Instant::now()) {
            // What was seen meanwhile was not recorded: everything is looked at, by times and sizes.
            self.look(self.everything(), true, Source::Scan, "found when changes could be recorded again")?;
            if let Some(blind) = &mut self.blind {
                blind.since = since;
            } else {
                self.blindness.add(None, self.told_blind.take().unwrap_or("database"), since);
                (self.tell)(Event::Sighted);
            }
        }
        self.rescan(work.rescans)?;
        let mut targets = work.targets;
        let objects = work.objects.keys().copied().collect();
        let others = self.objects.names(&objects, self.store, &self.baseline)?;
        let mut writers = work.writers;
        for (path, object) in &others {
            if let Some(marks) = work.objects.get(object) {
                writers.add(path.clone(), marks.clone());
            }
        }
        targets.extend(others.into_keys().map(|path| Place { path, deep: false }));
        targets.sort();
        targets.dedup();
        let targets = self.of_interest(targets);
        if targets.is_empty() {
            return Ok(());
        }
        let written = Written::new(writers, &self.describer);
        let (source, cause) = (Source::Event, "seen by the monitor".to_string());
        let request =
            Request { targets, quick: false, source, cause, set: None, speaks_of_coverage: false, written };
        self.look_as(request)
    }

    fn rescan(&mut self, rescans: BTreeMap<RawPath, Rescan>) -> Result<(), EngineError> {
        for (path, rescan) in rescans {
            (self.tell)(Event::Rescan { path: path.clone(), reason: rescan.reason });
            if is_control() {
                continue;
            }
            let below = self.rules.coverage.roots().iter().map(|root| root.path.clone());
            let below = below.filter(|root| root.below(&path).is_some());
            let mut places: BTreeSet<RawPath> = below.collect();
            places.insert(path.clone());
            let targets = places.into_iter().map(|path| Place { path, deep: true }).collect();
            let targets = self.of_interest(targets);
            if !targets.is_empty() {
                self.look(targets, true, Source::Scan, "found after events were lost")?;
            }
            self.note_rescan(path, rescan);
        }
        Ok(())
    }

    /// Without what no watch covers, and what is outside of what was asked for. Of a place with all that is below it,
    /// the part that was asked for stays.
    pub fn of_interest(&self, targets: Vec<Place>) -> Vec<Place> {
        let wanted = |target: Place| -> Vec<Place> {
            if self.only.is_empty() || self.only.iter().any(|outer| target.path.below(outer).is_some()) {
                return vec![target];
            }
            let parts = self.only.iter().filter(|only| target.deep && only.below(&target.path).is_some());
            parts.map(|only| Place { path: only.clone(), deep: true }).collect()
        };
        let targets: BTreeSet<Place> = targets.into_iter().flat_map(wanted).collect();
        targets.into_iter().filter(|target| self.rules.coverage.may_cover(&target.path)).collect()
    }

    /// Looks, compares, records, tells. What cannot be recorded is looked at again later.
    pub fn look(
        &mut self,
        targets: Vec<Place>,
        quick: bool,
        source: Source,
        cause: &str,
    ) -> Result<(), EngineError> {
        let speaks_of_coverage = source == Source::Scan;
        let cause = cause.to_string();
        self.look_as(Request { targets, quick, source, cause, set: None, speaks_of_coverage, written: None })
    }

    fn look_as(&mut self, request: Request) -> Result<(), EngineError> {
        let recorded = self.look_at(request)?;
        for trouble in recorded.troubles {
            (self.tell)(Event::Trouble(trouble));
        }
        Ok(())
    }

    /// As [`Engine::look`], and says what became of it.
    pub fn look_at(&mut self, request: Request) -> Result<Recorded, EngineError> {
        self.looks += 1;
        let recorded = self.look_until_recorded(&request);
        self.looks -= 1;
        // Other names of one object are put back together.
        if self.looks == 0 && recorded.is_ok() {
            self.undo()?;
        }
        recorded
    }

    fn look_until_recorded(&mut self, request: &Request) -> Result<Recorded, EngineError> {
        loop {
            match self.look_once(request)? {
                Some(recorded) => return Ok(recorded),
                // What it looked at was held against a baseline that is not the newest any more.
                None => self.renew()?,
            }
        }
    }

    /// `None` when a baseline has been sealed meanwhile.
    fn look_once(&mut self, request: &Request) -> Result<Option<Recorded>, EngineError> {
        let targets = &request.targets;
        let few = targets.iter().filter(|target| target.deep).count() == 0 && !targets.is_empty();
        if targets.is_empty() {
            // What a glob matches may have come since: scans of everything look for it.
            self.grow();
        }
        let Rules { coverage, options } = &self.rules;
        let (store, baseline) = (self.store, Arc::clone(&self.baseline));
        let whole = targets.is_empty();
        let (quick, started) = (request.quick, now());
        let options = Options { threads: if few { Some(1) } else { options.threads }, ..*options };
        let progress = Progress::default();
        let (newest, findings) = (self.newest, &self.findings);
        let scan = Scan {
            store,
            baseline: &baseline,
            export: None,
            newest,
            coverage,
            progress: &progress,
            findings,
        };
        let mut outcomes = Vec::new();
        let report = match check::check(&scan, request, &options, Some(&mut outcomes), &mut |_| {}) {
            Ok(report) => report,
            Err(EngineError::Store(error)) if is_passing(&error) => {
                self.go_blind(&error);
                return Ok(Some(Recorded::default()));
            }
            Err(error) => return Err(error),
        };
        if let Err(StoreError::Superseded) = &report.recorded {
            return Ok(None);
        }
        if let Err(error) = &report.recorded {
            self.go_blind(error);
            return Ok(Some(Recorded::default()));
        }
        if whole {
            self.remember_scan(quick, started, &report, progress.bytes.into_inner())?;
        }
        self.tell_touched(request, &report, &outcomes)?;
        let set = outcomes.iter().find_map(|outcome| match outcome {
            Outcome::New(change) => Some(change.set),
            _ => None,
        });
        let recorded = Recorded { is_recorded: true, set, troubles: report.troubles };
        let relatives = relatives(&outcomes);
        for outcome in outcomes {
            let event = match outcome {
                Outcome::New(change) | Outcome::Again(change) => {
                    Event::Changed(Box::new(self.note_for_undo(change)?))
                }
                Outcome::Resolved(change) => Event::Resolved(Box::new(change)),
            };
            (self.tell)(event);
        }
        if request.source == Source::Event && !relatives.is_empty() {
            let names = self.objects.names(&relatives, store, &baseline)?;
            let names = names.into_keys().filter(|name| !request.targets.iter().any(|t| t.path == *name));
            let names = self.of_interest(names.map(|path| Place { path, deep: false }).collect());
            if !names.is_empty() {
                self.look(names, false, Source::Scan, "other names of what changed")?;
            }
        }
        Ok(Some(recorded))
    }

    /// A scan of everything, for `status`.
    fn remember_scan(
        &self,
        quick: bool,
        started: Timestamp,
        report: &check::Report,
        bytes: u64,
    ) -> Result<(), EngineError> {
        let store = self.store;
        let outcome = match (report.troubles.is_empty(), store.count_open()?.iter().any(|n| *n > 0)) {
            (false, _) => "incomplete",
            (true, true) => "changed",
            (true, false) => "intact",
        };
        let errors = report.troubles.len() as u64;
        let (ended, checked) = (now(), report.checked);
        let scan = ScanRecord { started, ended, outcome: outcome.into(), checked, errors, bytes };
        match store.add_scan(if quick { ScanKind::Quick } else { ScanKind::Full }, &scan, now()) {
            Err(error) if !is_passing(&error) => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Names that events spoke of and that are neither there nor sealed: they came and went.
    fn tell_touched(
        &mut self,
        request: &Request,
        report: &check::Report,
        outcomes: &[Outcome],
    ) -> Result<(), EngineError> {
        for outcome in outcomes {
            // A new name that was there for a look, and is gone.
            if let Outcome::Resolved(change) = outcome
                && change.before.is_none()
            {
                self.touched.was_told(&change.path);
            }
        }
        if request.source != Source::Event {
            return Ok(());
        }
        for paths in report.vanished.chunks(TOUCHED) {
            let news = paths.iter().filter(|path| self.touched.is_news(path));
            let by = |path| request.written.as_ref().map_or(Vec::new(), |written| written.actors(path));
            let news: Vec<_> = news.map(|path| (path.clone(), by(path))).collect();
            if self.record(news.iter().map(|(path, actors)| journal::touched(path, actors)).collect())? {
                news.into_iter().for_each(|(path, actors)| (self.tell)(Event::Touched(path, actors)));
            }
        }
        Ok(())
    }

    pub fn go_blind(&mut self, error: &StoreError) {
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
        let since = self.blind.as_ref().map_or_else(now, |blind| blind.since);
        self.blind = Some(Blind { since, retry: Instant::now() + RETRY, refusal });
    }
}

/// Whether this is the control of the torture test: a monitor that scans nothing again, so that what was lost stays
/// lost, and the test must find that out. There is no such thing in a release.
fn is_control() -> bool {
    cfg!(debug_assertions) && std::env::var_os("WAXSEAL_TEST_NO_RECONCILE").is_some()
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
pub fn is_passing(error: &StoreError) -> bool {
    use StoreError::{Busy, Full, Io, Log, Sqlite};
    matches!(error, Full | Busy(_) | Sqlite(_) | Io(..) | Log(_))
}
