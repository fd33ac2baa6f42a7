//! The published vectors, every small tree, a second implementation, and what must not verify.

use super::*;
use proptest::prelude::*;
use std::convert::Infallible;
use waxseal_model::digest::{hex, unhex};

/// A tree whose hashes are all kept, for tests.
#[derive(Default)]
pub(crate) struct Kept {
    pub(crate) levels: Vec<Vec<Digest>>,
    pub(crate) edge: Edge,
}

impl Kept {
    pub(crate) fn of(leaves: impl IntoIterator<Item = Digest>) -> Kept {
        let mut tree = Kept::default();
        leaves.into_iter().for_each(|leaf| tree.push(leaf));
        tree
    }

    fn keep(&mut self, level: usize, index: u64, hash: Digest) {
        self.levels.resize(self.levels.len().max(level + 1), Vec::new());
        assert_eq!(self.levels[level].len() as u64, index);
        self.levels[level].push(hash);
    }

    pub(crate) fn push(&mut self, leaf: Digest) {
        self.keep(0, self.edge.size(), leaf);
        let mut new = Vec::new();
        self.edge.push(leaf, |kept| new.push(kept));
        new.into_iter().for_each(|kept| self.keep(kept.level.into(), kept.index, kept.hash));
    }
}

impl Hashes for Kept {
    type Error = Infallible;

    fn read(&self, level: u8, first: u64, count: u16) -> Result<Vec<Digest>, Infallible> {
        assert!((1..=256).contains(&count) && first / WIDTH == (first + u64::from(count) - 1) / WIDTH);
        let row = self.levels.get(usize::from(level)).map_or(&[][..], Vec::as_slice);
        Ok(row.iter().skip(first as usize).take(count.into()).copied().collect())
    }
}

fn numbered(n: u64) -> Kept {
    Kept::of((0..n).map(|i| leaf_hash(&i.to_be_bytes())))
}

/// The root as RFC 6962 section 2.1 defines it, word for word.
fn root_of(leaves: &[Digest]) -> Digest {
    match leaves {
        [] => EMPTY_ROOT,
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(split(leaves.len() as u64) as usize);
            node_hash(&root_of(left), &root_of(right))
        }
    }
}

/// The leaves that Certificate Transparency has been tested with since its start, and their roots.
const CLASSIC: [&str; 8] =
    ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"];
const ROOTS: [&str; 9] = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];

fn classic() -> Kept {
    Kept::of(CLASSIC.map(|leaf| leaf_hash(&unhex(leaf).unwrap())))
}

#[test]
fn the_hashes_are_the_published_ones() {
    assert_eq!(hex(&Edge::new().root()), ROOTS[0]);
    assert_eq!(
        hex(&leaf_hash(b"L123456")),
        "395aa064aa4c29f7010acfe3f25db9485bbd4b91897b6ad7ad547639252b4d56"
    );
    // The children of this one are no hashes.
    let node = sha256(&[&[1], b"N123", b"N456"]);
    assert_eq!(hex(&node), "aa217fe888e47007fa15edab33c2b492a722cb106c64667fc2b044444de66bbb");
    let tree = classic();
    for (size, root) in ROOTS.iter().enumerate() {
        assert_eq!(hex(&Edge::read(size as u64, &tree).unwrap().root()), *root, "{size}");
    }
}

#[test]
fn the_proofs_are_the_published_ones() {
    let tree = classic();
    let (a, b, c) = (
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    );
    let (d, e, f) = (
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        ROOTS[4],
    );
    let inclusions: [(u64, u64, &[&str]); 4] =
        [(0, 8, &[a, b, c]), (5, 8, &[d, e, f]), (2, 3, &[ROOTS[2]]), (1, 5, &[ROOTS[1], b, d])];
    for (index, size, proof) in inclusions {
        let found: Vec<String> =
            inclusion(&tree, index, size).unwrap().iter().map(|hash| hex(hash)).collect();
        assert_eq!(found, proof, "{index} in {size}");
    }
    let seven = [
        "0298d122906dcfc10892cb53a73992fc5b9f493ea4c9badb27b791b4127a7fe7",
        "07506a85fd9dd2f120eb694f86011e5bb4662e5c415a62917033d4a9624487e7",
        ROOTS[2],
        "837dbb152e9b079010717e84e865da4ebc0fa198a806d59d31bf15accef22d0e",
    ];
    let six = "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a";
    let growths: [(u64, u64, &[&str]); 6] = [
        (1, 8, &[a, b, c]),
        (6, 8, &[six, e, f]),
        (2, 5, &[b, d]),
        (3, 7, &seven),
        (4, 8, &[c]),
        (5, 8, &[d, "4271a26b", e, f]),
    ];
    for (old, new, proof) in growths {
        let found: Vec<String> = consistency(&tree, old, new).unwrap().iter().map(|hash| hex(hash)).collect();
        assert_eq!(found.len(), proof.len(), "{old} to {new}");
        assert!(found.iter().zip(proof).all(|(found, known)| found.starts_with(known)), "{old} to {new}");
    }
}

