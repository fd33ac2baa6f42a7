//! Leaves: what the log says, one fact each, in one encoding.
//!
//! ```text
//! leaf := version(1 byte = 1) kind(varint) time(zig-zag varint, microseconds since 1970-01-01T00:00:00Z) fields
//! ```
//!
//! `docs/log-format.md` has the fields of each kind. Numbers are varints in their shortest form, and only what the writer
//! writes is read: the bytes of a leaf name one meaning, and a leaf has one form. A leaf says nothing of its index, so that it
//! can be made before its place is known. It is at most [`MAX_LEN`] bytes; a finding with ordinary paths takes about
//! 300. What is longer than its limit (a path, a text, a state) is cut or stands for itself by its hash, so that no
//! name can keep a finding from being recorded.
//!
//! A version or kind that this program does not know still shows its time; see [`LeafError::Unknown`].

mod fields;
mod parts;
mod view;

pub use parts::{By, Details, LeafPath, LeafState, LeafText, Who, actors_hash};

use crate::epoch::Announcement;
use crate::tree::Hasher;
use waxseal_model::wire::{Input, WireError, put_varint, put_zigzag};
use waxseal_model::{
    AttributeSet, Change, ChangeId, ChangeKind, Digest, SetId, Severity, Source, Timestamp, actor,
};

/// The longest leaf: what C2SP tlog-tiles can put into an entry bundle.
pub const MAX_LEN: usize = 65_535;

const VERSION: u8 = 1;

/// A fact and when it was recorded, by the clock of the machine, in microseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    /// When it was recorded; what is below a microsecond is dropped when it is written.
    pub time: Timestamp,
    /// What.
    pub event: Event,
}

/// What a leaf says. Kinds are never changed; new ones are added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A new epoch begins, with a new key.
    Key(Announcement),
    /// The monitor started.
    Start {
        /// Its name and version.
        program: LeafText,
        /// The hash of the rules it works by.
        rules: Digest,
        /// The generation and root of the baseline it trusts.
        baseline: Option<(u64, Digest)>,
    },
    /// The monitor stopped.
    Stop {
        /// Why, in a word or a sentence.
        reason: LeafText,
    },
    /// A finding: a path differs from the baseline, or differs in another way than the last leaf of this change said.
    Change(Box<ChangeLeaf>),
    /// A changed path is back in its baseline state.
    Resolved {
        /// The change that is over.
        id: ChangeId,
        /// Its path.
        path: LeafPath,
    },
    /// A state that differed was approved.
    Approved(Box<Decision>),
    /// A path was put back.
    Restored(Box<Decision>),
    /// A baseline was sealed.
    Sealed(Box<Sealed>),
    /// Nothing could be seen or recorded for a while.
    Blind {
        /// Why, in a word.
        reason: LeafText,
        /// Where; everywhere when absent.
        path: Option<LeafPath>,
        /// Since when.
        since: Timestamp,
        /// Until when; it may go on when absent.
        until: Option<Timestamp>,
    },
    /// Other rules hold from now on.
    Config {
        /// The hash of the new rules.
        rules: Digest,
        /// The hash of those before.
        previous: Option<Digest>,
    },
    /// An alert was delivered or given up.
    Alert {
        /// Its number in the outbox.
        id: u64,
        /// Through what.
        channel: LeafText,
        /// Whether it arrived; otherwise it was given up.
        delivered: bool,
        /// How often it was tried.
        attempts: u64,
        /// The change set that it was about.
        set: SetId,
        /// What the other side said.
        answer: LeafText,
    },
    /// The monitor is alive.
    Heartbeat {
        /// How many paths are covered.
        watching: u64,
        /// How many changes are open.
        open: u64,
        /// What watches, in a word or several joined by `+`.
        backend: LeafText,
    },
    /// Something was there and gone before it could be read.
    Touched {
        /// Where.
        path: LeafPath,
        /// Who made it.
        who: Option<Who>,
        /// The hash of all that is known of them.
        details: Digest,
    },
    /// The clock was set back: this leaf's time may lie before that of the leaf before.
    Clock,
    /// The details of leaves were deleted by the rules of retention; their hashes stay.
    Pruned(Box<Pruned>),
    /// A scan of everything that is watched has ended.
    Scan(Box<Scan>),
    /// Contents of files were kept as evidence.
    Kept {
        /// Whether they stood where they differed from the baseline; otherwise they were approved.
        suspect: bool,
        /// How many.
        contents: u64,
        /// How many bytes they have, uncompressed.
        bytes: u64,
        /// [`contents_hash`] of them.
        list: Digest,
    },
    /// Contents that were kept are not kept any more.
    Dropped {
        /// Why, in a word.
        reason: LeafText,
        /// Each with the leaf that told of its keeping; at most [`MAX_DROPPED`].
        contents: Vec<(u64, Digest)>,
    },
}

