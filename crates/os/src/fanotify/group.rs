//! A fanotify group: its queue, and the marks that fill it.

use super::abi::*;
use super::parse::Events;
use super::queue;
use rustix::io::Errno;
use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// Why a group could not be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GroupError {
    /// The process may not.
    #[error("fanotify is not permitted: run as root")]
    NotPermitted,
    /// The kernel has no fanotify that reports handles and names (before 5.9, or built without).
    #[error("this kernel has no fanotify that reports names (it needs Linux 5.9)")]
    Unsupported,
    /// The user has too many groups.
    #[error("too many fanotify groups are in use: raise fs.fanotify.max_user_groups")]
    TooMany,
    /// Anything else.
    #[error("fanotify cannot be used: {}", std::io::Error::from(*.0))]
    Os(Errno),
}

/// Why a mark could not be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MarkError {
    /// A subvolume of a btrfs: mark its top level instead ([`super::top_level`]).
    #[error("it is a subvolume of a btrfs")]
    BtrfsSubvolume,
    /// The filesystem has no lasting handles or no identity, so that it cannot be marked.
    #[error("this filesystem cannot be marked as a whole")]
    Unsupported,
    /// The process may not: marks on filesystems need `CAP_SYS_ADMIN` of the whole system.
    #[error("marking a filesystem is not permitted: run as root")]
    NotPermitted,
    /// The user has too many marks.
    #[error("too many fanotify marks are in use: raise fs.fanotify.max_user_marks")]
    TooMany,
    /// What was to be marked is not there any more.
    #[error("it does not exist any more")]
    Gone,
    /// Anything else.
    #[error("it cannot be marked: {}", std::io::Error::from(*.0))]
    Os(Errno),
}

impl From<Errno> for MarkError {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::XDEV => MarkError::BtrfsSubvolume,
            // ENODEV: a filesystem without an id of its own.
            Errno::OPNOTSUPP | Errno::NODEV | Errno::NOSYS => MarkError::Unsupported,
            Errno::PERM | Errno::ACCESS => MarkError::NotPermitted,
            Errno::NOSPC => MarkError::TooMany,
            Errno::NOENT | Errno::NOTDIR | Errno::STALE => MarkError::Gone,
            other => MarkError::Os(other),
        }
    }
}

/// What the records of a group tell beyond directory and name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reports {
    /// The object itself, also when a name is made or removed (Linux 5.17).
    pub targets: bool,
    /// A descriptor of the process (Linux 5.15; needs `CAP_SYS_ADMIN`).
    pub pidfds: bool,
}

/// A group. Closing it drops its queue and its marks.
#[derive(Debug)]
pub struct Group {
    fd: OwnedFd,
    reports: Reports,
    queue_limit: Option<u32>,
}

/// The buffer of one read: 32 KiB. Each record may hold a descriptor, so it also limits how many of those one read
/// makes (some 300).
#[derive(Debug)]
pub struct Buffer(Box<[u8]>);

impl Default for Buffer {
    fn default() -> Self {
        Buffer(vec![0; 32 * 1024].into())
    }
}

/// The events of one read; each owns its descriptor of a process.
pub type Batch<'b> = Events<'b, OwnedFd, fn(RawFd) -> OwnedFd>;

/// Bounds of the queue's length: 2^22 events are about half a gibibyte of kernel memory.
const QUEUE: std::ops::RangeInclusive<usize> = 2..=1 << 22;

impl Group {
    /// A group that reports directories, names and objects by their handles, with a queue of at most `queue_limit`
    /// events (kept within 2 and 2^22) where the system lets us choose. `pidfds` asks for descriptors of processes; what
    /// an older kernel or a missing right denies is left out, see [`Group::reports`].
    ///
    /// # Errors
    /// When there is no such group at all.
    pub fn new(queue_limit: usize, pidfds: bool) -> Result<Group, GroupError> {
        let limit = queue_limit.clamp(*QUEUE.start(), *QUEUE.end()) as u32;
        let (made, queue_limit) = queue::with_limit(limit, || best(pidfds));
        let (fd, reports) = made?;
        Ok(Group { fd, reports, queue_limit })
    }

    /// What the records tell.
    pub fn reports(&self) -> Reports {
        self.reports
    }

    /// How many events the queue holds at most; `None` when that could not be learned.
    pub fn queue_limit(&self) -> Option<u32> {
        self.queue_limit
    }

    /// Marks the filesystem of an open object (`O_PATH` will do): every change of it is reported, in whatever
    /// mount, mount namespace or container it is made. The mark holds no mount busy, and goes with the filesystem.
    ///
    /// # Errors
    /// See [`MarkError`].
    pub fn mark_filesystem(&self, object: BorrowedFd<'_>) -> Result<(), MarkError> {
        self.mark(FAN_MARK_FILESYSTEM, 0, object)
    }

    /// Marks one directory, with its children, or one file.
    ///
    /// # Errors
    /// See [`MarkError`].
    pub fn mark_inode(&self, object: BorrowedFd<'_>) -> Result<(), MarkError> {
        self.mark(FAN_MARK_INODE, FAN_EVENT_ON_CHILD | FAN_DELETE_SELF | FAN_MOVE_SELF, object)
    }

