#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test that cannot go on ends")]

use super::*;
use proptest::prelude::*;
use std::io::Write;

fn sha(content: &[u8]) -> Digest {
    let mut hasher = Sha256::new();
    hasher.update(content);
    hasher.finish()
}

fn log() -> Vec<u8> {
    (0..9000)
        .flat_map(|n| format!("{n}: something happened on line {}\n", n * 7919 % 1000).into_bytes())
        .collect()
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

fn bzip2(content: &[u8]) -> Vec<u8> {
    let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::default());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

fn zstd(content: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(content, ruzstd::encoding::CompressionLevel::Fastest)
}

fn packed(content: &[u8]) -> [(Packing, Vec<u8>); 3] {
    [(Packing::Gzip, gzip(content)), (Packing::Bzip2, bzip2(content)), (Packing::Zstd, zstd(content))]
}

fn look(dir: &tempfile::TempDir, name: &str, content: &[u8]) -> (RawPath, FileState) {
    let file = dir.path().join(name);
    std::fs::write(&file, content).unwrap();
    let path = RawPath::new(file.to_str().unwrap().as_bytes());
    let state = crate::place::stat(&path, None).unwrap().unwrap();
    (path, state)
}

#[test]
fn every_packing_gives_the_digests_of_what_is_in_it() {
    let (dir, log) = (tempfile::tempdir().unwrap(), log());
    for (packing, bytes) in packed(&log) {
        assert_eq!(Packing::of(&bytes), Some(packing));
        let (path, state) = look(&dir, "log", &bytes);
        let lengths = [log.len() as u64, 5, 0, log.len() as u64 + 1];
        let found = prefixes(&path, &state, &lengths).unwrap().unwrap();
        let expected = [Some(sha(&log)), Some(sha(&log[..5])), Some(sha(b"")), None];
        assert_eq!(found.digests, expected, "{packing:?}");
        assert!(found.packed && found.still);
        assert_eq!((found.len, found.all), (log.len() as u64, sha(&log)));
    }
}

#[test]
fn a_file_that_is_cut_off_gives_its_beginning() {
    let (dir, log) = (tempfile::tempdir().unwrap(), log());
    let bytes = gzip(&log);
    let (path, state) = look(&dir, "log", &bytes[..bytes.len() / 2]);
    let found = prefixes(&path, &state, &[log.len() as u64]).unwrap().unwrap();
    assert!(found.len > 0 && found.len < log.len() as u64);
    assert_eq!(found.all, sha(&log[..found.len as usize]));
    assert_eq!(found.digests, [None]);
}

#[test]
fn a_plain_file_may_grow_but_not_be_another() {
    let dir = tempfile::tempdir().unwrap();
    let (path, mut state) = look(&dir, "log", b"one\ntwo\n");
    state.digests.sha256 = Some(sha(b"one\ntwo\n"));
    std::fs::OpenOptions::new()
        .append(true)
        .open(dir.path().join("log"))
        .unwrap()
        .write_all(b"three")
        .unwrap();
    let found = prefixes(&path, &state, &[4, 100]).unwrap().unwrap();
    assert_eq!(found.digests, [Some(sha(b"one\n")), None]);
    assert_eq!((found.len, found.all, found.packed), (8, sha(b"one\ntwo\n"), false));
    state.digests.sha256 = Some([0; 32]);
    assert_eq!(prefixes(&path, &state, &[4]).unwrap(), None);
}

#[test]
fn a_bomb_is_stopped_at_the_length_that_was_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let bomb = gzip(&vec![0; 32 << 20]);
    let (path, state) = look(&dir, "log", &bomb);
    let found = prefixes(&path, &state, &[1000]).unwrap().unwrap();
    assert_eq!((found.len, found.digests), (1000, vec![Some(sha(&[0; 1000]))]));
}

#[test]
fn empty_members_without_end_are_stopped_by_the_input() {
    let dir = tempfile::tempdir().unwrap();
    let members = gzip(b"").repeat(20_000);
    let end = [members, gzip(b"content")].concat();
    let (path, state) = look(&dir, "log", &end);
    let found = prefixes(&path, &state, &[7]).unwrap().unwrap();
    assert_eq!((found.len, found.digests), (0, vec![None]));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn junk_is_never_more_than_junk(
        packing in prop::sample::select(vec![Packing::Gzip, Packing::Zstd, Packing::Xz, Packing::Bzip2]),
        junk in prop::collection::vec(any::<u8>(), 0..2000),
    ) {
        let magic: &[u8] = match packing {
            Packing::Gzip => &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3],
            Packing::Zstd => &[0x28, 0xb5, 0x2f, 0xfd],
            Packing::Xz => b"\xfd7zXZ\0\0\x04\xe6\xd6\xb4\x46",
            Packing::Bzip2 => b"BZh91AY&SY",
        };
        let bytes = [magic, &junk].concat();
        let found = digest_directly(packing, &bytes);
        prop_assert!(found.len <= 1 << 20);
    }

    #[test]
    fn a_flipped_byte_gives_other_digests_or_none(at in any::<prop::sample::Index>(), flip in 1..=255_u8) {
        let log = &log()[..3000];
        for (packing, mut bytes) in packed(log) {
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            let found = digest_directly(packing, &bytes);
            prop_assert!(found.len <= 1 << 20);
        }
    }
}

/// Without the thread that turns a panic into nothing.
fn digest_directly(packing: Packing, bytes: &[u8]) -> Prefixes {
    match packing.open(bytes) {
        Ok(content) => digest(content, &[1 << 20], true),
        Err(_) => digest(std::io::empty(), &[1 << 20], true),
    }
}
