//! From the kernel's handles to directories and paths.

use super::abi::MAX_HANDLE;
use super::group::last_errno;
use super::parse::Handle;
use crate::mounts::{self, Mount};
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use waxseal_model::RawPath;

/// Why a handle leads nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// The object has been deleted.
    #[error("it has been deleted")]
    Gone,
    /// The process may not: it takes `CAP_DAC_READ_SEARCH`.
    #[error("file handles may not be opened: run as root")]
    NotPermitted,
    /// The filesystem is not, or not any more, where the mount table had it.
    #[error("its filesystem is not mounted where it was")]
    Unmounted,
    /// Anything else.
    #[error("a file handle cannot be opened: {}", std::io::Error::from(*.0))]
    Os(Errno),
}

impl From<Errno> for ResolveError {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::STALE | Errno::NOENT => ResolveError::Gone,
            Errno::PERM | Errno::ACCESS => ResolveError::NotPermitted,
            other => ResolveError::Os(other),
        }
    }
}

/// Where a directory lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located {
    /// Its path from the root of its filesystem.
    pub inner: RawPath,
    /// False when the path of the directory is too long for the kernel to tell; `inner` then names the nearest
    /// directory above it that the kernel can name.
    pub exact: bool,
}

/// Opens handles of one filesystem, by one mount of it. It keeps that mount busy, so it should live for the length of
/// one batch of events only.
#[derive(Debug)]
pub struct Resolver {
    base: OwnedFd,
    root: RawPath,
    point: RawPath,
}

/// How often a handle that the kernel refuses for want of memory is tried.
const ATTEMPTS: u32 = 16;

/// `struct file_handle`, with room for the longest.
#[repr(C)]
struct FileHandle {
    len: u32,
    kind: i32,
    bytes: [u8; MAX_HANDLE],
}

impl Resolver {
    /// A resolver for the filesystem that `mount` shows. The mount is opened where the table has it; the kernel takes no
    /// `O_PATH` descriptor for this.
    ///
    /// # Errors
    /// [`ResolveError::Unmounted`] when something else is there by now (or over it), others as the kernel says.
    pub fn new(mount: &Mount) -> Result<Resolver, ResolveError> {
        let flags =
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let base = match rustix::fs::open(mount.point.as_bytes(), flags, Mode::empty()) {
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Err(ResolveError::Unmounted),
            other => other?,
        };
        if mounts::id_of(base.as_fd()).is_some_and(|id| id != mount.id) {
            return Err(ResolveError::Unmounted);
        }
        Ok(Resolver { base, root: mount.root.clone(), point: mount.point.clone() })
    }

    /// Which directory of the filesystem its mount shows: `/` is all of it.
    pub fn root(&self) -> &RawPath {
        &self.root
    }

    /// The directory of a handle, opened for listing and for looks below it.
    ///
    /// # Errors
    /// [`ResolveError::Gone`] when it has been deleted, others as the kernel says.
    pub fn directory(&self, handle: &Handle<'_>) -> Result<OwnedFd, ResolveError> {
        self.open(handle, libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NONBLOCK)
    }

    /// The object of a handle, opened for nothing but looking.
    ///
    /// # Errors
    /// [`ResolveError::Gone`] when it has been deleted, others as the kernel says.
    pub fn object(&self, handle: &Handle<'_>) -> Result<OwnedFd, ResolveError> {
        self.open(handle, libc::O_PATH)
    }

    /// Makes a handle of an open object and opens it again, to learn whether that works here.
    ///
    /// # Errors
    /// Why it does not.
    #[allow(unsafe_code, reason = "name_to_handle_at has no safe wrapper")]
    pub fn round_trip(&self, object: BorrowedFd<'_>) -> Result<(), ResolveError> {
        let mut raw = FileHandle { len: MAX_HANDLE as u32, kind: 0, bytes: [0; MAX_HANDLE] };
        let mut mount_id: libc::c_int = 0;
        // SAFETY: `raw` has the layout of `struct file_handle` and says how much room it has; both it and `mount_id`
        // outlive the call, the path is a C string, and the descriptor is open.
        let result = unsafe {
            libc::syscall(
                libc::SYS_name_to_handle_at,
                object.as_raw_fd(),
                c"".as_ptr(),
                &raw mut raw,
                &raw mut mount_id,
                libc::AT_EMPTY_PATH,
            )
        };
        if result != 0 {
            return Err(last_errno().into());
        }
        let bytes = raw.bytes.get(..raw.len as usize).unwrap_or_default();
        self.object(&Handle { fsid: [0; 8], kind: raw.kind, bytes }).map(drop)
    }

