//! Entries for people, a line each.

use super::in_full;
use crate::output::{describe, style};
use std::io::{self, Write};
use waxseal_ledger::Leaf;
use waxseal_ledger::epoch::Announcer;
use waxseal_ledger::leaf::{By, ChangeLeaf, Decision, Event, LeafError, LeafPath, LeafText, Who};
use waxseal_model::digest::hex;
use waxseal_model::{Change, ChangeId, escape};

/// How many characters of a root hash are shown: the whole of it is in machine output.
const ROOT: usize = 16;

/// Writes an entry. Whatever is in it that others chose is escaped. `again`: the entry before said the same of this change,
/// and who made it is known better now.
pub fn write(
    out: &mut impl Write,
    seq: u64,
    leaf: Option<&Result<Leaf, LeafError>>,
    change: Option<&Change>,
    again: bool,
) -> io::Result<()> {
    let faint = style::FAINT;
    let time = match leaf {
        Some(Ok(Leaf { time, .. }) | Err(LeafError::Unknown { time, .. })) => time.to_string(),
        Some(Err(LeafError::Wire(_))) | None => "time unknown".into(),
    };
    write!(out, "{faint}{seq:>7}  {time:<27}{faint:#}  ")?;
    match leaf {
        Some(Ok(leaf)) => write_event(out, &leaf.event, change, again),
        Some(Err(LeafError::Unknown { .. })) => {
            writeln!(out, "something that a newer version of the program recorded")
        }
        Some(Err(LeafError::Wire(_))) => writeln!(out, "damaged: see `waxseal verify`"),
        None => writeln!(out, "its details were deleted by the rules of retention"),
    }
}

fn write_event(out: &mut impl Write, event: &Event, change: Option<&Change>, again: bool) -> io::Result<()> {
    if let Event::Change(leaf) = event {
        if again {
            let (faint, path) = (style::FAINT, path(&leaf.path));
            write!(out, "{:<8} {:<9} {path}  {faint}{}{faint:#}", "", "who", leaf.id)?;
        } else {
            write_change(out, leaf, change)?;
        }
        return match change.and_then(|change| change.actors.last()) {
            Some(actor) => writeln!(out, ", by {}", describe::actor(actor)),
            None => writeln!(out, "{}", by_whom(leaf.who.as_ref())),
        };
    }
    writeln!(out, "{}", words(event))
}

fn write_change(out: &mut impl Write, leaf: &ChangeLeaf, change: Option<&Change>) -> io::Result<()> {
    let (color, strong, faint) = (style::severity(leaf.severity), style::STRONG, style::FAINT);
    let headline = match (change, &leaf.from) {
        (Some(change), _) => describe::headline(change),
        (None, Some(from)) => format!("{} from {}", leaf.kind.name(), path(from)),
        (None, None) => leaf.kind.name().to_owned(),
    };
    let severity = leaf.severity.name();
    write!(out, "{color}{severity:<8}{color:#} {headline:<9} {strong}{}{strong:#}", path(&leaf.path))?;
    let fields: Vec<&str> = leaf.fields.iter().map(|field| field.name()).collect();
    if !fields.is_empty() {
        write!(out, " ({})", fields.join(", "))?;
    }
    write!(out, "  {faint}{}{faint:#}", leaf.id)
}

