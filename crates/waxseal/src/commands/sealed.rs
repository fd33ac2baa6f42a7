//! Sealed exports as commands take them: opened, their seal verified, and said with whose key.

use crate::context::{Context, read_verifier_key, show};
use crate::output::{say, warn};
use anyhow::anyhow;
use std::path::Path;
use waxseal_ledger::{VerificationFile, VerifierKey};
use waxseal_os::paths;
use waxseal_store::state_dir::read_text;
use waxseal_store::{SealedFile, StateDir, StoreError};

/// The keys in the file that was given with `--public-key`.
pub fn given_keys(path: Option<&Path>) -> anyhow::Result<Option<Vec<VerifierKey>>> {
    let Some(path) = path else { return Ok(None) };
    let text = read_text(path)?;
    if text.starts_with("waxseal-verification-") {
        let file = VerificationFile::parse(&text).map_err(|error| anyhow!("{}: {error}", show(path)))?;
        return Ok(Some(file.seals().to_vec()));
    }
    Ok(Some(vec![read_verifier_key(path)?]))
}

/// Opens an export and verifies its seal; says so when only its own key vouches for it.
///
/// # Errors
/// As [`SealedFile::open`].
pub fn open(path: &Path, keys: Option<&[VerifierKey]>, context: &Context) -> Result<SealedFile, StoreError> {
    let file = SealedFile::open(path, keys)?;
    let key = file.key();
    if keys.is_none() {
        let named = format!("{} {}", key.name(), key.fingerprint());
        let hint = "whoever wrote the file chose it: give --public-key FILE with the one that you took away";
        say(
            context,
            &format!("note: {} is sealed by the key that it names itself, {named}; {hint}", show(path)),
        );
    }
    if let Some(local) = local_key(context).filter(|local| local.ssh_blob() != key.ssh_blob()) {
        let (theirs, ours) = (key.fingerprint(), local.fingerprint());
        warn(&format!(
            "{} names the key {theirs}; the state on this machine is sealed by {ours}",
            show(path)
        ));
    }
    Ok(file)
}

/// The key that seals the state on this machine, if there is one that we may look at.
fn local_key(context: &Context) -> Option<VerifierKey> {
    let dir = StateDir::open(&context.state_path, waxseal_os::limits::effective_uid()).ok()?;
    let keys = [dir.sealing_verifier_key(), dir.verifier_key()];
    read_verifier_key(keys.iter().find(|path| paths::exists(path))?).ok()
}
