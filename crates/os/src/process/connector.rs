//! The kernel's proc connector: it tells of each fork, exec and exit, but not of what; `/proc` is asked at once.
//!
//! In: the right to listen (`CAP_NET_ADMIN` in the first namespaces). Out: what happened to which number. A process that
//! is over by the time it is asked stays unknown, so this knows less than the programs in the kernel do. The messages are
//! those of `include/uapi/linux/connector.h` and `cn_proc.h`.

use super::netlink::{HEADER, Socket, split, word};
use std::io::Error;
use std::os::fd::{AsFd, BorrowedFd};

/// The connector's name for news of processes: `CN_IDX_PROC` and `CN_VAL_PROC`.
const PROC: u32 = 1;
/// `PROC_CN_MCAST_LISTEN`
const LISTEN: u32 = 1;
/// The header of netlink, then that of the connector (`struct cn_msg`).
const HEADERS: usize = HEADER + 20;
/// How many bytes the kernel may keep for us; it counts each message several times over.
const ROOM: libc::c_int = 4 << 20;
/// One message is some 80 bytes.
const BUFFER: usize = 4096;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// A process began as a copy of another.
    Fork {
        /// Its number.
        child: u32,
        /// The other's.
        parent: u32,
    },
    /// A process became another program.
    Exec(u32),
    /// The first thread of a process ends.
    Exit(u32),
}

/// The socket.
#[derive(Debug)]
pub struct Connector(Socket);

impl Connector {
    /// Begins to listen.
    ///
    /// # Errors
    /// Without the right, or in a kernel without it.
    pub fn listen() -> Result<Connector, Error> {
        let socket = Socket::open(libc::NETLINK_CONNECTOR, PROC, ROOM)?;
        socket.send(&request(std::process::id()))?;
        Ok(Connector(socket))
    }

    /// Hands on all that there is; whether nothing was lost. `each` also gets the time of the event, in nanoseconds of
    /// `CLOCK_MONOTONIC`.
    pub fn drain(&self, each: &mut dyn FnMut(News, u64)) -> bool {
        let mut buffer = [0; BUFFER];
        let mut complete = true;
        loop {
            match self.0.receive(&mut buffer) {
                Ok([]) => return complete,
                Ok(bytes) => {
                    let mut rest = bytes;
                    while let Some((message, after)) = split(rest) {
                        if let Some((news, time)) = parse(message) {
                            each(news, time);
                        }
                        rest = after;
                    }
                }
                Err(rustix::io::Errno::AGAIN) => return complete,
                // No room was left for what happened meanwhile.
                Err(rustix::io::Errno::NOBUFS) => complete = false,
                Err(_) => return false,
            }
        }
    }
}

impl AsFd for Connector {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Asks for the news: both headers, and one word.
fn request(pid: u32) -> Vec<u8> {
    let length = (HEADERS + 4) as u32;
    let mut bytes = Vec::with_capacity(HEADERS + 4);
    bytes.extend(length.to_ne_bytes());
    // NLMSG_DONE, no flags.
    bytes.extend(3u16.to_ne_bytes());
    bytes.extend(0u16.to_ne_bytes());
    for word in [0, pid, PROC, PROC, 0, 0] {
        bytes.extend(u32::to_ne_bytes(word));
    }
    bytes.extend(4u16.to_ne_bytes());
    bytes.extend(0u16.to_ne_bytes());
    bytes.extend(LISTEN.to_ne_bytes());
    bytes
}

/// What a message says, and when that was (`struct proc_event`).
fn parse(message: &[u8]) -> Option<(News, u64)> {
    if word(message, HEADER)? != PROC || word(message, HEADER + 4)? != PROC {
        return None;
    }
    let event = message.get(HEADERS..)?;
    let time = event.get(8..)?.first_chunk().copied().map(u64::from_ne_bytes)?;
    // Thread and process, of the parent and of the child where there are two.
    let id = |index: usize| word(event, 16 + 4 * index);
    let news = match word(event, 0)? {
        0x1 => {
            let (parent, thread, child) = (id(1)?, id(2)?, id(3)?);
            // A thread more is no process more.
            if thread != child {
                return None;
            }
            News::Fork { child, parent }
        }
        0x2 => News::Exec(id(1)?),
        0x8000_0000 => {
            let (thread, process) = (id(0)?, id(1)?);
            if thread != process {
                return None;
            }
            News::Exit(process)
        }
        _ => return None,
    };
    Some((news, time))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn message(what: u32, ids: &[u32]) -> Vec<u8> {
        let mut bytes = request(1);
        bytes.truncate(HEADERS);
        for word in [what, 0] {
            bytes.extend(u32::to_ne_bytes(word));
        }
        bytes.extend(77u64.to_ne_bytes());
        ids.iter().for_each(|id| bytes.extend(id.to_ne_bytes()));
        let length = bytes.len() as u32;
        bytes[..4].copy_from_slice(&length.to_ne_bytes());
        bytes
    }

    #[test]
    fn news_of_processes_are_read_and_those_of_threads_are_not() {
        for (what, ids, wanted) in [
            (1, &[8, 7, 9, 9][..], Some((News::Fork { child: 9, parent: 7 }, 77))),
            (1, &[7, 7, 9, 7], None),
            (2, &[9, 9], Some((News::Exec(9), 77))),
            (0x8000_0000, &[9, 9, 0, 0], Some((News::Exit(9), 77))),
            (0x8000_0000, &[10, 9, 0, 0], None),
            (4, &[9, 9, 0, 0], None),
            (2, &[9], None),
        ] {
            assert_eq!(parse(&message(what, ids)), wanted, "{what} {ids:?}");
        }
        let two = [message(2, &[9, 9]), message(2, &[8, 8])].concat();
        let (first, rest) = split(&two).unwrap();
        assert_eq!((parse(first), split(rest).unwrap().1), (Some((News::Exec(9), 77)), &[][..]));
    }

    proptest! {
        #[test]
        fn no_bytes_break_it(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut rest = bytes.as_slice();
            while let Some((message, after)) = split(rest) {
                let _ = parse(message);
                rest = after;
            }
        }
    }
}
