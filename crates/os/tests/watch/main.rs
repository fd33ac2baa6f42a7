//! Watching real filesystems: what happens in them must be heard.
//!
//! Most tests need root for their mounts and for fanotify. What cannot be had here is skipped, with a line that says so.
#![allow(clippy::disallowed_methods, reason = "tests make their own files")]
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by panicking and says what it skips"
)]

mod cookies;
mod fixture;
mod groups;
mod layers;
mod limits;
mod mounts;
mod names;
mod roots;
mod ways;
