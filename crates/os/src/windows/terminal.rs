//! The console, where secrets are typed.
#![allow(unsafe_code, reason = "console modes have no safe wrapper")]

use std::os::windows::io::AsRawHandle;
use windows_sys::Win32::System::Console::{CONSOLE_MODE, ENABLE_ECHO_INPUT, GetConsoleMode, SetConsoleMode};

/// Restores what was typed being shown when dropped.
#[derive(Debug)]
pub struct Hidden(Option<CONSOLE_MODE>);

/// Keeps what is typed on standard input from being shown. Does nothing when that is no console.
pub fn hide_input() -> Hidden {
    let stdin = std::io::stdin().as_raw_handle();
    let mut mode = 0;
    // SAFETY: the handle is this process's own, and the pointer is valid for the call.
    if unsafe { GetConsoleMode(stdin, &mut mode) } == 0 {
        return Hidden(None);
    }
    // SAFETY: as above.
    unsafe { SetConsoleMode(stdin, mode & !ENABLE_ECHO_INPUT) };
    Hidden(Some(mode))
}

impl Drop for Hidden {
    fn drop(&mut self) {
        if let Some(mode) = self.0 {
            // SAFETY: the handle is this process's own.
            unsafe { SetConsoleMode(std::io::stdin().as_raw_handle(), mode) };
        }
    }
}
