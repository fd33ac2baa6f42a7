//! Watching: the kernel's word on where something may have changed, whatever the kernel and the filesystems can do.
//!
//! In: roots. Out: [`Hint`]s below them, in paths as the roots were given. Each filesystem under a root is marked with
//! fanotify where that works, its directories are watched with inotify where it does not, and where neither tells
//! anything that is said ([`Watcher::coverage`]). The ways to the roots and the mount table are watched as well; when
//! they change, everything is put in place anew, and what may have changed is reported.

mod chain;
mod cookie;
mod filesystem;
mod follow;
mod layer;
mod places;
mod plan;
mod selftest;

pub use crate::watching::{Options, Wake, WatchError};
pub(crate) use cookie::Cookie;
pub use coverage::{Backend, Coverage};
pub use follow::PathWatch;
pub use hint::{Hint, Loss, Process, What};
pub use places::WatchRoot;

use crate::watching::{coverage, hint};

use crate::clock::ClockWatch;
use crate::inotify::{Report, Tree};
use crate::mounts::{Mount, MountWatch, rebase};
use chain::Told;
use places::{Root, Sight};
use plan::Plan;
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::io::Errno;
use rustix::time::Timespec;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;
use waxseal_model::RawPath;

/// Wakes the thread that waits for events.
#[derive(Debug, Clone)]
pub struct Waker(Arc<OwnedFd>);

impl Waker {
    /// Makes the present or the next [`Watcher::wait`] return.
    pub fn wake(&self) {
        // It can only fail when the counter is full of wake-ups that nobody has seen, which is as good.
        let _ = rustix::io::write(&self.0, &1u64.to_ne_bytes());
    }
}

/// Watches roots. One thread owns it.
#[derive(Debug)]
pub struct Watcher {
    asked: Vec<WatchRoot>,
    options: Options,
    plan: Plan,
    mount_watch: MountWatch,
    waker: Arc<OwnedFd>,
    /// Without it, the clock is only compared when something else happens.
    clock: Option<ClockWatch>,
    /// Hints from before the first read.
    pending: Vec<Hint>,
    /// The plan does not fit any more.
    stale: bool,
    /// How many cookies were made.
    cookies: u64,
    /// How often everything was put in place.
    plans: u64,
}

impl Watcher {
    /// Watches roots. When this returns, what changes below them from now on will raise a hint, as far as
    /// [`Watcher::coverage`] says; so a scan that begins afterwards misses nothing.
    ///
    /// # Errors
    /// See [`WatchError`]. A backend that cannot be used is none: another takes its place, and the coverage says so.
    pub fn start(roots: &[WatchRoot], options: Options) -> Result<Watcher, WatchError> {
        let mount_watch = MountWatch::new().map_err(WatchError::MountTable)?;
        let table = mount_watch.read().map_err(WatchError::MountTable)?;
        let waker = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map_err(WatchError::Wait)?;
        let mut pending = Vec::new();
        let plan = plan::build(roots, &options, table, &mut Default::default(), &mut pending)
            .map_err(WatchError::Root)?;
        let asked = roots.to_vec();
        Ok(Watcher {
            asked,
            options,
            plan,
            mount_watch,
            waker: Arc::new(waker),
            clock: ClockWatch::new().ok(),
            pending,
            stale: false,
            cookies: 0,
            plans: 1,
        })
    }

    /// What watches which part of which root, in the order of paths. It changes with mounts and roots.
    pub fn coverage(&self) -> &[Coverage] {
        &self.plan.coverage
    }

    /// What is watched, as it was asked for.
    pub fn roots(&self) -> &[WatchRoot] {
        &self.asked
    }

    /// A handle by which other threads can end a wait.
    pub fn waker(&self) -> Waker {
        Waker(Arc::clone(&self.waker))
    }

