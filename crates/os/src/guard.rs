//! A guard over one directory of few files: what others do to it and in it.
//!
//! In: the directory. Out: which of its names was touched, how and by which process, where the kernel tells. A group of
//! events of its own, so that it neither waits for the great watch nor is dropped with it; what this process itself writes
//! all the time raises no event.

use crate::fanotify::{Buffer, FAN_DELETE_SELF, FAN_MOVE_SELF, Group};
use crate::inotify::{Instance, NAMES};
use crate::process::same_program;
use crate::watching::hint::{Process, What};
pub use crate::watching::touch::{By, Told, Touch};
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::fs::inotify::{ReadFlags, WatchFlags};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How many events wait: a few thousand are more than a handful of files give cause for.
const QUEUE: usize = 16_384;
/// How many bufferfuls are read at once.
const BUFFERS: usize = 8;

/// Watches a directory. One thread owns it.
#[derive(Debug)]
pub struct Guard {
    source: Source,
    bell: Bell,
}

#[derive(Debug)]
enum Source {
    Fanotify(Group),
    Inotify(Instance),
}

/// Reaches a guard from other threads.
#[derive(Debug, Clone)]
pub struct Bell(Arc<(OwnedFd, OwnedFd)>);

impl Bell {
    fn new() -> io::Result<Bell> {
        let make = || eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK);
        Ok(Bell(Arc::new((make()?, make()?))))
    }

    /// Has everything be looked at.
    pub fn look(&self) {
        ring(&self.0.0);
    }

    /// Ends it: the present and every later call of [`Guard::wait`] say so.
    pub fn end(&self) {
        ring(&self.0.1);
    }
}

fn ring(bell: &OwnedFd) {
    // It can only fail when the counter is full, which is as good.
    let _ = rustix::io::write(bell, &1u64.to_ne_bytes());
}

impl Guard {
    /// Begins to watch a directory; of the files in `written` it raises no event that this process, or another, writes to
    /// them, but still that somebody closes them after writing.
    ///
    /// # Errors
    /// As the kernel says.
    pub fn new(dir: &Path, written: &[PathBuf]) -> io::Result<Guard> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let open = rustix::fs::open(dir, flags, Mode::empty())?;
        let source = match fanotify(&open, written) {
            Some(group) => Source::Fanotify(group),
            None => Source::Inotify(inotify(&open)?),
        };
        Ok(Guard { source, bell: Bell::new()? })
    }

    /// Whether it is known who does something.
    pub fn names_processes(&self) -> bool {
        matches!(self.source, Source::Fanotify(_))
    }

    /// What reaches it from other threads.
    pub fn bell(&self) -> Bell {
        self.bell.clone()
    }

    /// Waits until something happens, and says what.
    ///
    /// # Errors
    /// As the kernel says. Nothing is known then of what happened.
    pub fn wait(&mut self) -> io::Result<Told> {
        let mut told = Told::default();
        let (look, end) = (&self.bell.0.0, &self.bell.0.1);
        {
            let source = match &self.source {
                Source::Fanotify(group) => group.as_fd(),
                Source::Inotify(instance) => instance.as_fd(),
            };
            let mut fds = [
                PollFd::from_borrowed_fd(source, PollFlags::IN),
                PollFd::new(look, PollFlags::IN),
                PollFd::new(end, PollFlags::IN),
            ];
            match poll(&mut fds, None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
            told.ended = !fds[2].revents().is_empty();
        }
        let mut count = [0; 8];
        told.anything = rustix::io::read(look, &mut count).is_ok();
        match &self.source {
            Source::Fanotify(group) => read_group(group, &mut told)?,
            Source::Inotify(instance) => read_instance(instance, &mut told)?,
        }
        Ok(told)
    }
}

fn fanotify(dir: &OwnedFd, written: &[PathBuf]) -> Option<Group> {
    let group = Group::new(QUEUE, true).ok()?;
    group.mark_inode(dir.as_fd()).ok()?;
    for path in written {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        if let Ok(file) = rustix::fs::open(path, flags, Mode::empty()) {
            // Where that cannot be left out, it is read and dropped.
            let _ = group.ignore_content(file.as_fd());
        }
    }
    Some(group)
}

/// That content is written is left out: nobody would be named, and the writers are mostly ourselves.
fn inotify(dir: &OwnedFd) -> io::Result<Instance> {
    let instance = Instance::new()?;
    instance.add(dir.as_fd(), NAMES | WatchFlags::CLOSE_WRITE | WatchFlags::ATTRIB)?;
    Ok(instance)
}

