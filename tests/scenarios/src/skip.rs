//! Saying aloud what could not be tested here.

use std::env;
use std::fs::OpenOptions;
use std::io::Write;

/// Names the running test and why it, or a part of it, cannot run here: to the test's output, and to the file
/// that `cargo xtask test` reads for its closing line.
pub fn skip(why: &str) {
    let program = env::args().next().unwrap_or_default();
    let stem =
        program.rsplit('/').next().unwrap_or_default().split('-').next().unwrap_or_default().to_owned();
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("?");
    eprintln!("SKIPPED: {stem}::{test}: {why}");
    if let Some(file) = env::var_os("WAXSEAL_SKIPS") {
        let mut file = OpenOptions::new().append(true).create(true).open(file).expect("the list of skips");
        file.write_all(format!("{stem}::{test}: {why}\n").as_bytes()).expect("the list of skips");
    }
}

/// Whether the tests run as root: many attributes can only be set by it.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
