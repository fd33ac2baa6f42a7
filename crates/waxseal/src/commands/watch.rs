//! `watch`: the monitor, in the foreground.

mod config_file;

use crate::Exit;
use crate::args::WatchArgs;
use crate::commands::add::add;
use crate::commands::init;
use crate::commands::status::in_use;
use crate::context::{Context, absolute_all, scan_options};
use crate::output::report::{write_actors, write_change};
use crate::output::voices::Voices;
use crate::output::{describe, json_line, say, style, warn};
use crate::publish;
use serde_json::Value;
use std::cell::RefCell;
use std::io::Write;
use std::time::Duration;
use waxseal_engine::monitor::{Applied, Event, Heartbeat, KnownBy, Monitor, Rules};
use waxseal_engine::trust;
use waxseal_ledger::Checkpoint;
use waxseal_ledger::note::UnverifiedNote;
use waxseal_model::json::{self, Object};
use waxseal_model::{Actor, Change, RawPath, Timestamp, escape};
use waxseal_os::signals::{Request, Signals};
use waxseal_os::{clock, limits, watcher};
use waxseal_store::{Baseline, Lock, StateDir, Store, StoreError};

/// How long the monitor waits for another program that holds the database, before it says that it is blind. A check needs
/// it for much less, also one that has found a hundred thousand changes.
const PATIENCE: Duration = Duration::from_secs(5);

/// Watches until it is told to end.
pub fn run(args: &WatchArgs, context: &Context) -> anyhow::Result<Exit> {
    let signals = Signals::block();
    let only = absolute_all(&args.paths)?;
    let store = match StateDir::open(&context.state_path, limits::effective_uid()) {
        Ok(dir) if dir.has_database() => Store::open_to_read(&dir)?,
        Ok(_) | Err(StoreError::NoState(_)) if !only.is_empty() => {
            init::seal(&only, args.key.as_deref(), false, context)?.store
        }
        Ok(dir) => Store::open(&dir)?,
        Err(error) => return Err(error.into()),
    };
    if store.is_read_only() {
        let hint = "a monitor records what it sees: make it writable, or use `waxseal check`";
        anyhow::bail!("{}; {hint}", StoreError::ReadOnly(context.state_path.clone()));
    }
    let since = clock::now();
    let mut holder = Holder::starting(since);
    let mut lock = Lock::take(store.dir(), &holder.line(true)).map_err(in_use)?;
    let mut text = context.config_text()?;
    let mut coverage = context.coverage(context.parse(&text)?);
    let uncovered: Vec<RawPath> =
        only.iter().filter(|path| coverage.owner(path).is_none()).cloned().collect();
    if !uncovered.is_empty() {
        add(&uncovered, args.key.as_deref(), args.yes, &store, context)?;
        text = context.config_text()?;
        coverage = context.coverage(context.parse(&text)?);
    }
    let store = store.with_patience(PATIENCE)?;
    let baseline = store.current_baseline()?;
    context.guarded_state_dir()?;
    let voices = Voices::begin(context.json)?;
    let teller = Teller { context, since: since.to_string(), voices: &voices };
    let seal = context.seal_keys(store.dir());
    if let Err(error) = seal.and_then(|keys| trust::verify(&baseline, &keys).map_err(anyhow::Error::msg)) {
        teller
            .trouble(None, &format!("the baseline's seal is broken: {error:#}; watching goes on, untrusted"));
    }
    let mut ledger = coverage.config().ledger.clone();
    let rules = Rules { options: scan_options(coverage.config()), coverage };
    let trust = |baseline: &Baseline| {
        let keys = context.seal_keys(store.dir()).map_err(|error| format!("{error:#}"))?;
        trust::verify(baseline, &keys).map(drop)
    };
    let monitor = Monitor { store: &store, baseline, trust: &trust, rules, only };
    let started = monitor.start()?;
    let handle = started.handle();
    config_file::follow(&context.config_path, handle.clone());
    // Ends with the process: nobody waits for a signal that never comes.
    std::thread::Builder::new().name("signals".into()).stack_size(64 * 1024).spawn(move || {
        loop {
            match signals.wait() {
                Request::End => handle.stop(),
                Request::Reload => handle.reload(true),
            }
        }
    })?;
    let mut publisher = publish::begin(&store, &ledger)?;
    let mut loader = config_file::Loader::new(context, text);
    // Where checkpoints go by the config that was read last; it counts when that is applied.
    let read = RefCell::new(None);
    let mut load = |asked| {
        let rules = loader.load(asked)?;
        read.replace(rules.as_ref().map(|rules: &Rules| rules.coverage.config().ledger.clone()));
        Ok(rules)
    };
    let result = started.run(&mut load, &mut |event| {
        if holder.note(&event) {
            // The shorter one where the disk has no room for more.
            let _ = lock.describe(&holder.line(false)) || lock.describe(&holder.line(true));
        }
        if matches!(event, Event::Config(Ok(_)))
            && let Some(now) = read.take()
            && now != ledger
        {
            publisher.replace(now.publish_every, publish::places(&now));
            ledger = now;
        }
        teller.tell(event);
    });
    publisher.end(publish::LAST);
    result?;
    voices.end()?;
    Ok(Exit::Same)
}

