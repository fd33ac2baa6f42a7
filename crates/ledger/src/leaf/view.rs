//! Leaves as machine output: one JSON object of type `entry` each.

use super::{By, ChangeLeaf, Decision, Event, Leaf, LeafPath, LeafState, Who};
use crate::epoch::Announcer;
use waxseal_model::digest::hex;
use waxseal_model::json::{self, Object};
use waxseal_model::{ChangeId, Digest, Timestamp};

impl Leaf {
    /// The line of `log --json` for this leaf at this index, by the leaf alone.
    pub fn to_json(&self, index: u64) -> Object {
        let mut out = json::object("entry");
        out.insert("seq".into(), index.into());
        out.insert("time".into(), self.time.to_string().into());
        out.insert("kind".into(), self.event.kind().into());
        put_event(&mut out, &self.event);
        out
    }
}

fn put_event(out: &mut Object, event: &Event) {
    match event {
        Event::Key(announcement) => {
            out.insert("epoch".into(), announcement.epoch.into());
            out.insert("key".into(), hex(&announcement.key).into());
            out.insert(
                "restarted".into(),
                (announcement.announcer == Announcer::Host && announcement.epoch > 0).into(),
            );
        }
        Event::Start { program, rules, baseline } => {
            out.insert("program".into(), program.as_str().into());
            put_digest(out, "rules", Some(rules));
            if let Some((generation, root)) = baseline {
                out.insert("generation".into(), (*generation).into());
                put_digest(out, "baseline", Some(root));
            }
        }
        Event::Stop { reason } => put_text(out, "reason", reason.as_str()),
        Event::Change(leaf) => {
            out.insert("change".into(), change(leaf).into());
        }
        Event::Resolved { id, path } => {
            put_id(out, *id);
            put_path(out, "path", path);
        }
        Event::Approved(decision) | Event::Restored(decision) => put_decision(out, decision),
        Event::Sealed(sealed) => {
            out.insert("generation".into(), sealed.generation.into());
            put_digest(out, "baseline", Some(&sealed.root));
            out.insert("entries".into(), sealed.entries.into());
            out.insert("files".into(), sealed.files.into());
            out.insert("bytes".into(), sealed.bytes.into());
            put_time(out, "scan_start", Some(&sealed.scan_start));
            put_digest(out, "rules", Some(&sealed.rules));
            put_digest(out, "seal", Some(&sealed.seal));
            put_by(out, &sealed.by);
            put_text(out, "note", sealed.note.as_str());
        }
        Event::Blind { reason, path, since, until } => {
            put_text(out, "reason", reason.as_str());
            if let Some(path) = path {
                put_path(out, "path", path);
            }
            put_time(out, "since", Some(since));
            put_time(out, "until", until.as_ref());
        }
        Event::Config { rules, previous } => {
            put_digest(out, "rules", Some(rules));
            put_digest(out, "previous", previous.as_ref());
        }
        Event::Alert { id, channel, delivered, attempts, set, answer } => {
            out.insert("alert".into(), (*id).into());
            put_text(out, "channel", channel.as_str());
            out.insert("delivered".into(), (*delivered).into());
            out.insert("attempts".into(), (*attempts).into());
            out.insert("set".into(), set.to_string().into());
            put_text(out, "answer", answer.as_str());
        }
        Event::Heartbeat { watching, open, backend } => {
            out.insert("watching".into(), (*watching).into());
            out.insert("open".into(), (*open).into());
            out.insert("backend".into(), backend.as_str().into());
        }
        Event::Touched { path, who, details } => {
            put_path(out, "path", path);
            put_who(out, who.as_ref());
            put_digest(out, "details", Some(details));
        }
        Event::Clock => {}
        Event::Scan(scan) => {
            out.insert("scan".into(), if scan.full { "full" } else { "quick" }.into());
            put_time(out, "started", Some(&scan.started));
            put_time(out, "ended", Some(&scan.ended));
            put_text(out, "outcome", scan.outcome.as_str());
            for (key, count) in [("checked", scan.checked), ("errors", scan.errors), ("bytes", scan.bytes)] {
                out.insert(key.into(), count.into());
            }
        }
        Event::Pruned(pruned) => {
            put_text(out, "reason", pruned.reason.as_str());
            out.insert("leaves".into(), pruned.leaves().into());
            out.insert("changes".into(), pruned.changes.into());
            out.insert(
                "rows".into(),
                pruned.rows.iter().map(|(first, count)| vec![*first, *count]).collect(),
            );
        }
        Event::Kept { suspect, contents, bytes, list } => {
            out.insert("suspect".into(), (*suspect).into());
            out.insert("contents".into(), (*contents).into());
            out.insert("bytes".into(), (*bytes).into());
            put_digest(out, "list", Some(list));
        }
        Event::Dropped { reason, contents } => {
            put_text(out, "reason", reason.as_str());
            out.insert("contents".into(), contents.len().into());
            out.insert("sha256".into(), contents.iter().map(|(_, content)| hex(content)).collect());
        }
    }
}

