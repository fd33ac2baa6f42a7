//! What is left to do, and which of it comes next.

use super::descriptors::{Descriptors, Opened};
use super::node::Node;
use crate::entry::Look;
use std::collections::BinaryHeap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use waxseal_os::files::FileError;

/// A directory to list.
pub(super) struct DirTask<D> {
    pub node: Arc<Node<D>>,
    pub at: At,
}

/// How a directory is reached.
pub(super) enum At {
    /// It is open already.
    Open(Opened),
    /// Descriptors are scarce: open it below this one when its turn comes.
    Below(Arc<Opened>, Box<[u8]>),
    /// Descriptors are so scarce that not even this could stay open: by its path.
    ByPath,
    /// It could not be opened.
    Closed(FileError),
}

/// A regular file to read.
pub(super) struct FileTask<D> {
    pub node: Arc<Node<D>>,
    /// Which entry of the node.
    pub index: usize,
    /// The directory that holds it; absent when it could not be kept open.
    pub dir: Option<Arc<Opened>>,
    pub name: Box<[u8]>,
    /// The size by stat, in bytes; 0 while nobody has asked.
    pub size: u64,
    pub look: Look,
    /// How often it was tried.
    pub attempt: u32,
}

/// Ordered by size, for the pool of large files.
pub(super) struct BySize<D>(pub FileTask<D>);

impl<D> PartialEq for BySize<D> {
    fn eq(&self, other: &Self) -> bool {
        self.0.size == other.0.size
    }
}
impl<D> Eq for BySize<D> {}
impl<D> PartialOrd for BySize<D> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl<D> Ord for BySize<D> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.size.cmp(&other.0.size)
    }
}

/// Files up to this many bytes are read whole and in batches.
pub(super) const SMALL: u64 = 64 * 1024;
/// How many small files make a batch where descriptors are plenty, and how many bytes at most.
pub(super) const BATCH: usize = 64;
pub(super) const BATCH_BYTES: u64 = 192 * 1024;
/// How many large files are streamed side by side by one worker, where descriptors are plenty.
pub(super) const LANES: usize = 16;
/// When so many files wait, files come before directories: memory stays bounded.
const MANY_FILES: usize = 2048;
/// When so many large files wait although all streams are busy, others stream as well, in few lanes each: every file
/// that waits keeps what is known of its directory in memory.
const MANY_LARGE: usize = 128;
/// The lanes of those: enough for the widest hashing of most processors, in a fourth of the memory.
const FEW_LANES: usize = 4;

/// What one worker has found and not yet shared: it works on this first, so that workers meet at the queue
/// only when one of them has nothing left.
pub(super) struct Own<D> {
    pub dirs: Vec<DirTask<D>>,
    pub small: Vec<FileTask<D>>,
    batch: usize,
}

impl<D> Own<D> {
    /// The next of its own work: a whole batch, else a directory, else what is left.
    pub fn next(&mut self) -> Option<Work<D>> {
        if self.small.is_empty() {
            // One huge directory must not hold memory for the rest of the scan.
            self.small.shrink_to(MANY_FILES);
        }
        if self.small.len() >= self.batch {
            return Some(Work::Batch(batch(&mut self.small, self.batch)));
        }
        if let Some(dir) = self.dirs.pop() {
            return Some(Work::Directory(dir));
        }
        if self.small.is_empty() { None } else { Some(Work::Batch(batch(&mut self.small, self.batch))) }
    }
}

/// Takes a batch from the end.
fn batch<D>(small: &mut Vec<FileTask<D>>, most: usize) -> Vec<FileTask<D>> {
    let mut bytes = 0;
    let from_end = small.iter().rev().take(most).take_while(|file| {
        bytes += file.size;
        bytes <= BATCH_BYTES
    });
    let keep = small.len() - from_end.count().max(1);
    small.split_off(keep)
}

/// What a worker is given.
pub(super) enum Work<D> {
    Directory(DirTask<D>),
    /// Small files, to be read whole.
    Batch(Vec<FileTask<D>>),
    /// Large files, to be streamed in so many lanes; more are to be had by [`Queue::next_large`].
    Stream(Vec<FileTask<D>>, usize),
    /// A file that moved, to be tried again.
    Again(FileTask<D>),
}

struct State<D> {
    dirs: Vec<DirTask<D>>,
    small: Vec<FileTask<D>>,
    large: BinaryHeap<BySize<D>>,
    late: Vec<(Instant, FileTask<D>)>,
    working: usize,
    streaming: usize,
    stopped: bool,
    /// How many small files make a batch.
    batch: usize,
    /// How many large files one worker streams at once.
    lanes: usize,
}

