//! What is to be known of the executables of those who wrote: the package that each belongs to, and its hash.
//!
//! In: writers, as events tell of them. Out: facts, worked out on a thread of its own while the change is looked at and
//! recorded, so that nobody waits for them. Only what is certain is told: the file must be the one that the process ran,
//! and must not have been changed since.

use crate::packages::Packages;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use waxseal_hash::Sha256;
use waxseal_model::Timestamp;
use waxseal_model::digest::Digest;
use waxseal_os::files::File;
use waxseal_os::process::{ExeFile, Executable, Key, Writer, open_executable};

/// How many writers wait to be looked at; of more, nothing is told.
const MOST_WAITING: usize = 1024;
/// Of how many writers the facts are kept.
const MOST_KNOWN: usize = 2048;
/// The hashes of how many files are kept.
const MOST_HASHES: usize = 256;
/// A larger file is not hashed, in bytes.
const MOST_BYTES: u64 = 512 << 20;
/// How much is read at a time.
const BUFFER: usize = 128 * 1024;

/// What is known of an executable.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    /// The package that owns it, as `name version`.
    pub package: Option<String>,
    /// Its SHA-256.
    pub hash: Option<Digest>,
}

/// A process, and the file that it ran.
type Question = (Key, u64, u64);

fn question(writer: &Writer) -> Option<Question> {
    let ExeFile { inode, since, .. } = writer.program.as_ref()?.file?;
    Some((writer.key, inode, since))
}

/// Works out facts.
#[derive(Debug, Default)]
pub struct Executables {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Arc<Writer>>,
    /// `None`: it waits, or is looked at.
    known: HashMap<Question, Option<Facts>>,
    /// The oldest first.
    order: VecDeque<Question>,
    /// How many are not known yet.
    open: usize,
    /// Somebody was told that something is not known yet.
    missed: bool,
    ending: bool,
}

impl Executables {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the executable of this writer looked at, unless it was or will be.
    pub fn ask(&self, writer: &Arc<Writer>) {
        let Some(question) = question(writer) else { return };
        let mut state = self.lock();
        if state.waiting.len() >= MOST_WAITING || state.known.contains_key(&question) {
            return;
        }
        if state.order.len() >= MOST_KNOWN
            && let Some(oldest) = state.order.pop_front()
            && state.known.remove(&oldest) == Some(None)
        {
            state.open -= 1;
        }
        state.known.insert(question, None);
        state.order.push_back(question);
        state.open += 1;
        state.waiting.push_back(Arc::clone(writer));
        drop(state);
        self.changed.notify_all();
    }

    /// The facts about the executable of this writer; `None` when they come later. Nothing at all is known of what was
    /// never asked.
    pub fn facts(&self, writer: &Writer) -> Option<Facts> {
        let mut state = self.lock();
        let facts = question(writer).and_then(|question| state.known.get(&question));
        match facts {
            Some(None) => {
                state.missed = true;
                None
            }
            Some(Some(facts)) => Some(facts.clone()),
            None => Some(Facts::default()),
        }
    }

