//! Safe opens and what they show: directories, regular files and other nodes, always relative to a descriptor of the
//! directory that holds them, never through a link.
//!
//! In: a directory descriptor and one name. Out: file states (without digests), contents, attributes.
//! A descriptor for reading is only ever made of a directory or of what a look just before said is a regular file;
//! FIFOs, sockets and devices are opened with `O_PATH`, which has no side effects.

use rustix::fs::{AtFlags, Mode, OFlags, RawDir, ResolveFlags, SeekFrom, StatxAttributes, StatxFlags};
use rustix::io::Errno;
use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use waxseal_model::{DeviceNumber, Digests, Extra, FileState, FileType, RawPath, Timestamp, flags};

use crate::attributes::{self, Attributes};

/// A system call that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// Nothing has this name, or it vanished meanwhile.
    #[error("it does not exist")]
    NotFound,
    /// The object is of another type than the caller was told: a link, or no regular file, or no directory.
    #[error("it changed its type while it was being looked at")]
    WrongType,
    /// A name with a slash, a NUL byte, or of no length.
    #[error("the name is not one that a directory can hold")]
    BadName,
    /// Any other refusal of the kernel.
    #[error("{}", describe(.0))]
    Os(Errno),
}

fn describe(errno: &Errno) -> String {
    let text = std::io::Error::from(*errno).to_string();
    match *errno {
        Errno::ACCESS | Errno::PERM => format!("{text}: run as root, or exclude it in the config"),
        Errno::MFILE | Errno::NFILE => format!("{text}: raise the limit of open files (ulimit -n)"),
        Errno::IO => format!("{text}: the disk or filesystem has an error here"),
        _ => text,
    }
}

impl From<Errno> for FileError {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::NOENT => FileError::NotFound,
            Errno::LOOP | Errno::NOTDIR | Errno::ISDIR | Errno::XDEV | Errno::NXIO => FileError::WrongType,
            other => FileError::Os(other),
        }
    }
}

/// Most names fit here; rustix copies a longer one to the heap.
fn component(name: &[u8]) -> Result<&[u8], FileError> {
    let bad = name.is_empty() || name == b".." || name.contains(&b'/') || name.contains(&0);
    if bad { Err(FileError::BadName) } else { Ok(name) }
}

/// Opens one component below `dir` without following a link. `O_NOATIME` is dropped where the kernel
/// refuses it (we are not the owner), `openat2` where a kernel or sandbox lacks it.
fn open_at(dir: BorrowedFd<'_>, name: &[u8], flags: OFlags) -> Result<OwnedFd, FileError> {
    let name = component(name)?;
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let open = |flags: OFlags| match rustix::fs::openat2(dir, name, flags, Mode::empty(), resolve) {
        // One component and O_NOFOLLOW is as narrow as the resolve flags.
        Err(Errno::NOSYS) => rustix::fs::openat(dir, name, flags, Mode::empty()),
        other => other,
    };
    for _ in 0..16 {
        match open(flags) {
            Err(Errno::PERM) if flags.contains(OFlags::NOATIME) => {
                match open(flags.difference(OFlags::NOATIME)) {
                    Err(Errno::INTR | Errno::AGAIN) => {}
                    other => return Ok(other?),
                }
            }
            Err(Errno::INTR | Errno::AGAIN) => {}
            other => return Ok(other?),
        }
    }
    Err(FileError::Os(Errno::AGAIN))
}

fn stat_at(dir: BorrowedFd<'_>, name: &[u8], flags: AtFlags) -> Result<FileState, FileError> {
    let flags = flags | AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    let wanted = StatxFlags::BASIC_STATS | StatxFlags::BTIME;
    let x = rustix::fs::statx(dir, name, flags, wanted)?;
    let file_type = match u32::from(x.stx_mode) & libc::S_IFMT {
        libc::S_IFREG => FileType::File,
        libc::S_IFDIR => FileType::Dir,
        libc::S_IFLNK => FileType::Symlink,
        libc::S_IFIFO => FileType::Fifo,
        libc::S_IFSOCK => FileType::Socket,
        libc::S_IFCHR => FileType::CharDev,
        libc::S_IFBLK => FileType::BlockDev,
        _ => return Err(FileError::WrongType),
    };
    let device_node = matches!(file_type, FileType::CharDev | FileType::BlockDev);
    let rdev = DeviceNumber { major: x.stx_rdev_major, minor: x.stx_rdev_minor };
    let time = |t: rustix::fs::StatxTimestamp| Timestamp::new(t.tv_sec, t.tv_nsec);
    let has_btime = x.stx_mask & StatxFlags::BTIME.bits() != 0;
    Ok(FileState {
        file_type,
        mode: x.stx_mode & 0o7777,
        uid: x.stx_uid,
        gid: x.stx_gid,
        size: x.stx_size,
        links: u64::from(x.stx_nlink),
        inode: x.stx_ino,
        device: DeviceNumber { major: x.stx_dev_major, minor: x.stx_dev_minor },
        mount_root: x.stx_attributes.contains(StatxAttributes::MOUNT_ROOT),
        mtime: time(x.stx_mtime),
        ctime: time(x.stx_ctime),
        btime: has_btime.then(|| time(x.stx_btime)),
        flags: None,
        digests: Digests::default(),
        extra: device_node.then(|| Box::new(Extra { rdev: Some(rdev), ..Extra::default() })),
    })
}

