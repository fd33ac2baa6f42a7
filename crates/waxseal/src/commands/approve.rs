//! `approve`: what was found, and shown, becomes the baseline.

use crate::Exit;
use crate::args::ApproveArgs;
use crate::commands::init::{known_key, who};
use crate::commands::sync::settle;
use crate::context::{Context, absolute_all, scan_options};
use crate::output::report::write_change;
use crate::output::{describe, json_line, out, say, style, warn};
use crate::publish;
use anyhow::bail;
use std::io::{BufRead, IsTerminal, Write};
use std::path::PathBuf;
use std::sync::Mutex;
use waxseal_engine::EngineError;
use waxseal_engine::approve::{Approval, Plan, Refused};
use waxseal_engine::check::{self, Request, Scan};
use waxseal_engine::coverage::Coverage;
use waxseal_engine::decide::{Target, select};
use waxseal_engine::seal::{Sealer, origin};
use waxseal_engine::trust;
use waxseal_ledger::leaf::{By, LeafText};
use waxseal_model::json;
use waxseal_model::{Change, ChangeId, SetId, Severity, Source};
use waxseal_observe::Progress;
use waxseal_observe::probe::Hashing;
use waxseal_os::{accounts, paths};
use waxseal_store::{Approved, Baseline, NewBaseline, Place, Store, StoreError};

/// How many changes are shown before the question.
const SHOWN: usize = 20;
/// How often the record may move while a baseline is sealed before that is given up.
const ATTEMPTS: usize = 3;

/// Plans, shows, asks, seals.
pub fn run(args: &ApproveArgs, context: &Context) -> anyhow::Result<Exit> {
    let store = context.store()?;
    let coverage = context.coverage(context.config()?);
    let selection = select(&store, &targets(args)?)?;
    let is_all_known = selection.nothing.is_empty();
    for target in &selection.nothing {
        warn(&format!("nothing is open for {}: see `waxseal changes`", describe_target(target)));
    }
    let changes = selection.changes;
    if changes.is_empty() {
        say(context, "nothing to approve");
        return Ok(if is_all_known { Exit::Same } else { Exit::Trouble });
    }
    let baseline = trusted(&store, context)?;
    let options = scan_options(coverage.config());
    if args.dry_run {
        let hashing = &options.hashing;
        let approval = Approval { store: &store, baseline: &baseline, coverage: &coverage, hashing };
        let plan = approval.plan(changes)?;
        for one in &plan.approved {
            show_planned(&one.change, context)?;
        }
        return Ok(refuse(&plan.refused, context)?.unwrap_or(exit(is_all_known)));
    }
    if !args.yes && !asked(&changes)? {
        bail!("nothing was approved: without a terminal to ask at, add --yes");
    }
    if store.is_read_only() {
        return Err(StoreError::ReadOnly(context.state_path.clone()).into());
    }
    let key = known_key(args.key.as_deref(), store.dir(), context)?;
    let log = origin(&paths::host_name());
    let note = args.note.clone().unwrap_or_else(|| format!("approved {}", counted(changes.len())));
    let sealer = Sealer { key: &*key.signing, log, who: who(), note };
    let rules = args.all.then(|| waxseal_policy::show(coverage.config()));
    let what = (&store, &coverage, &options.hashing);
    let (plan, sealed) = seal(what, baseline, changes, rules, &sealer, context)?;
    if let Some((generation, next)) = &sealed {
        tell(&plan, *generation, next, context)?;
        settle(store.dir());
        publish::once(&store, &coverage.config().ledger);
    }
    let refused = refuse(&plan.refused, context)?;
    record_anew(&store, &coverage, &plan.refused)?;
    Ok(refused.unwrap_or(exit(is_all_known)))
}

fn exit(is_all_known: bool) -> Exit {
    if is_all_known { Exit::Same } else { Exit::Trouble }
}

