//! The words in which a watcher is asked and answers, the same on every system.

pub mod coverage;
pub mod hint;
pub mod touch;

use crate::errno::Errno;
use std::path::PathBuf;
use waxseal_model::RawPath;

/// What is to be watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchRoot {
    /// A file or directory, existing or not. Links on the way to it are followed; a link at its end is watched itself.
    pub path: RawPath,
    /// Whether filesystems mounted below it are watched as well.
    pub cross_filesystems: bool,
}

/// How to watch.
#[derive(Debug, Clone)]
pub struct Options {
    /// How many events each filesystem's queue holds before events are lost: 2 to 4,194,304, some 128 bytes of kernel
    /// memory each when full. More than the system's own limit takes the right to change that limit for a moment.
    pub queue_limit: usize,
    /// A directory for a canary, such as the state directory: when a filesystem that holds it is marked, a file is made
    /// and removed there, and fanotify is only relied on when that is seen. [`Watcher::catch_up`] makes its files there.
    pub canary_dir: Option<PathBuf>,
    /// Directories below the roots that raise no hints, such as the state directory. A path as the roots give it.
    pub ignored: Vec<RawPath>,
    /// Files that this process itself writes all the time, such as its database: that their content is written raises no
    /// event, where the kernel can leave that out. That somebody closes them after writing does.
    pub own_files: Vec<PathBuf>,
    /// Whether hints have descriptors of processes. Each costs a microsecond and an open file while it is kept.
    pub pidfds: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            queue_limit: 1 << 20,
            canary_dir: None,
            ignored: Vec::new(),
            own_files: Vec::new(),
            pidfds: false,
        }
    }
}

/// Why there can be no watcher, or not any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WatchError {
    /// The mount table cannot be read.
    #[error("the mount table cannot be read (is /proc mounted?): {}", std::io::Error::from(*.0))]
    MountTable(Errno),
    /// A root, or a directory on the way to it, could not be looked at, for want of memory or open files.
    #[error("a watched path cannot be looked at: {}", std::io::Error::from(*.0))]
    Root(Errno),
    /// Waiting failed.
    #[error("cannot wait for events: {}", std::io::Error::from(*.0))]
    Wait(Errno),
}

/// Why [`Watcher::wait`] returned; neither when the time was up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Wake {
    /// There is something to [`Watcher::read`].
    pub events: bool,
    /// [`Waker::wake`] was called.
    pub woken: bool,
}
