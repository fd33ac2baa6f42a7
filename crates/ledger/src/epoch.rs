//! Forward security: besides the host's stable key, whatever is signed at some time carries the signature of the key of
//! that *epoch*, and keys of past epochs no longer exist.
//!
//! Each epoch has an Ed25519 key of its own, named `<origin>/epoch/<number>`, numbered from 0. The first is announced in the
//! log's first leaf, signed by the host's key; each later one in a leaf signed by the key before it, which is then erased.
//! What is signed binds the tree before that leaf:
//!
//! ```text
//! waxseal/host.example                  the origin
//! waxseal-epoch-v1
//! epoch 3                               the number of the new epoch, decimal
//! key <hex, 64 digits>                  its public key
//! size 1234                             the index of the leaf that announces it, decimal
//! root <hex, 64 digits>                 the root over the leaves before that one
//! time <microseconds>                   the leaf's time, decimal, microseconds since 1970-01-01T00:00:00Z
//! ```
//!
//! Exactly these lines, each ending in a newline. So whoever takes the machine in epoch `n` finds the host's key and the key
//! of epoch `n`. Leaves before the announcement of `n` cannot be replaced without the erased key of `n - 1`, and a log that
//! was cut back to an earlier epoch cannot be continued, since its last checkpoint needs a key that is gone.
//!
//! When the key of an epoch is lost (a state that was restored from a copy), the host's key may announce another one. That
//! is exactly what an intruder could do, so a verifier reports it unless a checkpoint that was kept covers it.

use crate::key::{KeyError, SigningKey};
use crate::text::decimal;
use crate::vkey::{Name, VerifierKey};
use std::fmt;
use waxseal_model::digest::hex;
use waxseal_model::{Digest, Timestamp};
use zeroize::Zeroizing;

/// Where a log stands when a key is announced: what the signature binds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The index of the leaf that announces it.
    pub size: u64,
    /// The root over the leaves before.
    pub root: Digest,
    /// The time of that leaf.
    pub time: Timestamp,
}

/// The private key of an epoch. Its memory is wiped when it is dropped; whoever keeps it in a file erases that file once
/// the leaf that announces the next key is on disk.
#[derive(Clone)]
pub struct EpochKey {
    number: u64,
    key: SigningKey,
}

/// Who signs the announcement of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Announcer {
    /// The host's key: for the first epoch, and when the key before was lost.
    Host,
    /// The key of the epoch before.
    Previous,
}

/// The private key of an [`Announcer`].
#[derive(Clone, Copy)]
pub(crate) enum Signer<'k> {
    Host(&'k SigningKey),
    Previous(&'k EpochKey),
}

/// A new epoch's public key, as a leaf announces it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcement {
    /// The number of the epoch.
    pub epoch: u64,
    /// Its public key.
    pub key: [u8; 32],
    /// Who signs.
    pub announcer: Announcer,
    /// The root over the leaves before.
    pub root: Digest,
    /// The signature.
    pub signature: [u8; 64],
}

/// The name of an epoch's key.
pub fn epoch_name(origin: &Name, number: u64) -> Name {
    origin.with(&format!("/epoch/{number}"))
}

impl EpochKey {
    /// A new key from the system's random number source.
    ///
    /// # Errors
    /// [`KeyError::Random`] when the system has none.
    pub fn generate(origin: &Name, number: u64) -> Result<EpochKey, KeyError> {
        Ok(EpochKey { number, key: SigningKey::generate(epoch_name(origin, number))? })
    }

    /// The number of its epoch.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The public side.
    pub fn verifier_key(&self) -> &VerifierKey {
        self.key.verifier_key()
    }

    pub(crate) fn signing_key(&self) -> &SigningKey {
        &self.key
    }

    /// The text of the file in which it is kept for the time of its epoch: [`SigningKey::to_plain_text`].
    pub fn to_text(&self) -> Zeroizing<String> {
        self.key.to_plain_text()
    }

    /// The key of [`EpochKey::to_text`].
    ///
    /// # Errors
    /// When the text is not that of an epoch's key of this origin.
    pub fn parse(origin: &Name, text: &str) -> Result<EpochKey, KeyError> {
        let key = SigningKey::from_plain_text(text)?;
        let name = key.verifier_key().name();
        let number =
            name.as_str().strip_prefix(origin.as_str()).and_then(|rest| rest.strip_prefix("/epoch/"));
        let number = number.and_then(decimal).ok_or(KeyError::Damaged("it is no epoch's key of this log"))?;
        Ok(EpochKey { number, key })
    }

