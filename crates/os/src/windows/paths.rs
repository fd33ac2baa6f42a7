//! Paths between Waxseal and the standard library.
#![allow(unsafe_code, reason = "the long name of a file has no safe wrapper")]

use super::wide;
use std::ffi::OsString;
use std::os::windows::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use waxseal_model::RawPath;
use windows_sys::Win32::Storage::FileSystem::GetLongPathNameW;

/// A path of the standard library as Waxseal writes it: see [`wide`].
pub fn from_path(path: &Path) -> RawPath {
    RawPath::new(wide::path_to_bytes(path.as_os_str().encode_wide()))
}

/// The path for the standard library.
pub fn to_path(path: &RawPath) -> PathBuf {
    PathBuf::from(OsString::from_wide(&wide::path_from_bytes(path.as_bytes())))
}

/// The path of these bytes, as they stand in a list that another program wrote.
pub fn named(bytes: &[u8]) -> PathBuf {
    PathBuf::from(OsString::from_wide(&wide::from_bytes(bytes)))
}

/// What a person typed, as the standard library takes it: see [`wide::typed`].
pub fn typed(path: &Path) -> PathBuf {
    let units: Vec<u16> = path.as_os_str().encode_wide().collect();
    PathBuf::from(OsString::from_wide(&wide::typed(&units)))
}

/// Whether others than the owner may write to what stands there: not asked, access lists are not looked at.
pub fn others_may_write(_: &Path) -> bool {
    false
}

/// The name this host calls itself.
pub fn host_name() -> String {
    std::env::var("COMPUTERNAME").unwrap_or_else(|_| "windows".into())
}

/// The path with every short name (`PROGRA~1`) in full; `None` when nothing is there.
pub fn long_name(path: &Path) -> Option<PathBuf> {
    let short: Vec<u16> = path.as_os_str().encode_wide().chain([0]).collect();
    let mut long = vec![0u16; 512];
    loop {
        let room = u32::try_from(long.len()).ok()?;
        // SAFETY: the name ends with a zero, and the length is the buffer's.
        let len = unsafe { GetLongPathNameW(short.as_ptr(), long.as_mut_ptr(), room) } as usize;
        match len {
            0 => return None,
            len if len < long.len() => return Some(PathBuf::from(OsString::from_wide(long.get(..len)?))),
            len => long.resize(len + 1, 0),
        }
    }
}