/// How many contents one leaf says to be dropped, at most: so many always fit.
pub const MAX_DROPPED: usize = 1200;

/// The SHA-256 over the SHA-256 of each of the contents, sorted.
pub fn contents_hash<'d>(sorted: impl IntoIterator<Item = &'d Digest>) -> Digest {
    let mut hasher = Hasher::default();
    sorted.into_iter().for_each(|digest| hasher.update(digest));
    hasher.finish()
}

/// A finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeLeaf {
    /// The name of the change; several leaves may be about one, of which the last one holds.
    pub id: ChangeId,
    /// Its set.
    pub set: SetId,
    /// How many different states were seen since it was opened.
    pub count: u64,
    /// When it was first seen, in microseconds.
    pub first: Timestamp,
    /// How the path differs.
    pub kind: ChangeKind,
    /// How much it matters.
    pub severity: Severity,
    /// What made us look.
    pub source: Source,
    /// The attributes that count and differ.
    pub fields: AttributeSet,
    /// The watch whose rules decided.
    pub watch: LeafText,
    /// Where.
    pub path: LeafPath,
    /// Where it came from.
    pub from: Option<LeafPath>,
    /// The baseline's state.
    pub before: Option<LeafState>,
    /// The state now.
    pub after: Option<LeafState>,
    /// The newest of those who made it.
    pub who: Option<Who>,
    /// [`Details::hash`] of the rest of the record.
    pub details: Digest,
}

/// What people, or a rule of theirs, decided about one path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// The change it ends; [`ChangeId::NONE`] when it was about none.
    pub id: ChangeId,
    /// Where.
    pub path: LeafPath,
    /// The state that was approved or put back; absent when nothing is there.
    pub state: Option<LeafState>,
    /// Who decided.
    pub by: By,
    /// Why.
    pub note: LeafText,
}

/// A baseline that was sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// Its number.
    pub generation: u64,
    /// The directory hash of its record of roots.
    pub root: Digest,
    /// How many file states it has.
    pub entries: u64,
    /// How many of them are of regular files.
    pub files: u64,
    /// How many bytes of theirs were hashed.
    pub bytes: u64,
    /// When the scan that it rests on began.
    pub scan_start: Timestamp,
    /// The hash of the rules it was taken by.
    pub rules: Digest,
    /// The SHA-256 of its seal, the whole signed note.
    pub seal: Digest,
    /// Who sealed it.
    pub by: By,
    /// Why.
    pub note: LeafText,
}

/// What was deleted by the rules of retention: nothing else may be missing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pruned {
    /// By which rule.
    pub reason: LeafText,
    /// How many changes went with it, each with all its leaves.
    pub changes: u64,
    /// The leaves, as rows of them: the first index and how many, ascending, with others between; at most
    /// [`Pruned::MOST_ROWS`].
    pub rows: Vec<(u64, u64)>,
}

impl Pruned {
    /// How many rows a leaf names at most, so that it fits ([`MAX_LEN`]).
    pub const MOST_ROWS: usize = 2000;

    /// How many leaves were deleted.
    pub fn leaves(&self) -> u64 {
        self.rows.iter().fold(0, |all, (_, count)| all.saturating_add(*count))
    }
}

/// A scan of everything that is watched.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Scan {
    /// Whether every byte was read.
    pub full: bool,
    /// When it began.
    pub started: Timestamp,
    /// When it ended.
    pub ended: Timestamp,
    /// `intact`, `changed` or `incomplete`.
    pub outcome: LeafText,
    /// How many entries were looked at.
    pub checked: u64,
    /// How many places could not be.
    pub errors: u64,
    /// How many bytes were hashed.
    pub bytes: u64,
}

/// Why bytes are not a leaf that this program can read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LeafError {
    /// Not in the form of any leaf, or not in the only form of this one.
    #[error("it is no leaf: {0}")]
    Wire(#[from] WireError),
    /// A leaf of a newer program.
    #[error("it is of a version or kind that this program does not know ({version}, {kind})")]
    Unknown {
        /// Its version.
        version: u8,
        /// Its kind.
        kind: u64,
        /// Its time.
        time: Timestamp,
    },
}

