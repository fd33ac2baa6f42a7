//! A single path whose content matters: a config.
//!
//! In: a path, which may lead through links and be a link. Out: that what it leads to may be another by now. The
//! directories on the way are watched, so a file that is replaced under its name (as editors do), or a link that is
//! turned elsewhere, is noticed like one that is written to.

use super::chain::{Chain, Told};
use super::places::{self, Root, WatchRoot};
use super::{WatchError, What};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::FileType;
use rustix::io::Errno;
use rustix::time::Timespec;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};
use waxseal_model::RawPath;

/// How many links a path may be, one leading to the next.
const LINKS: usize = 16;

/// Watches what a path leads to.
#[derive(Debug)]
pub struct PathWatch {
    path: RawPath,
    chain: Chain,
    /// The path, and each path that a link at its end leads to.
    hops: Vec<Root>,
}

impl PathWatch {
    /// Begins to watch.
    ///
    /// # Errors
    /// When directories on the way cannot be watched: inotify watches or instances are used up.
    pub fn new(path: &RawPath) -> Result<PathWatch, WatchError> {
        let mut chain = Chain::new();
        let mut hops = Vec::new();
        let mut next = Some(path.clone());
        while let Some(path) = next.take().filter(|_| hops.len() < LINKS) {
            let root = WatchRoot { path, cross_filesystems: false };
            let (hop, object) = places::resolve(&root, &mut |dir, real, _, last| chain.add(dir, real, last))
                .map_err(WatchError::Root)?;
            let is_link = rustix::fs::fstat(&object)
                .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Symlink);
            if is_link && let Ok(target) = rustix::fs::readlinkat(&object, "", Vec::with_capacity(256)) {
                let target = target.as_bytes();
                let from = if target.starts_with(b"/") { None } else { hop.real.parent() };
                next = Some(from.map_or_else(|| RawPath::new(target), |dir| dir.join(target)));
            }
            hops.push(hop);
        }
        if chain.as_fd().is_none() || !chain.missed.is_empty() {
            return Err(WatchError::Root(Errno::NOSPC));
        }
        Ok(PathWatch { path: path.clone(), chain, hops })
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

    /// Waits for events; whether any concerned the path. Then the way is watched as it leads now.
    fn listen(&mut self, timeout: Option<Duration>) -> Result<bool, WatchError> {
        let timeout = timeout.map(|timeout| Timespec {
            tv_sec: timeout.as_secs().min(i32::MAX as u64) as i64,
            tv_nsec: timeout.subsec_nanos().into(),
        });
        let Some(fd) = self.chain.as_fd() else { return Err(WatchError::Root(Errno::NOSPC)) };
        match poll(&mut [PollFd::from_borrowed_fd(fd.as_fd(), PollFlags::IN)], timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(WatchError::Wait(errno)),
        }
        let mut told = Told::default();
        self.chain.read(&self.hops, &mut told);
        // Whoever writes also closes: what is half written is of no interest.
        let touched = told.roots.iter().any(|(_, what)| *what != What::CONTENT);
        if !(touched || told.moved || told.lost) {
            return Ok(false);
        }
        *self = PathWatch::new(&self.path)?;
        Ok(true)
    }
}