    /// Waits until everything that was asked for is known, for at most so long.
    pub fn settle(&self, most: Duration) {
        let deadline = Instant::now() + most;
        let mut state = self.lock();
        while state.open > 0 && !state.ending {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Works until [`Executables::end`] is called. For a thread of its own. `late` is called when facts have come of which
    /// somebody was told that they are not known yet.
    pub fn serve(&self, late: &dyn Fn()) {
        let mut work = Work::default();
        loop {
            let mut state = self.lock();
            while state.waiting.is_empty() && !state.ending {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            if state.ending {
                return;
            }
            let Some(writer) = state.waiting.pop_front() else { continue };
            drop(state);
            let facts = work.facts(&writer);
            let mut state = self.lock();
            if let Some(known) = question(&writer).and_then(|question| state.known.get_mut(&question))
                && known.replace(facts).is_none()
            {
                state.open -= 1;
            }
            let is_late = state.waiting.is_empty() && std::mem::take(&mut state.missed);
            drop(state);
            self.changed.notify_all();
            if is_late {
                late();
            }
        }
    }

    /// Ends [`Executables::serve`]; what is open stays unknown.
    pub fn end(&self) {
        self.lock().ending = true;
        self.changed.notify_all();
    }
}

/// What tells a content from all others that a file had: device, inode, last change, size.
type Version = ((u32, u32), u64, Timestamp, u64);

#[derive(Debug, Default)]
struct Work {
    packages: Packages,
    hashes: HashMap<Version, Digest>,
}

impl Work {
    fn facts(&mut self, writer: &Writer) -> Facts {
        let Some(Executable { file, state, by_name }) = open_executable(writer) else {
            return Facts::default();
        };
        let exe = writer.program.as_ref().and_then(|program| program.exe.as_ref());
        let package = exe.filter(|_| by_name).and_then(|exe| self.packages.owner(exe));
        let device = (state.device.major, state.device.minor);
        let version = (device, state.inode, state.ctime, state.size);
        if let Some(hash) = self.hashes.get(&version) {
            return Facts { package, hash: Some(*hash) };
        }
        let hash = hash(&file, state.size);
        // It must not have been written to meanwhile.
        let hash = hash.filter(|_| file.stamp().is_ok_and(|stamp| stamp.ctime == state.ctime));
        if let Some(hash) = hash {
            if self.hashes.len() >= MOST_HASHES {
                self.hashes.clear();
            }
            self.hashes.insert(version, hash);
        }
        Facts { package, hash }
    }
}

fn hash(file: &File, size: u64) -> Option<Digest> {
    if size > MOST_BYTES {
        return None;
    }
    let (mut hasher, mut buffer, mut offset) = (Sha256::new(), vec![0; BUFFER], 0);
    loop {
        let read = file.read_at(&mut buffer, offset).ok()?;
        if read == 0 {
            return (offset == size).then(|| hasher.finish());
        }
        hasher.update(buffer.get(..read)?);
        offset = offset.saturating_add(u64::try_from(read).ok()?);
        if offset > size {
            return None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use waxseal_model::RawPath;
    use waxseal_os::process::{Program, Source, State as Of, Tally};

    fn writer(pid: u32) -> Arc<Writer> {
        let file = ExeFile { device: (0, 0), inode: u64::from(pid), since: 1 };
        let program = Program::new(Some(RawPath::new(*b"/x")), b"", false, Some(file), &Tally::default());
        let state = Of { uid: 0, login_uid: None, session: None, cgroup: 0, is_kernel: false };
        Arc::new(Writer {
            key: Key { pid, start: 1 },
            program: Some(program),
            earlier: Box::default(),
            earlier_cut: false,
            state,
            cgroup: None,
            parents: Box::default(),
            source: Source::ExecCache,
        })
    }

    #[test]
    fn what_is_asked_is_known_later_and_whoever_missed_it_is_called() {
        let executables = Executables::default();
        let (one, late) = (writer(1), AtomicUsize::new(0));
        assert_eq!(executables.facts(&one), Some(Facts::default()), "nobody asked");
        executables.ask(&one);
        executables.ask(&one);
        assert_eq!(executables.facts(&one), None);
        executables.settle(Duration::from_millis(1));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                executables.serve(&|| {
                    late.fetch_add(1, Ordering::SeqCst);
                })
            });
            executables.settle(Duration::from_secs(60));
            // There is no such process, and no such file.
            assert_eq!(executables.facts(&one), Some(Facts::default()));
            executables.ask(&writer(2));
            executables.settle(Duration::from_secs(60));
            executables.end();
        });
        assert_eq!(late.into_inner(), 1, "of the second one nobody was told anything");
    }

    #[test]
    fn what_waits_and_what_is_known_are_bounded() {
        let executables = Executables::default();
        for pid in 0..10_000 {
            executables.ask(&writer(pid));
        }
        assert_eq!(executables.lock().waiting.len(), MOST_WAITING);
        executables.lock().waiting.clear();
        for pid in 10_000..20_000 {
            executables.ask(&writer(pid));
            executables.lock().waiting.clear();
        }
        let state = executables.lock();
        assert_eq!((state.known.len(), state.order.len(), state.open), (MOST_KNOWN, MOST_KNOWN, MOST_KNOWN));
    }
}
