//! What the programs in the kernel write: one record for each thing that happens to a process.
//!
//! In: bytes from the ring buffer. Out: records. The layout is that of `bpf/process.bpf.c`, in the machine's own byte
//! order.

use super::{ExeFile, Key, State};

/// Bytes before a record's path and arguments.
const HEADER: usize = 72;
/// The path is not whole.
const PATH_CUT: u16 = 1;
/// The arguments are not whole.
const ARGS_CUT: u16 = 2;
/// It is a thread of the kernel.
const KERNEL_THREAD: u16 = 4;
/// No event of it waited to be read.
const ALL_READ: u16 = 8;
/// What stands for an unknown number.
const UNKNOWN: u32 = u32::MAX;

/// What happened to a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event<'a> {
    /// It began as a copy of another, which may itself have another parent on record.
    Fork(Key),
    /// It became another program.
    Exec {
        /// The names on the way to the executable, innermost first, each ended by a zero byte; `None` when there were
        /// too many to tell.
        names: Option<&'a [u8]>,
        /// The arguments, each ended by a zero byte.
        args: &'a [u8],
        /// Whether more arguments were left out.
        args_cut: bool,
        /// The file itself; `None` when it could not be told.
        file: Option<ExeFile>,
        /// No event of the process waited to be read: what it did before then had been read.
        quiet: bool,
    },
    /// Its last thread ends.
    Exit,
    /// Nothing is left of it: its number may be given to another.
    Free,
    /// It was put into a control group, of this path.
    Moved(&'a [u8]),
}

/// One record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Record<'a> {
    /// Something happened to a process.
    Process {
        /// When, in nanoseconds since the system started.
        time: u64,
        /// To which.
        key: Key,
        /// What.
        event: Event<'a>,
        /// What was true of it then; nothing for [`Event::Free`].
        state: State,
    },
    /// A control group was made.
    Cgroup {
        /// Its inode number.
        id: u64,
        /// Its path.
        path: &'a [u8],
    },
}

/// The bytes are no record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a record of a process")]
pub struct NoRecord;

impl<'a> Record<'a> {
    /// Reads one record.
    ///
    /// # Errors
    /// [`NoRecord`] when it is of an unknown kind, or sizes do not fit.
    pub fn parse(bytes: &'a [u8]) -> Result<Record<'a>, NoRecord> {
        let (header, data) = bytes.split_at_checked(HEADER).ok_or(NoRecord)?;
        let long = |at| number(header, at).map(u64::from_ne_bytes);
        let word = |at| number(header, at).map(u32::from_ne_bytes);
        let half = |at| number(header, at).map(u16::from_ne_bytes);
        let (path_size, args_size) = (usize::from(half(52)?), usize::from(half(54)?));
        let (kind, flags) = (half(56)?, half(58)?);
        let (path, rest) = data.split_at_checked(path_size).ok_or(NoRecord)?;
        let args = rest.get(..args_size).ok_or(NoRecord)?;
        let known = |value: u32| (value != UNKNOWN).then_some(value);
        let event = match kind {
            1 => Event::Fork(Key { pid: word(36)?, start: long(16)? }),
            2 => Event::Exec {
                names: (flags & PATH_CUT == 0).then_some(path),
                args,
                args_cut: flags & ARGS_CUT != 0,
                file: file(word(60)?, long(64)?, long(0)?),
                quiet: flags & ALL_READ != 0,
            },
            3 => Event::Exit,
            4 => Event::Free,
            5 => return Ok(Record::Cgroup { id: long(24)?, path: text(path)? }),
            6 => Event::Moved(text(path)?),
            _ => return Err(NoRecord),
        };
        let state = State {
            uid: word(40)?,
            login_uid: known(word(44)?),
            session: known(word(48)?),
            cgroup: long(24)?,
            is_kernel: flags & KERNEL_THREAD != 0,
        };
        Ok(Record::Process { time: long(0)?, key: Key { pid: word(32)?, start: long(8)? }, event, state })
    }
}

/// From the kernel's own form of a device's number.
fn file(device: u32, inode: u64, since: u64) -> Option<ExeFile> {
    let device = (device >> 20, device & 0xF_FFFF);
    (inode != 0).then_some(ExeFile { device, inode, since })
}

fn number<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], NoRecord> {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).copied().ok_or(NoRecord)
}

/// Without the zero byte at its end.
fn text(bytes: &[u8]) -> Result<&[u8], NoRecord> {
    bytes.strip_suffix(b"\0").ok_or(NoRecord)
}

