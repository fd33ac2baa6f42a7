//! What the machine can do at all: a bare walk, with reading, with one stream of SHA-256 per thread. No database, no
//! safety, nothing kept: whoever comes near it has no overhead, whoever passes it has a better hash.

use anyhow::{Context, Result, anyhow};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RawDir, Statx, StatxFlags};
use sha2::{Digest, Sha256};
use std::collections::BinaryHeap;
use std::ffi::{CStr, CString};
use std::mem::MaybeUninit;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

/// What to do, and where.
#[derive(clap::Args)]
pub struct Options {
    what: What,
    dir: PathBuf,
    /// Threads; two for a full cache, more for an empty one
    #[arg(long, default_value_t = 2)]
    threads: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum What {
    /// getdents and statx of every entry
    Walk,
    /// also open and read every regular file
    Read,
    /// also hash it
    Sha256,
}

/// Files from this size on are shared out one by one, the largest first; smaller ones are read where they are found.
const LARGE: u64 = 128 << 10;

/// Walks the tree and prints what it held.
pub fn run(options: &Options) -> Result<ExitCode> {
    let root = CString::new(options.dir.as_os_str().as_encoded_bytes())?;
    let device = device(&statx(CWD, &root)?);
    let queue = Queue::new(root);
    let counts: Vec<Result<Count>> = thread::scope(|scope| {
        let work = || Worker::new(options.what, device, &queue).run();
        let threads: Vec<_> = (0..options.threads.max(1)).map(|_| scope.spawn(work)).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| Err(anyhow!("a thread panicked"))))
            .collect()
    });
    let mut total = Count::default();
    for count in counts {
        let count = count?;
        total.entries += count.entries;
        total.bytes += count.bytes;
        total.digests ^= count.digests;
    }
    println!("{} entries, {} bytes, {:016x}", total.entries, total.bytes, total.digests);
    Ok(ExitCode::SUCCESS)
}

#[derive(Default)]
struct Count {
    entries: u64,
    bytes: u64,
    /// All digests together, so that none is computed for nothing.
    digests: u64,
}

/// What is still to do. Directories go first: they may hold large files.
struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    directories: Vec<CString>,
    files: BinaryHeap<(u64, CString)>,
    /// Threads that may still bring more.
    busy: usize,
}

enum Job {
    Directory(CString),
    File(CString),
}

impl Queue {
    fn new(root: CString) -> Self {
        let state = State { directories: vec![root], files: BinaryHeap::new(), busy: 0 };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next piece of work, or the end of it.
    fn take(&self) -> Option<Job> {
        let mut state = self.lock();
        loop {
            let directory = state.directories.pop().map(Job::Directory);
            let job = directory.or_else(|| state.files.pop().map(|(_, file)| Job::File(file)));
            if job.is_some() {
                state.busy += 1;
                return job;
            }
            if state.busy == 0 {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Puts what a piece of work brought.
    fn finish(&self, directories: &mut Vec<CString>, files: &mut Vec<(u64, CString)>) {
        let mut state = self.lock();
        state.directories.append(directories);
        state.files.extend(files.drain(..));
        state.busy -= 1;
        drop(state);
        self.changed.notify_all();
    }
}

struct Worker<'a> {
    what: What,
    device: (u32, u32),
    queue: &'a Queue,
    count: Count,
    entries: Vec<MaybeUninit<u8>>,
    content: Vec<u8>,
}

impl<'a> Worker<'a> {
    fn new(what: What, device: (u32, u32), queue: &'a Queue) -> Self {
        let (entries, content) = (vec![MaybeUninit::uninit(); 64 << 10], vec![0; 128 << 10]);
        Self { what, device, queue, count: Count::default(), entries, content }
    }

    fn run(mut self) -> Result<Count> {
        let (mut directories, mut files) = (Vec::new(), Vec::new());
        while let Some(job) = self.queue.take() {
            let done = match &job {
                Job::Directory(path) => self.walk(path, &mut directories, &mut files),
                Job::File(path) => self.read(CWD, path),
            };
            self.queue.finish(&mut directories, &mut files);
            done.with_context(|| match job {
                Job::Directory(path) | Job::File(path) => path.to_string_lossy().into_owned(),
            })?;
        }
        Ok(self.count)
    }

    fn walk(
        &mut self,
        path: &CStr,
        directories: &mut Vec<CString>,
        files: &mut Vec<(u64, CString)>,
    ) -> Result<()> {
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = rustix::fs::open(path, flags, Mode::empty())?;
        let mut buffer = std::mem::take(&mut self.entries);
        let mut list = RawDir::new(&directory, &mut buffer);
        while let Some(entry) = list.next() {
            let entry = entry?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            self.count.entries += 1;
            let stat = statx(&directory, name)?;
            match FileType::from_raw_mode(u32::from(stat.stx_mode)) {
                FileType::Directory if device(&stat) == self.device => directories.push(join(path, name)?),
                FileType::RegularFile if self.what == What::Walk => {}
                FileType::RegularFile if stat.stx_size >= LARGE => {
                    files.push((stat.stx_size, join(path, name)?))
                }
                FileType::RegularFile => self.read(&directory, name)?,
                _ => {}
            }
        }
        self.entries = buffer;
        Ok(())
    }

    fn read(&mut self, directory: impl AsFd, name: &CStr) -> Result<()> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file: OwnedFd = rustix::fs::openat(directory, name, flags, Mode::empty())?;
        let mut hash = Sha256::new();
        loop {
            let length = rustix::io::read(&file, &mut self.content)?;
            if length == 0 {
                break;
            }
            self.count.bytes += length as u64;
            if self.what == What::Sha256 {
                hash.update(self.content.get(..length).unwrap_or_default());
            }
        }
        if self.what == What::Sha256 {
            let digest = hash.finalize();
            let first = digest.first_chunk::<8>().copied().unwrap_or_default();
            self.count.digests ^= u64::from_le_bytes(first);
        }
        Ok(())
    }
}

fn statx(directory: impl AsFd, name: &CStr) -> rustix::io::Result<Statx> {
    rustix::fs::statx(directory, name, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::BASIC_STATS | StatxFlags::BTIME)
}

fn device(stat: &Statx) -> (u32, u32) {
    (stat.stx_dev_major, stat.stx_dev_minor)
}

fn join(directory: &CStr, name: &CStr) -> Result<CString> {
    Ok(CString::new([directory.to_bytes(), b"/", name.to_bytes()].concat())?)
}
