//! Texts, line by line, with the words that differ.

use crate::kind::Encoding;
use similar::{ChangeTag, TextDiff};
use std::ops::Range;
use std::time::{Duration, Instant};

/// How many lines are given of a difference, at most.
pub const MAX_LINES: usize = 2000;
/// How many lines around a difference are given.
const CONTEXT: usize = 3;
/// After how long a rougher comparison is taken: hostile texts can make an exact one take very long.
const PATIENCE: Duration = Duration::from_millis(500);

/// How two texts differ.
#[derive(Debug, Clone, PartialEq)]
pub struct Text {
    /// Their encodings.
    pub encodings: (Encoding, Encoding),
    /// The places where they differ, in order, each with three lines around it.
    pub hunks: Vec<Hunk>,
    /// How many lines went.
    pub removed: u64,
    /// How many came.
    pub added: u64,
    /// There are more than [`MAX_LINES`] lines to give.
    pub is_cut: bool,
    /// Decoded they are the same text.
    pub is_equal: bool,
}

/// A place where two texts differ.
#[derive(Debug, Clone, PartialEq)]
pub struct Hunk {
    /// Which lines of the old text, counted from 0.
    pub before: Range<usize>,
    /// Which lines of the new one.
    pub after: Range<usize>,
    /// The lines.
    pub lines: Vec<Line>,
}

/// What became of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tag {
    /// It is in both.
    Same,
    /// It went.
    Removed,
    /// It came.
    Added,
}

/// A line, without its end.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// What became of it.
    pub tag: Tag,
    /// Its text.
    pub parts: Vec<Part>,
    /// No line end follows: it is the last one.
    pub is_open: bool,
}

/// A part of a line.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    /// The text.
    pub text: String,
    /// Whether it is what differs from the line in its place; never where the whole line differs.
    pub is_marked: bool,
}

/// Compares two texts.
pub(crate) fn compare((old, before): (Encoding, &str), (new, after): (Encoding, &str)) -> Text {
    let diff = TextDiff::configure().deadline(Instant::now() + PATIENCE).diff_lines(before, after);
    let (mut removed, mut added) = (0, 0);
    for op in diff.ops().iter().filter(|op| op.tag() != similar::DiffTag::Equal) {
        removed += op.old_range().len() as u64;
        added += op.new_range().len() as u64;
    }
    let (mut hunks, mut left, mut is_cut) = (Vec::new(), MAX_LINES, false);
    for group in diff.grouped_ops(CONTEXT) {
        let mut lines = Vec::new();
        let (mut old_end, mut new_end) = (None, None);
        for change in group.iter().flat_map(|op| diff.iter_inline_changes(op)) {
            if left == 0 {
                is_cut = true;
                break;
            }
            left -= 1;
            old_end = change.old_index().or(old_end);
            new_end = change.new_index().or(new_end);
            lines.push(line(&change));
        }
        if let Some(first) = group.first().filter(|_| !lines.is_empty()) {
            let range = |start: usize, end: Option<usize>| start..end.map_or(start, |last| last + 1);
            hunks.push(Hunk {
                before: range(first.old_range().start, old_end),
                after: range(first.new_range().start, new_end),
                lines,
            });
        }
        if is_cut {
            break;
        }
    }
    Text { encodings: (old, new), hunks, removed, added, is_cut, is_equal: before == after }
}

fn line(change: &similar::InlineChange<'_, str>) -> Line {
    let tag = match change.tag() {
        ChangeTag::Equal => Tag::Same,
        ChangeTag::Delete => Tag::Removed,
        ChangeTag::Insert => Tag::Added,
    };
    let mut parts: Vec<Part> = change
        .iter_strings_lossy()
        .map(|(is_marked, text)| Part { text: text.into_owned(), is_marked })
        .collect();
    if let Some(last) = parts.last_mut() {
        let len = last.text.trim_end_matches(['\n']).len();
        last.text.truncate(len);
    }
    parts.retain(|part| !part.text.is_empty());
    Line { tag, parts, is_open: change.missing_newline() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(before: &str, after: &str) -> Text {
        compare((Encoding::Utf8, before), (Encoding::Utf8, after))
    }

    fn shown(text: &Text) -> String {
        let mut out = String::new();
        for line in text.hunks.iter().flat_map(|hunk| &hunk.lines) {
            out.push(match line.tag {
                Tag::Same => ' ',
                Tag::Removed => '-',
                Tag::Added => '+',
            });
            for part in &line.parts {
                let marks = if part.is_marked { ("[", "]") } else { ("", "") };
                out.push_str(&format!("{}{}{}", marks.0, part.text, marks.1));
            }
            out.push_str(if line.is_open { "<\n" } else { "\n" });
        }
        out
    }

    #[test]
    fn lines_with_their_surroundings_and_words_with_marks() {
        let before = "a\nb\nc\nd\nPermitRootLogin no\ne\nf\ng\nh\n";
        let text = of(before, &before.replace("Login no", "Login yes"));
        assert_eq!(shown(&text), " b\n c\n d\n-PermitRootLogin [no]\n+PermitRootLogin [yes]\n e\n f\n g\n");
        assert_eq!((text.removed, text.added, text.is_cut), (1, 1, false));
        assert_eq!((text.hunks[0].before.clone(), text.hunks[0].after.clone()), (1..8, 1..8));
    }

    #[test]
    fn a_missing_end_of_line_is_told() {
        assert_eq!(shown(&of("a\nb\n", "a\nb")), " a\n-b\n+b<\n");
        assert_eq!(shown(&of("", "x\n")), "+x\n");
    }

    #[test]
    fn places_far_apart_are_apart_and_many_lines_are_cut() {
        let numbers = |skip: &[usize]| {
            (0..40).filter(|n| !skip.contains(n)).map(|n| format!("{n}\n")).collect::<String>()
        };
        let text = of(&numbers(&[]), &numbers(&[3, 30]));
        assert_eq!(text.hunks.len(), 2);
        assert_eq!(text.hunks[1].before, 27..34);
        assert_eq!(text.hunks[1].after, 26..32);
        let many: String = (0..2 * MAX_LINES).map(|n| format!("{n}\n")).collect();
        let text = of("", &many);
        assert!(text.is_cut);
        assert_eq!((text.added, text.hunks[0].lines.len()), (2 * MAX_LINES as u64, MAX_LINES));
    }

    #[test]
    fn hostile_texts_take_no_longer_than_they_may() {
        let text = |seed: usize| (0..60_000).map(|n| format!("{}\n", n * seed % 7)).collect::<String>();
        let found = of(&text(3), &text(5));
        assert!(found.removed > 0 && found.is_cut);
    }
}
