//! `log`: everything seen and decided, in order; the log's checkpoint, and exports of it.

mod words;

use crate::Exit;
use crate::args::{LogArgs, LogCommand};
use crate::commands::changes::{Wanted, moment};
use crate::context::{Context, absolute_all, show};
use crate::output::{describe, json_line, out, say};
use anyhow::bail;
use std::collections::HashMap;
use std::io::Write;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;
use waxseal_ledger::leaf::{ChangeLeaf, Event, LeafError, LeafPath, Who};
use waxseal_ledger::note::UnverifiedNote;
use waxseal_ledger::{Checkpoint, Leaf};
use waxseal_model::digest::hex;
use waxseal_model::json::{self, Object};
use waxseal_model::{Actor, ActorSource, Change, RawPath, Severity, Timestamp};
use waxseal_os::signals::Signals;
use waxseal_store::{Store, StoreError};

/// How many entries are read at a time. Meanwhile the monitor cannot shorten the database's own log, so that nobody who is slow to
/// read what is printed should keep it waiting.
const BATCH: usize = 512;
/// How often is looked for new entries.
const PAUSE: Duration = Duration::from_millis(200);
/// How long printing may take after a signal.
const PATIENCE: Duration = Duration::from_secs(1);

/// Shows the log, or hands it out.
pub fn run(args: &LogArgs, context: &Context) -> anyhow::Result<Exit> {
    match &args.command {
        None => show_entries(args, context)?,
        Some(_) if is_filtered(args) || args.follow => {
            bail!(
                "the log is exported as a whole, and has one checkpoint: leave out the other options and paths"
            );
        }
        Some(LogCommand::Export { directory }) => export(directory, context)?,
        Some(LogCommand::Checkpoint) => checkpoint(context)?,
    }
    Ok(Exit::Same)
}

fn is_filtered(args: &LogArgs) -> bool {
    let LogArgs { paths, since, until, kind, severity, actor, .. } = args;
    !(paths.is_empty() && kind.is_empty())
        || since.is_some()
        || until.is_some()
        || severity.is_some()
        || actor.is_some()
}

fn checkpoint(context: &Context) -> anyhow::Result<()> {
    let Some(note) = context.store()?.checkpoint()? else { bail!(NO_LOG) };
    let mut out = out();
    if context.json {
        let own = Checkpoint::claimed(&UnverifiedNote::parse(&note)?)?;
        let mut object = json::object("checkpoint");
        put_checkpoint(&mut object, &own);
        object.insert("note".into(), note.into());
        json_line(&mut out, &object)?;
    } else {
        out.write_all(note.as_bytes())?;
    }
    out.flush()?;
    Ok(())
}

const NO_LOG: &str =
    "there is no log yet: a state from before there was one gets it when something is recorded";

fn put_checkpoint(object: &mut Object, checkpoint: &Checkpoint) {
    object.insert("origin".into(), checkpoint.origin.as_str().into());
    object.insert("leaves".into(), checkpoint.size.into());
    object.insert("root".into(), hex(&checkpoint.root).into());
}

fn export(directory: &Path, context: &Context) -> anyhow::Result<()> {
    let store = context.store()?;
    let exported = store.export_log(directory)?;
    let own = &exported.checkpoint;
    if context.json {
        let mut object = json::object("exported");
        let path = waxseal_os::paths::absolute(directory)?;
        json::put_path(&mut object, "path", path.as_bytes());
        put_checkpoint(&mut object, own);
        if let Some(before) = exported.before {
            object.insert("before".into(), before.into());
        }
        json_line(&mut out(), &object)?;
    }
    let leaves = describe::counted(own.size, "leaf", "leaves");
    let more = match exported.before {
        Some(before) => format!(", {} more than before", describe::count(own.size.saturating_sub(before))),
        None => String::new(),
    };
    say(context, &format!("exported {leaves}{more} to {}, root {}", show(directory), hex(&own.root)));
    let verification = show(&store.dir().verification());
    say(
        context,
        &format!(
            "prove it elsewhere with waxseal-verify, by a copy of {verification} that was taken away before"
        ),
    );
    Ok(())
}