/// What others learn of this monitor while it holds the lock.
struct Holder {
    since: Timestamp,
    backend: String,
    actors: Option<KnownBy>,
    coverage: Vec<watcher::Coverage>,
    /// Why nothing can be recorded, and since when.
    unrecorded: Option<(&'static str, Timestamp)>,
}

impl Holder {
    fn starting(since: Timestamp) -> Holder {
        Holder { since, backend: "starting".into(), actors: None, coverage: Vec::new(), unrecorded: None }
    }

    /// Takes note of what is told. Whether it is another line then.
    fn note(&mut self, event: &Event) -> bool {
        match event {
            Event::Ready { coverage, actors, .. } => {
                self.actors.clone_from(actors);
                self.set(coverage);
            }
            Event::Config(Ok(Applied { coverage, .. })) => self.set(coverage),
            Event::Blind { reason, .. } => self.unrecorded = Some((reason, clock::now())),
            Event::Sighted => self.unrecorded = None,
            _ => return false,
        }
        true
    }

    fn set(&mut self, coverage: &[watcher::Coverage]) {
        self.backend = backends(coverage);
        self.coverage = coverage.to_vec();
    }

    /// The line; without what watches where if that is too long to be read, or it is to be short.
    fn line(&self, is_short: bool) -> String {
        let mut object = Object::new();
        object.insert("pid".into(), std::process::id().into());
        object.insert("since".into(), self.since.to_string().into());
        object.insert("backend".into(), self.backend.clone().into());
        if let Some((reason, since)) = self.unrecorded {
            let mut unrecorded = Object::new();
            unrecorded.insert("reason".into(), reason.into());
            unrecorded.insert("since".into(), since.to_string().into());
            object.insert("unrecorded".into(), unrecorded.into());
        }
        put_source(&mut object, self.actors.as_ref());
        let short = json::line(&object);
        if is_short || self.coverage.is_empty() {
            return short;
        }
        put_coverage(&mut object, &self.coverage);
        let line = json::line(&object);
        if line.len() <= Lock::LONGEST_LINE { line } else { short }
    }
}

/// How it is known who makes a change, and why not by something better.
fn put_source(object: &mut Object, actors: Option<&KnownBy>) {
    let Some(KnownBy { source, refused }) = actors else { return };
    object.insert("actors".into(), source.name().into());
    let refused = refused.iter().map(|(source, why)| {
        let mut object = Object::new();
        object.insert("source".into(), source.name().into());
        object.insert("error".into(), why.clone().into());
        Value::from(object)
    });
    let refused: Vec<Value> = refused.collect();
    if !refused.is_empty() {
        object.insert("actors_refused".into(), refused.into());
    }
}

/// What watches where, and what only scans find.
fn put_coverage(object: &mut Object, coverage: &[watcher::Coverage]) {
    let parts = coverage.iter().map(|part| {
        let mut object = Object::new();
        json::put_path(&mut object, "path", part.place.as_bytes());
        object.insert("backend".into(), part.backend.name().into());
        Value::from(object)
    });
    object.insert("coverage".into(), parts.collect());
    object.insert("blind".into(), blind(coverage).into_iter().collect());
}

/// What only scans find, each once.
fn blind(coverage: &[watcher::Coverage]) -> Vec<&str> {
    let mut blind: Vec<&str> = coverage.iter().flat_map(|part| &part.blind).map(String::as_str).collect();
    blind.sort_unstable();
    blind.dedup();
    blind
}

/// The names of what watches, each once.
fn backends(coverage: &[watcher::Coverage]) -> String {
    let mut backends: Vec<&str> = coverage.iter().map(|part| part.backend.name()).collect();
    backends.sort_unstable();
    backends.dedup();
    backends.join("+")
}

/// Prints what the monitor tells.
struct Teller<'a> {
    context: &'a Context,
    since: String,
    voices: &'a Voices,
}

