//! The records that a read of a fanotify group gives.
//!
//! In: a buffer. Out: events that borrow from it. The bytes come from the kernel, yet nothing here trusts them:
//! every length is checked, every step goes forward, and whatever cannot be read is [`Malformed`].

use super::abi::*;
use std::os::fd::{OwnedFd, RawFd};

/// A file handle as the kernel reports it, unique within a filesystem for all time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Handle<'a> {
    /// The filesystem, as `statfs` names it (`f_fsid`).
    pub fsid: [u8; 8],
    /// What kind of handle the filesystem made of it.
    pub kind: i32,
    /// The handle, at most 128 bytes.
    pub bytes: &'a [u8],
}

impl Handle<'_> {
    /// Whether it stands for an object; the superblock itself is reported with a handle of no length.
    pub fn is_object(&self) -> bool {
        !self.bytes.is_empty()
    }
}

/// What a filesystem found wrong with itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FilesystemError {
    /// The error number, such as `EUCLEAN` (117).
    pub errno: i32,
    /// How many errors this record stands for.
    pub count: u32,
}

/// A directory and a name in it: one side of a move.
pub type Renaming<'a> = (Handle<'a>, &'a [u8]);

/// One record. The fields that it lacks are `None`.
#[derive(Debug)]
pub struct Event<'a, P = OwnedFd> {
    /// The `FAN_` bits.
    pub mask: u64,
    /// The process, or 0 when the kernel does not tell.
    pub pid: i32,
    /// A descriptor of the process, when it was asked for and the process had not ended.
    pub pidfd: Option<P>,
    /// The directory that holds the object, or the directory itself when `name` is `.`.
    pub dir: Option<Handle<'a>>,
    /// The object's name in `dir`.
    pub name: Option<&'a [u8]>,
    /// Of a move: where it was.
    pub old: Option<Renaming<'a>>,
    /// Of a move: where it is.
    pub new: Option<Renaming<'a>>,
    /// The object.
    pub target: Option<Handle<'a>>,
    /// The damage that the filesystem reports.
    pub error: Option<FilesystemError>,
}

impl<P> Event<'_, P> {
    /// Whether the queue was full, so that events before this one were lost.
    pub fn is_overflow(&self) -> bool {
        self.mask & FAN_Q_OVERFLOW != 0
    }

    /// Whether the object is a directory.
    pub fn is_dir(&self) -> bool {
        self.mask & FAN_ONDIR != 0
    }
}

/// Bytes that are no fanotify record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the kernel's event record is not understood: {0}")]
pub struct Malformed(&'static str);

/// The events of one buffer. The buffer holds descriptors by number; `adopt` is called once for each and makes an
/// owner of it. Whatever is not taken out of the iterator is adopted and dropped with it.
#[derive(Debug)]
pub struct Events<'a, P, A: FnMut(RawFd) -> P> {
    rest: &'a [u8],
    adopt: A,
}

impl<'a, P, A: FnMut(RawFd) -> P> Events<'a, P, A> {
    /// The events of a buffer that one read has filled.
    pub fn new(buffer: &'a [u8], adopt: A) -> Self {
        Events { rest: buffer, adopt }
    }

    fn take(&mut self) -> Result<Event<'a, P>, Malformed> {
        // Without a sound length there is no next record; so the rest is given up before it is looked at.
        let buffer = std::mem::take(&mut self.rest);
        let mut head = Bytes(buffer);
        let len = head.u32()? as usize;
        let version = head.u8()?;
        let _reserved = head.u8()?;
        let head_len = usize::from(head.u16()?);
        if version != METADATA_VERSION {
            return Err(Malformed("another version of the format"));
        }
        if head_len < METADATA_LEN || len < head_len {
            return Err(Malformed("a length too small"));
        }
        let (record, rest) = buffer.split_at_checked(len).ok_or(Malformed("cut short"))?;
        self.rest = rest;
        let mask = head.u64()?;
        let fd = head.i32()?;
        let pid = head.i32()?;
        if fd >= 0 {
            // Groups that report handles have none; should one come all the same, it is closed.
            drop((self.adopt)(fd));
        }
        let mut event = Event {
            mask,
            pid,
            pidfd: None,
            dir: None,
            name: None,
            old: None,
            new: None,
            target: None,
            error: None,
        };
        let mut infos = record.get(head_len..).unwrap_or_default();
        let mut outcome = Ok(());
        while !infos.is_empty() {
            let Some((info, rest)) = split_info(infos) else {
                outcome = outcome.and(Err(Malformed("a part of a record is cut short")));
                break;
            };
            infos = rest;
            // Later parts are read even after a bad one: a descriptor among them must not leak.
            outcome = outcome.and(self.info(info, &mut event));
        }
        outcome.map(|()| event)
    }

    fn info(&mut self, info: &'a [u8], event: &mut Event<'a, P>) -> Result<(), Malformed> {
        let mut bytes = Bytes(info);
        let kind = bytes.u8()?;
        bytes.take(INFO_HEADER_LEN - 1)?;
        match kind {
            INFO_FID => event.target = Some(bytes.handle()?),
            INFO_DFID => event.dir = Some(bytes.handle()?),
            INFO_DFID_NAME => {
                event.dir = Some(bytes.handle()?);
                event.name = Some(bytes.name()?);
            }
            INFO_OLD_DFID_NAME => event.old = Some((bytes.handle()?, bytes.name()?)),
            INFO_NEW_DFID_NAME => event.new = Some((bytes.handle()?, bytes.name()?)),
            INFO_PIDFD => {
                let fd = bytes.i32()?;
                if fd >= 0 {
                    event.pidfd = Some((self.adopt)(fd));
                }
            }
            INFO_ERROR => event.error = Some(FilesystemError { errno: bytes.i32()?, count: bytes.u32()? }),
            // Newer kernels may add parts that nobody asked for.
            _ => {}
        }
        Ok(())
    }
}

