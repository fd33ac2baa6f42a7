//! Filesystems that may never answer: those of servers (NFS, CIFS, …) and of programs (FUSE).
//!
//! In: a system call on such a filesystem. Out: its result, or [`FileError::NoAnswer`] once the deadline is over.
//!
//! A system call that waits for a dead server cannot be called back: no signal but the one that ends the whole
//! process wakes it. So it is made on a thread that can be left behind. As long as one is left behind, no further
//! call is made on that mount: at most one thread for each caller is ever lost, and when the server comes back, the
//! thread returns and the mount is used again.

use crate::files::FileError;
use crate::mounts::{Mount, MountWatch, Nature};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use waxseal_model::RawPath;

/// How long one system call may take, in milliseconds.
static DEADLINE: AtomicU64 = AtomicU64::new(30_000);
/// How long a helper thread waits for its next call before it ends.
const IDLE: Duration = Duration::from_secs(5);
/// What runs here needs little stack.
const STACK: usize = 128 * 1024;

/// Sets how long one system call on a filesystem of a server or a program may take, for the whole process.
pub fn set_deadline(deadline: Duration) {
    DEADLINE.store(u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
}

fn deadline() -> Duration {
    Duration::from_millis(DEADLINE.load(Ordering::Relaxed))
}

type Job = Box<dyn FnOnce() + Send>;

/// One mount that may never answer.
#[derive(Default)]
pub struct Remote {
    /// Helper threads that wait for a call.
    idle: Mutex<Vec<Sender<Job>>>,
    /// Calls that were left behind and have not returned.
    stuck: AtomicUsize,
    /// Descriptors to be closed when they have: closing a file may wait for the server as well.
    unclosed: Mutex<Vec<OwnedFd>>,
}

impl std::fmt::Debug for Remote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Remote").field("stuck", &self.stuck).finish_non_exhaustive()
    }
}

impl Remote {
    /// Whether a call has been left behind, so that no other is made.
    pub fn is_stuck(&self) -> bool {
        self.stuck.load(Ordering::Acquire) > 0
    }

    /// Makes a call, at most as long as the deadline says.
    ///
    /// # Errors
    /// [`FileError::NoAnswer`] when it takes longer, or when an earlier one is still waiting; otherwise what the call
    /// returns.
    pub fn call<T: Send + 'static>(
        self: &Arc<Self>,
        call: impl FnOnce() -> Result<T, FileError> + Send + 'static,
    ) -> Result<T, FileError> {
        let deadline = deadline();
        let no_answer = FileError::NoAnswer(deadline);
        if self.is_stuck() {
            return Err(no_answer);
        }
        let (give, take) = mpsc::channel();
        // Set by whoever comes first: the end of the call, or the end of our patience.
        let over = Arc::new(AtomicBool::new(false));
        let (mount, ended) = (Arc::clone(self), Arc::clone(&over));
        let helper = self.helper(Box::new(move || {
            let result = call();
            let late = ended.swap(true, Ordering::AcqRel);
            // Nobody takes it when it comes late.
            let _ = give.send(result);
            if late && mount.stuck.fetch_sub(1, Ordering::AcqRel) == 1 {
                drop(std::mem::take(&mut *lock(&mount.unclosed)));
            }
        }))?;
        match take.recv_timeout(deadline) {
            Ok(result) => {
                lock(&self.idle).push(helper);
                result
            }
            Err(RecvTimeoutError::Disconnected) => Err(no_answer),
            Err(RecvTimeoutError::Timeout) => {
                self.stuck.fetch_add(1, Ordering::AcqRel);
                if over.swap(true, Ordering::AcqRel) {
                    // It ended at the last moment.
                    self.stuck.fetch_sub(1, Ordering::AcqRel);
                    return take.recv().unwrap_or(Err(no_answer));
                }
                Err(no_answer)
            }
        }
    }

    /// Gives the job to an idle thread, or to a new one.
    fn helper(&self, job: Job) -> Result<Sender<Job>, FileError> {
        let mut job = job;
        while let Some(helper) = lock(&self.idle).pop() {
            match helper.send(job) {
                Ok(()) => return Ok(helper),
                // It has been idle for so long that it ended.
                Err(refused) => job = refused.0,
            }
        }
        let (helper, jobs) = mpsc::channel();
        let thread = std::thread::Builder::new().name("remote".into()).stack_size(STACK);
        let spawned = thread.spawn(move || work(&jobs));
        spawned.map_err(|error| FileError::Os(Errno::from_io_error(&error).unwrap_or(Errno::AGAIN)))?;
        helper.send(job).map_err(|_| FileError::Os(Errno::AGAIN))?;
        Ok(helper)
    }
}

