//! Open objects by their handles: opened below a directory's handle, asked for what they are, listed.
#![allow(unsafe_code, reason = "opens below a handle and what they show have no safe wrapper")]

use super::{reparse, wide};
use crate::errno::Errno;
use crate::file_error::FileError;
use std::ffi::c_void;
use std::mem::{size_of, zeroed};
use std::os::windows::io::{AsRawHandle, BorrowedHandle, FromRawHandle, OwnedHandle};
use std::ptr::null;
use windows_sys::Wdk::Foundation::OBJECT_ATTRIBUTES;
use windows_sys::Wdk::Storage::FileSystem::{FILE_OPEN, NtCreateFile};
use windows_sys::Win32::Foundation::{
    ERROR_INVALID_FUNCTION, ERROR_NO_MORE_FILES, ERROR_NOT_SUPPORTED, GetLastError, OBJ_CASE_INSENSITIVE,
    RtlNtStatusToDosError, STATUS_DELETE_PENDING, STATUS_FILE_IS_A_DIRECTORY, UNICODE_STRING,
};
use windows_sys::Win32::Security::{
    DACL_SECURITY_INFORMATION, GROUP_SECURITY_INFORMATION, GetKernelObjectSecurity,
    OWNER_SECURITY_INFORMATION,
};
use windows_sys::Win32::Storage::FileSystem::{
    BY_HANDLE_FILE_INFORMATION, FILE_ATTRIBUTE_DIRECTORY, FILE_ATTRIBUTE_REPARSE_POINT,
    FILE_ATTRIBUTE_TAG_INFO, FILE_BASIC_INFO, FILE_INFO_BY_HANDLE_CLASS, FILE_SHARE_DELETE, FILE_SHARE_READ,
    FILE_SHARE_WRITE, FileAttributeTagInfo, FileBasicInfo, FileFullDirectoryInfo,
    FileFullDirectoryRestartInfo, GetFileInformationByHandle, GetFileInformationByHandleEx,
};
use windows_sys::Win32::System::IO::{DeviceIoControl, IO_STATUS_BLOCK};
use windows_sys::Win32::System::Ioctl::FSCTL_GET_REPARSE_POINT;

/// The largest that a reparse point may be (`MAXIMUM_REPARSE_DATA_BUFFER_SIZE`).
const LARGEST_REPARSE: usize = 16 * 1024;
/// The largest security descriptor that is looked at; access lists end at 64 KiB.
const LARGEST_SECURITY: u32 = 256 * 1024;
/// The attributes of what is no regular file.
const UNLIKE_FILES: u32 = FILE_ATTRIBUTE_DIRECTORY | FILE_ATTRIBUTE_REPARSE_POINT;
/// What one call lists at most, in units of eight bytes.
const LIST: usize = 8 * 1024;

fn last() -> FileError {
    // SAFETY: it only reads a number of this thread.
    Errno(unsafe { GetLastError() }).into()
}

/// Opens one name below a directory's handle, or that directory again by `.`, without following a link when `options`
/// say so.
pub fn open_at(
    dir: BorrowedHandle<'_>,
    name: &[u8],
    access: u32,
    options: u32,
) -> Result<OwnedHandle, FileError> {
    let bad = name.is_empty() || name == b".." || name.iter().any(|byte| b"/\\:\0".contains(byte));
    if bad {
        return Err(FileError::BadName);
    }
    let mut units = if name == b"." { Vec::new() } else { wide::from_bytes(name) };
    let length = u16::try_from(units.len() * 2).map_err(|_| FileError::BadName)?;
    let name = UNICODE_STRING { Length: length, MaximumLength: length, Buffer: units.as_mut_ptr() };
    let object = OBJECT_ATTRIBUTES {
        Length: size_of::<OBJECT_ATTRIBUTES>() as u32,
        RootDirectory: dir.as_raw_handle(),
        ObjectName: &raw const name,
        Attributes: OBJ_CASE_INSENSITIVE as _,
        SecurityDescriptor: null(),
        SecurityQualityOfService: null(),
    };
    let mut handle = std::ptr::null_mut();
    // SAFETY: an all-zero status block is valid; it is only written to.
    let mut status: IO_STATUS_BLOCK = unsafe { zeroed() };
    let share = FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE;
    // SAFETY: every pointer is valid for the call, and the name's length is that of its buffer.
    let result = unsafe {
        NtCreateFile(
            &mut handle,
            access,
            &object,
            &mut status,
            null(),
            0,
            share,
            FILE_OPEN,
            options,
            null(),
            0,
        )
    };
    match result {
        // SAFETY: the call succeeded, so the handle is open and nobody else owns it.
        0.. => Ok(unsafe { OwnedHandle::from_raw_handle(handle) }),
        STATUS_FILE_IS_A_DIRECTORY => Err(FileError::WrongType),
        STATUS_DELETE_PENDING => Err(FileError::NotFound),
        // SAFETY: it only translates a number.
        other => Err(Errno(unsafe { RtlNtStatusToDosError(other) }).into()),
    }
}

/// One fixed structure of what `GetFileInformationByHandleEx` knows.
fn ask<T>(object: BorrowedHandle<'_>, class: FILE_INFO_BY_HANDLE_CLASS) -> Result<T, FileError> {
    // SAFETY: T is a structure of numbers (see the callers), for which zeroes are valid.
    let mut answer: T = unsafe { zeroed() };
    // SAFETY: the pointer is valid for the size given.
    let result = unsafe {
        GetFileInformationByHandleEx(
            object.as_raw_handle(),
            class,
            (&raw mut answer).cast::<c_void>(),
            size_of::<T>() as u32,
        )
    };
    if result == 0 { Err(last()) } else { Ok(answer) }
}

