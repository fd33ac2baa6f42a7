//! Signed notes: text that one or more keys have signed, in a form that people can read.
//!
//! C2SP signed-note (<https://c2sp.org/signed-note>): the text, ending in a newline; an empty line; one line for
//! each signature, `— <key name> <base64(key id || signature)>`. The message that is signed is the text with its
//! final newline and without the empty line. The separator is the last empty line, so text may have its own.
//!
//! Verification follows that document. A signature by a key that is not known (by name *and* id) is ignored; one by
//! a known key that does not verify makes the whole note worthless; a note on which nothing verified is not
//! accepted. Notes have at most 100 signatures, as in Go's implementation, and at most 1 MiB.

use crate::key::SigningKey;
use crate::signer::{SignError, Signer};
use crate::text::{base64, unbase64};
use crate::vkey::{KeyId, Name, VerifierKey};

/// The most signature lines that are looked at. C2SP asks for at least 16.
pub const MAX_SIGNATURES: usize = 100;

/// The longest note that is looked at, in bytes. A hundred post-quantum signatures take half of it.
pub const MAX_LEN: usize = 1 << 20;

/// What begins a signature line: an em dash and a space.
const MARK: &str = "\u{2014} ";

/// Why a note was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// Not a signed note at all: damaged, cut short or something else.
    #[error("not a signed note: {0}")]
    Malformed(&'static str),
    /// The signature of a known key is wrong: text or signature were changed after signing.
    #[error("the signature of {name} (key {id}) is not valid: the note was changed after it was signed")]
    Invalid {
        /// The key's name.
        name: Name,
        /// The key's id.
        id: KeyId,
    },
    /// No key that is known has signed it.
    #[error("the note is not signed by any of the known keys")]
    Unsigned,
    /// Two known keys share a name and an id, so that a signature cannot be attributed.
    #[error("two different keys have the name {name} and the id {id}")]
    Ambiguous {
        /// The keys' name.
        name: Name,
        /// The keys' id.
        id: KeyId,
    },
}

/// One signature line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// The name of the key.
    pub name: Name,
    /// The id of the key.
    pub id: KeyId,
    /// The signature itself: 64 bytes for Ed25519, anything for keys of other kinds.
    pub bytes: Vec<u8>,
}

/// A note whose form is right and whose signatures nobody has looked at: its text may be anybody's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnverifiedNote {
    text: String,
    signatures: Vec<Signature>,
}

/// A note that at least one known key has signed, and no known key has disowned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedNote {
    text: String,
    signatures: Vec<Signature>,
}

impl UnverifiedNote {
    /// Takes a note apart.
    ///
    /// # Errors
    /// [`NoteError::Malformed`] when the bytes are not in the form of a signed note or exceed a limit.
    pub fn parse(note: impl AsRef<[u8]>) -> Result<UnverifiedNote, NoteError> {
        let note = note.as_ref();
        if note.len() > MAX_LEN {
            return Err(NoteError::Malformed("it is longer than 1 MiB"));
        }
        let note = std::str::from_utf8(note).map_err(|_| NoteError::Malformed("it is not UTF-8"))?;
        if !is_plain(note) {
            return Err(NoteError::Malformed("it has control characters"));
        }
        let split = note.rfind("\n\n").ok_or(NoteError::Malformed("it has no signatures"))?;
        let (text, block) = note.split_at(split + 1);
        let lines = block.strip_prefix('\n').and_then(|block| block.strip_suffix('\n'));
        let lines = lines.ok_or(NoteError::Malformed("it does not end with a signature line"))?;
        if lines.split('\n').count() > MAX_SIGNATURES {
            return Err(NoteError::Malformed("it has more than 100 signatures"));
        }
        let signatures = lines.split('\n').map(parse_signature).collect::<Option<Vec<_>>>();
        let signatures = signatures.ok_or(NoteError::Malformed("a signature line is damaged"))?;
        Ok(UnverifiedNote { text: text.to_owned(), signatures })
    }

    /// The text as it claims to be, for messages about notes that were not accepted.
    pub fn claimed_text(&self) -> &str {
        &self.text
    }

