//! Typed reading of TOML values that never stops at the first problem.

use super::problems::Problems;
use crate::units::UnitError;
use serde_spanned::Spanned;
use std::ops::Range;
use toml::de::{DeTable, DeValue};
use waxseal_model::escape;

pub(super) type Value<'i> = Spanned<DeValue<'i>>;

/// A table of the text, and which of its keys have been asked for: the others are unknown.
pub(super) struct Table<'t, 'i> {
    table: &'t DeTable<'i>,
    /// Where the table stands.
    pub span: Range<usize>,
    /// What the table is called in messages: `[scan]`, `keep`.
    place: String,
    asked: Vec<String>,
}

/// The value of one key.
#[derive(Clone)]
pub(super) struct Field<'t, 'i> {
    pub key: String,
    /// A whole line that would be right.
    example: String,
    value: &'t Value<'i>,
}

impl<'t, 'i> Table<'t, 'i> {
    pub fn new(table: &'t DeTable<'i>, span: Range<usize>, place: impl Into<String>) -> Table<'t, 'i> {
        Table { table, span, place: place.into(), asked: Vec::new() }
    }

    /// The value of this key, if the text has it. `example` is a value that would be right.
    pub fn field(&mut self, key: &str, example: &str) -> Option<Field<'t, 'i>> {
        self.asked.push(key.to_owned());
        self.table.get(key).map(|value| Field::new(key, example, value))
    }

    /// The same table under a name that says more.
    pub fn called(mut self, place: String) -> Table<'t, 'i> {
        self.place = place;
        self
    }

    /// Complains about every key that nobody asked for.
    pub fn finish(self, problems: &mut Problems) {
        let asked: Vec<&str> = self.asked.iter().map(String::as_str).collect();
        for key in self.table.keys().filter(|key| !asked.contains(&key.get_ref().as_ref())) {
            let name = key.get_ref().as_ref();
            let message = format!("unknown key `{}` in {}", shown(name), self.place);
            problems.add(key.span(), message, nearest(name, &asked));
        }
    }
}

