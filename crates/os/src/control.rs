//! A socket by which other processes of the same user talk to a running one.
//!
//! In: a directory and a name in it. Out: streams of peers whose user the kernel vouches for. The directory's path may
//! be longer than a socket's address (108 bytes): the address leads through a descriptor of the directory.
#![allow(clippy::disallowed_methods, reason = "this is the home of file access")]

use crate::limits;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::AtFlags;
use rustix::io::Errno;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

#[cfg(target_os = "linux")]
#[path = "control/linux.rs"]
mod system;
#[cfg(not(target_os = "linux"))]
#[path = "control/other.rs"]
mod system;

use system::Doorbell;

/// Accepts peers. Its name is taken away when it is dropped.
#[derive(Debug)]
pub struct Listener {
    socket: UnixListener,
    dir: OwnedFd,
    name: String,
    closed: Arc<Doorbell>,
}

/// Ends a [`Listener::accept`] from another thread.
#[derive(Debug, Clone)]
pub struct Closer(Arc<Doorbell>);

impl Closer {
    /// Makes the present and every later call return.
    pub fn close(&self) {
        self.0.ring();
    }
}

impl Listener {
    /// Listens at `name` in `dir`, readable and writable for this user only. Whatever has the name is replaced, so the
    /// caller must know that no other process listens there: it holds a lock, say.
    ///
    /// # Errors
    /// As the system says: no room on the disk, no right to write, no /proc.
    pub fn bind(dir: &Path, name: &str) -> io::Result<Listener> {
        let at = system::open_dir(dir)?;
        match rustix::fs::unlinkat(&at, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno.into()),
        }
        let socket = system::listen(dir, &at, name)?;
        let closed = Arc::new(Doorbell::new()?);
        Ok(Listener { socket, dir: at, name: name.into(), closed })
    }

    /// What ends it.
    pub fn closer(&self) -> Closer {
        Closer(Arc::clone(&self.closed))
    }

    /// Waits for the next peer; `None` once it was closed.
    ///
    /// # Errors
    /// As the system says, for want of memory or open files; the next call may succeed, so leave a pause before it.
    pub fn accept(&self) -> io::Result<Option<Stream>> {
        loop {
            let mut fds = [
                PollFd::from_borrowed_fd(self.closed.as_fd(), PollFlags::IN),
                PollFd::new(&self.socket, PollFlags::IN),
            ];
            match poll(&mut fds, None) {
                Ok(_) => {}
                Err(Errno::INTR) => continue,
                Err(errno) => return Err(errno.into()),
            }
            if !fds[0].revents().is_empty() {
                return Ok(None);
            }
            match self.socket.accept() {
                Ok((stream, _)) => return Stream::new(stream).map(Some),
                // The peer is gone already.
                Err(error)
                    if [
                        io::ErrorKind::WouldBlock,
                        io::ErrorKind::ConnectionAborted,
                        io::ErrorKind::Interrupted,
                    ]
                    .contains(&error.kind()) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = rustix::fs::unlinkat(&self.dir, self.name.as_str(), AtFlags::empty());
    }
}

/// A connection.
#[derive(Debug)]
pub struct Stream(UnixStream);

impl Stream {
    /// Connects to whoever listens at `name` in `dir`.
    ///
    /// # Errors
    /// `NotFound` and `ConnectionRefused` when nobody does.
    pub fn connect(dir: &Path, name: &str) -> io::Result<Stream> {
        Stream::new(system::connect(dir, name)?)
    }

    fn new(stream: UnixStream) -> io::Result<Stream> {
        stream.set_nonblocking(false)?;
        Ok(Stream(stream))
    }

    /// Whether the peer is this user or root, as the kernel recorded it when it connected.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn is_trusted(&self) -> io::Result<bool> {
        let peer = system::peer(&self.0)?;
        Ok(peer == 0 || peer == limits::effective_uid())
    }

    /// Reads a line, without its newline: at most `limit` bytes, within `time` altogether (`None`: for as long as it
    /// takes). What follows the line is lost. `None` when the peer has ended before it began one.
    ///
    /// # Errors
    /// `TimedOut`, `InvalidData` when the line is too long, `UnexpectedEof` within a line, others as the system says.
    pub fn read_line(&mut self, limit: usize, time: Option<Duration>) -> io::Result<Option<Vec<u8>>> {
        let deadline = time.map(|time| Instant::now() + time);
        let mut line = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            self.0.set_read_timeout(left(deadline)?)?;
            let read = match self.0.read(&mut buffer) {
                Ok(0) if line.is_empty() => return Ok(None),
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => buffer.get(..read).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Err(io::ErrorKind::TimedOut.into());
                }
                Err(error) => return Err(error),
            };
            let end = read.iter().position(|byte| *byte == b'\n');
            line.extend_from_slice(read.get(..end.unwrap_or(read.len())).unwrap_or_default());
            if line.len() > limit {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "the line is too long"));
            }
            if end.is_some() {
                return Ok(Some(line));
            }
        }
    }

    /// Writes a line, adding the newline, within `time` for each part that the peer takes.
    ///
    /// # Errors
    /// As the system says; `BrokenPipe` when the peer has ended.
    pub fn write_line(&mut self, line: &str, time: Duration) -> io::Result<()> {
        self.0.set_write_timeout(Some(time))?;
        self.0.write_all(format!("{line}\n").as_bytes())
    }

    /// Whether the peer has ended.
    pub fn is_over(&self) -> bool {
        let mut fds = [PollFd::new(&self.0, system::ENDED)];
        let now = rustix::time::Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut fds, Some(&now)).is_ok()
            && fds[0].revents().intersects(system::ENDED | PollFlags::HUP | PollFlags::ERR)
    }
}

