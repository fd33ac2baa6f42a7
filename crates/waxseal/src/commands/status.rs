//! `status`: what is watched, since when, and what is open.

use crate::Exit;
use crate::context::{Context, show};
use crate::output::{describe, json_line, out, style};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Write;
use waxseal_engine::trust;
use waxseal_model::digest::hex;
use waxseal_model::json::{self, Object};
use waxseal_model::{Severity, escape};
use waxseal_store::{
    Anchored, Baseline, EvidenceSize, FullScan, Gap, Lock, ScanKind, ScanRecord, Store, StoreError,
};

/// How many gaps are shown.
const GAPS: u32 = 10;

/// How many watched paths are shown for each backend.
const PLACES: usize = 20;

/// Shows the state of things. 1 when changes are open, 2 when the baseline cannot be trusted or the monitor can record nothing.
pub fn run(context: &Context) -> anyhow::Result<Exit> {
    let store = context.store()?;
    let baseline = store.current_baseline()?;
    let keys = context.seal_keys(store.dir());
    let seal = keys.and_then(|keys| trust::verify(&baseline, &keys).map_err(anyhow::Error::msg));
    let facts = Facts {
        context,
        open: store.count_open()?,
        monitor: Lock::holder(store.dir()),
        full: store.last_scan(ScanKind::Full)?,
        quick: store.last_scan(ScanKind::Quick)?,
        gaps: store.last_gaps(GAPS)?,
        scan: store.full_scan()?,
        places: publishing(context, &store)?,
        evidence: store.evidence_size()?,
        broken: seal.err().map(|error| format!("{error:#}")),
        baseline,
        store: &store,
    };
    if context.json {
        json_line(&mut out(), &facts.object())?
    } else {
        facts.write()?
    }
    let is_blind = facts.monitor.as_deref().and_then(unrecorded).is_some();
    Ok(match (&facts.broken, facts.open.iter().sum::<u64>()) {
        _ if is_blind => Exit::Trouble,
        (Some(_), _) => Exit::Trouble,
        (None, 0) => Exit::Same,
        (None, _) => Exit::Differs,
    })
}

struct Facts<'a> {
    context: &'a Context,
    store: &'a Store,
    baseline: Baseline,
    broken: Option<String>,
    open: [u64; 5],
    monitor: Option<String>,
    full: Option<ScanRecord>,
    quick: Option<ScanRecord>,
    /// How many there are, and the last of them.
    gaps: (u64, Vec<Gap>),
    /// The monitor's full scan that goes on, or will when the monitor does.
    scan: Option<FullScan>,
    evidence: EvidenceSize,
    /// Where checkpoints go.
    places: Vec<Publishing>,
}

/// A place for checkpoints, and how far it is.
struct Publishing {
    name: String,
    kind: &'static str,
    reached: Option<Anchored>,
}

/// The places that the config names; none when it cannot be read.
fn publishing(context: &Context, store: &Store) -> anyhow::Result<Vec<Publishing>> {
    let Ok(config) = context.config() else { return Ok(Vec::new()) };
    let reached = store.anchored()?;
    let place = |publish: waxseal_policy::Publish| {
        let reached = reached.iter().find(|reached| reached.name == publish.name).cloned();
        Publishing { kind: publish.to.kind(), name: publish.name, reached }
    };
    Ok(config.ledger.publish.into_iter().map(place).collect())
}

impl Publishing {
    fn object(&self) -> Value {
        let mut object = Object::new();
        object.insert("name".into(), self.name.clone().into());
        object.insert("kind".into(), self.kind.into());
        if let Some(Anchored { size, time, error, since, .. }) = &self.reached {
            if let (Some(size), Some(time)) = (size, time) {
                object.insert("leaves".into(), (*size).into());
                object.insert("time".into(), time.to_string().into());
            }
            if let (Some(error), Some(since)) = (error, since) {
                object.insert("error".into(), error.clone().into());
                object.insert("failing_since".into(), since.to_string().into());
            }
        }
        object.into()
    }

    fn write(&self, out: &mut impl Write) -> std::io::Result<()> {
        let Publishing { name, kind, reached } = self;
        let (mut last, mut failing) = ("nothing yet".to_owned(), String::new());
        if let Some(Anchored { size, time, error, since, .. }) = reached {
            if let (Some(size), Some(time)) = (size, time) {
                last = format!("{} at {time}", describe::counted(*size, "leaf", "leaves"));
            }
            if let (Some(error), Some(since)) = (error, since) {
                let error = escape::for_people(error.as_bytes());
                failing = format!("; {0}failing{0:#} since {since}: {error}", style::ERROR);
            }
        }
        writeln!(out, "published to {name} ({kind}): {last}{failing}")
    }
}