/// A word of the text within a message: on one line, and not endless.
pub(super) fn shown(word: &str) -> String {
    let text = escape::for_people(word.as_bytes());
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

/// How much alike two words are, from 0 to 1. Short words with a slip need the second measure.
fn likeness(word: &str, known: &str) -> f64 {
    // A word of any length may come from the text, and the comparison is quadratic.
    if word.len() > 64 {
        return 0.0;
    }
    let slip = if strsim::osa_distance(word, known) <= 1 { 0.9 } else { 0.0 };
    strsim::jaro_winkler(word, known).max(slip)
}

/// A hint that names the known word nearest to this one, or all of them when none is near.
pub(super) fn nearest(word: &str, known: &[&str]) -> String {
    let best = known.iter().map(|k| (likeness(word, k), *k)).max_by(|a, b| a.0.total_cmp(&b.0));
    match best {
        Some((score, best)) if score >= 0.7 => format!("did you mean `{best}`?"),
        Some(_) => format!("known here: {}", list(known)),
        None => "no key is known here".to_owned(),
    }
}

pub(super) fn list(words: &[&str]) -> String {
    words.iter().map(|w| format!("`{w}`")).collect::<Vec<_>>().join(", ")
}

/// What kind of value it is, with its article.
fn kind_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

impl<'t, 'i> Field<'t, 'i> {
    /// A value at a key, with a value that would be right there.
    pub fn new(key: &str, example: &str, value: &'t Value<'i>) -> Field<'t, 'i> {
        Field { key: key.to_owned(), example: format!("{key} = {example}"), value }
    }

    pub fn span(&self) -> Range<usize> {
        self.value.span()
    }

    pub fn raw(&self) -> &'t DeValue<'i> {
        self.value.get_ref()
    }

    /// Complains that something else was expected here, and shows what is right. Gives nothing, for brevity.
    pub fn wrong<T>(&self, expected: &str, problems: &mut Problems) -> Option<T> {
        let message = format!("`{}` must be {expected}, not {}", self.key, kind_of(self.raw()));
        problems.add(self.span(), message, format!("for example: {}", self.example));
        None
    }

    /// Complains about the value, and shows what is right.
    pub fn bad<T>(&self, why: &str, problems: &mut Problems) -> Option<T> {
        problems.add(
            self.span(),
            format!("bad `{}`: {why}", self.key),
            format!("for example: {}", self.example),
        );
        None
    }

    /// A string, whatever is in it.
    pub fn string(&self, problems: &mut Problems) -> Option<&'t str> {
        match self.raw() {
            DeValue::String(text) => Some(text),
            _ => self.wrong("a string", problems),
        }
    }

    /// A string on one line that is not empty and shows as what it is.
    pub fn line(&self, problems: &mut Problems) -> Option<&'t str> {
        let text = self.string(problems)?;
        if text.trim().is_empty() {
            return self.bad("it is empty", problems);
        }
        if text.chars().any(escape::is_deceptive) {
            return self.bad("it holds control or invisible characters", problems);
        }
        Some(text)
    }

    pub fn flag(&self, problems: &mut Problems) -> Option<bool> {
        match self.raw() {
            DeValue::Boolean(flag) => Some(*flag),
            _ => self.wrong("true or false", problems),
        }
    }

    /// The integer, if it is one; one that does not fit 64 bits is none.
    pub fn as_integer(&self) -> Option<i64> {
        match self.raw() {
            DeValue::Integer(integer) => i64::from_str_radix(integer.as_str(), integer.radix()).ok(),
            _ => None,
        }
    }

    pub fn integer(&self, min: i64, max: i64, problems: &mut Problems) -> Option<i64> {
        if !matches!(self.raw(), DeValue::Integer(_)) {
            return self.wrong("an integer", problems);
        }
        match self.as_integer() {
            Some(n) if (min..=max).contains(&n) => Some(n),
            _ => self.bad(&format!("it must be from {min} to {max}"), problems),
        }
    }

    /// A string that a unit's reader takes.
    pub fn quantity<T>(&self, read: fn(&str) -> Result<T, UnitError>, problems: &mut Problems) -> Option<T> {
        let text = match self.raw() {
            DeValue::String(text) => text.as_ref(),
            // Zero is the same in every unit.
            DeValue::Integer(_) if self.as_integer() == Some(0) => "0",
            _ => return self.wrong("a string", problems),
        };
        read(text).map_err(|error| self.bad::<T>(&error.to_string(), problems)).ok()
    }

    /// One of these words, as its index.
    pub fn one_of(&self, words: &[&str], problems: &mut Problems) -> Option<usize> {
        let DeValue::String(text) = self.raw() else {
            return self.wrong(&format!("one of {}", list(words)), problems);
        };
        let found = words.iter().position(|word| *word == text.as_ref());
        if found.is_none() {
            let message = format!("`{}` cannot be `{}`", self.key, shown(text));
            let hint = format!("{} Allowed: {}", nearest_only(text, words), list(words));
            problems.add(self.span(), message, hint.trim_start());
        }
        found
    }

    /// The elements of a list, each as a field of the same key.
    pub fn list(&self, problems: &mut Problems) -> Option<Vec<Field<'t, 'i>>> {
        let DeValue::Array(array) = self.raw() else {
            return self.wrong("a list", problems);
        };
        let element = |value| Field { key: self.key.clone(), example: self.example.clone(), value };
        Some(array.iter().map(element).collect())
    }

    /// The table that is the value.
    pub fn table(&self, problems: &mut Problems) -> Option<Table<'t, 'i>> {
        match self.raw() {
            DeValue::Table(table) => Some(Table::new(table, self.span(), format!("`{}`", self.key))),
            _ => self.wrong("a table", problems),
        }
    }
}

/// `did you mean`, or nothing when no word is near.
fn nearest_only(word: &str, known: &[&str]) -> String {
    let hint = nearest(word, known);
    if hint.starts_with("did you") { hint } else { String::new() }
}