/// What is left of the time, which may not be nothing.
fn left(deadline: Option<Instant>) -> io::Result<Option<Duration>> {
    let Some(deadline) = deadline else { return Ok(None) };
    match deadline.saturating_duration_since(Instant::now()) {
        Duration::ZERO => Err(io::ErrorKind::TimedOut.into()),
        left => Ok(Some(left)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{FileTypeExt, MetadataExt};
    use std::thread;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn a_line_goes_there_and_one_comes_back() {
        let home = tempfile::tempdir().unwrap();
        // Longer than the 108 bytes of an address.
        let dir = home.path().join("d".repeat(150));
        std::fs::create_dir(&dir).unwrap();
        let listener = Listener::bind(&dir, "control").unwrap();
        let meta = std::fs::symlink_metadata(dir.join("control")).unwrap();
        assert!(meta.file_type().is_socket());
        assert_eq!(meta.mode() & 0o777, 0o600);
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut peer = listener.accept().unwrap().unwrap();
                assert!(peer.is_trusted().unwrap());
                assert_eq!(peer.read_line(16, Some(LONG)).unwrap().unwrap(), b"question");
                peer.write_line("answer", LONG).unwrap();
                assert_eq!(peer.read_line(16, Some(LONG)).unwrap(), None);
                assert!(peer.is_over());
            });
            let mut stream = Stream::connect(&dir, "control").unwrap();
            stream.write_line("question", LONG).unwrap();
            assert_eq!(stream.read_line(16, None).unwrap().unwrap(), b"answer");
        });
        drop(listener);
        assert!(!dir.join("control").exists());
        assert_eq!(Stream::connect(&dir, "control").unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn what_a_dead_process_left_is_replaced() {
        let home = tempfile::tempdir().unwrap();
        let dead = Listener::bind(home.path(), "control").unwrap();
        // As after SIGKILL: the socket is closed and its name stays.
        let at = |name: &str| home.path().join(name);
        std::fs::hard_link(at("control"), at("kept")).unwrap();
        drop(dead);
        std::fs::rename(at("kept"), at("control")).unwrap();
        let refused = Stream::connect(home.path(), "control").unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        let _listener = Listener::bind(home.path(), "control").unwrap();
        Stream::connect(home.path(), "control").unwrap();
    }

    #[test]
    fn closing_ends_the_wait_for_peers() {
        let home = tempfile::tempdir().unwrap();
        let listener = Listener::bind(home.path(), "control").unwrap();
        let closer = listener.closer();
        thread::scope(|scope| {
            let waiting = scope.spawn(|| listener.accept().unwrap().is_none());
            closer.close();
            assert!(waiting.join().unwrap());
        });
        assert!(listener.accept().unwrap().is_none(), "and every later one");
    }

    #[test]
    fn peers_that_say_nothing_too_much_or_half_are_not_waited_for() {
        let home = tempfile::tempdir().unwrap();
        let listener = Listener::bind(home.path(), "control").unwrap();
        let connect = || {
            let stream = Stream::connect(home.path(), "control").unwrap();
            (stream, listener.accept().unwrap().unwrap())
        };
        let (_mute, mut peer) = connect();
        let error = peer.read_line(16, Some(Duration::from_millis(1))).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(!peer.is_over());
        let (mut loud, mut peer) = connect();
        loud.write_line(&"x".repeat(17), LONG).unwrap();
        let error = peer.read_line(16, Some(LONG)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        let (mut half, mut peer) = connect();
        half.0.write_all(b"half").unwrap();
        drop(half);
        let error = peer.read_line(16, Some(LONG)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
