use super::*;
use crate::merkle::{Edge, consistency, inclusion, leaf_hash, verify_consistency, verify_inclusion};
use crate::verify::Problem;
use crate::verify::tests::{Made, made};
use waxseal_model::digest::{hex, unhex};

/// Files in memory, each written once.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Files(pub(crate) BTreeMap<String, Vec<u8>>);

impl Put for Files {
    type Error = Infallible;

    fn put(&mut self, path: &str, bytes: &[u8]) -> Result<(), Infallible> {
        assert!(path.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"./".contains(&b)));
        assert!(!self.0.contains_key(path), "{path} is written twice");
        self.0.put(path, bytes)
    }
}

impl Get for Files {
    type Error = Infallible;

    fn get(&self, path: &str, limit: usize) -> Result<Option<Vec<u8>>, Infallible> {
        Get::get(&self.0, path, limit)
    }
}

pub(crate) fn exported(made: &Made) -> Files {
    exported_without(made, 0..0)
}

fn exported_without(made: &Made, gone: std::ops::Range<u64>) -> Files {
    let mut files = Files::default();
    let mut exporter = Exporter::new(&mut files);
    for leaf in &made.leaves {
        let bytes = (!gone.contains(&leaf.index)).then_some(&leaf.bytes[..]);
        exporter.leaf(bytes, leaf.hash).unwrap();
    }
    exporter.finish(made.note()).unwrap();
    files
}

#[test]
fn names_are_as_specified() {
    assert_eq!(tile_path(0, 0, 256), "tile/0/000");
    assert_eq!(tile_path(3, 255, 256), "tile/3/255");
    assert_eq!(tile_path(0, 1000, 256), "tile/0/x001/000");
    assert_eq!(tile_path(0, 1_234_067, 256), "tile/0/x001/x234/067");
    assert_eq!(entries_path(1_234_067, 17), "tile/entries/x001/x234/067.p/17");
    assert_eq!(tile_path(0, u64::MAX, 256), "tile/0/x018/x446/x744/x073/x709/x551/615");
}

/// The widths that the specification gives for 70,000 and 256 leaves, and the bytes of a small bundle.
#[test]
fn tiles_and_bundles_are_as_specified() {
    let export = |leaves: &mut dyn Iterator<Item = Vec<u8>>| {
        let mut files = Files::default();
        let mut exporter = Exporter::new(&mut files);
        leaves.for_each(|leaf| exporter.leaf(Some(&leaf), leaf_hash(&leaf)).unwrap());
        exporter.finish("note\n").unwrap();
        files
    };
    let files = export(&mut (0..70_000u32).map(|i| i.to_be_bytes().to_vec()));
    let count = |start: &str| files.0.keys().filter(|path| path.starts_with(start)).count();
    assert_eq!((count("tile/0/"), count("tile/1/"), count("tile/2/"), count("tile/3/")), (274, 2, 1, 0));
    for (path, len) in
        [("tile/0/273.p/112", 112), ("tile/1/000", 256), ("tile/1/001.p/17", 17), ("tile/2/000.p/1", 1)]
    {
        assert_eq!(files.0[path].len(), len * 32, "{path}");
    }
    let files = export(&mut (0..256u32).map(|i| i.to_be_bytes().to_vec()));
    let names: Vec<_> = files.0.keys().collect();
    assert_eq!(names, ["checkpoint", "tile/0/000", "tile/1/000.p/1", "tile/entries/000"]);
    let files = export(&mut ["", "00", "10", "2021"].into_iter().map(|leaf| unhex(leaf).unwrap()));
    assert_eq!(hex(&files.0["tile/entries/000.p/4"]), "000000010000011000022021");
    assert_eq!(files.0["checkpoint"], b"note\n");
}

