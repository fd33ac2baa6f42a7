//! What is no text: what it is, how alike two of them are, which readable strings came and went.

use crate::kind::{Kind, kind_of};
use std::collections::BTreeSet;

/// How many strings are given of each side, at most.
pub const MAX_STRINGS: usize = 40;
/// The shortest run of printable ASCII that counts as a string, and the most that is taken of one.
const STRING: std::ops::RangeInclusive<usize> = 6..=200;
/// How many bytes are searched for strings, at most: the first ones.
const SEARCHED: usize = 16 << 20;
/// How many different strings are held in memory of each side, at most.
const HELD: usize = 100_000;

/// How two contents differ of which at least one is no text.
#[derive(Debug, Clone, PartialEq)]
pub struct Binary {
    /// What the old one is.
    pub before: Kind,
    /// What the new one is.
    pub after: Kind,
    /// Their sizes in bytes.
    pub sizes: (u64, u64),
    /// How alike they are by the fuzzy hash of ssdeep, from 0 to 100: 100 does not mean that they are the same. Absent
    /// where one of them is too short to say.
    pub likeness: Option<u8>,
    /// Readable strings that went, sorted.
    pub strings_removed: Vec<String>,
    /// Readable strings that came, sorted.
    pub strings_added: Vec<String>,
    /// Whether there are more strings than are given.
    pub is_cut: bool,
}

pub(crate) fn compare(before: &[u8], after: &[u8]) -> Binary {
    let (old, new) = (strings(before), strings(after));
    let only = |ours: &BTreeSet<&[u8]>, theirs: &BTreeSet<&[u8]>| {
        let all = ours.difference(theirs).map(|text| String::from_utf8_lossy(text).into_owned());
        all.take(MAX_STRINGS + 1).collect::<Vec<_>>()
    };
    let (mut removed, mut added) = (only(&old, &new), only(&new, &old));
    let is_full = |list: &Vec<String>| list.len() > MAX_STRINGS;
    let is_long = |bytes: &[u8], held: &BTreeSet<&[u8]>| bytes.len() > SEARCHED || held.len() >= HELD;
    let is_cut = is_full(&removed) || is_full(&added) || is_long(before, &old) || is_long(after, &new);
    removed.truncate(MAX_STRINGS);
    added.truncate(MAX_STRINGS);
    Binary {
        before: kind_of(before),
        after: kind_of(after),
        sizes: (before.len() as u64, after.len() as u64),
        likeness: likeness(before, after),
        strings_removed: removed,
        strings_added: added,
        is_cut,
    }
}

/// By ssdeep's fuzzy hash, which says nothing of short contents.
fn likeness(before: &[u8], after: &[u8]) -> Option<u8> {
    let hash = |bytes: &[u8]| {
        let mut generator = ssdeep::Generator::new();
        generator.update(bytes);
        generator.finalize().ok()
    };
    let (before, after) = (hash(before)?, hash(after)?);
    let is_short = |hash: &ssdeep::RawFuzzyHash| hash.block_hash_1().len() < 7;
    if is_short(&before) || is_short(&after) {
        return None;
    }
    let (before, after) = (before.normalize(), after.normalize());
    u8::try_from(before.compare(after)).ok()
}

/// The readable strings of a content.
fn strings(content: &[u8]) -> BTreeSet<&[u8]> {
    let content = content.get(..SEARCHED).unwrap_or(content);
    let runs = content.split(|byte| !(byte.is_ascii_graphic() || *byte == b' ' || *byte == b'\t'));
    let long = runs.filter(|run| run.len() >= *STRING.start());
    let mut held = BTreeSet::new();
    for run in long {
        held.insert(run.get(..*STRING.end()).unwrap_or(run));
        if held.len() >= HELD {
            break;
        }
    }
    held
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that look random, always the same.
    fn noise(len: usize) -> Vec<u8> {
        let mut state = 1u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        (0..len).map(|_| next()).collect()
    }

    #[test]
    fn strings_and_likeness() {
        let mut before = noise(20_000);
        before[..4].copy_from_slice(b"\x7fELF");
        before.splice(5000..5000, *b"\0/bin/login-shell\0");
        let mut after = before.clone();
        after[5001..5018].copy_from_slice(b"/tmp/evil-shell.x");
        let found = compare(&before, &after);
        assert_eq!((found.before, found.after), (Kind::Elf, Kind::Elf));
        assert_eq!(found.strings_removed, ["/bin/login-shell"]);
        assert!(found.strings_added.iter().any(|text| text.starts_with("/tmp/evil-shell")), "{found:?}");
        assert!(found.likeness.is_some_and(|likeness| likeness > 80), "{found:?}");
        let other = compare(&before, &noise(20_001).into_iter().rev().collect::<Vec<_>>());
        assert!(other.likeness.is_some_and(|likeness| likeness < 30), "{other:?}");
        assert_eq!(compare(b"\0", b"\x01").likeness, None);
    }

    #[test]
    fn many_strings_are_cut() {
        let many: Vec<u8> = (0..100).flat_map(|n| format!("string {n:03}\0").into_bytes()).collect();
        let found = compare(&many, b"\0");
        assert!(found.is_cut);
        assert_eq!((found.strings_removed.len(), found.strings_added.len()), (MAX_STRINGS, 0));
    }
}
