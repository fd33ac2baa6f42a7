//! Whether a process runs this very program.

use super::proc::{Folder, Process};
use crate::watching::hint;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::time::Timespec;
use std::sync::LazyLock;
use waxseal_model::RawPath;

static SELF: LazyLock<Option<Process>> = LazyLock::new(|| Folder::of(std::process::id())?.process());

/// The path of this program, as the kernel names it.
pub fn own_program() -> Option<RawPath> {
    SELF.as_ref()?.exe.clone()
}

/// Whether a process runs this program: the same file, or one that has its path by now, as after an upgrade. `None` when
/// that cannot be told, because the process is over.
pub fn same_program(process: &hint::Process) -> Option<bool> {
    let pid = u32::try_from(process.pid).ok()?;
    if pid == std::process::id() {
        return Some(true);
    }
    let (own, its) = (SELF.as_ref()?, Folder::of(pid)?.process()?);
    if process.pidfd.as_ref().is_some_and(is_over) {
        return None;
    }
    // A process that is ending has no program any more.
    if its.exe.is_none() && !its.state.is_kernel {
        return None;
    }
    let file = |process: &Process| process.file.as_ref().map(|file| (file.device, file.inode));
    let same_file = file(own).is_some() && file(own) == file(&its);
    Some(same_file || (own.exe.is_some() && own.exe == its.exe))
}

/// Whether the process of a descriptor has ended, so that its number may be another's.
fn is_over<F: std::os::fd::AsFd>(pidfd: &F) -> bool {
    let mut fds = [PollFd::new(pidfd, PollFlags::IN)];
    poll(&mut fds, Some(&Timespec::default())).is_ok() && !fds[0].revents().is_empty()
}
