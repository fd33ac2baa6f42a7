//! What is known of the names of an append-only watch: the sealed state, or the one that was verified since.
//!
//! A log moves on: what it held at the last look that verified it is what the next look must find. So each verified
//! sighting replaces the one before. It counts as long as the sealed state on which it stands is the one sealed:
//! an approval of another state ends it.

use std::borrow::Cow;
use waxseal_ledger::directory_hash;
use waxseal_model::{Digest, Digests, FileState, Timestamp, record};
use waxseal_store::Tracked;

/// SHA-256 of nothing (FIPS 180-4).
const EMPTY: Digest = [
    0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24, 0x27,
    0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
];

/// A known entry of a directory.
#[derive(Debug, Clone)]
pub(crate) struct KnownEntry<'r> {
    pub name: Cow<'r, [u8]>,
    pub state: FileState,
    /// The hash of its record, of a sealed directory.
    pub child: Option<Digest>,
    /// When it was seen, where the state is not the sealed one.
    pub seen: Option<Timestamp>,
    /// When a rotation gave it this content.
    pub rotated: Option<Timestamp>,
    /// The hash of the sealed state.
    pub base: Option<Digest>,
}

impl<'r> KnownEntry<'r> {
    /// An entry as it was sealed.
    pub fn sealed(name: Cow<'r, [u8]>, state: FileState, child: Option<Digest>) -> KnownEntry<'r> {
        KnownEntry { name, state, child, seen: None, rotated: None, base: None }
    }

    /// Whether a log is expected to begin anew under this name, and need not have done so yet.
    pub fn is_away(&self) -> bool {
        self.state.links == 0
    }
}

/// The hash of a sealed state, for what stands on it.
pub(crate) fn base_of(sealed: &FileState) -> Digest {
    directory_hash(&record::state_to_bytes(sealed))
}

/// Whether it stands for a name that ended with a rotation: it is not known any more.
pub(crate) fn is_gone(tracked: &Tracked) -> bool {
    tracked.state.links == 0 && tracked.state.digests.sha256 != Some(EMPTY)
}

/// The sealed entries with what was verified since; both sorted by name.
pub(crate) fn overlay<'r>(
    sealed: impl Iterator<Item = KnownEntry<'r>>,
    tracked: &'r [Tracked],
) -> Vec<KnownEntry<'r>> {
    let mut known = Vec::new();
    let mut tracked = tracked.iter().peekable();
    let from = |tracked: &'r Tracked, child| KnownEntry {
        name: Cow::Borrowed(&tracked.name),
        state: tracked.state.clone(),
        child,
        seen: Some(tracked.seen),
        rotated: tracked.rotated,
        base: tracked.base,
    };
    for mut entry in sealed {
        while let Some(only) = tracked.next_if(|t| *t.name < *entry.name) {
            known.extend((only.base.is_none() && !is_gone(only)).then(|| from(only, None)));
        }
        match tracked.next_if(|t| *t.name == *entry.name) {
            None => known.push(entry),
            Some(one) => {
                let base = base_of(&entry.state);
                if one.base != Some(base) {
                    entry.base = Some(base);
                    known.push(entry);
                } else if !is_gone(one) {
                    known.push(from(one, entry.child));
                }
            }
        }
    }
    known.extend(tracked.filter(|only| only.base.is_none() && !is_gone(only)).map(|only| from(only, None)));
    known
}

/// What is known after a look that found the content verified: the attributes that were reported, if any were, stay
/// what they were known to be.
pub(crate) fn grown(known: &FileState, now: &FileState) -> FileState {
    FileState {
        size: now.size,
        mtime: now.mtime,
        ctime: now.ctime,
        digests: now.digests.clone(),
        ..known.clone()
    }
}

/// As [`grown`], for a log that began anew in another file.
pub(crate) fn begun(known: &FileState, now: &FileState) -> FileState {
    FileState {
        inode: now.inode,
        device: now.device,
        btime: now.btime,
        links: now.links.max(1),
        ..grown(known, now)
    }
}

/// A log that will begin anew.
pub(crate) fn away(known: &FileState) -> FileState {
    FileState {
        size: 0,
        links: 0,
        digests: Digests { sha256: Some(EMPTY), ..Digests::default() },
        ..known.clone()
    }
}

/// A name that ended. What it held is kept: a look that fell into the midst of a rotation may not have seen where
/// that went.
pub(crate) fn gone(known: &FileState) -> FileState {
    let digests = if known.size == 0 { Digests::default() } else { known.digests.clone() };
    FileState { links: 0, digests, ..known.clone() }
}
