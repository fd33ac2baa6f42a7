//! Putting back what a file state says: the only place that changes what is watched.
//!
//! In: the open directory, one name in it, the state it is to have. Out: that state, or an error and what was there before. A file comes
//! whole: it is written without a name, then takes its name with one rename; whoever looks sees the old file or the new one. Nothing here
//! follows a link, and nothing leaves the directory that the caller opened.

use crate::attributes;
use crate::files::{Dir, FileError};
use rustix::fs::{
    AtFlags, FileType as NodeType, IFlags, Mode, OFlags, RenameFlags, Timespec, Timestamps, XattrFlags,
};
use rustix::io::Errno;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use waxseal_model::state::{XATTR_CAPS, Xattrs};
use waxseal_model::{FileState, FileType, flags};

/// Names of files that are being put in place begin like this, for the moment between two system calls.
pub const TEMPORARY: &[u8] = b".waxseal-";

/// Stretches of zeros of this length, at multiples of it, become holes.
const BLOCK: usize = 4096;

/// The flags that keep an object from being changed or replaced.
const FAST: u32 = 0x30;

/// A file that is being written and has no name yet. Dropped, nothing of it remains.
#[derive(Debug)]
pub struct Draft<'d> {
    dir: BorrowedFd<'d>,
    fd: OwnedFd,
    /// Its name, where the filesystem knows no files without one.
    temporary: Option<Vec<u8>>,
    length: u64,
}

impl<'d> Draft<'d> {
    /// A new, empty file.
    ///
    /// # Errors
    /// When nothing can be made there.
    pub fn new(dir: &'d Dir) -> Result<Draft<'d>, FileError> {
        let dir = dir.near()?;
        let flags = OFlags::RDWR | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        match rustix::fs::openat(dir, c".", flags | OFlags::TMPFILE, mode) {
            Ok(fd) => Ok(Draft { dir, fd, temporary: None, length: 0 }),
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => {
                let name = temporary_name();
                let fd = rustix::fs::openat(
                    dir,
                    name.as_slice(),
                    flags | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW,
                    mode,
                )?;
                Ok(Draft { dir, fd, temporary: Some(name), length: 0 })
            }
            Err(errno) => Err(errno.into()),
        }
    }

    /// Adds to its end. Long stretches of zeros become holes.
    ///
    /// # Errors
    /// As the kernel says: the disk is full, say.
    pub fn write(&mut self, mut bytes: &[u8]) -> Result<(), FileError> {
        while !bytes.is_empty() {
            let to_boundary = BLOCK - usize::try_from(self.length % BLOCK as u64).unwrap_or(0);
            let (block, rest) = bytes.split_at_checked(to_boundary).unwrap_or((bytes, &[]));
            let mut written = if block.iter().all(|byte| *byte == 0) { block.len() } else { 0 };
            while let Some(left) = block.get(written..).filter(|left| !left.is_empty()) {
                match rustix::io::pwrite(&self.fd, left, self.length + written as u64) {
                    Ok(0) => return Err(Errno::IO.into()),
                    Ok(len) => written += len,
                    Err(Errno::INTR) => {}
                    Err(errno) => return Err(errno.into()),
                }
            }
            self.length += block.len() as u64;
            bytes = rest;
        }
        Ok(())
    }

    /// Gives it everything that the state says but what would keep it from taking its name.
    ///
    /// # Errors
    /// As the kernel says.
    pub fn finish(&self, state: &FileState) -> Result<(), FileError> {
        rustix::fs::ftruncate(&self.fd, self.length)?;
        apply(self.fd.as_fd(), state)?;
        put_flags(self.fd.as_fd(), state.flags.map(|flags| flags & !FAST))
    }

    /// Writes it to the disk.
    ///
    /// # Errors
    /// As the kernel says.
    pub fn sync(&self) -> Result<(), FileError> {
        Ok(rustix::fs::fsync(&self.fd)?)
    }

    /// Gives it its name, in place of what has it, which is no directory.
    ///
    /// # Errors
    /// As the kernel says; the name stands for what it stood for then.
    pub fn publish(mut self, name: &[u8], state: &FileState) -> Result<(), FileError> {
        let temporary = match self.temporary.take() {
            Some(temporary) => temporary,
            None => {
                let temporary = temporary_name();
                let own = format!("/proc/self/fd/{}", self.fd.as_raw_fd());
                rustix::fs::linkat(
                    rustix::fs::CWD,
                    own.as_str(),
                    self.dir,
                    temporary.as_slice(),
                    AtFlags::SYMLINK_FOLLOW,
                )?;
                temporary
            }
        };
        replace(self.dir, &temporary, name)?;
        put_flags(self.fd.as_fd(), state.flags)
    }
}

impl Drop for Draft<'_> {
    fn drop(&mut self) {
        if let Some(temporary) = &self.temporary {
            let _ = rustix::fs::unlinkat(self.dir, temporary.as_slice(), AtFlags::empty());
        }
    }
}

