//! How much a thread's work matters to the system.
#![allow(unsafe_code, reason = "the priority of a thread has no safe wrapper")]

use windows_sys::Win32::System::Threading::{
    GetCurrentThread, SetThreadPriority, THREAD_MODE_BACKGROUND_BEGIN, THREAD_MODE_BACKGROUND_END,
};

/// Lets the calling thread run in the background: little processor, and reads that wait for those of others. False when
/// that is not to be had.
pub fn idle() -> bool {
    // SAFETY: the handle of the calling thread is always valid.
    unsafe { SetThreadPriority(GetCurrentThread(), THREAD_MODE_BACKGROUND_BEGIN) != 0 }
}

/// Takes [`idle`] back. False when the thread was not idle.
pub fn ordinary() -> bool {
    // SAFETY: as above.
    unsafe { SetThreadPriority(GetCurrentThread(), THREAD_MODE_BACKGROUND_END) != 0 }
}

/// How nice the calling thread is to others. Only Linux tells.
pub fn nice() -> i32 {
    0
}

/// Makes the calling thread nicer or less nice. False: only Linux does.
pub fn set_nice(_nice: i32) -> bool {
    false
}
