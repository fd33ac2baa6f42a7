//! Torture: writers do everything that can be done to files, the monitor is stopped, overrun and killed, and in the
//! end its record must say of every path what an independent walk of the disk says.
//!
//! In: a filesystem, a seed, how long. Out: what was done, and every difference between record and disk. What a writer
//! does is determined by the seed; in which order the writers get to it is not.

mod compare;
mod ground;
mod monitor;
mod operations;
mod rng;
mod walk;

use crate::machine::Machine;
use crate::{Fs, Mounted, skip, tools};
use compare::Disk;
use ground::Ground;
use monitor::{Counts, Mode, Monitor};
use operations::{Mapper, OPERATIONS, Writer};
use rng::Rng;
use rustix::process::Signal;
use serde_json::Value;
use std::fmt;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::{Duration, Instant};

/// How many write at once.
const WRITERS: usize = 3;
/// How many operations a writer does before it says so.
const TICK: u64 = 64;
/// How many events the kernel keeps for a listener that may not ask for more.
const USUAL_QUEUE: u64 = 16_384;
/// How many the monitor asks for.
const FULL_QUEUE: u64 = 262_144;

/// How long the monitor may take to catch up with all that happened: on a loaded machine, a debug build needs minutes for
/// a full queue and the scan after it.
const SETTLES_WITHIN: Duration = Duration::from_secs(1200);

/// How long the writers write, before the last overflow.
#[derive(Debug, Clone, Copy)]
pub enum Length {
    /// Until they have done so many operations.
    Operations(u64),
    /// So long.
    Time(Duration),
}

/// One run.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// On which filesystem.
    pub fs: Fs,
    /// Determines what the writers do.
    pub seed: u64,
    /// How long.
    pub length: Length,
    /// How many names of files there are at least.
    pub names: usize,
    /// Every how many of them there is a file when the baseline is sealed.
    pub sealed_every: usize,
    /// Whether the monitor is killed and started again now and then.
    pub restarts: bool,
    /// Whether it has the queue that it asks for; if not, the kernel's usual one, which overflows sooner.
    pub full_queue: bool,
    /// Whether the monitor scans again what it was blind for. Without it the record must be wrong: that is the control.
    pub reconcile: bool,
}

/// What a run came to.
#[derive(Debug)]
pub struct Outcome {
    /// The filesystem.
    pub fs: Fs,
    /// The seed.
    pub seed: u64,
    /// Operations that succeeded, by name.
    pub operations: Vec<(&'static str, u64)>,
    /// How often the kernel said that events were lost.
    pub overflows: u64,
    /// How often the monitor scanned again for another reason.
    pub other_rescans: u64,
    /// How often the monitor was stopped (SIGSTOP) and continued.
    pub stalls: u64,
    /// How often it was killed and started again.
    pub restarts: u64,
    /// Paths on the disk at the end.
    pub paths: usize,
    /// Open changes at the end.
    pub changes: usize,
    /// Places of which the monitor said that it could not look at them.
    pub errors: u64,
    /// What is wrong with the record.
    pub differences: Vec<String>,
    /// How long it took in all.
    pub took: Duration,
}

impl Outcome {
    /// How many operations succeeded.
    pub fn total(&self) -> u64 {
        self.operations.iter().map(|(_, count)| count).sum()
    }

    /// Operations that never succeeded: the run proves nothing about them.
    pub fn never_done(&self) -> Vec<&'static str> {
        self.operations.iter().filter(|(_, count)| *count == 0).map(|(name, _)| *name).collect()
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:<6} seed {:<6} {:>8} operations, {} stalls, {} overflows, {} other rescans, {} restarts, {} paths, {} \
             changes, {} errors, {} differences, {} s",
            format!("{:?}", self.fs).to_lowercase(),
            self.seed,
            self.total(),
            self.stalls,
            self.overflows,
            self.other_rescans,
            self.restarts,
            self.paths,
            self.changes,
            self.errors,
            self.differences.len(),
            self.took.as_secs()
        )
    }
}

