//! `[scan]`, `[actors]`, `[evidence]`, `[[channel]]` and `[[route]]`.

use super::problems::Problems;
use super::reader::{Field, Table, list, nearest, shown};
use super::{settings, watch};
use crate::config::{Actors, Evidence, Route, Scan, Threads, Watch};
use crate::schema::{KINDS, kind_names};
use crate::settings::Channel;
use crate::units;
use std::collections::HashSet;
use std::time::Duration;
use toml::de::DeValue;
use waxseal_model::{Algorithm, Severity};

pub(super) fn scan(mut table: Table<'_, '_>, problems: &mut Problems) -> Scan {
    let default = Scan::default();
    let mut every = |key, example| {
        let field = table.field(key, example)?;
        match field.quantity(units::parse_duration, problems)? {
            // Less would be scans without end, or no time for an answer.
            short if short < Duration::from_secs(1) => field.bad("it must be at least a second", problems),
            enough => Some(enough),
        }
    };
    let quick_every = every("quick_every", "\"15m\"");
    let full_every = every("full_every", "\"24h\"");
    let deadline = every("deadline", "\"30s\"");
    let cpu_budget = table.field("cpu_budget", "\"25%\"");
    let cpu_budget = cpu_budget.and_then(|field| field.quantity(units::parse_share, problems));
    let threads = table.field("threads", "\"auto\"").and_then(|field| threads(&field, problems));
    let hashes = table.field("hashes", "[\"sha256\", \"blake3\"]").and_then(|field| hashes(&field, problems));
    let max_sparse = table.field("max_sparse", "\"32 GiB\"");
    let max_sparse = max_sparse.and_then(|field| field.quantity(units::parse_size, problems));
    table.finish(problems);
    Scan {
        quick_every: quick_every.unwrap_or(default.quick_every),
        full_every: full_every.unwrap_or(default.full_every),
        cpu_budget: cpu_budget.unwrap_or(default.cpu_budget),
        threads: threads.unwrap_or(default.threads),
        hashes: hashes.unwrap_or(default.hashes),
        max_sparse: max_sparse.unwrap_or(default.max_sparse),
        deadline: deadline.unwrap_or(default.deadline),
    }
}

fn threads(field: &Field<'_, '_>, problems: &mut Problems) -> Option<Threads> {
    const EXPECTED: &str = "\"auto\" or a whole number from 1 to 64";
    match field.raw() {
        DeValue::String(text) if text == "auto" => Some(Threads::Auto),
        DeValue::String(_) => field.bad(&format!("it must be {EXPECTED}"), problems),
        DeValue::Integer(_) => match field.as_integer().map(u8::try_from) {
            Some(Ok(count @ 1..=64)) => Some(Threads::Fixed(count)),
            _ => field.bad(&format!("it must be {EXPECTED}"), problems),
        },
        _ => field.wrong(EXPECTED, problems),
    }
}

/// The algorithms asked for, and SHA-256: exports and package databases speak it.
fn hashes(field: &Field<'_, '_>, problems: &mut Problems) -> Option<Vec<Algorithm>> {
    let names = Algorithm::ALL.map(Algorithm::name);
    let asked: Vec<usize> = field.list(problems)?.iter().filter_map(|e| e.one_of(&names, problems)).collect();
    let wanted =
        |(index, algorithm): &(usize, Algorithm)| *algorithm == Algorithm::Sha256 || asked.contains(index);
    Some(Algorithm::ALL.into_iter().enumerate().filter(wanted).map(|(_, algorithm)| algorithm).collect())
}

pub(super) fn actors(mut table: Table<'_, '_>, problems: &mut Problems) -> Actors {
    let audit_rules = table.field("audit_rules", "false").and_then(|field| field.flag(problems));
    table.finish(problems);
    audit_rules.map_or_else(Actors::default, |audit_rules| Actors { audit_rules })
}

