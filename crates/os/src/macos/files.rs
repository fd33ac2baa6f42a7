//! Safe opens and what they show, as `files` on Linux, by the calls that macOS has: `openat` with `O_NOFOLLOW`, one
//! component at a time, and `fstatat`.
//!
//! There is no `O_PATH`. A directory on the way is opened for reading, a link with `O_SYMLINK`, and FIFOs, sockets and
//! devices not at all.

use rustix::fs::{AtFlags, Mode, OFlags, SeekFrom, Stat};
use rustix::io::Errno;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use waxseal_model::{DeviceNumber, Digests, Extra, FileState, FileType, RawPath, Timestamp};

use crate::attributes::{self, Attributes};
pub use crate::file_error::FileError;
use crate::remote::Remote;
pub use crate::stamp::Stamp;

/// The bits of Linux's inode flags that say the same as flags of macOS (`sys/stat.h`): the owner's and the system's.
const FLAGS: [(u32, u32); 3] = [
    (libc::UF_IMMUTABLE | libc::SF_IMMUTABLE, 0x10),
    (libc::UF_APPEND | libc::SF_APPEND, 0x20),
    (libc::UF_NODUMP, 0x40),
];

fn component(name: &[u8]) -> Result<&[u8], FileError> {
    let bad = name.is_empty() || name == b".." || name.contains(&b'/') || name.contains(&0);
    if bad { Err(FileError::BadName) } else { Ok(name) }
}

fn open_at(dir: BorrowedFd<'_>, name: &[u8], flags: OFlags) -> Result<OwnedFd, FileError> {
    let name = component(name)?;
    loop {
        match rustix::fs::openat(dir, name, flags | OFlags::CLOEXEC, Mode::empty()) {
            Err(Errno::INTR) => {}
            other => return Ok(other?),
        }
    }
}

/// Opens a directory, links followed.
fn open_path(path: &RawPath) -> Result<OwnedFd, FileError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    match rustix::fs::openat(rustix::fs::CWD, path.as_bytes(), flags, Mode::empty()) {
        // Longer than the kernel takes at once.
        Err(Errno::NAMETOOLONG) => {}
        other => return Ok(other?),
    }
    let mut dir = rustix::fs::openat(rustix::fs::CWD, "/", flags, Mode::empty())?;
    for part in path.as_bytes().split(|b| *b == b'/').filter(|part| !part.is_empty()) {
        dir = rustix::fs::openat(&dir, part, flags, Mode::empty())?;
    }
    Ok(dir)
}

fn device(number: i32) -> DeviceNumber {
    // Of `sys/types.h`: eight bits of major, 24 of minor.
    let number = number.cast_unsigned();
    DeviceNumber { major: number >> 24, minor: number & 0x00ff_ffff }
}

fn time(seconds: i64, nanoseconds: i64) -> Timestamp {
    Timestamp::new(seconds, u32::try_from(nanoseconds).unwrap_or(0).min(999_999_999))
}

/// A file state of what `fstat` says. `above` is the device of the directory that holds it, where that is known.
fn state_of(stat: &Stat, above: Option<i32>) -> Result<FileState, FileError> {
    let file_type = match rustix::fs::FileType::from_raw_mode(stat.st_mode) {
        rustix::fs::FileType::RegularFile => FileType::File,
        rustix::fs::FileType::Directory => FileType::Dir,
        rustix::fs::FileType::Symlink => FileType::Symlink,
        rustix::fs::FileType::Fifo => FileType::Fifo,
        rustix::fs::FileType::Socket => FileType::Socket,
        rustix::fs::FileType::CharacterDevice => FileType::CharDev,
        rustix::fs::FileType::BlockDevice => FileType::BlockDev,
        rustix::fs::FileType::Unknown => return Err(FileError::WrongType),
    };
    let device_node = matches!(file_type, FileType::CharDev | FileType::BlockDev);
    let rdev = device(stat.st_rdev);
    Ok(FileState {
        file_type,
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        size: u64::try_from(stat.st_size).unwrap_or(0),
        links: u64::from(stat.st_nlink),
        inode: stat.st_ino,
        device: device(stat.st_dev),
        mount_root: above.is_some_and(|above| above != stat.st_dev),
        mtime: time(stat.st_mtime, stat.st_mtime_nsec),
        ctime: time(stat.st_ctime, stat.st_ctime_nsec),
        btime: Some(time(stat.st_birthtime, stat.st_birthtime_nsec)),
        flags: None,
        digests: Digests::default(),
        extra: device_node.then(|| Box::new(Extra { rdev: Some(rdev), ..Extra::default() })),
    })
}

/// An open directory, the anchor of every look below it.
#[derive(Debug)]
pub struct Dir {
    fd: OwnedFd,
    device: i32,
    /// The device of the directory that holds it, where it was opened through that.
    above: Option<i32>,
}

