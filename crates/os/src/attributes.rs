//! Extended attributes and inode flags of an open object.

use crate::files::{FileError, inode_flags};
use rustix::io::Errno;
#[cfg(target_os = "linux")]
use std::os::fd::AsRawFd;
use std::os::fd::BorrowedFd;
use waxseal_model::state::Xattrs;

/// What needs a descriptor to be seen.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Attributes {
    /// All extended attributes by name.
    pub xattrs: Xattrs,
    /// Inode flags that count; `None` where the filesystem has none.
    pub flags: Option<u32>,
}

/// How often a list that changes while being read is read again.
const TRIES: usize = 8;
/// The kernel's own limit of one value and of one list of names (`XATTR_SIZE_MAX`, `XATTR_LIST_MAX`). macOS has none
/// for resource forks, which nobody has made large since the nineties.
const LARGEST: usize = if cfg!(target_os = "linux") { 64 * 1024 } else { 16 << 20 };
/// What the kernel says of a name that an object does not have.
#[cfg(target_os = "linux")]
const ABSENT: Errno = Errno::NODATA;
#[cfg(not(target_os = "linux"))]
const ABSENT: Errno = Errno::NOATTR;

pub(crate) fn of_open(fd: BorrowedFd<'_>) -> Result<Attributes, FileError> {
    let xattrs = read(
        |buffer| rustix::fs::flistxattr(fd, buffer),
        |name, buffer| rustix::fs::fgetxattr(fd, name, buffer),
    )?;
    Ok(Attributes { xattrs, flags: inode_flags(fd) })
}

/// Attributes through `/proc`, since the calls on descriptors refuse one opened with `O_PATH`.
#[cfg(target_os = "linux")]
pub(crate) fn of_node(fd: BorrowedFd<'_>) -> Result<Attributes, FileError> {
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    let xattrs = read(
        |buffer| rustix::fs::listxattr(path.as_str(), buffer),
        |name, buffer| rustix::fs::getxattr(path.as_str(), name, buffer),
    )?;
    Ok(Attributes { xattrs, flags: None })
}

fn read(
    list: impl Fn(&mut [u8]) -> Result<usize, Errno>,
    get: impl Fn(&[u8], &mut [u8]) -> Result<usize, Errno>,
) -> Result<Xattrs, FileError> {
    let mut small = [0u8; 512];
    match list(&mut small) {
        Ok(0) | Err(Errno::NOTSUP | Errno::NOSYS) => return Ok(Xattrs::new()),
        Ok(_) | Err(Errno::RANGE) => {}
        Err(errno) => return Err(errno.into()),
    }
    for _ in 0..TRIES {
        let names = sized(&list)?;
        let mut xattrs = Xattrs::new();
        let mut whole = true;
        for name in names.split(|b| *b == 0).filter(|name| !name.is_empty()) {
            match sized(&|buffer: &mut [u8]| get(name, buffer)) {
                Ok(value) => drop(xattrs.insert(name.into(), value.into())),
                // It vanished between list and look: the list is read again.
                Err(FileError::Os(ABSENT)) => whole = false,
                Err(error) => return Err(error),
            }
        }
        if whole {
            return Ok(xattrs);
        }
    }
    Err(FileError::Os(Errno::AGAIN))
}