impl Leaf {
    /// The bytes of the leaf, at most [`MAX_LEN`].
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(384);
        out.push(VERSION);
        put_varint(&mut out, self.event.code());
        put_zigzag(&mut out, self.time.as_micros());
        fields::put(&mut out, &self.event);
        out
    }

    /// The leaf of [`Leaf::to_bytes`].
    ///
    /// # Errors
    /// When the bytes are not exactly one leaf in its only form.
    pub fn parse(bytes: &[u8]) -> Result<Leaf, LeafError> {
        if bytes.len() > MAX_LEN {
            return Err(WireError::Malformed("length").into());
        }
        let mut input = Input::new(bytes);
        let (version, kind) = (input.byte()?, input.varint()?);
        let time = fields::read_micros(&mut input)?;
        let event = match version {
            VERSION => fields::read(kind, &mut input)?,
            0 => return Err(WireError::Malformed("version").into()),
            _ => None,
        };
        let event = event.ok_or(LeafError::Unknown { version, kind, time })?;
        if !input.is_empty() {
            return Err(WireError::Malformed("end").into());
        }
        Ok(Leaf { time, event })
    }
}

impl Event {
    /// The name of its kind, as `log` prints it.
    pub fn kind(&self) -> &'static str {
        match self {
            Event::Key(_) => "key",
            Event::Start { .. } => "start",
            Event::Stop { .. } => "stop",
            Event::Change(_) => "change",
            Event::Resolved { .. } => "resolved",
            Event::Approved(_) => "approved",
            Event::Restored(_) => "restored",
            Event::Sealed(_) => "sealed",
            Event::Blind { .. } => "blind",
            Event::Config { .. } => "config",
            Event::Alert { .. } => "alert",
            Event::Heartbeat { .. } => "heartbeat",
            Event::Touched { .. } => "touched",
            Event::Clock => "clock",
            Event::Pruned(_) => "pruned",
            Event::Scan(_) => "scan",
            Event::Kept { .. } => "kept",
            Event::Dropped { .. } => "dropped",
        }
    }

    /// The number of its kind in the encoding.
    fn code(&self) -> u64 {
        match self {
            Event::Key(_) => 1,
            Event::Start { .. } => 2,
            Event::Stop { .. } => 3,
            Event::Change(_) => 4,
            Event::Resolved { .. } => 5,
            Event::Approved(_) => 6,
            Event::Restored(_) => 7,
            Event::Sealed(_) => 8,
            Event::Blind { .. } => 9,
            Event::Config { .. } => 10,
            Event::Alert { .. } => 11,
            Event::Heartbeat { .. } => 12,
            Event::Touched { .. } => 13,
            Event::Clock => 14,
            Event::Pruned(_) => 15,
            Event::Scan(_) => 16,
            Event::Kept { .. } => 17,
            Event::Dropped { .. } => 18,
        }
    }

    /// The path that it is about, if it is about one.
    pub fn path(&self) -> Option<&LeafPath> {
        match self {
            Event::Change(change) => Some(&change.path),
            Event::Resolved { path, .. } | Event::Touched { path, .. } => Some(path),
            Event::Approved(decision) | Event::Restored(decision) => Some(&decision.path),
            Event::Blind { path, .. } => path.as_ref(),
            _ => None,
        }
    }
}

impl ChangeLeaf {
    /// The leaf of a recorded change as it stands. A row of the record agrees with a leaf when this of it is equal to it.
    pub fn of(change: &Change) -> ChangeLeaf {
        let actors = actor::to_text(&change.actors);
        let (before, after) = (change.before.as_ref(), change.after.as_ref());
        let details = Details {
            before_user: before.and_then(|seen| seen.user.as_deref()),
            before_group: before.and_then(|seen| seen.group.as_deref()),
            after_user: after.and_then(|seen| seen.user.as_deref()),
            after_group: after.and_then(|seen| seen.group.as_deref()),
            actors: actors.as_deref(),
        };
        ChangeLeaf {
            id: change.id,
            set: change.set,
            count: change.count,
            first: Timestamp::from_micros(change.first.as_micros()),
            kind: change.kind,
            severity: change.severity,
            source: change.source,
            fields: change.fields,
            watch: LeafText::new(&change.watch),
            path: LeafPath::new(&change.path),
            from: change.from.as_ref().map(LeafPath::new),
            before: before.map(|seen| LeafState::new(&seen.state)),
            after: after.map(|seen| LeafState::new(&seen.state)),
            who: change.actors.last().map(Who::of),
            details: details.hash(),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
