//! The text of a sealing key's file, unprotected or protected by a passphrase.
//!
//! Unprotected, it is the one line of [`SigningKey::to_plain_text`]. Protected:
//!
//! ```text
//! waxseal-sealing-key-v1
//! vkey waxseal/host+1234abcd+AQ…              the public side, readable without the passphrase
//! kdf argon2id m=65536 t=3 p=1                Argon2id version 0x13 (RFC 9106); m in KiB; 32 bytes of output
//! salt <base64, 16 bytes>
//! cipher xchacha20-poly1305                   draft-irtf-cfrg-xchacha-03, over RFC 8439
//! nonce <base64, 24 bytes>
//! key <base64, 48 bytes>                      the 32-byte Ed25519 seed, encrypted, and the 16-byte tag
//! sum <hex, SHA-256 of all lines above>       tells damage from a wrong passphrase; proves nothing
//! ```
//!
//! Every line ends in a newline (after the last it may be missing). The lines before `key` are the associated data
//! of the cipher, so none of them can be changed by somebody without the passphrase. A passphrase is bytes, as typed,
//! without line ending.
//!
//! A file can always be replaced as a whole: compare [`KeyFile::verifier_key`] with the key that is trusted.

use crate::key::{KeyError, PLAIN_MARK, SigningKey};
use crate::text::{base64, decimal, digest, unbase64_array, without_line_end};
use crate::tree::sha256;
use crate::vkey::VerifierKey;
use argon2::{Algorithm, Argon2, Block, Params, Version};
use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305};
use std::fmt;
use waxseal_model::digest::hex;
use zeroize::Zeroizing;

const FORMAT: &str = "waxseal-sealing-key-v1";
const CIPHER: &str = "xchacha20-poly1305";

/// What deriving a key from a passphrase costs (RFC 9106 section 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KdfParams {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

impl KdfParams {
    /// The most memory that a file may ask for: 1 GiB.
    pub const MAX_MEMORY_KIB: u32 = 1 << 20;
    /// The most passes over the memory that a file may ask for.
    pub const MAX_PASSES: u32 = 16;
    /// The most lanes that a file may ask for.
    pub const MAX_LANES: u32 = 16;

    /// Memory in KiB (8 times the lanes to 1 GiB), passes over it (1 to 16) and lanes (1 to 16).
    ///
    /// # Errors
    /// [`KeyError::Excessive`] above these limits, [`KeyError::Damaged`] below, so that no file, whoever wrote it,
    /// can make unlocking take much longer than a minute.
    pub fn new(memory_kib: u32, passes: u32, lanes: u32) -> Result<KdfParams, KeyError> {
        if memory_kib > KdfParams::MAX_MEMORY_KIB {
            return Err(KeyError::Excessive("more than 1 GiB of memory"));
        }
        if passes > KdfParams::MAX_PASSES {
            return Err(KeyError::Excessive("more than 16 passes"));
        }
        if lanes > KdfParams::MAX_LANES {
            return Err(KeyError::Excessive("more than 16 lanes"));
        }
        if lanes == 0 || passes == 0 || memory_kib < 8 * lanes {
            return Err(KeyError::Damaged("its kdf parameters are not possible"));
        }
        Ok(KdfParams { memory_kib, passes, lanes })
    }

    fn parse(line: &str) -> Option<(u32, u32, u32)> {
        let (m, rest) = line.strip_prefix("m=")?.split_once(" t=")?;
        let (t, p) = rest.split_once(" p=")?;
        Some((decimal(m)?, decimal(t)?, decimal(p)?))
    }
}

/// 64 MiB, 3 passes, 1 lane: the memory-constrained choice of RFC 9106 section 4, in one thread.
impl Default for KdfParams {
    fn default() -> Self {
        KdfParams { memory_kib: 64 * 1024, passes: 3, lanes: 1 }
    }
}

impl fmt::Display for KdfParams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "m={} t={} p={}", self.memory_kib, self.passes, self.lanes)
    }
}

/// A sealing key's file, read and not yet unlocked.
#[derive(Debug)]
pub struct KeyFile {
    form: Form,
}

#[derive(Debug)]
enum Form {
    Plain(SigningKey),
    Protected(Protected),
}

