//! `baseline compare`: what differs between two baselines, of this machine or exported.

use crate::Exit;
use crate::args::CompareArgs;
use crate::commands::sealed;
use crate::context::{Context, show};
use crate::output::{describe, json_line, out, style};
use anyhow::{anyhow, bail};
use std::io::Write;
use std::path::Path;
use waxseal_engine::difference::{Count, Difference, differences};
use waxseal_engine::tree::Tree;
use waxseal_engine::trust;
use waxseal_ledger::{Seal, VerifierKey};
use waxseal_model::digest::hex;
use waxseal_model::json::{self, Object};
use waxseal_store::{Baseline, SealedFile, Store, StoreError};

/// How many differences a screen shows.
const SHOWN: usize = 40;

/// One of the two.
enum Side {
    Stored { baseline: Box<Baseline>, seal: Seal, is_newest: bool },
    File(Box<SealedFile>),
}

/// 0 when nothing that counts differs, 1 when something does.
pub fn run(args: &CompareArgs, context: &Context) -> anyhow::Result<Exit> {
    let keys = sealed::given_keys(args.public_key.as_deref())?;
    let names = [&args.a, &args.b];
    let store = if names.iter().any(|name| is_stored(name)) { Some(context.store()?) } else { None };
    let side = |name: &Path| match store.as_ref().filter(|_| is_stored(name)) {
        Some(store) => stored(store, name, context),
        None => file(name, keys.as_deref(), context),
    };
    let (a, b) = (side(&args.a)?, side(&args.b)?);
    let (before, after) = (a.tree(store.as_ref())?, b.tree(store.as_ref())?);
    let (mut out, mut shown) = (out(), 0);
    let found =
        differences(&before, &after, args.attributes, [a.seal().entries, b.seal().entries], &mut |found| {
            shown += 1;
            if context.json {
                json_line(&mut out, &object(&found))?;
            } else if args.all || shown <= SHOWN {
                write_difference(&mut out, &found)?;
            }
            Ok::<_, anyhow::Error>(())
        });
    let count = found.map_err(|error| gone(error, [&a, &b]))?;
    if context.json {
        json_line(&mut out, &summary(&a, &b, count))?;
    } else {
        write_summary(&mut out, &a, &b, count, args.all, context)?;
    }
    out.flush()?;
    Ok(if count.differences == 0 { Exit::Same } else { Exit::Differs })
}

/// Whether this names a baseline of this machine: a generation, or the beginning of a root hash. A path with a `/` never does.
fn is_stored(name: &Path) -> bool {
    let Some(name) = name.to_str() else { return false };
    let is_generation = !name.is_empty() && name.bytes().all(|b| b.is_ascii_digit());
    let is_root = (8..=64).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_hexdigit());
    is_generation || is_root
}

fn stored(store: &Store, name: &Path, context: &Context) -> anyhow::Result<Side> {
    let name = name.to_str().unwrap_or_default();
    let newest = store.newest_generation()?;
    let by_generation =
        name.parse().ok().map(|generation| store.baseline(Some(generation))).transpose()?.flatten();
    let baseline = match by_generation {
        Some(baseline) => baseline,
        None if name.len() >= 8 => {
            let root = name.to_ascii_lowercase();
            let mut matching =
                store.baselines()?.into_iter().filter(|one| hex(&one.stored.root).starts_with(&root));
            matching.next_back().ok_or_else(|| anyhow!("no baseline of this machine has the root {name}…"))?
        }
        None => {
            bail!("there is no baseline {name}: see `waxseal baseline list`; a file of this name is ./{name}")
        }
    };
    let keys = context.seal_keys(store.dir())?;
    let seal = trust::verify(&baseline, &keys)
        .map_err(|error| anyhow!("the seal of baseline {} is broken: {error}", baseline.generation))?;
    Ok(Side::Stored { is_newest: baseline.generation == newest, baseline: Box::new(baseline), seal })
}

fn file(name: &Path, keys: Option<&[VerifierKey]>, context: &Context) -> anyhow::Result<Side> {
    Ok(Side::File(Box::new(sealed::open(name, keys, context)?)))
}

