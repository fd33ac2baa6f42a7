//! fanotify in its mode of file handles: the kernel's word on what was touched, where, under which name, by whom.
//!
//! In: filesystems or single inodes to mark. Out: [`Event`]s, as the kernel queued them, and what their handles
//! stand for. The crate `libc` has the two calls; everything else here comes from the kernel's header
//! `include/uapi/linux/fanotify.h` and from `fanotify(7)`.

mod abi;
mod btrfs;
mod group;
mod parse;
mod queue;
mod resolve;

pub use abi::*;
pub use btrfs::top_level;
pub use group::{Batch, Buffer, Group, GroupError, MarkError, Reports};
pub use parse::{Event, Events, FilesystemError, Handle, Malformed, Renaming};
pub use resolve::{Located, ResolveError, Resolver};
