//! The end of a log: all that whoever appends to it needs.
//!
//! In: what happened, and keys. Out: leaves with their place, to be stored in the transaction that stores what happened; and
//! the checkpoint, to be signed after that transaction is on disk. Nothing here knows the store:
//!
//! 1. clone the [`Tail`], append to the clone, store what comes out ([`Stored`]) and commit;
//! 2. put the clone in the place of the tail (after a failure, drop it: nothing has happened);
//! 3. sign [`Tail::checkpoint`] and store it.
//!
//! After a crash between 1 and 3, [`Tail::resume`] over what is stored does 2, and the checkpoint is signed then.
//!
//! When an epoch ends: make the next key, write it to disk beside the old one, append its announcement
//! ([`Tail::turn`]), commit, and only then erase the old one. After a crash in between both may be there; the one that
//! [`Tail::epoch`] names is the one to keep.

use crate::checkpoint::Checkpoint;
use crate::epoch::{Chain, ChainError, EpochKey, Position, Signer};
use crate::key::SigningKey;
use crate::leaf::{Event, Leaf, LeafError};
use crate::merkle::{Edge, LevelHash, leaf_hash};
use crate::vkey::VerifierKey;
use waxseal_model::{Digest, Timestamp};

/// The end of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tail {
    edge: Edge,
    /// The time of the last leaf.
    time: Timestamp,
    chain: Chain,
}

/// A leaf in its place, for storing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Its index, from 0 without gaps.
    pub index: u64,
    /// What it says.
    pub leaf: Leaf,
    /// Its bytes, at most [`crate::leaf::MAX_LEN`].
    pub bytes: Vec<u8>,
    /// Its hash, of level 0.
    pub hash: Digest,
    /// The hashes of higher levels that are complete with it, to be stored too; mostly none.
    pub levels: Vec<LevelHash>,
}

