//! Proof that everything which happened before a moment has been read.
//!
//! A file is made in the state directory, and each queue is read until that has been seen in it: a queue keeps the
//! order, so whatever was queued before has been read by then. A queue that was found empty since proves the same; so
//! nothing hangs where the file cannot be made, or is not seen.

use super::filesystem::Filesystem;
use super::places::{self, Root};
use super::{Backend, Watcher, selftest};
use crate::mounts::rebase;
use rustix::fs::{AtFlags, Mode, OFlags};
use std::os::fd::{AsFd, BorrowedFd};
use waxseal_model::RawPath;

/// What one queue waits for.
#[derive(Debug, Default)]
pub(crate) struct Cookie {
    /// The name of the file; `None` before there ever was one.
    name: Option<Box<[u8]>>,
    /// Whether it is still to be seen.
    awaited: bool,
}

impl Cookie {
    /// Everything up to now is to be read.
    pub fn expect(&mut self, name: &[u8]) {
        *self = Cookie { name: Some(name.into()), awaited: true };
    }

    /// A name was read from the queue.
    pub fn see(&mut self, name: &[u8]) {
        self.awaited &= self.name.as_deref() != Some(name);
    }

    /// The queue was found empty, or is not read any more.
    pub fn see_empty(&mut self) {
        self.awaited = false;
    }

    /// Whether everything has been read.
    pub fn is_seen(&self) -> bool {
        !self.awaited
    }
}

impl Watcher {
    /// Asks for everything that has happened by now: [`Watcher::has_caught_up`] tells when hints of all of it have been
    /// read.
    pub fn catch_up(&mut self) {
        self.cookies = self.cookies.wrapping_add(1);
        // Unlike any that may still be in a queue; without the number of the process, so that one that was left behind
        // by a process that died is made use of, and removed, by a later one.
        let name = format!(".waxseal-cookie-{}", self.cookies);
        for filesystem in &mut self.plan.filesystems {
            filesystem.cookie.expect(name.as_bytes());
        }
        for tree in &mut self.plan.trees {
            tree.cookie.expect(name.as_bytes());
        }
        self.plan.chain.cookie.expect(name.as_bytes());
        let Some(dir) = selftest::open_canary_dir(&self.options) else { return };
        for filesystem in &mut self.plan.filesystems {
            let is_marked = selftest::is_on(filesystem, &self.plan.table, dir.as_fd());
            if !is_marked && !filesystem.hears_cookies {
                filesystem.hears_cookies = true;
                filesystem.hear(dir.as_fd());
            }
        }
        for tree in &mut self.plan.trees {
            tree.hear(dir.as_fd());
        }
        self.plan.chain.hear(dir.as_fd());
        make(dir.as_fd(), &name);
    }

    /// Whether all hints of what happened before the last [`Watcher::catch_up`] have been given out by
    /// [`Watcher::read`], as far as there are events of it.
    pub fn has_caught_up(&self) -> bool {
        let plan = &self.plan;
        !self.stale
            && self.pending.is_empty()
            && plan.filesystems.iter().all(|filesystem| filesystem.broken || filesystem.cookie.is_seen())
            && plan.trees.iter().all(|tree| tree.spent || tree.cookie.is_seen())
            && plan.chain.cookie.is_seen()
    }

    /// Places of which no event tells everything: a scan of them has to take the place of events.
    pub fn unheard(&self) -> Vec<RawPath> {
        let polled = self.plan.coverage.iter().filter(|part| part.backend == Backend::Polling);
        let mut places: Vec<RawPath> = polled.map(|part| part.place.clone()).collect();
        for tree in self.plan.trees.iter().filter(|tree| tree.is_incomplete()) {
            places.extend(self.plan.roots.iter().filter_map(|root| seen_by(root, tree.path())));
        }
        places.sort();
        places.dedup();
        places
    }
}

/// The part of a root that lies in a tree, as the root names it.
fn seen_by(root: &Root, tree: &RawPath) -> Option<RawPath> {
    rebase(tree, &root.real, &root.path).or_else(|| root.real.below(tree).map(|_| root.path.clone()))
}

/// Makes the file and removes it. When there is no room for it, queues have to be found empty.
fn make(dir: BorrowedFd<'_>, name: &str) {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let _ = rustix::fs::unlinkat(dir, name, AtFlags::empty());
    drop(rustix::fs::openat(dir, name, flags, Mode::RUSR | Mode::WUSR));
    let _ = rustix::fs::unlinkat(dir, name, AtFlags::empty());
}

impl Filesystem {
    /// Has names that are made in a directory of another filesystem reported in this queue.
    fn hear(&mut self, dir: BorrowedFd<'_>) {
        let Some(other) = places::filesystem_id(dir) else { return };
        // Records from there must not be taken for ours.
        if self.id.is_some_and(|own| own != other) && self.group.mark_names_made(dir).is_ok() {
            self.foreign = Some(other);
        }
    }
}