pub(super) fn evidence(mut table: Table<'_, '_>, problems: &mut Problems) -> Evidence {
    let budget =
        table.field("budget", "\"1 GiB\"").and_then(|field| field.quantity(units::parse_size, problems));
    table.finish(problems);
    budget.map_or_else(Evidence::default, |budget| Evidence { budget })
}

/// The channels, and the names of all of them including those that could not be read: a route to such a one is
/// not a problem of its own.
pub(super) fn channels(tables: Vec<Table<'_, '_>>, problems: &mut Problems) -> (Vec<Channel>, Vec<String>) {
    let mut seen = HashSet::new();
    let mut channels = Vec::new();
    let mut names = Vec::new();
    for mut table in tables {
        let span = table.span.clone();
        let name = match table.field("name", "\"soc\"") {
            Some(field) => {
                let name = watch::name(&field, problems);
                if let Some(name) = name.as_ref().filter(|name| !seen.insert((*name).clone())) {
                    let message = format!("two channels are named `{}`", shown(name));
                    problems.add(field.span(), message, "give each channel a `name` of its own");
                }
                name
            }
            None => {
                problems.add(span.clone(), "this channel has no `name`", "for example: name = \"soc\"");
                None
            }
        };
        names.extend(name.clone());
        let kinds = kind_names();
        let kind = match table.field("kind", "\"discord\"") {
            Some(field) => field.one_of(&kinds, problems).and_then(|index| KINDS.get(index)),
            None => {
                problems.add(span, "this channel has no `kind`", format!("one of {}", list(&kinds)));
                None
            }
        };
        // Without its kind it is not known which keys it takes.
        let Some((kind, keys)) = kind else { continue };
        let settings = settings::read(table.called(format!("a channel of kind \"{kind}\"")), keys, problems);
        channels.push(Channel { name: name.unwrap_or_default(), kind, settings });
    }
    (channels, names)
}

pub(super) fn routes(
    tables: Vec<Table<'_, '_>>,
    channels: &[String],
    watches: &[Watch],
    problems: &mut Problems,
) -> Vec<Route> {
    let watches: Vec<&str> = watches.iter().map(|watch| watch.name.as_str()).collect();
    let channel_names: Vec<&str> = channels.iter().map(String::as_str).collect();
    tables.into_iter().map(|table| route(table, &channel_names, &watches, problems)).collect()
}

fn route(mut table: Table<'_, '_>, channels: &[&str], watches: &[&str], problems: &mut Problems) -> Route {
    let to = match table.field("channels", "[\"soc\"]") {
        Some(field) => {
            let names = known_names(&field, channels, "channel", problems);
            if names.as_ref().is_some_and(Vec::is_empty) {
                field.bad::<()>("the list is empty, so the route leads nowhere", problems);
            }
            names.unwrap_or_default()
        }
        None => {
            let hint = "for example: channels = [\"soc\"]";
            problems.add(table.span.clone(), "this route has no `channels`", hint);
            Vec::new()
        }
    };
    let severity =
        table.field("min_severity", "\"medium\"").and_then(|field| watch::severity(&field, problems));
    let of = table.field("watches", "[\"web root\"]");
    let of = of.and_then(|field| known_names(&field, watches, "watch", problems));
    table.finish(problems);
    Route {
        channels: to,
        min_severity: severity.unwrap_or(Severity::Medium),
        watches: of.unwrap_or_default(),
    }
}

/// A list of names that other sections define.
fn known_names(
    field: &Field<'_, '_>,
    known: &[&str],
    what: &str,
    problems: &mut Problems,
) -> Option<Vec<String>> {
    let mut names = Vec::new();
    for element in field.list(problems)? {
        let Some(name) = element.string(problems) else { continue };
        if !known.contains(&name) {
            let hint = match known {
                [] => format!("there is no [[{what}]] yet"),
                _ => nearest(name, known),
            };
            problems.add(element.span(), format!("there is no {what} named `{}`", shown(name)), hint);
        }
        names.push(name.to_owned());
    }
    Some(names)
}
