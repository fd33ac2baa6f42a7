//! What is signed, as formats that other tools read: signed notes, keys, the seal over a baseline and
//! the hashes beneath it, and the log.
//!
//! In: bytes of directory records and leaves, text of notes and key files. Out: digests, signed text, and verified
//! values in types of their own, so that nothing unverified can be trusted by mistake. No files, no clock;
//! the only thing asked of the system is random bytes for new keys. `docs/baseline-format.md` and `docs/log-format.md`
//! describe every format here for other implementers.
//!
//! Who keeps a log needs [`Tail`] and [`EpochKey`]; who verifies one, [`verify`]. A log is a tree ([`merkle`]) of leaves
//! ([`leaf`]) whose root is signed ([`checkpoint`]) by a stable key and by one that soon ceases to exist ([`epoch`]).

pub mod agent;
pub mod checkpoint;
pub mod cosignature;
pub mod epoch;
pub mod key;
pub mod keyfile;
pub mod leaf;
pub mod merkle;
pub mod note;
pub mod seal;
pub mod sealed_export;
pub mod signer;
pub mod tail;
pub mod tiles;
pub mod tree;
pub mod verification;
pub mod verify;
pub mod vkey;

mod text;

pub use checkpoint::{Checkpoint, CheckpointError};
pub use epoch::EpochKey;
pub use key::{KeyError, SigningKey};
pub use keyfile::{KdfParams, KeyFile};
pub use leaf::{Event, Leaf};
pub use note::{NoteError, Signature, SignedNote, UnverifiedNote};
pub use seal::{Seal, SealError};
pub use sealed_export::{ExportError, SealedExport};
pub use signer::{SignError, Signer};
pub use tail::{Stored, Tail, TailError};
pub use tree::{Hasher, directory_hash, rules_hash};
pub use verification::VerificationFile;
pub use vkey::{KeyId, Name, VerifierKey, VkeyError};
