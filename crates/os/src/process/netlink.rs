//! Sockets of netlink: messages between the kernel and programs (netlink(7)).
//!
//! In: a protocol. Out: what the kernel says. A program with the right to (`CAP_NET_ADMIN`) can send messages to such a
//! socket that look like the kernel's: only those whose sender is the kernel are heard.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::io::Error;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::Duration;

/// Bytes of a message's own header (`struct nlmsghdr`).
pub const HEADER: usize = 16;

/// A socket that never waits.
#[derive(Debug)]
pub struct Socket(OwnedFd);

impl Socket {
    /// Opens one for a protocol (`NETLINK_…`), and joins these groups, as bits. The kernel may keep `room` bytes for it,
    /// of which it counts each message several times over.
    ///
    /// # Errors
    /// Without the right, or in a kernel without the protocol.
    pub fn open(protocol: libc::c_int, groups: u32, room: libc::c_int) -> Result<Socket, Error> {
        let kind = libc::SOCK_DGRAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        // SAFETY: no pointers; the result is checked, and owned from there on.
        #[allow(unsafe_code, reason = "netlink has no safe wrapper here")]
        let socket = unsafe {
            match libc::socket(libc::AF_NETLINK, kind, protocol) {
                -1 => return Err(Error::last_os_error()),
                fd => Socket(OwnedFd::from_raw_fd(fd)),
            }
        };
        // Root may have more than the limit; whoever may not has what the limit gives.
        if socket.set_room(libc::SO_RCVBUFFORCE, room).is_err() {
            socket.set_room(libc::SO_RCVBUF, room)?;
        }
        socket.bind(groups)?;
        Ok(socket)
    }

    #[allow(unsafe_code, reason = "this option has no safe wrapper here")]
    fn set_room(&self, option: libc::c_int, room: libc::c_int) -> Result<(), Error> {
        let size = size_of::<libc::c_int>() as libc::socklen_t;
        // SAFETY: the pointer is to an integer of the size that is given, and outlives the call.
        let answer = unsafe {
            libc::setsockopt(self.0.as_raw_fd(), libc::SOL_SOCKET, option, (&raw const room).cast(), size)
        };
        if answer == 0 { Ok(()) } else { Err(Error::last_os_error()) }
    }

    #[allow(unsafe_code, reason = "netlink has no safe wrapper here")]
    fn bind(&self, groups: u32) -> Result<(), Error> {
        let mut address = no_address();
        address.nl_family = libc::AF_NETLINK as libc::sa_family_t;
        address.nl_groups = groups;
        let size = size_of::<libc::sockaddr_nl>() as libc::socklen_t;
        // SAFETY: the pointer is to an address of the size that is given, and outlives the call.
        let answer = unsafe { libc::bind(self.0.as_raw_fd(), (&raw const address).cast(), size) };
        if answer == 0 { Ok(()) } else { Err(Error::last_os_error()) }
    }

    /// Sends to the kernel.
    ///
    /// # Errors
    /// As sendmsg(2).
    pub fn send(&self, bytes: &[u8]) -> Result<(), Error> {
        match rustix::io::retry_on_intr(|| rustix::io::write(&self.0, bytes)) {
            Ok(sent) if sent == bytes.len() => Ok(()),
            Ok(_) => Err(Error::other("the request was cut")),
            Err(error) => Err(error.into()),
        }
    }

