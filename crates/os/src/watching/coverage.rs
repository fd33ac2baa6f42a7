//! What watches what, and what it cannot see.

use waxseal_model::RawPath;

/// How changes of a part of a root are noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Backend {
    /// fanotify with a mark on the whole filesystem.
    Fanotify,
    /// inotify with a watch on every directory.
    Inotify,
    /// FSEvents (macOS), a stream for each root.
    FsEvents,
    /// `ReadDirectoryChangesW` (Windows), a directory handle for each root.
    ReadDirectoryChanges,
    /// Not at all: only scans find changes there.
    Polling,
}

impl Backend {
    /// The name that people and machines are told.
    pub fn name(self) -> &'static str {
        match self {
            Backend::Fanotify => "fanotify",
            Backend::Inotify => "inotify",
            Backend::FsEvents => "fsevents",
            Backend::ReadDirectoryChanges => "readdirectorychanges",
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
/// What both systems besides Linux have in common.
const NOTIFY: &[&str] = &[
    "stores through a shared memory map, until the system writes them back",
    "writes through a hard link that lies outside of the root",
    "which process made a change",
    "a rename of a directory further above the root than the one that holds it",
    "writes to the device below the filesystem",
];
const FSEVENTS: &[&str] = &["what came and went between two batches of events, which the system merges"];
const READ_DIRECTORY_CHANGES: &[&str] = &["alternate data streams"];

pub(crate) fn blind(backend: Backend, more: impl IntoIterator<Item = String>) -> Vec<String> {
    let own: &[&[&str]] = match backend {
        Backend::Fanotify => &[EVERYWHERE],
        Backend::Inotify => &[EVERYWHERE, INOTIFY],
        Backend::FsEvents => &[NOTIFY, FSEVENTS],
        Backend::ReadDirectoryChanges => &[NOTIFY, READ_DIRECTORY_CHANGES],
        Backend::Polling => &[&["every change, until the next scan"]],
    };
    more.into_iter().chain(own.iter().copied().flatten().map(|text| (*text).to_owned())).collect()
}
