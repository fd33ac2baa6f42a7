//! The seal over a baseline: a signed note whose text says which baseline was approved.
//!
//! ```text
//! waxseal/host.example                       the origin: whose baseline it is
//! waxseal-baseline-v1
//! generation 3                               which of the baselines of this origin, decimal
//! root <hex, 64 digits>                      the directory hash of the record of roots
//! entries 123456                             how many file states it has, decimal
//! time 2026-01-31T12:00:00.000000Z           when it was sealed, RFC 3339, UTC, microseconds
//! previous <hex, 64 digits, or "none">       the root that this baseline takes the place of
//! rules <hex, 64 digits>                     SHA-256 of the text of the rules it was taken by
//! ```
//!
//! Exactly these lines, each ending in a newline, one blank between a word and its value, numbers without leading
//! zeros, hexadecimal in lower case: one seal has one text. A seal stays valid for ever; whether it is the newest one
//! is told by whoever keeps generations and previous roots.
//!
//! The second line cannot be the size that a C2SP checkpoint has there, so neither can pass for the other even
//! when one key signs both.

use crate::key::SigningKey;
use crate::note::{NoteError, UnverifiedNote, signed, signed_by};
use crate::signer::{SignError, Signer};
use crate::text::{decimal, digest};
use crate::vkey::{Name, VerifierKey};
use waxseal_model::digest::hex;
use waxseal_model::{Digest, Timestamp};

const FORMAT: &str = "waxseal-baseline-v1";

/// The first and the last second that a seal's time can be in: years 0 and 9999, less what RFC 3339 readers
/// need for any offset.
const TIMES: std::ops::RangeInclusive<i64> = -62_167_219_200..=253_402_207_200;

/// What a seal says about a baseline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seal {
    /// Whose baseline it is. Name of the machine by custom, [`Name::for_host`].
    pub origin: Name,
    /// Counts the baselines of this origin.
    pub generation: u64,
    /// The directory hash of the record of roots.
    pub root: Digest,
    /// How many file states the baseline has.
    pub entries: u64,
    /// When it was sealed, by the clock of the machine that sealed it. Written in microseconds; a time
    /// beyond the years 0 to 9999 is written as the first or last of them.
    pub time: Timestamp,
    /// The root of the baseline that this one takes the place of; none for the first.
    pub previous: Option<Digest>,
    /// [`rules_hash`](crate::rules_hash) of the rules that the baseline was taken by.
    pub rules: Digest,
}

/// Why a seal is not to be trusted. Whoever gets this has no baseline.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The note is not signed as it must be.
    #[error("the baseline's seal is broken: {0}")]
    Note(#[from] NoteError),
    /// Signed by a known key, but not a seal that this program knows.
    #[error("what the key signed is not a baseline's seal of version 1: {0}")]
    Malformed(&'static str),
    /// A genuine seal over the baseline of another machine.
    #[error("the seal is over the baseline of {found}, not of {expected}")]
    OtherOrigin {
        /// Whose baseline it should be.
        expected: Name,
        /// Whose baseline it is.
        found: Name,
    },
}

impl SealError {
    /// What the user can do about it, in one sentence.
    pub fn hint(&self) -> &'static str {
        match self {
            SealError::Note(NoteError::Unsigned) => {
                "if the sealing key was replaced, pass its verifier key with --public-key; otherwise treat the baseline as forged"
            }
            SealError::Note(NoteError::Ambiguous { .. }) => "remove one of the two keys",
            SealError::Note(_) => "treat the machine as tampered with; compare with an exported baseline",
            SealError::Malformed(_) => "use a program at least as new as the one that sealed the baseline",
            SealError::OtherOrigin { .. } => "use the baseline of this machine",
        }
    }
}

impl Seal {
    /// The seal as a note signed by these keys.
    pub fn sign(&self, keys: &[&SigningKey]) -> String {
        signed(&self.text(), keys)
    }

    /// The seal as a note signed by these, one after the other.
    ///
    /// # Errors
    /// When one of them does not sign.
    pub fn sign_by(&self, signers: &[&dyn Signer]) -> Result<String, SignError> {
        signed_by(&self.text(), signers)
    }

    /// The seal of a note that at least one of these keys has signed. Whose baseline it is, is for the caller to
    /// look at; where that is known, [`Seal::verify_for`] does.
    ///
    /// # Errors
    /// [`SealError::Note`] when the signatures do not hold, [`SealError::Malformed`] when something else was signed.
    pub fn verify(note: impl AsRef<[u8]>, keys: &[VerifierKey]) -> Result<Seal, SealError> {
        let note = UnverifiedNote::parse(note)?.open(keys)?;
        Seal::parse(note.text()).map_err(SealError::Malformed)
    }

    /// Like [`Seal::verify`], for the baseline of this origin: one key may seal many machines, and the seal of one
    /// must not pass on another.
    ///
    /// # Errors
    /// Also [`SealError::OtherOrigin`].
    pub fn verify_for(
        origin: &Name,
        note: impl AsRef<[u8]>,
        keys: &[VerifierKey],
    ) -> Result<Seal, SealError> {
        let seal = Seal::verify(note, keys)?;
        if seal.origin == *origin {
            Ok(seal)
        } else {
            Err(SealError::OtherOrigin { expected: origin.clone(), found: seal.origin })
        }
    }

    /// The text that is signed.
    fn text(&self) -> String {
        let time = Timestamp::new(self.time.seconds.clamp(*TIMES.start(), *TIMES.end()), self.time.nanos);
        format!(
            "{}\n{FORMAT}\ngeneration {}\nroot {}\nentries {}\ntime {time}\nprevious {}\nrules {}\n",
            self.origin.as_str(),
            self.generation,
            hex(&self.root),
            self.entries,
            self.previous.map_or_else(|| "none".to_owned(), |root| hex(&root)),
            hex(&self.rules),
        )
    }

    fn parse(text: &str) -> Result<Seal, &'static str> {
        let mut lines = text.strip_suffix('\n').ok_or("it is cut short")?.split('\n');
        let origin = lines.next().and_then(|line| Name::new(line).ok()).ok_or("its origin is not a name")?;
        if lines.next() != Some(FORMAT) {
            return Err("its second line is another");
        }
        let mut field = |name: &str| lines.next()?.strip_prefix(name)?.strip_prefix(' ');
        let generation = field("generation").and_then(decimal).ok_or("its generation is not a number")?;
        let root = field("root").and_then(digest).ok_or("its root is not a hash")?;
        let entries = field("entries").and_then(decimal).ok_or("its entries are not a number")?;
        let time = field("time").and_then(parse_time).ok_or("its time is not one")?;
        let previous = match field("previous").ok_or("its previous root is missing")? {
            "none" => None,
            root => Some(digest(root).ok_or("its previous root is not a hash")?),
        };
        let rules = field("rules").and_then(digest).ok_or("its rules are not a hash")?;
        if lines.next().is_some() {
            return Err("it has more lines than it should");
        }
        Ok(Seal { origin, generation, root, entries, time, previous, rules })
    }
}

/// A time in exactly the form in which it is written.
fn parse_time(text: &str) -> Option<Timestamp> {
    let time: jiff::Timestamp = text.parse().ok()?;
    let time = Timestamp::from_micros(time.as_microsecond());
    (time.to_string() == text).then_some(time)
}

#[cfg(test)]
#[path = "seal_tests.rs"]
mod tests;
