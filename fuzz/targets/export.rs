//! Exports of the log with some bytes changed: the input is a list of file, place and value. Only the export that was written
//! is proven.
#![no_main]

use std::collections::BTreeMap;
use std::sync::LazyLock;
use waxseal_ledger::leaf::LeafText;
use waxseal_ledger::tiles::{self, Exporter};
use waxseal_ledger::verify::Trust;
use waxseal_ledger::{EpochKey, Event, KeyFile, SigningKey, Tail, VerificationFile};
use waxseal_model::Timestamp;

type Files = BTreeMap<String, Vec<u8>>;

static MADE: LazyLock<(Files, Trust)> = LazyLock::new(|| make().expect("the keys of the tests"));

fn make() -> Option<(Files, Trust)> {
    let host: SigningKey = KeyFile::parse(include_str!("../plain.key")).ok()?.unlock(None).ok()?;
    let origin = host.verifier_key().name().clone();
    let (first, second) = (EpochKey::generate(&origin, 0).ok()?, EpochKey::generate(&origin, 1).ok()?);
    let time = Timestamp::new(1_767_225_600, 0);
    let (mut tail, begun) = Tail::begin(&host, &first, time).ok()?;
    let keys = (host.verifier_key().clone(), first.verifier_key().clone());
    let file = VerificationFile::new(keys.0, keys.1, Vec::new(), &tail.checkpoint(&host, &first).ok()?).ok()?;
    let mut leaves = vec![begun];
    for open in 0..258 {
        leaves.extend(tail.append(time, Event::Heartbeat { watching: 300, open, backend: LeafText::default() }));
    }
    leaves.extend(tail.turn(&first, &second, time).ok()?);
    let mut files = Files::default();
    let mut exporter = Exporter::new(&mut files);
    for leaf in &leaves {
        exporter.leaf(Some(&leaf.bytes), leaf.hash).ok()?;
    }
    exporter.finish(&tail.checkpoint(&host, &second).ok()?).ok()?;
    Some((files, file.trust()))
}

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let (original, trust) = &*MADE;
    let mut files = original.clone();
    for [file, high, low, value] in input.as_chunks::<4>().0 {
        let count = files.len();
        let Some(bytes) = files.values_mut().nth(usize::from(*file) % count) else { continue };
        let at = usize::from(u16::from_be_bytes([*high, *low])) % (bytes.len() + 1);
        match bytes.get_mut(at) {
            Some(byte) => *byte = *value,
            None => bytes.push(*value),
        }
    }
    let Ok(report) = tiles::verify(&files, trust);
    assert_eq!(report.is_proven(), files == *original);
});
