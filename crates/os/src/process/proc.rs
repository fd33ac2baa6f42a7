//! What `/proc` says of a process that is still there.
//!
//! In: a process number. Out: what one process says of itself: all of it is read below one descriptor of its directory,
//! which never shows another process, even when the number is given away meanwhile.

use super::{ExeFile, Key, State, uptime};
use rustix::fs::{AtFlags, Mode, OFlags};
use std::os::fd::OwnedFd;
use waxseal_model::RawPath;

/// How much of the arguments is kept, as by the program in the kernel.
pub const ARGS: usize = 1024;
/// What is read of any other file.
const SMALL: usize = 8192;
/// In which steps `/proc` tells times: nanoseconds of a clock tick. Every Linux has 100 ticks a second for programs
/// (`USER_HZ`).
pub const TICK: u64 = 10_000_000;
/// Set in the flags of a thread of the kernel (`PF_KTHREAD`).
const KERNEL_THREAD: u32 = 0x0020_0000;

/// A process as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// The process; the time is rounded down to the tick.
    pub key: Key,
    /// Its parent's number, which may be another parent than the one that began it.
    pub parent: u32,
    /// Its executable, as the kernel names it from the root of its own mounts.
    pub exe: Option<RawPath>,
    /// Its arguments, each ended by a zero byte. In brackets the name of a thread of the kernel.
    pub args: Vec<u8>,
    /// Whether more arguments were left out.
    pub args_cut: bool,
    /// The file that its executable is.
    pub file: Option<ExeFile>,
    /// Users and session; its group's number is not known.
    pub state: State,
    /// Its control group's path, in the hierarchy of version 2 or of systemd.
    pub cgroup: Option<Vec<u8>>,
}

/// The directory of one process.
#[derive(Debug)]
pub struct Folder(OwnedFd, u32);

impl Folder {
    /// The process that has this number now; `None` when there is none, or `/proc` is not to be seen.
    pub fn of(pid: u32) -> Option<Folder> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::open(format!("/proc/{pid}"), flags, Mode::empty()).ok().map(|fd| Folder(fd, pid))
    }

    /// When it began, its parent, and whether it is a thread of the kernel.
    fn stat(&self) -> Option<(Key, u32, bool)> {
        let text = self.read("stat", SMALL)?.0;
        let (start, parent, is_kernel) = parse_stat(&text)?;
        Some((Key { pid: self.1, start }, parent, is_kernel))
    }

    /// Everything; `None` when it is over.
    pub fn process(&self) -> Option<Process> {
        let (key, parent, is_kernel) = self.stat()?;
        let status = self.read("status", SMALL)?.0;
        let uid = parse_uid(&status)?;
        let number = |name| {
            let text = String::from_utf8(self.read(name, 32)?.0).ok()?;
            text.trim().parse().ok().filter(|number| *number != u32::MAX)
        };
        let state =
            State { uid, login_uid: number("loginuid"), session: number("sessionid"), cgroup: 0, is_kernel };
        let (mut args, mut args_cut) = self.read("cmdline", ARGS)?;
        if is_kernel {
            let name = self.read("comm", 64)?.0;
            args = [b"[", name.trim_ascii_end(), b"]\0"].concat();
            args_cut = false;
        }
        let cgroup = self.read("cgroup", SMALL).and_then(|(text, _)| parse_cgroup(&text));
        let (exe, file) = if is_kernel { (None, None) } else { (self.exe(), self.exe_file()) };
        // It may have become another program between the two.
        let file = file.filter(|_| exe == self.exe());
        // A process that is over by now has lost its executable and its arguments on the way.
        self.stat()?;
        Some(Process { key, parent, exe, args, args_cut, file, state, cgroup })
    }

    fn exe(&self) -> Option<RawPath> {
        let link = rustix::fs::readlinkat(&self.0, "exe", Vec::new()).ok()?.into_bytes();
        // The kernel says in the text that it has been deleted, but a name may also end so.
        let deleted =
            || rustix::fs::statat(&self.0, "exe", AtFlags::empty()).is_ok_and(|stat| stat.st_nlink == 0);
        match link.strip_suffix(b" (deleted)") {
            Some(bare) if deleted() => Some(RawPath::new(bare)),
            _ => Some(RawPath::new(link)),
        }
    }

    fn exe_file(&self) -> Option<ExeFile> {
        let since = uptime();
        let stat = rustix::fs::statat(&self.0, "exe", AtFlags::empty()).ok()?;
        let device = (rustix::fs::major(stat.st_dev), rustix::fs::minor(stat.st_dev));
        Some(ExeFile { device, inode: stat.st_ino, since })
    }

    /// At most `most` bytes of a file, and whether there are more.
    fn read(&self, name: &str, most: usize) -> Option<(Vec<u8>, bool)> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file = rustix::fs::openat(&self.0, name, flags, Mode::empty()).ok()?;
        let mut bytes = vec![0; most + 1];
        let mut filled = 0;
        while let Some(room) = bytes.get_mut(filled..).filter(|room| !room.is_empty()) {
            match rustix::io::retry_on_intr(|| rustix::io::read(&file, &mut *room)).ok()? {
                0 => break,
                read => filled += read,
            }
        }
        bytes.truncate(filled.min(most));
        Some((bytes, filled > most))
    }
}

