//! Every backend of this machine against FIPS 180-4's vectors and the `sha2` and `blake3` crates.

use crate::backend::{Kernels, WideKernel};
use crate::{Algorithms, Backend, Digests, Hasher, Sha256, digest_many, update_hashers, update_many};
use proptest::prelude::*;
use sha2::Digest as _;

fn backends() -> impl Iterator<Item = Backend> {
    Backend::ALL.into_iter().filter(|backend| backend.is_supported())
}

/// The kernels of each backend, stepping down from the wide to the narrow ones at several numbers of streams.
fn kernels() -> impl Iterator<Item = Kernels> {
    backends().flat_map(|backend| {
        [1, 3, usize::MAX].map(|_fewest| {
            let mut kernels = backend.kernels();
            match &mut kernels.wide {
                #[cfg(target_arch = "x86_64")]
                WideKernel::Avx512 { fewest, .. } | WideKernel::Avx2 { fewest, .. } => *fewest = _fewest,
                WideKernel::None => {}
            }
            kernels
        })
    })
}

fn expected(message: &[u8]) -> [u8; 32] {
    sha2::Sha256::digest(message).into()
}

/// Bytes without a period that a lane mix-up could hide in.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut x = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        bytes.extend_from_slice(&x.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn check_digests(kernels: Kernels, messages: &[Vec<u8>]) {
    let mut digests = vec![None; messages.len()];
    let numbered = messages.iter().enumerate().map(|(at, message)| (message.as_slice(), at));
    kernels.digest_each(numbered, |at, digest| {
        assert_eq!(digests[at].replace(digest), None, "{kernels:?}: message {at} came twice");
    });
    for (at, (message, digest)) in messages.iter().zip(digests).enumerate() {
        let length = message.len();
        assert_eq!(digest, Some(expected(message)), "{kernels:?}: message {at} of {length} bytes");
    }
}

