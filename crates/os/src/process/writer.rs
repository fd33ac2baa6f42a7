//! Who wrote.

use super::Source;
use super::program::Program;
use super::record::{Key, State};
use std::sync::Arc;

/// When something happened, as far as it is known, in nanoseconds since the system started (`CLOCK_BOOTTIME`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Not before: all earlier events had been read by then.
    pub since: u64,
    /// Not after: by then it was read.
    pub until: u64,
}

/// A process that made a change.
#[derive(Debug, PartialEq, Eq)]
pub struct Writer {
    /// Which one.
    pub key: Key,
    /// What it ran, as far as it is known.
    pub program: Option<Arc<Program>>,
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
    /// What it ran last, if it is known.
    pub program: Option<Arc<Program>>,
}

/// The time since the system started, in nanoseconds.
pub fn uptime() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    u64::try_from(time.tv_sec).unwrap_or(0).saturating_mul(1_000_000_000)
        + u64::try_from(time.tv_nsec).unwrap_or(0)
}
