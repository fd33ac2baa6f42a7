//! A watched tree: which watch stands for which directory, kept right while directories move.
//!
//! The kernel names directories by watch numbers. A number stays with its directory when that moves, so each node
//! knows its parent and its name, and a move changes one node whatever lies below it.

use super::{Instance, Raw, walk};
use crate::watcher::What;
use rustix::fs::inotify::ReadFlags;
use rustix::io::Errno;
use std::collections::{BTreeMap, HashMap};
use std::os::fd::{AsFd, BorrowedFd};
use waxseal_model::RawPath;

/// Something that happened in a tree. Paths are those of directories without links in them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// A name may hold something else than before.
    Name {
        /// The directory.
        dir: RawPath,
        /// The name in it.
        name: Box<[u8]>,
        /// Whether the name is, or was, that of a directory.
        is_dir: bool,
        /// What happened.
        what: What,
    },
    /// A name was moved, within the tree.
    Moved {
        /// Directory and name before.
        from: (RawPath, Box<[u8]>),
        /// Directory and name now.
        to: (RawPath, Box<[u8]>),
        /// Whether it is a directory.
        is_dir: bool,
    },
    /// A directory's own attributes may have changed.
    Itself {
        /// The directory.
        dir: RawPath,
    },
    /// Events were lost, or the tree changed faster than it could be followed. All of it is watched again by now.
    Lost(&'static str),
    /// The top directory was moved, deleted or unmounted: this tree watches nothing of use any more.
    TopGone,
}

/// A directory, by device and inode.
pub(super) type Identity = (u64, u64);

#[derive(Debug)]
pub(super) struct Node {
    /// None for the top.
    pub parent: Option<i32>,
    pub name: Box<[u8]>,
    pub identity: Identity,
}

/// A name moved away, for which the other half of the move may follow.
#[derive(Debug)]
struct Leaving {
    cookie: u32,
    from: Option<(RawPath, Box<[u8]>)>,
    is_dir: bool,
    child: Option<i32>,
    /// It has been reported as a name that vanished: the other half was not in the queue by then.
    told: bool,
}

/// A tree of watched directories, within one mount.
#[derive(Debug)]
pub struct Tree {
    pub(super) instance: Instance,
    pub(super) path: RawPath,
    pub(super) mount: Option<u64>,
    pub(super) top: i32,
    pub(super) identity: Identity,
    pub(super) nodes: HashMap<i32, Node>,
    pub(super) children: BTreeMap<(i32, Box<[u8]>), i32>,
    leaving: Vec<Leaving>,
    /// Directories that appeared below one whose path did not lead to it: it is about to be reported as moved.
    pub(super) waiting: Vec<(i32, Box<[u8]>)>,
    pub(super) misses: Misses,
    told_limit: bool,
    /// Set by the owner when the top is gone, so that the tree is not used again.
    pub(crate) spent: bool,
}

/// What could not be watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Misses {
    /// The user's watches are used up.
    pub limit: bool,
    /// Directories that we may not list, or that could not be opened.
    pub unreadable: u64,
}

/// How many bufferfuls one call takes at most, so that its caller gets to look elsewhere.
const BUFFERS: usize = 8;
/// More unfinished moves than this at once are given up.
const LEAVING: usize = 256;

impl Tree {
    /// Watches the directory `path`, whose descriptor is `top`, and everything below it in the same mount. When this
    /// returns, all of it that could be watched is.
    ///
    /// # Errors
    /// When not even the top can be watched.
    pub fn new(top: BorrowedFd<'_>, path: RawPath) -> Result<Tree, Errno> {
        let instance = Instance::new()?;
        let (identity, mount) = walk::identify(top)?;
        let mut tree = Tree {
            instance,
            path,
            mount,
            top: -1,
            identity,
            nodes: HashMap::new(),
            children: BTreeMap::new(),
            leaving: Vec::new(),
            waiting: Vec::new(),
            misses: Misses::default(),
            told_limit: false,
            spent: false,
        };
        tree.top = tree.walk_top(top)?;
        Ok(tree)
    }

    /// The path of the top.
    pub fn path(&self) -> &RawPath {
        &self.path
    }

    /// Whether an open directory is the top of this tree.
    pub(crate) fn is_top(&self, dir: BorrowedFd<'_>) -> bool {
        walk::identify(dir).is_ok_and(|(identity, mount)| (identity, mount) == (self.identity, self.mount))
    }

    /// The number of the mount that it lies in, where the kernel tells.
    pub(crate) fn mount_id(&self) -> Option<u64> {
        self.mount
    }

