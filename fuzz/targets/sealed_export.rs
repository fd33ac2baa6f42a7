//! Sealed exports with some bytes changed: the input is a list of places and values. No record is given out without its hash,
//! and nothing but words that nobody signs may differ in one that passes.
#![no_main]

use std::sync::LazyLock;
use waxseal_ledger::sealed_export::{Head, Writer};
use waxseal_ledger::{KeyFile, Seal, SealedExport, SigningKey, directory_hash, rules_hash};
use waxseal_model::{Digest, Timestamp};

struct Made {
    key: SigningKey,
    records: Vec<Vec<u8>>,
    file: Vec<u8>,
}

static MADE: LazyLock<Made> = LazyLock::new(|| make().expect("the key of the tests"));

fn make() -> Option<Made> {
    let key = KeyFile::parse(include_str!("../plain.key")).ok()?.unlock(None).ok()?;
    let records: Vec<Vec<u8>> = (0..70u8).map(|n| vec![n; usize::from(n % 9) + 1]).collect();
    let hashes: Vec<Digest> = records.iter().map(|record| directory_hash(record)).collect();
    let seal = Seal {
        origin: key.verifier_key().name().clone(),
        generation: 1,
        root: *hashes.first()?,
        entries: 1,
        time: Timestamp::new(1_767_225_600, 0),
        previous: None,
        rules: rules_hash("rules"),
    };
    let head = Head {
        key: key.verifier_key().clone(),
        seal: seal.sign(&[&key]),
        rules: "rules".into(),
        who: String::new(),
        note: String::new(),
    };
    let lengths = hashes.iter().zip(&records).map(|(hash, record)| (*hash, record.len() as u64)).collect();
    let mut writer = Writer::begin(Vec::new(), &head, lengths).ok()?;
    while let Some(next) = writer.next() {
        let nth = hashes.iter().position(|hash| *hash == next)?;
        writer.push(records.get(nth)?).ok()?;
    }
    let file = writer.finish().ok()?;
    Some(Made { key, records, file })
}

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let Made { key, records, file } = &*MADE;
    // The bytes as a file of their own.
    let _ = SealedExport::open(input).map(|export| export.check_records(|_| ()));
    let mut bytes = file.clone();
    for [high, low, value] in input.as_chunks::<3>().0 {
        let at = usize::from(u16::from_be_bytes([*high, *low]));
        match bytes.get_mut(at) {
            Some(byte) => *byte = *value,
            None if at % 2 == 0 => bytes.push(*value),
            None => bytes.truncate(bytes.len().saturating_sub(1)),
        }
    }
    let Ok(export) = SealedExport::open(&bytes[..]) else { return };
    for record in records {
        let hash = directory_hash(record);
        assert!(export.record(&hash).is_ok_and(|found| found == *record) || bytes != *file);
    }
    let passes = export.head().verify(&[key.verifier_key().clone()]).is_ok() && export.check_records(|_| ()).is_ok();
    // The file's own key is named, not believed.
    let named = export.head().key == *key.verifier_key();
    assert!(!passes || !named || bytes == *file);
});
