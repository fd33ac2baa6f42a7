//! Whether a stored baseline is the one that was sealed.

use waxseal_ledger::{Seal, VerifierKey, rules_hash};
use waxseal_store::Baseline;

/// Verifies the seal of a stored baseline: that `key` signed exactly this root hash, generation and rules.
///
/// # Errors
/// What is broken, for people.
pub fn verify(baseline: &Baseline, key: &VerifierKey) -> Result<Seal, String> {
    let keys = std::slice::from_ref(key);
    let seal =
        Seal::verify_for(key.name(), &baseline.stored.seal, keys).map_err(|error| error.to_string())?;
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