/// The numbers of all processes that there are.
pub fn numbers() -> Vec<u32> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let Ok(proc) = rustix::fs::open("/proc", flags, Mode::empty()) else { return Vec::new() };
    let Ok(list) = rustix::fs::Dir::new(proc) else { return Vec::new() };
    let number = |name: &[u8]| std::str::from_utf8(name).ok()?.parse().ok();
    list.flatten().filter_map(|entry| number(entry.file_name().to_bytes())).collect()
}

/// Start (nanoseconds), parent, and whether it is a thread of the kernel, from `stat` (proc_pid_stat(5)). The second
/// field is a name in parentheses that may hold anything.
fn parse_stat(text: &[u8]) -> Option<(u64, u32, bool)> {
    let end = text.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(text.get(end + 1..)?).ok()?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let field = |number: usize| fields.get(number - 3);
    let ticks: u64 = field(22)?.parse().ok()?;
    let flags: u32 = field(9)?.parse().ok()?;
    Some((ticks.checked_mul(TICK)?, field(4)?.parse().ok()?, flags & KERNEL_THREAD != 0))
}

/// The effective user from `status`.
fn parse_uid(text: &[u8]) -> Option<u32> {
    let line = text.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"Uid:"))?;
    std::str::from_utf8(line).ok()?.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// The path in the hierarchy of version 2, or where that says nothing in systemd's, from `cgroup` (cgroups(7)).
fn parse_cgroup(text: &[u8]) -> Option<Vec<u8>> {
    let line = |prefix: &[u8]| {
        text.split(|byte| *byte == b'\n').find_map(|line| {
            let (_, line) = line.split_at(line.iter().position(|byte| *byte == b':')?);
            line.strip_prefix(prefix).map(<[u8]>::to_vec)
        })
    };
    let unified = line(b"::");
    match unified.as_deref() {
        None | Some(b"/") => line(b":name=systemd:").or(unified),
        Some(_) => unified,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_name_may_hold_anything() {
        let stat = b"42 (a) R 1 (b) S 7 1 1 0 -1 2097152 0 0 0 0 0 0 0 0 20 0 1 0 1234 0 0";
        assert_eq!(parse_stat(stat), Some((1234 * TICK, 7, true)));
        assert_eq!(parse_stat(b"42 (a) S 7 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0"), None);
    }

    #[test]
    fn the_effective_user_and_the_group_are_found() {
        assert_eq!(parse_uid(b"Name:\tx\nUid:\t1000\t33\t1000\t1000\n"), Some(33));
        assert_eq!(parse_uid(b"Name:\tx\n"), None);
        let hybrid = b"9:name=systemd:/user.slice/a.scope\n1:cpu:/x\n0::/\n";
        assert_eq!(parse_cgroup(hybrid).unwrap(), b"/user.slice/a.scope");
        assert_eq!(parse_cgroup(b"0::/system.slice/a.service\n").unwrap(), b"/system.slice/a.service");
        assert_eq!(parse_cgroup(b"0::/\n").unwrap(), b"/");
        assert_eq!(parse_cgroup(b"1:cpu:/x\n"), None);
    }

    #[test]
    fn this_process_is_seen_and_one_that_is_not_is_none() {
        let me = Folder::of(std::process::id()).unwrap().process().unwrap();
        assert_eq!(
            me.exe.unwrap().as_bytes(),
            std::env::current_exe().unwrap().as_os_str().as_encoded_bytes()
        );
        assert!(!me.args.is_empty() && !me.state.is_kernel);
        assert!(numbers().contains(&me.key.pid));
        assert!(Folder::of(u32::MAX).is_none());
    }

    #[test]
    fn a_folder_never_shows_another_process() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let folder = Folder::of(child.id()).unwrap();
        child.wait().unwrap();
        assert!(folder.process().is_none());
    }

    proptest! {
        #[test]
        fn no_text_breaks_it(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = (parse_stat(&text), parse_uid(&text), parse_cgroup(&text));
        }
    }
}
