//! Numbers, states and differences in words.

use waxseal_engine::evidence::KeptCount;
use waxseal_model::change::Seen;
use waxseal_model::digest::hex;
use waxseal_model::json::Object;
use waxseal_model::{Actor, ActorSource, Algorithm, Attribute, Change, ChangeKind, escape, flags, json};
use waxseal_store::NewBaseline;

/// A count with separators: 1,234,567.
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A count with its noun: `1 change`, `2 changes`.
pub fn counted(n: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(n), if n == 1 { one } else { many })
}

/// What came of keeping contents; nothing when none were to be kept.
pub fn kept(kept: &KeptCount) -> Option<String> {
    let KeptCount { files, too_large, no_room, missed } = *kept;
    if *kept == KeptCount::default() {
        return None;
    }
    let mut text = format!("the contents of {}", counted(files, "file", "files"));
    for (n, why) in [
        (too_large, "larger than max_file"),
        (no_room, "without room in the budget of [evidence]"),
        (missed, "changed while they were sealed"),
    ] {
        if n > 0 {
            text.push_str(&format!("; not of {} ({why})", counted(n, "file", "files")));
        }
    }
    Some(text)
}

/// Bytes in decimal units, as disks are sold and as transfer rates are given.
pub fn bytes(n: u64) -> String {
    let units = [(1_000_000_000_000, "TB"), (1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "kB")];
    match units.into_iter().find(|(unit, _)| n >= *unit) {
        Some((unit, name)) => format!("{:.1} {name}", n as f64 / unit as f64),
        None => format!("{n} B"),
    }
}

/// The end of a change, or what else became of it, for machines.
pub fn over(how: &'static str, change: &Change) -> Object {
    let mut object = json::object(how);
    object.insert("id".into(), change.id.to_string().into());
    json::put_path(&mut object, "path", change.path.as_bytes());
    object
}

/// A baseline, for machines.
pub fn baseline(generation: u64, stored: &NewBaseline) -> Object {
    let mut object = json::object("baseline");
    object.insert("generation".into(), generation.into());
    object.insert("root".into(), hex(&stored.root).into());
    object.insert("time".into(), stored.time.to_string().into());
    object.insert("who".into(), stored.who.clone().into());
    object.insert("note".into(), stored.note.clone().into());
    object.insert("entries".into(), stored.entries.into());
    object.insert("files".into(), stored.files.into());
    object.insert("bytes".into(), stored.bytes.into());
    object.insert("seal".into(), stored.seal.clone().into());
    object
}

/// What differs, one line an attribute: its name, the old value and the new one.
pub fn differences(change: &Change) -> Vec<(&'static str, String, String)> {
    let (Some(before), Some(after)) = (&change.before, &change.after) else { return Vec::new() };
    let pair = |attribute| {
        let (old, new) = (value(before, attribute), value(after, attribute));
        (attribute.name(), old, new)
    };
    change.fields.iter().map(pair).collect()
}

/// One attribute of a state, for people.
pub fn value(seen: &Seen, attribute: Attribute) -> String {
    let state = &seen.state;
    let none = || "none".to_string();
    match attribute {
        Attribute::Type => state.file_type.name().to_string(),
        Attribute::Content => {
            let known = Algorithm::ALL.into_iter().find_map(|a| Some((a, state.digests.get(a)?)));
            known.map_or_else(none, |(a, digest)| format!("{} {}", a.name(), hex(digest)))
        }
        Attribute::Size => format!("{} bytes", count(state.size)),
        Attribute::Target => state.target().map_or_else(none, escape::for_people),
        Attribute::Rdev => state.rdev().map_or_else(none, json::device),
        Attribute::Mode => format!("{:04o} {}", state.mode, mode_text(state.mode)),
        Attribute::Owner => named(state.uid, seen.user.as_deref()),
        Attribute::Group => named(state.gid, seen.group.as_deref()),
        Attribute::Acl => json::acl_text(state).unwrap_or_else(none),
        Attribute::Caps => json::caps_text(state).unwrap_or_else(none),
        Attribute::Xattrs => {
            let texts: Vec<String> = state
                .plain_xattrs()
                .map(|(name, value)| format!("{}={}", escape::for_people(name), escape::for_people(value)))
                .collect();
            if texts.is_empty() { none() } else { texts.join(", ") }
        }
        Attribute::Flags => {
            let names: Vec<&str> = flags::names(state.flags.unwrap_or(0)).collect();
            if names.is_empty() { none() } else { names.join(", ") }
        }
        Attribute::Mtime => state.mtime.to_rfc3339_nanos(),
        Attribute::Ctime => state.ctime.to_rfc3339_nanos(),
        Attribute::Btime => state.btime.map_or_else(none, |time| time.to_rfc3339_nanos()),
        Attribute::Inode => state.inode.to_string(),
        Attribute::Links => state.links.to_string(),
    }
}

fn named(id: u32, name: Option<&str>) -> String {
    match name {
        Some(name) => format!("{} ({id})", escape::for_people(name.as_bytes())),
        None => format!("{id} (no such name)"),
    }
}

