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
    let list = if cfg!(target_os = "linux") { "/proc/self/fd" } else { "/dev/fd" };
    std::fs::read_dir(list).map_or(32, |list| list.count() as u64)
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
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: mallopt only sets parameters; it is called before other threads exist.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 4);
        libc::mallopt(libc::M_TRIM_THRESHOLD, 256 * 1024);
        libc::mallopt(libc::M_MMAP_THRESHOLD, 128 * 1024);
    }
}

/// Has the kernel forget which pages of the program's code this process has used so far: those that are used again are
/// mapped again, from the kernel's own memory of the file. What only ran at the start is then not counted as this
/// process's any more (4 of 10 MiB, measured on the monitor).
#[allow(unsafe_code, reason = "madvise has no safe wrapper")]
#[allow(clippy::disallowed_methods, reason = "the kernel's own list, of this process")]
pub fn let_code_go() {
    #[cfg(target_os = "linux")]
    for line in std::fs::read_to_string("/proc/self/maps").unwrap_or_default().lines() {
        let Some((start, length)) = code_of(line) else { continue };
        // SAFETY: the range is a private mapping of a file that may not be written through, so that it holds nothing but
        // what the file holds: the kernel maps the same pages again when they are used. Nothing in this process unmaps
        // or makes writable the code of its libraries meanwhile.
        unsafe {
            libc::madvise(start as *mut libc::c_void, length, libc::MADV_DONTNEED);
        }
    }
}

/// Start and length of a mapping of code from a file, by a line of `/proc/PID/maps` (`proc_pid_maps(5)`).
#[cfg(target_os = "linux")]
fn code_of(line: &str) -> Option<(usize, usize)> {
    let mut words = line.split_ascii_whitespace();
    let (range, rights, path) = (words.next()?, words.next()?, words.nth(3)?);
    let (start, end) = range.split_once('-')?;
    let (start, end) = (usize::from_str_radix(start, 16).ok()?, usize::from_str_radix(end, 16).ok()?);
    (rights == "r-xp" && path.starts_with('/')).then_some((start, end.checked_sub(start)?))
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

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn only_code_from_files_is_let_go() {
        let code = "55d0c2a00000-55d0c2b00000 r-xp 00001000 fe:00 1234    /usr/bin/a b";
        assert_eq!(code_of(code), Some((0x55d0_c2a0_0000, 0x10_0000)));
        let others = [
            "55d0c2b00000-55d0c2b01000 rw-p 00101000 fe:00 1234    /usr/bin/a",
            "55d0c2b00000-55d0c2b01000 rwxp 00101000 fe:00 1234    /usr/bin/a",
            "7ffd3b1f8000-7ffd3b1fa000 r-xp 00000000 00:00 0    [vdso]",
            "7ffd3b1f8000-7ffd3b1fa000 r-xp 00000000 00:00 0",
            "2-1 r-xp 0 0:0 0 /x",
            "",
        ];
        assert!(others.iter().all(|line| code_of(line).is_none()));
    }

    #[test]
    #[allow(clippy::disallowed_methods, reason = "the kernel's own figure")]
    #[allow(clippy::unwrap_used, reason = "a test that cannot go on ends")]
    fn what_ran_once_is_not_counted_any_more() {
        let mapped = || {
            let status = std::fs::read_to_string("/proc/self/status").unwrap();
            let line = status.lines().find(|line| line.starts_with("RssFile:")).unwrap();
            line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
        };
        let before = mapped();
        let_code_go();
        let after = mapped();
        assert!(after < before, "{before} KiB before, {after} KiB after");
    }
}
