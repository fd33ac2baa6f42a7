//! Where the roots are: their real paths, and the names on the way to them.
//!
//! A root's path may lead through links. What is watched is what it leads to; what is reported is the path as given.
//! When a name on the way changes, the root may be elsewhere.

use crate::files::FileError;
use crate::inotify::open_below;
use crate::mounts::{self, rebase};
use crate::remote::Mounts;
pub use crate::watching::WatchRoot;
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;
use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use waxseal_model::RawPath;

/// The kernel's own limit (`MAXSYMLINKS`).
const LINKS: usize = 40;

/// A name on the way to a root. The last one is the root's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Step {
    /// Real path of the directory.
    pub dir: RawPath,
    pub name: Box<[u8]>,
}

/// What a root's path leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found {
    pub device: u64,
    pub inode: u64,
    pub is_dir: bool,
}

/// A root, and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Root {
    pub path: RawPath,
    pub cross: bool,
    /// Its path without links; where something on the way is missing, the path that it would have.
    pub real: RawPath,
    pub steps: Vec<Step>,
    pub found: Option<Found>,
    /// The mount that holds it, or holds the nearest existing directory above it.
    pub mount: Option<u64>,
}

impl Root {
    /// The path by which the root itself is reported: `/` has no name.
    pub fn own_name(&self) -> Option<&RawPath> {
        (!self.path.name().is_empty()).then_some(&self.path)
    }
}

/// Called with each directory on the way before the name in it is looked up: the directory, its real path, the name,
/// whether the name is the last.
pub(super) type Visit<'a> = &'a mut dyn FnMut(BorrowedFd<'_>, &RawPath, &[u8], bool);

struct Way<'a> {
    dir: OwnedFd,
    real: RawPath,
    todo: VecDeque<Box<[u8]>>,
    links: usize,
    steps: Vec<Step>,
    missing: Option<Step>,
    /// Mounts that may never answer.
    remote: Mounts,
    visit: Visit<'a>,
}

/// Follows a root's path as it leads now. The second value is the root itself, or the nearest directory above it.
pub(super) fn resolve(root: &WatchRoot, visit: Visit<'_>) -> Result<(Root, OwnedFd), Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut way = Way {
        dir: rustix::fs::open("/", flags, Mode::empty())?,
        real: RawPath::new(&b"/"[..]),
        todo: parts(root.path.as_bytes()).collect(),
        links: 0,
        steps: Vec::new(),
        missing: None,
        remote: Mounts::now(),
        visit,
    };
    let found = loop {
        let Some(name) = way.todo.pop_front() else { break Some(stat(way.dir.as_fd())?) };
        match way.step(&name)? {
            Arrived::On => {}
            Arrived::At(end) => {
                let found = stat(end.as_fd())?;
                way.dir = end;
                break Some(found);
            }
            Arrived::Nowhere => {
                for name in std::mem::take(&mut way.todo) {
                    // Of the names that nothing has yet, the last is kept: that of the root itself.
                    way.missing = Some(Step { dir: way.real.clone(), name: name.clone() });
                    way.real = way.real.join(&name);
                }
                way.steps.extend(way.missing.take());
                break None;
            }
        }
    };
    let mount = mounts::id_of(way.dir.as_fd());
    let root = Root {
        path: root.path.clone(),
        cross: root.cross_filesystems,
        real: way.real,
        steps: way.steps,
        found,
        mount,
    };
    Ok((root, way.dir))
}

enum Arrived {
    /// One directory further.
    On,
    /// At the root.
    At(OwnedFd),
    /// Where a name is missing, or is no directory, or may not be passed.
    Nowhere,
}

