//! Who signs: a key in memory, or somebody who keeps the key to themselves.

use crate::key::SigningKey;
use crate::vkey::VerifierKey;
use std::fmt;

/// A key that could not sign, and why, for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the sealing key could not sign: {0}")]
pub struct SignError(pub String);

/// Signs as the holder of one Ed25519 key.
pub trait Signer: fmt::Debug {
    /// The public side, which verifies what it signs.
    fn verifier_key(&self) -> &VerifierKey;

    /// The 64 bytes of the signature of a message: plain Ed25519 (RFC 8032).
    ///
    /// # Errors
    /// When whoever has the key does not sign.
    fn sign(&self, message: &[u8]) -> Result<[u8; 64], SignError>;
}

impl Signer for SigningKey {
    fn verifier_key(&self) -> &VerifierKey {
        self.verifier_key()
    }

    fn sign(&self, message: &[u8]) -> Result<[u8; 64], SignError> {
        Ok(self.sign(message))
    }
}
