//! `baseline`: what was sealed, through time and entry by entry.

use crate::Exit;
use crate::args::{BaselineCommand, BaselineExportArgs, ExportFormat};
use crate::commands::compare;
use crate::commands::show::write_state;
use crate::context::{Context, show as show_path};
use crate::output::{describe, json_line, out, say};
use anyhow::{anyhow, bail};
use std::io::{IsTerminal, Write};
use std::path::Path;
use waxseal_engine::tree::Tree;
use waxseal_engine::trust;
use waxseal_ledger::VerifierKey;
use waxseal_model::change::Seen;
use waxseal_model::digest::hex;
use waxseal_model::json::{self, Object};
use waxseal_model::{Algorithm, FileState, RawPath, escape};
use waxseal_os::accounts::Accounts;
use waxseal_store::state_dir::write_new_with;
use waxseal_store::{Baseline, Store, StoreError};

/// Lists, shows or exports baselines.
pub fn run(command: &BaselineCommand, context: &Context) -> anyhow::Result<Exit> {
    if let BaselineCommand::Compare(args) = command {
        return compare::run(args, context);
    }
    if let BaselineCommand::Export(BaselineExportArgs { file: None, format: Some(format), .. }) = command
        && context.json
        && *format != ExportFormat::Json
    {
        let name = if *format == ExportFormat::Csv { "CSV" } else { "a sealed export" };
        bail!("{name} is no JSON: leave out --json, or leave out --format");
    }
    let store = context.store()?;
    match command {
        BaselineCommand::List => list(&store, context)?,
        BaselineCommand::Show { path } => show(&store, path.as_deref(), context)?,
        BaselineCommand::Export(args) => export(&store, args, context)?,
        BaselineCommand::Compare(_) => {}
    }
    Ok(Exit::Same)
}

fn summary(baseline: &Baseline) -> Object {
    describe::baseline(baseline.generation, &baseline.stored)
}

fn list(store: &Store, context: &Context) -> anyhow::Result<()> {
    let mut out = out();
    for baseline in store.baselines()? {
        if context.json {
            json_line(&mut out, &summary(&baseline))?;
            continue;
        }
        let stored = &baseline.stored;
        writeln!(
            out,
            "{:>4}  {}  {}  {}  {}  root {}",
            baseline.generation,
            stored.time,
            describe::counted(stored.entries, "entry", "entries"),
            escape::for_people(stored.who.as_bytes()),
            escape::for_people(stored.note.as_bytes()),
            hex(&stored.root)
        )?;
    }
    Ok(())
}

fn show(store: &Store, path: Option<&Path>, context: &Context) -> anyhow::Result<()> {
    let baseline = store.current_baseline()?;
    let mut out = out();
    let Some(path) = path else {
        if context.json {
            json_line(&mut out, &summary(&baseline))?;
        } else {
            write!(out, "{}", baseline.stored.seal)?;
        }
        return Ok(());
    };
    let path = waxseal_os::paths::absolute(path)?;
    let Some(sealed) = Tree::open(store, &baseline.stored.root)?.find(&path)? else {
        bail!("{path} is not in baseline {}", baseline.generation);
    };
    if context.json {
        json_line(&mut out, &entry_object(&path, &sealed.state))?;
        return Ok(());
    }
    let mut accounts = Accounts::default();
    let (user, group) = (accounts.user(sealed.state.uid), accounts.group(sealed.state.gid));
    writeln!(out, "{path}")?;
    write_state(&mut out, &Seen { state: sealed.state, user, group })?;
    Ok(())
}

fn entry_object(path: &RawPath, state: &FileState) -> Object {
    let mut object = json::object("sealed_entry");
    json::put_path(&mut object, "path", path.as_bytes());
    object.insert("state".into(), json::state(state).into());
    object
}

