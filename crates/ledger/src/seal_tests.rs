use super::*;
use crate::keyfile::KeyFile;
use crate::note;
use crate::text::flipped;
use crate::tree::{directory_hash, rules_hash};
use proptest::prelude::*;
use waxseal_model::digest::unhex;
use waxseal_model::record::Reader;

const KEY: &str =
    "PRIVATE+KEY+waxseal.example/host/alpha+df59cc18+AQABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";
const OTHER: &str = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";

/// Made by an independent program; `docs/baseline-format.md` shows it.
const NOTE: &str = "waxseal.example/host/alpha
waxseal-baseline-v1
generation 1
root bed26272cfd9685ad0f7eabf654aca0f73bfa52aa41102e19da661f3b4449fa0
entries 1
time 2026-01-01T00:00:00.000000Z
previous none
rules 8a5278ffa5ee72b0ce7ededf00d7f26a2ff8c8f4a5fc6851fcb54f05fafb258f

— waxseal.example/host/alpha 31nMGMAH2sw/RrXdzYCr0olw59TZnOiKYg5iFm2nPy1GFmsiMPyKM0bIZb6/c0uKu3uqPOQzn1JApBsGkvU/DALCcwE=
";
const RECORD: &str = "01092f6574632f6d6f74640004a40300000301b960080180e4ad950d0080e4ad950df40398ea6e4f216f2fb4b69fff9b3a44842c38686ca685f3f55dc48c5d3fb1107be4";
const DOCS: &str = include_str!("../../../docs/baseline-format.md");

fn key(text: &str) -> SigningKey {
    KeyFile::parse(text).unwrap().unlock(None).unwrap()
}

fn keys() -> [VerifierKey; 1] {
    [key(KEY).verifier_key().clone()]
}

fn example() -> Seal {
    Seal::verify(NOTE, &keys()).unwrap()
}

#[test]
fn the_documented_example_is_true_in_every_part() {
    let record = unhex(RECORD).unwrap();
    let entries: Vec<_> = Reader::new(&record).unwrap().collect::<Result<_, _>>().unwrap();
    assert_eq!((entries.len(), entries[0].name), (1, b"/etc/motd".as_slice()));
    assert_eq!((entries[0].state.mode, entries[0].state.inode), (0o644, 12345));
    assert_eq!(entries[0].state.ctime, Timestamp::new(1_767_225_600, 500));
    assert_eq!(entries[0].state.digests.sha256, Some(rules_hash("hi\n")));

    let seal = example();
    assert_eq!(seal.origin.as_str(), "waxseal.example/host/alpha");
    assert_eq!((seal.generation, seal.entries, seal.previous), (1, 1, None));
    assert_eq!(seal.time, Timestamp::new(1_767_225_600, 0));
    assert_eq!(seal.root, directory_hash(&record));
    assert_eq!(seal.rules, rules_hash("[[watch]]\npaths = [\"/etc/motd\"]\n"));
    assert_eq!(seal.sign(&[&key(KEY)]), NOTE);

    for part in [NOTE, RECORD, &keys()[0].to_string(), KEY] {
        assert!(DOCS.contains(part), "docs/baseline-format.md lacks {part}");
    }
}

#[test]
fn a_wrong_key_is_refused() {
    let other = [key(OTHER).verifier_key().clone()];
    assert_eq!(Seal::verify(NOTE, &other), Err(SealError::Note(NoteError::Unsigned)));
    assert_eq!(Seal::verify(NOTE, &[]), Err(SealError::Note(NoteError::Unsigned)));
    assert!(Seal::verify(NOTE, &[other[0].clone(), keys()[0].clone()]).is_ok());
    // Signed anew by somebody else, under the right key's name.
    let forged = SigningKey::generate(keys()[0].name().clone()).unwrap();
    assert_eq!(Seal::verify(example().sign(&[&forged]), &keys()), Err(SealError::Note(NoteError::Unsigned)));
}

#[test]
fn a_tampered_field_is_refused() {
    for (from, to) in [
        ("root bed2", "root bed3"),
        ("generation 1", "generation 2"),
        ("entries 1", "entries 2"),
        ("previous none", "previous bed26272cfd9685ad0f7eabf654aca0f73bfa52aa41102e19da661f3b4449fa0"),
        ("rules 8a", "rules 8b"),
        ("2026-01", "2026-02"),
        ("host/alpha\nwax", "host/beta\nwax"),
    ] {
        let note = NOTE.replacen(from, to, 1);
        assert_ne!(note, NOTE);
        assert!(
            matches!(Seal::verify(&note, &keys()), Err(SealError::Note(NoteError::Invalid { .. }))),
            "{to}"
        );
    }
}