/// A descriptor on such a mount. Whatever is done with it, its closing included, is done by [`Remote::call`].
#[derive(Debug)]
pub(crate) struct FarFd {
    remote: Arc<Remote>,
    /// Empty only while it is dropped.
    fd: Option<Arc<OwnedFd>>,
}

impl FarFd {
    pub fn new(remote: Arc<Remote>, fd: OwnedFd) -> FarFd {
        FarFd { remote, fd: Some(Arc::new(fd)) }
    }

    /// Another descriptor on the same mount.
    pub fn sibling(&self, fd: OwnedFd) -> FarFd {
        FarFd::new(Arc::clone(&self.remote), fd)
    }

    /// The descriptor, for what cannot wait.
    pub fn near(&self) -> Option<BorrowedFd<'_>> {
        self.fd.as_ref().map(|fd| fd.as_fd())
    }

    pub fn call<T: Send + 'static>(
        &self,
        call: impl FnOnce(BorrowedFd<'_>) -> Result<T, FileError> + Send + 'static,
    ) -> Result<T, FileError> {
        let fd = self.fd.clone().ok_or(FileError::NotFound)?;
        self.remote.call(move || call(fd.as_fd()))
    }
}

impl Drop for FarFd {
    fn drop(&mut self) {
        // A call that was left behind has the last one, and closes it when it returns.
        let Some(fd) = self.fd.take().and_then(Arc::into_inner) else { return };
        if self.remote.is_stuck() {
            lock(&self.remote.unclosed).push(fd);
        } else {
            let _ = self.remote.call(move || {
                drop(fd);
                Ok(())
            });
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn work(jobs: &Receiver<Job>) {
    // It serves other threads as well than the one that began it.
    crate::priority::ordinary();
    while let Ok(job) = jobs.recv_timeout(IDLE) {
        job();
    }
}

/// The mounts of this process that may never answer, by where they are seen.
#[derive(Debug, Clone, Default)]
pub struct Mounts(Arc<BTreeMap<RawPath, (u64, Arc<Remote>)>>);

/// The latest table, and what tells that it is not the latest any more.
static TABLE: Mutex<Option<(Option<MountWatch>, Mounts)>> = Mutex::new(None);

impl Mounts {
    /// Those there are now. Costs one system call while nothing is mounted or unmounted.
    pub fn now() -> Mounts {
        let mut table = lock(&TABLE);
        let (watch, mounts) = table.get_or_insert_default();
        let fresh = match &watch {
            Some(watch) => watch.changed(),
            None => {
                *watch = MountWatch::new().ok();
                true
            }
        };
        if fresh {
            let read = watch.as_ref().and_then(|watch| watch.read().ok()).unwrap_or_default();
            *mounts = mounts.followed_by(read);
        }
        mounts.clone()
    }

    /// What is known of a mount stays known as long as it is mounted.
    fn followed_by(&self, table: Vec<Mount>) -> Mounts {
        let mut mounts = BTreeMap::new();
        for mount in table {
            // Of several at one place, the last hides the others.
            mounts.remove(&mount.point);
            if mount.nature() == Nature::Remote {
                let old = self.0.get(&mount.point).filter(|(id, _)| *id == mount.id);
                let remote = old.map_or_else(Arc::default, |(_, remote)| Arc::clone(remote));
                mounts.insert(mount.point, (mount.id, remote));
            }
        }
        Mounts(Arc::new(mounts))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The mount that holds an absolute path, if it is one that may never answer.
    pub fn holding(&self, path: &RawPath) -> Option<Arc<Remote>> {
        let above = self.0.iter().filter(|(point, _)| path.below(point).is_some());
        let nearest = above.max_by_key(|(point, _)| point.as_bytes().len());
        nearest.map(|(_, (_, remote))| Arc::clone(remote))
    }

    /// Those right inside a directory, by name. The directory is only asked for when there are any at all.
    pub fn inside(&self, directory: impl FnOnce() -> RawPath) -> Vec<(Vec<u8>, Arc<Remote>)> {
        if self.0.is_empty() {
            return Vec::new();
        }
        let directory = Some(directory());
        let inside = self.0.iter().filter(|(point, _)| point.parent() == directory);
        inside.map(|(point, (_, remote))| (point.name().to_vec(), Arc::clone(remote))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_of_servers_and_programs_are_found_by_path() {
        let table = crate::mounts::parse(
            b"20 1 0:1 / / rw - ext4 /dev/root rw\n\
              21 20 0:2 / /srv/nfs rw - nfs4 server:/x rw\n\
              22 21 0:3 / /srv/nfs/here rw - tmpfs none rw\n\
              23 20 0:4 / /home/u/mnt rw - fuse.sshfs u@h: rw\n\
              24 20 0:5 / /covered rw - fuse prog rw\n\
              25 24 0:6 / /covered rw - tmpfs none rw\n",
        );
        let mounts = Mounts::default().followed_by(table.clone());
        let path = |text: &str| RawPath::new(text.as_bytes());
        let nfs = mounts.holding(&path("/srv/nfs/a/b")).unwrap();
        assert!(Arc::ptr_eq(&nfs, &mounts.holding(&path("/srv/nfs/here/x")).unwrap()));
        for near in ["/", "/srv", "/srv/nfsx", "/covered/x"] {
            assert!(mounts.holding(&path(near)).is_none(), "{near}");
        }
        let inside = mounts.inside(|| path("/home/u"));
        assert_eq!(inside.iter().map(|(name, _)| &**name).collect::<Vec<_>>(), [b"mnt"]);
        assert!(mounts.inside(|| path("/home")).is_empty());
        // What is known of one stays known, until it is another.
        let later = mounts.followed_by(table);
        assert!(Arc::ptr_eq(&nfs, &later.holding(&path("/srv/nfs")).unwrap()));
        let other = later.followed_by(crate::mounts::parse(b"31 20 0:2 / /srv/nfs rw - nfs4 server:/x rw\n"));
        assert!(!Arc::ptr_eq(&nfs, &other.holding(&path("/srv/nfs")).unwrap()));
    }

    /// The deadline is one for the process, and so is this test.
    #[test]
    fn what_does_not_answer_is_left_behind_until_it_does() {
        set_deadline(Duration::from_millis(50));
        let mount = Arc::new(Remote::default());
        assert_eq!(mount.call(|| Ok(7)), Ok(7));
        assert_eq!(mount.call(|| Err::<(), _>(FileError::NotFound)), Err(FileError::NotFound));
        let (release, wait) = mpsc::channel::<()>();
        let (ended, end) = mpsc::channel();
        let stuck = mount.call(move || {
            let _ = wait.recv();
            let _ = ended.send(());
            Ok(())
        });
        assert_eq!(stuck, Err(FileError::NoAnswer(Duration::from_millis(50))));
        assert!(mount.is_stuck());
        // No other thread is lost to it.
        assert_eq!(mount.call(|| Ok(7)), Err(FileError::NoAnswer(Duration::from_millis(50))));
        drop(release);
        end.recv().unwrap();
        while mount.is_stuck() {
            std::thread::yield_now();
        }
        assert_eq!(mount.call(|| Ok(8)), Ok(8));
        set_deadline(Duration::from_secs(30));
    }
}