/// Makes what is no regular file, in place of what has the name, which is no directory. A directory is made empty, and only its maker
/// may use it until [`adjust`] has given it its attributes; it takes the place of nothing.
///
/// # Errors
/// As the kernel says, and for sockets, which only the program that listens on them can make.
pub fn make(dir: &Dir, name: &[u8], state: &FileState) -> Result<(), FileError> {
    let dir = dir.near()?;
    let temporary = temporary_name();
    let new = temporary.as_slice();
    let node = match state.file_type {
        FileType::Dir => {
            rustix::fs::mkdirat(dir, new, Mode::RWXU)?;
            let named = rustix::fs::renameat_with(dir, new, dir, name, RenameFlags::NOREPLACE);
            if named.is_err() {
                let _ = rustix::fs::unlinkat(dir, new, AtFlags::REMOVEDIR);
            }
            return Ok(named?);
        }
        FileType::Symlink => {
            rustix::fs::symlinkat(state.target().unwrap_or_default(), dir, new)?;
            None
        }
        FileType::Fifo => Some((NodeType::Fifo, 0)),
        FileType::CharDev | FileType::BlockDev => {
            let rdev = state.rdev().unwrap_or_default();
            let kind = if state.file_type == FileType::CharDev {
                NodeType::CharacterDevice
            } else {
                NodeType::BlockDevice
            };
            Some((kind, rustix::fs::makedev(rdev.major, rdev.minor)))
        }
        FileType::File | FileType::Socket => return Err(Errno::NOTSUP.into()),
    };
    if let Some((kind, device)) = node {
        rustix::fs::mknodat(dir, new, kind, Mode::RUSR | Mode::WUSR, device)?;
    }
    let made = apply_to_node(dir, new, state).and_then(|()| replace(dir, new, name));
    if made.is_err() {
        let _ = rustix::fs::unlinkat(dir, new, AtFlags::empty());
    }
    made
}

/// Gives `name` to the object that has the other name as well, in place of what has it, which is no directory.
///
/// # Errors
/// As the kernel says.
pub fn link(there: &Dir, other: &[u8], dir: &Dir, name: &[u8]) -> Result<(), FileError> {
    let dir = dir.near()?;
    let temporary = temporary_name();
    rustix::fs::linkat(there.near()?, other, dir, temporary.as_slice(), AtFlags::empty())?;
    let named = replace(dir, &temporary, name);
    // Between two names of one object a rename does nothing at all.
    let _ = rustix::fs::unlinkat(dir, temporary.as_slice(), AtFlags::empty());
    named
}

/// Moves an object back to where it was; nothing may stand there.
///
/// # Errors
/// As the kernel says.
pub fn move_back(there: &Dir, name: &[u8], dir: &Dir, old: &[u8]) -> Result<(), FileError> {
    Ok(rustix::fs::renameat_with(there.near()?, name, dir.near()?, old, RenameFlags::NOREPLACE)?)
}

/// Removes what has the name; a directory only when it is empty.
///
/// # Errors
/// As the kernel says.
pub fn remove(dir: &Dir, name: &[u8], is_dir: bool) -> Result<(), FileError> {
    let flags = if is_dir { AtFlags::REMOVEDIR } else { AtFlags::empty() };
    Ok(rustix::fs::unlinkat(dir.near()?, name, flags)?)
}