impl Way<'_> {
    fn step(&mut self, name: &[u8]) -> Result<Arrived, Errno> {
        if name == b".." {
            // Only from a link's target. The real path has no links, so its parent is the directory's parent.
            self.dir = rustix::fs::openat(&self.dir, "..", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
            self.real = self.real.parent().unwrap_or_else(|| self.real.clone());
            return Ok(Arrived::On);
        }
        let last = self.todo.is_empty();
        (self.visit)(self.dir.as_fd(), &self.real, name, last);
        self.steps.push(Step { dir: self.real.clone(), name: name.into() });
        if !self.answers(name)? {
            self.real = self.real.join(name);
            return Ok(Arrived::Nowhere);
        }
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let child = match rustix::fs::openat(&self.dir, name, flags, Mode::empty()) {
            Ok(child) => child,
            Err(errno @ (Errno::MFILE | Errno::NFILE | Errno::NOMEM)) => return Err(errno),
            Err(_) => {
                self.real = self.real.join(name);
                return Ok(Arrived::Nowhere);
            }
        };
        // A link is only followed where something is left, so the last name is always the root's own.
        if last {
            self.real = self.real.join(name);
            return Ok(Arrived::At(child));
        }
        match FileType::from_raw_mode(rustix::fs::fstat(&child)?.st_mode) {
            FileType::Directory => {
                self.real = self.real.join(name);
                self.dir = child;
                Ok(Arrived::On)
            }
            FileType::Symlink if self.links < LINKS => self.follow(child.as_fd()),
            _ => {
                self.real = self.real.join(name);
                Ok(Arrived::Nowhere)
            }
        }
    }

    /// Whether what is mounted at the name can be passed: a dead server or program must not keep the watch from
    /// starting.
    fn answers(&self, name: &[u8]) -> Result<bool, Errno> {
        let mounts = self.remote.inside(|| self.real.clone());
        let Some((_, mount)) = mounts.into_iter().find(|(point, _)| point == name) else { return Ok(true) };
        let dir = rustix::io::fcntl_dupfd_cloexec(&self.dir, 0)?;
        let name = name.to_vec();
        let look = move || Ok(rustix::fs::statat(&dir, &*name, AtFlags::SYMLINK_NOFOLLOW).map(drop)?);
        Ok(!matches!(mount.call(look), Err(FileError::NoAnswer(_))))
    }

    fn follow(&mut self, link: BorrowedFd<'_>) -> Result<Arrived, Errno> {
        self.links += 1;
        let target = rustix::fs::readlinkat(link, "", Vec::with_capacity(256))?.into_bytes();
        if target.starts_with(b"/") {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            self.dir = rustix::fs::open("/", flags, Mode::empty())?;
            self.real = RawPath::new(&b"/"[..]);
        }
        for part in parts(&target).rev() {
            self.todo.push_front(part);
        }
        Ok(Arrived::On)
    }
}

fn parts(path: &[u8]) -> impl DoubleEndedIterator<Item = Box<[u8]>> {
    path.split(|b| *b == b'/').filter(|part| !part.is_empty() && *part != b".").map(Box::from)
}

fn stat(fd: BorrowedFd<'_>) -> Result<Found, Errno> {
    let stat = rustix::fs::statat(fd, "", AtFlags::EMPTY_PATH | AtFlags::NO_AUTOMOUNT)?;
    let is_dir = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
    Ok(Found { device: stat.st_dev, inode: stat.st_ino, is_dir })
}

/// The filesystem of an open object as `statfs` names it (`f_fsid`), and as the kernel's records do.
pub(super) fn filesystem_id(object: BorrowedFd<'_>) -> Option<[u8; 8]> {
    let id = rustix::fs::fstatvfs(object).ok()?.f_fsid;
    // Two words, the first one low.
    let words = [(id as u32).to_ne_bytes(), ((id >> 32) as u32).to_ne_bytes()];
    (id != 0).then(|| std::array::from_fn(|i| words[i / 4][i % 4]))
}

/// Opens what lies at a real path below the root directory, following no link; an `O_PATH` descriptor of a directory.
pub(super) fn open_real(path: &RawPath) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    open_below(rustix::fs::open("/", flags, Mode::empty())?, path.as_bytes())
}

/// How a directory is named below the roots, and which roots are names in it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Sight {
    /// Its paths at or below roots, as they were given.
    pub inside: Vec<RawPath>,
    /// Its entries that are reported by a name of their own: roots, and what a bind mount shows.
    pub entries: Vec<Entry>,
}

/// An entry of a directory, and how it is reported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// Its name in the directory.
    pub real: Box<[u8]>,
    /// Its path as given.
    pub given: RawPath,
}

impl Sight {
    /// How a name in the directory is reported: its paths as given.
    pub fn names(&self, name: &[u8]) -> Vec<RawPath> {
        let mut names: Vec<_> = self.inside.iter().map(|dir| dir.join(name)).collect();
        for entry in self.entries.iter().filter(|entry| *entry.real == *name) {
            if !names.contains(&entry.given) {
                names.push(entry.given.clone());
            }
        }
        names
    }

    pub fn is_nothing(&self) -> bool {
        self.inside.is_empty() && self.entries.is_empty()
    }
}

/// Adds to `sight` how the directory with this real path is seen.
pub(super) fn see(roots: &[Root], ignored: &[RawPath], real: &RawPath, sight: &mut Sight) {
    for root in roots {
        if let Some(path) = rebase(real, &root.real, &root.path)
            && !sight.inside.contains(&path)
            && !ignored.iter().any(|ignored| path.below(ignored).is_some())
        {
            sight.inside.push(path);
        }
        if let Some(step) = root.steps.last()
            && step.dir == *real
            && let Some(given) = root.own_name()
        {
            sight.entries.push(Entry { real: step.name.clone(), given: given.clone() });
        }
    }
}

/// Adds to `sight` that its entry `name` is seen at the mount point `point`.
pub(super) fn see_point(roots: &[Root], name: &[u8], point: &RawPath, sight: &mut Sight) {
    for given in roots.iter().filter_map(|root| rebase(point, &root.real, &root.path)) {
        if !given.name().is_empty() {
            sight.entries.push(Entry { real: name.into(), given });
        }
    }
}
