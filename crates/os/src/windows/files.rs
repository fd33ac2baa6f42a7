//! Safe opens and what they show, as `files` on Linux: below a directory's handle (`NtCreateFile`), one name at a time, a
//! link itself and never what it leads to (`FILE_OPEN_REPARSE_POINT`).
//!
//! There are no numeric owners and no mode: both ids are 0, and the mode says only whether a file is read-only. Owner and
//! access list are compared as the attribute `windows.security`.

use super::{handle, reparse};
use crate::attributes::{self, Attributes};
use crate::errno::{self, Errno};
pub use crate::file_error::FileError;
use crate::paths;
use crate::remote::Remote;
pub use crate::stamp::Stamp;
use std::mem::MaybeUninit;
use std::os::windows::fs::{FileExt, OpenOptionsExt};
use std::os::windows::io::{AsHandle, BorrowedHandle, OwnedHandle};
use std::sync::Arc;
use waxseal_model::{DeviceNumber, Digests, FileState, FileType, RawPath, Timestamp};
use windows_sys::Wdk::Storage::FileSystem::{
    FILE_DIRECTORY_FILE, FILE_NON_DIRECTORY_FILE, FILE_OPEN_FOR_BACKUP_INTENT, FILE_OPEN_NO_RECALL,
    FILE_OPEN_REPARSE_POINT, FILE_SYNCHRONOUS_IO_NONALERT,
};
use windows_sys::Win32::Foundation::ERROR_INVALID_HANDLE;
use windows_sys::Win32::Storage::FileSystem::{
    FILE_ATTRIBUTE_DIRECTORY, FILE_ATTRIBUTE_READONLY, FILE_ATTRIBUTE_REPARSE_POINT,
    FILE_FLAG_BACKUP_SEMANTICS, FILE_LIST_DIRECTORY, FILE_READ_ATTRIBUTES, FILE_READ_DATA, FILE_TRAVERSE,
    READ_CONTROL, SYNCHRONIZE,
};

/// Seconds from 1601 to 1970.
const EPOCH: i64 = 11_644_473_600;
/// What every open asks for: attributes, and who may do what.
const LOOK: u32 = FILE_READ_ATTRIBUTES | READ_CONTROL | SYNCHRONIZE;
/// Links themselves; contents that are kept elsewhere are not fetched.
const ITSELF: u32 = FILE_OPEN_REPARSE_POINT
    | FILE_SYNCHRONOUS_IO_NONALERT
    | FILE_OPEN_FOR_BACKUP_INTENT
    | FILE_OPEN_NO_RECALL;

fn from_io(error: &std::io::Error) -> FileError {
    errno::of(error, Errno(ERROR_INVALID_HANDLE)).into()
}

fn time(units: i64) -> Timestamp {
    let seconds = units.div_euclid(10_000_000) - EPOCH;
    Timestamp::new(seconds, u32::try_from(units.rem_euclid(10_000_000) * 100).unwrap_or(0))
}

fn state_of(object: BorrowedHandle<'_>) -> Result<FileState, FileError> {
    let identity = handle::identity(object)?;
    let basic = handle::basic(object)?;
    let bits = identity.dwFileAttributes;
    let is_link = bits & FILE_ATTRIBUTE_REPARSE_POINT != 0
        && matches!(handle::reparse_tag(object)?, reparse::SYMLINK | reparse::MOUNT_POINT);
    let is_dir = bits & FILE_ATTRIBUTE_DIRECTORY != 0;
    let file_type = match (is_link, is_dir) {
        (true, _) => FileType::Symlink,
        (false, true) => FileType::Dir,
        (false, false) => FileType::File,
    };
    let mode = match file_type {
        FileType::File => 0o666,
        _ => 0o777,
    };
    let read_only = bits & FILE_ATTRIBUTE_READONLY != 0;
    let wide = |high: u32, low: u32| u64::from(high) << 32 | u64::from(low);
    Ok(FileState {
        file_type,
        mode: if read_only { mode & !0o222 } else { mode },
        uid: 0,
        gid: 0,
        size: wide(identity.nFileSizeHigh, identity.nFileSizeLow),
        links: identity.nNumberOfLinks.into(),
        inode: wide(identity.nFileIndexHigh, identity.nFileIndexLow),
        device: DeviceNumber { major: identity.dwVolumeSerialNumber, minor: 0 },
        mount_root: false,
        mtime: time(basic.LastWriteTime),
        ctime: time(basic.ChangeTime),
        btime: Some(time(basic.CreationTime)),
        flags: None,
        digests: Digests::default(),
        extra: None,
    })
}