#[test]
fn every_small_tree_is_proved() {
    let tree = numbered(70);
    for size in 1..=70u64 {
        let root = Edge::read(size, &tree).unwrap().root();
        assert_eq!(root, root_of(&tree.levels[0][..size as usize]));
        for index in 0..size {
            let proof = inclusion(&tree, index, size).unwrap();
            let leaf = tree.levels[0][index as usize];
            assert_eq!(verify_inclusion(index, size, &leaf, &proof, &root), Ok(()), "{index} in {size}");
        }
        for old in 1..=size {
            let proof = consistency(&tree, old, size).unwrap();
            let was = Edge::read(old, &tree).unwrap().root();
            assert_eq!(verify_consistency(old, size, &was, &root, &proof), Ok(()), "{old} to {size}");
        }
    }
}

#[test]
fn trees_of_several_levels_are_proved() {
    let size = 256 * 256 + 2 * 256 + 77;
    let tree = numbered(size);
    assert_eq!(tree.levels.iter().map(Vec::len).collect::<Vec<_>>(), [size as usize, 258, 1]);
    assert_eq!((level_len(size, 1), level_len(size, 3), level_len(size, 255)), (258, 0, 0));
    let root = root_of(&tree.levels[0]);
    assert_eq!(tree.edge.root(), root);
    for at in [1, 255, 256, 257, 65_535, 65_536, 65_537, 66_048, size - 1] {
        assert_eq!(Edge::read(at, &tree).unwrap().root(), root_of(&tree.levels[0][..at as usize]));
        let proof = inclusion(&tree, at, size).unwrap();
        assert_eq!(verify_inclusion(at, size, &tree.levels[0][at as usize], &proof, &root), Ok(()));
        let proof = consistency(&tree, at, size).unwrap();
        let was = Edge::read(at, &tree).unwrap().root();
        assert_eq!(verify_consistency(at, size, &was, &root, &proof), Ok(()));
    }
}

#[test]
fn an_edge_that_is_read_grows_like_the_one_that_was_kept() {
    let mut tree = numbered(700);
    for size in [0, 1, 255, 256, 300, 512, 699] {
        let mut edge = Edge::read(size, &tree).unwrap();
        for leaf in &tree.levels[0][size as usize..] {
            edge.push(*leaf, |kept| assert_eq!(tree.levels[1][kept.index as usize], kept.hash));
        }
        assert_eq!(edge, tree.edge);
    }
    tree.levels[0].truncate(600);
    assert_eq!(Edge::read(700, &tree), Err(TreeError::Missing { level: 0, first: 512 }));
    assert_eq!(Edge::read(MAX_SIZE + 1, &tree), Err(TreeError::Range));
    assert_eq!(inclusion(&tree, 5, 5), Err(TreeError::Range));
    assert_eq!(consistency(&tree, 0, 5), Err(TreeError::Range));
    assert_eq!(consistency(&tree, 6, 5), Err(TreeError::Range));
}