/// The work of one scan.
pub(super) struct Queue<D> {
    state: Mutex<State<D>>,
    /// There is more work, or none will come: for the workers.
    changed: Condvar,
    /// The last work has been done: for who waits for the end.
    over: Condvar,
    most_streams: usize,
    /// Who may have how much open.
    pub descriptors: Descriptors,
    /// Workers that wait for work. Read without the lock: a stale value only costs a little time.
    idle: AtomicUsize,
    /// Large files that wait; read without the lock as well.
    large: AtomicUsize,
}

impl<D> Queue<D> {
    pub fn new(most_streams: usize, descriptors: Descriptors) -> Queue<D> {
        let files = descriptors.files;
        Queue {
            state: Mutex::new(State {
                dirs: Vec::new(),
                small: Vec::new(),
                large: BinaryHeap::new(),
                late: Vec::new(),
                // Whoever starts the scan counts as working until the roots are queued.
                working: 1,
                streaming: 0,
                stopped: false,
                batch: BATCH.min(files),
                lanes: LANES.min(files),
            }),
            changed: Condvar::new(),
            over: Condvar::new(),
            most_streams,
            descriptors,
            idle: AtomicUsize::new(0),
            large: AtomicUsize::new(0),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<D>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a worker begins with.
    pub fn own(&self) -> Own<D> {
        Own { dirs: Vec::new(), small: Vec::new(), batch: BATCH.min(self.descriptors.files) }
    }

    /// Adds what one directory held: large files for all, the rest for the worker that found it, unless others
    /// have nothing to do.
    pub fn add(&self, dirs: Vec<DirTask<D>>, large: Vec<FileTask<D>>, own: &mut Own<D>) {
        own.dirs.extend(dirs.into_iter().rev());
        let idle = self.idle.load(Ordering::Relaxed) > 0;
        let shared = idle && (own.dirs.len() > 1 || own.small.len() > 2 * own.batch);
        if large.is_empty() && !shared {
            return;
        }
        let mut state = self.lock();
        state.large.extend(large.into_iter().map(BySize));
        self.large.store(state.large.len(), Ordering::Relaxed);
        // Those who were given some and have not come for it yet count as idle still: more for them would only make
        // more directories wait half done.
        if shared && state.dirs.is_empty() && state.small.len() < own.batch {
            // The outermost directories lead to the most work.
            state.dirs.extend(own.dirs.drain(..own.dirs.len() / 2));
            if own.small.len() > 2 * own.batch {
                state.small.extend(own.small.drain(..own.small.len() / 2));
            }
            self.changed.notify_all();
        } else {
            self.changed.notify_one();
        }
    }

    /// Puts work where any worker finds it.
    pub fn put_back(&self, work: Work<D>) {
        let mut state = self.lock();
        match work {
            Work::Directory(dir) => state.dirs.push(dir),
            Work::Batch(files) => state.small.extend(files),
            Work::Stream(files, _) => state.large.extend(files.into_iter().map(BySize)),
            Work::Again(file) => state.small.push(file),
        }
        self.changed.notify_all();
    }

    /// Large files to stream, when there are enough to fill the lanes.
    pub fn full_stream(&self) -> Option<Work<D>> {
        if self.large.load(Ordering::Relaxed) < LANES.min(self.descriptors.files) {
            return None;
        }
        let mut state = self.lock();
        let work = state.full_stream(self.most_streams);
        self.large.store(state.large.len(), Ordering::Relaxed);
        work
    }

    /// Puts a file that turned out to be large where any worker finds it.
    pub fn add_large(&self, file: FileTask<D>) {
        let mut state = self.lock();
        state.large.push(BySize(file));
        self.large.store(state.large.len(), Ordering::Relaxed);
        self.changed.notify_one();
    }

    /// Puts a file that moved aside for a while.
    pub fn later(&self, file: FileTask<D>, pause: Duration) {
        self.lock().late.push((Instant::now() + pause, file));
        self.changed.notify_one();
    }

    /// The largest file that waits to be streamed.
    pub fn next_large(&self) -> Option<FileTask<D>> {
        if self.large.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let mut state = self.lock();
        let file = state.large.pop().map(|file| file.0);
        self.large.store(state.large.len(), Ordering::Relaxed);
        file
    }

    /// The next work; blocks while others may still find some. `None` when all is done. What is given must be
    /// given back by [`Queue::finished`].
    pub fn take(&self) -> Option<Work<D>> {
        let mut state = self.lock();
        loop {
            if state.stopped {
                return None;
            }
            if let Some(work) = state.next(self.most_streams) {
                self.large.store(state.large.len(), Ordering::Relaxed);
                state.working += 1;
                return Some(work);
            }
            let due = state.late.iter().map(|(due, _)| *due).min();
            if due.is_none() && state.working == 0 {
                self.changed.notify_all();
                self.over.notify_all();
                return None;
            }
            let wait =
                due.map_or(Duration::from_secs(1), |due| due.saturating_duration_since(Instant::now()));
            // Whoever finds more work now gives some away.
            self.idle.fetch_add(1, Ordering::Relaxed);
            let (woken, _) = self.changed.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner);
            self.idle.fetch_sub(1, Ordering::Relaxed);
            state = woken;
        }
    }

    /// A worker has done what it was given and all that it found.
    pub fn finished(&self) {
        let mut state = self.lock();
        state.working -= 1;
        if state.working == 0 {
            self.changed.notify_all();
            self.over.notify_all();
        }
    }

    /// A stream has ended.
    pub fn stream_ended(&self) {
        self.lock().streaming -= 1;
    }

    /// Waits for the end of the scan, at most so long: whether it is still going on.
    pub fn wait_until_done(&self, at_most: Duration) -> bool {
        let state = self.lock();
        if state.is_over() {
            return false;
        }
        let (state, _) = self
            .over
            .wait_timeout_while(state, at_most, |s| !s.is_over())
            .unwrap_or_else(PoisonError::into_inner);
        !state.is_over()
    }

    /// Whether work waits for a worker.
    pub fn has_waiting_work(&self) -> bool {
        let state = self.lock();
        state.dirs.len() + state.small.len() + state.large.len() > 0
    }

    /// Ends the scan early.
    pub fn stop(&self) {
        self.lock().stopped = true;
        self.changed.notify_all();
        self.over.notify_all();
    }
}

impl<D> State<D> {
    fn is_over(&self) -> bool {
        let empty =
            self.dirs.is_empty() && self.small.is_empty() && self.large.is_empty() && self.late.is_empty();
        (self.stopped || empty) && self.working == 0
    }

