//! Speaking to the SSH agent of whoever runs the program.
//!
//! In: a request. Out: what came back. What the bytes mean is not looked at here.

use std::io;

/// Sends a request to the agent at `SSH_AUTH_SOCK` and returns its answer, both without the length in front. Whoever has to
/// confirm a signature has two minutes.
///
/// # Errors
/// When there is no agent, it does not answer, or its answer is longer than `longest` bytes.
pub fn ask(request: &[u8], longest: usize) -> io::Result<Vec<u8>> {
    let socket = std::env::var_os("SSH_AUTH_SOCK").filter(|path| !path.is_empty());
    let socket = socket.ok_or_else(|| io::Error::other("there is none: SSH_AUTH_SOCK is not set"))?;
    system::exchange(std::path::Path::new(&socket), request, longest)
}

#[cfg(unix)]
mod system {
    use std::io::{self, Read, Write};
    use std::os::unix::net::UnixStream;
    use std::path::Path;
    use std::time::{Duration, Instant};

    const PATIENCE: Duration = Duration::from_secs(120);

    pub(super) fn exchange(socket: &Path, request: &[u8], longest: usize) -> io::Result<Vec<u8>> {
        let end = Instant::now() + PATIENCE;
        let mut stream = UnixStream::connect(socket)?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let length = u32::try_from(request.len()).map_err(|_| io::Error::other("the request is too long"))?;
        stream.write_all(&length.to_be_bytes())?;
        stream.write_all(request)?;
        let mut length = [0; 4];
        fill(&mut stream, &mut length, end)?;
        let length = u32::from_be_bytes(length) as usize;
        if length > longest {
            return Err(io::Error::other("its answer is too long"));
        }
        let mut answer = vec![0; length];
        fill(&mut stream, &mut answer, end)?;
        Ok(answer)
    }

    /// Reads so many bytes, in that time altogether: an agent that sends one now and then is none.
    fn fill(stream: &mut UnixStream, mut buffer: &mut [u8], end: Instant) -> io::Result<()> {
        while !buffer.is_empty() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            stream.set_read_timeout(Some(left))?;
            match stream.read(buffer) {
                Ok(0) => return Err(io::Error::other("it ended without an answer")),
                Ok(read) => buffer = buffer.get_mut(read..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Err(io::ErrorKind::TimedOut.into());
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    #[cfg(test)]
    mod tests {
        use super::*;
        use std::os::unix::net::UnixListener;

        /// What an agent makes of a request that answers with these bytes and ends.
        fn answered(bytes: &'static [u8]) -> io::Result<Vec<u8>> {
            let home = tempfile::tempdir().unwrap();
            let socket = home.path().join("agent");
            let listener = UnixListener::bind(&socket).unwrap();
            let agent = std::thread::spawn(move || {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = [0; 5];
                stream.read_exact(&mut request).unwrap();
                assert_eq!(request, [0, 0, 0, 1, 11]);
                let _ = stream.write_all(bytes);
            });
            let answer = exchange(&socket, &[11], 10);
            agent.join().unwrap();
            answer
        }

        #[test]
        fn an_answer_is_as_long_as_it_says_and_as_it_may_be() {
            assert_eq!(answered(b"\0\0\0\x03abc").unwrap(), b"abc");
            assert_eq!(answered(b"\0\0\0\x03abcdef").unwrap(), b"abc");
            assert_eq!(answered(b"\0\0\0\0").unwrap(), b"");
            for bad in [&b""[..], b"\0\0", b"\0\0\0\x03ab", b"\0\0\0\x0babcdefghijk", b"\xff\xff\xff\xff"] {
                answered(bad).unwrap_err();
            }
            exchange(Path::new("/nonexistent"), &[11], 10).unwrap_err();
        }
    }
}

#[cfg(not(unix))]
mod system {
    use std::io;
    use std::path::Path;

    pub(super) fn exchange(_: &Path, _: &[u8], _: usize) -> io::Result<Vec<u8>> {
        Err(io::Error::other("agents are not spoken to on this system"))
    }
}