/// Times and attributes.
pub fn basic(object: BorrowedHandle<'_>) -> Result<FILE_BASIC_INFO, FileError> {
    ask(object, FileBasicInfo)
}

/// The tag of what is more than a file or a directory.
pub fn reparse_tag(object: BorrowedHandle<'_>) -> Result<u32, FileError> {
    Ok(ask::<FILE_ATTRIBUTE_TAG_INFO>(object, FileAttributeTagInfo)?.ReparseTag)
}

/// Size, links, volume and number.
pub fn identity(object: BorrowedHandle<'_>) -> Result<BY_HANDLE_FILE_INFORMATION, FileError> {
    // SAFETY: a structure of numbers, for which zeroes are valid.
    let mut answer: BY_HANDLE_FILE_INFORMATION = unsafe { zeroed() };
    // SAFETY: the pointer is valid for the call.
    let result = unsafe { GetFileInformationByHandle(object.as_raw_handle(), &mut answer) };
    if result == 0 { Err(last()) } else { Ok(answer) }
}

/// Owner, group and access list; `None` where the filesystem has none.
pub fn security(object: BorrowedHandle<'_>) -> Result<Option<Vec<u8>>, FileError> {
    let parts = OWNER_SECURITY_INFORMATION | GROUP_SECURITY_INFORMATION | DACL_SECURITY_INFORMATION;
    let mut buffer = vec![0u8; 512];
    loop {
        let room = buffer.len() as u32;
        let mut needed = 0;
        // SAFETY: the buffer is as long as is said.
        let result = unsafe {
            GetKernelObjectSecurity(
                object.as_raw_handle(),
                parts,
                buffer.as_mut_ptr().cast(),
                room,
                &mut needed,
            )
        };
        if result != 0 {
            buffer.truncate(needed.min(room) as usize);
            return Ok(Some(buffer));
        }
        match last() {
            FileError::Os(Errno(ERROR_NOT_SUPPORTED | ERROR_INVALID_FUNCTION)) => return Ok(None),
            _ if needed > room && needed <= LARGEST_SECURITY => buffer.resize(needed as usize, 0),
            error => return Err(error),
        }
    }
}

/// Where a link leads.
pub fn read_link(object: BorrowedHandle<'_>) -> Result<Box<[u8]>, FileError> {
    let mut buffer = vec![0u8; LARGEST_REPARSE];
    let mut len = 0;
    // SAFETY: the buffer is as long as is said, and nothing is waited for.
    let result = unsafe {
        DeviceIoControl(
            object.as_raw_handle(),
            FSCTL_GET_REPARSE_POINT,
            null(),
            0,
            buffer.as_mut_ptr().cast(),
            LARGEST_REPARSE as u32,
            &mut len,
            std::ptr::null_mut(),
        )
    };
    if result == 0 {
        return Err(last());
    }
    let data = buffer.get(..len as usize).unwrap_or_default();
    reparse::target(data).ok_or(FileError::WrongType)
}

/// Calls `each` with every name in a directory, without `.` and `..`, and with whether it is a regular file.
pub fn list(dir: BorrowedHandle<'_>, mut each: impl FnMut(&[u8], bool)) -> Result<(), FileError> {
    // The system wants it aligned.
    let mut buffer = vec![0u64; LIST];
    let mut class = FileFullDirectoryRestartInfo;
    loop {
        // SAFETY: the buffer is as long as is said.
        let result = unsafe {
            GetFileInformationByHandleEx(
                dir.as_raw_handle(),
                class,
                buffer.as_mut_ptr().cast(),
                (LIST * 8) as u32,
            )
        };
        if result == 0 {
            return match last() {
                FileError::Os(Errno(ERROR_NO_MORE_FILES)) => Ok(()),
                error => Err(error),
            };
        }
        // SAFETY: the same memory as bytes; every value is a valid byte.
        let bytes = unsafe { std::slice::from_raw_parts(buffer.as_ptr().cast::<u8>(), LIST * 8) };
        entries(bytes, &mut each);
        class = FileFullDirectoryInfo;
    }
}

/// The names of a chain of `FILE_FULL_DIR_INFO`.
fn entries(bytes: &[u8], each: &mut impl FnMut(&[u8], bool)) {
    /// Where the attributes are, a name's length, and where the name begins.
    const ATTRIBUTES: usize = 56;
    const LENGTH: usize = 60;
    const NAME: usize = 68;
    let number = |entry: &[u8], at: usize| {
        let bytes: Option<[u8; 4]> = entry.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
        bytes.map_or(0, |bytes| u32::from_le_bytes(bytes) as usize)
    };
    let mut entry = bytes;
    loop {
        let name = entry.get(NAME..NAME + number(entry, LENGTH)).unwrap_or_default();
        let units = name.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
        match wide::to_bytes(units).as_slice() {
            b"" | b"." | b".." => {}
            name => each(name, number(entry, ATTRIBUTES) as u32 & UNLIKE_FILES == 0),
        }
        match number(entry, 0) {
            0 => return,
            next => entry = entry.get(next..).unwrap_or_default(),
        }
    }
}
