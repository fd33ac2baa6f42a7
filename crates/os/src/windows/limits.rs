//! What this process may use, and what it has used.
#![allow(unsafe_code, reason = "the counters of a process have no safe wrapper")]

use std::time::Duration;
use windows_sys::Win32::Foundation::FILETIME;
use windows_sys::Win32::System::Threading::{
    GetCurrentProcess, GetCurrentThread, GetProcessHandleCount, GetProcessTimes, GetThreadTimes,
};

/// How many files this process may hold open. Windows has no limit that is met in practice (16 million handles); this
/// one keeps its memory bounded.
pub fn raise_open_files() -> u64 {
    16_384
}

/// How many handles this process has open now; where the system does not tell, what a process of this kind has.
pub fn open_files() -> u64 {
    let mut count = 0;
    // SAFETY: the handle of this process is always valid, and the pointer is valid for the call.
    if unsafe { GetProcessHandleCount(GetCurrentProcess(), &mut count) } == 0 { 64 } else { count.into() }
}

/// Processor time, user and system, that all threads of this process have used.
pub fn cpu_time() -> Duration {
    used(|begun, ended, kernel, user| {
        // SAFETY: the handle of this process is always valid, and the pointers are valid for the call.
        unsafe { GetProcessTimes(GetCurrentProcess(), begun, ended, kernel, user) };
    })
}

/// Processor time, user and system, that the calling thread has used.
pub fn thread_cpu_time() -> Duration {
    used(|begun, ended, kernel, user| {
        // SAFETY: the handle of the calling thread is always valid, and the pointers are valid for the call.
        unsafe { GetThreadTimes(GetCurrentThread(), begun, ended, kernel, user) };
    })
}

/// The sum of the last two of four times.
fn used(ask: impl FnOnce(&mut FILETIME, &mut FILETIME, &mut FILETIME, &mut FILETIME)) -> Duration {
    const NONE: FILETIME = FILETIME { dwLowDateTime: 0, dwHighDateTime: 0 };
    let (mut begun, mut ended, mut kernel, mut user) = (NONE, NONE, NONE, NONE);
    ask(&mut begun, &mut ended, &mut kernel, &mut user);
    let units = |time: FILETIME| u64::from(time.dwHighDateTime) << 32 | u64::from(time.dwLowDateTime);
    Duration::from_nanos(units(kernel).saturating_add(units(user)).saturating_mul(100))
}

/// How many times this process had to fetch from a disk so far: Windows does not tell reads of the disk from those of
/// the cache.
pub fn blocks_read() -> u64 {
    0
}

/// Nothing has to be bounded.
pub fn bound_allocator() {}

/// Code that is not used is left to the system here.
pub fn let_code_go() {}

/// How many processors this process may run on.
pub fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Whether this process acts as root: nobody is.
pub fn is_root() -> bool {
    false
}

/// The numeric user this process acts as: there are no such numbers.
pub fn effective_uid() -> u32 {
    0
}
