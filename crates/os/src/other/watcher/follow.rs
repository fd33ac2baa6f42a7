//! A single path whose content matters: a config.
//!
//! In: a path, which may be a link. Out: that what it leads to may be another by now. The directory that holds it and the
//! directory that holds what it leads to are watched.

use super::WatchError;
use super::inbox::{Inbox, Letter, Slot};
use crate::errno::{self, Errno};
use crate::paths;
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use std::sync::Arc;
use std::time::{Duration, Instant};
use waxseal_model::RawPath;

/// What is said when the library does not say why.
#[cfg(windows)]
const UNKNOWN: Errno = Errno(windows_sys::Win32::Foundation::ERROR_NOT_SUPPORTED);
#[cfg(not(windows))]
const UNKNOWN: Errno = Errno::NOTSUP;

/// Watches what a path leads to.
#[derive(Debug)]
pub struct PathWatch {
    path: RawPath,
    /// The paths whose events count.
    names: Vec<RawPath>,
    inbox: Arc<Inbox>,
    /// Watches as long as it lives.
    _backend: RecommendedWatcher,
}

impl PathWatch {
    /// Begins to watch.
    ///
    /// # Errors
    /// When the directory of the path, or of what it leads to, cannot be watched.
    pub fn new(path: &RawPath) -> Result<PathWatch, WatchError> {
        let inbox = Arc::new(Inbox::new(1024));
        let mut backend =
            notify::recommended_watcher(Slot(Arc::clone(&inbox))).map_err(|error| why(&error))?;
        let parent = path.parent().unwrap_or_else(|| path.clone());
        let named = paths::real(&paths::to_path(&parent)).unwrap_or(parent).join(path.name());
        let mut names = vec![named];
        names.extend(paths::real(&paths::to_path(path)));
        names.dedup();
        for dir in names.iter().filter_map(RawPath::parent) {
            backend.watch(&paths::to_path(&dir), RecursiveMode::NonRecursive).map_err(|error| why(&error))?;
        }
        Ok(PathWatch { path: path.clone(), names, inbox, _backend: backend })
    }

    /// Waits until something may have changed, and then until nothing more has for `quiet`, but no longer than
    /// `longest`: who writes a file does so in several steps.
    ///
    /// # Errors
    /// As [`PathWatch::new`]: from then on nothing is noticed any more.
    pub fn wait(&mut self, quiet: Duration, longest: Duration) -> Result<(), WatchError> {
        while !self.listen(None)? {}
        let deadline = Instant::now() + longest;
        let mut silent_at = Instant::now() + quiet;
        loop {
            let left = silent_at.min(deadline).saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            if self.listen(Some(left))? {
                silent_at = Instant::now() + quiet;
            }
        }
    }

    /// Waits for events; whether any concerned the path. Then the path is watched as it leads now.
    fn listen(&mut self, timeout: Option<Duration>) -> Result<bool, WatchError> {
        self.inbox.wait(timeout);
        let (letters, overflowed) = self.inbox.take();
        let ours = |letter: &Letter| match letter {
            Letter::Lost | Letter::Broken => true,
            Letter::Event(event) => {
                !matches!(event.kind, EventKind::Access(_))
                    && event.paths.iter().any(|path| self.names.contains(&paths::from_path(path)))
            }
        };
        if !overflowed && !letters.iter().any(ours) {
            return Ok(false);
        }
        *self = PathWatch::new(&self.path)?;
        Ok(true)
    }
}

fn why(error: &notify::Error) -> WatchError {
    WatchError::Root(match &error.kind {
        notify::ErrorKind::Io(error) => errno::of(error, UNKNOWN),
        _ => UNKNOWN,
    })
}