#[derive(Debug)]
struct Protected {
    verifier: VerifierKey,
    params: KdfParams,
    salt: [u8; 16],
    nonce: [u8; 24],
    sealed: [u8; 48],
}

impl KeyFile {
    /// Reads the text of a key file of either form.
    ///
    /// # Errors
    /// [`KeyError::NotAKey`], [`KeyError::Unsupported`], [`KeyError::Damaged`] or [`KeyError::Excessive`].
    pub fn parse(text: &str) -> Result<KeyFile, KeyError> {
        let form = if text.starts_with(PLAIN_MARK) {
            Form::Plain(SigningKey::from_plain_text(text)?)
        } else {
            Form::Protected(Protected::parse(text)?)
        };
        Ok(KeyFile { form })
    }

    /// Whether it takes a passphrase to unlock it.
    pub fn is_protected(&self) -> bool {
        matches!(self.form, Form::Protected(_))
    }

    /// The public side, known without the passphrase. In a protected file it is only a claim until
    /// [`KeyFile::unlock`] has succeeded.
    pub fn verifier_key(&self) -> &VerifierKey {
        match &self.form {
            Form::Plain(key) => key.verifier_key(),
            Form::Protected(file) => &file.verifier,
        }
    }

    /// The private key. For an unprotected file the passphrase is ignored. Takes a fraction of a second with the
    /// default parameters, and as much memory as the file's parameters say.
    ///
    /// # Errors
    /// [`KeyError::PassphraseMissing`] when there is none or it is empty; [`KeyError::PassphraseWrong`], also when
    /// somebody changed the file and made its sum fit; [`KeyError::Damaged`]; [`KeyError::Memory`].
    pub fn unlock(&self, passphrase: Option<&[u8]>) -> Result<SigningKey, KeyError> {
        match (&self.form, passphrase) {
            (Form::Plain(key), _) => Ok(key.clone()),
            (Form::Protected(_), None | Some([])) => Err(KeyError::PassphraseMissing),
            (Form::Protected(file), Some(passphrase)) => file.unlock(passphrase),
        }
    }
}

impl SigningKey {
    /// The key file protected by a passphrase, with a fresh salt and nonce. It holds no secret in clear.
    ///
    /// # Errors
    /// [`KeyError::PassphraseEmpty`], [`KeyError::Random`] or [`KeyError::Memory`].
    pub fn to_protected_text(&self, passphrase: &[u8], params: KdfParams) -> Result<String, KeyError> {
        let (mut salt, mut nonce) = ([0; 16], [0; 24]);
        getrandom::fill(&mut salt).map_err(|_| KeyError::Random)?;
        getrandom::fill(&mut nonce).map_err(|_| KeyError::Random)?;
        protect(self, passphrase, params, salt, nonce)
    }
}

fn protect(
    key: &SigningKey,
    passphrase: &[u8],
    params: KdfParams,
    salt: [u8; 16],
    nonce: [u8; 24],
) -> Result<String, KeyError> {
    if passphrase.is_empty() {
        return Err(KeyError::PassphraseEmpty);
    }
    let cipher = cipher(passphrase, params, &salt)?;
    let mut text = header(key.verifier_key(), params, &salt, &nonce);
    let seed = key.seed();
    let payload = Payload { msg: seed.as_slice(), aad: text.as_bytes() };
    // Only a plaintext or header of many gigabytes fails here.
    let sealed = cipher.encrypt(&nonce.into(), payload).map_err(|_| KeyError::Memory)?;
    text.push_str(&format!("key {}\n", base64(&sealed)));
    text.push_str(&format!("sum {}\n", hex(&sha256(&[text.as_bytes()]))));
    Ok(text)
}

/// The lines that the cipher authenticates.
fn header(verifier: &VerifierKey, params: KdfParams, salt: &[u8; 16], nonce: &[u8; 24]) -> String {
    let (salt, nonce) = (base64(salt), base64(nonce));
    format!("{FORMAT}\nvkey {verifier}\nkdf argon2id {params}\nsalt {salt}\ncipher {CIPHER}\nnonce {nonce}\n")
}

