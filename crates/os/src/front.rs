//! A process that stands in front of the one that works, and can end when that one cannot.
//!
//! A thread that waits for a FUSE program in the middle of a request cannot be killed, and a process with such a
//! thread does not go away: whoever waits for it waits as well. So, where filesystems of servers or programs are
//! mounted at all, the program starts itself once more to do the work, and the front ends with the exit code that it
//! is told, whatever becomes of the other.

use crate::remote::Mounts;
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::FdFlags;
use rustix::process::Signal;
use std::ffi::OsString;
use std::fs::File;
use std::io::{Error, Read, Write};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::sync::OnceLock;

/// Names the descriptor by which the front is told.
const VARIABLE: &str = "WAXSEAL_FRONT";

/// Where the exit code is to be told, in the process that works.
static TELL: OnceLock<OwnedFd> = OnceLock::new();

/// To be called before any thread is started. `None` in the process that is to do the work; the exit code in the one
/// that stood in front of it, once the work is done.
///
/// # Errors
/// When no other process can be started: the caller then does the work itself.
pub fn stand() -> Result<Option<u8>, Error> {
    if let Some(value) = std::env::var_os(VARIABLE) {
        // SAFETY: no other thread runs yet, by this function's contract.
        #[allow(
            unsafe_code,
            reason = "programs that this one starts must not take themselves for the worker"
        )]
        unsafe {
            std::env::remove_var(VARIABLE)
        };
        if let Some(fd) = inherited(value) {
            let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
            let _ = TELL.set(fd);
        }
        return Ok(None);
    }
    if Mounts::now().is_empty() {
        return Ok(None);
    }
    let (mut told, tell) = std::io::pipe()?;
    rustix::io::fcntl_setfd(&tell, FdFlags::empty())?;
    let mut arguments = std::env::args_os();
    let name = arguments.next().unwrap_or_else(|| "waxseal".into());
    let mut command = Command::new("/proc/self/exe");
    std::os::unix::process::CommandExt::arg0(&mut command, name);
    let mut worker = command.args(arguments).env(VARIABLE, tell.as_raw_fd().to_string()).spawn()?;
    drop(tell);
    let mut code = Vec::new();
    told.by_ref().take(1).read_to_end(&mut code)?;
    if let Some(code) = code.first() {
        return Ok(Some(*code));
    }
    // It ended without a word: by a panic, or a signal, which is passed on as shells write it.
    let status = worker.wait()?;
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    Ok(Some(u8::try_from(code).unwrap_or(2)))
}

/// Tells the front, if there is one, with which code to end. Nothing may be printed afterwards.
pub fn tell(code: u8) {
    if let Some(fd) = TELL.get().and_then(|fd| fd.try_clone().ok()) {
        // Whoever reads our output waits for its end, and a process that cannot go keeps its descriptors.
        if let Ok(nothing) = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()) {
            let _ = rustix::stdio::dup2_stdin(&nothing);
            let _ = rustix::stdio::dup2_stdout(&nothing);
            let _ = rustix::stdio::dup2_stderr(&nothing);
        }
        // A front that has gone needs to know nothing.
        let _ = File::from(fd).write_all(&[code]);
    }
}

/// The descriptor of that number, if it is the writing end of a pipe: the variable may come from anybody.
fn inherited(value: OsString) -> Option<OwnedFd> {
    let number: RawFd = value.to_str()?.parse().ok().filter(|number| *number > 2)?;
    // SAFETY: called once, before anything else is opened: whatever has this number was inherited, and nobody else
    // here owns it. A number that is not open makes every call on it fail.
    #[allow(unsafe_code, reason = "an inherited descriptor is known by its number alone")]
    let fd = unsafe { OwnedFd::from_raw_fd(number) };
    let stat = rustix::fs::fstat(&fd);
    if stat.is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Fifo) {
        let _ = rustix::io::fcntl_setfd(fd.as_fd(), FdFlags::CLOEXEC);
        return Some(fd);
    }
    // Not ours: neither used nor closed.
    std::mem::forget(fd);
    None
}
