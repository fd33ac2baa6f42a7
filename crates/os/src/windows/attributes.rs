//! What is compared beside content and times, as extended attributes: who may do what, and attributes that people set.

use super::handle;
use crate::files::FileError;
use std::os::windows::io::BorrowedHandle;
use waxseal_model::state::Xattrs;
use windows_sys::Win32::Storage::FileSystem::{
    FILE_ATTRIBUTE_COMPRESSED, FILE_ATTRIBUTE_HIDDEN, FILE_ATTRIBUTE_SYSTEM,
};

/// What needs an open object to be seen.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Attributes {
    /// `windows.security`: owner, group and access list (a self-relative `SECURITY_DESCRIPTOR`). `windows.attributes`:
    /// `hidden`, `system`.
    pub xattrs: Xattrs,
    /// Inode flags that count, as bits of Linux: compressed.
    pub flags: Option<u32>,
}

/// The bit of Linux for a compressed file.
const COMPRESSED: u32 = 0x4;

pub(crate) fn of(object: BorrowedHandle<'_>) -> Result<Attributes, FileError> {
    let bits = handle::basic(object)?.FileAttributes;
    let named = [(FILE_ATTRIBUTE_HIDDEN, "hidden"), (FILE_ATTRIBUTE_SYSTEM, "system")];
    let words: Vec<&str> = named.iter().filter(|(bit, _)| bits & bit != 0).map(|(_, word)| *word).collect();
    let mut xattrs = Xattrs::new();
    if !words.is_empty() {
        xattrs.insert(b"windows.attributes".as_slice().into(), words.join(" ").into_bytes().into());
    }
    if let Some(security) = handle::security(object)? {
        xattrs.insert(b"windows.security".as_slice().into(), security.into());
    }
    let flags = if bits & FILE_ATTRIBUTE_COMPRESSED == 0 { 0 } else { COMPRESSED };
    Ok(Attributes { xattrs, flags: Some(flags) })
}
