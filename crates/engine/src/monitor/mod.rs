//! The monitor: hints in, recorded changes out.
//!
//! One thread reads the kernel's events and only puts them into a bounded queue; one engine thread takes
//! them from there, looks, compares and records. Scheduled scans run beside it and hand it what they find. Overflow, lost marks, mounts and the start itself are one code path:
//! check what is affected against the baseline.

mod approvals;
mod blindness;
mod clock;
mod control;
mod engine;
mod haste;
mod heartbeat;
mod journal;
mod objects;
mod own;
mod pace;
mod patrol;
mod queue;
mod reader;
mod reload;
mod scanner;
mod slices;
mod touched;
mod undo;
mod word;

use crate::coverage::Coverage;
use crate::error::EngineError;
use crate::seal::Trouble;
use control::{Desk, Door};
use engine::Engine;
use patrol::Patrol;
use queue::Queue;
use scanner::Scanner;
use std::sync::Arc;
use waxseal_model::{Actor, ActorSource, Change, RawPath, Timestamp};
use waxseal_observe::Options;
use waxseal_observe::actors::Describer;
use waxseal_observe::guard::{Bell, Guard};
use waxseal_observe::process::Processes;
use waxseal_observe::watch::{self as watcher, WatchRoot, Watcher};
use waxseal_store::{Baseline, ScanKind, Store};

/// How it is known who makes a change.
#[derive(Debug, Clone)]
pub struct KnownBy {
    /// The source.
    pub source: ActorSource,
    /// Better ones that could not be had, and why.
    pub refused: Vec<(ActorSource, String)>,
}

/// What a monitor tells, in the order in which it became true. Changes are recorded before they are told.
#[derive(Debug)]
pub enum Event {
    /// From now on nothing can be missed any more.
    Ready {
        /// What watches what.
        coverage: Vec<watcher::Coverage>,
        /// How many entries the baseline holds.
        watching: u64,
        /// How it is known who makes a change; `None` where events name no process.
        actors: Option<KnownBy>,
    },
    /// A change was opened, or an open one moved again.
    Changed(Box<Change>),
    /// A changed path is back in its baseline state.
    Resolved(Box<Change>),
    /// A change was approved: what is there is the baseline now.
    Approved(Box<Change>),
    /// What was sealed was put back by itself, since the watch says `restore = "auto"`.
    Restored(Box<Change>),
    /// A baseline was sealed, and is the one that holds from now on.
    Sealed(Arc<Baseline>),
    /// Something was there and is gone, and was never sealed; with who did it, as far as that is known, the newest last.
    Touched(RawPath, Vec<Actor>),
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
    /// The monitor is alive; that is on record.
    Heartbeat(Box<Heartbeat>),
    /// The clock was set, by so many microseconds: back, when negative. Times on record before and after do not compare.
    Clock(i64),
    /// The config was read again. When it is refused, the old one stays; when it is applied, what it covers anew is
    /// looked at next.
    Config(Result<Applied, String>),
}

/// What a monitor says of itself from time to time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heartbeat {
    /// When it was recorded.
    pub time: Timestamp,
    /// How many entries the baseline holds.
    pub watching: u64,
    /// How many changes are open.
    pub open: u64,
    /// What watches, several joined by `+`.
    pub backend: String,
    /// The checkpoint of the log with it, a signed note.
    pub checkpoint: String,
}

/// A config that was applied while the monitor runs.
#[derive(Debug)]
pub struct Applied {
    /// What watches what now.
    pub coverage: Vec<watcher::Coverage>,
    /// How many watches there are.
    pub watches: usize,
}

/// What a config says.
#[derive(Debug)]
pub struct Rules {
    /// What is watched, and by which rules.
    pub coverage: Coverage,
    /// How contents are hashed.
    pub options: Options,
}

/// Reads the config again, and checks it whole. It is told whether somebody asked for it; when nobody did, and the config
/// is the same as when it was last called, the answer is `None`. An error is a text for people.
pub type Load<'a> = &'a mut dyn FnMut(bool) -> Result<Option<Rules>, String>;

/// Verifies the seal of a baseline; an error says for people what is broken.
pub type Trust<'a> = &'a dyn Fn(&Baseline) -> Result<(), String>;

/// What a monitor works on.
pub struct Monitor<'a> {
    /// Where changes are recorded.
    pub store: &'a Store,
    /// What the disk is held against.
    pub baseline: Baseline,
    /// Whether a baseline that was sealed while it runs is to be trusted; otherwise why not, for people.
    pub trust: Trust<'a>,
    /// What is watched, by which rules, and how contents are hashed.
    pub rules: Rules,
    /// Only these places; everything that is covered when empty.
    pub only: Vec<RawPath>,
}

/// Steers a running monitor from other threads.
#[derive(Debug, Clone)]
pub struct Handle(Arc<Queue>, watcher::Waker);

impl Handle {
    /// Asks the monitor to end; what is queued before is still looked at.
    pub fn stop(&self) {
        self.0.end();
        self.1.wake();
    }

    /// Has the config read again: because somebody `asked` for it, or because it may have changed. Any number of calls
    /// before the monitor gets to it are one.
    pub fn reload(&self, asked: bool) {
        self.0.add_rest(|work| work.reload = Some(asked || work.reload == Some(true)));
    }
}

/// How many events the kernel holds for us: 128 bytes of its memory each when they are there.
const QUEUE_LIMIT: usize = 262_144;

/// A started watch that nobody has looked at yet.
pub struct Started<'a> {
    monitor: Monitor<'a>,
    watcher: Watcher,
    /// Tells who wrote.
    describer: Arc<Describer>,
    queue: Arc<Queue>,
    /// Where commands reach it.
    door: Door,
    /// Why it cannot be reached yet.
    unreachable: Option<std::io::Error>,
    /// Over the state directory; or why there is none.
    guard: Result<Guard, std::io::Error>,
}

