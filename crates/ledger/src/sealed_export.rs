//! A sealed export: a whole baseline in one file that needs nothing else to be verified.
//!
//! In: the seal, the rules, the directory records. Out: a file in exactly one form, and from such a file again the seal
//! (once verified) and each record by its hash. Everything in a file is somebody's claim until the seal is verified and
//! the record has its hash; `docs/baseline-format.md` describes the form.
//!
//! ```text
//! waxseal-export-v1
//! key <verifier key line of the sealing key>
//! seal <bytes>
//! rules <bytes>
//! who <bytes>
//! note <bytes>
//! records <count> <bytes>
//!
//! <seal> <rules> <who> <note>                 without anything between them
//! count × ( hash(32) end(8, big endian) )     by hash, ascending; end: where the record ends among the records
//! <records>                                   in the same order, without anything between them
//! ```
//!
//! What is signed is the seal, and with it the root, and with that every record that is reached from it; and the rules, by
//! their hash. Who and why are not.

mod read;
mod write;

pub use read::{Bytes, SealedExport};
pub use write::Writer;

use crate::seal::{Seal, SealError};
use crate::tree::rules_hash;
use crate::vkey::{VerifierKey, VkeyError};
use waxseal_model::Digest;

/// What the first line of a file of any version begins with.
const FAMILY: &str = "waxseal-export-v";
const FORMAT: &str = "waxseal-export-v1";

/// The longest header that is looked at, in bytes.
const MAX_HEADER: usize = 64 << 10;
/// The longest rules that are looked at, in bytes. A config has at most 4 MiB, and says less than what it means.
const MAX_RULES: u64 = 64 << 20;
/// The longest names and reasons, in bytes.
const MAX_WORDS: u64 = 1 << 20;
/// The longest directory record, in bytes: what SQLite stores in a cell.
const MAX_RECORD: u64 = 1_000_000_000;
/// A line of the index: hash and end.
const INDEX_LINE: usize = 40;

/// What an export says about its baseline, beside the records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The key that is said to have sealed it.
    pub key: VerifierKey,
    /// The signed note.
    pub seal: String,
    /// The rules under which it was taken, as text.
    pub rules: String,
    /// Who sealed it, as the machine says that wrote the file.
    pub who: String,
    /// Why, as that machine says.
    pub note: String,
}

/// Why an export is not to be trusted, or could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// As the file system says.
    #[error("it could not be read: {0}")]
    Read(#[from] std::io::Error),
    /// Another file.
    #[error("it is not a sealed export of Waxseal")]
    Other,
    /// Of a later version.
    #[error(
        "it is a sealed export of a newer version: use a program at least as new as the one that wrote it"
    )]
    Newer,
    /// Not as it was written: changed, cut, or with something behind it.
    #[error("the export is damaged: {0}")]
    Damaged(&'static str),
    /// Its key is none.
    #[error("the export is damaged: its key: {0}")]
    Key(#[from] VkeyError),
    /// Its seal does not hold.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The rules are not those that were sealed.
    #[error("the baseline's seal is broken: its rules are not the ones that were sealed")]
    Rules,
}

impl Head {
    /// The seal, when one of these keys has signed it for its own machine, and the rules are those that were sealed.
    ///
    /// # Errors
    /// [`ExportError::Seal`] and [`ExportError::Rules`].
    pub fn verify(&self, keys: &[VerifierKey]) -> Result<Seal, ExportError> {
        let seal = Seal::verify(&self.seal, keys)?;
        let names = || keys.iter().map(VerifierKey::name);
        if let Some(expected) = names().next().filter(|_| !names().any(|name| *name == seal.origin)) {
            let (expected, found) = (expected.clone(), seal.origin);
            return Err(SealError::OtherOrigin { expected, found }.into());
        }
        if seal.rules == rules_hash(&self.rules) { Ok(seal) } else { Err(ExportError::Rules) }
    }
}

/// The end of each record, from their hashes and lengths; the records are in the order of their hashes.
type Ends = Vec<(Digest, u64)>;

#[cfg(test)]
mod tests;
