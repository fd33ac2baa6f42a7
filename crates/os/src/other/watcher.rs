//! Watching where there is no fanotify: the system's own way (FSEvents, `ReadDirectoryChangesW`), through the `notify`
//! crate.
//!
//! In: roots. Out: [`Hint`]s below them, in paths as the roots were given. Each directory that is a root is watched with
//! all below it, and the directory that holds a root for the root's own name; of a root that is missing, the nearest
//! directory above it that exists. When a root comes, goes or moves, everything is put in place anew.

mod follow;
mod inbox;
mod places;
mod translate;

pub use crate::watching::coverage::{Backend, Coverage};
pub use crate::watching::hint::{Hint, Loss, Process, What};
pub use crate::watching::{Options, Wake, WatchError, WatchRoot};
pub use follow::PathWatch;

use inbox::{Inbox, Letter};
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use places::Root;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use waxseal_model::RawPath;

/// What this system has.
#[cfg(windows)]
const BACKEND: Backend = Backend::ReadDirectoryChanges;
#[cfg(not(windows))]
const BACKEND: Backend = Backend::FsEvents;

/// How often it is asked whether everything is still watched: the library gives a watch up without a word on errors that
/// it does not know, as when the server of a share goes away. What could not be watched is tried again as often.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// Wakes the thread that waits for events.
#[derive(Debug, Clone)]
pub struct Waker(Arc<Inbox>);

impl Waker {
    /// Makes the present or the next [`Watcher::wait`] return.
    pub fn wake(&self) {
        self.0.wake();
    }
}

/// Watches roots. One thread owns it.
#[derive(Debug)]
pub struct Watcher {
    asked: Vec<WatchRoot>,
    options: Options,
    plan: Plan,
    inbox: Arc<Inbox>,
    /// Hints from before the first read.
    pending: Vec<Hint>,
    /// A root may be elsewhere by now.
    stale: bool,
    /// When it was last asked whether everything is still watched.
    looked: Instant,
}

/// Everything that watches.
#[derive(Debug)]
struct Plan {
    roots: Vec<Root>,
    coverage: Vec<Coverage>,
    /// What the backend watches.
    placed: Vec<(PathBuf, RecursiveMode)>,
    /// Watches as long as it lives.
    backend: Option<RecommendedWatcher>,
}

impl Watcher {
    /// Watches roots. When this returns, what changes below them from now on will raise a hint, as far as
    /// [`Watcher::coverage`] says; so a scan that begins afterwards misses nothing.
    ///
    /// # Errors
    /// None at present: what cannot be watched is polled, and the coverage says so.
    pub fn start(roots: &[WatchRoot], options: Options) -> Result<Watcher, WatchError> {
        let inbox = Arc::new(Inbox::new(options.queue_limit));
        let plan = Plan::new(roots, &inbox);
        let stale = plan.is_overtaken(roots);
        let (pending, looked) = (Vec::new(), Instant::now());
        Ok(Watcher { asked: roots.to_vec(), options, plan, inbox, pending, stale, looked })
    }

    /// What watches which root, in the order of paths.
    pub fn coverage(&self) -> &[Coverage] {
        &self.plan.coverage
    }

    /// What is watched, as it was asked for.
    pub fn roots(&self) -> &[WatchRoot] {
        &self.asked
    }

    /// A handle by which other threads can end a wait.
    pub fn waker(&self) -> Waker {
        Waker(Arc::clone(&self.inbox))
    }

    /// Waits until there is something to read, the waker is used, or the time is up (`None`: for ever).
    ///
    /// # Errors
    /// None.
    pub fn wait(&mut self, timeout: Option<Duration>) -> Result<Wake, WatchError> {
        let at_once = self.stale || !self.pending.is_empty();
        let left = LOOK_EVERY.saturating_sub(self.looked.elapsed());
        let patience =
            if at_once { Duration::ZERO } else { timeout.map_or(left, |timeout| timeout.min(left)) };
        let mut wake = self.inbox.wait(Some(patience));
        self.look_after();
        wake.events |= at_once || self.stale;
        Ok(wake)
    }

    /// Adds what is known by now to `out`, without waiting.
    ///
    /// # Errors
    /// None at present.
    pub fn read(&mut self, out: &mut Vec<Hint>) -> Result<(), WatchError> {
        out.append(&mut self.pending);
        let (letters, overflowed) = self.inbox.take();
        for letter in letters {
            match letter {
                Letter::Event(event) => {
                    self.stale |= translate::event(&event, &self.plan.roots, &self.options.ignored, out);
                }
                Letter::Lost => self.lose(Loss::Overflow, out),
                Letter::Broken => {
                    self.lose(Loss::Unreadable, out);
                    self.stale = true;
                }
            }
        }
        if overflowed {
            self.lose(Loss::Overflow, out);
        }
        if std::mem::take(&mut self.stale) {
            self.rebuild(out);
        }
        Ok(())
    }

    /// Asks from time to time whether everything is watched. What is not any more was lost without an event.
    fn look_after(&mut self) {
        if self.looked.elapsed() < LOOK_EVERY {
            return;
        }
        self.looked = Instant::now();
        if !self.plan.is_whole() {
            self.stale = true;
        } else if !self.plan.is_alive() {
            self.inbox.put(Letter::Broken);
            self.stale = true;
        }
    }

