//! Who wrote, asked of the real kernel: short-lived processes by the thousand, each known, and none taken for another.
//!
//! Needs root, fanotify and BPF. What cannot be had here is skipped, with a line that says so.
#![cfg(target_os = "linux")]
#![allow(clippy::disallowed_methods, reason = "tests make their own files")]
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by panicking and says what it skips"
)]

mod audit;
mod fixture;
mod losses;
mod reuse;
mod stories;
mod writers;