#[test]
fn the_baseline_of_another_machine_is_refused() {
    let (here, there) = (Name::new("waxseal.example/host/alpha").unwrap(), Name::for_host("beta"));
    assert_eq!(Seal::verify_for(&here, NOTE, &keys()), Ok(example()));
    let other = Seal { origin: there.clone(), ..example() }.sign(&[&key(KEY)]);
    assert!(Seal::verify(&other, &keys()).is_ok());
    assert_eq!(
        Seal::verify_for(&here, &other, &keys()),
        Err(SealError::OtherOrigin { expected: here, found: there })
    );
}

#[test]
fn what_the_key_signed_for_another_purpose_is_no_seal() {
    let text = NOTE.split_once("\n\n").unwrap().0.to_owned() + "\n";
    let cases = [
        "waxseal.example/host/alpha\n8\nXcnaeacGWamtVZy3Ad7ZoqudgjqtL0lgz+Nw7/RgQyg=\n".to_owned(),
        text.replace("baseline-v1", "baseline-v2"),
        text.replace("generation 1", "generation 01"),
        text.replace("generation 1", "generation  1"),
        text.replace("generation 1", "generation -1"),
        text.replace("entries 1", "entries 18446744073709551616"),
        text.replace("root bed2", "root BED2"),
        text.replace("root bed2", "root ed2"),
        text.replace("previous none", "previous None"),
        text.replace(".000000Z", "Z"),
        text.replace(".000000Z", ".0000000Z"),
        text.replace(".000000Z", ".000000+00:00"),
        text.replace("T00:00", " 00:00"),
        text.replace("alpha\n", "al pha\n"),
        text.replace("entries", "\nentries"),
        text.replace("previous none\n", ""),
        format!("{text}extra 1\n"),
        format!("\n{text}"),
        text.replace("none\nrules", "none\n\nrules"),
    ];
    for text in cases {
        let note = note::sign(&text, &[&key(KEY)]).unwrap();
        assert!(matches!(Seal::verify(&note, &keys()), Err(SealError::Malformed(_))), "{text}");
    }
}

#[test]
fn a_clock_beyond_all_years_still_seals() {
    for seconds in [i64::MIN, *TIMES.start(), 0, *TIMES.end(), i64::MAX] {
        let seal = Seal { time: Timestamp::new(seconds, 999_999_999), ..example() };
        let read = Seal::verify(seal.sign(&[&key(KEY)]), &keys()).unwrap();
        assert_eq!(read.time.seconds, seconds.clamp(*TIMES.start(), *TIMES.end()));
        assert_eq!(read.time.nanos, 999_999_000);
    }
}

#[test]
fn a_flipped_bit_is_refused() {
    for note in flipped(NOTE) {
        assert!(Seal::verify(&note, &keys()).is_err(), "{}", String::from_utf8_lossy(&note));
    }
}

proptest! {
    #[test]
    fn every_seal_is_read_back(
        host: String, generation: u64, root: [u8; 32], entries: u64, micros in -62_000_000_000_000_000i64..253_000_000_000_000_000,
        previous: Option<[u8; 32]>, rules: [u8; 32],
    ) {
        let (origin, time) = (Name::for_host(&host), Timestamp::from_micros(micros));
        let seal = Seal { origin, generation, root, entries, time, previous, rules };
        prop_assert_eq!(Seal::verify(seal.sign(&[&key(KEY)]), &keys()), Ok(seal));
    }

    #[test]
    fn text_that_is_read_is_the_text_that_would_be_written(line in 0..8usize, value in "[ -~]{0,20}|[a-z]{4,10} [0-9]{1,5}") {
        let text = NOTE.split_once("\n\n").unwrap().0;
        let mut lines: Vec<&str> = text.lines().collect();
        lines[line] = &value;
        let text = lines.join("\n") + "\n";
        if let Ok(seal) = Seal::parse(&text) {
            prop_assert_eq!(seal.text(), text);
        }
    }

    #[test]
    fn any_text_is_refused_without_panic(text: String) {
        prop_assert!(Seal::parse(&text).is_err());
    }
}