/// Runs the torture once.
///
/// # Errors
/// Why it cannot be done here: no right to mount, a tool that is missing.
pub fn run(options: &Options) -> Result<Outcome, String> {
    let began = Instant::now();
    let mounted = Mounted::roomy(options.fs)?;
    let (tree, outside) = (mounted.root().join("tree"), mounted.root().join("outside"));
    fs::create_dir(&tree).map_err(|error| error.to_string())?;
    let machine = Machine::with_tree(&tree);
    let ground = Ground::new(tree.clone(), outside, options.names);
    ground.furnish(options.sealed_every, &mut Rng::new(options.seed)).map_err(|error| error.to_string())?;
    // Nothing but events, and the scans that are due when events were lost.
    machine.watch_tree("[scan]\nquick_every = \"7d\"\nfull_every = \"7d\"");
    machine.init();
    let before = walk::walk(&tree).map_err(|error| error.to_string())?;
    let mut session = Session::begin(&machine, *options, &ground);
    session.disturb();
    session.overflow_at_the_end();
    let after = session.settle(&tree);
    let changes = open_changes(&machine);
    let differences = compare::differences(&before, &after, &changes);
    session.monitor.take().expect("a monitor").stop();
    let counts = &session.counts;
    let count = |count: &std::sync::atomic::AtomicU64| count.load(Ordering::Relaxed);
    Ok(Outcome {
        fs: options.fs,
        seed: options.seed,
        operations: session.done.clone(),
        overflows: count(&counts.overflows),
        other_rescans: count(&counts.other_rescans),
        stalls: session.stalls,
        restarts: session.restarts,
        paths: after.len(),
        changes: changes.len(),
        errors: count(&counts.errors),
        differences,
        took: began.elapsed(),
    })
}

/// The open changes, as the command prints them.
fn open_changes(machine: &Machine) -> Vec<Value> {
    let output = machine.waxseal(["--json", "changes"]);
    assert_eq!(output.code, Some(1), "{}", output.stderr);
    // Not held against the schemas, as other tests do: these are too many.
    let lines =
        output.text().lines().map(|line| serde_json::from_str::<Value>(line).expect("a line of JSON"));
    lines.filter(|line| line["type"] == "change").collect()
}

/// The program that stores through memory maps, if it can be had.
fn mapper(machine: &Machine) -> Option<std::path::PathBuf> {
    let program = machine.home().join("map_store");
    let built = tools::compile(include_str!("../../c/map_store.c"), &program);
    built.map_err(|why| skip(&format!("no stores through memory maps: {why}"))).ok()?;
    Some(program)
}

/// Writers at work, and the monitor.
struct Session<'a> {
    machine: &'a Machine,
    options: Options,
    rng: Rng,
    counts: Arc<Counts>,
    monitor: Option<Monitor>,
    stop: Arc<AtomicBool>,
    ticks: Receiver<()>,
    writers: Vec<std::thread::JoinHandle<Vec<u64>>>,
    done: Vec<(&'static str, u64)>,
    stalls: u64,
    restarts: u64,
}

impl<'a> Session<'a> {
    fn begin(machine: &'a Machine, options: Options, ground: &Ground) -> Self {
        let counts = Arc::default();
        let monitor = Monitor::start(machine, mode(&options), &counts);
        monitor.wait_until_ready();
        let stop = Arc::new(AtomicBool::new(false));
        let (sender, ticks) = mpsc::channel();
        let program = mapper(machine);
        let writer = |number| {
            let mapper = program.as_deref().map(|program| Mapper::start(program).expect("the mapper starts"));
            let writer = Writer::new(ground.clone(), options.seed, number, mapper);
            let (stop, sender) = (Arc::clone(&stop), sender.clone());
            std::thread::spawn(move || write(writer, &stop, &sender))
        };
        let writers = (0..WRITERS).map(writer).collect();
        let rng = Rng::new(options.seed ^ 0x5eed);
        let (done, monitor) = (Vec::new(), Some(monitor));
        Self { machine, options, rng, counts, monitor, stop, ticks, writers, done, stalls: 0, restarts: 0 }
    }

    /// Waits until the writers have done so many operations more.
    fn let_write(&self, operations: u64) {
        // What they did while nobody waited does not count.
        while self.ticks.try_recv().is_ok() {}
        for _ in 0..operations.div_ceil(TICK) {
            self.ticks.recv().expect("the writers are at work");
        }
    }

