//! The keys of the log: the host's, which stays, and that of the epoch, which is erased when the next one is announced.

use super::{StateDir, StoreError};
use crate::state_dir::{read_text, replace, sync_parent};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use waxseal_ledger::tail::Tail;
use waxseal_ledger::{EpochKey, KeyError, KeyFile, Name, SigningKey, VerificationFile, VerifierKey};
use zeroize::Zeroizing;

/// What signs the log now.
#[derive(Debug, Clone)]
pub(super) struct Keys(Arc<(SigningKey, EpochKey)>);

/// The keys of a log that begins.
#[derive(Debug)]
pub struct HostKeys {
    keys: Keys,
    /// Those that seal baselines.
    seals: Vec<VerifierKey>,
}

impl HostKeys {
    /// The host's key of a state directory, or a new one, and the key of its first epoch, written to disk. `seal` is the key
    /// that seals baselines.
    ///
    /// # Errors
    /// When they cannot be read or written, or the system has no random numbers.
    pub fn create(dir: &StateDir, origin: Name, seal: &VerifierKey) -> Result<HostKeys, StoreError> {
        let keys = HostKeys::make(dir, origin, seal)?;
        let line = |key: &VerifierKey| format!("{key}\n");
        replace(&dir.sealing_verifier_key(), line(seal).as_bytes(), 0o644)?;
        replace(&dir.verifier_key(), line(keys.host().verifier_key()).as_bytes(), 0o644)?;
        Ok(keys)
    }

    fn make(dir: &StateDir, origin: Name, seal: &VerifierKey) -> Result<HostKeys, StoreError> {
        let host = if exists(&dir.log_key()) {
            Keys::read_host(dir)?
        } else {
            let host = SigningKey::generate(origin).map_err(|error| key_error(&dir.log_key(), &error))?;
            replace(&dir.log_key(), host.to_plain_text().as_bytes(), 0o600)?;
            host
        };
        let epoch = EpochKey::generate(host.verifier_key().name(), 0)
            .map_err(|error| key_error(&dir.epoch_key(), &error))?;
        replace(&dir.epoch_key(), epoch.to_text().as_bytes(), 0o600)?;
        Ok(HostKeys { keys: Keys::new(host, epoch), seals: vec![seal.clone()] })
    }

    /// For a state directory from before there was a log: its verifier key is the one that seals its baseline, and stays.
    pub(super) fn adopt(dir: &StateDir) -> Result<HostKeys, StoreError> {
        let path = dir.verifier_key();
        let seal = VerifierKey::parse(read_text(&path)?.trim())
            .map_err(|error| StoreError::Log(format!("{}: {error}", show(&path))))?;
        HostKeys::make(dir, seal.name().clone(), &seal)
    }

    /// The host's key: signs every checkpoint.
    pub fn host(&self) -> &SigningKey {
        self.keys.host()
    }

    pub(super) fn epoch(&self) -> &EpochKey {
        self.keys.epoch()
    }

    pub(super) fn into_keys(self) -> Keys {
        self.keys
    }

    /// Writes the verification file: what is taken away, to verify the log with later.
    pub(crate) fn write_verification(&self, dir: &StateDir, checkpoint: &str) -> Result<(), StoreError> {
        let (host, first) = (self.host().verifier_key().clone(), self.epoch().verifier_key().clone());
        let file = VerificationFile::new(host, first, self.seals.clone(), checkpoint)
            .map_err(|error| StoreError::Log(error.to_string()))?;
        replace(&dir.verification(), file.to_string().as_bytes(), 0o600)
    }
}

impl Keys {
    pub(super) fn new(host: SigningKey, epoch: EpochKey) -> Keys {
        Keys(Arc::new((host, epoch)))
    }

    pub(super) fn host(&self) -> &SigningKey {
        &self.0.0
    }

    pub(super) fn epoch(&self) -> &EpochKey {
        &self.0.1
    }