impl Dir {
    fn new(fd: OwnedFd, above: Option<i32>) -> Result<Dir, FileError> {
        let device = rustix::fs::fstat(&fd)?.st_dev;
        Ok(Dir { fd, device, above })
    }

    /// Opens the directory that holds `path`, following links as any program would: what lies above a watched path is
    /// outside of it. The second value is the name to use below it: the last component, or `.` for `/`.
    ///
    /// # Errors
    /// When a component does not exist or may not be passed.
    pub fn parent_of(path: &RawPath) -> Result<(Dir, Vec<u8>), FileError> {
        let fd = open_path(&path.parent().unwrap_or_else(|| RawPath::new(b"/".as_slice())))?;
        let name = if path.name().is_empty() { b".".to_vec() } else { path.name().to_vec() };
        Ok((Dir::new(fd, None)?, name))
    }

    /// The same for a path at or below `anchor`, following links above the anchor only: what has become a link below it
    /// leads nowhere.
    ///
    /// # Errors
    /// [`FileError::WrongType`] where a link, or anything else that is no directory, stands in between; others as for
    /// [`Dir::parent_of`].
    pub fn parent_below(path: &RawPath, anchor: &RawPath) -> Result<(Dir, Vec<u8>), FileError> {
        let below = path.below(anchor).unwrap_or_default();
        let mut parts: Vec<&[u8]> = below.split(|b| *b == b'/').filter(|part| !part.is_empty()).collect();
        let Some(last) = parts.pop() else { return Dir::parent_of(path) };
        let (parent, name) = Dir::parent_of(anchor)?;
        let top = parent.open_dir(&name)?;
        let dir = parts.into_iter().try_fold(top, |dir, part| dir.open_dir(part))?;
        Ok((dir, last.to_vec()))
    }

    /// The same directory, for looking at what is mounted in it and may never answer.
    ///
    /// # Errors
    /// When there are too many open files.
    pub fn looking_into(&self, _: &Arc<Remote>) -> Result<Dir, FileError> {
        Ok(Dir { fd: rustix::io::fcntl_dupfd_cloexec(&self.fd, 0)?, ..*self })
    }

    /// Opens a subdirectory for listing.
    ///
    /// # Errors
    /// [`FileError::WrongType`] when the name is no directory (any more), others as the kernel says.
    pub fn open_dir(&self, name: &[u8]) -> Result<Dir, FileError> {
        let fd = open_at(self.fd.as_fd(), name, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW)?;
        Dir::new(fd, Some(self.device))
    }

    /// Opens a regular file for reading and looks at it through the descriptor.
    ///
    /// # Errors
    /// [`FileError::WrongType`] when what the name holds now is no regular file; nothing has been read then.
    pub fn open_file(&self, name: &[u8]) -> Result<(File, FileState), FileError> {
        // An open of a device could have effects; of what becomes one between look and open, that is left.
        if self.stat(name)?.file_type != FileType::File {
            return Err(FileError::WrongType);
        }
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::NOFOLLOW;
        let file = File(open_at(self.fd.as_fd(), name, flags)?);
        let state = file.stat()?;
        if state.file_type == FileType::File { Ok((file, state)) } else { Err(FileError::WrongType) }
    }

    /// Looks at whatever the name holds without any effect on it, for its attributes.
    ///
    /// # Errors
    /// As the kernel says.
    pub fn open_node(&self, name: &[u8]) -> Result<Node, FileError> {
        let look = || {
            rustix::fs::statat(&self.fd, component(name)?, AtFlags::SYMLINK_NOFOLLOW).map_err(FileError::from)
        };
        let stat = look()?;
        let flags = match state_of(&stat, None)?.file_type {
            FileType::Symlink => OFlags::from_bits_retain(libc::O_SYMLINK.cast_unsigned()),
            FileType::File | FileType::Dir => OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY,
            _ => return Ok(Node { dir: self.duplicate()?, name: name.into(), stat, fd: Ok(None) }),
        };
        match open_at(self.fd.as_fd(), name, OFlags::RDONLY | flags) {
            Ok(fd) => {
                let stat = rustix::fs::fstat(&fd)?;
                Ok(Node { dir: self.duplicate()?, name: name.into(), stat, fd: Ok(Some(fd)) })
            }
            Err(error @ FileError::Os(_)) => {
                Ok(Node { dir: self.duplicate()?, name: name.into(), stat, fd: Err(error) })
            }
            Err(error) => Err(error),
        }
    }

    fn duplicate(&self) -> Result<OwnedFd, FileError> {
        Ok(rustix::io::fcntl_dupfd_cloexec(&self.fd, 0)?)
    }

