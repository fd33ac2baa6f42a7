//! `[ledger]` and `[[ledger.publish]]`.

use super::problems::Problems;
use super::reader::{Field, Table, list, shown};
use super::{settings, tables_of, watch};
use crate::config::{Ledger, Publish, PublishTo};
use crate::schema::PUBLISH_KINDS;
use crate::settings::Settings;
use crate::units;
use std::collections::HashSet;
use std::time::Duration;
use waxseal_model::escape;

const SECOND: Duration = Duration::from_secs(1);
/// Verifiers take nothing for pruned that was younger.
const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);

pub(super) fn ledger(mut table: Table<'_, '_>, problems: &mut Problems) -> Ledger {
    let default = Ledger::default();
    let heartbeat = table.field("heartbeat", "\"15m\"").and_then(|field| {
        let every = field.quantity(units::parse_duration, problems)?;
        let is_good = every.is_zero() || every >= SECOND;
        if is_good { Some(every) } else { field.bad("it must be at least a second, or 0", problems) }
    });
    let detail_age = table.field("detail_age", "\"1095d\"").and_then(|field| {
        let age = field.quantity(units::parse_duration, problems)?;
        if age >= WEEK { Some(age) } else { field.bad("it must be at least a week", problems) }
    });
    let detail_size = table.field("detail_size", "\"4 GiB\"").and_then(|field| {
        let size = field.quantity(units::parse_size, problems)?;
        if size >= 1 << 20 { Some(size) } else { field.bad("it must be at least 1 MiB", problems) }
    });
    let every = table.field("publish_every", "\"1m\"").and_then(|field| at_least_a_second(&field, problems));
    let field = table.field("publish", "[]");
    table.finish(problems);
    let publish = field.map_or_else(Vec::new, |mut field| {
        field.key = "ledger.publish".to_owned();
        let tables = tables_of(&field, problems);
        if tables.len() > Ledger::MOST {
            let message = format!("there are {} places for checkpoints", tables.len());
            problems.add(field.span(), message, format!("at most {} are allowed", Ledger::MOST));
        }
        let mut seen = HashSet::new();
        tables.into_iter().filter_map(|table| publish(table, &mut seen, problems)).collect()
    });
    Ledger {
        heartbeat: heartbeat.unwrap_or(default.heartbeat),
        detail_age: detail_age.unwrap_or(default.detail_age),
        detail_size: detail_size.unwrap_or(default.detail_size),
        publish_every: every.unwrap_or(default.publish_every),
        publish,
    }
}

fn at_least_a_second(field: &Field<'_, '_>, problems: &mut Problems) -> Option<Duration> {
    let time = field.quantity(units::parse_duration, problems)?;
    if time < SECOND { field.bad("it must be at least a second", problems) } else { Some(time) }
}

fn publish(mut table: Table<'_, '_>, seen: &mut HashSet<String>, problems: &mut Problems) -> Option<Publish> {
    let span = table.span.clone();
    let named = table.field("name", "\"usb\"");
    let name_span = named.as_ref().map_or(span.clone(), Field::span);
    let name = named.and_then(|field| watch::name(&field, problems));
    let timeout = table.field("timeout", "\"30s\"").and_then(|field| at_least_a_second(&field, problems));
    let kinds: Vec<&str> = PUBLISH_KINDS.iter().map(|(kind, _)| *kind).collect();
    let (kind, keys) = match table.field("kind", "\"directory\"") {
        Some(field) => PUBLISH_KINDS.get(field.one_of(&kinds, problems)?)?,
        None => {
            problems.add(
                span,
                "this place for checkpoints has no `kind`",
                format!("one of {}", list(&kinds)),
            );
            return None;
        }
    };
    let settings =
        settings::read(table.called(format!("a [[ledger.publish]] of kind \"{kind}\"")), keys, problems);
    let Some(to) = target(kind, &settings) else {
        // What is there and cannot be read was told.
        let needed: Vec<&str> =
            keys.iter().filter(|key| key.default.is_empty()).map(|key| key.name).collect();
        let message = format!("a [[ledger.publish]] of kind \"{kind}\" needs {}", list(&needed));
        let example = keys.first().map_or_else(String::new, |key| format!("{} = {}", key.name, key.example));
        problems.add(span, message, format!("for example: {example}"));
        return None;
    };
    let own = match &to {
        PublishTo::Directory(path) => path.clone(),
        PublishTo::Witness { url, .. } => url.clone(),
        PublishTo::Command(argv) => argv.first().cloned().unwrap_or_default(),
    };
    // Whatever is in it, a name is one line without control characters.
    let name = name.unwrap_or_else(|| escape::for_people(own.trim().as_bytes()));
    if !seen.insert(name.clone()) {
        let message = format!("two places for checkpoints are named `{}`", shown(&name));
        problems.add(name_span, message, "give each a `name` of its own");
    }
    Some(Publish { name, timeout: timeout.unwrap_or(Duration::from_secs(30)), to })
}

fn target(kind: &str, settings: &Settings) -> Option<PublishTo> {
    match kind {
        "directory" => settings.text("path").map(|path| PublishTo::Directory(path.to_owned())),
        "witness" => settings
            .text("url")
            .zip(settings.text("key"))
            .map(|(url, key)| PublishTo::Witness { url: url.to_owned(), key: key.to_owned() }),
        _ => settings.texts("argv").map(|argv| PublishTo::Command(argv.to_vec())),
    }
}