    /// Waits until there is something to read, the waker is used, or the time is up (`None`: for ever).
    ///
    /// # Errors
    /// [`WatchError::Wait`], for want of memory.
    pub fn wait(&mut self, timeout: Option<Duration>) -> Result<Wake, WatchError> {
        if self.stale || !self.pending.is_empty() {
            return Ok(Wake { events: true, woken: self.take_wake() });
        }
        let timeout = timeout.map(|timeout| Timespec {
            tv_sec: timeout.as_secs().min(i32::MAX as u64) as i64,
            tv_nsec: timeout.subsec_nanos().into(),
        });
        let queues: Vec<BorrowedFd<'_>> = self.queues();
        let mut fds = vec![
            PollFd::from_borrowed_fd(self.waker.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(self.mount_watch.as_fd(), MountWatch::FLAGS),
        ];
        fds.extend(queues.into_iter().map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
        match poll(&mut fds, timeout.as_ref()) {
            // A signal: the caller decides whether to wait again.
            Err(Errno::INTR) => return Ok(Wake::default()),
            other => other.map_err(WatchError::Wait)?,
        };
        let answers: Vec<PollFlags> = fds.iter().map(PollFd::revents).collect();
        drop(fds);
        let (woken, mounts, queues) = match answers.as_slice() {
            [waker, mounts, queues @ ..] => (!waker.is_empty(), MountWatch::tells(*mounts), queues),
            _ => (false, false, &[][..]),
        };
        self.stale |= mounts;
        let events = mounts || queues.iter().any(|answer| !answer.is_empty());
        Ok(Wake { events, woken: woken && self.take_wake() })
    }

    fn queues(&self) -> Vec<BorrowedFd<'_>> {
        let filesystems = self.plan.filesystems.iter().filter(|filesystem| !filesystem.broken);
        let mut queues: Vec<_> = filesystems.map(|filesystem| filesystem.group.as_fd()).collect();
        queues.extend(self.plan.trees.iter().map(Tree::as_fd));
        queues.extend(self.plan.chain.as_fd());
        queues.extend(self.clock.as_ref().map(AsFd::as_fd));
        queues
    }

    fn take_wake(&self) -> bool {
        rustix::io::read(&*self.waker, &mut [0u8; 8]).is_ok()
    }

    /// Adds what is known by now to `out`, without waiting: some thousand hints at most, so call it again after a
    /// [`Watcher::wait`] without a pause.
    ///
    /// # Errors
    /// [`WatchError`] when a change of the roots or mounts could not be followed, for want of memory or open files.
    /// Hints that were added are good; the next call tries again, so leave a pause before it.
    pub fn read(&mut self, out: &mut Vec<Hint>) -> Result<(), WatchError> {
        out.append(&mut self.pending);
        self.stale |= self.mount_watch.changed();
        out.extend(self.clock.as_ref().filter(|clock| clock.was_set()).map(|_| Hint::ClockSet));
        let roots = &self.plan.roots;
        for filesystem in &mut self.plan.filesystems {
            if !filesystem.broken {
                filesystem.read(roots, &self.options.ignored, out);
                self.stale |= filesystem.broken;
            }
        }
        self.read_trees(out);
        self.read_chain(out);
        if self.stale {
            self.stale = false;
            self.rebuild(out)?;
        }
        Ok(())
    }

    /// Whether the last [`Watcher::read`] emptied all of the kernel's queues that tell of processes: what is read next
    /// happened after it began.
    pub fn is_drained(&self) -> bool {
        self.plan.filesystems.iter().all(|filesystem| filesystem.drained || filesystem.broken)
    }

    /// The kernel's queues that tell of processes.
    pub(crate) fn queues_of_processes(&self) -> Vec<BorrowedFd<'_>> {
        let filesystems = self.plan.filesystems.iter().filter(|filesystem| !filesystem.broken);
        filesystems.map(|filesystem| filesystem.group.as_fd()).collect()
    }

    /// How often everything was put in place: the queues are the same while this is.
    pub(crate) fn plans(&self) -> u64 {
        self.plans
    }

    fn read_trees(&mut self, out: &mut Vec<Hint>) {
        for tree in &mut self.plan.trees {
            read_tree(tree, &self.plan.roots, &self.options.ignored, out);
            self.stale |= tree.spent;
        }
    }

    fn read_chain(&mut self, out: &mut Vec<Hint>) {
        let mut told = Told::default();
        self.plan.chain.read(&self.plan.roots, &mut told);
        self.tell(&told, out);
    }

    fn tell(&mut self, told: &Told, out: &mut Vec<Hint>) {
        self.stale |= told.moved;
        for (index, what) in &told.roots {
            let Some(root) = self.plan.roots.get(*index) else { continue };
            // A mark sees a root come and go; a tree has to be put on another directory.
            self.stale |= what.is_of_names() && !self.is_marked(&root.path);
            out.extend(changed_root(root, *what));
        }
        if told.lost {
            let loss = if told.overflowed { Loss::Overflow } else { Loss::Unreadable };
            let unmarked = self.plan.roots.iter().filter(|root| !self.is_marked(&root.path));
            out.extend(unmarked.map(|root| Hint::Lost { root: root.path.clone(), loss }));
        }
    }

