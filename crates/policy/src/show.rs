//! The effective config as TOML: every default written out, secrets left out.

use crate::config::{Config, PublishTo, Threads, Watch};
use crate::schema::{SECTIONS, UNUSED};
use crate::settings::{Channel, Secret, Setting, Settings};
use crate::units;
use serde_json::Value;
use std::fmt::Write;
use toml::de::{DeTable, DeValue};
use waxseal_model::json::Object;
use waxseal_model::{Algorithm, Attribute, AttributeSet, escape};

/// A string as TOML. What could steer a terminal is escaped.
pub(crate) fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if escape::is_deceptive(c) => out.push_str(&format!("\\U{:08X}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

pub(crate) fn quote_list<S: AsRef<str>>(texts: impl IntoIterator<Item = S>) -> String {
    let quoted: Vec<String> = texts.into_iter().map(|text| quote(text.as_ref())).collect();
    format!("[{}]", quoted.join(", "))
}

/// The config as Waxseal understands it, as TOML that [`crate::parse`] reads back as the same config, but for the
/// secrets that stand in it: each is a comment. Sections that this version does not act on are only shown when
/// the config has them, and are marked.
pub fn show(config: &Config) -> String {
    let mut out = String::new();
    for watch in &config.watches {
        show_watch(&mut out, watch);
    }
    show_scan(&mut out, config);
    if header(&mut out, config, "actors", "[actors]") {
        line(&mut out, "audit_rules", &config.actors.audit_rules.to_string());
    }
    if header(&mut out, config, "evidence", "[evidence]") {
        line(&mut out, "budget", &quote(&units::format_size(config.evidence.budget)));
    }
    show_ledger(&mut out, config);
    for (name, ..) in SECTIONS {
        if header(&mut out, config, name, &format!("[{name}]")) {
            show_settings(&mut out, name, section(config, name));
        }
    }
    for channel in &config.channels {
        if header(&mut out, config, "channel", "[[channel]]") {
            show_channel(&mut out, channel);
        }
    }
    for route in &config.routes {
        if header(&mut out, config, "route", "[[route]]") {
            line(&mut out, "channels", &quote_list(&route.channels));
            line(&mut out, "min_severity", &quote(route.min_severity.name()));
            line(&mut out, "watches", &quote_list(&route.watches));
        }
    }
    out
}

/// The same as an object of the config's own shape, without what is a comment there: secrets and remarks.
pub fn show_json(config: &Config) -> Object {
    let text = show(config);
    match DeTable::parse(&text) {
        Ok(table) => object(table.get_ref()),
        // What `show` writes can be read; the property tests hold it to that.
        Err(_) => Object::new(),
    }
}

fn object(table: &DeTable<'_>) -> Object {
    table.iter().map(|(key, value)| (key.get_ref().to_string(), json(value.get_ref()))).collect()
}

fn json(value: &DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => text.as_ref().into(),
        DeValue::Boolean(flag) => (*flag).into(),
        DeValue::Array(list) => list.iter().map(|value| json(value.get_ref())).collect(),
        DeValue::Table(table) => object(table).into(),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => number.into(),
            Err(_) => number.as_str().into(),
        },
        // The config has neither.
        DeValue::Float(number) => number.as_str().into(),
        DeValue::Datetime(time) => time.to_string().into(),
    }
}

fn line(out: &mut String, key: &str, value: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(out, "{key} = {value}");
}

/// Begins a section, unless it is one that would only pretend to do something.
fn header(out: &mut String, config: &Config, name: &str, header: &str) -> bool {
    let unused = UNUSED.contains(&name);
    if unused && !config.unused.iter().any(|n| n == name) {
        return false;
    }
    if !out.is_empty() {
        out.push('\n');
    }
    if unused {
        out.push_str("# Checked, but not acted on by this version.\n");
    }
    out.push_str(header);
    out.push('\n');
    true
}

fn section<'c>(config: &'c Config, name: &str) -> &'c Settings {
    match name {
        "alerts" => &config.alerts,
        "log" => &config.log,
        "explain" => &config.explain,
        "reputation" => &config.reputation,
        "dashboard" => &config.dashboard,
        _ => &config.fleet,
    }
}