/// The first part of a record (with its header), and what follows.
fn split_info(infos: &[u8]) -> Option<(&[u8], &[u8])> {
    let len = usize::from(u16::from_ne_bytes([*infos.get(2)?, *infos.get(3)?]));
    if len < INFO_HEADER_LEN { None } else { infos.split_at_checked(len) }
}

impl<'a, P, A: FnMut(RawFd) -> P> Iterator for Events<'a, P, A> {
    type Item = Result<Event<'a, P>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() { None } else { Some(self.take()) }
    }
}

impl<P, A: FnMut(RawFd) -> P> Drop for Events<'_, P, A> {
    fn drop(&mut self) {
        while self.next().is_some() {}
    }
}

/// A reader of numbers in this machine's byte order.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(Malformed("cut short"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(Malformed("cut short"))?;
        self.0 = rest;
        Ok(*taken)
    }

    fn u8(&mut self) -> Result<u8, Malformed> {
        self.array().map(u8::from_ne_bytes)
    }

    fn u16(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_ne_bytes)
    }

    fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_ne_bytes)
    }

    fn i32(&mut self) -> Result<i32, Malformed> {
        self.array().map(i32::from_ne_bytes)
    }

    fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_ne_bytes)
    }

    /// `__kernel_fsid_t`, then `struct file_handle`.
    fn handle(&mut self) -> Result<Handle<'a>, Malformed> {
        let fsid = self.array()?;
        let len = self.u32()? as usize;
        let kind = self.i32()?;
        if len > MAX_HANDLE {
            return Err(Malformed("a file handle that is too long"));
        }
        Ok(Handle { fsid, kind, bytes: self.take(len)? })
    }

    /// A name of one component, ended by NUL; padding follows it.
    fn name(&mut self) -> Result<&'a [u8], Malformed> {
        let end = self.0.iter().position(|b| *b == 0).ok_or(Malformed("a name without an end"))?;
        let name = self.take(end)?;
        if name.is_empty() || name.contains(&b'/') {
            return Err(Malformed("a name that no directory can hold"));
        }
        Ok(name)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::cell::RefCell;

    /// A record put together as the kernel does.
    pub(crate) fn record(mask: u64, pid: i32, infos: &[Vec<u8>]) -> Vec<u8> {
        let body: Vec<u8> = infos.concat();
        let mut out = Vec::new();
        out.extend_from_slice(&((METADATA_LEN + body.len()) as u32).to_ne_bytes());
        out.extend_from_slice(&[METADATA_VERSION, 0]);
        out.extend_from_slice(&(METADATA_LEN as u16).to_ne_bytes());
        out.extend_from_slice(&mask.to_ne_bytes());
        out.extend_from_slice(&(-1i32).to_ne_bytes());
        out.extend_from_slice(&pid.to_ne_bytes());
        out.extend_from_slice(&body);
        out
    }

    fn info(kind: u8, body: &[u8]) -> Vec<u8> {
        let padded = (INFO_HEADER_LEN + body.len()).next_multiple_of(4);
        let mut out = vec![kind, 0];
        out.extend_from_slice(&(padded as u16).to_ne_bytes());
        out.extend_from_slice(body);
        out.resize(padded, 0);
        out
    }

    fn handle(kind: i32, bytes: &[u8]) -> Vec<u8> {
        let mut out = vec![1, 2, 3, 4, 5, 6, 7, 8];
        out.extend_from_slice(&(bytes.len() as u32).to_ne_bytes());
        out.extend_from_slice(&kind.to_ne_bytes());
        out.extend_from_slice(bytes);
        out
    }

    fn named(kind: u8, bytes: &[u8], name: &[u8]) -> Vec<u8> {
        info(kind, &[handle(1, bytes), name.to_vec(), vec![0]].concat())
    }

    fn pidfd(fd: i32) -> Vec<u8> {
        info(INFO_PIDFD, &fd.to_ne_bytes())
    }

    /// Stands for an owned descriptor.
    struct Owned<'a>(RawFd, &'a RefCell<Vec<RawFd>>);
    impl Drop for Owned<'_> {
        fn drop(&mut self) {
            self.1.borrow_mut().push(self.0);
        }
    }

    fn sample() -> Vec<u8> {
        let create = record(
            FAN_CREATE | FAN_MODIFY,
            42,
            &[
                pidfd(7),
                named(INFO_DFID_NAME, b"dirhandle", b"a\nb\xff"),
                info(INFO_FID, &handle(1, b"target")),
            ],
        );
        let rename = record(
            FAN_RENAME | FAN_ONDIR,
            43,
            &[named(INFO_OLD_DFID_NAME, b"old", b"x"), named(INFO_NEW_DFID_NAME, b"newer", b"y"), pidfd(9)],
        );
        let overflow = record(FAN_Q_OVERFLOW, 0, &[pidfd(-1)]);
        let damage = record(
            FAN_FS_ERROR,
            0,
            &[
                info(INFO_ERROR, &[117i32.to_ne_bytes(), 2u32.to_ne_bytes()].concat()),
                info(INFO_FID, &handle(255, b"")),
            ],
        );
        [create, rename, overflow, damage].concat()
    }

    #[test]
    fn reads_every_part() {
        let closed = RefCell::new(Vec::new());
        let buffer = sample();
        let events: Vec<_> = Events::new(&buffer, |fd| Owned(fd, &closed)).collect::<Result<_, _>>().unwrap();
        assert_eq!(events.len(), 4);
        assert_eq!(events[0].pid, 42);
        assert_eq!(events[0].pidfd.as_ref().unwrap().0, 7);
        assert_eq!(events[0].dir.unwrap().bytes, b"dirhandle");
        assert_eq!(events[0].dir.unwrap().fsid, [1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(events[0].name.unwrap(), b"a\nb\xff");
        assert_eq!(events[0].target.unwrap().bytes, b"target");
        assert!(!events[0].is_dir());
        assert_eq!(events[1].old.unwrap().1, b"x");
        assert_eq!(
            events[1].new.unwrap(),
            (Handle { bytes: b"newer", ..events[1].new.unwrap().0 }, &b"y"[..])
        );
        assert!(events[1].is_dir());
        assert!(events[2].is_overflow() && events[2].pidfd.is_none());
        assert_eq!(events[3].error, Some(FilesystemError { errno: 117, count: 2 }));
        assert!(!events[3].target.unwrap().is_object());
        drop(events);
        assert_eq!(*closed.borrow(), [7, 9]);
    }

    #[test]
    fn closes_what_nobody_takes() {
        let closed = RefCell::new(Vec::new());
        let buffer = sample();
        let mut events = Events::new(&buffer, |fd| Owned(fd, &closed));
        drop(events.next());
        drop(events);
        assert_eq!(*closed.borrow(), [7, 9]);
    }

    #[test]
    fn a_bad_part_hides_no_descriptor() {
        let closed = RefCell::new(Vec::new());
        let bad = info(INFO_FID, &[0; 8]);
        let buffer = [record(FAN_CREATE, 1, &[bad, pidfd(5)]), record(FAN_MODIFY, 2, &[pidfd(6)])].concat();
        let mut events = Events::new(&buffer, |fd| Owned(fd, &closed));
        assert!(events.next().unwrap().is_err());
        assert_eq!(*closed.borrow(), [5]);
        assert_eq!(events.next().unwrap().unwrap().pid, 2);
        assert!(events.next().is_none());
        drop(events);
        assert_eq!(*closed.borrow(), [5, 6]);
    }

    #[test]
    fn refuses_names_with_slashes() {
        let buffer = record(FAN_CREATE, 1, &[named(INFO_DFID_NAME, b"d", b"a/b")]);
        assert!(Events::new(&buffer, |_| ()).next().unwrap().is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_end(buffer in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(Events::new(&buffer, |_| ()).count() <= buffer.len() / METADATA_LEN + 1);
        }

        #[test]
        fn cut_buffers_end_and_give_back_what_is_whole(cut in 0usize..400) {
            let whole = sample();
            let cut = cut.min(whole.len());
            let events: Vec<_> = Events::new(&whole[..cut], |_| ()).collect();
            let good = events.iter().filter(|event| event.is_ok()).count();
            prop_assert!(events.len() - good <= 1);
            prop_assert_eq!(good == 4, cut == whole.len());
        }

        #[test]
        fn changed_buffers_end(at in 0usize..400, byte in any::<u8>()) {
            let mut buffer = sample();
            let at = at % buffer.len();
            buffer[at] = byte;
            let closed = RefCell::new(Vec::new());
            let count = Events::new(&buffer, |fd| Owned(fd, &closed)).count();
            prop_assert!(count <= 5);
        }
    }
}