fn export(store: &Store, args: &BaselineExportArgs, context: &Context) -> anyhow::Result<()> {
    let baseline = match args.generation {
        Some(generation) => store
            .baseline(Some(generation))?
            .ok_or_else(|| anyhow!("there is no baseline {generation}: see `waxseal baseline list`"))?,
        None => store.current_baseline()?,
    };
    let default = if context.json && args.file.is_none() { ExportFormat::Json } else { ExportFormat::Sealed };
    let format = args.format.unwrap_or(default);
    let key = match format {
        ExportFormat::Sealed => Some(sealing_key(store, &baseline, context)?),
        ExportFormat::Json | ExportFormat::Csv => None,
    };
    let Some(file) = &args.file else {
        if key.is_some() && std::io::stdout().is_terminal() {
            bail!("a sealed export is nothing to read: give a FILE, or --format json");
        }
        let mut out = std::io::BufWriter::new(std::io::stdout().lock());
        write_as(store, &baseline, format, key.as_ref(), Path::new("standard output"), &mut out)?;
        return Ok(out.flush()?);
    };
    let mut failed = None;
    let written = write_new_with(file, 0o600, |out| {
        write_as(store, &baseline, format, key.as_ref(), file, out).map_err(|error| {
            error.downcast::<StoreError>().unwrap_or_else(|other| {
                failed = Some(other);
                StoreError::Full
            })
        })
    });
    failed.map_or(Ok(()), Err)?;
    written?;
    if context.json {
        let mut object = json::object("baseline_exported");
        json::put_path(&mut object, "path", waxseal_os::paths::absolute(file)?.as_bytes());
        object.insert("generation".into(), baseline.generation.into());
        object.insert("root".into(), hex(&baseline.stored.root).into());
        object.insert("entries".into(), baseline.stored.entries.into());
        json_line(&mut out(), &object)?;
    }
    let entries = describe::counted(baseline.stored.entries, "entry", "entries");
    say(context, &format!("baseline {} ({entries}) is in {}", baseline.generation, show_path(file)));
    if let Some(key) = key {
        say(context, &format!("it is sealed by {} {}", key.name(), key.fingerprint()));
    }
    Ok(())
}

/// The key that sealed a baseline, whose seal must hold: an export of another one would prove nothing.
fn sealing_key(store: &Store, baseline: &Baseline, context: &Context) -> anyhow::Result<VerifierKey> {
    let keys = context.seal_keys(store.dir())?;
    trust::verify(baseline, &keys)
        .map_err(|error| anyhow!("the seal of baseline {} is broken: {error}", baseline.generation))?;
    keys.into_iter().next().ok_or_else(|| anyhow!("there is no sealing key"))
}

/// Writes a baseline; `path` names the place in messages.
fn write_as(
    store: &Store,
    baseline: &Baseline,
    format: ExportFormat,
    key: Option<&VerifierKey>,
    path: &Path,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let header = "path,type,mode,uid,gid,size,mtime,inode,links,target,sha256,blake3,sha512";
    match (format, key) {
        (_, Some(key)) => {
            store.write_export(baseline, key, path, out)?;
            return Ok(());
        }
        (ExportFormat::Csv, _) => writeln!(out, "{header}")?,
        (ExportFormat::Json | ExportFormat::Sealed, None) => json_line(out, &summary(baseline))?,
    }
    let mut write = |path: &RawPath, state: &FileState| match format {
        ExportFormat::Csv => writeln!(out, "{}", csv_row(path, state)),
        ExportFormat::Json | ExportFormat::Sealed => json_line(out, &entry_object(path, state)),
    };
    let mut failed = None;
    Tree::open(store, &baseline.stored.root)?.each(&mut |path, state| {
        if failed.is_none() {
            failed = write(path, state).err();
        }
    })?;
    Ok(failed.map_or(Ok(()), Err)?)
}

/// RFC 4180, and safe in a spreadsheet: a cell that begins like a formula gets a quote before it.
fn csv_row(path: &RawPath, state: &FileState) -> String {
    let digest = |algorithm| state.digests.get(algorithm).map(hex).unwrap_or_default();
    let cells = [
        path.for_people(),
        state.file_type.name().to_string(),
        format!("{:04o}", state.mode),
        state.uid.to_string(),
        state.gid.to_string(),
        state.size.to_string(),
        state.mtime.to_rfc3339_nanos(),
        state.inode.to_string(),
        state.links.to_string(),
        state.target().map(escape::for_people).unwrap_or_default(),
        digest(Algorithm::Sha256),
        digest(Algorithm::Blake3),
        digest(Algorithm::Sha512),
    ];
    cells.map(|cell| csv_cell(&cell)).join(",")
}

fn csv_cell(text: &str) -> String {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let text = if formula { format!("'{text}") } else { text.to_string() };
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_neither_break_rows_nor_run_as_formulas() {
        assert_eq!(csv_cell("a,b"), "\"a,b\"");
        assert_eq!(csv_cell("say \"x\""), "\"say \"\"x\"\"\"");
        assert_eq!(csv_cell("=cmd|x"), "'=cmd|x");
        assert_eq!(csv_cell("/plain"), "/plain");
    }
}