fn show_watch(out: &mut String, watch: &Watch) {
    if !out.is_empty() {
        out.push('\n');
    }
    out.push_str("[[watch]]\n");
    line(out, "name", &quote(&watch.name));
    // A path that is not UTF-8 cannot come from a config.
    line(out, "paths", &quote_list(watch.paths.iter().filter_map(|path| path.text())));
    line(out, "exclude", &quote_list(watch.exclude.sources()));
    line(out, "include", &quote_list(watch.include.sources()));
    line(out, "attributes", &attributes(watch.attributes));
    line(out, "severity", &quote(watch.severity.name()));
    line(out, "change", &quote(watch.change.name()));
    let max_file = quote(&units::format_size(watch.keep.max_file));
    line(out, "keep", &format!("{{ content = {}, max_file = {max_file} }}", watch.keep.content));
    line(out, "restore", &quote(watch.restore.name()));
    line(out, "recursion", &watch.recursion.map_or_else(|| quote("unlimited"), |depth| depth.to_string()));
    line(out, "cross_filesystems", &watch.cross_filesystems.to_string());
    line(out, "optional", &watch.optional.to_string());
    for rule in &watch.actors {
        out.push_str("\n[[watch.actor]]\n");
        line(out, "programs", &quote_list(rule.programs.iter().filter_map(|path| path.text())));
        line(out, "otherwise", &quote(rule.otherwise.name()));
    }
}

fn attributes(set: AttributeSet) -> String {
    match AttributeSet::GROUPS.iter().find(|(_, group)| *group == set) {
        Some((name, _)) => quote(name),
        None => quote_list(set.iter().map(Attribute::name)),
    }
}

fn show_scan(out: &mut String, config: &Config) {
    if !header(out, config, "scan", "[scan]") {
        return;
    }
    let scan = &config.scan;
    line(out, "quick_every", &quote(&units::format_duration(scan.quick_every)));
    line(out, "full_every", &quote(&units::format_duration(scan.full_every)));
    line(out, "cpu_budget", &quote(&format!("{}%", scan.cpu_budget)));
    let threads = match scan.threads {
        Threads::Auto => quote("auto"),
        Threads::Fixed(count) => count.to_string(),
    };
    line(out, "threads", &threads);
    line(out, "hashes", &quote_list(scan.hashes.iter().map(|a: &Algorithm| a.name())));
    line(out, "max_sparse", &quote(&units::format_size(scan.max_sparse)));
    line(out, "deadline", &quote(&units::format_duration(scan.deadline)));
}

fn show_ledger(out: &mut String, config: &Config) {
    if !header(out, config, "ledger", "[ledger]") {
        return;
    }
    line(out, "heartbeat", &quote(&units::format_duration(config.ledger.heartbeat)));
    line(out, "detail_age", &quote(&units::format_duration(config.ledger.detail_age)));
    line(out, "detail_size", &quote(&units::format_size(config.ledger.detail_size)));
    line(out, "publish_every", &quote(&units::format_duration(config.ledger.publish_every)));
    for publish in &config.ledger.publish {
        out.push_str("\n[[ledger.publish]]\n");
        line(out, "name", &quote(&publish.name));
        line(out, "kind", &quote(publish.to.kind()));
        match &publish.to {
            PublishTo::Directory(path) => line(out, "path", &quote(path)),
            PublishTo::Command(argv) => line(out, "argv", &quote_list(argv)),
            PublishTo::Witness { url, key } => {
                line(out, "url", &quote(url));
                line(out, "key", &quote(key));
            }
        }
        line(out, "timeout", &quote(&units::format_duration(publish.timeout)));
    }
}

fn show_channel(out: &mut String, channel: &Channel) {
    line(out, "name", &quote(&channel.name));
    line(out, "kind", &quote(channel.kind));
    show_settings(out, "channel", &channel.settings);
}

/// The keys of a section, tables within it last, since TOML wants them so.
fn show_settings(out: &mut String, place: &str, settings: &Settings) {
    for (key, setting) in &settings.0 {
        match setting {
            Setting::Flag(flag) => line(out, key, &flag.to_string()),
            Setting::Integer(number) => line(out, key, &number.to_string()),
            Setting::Text(text) => line(out, key, &quote(text)),
            Setting::Texts(texts) => line(out, key, &quote_list(texts)),
            Setting::Duration(duration) => line(out, key, &quote(&units::format_duration(*duration))),
            Setting::Size(bytes) => line(out, key, &quote(&units::format_size(*bytes))),
            Setting::Windows(windows) => {
                line(out, key, &quote_list(windows.iter().map(|w| units::format_window(*w))))
            }
            Setting::Secret(Secret::Given(_)) => line(out, &format!("# {key}"), "\"<set>\""),
            Setting::Secret(Secret::File(path)) => line(out, &format!("{key}_file"), &quote(path)),
            Setting::Secret(Secret::Env(name)) => line(out, &format!("{key}_env"), &quote(name)),
            Setting::Table(_) => {}
        }
    }
    for (key, setting) in &settings.0 {
        if let Setting::Table(inner) = setting {
            let place = format!("{place}.{key}");
            let _ = writeln!(out, "\n[{place}]");
            show_settings(out, &place, inner);
        }
    }
}