/// Gives an object owner, mode, extended attributes, times and flags of a state. The object must be the one that was looked at: `inode`.
///
/// # Errors
/// [`FileError::WrongType`] when it is another one by now; others as the kernel says.
pub fn adjust(dir: &Dir, name: &[u8], inode: u64, state: &FileState) -> Result<(), FileError> {
    if !matches!(state.file_type, FileType::File | FileType::Dir) {
        if dir.stat(name)?.inode != inode {
            return Err(FileError::WrongType);
        }
        return apply_to_node(dir.near()?, name, state);
    }
    let fd = open(dir, name, state.file_type)?;
    if rustix::fs::fstat(&fd)?.st_ino != inode {
        return Err(FileError::WrongType);
    }
    loosen_open(fd.as_fd())?;
    apply(fd.as_fd(), state)?;
    put_flags(fd.as_fd(), state.flags)?;
    Ok(rustix::fs::fsync(&fd)?)
}

/// Takes away the flags that keep what has the name from being replaced or removed.
///
/// # Errors
/// As the kernel says.
pub fn loosen(dir: &Dir, name: &[u8], file_type: FileType) -> Result<(), FileError> {
    if !matches!(file_type, FileType::File | FileType::Dir) {
        return Ok(());
    }
    loosen_open(open(dir, name, file_type)?.as_fd())
}

/// Writes everything of the directory's filesystem to the disk.
///
/// # Errors
/// As the kernel says.
pub fn sync_filesystem(dir: &Dir) -> Result<(), FileError> {
    Ok(rustix::fs::syncfs(readable(dir)?)?)
}

/// Writes the names in a directory to the disk.
///
/// # Errors
/// As the kernel says.
pub fn sync_names(dir: &Dir) -> Result<(), FileError> {
    Ok(rustix::fs::fsync(readable(dir)?)?)
}

/// The directory once more: what was opened only to be passed cannot be synced.
fn readable(dir: &Dir) -> Result<OwnedFd, FileError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(dir.near()?, c".", flags, Mode::empty())?)
}

fn open(dir: &Dir, name: &[u8], file_type: FileType) -> Result<OwnedFd, FileError> {
    let kind = if file_type == FileType::Dir { OFlags::DIRECTORY } else { OFlags::NONBLOCK };
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NOCTTY | OFlags::CLOEXEC | kind;
    if dir.stat(name)?.file_type != file_type {
        return Err(FileError::WrongType);
    }
    Ok(rustix::fs::openat(dir.near()?, name, flags, Mode::empty())?)
}

fn loosen_open(fd: BorrowedFd<'_>) -> Result<(), FileError> {
    match attributes::of_open(fd)?.flags {
        Some(flags) if flags & FAST != 0 => put_flags(fd, Some(flags & !FAST)),
        _ => Ok(()),
    }
}

/// A name that nobody can guess: no link can wait there.
fn temporary_name() -> Vec<u8> {
    let mut random = [0u8; 16];
    // Without it, the clock and our number: `O_EXCL` and its like see to the rest.
    if rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty()) != Ok(random.len()) {
        let now = crate::clock::now();
        random =
            (u128::from(std::process::id()) << 96 | u128::from(now.as_micros().unsigned_abs())).to_le_bytes();
    }
    let mut name = TEMPORARY.to_vec();
    random.iter().for_each(|byte| name.extend(format!("{byte:02x}").bytes()));
    name
}

/// The temporary name becomes the name, whatever had it.
fn replace(dir: BorrowedFd<'_>, temporary: &[u8], name: &[u8]) -> Result<(), FileError> {
    let renamed = rustix::fs::renameat(dir, temporary, dir, name);
    if renamed.is_err() {
        let _ = rustix::fs::unlinkat(dir, temporary, AtFlags::empty());
    }
    Ok(renamed?)
}