/// An open directory, the anchor of every look below it.
#[derive(Debug)]
pub struct Dir(OwnedFd);

impl Dir {
    /// Opens the directory that holds `path`, component by component (so that no length is too long),
    /// following links as any program would: what lies above a watched path is outside of it.
    /// The second value is the name to use below it: the last component, or `.` for `/`.
    ///
    /// # Errors
    /// When a component does not exist or may not be passed.
    pub fn parent_of(path: &RawPath) -> Result<(Dir, Vec<u8>), FileError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let mut dir = rustix::fs::openat(rustix::fs::CWD, "/", flags, Mode::empty())?;
        let parent = path.parent().unwrap_or_default();
        for part in parent.as_bytes().split(|b| *b == b'/').filter(|part| !part.is_empty()) {
            dir = rustix::fs::openat(&dir, part, flags, Mode::empty())?;
        }
        let name = if path.name().is_empty() { b".".to_vec() } else { path.name().to_vec() };
        Ok((Dir(dir), name))
    }

    /// Takes over a descriptor of a directory opened for reading (as resolving a kernel's handle gives).
    pub fn from_fd(fd: OwnedFd) -> Dir {
        Dir(fd)
    }

    /// Opens a subdirectory for listing.
    ///
    /// # Errors
    /// [`FileError::WrongType`] when the name is no directory (any more), others as the kernel says.
    pub fn open_dir(&self, name: &[u8]) -> Result<Dir, FileError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOATIME;
        open_at(self.0.as_fd(), name, flags).map(Dir)
    }

    /// Opens a regular file for reading and looks at it through the descriptor.
    ///
    /// # Errors
    /// [`FileError::WrongType`] when what the name holds now is no regular file; nothing has been read then.
    pub fn open_file(&self, name: &[u8]) -> Result<(File, FileState), FileError> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOATIME | OFlags::NOCTTY;
        let file = File(open_at(self.0.as_fd(), name, flags)?);
        let state = file.stat()?;
        if state.file_type == FileType::File { Ok((file, state)) } else { Err(FileError::WrongType) }
    }

    /// Opens whatever the name holds without any effect on it, for its attributes.
    ///
    /// # Errors
    /// As the kernel says.
    pub fn open_node(&self, name: &[u8]) -> Result<Node, FileError> {
        open_at(self.0.as_fd(), name, OFlags::PATH).map(Node)
    }

    /// The state of one name, without attributes that need a descriptor.
    ///
    /// # Errors
    /// [`FileError::NotFound`] when nothing has the name.
    pub fn stat(&self, name: &[u8]) -> Result<FileState, FileError> {
        stat_at(self.0.as_fd(), component(name)?, AtFlags::empty())
    }

    /// The state of the directory itself.
    ///
    /// # Errors
    /// As the kernel says.
    pub fn stat_self(&self) -> Result<FileState, FileError> {
        stat_at(self.0.as_fd(), b"", AtFlags::EMPTY_PATH)
    }

    /// Extended attributes and inode flags of the directory itself.
    ///
    /// # Errors
    /// As the kernel says.
    pub fn attributes(&self) -> Result<Attributes, FileError> {
        attributes::of_open(self.0.as_fd())
    }

    /// Calls `each` with every name, in the order of the kernel, without `.` and `..`. The buffer
    /// (at least 4 KiB) is the caller's, so that it is made once.
    ///
    /// # Errors
    /// As the kernel says; names already given stay given.
    pub fn list(&self, buffer: &mut [MaybeUninit<u8>], mut each: impl FnMut(&[u8])) -> Result<(), FileError> {
        let mut names = RawDir::new(&self.0, buffer);
        while let Some(entry) = names.next() {
            match entry {
                Ok(entry) => match CStr::to_bytes(entry.file_name()) {
                    b"." | b".." => {}
                    name => each(name),
                },
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }

    /// The descriptor, for marking and for resolving what the kernel reports.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// A regular file, open for reading.
#[derive(Debug)]
pub struct File(OwnedFd);

impl File {
    /// Opens a regular file that a person named, following links as they would expect.
    ///
    /// # Errors
    /// [`FileError::WrongType`] when it is no regular file; nothing has been read then.
    pub fn named(path: &std::path::Path) -> Result<(File, FileState), FileError> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = File(rustix::fs::openat(rustix::fs::CWD, path, flags, Mode::empty())?);
        let state = file.stat()?;
        if state.file_type == FileType::File { Ok((file, state)) } else { Err(FileError::WrongType) }
    }

    /// Reads at an offset; 0 at the end. Short reads happen.
    ///
    /// # Errors
    /// As the kernel says; an interrupted read is repeated.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize, FileError> {
        loop {
            match rustix::io::pread(&self.0, &mut *buffer, offset) {
                Err(Errno::INTR) => {}
                other => return Ok(other?),
            }
        }
    }

    /// The state through the descriptor, whatever the name holds by now.
    ///
    /// # Errors
    /// As the kernel says.
    pub fn stat(&self) -> Result<FileState, FileError> {
        stat_at(self.0.as_fd(), b"", AtFlags::EMPTY_PATH)
    }

    /// Extended attributes and inode flags.
    ///
    /// # Errors
    /// As the kernel says.
    pub fn attributes(&self) -> Result<Attributes, FileError> {
        attributes::of_open(self.0.as_fd())
    }

    /// The next stretch of data at or after `offset`: start and end in bytes. `None` when only a hole
    /// follows. Where the filesystem knows no holes, all of the rest is data.
    pub fn next_data(&self, offset: u64, size: u64) -> Option<(u64, u64)> {
        let start = match rustix::fs::seek(&self.0, SeekFrom::Data(offset)) {
            Ok(start) => start,
            Err(Errno::NXIO) => return None,
            Err(_) => return Some((offset, size)),
        };
        let end = rustix::fs::seek(&self.0, SeekFrom::Hole(start)).unwrap_or(size);
        Some((start, end.max(start)))
    }

    /// Bytes that the filesystem has allocated for it.
    ///
    /// # Errors
    /// As the kernel says.
    pub fn allocated(&self) -> Result<u64, FileError> {
        Ok(u64::try_from(rustix::fs::fstat(&self.0)?.st_blocks).unwrap_or(0).saturating_mul(512))
    }

    /// Whether some process has the file open for writing, or mapped shared and writable, now. A read lease is
    /// taken and dropped at once: the kernel refuses it when there is a writer (kernel-events, section 6).
    /// `None` where leases are not to be had (no right, or a filesystem without them).
    pub fn has_writer(&self) -> Option<bool> {
        let fd = self.0.as_raw_fd();
        crate::signals::ignore_broken_leases();
        // SAFETY: F_SETLEASE takes an int and touches no memory of ours; the descriptor is open.
        #[allow(unsafe_code, reason = "fcntl leases have no safe wrapper")]
        let lease = |kind: libc::c_int| unsafe { libc::fcntl(fd, libc::F_SETLEASE, kind) };
        if lease(libc::F_RDLCK) == 0 {
            lease(libc::F_UNLCK);
            return Some(false);
        }
        (std::io::Error::last_os_error().raw_os_error() == Some(libc::EAGAIN)).then_some(true)
    }
}

