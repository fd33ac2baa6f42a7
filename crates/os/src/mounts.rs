//! The mount table of this process: which filesystem is seen where.
//!
//! In: `/proc/thread-self/mountinfo` (`proc_pid_mountinfo(5)`). Out: one [`Mount`] for each line, in the kernel's
//! order, and word that the table has changed.

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{AtFlags, Mode, OFlags, StatxFlags};
use rustix::io::Errno;
use rustix::time::Timespec;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use waxseal_model::{DeviceNumber, RawPath};

/// Whether a file can be mounted over another.
pub const OVER_FILES: bool = true;

/// The table of the calling thread: where one thread of a process has a mount namespace of its own, it sees its own.
const TABLE: &str = "/proc/thread-self/mountinfo";

/// One mounted filesystem, or one part of a filesystem mounted somewhere (a bind mount, a subvolume).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// The kernel's number for it, unique while it is mounted.
    pub id: u64,
    /// The number of the mount that it sits on.
    pub parent: u64,
    /// The filesystem. On btrfs it is that of the whole, not the one that `stat` tells of a subvolume.
    pub device: DeviceNumber,
    /// Which directory (or file) of the filesystem is seen at `point`: `/` is all of it.
    pub root: RawPath,
    /// Where it is seen.
    pub point: RawPath,
    /// The type, such as `ext4` or `fuse.sshfs`.
    pub kind: String,
    /// What was mounted, as the filesystem says: a device, a server's path, any word.
    pub source: Vec<u8>,
    /// Whether the filesystem itself takes no writes.
    pub read_only: bool,
    /// Of an overlay: the directory that takes its writes, as it was given to whoever mounted it.
    pub upper: Option<RawPath>,
}

/// What a type of filesystem tells about changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nature {
    /// Its files change only through this kernel.
    Local,
    /// Others change it as well, or its driver does, without a word to this kernel.
    Remote,
    /// The kernel makes up its content when it is read: no change raises an event.
    Made,
}

const REMOTE: &[&str] = &[
    "nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "ceph", "afs", "virtiofs", "ocfs2", "gfs2", "lustre",
    "coda", "orangefs", "vboxsf", "fuse", "fuseblk", "beegfs", "gpfs", "prl_fs", "vmhgfs",
];
const MADE: &[&str] = &[
    "proc",
    "sysfs",
    "cgroup",
    "cgroup2",
    "devpts",
    "debugfs",
    "tracefs",
    "securityfs",
    "selinuxfs",
    "smackfs",
    "bpf",
    "pstore",
    "efivarfs",
    "mqueue",
    "configfs",
    "fusectl",
    "binfmt_misc",
    "autofs",
    "rpc_pipefs",
    "nsfs",
    "resctrl",
];

impl Mount {
    /// What its type tells about changes. The types come from kernel-events, section 1.2, and the kernel's
    /// `Documentation/filesystems`.
    pub fn nature(&self) -> Nature {
        if MADE.contains(&self.kind.as_str()) {
            Nature::Made
        } else if REMOTE.contains(&self.kind.as_str()) || self.kind.starts_with("fuse.") {
            Nature::Remote
        } else {
            Nature::Local
        }
    }

    /// Where this mount shows the object that the filesystem itself calls `inner`; `None` when it does not.
    pub fn shows(&self, inner: &RawPath) -> Option<RawPath> {
        rebase(inner, &self.root, &self.point)
    }
}

/// `path` with its beginning `from` replaced by `to`; `None` when it is not at or below `from`.
pub(crate) fn rebase(path: &RawPath, from: &RawPath, to: &RawPath) -> Option<RawPath> {
    match path.below(from)? {
        b"" => Some(to.clone()),
        rest => Some(to.join(rest)),
    }
}

