//! `verify`: proves that what is on record is what was recorded.

use crate::Exit;
use crate::args::VerifyArgs;
use crate::context::{Context, read_verifier_key, show};
use crate::output::{describe, json_line, out, say, style};
use anyhow::{anyhow, bail};
use std::io::Write;
use std::path::Path;
use std::time::Instant;
use waxseal_engine::trust;
use waxseal_ledger::cosignature::WitnessKey;
use waxseal_ledger::verify::{self, Trust};
use waxseal_ledger::{CheckpointError, NoteError, VerificationFile, VerifierKey};
use waxseal_model::digest::hex;
use waxseal_model::json::{self, Object};
use waxseal_model::{Timestamp, escape};
use waxseal_os::{limits, paths};
use waxseal_store::log::Disagreement;
use waxseal_store::proof::{Problem, Proof, prove};
use waxseal_store::state_dir::read_text;
use waxseal_store::{StateDir, Store, StoreError};

/// What is believed.
struct Believed {
    trust: Trust,
    /// The keys that may seal.
    seals: Vec<VerifierKey>,
    /// It came from somewhere else than the state directory.
    is_given: bool,
}

/// What is wrong, in words and for machines.
struct Wrong {
    about: &'static str,
    text: String,
    more: Object,
}

impl Wrong {
    fn new(about: &'static str, text: impl Into<String>) -> Wrong {
        Wrong { about, text: text.into(), more: Object::new() }
    }

    fn to_json(&self) -> Object {
        let mut object = json::object("problem");
        object.insert("about".into(), self.about.into());
        object.insert("problem".into(), self.text.clone().into());
        object.extend(self.more.clone());
        object
    }
}

/// Proves the record. 1 when anything contradicts it, 2 when it could not be looked at.
pub fn run(args: &VerifyArgs, context: &Context) -> anyhow::Result<Exit> {
    let begun = Instant::now();
    let mut wrong = Vec::new();
    let dir = match StateDir::open(&context.state_path, limits::effective_uid()) {
        Ok(dir) => Some(dir),
        // Who has the public key knows that there was a log.
        Err(StoreError::NoState(_)) if args.public_key.is_some() => None,
        Err(error) => return Err(error.into()),
    };
    let mut believed = believed(args, dir.as_ref(), &mut wrong)?;
    if let Some(believed) = &mut believed {
        for path in &args.witness {
            let key = WitnessKey::parse(&read_text(path)?);
            believed.trust.believe(key.map_err(|error| anyhow!("{}: {error}", show(path)))?);
        }
        keep(args, believed, &mut wrong)?;
    }
    let mut proof = None;
    match dir.filter(StateDir::has_database) {
        Some(dir) => {
            if let Some(believed) = &believed {
                compare_files(&dir, believed, &mut wrong);
                match look(&dir, believed) {
                    Ok(found) => proof = Some(found),
                    Err(error) if error.is_contradiction() => {
                        wrong.push(Wrong::new("database", error.to_string()));
                    }
                    Err(error) => return Err(error.into()),
                }
            }
        }
        None if believed.is_none() => return Err(StoreError::NoState(context.state_path.clone()).into()),
        None => {
            let place = show(&context.state_path);
            wrong.push(Wrong::new("database", format!("there is no database in {place}: it is gone")));
        }
    }
    if let Some(proof) = &proof {
        wrong.extend(proof.problems.iter().map(describe_problem));
    }
    let more = proof.as_ref().map_or(0, |proof| proof.more);
    report(context, believed.as_ref(), proof.as_ref(), &wrong, more, begun)?;
    Ok(if wrong.is_empty() && more == 0 { Exit::Same } else { Exit::Differs })
}