/// An open directory, the anchor of every look below it.
#[derive(Debug)]
pub struct Dir(OwnedHandle);

impl Dir {
    /// Opens the directory that holds `path`, following links as any program would: what lies above a watched path is
    /// outside of it. The second value is the name to use below it: the last component, or `.` for a drive.
    ///
    /// # Errors
    /// When a component does not exist or may not be passed.
    pub fn parent_of(path: &RawPath) -> Result<(Dir, Vec<u8>), FileError> {
        let (dir, name) = match path.parent() {
            Some(parent) if parent.as_bytes() != b"/" => (parent, path.name().to_vec()),
            _ => (path.clone(), b".".to_vec()),
        };
        let file = std::fs::OpenOptions::new()
            .access_mode(FILE_LIST_DIRECTORY | FILE_TRAVERSE | LOOK)
            .custom_flags(FILE_FLAG_BACKUP_SEMANTICS)
            .open(paths::to_path(&dir))
            .map_err(|error| from_io(&error))?;
        if !file.metadata().map_err(|error| from_io(&error))?.is_dir() {
            return Err(FileError::WrongType);
        }
        Ok((Dir(file.into()), name))
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

    fn open(&self, name: &[u8], access: u32, options: u32) -> Result<OwnedHandle, FileError> {
        handle::open_at(self.0.as_handle(), name, LOOK | access, ITSELF | options)
    }

    /// The same directory, for looking at what is mounted in it and may never answer.
    ///
    /// # Errors
    /// When there are too many handles.
    pub fn looking_into(&self, _: &Arc<Remote>) -> Result<Dir, FileError> {
        self.0.try_clone().map(Dir).map_err(|error| from_io(&error))
    }

    /// Opens a subdirectory for listing.
    ///
    /// # Errors
    /// [`FileError::WrongType`] when the name is no directory (any more), others as the system says.
    pub fn open_dir(&self, name: &[u8]) -> Result<Dir, FileError> {
        let dir = Dir(self.open(name, FILE_LIST_DIRECTORY | FILE_TRAVERSE, FILE_DIRECTORY_FILE)?);
        // A junction is a directory as well.
        if dir.stat_self()?.file_type == FileType::Dir { Ok(dir) } else { Err(FileError::WrongType) }
    }

    /// Opens a regular file for reading and looks at it through the handle.
    ///
    /// # Errors
    /// [`FileError::WrongType`] when what the name holds now is no regular file; nothing has been read then.
    pub fn open_file(&self, name: &[u8]) -> Result<(File, FileState), FileError> {
        let file = File(self.open(name, FILE_READ_DATA, FILE_NON_DIRECTORY_FILE)?.into());
        let state = file.stat()?;
        if state.file_type == FileType::File { Ok((file, state)) } else { Err(FileError::WrongType) }
    }

    /// Opens whatever the name holds without any effect on it, for its attributes.
    ///
    /// # Errors
    /// As the system says.
    pub fn open_node(&self, name: &[u8]) -> Result<Node, FileError> {
        self.open(name, 0, 0).map(Node)
    }

    /// The state of one name, without attributes that need more than a look.
    ///
    /// # Errors
    /// [`FileError::NotFound`] when nothing has the name.
    pub fn stat(&self, name: &[u8]) -> Result<FileState, FileError> {
        let access = FILE_READ_ATTRIBUTES | SYNCHRONIZE;
        state_of(handle::open_at(self.0.as_handle(), name, access, ITSELF)?.as_handle())
    }

    /// The state of the directory itself.
    ///
    /// # Errors
    /// As the system says.
    pub fn stat_self(&self) -> Result<FileState, FileError> {
        state_of(self.0.as_handle())
    }

    /// Attributes of the directory itself.
    ///
    /// # Errors
    /// As the system says.
    pub fn attributes(&self) -> Result<Attributes, FileError> {
        attributes::of(self.0.as_handle())
    }

    /// Calls `each` with every name, in the order of the filesystem, and with whether the list itself says that it is a
    /// regular file. The buffer is for other systems.
    ///
    /// # Errors
    /// As the system says; names already given stay given.
    pub fn list(&self, _: &mut [MaybeUninit<u8>], each: impl FnMut(&[u8], bool)) -> Result<(), FileError> {
        handle::list(self.0.as_handle(), each)
    }
}

/// A regular file, open for reading.
#[derive(Debug)]
pub struct File(std::fs::File);

impl File {
    /// Opens a regular file that a person named, following links as they would expect.
    ///
    /// # Errors
    /// [`FileError::WrongType`] when it is no regular file; nothing has been read then.
    pub fn named(path: &std::path::Path) -> Result<(File, FileState), FileError> {
        let opened = std::fs::OpenOptions::new()
            .access_mode(FILE_READ_DATA | LOOK)
            .custom_flags(FILE_FLAG_BACKUP_SEMANTICS)
            .open(path);
        let file = File(opened.map_err(|error| from_io(&error))?);
        let state = file.stat()?;
        if state.file_type == FileType::File { Ok((file, state)) } else { Err(FileError::WrongType) }
    }

