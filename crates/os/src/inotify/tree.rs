//! A watched tree: which watch stands for which directory, kept right while directories move.
//!
//! The kernel names directories by watch numbers. A number stays with its directory when that moves, so each node
//! knows its parent and its name, and a move changes one node whatever lies below it. Which directory has a name is
//! never concluded from events: whenever one concerns the name, we look, and the number of what is there tells. What
//! happens after the look raises another event.

use super::{Instance, Raw, walk};
use crate::watcher::{Cookie, Loss, What};
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
    Lost(Loss),
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
    from: (RawPath, Box<[u8]>),
    is_dir: bool,
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
    /// Directories that lost their names, new and from before the queue was last empty. Each has another name by
    /// then, or has left the tree.
    pub(super) nameless: (Vec<i32>, Vec<i32>),
    pub(super) misses: Misses,
    told_limit: bool,
    /// Set by the owner when the top is gone, so that the tree is not used again.
    pub(crate) spent: bool,
    /// The file by which is known how far the queue has been read.
    pub(crate) cookie: Cookie,
}

/// What could not be watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Misses {
    /// The user's watches are used up.
    pub limit: bool,
    /// Directories that we may not list, or that could not be opened.
    pub unreadable: u64,
}

/// How often what is astray is looked for again, with an empty queue, before everything is watched anew.
const TRIES: usize = 3;
/// How many directories below each other are looked for that way.
const DEPTH: usize = 1024;
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
            nameless: (Vec::new(), Vec::new()),
            misses: Misses::default(),
            told_limit: false,
            spent: false,
            cookie: Cookie::default(),
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

    /// Whether there are directories in it that could not be watched.
    pub(crate) fn is_incomplete(&self) -> bool {
        self.misses != Misses::default()
    }

    /// Has names that are made in a directory outside put into the queue.
    pub(crate) fn hear(&self, dir: BorrowedFd<'_>) {
        self.instance.hear_names_made(dir);
    }

    /// The descriptor, to be polled for input.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.instance.as_fd()
    }

    /// Adds what has been queued to `out`, without waiting.
    ///
    /// # Errors
    /// As the kernel says; when the tree had to be watched anew and its top was gone, that is [`Report::TopGone`].
    pub fn read(&mut self, out: &mut Vec<Report>) -> Result<(), Errno> {
        let (mut drained, mut lost) = self.take_queued(out)?;
        if drained {
            self.settle(out);
        }
        let mut tries = 0;
        while drained && !self.retry() {
            if tries == TRIES {
                lost = lost.or(Some(Loss::Astray));
                break;
            }
            tries += 1;
            // The move that led it astray is in the queue by now.
            let (again, more) = self.take_queued(out)?;
            drained = again;
            lost = lost.or(more);
        }
        if self.misses.limit && !self.told_limit {
            self.told_limit = true;
            out.push(Report::Lost(Loss::Limit));
        }
        if let Some(loss) = lost {
            self.again(loss, out);
        }
        Ok(())
    }

    /// Takes what is in the queue: whether that was all of it, and whether events had been lost.
    fn take_queued(&mut self, out: &mut Vec<Report>) -> Result<(bool, Option<Loss>), Errno> {
        let mut lost = None;
        for _ in 0..BUFFERS {
            let mut events = Vec::new();
            let more = self.instance.read(&mut events)?;
            for event in events {
                if event.flags.contains(ReadFlags::QUEUE_OVERFLOW) {
                    lost = Some(Loss::Overflow);
                } else {
                    if let Some(name) = &event.name {
                        self.cookie.see(name);
                    }
                    self.take(event, out);
                }
            }
            if !more {
                self.cookie.see_empty();
                return Ok((true, lost));
            }
        }
        Ok((false, lost))
    }

    /// Everything anew, in a new instance: moves may have been lost, and with them which watch is where.
    fn again(&mut self, loss: Loss, out: &mut Vec<Report>) {
        let tree = super::open_path(&self.path).and_then(|top| Tree::new(top.as_fd(), self.path.clone()));
        match tree {
            Ok(tree) => {
                let told_limit = self.told_limit;
                *self = Tree { told_limit, ..tree };
                out.push(Report::Lost(loss));
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

    fn itself(&mut self, wd: i32, flags: ReadFlags, out: &mut Vec<Report>) {
        let over = ReadFlags::DELETE_SELF | ReadFlags::MOVE_SELF | ReadFlags::UNMOUNT;
        if flags.intersects(over) {
            if wd == self.top {
                out.push(Report::TopGone);
            }
            // It moved: perhaps from a directory whose watch came too late to tell.
            let place = self.nodes.get(&wd).and_then(|node| Some((node.parent?, node.name.clone())));
            if let Some((parent, name)) = place.filter(|_| flags.contains(ReadFlags::MOVE_SELF)) {
                self.come(parent, name);
            }
        } else if let Some(dir) = self.path_of(wd) {
            out.push(Report::Itself { dir });
        }
    }

    fn named(&mut self, wd: i32, name: Box<[u8]>, flags: ReadFlags, cookie: u32, out: &mut Vec<Report>) {
        let is_dir = flags.contains(ReadFlags::ISDIR);
        let what = What::of_inotify(flags);
        // One that could not be opened may be open to us after a change of its mode.
        let unknown = || !self.children.contains_key(&(wd, name.clone()));
        if is_dir && (what.is_of_names() || (what.has(What::METADATA) && unknown())) {
            // Watched before it is reported, so that whoever scans it then misses nothing.
            self.come(wd, name.clone());
        }
        let Some(dir) = self.path_of(wd) else { return };
        if flags.contains(ReadFlags::MOVED_FROM) {
            if self.leaving.len() >= LEAVING {
                self.tell_leaving(out);
            }
            return self.leaving.push(Leaving { cookie, from: (dir, name), is_dir });
        }
        let other = |leaving: &Leaving| flags.contains(ReadFlags::MOVED_TO) && leaving.cookie == cookie;
        match self.leaving.iter().position(other) {
            Some(position) => {
                let from = self.leaving.swap_remove(position).from;
                out.push(Report::Moved { from, to: (dir, name), is_dir });
            }
            None => out.push(Report::Name { dir, name, is_dir, what }),
        }
    }

    fn tell_leaving(&mut self, out: &mut Vec<Report>) {
        out.extend(self.leaving.drain(..).map(|Leaving { from: (dir, name), is_dir, .. }| Report::Name {
            dir,
            name,
            is_dir,
            what: What::MOVED,
        }));
    }

    /// With the queue empty: what left and has not arrived is reported, and directories that have had no name for long
    /// enough are watched no more.
    fn settle(&mut self, out: &mut Vec<Report>) {
        self.tell_leaving(out);
        let new = std::mem::take(&mut self.nameless.0);
        for wd in std::mem::replace(&mut self.nameless.1, new) {
            if !self.has_name(wd) {
                self.drop_subtree(wd);
            }
        }
    }

    /// Whether the name that a node has is its own in the tree.
    fn has_name(&self, wd: i32) -> bool {
        self.nodes.get(&wd).is_some_and(|node| match node.parent {
            Some(parent) => self.children.get(&(parent, node.name.clone())) == Some(&wd),
            None => true,
        })
    }

    /// Looks at a name that may be that of another directory than before.
    fn come(&mut self, wd: i32, name: Box<[u8]>) {
        if let Err(walk::Astray) = self.walk_child(wd, &name) {
            self.waiting.push((wd, name));
        }
    }

    /// Looks again at what was astray. False when something still is.
    fn retry(&mut self) -> bool {
        // What is found may bring what is below it back into the tree.
        for _ in 0..DEPTH {
            let (mut found, mut some) = (true, false);
            for (wd, name) in std::mem::take(&mut self.waiting) {
                if self.is_within(wd) {
                    match self.walk_child(wd, &name) {
                        Ok(()) => some = true,
                        Err(walk::Astray) => {
                            found = false;
                            self.waiting.push((wd, name));
                        }
                    }
                } else if self.nodes.contains_key(&wd) {
                    // It has left the tree, or is on its way to another place in it.
                    self.waiting.push((wd, name));
                }
            }
            if !some || self.waiting.is_empty() {
                return found;
            }
        }
        false
    }

    fn is_within(&self, mut wd: i32) -> bool {
        for _ in 0..=self.nodes.len() {
            if wd == self.top {
                return true;
            }
            match self.nodes.get(&wd).and_then(|node| node.parent) {
                Some(parent) if self.has_name(wd) => wd = parent,
                _ => return false,
            }
        }
        false
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

    /// A directory that the kernel watches no more. What was below it, if anything, is somewhere else by now.
    fn forget(&mut self, wd: i32) {
        if let Some(Node { parent: Some(parent), name, .. }) = self.nodes.remove(&wd) {
            let key = (parent, name);
            if self.children.get(&key) == Some(&wd) {
                self.children.remove(&key);
            }
        }
        let below = self.take_children(wd);
        self.nameless.0.extend(below);
    }

    fn take_children(&mut self, wd: i32) -> Vec<i32> {
        let from = (wd, Box::<[u8]>::default());
        let keys = self.children.range(from..).map(|(key, _)| key).take_while(|key| key.0 == wd);
        let keys: Vec<_> = keys.cloned().collect();
        keys.iter().filter_map(|key| self.children.remove(key)).collect()
    }

    /// Watches a directory and everything below it no more.
    fn drop_subtree(&mut self, wd: i32) {
        let mut todo = vec![wd];
        while let Some(wd) = todo.pop() {
            self.instance.remove(wd);
            self.nodes.remove(&wd);
            todo.extend(self.take_children(wd));
        }
    }
}
