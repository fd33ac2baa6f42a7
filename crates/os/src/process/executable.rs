//! The file that a process ran, found again.
//!
//! In: a writer. Out: its executable, open for reading, when it is that very file and has not been changed since; a file
//! that only has the same name by now is none.

use super::proc::{Folder, TICK};
use super::{Writer, uptime};
use crate::files::{Dir, File};
use crate::mounts;
use crate::remote::Mounts;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use waxseal_model::{FileState, RawPath};

/// By how much the time of a file's last change may be too early, in nanoseconds: it is that of the last tick of the
/// kernel's clock, of which there are at least 100 a second.
const TICKS: u64 = 11_000_000;

/// An executable.
#[derive(Debug)]
pub struct Executable {
    /// Open for reading.
    pub file: File,
    /// As it was when it was opened.
    pub state: FileState,
    /// Whether it was found by its name: then the name is that of this system, and not of a container.
    pub by_name: bool,
}

/// The executable of a writer, if it can be had and has not changed since the writer ran it.
pub fn open_executable(writer: &Writer) -> Option<Executable> {
    let exe = writer.program.as_ref()?.exe.as_ref()?;
    by_name(writer, exe).or_else(|| by_process(writer, exe))
}

/// Whether an open file of this inode is what the writer ran, unchanged.
fn is_unchanged(writer: &Writer, state: &FileState) -> bool {
    let Some(file) = writer.program.as_ref().and_then(|program| program.file) else { return false };
    let changed = u64::try_from(state.ctime.as_micros()).unwrap_or(0).saturating_mul(1000);
    let ran = earliest_boot().saturating_add(file.since);
    state.inode == file.inode && changed.saturating_add(TICKS) < ran
}

fn by_name(writer: &Writer, exe: &RawPath) -> Option<Executable> {
    let (parent, name) = Dir::parent_of(exe).ok()?;
    let (file, state) = parent.open_file(&name).ok()?;
    let device = writer.program.as_ref()?.file?.device;
    let same_device = (state.device.major, state.device.minor) == device || {
        // Of some filesystems the kernel's own number is another, which the list of mounts tells.
        let mounts = mounts::read().ok()?;
        let mount = mounts::holding(&mounts, None, exe)?;
        (mount.device.major, mount.device.minor) == device
    };
    (same_device && is_unchanged(writer, &state)).then_some(Executable { file, state, by_name: true })
}

/// While the process is there, its file can be had, whatever it is called.
fn by_process(writer: &Writer, exe: &RawPath) -> Option<Executable> {
    let is_it = || {
        let process = Folder::of(writer.key.pid).and_then(|folder| folder.process());
        process.is_some_and(|process| {
            process.key.start / TICK == writer.key.start / TICK && process.exe.as_ref() == Some(exe)
        })
    };
    // What may never answer was asked by its name, with a deadline.
    if Mounts::now().holding(exe).is_some() || !is_it() {
        return None;
    }
    let (file, state) = File::named(Path::new(&format!("/proc/{}/exe", writer.key.pid))).ok()?;
    (is_it() && is_unchanged(writer, &state)).then_some(Executable { file, state, by_name: false })
}

/// When the system started by the clock on the wall, in nanoseconds: the earliest that this was since the first call.
/// Whoever sets the clock forward does not make a change seem older than a process.
pub fn earliest_boot() -> u64 {
    static EARLIEST: AtomicU64 = AtomicU64::new(u64::MAX);
    let wall = u64::try_from(crate::clock::now().as_micros()).unwrap_or(0).saturating_mul(1000);
    let now = wall.saturating_sub(uptime());
    EARLIEST.fetch_min(now, Ordering::Relaxed).min(now)
}