fn change(change: &ChangeLeaf) -> Object {
    let mut out = json::object("change");
    put_id(&mut out, change.id);
    put_text(&mut out, "watch", change.watch.as_str());
    put_path(&mut out, "path", &change.path);
    out.insert("change".into(), change.kind.name().into());
    out.insert("set".into(), change.set.to_string().into());
    out.insert("fields".into(), change.fields.iter().map(|field| field.name()).collect());
    out.insert("severity".into(), change.severity.name().into());
    out.insert("source".into(), change.source.name().into());
    out.insert("count".into(), change.count.into());
    put_time(&mut out, "first", Some(&change.first));
    for (key, state) in [("before", &change.before), ("after", &change.after)] {
        if let Some(state) = state {
            out.insert(key.into(), state_json(state).into());
        }
    }
    if let Some(from) = &change.from {
        put_path(&mut out, "from", from);
    }
    put_who(&mut out, change.who.as_ref());
    put_digest(&mut out, "details", Some(&change.details));
    out
}

fn put_decision(out: &mut Object, decision: &Decision) {
    if decision.id != ChangeId::NONE {
        put_id(out, decision.id);
    }
    put_path(out, "path", &decision.path);
    if let Some(state) = &decision.state {
        out.insert("state".into(), state_json(state).into());
    }
    put_by(out, &decision.by);
    put_text(out, "note", decision.note.as_str());
}

fn state_json(state: &LeafState) -> Object {
    match state {
        LeafState::Whole(state) => json::state(state),
        LeafState::Long { len, hash } => {
            let mut out = Object::new();
            out.insert("length".into(), (*len).into());
            put_digest(&mut out, "hash", Some(hash));
            out
        }
    }
}

fn put_path(out: &mut Object, key: &str, path: &LeafPath) {
    json::put_path(out, key, path.shown());
    if let LeafPath::Long { len, hash, .. } = path {
        out.insert(format!("{key}_length"), (*len).into());
        put_digest(out, &format!("{key}_hash"), Some(hash));
    }
}

fn put_by(out: &mut Object, by: &By) {
    put_text(out, "user", by.user.as_str());
    put_text(out, "login_user", by.login.as_ref().map_or("", |login| login.as_str()));
    put_text(out, "from", by.origin.as_ref().map_or("", |origin| origin.as_str()));
}

fn put_who(out: &mut Object, who: Option<&Who>) {
    let Some(who) = who else { return };
    let mut actor = Object::new();
    actor.insert("pid".into(), who.pid.into());
    if let Some(exe) = &who.exe {
        put_path(&mut actor, "exe", exe);
    }
    for (key, uid) in [("uid", who.uid), ("login_uid", who.login_uid)] {
        if let Some(uid) = uid {
            actor.insert(key.into(), uid.into());
        }
    }
    out.insert("actor".into(), actor.into());
}

fn put_id(out: &mut Object, id: ChangeId) {
    out.insert("id".into(), id.to_string().into());
}

/// Nothing for an empty text.
fn put_text(out: &mut Object, key: &str, text: &str) {
    if !text.is_empty() {
        out.insert(key.into(), text.into());
    }
}

fn put_digest(out: &mut Object, key: &str, digest: Option<&Digest>) {
    if let Some(digest) = digest {
        out.insert(key.into(), hex(digest).into());
    }
}

fn put_time(out: &mut Object, key: &str, time: Option<&Timestamp>) {
    if let Some(time) = time {
        out.insert(key.into(), time.to_string().into());
    }
}
