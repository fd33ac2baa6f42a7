//! What can be wrong with a log, in words.

use crate::checkpoint::CheckpointError;
use crate::epoch::ChainError;
use crate::vkey::Name;
use std::fmt;
use waxseal_model::Timestamp;
use waxseal_model::wire::WireError;

/// Who says which root the tree has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Anchor {
    /// A checkpoint that was kept somewhere else.
    Kept,
    /// A checkpoint that came with the log and that a witness has cosigned.
    Cosigned,
    /// The announcement of the key of this epoch.
    Key(u64),
    /// The log's own checkpoint.
    Own,
}

impl fmt::Display for Anchor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Anchor::Kept => f.write_str("the checkpoint that was kept"),
            Anchor::Cosigned => f.write_str("the checkpoint that a witness has cosigned"),
            Anchor::Key(epoch) => write!(f, "the announcement of the key of epoch {epoch}"),
            Anchor::Own => f.write_str("the log's checkpoint"),
        }
    }
}

/// A contradiction. Where it names a leaf, that leaf cannot be trusted; [`Problem::Rewritten`], [`Problem::Key`] and
/// [`Problem::Restarted`] say from where on nothing can.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The log's own checkpoint does not hold.
    #[error("in the log itself, {0}")]
    Checkpoint(CheckpointError),
    /// A checkpoint that came with the log should be cosigned, and is not as it must be.
    #[error("the checkpoint that {witness} should have cosigned: {error}")]
    Cosigned {
        /// Which witness.
        witness: Name,
        /// Why not.
        error: CheckpointError,
    },
    /// A witness that is believed has cosigned nothing that came with the log.
    #[error("nothing is cosigned by {0}")]
    NotCosigned(Name),
    /// The first leaf does not announce the first key.
    #[error("the first leaf is not that of the first key: this is no log, or its beginning is gone")]
    FirstKey,
    /// The first key is not that of the verification file.
    #[error("the first key is another than that of the verification file: this is another log")]
    OtherFirstKey,
    /// A leaf's bytes were changed; all around it is proven.
    #[error("leaf {index}{} was altered: its bytes are not those that were recorded", at(*time))]
    Altered {
        /// Which.
        index: u64,
        /// The time that it has now.
        time: Option<Timestamp>,
    },
    /// A leaf's stored hash was changed; the leaf itself is proven.
    #[error("the stored hash of leaf {index} was altered; the leaf is as it was recorded")]
    Hash {
        /// Which.
        index: u64,
    },
    /// A leaf's bytes and its stored hash do not belong together, and no signed root says which is right.
    #[error("leaf {index}{} and its stored hash do not belong together", at(*time))]
    Differs {
        /// Which.
        index: u64,
        /// The time that it has now.
        time: Option<Timestamp>,
    },
    /// The leaves are not those that were signed.
    #[error(
        "from leaf {from}{} on nothing can be trusted: {anchor} says that the first {size} leaves were others",
        at(*time)
    )]
    Rewritten {
        /// The first leaf after the last proven one.
        from: u64,
        /// Its time.
        time: Option<Timestamp>,
        /// How many leaves were signed.
        size: u64,
        /// By whom.
        anchor: Anchor,
    },
    /// There are fewer leaves than were signed: the log was cut, or an older copy took its place.
    #[error(
        "the log ends after {size} leaves, and {anchor} says that there were {expected}: it was cut, or is an older copy"
    )]
    Short {
        /// How many there are.
        size: u64,
        /// How many there should be.
        expected: u64,
        /// Who says so.
        anchor: Anchor,
    },
    /// Details are missing that were not deleted by the rules of retention.
    #[error("the leaves {from} to {} are missing", end - 1)]
    Missing {
        /// The first.
        from: u64,
        /// The first after them.
        end: u64,
    },
    /// Details were deleted that no rule of retention may delete yet.
    #[error("the leaves {from} to {} were deleted, as leaf {by} says, and no rule of retention deletes what is so young", end - 1)]
    TooYoung {
        /// The first.
        from: u64,
        /// The first after them.
        end: u64,
        /// The leaf that says so.
        by: u64,
    },
    /// A file of an export.
    #[error("the file {path} is missing, or is not what follows from the others")]
    Tile {
        /// Its name in the export.
        path: String,
    },
    /// A key does not continue the chain.
    #[error("from leaf {index} ({time}) on nothing is proven: it announces a key, and {error}")]
    Key {
        /// Which leaf.
        index: u64,
        /// Its time.
        time: Timestamp,
        /// Why not.
        error: ChainError,
    },
    /// The host's key announced a key in the middle of the log.
    #[error(
        "from leaf {index}{} on only the host's key proves anything: the key of the epoch before was lost, or an intruder went on without it",
        at(*time)
    )]
    Restarted {
        /// Which leaf.
        index: u64,
        /// Its time.
        time: Option<Timestamp>,
    },
    /// A time that goes back without saying so.
    #[error("leaf {index} ({time}) is older than the leaf before it")]
    TimeBack {
        /// Which leaf.
        index: u64,
        /// Its time.
        time: Timestamp,
    },
    /// Recorded bytes that are no leaf.
    #[error("leaf {index} cannot be read: {error}")]
    NoLeaf {
        /// Which.
        index: u64,
        /// Why not.
        error: WireError,
    },
}

/// The time of a leaf, where it is known.
fn at(time: Option<Timestamp>) -> String {
    time.map_or_else(String::new, |time| format!(" ({time})"))
}
