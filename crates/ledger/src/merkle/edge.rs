//! The right edge of a growing tree: all that appending needs.

use super::{HEIGHT, Hashes, MAX_SIZE, TreeError, WIDTH, complete, join, node_hash};
use waxseal_model::Digest;

/// The roots of the complete trees that a tree of some size falls into: as many as its size has binary ones.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Edge {
    size: u64,
    /// The largest first.
    peaks: Vec<Digest>,
}

/// A hash above the leaves that has come up by appending, to be kept for proofs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LevelHash {
    /// 1 for the roots over 256 leaves, 2 for those over 65536, ….
    pub level: u8,
    /// Which of that level.
    pub index: u64,
    /// The hash.
    pub hash: Digest,
}

impl Edge {
    /// The edge of a tree without leaves.
    pub const fn new() -> Edge {
        Edge { size: 0, peaks: Vec::new() }
    }

    /// The edge of a stored tree at this size.
    ///
    /// # Errors
    /// When a hash cannot be read or is missing, or the size is beyond [`MAX_SIZE`].
    pub fn read<H: Hashes>(size: u64, hashes: &H) -> Result<Edge, TreeError<H::Error>> {
        if size > MAX_SIZE {
            return Err(TreeError::Range);
        }
        let mut edge = Edge::new();
        while edge.size < size {
            let height = (size - edge.size).ilog2();
            edge.peaks.push(complete(hashes, height, edge.size >> height)?);
            edge.size += 1 << height;
        }
        Ok(edge)
    }

    /// How many leaves the tree has.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The tree's root.
    pub fn root(&self) -> Digest {
        join(&self.peaks)
    }

    /// Appends a leaf by its hash; `kept` is given the hashes of the levels above that are complete now.
    pub fn push(&mut self, leaf: Digest, mut kept: impl FnMut(LevelHash)) {
        let (mut hash, mut index, mut height) = (leaf, self.size, 0);
        while index & 1 == 1
            && let Some(left) = self.peaks.pop()
        {
            hash = node_hash(&left, &hash);
            index >>= 1;
            height += 1;
            if height % HEIGHT == 0 {
                kept(LevelHash { level: (height / HEIGHT) as u8, index, hash });
            }
        }
        self.peaks.push(hash);
        self.size += 1;
    }
}

/// How many hashes a level has in a tree of this size.
pub(crate) fn level_len(size: u64, level: u8) -> u64 {
    size.checked_shr(HEIGHT * u32::from(level)).unwrap_or(0)
}

const _: () = assert!(1 << HEIGHT == WIDTH);