/// A record that is missing in an older generation says that the generation is gone.
fn gone(error: anyhow::Error, sides: [&Side; 2]) -> anyhow::Error {
    let older = sides.iter().find_map(|side| match side {
        Side::Stored { baseline, is_newest: false, .. } => Some(baseline.generation),
        _ => None,
    });
    match (error.downcast_ref::<StoreError>(), older) {
        (Some(StoreError::Damaged(why)), Some(generation)) if why.contains("missing") => {
            anyhow!("baseline {generation} of this machine can no longer be put together: {why}")
        }
        _ => error,
    }
}

impl Side {
    fn seal(&self) -> &Seal {
        match self {
            Side::Stored { seal, .. } => seal,
            Side::File(file) => file.seal(),
        }
    }

    fn tree<'s>(&'s self, store: Option<&'s Store>) -> anyhow::Result<Tree<'s>> {
        let tree = match (self, store) {
            (Side::File(file), _) => Tree::of_file(file),
            (Side::Stored { baseline, .. }, Some(store)) => Tree::open(store, &baseline.stored.root),
            (Side::Stored { .. }, None) => bail!("the state is not open"),
        };
        tree.map_err(|error| gone(error.into(), [self, self]))
    }

    fn words(&self) -> String {
        let seal = self.seal();
        let place = match self {
            Side::File(file) => format!(" in {}", show(file.path())),
            Side::Stored { .. } => String::new(),
        };
        format!("baseline {} of {}{place}, sealed {}", seal.generation, seal.origin, seal.time)
    }

    fn object(&self) -> Object {
        let seal = self.seal();
        let mut object = Object::new();
        object.insert("origin".into(), seal.origin.as_str().into());
        object.insert("generation".into(), seal.generation.into());
        object.insert("root".into(), hex(&seal.root).into());
        object.insert("time".into(), seal.time.to_string().into());
        object.insert("entries".into(), seal.entries.into());
        object
    }
}

fn object(found: &Difference) -> Object {
    let mut object = json::object("difference");
    json::put_path(&mut object, "path", found.path.as_bytes());
    object.insert("change".into(), found.kind.name().into());
    let fields: Vec<&str> = found.fields.iter().map(waxseal_model::Attribute::name).collect();
    object.insert("fields".into(), fields.into());
    for (key, state) in [("before", &found.before), ("after", &found.after)] {
        if let Some(state) = state {
            object.insert(key.into(), json::state(state).into());
        }
    }
    object
}

fn write_difference(out: &mut impl Write, found: &Difference) -> std::io::Result<()> {
    let fields: Vec<&str> = found.fields.iter().map(waxseal_model::Attribute::name).collect();
    let fields = if fields.is_empty() { String::new() } else { format!(" ({})", fields.join(", ")) };
    writeln!(out, "{:<9} {}{fields}", found.kind.name(), found.path)
}

fn summary(a: &Side, b: &Side, count: Count) -> Object {
    let mut object = json::object("compared");
    object.insert("outcome".into(), if count.differences == 0 { "equal" } else { "different" }.into());
    object.insert("a".into(), a.object().into());
    object.insert("b".into(), b.object().into());
    object.insert("differences".into(), count.differences.into());
    object.insert("uncounted".into(), count.uncounted.into());
    object
}

fn write_summary(
    out: &mut impl Write,
    a: &Side,
    b: &Side,
    count: Count,
    all: bool,
    context: &Context,
) -> std::io::Result<()> {
    let hidden = count.differences.saturating_sub(SHOWN as u64);
    if hidden > 0 && !all {
        writeln!(out, "and {} more: show them with --all", describe::count(hidden))?;
    }
    if context.quiet {
        return Ok(());
    }
    let (word, color) =
        if count.differences == 0 { ("equal", style::GOOD) } else { ("different", style::WARN) };
    let differ = describe::counted(count.differences, "difference", "differences");
    writeln!(out, "{color}{word}{color:#}: {differ}")?;
    if count.uncounted > 0 {
        let entries = describe::counted(count.uncounted, "entry differs", "entries differ");
        writeln!(out, "{entries} in attributes that do not count here: see them with --attributes all")?;
    }
    let faint = style::FAINT;
    writeln!(out, "{faint}from {}\nto   {}{faint:#}", a.words(), b.words())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generation_and_a_root_are_no_paths() {
        for stored in ["3", "12345678", "deadbeef", "DEADBEEF00"] {
            assert!(is_stored(Path::new(stored)), "{stored}");
        }
        for path in ["./3", "/3", "export", "dead", "", "deadbeef.export"] {
            assert!(!is_stored(Path::new(path)), "{path}");
        }
    }
}
