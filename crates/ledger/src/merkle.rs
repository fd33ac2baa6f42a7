//! The log's Merkle tree: RFC 6962 section 2.1 (the same in RFC 9162) with SHA-256.
//!
//! In: leaf hashes, one after the other. Out: the root at any size, and proofs between them.
//!
//! ```text
//! leaf hash  SHA-256(0x00 || leaf)       interior  SHA-256(0x01 || left || right)
//! root of n leaves, n > 1: the first k leaves to the left, the others to the right, k the largest power of two below n
//! root of no leaves: SHA-256 of nothing
//! ```
//!
//! Who appends keeps only the [`Edge`], at most 64 hashes. What proofs need besides the leaf hashes are the roots of every
//! 256, 65536, … leaves, which the edge gives away as they come up: the *levels* of C2SP tlog-tiles. Whoever stores them
//! reads them again through [`Hashes`].

mod edge;
mod proof;

pub(crate) use edge::level_len;
pub use edge::{Edge, LevelHash};
pub use proof::{ProofError, consistency, inclusion, verify_consistency, verify_inclusion};

use crate::tree::sha256;
use waxseal_model::Digest;

/// The root of a tree without leaves.
pub const EMPTY_ROOT: Digest = [
    0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24, 0x27,
    0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
];

/// How many hashes of one level make one of the next: the width of a tile.
pub const WIDTH: u64 = 256;

/// How many doublings lie between two levels: 2^8 is [`WIDTH`].
const HEIGHT: u32 = 8;

/// The largest tree that is looked at. A database counts to 2^63.
pub const MAX_SIZE: u64 = 1 << 62;

/// The hash of a leaf.
pub fn leaf_hash(leaf: &[u8]) -> Digest {
    sha256(&[&[0], leaf])
}

/// The hash of two neighbours.
pub fn node_hash(left: &Digest, right: &Digest) -> Digest {
    sha256(&[&[1], left, right])
}

/// Where the hashes of a tree are kept.
pub trait Hashes {
    /// Why they could not be read.
    type Error;

    /// The hashes `first` to `first + count` of a level, in order; `count` is 1 to 256 and they lie within one tile
    /// (`first / 256 == (first + count - 1) / 256`). Hash `i` of level `l` is the root over the leaves
    /// `i * 256^l` to `(i + 1) * 256^l`; level 0 has the leaf hashes.
    ///
    /// # Errors
    /// When they cannot be read. Fewer than asked for means that they are not there.
    fn read(&self, level: u8, first: u64, count: u16) -> Result<Vec<Digest>, Self::Error>;
}

/// Why a hash or a proof could not be computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TreeError<E> {
    /// As the place says where the hashes are kept.
    #[error(transparent)]
    Read(E),
    /// Hashes are not there.
    #[error("hashes of the tree are missing (level {level}, from {first} on)")]
    Missing {
        /// The level.
        level: u8,
        /// The first of those that were asked for.
        first: u64,
    },
    /// No such leaf or size in this tree.
    #[error("the tree has no such leaf or size")]
    Range,
}

/// The root over `2^height` leaves, of which it is the `index`-th group.
fn complete<H: Hashes>(hashes: &H, height: u32, index: u64) -> Result<Digest, TreeError<H::Error>> {
    let (level, over) = ((height / HEIGHT) as u8, height % HEIGHT);
    let (first, count) = (index << over, 1u16 << over);
    let mut row = hashes.read(level, first, count).map_err(TreeError::Read)?;
    if row.len() != usize::from(count) {
        return Err(TreeError::Missing { level, first });
    }
    while row.len() > 1 {
        row = row.as_chunks::<2>().0.iter().map(|[left, right]| node_hash(left, right)).collect();
    }
    row.first().copied().ok_or(TreeError::Missing { level, first })
}

/// The root over the leaves `first` to `end`, where `first` is a multiple of every power of two below `end - first`, as it
/// is for all parts of a tree.
fn part<H: Hashes>(hashes: &H, first: u64, end: u64) -> Result<Digest, TreeError<H::Error>> {
    let (mut at, mut roots) = (first, Vec::new());
    while at < end {
        let height = (end - at).ilog2();
        roots.push(complete(hashes, height, at >> height)?);
        at += 1 << height;
    }
    Ok(join(&roots))
}

/// The root over complete trees that stand side by side, the largest first.
fn join(roots: &[Digest]) -> Digest {
    roots.iter().rev().copied().reduce(|right, left| node_hash(&left, &right)).unwrap_or(EMPTY_ROOT)
}

/// The largest power of two below `n`, which is at least 2.
fn split(n: u64) -> u64 {
    1 << (n - 1).ilog2()
}

#[cfg(test)]
pub(crate) mod tests;