/// What is believed: what was given, or what lies beside the log. None when that is gone, which is a problem.
fn believed(
    args: &VerifyArgs,
    dir: Option<&StateDir>,
    wrong: &mut Vec<Wrong>,
) -> anyhow::Result<Option<Believed>> {
    if let Some(path) = &args.public_key {
        let text = read_text(path)?;
        if text.starts_with("waxseal-verification-") {
            let file = VerificationFile::parse(&text).map_err(|error| anyhow!("{}: {error}", show(path)))?;
            let seals = file.seals().to_vec();
            return Ok(Some(Believed { trust: file.trust(), seals, is_given: true }));
        }
        let host = read_verifier_key(path)?;
        // Which key seals is not known from elsewhere; the host's has signed too.
        let seals = dir.map(own_seals).unwrap_or_default();
        return Ok(Some(Believed { trust: Trust::new(host), seals, is_given: true }));
    }
    let Some(dir) = dir else { return Ok(None) };
    let path = dir.verification();
    if paths::exists(&path) {
        match VerificationFile::parse(&read_text(&path)?) {
            Ok(file) => {
                let seals = file.seals().to_vec();
                return Ok(Some(Believed { trust: file.trust(), seals, is_given: false }));
            }
            Err(error) => wrong.push(Wrong::new("file", format!("{}: {error}", show(&path)))),
        }
    } else if !dir.has_database() {
        return Ok(None);
    } else if matches!(Store::open_to_read(dir).and_then(|store| store.log_size()), Ok(0)) {
        bail!(
            "there is no log in {} yet: a state from before there was one gets it when something is recorded",
            show(dir.path())
        );
    } else {
        let hint = "it is gone: give --public-key FILE with the one that you took away";
        wrong.push(Wrong::new("file", format!("{}: {hint}", show(&path))));
    }
    match read_verifier_key(&dir.verifier_key()) {
        Ok(host) => Ok(Some(Believed { trust: Trust::new(host), seals: own_seals(dir), is_given: false })),
        Err(error) => {
            wrong.push(Wrong::new("file", format!("{error:#}")));
            Ok(None)
        }
    }
}

/// The keys that seal, as the state directory has them.
fn own_seals(dir: &StateDir) -> Vec<VerifierKey> {
    let keys = [dir.sealing_verifier_key(), dir.verifier_key()];
    keys.iter().filter_map(|path| read_verifier_key(path).ok()).take(1).collect()
}

/// Adds the checkpoints that were kept. One that another key has signed says that this is another log.
fn keep(args: &VerifyArgs, believed: &mut Believed, wrong: &mut Vec<Wrong>) -> anyhow::Result<()> {
    for path in &args.checkpoint {
        match believed.trust.keep(read_text(path)?) {
            Ok(()) => {}
            Err(error @ (CheckpointError::Malformed(_) | CheckpointError::Note(NoteError::Malformed(_)))) => {
                bail!("{}: {error}", show(path));
            }
            Err(error) => {
                let text = format!("{}: {error}: it is of another log, or was changed", show(path));
                wrong.push(Wrong::new("checkpoint", text));
            }
        }
    }
    Ok(())
}

/// The public files of the state directory say what is believed.
fn compare_files(dir: &StateDir, believed: &Believed, wrong: &mut Vec<Wrong>) {
    let host = believed.trust.host();
    let mut expect = |path: &Path, good: &dyn Fn(&Path) -> anyhow::Result<bool>| {
        let text = match good(path) {
            Ok(true) => return,
            Ok(false) => format!("{}: it is of another key than the one that is believed", show(path)),
            Err(error) => format!("{error:#}"),
        };
        wrong.push(Wrong::new("file", text));
    };
    // In a state from before there was a log it is the key that seals.
    expect(&dir.verifier_key(), &|path| {
        let key = read_verifier_key(path)?;
        Ok(key == *host || believed.seals.contains(&key))
    });
    if paths::exists(&dir.sealing_verifier_key()) {
        expect(&dir.sealing_verifier_key(), &|path| Ok(believed.seals.contains(&read_verifier_key(path)?)));
    }
    if believed.is_given {
        expect(&dir.verification(), &|path| {
            let file = VerificationFile::parse(&read_text(path)?);
            Ok(file.map_err(|error| anyhow!("{}: {error}", show(path)))?.host() == host)
        });
    }
}

fn look(dir: &StateDir, believed: &Believed) -> Result<Proof, StoreError> {
    let store = Store::open_to_read(dir)?;
    let host = believed.trust.host();
    prove(&store, &believed.trust, &|baseline, needs_host| {
        trust::verify_by_any(baseline, &believed.seals, needs_host.then_some(host)).map(drop)
    })
}