#[test]
fn the_standard_vectors() {
    let million = vec![b'a'; 1_000_000];
    let vectors: [(&[u8], &str); 4] = [
        (b"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        (b"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        (
            b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
        ),
        (&million, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"),
    ];
    for (message, digest) in vectors {
        let mut stream = Sha256::new();
        stream.update(message);
        assert_eq!(hex(&stream.finish()), digest);
        for backend in backends() {
            // Enough copies that the wide kernels run, and then the narrow ones.
            let mut digests = Vec::new();
            backend.digest_many(&[message; 19], &mut digests);
            assert!(digests.iter().all(|d| hex(d) == digest), "{}", backend.name());
        }
    }
}

#[test]
fn every_short_length_in_every_number_of_lanes() {
    for kernels in kernels() {
        for count in 1..=18 {
            for length in 0..=320 {
                let messages: Vec<_> = (0..count).map(|at| noise(at + 1, length)).collect();
                check_digests(kernels, &messages);
            }
        }
    }
}

#[test]
fn every_short_length_side_by_side() {
    let messages: Vec<_> = (0..=320).map(|length| noise(length as u64, length)).collect();
    for kernels in kernels() {
        check_digests(kernels, &messages);
    }
    for message in &messages {
        let mut stream = Sha256::new();
        stream.update(message);
        assert_eq!(stream.finish(), expected(message));
    }
}

#[test]
fn every_split_of_a_short_message() {
    let message = noise(5, 200);
    for kernels in kernels() {
        for cut in 0..=message.len() {
            let (left, right) = message.split_at(cut);
            let mut streams: Vec<_> = (0..17).map(|_| Sha256::new()).collect();
            for piece in [left, right] {
                kernels.update_each(streams.iter_mut().map(|stream| (stream, piece)));
            }
            for stream in streams {
                assert_eq!(stream.finish(), expected(&message), "{kernels:?} cut at {cut}");
            }
        }
    }
}

#[test]
fn each_backend_hands_every_digest_over_once() {
    let messages: Vec<_> = (0..100).map(|at| noise(at, (at as usize * 977) % 5000)).collect();
    for backend in backends() {
        let mut seen = vec![None; messages.len()];
        backend.digest_each(messages.iter().map(Vec::as_slice), |at, digest| {
            assert_eq!(seen[at].replace(digest), None, "number {at} came twice");
        });
        let slices: Vec<_> = messages.iter().map(Vec::as_slice).collect();
        let mut digests = vec![[7; 32]; 3];
        backend.digest_many(&slices, &mut digests);
        assert_eq!(digests.len(), messages.len());
        let mut streams = vec![Sha256::new(); messages.len()];
        let mut jobs: Vec<_> = streams.iter_mut().zip(slices).collect();
        backend.update_many(&mut jobs);
        for (((message, seen), digest), stream) in messages.iter().zip(seen).zip(digests).zip(streams) {
            assert_eq!(seen, Some(expected(message)), "{}", backend.name());
            assert_eq!(digest, expected(message), "{}", backend.name());
            assert_eq!(stream.finish(), expected(message), "{}", backend.name());
        }
    }
}

#[test]
fn nothing_to_do_is_fine() {
    for backend in backends() {
        backend.digest_each([], |_, _| panic!("no message, no digest"));
        backend.update_many(&mut []);
        let mut stream = Sha256::new();
        backend.update_many(&mut [(&mut stream, b"")]);
        assert_eq!(stream.finish(), expected(b""));
    }
}

#[test]
fn the_detected_backend_is_supported_and_stays() {
    let backend = Backend::detect();
    assert!(backend.is_supported());
    assert_eq!(Backend::detect(), backend);
    // Plain code is never chosen where there is an instruction for the purpose.
    assert!(backend != Backend::Portable || !Backend::ShaNi.is_supported());
    let mut digests = Vec::new();
    digest_many(&[b"abc", b""], &mut digests);
    assert_eq!(digests, [expected(b"abc"), expected(b"")]);
    let mut stream = Sha256::new();
    update_many(&mut [(&mut stream, b"abc")]);
    assert_eq!(stream.finish(), expected(b"abc"));
}

fn digests(message: &[u8], algorithms: Algorithms) -> Digests {
    Digests {
        sha256: expected(message),
        blake3: algorithms.blake3.then(|| *blake3::hash(message).as_bytes()),
        sha512: algorithms.sha512.then(|| sha2::Sha512::digest(message).into()),
    }
}

#[test]
fn hashers_give_every_digest_and_those_of_a_prefix() {
    let message = noise(9, 10_000);
    let (left, right) = message.split_at(4321);
    for (blake3, sha512) in [(false, false), (true, false), (false, true), (true, true)] {
        let algorithms = Algorithms { blake3, sha512 };
        let mut alone = Hasher::new(algorithms);
        let mut many = vec![Hasher::new(algorithms); 20];
        let mut prefixes = Vec::new();
        for piece in [left, right] {
            prefixes.clone_from(&many);
            alone.update(piece);
            let mut jobs: Vec<_> = many.iter_mut().map(|hasher| (hasher, piece)).collect();
            update_hashers(&mut jobs);
        }
        for hasher in many {
            assert_eq!(hasher.finish(), digests(&message, algorithms));
        }
        for hasher in prefixes {
            assert_eq!(hasher.finish(), digests(left, algorithms));
        }
        assert_eq!(alone.finish(), digests(&message, algorithms));

        let messages = [&message[..], left, right, b""];
        let mut seen = 0;
        algorithms.digest_each(messages, |at, found| {
            assert_eq!(found, digests(messages[at], algorithms));
            seen += 1;
        });
        assert_eq!(seen, messages.len());
    }
}

/// Lengths from nothing to 300 KiB, with many short ones and many at the edges of blocks.
fn length() -> impl Strategy<Value = usize> {
    prop_oneof![
        4 => 0..200_usize,
        2 => (0..60_usize, 0..3_usize).prop_map(|(blocks, more)| (blocks * 64 + more).saturating_sub(1)),
        3 => 0..6_000_usize,
        1 => 0..300_usize * 1024,
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn mixed_messages(lengths in prop::collection::vec(length(), 1..=40), seed: u64) {
        let messages: Vec<_> =
            lengths.iter().zip(0..).map(|(length, at)| noise(seed ^ at, *length)).collect();
        for kernels in kernels() {
            check_digests(kernels, &messages);
        }
    }

    /// Rounds of pieces, each of a random mix of streams, with the backends taking turns on the same streams.
    #[test]
    fn mixed_streams(
        rounds in prop::collection::vec(prop::collection::vec(prop::option::weighted(0.8, length()), 1..=40), 1..=4),
        seed: u64,
    ) {
        let kernels: Vec<_> = kernels().collect();
        let count = rounds.iter().map(Vec::len).max().unwrap_or(0);
        // Once with each alone, once with all in turn.
        for alone in (0..kernels.len()).map(Some).chain([None]) {
            let mut streams: Vec<_> = (0..count).map(|_| (Sha256::new(), sha2::Sha256::new())).collect();
            for (number, round) in rounds.iter().enumerate() {
                let pieces: Vec<_> = round.iter().zip(0..).map(|(length, at)| length.map(|l| noise(seed ^ at, l))).collect();
                let mut jobs = Vec::new();
                for ((ours, oracle), piece) in streams.iter_mut().zip(&pieces) {
                    if let Some(piece) = piece {
                        oracle.update(piece);
                        jobs.push((ours, piece.as_slice()));
                    }
                }
                kernels[alone.unwrap_or(number % kernels.len())].update_each(jobs.into_iter());
            }
            for (ours, oracle) in streams {
                prop_assert_eq!(ours.finish(), <[u8; 32]>::from(oracle.finalize()));
            }
        }
    }

    #[test]
    fn one_stream_in_random_pieces(pieces in prop::collection::vec(length(), 0..12), seed: u64) {
        let mut ours = Sha256::new();
        let mut oracle = sha2::Sha256::new();
        for (length, at) in pieces.into_iter().zip(0..) {
            let piece = noise(seed ^ at, length);
            ours.update(&piece);
            oracle.update(&piece);
        }
        prop_assert_eq!(ours.finish(), <[u8; 32]>::from(oracle.finalize()));
    }
}