    /// The host's key.
    pub(super) fn read_host(dir: &StateDir) -> Result<SigningKey, StoreError> {
        let path = dir.log_key();
        if !exists(&path) {
            let why = "the key that signs the log is gone: put it back from a backup, or move the state directory away and seal anew";
            return Err(StoreError::Log(format!("{}: {why}", show(&path))));
        }
        let text = Zeroizing::new(read_text(&path)?);
        let key = KeyFile::parse(&text).and_then(|file| file.unlock(None));
        key.map_err(|error| key_error(&path, &error))
    }

    /// The keys of the log's last epoch, and whether that key is in its place; `None` when it is lost.
    pub(super) fn read_epoch(dir: &StateDir, host: &SigningKey, tail: &Tail) -> Option<Found> {
        let is_it = |path: &Path| {
            read_key(path, host.verifier_key().name())
                .filter(|key| tail.epoch().is_some_and(|(_, last)| last == key.verifier_key()))
        };
        if let Some(key) = is_it(&dir.epoch_key()) {
            return Some(Found { keys: Keys::new(host.clone(), key), in_place: true });
        }
        // It was announced, and did not come to take the place of the one before.
        let keys = Keys::new(host.clone(), is_it(&next(dir))?);
        let in_place = keys.settle(dir).is_ok();
        Some(Found { keys, in_place })
    }

    /// The key after that of an epoch, on disk beside it. One that is there already stays: a commit that seemed to fail
    /// may have announced it.
    pub(super) fn next(dir: &StateDir, host: &SigningKey, epoch: u64) -> Result<Keys, StoreError> {
        let (path, number) = (next(dir), epoch.saturating_add(1));
        let origin = host.verifier_key().name();
        if let Some(key) = read_key(&path, origin).filter(|key| key.number() == number) {
            return Ok(Keys::new(host.clone(), key));
        }
        let key = EpochKey::generate(origin, number).map_err(|error| key_error(&path, &error))?;
        replace(&path, key.to_text().as_bytes(), 0o600)?;
        Ok(Keys::new(host.clone(), key))
    }

    /// This key, which was announced, takes the place of the old one, whose bytes are overwritten before. A filesystem that
    /// writes elsewhere, or a disk that does, may keep them: that is said in the threat model. May be called again.
    ///
    /// # Errors
    /// When it could not; then the key is still beside its place, and must not be written over.
    pub(super) fn settle(&self, dir: &StateDir) -> Result<(), StoreError> {
        let (path, beside) = (dir.epoch_key(), next(dir));
        let is_own = |path: &Path| {
            let key = read_key(path, self.host().verifier_key().name());
            key.is_some_and(|key| key.verifier_key() == self.epoch().verifier_key())
        };
        // Another process may have done it; and nothing is erased before this key is on disk.
        if is_own(&path) {
            return sync_parent(&path).map_err(|error| StoreError::io(&path, error));
        }
        if !is_own(&beside) {
            replace(&beside, self.epoch().to_text().as_bytes(), 0o600)?;
        }
        if let Ok(length) = fs::symlink_metadata(&path).map(|meta| meta.len().min(4096))
            && let Ok(mut file) = fs::OpenOptions::new().write(true).open(&path)
        {
            use std::io::Write;
            let _ = file.write_all(&vec![0; length as usize]).and_then(|()| file.sync_all());
        }
        let renamed = fs::rename(&beside, &path).and_then(|()| sync_parent(&path));
        renamed.map_err(|error| StoreError::io(&path, error))
    }
}

/// Keys as they were found.
pub(super) struct Found {
    pub keys: Keys,
    /// Whether the epoch's key is in its place.
    pub in_place: bool,
}

/// The key of an epoch in a file, if there is one.
pub(super) fn read_key(path: &Path, origin: &Name) -> Option<EpochKey> {
    let text = Zeroizing::new(read_text(path).ok()?);
    EpochKey::parse(origin, &text).ok()
}

fn next(dir: &StateDir) -> PathBuf {
    dir.path().join("epoch.key.next")
}

fn exists(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

fn show(path: &Path) -> String {
    waxseal_model::escape::for_people(path.as_os_str().as_encoded_bytes())
}

fn key_error(path: &Path, error: &KeyError) -> StoreError {
    StoreError::Log(format!("{}: {error}", show(path)))
}
