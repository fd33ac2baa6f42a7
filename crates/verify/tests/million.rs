//! How long a million leaves take. Not part of the suite; run it with
//! `cargo test --release -p waxseal-verify --test million -- --ignored --nocapture`, and TMPDIR on a tmpfs.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "tests make their own files, and fail where that fails"
)]

#[allow(dead_code, reason = "each test uses a part")]
mod made;

use made::Log;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};
use waxseal_ledger::tiles::{Exporter, Put};

struct Directory(PathBuf);

impl Put for Directory {
    type Error = std::io::Error;

    fn put(&mut self, path: &str, bytes: &[u8]) -> std::io::Result<()> {
        let path = self.0.join(path);
        fs::create_dir_all(path.parent().unwrap())?;
        fs::write(path, bytes)
    }
}

#[test]
#[ignore = "measures; takes a minute and 300 MB"]
fn a_million_leaves() {
    let home = tempfile::tempdir().unwrap();
    let mut log = Log::begin();
    fs::write(home.path().join("kept"), log.file.to_string()).unwrap();
    let mut files = Directory(home.path().join("log"));
    let mut exporter = Exporter::new(&mut files);
    let (mut appending, mut bytes) = (Duration::ZERO, 0);
    while log.tail.size() < 1_000_000 {
        for leaf in log.leaves.drain(..) {
            bytes += leaf.bytes.len();
            exporter.leaf(Some(&leaf.bytes), leaf.hash).unwrap();
        }
        // An epoch of 15 minutes with more than one finding a second.
        let start = Instant::now();
        log.turn();
        log.grow(999);
        appending += start.elapsed();
    }
    log.leaves.drain(..).for_each(|leaf| exporter.leaf(Some(&leaf.bytes), leaf.hash).unwrap());
    exporter.finish(&log.checkpoint()).unwrap();
    let size = log.tail.size();
    println!("{size} leaves of {} bytes each, appended in {appending:?}", bytes as u64 / size);
    for _ in 0..3 {
        let start = Instant::now();
        let mut command = Command::new(env!("CARGO_BIN_EXE_waxseal-verify"));
        let output =
            command.args(["--verification", "kept", "log"]).current_dir(home.path()).output().unwrap();
        println!("verified in {:?}", start.elapsed());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
}
