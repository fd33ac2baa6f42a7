//! The public side of a key: its name, its id and the verifier key line that people pass around.
//!
//! C2SP signed-note (<https://c2sp.org/signed-note>), Ed25519 of RFC 8032 only:
//! `<name>+<key id, 8 lower-case hex digits>+<base64(0x01 || 32-byte public key)>`, where the key id is the
//! first four bytes of `SHA-256(name || 0x0A || 0x01 || public key)`.

use crate::text::{base64, unbase64, without_line_end};
use crate::tree::sha256;
use ed25519_dalek::VerifyingKey;
use std::fmt;
use waxseal_model::digest::hex;
use waxseal_model::escape::for_people;

/// C2SP's type byte of plain Ed25519.
pub(crate) const ED25519: u8 = 0x01;

/// The longest name that [`Name::for_host`] makes of a host name, in bytes: that of a domain name.
const MAX_HOST: usize = 253;

/// The name of a key, and the origin of what it signs: not empty, no Unicode white space, no `+`, no
/// ASCII control character. A schema-less URL by custom, like `waxseal/host.example`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

impl Name {
    /// This name, if it may be one.
    ///
    /// # Errors
    /// [`VkeyError::Name`] when it is empty or has a character that names may not have.
    pub fn new(name: &str) -> Result<Name, VkeyError> {
        if is_name(name) { Ok(Name(name.to_owned())) } else { Err(VkeyError::Name) }
    }

    /// The name of a machine's baseline: `waxseal/` and the host name, in which everything but ASCII letters,
    /// digits, `.`, `_` and `-` becomes `-`. An empty host name becomes `localhost`; more than 253 bytes are cut.
    pub fn for_host(host: &str) -> Name {
        let plain = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' };
        let host: String = host.chars().map(plain).take(MAX_HOST).collect();
        Name(format!("waxseal/{}", if host.is_empty() { "localhost" } else { &host }))
    }

    /// This name, followed by characters that names may have.
    pub(crate) fn with(&self, more: &str) -> Name {
        debug_assert!(is_name(more));
        Name(format!("{}{more}", self.0))
    }

    /// The name's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// With whatever could steer a terminal made visible; [`Name::as_str`] is the exact text.
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&for_people(self.0.as_bytes()))
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// Whether C2SP allows this as a key's name. Control characters cannot stand in a note at all.
fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.chars().any(|c| c.is_whitespace() || c == '+' || c < ' ')
}

/// Four bytes that tell keys of one name apart. They identify and prove nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub [u8; 4]);

/// Eight lower-case hexadecimal digits.
impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

/// Why text is not a verifier key. It is the user's own file or argument, or comes with one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VkeyError {
    /// A name with characters that names may not have.
    #[error("a key's name must not be empty and must not contain white space, control characters or '+'")]
    Name,
    /// Not of the form `name+id+key`.
    #[error("not a verifier key line (expected NAME+ID+KEY)")]
    Form,
    /// A key of another algorithm.
    #[error("the verifier key is not an Ed25519 key (type byte 0x{0:02x})")]
    Algorithm(u8),
    /// The key id does not follow from name and key: one of the three was changed.
    #[error("the verifier key line is damaged: its key id does not belong to its name and key")]
    Id,
    /// Bytes that are no point of the curve, or one for which anybody can make signatures.
    #[error("the verifier key is not a usable Ed25519 public key")]
    Key,
}

/// A public key with its name: what verifies signatures.
#[derive(Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: Name,
    id: KeyId,
    key: VerifyingKey,
}

impl VerifierKey {
    /// The key of a verifier key line; one line ending after it is ignored.
    ///
    /// # Errors
    /// When the line is not a verifier key for Ed25519, or its parts do not belong together.
    pub fn parse(line: &str) -> Result<VerifierKey, VkeyError> {
        let (name, id, key) = split(without_line_end(line)).ok_or(VkeyError::Form)?;
        let name = Name::new(name)?;
        let bytes = unbase64(key).ok_or(VkeyError::Form)?;
        let (&algorithm, key) = bytes.split_first().ok_or(VkeyError::Form)?;
        if algorithm != ED25519 {
            return Err(VkeyError::Algorithm(algorithm));
        }
        let key = VerifierKey::of(name, usable(key)?);
        if key.id.to_string() == id { Ok(key) } else { Err(VkeyError::Id) }
    }

    pub(crate) fn of(name: Name, key: VerifyingKey) -> VerifierKey {
        VerifierKey { id: key_id(&name, ED25519, &key), name, key }
    }

    /// The key of these 32 bytes under this name.
    ///
    /// # Errors
    /// [`VkeyError::Key`] when they are no usable public key.
    pub(crate) fn from_public(name: Name, key: &[u8; 32]) -> Result<VerifierKey, VkeyError> {
        Ok(VerifierKey::of(name, usable(key)?))
    }

    /// The key as OpenSSH writes it on the wire (RFC 4253 section 6.6, RFC 8709): its kind and its 32 bytes, each after its
    /// length.
    pub fn ssh_blob(&self) -> Vec<u8> {
        let mut blob = Vec::new();
        for part in [b"ssh-ed25519".as_slice(), self.key.as_bytes()] {
            blob.extend((part.len() as u32).to_be_bytes());
            blob.extend(part);
        }
        blob
    }

    /// What tells the key from every other, for people to compare: `SHA256:` and base64, what `ssh-keygen -l` prints of the
    /// same key. The name is no part of it.
    pub fn fingerprint(&self) -> String {
        let sum = base64(&sha256(&[&self.ssh_blob()]));
        format!("SHA256:{}", sum.trim_end_matches('='))
    }

    /// The key's name.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// The key's id.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// The 32 bytes of the public key (RFC 8032 section 5.1.5).
    pub fn public_key(&self) -> &[u8; 32] {
        self.key.as_bytes()
    }

