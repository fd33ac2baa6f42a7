//! What is signed, as formats that other tools read: signed notes, keys, the seal over a baseline and
//! the hashes beneath it.
//!
//! In: bytes of directory records, text of notes and key files. Out: digests, signed text, and verified
//! values in types of their own, so that nothing unverified can be trusted by mistake. No files, no clock;
//! the only thing asked of the system is random bytes for new keys. `docs/baseline-format.md` describes
//! every format here for other implementers.

pub mod key;
pub mod keyfile;
pub mod note;
pub mod seal;
pub mod tree;
pub mod vkey;

mod text;

pub use key::{KeyError, SigningKey};
pub use keyfile::{KdfParams, KeyFile};
pub use note::{NoteError, Signature, SignedNote, UnverifiedNote};
pub use seal::{Seal, SealError};
pub use tree::{directory_hash, rules_hash};
pub use vkey::{KeyId, Name, VerifierKey, VkeyError};
