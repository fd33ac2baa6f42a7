//! The hashes of a baseline: each directory's record is hashed, and a directory's entry in its parent's
//! record carries that hash, so the hash of the record of roots covers everything.
//!
//! SHA-256 is FIPS 180-4; the crate picks the processor's own instructions at run time.

use sha2::{Digest as _, Sha256};
use waxseal_model::Digest;

/// Stands before every record that is hashed, so that no such hash is also the hash of a file's content,
/// of a log's leaf (RFC 6962 section 2.1, first byte 0x00 or 0x01) or of anything else that is signed.
pub const DIRECTORY_DOMAIN: &[u8] = b"waxseal-directory-v1\0";

/// The hash of a directory's record (the bytes that [`waxseal_model::record`] describes): SHA-256 of
/// [`DIRECTORY_DOMAIN`] followed by the record.
pub fn directory_hash(record: &[u8]) -> Digest {
    Sha256::new().chain_update(DIRECTORY_DOMAIN).chain_update(record).finalize().into()
}

/// The hash of the text of the rules that a baseline was taken by: plain SHA-256, what `sha256sum` prints.
pub fn rules_hash(text: &str) -> Digest {
    Sha256::digest(text.as_bytes()).into()
}

/// The hash of a baseline's seal, the whole signed note: plain SHA-256.
pub fn seal_hash(note: &str) -> Digest {
    rules_hash(note)
}

/// SHA-256 of what comes piece by piece: what `sha256sum` prints of all of it.
#[derive(Debug, Clone, Default)]
pub struct Hasher(Sha256);

impl Hasher {
    /// The next piece.
    pub fn update(&mut self, piece: &[u8]) {
        self.0.update(piece);
    }

    /// The hash of all pieces.
    pub fn finish(self) -> Digest {
        self.0.finalize().into()
    }
}

/// SHA-256 of these parts, one after the other.
pub(crate) fn sha256(parts: &[&[u8]]) -> Digest {
    parts.iter().fold(Sha256::new(), |hash, part| hash.chain_update(part)).finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use waxseal_model::digest::hex;

    /// `printf 'waxseal-directory-v1\0\1' | sha256sum`: the record of an empty directory.
    #[test]
    fn an_empty_directory_has_the_documented_hash() {
        let expected = "a063afdb1721c2d18a563badfcad76da35018df021304ea795936b6d4d4e5c10";
        assert_eq!(hex(&directory_hash(&[1])), expected);
    }

    #[test]
    fn a_directory_hash_is_not_the_hash_of_the_bytes_alone() {
        assert_ne!(directory_hash(b"abc"), sha256(&[b"abc"]));
        assert_eq!(directory_hash(b"abc"), sha256(&[DIRECTORY_DOMAIN, b"a", b"", b"bc"]));
        assert_ne!(directory_hash(b"abc"), directory_hash(b"abd"));
    }

    /// FIPS 180-4 example "abc".
    #[test]
    fn rules_are_hashed_plainly() {
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hex(&rules_hash("abc")), expected);
    }
}