/// All mounts that this process can reach.
///
/// # Errors
/// When `/proc` is not mounted or cannot be read.
pub fn read() -> Result<Vec<Mount>, Errno> {
    let file = rustix::fs::open(TABLE, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    read_from(file.as_fd())
}

fn read_from(file: BorrowedFd<'_>) -> Result<Vec<Mount>, Errno> {
    // A large table is read in few pieces, so that it rarely changes between two.
    let mut text = vec![0u8; 64 * 1024];
    let mut len = 0;
    loop {
        let free = text.get_mut(len..).unwrap_or_default();
        match rustix::io::pread(file, free, len as u64) {
            Ok(0) => break,
            Ok(n) => len += n,
            Err(Errno::INTR) => continue,
            Err(errno) => return Err(errno),
        }
        if text.len() - len < 32 * 1024 {
            text.resize(text.len() * 2, 0);
        }
    }
    text.truncate(len);
    Ok(parse(&text))
}

/// The mounts of a `mountinfo` text. A line that is not understood is left out.
pub fn parse(text: &[u8]) -> Vec<Mount> {
    text.split(|b| *b == b'\n').filter_map(line).collect()
}

/// `36 35 98:0 /root /point rw,noatime master:1 - ext4 /dev/root rw,errors=continue`
fn line(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|b| *b == b' ');
    let id = number(fields.next()?)?;
    let parent = number(fields.next()?)?;
    let mut device = fields.next()?.split(|b| *b == b':');
    let device = DeviceNumber {
        major: number(device.next()?)?.try_into().ok()?,
        minor: number(device.next()?)?.try_into().ok()?,
    };
    let root = RawPath::new(unescape(fields.next()?));
    let point = RawPath::new(unescape(fields.next()?));
    let _options = fields.next()?;
    // Any number of optional fields, ended by a lone hyphen.
    fields.find(|field| *field == b"-")?;
    let kind = String::from_utf8_lossy(&unescape(fields.next()?)).into_owned();
    let source = unescape(fields.next()?);
    let mut options = fields.next().unwrap_or_default().split(|b| *b == b',');
    let read_only = options.clone().any(|option| option == b"ro");
    let upper = options.find_map(|option| option.strip_prefix(b"upperdir=")).filter(|_| kind == "overlay");
    let upper = upper.map(|path| RawPath::new(unescape(path)));
    let absolute = root.as_bytes().starts_with(b"/") && point.as_bytes().starts_with(b"/");
    absolute.then_some(Mount { id, parent, device, root, point, kind, source, read_only, upper })
}

fn number(digits: &[u8]) -> Option<u64> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Space, tab, newline and backslash are written as a backslash and three octal digits.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, after @ ..] = rest {
        match rest {
            [b'\\', a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..] => {
                out.push((a - b'0') * 64 + (b - b'0') * 8 + (c - b'0'));
                rest = after;
            }
            _ => {
                out.push(*first);
                rest = after;
            }
        }
    }
    out
}

/// The number of the mount through which a descriptor was opened; `None` on kernels before 5.8.
pub fn id_of(fd: BorrowedFd<'_>) -> Option<u64> {
    let x = rustix::fs::statx(fd, "", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID).ok()?;
    (x.stx_mask & StatxFlags::MNT_ID.bits() != 0).then_some(x.stx_mnt_id)
}

/// The mount that holds an object: the one with the number, or else the deepest, latest one above its path.
pub fn holding<'a>(mounts: &'a [Mount], id: Option<u64>, path: &RawPath) -> Option<&'a Mount> {
    let by_path = || {
        let above = mounts.iter().filter(|mount| path.below(&mount.point).is_some());
        above.max_by_key(|mount| mount.point.as_bytes().len())
    };
    match id {
        Some(id) => mounts.iter().find(|mount| mount.id == id).or_else(by_path),
        None => by_path(),
    }
}

/// Tells when the mount table changes.
#[derive(Debug)]
pub struct MountWatch(OwnedFd);

