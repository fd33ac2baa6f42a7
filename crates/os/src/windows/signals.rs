//! Ctrl-C, and the system's wish that a program ends, as something a thread waits for.
#![allow(unsafe_code, reason = "console handlers have no safe wrapper")]

use std::sync::{Condvar, Mutex, PoisonError};
use windows_sys::Win32::System::Console::SetConsoleCtrlHandler;
use windows_sys::core::BOOL;

/// What the user or the system asks of a running program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// Ctrl-C, Ctrl-Break, the console is closed, or the session ends.
    End,
    /// The config is to be read again: nothing on Windows asks for it.
    Reload,
}

/// Whether the end was asked for.
static ASKED: Mutex<bool> = Mutex::new(false);
static CALL: Condvar = Condvar::new();

/// What is waited for.
#[derive(Debug)]
pub struct Signals(());

impl Signals {
    /// Keeps Ctrl-C from ending the process, from now on.
    pub fn block() -> Signals {
        // SAFETY: the handler is a function that lives as long as the process, and may be called on any thread.
        unsafe { SetConsoleCtrlHandler(Some(handle), 1) };
        Signals(())
    }

    /// Waits for the next one.
    pub fn wait(&self) -> Request {
        let mut asked = ASKED.lock().unwrap_or_else(PoisonError::into_inner);
        while !std::mem::take(&mut *asked) {
            asked = CALL.wait(asked).unwrap_or_else(PoisonError::into_inner);
        }
        Request::End
    }
}

unsafe extern "system" fn handle(_: u32) -> BOOL {
    *ASKED.lock().unwrap_or_else(PoisonError::into_inner) = true;
    CALL.notify_all();
    1
}
