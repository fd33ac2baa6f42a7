use super::*;
use crate::key::SigningKey;
use crate::tree::directory_hash;
use crate::vkey::Name;
use proptest::prelude::*;
use waxseal_model::Timestamp;

const RULES: &str = "[[watch]]\npaths = [\"/etc\"]\n";

fn key() -> SigningKey {
    SigningKey::from_seed(Name::new("waxseal/test").unwrap(), &zeroize::Zeroizing::new([7; 32]))
}

fn head(root: Digest) -> Head {
    let key = key();
    let seal = Seal {
        origin: key.verifier_key().name().clone(),
        generation: 3,
        root,
        entries: 12,
        time: Timestamp::new(1_767_225_600, 0),
        previous: None,
        rules: rules_hash(RULES),
    };
    Head {
        key: key.verifier_key().clone(),
        seal: seal.sign(&[&key]),
        rules: RULES.into(),
        who: "root".into(),
        note: "why\nnot".into(),
    }
}

fn written(records: &[Vec<u8>]) -> Vec<u8> {
    let lengths = records.iter().map(|record| (directory_hash(record), record.len() as u64)).collect();
    let root = records.first().map_or([0; 32], |record| directory_hash(record));
    let mut writer = Writer::begin(Vec::new(), &head(root), lengths).unwrap();
    while let Some(hash) = writer.next() {
        let record = records.iter().find(|record| directory_hash(record) == hash).unwrap();
        writer.push(record).unwrap();
    }
    writer.finish().unwrap()
}

fn records(count: u32) -> Vec<Vec<u8>> {
    (0..count).map(|n| [vec![1; n as usize % 50], n.to_be_bytes().to_vec()].concat()).collect()
}

/// Everything that is in a file, or why not.
fn whole(bytes: &[u8], wanted: &[Digest]) -> Result<Vec<Vec<u8>>, ExportError> {
    let export = SealedExport::open(bytes)?;
    export.head().verify(&[key().verifier_key().clone()])?;
    export.check_records(|_| ())?;
    wanted.iter().map(|hash| export.record(hash)).collect()
}

#[test]
fn what_was_written_comes_back() {
    for count in [0, 1, 2, 63, 64, 65, 129, 1000] {
        let mut records = records(count);
        // The same record twice is written once.
        records.extend(records.first().cloned());
        let file = written(&records);
        let hashes: Vec<Digest> = records.iter().map(|record| directory_hash(record)).collect();
        assert_eq!(whole(&file, &hashes).unwrap(), records, "{count}");
        let export = SealedExport::open(&file[..]).unwrap();
        assert_eq!(
            (export.head(), export.count()),
            (&head(hashes.first().copied().unwrap_or_default()), u64::from(count))
        );
        for unknown in [[0; 32], [0xff; 32], directory_hash(b"another")] {
            assert!(matches!(export.record(&unknown), Err(ExportError::Damaged(_))));
        }
    }
}

#[test]
fn every_flipped_bit_and_every_cut_is_noticed() {
    let file = written(&records(5));
    // Who and why are words that nobody signed; everything else is guarded.
    let words = file.windows(11).position(|at| at == b"rootwhy\nnot").unwrap();
    for bit in 0..file.len() * 8 {
        let mut bytes = file.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let result = whole(&bytes, &[]);
        assert!((words..words + 11).contains(&(bit / 8)) || result.is_err(), "bit {bit}");
    }
    for end in 0..file.len() {
        whole(&file[..end], &[]).unwrap_err();
    }
    whole(&[&file[..], b"x"].concat(), &[]).unwrap_err();
}

#[test]
fn a_lie_in_a_field_is_told_for_what_it_is() {
    let file = written(&records(5));
    let lie = |from: &str, to: &str| {
        let at = file.windows(from.len()).position(|bytes| bytes == from.as_bytes()).unwrap();
        let lied = [&file[..at], to.as_bytes(), &file[at + from.len()..]].concat();
        whole(&lied, &[]).unwrap_err().to_string()
    };
    let most = u64::MAX;
    for (from, to, said) in [
        ("waxseal-export-v1\n", "waxseal-export-v2\n", "newer version"),
        ("waxseal-export-v1\n", "waxseal-import-v1\n", "not a sealed export"),
        ("key waxseal/test+", "key waxseal/toast+", "key id"),
        ("seal ", "seal 0", "another"),
        ("rules ", "rules -", "another"),
        ("who 4", "who 18446744073709551615", "longer"),
        ("note 7", "note 99999", "cut short"),
        ("records 5 ", &format!("records {most} "), "cut short"),
        ("records 5 ", "records 4 ", "follows its end"),
        ("records 5 ", "records 6 ", "cut short"),
        ("records 5 ", "records 5 1", "cut short"),
        ("generation 3", "generation 4", "seal is broken"),
        ("entries 12", "entries 13", "seal is broken"),
        ("/etc", "/tmp", "rules are not"),
    ] {
        let error = lie(from, to);
        assert!(error.contains(said), "{from:?} to {to:?}: {error}");
    }
}

#[test]
fn another_key_than_the_one_that_sealed_is_refused() {
    let file = written(&records(1));
    let other = SigningKey::generate(Name::new("waxseal/test").unwrap()).unwrap();
    let export = SealedExport::open(&file[..]).unwrap();
    export.head().verify(&[other.verifier_key().clone()]).unwrap_err();
    export.head().verify(&[]).unwrap_err();
}

/// An index that is not in order, or points behind the end, leads nowhere else.
#[test]
fn an_index_that_lies_is_found() {
    let records = records(3);
    let file = written(&records);
    let export = SealedExport::open(&file[..]).unwrap();
    let index = export.index as usize;
    let hashes: Vec<Digest> = records.iter().map(|record| directory_hash(record)).collect();
    for (at, value) in [(32, 0xff), (39, 0), (72, 1), (79, 0), (119, 0)] {
        let mut bytes = file.clone();
        bytes[index + at] = value;
        whole(&bytes, &[]).unwrap_err();
        let export = SealedExport::open(&bytes[..]).unwrap();
        for hash in &hashes {
            if let Ok(record) = export.record(hash) {
                assert_eq!(directory_hash(&record), *hash);
            }
        }
    }
    let mut swapped = file.clone();
    let (first, second) = (file[index..index + 40].to_vec(), file[index + 40..index + 80].to_vec());
    swapped[index..index + 80].copy_from_slice(&[second, first].concat());
    whole(&swapped, &[]).unwrap_err();
}

proptest! {
    /// Whatever stands in a file: no panic, and no record without its hash.
    #[test]
    fn hostile_bytes_are_refused(
        lies in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        cut in prop::option::of(any::<prop::sample::Index>()),
        tail in prop::collection::vec(any::<u8>(), 0..50),
    ) {
        let records = records(70);
        let original = written(&records);
        let mut bytes = original.clone();
        for (at, value) in lies {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
            bytes.extend(tail);
        }
        if let Ok(export) = SealedExport::open(&bytes[..]) {
            for record in &records {
                let hash = directory_hash(record);
                if let Ok(found) = export.record(&hash) {
                    prop_assert_eq!(&found, record);
                }
            }
        }
        let words = original.windows(11).position(|at| at == b"rootwhy\nnot").unwrap();
        let same = bytes.len() == original.len()
            && bytes.iter().zip(&original).enumerate().all(|(at, (a, b))| a == b || (words..words + 11).contains(&at));
        if !same {
            prop_assert!(whole(&bytes, &[]).is_err());
        }
    }
}