/// What the test data of transparency-dev/merkle insists on.
#[test]
fn wrong_proofs_are_refused() {
    let tree = numbered(13);
    let root = tree.edge.root();
    for index in 0..13u64 {
        let (leaf, proof) = (tree.levels[0][index as usize], inclusion(&tree, index, 13).unwrap());
        let verify =
            |index, size, leaf, proof: &[Digest], root| verify_inclusion(index, size, leaf, proof, root);
        let mut longer = proof.clone();
        longer.push(root);
        assert_eq!(verify(index, 13, &leaf, &longer, &root), Err(ProofError::Length));
        assert_eq!(verify(index, 13, &leaf, &proof[1..], &root), Err(ProofError::Length));
        assert_eq!(verify(13, 13, &leaf, &proof, &root), Err(ProofError::Range));
        assert_eq!(verify(0, 0, &leaf, &[], &root), Err(ProofError::Range));
        assert_eq!(verify(index, 13, &leaf, &proof, &leaf), Err(ProofError::Root));
        assert_eq!(verify(index, 13, &root, &proof, &root), Err(ProofError::Root));
        for bad in 0..proof.len() {
            let mut other = proof.clone();
            other[bad][7] ^= 1;
            assert_eq!(verify(index, 13, &leaf, &other, &root), Err(ProofError::Root));
        }
    }
    let verify = verify_consistency;
    assert_eq!(verify(0, 13, &EMPTY_ROOT, &root, &[]), Err(ProofError::Range));
    assert_eq!(verify(14, 13, &root, &root, &[]), Err(ProofError::Range));
    assert_eq!(verify(13, 13, &root, &root, &[root]), Err(ProofError::Length));
    assert_eq!(verify(13, 13, &root, &EMPTY_ROOT, &[]), Err(ProofError::Root));
    for old in 1..13u64 {
        let (was, proof) = (Edge::read(old, &tree).unwrap().root(), consistency(&tree, old, 13).unwrap());
        let mut longer = proof.clone();
        longer.push(root);
        assert_eq!(verify(old, 13, &was, &root, &longer), Err(ProofError::Length));
        assert!(verify(old, 13, &was, &root, &proof[1..]).is_err());
        assert_eq!(verify(old, 13, &was, &root, &[]), Err(ProofError::Length));
        assert_eq!(verify(old, 13, &root, &root, &proof), Err(ProofError::Root));
        assert_eq!(verify(old, 13, &was, &was, &proof), Err(ProofError::Root));
        for bad in 0..proof.len() {
            let mut other = proof.clone();
            other[bad][7] ^= 1;
            assert_eq!(verify(old, 13, &was, &root, &other), Err(ProofError::Root));
        }
    }
}

proptest! {
    #[test]
    fn any_proof_is_refused_without_panic(
        index: u64, size: u64, proof in prop::collection::vec(any::<Digest>(), 0..70), root: Digest, leaf: Digest
    ) {
        prop_assert!(verify_inclusion(index, size, &leaf, &proof, &root).is_err());
        prop_assert!(verify_consistency(index, size, &leaf, &root, &proof).is_err());
    }

    /// A second implementation of the RFC, which shares no code with ours.
    #[test]
    fn ct_merkle_agrees(sizes in (1..600u64, 0..600u64), index: prop::sample::Index, salt: u64) {
        let (old, new) = (sizes.0, sizes.0 + sizes.1);
        let mut theirs = ct_merkle::mem_backed_tree::MemoryBackedTree::<sha2::Sha256, Vec<u8>>::new();
        let mut ours = Kept::default();
        let mut before = None;
        for i in 0..new {
            let leaf = [salt.to_be_bytes(), i.to_be_bytes()].concat();
            ours.push(leaf_hash(&leaf));
            theirs.push(leaf);
            if i + 1 == old {
                before = Some(theirs.root());
            }
        }
        let (before, after) = (before.unwrap(), theirs.root());
        let was = Edge::read(old, &ours).unwrap().root();
        prop_assert_eq!(after.as_bytes().as_slice(), ours.edge.root());
        prop_assert_eq!(before.as_bytes().as_slice(), was);

        let index = index.index(new as usize);
        let proof = theirs.prove_inclusion(index);
        let mine = inclusion(&ours, index as u64, new).unwrap();
        prop_assert_eq!(proof.as_bytes(), mine.concat());
        prop_assert_eq!(verify_inclusion(index as u64, new, &ours.levels[0][index], &mine, &ours.edge.root()), Ok(()));

        let mine = consistency(&ours, old, new).unwrap();
        if old < new {
            let proof = theirs.prove_consistency((new - old) as usize);
            prop_assert_eq!(proof.as_bytes(), mine.concat());
        }
        prop_assert_eq!(verify_consistency(old, new, &was, &ours.edge.root(), &mine), Ok(()));
    }
}
