//! `check`: the disk against the baseline, now.

use crate::Exit;
use crate::args::CheckArgs;
use crate::commands::sealed;
use crate::context::{Context, absolute_all, scan_options, show};
use crate::output::progress::with_bar;
use crate::output::report::Report;
use crate::output::{describe, json_line, out, say, style, warn};
use crate::publish;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use waxseal_engine::check::{self, Request, Scan};
use waxseal_engine::coverage::Coverage;
use waxseal_engine::retention::retention;
use waxseal_engine::seal::Trouble;
use waxseal_engine::trust;
use waxseal_model::digest::hex;
use waxseal_model::json::Object;
use waxseal_model::{Change, ChangeKind, Digest, RawPath, Source, json};
use waxseal_observe::Progress;
use waxseal_os::{clock, limits};
use waxseal_store::{Baseline, Found, Lock, Place, ScanKind, ScanRecord, SealedFile, Store};

/// What the disk is held against.
struct Ground {
    store: Store,
    baseline: Baseline,
    coverage: Coverage,
    export: Option<SealedFile>,
    troubles: Vec<Trouble>,
}

/// Checks, records, reports.
pub fn run(args: &CheckArgs, context: &Context) -> anyhow::Result<Exit> {
    let ground = match &args.against {
        None => Ground::of_state(context)?,
        Some(file) => match Ground::of_export(file, args, context) {
            Ok(ground) => ground,
            Err(error) => return useless(args, context, &error),
        },
    };
    run_on(ground, args, context)
}

impl Ground {
    fn of_state(context: &Context) -> anyhow::Result<Ground> {
        let store = Store::open_to_read(&context.guarded_state_dir()?)?;
        let coverage = context.coverage(context.config()?);
        let baseline = store.current_baseline()?;
        let mut troubles = Vec::new();
        let keys = context.seal_keys(store.dir());
        if let Err(error) = keys.and_then(|keys| trust::verify(&baseline, &keys).map_err(anyhow::Error::msg))
        {
            let message =
                format!("the baseline's seal is broken: {error:#}; what this check says cannot be trusted");
            troubles.push(Trouble { path: None, message });
        }
        Ok(Ground { store, baseline, coverage, export: None, troubles })
    }

    /// Everything from the export: its rules, its baseline.
    fn of_export(path: &Path, args: &CheckArgs, context: &Context) -> anyhow::Result<Ground> {
        let keys = sealed::given_keys(args.public_key.as_deref())?;
        let file = sealed::open(path, keys.as_deref(), context)?;
        file.check_records(|_| ())?;
        let baseline = file.baseline();
        let config = waxseal_policy::parse(&baseline.stored.rules, &format!("the rules in {}", show(path)))?;
        let coverage = context.coverage(config);
        Ok(Ground {
            store: Store::in_memory()?,
            baseline,
            coverage,
            export: Some(file),
            troubles: Vec::new(),
        })
    }
}

/// The report of a check that had nothing to hold the disk against.
fn useless(args: &CheckArgs, context: &Context, error: &anyhow::Error) -> anyhow::Result<Exit> {
    if !context.json {
        anyhow::bail!("nothing was checked: {error:#}");
    }
    let mut out = out();
    let path = args.against.as_deref().and_then(|path| waxseal_os::paths::absolute(path).ok());
    json_line(&mut out, &json::error(path.as_ref().map(RawPath::as_bytes), &format!("{error:#}")))?;
    let now = clock::now();
    let scan =
        ScanRecord { started: now, ended: now, outcome: String::new(), checked: 0, errors: 1, bytes: 0 };
    json_line(&mut out, &summary(Exit::Trouble, &Report::new(false), &scan, false, None))?;
    Ok(Exit::Trouble)
}

fn summary(exit: Exit, report: &Report, scan: &ScanRecord, quick: bool, root: Option<&Digest>) -> Object {
    let seconds = (scan.ended.as_micros() - scan.started.as_micros()) as f64 / 1e6;
    let mut object = json::object("summary");
    object.insert("outcome".into(), outcome(exit).into());
    object.insert("checked".into(), scan.checked.into());
    for kind in ChangeKind::ALL {
        object.insert(kind.name().into(), report.kind(kind).into());
    }
    object.insert("errors".into(), scan.errors.into());
    object.insert("bytes_hashed".into(), scan.bytes.into());
    object.insert("seconds".into(), seconds.into());
    object.insert("quick".into(), quick.into());
    if let Some(root) = root {
        object.insert("baseline".into(), hex(root).into());
    }
    object
}

