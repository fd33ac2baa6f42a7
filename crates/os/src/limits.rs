//! What this process may use, and what it has used.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::time::Duration;

/// Raises the number of files this process may hold open to what the system lets it, and returns that number.
pub fn raise_open_files() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = maximum.unwrap_or(1 << 20).min(1 << 20);
    if current.is_some_and(|current| current < wanted) {
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum });
    }
    getrlimit(Resource::Nofile).current.unwrap_or(1 << 20)
}

/// Processor time, user and system, that all threads of this process have used.
pub fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.max(0) as u64, time.tv_nsec.clamp(0, 999_999_999) as u32)
}

/// The wall clock.
pub fn now() -> waxseal_model::Timestamp {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    waxseal_model::Timestamp::new(time.tv_sec, time.tv_nsec.clamp(0, 999_999_999) as u32)
}

/// How many processors this process may run on.
pub fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Whether this process acts as root.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The numeric user this process acts as.
pub fn effective_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}