impl Facts<'_> {
    fn object(&self) -> Object {
        let mut object = json::object("status");
        let mut baseline = Object::new();
        baseline.insert("generation".into(), self.baseline.generation.into());
        baseline.insert("root".into(), hex(&self.baseline.stored.root).into());
        baseline.insert("time".into(), self.baseline.stored.time.to_string().into());
        baseline.insert("entries".into(), self.baseline.stored.entries.into());
        baseline.insert("sealed".into(), self.broken.is_none().into());
        object.insert("baseline".into(), baseline.into());
        if let Some(broken) = &self.broken {
            object.insert("error".into(), broken.clone().into());
        }
        let watches = self.context.config().map(|config| {
            config.watches.iter().map(|watch| Value::from(watch.name.clone())).collect::<Vec<_>>()
        });
        if let Ok(watches) = watches {
            object.insert("watches".into(), watches.into());
        }
        let monitor = self.monitor.as_deref().and_then(|line| serde_json::from_str::<Object>(line).ok());
        object.insert("monitor".into(), monitor.map_or(Value::Null, Into::into));
        let scans = [("last_full_check", &self.full), ("last_quick_check", &self.quick)];
        for (name, scan) in scans {
            if let Some(scan) = scan {
                let mut object_of_scan = Object::new();
                object_of_scan.insert("time".into(), scan.ended.to_string().into());
                object_of_scan.insert("outcome".into(), scan.outcome.clone().into());
                object_of_scan.insert("checked".into(), scan.checked.into());
                object_of_scan.insert("errors".into(), scan.errors.into());
                object.insert(name.into(), object_of_scan.into());
            }
        }
        object.insert("gaps".into(), self.gaps_object().into());
        object.insert("published".into(), self.places.iter().map(Publishing::object).collect());
        if let Some(scan) = &self.scan {
            let mut object_of_scan = Object::new();
            object_of_scan.insert("started".into(), scan.started.to_string().into());
            object_of_scan.insert("checked".into(), scan.checked.into());
            object_of_scan.insert("errors".into(), scan.errors.into());
            object.insert("full_scan".into(), object_of_scan.into());
        }
        let mut evidence = Object::new();
        evidence.insert("contents".into(), self.evidence.contents.into());
        evidence.insert("bytes".into(), self.evidence.bytes.into());
        evidence.insert("stored".into(), self.evidence.stored.into());
        object.insert("evidence".into(), evidence.into());
        let open: Object =
            Severity::ALL.iter().zip(self.open).map(|(s, n)| (s.name().into(), n.into())).collect();
        object.insert("open_changes".into(), self.open.iter().sum::<u64>().into());
        object.insert("open_by_severity".into(), open.into());
        object.insert("state_dir".into(), show(self.store.dir().path()).into());
        object
    }

    fn gaps_object(&self) -> Object {
        let (count, last) = &self.gaps;
        let gap = |gap: &Gap| {
            let mut object = Object::new();
            if let Some(path) = &gap.path {
                json::put_path(&mut object, "path", path.as_bytes());
            }
            object.insert("reason".into(), gap.reason.clone().into());
            object.insert("started".into(), gap.started.to_string().into());
            object.insert("ended".into(), gap.ended.to_string().into());
            Value::from(object)
        };
        let mut object = Object::new();
        object.insert("count".into(), (*count).into());
        object.insert("last".into(), last.iter().map(gap).collect());
        object
    }

    fn write(&self) -> std::io::Result<()> {
        let mut out = out();
        let baseline = &self.baseline;
        let entries = describe::counted(baseline.stored.entries, "entry", "entries");
        writeln!(out, "baseline  {} of {}, {entries}", baseline.generation, baseline.stored.time)?;
        match &self.broken {
            None => writeln!(
                out,
                "seal      {0}verified{0:#}, root {1}",
                style::GOOD,
                hex(&baseline.stored.root)
            )?,
            Some(why) => writeln!(out, "seal      {0}broken{0:#}: {why}", style::ERROR)?,
        }
        match &self.monitor {
            Some(holder) => {
                writeln!(out, "monitor   running: {}", monitor_text(holder))?;
                if let Some((reason, since)) = unrecorded(holder) {
                    let color = style::ERROR;
                    writeln!(
                        out,
                        "record    {color}changes cannot be recorded{color:#} since {since}: {reason}"
                    )?;
                }
                refused_text(&mut out, holder)?;
                coverage_text(&mut out, holder)?;
            }
            None => writeln!(out, "monitor   not running: start it with `waxseal watch`")?,
        }
        for (label, scan) in [("full", &self.full), ("quick", &self.quick)] {
            match scan {
                Some(scan) => writeln!(
                    out,
                    "{label:<9} check ended {}: {}, {} checked",
                    scan.ended,
                    scan.outcome,
                    describe::counted(scan.checked, "entry", "entries")
                )?,
                None => writeln!(out, "{label:<9} check never")?,
            }
        }
        if let (count, [last, ..]) = (self.gaps.0, self.gaps.1.as_slice()) {
            let place = last.path.as_ref().map(|path| format!(" of {path}")).unwrap_or_default();
            let (gap, from, to) = (&last.reason, last.started, last.ended);
            let count = describe::count(count);
            writeln!(out, "gaps      {count}, the last one: {gap}{place} from {from} to {to}")?;
        }
        self.places.iter().try_for_each(|place| place.write(&mut out))?;
        if let Some(FullScan { started, checked, .. }) = &self.scan {
            let (checked, all) = (describe::count(*checked), describe::count(baseline.stored.entries));
            let how = if self.monitor.is_some() { "goes on" } else { "goes on with the monitor" };
            writeln!(out, "full scan {how}: {checked} of about {all} entries since {started}")?;
        }
        let EvidenceSize { contents, bytes, stored } = self.evidence;
        let contents = describe::counted(contents, "content", "contents");
        let (bytes, stored) = (describe::bytes(bytes), describe::bytes(stored));
        writeln!(out, "evidence  {contents} kept, {bytes} in {stored}")?;
        let open: u64 = self.open.iter().sum();
        let parts = Severity::ALL.iter().zip(self.open).rev().filter(|(_, n)| *n > 0);
        let parts: Vec<String> = parts.map(|(s, n)| format!("{} {}", describe::count(n), s.name())).collect();
        let detail = if parts.is_empty() { String::new() } else { format!(" ({})", parts.join(", ")) };
        writeln!(out, "open      {}{detail}", describe::counted(open, "change", "changes"))
    }
}

