//! What the disk says, by nothing but the standard library and another implementation of SHA-256: the judge of the
//! program's record shares no code with it.

use rustix::fs::XattrFlags;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

/// The extended attribute that the writers set.
pub(super) const XATTR: &str = "user.torture";

/// A path's state, as far as it counts by default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct State {
    pub kind: &'static str,
    pub mode: u32,
    pub owner: (u32, u32),
    pub xattr: Option<Vec<u8>>,
    /// What does not count for directories.
    pub rest: Option<Rest>,
}

/// Size, time and content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rest {
    pub size: u64,
    pub mtime: (i64, i64),
    pub sha256: Option<String>,
    pub target: Option<Vec<u8>>,
}

/// Every path of a tree that nobody changes meanwhile, the top among them.
pub(super) fn walk(top: &Path) -> io::Result<BTreeMap<Vec<u8>, State>> {
    let mut found = BTreeMap::new();
    let mut todo = vec![top.to_owned()];
    while let Some(path) = todo.pop() {
        let metadata = fs::symlink_metadata(&path)?;
        if metadata.is_dir() {
            for entry in fs::read_dir(&path)? {
                todo.push(entry?.path());
            }
        }
        found.insert(path.as_os_str().as_bytes().to_vec(), state(&path, &metadata)?);
    }
    Ok(found)
}

fn state(path: &Path, metadata: &Metadata) -> io::Result<State> {
    let kind = kind(metadata);
    let rest = match kind {
        "dir" => None,
        _ => Some(Rest {
            size: metadata.size(),
            mtime: (metadata.mtime(), metadata.mtime_nsec()),
            sha256: if kind == "file" { Some(sha256(path)?) } else { None },
            target: match kind {
                "symlink" => Some(fs::read_link(path)?.as_os_str().as_bytes().to_vec()),
                _ => None,
            },
        }),
    };
    let mut value = [0_u8; 64];
    let xattr = rustix::fs::lgetxattr(path, XATTR, &mut value).ok().map(|length| value[..length].to_vec());
    let owner = (metadata.uid(), metadata.gid());
    Ok(State { kind, mode: metadata.mode() & 0o7777, owner, xattr, rest })
}

fn kind(metadata: &Metadata) -> &'static str {
    let file_type = metadata.file_type();
    match () {
        () if file_type.is_dir() => "dir",
        () if file_type.is_file() => "file",
        () if file_type.is_symlink() => "symlink",
        () if file_type.is_fifo() => "fifo",
        () if file_type.is_socket() => "socket",
        () if file_type.is_char_device() => "chardev",
        () => "blockdev",
    }
}

fn sha256(path: &Path) -> io::Result<String> {
    let mut hash = Sha256::new();
    hash.update(fs::read(path)?);
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Sets the attribute, or takes it off.
pub(super) fn set_xattr(path: &Path, value: Option<u64>) -> io::Result<()> {
    match value {
        Some(value) => rustix::fs::lsetxattr(path, XATTR, value.to_string().as_bytes(), XattrFlags::empty())?,
        None => rustix::fs::lremovexattr(path, XATTR)?,
    }
    Ok(())
}
