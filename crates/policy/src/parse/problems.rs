//! What is wrong with a config, where, and what to do about it.

use super::mask::mask_secrets;
use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use std::fmt;
use std::ops::Range;
use waxseal_model::escape;

/// More problems than this are counted and not shown: nobody reads them, and each costs a pass over the text.
const SHOWN: usize = 30;

/// One problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Bytes of the text.
    pub span: Range<usize>,
    /// The line, counted from 1.
    pub line: usize,
    /// The character in the line, counted from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: String,
}

/// Everything that is wrong with a config; never empty. `Display` shows each problem with its line, a caret and
/// a hint, without the secrets that the lines may hold.
#[derive(Clone, PartialEq, Eq)]
pub struct ConfigErrors {
    origin: String,
    /// The text with its secrets masked, byte for byte as long as it was.
    masked: String,
    problems: Vec<Problem>,
}

impl ConfigErrors {
    /// The problems, in the order of the text.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// The name of the file, as it was given.
    pub fn origin(&self) -> &str {
        &self.origin
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let renderer = Renderer::plain();
        for (index, problem) in self.problems.iter().take(SHOWN).enumerate() {
            let snippet = Snippet::source(self.masked.as_str())
                .path(self.origin.as_str())
                .annotation(AnnotationKind::Primary.span(problem.span.clone()));
            let group = Level::ERROR.primary_title(problem.message.as_str()).element(snippet);
            let text = renderer.render(&[group.element(Level::HELP.message(problem.hint.as_str()))]);
            if index > 0 {
                f.write_str("\n")?;
            }
            for line in text.lines() {
                writeln!(f, "{}", visible(line))?;
            }
        }
        match self.problems.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => writeln!(f, "\n… and {more} more problems in {}", visible(&self.origin)),
        }
    }
}

/// A line of output without anything that steers a terminal or turns the text around.
fn visible(line: &str) -> String {
    let trimmed = line.trim_end();
    if !trimmed.chars().any(escape::is_deceptive) {
        return trimmed.to_owned();
    }
    trimmed.chars().map(|c| if escape::is_deceptive(c) { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

impl fmt::Debug for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConfigErrors")
            .field("origin", &self.origin)
            .field("problems", &self.problems)
            .finish_non_exhaustive()
    }
}

impl std::error::Error for ConfigErrors {}

/// Collects problems while the text is read: the place, what is wrong, and what to do about it.
#[derive(Debug, Default)]
pub(super) struct Problems(Vec<(Range<usize>, String, String)>);

impl Problems {
    pub fn add(&mut self, span: Range<usize>, message: impl Into<String>, hint: impl Into<String>) {
        self.0.push((span, message.into(), hint.into()));
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All problems in the order of the text.
    pub fn into_errors(self, text: &str, origin: &str) -> ConfigErrors {
        let mut raw = self.0;
        raw.sort_by_key(|(span, ..)| (span.start, span.end));
        raw.dedup();
        let mut places = Places::new(text);
        let problems = raw.into_iter().map(|(span, message, hint)| {
            let span = within(text, span);
            let (line, column) = places.of(span.start);
            Problem { span, line, column, message, hint }
        });
        ConfigErrors { origin: origin.to_owned(), problems: problems.collect(), masked: mask_secrets(text) }
    }
}

/// The span, moved to the text's bounds and to the bounds of characters.
fn within(text: &str, span: Range<usize>) -> Range<usize> {
    let start = text.floor_char_boundary(span.start);
    let end = text.ceil_char_boundary(span.end.max(start));
    start..end
}

/// Finds lines and columns of places that only grow, in one pass over the text.
struct Places<'t> {
    text: &'t str,
    at: usize,
    line: usize,
    column: usize,
}

impl<'t> Places<'t> {
    fn new(text: &'t str) -> Places<'t> {
        Places { text, at: 0, line: 1, column: 1 }
    }

    /// Line and column of this place, which is not before the one asked for last.
    fn of(&mut self, offset: usize) -> (usize, usize) {
        for c in self.text.get(self.at..offset).unwrap_or_default().chars() {
            if c == '\n' {
                self.line += 1;
                self.column = 1;
            } else {
                self.column += 1;
            }
        }
        self.at = self.at.max(offset);
        (self.line, self.column)
    }
}
