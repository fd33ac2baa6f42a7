//! Paths as people type them, and small facts about this system.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "every file system call lives in this crate"
)]

use std::io;
use std::path::{Component, Path, PathBuf};
use waxseal_model::RawPath;

/// The absolute path that a typed one means: below the working directory when relative, `.` and empty components
/// dropped. A last component that is a link is not followed; with `..` in it, everything before is.
///
/// # Errors
/// When there is no working directory, or a `..` leads through something that does not exist.
pub fn absolute(typed: &Path) -> io::Result<RawPath> {
    let mut path = std::path::absolute(system::typed(typed))?;
    if path.components().any(|part| part == Component::ParentDir) {
        path = match (path.parent(), path.file_name()) {
            (Some(parent), Some(name)) => parent.canonicalize()?.join(name),
            _ => path.canonicalize()?,
        };
    }
    RawPath::normalized(from_path(&path).as_bytes()).map_err(|error| io::Error::other(error.to_string()))
}

/// The path with every link followed, where it exists; as [`absolute`] where it does not.
pub fn real(path: &Path) -> Option<RawPath> {
    match path.canonicalize() {
        Ok(path) => Some(from_path(&path)),
        Err(_) => absolute(path).ok(),
    }
}

#[cfg(unix)]
mod system {
    use super::*;
    use std::os::unix::ffi::OsStrExt;

    /// The bytes of a path of the standard library.
    pub fn from_path(path: &Path) -> RawPath {
        RawPath::new(path.as_os_str().as_bytes())
    }

    /// What a person typed, as the standard library takes it.
    pub fn typed(path: &Path) -> &Path {
        path
    }

    /// The path for the standard library.
    pub fn to_path(path: &RawPath) -> PathBuf {
        PathBuf::from(std::ffi::OsStr::from_bytes(path.as_bytes()))
    }

    /// The path of these bytes, as they stand in a list that another program wrote.
    pub fn named(bytes: &[u8]) -> PathBuf {
        PathBuf::from(std::ffi::OsStr::from_bytes(bytes))
    }

    /// Whether others than the owner may write to what stands there.
    pub fn others_may_write(path: &Path) -> bool {
        use std::os::unix::fs::MetadataExt;
        path.metadata().is_ok_and(|meta| meta.mode() & 0o022 != 0)
    }

    /// The name this host calls itself.
    pub fn host_name() -> String {
        rustix::system::uname().nodename().to_string_lossy().into_owned()
    }
}
#[cfg(windows)]
use crate::windows::paths as system;
pub use system::{from_path, host_name, named, others_may_write, to_path};

/// Whether anything has the name, be it a link that leads nowhere.
pub fn exists(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

/// Whether a directory stands there, not a link to one.
pub fn is_real_directory(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|meta| meta.is_dir())
}

/// Where a link points, when the path is one.
pub fn link_target(path: &RawPath) -> Option<PathBuf> {
    std::fs::read_link(to_path(path)).ok()
}

/// The `ID` line of os-release, such as `debian`.
pub fn distribution() -> Option<String> {
    let text = ["/etc/os-release", "/usr/lib/os-release"]
        .into_iter()
        .find_map(|p| std::fs::read_to_string(p).ok())?;
    let id = text.lines().find_map(|line| line.strip_prefix("ID="))?;
    Some(id.trim_matches(['"', '\'']).to_string())
}
