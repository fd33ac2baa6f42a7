//! Digest speed of one processor: one stream, many streams, small messages, each backend beside the libraries.
//!
//! `cargo bench -p waxseal-hash` prints gigabytes (10^9 bytes) a second: of the fastest of many runs, which other
//! work on the machine disturbs least, and of the median.
#![allow(missing_docs, clippy::print_stdout, reason = "a benchmark")]

use sha2::Digest as _;
use std::hint::black_box;
use std::time::{Duration, Instant};
use waxseal_hash::{Backend, Sha256};

/// What a reader hands over per file and turn, in bytes.
const PIECE: usize = 64 * 1024;

/// The median small file of the reference workload, in bytes.
const SMALL: usize = 2560;

/// Small messages in one batch.
const BATCH: usize = 200;

/// How long each row is measured.
const TIME: Duration = Duration::from_millis(150);

fn main() {
    println!("fastest backend here: {}", Backend::detect().name());
    println!("{:<44} {:>8} {:>8}", "GB/s", "fastest", "median");
    libraries();
    for backend in Backend::ALL.into_iter().filter(|backend| backend.is_supported()) {
        for count in [1, 2, 3, 4, 6, 8, 9, 10, 11, 12, 14, 16] {
            streams(backend, count);
        }
        small_messages(backend);
    }
}

/// Measures `work`, which handles `bytes` bytes, and prints a row.
fn row(name: &str, bytes: usize, mut work: impl FnMut()) {
    let mut times = Vec::new();
    let start = Instant::now();
    while start.elapsed() < TIME {
        let start = Instant::now();
        work();
        times.push(start.elapsed());
    }
    times.sort_unstable();
    let speed = |time: Duration| bytes as f64 / time.as_secs_f64() / 1e9;
    println!("{name:<44} {:>8.2} {:>8.2}", speed(times[0]), speed(times[times.len() / 2]));
}

fn pieces(count: usize, length: usize) -> Vec<Vec<u8>> {
    (0..count).map(|at| (0..length).map(|i| (i * 31 + at * 7) as u8).collect()).collect()
}

fn libraries() {
    let piece = &pieces(1, PIECE)[0];
    let mut stream = sha2::Sha256::new();
    row("sha2, SHA-256, one stream", PIECE, || stream.update(black_box(piece)));
    let mut stream = Sha256::new();
    row("ours, SHA-256, one stream", PIECE, || stream.update(black_box(piece)));
    let mut stream = sha2::Sha512::new();
    row("sha2, SHA-512, one stream", PIECE, || stream.update(black_box(piece)));
    for length in [SMALL, PIECE] {
        row(&format!("blake3, messages of {length} bytes"), length, || {
            black_box(blake3::hash(black_box(&piece[..length])));
        });
    }
    row(&format!("sha2, SHA-256, messages of {SMALL} bytes"), SMALL, || {
        black_box(sha2::Sha256::digest(black_box(&piece[..SMALL])));
    });
}

fn streams(backend: Backend, count: usize) {
    let pieces = pieces(count, PIECE);
    let mut streams = vec![Sha256::new(); count];
    let mut jobs: Vec<_> = streams.iter_mut().zip(&pieces).map(|(s, p)| (s, p.as_slice())).collect();
    let name = format!("{}, {count} streams, pieces of {PIECE} bytes", backend.name());
    row(&name, count * PIECE, || backend.update_many(black_box(&mut jobs)));
}

/// A batch of messages of one length, and one of lengths from nothing to twice that.
fn small_messages(backend: Backend) {
    let all = pieces(BATCH, 2 * SMALL);
    let mut digests = Vec::new();
    for mixed in [false, true] {
        let messages: Vec<&[u8]> = (all.iter().enumerate())
            .map(|(at, message)| &message[..if mixed { at * 7919 % (2 * SMALL) } else { SMALL }])
            .collect();
        let bytes = messages.iter().map(|message| message.len()).sum();
        let lengths = if mixed { format!("0..{}", 2 * SMALL) } else { SMALL.to_string() };
        let name = format!("{}, messages of {lengths} bytes", backend.name());
        row(&name, bytes, || backend.digest_many(black_box(&messages), &mut digests));
    }
}