    #[allow(unsafe_code, reason = "open_by_handle_at has no safe wrapper")]
    fn open(&self, handle: &Handle<'_>, flags: libc::c_int) -> Result<OwnedFd, ResolveError> {
        let mut raw = FileHandle { len: 0, kind: handle.kind, bytes: [0; MAX_HANDLE] };
        let Some(room) = raw.bytes.get_mut(..handle.bytes.len()) else {
            return Err(ResolveError::Os(Errno::INVAL));
        };
        room.copy_from_slice(handle.bytes);
        raw.len = handle.bytes.len() as u32;
        let flags = flags | libc::O_CLOEXEC | libc::O_NOFOLLOW;
        let mut fd = -1;
        // An object that is being deleted right now is refused with ENOMEM (seen on ext4), and with ESTALE a moment later.
        for _ in 0..ATTEMPTS {
            // SAFETY: `raw` has the layout of `struct file_handle`, its length is that of the bytes filled in, and it
            // outlives the call; the descriptor is open.
            fd = unsafe {
                libc::syscall(libc::SYS_open_by_handle_at, self.base.as_raw_fd(), &raw const raw, flags)
            };
            if fd >= 0 || last_errno() != Errno::NOMEM {
                break;
            }
            std::thread::yield_now();
        }
        if fd < 0 {
            return Err(last_errno().into());
        }
        // SAFETY: the kernel has just made this descriptor for us; descriptors fit an int.
        Ok(unsafe { OwnedFd::from_raw_fd(fd as libc::c_int) })
    }

    /// Where an open directory lies in the filesystem; `None` when it lies outside of what this mount shows.
    ///
    /// # Errors
    /// [`ResolveError::Gone`] when it has been deleted, others as the kernel says.
    pub fn locate(&self, dir: BorrowedFd<'_>) -> Result<Option<Located>, ResolveError> {
        let mut above: Option<OwnedFd> = None;
        // A path component takes two bytes at least, so that this climbs from any path up to some 128 KiB.
        for climbed in 0..1 << 16 {
            let here = above.as_ref().map_or(dir, AsFd::as_fd);
            match self.path(here) {
                Err(ResolveError::Os(Errno::NAMETOOLONG)) => {
                    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
                    above = Some(rustix::fs::openat(here, "..", flags, Mode::empty())?);
                }
                other => return Ok(other?.map(|inner| Located { inner, exact: climbed == 0 })),
            }
        }
        Err(ResolveError::Os(Errno::NAMETOOLONG))
    }

    fn path(&self, dir: BorrowedFd<'_>) -> Result<Option<RawPath>, ResolveError> {
        let stat = rustix::fs::fstat(dir)?;
        if stat.st_nlink == 0 {
            return Err(ResolveError::Gone);
        }
        let link = format!("/proc/self/fd/{}", dir.as_raw_fd());
        let path = rustix::fs::readlink(link, Vec::with_capacity(256))?.into_bytes();
        let is_there = |path: &[u8]| {
            let at = rustix::fs::statat(rustix::fs::CWD, path, AtFlags::SYMLINK_NOFOLLOW);
            at.is_ok_and(|at| (at.st_dev, at.st_ino) == (stat.st_dev, stat.st_ino))
        };
        // A directory may bear this ending as its name; then it is where its path says.
        if path.ends_with(b" (deleted)") && !is_there(&path) {
            return Err(ResolveError::Gone);
        }
        // For what lies outside of the mount, the kernel gives a lone slash (`prepend_path` in fs/d_path.c).
        if path == b"/" && !is_there(&path) {
            return Ok(None);
        }
        let path = RawPath::new(path);
        mounts::rebase(&path, &self.point, &self.root).map(Some).ok_or(ResolveError::Unmounted)
    }
}