fn cipher(passphrase: &[u8], params: KdfParams, salt: &[u8; 16]) -> Result<XChaCha20Poly1305, KeyError> {
    let impossible = |_| KeyError::Damaged("its kdf parameters are not possible");
    let params = Params::new(params.memory_kib, params.passes, params.lanes, Some(32)).map_err(impossible)?;
    // The crate's own allocation is not wiped.
    let mut memory = Zeroizing::new(Vec::new());
    memory.try_reserve_exact(params.block_count()).map_err(|_| KeyError::Memory)?;
    memory.resize(params.block_count(), Block::new());
    let mut key = Zeroizing::new([0; 32]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into_with_memory(passphrase, salt, key.as_mut_slice(), memory.as_mut_slice())
        .map_err(impossible)?;
    XChaCha20Poly1305::new_from_slice(key.as_slice()).map_err(|_| KeyError::Memory)
}

impl Protected {
    fn parse(text: &str) -> Result<Protected, KeyError> {
        match text.lines().next() {
            Some(FORMAT) => {}
            Some(line) if line.starts_with("waxseal-sealing-key-") => {
                return Err(KeyError::Unsupported("its version is not 1"));
            }
            _ => return Err(KeyError::NotAKey),
        }
        let end = text.rfind("\nsum ").ok_or(KeyError::Damaged("it is cut short"))?;
        let (body, sum) = text.split_at(end + 1);
        let sum = sum.strip_prefix("sum ").and_then(|sum| digest(without_line_end(sum)));
        if sum != Some(sha256(&[body.as_bytes()])) {
            return Err(KeyError::Damaged("its sum does not fit"));
        }
        Protected::parse_body(body)
    }

    fn parse_body(body: &str) -> Result<Protected, KeyError> {
        let mut lines = body.strip_suffix('\n').unwrap_or(body).split('\n').skip(1);
        let mut field = |name: &str| lines.next()?.strip_prefix(name)?.strip_prefix(' ');
        let vkey = field("vkey").ok_or(KeyError::Damaged("it has no vkey line"))?;
        let kdf = field("kdf").ok_or(KeyError::Damaged("it has no kdf line"))?;
        let salt = field("salt").and_then(unbase64_array).ok_or(KeyError::Damaged("its salt is not one"))?;
        let cipher = field("cipher").ok_or(KeyError::Damaged("it has no cipher line"))?;
        let nonce =
            field("nonce").and_then(unbase64_array).ok_or(KeyError::Damaged("its nonce is not one"))?;
        let sealed = field("key").and_then(unbase64_array).ok_or(KeyError::Damaged("its key is not one"))?;
        if lines.next().is_some() {
            return Err(KeyError::Damaged("it has more lines than it should"));
        }
        let verifier = VerifierKey::parse(vkey).map_err(|_| KeyError::Damaged("its vkey is not one"))?;
        let kdf = kdf.strip_prefix("argon2id ").ok_or(KeyError::Unsupported("its kdf is not argon2id"))?;
        let (m, t, p) =
            KdfParams::parse(kdf).ok_or(KeyError::Damaged("its kdf parameters are not numbers"))?;
        if cipher != CIPHER {
            return Err(KeyError::Unsupported("its cipher is not xchacha20-poly1305"));
        }
        Ok(Protected { verifier, params: KdfParams::new(m, t, p)?, salt, nonce, sealed })
    }

    fn unlock(&self, passphrase: &[u8]) -> Result<SigningKey, KeyError> {
        let cipher = cipher(passphrase, self.params, &self.salt)?;
        let header = header(&self.verifier, self.params, &self.salt, &self.nonce);
        let payload = Payload { msg: &self.sealed, aad: header.as_bytes() };
        let plain = cipher.decrypt(&self.nonce.into(), payload).map_err(|_| KeyError::PassphraseWrong)?;
        let plain = Zeroizing::new(plain);
        let seed = plain.first_chunk::<32>().ok_or(KeyError::Damaged("its key is not one"))?;
        let key = SigningKey::from_seed(self.verifier.name().clone(), &Zeroizing::new(*seed));
        if *key.verifier_key() == self.verifier {
            Ok(key)
        } else {
            Err(KeyError::Damaged("its vkey does not belong to its key"))
        }
    }
}

#[cfg(test)]
#[path = "keyfile_tests.rs"]
mod tests;