    /// Whether `signature` is this key's signature of `message`. Of the encodings that RFC 8032 leaves open only
    /// the canonical ones count, so nobody can make a second signature out of a valid one.
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        verifies(&self.key, message, signature)
    }
}

/// The key of these bytes; none for what is no point of the curve, or one for which anybody can make signatures.
pub(crate) fn usable(key: &[u8]) -> Result<VerifyingKey, VkeyError> {
    let key = key.try_into().map_err(|_| VkeyError::Form)?;
    let key = VerifyingKey::from_bytes(key).map_err(|_| VkeyError::Key)?;
    if key.is_weak() { Err(VkeyError::Key) } else { Ok(key) }
}

/// The id of a key of this kind.
pub(crate) fn key_id(name: &Name, kind: u8, key: &VerifyingKey) -> KeyId {
    let [a, b, c, d, ..] = sha256(&[name.as_str().as_bytes(), &[b'\n', kind], key.as_bytes()]);
    KeyId([a, b, c, d])
}

/// Whether `signature` is this key's canonical signature of `message`.
pub(crate) fn verifies(key: &VerifyingKey, message: &[u8], signature: &[u8]) -> bool {
    ed25519_dalek::Signature::from_slice(signature)
        .is_ok_and(|signature| key.verify_strict(message, &signature).is_ok())
}

/// Name, id and key of `name+id+key`: base64 has `+` too, so only the first two count.
pub(crate) fn split(line: &str) -> Option<(&str, &str, &str)> {
    let (name, rest) = line.split_once('+')?;
    let (id, key) = rest.split_once('+')?;
    Some((name, id, key))
}

/// The verifier key line, without a line ending.
impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = vec![ED25519];
        bytes.extend_from_slice(self.key.as_bytes());
        write!(f, "{}+{}+{}", self.name.as_str(), self.id, base64(&bytes))
    }
}

impl fmt::Debug for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifierKey({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::flipped;
    use proptest::prelude::*;

    const PETER: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    const FOO: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";

    #[test]
    fn known_lines_are_read_and_written_alike() {
        for line in [PETER, FOO] {
            let key = VerifierKey::parse(line).unwrap();
            assert_eq!(key.to_string(), line);
            assert_eq!(VerifierKey::parse(&format!("{line}\n")).unwrap(), key);
            assert_eq!(VerifierKey::parse(&format!("{line}\r\n")).unwrap(), key);
        }
        assert_eq!(VerifierKey::parse(FOO).unwrap().name().as_str(), "example.com/foo");
        assert_eq!(VerifierKey::parse(FOO).unwrap().id(), KeyId([0x53, 0x0d, 0x90, 0x3a]));
    }

    #[test]
    fn lines_that_lie_are_refused() {
        let weak = VerifierKey::of(Name::new("n").unwrap(), {
            let mut one = [0; 32];
            one[0] = 1;
            VerifyingKey::from_bytes(&one).unwrap()
        });
        let cases = [
            (PETER.replacen("c74f20a3", "C74F20A3", 1), VkeyError::Id),
            (PETER.replacen("c74f20a3", "c74f20a", 1), VkeyError::Id),
            (PETER.replacen("Peter", "Pieter", 1), VkeyError::Id),
            (PETER.replacen("+AR", "+BB", 1), VkeyError::Algorithm(4)),
            (PETER.replacen("10TW", "10", 1), VkeyError::Form),
            (format!("{PETER}\n\n"), VkeyError::Form),
            ("+c74f20a3+ARpc".to_owned(), VkeyError::Name),
            ("Peter Neumann+c74f20a3+ARpc".to_owned(), VkeyError::Name),
            ("PeterNeumann".to_owned(), VkeyError::Form),
            (String::new(), VkeyError::Form),
            (weak.to_string(), VkeyError::Key),
        ];
        for (line, error) in cases {
            assert_eq!(VerifierKey::parse(&line), Err(error), "{line}");
        }
    }

    #[test]
    fn host_names_become_names() {
        assert_eq!(Name::for_host("web-1.example").as_str(), "waxseal/web-1.example");
        assert_eq!(Name::for_host("a b+c\n/../é\0").as_str(), "waxseal/a-b-c--..---");
        assert_eq!(Name::for_host("").as_str(), "waxseal/localhost");
        assert_eq!(Name::for_host(&"x".repeat(1000)).as_str().len(), 8 + 253);
    }

    #[test]
    fn names_are_shown_without_what_steers_a_terminal() {
        let name = Name::new("a\u{202e}b").unwrap();
        assert_eq!(name.to_string(), "a\\u{202e}b");
        for bad in ["", "a b", "a\u{a0}b", "a\u{2003}", "a+b", "a\nb", "a\x1bb"] {
            assert_eq!(Name::new(bad), Err(VkeyError::Name), "{bad:?}");
        }
    }

    #[test]
    fn a_flipped_bit_is_refused() {
        for line in flipped(FOO).filter_map(|line| String::from_utf8(line).ok()) {
            assert!(VerifierKey::parse(&line).is_err(), "{line}");
        }
    }

    proptest! {
        #[test]
        fn any_host_name_gives_a_name(host: String) {
            let name = Name::for_host(&host);
            prop_assert_eq!(Name::new(name.as_str()), Ok(name));
        }

        #[test]
        fn any_text_is_refused_or_is_the_same_line_again(line in "[a-z]{0,3}\\+?[0-9a-f]{7,9}\\+?[A-Za-z0-9+/=]{0,50}|.*") {
            if let Ok(key) = VerifierKey::parse(&line) {
                prop_assert_eq!(key.to_string(), without_line_end(&line));
            }
        }
    }
}