fn read_group(group: &Group, told: &mut Told) -> io::Result<()> {
    let mut buffer = Buffer::default();
    let mut programs = Programs::default();
    for _ in 0..BUFFERS {
        let Some(events) = group.read(&mut buffer)? else {
            told.drained = true;
            return Ok(());
        };
        for event in events {
            let Ok(mut event) = event else {
                told.anything = true;
                continue;
            };
            if event.is_overflow() {
                told.anything = true;
                continue;
            }
            let process = Process { pid: event.pid, pidfd: event.pidfd.take().map(Arc::new) };
            let by = programs.by(process);
            let is_self = event.mask & (FAN_DELETE_SELF | FAN_MOVE_SELF) != 0;
            let what = What::of_fanotify(event.mask);
            let sides = [event.old, event.new].into_iter().flatten().map(|(_, name)| name);
            let names: Vec<&[u8]> = sides.chain(event.name.filter(|_| !is_self)).collect();
            if names.is_empty() {
                told.touches.push(Touch { name: None, what, by });
                continue;
            }
            for name in names {
                let name = (name != b".").then(|| name.to_vec());
                told.touches.push(Touch { name, what, by: by.clone() });
            }
        }
    }
    Ok(())
}

fn read_instance(instance: &Instance, told: &mut Told) -> io::Result<()> {
    let mut raw = Vec::new();
    for _ in 0..BUFFERS {
        if !instance.read(&mut raw)? {
            break;
        }
    }
    for event in raw {
        told.anything |= event.flags.contains(ReadFlags::QUEUE_OVERFLOW);
        let (name, what) = (event.name.map(Vec::from), What::of_inotify(event.flags));
        told.touches.push(Touch { name, what, by: By::Unknown });
    }
    Ok(())
}

/// What is known of processes within one reading.
#[derive(Default)]
struct Programs(BTreeMap<i32, By>);

impl Programs {
    fn by(&mut self, process: Process) -> By {
        if process.pid <= 0 {
            return By::Unknown;
        }
        let key = process.pid;
        let tell = || match same_program(&process) {
            Some(true) => By::Us,
            Some(false) => By::Another(process),
            None => By::Gone(process),
        };
        self.0.entry(key).or_insert_with(tell).clone()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "tests make their own files")]

    use super::*;
    use std::fs;
    use std::process::Command;

    /// What a guard says of names, until it has said something of this one.
    fn until(guard: &mut Guard, name: &str) -> Vec<Touch> {
        let mut all = Vec::new();
        while !all.iter().any(|touch: &Touch| touch.name.as_deref() == Some(name.as_bytes())) {
            all.append(&mut guard.wait().unwrap().touches);
        }
        all
    }

    #[test]
    fn what_others_do_is_told_and_what_is_written_all_the_time_is_not() {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        fs::write(at("database"), "x").unwrap();
        let mut guard = Guard::new(home.path(), &[at("database")]).unwrap();
        let open = fs::OpenOptions::new().append(true).open(at("database")).unwrap();
        std::io::Write::write_all(&mut &open, b"more").unwrap();
        fs::write(at("own"), "x").unwrap();
        let told = until(&mut guard, "own");
        assert!(told.iter().all(|touch| touch.name.as_deref() == Some(b"own")), "{told:?}");
        let touch = |script: &str| {
            let status = Command::new("sh").arg("-c").arg(script).current_dir(home.path()).status();
            assert!(status.unwrap().success());
        };
        touch("echo >> database; chmod 600 own; mv own other; rm other; echo > last");
        let told = until(&mut guard, "last");
        for (name, what) in [
            ("database", What::CLOSED),
            ("own", What::METADATA),
            ("own", What::MOVED),
            ("other", What::MOVED),
            ("other", What::DELETED),
        ] {
            let is_it =
                |touch: &&Touch| touch.name.as_deref() == Some(name.as_bytes()) && touch.what.has(what);
            let by = told.iter().find(is_it).map(|touch| &touch.by);
            let is_foreign = matches!(by, Some(By::Another(_) | By::Gone(_) | By::Unknown));
            assert!(is_foreign, "{name} {what:?}: {told:?}");
        }
        if guard.names_processes() {
            assert!(!told.iter().any(|touch| matches!(touch.by, By::Us)), "{told:?}");
        }
    }

    #[test]
    fn the_directory_itself_and_the_bell_are_heard() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("dir");
        fs::create_dir(&dir).unwrap();
        let mut guard = Guard::new(&dir, &[]).unwrap();
        let bell = guard.bell();
        bell.look();
        let told = guard.wait().unwrap();
        assert!(told.anything && !told.ended, "{told:?}");
        fs::rename(&dir, home.path().join("elsewhere")).unwrap();
        let told = guard.wait().unwrap();
        assert!(told.touches.iter().any(|touch| touch.name.is_none()), "{told:?}");
        bell.end();
        assert!(guard.wait().unwrap().ended && guard.wait().unwrap().ended);
    }
}
