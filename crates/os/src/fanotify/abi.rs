//! Constants of `include/uapi/linux/fanotify.h` (Linux 6.18), and the two calls.

/// A file's content was changed.
pub const FAN_MODIFY: u64 = 0x0000_0002;
/// Attributes were changed.
pub const FAN_ATTRIB: u64 = 0x0000_0004;
/// A file open for writing was closed.
pub const FAN_CLOSE_WRITE: u64 = 0x0000_0008;
/// A name was moved away.
pub const FAN_MOVED_FROM: u64 = 0x0000_0040;
/// A name was moved here.
pub const FAN_MOVED_TO: u64 = 0x0000_0080;
/// A name was made.
pub const FAN_CREATE: u64 = 0x0000_0100;
/// A name was removed.
pub const FAN_DELETE: u64 = 0x0000_0200;
/// The marked object itself was deleted.
pub const FAN_DELETE_SELF: u64 = 0x0000_0400;
/// The marked object itself was moved.
pub const FAN_MOVE_SELF: u64 = 0x0000_0800;
/// The queue was full: events were dropped.
pub const FAN_Q_OVERFLOW: u64 = 0x0000_4000;
/// The filesystem found itself damaged.
pub const FAN_FS_ERROR: u64 = 0x0000_8000;
/// With a mark on a directory: what happens to its children as well.
pub const FAN_EVENT_ON_CHILD: u64 = 0x0800_0000;
/// A name was moved; the record has both names.
pub const FAN_RENAME: u64 = 0x1000_0000;
/// The object is a directory.
pub const FAN_ONDIR: u64 = 0x4000_0000;

pub(super) const FAN_CLASS_NOTIF: u32 = 0;
pub(super) const FAN_CLOEXEC: u32 = 0x1;
pub(super) const FAN_NONBLOCK: u32 = 0x2;
pub(super) const FAN_REPORT_PIDFD: u32 = 0x80;
pub(super) const FAN_REPORT_FID: u32 = 0x200;
/// `FAN_REPORT_DIR_FID | FAN_REPORT_NAME`.
pub(super) const FAN_REPORT_DFID_NAME: u32 = 0xc00;
pub(super) const FAN_REPORT_TARGET_FID: u32 = 0x1000;

pub(super) const FAN_MARK_ADD: u32 = 0x1;
pub(super) const FAN_MARK_INODE: u32 = 0;
/// `FAN_MARK_IGNORED_MASK | FAN_MARK_IGNORED_SURV_MODIFY`.
pub(super) const FAN_MARK_IGNORED: u32 = 0x20 | 0x40;
pub(super) const FAN_MARK_FILESYSTEM: u32 = 0x100;

pub(super) const METADATA_VERSION: u8 = 3;
/// Size of `struct fanotify_event_metadata`.
pub(super) const METADATA_LEN: usize = 24;
/// Size of `struct fanotify_event_info_header`.
pub(super) const INFO_HEADER_LEN: usize = 4;
pub(super) const INFO_FID: u8 = 1;
pub(super) const INFO_DFID_NAME: u8 = 2;
pub(super) const INFO_DFID: u8 = 3;
pub(super) const INFO_PIDFD: u8 = 4;
pub(super) const INFO_ERROR: u8 = 5;
pub(super) const INFO_OLD_DFID_NAME: u8 = 10;
pub(super) const INFO_NEW_DFID_NAME: u8 = 12;

/// The longest file handle (`MAX_HANDLE_SZ` of `include/linux/exportfs.h`).
pub(crate) const MAX_HANDLE: usize = 128;