/// Who has the state directory, where somebody does, in the words of `status`.
pub fn in_use(error: StoreError) -> anyhow::Error {
    match error {
        StoreError::Locked(dir, holder) => {
            anyhow::anyhow!("another waxseal is running on {}: {}", show(&dir), monitor_text(&holder))
        }
        other => other.into(),
    }
}

/// The lock's line, as the monitor wrote it for programs, for people.
pub fn monitor_text(holder: &str) -> String {
    let Ok(object) = serde_json::from_str::<Object>(holder) else {
        return escape::for_people(holder.as_bytes());
    };
    let text = |key: &str| match object.get(key) {
        Some(Value::String(text)) => escape::for_people(text.as_bytes()),
        Some(other) => other.to_string(),
        None => "unknown".to_string(),
    };
    let actors = object.get("actors").map(|_| format!(", actors by {}", text("actors"))).unwrap_or_default();
    format!("pid {}, {}{actors}, since {}", text("pid"), text("backend"), text("since"))
}

/// Why the monitor can record nothing, and since when, as the lock's line says.
fn unrecorded(holder: &str) -> Option<(String, String)> {
    let object = serde_json::from_str::<Object>(holder).ok()?;
    let text = |key: &str| Some(escape::for_people(object.get("unrecorded")?[key].as_str()?.as_bytes()));
    Some((text("reason")?, text("since")?))
}

/// Why it is not known better who makes a change, as the lock's line says.
fn refused_text(out: &mut impl Write, holder: &str) -> std::io::Result<()> {
    let Ok(object) = serde_json::from_str::<Object>(holder) else { return Ok(()) };
    let shown = |value: &Value| escape::for_people(value.as_str().unwrap_or_default().as_bytes());
    for refused in object.get("actors_refused").and_then(Value::as_array).into_iter().flatten() {
        writeln!(out, "actors    no {}: {}", shown(&refused["source"]), shown(&refused["error"]))?;
    }
    Ok(())
}

/// What watches where, and what only scans find, as the lock's line says.
fn coverage_text(out: &mut impl Write, holder: &str) -> std::io::Result<()> {
    let Ok(object) = serde_json::from_str::<Object>(holder) else { return Ok(()) };
    let list = |key: &str| object.get(key).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let shown = |value: &Value| escape::for_people(value.as_str().unwrap_or_default().as_bytes());
    let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for part in list("coverage") {
        places.entry(shown(&part["backend"])).or_default().push(shown(&part["path"]));
    }
    for (backend, mut paths) in places {
        let more = paths.len().saturating_sub(PLACES);
        paths.truncate(PLACES);
        let more =
            if more > 0 { format!(" and {} more", describe::count(more as u64)) } else { String::new() };
        writeln!(out, "watched   by {backend}: {}{more}", paths.join(", "))?;
    }
    match list("blind") {
        [] => Ok(()),
        blind => {
            let blind: Vec<String> = blind.iter().map(shown).collect();
            writeln!(out, "unseen    only scans find: {}", blind.join("; "))
        }
    }
}
