//! Proofs that a leaf is in a tree, and that a tree has only grown: RFC 6962 sections 2.1.1 and 2.1.2; they are verified
//! as RFC 9162 sections 2.1.3.2 and 2.1.4.2 say.

use super::{Hashes, TreeError, node_hash, part, split};
use waxseal_model::Digest;

/// Why a proof proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// A leaf beyond the tree, a tree that shrank, or one without leaves, of which nothing can be said.
    #[error("there is no such leaf or size")]
    Range,
    /// Too many hashes or too few.
    #[error("the proof is too long or too short")]
    Length,
    /// It leads to another root.
    #[error("the proof leads to another root")]
    Root,
}

/// The proof that leaf `index` is in the tree of `size` leaves: the hashes beside its path, leaf side first.
///
/// # Errors
/// When `index` is not below `size`, or a hash cannot be read.
pub fn inclusion<H: Hashes>(hashes: &H, index: u64, size: u64) -> Result<Vec<Digest>, TreeError<H::Error>> {
    if index >= size {
        return Err(TreeError::Range);
    }
    let (mut first, mut end, mut proof) = (0, size, Vec::new());
    while end - first > 1 {
        let middle = first + split(end - first);
        if index < middle {
            proof.push(part(hashes, middle, end)?);
            end = middle;
        } else {
            proof.push(part(hashes, first, middle)?);
            first = middle;
        }
    }
    proof.reverse();
    Ok(proof)
}

/// The proof that the tree of `old` leaves is the beginning of the tree of `new` leaves. Empty when they are the same.
///
/// # Errors
/// When `old` is 0 or above `new`, or a hash cannot be read.
pub fn consistency<H: Hashes>(hashes: &H, old: u64, new: u64) -> Result<Vec<Digest>, TreeError<H::Error>> {
    if old == 0 || old > new {
        return Err(TreeError::Range);
    }
    let (mut first, mut end, mut proof) = (0, new, Vec::new());
    // Whether what is left is the whole old tree, which the verifier has.
    let mut known = true;
    while end != old {
        let middle = first + split(end - first);
        if old <= middle {
            proof.push(part(hashes, middle, end)?);
            end = middle;
        } else {
            proof.push(part(hashes, first, middle)?);
            first = middle;
            known = false;
        }
    }
    if !known {
        proof.push(part(hashes, first, end)?);
    }
    proof.reverse();
    Ok(proof)
}

/// Verifies that a leaf of this hash is at `index` in the tree of this size and root.
///
/// # Errors
/// When the proof does not show it.
pub fn verify_inclusion(
    index: u64,
    size: u64,
    leaf: &Digest,
    proof: &[Digest],
    root: &Digest,
) -> Result<(), ProofError> {
    if index >= size {
        return Err(ProofError::Range);
    }
    let (mut at, mut last, mut hash) = (index, size - 1, *leaf);
    for beside in proof {
        if last == 0 {
            return Err(ProofError::Length);
        }
        if at & 1 == 1 || at == last {
            hash = node_hash(beside, &hash);
            while at & 1 == 0 && at != 0 {
                (at, last) = (at >> 1, last >> 1);
            }
        } else {
            hash = node_hash(&hash, beside);
        }
        (at, last) = (at >> 1, last >> 1);
    }
    match (last, hash == *root) {
        (0, true) => Ok(()),
        (0, false) => Err(ProofError::Root),
        _ => Err(ProofError::Length),
    }
}

/// Verifies that the tree of `new` leaves begins with the tree of `old` leaves.
///
/// # Errors
/// When the proof does not show it, and for `old` 0: everything begins with nothing, so that there is nothing to prove.
pub fn verify_consistency(
    old: u64,
    new: u64,
    old_root: &Digest,
    new_root: &Digest,
    proof: &[Digest],
) -> Result<(), ProofError> {
    if old == 0 || old > new {
        return Err(ProofError::Range);
    }
    if old == new {
        return match (proof.is_empty(), old_root == new_root) {
            (true, true) => Ok(()),
            (true, false) => Err(ProofError::Root),
            (false, _) => Err(ProofError::Length),
        };
    }
    // The old tree itself is the first step of the way when it is a complete one.
    let (start, rest) = match (old.is_power_of_two(), proof.split_first()) {
        (true, Some(_)) => (old_root, proof),
        (false, Some((start, rest))) => (start, rest),
        (_, None) => return Err(ProofError::Length),
    };
    let shift = (old - 1).trailing_ones();
    let (mut at, mut last) = ((old - 1) >> shift, (new - 1) >> shift);
    let (mut was, mut is) = (*start, *start);
    for beside in rest {
        if last == 0 {
            return Err(ProofError::Length);
        }
        if at & 1 == 1 || at == last {
            was = node_hash(beside, &was);
            is = node_hash(beside, &is);
            while at & 1 == 0 && at != 0 {
                (at, last) = (at >> 1, last >> 1);
            }
        } else {
            is = node_hash(&is, beside);
        }
        (at, last) = (at >> 1, last >> 1);
    }
    match (last, was == *old_root && is == *new_root) {
        (0, true) => Ok(()),
        (0, false) => Err(ProofError::Root),
        _ => Err(ProofError::Length),
    }
}
