//! The private side of a key: an Ed25519 key (RFC 8032) with the name under which it signs.
//!
//! Secrets live in memory that is wiped when dropped, and no type here prints them.

use crate::text::without_line_end;
use crate::vkey::{ED25519, Name, VerifierKey, split};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::Signer;
use std::fmt;
use zeroize::Zeroizing;

/// What begins an unprotected key.
pub(crate) const PLAIN_MARK: &str = "PRIVATE+KEY+";

/// Type byte and seed, and the length of their base64.
const SECRET_LEN: usize = 33;
const SECRET_TEXT_LEN: usize = 44;

/// Why a key could not be read, unlocked or made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Text that is none of the forms of a key file.
    #[error("this is not a Waxseal sealing key")]
    NotAKey,
    /// A protected key of a version or method that this program does not know.
    #[error("the sealing key's file is of a kind that this program does not know: {0}")]
    Unsupported(&'static str),
    /// Recognised, but not as it was written.
    #[error("the sealing key's file is damaged: {0}")]
    Damaged(&'static str),
    /// Parameters that no file of ours has, and that could keep the machine busy for hours.
    #[error("the sealing key's file asks for more than this program grants: {0}")]
    Excessive(&'static str),
    /// It is protected and no passphrase was given, or an empty one.
    #[error("the sealing key is protected by a passphrase, and none was given")]
    PassphraseMissing,
    /// The passphrase does not open it.
    #[error("the passphrase does not open the sealing key")]
    PassphraseWrong,
    /// A new passphrase that protects nothing.
    #[error("the passphrase is empty")]
    PassphraseEmpty,
    /// There is not enough memory to derive the key from the passphrase.
    #[error("there is not enough memory to unlock the sealing key")]
    Memory,
    /// The system has no random bytes for us.
    #[error("the system gave no random bytes")]
    Random,
}

impl KeyError {
    /// What the user can do about it, in one sentence.
    pub fn hint(&self) -> &'static str {
        match self {
            KeyError::NotAKey => "pass the file that `waxseal init` wrote the sealing key to",
            KeyError::Unsupported(_) => "use a program at least as new as the one that wrote the file",
            KeyError::Damaged(_) => "restore the file from a copy; it cannot be repaired",
            KeyError::Excessive(_) => "check where the file comes from; Waxseal did not write it",
            KeyError::PassphraseMissing => "run the command on a terminal, where it asks for the passphrase",
            KeyError::PassphraseWrong => "try again; upper and lower case and blanks count",
            KeyError::PassphraseEmpty => "choose a passphrase, or leave the key unprotected knowingly",
            KeyError::Memory => "free some memory, or unlock the key on another machine",
            KeyError::Random => "make sure that the system's random number source works",
        }
    }
}

/// A private key and its name.
#[derive(Clone)]
pub struct SigningKey {
    secret: ed25519_dalek::SigningKey,
    verifier: VerifierKey,
}

impl SigningKey {
    /// A new key from the system's random number source.
    ///
    /// # Errors
    /// [`KeyError::Random`] when the system has none.
    pub fn generate(name: Name) -> Result<SigningKey, KeyError> {
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(seed.as_mut_slice()).map_err(|_| KeyError::Random)?;
        Ok(SigningKey::from_seed(name, &seed))
    }

    /// The key of this seed (RFC 8032 section 5.1.5 calls it the private key).
    pub(crate) fn from_seed(name: Name, seed: &Zeroizing<[u8; 32]>) -> SigningKey {
        let secret = ed25519_dalek::SigningKey::from_bytes(seed);
        let verifier = VerifierKey::of(name, secret.verifying_key());
        SigningKey { secret, verifier }
    }

    pub(crate) fn seed(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.secret.to_bytes())
    }

    /// The public side, which verifies what this key signs.
    pub fn verifier_key(&self) -> &VerifierKey {
        &self.verifier
    }

    /// The 64 bytes of the signature of a message.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.secret.sign(message).to_bytes()
    }

    /// The unprotected key file: one line in the form of Go's `golang.org/x/mod/sumdb/note`,
    /// `PRIVATE+KEY+<name>+<key id>+<base64(0x01 || 32-byte seed)>`. Whoever reads it can sign.
    pub fn to_plain_text(&self) -> Zeroizing<String> {
        let mut bytes = Zeroizing::new([ED25519; SECRET_LEN]);
        for (to, from) in bytes.iter_mut().skip(1).zip(self.seed().iter()) {
            *to = *from;
        }
        let mut secret = Zeroizing::new([0; SECRET_TEXT_LEN]);
        let secret = ascii_base64(&bytes, &mut secret);
        let (name, id) = (self.verifier.name().as_str(), self.verifier.id().to_string());
        // Enough room from the start: a string that grows leaves copies behind.
        let mut line = Zeroizing::new(String::with_capacity(name.len() + SECRET_TEXT_LEN + 32));
        for part in [PLAIN_MARK, name, "+", &id, "+", secret, "\n"] {
            line.push_str(part);
        }
        line
    }

    /// The key of [`SigningKey::to_plain_text`]; its line ending may be missing.
    pub(crate) fn from_plain_text(text: &str) -> Result<SigningKey, KeyError> {
        let line = without_line_end(text).strip_prefix(PLAIN_MARK).ok_or(KeyError::NotAKey)?;
        let (name, id, secret) = split(line).ok_or(KeyError::Damaged("it is cut short"))?;
        let name = Name::new(name).map_err(|_| KeyError::Damaged("its name is not one"))?;
        let mut bytes = Zeroizing::new([0; SECRET_LEN]);
        let read = STANDARD.decode_slice(secret, bytes.as_mut_slice());
        if read != Ok(SECRET_LEN) {
            return Err(KeyError::Damaged("its key is not one"));
        }
        let [algorithm, seed @ ..] = &*bytes;
        if *algorithm != ED25519 {
            return Err(KeyError::Unsupported("the key is not an Ed25519 key"));
        }
        let key = SigningKey::from_seed(name, &Zeroizing::new(*seed));
        if key.verifier.id().to_string() == id {
            Ok(key)
        } else {
            Err(KeyError::Damaged("its key id does not belong to its name and key"))
        }
    }
}

