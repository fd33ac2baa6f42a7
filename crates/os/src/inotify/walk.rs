//! Putting watches on a tree: first the watch, then the list of what is in it, so that whatever appears in between
//! raises an event.

use super::tree::{Identity, Node, Tree};
use super::{ALL, open_below};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, StatxFlags};
use rustix::io::Errno;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The path of a watched directory leads elsewhere: it has moved, and the event that says so is still in the queue.
#[derive(Debug)]
pub(super) struct Astray;

/// How many directories are held open, from the deepest upwards: few, because the limit of open files may be low.
const OPEN: usize = 12;

/// A directory whose subdirectories are being watched.
struct Frame {
    wd: i32,
    /// None when too many deeper ones are open.
    dir: Option<OwnedFd>,
    todo: Vec<Box<[u8]>>,
}

/// What became of a name.
enum Entered {
    /// A directory that was not watched before, and is not walked yet.
    New(i32, OwnedFd),
    /// One that was watched already; it is in its place now.
    Known,
    /// Nothing that can be watched, or another mount.
    Not,
}

/// Who an open directory is, and the mount through which it was opened.
pub(super) fn identify(dir: BorrowedFd<'_>) -> Result<(Identity, Option<u64>), Errno> {
    let flags = AtFlags::EMPTY_PATH | AtFlags::NO_AUTOMOUNT;
    let x = rustix::fs::statx(dir, "", flags, StatxFlags::INO | StatxFlags::MNT_ID)?;
    let device = rustix::fs::makedev(x.stx_dev_major, x.stx_dev_minor);
    let mount = (x.stx_mask & StatxFlags::MNT_ID.bits() != 0).then_some(x.stx_mnt_id);
    Ok(((device, x.stx_ino), mount))
}

impl Tree {
    pub(super) fn walk_top(&mut self, top: BorrowedFd<'_>) -> Result<i32, Errno> {
        let wd = self.instance.add(top, ALL)?;
        self.nodes.insert(wd, Node { parent: None, name: Box::default(), identity: self.identity });
        match open_dir(top, b".") {
            Ok(dir) => self.walk(wd, dir),
            Err(_) => self.misses.unreadable += 1,
        }
        Ok(wd)
    }

    /// Looks which directory has a name in a watched directory, and watches it with all that is in it unless it is
    /// watched already. What had the name before has lost it.
    pub(super) fn walk_child(&mut self, parent: i32, name: &[u8]) -> Result<(), Astray> {
        let dir = self.reopen(parent)?;
        let before = self.children.get(&(parent, Box::from(name))).copied();
        match self.enter(parent, name, dir.as_fd()) {
            Entered::New(wd, dir) => self.walk(wd, dir),
            Entered::Known => {}
            Entered::Not => {
                self.children.remove(&(parent, Box::from(name)));
                self.nameless.0.extend(before);
            }
        }
        Ok(())
    }

    /// Opens a watched directory by its path, and makes sure that it is the one.
    fn reopen(&self, wd: i32) -> Result<OwnedFd, Astray> {
        let node = self.nodes.get(&wd).ok_or(Astray)?;
        let names = self.names_of(wd).ok_or(Astray)?;
        let top = super::open_path(&self.path).map_err(|_| Astray)?;
        let dir = open_below(top, &names.join(&b'/')).map_err(|_| Astray)?;
        let (identity, _) = identify(dir.as_fd()).map_err(|_| Astray)?;
        if identity != node.identity {
            return Err(Astray);
        }
        // Inode numbers are used again at once by some filesystems; watch numbers are not.
        match self.instance.add(dir.as_fd(), ALL) {
            Ok(same) if same == wd => Ok(dir),
            Ok(other) => {
                if !self.nodes.contains_key(&other) {
                    self.instance.remove(other);
                }
                Err(Astray)
            }
            Err(_) => Err(Astray),
        }
    }