fn run_on(ground: Ground, args: &CheckArgs, context: &Context) -> anyhow::Result<Exit> {
    let Ground { store, baseline, coverage, export, mut troubles } = ground;
    let started = clock::now();
    let request = Request {
        targets: absolute_all(&args.paths)?.into_iter().map(|path| Place { path, deep: true }).collect(),
        quick: args.quick,
        source: Source::Scan,
        cause: format!("{} at {started}", if args.quick { "quick check" } else { "check" }),
        set: None,
        speaks_of_coverage: true,
        written: None,
    };
    let progress = Arc::new(Progress::default());
    let mut unrecorded = Vec::new();
    let options = scan_options(coverage.config());
    let counted = Some(&coverage).filter(|_| !args.quick && args.paths.is_empty());
    let findings = Mutex::new(store.findings()?);
    let checked = with_bar(context, "checking", counted, &progress, || {
        let scan = Scan {
            store: &store,
            baseline: &baseline,
            export: export.as_ref(),
            newest: baseline.generation,
            coverage: &coverage,
            progress: &progress,
            findings: &findings,
        };
        check::check(&scan, &request, &options, None, &mut |found| unrecorded.push(found))
    })?;
    troubles.extend(checked.troubles.iter().cloned());
    troubles.extend(nothing_at(&request, &checked));
    if let Err(error) = checked.recorded.as_ref()
        && export.is_none()
    {
        troubles.push(Trouble { path: None, message: format!("the changes could not be recorded: {error}") });
    }
    if context.verbose > 0 {
        let kernel = waxseal_hash::Backend::detect().name();
        say(context, &format!("hashed with {kernel} on {} processors", limits::processors()));
    }
    let result =
        Finished { args, context, store: &store, coverage: &coverage, baseline: &baseline, troubles };
    let report = result.write_changes(&checked, unrecorded)?;
    let exit = match (result.troubles.is_empty(), report.total()) {
        (false, _) => Exit::Trouble,
        (true, 0) => Exit::Same,
        (true, _) => Exit::Differs,
    };
    let ended = clock::now();
    let scan = ScanRecord {
        started,
        ended,
        outcome: outcome(exit).into(),
        checked: checked.checked,
        errors: result.troubles.len() as u64,
        bytes: progress.bytes.load(Ordering::Relaxed),
    };
    if request.targets.is_empty() && !store.is_read_only() {
        let kind = if args.quick { ScanKind::Quick } else { ScanKind::Full };
        let _ = store.add_scan(kind, &scan, ended);
        prune(&store, &coverage);
    }
    result.write_summary(exit, &report, &scan)?;
    result.say_what_does_not_count();
    publish::once(&store, &coverage.config().ledger);
    Ok(exit)
}

/// Deletes what the rules of retention let go, unless a monitor does.
fn prune(store: &Store, coverage: &Coverage) {
    if Lock::holder(store.dir()).is_none()
        && let Err(error) = store.prune(&retention(coverage.config()), clock::now())
    {
        warn(&format!("old details could not be deleted: {error}"));
    }
}

/// Places that were asked for, and where there was nothing to hold against anything: a slip of the pen is not intact.
fn nothing_at(request: &Request, checked: &check::Report) -> Vec<Trouble> {
    let asked = |path: &&RawPath| request.targets.iter().any(|target| target.path == **path);
    let said = |path: &RawPath| checked.troubles.iter().any(|trouble| trouble.path.as_ref() == Some(path));
    let nothing = checked.vanished.iter().filter(asked).filter(|path| !said(path));
    nothing
        .map(|path| {
            Trouble::at(path.clone(), "nothing is there, and nothing was sealed there: correct the path")
        })
        .collect()
}

/// The contract's word for how a check ended.
fn outcome(exit: Exit) -> &'static str {
    match exit {
        Exit::Same => "intact",
        Exit::Differs => "changed",
        Exit::Trouble => "incomplete",
    }
}