/// Not `encode_string`, which works through a buffer that nobody wipes.
#[expect(clippy::expect_used, reason = "33 bytes are 44 characters of ASCII, whatever they are")]
fn ascii_base64<'t>(bytes: &[u8; SECRET_LEN], text: &'t mut [u8; SECRET_TEXT_LEN]) -> &'t str {
    STANDARD.encode_slice(bytes, text).expect("the length is fixed");
    std::str::from_utf8(text).expect("base64 is ASCII")
}

/// The public side only.
impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("verifier", &self.verifier).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::flipped;

    const PETER: &str = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";

    #[test]
    fn the_known_key_is_read_and_written_alike() {
        let key = SigningKey::from_plain_text(PETER).unwrap();
        let vkey = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
        assert_eq!(key.verifier_key().to_string(), vkey);
        assert_eq!(key.to_plain_text().as_str(), format!("{PETER}\n"));
    }

    /// The key of the seed 00..1f, computed by other programs.
    #[test]
    fn a_key_of_a_fixed_seed_is_the_known_one() {
        let seed = Zeroizing::new(std::array::from_fn(|i| i as u8));
        let key = SigningKey::from_seed(Name::new("waxseal.example/host/alpha").unwrap(), &seed);
        assert_eq!(
            key.verifier_key().to_string(),
            "waxseal.example/host/alpha+df59cc18+AQOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4"
        );
        assert_eq!(
            key.to_plain_text().as_str(),
            "PRIVATE+KEY+waxseal.example/host/alpha+df59cc18+AQABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f\n"
        );
    }

    #[test]
    fn new_keys_differ_and_do_not_print_their_secret() {
        let name = Name::for_host("a");
        let (a, b) = (SigningKey::generate(name.clone()).unwrap(), SigningKey::generate(name).unwrap());
        assert_ne!(a.verifier_key(), b.verifier_key());
        let text = a.to_plain_text();
        let secret = text.trim_end().splitn(5, '+').nth(4).unwrap();
        assert!(!format!("{a:?}").contains(secret));
        assert!(!format!("{a:?}").contains(&format!("{:?}", *a.seed())));
        assert!(a.verifier_key().verifies(b"m", &a.sign(b"m")));
        assert!(!a.verifier_key().verifies(b"m", &b.sign(b"m")));
        assert!(!a.verifier_key().verifies(b"n", &a.sign(b"m")));
    }

    #[test]
    fn a_flipped_bit_is_refused() {
        for line in flipped(PETER).filter_map(|line| String::from_utf8(line).ok()) {
            assert!(SigningKey::from_plain_text(&line).is_err(), "{line}");
        }
    }
}