    fn walk(&mut self, wd: i32, dir: OwnedFd) {
        let mut frames = vec![self.frame(wd, dir)];
        while let Some(frame) = frames.last_mut() {
            let Some(name) = frame.todo.pop() else {
                frames.pop();
                continue;
            };
            if frame.dir.is_none() {
                frame.dir = self.reopen(frame.wd).ok();
            }
            let Some(dir) = &frame.dir else {
                // It is moving: once the event that says so has been read, its path is right again.
                self.waiting.push((frame.wd, name));
                let wd = frame.wd;
                self.waiting.extend(frame.todo.drain(..).map(|name| (wd, name)));
                continue;
            };
            let wd = frame.wd;
            if let Entered::New(child, dir) = self.enter(wd, &name, dir.as_fd()) {
                if let Some(high) = frames.len().checked_sub(OPEN).and_then(|high| frames.get_mut(high)) {
                    high.dir = None;
                }
                let frame = self.frame(child, dir);
                frames.push(frame);
            }
        }
    }

    /// Watches one subdirectory.
    fn enter(&mut self, parent: i32, name: &[u8], dir: BorrowedFd<'_>) -> Entered {
        let child = match open_dir(dir, name) {
            Ok(child) => child,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Entered::Not,
            Err(_) => {
                self.misses.unreadable += 1;
                return Entered::Not;
            }
        };
        let Ok((identity, mount)) = identify(child.as_fd()) else { return Entered::Not };
        if mount != self.mount {
            return Entered::Not;
        }
        match self.instance.add(child.as_fd(), ALL) {
            Ok(wd) if self.place(wd, parent, name, identity) => Entered::New(wd, child),
            Ok(_) => Entered::Known,
            Err(Errno::NOSPC) => {
                self.misses.limit = true;
                Entered::Not
            }
            Err(_) => {
                self.misses.unreadable += 1;
                Entered::Not
            }
        }
    }

    /// Puts a watched directory where it is in the tree. True when it was not known before.
    fn place(&mut self, wd: i32, parent: i32, name: &[u8], identity: Identity) -> bool {
        let key = (parent, Box::from(name));
        let node = Node { parent: Some(parent), name: name.into(), identity };
        let before = match self.nodes.insert(wd, node) {
            // The top stays the top, wherever it seems to be.
            Some(top @ Node { parent: None, .. }) => {
                self.nodes.insert(wd, top);
                return false;
            }
            before => before,
        };
        if let Some(Node { parent: Some(parent), name, .. }) = &before {
            let old = (*parent, name.clone());
            if old != key && self.children.get(&old) == Some(&wd) {
                self.children.remove(&old);
            }
        }
        if let Some(other) = self.children.insert(key, wd).filter(|other| *other != wd) {
            self.nameless.0.push(other);
        }
        before.is_none()
    }

    fn frame(&mut self, wd: i32, dir: OwnedFd) -> Frame {
        let mut todo = Vec::new();
        let mut buffer = [MaybeUninit::uninit(); 16 * 1024];
        let mut names = RawDir::new(&dir, &mut buffer);
        while let Some(entry) = names.next() {
            match entry {
                Ok(entry) => {
                    let name = entry.file_name().to_bytes();
                    let may_be_dir = matches!(entry.file_type(), FileType::Directory | FileType::Unknown);
                    if may_be_dir && name != b"." && name != b".." {
                        todo.push(name.into());
                    }
                }
                Err(Errno::INTR) => {}
                Err(Errno::NOENT) => break,
                Err(_) => {
                    self.misses.unreadable += 1;
                    break;
                }
            }
        }
        Frame { wd, dir: Some(dir), todo }
    }
}

/// Opens a directory for listing, leaving its access time alone where that is allowed.
fn open_dir(dir: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    match rustix::fs::openat(dir, name, flags | OFlags::NOATIME, Mode::empty()) {
        Err(Errno::PERM) => rustix::fs::openat(dir, name, flags, Mode::empty()),
        other => other,
    }
}