#[test]
fn an_export_is_proven_and_gives_proofs() {
    for (epochs, each) in [(1, 0), (3, 4), (1, 255), (1, 256), (2, 300)] {
        let made = made(epochs, each);
        let files = exported(&made);
        let report = verify(&files, &made.file.trust()).unwrap();
        assert!(report.is_proven(), "{:?}", report.problems);
        let size = made.tail.size();
        assert_eq!((report.proven, report.size), (size, size));
        let hashes = TileHashes::new(&files, size);
        assert_eq!(Edge::read(size, &hashes).unwrap().root(), made.tail.root());
        let proof = inclusion(&hashes, size / 2, size).unwrap();
        let leaf = made.leaves[size as usize / 2].hash;
        assert_eq!(verify_inclusion(size / 2, size, &leaf, &proof, &made.tail.root()), Ok(()));
        let old = size.div_ceil(2);
        let proof = consistency(&hashes, old, size).unwrap();
        let was = Edge::read(old, &hashes).unwrap().root();
        assert_eq!(verify_consistency(old, size, &was, &made.tail.root(), &proof), Ok(()));
    }
}

#[test]
fn what_is_missing_is_named() {
    let made = made(2, 300);
    let whole = exported(&made);
    for path in whole.0.keys() {
        let mut files = whole.clone();
        files.0.remove(path);
        let report = verify(&files, &made.file.trust()).unwrap();
        assert!(!report.is_proven(), "{path}");
        let named = |problem: &Problem| matches!(problem, Problem::Tile { path: named } if named == path);
        match path.as_str() {
            "checkpoint" => assert!(matches!(report.problems[0], Problem::Checkpoint(_))),
            path if path.starts_with("tile/entries/") => {
                assert!(
                    report.problems.iter().any(|problem| matches!(problem, Problem::Missing { .. })),
                    "{path}"
                );
            }
            _ => assert!(report.problems.iter().any(named), "{path}: {:?}", report.problems),
        }
    }
}

/// A checkpoint that claims more leaves than anybody has: the end of what is there is the end of the work.
#[test]
fn a_size_that_lies_costs_nothing() {
    let made = made(1, 3);
    let mut files = exported(&made);
    let note = made.note().replace("\n4\n", "\n4611686018427387904\n");
    files.0.insert(CHECKPOINT.into(), note.into_bytes());
    let report = verify(&files, &made.file.trust()).unwrap();
    assert!(!report.is_proven());
    assert_eq!(report.size, 0);
}

#[test]
fn leaves_that_were_deleted_are_missing_and_the_others_are_proven() {
    let mut made = made(2, 300);
    let rows = vec![(1, 279)];
    let pruned = Box::new(crate::leaf::Pruned { rows, ..crate::leaf::Pruned::default() });
    made.leaves.extend(made.tail.append(crate::tail::tests::time(100_000_000), crate::Event::Pruned(pruned)));
    let host = crate::tail::tests::host();
    made.notes.push((made.tail.size(), made.tail.checkpoint(&host, &made.epoch).unwrap()));
    let files = exported_without(&made, 1..280);
    assert!(files.0.contains_key("waxseal/entries/000") && files.0.contains_key("waxseal/entries/001"));
    assert!(files.0.contains_key("tile/entries/002.p/91"), "{:?}", files.0.keys());
    let report = verify(&files, &made.file.trust()).unwrap();
    assert!(report.is_proven(), "{:?}", report.problems);
    assert_eq!(report.deleted, 279);
    let files = exported_without(&made, 1..281);
    let report = verify(&files, &made.file.trust()).unwrap();
    assert_eq!(report.problems, [Problem::Missing { from: 280, end: 281 }]);
    assert_eq!(report.proven, made.tail.size());
}

#[test]
fn remains_have_one_form() {
    assert_eq!(remains(&[0, 0, 1, 7, 3, 0, 0], 4), Some(vec![(0, &[7][..]), (3, &[])]));
    assert_eq!(remains(&[], 4), Some(Vec::new()));
    for bad in [&[0][..], &[0, 0, 1], &[4, 0, 0], &[1, 0, 0, 1, 0, 0], &[1, 0, 0, 0, 0, 0]] {
        assert_eq!(remains(bad, 4), None, "{bad:?}");
    }
    assert_eq!(entries(&[0, 1, 7, 0, 0], 2), Some(vec![&[7][..], &[]]));
    for bad in [&[0, 1, 7][..], &[0, 1, 7, 0], &[0, 1, 7, 0, 0, 0], &[0, 9, 7, 0, 0]] {
        assert_eq!(entries(bad, 2), None, "{bad:?}");
    }
}
