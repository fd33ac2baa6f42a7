//! How two contents of a file differ.
//!
//! In: two contents, either of which may be missing, both of them hostile. Out: for texts the lines that differ with their surroundings and the words that differ in
//! them; for anything else what it is, how alike the two are, and which readable strings came and went. Nothing is escaped here.
//! Limits keep time and memory small: see [`MAX_TEXT`], [`MAX_LINES`], [`MAX_STRINGS`].

mod binary;
mod kind;
mod lines;

pub use binary::{Binary, MAX_STRINGS};
pub use kind::{Encoding, Kind, kind_of};
pub use lines::{Hunk, Line, MAX_LINES, Part, Tag, Text};

/// The longest text, in bytes, that is compared line by line. A longer one is compared as what is no text.
pub const MAX_TEXT: usize = 4 << 20;

/// How two contents differ.
#[derive(Debug, Clone, PartialEq)]
pub enum Difference {
    /// Not at all.
    Same,
    /// Both are text, or one of them is and the other is empty or missing.
    Text(Text),
    /// At least one is not, or is too long.
    Binary(Binary),
}

/// Compares two contents; a missing one is an empty one.
pub fn difference(before: &[u8], after: &[u8]) -> Difference {
    if before == after {
        return Difference::Same;
    }
    let is_short = |bytes: &[u8]| bytes.len() <= MAX_TEXT;
    match (kind::text(before), kind::text(after)) {
        (Some((old, text)), Some((new, other))) if is_short(before) && is_short(after) => {
            // What is empty has the encoding of the other one.
            let old = if before.is_empty() { new } else { old };
            let new = if after.is_empty() { old } else { new };
            Difference::Text(lines::compare((old, &text), (new, &other)))
        }
        _ => Difference::Binary(binary::compare(before, after)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn equal_contents_do_not_differ() {
        assert_eq!(difference(b"a\n", b"a\n"), Difference::Same);
        assert_eq!(difference(b"", b""), Difference::Same);
    }

    #[test]
    fn a_text_and_something_else_are_compared_as_what_they_are() {
        let Difference::Binary(binary) =
            difference(b"#!/bin/sh\necho\n", b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x3e\0")
        else {
            panic!("no text")
        };
        assert_eq!((binary.before, binary.after), (Kind::Text(Encoding::Utf8), Kind::Elf));
    }

    #[test]
    fn long_texts_are_not_compared_line_by_line() {
        let long = vec![b'a'; MAX_TEXT + 1];
        assert!(matches!(difference(&long, b"a"), Difference::Binary(_)));
        assert!(matches!(difference(&long[1..], b"a"), Difference::Text(_)));
    }

    proptest! {
        #[test]
        fn nothing_panics_and_lines_add_up(a in proptest::collection::vec(any::<u8>(), 0..400), b in proptest::collection::vec(any::<u8>(), 0..400)) {
            check(&a, &b);
        }

        #[test]
        fn texts_come_back(a in "([a-c \\tä]{0,4}\n?){0,30}", b in "([a-c \\tä]{0,4}\r?\n?){0,30}") {
            check(a.as_bytes(), b.as_bytes());
        }
    }

    /// The lines that went are of the old text, those that came of the new one, and the counts say how many.
    fn check(a: &[u8], b: &[u8]) {
        let Difference::Text(text) = difference(a, b) else { return };
        let (mut removed, mut added) = (0, 0);
        for hunk in &text.hunks {
            let count = |tags: [Tag; 2]| hunk.lines.iter().filter(|line| tags.contains(&line.tag)).count();
            assert_eq!(count([Tag::Same, Tag::Removed]), hunk.before.len());
            assert_eq!(count([Tag::Same, Tag::Added]), hunk.after.len());
            removed += hunk.lines.iter().filter(|line| line.tag == Tag::Removed).count();
            added += hunk.lines.iter().filter(|line| line.tag == Tag::Added).count();
        }
        if !text.is_cut {
            assert_eq!((removed as u64, added as u64), (text.removed, text.added));
        }
        assert!(text.removed + text.added > 0 || text.encodings.0 != text.encodings.1 || text.is_equal);
    }
}