    /// Announces this key.
    pub(crate) fn announced(&self, by: Signer<'_>, at: &Position, origin: &Name) -> Announcement {
        let (announcer, signer) = match by {
            Signer::Previous(previous) => (Announcer::Previous, &previous.key),
            Signer::Host(host) => (Announcer::Host, host),
        };
        let key = *self.verifier_key().public_key();
        let signature = signer.sign(text(origin, self.number, &key, at).as_bytes());
        Announcement { epoch: self.number, key, announcer, root: at.root, signature }
    }
}

/// The public side only.
impl fmt::Debug for EpochKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EpochKey").field("verifier", self.verifier_key()).finish_non_exhaustive()
    }
}

/// What is signed.
fn text(origin: &Name, epoch: u64, key: &[u8; 32], at: &Position) -> String {
    format!(
        "{}\nwaxseal-epoch-v1\nepoch {epoch}\nkey {}\nsize {}\nroot {}\ntime {}\n",
        origin.as_str(),
        hex(key),
        at.size,
        hex(&at.root),
        at.time.as_micros(),
    )
}

/// Why an announcement does not continue the chain of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// Not the next number.
    #[error("it is not the key of the next epoch")]
    Number,
    /// Not a public key that can be used.
    #[error("it is not a usable Ed25519 public key")]
    Key,
    /// Not signed by whom it says.
    #[error("its signature is not valid")]
    Signature,
    /// Signed, but the leaves before are others than those that were signed.
    #[error("the leaves before it are not those that it was signed over")]
    Root,
    /// The host's key alone vouches for it, in the middle of the log.
    #[error("it is signed by the host's key instead of the key of the epoch before")]
    Restart,
}

/// The keys of a log as its leaves announce them, followed from the first to the last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    host: VerifierKey,
    current: Option<(u64, VerifierKey)>,
}

impl Chain {
    /// The chain of a log without leaves; its origin is the name of the host's key.
    pub fn new(host: VerifierKey) -> Chain {
        Chain { host, current: None }
    }

    /// The chain of a log whose last announcement is this one.
    ///
    /// # Errors
    /// [`ChainError::Key`] when it is no usable key.
    pub(crate) fn at(host: VerifierKey, number: u64, key: &[u8; 32]) -> Result<Chain, ChainError> {
        let key =
            VerifierKey::from_public(epoch_name(host.name(), number), key).map_err(|_| ChainError::Key)?;
        Ok(Chain { host, current: Some((number, key)) })
    }

    /// The log's origin.
    pub fn origin(&self) -> &Name {
        self.host.name()
    }

    /// The host's key.
    pub fn host(&self) -> &VerifierKey {
        &self.host
    }

    /// The number and key of the epoch; none before the first leaf.
    pub fn current(&self) -> Option<(u64, &VerifierKey)> {
        self.current.as_ref().map(|(number, key)| (*number, key))
    }

