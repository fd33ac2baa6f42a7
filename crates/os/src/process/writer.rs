//! Who wrote.

use super::program::Program;
use super::{Source, uptime};
use std::sync::{Arc, OnceLock};
use waxseal_model::{RawPath, Timestamp};

/// A process, told apart from all others that had its number, by the time at which it began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Its number.
    pub pid: u32,
    /// When it began, in nanoseconds since the system started (`CLOCK_BOOTTIME`).
    pub start: u64,
}

/// What is true of a process at some moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State {
    /// Its effective user.
    pub uid: u32,
    /// The user who logged in.
    pub login_uid: Option<u32>,
    /// The login session's number for the audit system.
    pub session: Option<u32>,
    /// Its control group, by the group's inode number.
    pub cgroup: u64,
    /// Whether it is a thread of the kernel.
    pub is_kernel: bool,
}

/// When something happened, as far as it is known, in nanoseconds since the system started (`CLOCK_BOOTTIME`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Not before: all earlier events had been read by then.
    pub since: u64,
    /// Not after: by then it was read.
    pub until: u64,
    /// When the reading began that brought it: it had waited in the kernel's queue until then. 0 when that is not so for
    /// sure, or when it may be what the kernel did for the process while it became another program.
    pub read: u64,
}

/// A process that made a change.
#[derive(Debug, PartialEq, Eq)]
pub struct Writer {
    /// Which one.
    pub key: Key,
    /// What it ran, as far as it is known.
    pub program: Option<Arc<Program>>,
    /// The executables that it ran before, within the window that was asked about, oldest first: any of them may have
    /// written as well.
    pub earlier: Box<[RawPath]>,
    /// Whether there were more of those, or some are not known.
    pub earlier_cut: bool,
    /// Its users and session.
    pub state: State,
    /// Its control group's path.
    pub cgroup: Option<Arc<[u8]>>,
    /// Who began it, and who began that one, and so on.
    pub parents: Box<[Ancestor]>,
    /// How this is known.
    pub source: Source,
}

/// One that began another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ancestor {
    /// Its number.
    pub pid: u32,
    /// What it ran then, if it is known.
    pub program: Option<Arc<Program>>,
}

/// When the system started, by the clock on the wall as it went when this was first asked.
pub fn boot_time() -> Timestamp {
    static TIME: OnceLock<Timestamp> = OnceLock::new();
    *TIME.get_or_init(|| {
        let up = i64::try_from(uptime() / 1000).unwrap_or(i64::MAX);
        Timestamp::from_micros(crate::clock::now().as_micros().saturating_sub(up))
    })
}
