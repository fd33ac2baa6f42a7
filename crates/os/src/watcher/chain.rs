//! The directories on the way to the roots.
//!
//! In: the ways, as they are followed. Out: that a root itself may have come, gone or changed, and that some way may
//! lead elsewhere now. One inotify instance for all; a watch for each directory on a way.

use super::places::{Root, Step};
use super::{Cookie, What};
use crate::inotify::{ALL, Instance, NAMES, Raw};
use rustix::fs::inotify::ReadFlags;
use rustix::io::Errno;
use std::collections::HashMap;
use std::os::fd::BorrowedFd;
use waxseal_model::RawPath;

#[derive(Debug)]
pub(super) struct Chain {
    instance: Option<Instance>,
    dirs: HashMap<i32, RawPath>,
    /// Directories that could not be watched.
    pub missed: Vec<RawPath>,
    /// The file by which is known how far the queue has been read.
    pub cookie: Cookie,
}

/// What the ways told.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// Roots by index, whose own name was touched.
    pub roots: Vec<(usize, What)>,
    /// Some way may lead elsewhere.
    pub moved: bool,
    /// Events were lost.
    pub lost: bool,
    /// They were lost because the queue was full.
    pub overflowed: bool,
}

impl Chain {
    pub fn new() -> Chain {
        Chain {
            instance: Instance::new().ok(),
            dirs: HashMap::new(),
            missed: Vec::new(),
            cookie: Cookie::default(),
        }
    }

    /// Watches a directory for its names; with `all`, for everything that happens to them.
    pub fn add(&mut self, dir: BorrowedFd<'_>, path: &RawPath, all: bool) {
        let flags = if all { ALL } else { NAMES };
        match self.instance.as_ref().ok_or(Errno::MFILE).and_then(|instance| instance.add(dir, flags)) {
            Ok(wd) => drop(self.dirs.insert(wd, path.clone())),
            Err(_) if self.missed.contains(path) => {}
            Err(_) => self.missed.push(path.clone()),
        }
    }

    /// Has names that are made in a directory put into the queue.
    pub fn hear(&self, dir: BorrowedFd<'_>) {
        if let Some(instance) = &self.instance {
            instance.hear_names_made(dir);
        }
    }

    pub fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        self.instance.as_ref().map(Instance::as_fd)
    }

    /// Takes what is queued, without waiting.
    pub fn read(&mut self, roots: &[Root], told: &mut Told) {
        let Some(instance) = &self.instance else { return self.cookie.see_empty() };
        let mut events = Vec::new();
        for _ in 0..8 {
            match instance.read(&mut events) {
                Ok(true) => {}
                Ok(false) => {
                    self.cookie.see_empty();
                    break;
                }
                Err(_) => {
                    self.cookie.see_empty();
                    told.lost = true;
                    break;
                }
            }
        }
        for event in events {
            if let Some(name) = &event.name {
                self.cookie.see(name);
            }
            self.take(&event, roots, told);
        }
    }

    fn take(&self, event: &Raw, roots: &[Root], told: &mut Told) {
        if event.flags.contains(ReadFlags::QUEUE_OVERFLOW) {
            told.lost = true;
            told.overflowed = true;
            told.moved = true;
            return;
        }
        let Some(dir) = self.dirs.get(&event.wd) else { return };
        let Some(name) = &event.name else {
            let over =
                ReadFlags::IGNORED | ReadFlags::DELETE_SELF | ReadFlags::MOVE_SELF | ReadFlags::UNMOUNT;
            told.moved |= event.flags.intersects(over);
            return;
        };
        let what = What::of_inotify(event.flags);
        let is_it = |step: &Step| step.dir == *dir && step.name == *name;
        for (index, root) in roots.iter().enumerate() {
            let Some((last, before)) = root.steps.split_last() else { continue };
            told.moved |= what.is_of_names() && before.iter().any(is_it);
            if is_it(last) {
                told.roots.push((index, what));
            }
        }
    }
}