fn words(event: &Event) -> String {
    match event {
        Event::Key(key) if key.epoch > 0 && key.announcer == Announcer::Host => {
            format!("key of epoch {}, announced by the host's key: the key before was lost", key.epoch)
        }
        Event::Key(key) => format!("key of epoch {}", key.epoch),
        Event::Start { program, baseline: Some((generation, _)), .. } => {
            format!("start of {}, against baseline {generation}", text(program))
        }
        Event::Start { program, baseline: None, .. } => format!("start of {}", text(program)),
        Event::Stop { reason } => format!("stop: {}", text(reason)),
        Event::Change(_) => String::new(),
        Event::Resolved { id, path: at } => format!("resolved {}  {id}: it is as it was sealed", path(at)),
        Event::Approved(decision) => decided("approved", decision),
        Event::Restored(decision) => decided("restored", decision),
        Event::Sealed(sealed) => {
            let entries = describe::counted(sealed.entries, "entry", "entries");
            let root: String = hex(&sealed.root).chars().take(ROOT).collect();
            let (by, note) = (by(&sealed.by), noted(&sealed.note));
            format!("sealed   baseline {}, {entries}, root {root}…{by}{note}", sealed.generation)
        }
        Event::Blind { reason, path: at, since, until } => {
            let place = at.as_ref().map_or_else(|| "anything".into(), path);
            let until = until.map_or_else(|| "until later".into(), |until| format!("to {until}"));
            format!("blind    could not see or record {place} from {since} {until}: {}", text(reason))
        }
        Event::Config { rules, .. } => {
            let rules: String = hex(rules).chars().take(ROOT).collect();
            format!("config   other rules hold ({rules}…)")
        }
        Event::Alert { id, channel, delivered, attempts, answer, .. } => {
            let how = if *delivered { "delivered" } else { "given up" };
            let attempts = describe::counted(*attempts, "attempt", "attempts");
            let answer = noted(answer);
            format!("alert    {id} {how} through {} after {attempts}{answer}", text(channel))
        }
        Event::Heartbeat { watching, open, backend } => {
            let entries = describe::counted(*watching, "entry", "entries");
            let open = describe::counted(*open, "change", "changes");
            format!("alive    watching {entries} with {}, {open} open", text(backend))
        }
        Event::Touched { path: at, who, .. } => {
            format!("touched  {}: it came and went{}", path(at), by_whom(who.as_ref()))
        }
        Event::Clock => "clock    it was set back".into(),
        Event::Scan(scan) => {
            let what = if scan.full { "full" } else { "quick" };
            let entries = describe::counted(scan.checked, "entry", "entries");
            let errors = match scan.errors {
                0 => String::new(),
                n => format!(", {} not looked at", describe::counted(n, "place", "places")),
            };
            format!(
                "scan     {what}, since {}: {}, {entries} looked at{errors}",
                scan.started,
                text(&scan.outcome)
            )
        }
        Event::Pruned(pruned) => {
            let entries = describe::counted(pruned.leaves(), "entry", "entries");
            let changes = describe::counted(pruned.changes, "change", "changes");
            format!(
                "pruned   the details of {entries}, and {changes}, were deleted: {}",
                text(&pruned.reason)
            )
        }
        Event::Kept { suspect, contents, bytes, .. } => {
            let contents = describe::counted(*contents, "content", "contents");
            let what = if *suspect { "suspect" } else { "approved" };
            format!("kept     {contents} as evidence ({what}, {})", describe::bytes(*bytes))
        }
        Event::Dropped { reason, contents } => {
            let contents = describe::counted(contents.len() as u64, "content", "contents");
            format!("dropped  {contents} from the evidence: {}", text(reason))
        }
    }
}

fn decided(what: &str, decision: &Decision) -> String {
    let id = if decision.id == ChangeId::NONE { String::new() } else { format!("  {}", decision.id) };
    format!("{what} {}{id}{}{}", path(&decision.path), by(&decision.by), noted(&decision.note))
}

fn by(by: &By) -> String {
    let mut out = String::new();
    if !by.user.as_str().is_empty() {
        out = format!(", by {}", text(&by.user));
    }
    for (word, more) in [("logged in as", &by.login), ("from", &by.origin)] {
        if let Some(more) = more {
            out.push_str(&format!(" {word} {}", text(more)));
        }
    }
    out
}

fn by_whom(who: Option<&Who>) -> String {
    who.map_or_else(String::new, |who| format!(", by {}", describe::actor(&in_full(who))))
}

fn noted(note: &LeafText) -> String {
    if note.as_str().is_empty() { String::new() } else { format!(": {}", text(note)) }
}

fn text(text: &LeafText) -> String {
    escape::for_people(text.as_str().as_bytes())
}

fn path(path: &LeafPath) -> String {
    let shown = escape::for_people(path.shown());
    if matches!(path, LeafPath::Long { .. }) { format!("{shown}…") } else { shown }
}
