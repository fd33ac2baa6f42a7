//! inotify, for filesystems that cannot be marked as a whole: one kernel watch for each directory.
//!
//! In: directories. Out: what happened to their names. [`Tree`] keeps a whole tree watched while directories in it
//! come, go and move.

#[cfg(test)]
mod tests;
mod tree;
mod walk;

pub use tree::{Report, Tree};

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use waxseal_model::RawPath;

/// Names that come, go and move in a directory, and what happens to the directory itself.
pub(crate) const NAMES: WatchFlags = WatchFlags::CREATE
    .union(WatchFlags::DELETE)
    .union(WatchFlags::MOVED_FROM)
    .union(WatchFlags::MOVED_TO)
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::MOVE_SELF);
/// Everything that can change a file state.
pub(crate) const ALL: WatchFlags =
    NAMES.union(WatchFlags::MODIFY).union(WatchFlags::CLOSE_WRITE).union(WatchFlags::ATTRIB);

/// One event, owned.
#[derive(Debug)]
pub(crate) struct Raw {
    pub wd: i32,
    pub flags: ReadFlags,
    pub cookie: u32,
    /// Absent for what happened to the watched directory itself.
    pub name: Option<Box<[u8]>>,
}

/// One queue with its watches.
#[derive(Debug)]
pub(crate) struct Instance(OwnedFd);

impl Instance {
    pub fn new() -> Result<Instance, Errno> {
        inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).map(Instance)
    }

    /// Watches an open directory (`O_PATH` will do): exactly this one, whatever its path leads to by now. What is
    /// watched there already stays watched.
    ///
    /// Always added: where a mask is replaced, the kernel sets it to nothing for a moment, and what happens in that
    /// moment is lost (`inotify_update_existing_watch`; measured: 995 of 800,000 events).
    pub fn add(&self, dir: BorrowedFd<'_>, what: WatchFlags) -> Result<i32, Errno> {
        let path = format!("/proc/self/fd/{}", dir.as_raw_fd());
        inotify::add_watch(&self.0, path, what | WatchFlags::ONLYDIR | WatchFlags::MASK_ADD)
    }

    /// Has names that are made in a directory put into the queue as well. Where that cannot be had, nothing is said: a
    /// queue that is empty proves as much.
    pub fn hear_names_made(&self, dir: BorrowedFd<'_>) {
        let _ = self.add(dir, WatchFlags::CREATE);
    }

    /// Takes a watch away; one that is gone already is no error.
    pub fn remove(&self, wd: i32) {
        let _ = inotify::remove_watch(&self.0, wd);
    }

    /// Adds one bufferful of events to `out`, without waiting; false when there was none.
    pub fn read(&self, out: &mut Vec<Raw>) -> Result<bool, Errno> {
        let mut buffer = [MaybeUninit::uninit(); 32 * 1024];
        let mut reader = Reader::new(&self.0, &mut buffer);
        loop {
            match reader.next() {
                Ok(event) => out.push(Raw {
                    wd: event.wd(),
                    flags: event.events(),
                    cookie: event.cookie(),
                    name: event.file_name().map(|name| name.to_bytes().into()),
                }),
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => return Ok(false),
                Err(errno) => return Err(errno),
            }
            if reader.is_buffer_empty() {
                return Ok(true);
            }
        }
    }

    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Opens a directory by its path, component by component, following no link: so no path is too long, and what is
/// opened is what the path names without links.
pub(crate) fn open_path(path: &RawPath) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let root = rustix::fs::open("/", flags, Mode::empty())?;
    open_below(root, path.as_bytes())
}

pub(crate) fn open_below(mut dir: OwnedFd, path: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    for part in path.split(|b| *b == b'/').filter(|part| !part.is_empty()) {
        dir = rustix::fs::openat(&dir, part, flags, Mode::empty())?;
    }
    Ok(dir)
}
