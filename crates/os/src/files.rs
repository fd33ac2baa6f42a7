//! Safe opens and what they show: directories, regular files and other nodes, always relative to a descriptor of the
//! directory that holds them, never through a link.
//!
//! In: a directory descriptor and one name. Out: file states (without digests), contents, attributes.
//! A descriptor for reading is only ever made of a directory or of what a look, or the list of a directory without
//! mounts in it, just before said is a regular file;
//! FIFOs, sockets and devices are opened with `O_PATH`, which has no side effects.

use rustix::fs::{
    Advice, AtFlags, Mode, OFlags, RawDir, ResolveFlags, SeekFrom, StatxAttributes, StatxFlags,
};
use rustix::io::Errno;
use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use waxseal_model::{DeviceNumber, Digests, Extra, FileState, FileType, RawPath, Timestamp, flags};

use crate::attributes::{self, Attributes};
pub use crate::file_error::FileError;
use crate::remote::{FarFd, Mounts, Remote};
pub use crate::stamp::Stamp;

/// Most names fit here; rustix copies a longer one to the heap.
fn component(name: &[u8]) -> Result<&[u8], FileError> {
    let bad = name.is_empty() || name == b".." || name.contains(&b'/') || name.contains(&0);
    if bad { Err(FileError::BadName) } else { Ok(name) }
}

