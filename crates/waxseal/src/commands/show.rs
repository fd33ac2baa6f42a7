//! `show`: one change in full.

use crate::Exit;
use crate::args::{ContentSide, ShowArgs};
use crate::context::Context;
use crate::output::report::write_change;
use crate::output::{describe, json_line, out, style};
use anyhow::{anyhow, bail};
use std::io::Write;
use waxseal_model::change::Seen;
use waxseal_model::{Attribute, Change, FileState, FileType, json};
use waxseal_policy::secret;
use waxseal_store::Store;

/// Shows one change, open or not.
pub fn run(args: &ShowArgs, context: &Context) -> anyhow::Result<Exit> {
    let store = context.store()?;
    let Some(change) = store.change(args.id)? else {
        bail!("there is no change {}: see `waxseal changes`", args.id);
    };
    if let Some(side) = args.content {
        return write_content(&store, &change, side);
    }
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
            if let Some(kept) = kept(&store, &seen.state)? {
                writeln!(out, "  {:<8} {kept}", "kept")?;
            }
        }
    }
    Ok(Exit::Differs)
}

/// Whether the content of a file is kept; nothing of what has none.
fn kept(store: &Store, state: &FileState) -> anyhow::Result<Option<&'static str>> {
    let Some(hash) = state.digests.sha256.filter(|_| state.file_type == FileType::File) else {
        return Ok(None);
    };
    Ok(Some(if store.kept(&hash)?.is_some() { "yes" } else { "no" }))
}

/// Writes a kept content. Where it turns out to be damaged on the way, that is said at the end.
fn write_content(store: &Store, change: &Change, side: ContentSide) -> anyhow::Result<Exit> {
    let (word, seen) = match side {
        ContentSide::Before => ("before", &change.before),
        ContentSide::After => ("after", &change.after),
    };
    let Some(state) = seen.as_ref().map(|seen| &seen.state).filter(|state| state.file_type == FileType::File)
    else {
        bail!("there was no file at {} {word} change {}", change.path, change.id);
    };
    if secret::is_secret(&change.path) || change.from.as_ref().is_some_and(secret::is_secret) {
        bail!("{} is a secret and is not shown; `waxseal restore` can put it back", change.path);
    }
    let not_kept = || anyhow!("the content of {} {word} change {} is not kept", change.path, change.id);
    let hash = state.digests.sha256.ok_or_else(not_kept)?;
    // Looked through before anything is written: a secret may stand at its end.
    let (mut secret, mut tail) = (false, Vec::new());
    let looked = store.content::<anyhow::Error>(&hash, |piece| {
        tail.extend_from_slice(piece);
        secret |= secret::holds_secret(&tail);
        tail.drain(..tail.len().saturating_sub(secret::LONGEST_MARK));
        Ok(())
    })?;
    looked.ok_or_else(not_kept)?;
    if secret {
        bail!("{} holds a private key and is not shown; `waxseal restore` can put it back", change.path);
    }
    let mut out = std::io::stdout().lock();
    store.content::<anyhow::Error>(&hash, |piece| Ok(out.write_all(piece)?))?.ok_or_else(not_kept)?;
    out.flush()?;
    Ok(Exit::Same)
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
