//! `baseline`: what was sealed, through time and entry by entry.

use crate::Exit;
use crate::args::{BaselineCommand, ExportFormat};
use crate::commands::show::write_state;
use crate::context::Context;
use crate::output::{describe, json_line, out};
use anyhow::bail;
use std::io::Write;
use std::path::Path;
use waxseal_engine::tree::Tree;
use waxseal_model::change::Seen;
use waxseal_model::digest::hex;
use waxseal_model::json::{self, Object};
use waxseal_model::{Algorithm, FileState, RawPath, escape};
use waxseal_os::accounts::Accounts;
use waxseal_store::{Baseline, Store};

/// Lists, shows or exports baselines.
pub fn run(command: &BaselineCommand, context: &Context) -> anyhow::Result<Exit> {
    if context.json && matches!(command, BaselineCommand::Export { format: ExportFormat::Csv }) {
        bail!("CSV is no JSON: leave out --json, or leave out --format csv");
    }
    let store = context.store()?;
    match command {
        BaselineCommand::List => list(&store, context)?,
        BaselineCommand::Show { path } => show(&store, path.as_deref(), context)?,
        BaselineCommand::Export { format } => export(&store, *format)?,
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

fn export(store: &Store, format: ExportFormat) -> anyhow::Result<()> {
    let baseline = store.current_baseline()?;
    let mut out = std::io::BufWriter::new(out());
    let header = "path,type,mode,uid,gid,size,mtime,inode,links,target,sha256,blake3,sha512";
    match format {
        ExportFormat::Json => json_line(&mut out, &summary(&baseline))?,
        ExportFormat::Csv => writeln!(out, "{header}")?,
    }
    let mut write = |path: &RawPath, state: &FileState| match format {
        ExportFormat::Json => json_line(&mut out, &entry_object(path, state)),
        ExportFormat::Csv => writeln!(out, "{}", csv_row(path, state)),
    };
    let mut failed = None;
    Tree::open(store, &baseline.stored.root)?.each(&mut |path, state| {
        if failed.is_none() {
            failed = write(path, state).err();
        }
    })?;
    failed.map_or(Ok(()), Err)?;
    out.flush()?;
    Ok(())
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
