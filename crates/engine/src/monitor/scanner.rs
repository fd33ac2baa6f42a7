//! The threads that scan beside the engine. They only look: what differs is handed to the engine, which looks again and
//! records. So there is one writer, and events are never kept waiting by a scan.

use super::pace::{Clock, Pace, Schedule};
use super::patrol::{Patrol, Rest, Settings, Since};
use super::queue::Queue;
use super::slices::{Slice, Slices, work};
use super::word::{Brief, Found, Step, Word};
use crate::check::{self, Manner, Request, Scan, Stretch, Survey};
use crate::coverage::Coverage;
use crate::error::EngineError;
use crate::monitor::engine::is_passing;
use crate::seal::Trouble;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};
use waxseal_model::{Digest, RawPath, SetId, Source, Timestamp};
use waxseal_observe::{Options, Progress, now, priority, thread_cpu_time};
use waxseal_store::{Baseline, FullScan, Place, ScanKind, ScanRecord, Store, StoreError};

/// How many paths the engine is given at once: it looks at them before it comes back to the events.
const MANY: usize = 500;
/// A full scan is spread over this part of its period. The rest is for what was not expected, and for the processor's share.
const SPREAD: f64 = 0.5;
/// The pause after the database refused.
const RETRY: Duration = Duration::from_secs(30);
/// The pause before something is handed to the engine again, because it could not be recorded.
const AGAIN: Duration = Duration::from_secs(1);

/// Scans of one kind.
pub struct Scanner<'a> {
    pub kind: ScanKind,
    pub store: &'a Store,
    pub queue: &'a Queue,
    pub patrol: &'a Patrol,
}

/// Why a scan did not get to its end.
enum Halt {
    /// The monitor ends.
    Ending,
    /// There is another config.
    Changed,
    /// It cannot go on now.
    Failed(EngineError),
}

impl From<EngineError> for Halt {
    fn from(error: EngineError) -> Halt {
        Halt::Failed(error)
    }
}

impl From<StoreError> for Halt {
    fn from(error: StoreError) -> Halt {
        Halt::Failed(error.into())
    }
}

/// What one scan does and has done.
struct Round {
    settings: Settings,
    brief: Brief,
    /// The set of the changes that it found.
    set: Option<SetId>,
    started: Timestamp,
    /// When it is late.
    late: Instant,
}

/// What became of one stretch.
#[derive(Debug, Default)]
struct Part {
    troubles: Vec<Trouble>,
    checked: u64,
    bytes: u64,
}

/// The clock of the thread that scans. Rests end with the settings.
struct Own<'a>(&'a Patrol, u64);

impl Clock for Own<'_> {
    fn used(&self) -> Duration {
        thread_cpu_time()
    }
    fn now(&self) -> Instant {
        Instant::now()
    }
    fn rest_until(&self, at: Instant) {
        self.0.rest_until(at, self.1);
    }
}