    /// Follows an announcement. `at` is where it stands, by the leaves.
    ///
    /// # Errors
    /// When it does not continue the chain, which stays as it was; after [`ChainError::Restart`] and [`ChainError::Root`] it
    /// goes on with the new key all the same.
    pub fn follow(&mut self, announcement: &Announcement, at: &Position) -> Result<(), ChainError> {
        let origin = self.host.name();
        let key = VerifierKey::from_public(epoch_name(origin, announcement.epoch), &announcement.key)
            .map_err(|_| ChainError::Key)?;
        let expected = self.current.as_ref().map_or(Some(0), |(number, _)| number.checked_add(1));
        if expected != Some(announcement.epoch) {
            return Err(ChainError::Number);
        }
        let signer = match (announcement.announcer, &self.current) {
            (Announcer::Host, _) => &self.host,
            (Announcer::Previous, Some((_, previous))) => previous,
            (Announcer::Previous, None) => return Err(ChainError::Signature),
        };
        let signed = Position { root: announcement.root, ..*at };
        let text = text(origin, announcement.epoch, &announcement.key, &signed);
        if !signer.verifies(text.as_bytes(), &announcement.signature) {
            return Err(ChainError::Signature);
        }
        let restart = announcement.announcer == Announcer::Host && self.current.is_some();
        self.current = Some((announcement.epoch, key));
        match (announcement.root == at.root, restart) {
            (false, _) => Err(ChainError::Root),
            (true, true) => Err(ChainError::Restart),
            (true, false) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin() -> Name {
        Name::new("waxseal/host").unwrap()
    }

    fn host() -> SigningKey {
        SigningKey::from_seed(origin(), &Zeroizing::new([1; 32]))
    }

    fn at(size: u64) -> Position {
        Position { size, root: [size as u8; 32], time: Timestamp::new(1000, 5000) }
    }

    fn key(number: u64) -> EpochKey {
        EpochKey::generate(&origin(), number).unwrap()
    }

    #[test]
    fn each_key_announces_the_next() {
        let (host, keys) = (host(), [key(0), key(1), key(2)]);
        let mut chain = Chain::new(host.verifier_key().clone());
        assert_eq!(chain.current(), None);
        assert_eq!(chain.follow(&keys[0].announced(Signer::Host(&host), &at(0), &origin()), &at(0)), Ok(()));
        for (i, pair) in keys.windows(2).enumerate() {
            let at = at(10 * (i as u64 + 1));
            assert_eq!(
                chain.follow(&pair[1].announced(Signer::Previous(&pair[0]), &at, &origin()), &at),
                Ok(())
            );
            assert_eq!(chain.current(), Some((i as u64 + 1, pair[1].verifier_key())));
        }
        assert_eq!(keys[2].verifier_key().name().as_str(), "waxseal/host/epoch/2");
    }

    #[test]
    fn whatever_was_not_signed_is_refused() {
        let (host, first, second, stranger) = (host(), key(0), key(1), key(1));
        let mut chain = Chain::new(host.verifier_key().clone());
        let none = second.announced(Signer::Previous(&first), &at(0), &origin());
        assert_eq!(chain.follow(&none, &at(0)), Err(ChainError::Number));
        let none = first.announced(Signer::Previous(&second), &at(0), &origin());
        assert_eq!(chain.follow(&none, &at(0)), Err(ChainError::Signature));
        chain.follow(&first.announced(Signer::Host(&host), &at(0), &origin()), &at(0)).unwrap();

        let good = second.announced(Signer::Previous(&first), &at(9), &origin());
        let follow = |announcement: &Announcement, at: &Position| chain.clone().follow(announcement, at);
        assert_eq!(follow(&good, &at(9)), Ok(()));
        assert_eq!(follow(&good, &at(8)), Err(ChainError::Signature));
        assert_eq!(follow(&good, &Position { root: [0; 32], ..at(9) }), Err(ChainError::Root));
        let later = Position { time: Timestamp::new(1001, 5000), ..at(9) };
        assert_eq!(follow(&good, &later), Err(ChainError::Signature));
        let mut other = good.clone();
        other.signature[3] ^= 1;
        assert_eq!(follow(&other, &at(9)), Err(ChainError::Signature));
        let other = Announcement { key: *stranger.verifier_key().public_key(), ..good.clone() };
        assert_eq!(follow(&other, &at(9)), Err(ChainError::Signature));
        let other = Announcement { key: [0; 32], ..good.clone() };
        assert_eq!(follow(&other, &at(9)), Err(ChainError::Key));
        let other = Announcement { epoch: 2, ..good.clone() };
        assert_eq!(follow(&other, &at(9)), Err(ChainError::Number));
        let foreign =
            second.announced(Signer::Previous(&first), &at(9), &Name::new("waxseal/other").unwrap());
        assert_eq!(follow(&foreign, &at(9)), Err(ChainError::Signature));
    }

    #[test]
    fn the_host_alone_can_restart_the_chain_and_it_shows() {
        let (host, first, second) = (host(), key(0), key(1));
        let mut chain = Chain::new(host.verifier_key().clone());
        chain.follow(&first.announced(Signer::Host(&host), &at(0), &origin()), &at(0)).unwrap();
        let restart = second.announced(Signer::Host(&host), &at(9), &origin());
        assert_eq!(chain.follow(&restart, &at(9)), Err(ChainError::Restart));
        assert_eq!(chain.current(), Some((1, second.verifier_key())));
    }

    #[test]
    fn a_key_is_kept_as_text_of_its_log() {
        let key = key(7);
        let again = EpochKey::parse(&origin(), &key.to_text()).unwrap();
        assert_eq!((again.number(), again.verifier_key()), (7, key.verifier_key()));
        assert!(EpochKey::parse(&Name::new("waxseal/hos").unwrap(), &key.to_text()).is_err());
        assert!(EpochKey::parse(&origin(), &host().to_plain_text()).is_err());
        assert!(EpochKey::parse(&origin(), "").is_err());
        let secret = key.to_text();
        let secret = secret.trim_end().splitn(5, '+').nth(4).unwrap();
        assert!(!format!("{key:?}").contains(secret));
    }
}
