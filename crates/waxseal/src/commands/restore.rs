//! `restore`: what was approved is put back.

use crate::Exit;
use crate::args::RestoreArgs;
use crate::commands::decide::{asked, by, counted, exit, named, record_anew, refuse, show_planned, trusted};
use crate::commands::sync::settle;
use crate::context::{Context, scan_options};
use crate::output::{describe, json_line, out, say, style};
use anyhow::bail;
use std::io::Write;
use waxseal_engine::restore::Restoration;
use waxseal_store::{Decider, Restored};

/// Plans, shows, asks, puts back.
pub fn run(args: &RestoreArgs, context: &Context) -> anyhow::Result<Exit> {
    let store = context.store()?;
    let coverage = context.coverage(context.config()?);
    let (changes, is_all_known) = named(&store, args.all, &args.targets)?;
    if changes.is_empty() {
        say(context, "nothing to restore");
        return Ok(exit(is_all_known));
    }
    let baseline = trusted(&store, context)?;
    let options = scan_options(coverage.config());
    let restoration =
        Restoration { store: &store, baseline: &baseline, coverage: &coverage, hashing: &options.hashing };
    if args.dry_run {
        let plan = restoration.plan(changes)?;
        for (change, action) in plan.actions() {
            show_planned(change, "restore", action, context)?;
        }
        return Ok(refuse("restored", &plan.refused, context)?.unwrap_or(exit(is_all_known)));
    }
    if !args.yes && !asked("restore", &changes)? {
        bail!("nothing was restored: without a terminal to ask at, add --yes");
    }
    let note = args.note.clone().unwrap_or_else(|| format!("restored {}", counted(changes.len())));
    let plan = restoration.plan(changes)?;
    let outcome = restoration.restore(plan, &Decider { by: by(), note })?;
    for Restored { change, .. } in &outcome.restored {
        if context.json {
            json_line(&mut out(), &describe::over("restored", change))?;
        } else if !context.quiet {
            let (good, faint) = (style::GOOD, style::FAINT);
            writeln!(out(), "{good}restored{good:#} {}  {faint}{}{faint:#}", change.path, change.id)?;
        }
    }
    say(context, &format!("restored {}", counted(outcome.restored.len())));
    settle(store.dir());
    let refused = refuse("restored", &outcome.failed, context)?;
    record_anew(&store, &coverage, &outcome.failed)?;
    Ok(refused.unwrap_or(exit(is_all_known)))
}