/// A contradiction with what it is about.
fn describe_problem(problem: &Problem) -> Wrong {
    let mut more = Object::new();
    let about = match problem {
        Problem::Database(_) => "database",
        Problem::Log(problem) => {
            if let Some((leaf, time)) = place(problem) {
                more.insert("leaf".into(), leaf.into());
                put_time(&mut more, time);
            }
            "log"
        }
        Problem::Gone { from, .. } => {
            more.insert("leaf".into(), (*from).into());
            "log"
        }
        Problem::Uncovered { from, since } => {
            more.insert("leaf".into(), (*from).into());
            put_time(&mut more, *since);
            "log"
        }
        Problem::Level { .. } | Problem::LastKey => "log",
        Problem::Table(table) => put_row(&mut more, table),
        Problem::Seal { generation, .. } => {
            more.insert("generation".into(), (*generation).into());
            "baseline"
        }
        Problem::Record { generation, path, .. } => {
            more.insert("generation".into(), (*generation).into());
            json::put_path(&mut more, "path", path.as_bytes());
            "baseline"
        }
        Problem::Changed(_) => "baseline",
    };
    // Names that stand in it were chosen by others.
    Wrong { about, text: escape::for_people(problem.to_string().as_bytes()), more }
}

fn put_row(more: &mut Object, table: &Disagreement) -> &'static str {
    let (about, key, value, leaf) = match table {
        Disagreement::UnknownChange(id) => ("change", "id", id.to_string().into(), None),
        Disagreement::NoChange { id, leaf } | Disagreement::OtherChange { id, leaf } => {
            ("change", "id", id.to_string().into(), Some(*leaf))
        }
        Disagreement::Row { table, row } => (about_table(table), "row", (*row).into(), None),
        Disagreement::NoRow { table, leaf } => (about_table(table), "leaf", (*leaf).into(), None),
        Disagreement::UnknownBaseline(generation) => ("baseline", "generation", (*generation).into(), None),
        Disagreement::NoBaseline { generation, leaf } | Disagreement::OtherBaseline { generation, leaf } => {
            ("baseline", "generation", (*generation).into(), Some(*leaf))
        }
        Disagreement::Kept(leaf) => {
            more.insert("leaf".into(), (*leaf).into());
            return "evidence";
        }
        Disagreement::Stray => return "evidence",
        Disagreement::UnknownContent(hash) => ("evidence", "sha256", hex(hash).into(), None),
        Disagreement::Content { hash, .. } => ("evidence", "sha256", hex(hash).into(), None),
    };
    more.insert(key.into(), value);
    if let Some(leaf) = leaf {
        more.insert("leaf".into(), leaf.into());
    }
    about
}

/// What a table of other things is about, in a word.
fn about_table(table: &str) -> &'static str {
    match table {
        "gaps" => "gap",
        "scans" => "scan",
        _ => "set",
    }
}

fn put_time(object: &mut Object, time: Option<Timestamp>) {
    if let Some(time) = time {
        object.insert("time".into(), time.to_string().into());
    }
}

/// The leaf that a contradiction of the log is about, and its time.
fn place(problem: &verify::Problem) -> Option<(u64, Option<Timestamp>)> {
    use verify::Problem::*;
    match problem {
        Altered { index, time } | Differs { index, time } | Restarted { index, time } => {
            Some((*index, *time))
        }
        Rewritten { from, time, .. } => Some((*from, *time)),
        Key { index, time, .. } | TimeBack { index, time } => Some((*index, Some(*time))),
        Hash { index } | NoLeaf { index, .. } => Some((*index, None)),
        Missing { from, .. } | TooYoung { from, .. } => Some((*from, None)),
        Short { size, .. } => Some((*size, None)),
        Checkpoint(_) | Cosigned { .. } | NotCosigned(_) | FirstKey | OtherFirstKey | Tile { .. } => None,
    }
}

fn report(
    context: &Context,
    believed: Option<&Believed>,
    proof: Option<&Proof>,
    wrong: &[Wrong],
    more: u64,
    begun: Instant,
) -> anyhow::Result<()> {
    let mut out = out();
    if context.json {
        wrong.iter().try_for_each(|one| json_line(&mut out, &one.to_json()))?;
        let mut object = summary(believed, proof, wrong.len() as u64 + more);
        object.insert("seconds".into(), begun.elapsed().as_secs_f64().into());
        json_line(&mut out, &object)?;
    } else {
        for one in wrong {
            writeln!(out, "{}broken{:#} {}", style::ERROR, style::ERROR, one.text)?;
        }
        if more > 0 {
            writeln!(out, "and {} more", describe::count(more))?;
        }
        if let Some(proof) = proof {
            write_verdict(&mut out, proof, wrong.is_empty() && more == 0)?;
        }
    }
    out.flush()?;
    if let Some(believed) = believed {
        advise(context, believed);
    }
    Ok(())
}