    fn is_marked(&self, root: &RawPath) -> bool {
        let own = |coverage: &&Coverage| coverage.root == *root && coverage.place == *root;
        self.plan.coverage.iter().find(own).is_some_and(|own| own.backend == Backend::Fanotify)
    }

    /// Watches these roots from now on, and no others. Watches that serve both stay, with what is queued, and the others
    /// are ended after the new ones have begun, so that nothing falls between; roots that are new are for the caller to
    /// scan.
    ///
    /// # Errors
    /// See [`WatchError`]; the roots are those of before then.
    pub fn set_roots(&mut self, roots: &[WatchRoot]) -> Result<(), WatchError> {
        let before = std::mem::replace(&mut self.asked, roots.to_vec());
        let mut hints = Vec::new();
        let built = self.build_anew(&mut hints);
        self.pending.append(&mut hints);
        let (before, (mut filesystems, mut trees)) = built.inspect_err(|_| self.asked = before)?;
        let ignored = &self.options.ignored;
        for filesystem in &mut filesystems {
            filesystem.read_last(&before.roots, ignored, &mut self.pending);
        }
        for tree in trees.iter_mut().filter(|tree| !tree.spent) {
            tree.cookie.expect(b"");
            for _ in 0..LAST_READS {
                read_tree(tree, &before.roots, ignored, &mut self.pending);
                if tree.spent || tree.cookie.is_seen() {
                    break;
                }
            }
            if !tree.spent && !tree.cookie.is_seen() {
                lose(tree, &before.roots, Loss::Unreadable, &mut self.pending);
            }
        }
        Ok(())
    }

    /// Puts everything in place for the roots and mounts as they are now, and reports what may have changed by that.
    fn rebuild(&mut self, out: &mut Vec<Hint>) -> Result<(), WatchError> {
        self.build_anew(out).map(drop)
    }

    /// As [`Watcher::rebuild`]: what was there before, and of that, what is of no use any more.
    fn build_anew(&mut self, out: &mut Vec<Hint>) -> Result<(Plan, plan::Old), WatchError> {
        let table = self.mount_watch.read().map_err(|errno| {
            self.stale = true;
            WatchError::MountTable(errno)
        })?;
        let mut trees = std::mem::take(&mut self.plan.trees);
        trees.retain(|tree| !tree.spent);
        let mut old = (std::mem::take(&mut self.plan.filesystems), trees);
        let built = plan::build(&self.asked, &self.options, table, &mut old, out);
        let mut before = match built {
            Ok(plan) => std::mem::replace(&mut self.plan, plan),
            Err(errno) => {
                (self.plan.filesystems, self.plan.trees) = old;
                self.stale = true;
                return Err(WatchError::Root(errno));
            }
        };
        self.plans += 1;
        // The new watches are in place; what the old ones heard last is told.
        let mut told = Told::default();
        before.chain.read(&before.roots, &mut told);
        for (index, what) in told.roots {
            out.extend(before.roots.get(index).and_then(|root| changed_root(root, what)));
        }
        for new in &self.plan.roots {
            let old = before.roots.iter().find(|old| old.path == new.path);
            if old.is_some_and(|old| (&old.real, old.found, old.mount) != (&new.real, new.found, new.mount)) {
                out.extend(changed_root(new, What::MOVED));
            }
        }
        self.tell_mounts(&before.table, out);
        for new in &self.plan.coverage {
            let same_place = |old: &&Coverage| old.root == new.root && old.place == new.place;
            if before.coverage.iter().find(same_place).is_some_and(|old| old.backend != new.backend) {
                out.push(Hint::Lost { root: new.root.clone(), loss: Loss::OtherBackend });
            }
        }
        Ok((before, old))
    }

