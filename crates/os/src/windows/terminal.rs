//! The console, where secrets are typed.
#![allow(unsafe_code, reason = "console modes have no safe wrapper")]

use super::handle;
use std::os::windows::io::{AsHandle, AsRawHandle, BorrowedHandle};
use windows_sys::Win32::System::Console::{CONSOLE_MODE, ENABLE_ECHO_INPUT, GetConsoleMode, SetConsoleMode};

/// Whether standard output and standard error are one and the same: a console, or one file for both. Of pipes it is not
/// known.
pub fn is_one_output() -> bool {
    let (out, err) = (std::io::stdout(), std::io::stderr());
    if is_console(out.as_handle()) || is_console(err.as_handle()) {
        return is_console(out.as_handle()) && is_console(err.as_handle());
    }
    match (handle::identity(out.as_handle()), handle::identity(err.as_handle())) {
        (Ok(out), Ok(err)) => {
            (out.dwVolumeSerialNumber, out.nFileIndexHigh, out.nFileIndexLow)
                == (err.dwVolumeSerialNumber, err.nFileIndexHigh, err.nFileIndexLow)
        }
        _ => false,
    }
}

fn is_console(output: BorrowedHandle<'_>) -> bool {
    let mut mode = 0;
    // SAFETY: the handle is borrowed from its owner, and the pointer is valid for the call.
    unsafe { GetConsoleMode(output.as_raw_handle(), &mut mode) != 0 }
}

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