/// Opens one component below `dir` without following a link: of a name without a slash, `O_NOFOLLOW` leaves nothing
/// to be narrowed by the resolve flags of `openat2`, which is slower. `O_NOATIME` is dropped where the kernel
/// refuses it (we are not the owner).
fn open_at(dir: BorrowedFd<'_>, name: &[u8], flags: OFlags) -> Result<OwnedFd, FileError> {
    let name = component(name)?;
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let open = |flags: OFlags| rustix::fs::openat(dir, name, flags, Mode::empty());
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

fn stat_open(fd: BorrowedFd<'_>) -> Result<FileState, FileError> {
    stat_at(fd, b"", AtFlags::EMPTY_PATH)
}

/// From this length on the kernel takes no path at once (`PATH_MAX`, with the byte at its end).
const LONG_PATH: usize = 4096;

/// Opens a directory; links are followed in the first `followed` components, and lead nowhere in the others.
fn open_path(path: &RawPath, followed: usize) -> Result<OwnedFd, FileError> {
    let bytes = path.as_bytes();
    let (above, below) = bytes.split_at_checked(start_of(bytes, followed)).unwrap_or((bytes, b""));
    let above = open_parts(None, above, OFlags::empty())?;
    if below.is_empty() { Ok(above) } else { open_unfollowed(above.as_fd(), below) }
}

/// Opens a directory below another one; no component may be a link.
fn open_unfollowed(dir: BorrowedFd<'_>, below: &[u8]) -> Result<OwnedFd, FileError> {
    if below.len() < LONG_PATH {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::BENEATH;
        match rustix::fs::openat2(dir, below, flags, Mode::empty(), resolve) {
            // Before Linux 5.6, or forbidden by a filter that is as old.
            Err(Errno::NOSYS | Errno::PERM) => {}
            opened => return Ok(opened?),
        }
    }
    open_parts(Some(dir), below, OFlags::NOFOLLOW)
}

/// Opens a directory; what is too long to be opened at once, component by component.
fn open_parts(from: Option<BorrowedFd<'_>>, path: &[u8], more: OFlags) -> Result<OwnedFd, FileError> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    if more.is_empty() && (1..LONG_PATH).contains(&path.len()) {
        return Ok(rustix::fs::openat(from.unwrap_or(rustix::fs::CWD), path, flags, Mode::empty())?);
    }
    let start: (BorrowedFd<'_>, &[u8]) = from.map_or((rustix::fs::CWD, b"/"), |dir| (dir, b"."));
    let mut dir = rustix::fs::openat(start.0, start.1, flags, Mode::empty())?;
    for part in path.split(|b| *b == b'/').filter(|part| !part.is_empty()) {
        dir = rustix::fs::openat(&dir, part, flags | more, Mode::empty())?;
    }
    Ok(dir)
}

/// Where a component begins, counted from 0; the end where there are fewer.
fn start_of(path: &[u8], component: usize) -> usize {
    let begins = |at: usize| path.get(at) != Some(&b'/') && (at == 0 || path.get(at - 1) == Some(&b'/'));
    (0..path.len()).filter(|at| begins(*at)).nth(component).unwrap_or(path.len())
}

fn parts(path: &RawPath) -> impl Iterator<Item = &[u8]> {
    path.as_bytes().split(|b| *b == b'/').filter(|part| !part.is_empty())
}

fn read_at(file: BorrowedFd<'_>, buffer: &mut [u8], offset: u64) -> Result<usize, FileError> {
    loop {
        match rustix::io::pread(file, &mut *buffer, offset) {
            Err(Errno::INTR) => {}
            other => return Ok(other?),
        }
    }
}

/// A descriptor, and how system calls are made on it.
#[derive(Debug)]
enum Fd {
    /// Directly.
    Near(OwnedFd),
    /// With a deadline.
    Far(FarFd),
}

impl Fd {
    fn call<T: Send + 'static>(
        &self,
        call: impl FnOnce(BorrowedFd<'_>) -> Result<T, FileError> + Send + 'static,
    ) -> Result<T, FileError> {
        match self {
            Fd::Near(fd) => call(fd.as_fd()),
            Fd::Far(fd) => fd.call(call),
        }
    }

    /// As [`Fd::call`], with a name, which is only copied where it must be.
    fn call_named<T: Send + 'static>(
        &self,
        name: &[u8],
        call: impl FnOnce(BorrowedFd<'_>, &[u8]) -> Result<T, FileError> + Send + 'static,
    ) -> Result<T, FileError> {
        match self {
            Fd::Near(fd) => call(fd.as_fd(), name),
            Fd::Far(fd) => {
                let name = name.to_vec();
                fd.call(move |fd| call(fd, &name))
            }
        }
    }

    /// What was opened below this one.
    fn child(&self, fd: OwnedFd) -> Fd {
        match self {
            Fd::Near(_) => Fd::Near(fd),
            Fd::Far(parent) => Fd::Far(parent.sibling(fd)),
        }
    }
}

/// An open directory, the anchor of every look below it.
#[derive(Debug)]
pub struct Dir(Fd);

impl Dir {
    /// Opens the directory that holds `path`, however long that is, following links as any program would:
    /// what lies above a watched path is outside of it.
    /// The second value is the name to use below it: the last component, or `.` for `/`.
    ///
    /// # Errors
    /// When a component does not exist or may not be passed.
    pub fn parent_of(path: &RawPath) -> Result<(Dir, Vec<u8>), FileError> {
        Self::parent_below(path, path)
    }

    /// The same for a path at or below `anchor`, following links above the anchor only: what has become a link below it
    /// leads nowhere.
    ///
    /// # Errors
    /// [`FileError::WrongType`] where a link, or anything else that is no directory, stands in between; others as for
    /// [`Dir::parent_of`].
    pub fn parent_below(path: &RawPath, anchor: &RawPath) -> Result<(Dir, Vec<u8>), FileError> {
        let parent = path.parent().unwrap_or_default();
        let followed = parts(anchor).count().saturating_sub(1);
        let fd = match Mounts::now().holding(path) {
            None => Fd::Near(open_path(&parent, followed)?),
            Some(mount) => {
                let fd = mount.call(move || open_path(&parent, followed))?;
                Fd::Far(FarFd::new(mount, fd))
            }
        };
        let name = if path.name().is_empty() { b".".to_vec() } else { path.name().to_vec() };
        Ok((Dir(fd), name))
    }

    /// The descriptor, for what changes something in the directory.
    ///
    /// # Errors
    /// In a filesystem that may never answer: nothing is changed there.
    pub(crate) fn near(&self) -> Result<BorrowedFd<'_>, FileError> {
        match &self.0 {
            Fd::Near(fd) => Ok(fd.as_fd()),
            Fd::Far(_) => Err(FileError::Os(Errno::OPNOTSUPP)),
        }
    }

    /// Takes over a descriptor of a directory opened for reading (as resolving a kernel's handle gives).
    pub fn from_fd(fd: OwnedFd) -> Dir {
        Dir(Fd::Near(fd))
    }

    /// The same directory, for looking at what is mounted in it and may never answer.
    ///
    /// # Errors
    /// When there are too many open files.
    pub fn looking_into(&self, mount: &Arc<Remote>) -> Result<Dir, FileError> {
        let fd = match &self.0 {
            Fd::Near(fd) => rustix::io::fcntl_dupfd_cloexec(fd, 0)?,
            Fd::Far(fd) => rustix::io::fcntl_dupfd_cloexec(fd.near().ok_or(FileError::NotFound)?, 0)?,
        };
        Ok(Dir(Fd::Far(FarFd::new(Arc::clone(mount), fd))))
    }

    /// Opens a subdirectory for listing.
    ///
    /// # Errors
    /// [`FileError::WrongType`] when the name is no directory (any more), others as the kernel says.
    pub fn open_dir(&self, name: &[u8]) -> Result<Dir, FileError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOATIME;
        let fd = self.0.call_named(name, move |dir, name| open_at(dir, name, flags))?;
        Ok(Dir(self.0.child(fd)))
    }

    /// Opens a regular file for reading and looks at it through the descriptor.
    ///
    /// # Errors
    /// [`FileError::WrongType`] when what the name holds now is no regular file; nothing has been read then.
    pub fn open_file(&self, name: &[u8]) -> Result<(File, FileState), FileError> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOATIME | OFlags::NOCTTY;
        let (fd, state) = self.0.call_named(name, move |dir, name| {
            let fd = open_at(dir, name, flags)?;
            let state = stat_open(fd.as_fd())?;
            if state.file_type == FileType::File { Ok((fd, state)) } else { Err(FileError::WrongType) }
        })?;
        Ok((File(self.0.child(fd)), state))
    }

    /// Opens whatever the name holds without any effect on it, for its attributes.
    ///
    /// # Errors
    /// As the kernel says.
    pub fn open_node(&self, name: &[u8]) -> Result<Node, FileError> {
        let fd = self.0.call_named(name, |dir, name| open_at(dir, name, OFlags::PATH))?;
        Ok(Node(self.0.child(fd)))
    }

    /// The state of one name, without attributes that need a descriptor.
    ///
    /// # Errors
    /// [`FileError::NotFound`] when nothing has the name.
    pub fn stat(&self, name: &[u8]) -> Result<FileState, FileError> {
        self.0.call_named(component(name)?, |dir, name| stat_at(dir, name, AtFlags::empty()))
    }

    /// The state of the directory itself.
    ///
    /// # Errors
    /// As the kernel says.
    pub fn stat_self(&self) -> Result<FileState, FileError> {
        self.0.call(stat_open)
    }

    /// Extended attributes and inode flags of the directory itself.
    ///
    /// # Errors
    /// As the kernel says.
    pub fn attributes(&self) -> Result<Attributes, FileError> {
        self.0.call(attributes::of_open)
    }

    /// Calls `each` with every name, in the order of the kernel, without `.` and `..`, and with whether the
    /// list itself says that it is a regular file (not every filesystem says so; of a mount point, the list shows
    /// what it hides). The buffer (at least 4 KiB) is the caller's, so that it is made once.
    ///
    /// # Errors
    /// As the kernel says; names already given stay given.
    pub fn list(
        &self,
        buffer: &mut [MaybeUninit<u8>],
        mut each: impl FnMut(&[u8], bool),
    ) -> Result<(), FileError> {
        match &self.0 {
            Fd::Near(fd) => list(fd.as_fd(), buffer, each),
            Fd::Far(fd) => {
                let (names, result) = fd.call(|fd| {
                    let mut names: Vec<(Box<[u8]>, bool)> = Vec::new();
                    let mut buffer = vec![MaybeUninit::uninit(); 32 * 1024];
                    let result = list(fd, &mut buffer, |name, is_file| names.push((name.into(), is_file)));
                    Ok((names, result))
                })?;
                names.iter().for_each(|(name, is_file)| each(name, *is_file));
                result
            }
        }
    }
}