    /// How many directories are watched.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether nothing is watched.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// What this tree cannot see, in words.
    pub fn blind_spots(&self) -> Vec<String> {
        let mut blind = Vec::new();
        if self.misses.limit {
            blind.push(format!(
                "directories beyond the first {}: the user's limit of inotify watches is reached (raise \
                 fs.inotify.max_user_watches)",
                self.len()
            ));
        }
        if self.misses.unreadable > 0 {
            blind.push(format!("{} directories that could not be opened", self.misses.unreadable));
        }
        blind
    }

    /// The descriptor, to be polled for input.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.instance.as_fd()
    }

    /// Watches a directory that somebody found before its event was read, and everything below it. A directory that
    /// is watched already, or not below this tree, is left as it is.
    pub fn appeared(&mut self, path: &RawPath) {
        let Some(rest) = path.below(&self.path) else { return };
        let mut wd = self.top;
        for part in rest.split(|b| *b == b'/').filter(|part| !part.is_empty()) {
            match self.children.get(&(wd, part.into())) {
                Some(child) => wd = *child,
                // The highest directory that is new brings the rest with it.
                None => return self.come(wd, part.into()),
            }
        }
    }

    /// Adds what has been queued to `out`, without waiting.
    ///
    /// # Errors
    /// As the kernel says; when the tree had to be watched anew and its top was gone, that is [`Report::TopGone`].
    pub fn read(&mut self, out: &mut Vec<Report>) -> Result<(), Errno> {
        let mut drained = false;
        let mut lost = None;
        for _ in 0..BUFFERS {
            let mut events = Vec::new();
            drained = !self.instance.read(&mut events)?;
            for event in events {
                if event.flags.contains(ReadFlags::QUEUE_OVERFLOW) {
                    lost = Some("the kernel's event queue overflowed");
                } else {
                    self.take(event, out);
                }
            }
            if drained {
                break;
            }
        }
        if drained {
            self.settle(out);
            if !self.retry() {
                lost = lost.or(Some("directories moved faster than they could be followed"));
            }
        }
        if self.misses.limit && !self.told_limit {
            self.told_limit = true;
            out.push(Report::Lost("the limit of inotify watches is reached"));
        }
        if let Some(reason) = lost {
            self.again(reason, out);
        }
        Ok(())
    }

    /// Everything anew, in a new instance: moves may have been lost, and with them which watch is where.
    fn again(&mut self, reason: &'static str, out: &mut Vec<Report>) {
        let tree = super::open_path(&self.path).and_then(|top| Tree::new(top.as_fd(), self.path.clone()));
        match tree {
            Ok(tree) => {
                let told_limit = self.told_limit;
                *self = Tree { told_limit, ..tree };
                out.push(Report::Lost(reason));
            }
            Err(_) => out.push(Report::TopGone),
        }
    }

    fn take(&mut self, event: Raw, out: &mut Vec<Report>) {
        let flags = event.flags;
        if flags.contains(ReadFlags::IGNORED) {
            if event.wd == self.top {
                out.push(Report::TopGone);
            }
            return self.forget(event.wd);
        }
        if !self.nodes.contains_key(&event.wd) {
            return;
        }
        match event.name {
            None => self.itself(event.wd, flags, out),
            Some(name) => self.named(event.wd, name, flags, event.cookie, out),
        }
    }

    fn itself(&self, wd: i32, flags: ReadFlags, out: &mut Vec<Report>) {
        let over = ReadFlags::DELETE_SELF | ReadFlags::MOVE_SELF | ReadFlags::UNMOUNT;
        if flags.intersects(over) {
            if wd == self.top {
                out.push(Report::TopGone);
            }
        } else if let Some(dir) = self.path_of(wd) {
            out.push(Report::Itself { dir });
        }
    }

    fn named(&mut self, wd: i32, name: Box<[u8]>, flags: ReadFlags, cookie: u32, out: &mut Vec<Report>) {
        let is_dir = flags.contains(ReadFlags::ISDIR);
        if flags.contains(ReadFlags::MOVED_FROM) {
            let child = if is_dir { self.children.remove(&(wd, name.clone())) } else { None };
            let from = self.path_of(wd).map(|dir| (dir, name));
            if self.leaving.len() >= LEAVING {
                self.settle(out);
            }
            return self.leaving.push(Leaving { cookie, from, is_dir, child, told: false });
        }
        if flags.contains(ReadFlags::MOVED_TO) {
            return self.arrive(wd, name, is_dir, cookie, out);
        }
        if is_dir
            && flags.contains(ReadFlags::DELETE)
            && let Some(child) = self.children.remove(&(wd, name.clone()))
        {
            self.drop_subtree(child, false);
        }
        // One that could not be opened may be open to us after a change of its mode.
        let opened = flags.contains(ReadFlags::ATTRIB) && !self.children.contains_key(&(wd, name.clone()));
        if is_dir && (flags.contains(ReadFlags::CREATE) || opened) {
            // Watched before it is reported, so that whoever scans it then misses nothing.
            self.come(wd, name.clone());
        }
        if let Some(dir) = self.path_of(wd) {
            let what = What::of_inotify(flags);
            out.push(Report::Name { dir, name, is_dir, what });
        }
    }

    /// The second half of a move, or something moved here from elsewhere.
    fn arrive(&mut self, wd: i32, name: Box<[u8]>, is_dir: bool, cookie: u32, out: &mut Vec<Report>) {
        let position = self.leaving.iter().position(|leaving| leaving.cookie == cookie);
        let leaving = position.map(|position| self.leaving.swap_remove(position));
        let child = leaving.as_ref().and_then(|leaving| leaving.child);
        if let Some(replaced) = self.children.remove(&(wd, name.clone()))
            && Some(replaced) != child
        {
            self.drop_subtree(replaced, false);
        }
        match child.and_then(|child| self.nodes.get_mut(&child).map(|node| (child, node))) {
            Some((child, node)) => {
                node.parent = Some(wd);
                node.name = name.clone();
                self.children.insert((wd, name.clone()), child);
            }
            None if is_dir => self.come(wd, name.clone()),
            None => {}
        }
        let Some(dir) = self.path_of(wd) else { return };
        match leaving {
            Some(Leaving { from: Some(from), told: false, .. }) => {
                out.push(Report::Moved { from, to: (dir, name), is_dir });
            }
            _ => out.push(Report::Name { dir, name, is_dir, what: What::MOVED }),
        }
    }

    /// With the queue empty: what left and has not arrived is reported; what had been reported before is gone for good.
    fn settle(&mut self, out: &mut Vec<Report>) {
        for mut leaving in std::mem::take(&mut self.leaving) {
            if leaving.told {
                if let Some(child) = leaving.child {
                    self.drop_subtree(child, true);
                }
                continue;
            }
            leaving.told = true;
            if let Some((dir, name)) = leaving.from.take() {
                out.push(Report::Name { dir, name, is_dir: leaving.is_dir, what: What::MOVED });
            }
            self.leaving.push(leaving);
        }
    }

    /// A directory that came into being below a watched one.
    fn come(&mut self, wd: i32, name: Box<[u8]>) {
        if let Err(walk::Astray) = self.walk_child(wd, &name) {
            self.waiting.push((wd, name));
        }
    }

    /// With the queue empty, every directory is where the tree has it. False when one still is not.
    fn retry(&mut self) -> bool {
        let mut found = true;
        for (wd, name) in std::mem::take(&mut self.waiting) {
            // Deleted meanwhile, as its own event said, is as good as found.
            found &= !self.nodes.contains_key(&wd) || self.walk_child(wd, &name).is_ok();
        }
        found
    }

    /// The path of a watched directory.
    pub(super) fn path_of(&self, wd: i32) -> Option<RawPath> {
        let names = self.names_of(wd)?;
        let mut path = self.path.as_bytes().to_vec();
        for name in names {
            if path.last() != Some(&b'/') {
                path.push(b'/');
            }
            path.extend_from_slice(name);
        }
        Some(RawPath::new(path))
    }

    /// The names that lead from the top to a watched directory.
    pub(super) fn names_of(&self, wd: i32) -> Option<Vec<&[u8]>> {
        let mut names = Vec::new();
        let mut node = self.nodes.get(&wd)?;
        while let Some(parent) = node.parent {
            names.push(&*node.name);
            // Moves seen in the wrong order could close a ring.
            if names.len() > self.nodes.len() {
                return None;
            }
            node = self.nodes.get(&parent)?;
        }
        names.reverse();
        Some(names)
    }

    fn forget(&mut self, wd: i32) {
        if let Some(Node { parent: Some(parent), name, .. }) = self.nodes.remove(&wd) {
            let key = (parent, name);
            if self.children.get(&key) == Some(&wd) {
                self.children.remove(&key);
            }
        }
    }

    /// Forgets a directory and everything below it; with `unwatch`, the kernel as well.
    pub(super) fn drop_subtree(&mut self, wd: i32, unwatch: bool) {
        let mut todo = vec![wd];
        while let Some(wd) = todo.pop() {
            if unwatch {
                self.instance.remove(wd);
            }
            self.nodes.remove(&wd);
            let from = (wd, Box::<[u8]>::default());
            let below: Vec<_> = self
                .children
                .range(from..)
                .take_while(|(key, _)| key.0 == wd)
                .map(|(key, _)| key.clone())
                .collect();
            for key in below {
                todo.extend(self.children.remove(&key));
            }
        }
    }
}
