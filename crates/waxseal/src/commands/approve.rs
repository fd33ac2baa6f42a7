//! `approve`: what was found, and shown, becomes the baseline.

use crate::Exit;
use crate::args::ApproveArgs;
use crate::commands::decide::{asked, by, counted, exit, named, record_anew, refuse, show_planned, trusted};
use crate::commands::init::{known_key, who};
use crate::commands::sync::settle;
use crate::context::{Context, scan_options};
use crate::output::{describe, json_line, out, say, style};
use crate::publish;
use anyhow::bail;
use std::io::Write;
use waxseal_engine::approve::{Approval, Plan};
use waxseal_engine::coverage::Coverage;
use waxseal_engine::seal::{Sealer, origin};
use waxseal_engine::{EngineError, Refused};
use waxseal_model::Change;
use waxseal_observe::probe::Hashing;
use waxseal_os::paths;
use waxseal_store::{Approved, Baseline, NewBaseline, Store, StoreError};

/// How often the record may move while a baseline is sealed before that is given up.
const ATTEMPTS: usize = 3;

/// Plans, shows, asks, seals.
pub fn run(args: &ApproveArgs, context: &Context) -> anyhow::Result<Exit> {
    let store = context.store()?;
    let coverage = context.coverage(context.config()?);
    let (changes, is_all_known) = named(&store, args.all, &args.targets)?;
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
            show_planned(&one.change, "approve", "approve", context)?;
        }
        return Ok(refuse("approved", &plan.refused, context)?.unwrap_or(exit(is_all_known)));
    }
    if !args.yes && !asked("approve", &changes)? {
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
    let refused = refuse("approved", &plan.refused, context)?;
    record_anew(&store, &coverage, &plan.refused)?;
    Ok(refused.unwrap_or(exit(is_all_known)))
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