    fn lose(&self, loss: Loss, out: &mut Vec<Hint>) {
        out.extend(self.asked.iter().map(|root| Hint::Lost { root: root.path.clone(), loss }));
    }

    /// Watches these roots from now on, and no others; roots that are new are for the caller to scan.
    ///
    /// # Errors
    /// None at present.
    pub fn set_roots(&mut self, roots: &[WatchRoot]) -> Result<(), WatchError> {
        self.asked = roots.to_vec();
        let mut hints = Vec::new();
        self.rebuild(&mut hints);
        self.pending.append(&mut hints);
        Ok(())
    }

    /// Puts everything in place for the roots as they are now. The old watches end after the new ones have begun, and
    /// what they told last stays in the inbox; roots that lead elsewhere are reported whole.
    fn rebuild(&mut self, out: &mut Vec<Hint>) {
        let before = std::mem::replace(&mut self.plan, Plan::new(&self.asked, &self.inbox));
        self.stale = self.plan.is_overtaken(&self.asked);
        for root in &self.plan.roots {
            let same = |old: &&Root| old.path == root.path;
            if before.roots.iter().find(same).is_some_and(|old| old != root) {
                out.push(root.itself(What::MOVED));
            }
        }
        for new in &self.plan.coverage {
            let same = |old: &&Coverage| old.root == new.root && old.backend != new.backend;
            if before.coverage.iter().any(|old| same(&old)) {
                out.push(Hint::Lost { root: new.root.clone(), loss: Loss::OtherBackend });
            }
        }
    }

    /// Asks for everything that has happened by now. The systems keep no order among the directories that they watch, so
    /// that nothing which is read could prove it: [`Watcher::unheard`] names everything.
    pub fn catch_up(&mut self) {}

    /// Events name no process here, so it does not matter how far they have been read.
    pub fn is_drained(&self) -> bool {
        true
    }

    /// Whether all hints of what happened before the last [`Watcher::catch_up`] have been given out, as far as there are
    /// events of it that can be waited for.
    pub fn has_caught_up(&self) -> bool {
        !self.stale && self.pending.is_empty()
    }

    /// Places of which no event tells everything: a scan of them has to take the place of events.
    pub fn unheard(&self) -> Vec<RawPath> {
        self.asked.iter().map(|root| root.path.clone()).collect()
    }
}

impl Plan {
    fn new(asked: &[WatchRoot], inbox: &Arc<Inbox>) -> Plan {
        let roots: Vec<Root> = asked.iter().map(Root::find).collect();
        let made = notify::recommended_watcher(inbox::Slot(Arc::clone(inbox)));
        let (mut backend, broken) = match made {
            Ok(backend) => (Some(backend), None),
            Err(error) => (None, Some(error.to_string())),
        };
        let mut placed: Vec<(PathBuf, RecursiveMode)> = Vec::new();
        let mut coverage: Vec<Coverage> = roots
            .iter()
            .map(|root| {
                let why = match &mut backend {
                    Some(backend) => watch(backend, root, &mut placed),
                    None => broken.clone(),
                };
                let polled = why.as_ref().map(|_| Backend::Polling);
                let backend = polled.unwrap_or(BACKEND);
                let blind = crate::watching::coverage::blind(backend, why);
                Coverage { root: root.path.clone(), place: root.path.clone(), backend, tested: false, blind }
            })
            .collect();
        coverage.sort_by(|a, b| a.root.cmp(&b.root));
        Plan { roots, coverage, placed, backend }
    }

    /// Whether a root has moved since it was looked for: of what happened before the watches were in place no event tells.
    fn is_overtaken(&self, asked: &[WatchRoot]) -> bool {
        asked.iter().zip(&self.roots).any(|(asked, root)| Root::find(asked) != *root)
    }

    /// Whether events tell of every root.
    fn is_whole(&self) -> bool {
        self.coverage.iter().all(|part| part.backend == BACKEND)
    }

    /// Whether the library still watches what it was given.
    fn is_alive(&self) -> bool {
        let Some(backend) = &self.backend else { return false };
        let watched = backend.watched_paths().unwrap_or_default();
        self.placed.iter().all(|(place, _)| watched.iter().any(|(path, _)| path == place))
    }
}

/// Watches what belongs to a root; why that is not possible, if it is not.
fn watch(
    backend: &mut RecommendedWatcher,
    root: &Root,
    placed: &mut Vec<(PathBuf, RecursiveMode)>,
) -> Option<String> {
    let places = root.watches();
    if places.is_empty() {
        return Some(format!("{} is not used: no directory above it exists", BACKEND.name()));
    }
    for (place, mode) in places {
        let covered = placed
            .iter()
            .any(|(other, how)| *other == place && (*how == mode || *how == RecursiveMode::Recursive));
        if covered {
            continue;
        }
        if let Err(error) = backend.watch(&place, mode) {
            return Some(format!("{} is not used: {error}", BACKEND.name()));
        }
        placed.push((place, mode));
    }
    None
}

/// Lets the calling thread run before ordinary ones. False: that is left to the system here.
pub fn raise_priority() -> bool {
    false
}