fn list(
    dir: BorrowedFd<'_>,
    buffer: &mut [MaybeUninit<u8>],
    mut each: impl FnMut(&[u8], bool),
) -> Result<(), FileError> {
    let mut names = RawDir::new(dir, buffer);
    while let Some(entry) = names.next() {
        match entry {
            Ok(entry) => match CStr::to_bytes(entry.file_name()) {
                b"." | b".." => {}
                name => each(name, entry.file_type() == rustix::fs::FileType::RegularFile),
            },
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

/// A regular file, open for reading.
#[derive(Debug)]
pub struct File(Fd);

impl File {
    /// Opens a regular file that a person named, following links as they would expect.
    ///
    /// # Errors
    /// [`FileError::WrongType`] when it is no regular file; nothing has been read then.
    pub fn named(path: &std::path::Path) -> Result<(File, FileState), FileError> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = File(Fd::Near(rustix::fs::openat(rustix::fs::CWD, path, flags, Mode::empty())?));
        let state = file.stat()?;
        if state.file_type == FileType::File { Ok((file, state)) } else { Err(FileError::WrongType) }
    }

    /// Reads at an offset; 0 at the end. Short reads happen.
    ///
    /// # Errors
    /// As the kernel says; an interrupted read is repeated.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize, FileError> {
        match &self.0 {
            Fd::Near(fd) => read_at(fd.as_fd(), buffer, offset),
            Fd::Far(fd) => {
                let mut bytes = vec![0; buffer.len()];
                let bytes = fd.call(move |fd| {
                    let len = read_at(fd, &mut bytes, offset)?;
                    bytes.truncate(len);
                    Ok(bytes)
                })?;
                buffer.get_mut(..bytes.len()).unwrap_or_default().copy_from_slice(&bytes);
                Ok(bytes.len())
            }
        }
    }

    /// Has the kernel forget what it keeps of the content in memory, so that the next read is of the disk. It keeps what
    /// has not been written to the disk yet, and what some process has mapped.
    pub fn forget_cached(&self) {
        // Advice: a filesystem that has no use for it has nothing to forget.
        let _ = self.0.call(|fd| Ok(rustix::fs::fadvise(fd, 0, None, Advice::DontNeed)?));
    }

    /// The state through the descriptor, whatever the name holds by now.
    ///
    /// # Errors
    /// As the kernel says.
    pub fn stat(&self) -> Result<FileState, FileError> {
        self.0.call(stat_open)
    }

    /// What shows a change since [`Dir::open_file`] looked at it. Cheaper than the whole state.
    ///
    /// # Errors
    /// As the kernel says.
    pub fn stamp(&self) -> Result<Stamp, FileError> {
        let stat = self.0.call(|fd| Ok(rustix::fs::fstat(fd)?))?;
        let time = |seconds, nanoseconds| Timestamp::new(seconds, u32::try_from(nanoseconds).unwrap_or(0));
        Ok(Stamp {
            inode: stat.st_ino,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            mtime: time(stat.st_mtime, stat.st_mtime_nsec),
            ctime: time(stat.st_ctime, stat.st_ctime_nsec),
        })
    }

    /// Extended attributes and inode flags.
    ///
    /// # Errors
    /// As the kernel says.
    pub fn attributes(&self) -> Result<Attributes, FileError> {
        self.0.call(attributes::of_open)
    }

    /// The next stretch of data at or after `offset`: start and end in bytes. `None` when only a hole
    /// follows. Where the filesystem knows no holes, all of the rest is data.
    pub fn next_data(&self, offset: u64, size: u64) -> Option<(u64, u64)> {
        let found = self.0.call(move |fd| {
            let start = match rustix::fs::seek(fd, SeekFrom::Data(offset)) {
                Ok(start) => start,
                Err(Errno::NXIO) => return Ok(None),
                Err(_) => return Ok(Some((offset, size))),
            };
            let end = rustix::fs::seek(fd, SeekFrom::Hole(start)).unwrap_or(size);
            Ok(Some((start, end.max(start))))
        });
        found.unwrap_or(Some((offset, size)))
    }

    /// Bytes that the filesystem has allocated for it.
    ///
    /// # Errors
    /// As the kernel says.
    pub fn allocated(&self) -> Result<u64, FileError> {
        let blocks = self.0.call(|fd| Ok(rustix::fs::fstat(fd)?.st_blocks))?;
        Ok(u64::try_from(blocks).unwrap_or(0).saturating_mul(512))
    }

    /// Whether some process has the file open for writing, or mapped shared and writable, now. A read lease is
    /// taken and dropped at once: the kernel refuses it when there is a writer (kernel-events, section 6).
    /// `None` where leases are not to be had (no right, or a filesystem without them).
    pub fn has_writer(&self) -> Option<bool> {
        crate::signals::ignore_broken_leases();
        self.0.call(|fd| Ok(has_writer(fd))).ok().flatten()
    }
}

fn has_writer(fd: BorrowedFd<'_>) -> Option<bool> {
    let fd = fd.as_raw_fd();
    // SAFETY: F_SETLEASE takes an int and touches no memory of ours; the descriptor is open.
    #[allow(unsafe_code, reason = "fcntl leases have no safe wrapper")]
    let lease = |kind: libc::c_int| unsafe { libc::fcntl(fd, libc::F_SETLEASE, kind) };
    if lease(libc::F_RDLCK) == 0 {
        lease(libc::F_UNLCK);
        return Some(false);
    }
    (std::io::Error::last_os_error().raw_os_error() == Some(libc::EAGAIN)).then_some(true)
}

/// Any object, opened for nothing but looking.
#[derive(Debug)]
pub struct Node(Fd);

impl Node {
    /// The state through the descriptor.
    ///
    /// # Errors
    /// As the kernel says.
    pub fn stat(&self) -> Result<FileState, FileError> {
        self.0.call(stat_open)
    }

    /// Where a symbolic link points.
    ///
    /// # Errors
    /// [`FileError::NotFound`] when it is no link.
    pub fn read_link(&self) -> Result<Box<[u8]>, FileError> {
        self.0.call(|fd| {
            let target = rustix::fs::readlinkat(fd, c"", Vec::with_capacity(256))?;
            Ok(target.into_bytes().into())
        })
    }

    /// Extended attributes (inode flags need an open for reading, which other nodes do not get).
    ///
    /// # Errors
    /// As the kernel says.
    pub fn attributes(&self) -> Result<Attributes, FileError> {
        self.0.call(attributes::of_node)
    }
}

/// The bits of inode flags that count, of an open file or directory; `None` where the filesystem has none.
pub(crate) fn inode_flags(fd: BorrowedFd<'_>) -> Option<u32> {
    let bits = rustix::fs::ioctl_getflags(fd).ok()?.bits();
    Some(bits & flags::SETTABLE)
}

#[cfg(test)]
mod tests;