    /// Reports the places below the roots where something else is mounted than before.
    fn tell_mounts(&self, before: &[Mount], out: &mut Vec<Hint>) {
        let now = &self.plan.table;
        let is_same =
            |a: &Mount, b: &Mount| (a.id, a.device, &a.root, &a.point) == (b.id, b.device, &b.root, &b.point);
        let missing = |from: &[Mount], mount: &Mount| !from.iter().any(|other| is_same(mount, other));
        let gone = before.iter().filter(|mount| missing(now, mount));
        let come = now.iter().filter(|mount| missing(before, mount));
        let mut places: Vec<RawPath> = Vec::new();
        for mount in gone.chain(come) {
            for root in &self.plan.roots {
                let below = rebase(&mount.point, &root.real, &root.path);
                let above = root.real.below(&mount.point).map(|_| root.path.clone());
                if let Some(place) = below.or(above).filter(|place| !places.contains(place)) {
                    places.push(place);
                }
            }
        }
        out.extend(places.into_iter().map(|at| Hint::MountChanged { at }));
    }
}

/// How often a queue that is about to be given up is read, at most.
const LAST_READS: usize = 256;

/// Takes what a tree has queued; marks it as spent when its top is gone.
fn read_tree(tree: &mut Tree, roots: &[Root], ignored: &[RawPath], out: &mut Vec<Hint>) {
    let mut reports = Vec::new();
    if tree.read(&mut reports).is_err() {
        reports.push(Report::Lost(Loss::Unreadable));
        reports.push(Report::TopGone);
    }
    for report in reports {
        match report {
            Report::TopGone => tree.spent = true,
            Report::Lost(loss) => lose(tree, roots, loss, out),
            other => translate(other, roots, ignored, out),
        }
    }
}

/// Tells that a tree has lost events.
fn lose(tree: &Tree, roots: &[Root], loss: Loss, out: &mut Vec<Hint>) {
    let affected = roots
        .iter()
        .filter(|root| root.real.below(tree.path()).is_some() || tree.path().below(&root.real).is_some());
    out.extend(affected.map(|root| Hint::Lost { root: root.path.clone(), loss }));
}

/// A root itself may have changed, with everything below it.
fn changed_root(root: &Root, what: What) -> Option<Hint> {
    let path = root.own_name()?.clone();
    Some(Hint::Name { path, deep: what.is_of_names(), what, process: None })
}

/// An inotify report in the paths of the roots.
fn translate(report: Report, roots: &[Root], ignored: &[RawPath], out: &mut Vec<Hint>) {
    let see = |dir: &RawPath| {
        let mut sight = Sight::default();
        places::see(roots, ignored, dir, &mut sight);
        sight
    };
    let names = |dir: &RawPath, name: &[u8]| see(dir).names(name);
    let hint = |path, is_dir: bool, what: What| Hint::Name {
        path,
        deep: is_dir && what.is_of_names(),
        what,
        process: None,
    };
    match report {
        Report::Name { dir, name, is_dir, what } => {
            out.extend(names(&dir, &name).into_iter().map(|spot| hint(spot, is_dir, what)));
        }
        Report::Moved { from, to, is_dir } => {
            let (mut from, mut to) = (names(&from.0, &from.1), names(&to.0, &to.1));
            if let (1, 1, Some(from), Some(to)) = (from.len(), to.len(), from.first_mut(), to.first_mut()) {
                let (from, to) = (std::mem::take(from), std::mem::take(to));
                out.push(Hint::Renamed { from, to, is_dir, process: None });
            } else {
                out.extend(from.into_iter().chain(to).map(|spot| hint(spot, is_dir, What::MOVED)));
            }
        }
        Report::Itself { dir } => {
            out.extend(see(&dir).inside.into_iter().map(|dir| Hint::Itself { dir, process: None }));
        }
        Report::Lost(_) | Report::TopGone => {}
    }
}

/// Lets the calling thread run before ordinary ones, at the lowest real-time priority, so that a queue is emptied
/// while the machine is busy. Processes that it starts do not inherit that. False when it is not permitted.
#[allow(unsafe_code, reason = "sched_setscheduler has no safe wrapper")]
pub fn raise_priority() -> bool {
    let policy = libc::SCHED_RR | libc::SCHED_RESET_ON_FORK;
    // SAFETY: `sched_param` is a plain number or a struct of numbers, for which zeroes are valid.
    let mut param: libc::sched_param = unsafe { std::mem::zeroed() };
    param.sched_priority = 1;
    // SAFETY: 0 is the calling thread, and the parameter outlives the call.
    unsafe { libc::sched_setscheduler(0, policy, &raw const param) == 0 }
}