/// Permission bits as `ls` shows them.
fn mode_text(mode: u16) -> String {
    let triple = |shift: u16, special: u16, set: char, unset: char| {
        let bit = |mask: u16, c| if mode >> shift & mask != 0 { c } else { '-' };
        let execute = match (mode & special != 0, mode >> shift & 1 != 0) {
            (true, true) => set,
            (true, false) => unset,
            (false, true) => 'x',
            (false, false) => '-',
        };
        [bit(4, 'r'), bit(2, 'w'), execute]
    };
    let all = [triple(6, 0o4000, 's', 'S'), triple(3, 0o2000, 's', 'S'), triple(0, 0o1000, 't', 'T')];
    all.iter().flatten().collect()
}

/// How it is known who makes a change.
pub fn actor_source(source: ActorSource) -> &'static str {
    match source {
        ActorSource::ExecCache => "known of every process, also when it ends at once (exec-cache)",
        ActorSource::Audit => "known of every process that the system audits, and of most others (audit)",
        ActorSource::ProcConnector => "known of most processes that live for a moment (proc-connector)",
        ActorSource::Pidfd => "known of processes that still run when they are asked (pidfd)",
    }
}

/// A way to know who makes a change, and its name.
pub fn actor_source_name(source: ActorSource) -> String {
    let what = match source {
        ActorSource::ExecCache => "a record of every process",
        ActorSource::Audit => "the system's audit records",
        ActorSource::ProcConnector => "the kernel's word on each new process",
        ActorSource::Pidfd => "what processes say of themselves",
    };
    format!("{what} ({})", source.name())
}

/// Who made a change, in a line.
pub fn actor(actor: &Actor) -> String {
    if actor.source.is_none() {
        return format!("an unknown process (its number was {})", actor.pid);
    }
    let package = actor.package.as_ref().map(|package| escape::for_people(package.as_bytes()));
    let package = package.map_or_else(String::new, |package| format!(" ({package})"));
    let mut text = match &actor.exe {
        Some(exe) => format!("{exe}{package} [{}]", actor.pid),
        None => format!("process {}", actor.pid),
    };
    if let Some(uid) = actor.uid {
        text.push_str(&format!(" as {}", named_or_number(uid, actor.user.as_deref())));
    }
    if let Some(login) = actor.login_uid.filter(|login| Some(*login) != actor.uid) {
        text.push_str(&format!(", logged in as {}", named_or_number(login, actor.login_user.as_deref())));
    }
    if let Some(from) = actor.remote.as_ref().or(actor.terminal.as_ref()) {
        text.push_str(&format!(" from {}", escape::for_people(from.as_bytes())));
    }
    if let Some(unit) = &actor.unit {
        text.push_str(&format!(", {}", escape::for_people(unit.as_bytes())));
    }
    if let Some(container) = &actor.container {
        let id: String = container.id.chars().take(12).collect();
        text.push_str(&format!(", {} container {}", container.runtime, escape::for_people(id.as_bytes())));
    }
    text.push_str(&earlier(actor));
    let line = actor.args.iter().map(|arg| escape::for_people(arg.as_bytes())).collect::<Vec<_>>().join(" ");
    if !line.is_empty() {
        let shown: String = line.chars().take(ARGUMENTS).collect();
        let cut = if shown.len() < line.len() || actor.args_cut { "…" } else { "" };
        text.push_str(&format!(": {shown}{cut}"));
    }
    text
}

/// What an actor was before, in words.
fn earlier(actor: &Actor) -> String {
    let programs: Vec<String> = actor.earlier.iter().map(ToString::to_string).collect();
    match (programs.join(", then "), actor.earlier_cut) {
        (programs, _) if programs.is_empty() && !actor.earlier_cut => programs,
        (programs, false) => format!(", which had been {programs} a moment before"),
        (programs, true) if programs.is_empty() => {
            ", which may have been another program a moment before".into()
        }
        (programs, true) => format!(", which had been {programs} a moment before, and perhaps others"),
    }
}

/// How many characters of the arguments are shown to people.
const ARGUMENTS: usize = 100;

fn named_or_number(id: u32, name: Option<&str>) -> String {
    name.map_or_else(|| id.to_string(), |name| escape::for_people(name.as_bytes()))
}

/// What happened, in a few words: `modified`, `added (dir)`, `moved from /a`.
pub fn headline(change: &Change) -> String {
    let file_type = change.after.as_ref().or(change.before.as_ref()).map(|seen| seen.state.file_type.name());
    let mut text = change.kind.name().to_string();
    if matches!(change.kind, ChangeKind::Added | ChangeKind::Removed)
        && let Some(name) = file_type.filter(|name| *name != "file")
    {
        text.push_str(&format!(" ({name})"));
    }
    if let Some(from) = &change.from {
        text.push_str(&format!(" from {from}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(counted(1, "change", "changes"), "1 change");
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(8_190_000_000), "8.2 GB");
    }

    #[test]
    fn modes_read_as_ls_shows_them() {
        assert_eq!(mode_text(0o4755), "rwsr-xr-x");
        assert_eq!(mode_text(0o6644), "rwSr-Sr--");
        assert_eq!(mode_text(0o1777), "rwxrwxrwt");
    }
}