    /// The state of one name, without attributes that need a descriptor.
    ///
    /// # Errors
    /// [`FileError::NotFound`] when nothing has the name.
    pub fn stat(&self, name: &[u8]) -> Result<FileState, FileError> {
        let stat = rustix::fs::statat(&self.fd, component(name)?, AtFlags::SYMLINK_NOFOLLOW)?;
        state_of(&stat, Some(self.device))
    }

    /// The state of the directory itself.
    ///
    /// # Errors
    /// As the kernel says.
    pub fn stat_self(&self) -> Result<FileState, FileError> {
        state_of(&rustix::fs::fstat(&self.fd)?, self.above)
    }

    /// Extended attributes and flags of the directory itself.
    ///
    /// # Errors
    /// As the kernel says.
    pub fn attributes(&self) -> Result<Attributes, FileError> {
        attributes::of_open(self.fd.as_fd())
    }

    /// Calls `each` with every name, in the order of the kernel, without `.` and `..`, and with whether the list itself
    /// says that it is a regular file. The buffer is for other systems.
    ///
    /// # Errors
    /// As the kernel says; names already given stay given.
    pub fn list(
        &self,
        _: &mut [MaybeUninit<u8>],
        mut each: impl FnMut(&[u8], bool),
    ) -> Result<(), FileError> {
        for entry in rustix::fs::Dir::read_from(&self.fd)? {
            let entry = entry?;
            match entry.file_name().to_bytes() {
                b"." | b".." => {}
                name => each(name, entry.file_type() == rustix::fs::FileType::RegularFile),
            }
        }
        Ok(())
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

    /// Has the system forget what it keeps of the content in memory: macOS cannot be asked to.
    pub fn forget_cached(&self) {}

    /// The state through the descriptor, whatever the name holds by now.
    ///
    /// # Errors
    /// As the kernel says.
    pub fn stat(&self) -> Result<FileState, FileError> {
        state_of(&rustix::fs::fstat(&self.0)?, None)
    }

    /// What shows a change since [`Dir::open_file`] looked at it.
    ///
    /// # Errors
    /// As the kernel says.
    pub fn stamp(&self) -> Result<Stamp, FileError> {
        Ok(Stamp::from(&self.stat()?))
    }

    /// Extended attributes and flags.
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
        let blocks = rustix::fs::fstat(&self.0)?.st_blocks;
        Ok(u64::try_from(blocks).unwrap_or(0).saturating_mul(512))
    }

    /// Whether some process has the file open for writing. macOS does not tell.
    pub fn has_writer(&self) -> Option<bool> {
        None
    }
}

/// Any object, looked at and, where that has no effects, opened.
#[derive(Debug)]
pub struct Node {
    dir: OwnedFd,
    name: Box<[u8]>,
    stat: Stat,
    /// Nothing for what is better not opened; the refusal for what may not be.
    fd: Result<Option<OwnedFd>, FileError>,
}

impl Node {
    /// The state as it was when it was opened.
    ///
    /// # Errors
    /// When it is of no known type.
    pub fn stat(&self) -> Result<FileState, FileError> {
        state_of(&self.stat, None)
    }

    /// Where a symbolic link points.
    ///
    /// # Errors
    /// [`FileError::WrongType`] when it is no link, or another object has the name by now.
    pub fn read_link(&self) -> Result<Box<[u8]>, FileError> {
        let target = match rustix::fs::readlinkat(&self.dir, &*self.name, Vec::with_capacity(256)) {
            Err(Errno::INVAL) => return Err(FileError::WrongType),
            other => other?,
        };
        let now = rustix::fs::statat(&self.dir, &*self.name, AtFlags::SYMLINK_NOFOLLOW)?;
        if (now.st_dev, now.st_ino) != (self.stat.st_dev, self.stat.st_ino) {
            return Err(FileError::WrongType);
        }
        Ok(target.into_bytes().into())
    }

    /// Extended attributes and flags; flags alone of what is better not opened.
    ///
    /// # Errors
    /// As the kernel says.
    pub fn attributes(&self) -> Result<Attributes, FileError> {
        match &self.fd {
            Ok(Some(fd)) => attributes::of_open(fd.as_fd()),
            Ok(None) => Ok(Attributes { flags: Some(flags_of(&self.stat)), ..Attributes::default() }),
            Err(error) => Err(*error),
        }
    }
}

fn flags_of(stat: &Stat) -> u32 {
    FLAGS.iter().filter(|(ours, _)| stat.st_flags & ours != 0).fold(0, |bits, (_, bit)| bits | bit)
}

/// The flags that count, of an open file or directory, as bits of Linux.
pub(crate) fn inode_flags(fd: BorrowedFd<'_>) -> Option<u32> {
    rustix::fs::fstat(fd).ok().map(|stat| flags_of(&stat))
}
