//! Whether a stored baseline is the one that was sealed.

use waxseal_ledger::{Seal, VerifierKey, rules_hash};
use waxseal_store::Baseline;

/// Verifies the seal of a stored baseline: that each of these keys (the one that seals, and the host's) signed exactly this
/// root hash, generation and rules.
///
/// # Errors
/// What is broken, for people.
pub fn verify(baseline: &Baseline, keys: &[VerifierKey]) -> Result<Seal, String> {
    let (first, others) = keys.split_first().ok_or("there is no key to verify it with")?;
    let note = &baseline.stored.seal;
    let seal = Seal::verify_for(first.name(), note, std::slice::from_ref(first));
    let seal = seal.map_err(|error| error.to_string())?;
    for key in others {
        Seal::verify(note, std::slice::from_ref(key)).map_err(|error| error.to_string())?;
    }
    if seal.root != baseline.stored.root {
        return Err("the stored root hash is not the one that was sealed".into());
    }
    if seal.generation != baseline.generation {
        return Err("the stored generation is not the one that was sealed".into());
    }
    if seal.rules != rules_hash(&baseline.stored.rules) {
        return Err("the stored rules are not the ones that were sealed".into());
    }
    Ok(seal)
}

/// [`verify`] with what was taken away from a machine: one of these keys has sealed it and, unless the baseline is older than the
/// log, the host's key has signed it too.
///
/// # Errors
/// What is broken, for people.
pub fn verify_by_any(
    baseline: &Baseline,
    seals: &[VerifierKey],
    host: Option<&VerifierKey>,
) -> Result<Seal, String> {
    let mut why = Err("there is no key to verify it with".into());
    for seal in seals {
        let keys: Vec<VerifierKey> = [seal].into_iter().chain(host).cloned().collect();
        why = verify(baseline, &keys);
        if why.is_ok() {
            return why;
        }
    }
    why
}
