//! From an object to its names: what changed through a name outside of the tree has changed under the names inside.

use crate::tree::Tree;
use std::collections::{BTreeMap, BTreeSet};
use waxseal_model::{FileState, RawPath};
use waxseal_store::{Baseline, Store, StoreError};

/// An object: major and minor number of its device, and its inode.
pub type Object = (u32, u32, u64);

/// The object that a state is of.
pub fn key(state: &FileState) -> Object {
    (state.device.major, state.device.minor, state.inode)
}

/// Which objects the baseline holds, as a Bloom filter: two bytes an entry, instead of a path for each. An object
/// that passes is looked for in the baseline itself, so a false alarm costs time and nothing else.
#[derive(Debug)]
pub struct Objects {
    bits: Vec<u64>,
}

/// How many bits stand for one object: with 16 bits an entry, 4 let one stranger in 400 pass.
const PROBES: u64 = 4;
const BITS_PER_ENTRY: u64 = 16;

impl Objects {
    /// The objects of a baseline.
    ///
    /// # Errors
    /// As the database says.
    pub fn of(store: &Store, baseline: &Baseline) -> Result<Objects, StoreError> {
        let words = (baseline.stored.entries.saturating_mul(BITS_PER_ENTRY) / 64).clamp(16, 1 << 28);
        let mut objects = Objects { bits: vec![0; words as usize] };
        Tree::open(store, &baseline.stored.root)?.each(&mut |_, state| objects.insert(key(state)))?;
        Ok(objects)
    }

    /// The known names of these objects: sealed ones, and those of open changes.
    ///
    /// # Errors
    /// As the database says.
    pub fn names(
        &self,
        wanted: &BTreeSet<Object>,
        store: &Store,
        baseline: &Baseline,
    ) -> Result<BTreeMap<RawPath, Object>, StoreError> {
        let mut names = BTreeMap::new();
        if wanted.is_empty() {
            return Ok(names);
        }
        if wanted.iter().any(|object| self.may_hold(*object)) {
            Tree::open(store, &baseline.stored.root)?.each(&mut |path, state| {
                if wanted.contains(&key(state)) {
                    names.insert(path.clone(), key(state));
                }
            })?;
        }
        store.each_open_change(|change| -> Result<(), StoreError> {
            if let Some(object) =
                change.after.as_ref().map(|seen| key(&seen.state)).filter(|key| wanted.contains(key))
            {
                names.insert(change.path, object);
            }
            Ok(())
        })?;
        Ok(names)
    }

    /// Adds the object of a state that was approved.
    pub fn add(&mut self, state: &FileState) {
        self.insert(key(state));
    }

    fn insert(&mut self, object: Object) {
        for bit in positions(object, self.bits.len()) {
            if let Some(word) = self.bits.get_mut(bit / 64) {
                *word |= 1 << (bit % 64);
            }
        }
    }

    fn may_hold(&self, object: Object) -> bool {
        positions(object, self.bits.len())
            .all(|bit| self.bits.get(bit / 64).is_some_and(|word| word >> (bit % 64) & 1 == 1))
    }
}

/// The bits of an object, by the finalizer of SplitMix64 (Steele, Lea, Flood 2014).
fn positions((major, minor, inode): Object, words: usize) -> impl Iterator<Item = usize> {
    let seed = inode ^ (u64::from(major) << 44) ^ (u64::from(minor) << 24);
    let bits = words as u64 * 64;
    (1..=PROBES).map(move |n| {
        let mut z = seed.wrapping_add(n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bits) as usize
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_in_is_found_and_few_strangers_are() {
        let mut objects = Objects { bits: vec![0; 16_000 / 64] };
        (0..1000).for_each(|inode| objects.insert((8, 1, inode)));
        assert!((0..1000).all(|inode| objects.may_hold((8, 1, inode))));
        let strangers = (0..10_000).filter(|inode| objects.may_hold((8, 2, *inode))).count();
        assert!(strangers < 200, "{strangers}");
    }
}