/// The path that these names lead along: they come innermost first, each ended by a zero byte.
pub fn path_of(names: &[u8]) -> Vec<u8> {
    let names: Vec<&[u8]> = names.split(|byte| *byte == 0).filter(|name| !name.is_empty()).collect();
    if names.is_empty() {
        return b"/".to_vec();
    }
    let mut path = Vec::with_capacity(names.iter().map(|name| name.len() + 1).sum());
    for name in names.into_iter().rev() {
        path.push(b'/');
        path.extend_from_slice(name);
    }
    path
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The bytes of a record, as the program in the kernel writes them.
    pub fn bytes(kind: u16, key: Key, parent: Key, flags: u16, path: &[u8], args: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for long in [77, key.start, parent.start, 9] {
            bytes.extend(u64::to_ne_bytes(long));
        }
        for word in [key.pid, parent.pid, 1000, UNKNOWN, 3] {
            bytes.extend(u32::to_ne_bytes(word));
        }
        for half in [path.len() as u16, args.len() as u16, kind, flags] {
            bytes.extend(half.to_ne_bytes());
        }
        // The device 254:1, the inode 11.
        bytes.extend((254u32 << 20 | 1).to_ne_bytes());
        bytes.extend(11u64.to_ne_bytes());
        bytes.extend(path);
        bytes.extend(args);
        bytes
    }

    const KEY: Key = Key { pid: 5, start: 50 };
    const FILE: Option<ExeFile> = Some(ExeFile { device: (254, 1), inode: 11, since: 77 });
    const PARENT: Key = Key { pid: 4, start: 40 };

    #[test]
    fn each_kind_is_read() {
        let exec = bytes(2, KEY, PARENT, ARGS_CUT, b"sh\0bin\0", b"sh\0-c\0");
        let state = State { uid: 1000, login_uid: None, session: Some(3), cgroup: 9, is_kernel: false };
        let event = Event::Exec {
            names: Some(b"sh\0bin\0"),
            args: b"sh\0-c\0",
            args_cut: true,
            file: FILE,
            quiet: false,
        };
        assert_eq!(Record::parse(&exec), Ok(Record::Process { time: 77, key: KEY, event, state }));
        let cut = bytes(2, KEY, PARENT, PATH_CUT | ALL_READ, b"sh\0bin\0", b"");
        let event = Event::Exec { names: None, args: b"", args_cut: false, file: FILE, quiet: true };
        assert_eq!(Record::parse(&cut), Ok(Record::Process { time: 77, key: KEY, event, state }));
        for (kind, path, event) in [
            (1, &b""[..], Event::Fork(PARENT)),
            (3, b"", Event::Exit),
            (4, b"", Event::Free),
            (6, b"/a.slice\0", Event::Moved(b"/a.slice")),
        ] {
            let bytes = bytes(kind, KEY, PARENT, 0, path, b"");
            assert_eq!(Record::parse(&bytes), Ok(Record::Process { time: 77, key: KEY, event, state }));
        }
        let group = bytes(5, KEY, PARENT, 0, b"/a.slice\0", b"");
        assert_eq!(Record::parse(&group), Ok(Record::Cgroup { id: 9, path: b"/a.slice" }));
        let kernel = bytes(1, KEY, PARENT, KERNEL_THREAD, b"", b"");
        let Ok(Record::Process { state, .. }) = Record::parse(&kernel) else { panic!() };
        assert!(state.is_kernel);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let good = bytes(2, KEY, PARENT, 0, b"sh\0", b"sh\0");
        for end in 0..good.len() {
            assert_eq!(Record::parse(&good[..end]), Err(NoRecord), "{end}");
        }
        assert_eq!(Record::parse(&bytes(7, KEY, PARENT, 0, b"", b"")), Err(NoRecord));
        assert_eq!(Record::parse(&bytes(5, KEY, PARENT, 0, b"no end", b"")), Err(NoRecord));
    }

    #[test]
    fn names_become_a_path() {
        assert_eq!(path_of(b"dash\0bin\0usr\0"), b"/usr/bin/dash");
        assert_eq!(path_of(b"memfd:x\0"), b"/memfd:x");
        assert_eq!(path_of(b""), b"/");
    }

    proptest! {
        #[test]
        fn no_bytes_break_it(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Record::parse(&bytes);
            let _ = path_of(&bytes);
        }
    }
}