    /// Whether it is to be over soon: what takes the time is the monitor, which has to look at all that happened.
    fn is_short(&self) -> bool {
        matches!(self.options.length, Length::Operations(_))
    }

    fn queue(&self) -> u64 {
        if self.options.full_queue { FULL_QUEUE } else { USUAL_QUEUE }
    }

    /// Lets the writers write, and the monitor stumble: stopped for a while, with or without an overflow; killed, and
    /// started again; killed before it was ready.
    fn disturb(&mut self) {
        let deadline = match self.options.length {
            Length::Time(time) => Some(Instant::now() + time),
            Length::Operations(_) => None,
        };
        let mut left = match self.options.length {
            Length::Operations(count) => count,
            Length::Time(_) => u64::MAX,
        };
        while left > 0 && deadline.is_none_or(|deadline| Instant::now() < deadline) {
            let step = (500 + self.rng.next() % 5000).min(left);
            let kind = self.rng.below(6);
            left -= step;
            match kind {
                0 | 1 if self.options.reconcile => self.stall(step * self.queue() / USUAL_QUEUE),
                2 if self.options.restarts => self.restart(step),
                _ => self.let_write(step),
            }
        }
    }

    fn stall(&mut self, operations: u64) {
        let monitor = self.monitor.as_ref().expect("a monitor");
        monitor.signal(Signal::STOP);
        // From a part of the queue to more than it holds: an operation makes two events and more.
        self.let_write(operations * if self.is_short() { 2 } else { 4 });
        self.monitor.as_ref().expect("a monitor").signal(Signal::CONT);
        self.stalls += 1;
    }

    fn restart(&mut self, operations: u64) {
        self.monitor.take().expect("a monitor").kill();
        self.restarts += 1;
        self.let_write(operations);
        // Not while it may have changed the system's limit.
        if !self.options.full_queue && self.rng.once_in(3) {
            let early = Monitor::start(self.machine, mode(&self.options), &self.counts);
            self.let_write(operations / 4);
            early.kill();
            self.restarts += 1;
        }
        let monitor = Monitor::start(self.machine, mode(&self.options), &self.counts);
        monitor.wait_until_ready();
        self.monitor = Some(monitor);
    }

    /// More than the queue holds while the monitor is stopped; and nothing more is written after that, which would
    /// heal what was missed.
    fn overflow_at_the_end(&mut self) {
        self.monitor.as_ref().expect("a monitor").signal(Signal::STOP);
        let queue = self.queue();
        // An operation makes two events and more; that it was enough is seen in the control.
        self.let_write(if self.is_short() { queue / 4 * 3 } else { queue * 2 });
        self.stop.store(true, Ordering::Relaxed);
        let mut done = vec![0; OPERATIONS.len()];
        for writer in self.writers.drain(..) {
            let counts = writer.join().expect("a writer");
            done.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        }
        self.done = OPERATIONS.iter().map(|(name, ..)| *name).zip(done).collect();
        self.monitor.as_ref().expect("a monitor").signal(Signal::CONT);
        self.stalls += 1;
    }

    /// Waits until everything is on record, and looks at the disk.
    fn settle(&self, tree: &Path) -> Disk {
        let output = self.machine.start(["sync"]).finish(SETTLES_WITHIN);
        assert_eq!(output.code, Some(0), "{output:?}");
        walk::walk(tree).expect("nobody writes any more")
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        // Also when the run fails: the writers must not write on.
        self.stop.store(true, Ordering::Relaxed);
        for writer in self.writers.drain(..) {
            let _ = writer.join();
        }
    }
}

fn mode(options: &Options) -> Mode {
    Mode { full_queue: options.full_queue, reconcile: options.reconcile }
}

/// Writes until told to stop; how often each operation succeeded.
fn write(mut writer: Writer, stop: &AtomicBool, ticks: &Sender<()>) -> Vec<u64> {
    let mut done = vec![0; OPERATIONS.len()];
    let mut since = 0;
    while !stop.load(Ordering::Relaxed) {
        let (index, succeeded) = writer.step();
        done[index] += u64::from(succeeded);
        since += u64::from(succeeded);
        if since == TICK {
            since = 0;
            let _ = ticks.send(());
        }
    }
    done
}