impl<'a> Monitor<'a> {
    /// Begins to watch. Whatever changes from now on will be looked at once [`Started::run`] is called. The caller holds
    /// the lock of the state directory: commands are listened to there.
    ///
    /// # Errors
    /// When nothing can be watched.
    pub fn start(self) -> Result<Started<'a>, EngineError> {
        let roots = roots_of(&self.rules.coverage);
        // Before the watch: whoever causes an event is on record then.
        let audit_rules = self.rules.coverage.config().actors.audit_rules;
        let processes = Processes::start(audit_rules).or_else(|_| Processes::without_record());
        let processes = processes.map_err(|error| EngineError::Watch(error.to_string()))?;
        let options = watcher::Options {
            queue_limit: QUEUE_LIMIT,
            canary_dir: Some(self.store.dir().path().to_path_buf()),
            ignored: self.rules.coverage.own().to_vec(),
            own_files: self.store.dir().written().into(),
            pidfds: processes.wants_pidfds(),
        };
        let watcher =
            Watcher::start(&roots, options).map_err(|error| EngineError::Watch(error.to_string()))?;
        let (door, unreachable) = Door::new(self.store.dir());
        let describer = Arc::new(Describer::new(Arc::new(processes)));
        let queue = Arc::default();
        let guard = Guard::new(self.store.dir().path(), &self.store.dir().written());
        Ok(Started { monitor: self, watcher, describer, queue, door, unreachable, guard })
    }
}

impl Started<'_> {
    /// What steers it.
    pub fn handle(&self) -> Handle {
        Handle(Arc::clone(&self.queue), self.watcher.waker())
    }

    /// Checks what happened while nobody watched, then follows the events until it is stopped.
    ///
    /// # Errors
    /// When the baseline cannot be read.
    pub fn run(self, load: Load<'_>, tell: &mut dyn FnMut(Event)) -> Result<(), EngineError> {
        let Started { monitor, watcher, describer, queue, door, unreachable, guard } = self;
        let processes = describer.processes();
        let coverage = watcher.coverage().to_vec();
        let waker = watcher.waker();
        if let Some(error) = unreachable {
            let again =
                if error.kind() == std::io::ErrorKind::Unsupported { "" } else { ", which is tried again" };
            let message =
                format!("commands cannot reach this monitor, its socket cannot be made{again}: {error}");
            tell(Event::Trouble(Trouble { path: None, message }));
        }
        let guard = match guard {
            Ok(guard) => Some(guard),
            Err(error) if error.kind() == std::io::ErrorKind::Unsupported => None,
            Err(error) => {
                let message = format!("Waxseal's own files cannot be guarded: {error}");
                tell(Event::Trouble(Trouble { path: None, message }));
                None
            }
        };
        let bell = guard.as_ref().map(Guard::bell);
        let patrol = Patrol::default();
        let store = monitor.store;
        let own = monitor.rules.coverage.own().first().cloned();
        let own = own.zip(guard).map(|(dir, guard)| (own::Files::new(store, &describer, dir), guard));
        let mut engine = Engine::new(monitor, &queue, &waker, &patrol, &describer, load, tell)?;
        engine.guard.clone_from(&bell);
        let desk = Desk { queue: Arc::clone(&queue), waker: waker.clone() };
        std::thread::scope(|scope| {
            let reading =
                thread("events").spawn_scoped(scope, || reader::read_events(watcher, &queue, &describer));
            let knowing = thread("executables").spawn_scoped(scope, || {
                let late = || queue.add_rest(|work| work.facts = true);
                describer.executables().serve(&late);
            });
            let recording = thread("processes").spawn_scoped(scope, || processes.serve());
            let serving = thread("control").spawn_scoped(scope, || door.serve(&desk));
            let queue_of_own = &queue;
            let guarding = own.map_or(Ok(()), |(files, guard)| {
                let serve = move || files.serve(guard, queue_of_own);
                thread("own-files").spawn_scoped(scope, serve).map(drop)
            });
            let serving = serving.map(drop).and(guarding);
            let scanning =
                [("quick-scan", ScanKind::Quick), ("full-scan", ScanKind::Full)].map(|(name, kind)| {
                    let scanner = Scanner { kind, store, queue: &queue, patrol: &patrol };
                    thread(name).spawn_scoped(scope, move || scanner.run()).map(drop)
                });
            let reading = reading.map(drop).and(recording.map(drop)).and(knowing.map(drop));
            let began = scanning.into_iter().fold(reading.and(serving), |all, one| all.and(one));
            let began = began.map_err(|error| EngineError::Watch(error.to_string()));
            let result = began.and_then(|()| engine.follow(coverage));
            engine.record_stop(
                &result.as_ref().map_or_else(EngineError::to_string, |()| "asked to end".into()),
            );
            bell.iter().for_each(Bell::end);
            patrol.end();
            queue.end();
            queue.close();
            waker.wake();
            processes.end();
            describer.executables().end();
            door.close();
            result
        })
    }
}

fn thread(name: &str) -> std::thread::Builder {
    std::thread::Builder::new().name(name.into()).stack_size(512 * 1024)
}

/// What is to be watched for a coverage.
fn roots_of(coverage: &Coverage) -> Vec<WatchRoot> {
    let root = |root: &crate::coverage::Root| WatchRoot {
        path: root.path.clone(),
        cross_filesystems: coverage.watch(root).cross_filesystems,
    };
    coverage.roots().iter().map(root).collect()
}
