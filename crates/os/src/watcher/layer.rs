//! The upper layer of an overlay: the directory of another filesystem that takes all its writes.
//!
//! An overlay cannot be marked, but whatever is written through it is written to its upper layer, whose filesystem may
//! be (kernel-events, section 1.2). Where the layer lies is what whoever mounted the overlay called it, perhaps in
//! another mount namespace, and something else may have that path here: so it is held against the overlay.

use super::Hint;
use crate::mounts::{self, Mount, Nature, rebase};
use rustix::fs::{AtFlags, Mode, OFlags, SeekFrom, StatxFlags};
use std::collections::HashSet;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use waxseal_model::RawPath;

/// An upper layer.
pub(super) struct Layer {
    /// The mount that holds it.
    pub mount: Mount,
    /// What the overlay shows of it, as if that were a mount of its filesystem.
    pub shown: Mount,
    /// The layer itself.
    pub object: OwnedFd,
}

/// How often the layer and the overlay are compared, since either may change in between.
const ATTEMPTS: usize = 5;

/// Finds the upper layer of an overlay.
///
/// # Errors
/// Why it cannot be had, in words.
pub(super) fn upper(overlay: &Mount, table: &[Mount]) -> Result<Layer, String> {
    let given = overlay.upper.as_ref().ok_or("it has no upper layer")?;
    if overlay.root.as_bytes() != b"/" {
        return Err("only a part of the overlay is mounted".into());
    }
    let open = |path: &RawPath| {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::open(path.as_bytes(), flags, Mode::empty())
    };
    let absolute = given.as_bytes().starts_with(b"/");
    let object = absolute.then(|| open(given).ok()).flatten().ok_or("its upper layer is not to be found")?;
    let merged = open(&overlay.point).map_err(|_| "it cannot be opened")?;
    if mounts::id_of(merged.as_fd()) != Some(overlay.id) {
        return Err("something is mounted over it".into());
    }
    if !(0..ATTEMPTS).any(|_| are_alike(object.as_fd(), merged.as_fd())) {
        return Err("what has the name of its upper layer is another directory".into());
    }
    let real = rustix::fs::readlink(format!("/proc/self/fd/{}", object.as_raw_fd()), Vec::new());
    let real = RawPath::new(real.map_err(|_| "its upper layer has no path")?.into_bytes());
    let id = mounts::id_of(object.as_fd()).ok_or("the kernel does not tell mounts apart")?;
    let mount = table.iter().find(|mount| mount.id == id).ok_or("its upper layer is not mounted")?;
    if mount.nature() != Nature::Local || mount.upper.is_some() {
        return Err(format!("its upper layer lies on a {} filesystem", mount.kind));
    }
    let inner = rebase(&real, &mount.point, &mount.root).ok_or("its upper layer is out of reach")?;
    let shown = Mount { root: inner, point: overlay.point.clone(), ..mount.clone() };
    Ok(Layer { mount: mount.clone(), shown, object })
}

/// Whether two directories have the same times and rights, as the tops of an overlay and of its upper layer have: the
/// overlay hands those through. When something was made, nobody can set.
fn are_alike(layer: BorrowedFd<'_>, merged: BorrowedFd<'_>) -> bool {
    let look = |dir| {
        let wanted = StatxFlags::BASIC_STATS | StatxFlags::BTIME;
        let x = rustix::fs::statx(dir, "", AtFlags::EMPTY_PATH, wanted).ok()?;
        let time = |t: rustix::fs::StatxTimestamp| (t.tv_sec, t.tv_nsec);
        let times = [x.stx_btime, x.stx_ctime, x.stx_mtime].map(time);
        (x.stx_mask & StatxFlags::BTIME.bits() != 0).then_some((times, x.stx_mode, x.stx_uid, x.stx_gid))
    };
    look(layer).is_some_and(|seen| Some(seen) == look(merged))
}

/// Waits until an overlay shows the names that these hints tell of. The layer's event comes while the overlay is still at it,
/// with the directory locked: whoever looks at once sees the name as it was, and nothing tells again. Setting the position
/// in a directory of an overlay takes that lock and nothing else (`ovl_dir_llseek` in fs/overlayfs/readdir.c).
pub(super) fn wait_for_names(hints: &[Hint]) {
    let mut waited = HashSet::new();
    let mut wait = |path: &RawPath| {
        let Some(dir) = path.parent().filter(|dir| !waited.contains(dir)) else { return };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        if let Ok(open) = rustix::fs::open(dir.as_bytes(), flags, Mode::empty()) {
            let _ = rustix::fs::seek(&open, SeekFrom::Start(0));
        }
        waited.insert(dir);
    };
    for hint in hints {
        match hint {
            Hint::Name { path, what, .. } if what.is_of_names() => wait(path),
            Hint::Renamed { from, to, .. } => [from, to].into_iter().for_each(&mut wait),
            _ => {}
        }
    }
}
