//! Sockets as other Unixes have them. Without `/proc`, the path of the directory counts: with the name it may have no
//! more than some 100 bytes, or listening fails.

use rustix::event::PollFlags;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

/// What poll says of a stream whose peer has ended.
pub const ENDED: PollFlags = PollFlags::HUP;

/// Rung by one thread, it wakes others that poll it, for ever.
#[derive(Debug)]
pub struct Doorbell {
    bell: io::PipeReader,
    button: io::PipeWriter,
}

impl Doorbell {
    pub fn new() -> io::Result<Doorbell> {
        let (bell, button) = io::pipe()?;
        Ok(Doorbell { bell, button })
    }

    pub fn ring(&self) {
        let _ = (&self.button).write(&[1]);
    }
}

impl AsFd for Doorbell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }
}

pub fn open_dir(dir: &Path) -> Result<OwnedFd, Errno> {
    rustix::fs::open(dir, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// A listening socket at a name that does not exist, for this user only.
pub fn listen(dir: &Path, _: &OwnedFd, name: &str) -> io::Result<UnixListener> {
    let path = dir.join(name);
    let socket = UnixListener::bind(&path)?;
    // Whoever connects before this is asked for their user all the same.
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

pub fn connect(dir: &Path, name: &str) -> io::Result<UnixStream> {
    UnixStream::connect(dir.join(name))
}

/// The user at the other end.
pub fn peer(stream: &UnixStream) -> io::Result<u32> {
    let (mut user, mut group) = (0, 0);
    // SAFETY: the descriptor is open, and both pointers are valid for the call.
    #[allow(unsafe_code, reason = "getpeereid has no safe wrapper")]
    let result = unsafe { libc::getpeereid(stream.as_raw_fd(), &mut user, &mut group) };
    if result == 0 { Ok(user) } else { Err(io::Error::last_os_error()) }
}