/// What is to be shown.
struct Finished<'a> {
    args: &'a CheckArgs,
    context: &'a Context,
    store: &'a Store,
    coverage: &'a Coverage,
    baseline: &'a Baseline,
    troubles: Vec<Trouble>,
}

impl Finished<'_> {
    fn write_changes(&self, checked: &check::Report, unrecorded: Vec<Found>) -> anyhow::Result<Report> {
        let mut report = Report::new(self.args.all);
        let mut out = out();
        let mut show_one = |change: Change| -> anyhow::Result<()> {
            if self.context.json {
                json_line(&mut out, &json::change(&change))?;
            }
            report.add(change);
            Ok(())
        };
        if checked.recorded.is_ok() {
            self.store.each_open_change(|change| match checked.concerns(&change.path) {
                true => show_one(change),
                false => Ok(()),
            })?;
        } else {
            let now = clock::now();
            unrecorded.into_iter().try_for_each(|found| show_one(found.unrecorded(now)))?;
        }
        for trouble in &self.troubles {
            if self.context.json {
                let path = trouble.path.as_ref().map(RawPath::as_bytes);
                json_line(&mut out, &json::error(path, &trouble.message))?;
            }
        }
        if !self.context.json {
            report.write(&mut out)?;
            write_troubles(&mut out, &self.troubles, self.args.all, report.total() > 0)?;
        }
        out.flush()?;
        Ok(report)
    }

    fn write_summary(&self, exit: Exit, report: &Report, scan: &ScanRecord) -> anyhow::Result<()> {
        let seconds = (scan.ended.as_micros() - scan.started.as_micros()) as f64 / 1e6;
        let mut out = out();
        if self.context.json {
            let root = Some(&self.baseline.stored.root);
            json_line(&mut out, &summary(exit, report, scan, self.args.quick, root))?;
            return Ok(());
        }
        if self.context.quiet {
            return Ok(());
        }
        let (word, color) = match exit {
            Exit::Same => ("intact", style::GOOD),
            Exit::Differs => ("changed", style::WARN),
            Exit::Trouble => ("incomplete", style::ERROR),
        };
        let quick = if self.args.quick { " (quick: only what had moved by its times was read)" } else { "" };
        writeln!(
            out,
            "{color}{word}{color:#}: {} checked, {} hashed in {seconds:.1} s{quick}",
            describe::counted(scan.checked, "entry", "entries"),
            describe::bytes(scan.bytes),
        )?;
        let faint = style::FAINT;
        let (generation, root) = (self.baseline.generation, hex(&self.baseline.stored.root));
        let time = self.baseline.stored.time;
        writeln!(out, "{faint}against baseline {generation} of {time}, root {root}{faint:#}")?;
        Ok(())
    }

    /// A watch that does not count content cannot tell that content was changed: that is said, every time.
    fn say_what_does_not_count(&self) {
        let hidden = self
            .coverage
            .config()
            .watches
            .iter()
            .filter(|watch| !watch.attributes.contains(waxseal_model::Attribute::Content));
        for watch in hidden {
            let name = &watch.name;
            say(self.context, &format!("note: watch \"{name}\" does not count content: it was not compared"));
        }
    }
}

/// How many troubles a report of one screen names.
const TROUBLES: usize = 12;

/// What could not be looked at.
fn write_troubles(
    out: &mut impl Write,
    troubles: &[Trouble],
    all: bool,
    after_changes: bool,
) -> std::io::Result<()> {
    if troubles.is_empty() {
        return Ok(());
    }
    let color = style::ERROR;
    let places = describe::counted(troubles.len() as u64, "place", "places");
    let gap = if after_changes { "\n" } else { "" };
    writeln!(out, "{gap}{color}could not be checked{color:#}: {places}")?;
    let shown = if all { troubles.len() } else { TROUBLES };
    for trouble in troubles.iter().take(shown) {
        match &trouble.path {
            Some(path) => writeln!(out, "  {path}: {}", trouble.message)?,
            None => writeln!(out, "  {}", trouble.message)?,
        }
    }
    if troubles.len() > shown {
        writeln!(
            out,
            "  and {} more: show them with --all",
            describe::count((troubles.len() - shown) as u64)
        )?;
    }
    writeln!(out)
}
