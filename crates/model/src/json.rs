//! The machine formats: one JSON object a line, in the shapes of the contract's section 7.
//!
//! In: the types of this crate. Out: text. Every line has `type`; keys that are unknown are absent; characters
//! that could steer a terminal are written as `\u` escapes, which every JSON reader undoes.

use crate::actor::Actor;
use crate::change::{Change, ChangeId, Seen};
use crate::digest::{Algorithm, hex};
use crate::escape;
use crate::path::RawPath;
use crate::state::{DeviceNumber, FileState, XATTR_ACL_ACCESS, XATTR_ACL_DEFAULT, XATTR_CAPS};
use crate::{acl, caps, flags};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use std::fmt::Write;

/// A JSON object whose keys stay in the order in which they are put in.
pub type Object = Map<String, Value>;

/// An object with its `type`.
pub fn object(kind: &str) -> Object {
    let mut object = Object::new();
    object.insert("type".into(), kind.into());
    object
}

/// Puts a name or path under `key`, and its exact bytes under `key_base64` when it is not UTF-8.
pub fn put_path(object: &mut Object, key: &str, bytes: &[u8]) {
    object.insert(key.into(), escape::lossy_text(bytes).into());
    if std::str::from_utf8(bytes).is_err() {
        object.insert(format!("{key}_base64"), STANDARD.encode(bytes).into());
    }
}

/// The line of an object, without newline.
pub fn line(object: &Object) -> String {
    let plain = Value::Object(object.clone()).to_string();
    if !plain.chars().any(escape::is_deceptive) {
        return plain;
    }
    // Outside strings serde_json writes ASCII only, so every deceptive character stands within one.
    let mut out = String::with_capacity(plain.len() + 16);
    for c in plain.chars() {
        if escape::is_deceptive(c) {
            let mut units = [0u16; 2];
            for unit in c.encode_utf16(&mut units) {
                let _ = write!(out, "\\u{unit:04x}");
            }
        } else {
            out.push(c);
        }
    }
    out
}

/// The contract's line of type `change`; what is not on record has no `id`, `set` and `first`.
pub fn change(change: &Change) -> Object {
    let mut out = object("change");
    let recorded = change.id != ChangeId::NONE;
    if recorded {
        out.insert("id".into(), change.id.to_string().into());
    }
    out.insert("time".into(), change.last.to_string().into());
    out.insert("watch".into(), change.watch.clone().into());
    put_path(&mut out, "path", change.path.as_bytes());
    out.insert("change".into(), change.kind.name().into());
    if recorded {
        out.insert("set".into(), change.set.to_string().into());
    }
    out.insert("fields".into(), change.fields.iter().map(|a| a.name()).collect());
    out.insert("severity".into(), change.severity.name().into());
    out.insert("source".into(), change.source.name().into());
    out.insert("count".into(), change.count.into());
    if recorded {
        out.insert("first".into(), change.first.to_string().into());
    }
    if let Some(before) = &change.before {
        out.insert("before".into(), seen(before).into());
    }
    if let Some(after) = &change.after {
        out.insert("after".into(), seen(after).into());
    }
    if let Some(from) = &change.from {
        put_path(&mut out, "from", from.as_bytes());
    }
    put_actors(&mut out, &change.actors);
    out
}

/// Puts paths under `key`, and their exact bytes beside them when one is not UTF-8; nothing when there are none.
pub fn put_paths(object: &mut Object, key: &str, paths: &[RawPath]) {
    if paths.is_empty() {
        return;
    }
    let texts = paths.iter().map(|path| Value::from(escape::lossy_text(path.as_bytes())));
    object.insert(key.into(), texts.collect());
    if paths.iter().any(|path| std::str::from_utf8(path.as_bytes()).is_err()) {
        let exact = paths.iter().map(|path| Value::from(STANDARD.encode(path.as_bytes())));
        object.insert(format!("{key}_base64"), exact.collect());
    }
}

/// Puts the newest actor under `actor`, and all of them under `actors` when there are several.
pub fn put_actors(object: &mut Object, actors: &[Actor]) {
    if let Some(newest) = actors.last() {
        object.insert("actor".into(), newest.to_json().into());
    }
    if actors.len() > 1 {
        object.insert("actors".into(), actors.iter().map(|actor| Value::from(actor.to_json())).collect());
    }
}

