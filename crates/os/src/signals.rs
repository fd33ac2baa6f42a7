//! Signals as something a thread waits for.
#![allow(unsafe_code, reason = "signal masks have no safe wrapper")]

/// A writer that opens a file while we hold a lease on it raises SIGIO, whose default is to end the process: anybody
/// who may write a watched file could end the monitor.
#[cfg(target_os = "linux")]
pub(crate) fn ignore_broken_leases() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        // SAFETY: ignoring a signal installs no handler and touches no memory of ours.
        unsafe {
            libc::signal(libc::SIGIO, libc::SIG_IGN);
        }
    });
}

/// What the user or the system asks of a running program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// SIGINT or SIGTERM: end in good order.
    End,
    /// SIGHUP: read the config again.
    Reload,
}

/// The signals that are waited for. To be made before other threads, so that none of them is interrupted.
#[derive(Debug)]
pub struct Signals(libc::sigset_t);

impl Signals {
    /// Keeps the signals from ending the process, from now on in this thread and those it starts.
    pub fn block() -> Signals {
        // SAFETY: all zero bytes are a valid set, which sigemptyset then initialises; every pointer is valid
        // for its call.
        unsafe {
            let mut set: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&mut set);
            for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
                libc::sigaddset(&mut set, signal);
            }
            libc::pthread_sigmask(libc::SIG_BLOCK, &set, std::ptr::null_mut());
            Signals(set)
        }
    }

    /// Waits for the next one.
    pub fn wait(&self) -> Request {
        let mut signal = 0;
        // SAFETY: both pointers are valid for the call.
        let result = unsafe { libc::sigwait(&self.0, &mut signal) };
        if result == 0 && signal == libc::SIGHUP { Request::Reload } else { Request::End }
    }
}