/// Owner, extended attributes, mode and modification time, in the order in which none undoes another: a new owner takes set-id bits and
/// capabilities away.
fn apply(fd: BorrowedFd<'_>, state: &FileState) -> Result<(), FileError> {
    let (uid, gid) = (rustix::fs::Uid::from_raw(state.uid), rustix::fs::Gid::from_raw(state.gid));
    let is = rustix::fs::fstat(fd)?;
    if (is.st_uid, is.st_gid) != (state.uid, state.gid) {
        rustix::fs::fchown(fd, Some(uid), Some(gid))?;
    }
    put_xattrs(
        &attributes::of_open(fd)?.xattrs,
        state,
        |name| rustix::fs::fremovexattr(fd, name),
        |name, value| rustix::fs::fsetxattr(fd, name, value, XattrFlags::empty()),
    )?;
    rustix::fs::fchmod(fd, Mode::from_raw_mode(state.mode.into()))?;
    // The mode is part of an access list, and a new one may take capabilities away.
    Ok(rustix::fs::futimens(fd, &times(state))?)
}

/// The same for an object that is not opened for reading.
fn apply_to_node(dir: BorrowedFd<'_>, name: &[u8], state: &FileState) -> Result<(), FileError> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = rustix::fs::openat(dir, name, flags, Mode::empty())?;
    let (uid, gid) = (rustix::fs::Uid::from_raw(state.uid), rustix::fs::Gid::from_raw(state.gid));
    rustix::fs::chownat(&fd, c"", Some(uid), Some(gid), AtFlags::EMPTY_PATH)?;
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    put_xattrs(
        &attributes::of_node(fd.as_fd())?.xattrs,
        state,
        |name| rustix::fs::removexattr(path.as_str(), name),
        |name, value| rustix::fs::setxattr(path.as_str(), name, value, XattrFlags::empty()),
    )?;
    if state.file_type != FileType::Symlink {
        let mode = Mode::from_raw_mode(state.mode.into());
        rustix::fs::chmodat(rustix::fs::CWD, path.as_str(), mode, AtFlags::empty())?;
    }
    Ok(rustix::fs::utimensat(dir, name, &times(state), AtFlags::SYMLINK_NOFOLLOW)?)
}

/// Makes the extended attributes those of the state; capabilities last, since access lists may take them away.
fn put_xattrs(
    there: &Xattrs,
    state: &FileState,
    remove: impl Fn(&[u8]) -> Result<(), Errno>,
    set: impl Fn(&[u8], &[u8]) -> Result<(), Errno>,
) -> Result<(), FileError> {
    let wanted = state.extra.as_ref().map(|extra| &extra.xattrs);
    let wants = |name: &[u8]| wanted.and_then(|wanted| wanted.get(name));
    // XFS shows its own copies of access lists; they follow these by themselves.
    let is_copy = |name: &[u8]| name.starts_with(b"trusted.SGI_ACL_");
    for name in there.keys().filter(|name| wants(name).is_none() && !is_copy(name)) {
        match remove(name) {
            Ok(()) | Err(Errno::NODATA) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    let mut missing: Vec<_> = wanted.into_iter().flatten().filter(|(name, _)| !is_copy(name)).collect();
    missing.sort_by_key(|(name, _)| &***name == XATTR_CAPS);
    for (name, value) in missing {
        if there.get(name) != Some(value) {
            set(name, value)?;
        }
    }
    Ok(())
}

/// The flags that people set become these; those that the filesystem sets by itself stay.
fn put_flags(fd: BorrowedFd<'_>, wanted: Option<u32>) -> Result<(), FileError> {
    let Some(wanted) = wanted else { return Ok(()) };
    let there = match rustix::fs::ioctl_getflags(fd) {
        Ok(there) => there.bits(),
        // A filesystem without flags has none to put back.
        Err(_) if wanted == 0 => return Ok(()),
        Err(errno) => return Err(errno.into()),
    };
    let bits = there & !flags::SETTABLE | wanted & flags::SETTABLE;
    if bits == there {
        return Ok(());
    }
    Ok(rustix::fs::ioctl_setflags(fd, IFlags::from_bits_retain(bits))?)
}

fn times(state: &FileState) -> Timestamps {
    let omit = Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_OMIT };
    let mtime = Timespec { tv_sec: state.mtime.seconds, tv_nsec: state.mtime.nanos.into() };
    Timestamps { last_access: omit, last_modification: mtime }
}
