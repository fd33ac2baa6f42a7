//! What the scenario tests stand on: a machine with its own state, the real program, real filesystems.
//!
//! In: a story (how the disk looks, what happens to it). Out: what the program printed, parsed and compared.
//! Nothing here knows the program from within: it is run as people run it.

#![allow(clippy::disallowed_methods, reason = "tests make, change and remove their own files")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a harness that cannot go on ends its test")]
#![allow(clippy::print_stderr, reason = "shown by the test runner when a test fails")]

mod binary;
mod expect;
pub mod files;
mod fuse;
mod machine;
mod mischief;
mod mounts;
mod power;
mod report;
mod schema;
mod shell;
mod skip;
mod story;
pub mod tools;
pub mod torture;
mod watching;
pub mod witness;

pub use binary::{waxseal, waxseal_verify};
pub use expect::{Expect, mismatch};
pub use fuse::{Dead, Fuse};
pub use machine::{Machine, Output, Running, toml_string, watch};
pub use mischief::{Ends, meanwhile};
pub use mounts::{Fs, Mounted, for_each_filesystem};
pub use power::Powered;
pub use report::{Change, Report};
pub use schema::Schemas;
pub use shell::Shell;
pub use skip::{is_root, skip};
pub use story::{Place, Story};
pub use watching::{Unread, Watching, until};