/// Any object, opened for nothing but looking.
#[derive(Debug)]
pub struct Node(OwnedFd);

impl Node {
    /// The state through the descriptor.
    ///
    /// # Errors
    /// As the kernel says.
    pub fn stat(&self) -> Result<FileState, FileError> {
        stat_at(self.0.as_fd(), b"", AtFlags::EMPTY_PATH)
    }

    /// Where a symbolic link points.
    ///
    /// # Errors
    /// [`FileError::NotFound`] when it is no link.
    pub fn read_link(&self) -> Result<Box<[u8]>, FileError> {
        let target = rustix::fs::readlinkat(&self.0, c"", Vec::with_capacity(256))?;
        Ok(target.into_bytes().into())
    }

    /// Extended attributes (inode flags need an open for reading, which other nodes do not get).
    ///
    /// # Errors
    /// As the kernel says.
    pub fn attributes(&self) -> Result<Attributes, FileError> {
        attributes::of_node(self.0.as_fd())
    }
}

/// The bits of inode flags that count, of an open file or directory; `None` where the filesystem has none.
pub(crate) fn inode_flags(fd: BorrowedFd<'_>) -> Option<u32> {
    let bits = rustix::fs::ioctl_getflags(fd).ok()?.bits();
    Some(bits & flags::SETTABLE)
}

#[cfg(test)]
mod tests;