    /// Reads at an offset; 0 at the end. Short reads happen.
    ///
    /// # Errors
    /// As the system says.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize, FileError> {
        self.0.seek_read(buffer, offset).map_err(|error| from_io(&error))
    }

    /// Has the system forget what it keeps of the content in memory: Windows cannot be asked to.
    pub fn forget_cached(&self) {}

    /// The state through the handle, whatever the name holds by now.
    ///
    /// # Errors
    /// As the system says.
    pub fn stat(&self) -> Result<FileState, FileError> {
        state_of(self.0.as_handle())
    }

    /// What shows a change since [`Dir::open_file`] looked at it.
    ///
    /// # Errors
    /// As the system says.
    pub fn stamp(&self) -> Result<Stamp, FileError> {
        Ok(Stamp::from(&self.stat()?))
    }

    /// Who may do what, and attributes that people set.
    ///
    /// # Errors
    /// As the system says.
    pub fn attributes(&self) -> Result<Attributes, FileError> {
        attributes::of(self.0.as_handle())
    }

    /// The next stretch of data at or after `offset`: start and end in bytes. Holes are not told from data here.
    pub fn next_data(&self, offset: u64, size: u64) -> Option<(u64, u64)> {
        Some((offset, size))
    }

    /// Bytes that count as allocated for it: all of them, since holes are not told.
    ///
    /// # Errors
    /// As the system says.
    pub fn allocated(&self) -> Result<u64, FileError> {
        Ok(self.stat()?.size)
    }

    /// Whether some process has the file open for writing. Windows does not tell.
    pub fn has_writer(&self) -> Option<bool> {
        None
    }
}

/// Any object, opened for nothing but looking.
#[derive(Debug)]
pub struct Node(OwnedHandle);

impl Node {
    /// The state through the handle.
    ///
    /// # Errors
    /// As the system says.
    pub fn stat(&self) -> Result<FileState, FileError> {
        state_of(self.0.as_handle())
    }

    /// Where a symbolic link or a junction points, in the spelling of Windows.
    ///
    /// # Errors
    /// [`FileError::WrongType`] when it is no link.
    pub fn read_link(&self) -> Result<Box<[u8]>, FileError> {
        handle::read_link(self.0.as_handle())
    }

    /// Who may do what, and attributes that people set.
    ///
    /// # Errors
    /// As the system says.
    pub fn attributes(&self) -> Result<Attributes, FileError> {
        attributes::of(self.0.as_handle())
    }
}