/// The contract's `STATE` with the names of owner and group.
pub fn seen(seen: &Seen) -> Object {
    let mut out = state(&seen.state);
    if let Some(user) = &seen.user {
        out.insert("user".into(), user.clone().into());
    }
    if let Some(group) = &seen.group {
        out.insert("group".into(), group.clone().into());
    }
    out
}

/// The contract's `STATE` without names.
pub fn state(state: &FileState) -> Object {
    let mut out = Object::new();
    out.insert("type".into(), state.file_type.name().into());
    out.insert("size".into(), state.size.into());
    out.insert("mode".into(), format!("{:04o}", state.mode).into());
    out.insert("uid".into(), state.uid.into());
    out.insert("gid".into(), state.gid.into());
    out.insert("mtime".into(), state.mtime.to_string().into());
    out.insert("ctime".into(), state.ctime.to_string().into());
    if let Some(btime) = state.btime {
        out.insert("btime".into(), btime.to_string().into());
    }
    out.insert("inode".into(), state.inode.into());
    out.insert("device".into(), device(state.device).into());
    out.insert("links".into(), state.links.into());
    if let Some(target) = state.target() {
        put_path(&mut out, "target", target);
    }
    if let Some(rdev) = state.rdev() {
        out.insert("rdev".into(), device(rdev).into());
    }
    let xattrs: Object = state
        .plain_xattrs()
        .map(|(name, value)| (escape::lossy_text(name), STANDARD.encode(value).into()))
        .collect();
    if !xattrs.is_empty() {
        out.insert("xattrs".into(), xattrs.into());
    }
    if let Some(text) = acl_text(state) {
        out.insert("acl".into(), text.into());
    }
    if let Some(text) = caps_text(state) {
        out.insert("caps".into(), text.into());
    }
    if let Some(bits) = state.flags {
        out.insert("flags".into(), flags::names(bits).collect());
    }
    for algorithm in Algorithm::ALL {
        if let Some(digest) = state.digests.get(algorithm) {
            out.insert(algorithm.name().into(), hex(digest).into());
        }
    }
    out
}

/// A device number as `major:minor`.
pub fn device(device: DeviceNumber) -> String {
    format!("{}:{}", device.major, device.minor)
}

/// The access list and, after a comma, the default list, as getfacl would print them; bytes that are no
/// list as `0x…`.
pub fn acl_text(state: &FileState) -> Option<String> {
    let lists = [(XATTR_ACL_ACCESS, false), (XATTR_ACL_DEFAULT, true)];
    let texts: Vec<String> = lists
        .into_iter()
        .filter_map(|(name, default)| Some((state.xattr(name)?, default)))
        .map(|(value, default)| acl::to_text(value, default).unwrap_or_else(|| format!("0x{}", hex(value))))
        .collect();
    (!texts.is_empty()).then(|| texts.join(","))
}

/// The capabilities as getcap would print them; bytes that are none as `0x…`.
pub fn caps_text(state: &FileState) -> Option<String> {
    let value = state.xattr(XATTR_CAPS)?;
    Some(caps::to_text(value).unwrap_or_else(|| format!("0x{}", hex(value))))
}

/// The line of something that could not be checked.
pub fn error(path: Option<&[u8]>, message: &str) -> Object {
    let mut out = object("error");
    if let Some(path) = path {
        put_path(&mut out, "path", path);
    }
    out.insert("error".into(), json!(message));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_steer_a_terminal_and_come_back_exactly() {
        let name = "a\u{1b}[2J\u{9b}\u{202e}\n\u{e0041}\"\\".as_bytes();
        let mut object = object("error");
        put_path(&mut object, "path", name);
        let text = line(&object);
        assert!(!text.chars().any(escape::is_deceptive), "{text}");
        let back: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(back["path"].as_str().unwrap().as_bytes(), name);
        assert!(back.get("path_base64").is_none());
    }

    #[test]
    fn bad_bytes_are_shown_and_kept() {
        let mut object = Object::new();
        put_path(&mut object, "from", b"/x\xff\xfe");
        assert_eq!(line(&object), r#"{"from":"/x\\xff\\xfe","from_base64":"L3j//g=="}"#);
    }
}