/// What was typed: an id of a change or a set, or else a path.
fn targets(args: &ApproveArgs) -> anyhow::Result<Vec<Target>> {
    if args.all {
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
    args.targets.iter().map(target).collect()
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
fn trusted(store: &Store, context: &Context) -> anyhow::Result<Baseline> {
    let baseline = store.current_baseline()?;
    if let Err(why) = trust::verify(&baseline, &context.seal_keys(store.dir())?) {
        bail!("the baseline's seal is broken: {why}; nothing can be approved on it, see `waxseal verify`");
    }
    Ok(baseline)
}

/// Looks, and seals what is as it was shown; again when the record moves meanwhile.
fn seal(
    what: (&Store, &Coverage, &Hashing),
    mut baseline: Baseline,
    mut changes: Vec<Change>,
    rules: Option<String>,
    sealer: &Sealer<'_>,
    context: &Context,
) -> anyhow::Result<(Plan, Option<(u64, NewBaseline)>)> {
    let (store, coverage, hashing) = what;
    let mut refused = Vec::new();
    for _ in 0..ATTEMPTS {
        let approval = Approval { store, baseline: &baseline, coverage, hashing };
        let mut plan = approval.plan(changes.clone())?;
        let sealed = match plan.approved.is_empty() {
            true => Ok(None),
            false => approval.seal(&plan, rules.clone(), sealer, by()).map(Some),
        };
        match sealed {
            Ok(sealed) => {
                plan.refused.append(&mut refused);
                return Ok((plan, sealed));
            }
            Err(EngineError::Store(StoreError::Superseded)) => {
                baseline = trusted(store, context)?;
                for change in moved_on(store, &changes)? {
                    changes.retain(|one| one.id != change.id);
                    let why = "it was recorded anew, or is over, since it was shown".into();
                    refused.push(Refused { change, why, is_stale: true });
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
    bail!("the record moved each time a baseline was to be sealed: nothing was approved; try again")
}

/// The changes that are not on record as they were shown any more.
fn moved_on(store: &Store, changes: &[Change]) -> anyhow::Result<Vec<Change>> {
    let mut moved = Vec::new();
    for change in changes {
        let open = store.open_change_of(&change.path)?;
        if !open.is_some_and(|open| open.id == change.id && open.count == change.count) {
            moved.push(change.clone());
        }
    }
    Ok(moved)
}

/// Who decides: the user, who of them logged in, and from where.
fn by() -> By {
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

fn counted(changes: usize) -> String {
    describe::counted(changes as u64, "change", "changes")
}

/// Shows what is to be approved and asks the person at the terminal, if there is one.
fn asked(changes: &[Change]) -> anyhow::Result<bool> {
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
    write!(stderr, "approve {}, {grave} of them high or critical? [y/N] ", counted(changes.len()))?;
    stderr.flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// A change that would be approved.
fn show_planned(change: &Change, context: &Context) -> anyhow::Result<()> {
    if context.json {
        let mut object = json::object("plan");
        object.insert("action".into(), "approve".into());
        object.insert("id".into(), change.id.to_string().into());
        json::put_path(&mut object, "path", change.path.as_bytes());
        object.insert("change".into(), change.kind.name().into());
        json_line(&mut out(), &object)?;
    } else {
        writeln!(out(), "would approve {}  {} {}", change.path, change.kind.name(), change.id)?;
    }
    Ok(())
}

/// Says what was approved, and what follows from it.
fn tell(plan: &Plan, generation: u64, next: &NewBaseline, context: &Context) -> anyhow::Result<()> {
    let mut out = out();
    for Approved { change, .. } in &plan.approved {
        if context.json {
            json_line(&mut out, &describe::over("approved", change))?;
        } else if !context.quiet {
            let (good, faint) = (style::GOOD, style::FAINT);
            writeln!(out, "{good}approved{good:#} {}  {faint}{}{faint:#}", change.path, change.id)?;
        }
    }
    if context.json {
        json_line(&mut out, &describe::baseline(generation, next))?;
    }
    out.flush()?;
    say(context, &format!("sealed baseline {generation}: {} approved", counted(plan.approved.len())));
    Ok(())
}

/// Says what is not approved, and why; the exit that this means, if there is any.
fn refuse(refused: &[Refused], context: &Context) -> anyhow::Result<Option<Exit>> {
    for Refused { change, why, .. } in refused {
        if context.json {
            let mut object = describe::over("refused", change);
            object.insert("error".into(), why.clone().into());
            json_line(&mut out(), &object)?;
        }
        warn(&format!("{} ({}) is not approved: {why}", change.path, change.id));
    }
    Ok((!refused.is_empty()).then_some(Exit::Trouble))
}

/// Looks at what moved, so that it is on record as it is now.
fn record_anew(store: &Store, coverage: &Coverage, refused: &[Refused]) -> anyhow::Result<()> {
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
        cause: "found when others were approved".into(),
        set: None,
        speaks_of_coverage: false,
        written: None,
    };
    let options = scan_options(coverage.config());
    let report = check::check(&scan, &request, &options, None, &mut |_| {})?;
    report.recorded?;
    Ok(())
}
