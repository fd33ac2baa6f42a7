//! From disk to observations: what is there now, and where could not be looked.
//!
//! In: descriptors and names (`os`), digests (`hash`). Out: entries with their file states. What they mean is
//! decided elsewhere, by the [`Visitor`] that a scan is given.

pub mod actors;
pub mod content;
pub mod entry;
pub mod executables;
pub mod packages;
pub mod place;
pub mod probe;
pub mod put;
mod read;
pub mod scan;
pub mod sums;
pub mod unpack;

pub use entry::{Entry, Look, Problem};
pub use scan::{Node, Options, Progress, Root, Visitor, scan};
pub use waxseal_hash::Algorithms;
pub use waxseal_os::accounts::Accounts;
pub use waxseal_os::clock::now;
pub use waxseal_os::files::FileError;
pub use waxseal_os::limits::{let_code_go, thread_cpu_time};
pub use waxseal_os::{control, guard, priority, process, watcher as watch};