impl Scanner<'_> {
    /// Scans whenever it is due, until all ends.
    pub fn run(&self) {
        priority::idle();
        let failed = match self.kind {
            ScanKind::Quick => self.quick_scans(),
            ScanKind::Full => self.full_scans(),
        };
        if let Err(error) = failed {
            self.queue.say(Word::Failed(error));
        }
    }

    fn quick_scans(&self) -> Result<(), EngineError> {
        // Scans begin when the monitor has looked at everything quickly.
        let mut last = None;
        while let Some(settings) = self.patrol.settings() {
            let due = last.get_or_insert_with(Instant::now).to_owned() + settings.quick_every;
            match self.patrol.rest_until(due, settings.version) {
                Rest::Ending => break,
                Rest::Changed => continue,
                Rest::Over => {}
            }
            let Some(brief) = self.brief() else { break };
            let round = Round::new(settings, brief, now(), Instant::now() + settings.quick_every);
            self.patrol.set_quick(true);
            let end = self.quick_scan(round);
            self.patrol.set_quick(false);
            last = Some(Instant::now());
            match end {
                Ok(()) => {}
                Err(Halt::Ending) => break,
                // By the new settings it is due soon enough: everything has just been looked at.
                Err(Halt::Changed) => {}
                Err(Halt::Failed(error)) => self.put_up_with(error)?,
            }
        }
        Ok(())
    }

    fn quick_scan(&self, mut round: Round) -> Result<(), Halt> {
        let pace = Pace::new(round.settings.cpu_budget, &Own(self.patrol, round.settings.version));
        let part = self.part(&mut round, Stretch::default(), true, &Mutex::new(pace), None)?;
        let record = self.record(&round, part.checked, part.troubles.len() as u64, part.bytes)?;
        self.queue.say(Word::Step(part.troubles, Step::Ended(self.kind, record)));
        Ok(())
    }

    fn full_scans(&self) -> Result<(), EngineError> {
        let mut last: Option<Since> = None;
        let mut unfinished = None;
        let mut is_first = true;
        while let Some(settings) = self.patrol.settings() {
            if std::mem::take(&mut is_first) {
                unfinished = self.store.full_scan()?;
                // Sealing read everything as well.
                let then =
                    self.store.last_full_scan()?.unwrap_or(self.store.current_baseline()?.stored.scan_start);
                last = Some(Since::time(then, now()));
            }
            let due = match (&unfinished, last) {
                (None, Some(last)) => last.plus(settings.full_every),
                _ => Instant::now(),
            };
            match self.patrol.rest_until(due, settings.version) {
                Rest::Ending => break,
                Rest::Changed => continue,
                Rest::Over => {}
            }
            let Some(brief) = self.brief() else { break };
            let basis = basis(&brief.coverage, &brief.targets, &brief.baseline);
            let fresh = || FullScan { started: now(), basis, next: None, checked: 0, errors: 0, bytes: 0 };
            let mut scan =
                unfinished.take().filter(|scan: &FullScan| scan.basis == basis).unwrap_or_else(fresh);
            let began = Since::time(scan.started, now());
            last = Some(began);
            let round = Round::new(settings, brief, scan.started, began.plus(settings.full_every));
            let end = self.full_scan(round, &mut scan);
            unfinished = end.is_err().then_some(scan);
            match end {
                Ok(()) | Err(Halt::Changed) => {}
                Err(Halt::Ending) => break,
                Err(Halt::Failed(error)) => {
                    self.put_up_with(error)?;
                    self.patrol.rest_until(Instant::now() + RETRY, settings.version);
                }
            }
        }
        Ok(())
    }

    /// A full scan, or the rest of one, slice by slice. Between two slices nothing is open, so that what is scanned can be
    /// unmounted.
    fn full_scan(&self, mut round: Round, scan: &mut FullScan) -> Result<(), Halt> {
        let Settings { cpu_budget, version, full_every, .. } = round.settings;
        let pace = Mutex::new(Pace::new(cpu_budget, &Own(self.patrol, version)));
        let slices =
            Slices::of(self.store, &round.brief.baseline, &|| lock(&pace).keep(&Own(self.patrol, version)))?;
        let done = slices.from(scan.next.as_ref()).before;
        let schedule = Schedule::new(Instant::now(), full_every.mul_f64(SPREAD), done, slices.total);
        self.queue.say(Word::Step(Vec::new(), Step::Went(scan.clone())));
        let mut is_first = true;
        loop {
            let Slice { stretch, before } = slices.from(scan.next.as_ref());
            let before = before.saturating_sub(done);
            self.rest_until(schedule.at(before), version)?;
            let next = stretch.to.clone();
            let ahead = Ahead { schedule, before, allowed: slices.each };
            let part = self.part(&mut round, stretch, std::mem::take(&mut is_first), &pace, Some(ahead))?;
            scan.checked = scan.checked.saturating_add(part.checked);
            scan.errors = scan.errors.saturating_add(part.troubles.len() as u64);
            scan.bytes = scan.bytes.saturating_add(part.bytes);
            scan.next = next;
            if scan.next.is_none() {
                let record = self.record(&round, scan.checked, scan.errors, scan.bytes)?;
                self.queue.say(Word::Step(part.troubles, Step::Ended(self.kind, record)));
                return Ok(());
            }
            self.queue.say(Word::Step(part.troubles, Step::Went(scan.clone())));
        }
    }

    /// Looks at one stretch, and hands what it found to the engine until all of it is recorded.
    fn part(
        &self,
        round: &mut Round,
        stretch: Stretch,
        is_first: bool,
        pace: &Mutex<Pace>,
        ahead: Option<Ahead>,
    ) -> Result<Part, Halt> {
        let is_full = self.kind == ScanKind::Full;
        let version = round.settings.version;
        let progress = Progress::default();
        let brief = &round.brief;
        let findings = Mutex::new(self.store.findings()?);
        let scan = Scan {
            store: self.store,
            baseline: &brief.baseline,
            export: None,
            newest: brief.baseline.generation,
            coverage: &brief.coverage,
            progress: &progress,
            findings: &findings,
        };
        let request = Request {
            targets: brief.targets.clone(),
            quick: !is_full,
            source: Source::Scan,
            cause: self.cause().to_owned(),
            set: None,
            speaks_of_coverage: is_first,
            written: None,
        };
        // Everything on this thread: its processor time is what is measured.
        let mut options = Options { threads: Some(1), ..brief.options };
        options.hashing.from_disk = is_full;
        let own = Own(self.patrol, version);
        let is_late = AtomicBool::new(false);
        let breathe = || {
            lock(pace).keep(&own);
            if let Some(ahead) = &ahead {
                let done =
                    work(progress.entries.load(Ordering::Relaxed), progress.bytes.load(Ordering::Relaxed));
                own.rest_until(ahead.until(done));
            }
            if self.patrol.go_on(version, is_full) != Rest::Over {
                progress.stop.store(true, Ordering::Relaxed);
            }
            // Somebody who keeps all processors busy must not put scans off for good.
            if Instant::now() >= round.late && !is_late.swap(true, Ordering::Relaxed) {
                priority::ordinary();
            }
        };
        let looked = check::survey(scan, &request, &options, Manner { stretch: &stretch, breathe: &breathe });
        let survey = looked.map_err(|error| self.halt(error, version));
        let (late, mut part) = (is_late.load(Ordering::Relaxed), Part::default());
        let handed = survey.and_then(|mut survey| {
            part.troubles = std::mem::take(&mut survey.troubles);
            part.checked = survey.checked;
            self.hand_over(round.settings.version, &mut round.set, &mut survey, &mut part.troubles)
        });
        if late {
            priority::idle();
        }
        part.bytes = progress.bytes.load(Ordering::Relaxed);
        handed.map(|()| part)
    }

    /// Hands what a survey found to the engine, some at a time.
    fn hand_over(
        &self,
        version: u64,
        set: &mut Option<SetId>,
        survey: &mut Survey<'_>,
        troubles: &mut Vec<Trouble>,
    ) -> Result<(), Halt> {
        let mut known: BTreeSet<(Option<RawPath>, String)> = BTreeSet::new();
        let key = |trouble: &Trouble| (trouble.path.clone(), trouble.message.clone());
        known.extend(troubles.iter().map(key));
        loop {
            let paths = survey.next(MANY)?;
            if paths.is_empty() {
                return Ok(());
            }
            let places: Vec<Place> = paths.into_iter().map(|path| Place { path, deep: false }).collect();
            loop {
                let (answer, answered) = mpsc::channel();
                let (places, cause) = (places.clone(), self.cause());
                if !self.queue.say(Word::Found(Found { places, cause, set: *set, answer })) {
                    return Err(Halt::Ending);
                }
                let Ok(recorded) = answered.recv() else { return Err(Halt::Ending) };
                if recorded.is_recorded {
                    *set = set.or(recorded.set);
                    troubles.extend(recorded.troubles.into_iter().filter(|one| known.insert(key(one))));
                    break;
                }
                self.rest_until(Instant::now() + AGAIN, version)?;
            }
        }
    }

    /// Rests within a scan.
    fn rest_until(&self, at: Instant, version: u64) -> Result<(), Halt> {
        match self.patrol.rest_until(at, version) {
            Rest::Over => Ok(()),
            Rest::Changed => Err(Halt::Changed),
            Rest::Ending => Err(Halt::Ending),
        }
    }

    fn cause(&self) -> &'static str {
        match self.kind {
            ScanKind::Quick => "found by a scheduled quick scan",
            ScanKind::Full => "found by a scheduled full scan",
        }
    }

    /// What is to be scanned now; `None` when all ends.
    fn brief(&self) -> Option<Brief> {
        let (answer, answered) = mpsc::channel();
        self.queue.say(Word::Begin(answer)).then(|| answered.recv().ok()).flatten()
    }

    /// Why a survey has ended early.
    fn halt(&self, error: EngineError, version: u64) -> Halt {
        match (error, self.patrol.go_on(version, false)) {
            (EngineError::Stopped, Rest::Ending) => Halt::Ending,
            (EngineError::Stopped, _) => Halt::Changed,
            (error, _) => Halt::Failed(error),
        }
    }

    /// What a database says that is full, or locked by somebody, passes; it is told.
    fn put_up_with(&self, error: EngineError) -> Result<(), EngineError> {
        match error {
            EngineError::Store(error) if is_passing(&error) => {
                let message = format!("a scheduled scan could not go on, and is tried again: {error}");
                self.queue.say(Word::Step(vec![Trouble { path: None, message }], Step::None));
                Ok(())
            }
            error => Err(error),
        }
    }

    /// For `status`; `None` for a scan of a part.
    fn record(
        &self,
        round: &Round,
        checked: u64,
        errors: u64,
        bytes: u64,
    ) -> Result<Option<ScanRecord>, StoreError> {
        if !round.brief.targets.is_empty() {
            return Ok(None);
        }
        let outcome = match (errors, self.store.count_open()?.iter().any(|count| *count > 0)) {
            (1.., _) => "incomplete",
            (0, true) => "changed",
            (0, false) => "intact",
        };
        let outcome = outcome.to_owned();
        Ok(Some(ScanRecord { started: round.started, ended: now(), outcome, checked, errors, bytes }))
    }
}

impl Round {
    fn new(settings: Settings, brief: Brief, started: Timestamp, late: Instant) -> Round {
        Round { settings, brief, set: None, started, late }
    }
}

/// Keeps a slice that turns out larger than one should be to the schedule.
struct Ahead {
    schedule: Schedule,
    /// The work before the slice.
    before: u64,
    /// How much work may be done in one go.
    allowed: u64,
}

impl Ahead {
    /// When so much work in this slice should not be done before.
    fn until(&self, done: u64) -> Instant {
        self.schedule.at(self.before.saturating_add(done).saturating_sub(self.allowed))
    }
}

/// The hash of everything that decides what a full scan looks at, and what it is held against. Times and shares do not.
fn basis(coverage: &Coverage, targets: &[Place], baseline: &Baseline) -> Digest {
    let default = waxseal_policy::Scan::default();
    let mut config = coverage.config().clone();
    config.scan.quick_every = default.quick_every;
    config.scan.full_every = default.full_every;
    config.scan.cpu_budget = default.cpu_budget;
    let text = format!("{:?}\n{targets:?}\n{}", baseline.stored.root, waxseal_policy::show(&config));
    waxseal_ledger::rules_hash(&text)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
