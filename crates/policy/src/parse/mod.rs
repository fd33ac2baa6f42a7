//! The text of a config to a [`Config`], or to all that is wrong with it.
//!
//! Readers never stop at the first problem: each takes what it can, notes the rest in [`problems::Problems`], and
//! the config is only given out when nothing was noted.

mod mask;
mod problems;
mod publish;
mod reader;
mod sections;
mod settings;
mod watch;

pub use problems::{ConfigErrors, Problem};

use crate::config::{Actors, Config, Evidence, Ledger, Scan};
use crate::schema::{SECTION_NAMES, SECTIONS, UNUSED};
use crate::settings::Settings;
use problems::Problems;
use reader::{Field, Table};
use toml::de::{DeTable, DeValue};

/// Reads a config. `origin` names the text in messages, usually the path of the file.
///
/// # Errors
/// Everything that is wrong, each with its place. When the text is not TOML, only what is wrong with it as TOML,
/// since the rest would be guesses.
pub fn parse(text: &str, origin: &str) -> Result<Config, ConfigErrors> {
    let mut problems = Problems::default();
    let (document, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        let span = error.span().unwrap_or(text.len()..text.len());
        problems.add(
            span,
            format!("this is not TOML: {}", error.message()),
            "see https://toml.io for the form",
        );
    }
    if !problems.is_empty() {
        return Err(problems.into_errors(text, origin));
    }
    let config = read(Table::new(document.get_ref(), 0..0, "the config"), &mut problems);
    if problems.is_empty() { Ok(config) } else { Err(problems.into_errors(text, origin)) }
}

fn read(mut top: Table<'_, '_>, problems: &mut Problems) -> Config {
    let mut present = Vec::new();
    let mut sections = Vec::new();
    for name in SECTION_NAMES {
        let field = top.field(name, "…");
        if field.is_some() {
            present.push(name);
        }
        sections.push((name, field));
    }
    top.finish(problems);
    let find = |name: &str| sections.iter().find(|(n, _)| *n == name).and_then(|(_, field)| field.clone());

    let watches = match find("watch") {
        Some(field) => watch::read_all(tables_of(&field, problems), field.span(), problems),
        None => {
            problems.add(0..0, "there is no [[watch]], so nothing would be watched", EXAMPLE_WATCH);
            Vec::new()
        }
    };
    let (channels, channel_names) = match find("channel") {
        Some(field) => sections::channels(tables_of(&field, problems), problems),
        None => Default::default(),
    };
    let routes = find("route").map_or_else(Vec::new, |field| {
        sections::routes(tables_of(&field, problems), &channel_names, &watches, problems)
    });
    let scan = find("scan").and_then(|f| single(&f, problems)).map(|t| sections::scan(t, problems));
    let actors = find("actors").and_then(|f| single(&f, problems)).map(|t| sections::actors(t, problems));
    let evidence =
        find("evidence").and_then(|f| single(&f, problems)).map(|t| sections::evidence(t, problems));
    let ledger = find("ledger").and_then(|f| single(&f, problems)).map(|t| publish::ledger(t, problems));
    let mut settings = |name: &str| -> Settings {
        let keys = SECTIONS.iter().find(|(n, ..)| *n == name).map_or(&[][..], |(_, keys, _)| *keys);
        match find(name).and_then(|field| single(&field, problems)) {
            Some(table) => settings::read(table, keys, problems),
            None => settings::defaults(keys),
        }
    };
    Config {
        watches,
        scan: scan.unwrap_or_else(Scan::default),
        actors: actors.unwrap_or_else(Actors::default),
        evidence: evidence.unwrap_or_else(Evidence::default),
        ledger: ledger.unwrap_or_else(Ledger::default),
        alerts: settings("alerts"),
        channels,
        routes,
        log: settings("log"),
        explain: settings("explain"),
        reputation: settings("reputation"),
        dashboard: settings("dashboard"),
        fleet: settings("fleet"),
        unused: present.into_iter().filter(|name| UNUSED.contains(name)).map(str::to_owned).collect(),
    }
}

const EXAMPLE_WATCH: &str = "the smallest config is:\n[[watch]]\npaths = [\"/etc\"]";

/// The tables of `[[name]]`.
fn tables_of<'t, 'i>(field: &Field<'t, 'i>, problems: &mut Problems) -> Vec<Table<'t, 'i>> {
    let name = field.key.clone();
    match field.raw() {
        DeValue::Array(array) => {
            let mut tables = Vec::new();
            for value in array.iter() {
                match value.get_ref() {
                    DeValue::Table(table) => {
                        tables.push(Table::new(table, value.span(), format!("[[{name}]]")))
                    }
                    _ => problems.add(value.span(), format!("`{name}` must hold tables"), double(&name)),
                }
            }
            tables
        }
        DeValue::Table(table) => {
            problems.add(
                field.span(),
                format!("[{name}] needs double brackets: there can be several"),
                double(&name),
            );
            // What is inside is read all the same, so that its problems are told at once.
            vec![Table::new(table, field.span(), format!("[[{name}]]"))]
        }
        _ => {
            problems.add(field.span(), format!("`{name}` must be a table"), double(&name));
            Vec::new()
        }
    }
}

fn double(name: &str) -> String {
    format!("write: [[{name}]]")
}

/// The table of `[name]`.
fn single<'t, 'i>(field: &Field<'t, 'i>, problems: &mut Problems) -> Option<Table<'t, 'i>> {
    let name = &field.key;
    match field.raw() {
        DeValue::Table(table) => Some(Table::new(table, field.span(), format!("[{name}]"))),
        _ => {
            let message = format!("`{name}` must be a single table");
            problems.add(field.span(), message, format!("write: [{name}]"));
            None
        }
    }
}

#[cfg(test)]
mod tests;
