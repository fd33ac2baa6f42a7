//! A change: one path whose state differs from its baseline.

use crate::actor::Actor;
use crate::attribute::AttributeSet;
use crate::path::RawPath;
use crate::state::FileState;
use crate::time::Timestamp;
use std::fmt;
use std::str::FromStr;

/// How a path differs from its baseline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ChangeKind {
    /// It was not there.
    Added,
    /// It is not there any more.
    Removed,
    /// It is of another type.
    Retyped,
    /// Content, link target or device number differ, whatever else does.
    Modified,
    /// Only other attributes differ.
    Metadata,
    /// The same file under a new name.
    Moved,
}

impl ChangeKind {
    /// All kinds, in the order in which summaries count them.
    pub const ALL: [ChangeKind; 6] = [
        ChangeKind::Added,
        ChangeKind::Removed,
        ChangeKind::Modified,
        ChangeKind::Metadata,
        ChangeKind::Retyped,
        ChangeKind::Moved,
    ];

    /// The contract's name.
    pub const fn name(self) -> &'static str {
        match self {
            ChangeKind::Added => "added",
            ChangeKind::Removed => "removed",
            ChangeKind::Retyped => "retyped",
            ChangeKind::Modified => "modified",
            ChangeKind::Metadata => "metadata",
            ChangeKind::Moved => "moved",
        }
    }

    /// The kind of this name.
    pub fn from_name(name: &str) -> Option<ChangeKind> {
        ChangeKind::ALL.into_iter().find(|k| k.name() == name)
    }
}

/// How much a change matters, as the rules say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Worth keeping, not worth telling.
    Info,
    /// Look at it some time.
    Low,
    /// Look at it today.
    Medium,
    /// Look at it now.
    High,
    /// Wake somebody.
    Critical,
}

impl Severity {
    /// All severities, mildest first.
    pub const ALL: [Severity; 5] =
        [Severity::Info, Severity::Low, Severity::Medium, Severity::High, Severity::Critical];

    /// The contract's name.
    pub const fn name(self) -> &'static str {
        match self {
            Severity::Info => "info",
            Severity::Low => "low",
            Severity::Medium => "medium",
            Severity::High => "high",
            Severity::Critical => "critical",
        }
    }

    /// The severity of this name.
    pub fn from_name(name: &str) -> Option<Severity> {
        Severity::ALL.into_iter().find(|s| s.name() == name)
    }
}

/// What made us look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    /// A scan of the disk.
    Scan,
    /// An event from the kernel.
    Event,
}

impl Source {
    /// The contract's name.
    pub const fn name(self) -> &'static str {
        match self {
            Source::Scan => "scan",
            Source::Event => "event",
        }
    }

    /// The source of this name.
    pub fn from_name(name: &str) -> Option<Source> {
        [Source::Scan, Source::Event].into_iter().find(|s| s.name() == name)
    }
}

macro_rules! typed_id {
    ($(#[$doc:meta])* $name:ident, $letter:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u64);

        impl $name {
            /// Of what is not on record. The database counts from 1.
            pub const NONE: $name = $name(0);
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($letter, "{}"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                let digits = text.strip_prefix($letter).ok_or(IdError)?;
                if digits.is_empty() || digits.len() > 18 || !digits.bytes().all(|b| b.is_ascii_digit()) {
                    return Err(IdError);
                }
                digits.parse().map($name).map_err(|_| IdError)
            }
        }
    };
}

typed_id! {
    /// The name of a change: `c` and a number, kept until the change is approved, restored or undone.
    ChangeId, "c"
}
typed_id! {
    /// The name of a change set: `s` and a number.
    SetId, "s"
}

/// The text is not an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an id: changes are named c1, c2, …, change sets s1, s2, …")]
pub struct IdError;

/// A file state with the names that its numeric ids had when it was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The state.
    pub state: FileState,
    /// The name of its owner.
    pub user: Option<String>,
    /// The name of its group.
    pub group: Option<String>,
}

/// One recorded change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Its name.
    pub id: ChangeId,
    /// The set it belongs to.
    pub set: SetId,
    /// When it was first seen.
    pub first: Timestamp,
    /// When it last moved.
    pub last: Timestamp,
    /// The watch whose rules decided.
    pub watch: String,
    /// Where.
    pub path: RawPath,
    /// How it differs.
    pub kind: ChangeKind,
    /// The attributes that count for this watch and differ.
    pub fields: AttributeSet,
    /// How much it matters.
    pub severity: Severity,
    /// What made us look.
    pub source: Source,
    /// How many different states were seen since it was opened: 1 or more.
    pub count: u64,
    /// The baseline's state; absent for what was added.
    pub before: Option<Seen>,
    /// The state now; absent for what was removed.
    pub after: Option<Seen>,
    /// Where the file came from, when it is known to have been elsewhere.
    pub from: Option<RawPath>,
    /// Who made it, as far as events told: each process once, the newest last.
    pub actors: Vec<Actor>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_round_trip_and_junk_is_refused() {
        assert_eq!("c12".parse(), Ok(ChangeId(12)));
        assert_eq!(SetId(7).to_string(), "s7");
        for junk in ["", "c", "12", "c-1", "c+1", "cx", "c99999999999999999999", "s1 "] {
            assert_eq!(junk.parse::<ChangeId>(), Err(IdError), "{junk}");
        }
    }

    #[test]
    fn severities_are_ordered_and_named() {
        assert!(Severity::Info < Severity::Low && Severity::High < Severity::Critical);
        for severity in Severity::ALL {
            assert_eq!(Severity::from_name(severity.name()), Some(severity));
        }
        for kind in ChangeKind::ALL {
            assert_eq!(ChangeKind::from_name(kind.name()), Some(kind));
        }
    }
}
