//! The library's events as hints.

use super::places::Root;
use super::{Hint, What};
use crate::paths;
use notify::event::{AccessKind, AccessMode, CreateKind, MetadataKind, ModifyKind, RemoveKind, RenameMode};
use notify::{Event, EventKind};
use std::path::Path;
use waxseal_model::RawPath;

/// Adds the hints of an event. True when a root may be elsewhere by now.
pub(super) fn event(event: &Event, roots: &[Root], ignored: &[RawPath], out: &mut Vec<Hint>) -> bool {
    let Some((what, is_file)) = what(event.kind) else { return false };
    let mut moved = false;
    for path in &event.paths {
        let (real, whole) = real_name(path, what);
        for root in roots {
            if root.real.below(&real).is_some() {
                // The root itself, or a directory above it.
                moved |= what.is_of_names() || whole;
            }
            let Some(seen) = root.see(&real) else { continue };
            if ignored.iter().any(|own| seen.below(own).is_some()) {
                continue;
            }
            if seen == root.path {
                out.push(root.itself(what));
            } else {
                let deep = whole || (what.is_of_names() && !is_file);
                out.push(Hint::Name { path: seen, deep, what, process: None });
            }
        }
    }
    moved
}

/// What happened, and whether it is known to be of a file; nothing for what changes nothing.
fn what(kind: EventKind) -> Option<(What, bool)> {
    Some(match kind {
        EventKind::Create(kind) => (What::CREATED, kind == CreateKind::File),
        EventKind::Remove(kind) => (What::DELETED, kind == RemoveKind::File),
        EventKind::Modify(ModifyKind::Data(_)) => (What::CONTENT, false),
        EventKind::Modify(ModifyKind::Metadata(MetadataKind::AccessTime)) => return None,
        EventKind::Modify(ModifyKind::Metadata(_)) => (What::METADATA, false),
        EventKind::Modify(ModifyKind::Name(
            RenameMode::Any | RenameMode::From | RenameMode::To | RenameMode::Both | RenameMode::Other,
        )) => (What::MOVED, false),
        EventKind::Modify(ModifyKind::Any | ModifyKind::Other) => (What::CONTENT.with(What::METADATA), false),
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => (What::CLOSED, false),
        EventKind::Access(_) => return None,
        EventKind::Any | EventKind::Other => (What::MOVED.with(What::CONTENT).with(What::METADATA), false),
    })
}

/// The path in its own spelling, and whether all below it has to be looked at.
#[cfg(not(windows))]
fn real_name(path: &Path, _: What) -> (RawPath, bool) {
    (paths::from_path(path), false)
}

/// Windows reports a name as it was used, which may be the short one (`PROGRA~1`) of an object: a look at that would take
/// it for another object.
#[cfg(windows)]
fn real_name(path: &Path, _: What) -> (RawPath, bool) {
    let raw = paths::from_path(path);
    if !raw.as_bytes().windows(2).any(|pair| pair[0] == b'~' && pair[1].is_ascii_digit()) {
        return (raw, false);
    }
    match crate::windows::paths::long_name(path) {
        Some(long) => (paths::from_path(&long), false),
        // Gone: whatever had the name, it was in this directory.
        None => (raw.parent().unwrap_or(raw), true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use notify::event::DataChange;

    #[test]
    fn reads_raise_no_hints_and_names_are_looked_at_deeply() {
        assert_eq!(what(EventKind::Access(AccessKind::Read)), None);
        assert_eq!(what(EventKind::Create(CreateKind::Folder)), Some((What::CREATED, false)));
        assert_eq!(what(EventKind::Create(CreateKind::File)), Some((What::CREATED, true)));
        assert_eq!(what(EventKind::Modify(ModifyKind::Data(DataChange::Any))), Some((What::CONTENT, false)));
    }
}
