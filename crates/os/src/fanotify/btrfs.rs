//! The whole of a btrfs, whichever part of it is mounted.
//!
//! Distributions mount a subvolume at `/`, and the kernel refuses to mark a filesystem through one. A mount of the
//! top level that is attached nowhere, and that only this process ever sees, can be marked (kernel-events, 1.2).

use super::group::MarkError;
use crate::mounts::Mount;
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string,
    fsmount, fsopen,
};
use std::os::fd::OwnedFd;

/// A mount of the top level of the btrfs that `mount` shows a part of. It is attached nowhere, and is gone when the
/// descriptor is closed; a mark made through it stays.
///
/// # Errors
/// [`MarkError::NotPermitted`] without the right to mount, others as the kernel says.
pub fn top_level(mount: &Mount) -> Result<OwnedFd, MarkError> {
    let attempt = |read_only: bool| -> Result<OwnedFd, Errno> {
        let fs = fsopen("btrfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
        fsconfig_set_string(&fs, "source", mount.source.as_slice())?;
        // 5 is the top level of every btrfs (BTRFS_FS_TREE_OBJECTID).
        fsconfig_set_string(&fs, "subvolid", "5")?;
        if read_only {
            fsconfig_set_flag(&fs, "ro")?;
        }
        fsconfig_create(&fs)?;
        fsmount(&fs, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())
    };
    // The kernel lets all mounts of one filesystem agree on this only; the other way is tried where they disagree.
    attempt(mount.read_only).or_else(|_| attempt(!mount.read_only)).map_err(MarkError::from)
}
