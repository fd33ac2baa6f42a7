//! `changes`: what is open, grouped.

use crate::Exit;
use crate::args::ChangesArgs;
use crate::context::{Context, absolute_all};
use crate::output::report::write_change;
use crate::output::{describe, json_line, out, style};
use anyhow::{anyhow, bail};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::Write;
use waxseal_model::{Actor, Change, RawPath, SetId, Severity, Timestamp, json};
use waxseal_os::clock;
use waxseal_store::ChangeSet;

/// How many changes of a set are shown in full.
const SHOWN: usize = 10;

/// Shows the open changes.
pub fn run(args: &ChangesArgs, context: &Context) -> anyhow::Result<Exit> {
    let store = context.store()?;
    let filter = Filter {
        paths: absolute_all(&args.paths)?,
        severity: args.severity.unwrap_or(Severity::Info),
        since: args.since.as_deref().map(moment).transpose()?,
        actor: args.actor.as_deref().map(Wanted::of),
    };
    // The number of open changes is not bounded: sets are added up first, then shown one after the other.
    let mut sums: BTreeMap<SetId, Sum> = BTreeMap::new();
    store.each_open_change(|change| -> anyhow::Result<()> {
        if filter.admits(&change) {
            sums.entry(change.set).or_default().add(&change);
        }
        Ok(())
    })?;
    let mut out = out();
    let sets = store.open_sets()?;
    let sets: Vec<(&ChangeSet, &Sum)> =
        sets.iter().filter_map(|set| Some((set, sums.get(&set.id)?))).collect();
    for (set, sum) in &sets {
        write_set(&mut out, set, sum, context.json)?;
        let mut shown = 0;
        store.each_open_change(|change| -> anyhow::Result<()> {
            if change.set != set.id || !filter.admits(&change) {
                return Ok(());
            }
            if context.json {
                json_line(&mut out, &json::change(&change))?;
            } else if args.all || shown < SHOWN {
                write_change(&mut out, &change)?;
            }
            shown += 1;
            Ok(())
        })?;
        if !context.json && !args.all && shown > SHOWN {
            writeln!(out, "and {} more: show them with --all", describe::count((shown - SHOWN) as u64))?;
        }
        if !context.json {
            writeln!(out)?;
        }
    }
    if sets.is_empty() && !context.json && !context.quiet {
        writeln!(out, "no open changes")?;
    }
    out.flush()?;
    Ok(if sets.is_empty() { Exit::Same } else { Exit::Differs })
}

/// What a set adds up to.
#[derive(Debug, Default)]
struct Sum {
    changes: u64,
    worst: Option<Severity>,
}

impl Sum {
    fn add(&mut self, change: &Change) {
        self.changes += 1;
        self.worst = self.worst.max(Some(change.severity));
    }
}

fn write_set(out: &mut impl Write, set: &ChangeSet, sum: &Sum, as_json: bool) -> std::io::Result<()> {
    let worst = sum.worst.unwrap_or(Severity::Info);
    if as_json {
        let mut object = json::object("set");
        object.insert("id".into(), set.id.to_string().into());
        object.insert("cause".into(), set.cause.clone().into());
        object.insert("changes".into(), sum.changes.into());
        object.insert("severity".into(), worst.name().into());
        object.insert("first".into(), set.first.to_string().into());
        object.insert("last".into(), set.last.to_string().into());
        return json_line(out, &object);
    }
    let (strong, color) = (style::STRONG, style::severity(worst));
    let changes = describe::counted(sum.changes, "change", "changes");
    writeln!(
        out,
        "{strong}{}{strong:#} {changes}, worst {color}{}{color:#}, {} ({} to {})",
        set.id,
        worst.name(),
        waxseal_model::escape::for_people(set.cause.as_bytes()),
        set.first,
        set.last
    )
}

/// Which changes are asked for.
struct Filter {
    paths: Vec<RawPath>,
    severity: Severity,
    since: Option<Timestamp>,
    actor: Option<Wanted>,
}

/// Whose changes are asked for.
pub enum Wanted {
    /// Of processes that could not be told.
    Unknown,
    /// Of this executable and what it began: by its path, or its name alone.
    Program(Vec<u8>),
}

impl Wanted {
    /// As typed.
    pub fn of(text: &OsStr) -> Wanted {
        match text.as_encoded_bytes() {
            b"unknown" => Wanted::Unknown,
            bytes => Wanted::Program(bytes.to_vec()),
        }
    }

    /// Whether this process is one.
    pub fn admits(&self, actor: &Actor) -> bool {
        match self {
            Wanted::Unknown => actor.source.is_none(),
            Wanted::Program(wanted) => {
                let by_path = wanted.contains(&b'/');
                actor.descends_from(&|exe| {
                    let found = if by_path { exe.as_bytes() } else { exe.name() };
                    found == wanted.as_slice()
                })
            }
        }
    }
}

impl Filter {
    fn admits(&self, change: &Change) -> bool {
        change.severity >= self.severity
            && self.since.is_none_or(|since| change.last >= since)
            && self.actor.as_ref().is_none_or(|wanted| change.actors.iter().any(|actor| wanted.admits(actor)))
            && (self.paths.is_empty() || self.paths.iter().any(|path| change.path.below(path).is_some()))
    }
}

/// A duration back from now, or a time.
pub fn moment(text: &str) -> anyhow::Result<Timestamp> {
    if let Ok(back) = waxseal_policy::units::parse_duration(text) {
        return Ok(clock::now().minus_seconds(i64::try_from(back.as_secs()).unwrap_or(i64::MAX)));
    }
    match Timestamp::from_rfc3339(text) {
        Some(time) => Ok(time),
        None => bail!(anyhow!(
            "\"{text}\" is neither a duration (\"2h\", \"1d\") nor a time (\"2026-11-24T09:00:00Z\")"
        )),
    }
}
