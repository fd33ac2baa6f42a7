//! The file state: what is known of one path at one moment.

use crate::digest::Digests;
use crate::time::Timestamp;
use std::collections::BTreeMap;

/// What kind of object a path names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum FileType {
    /// Regular file.
    File = 0,
    /// Directory.
    Dir = 1,
    /// Symbolic link.
    Symlink = 2,
    /// Named pipe.
    Fifo = 3,
    /// Unix socket.
    Socket = 4,
    /// Character device.
    CharDev = 5,
    /// Block device.
    BlockDev = 6,
}

impl FileType {
    /// All types.
    pub const ALL: [FileType; 7] = [
        FileType::File,
        FileType::Dir,
        FileType::Symlink,
        FileType::Fifo,
        FileType::Socket,
        FileType::CharDev,
        FileType::BlockDev,
    ];

    /// The contract's name.
    pub const fn name(self) -> &'static str {
        match self {
            FileType::File => "file",
            FileType::Dir => "dir",
            FileType::Symlink => "symlink",
            FileType::Fifo => "fifo",
            FileType::Socket => "socket",
            FileType::CharDev => "chardev",
            FileType::BlockDev => "blockdev",
        }
    }

    /// The type of this code, as [`record`](crate::record) stores it.
    pub fn from_code(code: u8) -> Option<FileType> {
        FileType::ALL.get(usize::from(code)).copied()
    }
}

/// A device number, of the device that holds a file or that a node stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct DeviceNumber {
    /// Which driver.
    pub major: u32,
    /// Which of its devices.
    pub minor: u32,
}

/// What is known of one path at one moment. Times are never rounded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileState {
    /// The kind of object.
    pub file_type: FileType,
    /// Permission, set-id and sticky bits: 0 to 0o7777.
    pub mode: u16,
    /// Numeric owner.
    pub uid: u32,
    /// Numeric group.
    pub gid: u32,
    /// Length in bytes.
    pub size: u64,
    /// Hard links.
    pub links: u64,
    /// Inode number.
    pub inode: u64,
    /// The device of the filesystem.
    pub device: DeviceNumber,
    /// Whether another filesystem (or a bind mount) begins here.
    pub mount_root: bool,
    /// Last content change.
    pub mtime: Timestamp,
    /// Last change of any kind.
    pub ctime: Timestamp,
    /// Birth; absent where the filesystem keeps none.
    pub btime: Option<Timestamp>,
    /// Inode flags as [`flags`](crate::flags) names them; absent where the filesystem has none.
    pub flags: Option<u32>,
    /// Content digests of a regular file.
    pub digests: Digests,
    /// What few files have.
    pub extra: Option<Box<Extra>>,
}

/// The parts of a state that few files have, apart so that the many stay small.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Extra {
    /// Where a symbolic link points.
    pub target: Option<Box<[u8]>>,
    /// What a device node stands for.
    pub rdev: Option<DeviceNumber>,
    /// All extended attributes by name, POSIX lists and capabilities among them, as the kernel gives them.
    pub xattrs: Xattrs,
}

/// Extended attributes: name to value.
pub type Xattrs = BTreeMap<Box<[u8]>, Box<[u8]>>;

/// The attribute that holds the access list.
pub const XATTR_ACL_ACCESS: &[u8] = b"system.posix_acl_access";
/// The attribute that holds a directory's default list.
pub const XATTR_ACL_DEFAULT: &[u8] = b"system.posix_acl_default";
/// Where XFS shows its own copies of the lists as well.
const XATTR_ACL_XFS: [&[u8]; 2] = [b"trusted.SGI_ACL_FILE", b"trusted.SGI_ACL_DEFAULT"];
/// The attribute that holds file capabilities.
pub const XATTR_CAPS: &[u8] = b"security.capability";

impl FileState {
    /// Where the link points, for links.
    pub fn target(&self) -> Option<&[u8]> {
        self.extra.as_ref()?.target.as_deref()
    }

    /// What the node stands for, for devices.
    pub fn rdev(&self) -> Option<DeviceNumber> {
        self.extra.as_ref()?.rdev
    }

    /// The value of one extended attribute.
    pub fn xattr(&self, name: &[u8]) -> Option<&[u8]> {
        self.extra.as_ref()?.xattrs.get(name).map(|v| &**v)
    }

    /// The extended attributes that are neither POSIX lists nor capabilities: those of field `xattrs`.
    pub fn plain_xattrs(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.extra.iter().flat_map(|e| e.xattrs.iter()).map(|(k, v)| (&**k, &**v)).filter(|(name, _)| {
            *name != XATTR_ACL_ACCESS
                && *name != XATTR_ACL_DEFAULT
                && *name != XATTR_CAPS
                && !XATTR_ACL_XFS.contains(name)
        })
    }

    /// Whether it can gain its runner rights: a set-id bit on a regular file, or capabilities.
    pub fn is_privileged(&self) -> bool {
        self.file_type == FileType::File && (self.mode & 0o6000 != 0 || self.xattr(XATTR_CAPS).is_some())
    }

    /// Whether two sightings are of the same object: inode, device and (where known) birth.
    pub fn same_object(&self, other: &FileState) -> bool {
        self.inode == other.inode
            && self.device == other.device
            && self.file_type == other.file_type
            && self.btime == other.btime
    }
}