/// The result of a call that fills a buffer and says `ERANGE` when it is too small.
fn sized(call: &impl Fn(&mut [u8]) -> Result<usize, Errno>) -> Result<Vec<u8>, FileError> {
    let mut buffer = vec![0u8; 512];
    loop {
        match call(&mut buffer) {
            Ok(len) => {
                buffer.truncate(len);
                return Ok(buffer);
            }
            Err(Errno::RANGE) if buffer.len() < LARGEST => buffer.resize(buffer.len() * 4, 0),
            Err(errno) => return Err(errno.into()),
        }
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "tests make their own files")]

    use super::*;
    use crate::files::Dir;
    use rustix::fs::XattrFlags;
    use std::cell::Cell;
    use std::os::unix::ffi::OsStrExt;
    use std::path::Path;
    use tempfile::TempDir;
    use waxseal_model::RawPath;

    /// A call that fills a buffer, as the kernel does it.
    fn fill(answer: &[u8], buffer: &mut [u8]) -> Result<usize, Errno> {
        let room = buffer.get_mut(..answer.len()).ok_or(Errno::RANGE)?;
        room.copy_from_slice(answer);
        Ok(answer.len())
    }

    fn one(name: &[u8], value: &[u8]) -> Xattrs {
        [(name.into(), value.into())].into_iter().collect()
    }

    #[test]
    fn a_filesystem_without_them_has_none() {
        for errno in [Errno::NOTSUP, Errno::NOSYS] {
            assert_eq!(read(|_| Err(errno), |_, _| panic!("a value")), Ok(Xattrs::new()));
        }
        assert_eq!(read(|_| Ok(0), |_, _| panic!("a value")), Ok(Xattrs::new()));
        assert_eq!(read(|_| Err(Errno::ACCESS), |_, _| Ok(0)), Err(FileError::Os(Errno::ACCESS)));
    }

    #[test]
    fn large_lists_and_values_are_read_whole() {
        let value = vec![7; LARGEST];
        let names: Vec<u8> = (0..1500).flat_map(|n| format!("user.{n:04}\0").into_bytes()).collect();
        let xattrs = read(|buffer| fill(&names, buffer), |_, buffer| fill(&value, buffer)).unwrap();
        assert_eq!(xattrs.len(), 1500);
        assert!(xattrs.iter().all(|(_, v)| v.len() == LARGEST));
        // More than a kernel gives.
        let endless = read(|buffer| fill(b"user.a\0", buffer), |_, _| Err(Errno::RANGE));
        assert_eq!(endless.map(drop), Err(FileError::Os(Errno::RANGE)));
    }

    #[test]
    fn one_that_vanishes_between_list_and_look_makes_the_list_be_read_again() {
        let looks = Cell::new(0);
        let list = |buffer: &mut [u8]| {
            looks.set(looks.get() + 1);
            // Once to see whether there are any, once for the names.
            fill(if looks.get() <= 2 { b"user.a\0user.b\0" } else { b"user.b\0" }, buffer)
        };
        let get = |name: &[u8], buffer: &mut [u8]| match name {
            b"user.b" => fill(b"value", buffer),
            _ => Err(Errno::NODATA),
        };
        assert_eq!(read(list, get), Ok(one(b"user.b", b"value")));
    }

    #[test]
    fn a_list_that_never_holds_still_is_no_answer() {
        let torn = read(|buffer| fill(b"user.a\0", buffer), |_, _| Err(Errno::NODATA));
        assert_eq!(torn, Err(FileError::Os(Errno::AGAIN)));
        let unreadable = read(|buffer| fill(b"user.a\0", buffer), |_, _| Err(Errno::IO));
        assert_eq!(unreadable, Err(FileError::Os(Errno::IO)));
    }

    #[test]
    fn a_list_that_grows_is_read_again() {
        let sizes = Cell::new(600);
        let list = |buffer: &mut [u8]| {
            // Longer at every look, up to what a kernel gives.
            sizes.set((sizes.get() * 2).min(40_000));
            let names = b"user.x\0".repeat(sizes.get() / 7);
            fill(&names, buffer)
        };
        assert_eq!(read(list, |_, buffer| fill(b"1", buffer)), Ok(one(b"user.x", b"1")));
    }

    fn dir(path: &Path) -> Dir {
        let (parent, name) = Dir::parent_of(&RawPath::new(path.as_os_str().as_bytes())).unwrap();
        parent.open_dir(&name).unwrap()
    }

    #[test]
    fn files_directories_and_other_nodes_show_theirs() {
        let home = TempDir::new().unwrap();
        let file = home.path().join("file");
        std::fs::write(&file, "x").unwrap();
        let set = |path: &Path, value: &[u8]| {
            rustix::fs::setxattr(path, "user.waxseal", value, XattrFlags::empty())
        };
        if set(&file, b"one\0two").is_err() {
            // A filesystem without extended attributes has nothing to show.
            return;
        }
        set(home.path(), b"of a directory").unwrap();
        let dir = dir(home.path());
        let (open, _) = dir.open_file(b"file").unwrap();
        assert_eq!(open.attributes().unwrap().xattrs, one(b"user.waxseal", b"one\0two"));
        let node = dir.open_node(b"file").unwrap();
        assert_eq!(node.attributes().unwrap().xattrs, one(b"user.waxseal", b"one\0two"));
        assert_eq!(dir.attributes().unwrap().xattrs, one(b"user.waxseal", b"of a directory"));
        // A link shows its own, and never those of what it points to.
        std::os::unix::fs::symlink("file", home.path().join("link")).unwrap();
        let link = dir.open_node(b"link").unwrap();
        assert_eq!(link.attributes().unwrap().xattrs, Xattrs::new());
    }

    #[test]
    fn flags_are_those_that_people_set() {
        let home = TempDir::new().unwrap();
        let path = home.path().join("file");
        std::fs::write(&path, "x").unwrap();
        let file = std::fs::File::open(&path).unwrap();
        let Ok(before) = rustix::fs::ioctl_getflags(&file) else { return };
        let flags = || dir(home.path()).open_file(b"file").unwrap().0.attributes().unwrap().flags;
        // What the filesystem sets by itself (extents, say) does not show.
        assert_eq!(flags(), Some(before.bits() & waxseal_model::flags::SETTABLE));
        if rustix::fs::ioctl_setflags(&file, before | rustix::fs::IFlags::NODUMP).is_ok() {
            assert_eq!(flags().map(|bits| bits & 0x40), Some(0x40));
        }
    }
}