    fn next(&mut self, most_streams: usize) -> Option<Work<D>> {
        let may_stream = self.streaming < most_streams;
        if self.small.len() >= self.batch {
            return Some(Work::Batch(batch(&mut self.small, self.batch)));
        }
        if let Some(work) = self.full_stream(most_streams) {
            return Some(work);
        }
        if self.small.len() + self.large.len() < MANY_FILES
            && let Some(dir) = self.dirs.pop()
        {
            return Some(Work::Directory(dir));
        }
        if may_stream && !self.large.is_empty() {
            return Some(self.stream());
        }
        if !self.small.is_empty() {
            return Some(Work::Batch(batch(&mut self.small, self.batch)));
        }
        if let Some(dir) = self.dirs.pop() {
            return Some(Work::Directory(dir));
        }
        let now = Instant::now();
        let due = self.late.iter().position(|(due, _)| *due <= now)?;
        Some(Work::Again(self.late.swap_remove(due).1))
    }

    /// As many large files as one worker streams; fewer where all streams are busy and too many wait.
    fn full_stream(&mut self, most_streams: usize) -> Option<Work<D>> {
        if self.streaming < most_streams {
            return (self.large.len() >= self.lanes).then(|| self.stream());
        }
        (self.large.len() > MANY_LARGE).then(|| self.stream_of(self.lanes.min(FEW_LANES), FEW_LANES))
    }

    /// Two workers at the end of a scan share what is left.
    fn stream(&mut self) -> Work<D> {
        let share = self.large.len().div_ceil(2).clamp(1, self.lanes);
        let share = if self.large.len() >= self.lanes { self.lanes } else { share };
        self.stream_of(share, self.lanes)
    }

    fn stream_of(&mut self, files: usize, lanes: usize) -> Work<D> {
        self.streaming += 1;
        let files = (0..files).filter_map(|_| self.large.pop()).map(|file| file.0).collect();
        Work::Stream(files, lanes.min(self.lanes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use waxseal_os::files::FileError;

    #[test]
    fn who_finds_work_gives_half_of_it_to_who_waits() {
        let queue = Queue::<()>::new(2, Descriptors::new(4096, 10, 2, BATCH));
        let dirs = |n: usize| {
            let task =
                |_| DirTask { node: Arc::new(Node::new(None, b"", ())), at: At::Closed(FileError::NotFound) };
            (0..n).map(task).collect::<Vec<_>>()
        };
        let mut own = queue.own();
        queue.add(dirs(4), Vec::new(), &mut own);
        assert_eq!(own.dirs.len(), 4, "nobody waits");
        std::thread::scope(|scope| {
            let taken = scope.spawn(|| matches!(queue.take(), Some(Work::Directory(_))));
            let patience = Instant::now() + Duration::from_secs(30);
            while queue.idle.load(Ordering::Relaxed) == 0 && Instant::now() < patience {
                std::thread::yield_now();
            }
            queue.add(dirs(4), Vec::new(), &mut own);
            let kept = own.dirs.len();
            queue.stop();
            assert_eq!(kept, 4);
            let _ = taken.join();
        });
        assert_eq!(queue.idle.load(Ordering::Relaxed), 0);
    }
}