/// Why a log cannot be continued.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TailError {
    /// What is stored as a leaf is none.
    #[error("the log's end cannot be read: {0}")]
    Leaf(#[from] LeafError),
    /// The leaf of an epoch's key announces none, or not properly.
    #[error("the log's last key cannot be followed: {0}")]
    Chain(#[from] ChainError),
    /// What should be the leaf of an epoch's key is another.
    #[error("the leaf of the log's last key is another")]
    NoKey,
    /// A key of another epoch than the log's last one.
    #[error("the key is not that of the log's last epoch")]
    WrongEpoch,
    /// A host's key that is not that of this log.
    #[error("the key is not that of this log")]
    WrongHost,
}

impl Tail {
    /// Begins a log: its first leaf announces the key of epoch 0.
    ///
    /// # Errors
    /// When the key is not that of epoch 0 of this host's log.
    pub fn begin(host: &SigningKey, first: &EpochKey, time: Timestamp) -> Result<(Tail, Stored), TailError> {
        let chain = Chain::new(host.verifier_key().clone());
        let mut tail = Tail { edge: Edge::new(), time, chain };
        let stored = tail.announce(first, Signer::Host(host), time)?;
        Ok((tail, stored))
    }

    /// The end of a log that is stored: its edge ([`Edge::read`]), the bytes of its last leaf, and those of its last leaf of
    /// kind `key`. They are taken as they are stored; whether they are what was signed is for
    /// [`Walk`](crate::verify::Walk) to say.
    ///
    /// # Errors
    /// When the leaves cannot be read.
    pub fn resume(host: &VerifierKey, edge: Edge, last: &[u8], last_key: &[u8]) -> Result<Tail, TailError> {
        let Event::Key(announcement) = Leaf::parse(last_key)?.event else { return Err(TailError::NoKey) };
        let chain = Chain::at(host.clone(), announcement.epoch, &announcement.key)?;
        // The newest leaf may be that of a newer program, which ran before.
        let time = match Leaf::parse(last) {
            Ok(leaf) => leaf.time,
            Err(LeafError::Unknown { time, .. }) => time,
            Err(error) => return Err(error.into()),
        };
        Ok(Tail { edge, time, chain })
    }

    /// How many leaves the log has.
    pub fn size(&self) -> u64 {
        self.edge.size()
    }

    /// The root over them.
    pub fn root(&self) -> Digest {
        self.edge.root()
    }

    /// The time of the last leaf.
    pub fn time(&self) -> Timestamp {
        self.time
    }

    /// The number and public key of the last epoch: with its private key checkpoints are signed.
    pub fn epoch(&self) -> Option<(u64, &VerifierKey)> {
        self.chain.current()
    }

    /// Appends what happened. When the clock was set back since the last leaf, a leaf of kind `clock` comes before it, so
    /// that times never go back unsaid.
    pub fn append(&mut self, time: Timestamp, event: Event) -> Vec<Stored> {
        let mut stored = self.clock(time);
        stored.push(self.push(Leaf { time, event }));
        stored
    }

    /// Ends the epoch: announces the next key, signed by the key of this one, which signs nothing more.
    ///
    /// # Errors
    /// When `current` is not the key of the last epoch, or `next` not one of the epoch after it. Nothing is appended then.
    pub fn turn(
        &mut self,
        current: &EpochKey,
        next: &EpochKey,
        time: Timestamp,
    ) -> Result<Vec<Stored>, TailError> {
        self.is_current(current)?;
        self.announced(next, Signer::Previous(current), time)
    }

    /// Goes on after the key of the last epoch was lost: announces another one, signed by the host's key. Verifiers will
    /// report it, for an intruder could do the same; see [`crate::epoch`].
    ///
    /// # Errors
    /// When `next` is not a key of the epoch after the last, or the host's key is not that of this log.
    pub fn restart(
        &mut self,
        host: &SigningKey,
        next: &EpochKey,
        time: Timestamp,
    ) -> Result<Vec<Stored>, TailError> {
        self.announced(next, Signer::Host(host), time)
    }

    /// The checkpoint of the log as it stands, a signed note.
    ///
    /// # Errors
    /// When the keys are not those of the log and of its last epoch.
    pub fn checkpoint(&self, host: &SigningKey, epoch: &EpochKey) -> Result<String, TailError> {
        self.is_host(host)?;
        self.is_current(epoch)?;
        let checkpoint =
            Checkpoint { origin: self.chain.origin().clone(), size: self.size(), root: self.root() };
        Ok(checkpoint.sign(&[host, epoch.signing_key()]))
    }

    fn is_host(&self, host: &SigningKey) -> Result<(), TailError> {
        if host.verifier_key() == self.chain.host() { Ok(()) } else { Err(TailError::WrongHost) }
    }

    fn is_current(&self, key: &EpochKey) -> Result<(), TailError> {
        match self.chain.current() {
            Some((_, current)) if current == key.verifier_key() => Ok(()),
            _ => Err(TailError::WrongEpoch),
        }
    }

    fn clock(&mut self, time: Timestamp) -> Vec<Stored> {
        let back = time.as_micros() < self.time.as_micros();
        if back { vec![self.push(Leaf { time, event: Event::Clock })] } else { Vec::new() }
    }

    fn announced(
        &mut self,
        next: &EpochKey,
        by: Signer<'_>,
        time: Timestamp,
    ) -> Result<Vec<Stored>, TailError> {
        let mut ahead = self.clone();
        let mut stored = ahead.clock(time);
        stored.push(ahead.announce(next, by, time)?);
        *self = ahead;
        Ok(stored)
    }

    fn announce(&mut self, next: &EpochKey, by: Signer<'_>, time: Timestamp) -> Result<Stored, TailError> {
        if let Signer::Host(host) = by {
            self.is_host(host)?;
        }
        let at = Position { size: self.size(), root: self.root(), time };
        let announcement = next.announced(by, &at, self.chain.origin());
        match self.chain.follow(&announcement, &at) {
            Ok(()) | Err(ChainError::Restart) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(self.push(Leaf { time, event: Event::Key(announcement) }))
    }

    fn push(&mut self, leaf: Leaf) -> Stored {
        let (index, bytes) = (self.edge.size(), leaf.to_bytes());
        let (hash, mut levels) = (leaf_hash(&bytes), Vec::new());
        self.edge.push(hash, |kept| levels.push(kept));
        self.time = leaf.time;
        Stored { index, leaf, bytes, hash, levels }
    }
}

#[cfg(test)]
#[path = "tail_tests.rs"]
pub(crate) mod tests;