    /// Reports names that are made in an open directory, and nothing else of it.
    ///
    /// # Errors
    /// See [`MarkError`].
    pub fn mark_names_made(&self, dir: BorrowedFd<'_>) -> Result<(), MarkError> {
        Ok(self.add(FAN_MARK_ADD | FAN_MARK_INODE, FAN_CREATE, &through_proc(dir)?)?)
    }

    /// Leaves out that the content of an open file is written, as long as it exists; its closing is still reported.
    ///
    /// # Errors
    /// See [`MarkError`].
    pub fn ignore_content(&self, file: BorrowedFd<'_>) -> Result<(), MarkError> {
        let flags = FAN_MARK_ADD | FAN_MARK_INODE | FAN_MARK_IGNORED;
        Ok(self.add(flags, FAN_MODIFY, &through_proc(file)?)?)
    }

    /// Asks for as much as the kernel and the kind of mark know: `FAN_FS_ERROR` came with Linux 5.16,
    /// `FAN_RENAME` with 5.17.
    fn mark(&self, kind: u32, more: u64, object: BorrowedFd<'_>) -> Result<(), MarkError> {
        let base = FAN_MODIFY | FAN_CLOSE_WRITE | FAN_ATTRIB | FAN_CREATE | FAN_DELETE | FAN_ONDIR | more;
        let moved = FAN_MOVED_FROM | FAN_MOVED_TO;
        let masks = [base | FAN_RENAME | FAN_FS_ERROR, base | FAN_RENAME, base | moved];
        let path = through_proc(object)?;
        let mut outcome = Err(Errno::INVAL);
        for mask in masks {
            outcome = self.add(FAN_MARK_ADD | kind, mask, &path);
            if outcome != Err(Errno::INVAL) {
                break;
            }
        }
        Ok(outcome?)
    }

    #[allow(unsafe_code, reason = "fanotify_mark has no safe wrapper")]
    fn add(&self, flags: u32, mask: u64, path: &CString) -> Result<(), Errno> {
        // SAFETY: the descriptor is open, and the path is a C string that outlives the call.
        let result =
            unsafe { libc::fanotify_mark(self.fd.as_raw_fd(), flags, mask, libc::AT_FDCWD, path.as_ptr()) };
        if result == 0 { Ok(()) } else { Err(last_errno()) }
    }

    /// Reads what is queued, as much as the buffer holds, without waiting. `None` when there is nothing.
    ///
    /// # Errors
    /// As the kernel says; an interrupted read is repeated.
    pub fn read<'b>(&self, buffer: &'b mut Buffer) -> Result<Option<Batch<'b>>, Errno> {
        loop {
            match rustix::io::read(&self.fd, &mut *buffer.0) {
                Ok(0) | Err(Errno::AGAIN) => return Ok(None),
                Ok(len) => {
                    let filled = buffer.0.get(..len).unwrap_or_default();
                    return Ok(Some(Events::new(filled, own)));
                }
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
        }
    }

    /// The descriptor, to be polled for input.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// A path through /proc, since `fanotify_mark` takes no descriptor opened with `O_PATH`, and paths may be too long.
fn through_proc(object: BorrowedFd<'_>) -> Result<CString, Errno> {
    CString::new(format!("/proc/self/fd/{}", object.as_raw_fd())).map_err(|_| Errno::INVAL)
}

#[allow(unsafe_code, reason = "the kernel hands over descriptors as numbers")]
fn own(fd: RawFd) -> OwnedFd {
    // SAFETY: only called with the numbers in a buffer that a read of a group has just filled: the kernel opened
    // each of them for that read, and the iterator gives each to this function once.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// The best group that this kernel and our rights allow.
fn best(pidfds: bool) -> Result<(OwnedFd, Reports), GroupError> {
    let mut failure = Errno::INVAL;
    for (targets, pidfds) in [(true, pidfds), (true, false), (false, pidfds), (false, false)] {
        match init(Reports { targets, pidfds }) {
            Ok(fd) => return Ok((fd, Reports { targets, pidfds })),
            Err(errno @ (Errno::INVAL | Errno::PERM)) => failure = errno,
            Err(Errno::MFILE) => return Err(GroupError::TooMany),
            Err(Errno::NOSYS) => return Err(GroupError::Unsupported),
            Err(errno) => return Err(GroupError::Os(errno)),
        }
    }
    Err(if failure == Errno::PERM { GroupError::NotPermitted } else { GroupError::Unsupported })
}

#[allow(unsafe_code, reason = "fanotify_init has no safe wrapper")]
fn init(reports: Reports) -> Result<OwnedFd, Errno> {
    let mut flags = FAN_CLASS_NOTIF | FAN_CLOEXEC | FAN_NONBLOCK | FAN_REPORT_DFID_NAME | FAN_REPORT_FID;
    if reports.targets {
        flags |= FAN_REPORT_TARGET_FID;
    }
    if reports.pidfds {
        flags |= FAN_REPORT_PIDFD;
    }
    let event_flags = (libc::O_RDONLY | libc::O_CLOEXEC | libc::O_LARGEFILE) as libc::c_uint;
    // SAFETY: the call takes two numbers and touches no memory of ours.
    let fd = unsafe { libc::fanotify_init(flags, event_flags) };
    if fd < 0 {
        return Err(last_errno());
    }
    // SAFETY: the kernel has just made this descriptor for us; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

pub(super) fn last_errno() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}
