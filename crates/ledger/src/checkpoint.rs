//! Checkpoints: the size and root of the log, signed.
//!
//! C2SP tlog-checkpoint (<https://c2sp.org/tlog-checkpoint>), a signed note whose text has exactly three lines:
//!
//! ```text
//! waxseal/host.example                            the origin, which is also the name of the host's key
//! 1234                                            how many leaves, decimal
//! CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=    the root, base64
//! ```
//!
//! Extension lines, which the specification advises against, are neither written nor read. A checkpoint of ours carries
//! the signatures of the host's key and of the key of the epoch ([`crate::epoch`]) in which its last leaf lies.

use crate::key::SigningKey;
use crate::note::{NoteError, UnverifiedNote, signed};
use crate::text::{base64, decimal, unbase64_array};
use crate::vkey::{Name, VerifierKey};
use waxseal_model::Digest;

/// The size and root of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Whose log.
    pub origin: Name,
    /// How many leaves.
    pub size: u64,
    /// The root over them.
    pub root: Digest,
}

/// Why a checkpoint was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// The note is not signed as it must be.
    #[error("the checkpoint is not valid: {0}")]
    Note(#[from] NoteError),
    /// Signed, but no checkpoint as these logs have them.
    #[error("what the key signed is not a checkpoint: {0}")]
    Malformed(&'static str),
    /// The checkpoint of another log.
    #[error("the checkpoint is of the log of {found}, not of {expected}")]
    OtherOrigin {
        /// Whose it should be.
        expected: Name,
        /// Whose it is.
        found: Name,
    },
    /// A key that should have signed it has not.
    #[error("the checkpoint is not signed by {0}")]
    MissingSignature(Name),
}

impl Checkpoint {
    /// The text that is signed.
    pub fn text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin.as_str(), self.size, base64(&self.root))
    }

    /// The checkpoint as a note signed by these keys, in this order.
    pub(crate) fn sign(&self, keys: &[&SigningKey]) -> String {
        signed(&self.text(), keys)
    }

    /// The checkpoint of a note that *all* of these keys have signed. Its origin must be the name of the first.
    ///
    /// # Errors
    /// When the signatures do not hold, one is missing, something else was signed, or it is of another log.
    pub fn open(note: impl AsRef<[u8]>, keys: &[&VerifierKey]) -> Result<Checkpoint, CheckpointError> {
        let known: Vec<VerifierKey> = keys.iter().map(|key| (*key).clone()).collect();
        let note = UnverifiedNote::parse(note)?.open(&known)?;
        let has_signed = |key: &VerifierKey| {
            note.signatures().iter().any(|line| line.name == *key.name() && line.id == key.id())
        };
        if let Some(key) = keys.iter().find(|key| !has_signed(key)) {
            return Err(CheckpointError::MissingSignature(key.name().clone()));
        }
        let checkpoint = Checkpoint::parse(note.text()).map_err(CheckpointError::Malformed)?;
        match keys.first() {
            Some(key) if *key.name() != checkpoint.origin => {
                Err(CheckpointError::OtherOrigin { expected: key.name().clone(), found: checkpoint.origin })
            }
            _ => Ok(checkpoint),
        }
    }

    /// The checkpoint of a note of which nobody has looked at the signatures: what it claims.
    ///
    /// # Errors
    /// When it is no checkpoint.
    pub fn claimed(note: &UnverifiedNote) -> Result<Checkpoint, CheckpointError> {
        Checkpoint::parse(note.claimed_text()).map_err(CheckpointError::Malformed)
    }

    fn parse(text: &str) -> Result<Checkpoint, &'static str> {
        let mut lines = text.strip_suffix('\n').ok_or("it is cut short")?.split('\n');
        let origin = lines.next().and_then(|line| Name::new(line).ok()).ok_or("its origin is not a name")?;
        let size = lines.next().and_then(decimal).ok_or("its size is not a number")?;
        let root = lines.next().and_then(unbase64_array).ok_or("its root is not a hash")?;
        if lines.next().is_some() {
            return Err("it has more lines than it should");
        }
        Ok(Checkpoint { origin, size, root })
    }
}

#[cfg(test)]
#[path = "checkpoint_tests.rs"]
mod tests;
