//! `show`: one change in full.

use crate::Exit;
use crate::args::ShowArgs;
use crate::context::Context;
use crate::output::report::write_change;
use crate::output::{describe, json_line, out, style};
use anyhow::bail;
use std::io::Write;
use waxseal_model::change::Seen;
use waxseal_model::{Attribute, json};

/// Shows one change, open or not.
pub fn run(args: &ShowArgs, context: &Context) -> anyhow::Result<Exit> {
    let store = context.store()?;
    let Some(change) = store.change(args.id)? else {
        bail!("there is no change {}: see `waxseal changes`", args.id);
    };
    let mut out = out();
    if context.json {
        json_line(&mut out, &json::change(&change))?;
        return Ok(Exit::Differs);
    }
    write_change(&mut out, &change)?;
    let faint = style::FAINT;
    writeln!(out, "         {faint}watch \"{}\", set {}{faint:#}", change.watch, change.set)?;
    writeln!(out, "         {faint}first seen {}, last {}{faint:#}", change.first, change.last)?;
    for (label, side) in [("before", &change.before), ("after", &change.after)] {
        if let Some(seen) = side {
            writeln!(out, "\n{label}")?;
            write_state(&mut out, seen)?;
        }
    }
    Ok(Exit::Differs)
}

/// Every attribute that is known, a line each.
pub fn write_state(out: &mut impl Write, seen: &Seen) -> std::io::Result<()> {
    for attribute in Attribute::ALL {
        let value = describe::value(seen, attribute);
        if value != "none" {
            writeln!(out, "  {:<8} {value}", attribute.name())?;
        }
    }
    Ok(())
}