impl MountWatch {
    /// Watches the table of the calling thread's mount namespace, from now on.
    ///
    /// # Errors
    /// When `/proc` is not mounted or cannot be read.
    pub fn new() -> Result<MountWatch, Errno> {
        let file = rustix::fs::open(TABLE, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        Ok(MountWatch(file))
    }

    /// What to poll for on [`MountWatch::as_fd`]: `POLLPRI` and `POLLERR` are a change. The kernel tells each change
    /// once, to the first who polls.
    pub const FLAGS: PollFlags = PollFlags::PRI;

    /// Whether a poll's answer means that the table has changed.
    pub fn tells(answer: PollFlags) -> bool {
        answer.intersects(PollFlags::PRI | PollFlags::ERR)
    }

    /// Whether it has changed since this was asked (or polled) last. Does not wait.
    pub fn changed(&self) -> bool {
        let mut fds = [PollFd::new(&self.0, Self::FLAGS)];
        let asked = poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }));
        asked.is_ok() && fds.iter().any(|fd| Self::tells(fd.revents()))
    }

    /// The mounts as they are now.
    ///
    /// # Errors
    /// As the kernel says.
    pub fn read(&self) -> Result<Vec<Mount>, Errno> {
        read_from(self.0.as_fd())
    }

    /// The descriptor to poll.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn path(text: &str) -> RawPath {
        RawPath::new(text.as_bytes())
    }

    const TEXT: &[u8] = b"\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,errors=remount-ro
30 22 0:25 /@home /home rw shared:2 master:9 - btrfs /dev/sda2 ro,subvolid=257,subvol=/@home
31 22 0:26 / /srv/a\\040b\\012c\\134d rw - fuse.sshfs user@host:/x rw
nonsense
33 22 0:28 / /merged rw - overlay none rw,lowerdir=/l,upperdir=/up\\054per,workdir=/w
32 22 0:x / /bad rw - ext4 /dev/vdb rw
33 22 0:27 / /cut rw shared:4
";

    #[test]
    fn reads_lines_and_leaves_out_nonsense() {
        let mounts = parse(TEXT);
        assert_eq!(mounts.len(), 4);
        assert_eq!(mounts[0].point, path("/"));
        assert_eq!(mounts[0].device, DeviceNumber { major: 254, minor: 0 });
        assert!(!mounts[0].read_only);
        assert_eq!((mounts[1].root.clone(), mounts[1].kind.as_str()), (path("/@home"), "btrfs"));
        assert_eq!(mounts[1].source, b"/dev/sda2");
        assert!(mounts[1].read_only);
        assert_eq!(mounts[2].point, path("/srv/a b\nc\\d"));
        assert_eq!((mounts[2].nature(), &mounts[2].upper), (Nature::Remote, &None));
        assert_eq!(mounts[3].upper, Some(path("/up,per")));
    }

    #[test]
    fn shows_what_lies_below_its_root_only() {
        let mounts = parse(TEXT);
        assert_eq!(mounts[1].shows(&path("/@home/u")), Some(path("/home/u")));
        assert_eq!(mounts[1].shows(&path("/@home")), Some(path("/home")));
        assert_eq!(mounts[1].shows(&path("/@homes/u")), None);
        assert_eq!(mounts[0].shows(&path("/etc")), Some(path("/etc")));
    }

    #[test]
    fn finds_the_deepest_mount() {
        let mounts = parse(TEXT);
        assert_eq!(holding(&mounts, None, &path("/home/u")).unwrap().id, 30);
        assert_eq!(holding(&mounts, None, &path("/homely")).unwrap().id, 22);
        assert_eq!(holding(&mounts, Some(31), &path("/home/u")).unwrap().id, 31);
    }

    #[test]
    fn the_real_table_has_the_root() {
        let mounts = read().unwrap();
        assert!(mounts.iter().any(|mount| mount.point == path("/")));
        assert!(!MountWatch::new().unwrap().changed());
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken(text in prop::collection::vec(any::<u8>(), 0..400)) {
            parse(&text);
        }

        #[test]
        fn changed_lines_are_taken(at in 0usize..300, byte in any::<u8>()) {
            let mut text = TEXT.to_vec();
            if let Some(b) = text.get_mut(at) { *b = byte; }
            prop_assert!(parse(&text).len() <= 6);
        }
    }
}
