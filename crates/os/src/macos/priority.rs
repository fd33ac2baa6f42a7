//! How much a thread's work matters to the kernel.

/// Lets the calling thread run in the background (`setpriority(2)`): little processor, and reads that wait for those of
/// others. False when that is not to be had.
pub fn idle() -> bool {
    set(libc::PRIO_DARWIN_BG)
}

/// Takes [`idle`] back. False when it is not permitted.
pub fn ordinary() -> bool {
    set(0)
}

#[allow(unsafe_code, reason = "the priority of a thread has no safe wrapper")]
fn set(priority: libc::c_int) -> bool {
    // SAFETY: numbers only; 0 is the calling thread.
    unsafe { libc::setpriority(libc::PRIO_DARWIN_THREAD, 0, priority) == 0 }
}

/// How nice the calling thread is to others. Only Linux tells.
pub fn nice() -> i32 {
    0
}

/// Makes the calling thread nicer or less nice. False: only Linux does.
pub fn set_nice(_nice: i32) -> bool {
    false
}
