//! Values of the sections that later versions act on: checked, typed, and without secrets in any output.

use crate::units::Window;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// The keys of one section with their values; defaults are filled in, keys without default may be absent.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Settings(pub(crate) BTreeMap<&'static str, Setting>);

/// One value.
#[derive(Debug, Clone, PartialEq)]
pub enum Setting {
    /// A yes or no.
    Flag(bool),
    /// A whole number.
    Integer(i64),
    /// One line of text, an address, or an absolute path.
    Text(String),
    /// Several texts.
    Texts(Vec<String>),
    /// A span of time.
    Duration(Duration),
    /// A number of bytes.
    Size(u64),
    /// Times of the week.
    Windows(Vec<Window>),
    /// Something that nobody else may know.
    Secret(Secret),
    /// A table of its own.
    Table(Settings),
}

macro_rules! getter {
    ($(#[$doc:meta])* $name:ident, $variant:ident, $type:ty) => {
        $(#[$doc])*
        pub fn $name(&self, key: &str) -> Option<$type> {
            match self.0.get(key) {
                Some(Setting::$variant(value)) => Some(value),
                _ => None,
            }
        }
    };
}

impl Settings {
    getter! {
        /// The yes or no of this key.
        flag, Flag, &bool
    }
    getter! {
        /// The number of this key.
        integer, Integer, &i64
    }
    getter! {
        /// The text of this key.
        text, Text, &str
    }
    getter! {
        /// The texts of this key.
        texts, Texts, &[String]
    }
    getter! {
        /// The span of time of this key.
        duration, Duration, &Duration
    }
    getter! {
        /// The number of bytes of this key.
        size, Size, &u64
    }
    getter! {
        /// The times of the week of this key.
        windows, Windows, &[Window]
    }
    getter! {
        /// The secret of this key.
        secret, Secret, &Secret
    }
    getter! {
        /// The table of this key.
        table, Table, &Settings
    }
}

/// `[[channel]]`: a way to tell people.
#[derive(Debug, Clone, PartialEq)]
pub struct Channel {
    /// Unique; one line without control characters.
    pub name: String,
    /// Which kind, as the config names it.
    pub kind: &'static str,
    /// The keys of this kind.
    pub settings: Settings,
}

/// Where a secret comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Secret {
    /// It stands in the config.
    Given(SecretText),
    /// It is the content of the file at this absolute path.
    File(String),
    /// It is the value of this environment variable.
    Env(String),
}

/// A secret. Not shown by `Debug`, and it has no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretText(String);

impl SecretText {
    pub(crate) fn new(text: String) -> SecretText {
        SecretText(text)
    }

    /// The secret itself, for the one who uses it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<set>")
    }
}