fn summary(believed: Option<&Believed>, proof: Option<&Proof>, problems: u64) -> Object {
    let mut object = json::object("proof");
    object.insert("outcome".into(), if problems == 0 { "proven" } else { "broken" }.into());
    object.insert("problems".into(), problems.into());
    if let Some(Believed { trust, is_given, .. }) = believed {
        object.insert("origin".into(), trust.host().name().as_str().into());
        object.insert("trust".into(), if *is_given { "given" } else { "own" }.into());
        if let Some(kept) = trust.kept().iter().map(|kept| kept.size).max() {
            object.insert("kept".into(), kept.into());
        }
    }
    if let Some(Proof { log, baselines, records, .. }) = proof {
        object.insert("leaves".into(), log.size.into());
        object.insert("proven".into(), log.proven.into());
        object.insert("root".into(), hex(&log.root).into());
        for (key, time) in [("unproven_since", log.unproven_since), ("last", log.last)] {
            if let Some(time) = time {
                object.insert(key.into(), time.to_string().into());
            }
        }
        if !log.cosigned.is_empty() {
            object.insert("cosigned".into(), log.cosigned.iter().map(cosigned).collect());
        }
        if let Some(epoch) = log.epoch {
            object.insert("epoch".into(), epoch.into());
        }
        object.insert("clock_set_back".into(), log.clock_set_back.into());
        object.insert("deleted".into(), log.deleted.into());
        object.insert("unknown".into(), log.unknown.into());
        object.insert("baselines".into(), (*baselines).into());
        object.insert("records".into(), (*records).into());
    }
    object
}

fn cosigned(one: &verify::Cosigned) -> serde_json::Value {
    let mut object = Object::new();
    object.insert("witness".into(), one.witness.as_str().into());
    object.insert("time".into(), one.time.to_string().into());
    object.insert("leaves".into(), one.size.into());
    object.into()
}

fn write_verdict(out: &mut impl Write, proof: &Proof, is_proven: bool) -> std::io::Result<()> {
    let log = &proof.log;
    let (color, word) = if is_proven { (style::GOOD, "proven") } else { (style::ERROR, "broken") };
    let leaves = describe::counted(log.size, "leaf", "leaves");
    let baselines = describe::counted(proof.baselines, "baseline", "baselines");
    let records = describe::counted(proof.records, "directory record", "directory records");
    writeln!(
        out,
        "{color}{word}:{color:#} {} of {leaves} of the log are proven{}; looked at {baselines} with {records}",
        describe::count(log.proven),
        if is_proven { "" } else { ", but for what is said above" }
    )?;
    if log.proven < log.size {
        let since = log.unproven_since.map_or_else(String::new, |time| format!(", {time},"));
        writeln!(out, "from leaf {}{since} on nothing can be trusted", describe::count(log.proven))?;
    }
    for verify::Cosigned { witness, time, size } in &log.cosigned {
        let leaves = describe::counted(*size, "leaf", "leaves");
        writeln!(out, "at {time} {} had seen {leaves} of this log, and nothing else", witness.as_str())?;
    }
    if let Some(last) = log.last {
        writeln!(out, "the last leaf is of {last}; a log that was cut back ends earlier than it should")?;
    }
    if log.clock_set_back > 0 {
        let times = describe::counted(log.clock_set_back, "time", "times");
        writeln!(out, "the clock was set back {times}")?;
    }
    if log.deleted > 0 {
        let leaves = describe::counted(log.deleted, "leaf", "leaves");
        writeln!(out, "the details of {leaves} were deleted by the rules of retention")?;
    }
    for index in &log.restarts {
        let index = describe::count(*index);
        writeln!(out, "at leaf {index} the chain of keys began anew; a checkpoint that was kept covers it")?;
    }
    if log.unknown > 0 {
        let leaves = describe::counted(log.unknown, "leaf is", "leaves are");
        writeln!(out, "{leaves} of kinds that a newer program knows")?;
    }
    Ok(())
}

/// What the proof rests on.
fn advise(context: &Context, believed: &Believed) {
    let newest = believed.trust.kept().iter().map(|kept| kept.size).max();
    if !believed.is_given {
        say(
            context,
            "this rests on keys beside the log, and proves nothing against whoever could replace those as well: \
             give --public-key with the verification file that you took away",
        );
    }
    match newest {
        Some(size) => say(
            context,
            &format!(
                "the newest checkpoint that was kept covers {}",
                describe::counted(size, "leaf", "leaves")
            ),
        ),
        None if !believed.trust.witnesses().is_empty() => {}
        None => say(
            context,
            "no checkpoint was kept: this cannot tell the log from another one that the same key began",
        ),
    }
}
