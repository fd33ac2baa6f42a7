//! What watches what, and what it cannot see.

use waxseal_model::RawPath;

/// How changes of a part of a root are noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Backend {
    /// fanotify with a mark on the whole filesystem.
    Fanotify,
    /// inotify with a watch on every directory.
    Inotify,
    /// Not at all: only scans find changes there.
    Polling,
}

impl Backend {
    /// The name that people and machines are told.
    pub fn name(self) -> &'static str {
        match self {
            Backend::Fanotify => "fanotify",
            Backend::Inotify => "inotify",
            Backend::Polling => "polling",
        }
    }
}

/// How a root, or the part of it that lies on one mount, is watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coverage {
    /// The root, as given.
    pub root: RawPath,
    /// The root again, or a place below it where something else is mounted.
    pub place: RawPath,
    /// What watches it.
    pub backend: Backend,
    /// Whether an event was seen to arrive from its filesystem when the watch began.
    pub tested: bool,
    /// What it does not see, in words; only scans find these changes. A reason for not using a better backend is
    /// among them.
    pub blind: Vec<String>,
}

/// Kernel-events, section 1.3.
const EVERYWHERE: &[&str] = &[
    "stores through a shared memory map, until it is unmapped",
    "asynchronous writes (Linux AIO), until the file is closed",
    "writes to a loop device whose backing file is watched, until it is detached",
    "inode flags (chattr) and project ids",
    "writes to the device below the filesystem",
];
const INOTIFY: &[&str] =
    &["writes through a hard link that lies outside of the root", "which process made a change"];

pub(super) fn blind(backend: Backend, more: impl IntoIterator<Item = String>) -> Vec<String> {
    let own: &[&[&str]] = match backend {
        Backend::Fanotify => &[EVERYWHERE],
        Backend::Inotify => &[EVERYWHERE, INOTIFY],
        Backend::Polling => &[&["every change, until the next scan"]],
    };
    more.into_iter().chain(own.iter().copied().flatten().map(|text| (*text).to_owned())).collect()
}