impl Teller<'_> {
    fn tell(&self, event: Event) {
        match event {
            Event::Ready { coverage, watching, actors } => self.ready(&coverage, watching, actors.as_ref()),
            Event::Changed(change) => self.changed(&change),
            Event::Resolved(change) => self.over("resolved", &change),
            Event::Approved(change) => self.over("approved", &change),
            Event::Restored(change) => self.over("restored", &change),
            Event::Sealed(baseline) => self.sealed(&baseline),
            Event::Touched(path, actors) => self.touched(&path, &actors),
            Event::Rescan { path, reason } => self.rescan(&path, reason),
            Event::Trouble(trouble) => self.trouble(trouble.path.as_ref(), &trouble.message),
            Event::Blind { reason, message } => self.blind(reason, &message),
            Event::Sighted => self.sighted(),
            Event::Heartbeat(heartbeat) => self.heartbeat(&heartbeat),
            Event::Clock(micros) => self.clock(micros),
            Event::Config(outcome) => self.config(&outcome),
        }
    }

    /// Has lines printed, in the order in which they are said.
    fn print(&self, write: impl FnOnce(&mut Vec<u8>) -> std::io::Result<()>) {
        let mut text = Vec::new();
        // Nothing fails that is written to memory.
        if write(&mut text).is_ok() {
            self.voices.print(text);
        }
    }

    fn object(&self, object: &Object) {
        self.print(|out| json_line(out, object));
    }

    fn ready(&self, coverage: &[watcher::Coverage], watching: u64, actors: Option<&KnownBy>) {
        let backend = backends(coverage);
        if self.context.json {
            let mut object = json::object("ready");
            object.insert("backend".into(), backend.into());
            object.insert("watching".into(), watching.into());
            put_source(&mut object, actors);
            put_coverage(&mut object, coverage);
            object.insert("since".into(), self.since.clone().into());
            return self.object(&object);
        }
        let entries = describe::counted(watching, "entry", "entries");
        say(self.context, &format!("watching {entries} with {backend}; end with Ctrl-C"));
        let who = actors.map_or("not known here", |by| describe::actor_source(by.source));
        say(self.context, &format!("who makes a change is {who}"));
        for (source, why) in actors.into_iter().flat_map(|by| &by.refused) {
            let why = escape::for_people(why.as_bytes());
            say(self.context, &format!("{} cannot be had here: {why}", describe::actor_source_name(*source)));
        }
        say(self.context, &format!("only scans find: {}", blind(coverage).join("; ")));
    }

    fn changed(&self, change: &Change) {
        if self.context.json {
            return self.object(&json::change(change));
        }
        self.print(|out| write_change(out, change));
    }

    /// A change is over, in this way.
    fn over(&self, how: &'static str, change: &Change) {
        if self.context.json {
            return self.object(&describe::over(how, change));
        }
        let (good, faint) = (style::GOOD, style::FAINT);
        self.print(|out| writeln!(out, "{good}{how}{good:#} {}  {faint}{}{faint:#}", change.path, change.id));
    }

    fn sealed(&self, baseline: &Baseline) {
        if self.context.json {
            return self.object(&describe::baseline(baseline.generation, &baseline.stored));
        }
        let who = escape::for_people(baseline.stored.who.as_bytes());
        say(self.context, &format!("baseline {} was sealed by {who} and is in force", baseline.generation));
    }

    fn touched(&self, path: &RawPath, actors: &[Actor]) {
        if self.context.json {
            let mut object = json::object("touched");
            json::put_path(&mut object, "path", path.as_bytes());
            json::put_actors(&mut object, actors);
            return self.object(&object);
        }
        let faint = style::FAINT;
        self.print(|out| {
            writeln!(out, "{faint}touched  {path}: it came and went{faint:#}")?;
            write_actors(out, actors)
        });
    }

    fn rescan(&self, path: &RawPath, reason: &str) {
        if self.context.json {
            let mut object = json::object("rescan");
            json::put_path(&mut object, "path", path.as_bytes());
            object.insert("reason".into(), reason.into());
            return self.object(&object);
        }
        let why = match reason {
            "mount" => "something was mounted or unmounted there",
            "reload" => "the config covers it now",
            "overflow" => "more happened than could be noted down: events were lost",
            "limit" => "the limit of inotify watches is reached: raise fs.inotify.max_user_watches",
            "backend" => "the way of watching it had to be changed",
            _ => "events of it were lost",
        };
        warn(&format!("{path} is scanned again: {why}"));
    }

    /// For people only where they want to hear more.
    fn heartbeat(&self, heartbeat: &Heartbeat) {
        let Heartbeat { time, watching, open, backend, checkpoint } = heartbeat;
        let note = UnverifiedNote::parse(checkpoint).ok();
        let covered = note.and_then(|note| Checkpoint::claimed(&note).ok());
        let leaves = covered.map_or(0, |covered| covered.size);
        if self.context.json {
            let mut object = json::object("heartbeat");
            object.insert("time".into(), time.to_string().into());
            object.insert("watching".into(), (*watching).into());
            object.insert("open".into(), (*open).into());
            object.insert("backend".into(), backend.clone().into());
            object.insert("leaves".into(), leaves.into());
            object.insert("checkpoint".into(), checkpoint.clone().into());
            return self.object(&object);
        }
        if self.context.verbose > 0 {
            let entries = describe::counted(*watching, "entry", "entries");
            let changes = describe::counted(*open, "change", "changes");
            let leaves = describe::counted(leaves, "leaf", "leaves");
            say(
                self.context,
                &format!("alive: watching {entries} with {backend}; {changes} open; {leaves} in the log"),
            );
        }
    }

    fn clock(&self, micros: i64) {
        let seconds = micros as f64 / 1e6;
        if self.context.json {
            let mut object = json::object("clock");
            object.insert("seconds".into(), seconds.into());
            return self.object(&object);
        }
        let way = if micros < 0 { "back" } else { "forward" };
        let how_far = waxseal_policy::units::format_duration(Duration::from_secs(
            (micros.unsigned_abs() + 500_000) / 1_000_000,
        ));
        warn(&format!(
            "the clock was set {way} by {how_far}: times on record before and after do not compare"
        ));
    }

    fn config(&self, outcome: &Result<Applied, String>) {
        let name = self.context.config_name();
        match outcome {
            Ok(Applied { watches, .. }) => {
                let watches = describe::counted(*watches as u64, "watch", "watches");
                say(self.context, &format!("the config was read again and is in effect: {name}, {watches}"));
            }
            Err(error) => {
                warn(&format!("the config was read again and is refused, the old one stays: {error}"))
            }
        }
        if self.context.json {
            let mut object = json::object("config");
            object.insert("outcome".into(), if outcome.is_ok() { "applied" } else { "refused" }.into());
            match outcome {
                Ok(applied) => drop(object.insert("watches".into(), applied.watches.into())),
                Err(error) => drop(object.insert("error".into(), error.clone().into())),
            }
            self.object(&object);
        }
    }

    fn trouble(&self, path: Option<&RawPath>, message: &str) {
        if self.context.json {
            return self.object(&json::error(path.map(RawPath::as_bytes), message));
        }
        let place = path.map(|path| format!("{path}: ")).unwrap_or_default();
        warn(&format!("{place}{message}"));
    }

    fn blind(&self, reason: &str, message: &str) {
        warn(&format!("changes cannot be recorded: {message}"));
        if self.context.json {
            let mut object = json::object("blind");
            object.insert("reason".into(), reason.into());
            self.object(&object);
        }
    }

    fn sighted(&self) {
        warn("changes are recorded again; everything was looked at");
        if self.context.json {
            self.object(&json::object("sighted"));
        }
    }
}