    /// The next that the kernel sent, cut to the buffer; what others sent is passed over.
    ///
    /// # Errors
    /// `EAGAIN` when there is nothing, `ENOBUFS` when something was lost for want of room.
    pub fn receive<'b>(&self, buffer: &'b mut [u8]) -> Result<&'b [u8], Errno> {
        loop {
            let (size, sender) = self.receive_from(buffer)?;
            if sender == 0 {
                return Ok(buffer.get(..size).unwrap_or_default());
            }
        }
    }

    /// How many bytes came, and from which address; the kernel's is 0.
    #[allow(unsafe_code, reason = "netlink has no safe wrapper here")]
    fn receive_from(&self, buffer: &mut [u8]) -> Result<(usize, u32), Errno> {
        loop {
            let mut address = no_address();
            let mut length = size_of::<libc::sockaddr_nl>() as libc::socklen_t;
            // SAFETY: the pointers are to a buffer and an address of the sizes that are given, and outlive the call.
            let answer = unsafe {
                libc::recvfrom(
                    self.0.as_raw_fd(),
                    buffer.as_mut_ptr().cast(),
                    buffer.len(),
                    0,
                    (&raw mut address).cast(),
                    &raw mut length,
                )
            };
            match usize::try_from(answer) {
                Ok(size) if length as usize >= size_of::<libc::sockaddr_nl>() => {
                    return Ok((size, address.nl_pid));
                }
                // From nobody.
                Ok(size) => return Ok((size, u32::MAX)),
                Err(_) => match Errno::from_io_error(&Error::last_os_error()) {
                    Some(Errno::INTR) => {}
                    Some(error) => return Err(error),
                    None => return Err(Errno::IO),
                },
            }
        }
    }

    /// Waits until there is something to receive, at most so long.
    pub fn wait(&self, most: Duration) {
        let mut fds = [PollFd::from_borrowed_fd(self.0.as_fd(), PollFlags::IN)];
        if let Ok(most) = Timespec::try_from(most) {
            // A signal ends the wait early, which does no harm.
            let _ = poll(&mut fds, Some(&most));
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[allow(unsafe_code, reason = "the address has a private field")]
fn no_address() -> libc::sockaddr_nl {
    // SAFETY: all zero bytes are a valid address.
    unsafe { std::mem::zeroed() }
}

/// The first message with its header, and what comes after it.
pub fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = usize::try_from(word(bytes, 0)?).ok().filter(|length| *length >= HEADER)?;
    let message = bytes.get(..length)?;
    Some((message, bytes.get(length.next_multiple_of(4)..).unwrap_or_default()))
}

/// The word at this place, in the machine's own byte order.
pub fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().copied().map(u32::from_ne_bytes)
}

/// The half of a word at this place.
pub fn half(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().copied().map(u16::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The address that the kernel gave a socket.
    #[allow(unsafe_code, reason = "netlink has no safe wrapper here")]
    fn address(socket: &Socket) -> libc::sockaddr_nl {
        let (mut address, mut size) = (no_address(), size_of::<libc::sockaddr_nl>() as libc::socklen_t);
        // SAFETY: the pointers are to an address of the size that is given and to that size, and outlive the call.
        let answer = unsafe {
            let address = (&raw mut address).cast();
            libc::getsockname(socket.0.as_raw_fd(), address, &raw mut size)
        };
        assert_eq!(answer, 0);
        address
    }

    #[test]
    #[allow(unsafe_code, reason = "netlink has no safe wrapper here")]
    fn what_a_program_sends_is_not_heard() {
        // A protocol in which programs may send to each other.
        let [one, other] = [(); 2].map(|()| Socket::open(libc::NETLINK_USERSOCK, 0, 1 << 16).unwrap());
        let (to, text) = (address(&one), b"a message");
        // SAFETY: the pointers are to bytes and an address of the sizes that are given, and outlive the call.
        let sent = unsafe {
            let size = size_of::<libc::sockaddr_nl>() as libc::socklen_t;
            let (text, length) = (text.as_ptr().cast(), text.len());
            libc::sendto(other.0.as_raw_fd(), text, length, 0, (&raw const to).cast(), size)
        };
        assert_eq!(sent, 9, "{}", Error::last_os_error());
        one.wait(Duration::from_secs(1));
        let mut buffer = [0; 64];
        assert_eq!(one.receive_from(&mut buffer).map(|(size, _)| size), Ok(9), "it is there");
        // SAFETY: as above.
        let sent = unsafe {
            let size = size_of::<libc::sockaddr_nl>() as libc::socklen_t;
            let (text, length) = (text.as_ptr().cast(), text.len());
            libc::sendto(other.0.as_raw_fd(), text, length, 0, (&raw const to).cast(), size)
        };
        assert_eq!(sent, 9);
        assert_eq!(one.receive(&mut buffer), Err(Errno::AGAIN));
    }
}
