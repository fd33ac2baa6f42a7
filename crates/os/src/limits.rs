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

/// How many files this process has open now; where the system does not tell, what a process of this kind has.
#[allow(clippy::disallowed_methods, reason = "the kernel's own list, of this process")]
pub fn open_files() -> u64 {
    std::fs::read_dir("/proc/self/fd").map_or(32, |list| list.count() as u64)
}

/// Processor time, user and system, that all threads of this process have used.
pub fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.max(0) as u64, time.tv_nsec.clamp(0, 999_999_999) as u32)
}

/// Processor time, user and system, that the calling thread has used.
pub fn thread_cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.max(0) as u64, time.tv_nsec.clamp(0, 999_999_999) as u32)
}

/// How many times this process had to fetch from a disk so far (`ru_inblock`, in units of 512 bytes).
#[allow(unsafe_code, reason = "getrusage has no safe wrapper")]
pub fn blocks_read() -> u64 {
    // SAFETY: all zero bytes are a valid rusage, and the pointer is valid for the call.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: as above.
    let result = unsafe { libc::getrusage(libc::RUSAGE_SELF, &mut usage) };
    if result == 0 { u64::try_from(usage.ru_inblock).unwrap_or(0) } else { 0 }
}

/// Keeps the allocator from making an arena of its own for every thread: with two dozen readers that would
/// be most of the memory.
#[allow(unsafe_code, reason = "mallopt has no safe wrapper")]
pub fn bound_allocator() {
    #[cfg(target_env = "gnu")]
    // SAFETY: mallopt only sets parameters; it is called before other threads exist.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 4);
        libc::mallopt(libc::M_TRIM_THRESHOLD, 256 * 1024);
        libc::mallopt(libc::M_MMAP_THRESHOLD, 128 * 1024);
    }
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