/// An entry as it was read.
struct Read {
    seq: u64,
    /// None when what it says was deleted.
    leaf: Option<Result<Leaf, LeafError>>,
    /// The record of its change, where that still says what the entry does.
    change: Option<Change>,
}

impl Read {
    fn change_leaf(&self) -> Option<&ChangeLeaf> {
        match &self.leaf.as_ref()?.as_ref().ok()?.event {
            Event::Change(leaf) => Some(leaf),
            _ => None,
        }
    }

    fn to_json(&self) -> Object {
        let bare = |kind: &str, time: Option<Timestamp>| {
            let mut object = json::object("entry");
            object.insert("seq".into(), self.seq.into());
            if let Some(time) = time {
                object.insert("time".into(), time.to_string().into());
            }
            object.insert("kind".into(), kind.into());
            object
        };
        let mut object = match &self.leaf {
            Some(Ok(leaf)) => leaf.to_json(self.seq),
            Some(Err(LeafError::Unknown { time, .. })) => bare("unknown", Some(*time)),
            Some(Err(LeafError::Wire(_))) => bare("damaged", None),
            None => bare("deleted", None),
        };
        if let Some(change) = &self.change {
            object.insert("change".into(), json::change(change).into());
        }
        object
    }
}

fn show_entries(args: &LogArgs, context: &Context) -> anyhow::Result<()> {
    let ended = if args.follow { Some(when_ended()?) } else { None };
    let filter = Filter {
        paths: absolute_all(&args.paths)?,
        since: args.since.as_deref().map(moment).transpose()?,
        until: args.until.as_deref().map(moment).transpose()?,
        kinds: args.kind.clone(),
        severity: args.severity,
        actor: args.actor.as_deref().map(Wanted::of),
        is_all: !is_filtered(args),
    };
    let store = context.store()?;
    let (mut next, mut told) = (0, Told::default());
    loop {
        next = print(&store, next, &filter, context.json, &mut told)?;
        let Some(ended) = &ended else { break };
        match ended.recv_timeout(PAUSE) {
            Err(RecvTimeoutError::Timeout) => {}
            Ok(()) | Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    if next == 0 && !context.json {
        bail!(NO_LOG);
    }
    Ok(())
}

/// Tells of a signal that ends the program; ends it, should nobody take what is printed.
fn when_ended() -> anyhow::Result<Receiver<()>> {
    let signals = Signals::block();
    let (sender, ended) = channel();
    let thread = std::thread::Builder::new().name("signals".into()).stack_size(128 * 1024);
    thread.spawn(move || {
        signals.wait();
        let _ = sender.send(());
        std::thread::sleep(PATIENCE);
        std::process::exit(0);
    })?;
    Ok(ended)
}

/// Prints the entries from `next` on that are there; gives the number of the one after them.
fn print(
    store: &Store,
    mut next: u64,
    filter: &Filter,
    as_json: bool,
    told: &mut Told,
) -> anyhow::Result<u64> {
    let mut out = std::io::BufWriter::new(out());
    loop {
        let batch = read(store, next)?;
        let Some(last) = batch.last() else { break };
        next = last.seq.saturating_add(1);
        for entry in batch.iter().filter(|entry| filter.admits(entry)) {
            if as_json {
                json_line(&mut out, &entry.to_json())?;
            } else {
                let again = entry.change_leaf().is_some_and(|leaf| told.is_told(leaf));
                words::write(&mut out, entry.seq, entry.leaf.as_ref(), entry.change.as_ref(), again)?;
            }
        }
        out.flush()?;
    }
    Ok(next)
}

/// Which states of changes were told: what is heard of who made them later is a leaf of its own.
#[derive(Default)]
struct Told(HashMap<u64, u64>);

/// How many changes are remembered for it; what is heard later comes soon.
const REMEMBERED: usize = 10_000;

impl Told {
    /// Whether this state of this change was told before.
    fn is_told(&mut self, leaf: &ChangeLeaf) -> bool {
        if self.0.len() >= REMEMBERED {
            self.0.clear();
        }
        self.0.insert(leaf.id.0, leaf.count) == Some(leaf.count)
    }
}

/// Some entries from `first` on.
fn read(store: &Store, first: u64) -> Result<Vec<Read>, StoreError> {
    /// Why reading stopped.
    enum Stop {
        Full,
        Store(StoreError),
    }
    impl From<StoreError> for Stop {
        fn from(error: StoreError) -> Stop {
            Stop::Store(error)
        }
    }
    let mut batch = Vec::new();
    let end = store.log_snapshot(|log| {
        log.each_leaf(first, |entry| {
            let leaf = entry.bytes.as_deref().map(Leaf::parse);
            let mut read = Read { seq: entry.seq, leaf, change: None };
            let change = read.change_leaf().map(|leaf| log.change_of(leaf));
            read.change = change.transpose()?.flatten();
            batch.push(read);
            if batch.len() < BATCH { Ok(()) } else { Err(Stop::Full) }
        })
    });
    match end {
        Ok(()) | Err(Stop::Full) => Ok(batch),
        Err(Stop::Store(error)) => Err(error),
    }
}

/// Which entries are asked for.
struct Filter {
    paths: Vec<RawPath>,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    kinds: Vec<String>,
    severity: Option<Severity>,
    actor: Option<Wanted>,
    is_all: bool,
}

impl Filter {
    fn admits(&self, entry: &Read) -> bool {
        // What cannot be read is nothing that was asked for, unless everything was.
        let Some(Ok(leaf)) = &entry.leaf else { return self.is_all };
        let change = entry.change_leaf();
        self.since.is_none_or(|since| leaf.time >= since)
            && self.until.is_none_or(|until| leaf.time <= until)
            && (self.kinds.is_empty() || self.kinds.iter().any(|kind| kind == leaf.event.kind()))
            && self.severity.is_none_or(|least| change.is_some_and(|change| change.severity >= least))
            && self.actor.as_ref().is_none_or(|wanted| self.is_by(wanted, entry, &leaf.event))
            && (self.paths.is_empty() || self.is_about(&leaf.event))
    }

    fn is_about(&self, event: &Event) -> bool {
        let from = match event {
            Event::Change(change) => change.from.as_ref(),
            _ => None,
        };
        let mut places = event.path().into_iter().chain(from);
        places.any(|place| self.paths.iter().any(|path| is_at_or_below(place, path)))
    }

    fn is_by(&self, wanted: &Wanted, entry: &Read, event: &Event) -> bool {
        if let Some(change) = &entry.change {
            return change.actors.iter().any(|actor| wanted.admits(actor));
        }
        let who = match event {
            Event::Change(change) => change.who.as_ref(),
            Event::Touched { who, .. } => who.as_ref(),
            _ => None,
        };
        who.is_some_and(|who| wanted.admits(&in_full(who)))
    }
}

fn is_at_or_below(place: &LeafPath, path: &RawPath) -> bool {
    match place {
        LeafPath::Whole(own) => own.below(path).is_some(),
        // Its beginning is known, which may end within a name.
        LeafPath::Long { .. } => {
            let shown = place.shown();
            let is_longer = path.as_bytes().len() < shown.len();
            place.is(path) || (is_longer && RawPath::new(shown).below(path).is_some())
        }
    }
}

/// As much of an actor as a leaf has by itself.
fn in_full(who: &Who) -> Actor {
    let mut actor = Actor::unknown(who.pid);
    // By which way it is known, the leaf does not say; only processes that are known have an executable.
    actor.source = who.exe.is_some().then_some(ActorSource::Pidfd);
    if let Some(LeafPath::Whole(exe)) = &who.exe {
        actor.exe = Some(exe.clone());
    }
    (actor.uid, actor.login_uid) = (who.uid, who.login_uid);
    actor
}