    /// All signature lines, by whomever.
    pub fn claimed_signatures(&self) -> &[Signature] {
        &self.signatures
    }

    /// Verifies the note with the keys that are known.
    ///
    /// # Errors
    /// When a known key's signature is wrong, when no known key has signed, or when `known` has two different
    /// keys of the same name and id.
    pub fn open(self, known: &[VerifierKey]) -> Result<SignedNote, NoteError> {
        let mut verified = Vec::new();
        for signature in self.signatures {
            let Some(key) = find(known, &signature)? else { continue };
            if !key.verifies(self.text.as_bytes(), &signature.bytes) {
                return Err(NoteError::Invalid { name: signature.name, id: signature.id });
            }
            if !verified.contains(&signature) {
                verified.push(signature);
            }
        }
        if verified.is_empty() {
            return Err(NoteError::Unsigned);
        }
        Ok(SignedNote { text: self.text, signatures: verified })
    }
}

impl SignedNote {
    /// The text that was signed, ending in a newline.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The signatures that verified, at least one, each key once, in the order of the note.
    pub fn signatures(&self) -> &[Signature] {
        &self.signatures
    }
}

/// Signs text: the note, with one signature line for each key in the order given.
///
/// # Errors
/// [`NoteError::Malformed`] when the text does not end in a newline, has control characters or is too long, or
/// when there is no key or more than a hundred: what could not be opened is not signed.
pub fn sign(text: &str, keys: &[&SigningKey]) -> Result<String, NoteError> {
    if !text.ends_with('\n') {
        return Err(NoteError::Malformed("its text does not end in a newline"));
    }
    if !is_plain(text) {
        return Err(NoteError::Malformed("it has control characters"));
    }
    if keys.is_empty() || keys.len() > MAX_SIGNATURES {
        return Err(NoteError::Malformed("it needs one to 100 signatures"));
    }
    let note = signed(text, keys);
    if note.len() > MAX_LEN { Err(NoteError::Malformed("it is longer than 1 MiB")) } else { Ok(note) }
}

/// [`sign`] for text that is known to be in order.
pub(crate) fn signed(text: &str, keys: &[&SigningKey]) -> String {
    let lines = keys.iter().map(|key| line(key.verifier_key(), &key.sign(text.as_bytes())));
    format!("{text}\n{}", lines.collect::<String>())
}

/// [`signed`] by whoever has the keys.
pub(crate) fn signed_by(text: &str, signers: &[&dyn Signer]) -> Result<String, SignError> {
    let lines = signers.iter().map(|signer| Ok(line(signer.verifier_key(), &signer.sign(text.as_bytes())?)));
    Ok(format!("{text}\n{}", lines.collect::<Result<String, SignError>>()?))
}

/// A signature line.
fn line(key: &VerifierKey, signature: &[u8; 64]) -> String {
    let mut bytes = key.id().0.to_vec();
    bytes.extend_from_slice(signature);
    format!("{MARK}{} {}\n", key.name().as_str(), base64(&bytes))
}

/// Whether the text has no ASCII control character but newline.
fn is_plain(text: &str) -> bool {
    text.bytes().all(|b| b >= b' ' || b == b'\n')
}

fn parse_signature(line: &str) -> Option<Signature> {
    let (name, payload) = line.strip_prefix(MARK)?.split_once(' ')?;
    let name = Name::new(name).ok()?;
    let payload = unbase64(payload)?;
    let (id, bytes) = payload.split_first_chunk::<4>()?;
    if bytes.is_empty() {
        return None;
    }
    Some(Signature { name, id: KeyId(*id), bytes: bytes.to_vec() })
}

/// The known key that this signature claims to be of.
fn find<'k>(known: &'k [VerifierKey], signature: &Signature) -> Result<Option<&'k VerifierKey>, NoteError> {
    let mut candidates = known.iter().filter(|k| *k.name() == signature.name && k.id() == signature.id);
    let first = candidates.next();
    if candidates.any(|other| Some(other) != first) {
        return Err(NoteError::Ambiguous { name: signature.name.clone(), id: signature.id });
    }
    Ok(first)
}

#[cfg(test)]
#[path = "note_tests.rs"]
mod tests;
