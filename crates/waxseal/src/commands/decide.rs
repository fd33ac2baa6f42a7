//! What `approve` and `restore` have in common: what is meant, who decides, what is shown and asked, and what becomes of the rest.

use crate::Exit;
use crate::commands::init::who;
use crate::context::{Context, absolute_all, scan_options};
use crate::output::report::write_change;
use crate::output::{describe, json_line, out, warn};
use anyhow::bail;
use std::io::{BufRead, IsTerminal, Write};
use std::path::PathBuf;
use std::sync::Mutex;
use waxseal_engine::check::{self, Request, Scan};
use waxseal_engine::coverage::Coverage;
use waxseal_engine::decide::{Target, select};
use waxseal_engine::{Refused, trust};
use waxseal_ledger::leaf::{By, LeafText};
use waxseal_model::json;
use waxseal_model::{Change, ChangeId, SetId, Severity, Source};
use waxseal_observe::Progress;
use waxseal_os::accounts;
use waxseal_store::{Baseline, Place, Store};

/// How many changes are shown before the question.
const SHOWN: usize = 20;

/// The open changes that were named, and whether everything that was named stands for some. What does not is said.
pub fn named(store: &Store, all: bool, typed: &[PathBuf]) -> anyhow::Result<(Vec<Change>, bool)> {
    let selection = select(store, &targets(all, typed)?)?;
    for target in &selection.nothing {
        warn(&format!("nothing is open for {}: see `waxseal changes`", describe_target(target)));
    }
    Ok((selection.changes, selection.nothing.is_empty()))
}

/// The exit when nothing was refused.
pub fn exit(is_all_known: bool) -> Exit {
    if is_all_known { Exit::Same } else { Exit::Trouble }
}

/// What was typed: an id of a change or a set, or else a path.
fn targets(all: bool, typed: &[PathBuf]) -> anyhow::Result<Vec<Target>> {
    if all {
        return Ok(vec![Target::All]);
    }
    let target = |typed: &PathBuf| -> anyhow::Result<Target> {
        let text = typed.to_str().unwrap_or_default();
        if let Ok(id) = text.parse::<ChangeId>() {
            return Ok(Target::Change(id));
        }
        if let Ok(id) = text.parse::<SetId>() {
            return Ok(Target::Set(id));
        }
        let path = absolute_all(std::slice::from_ref(typed))?.pop();
        Ok(path.map_or(Target::All, Target::Path))
    };
    typed.iter().map(target).collect()
}

fn describe_target(target: &Target) -> String {
    match target {
        Target::Change(id) => id.to_string(),
        Target::Set(id) => id.to_string(),
        Target::Path(path) => path.to_string(),
        Target::All => "this machine".into(),
    }
}

/// The newest baseline, if its seal holds: nothing is built on another.
pub fn trusted(store: &Store, context: &Context) -> anyhow::Result<Baseline> {
    let baseline = store.current_baseline()?;
    if let Err(why) = trust::verify(&baseline, &context.seal_keys(store.dir())?) {
        bail!("the baseline's seal is broken: {why}; nothing can be decided by it, see `waxseal verify`");
    }
    Ok(baseline)
}

/// Who decides: the user, who of them logged in, and from where.
pub fn by() -> By {
    let origin = || {
        let remote = std::env::var("SSH_CONNECTION").ok()?;
        let address: std::net::IpAddr = remote.split(' ').next()?.parse().ok()?;
        Some(LeafText::new(&address.to_string()))
    };
    By {
        user: LeafText::new(&who()),
        login: accounts::login().map(|login| LeafText::new(&login)),
        origin: origin(),
    }
}

/// Changes, with their number.
pub fn counted(changes: usize) -> String {
    describe::counted(changes as u64, "change", "changes")
}

/// Shows what is to be decided about and asks the person at the terminal, if there is one.
pub fn asked(what: &str, changes: &[Change]) -> anyhow::Result<bool> {
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return Ok(false);
    }
    let mut stderr = std::io::stderr();
    let mut worst: Vec<&Change> = changes.iter().collect();
    worst.sort_by_key(|change| std::cmp::Reverse(change.severity));
    for change in worst.iter().take(SHOWN) {
        write_change(&mut stderr, change)?;
    }
    if changes.len() > SHOWN {
        writeln!(stderr, "and {} more", describe::count((changes.len() - SHOWN) as u64))?;
    }
    let grave = changes.iter().filter(|change| change.severity >= Severity::High).count();
    write!(stderr, "{what} {}, {grave} of them high or critical? [y/N] ", counted(changes.len()))?;
    stderr.flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// A change about which this would be done.
pub fn show_planned(change: &Change, action: &str, detail: &str, context: &Context) -> anyhow::Result<()> {
    if context.json {
        let mut object = json::object("plan");
        object.insert("action".into(), action.into());
        object.insert("id".into(), change.id.to_string().into());
        json::put_path(&mut object, "path", change.path.as_bytes());
        object.insert("change".into(), change.kind.name().into());
        json_line(&mut out(), &object)?;
    } else {
        writeln!(out(), "would {detail} {}  {} {}", change.path, change.kind.name(), change.id)?;
    }
    Ok(())
}

/// Says about what it was not done, and why; the exit that this means, if there is any.
pub fn refuse(done: &str, refused: &[Refused], context: &Context) -> anyhow::Result<Option<Exit>> {
    for Refused { change, why, .. } in refused {
        if context.json {
            let mut object = describe::over("refused", change);
            object.insert("error".into(), why.clone().into());
            json_line(&mut out(), &object)?;
        }
        warn(&format!("{} ({}) is not {done}: {why}", change.path, change.id));
    }
    Ok((!refused.is_empty()).then_some(Exit::Trouble))
}

/// Looks at what moved, so that it is on record as it is now.
pub fn record_anew(store: &Store, coverage: &Coverage, refused: &[Refused]) -> anyhow::Result<()> {
    let stale = refused.iter().filter(|refused| refused.is_stale);
    let targets: Vec<Place> =
        stale.map(|refused| Place { path: refused.change.path.clone(), deep: false }).collect();
    if targets.is_empty() {
        return Ok(());
    }
    let baseline = store.current_baseline()?;
    let findings = Mutex::new(store.findings()?);
    let progress = Progress::default();
    let scan = Scan {
        store,
        baseline: &baseline,
        export: None,
        newest: baseline.generation,
        coverage,
        progress: &progress,
        findings: &findings,
    };
    let request = Request {
        targets,
        quick: false,
        source: Source::Scan,
        cause: "found when others were decided about".into(),
        set: None,
        speaks_of_coverage: false,
        written: None,
    };
    let options = scan_options(coverage.config());
    let report = check::check(&scan, &request, &options, None, &mut |_| {})?;
    report.recorded?;
    Ok(())
}
