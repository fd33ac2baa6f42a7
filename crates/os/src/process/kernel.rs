//! The programs in the kernel, and what they write.
//!
//! In: nothing but the right to load them (`CAP_BPF` and `CAP_PERFMON`, or `CAP_SYS_ADMIN`). Out: the bytes of records,
//! and whether some were lost.

use super::btf;
use super::ring::{Next, Ring};
use aya::maps::{Array, Map, MapData};
use aya::programs::BtfTracePoint;
use aya::{Btf, Ebpf, EbpfLoader};
use rustix::fs::{Mode, OFlags};
use rustix::thread::UnshareFlags;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// What `cargo xtask bpf` made of `bpf/process.bpf.c`.
static OBJECT: &[u8] = aya::include_bytes_aligned!("../../bpf/process.bpf.o");

/// Each program, its tracepoint, and whether it can be done without.
const PROGRAMS: [(&str, &str, bool); 6] = [
    ("process_fork", "sched_process_fork", false),
    ("process_exec", "sched_process_exec", false),
    ("process_exit", "sched_process_exit", false),
    ("process_free", "sched_process_free", false),
    ("cgroup_made", "cgroup_mkdir", true),
    ("cgroup_entered", "cgroup_attach_task", true),
];

/// How many queues of events the programs can look at (`QUEUES`).
const QUEUES: usize = 8;
/// What they know of them: whose they are, how many there should be and how many are found, their descriptors, and where
/// they lie (`struct queues`).
type Queues = [u64; 3 + 2 * QUEUES];

/// How many bytes of records the ring holds (`RING_BYTES`).
const RING: usize = 2 << 20;

/// Where the kernel describes its types.
const TYPES: &str = "/sys/kernel/btf/vmlinux";
/// How the system says that something is not allowed (`EPERM`, `EACCES`).
const FORBIDDEN: [&str; 2] = ["(os error 1)", "(os error 13)"];
/// A directory that has none of the kernel's files.
const NOWHERE: &str = "/proc/self/fdinfo";
/// How long a record that another processor is just writing is waited for.
const PATIENCE: Duration = Duration::from_millis(200);

/// The programs, attached until dropped.
pub struct Feed {
    ring: Ring,
    lost: Array<MapData, u64>,
    lost_before: u64,
    events: Array<MapData, Queues>,
    _programs: Ebpf,
}

impl std::fmt::Debug for Feed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Feed").field("lost", &self.lost_before).finish_non_exhaustive()
    }
}

/// The kernel's description of its types, some megabytes.
fn types() -> std::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(TYPES, flags, Mode::empty())?)
}

/// What is needed of it.
fn excerpt(types: &OwnedFd) -> Option<Vec<u8>> {
    let mut read = |at: usize, size: usize| {
        let mut bytes = vec![0; size];
        let mut filled = 0;
        while let Some(room) = bytes.get_mut(filled..).filter(|room| !room.is_empty()) {
            let at = u64::try_from(at.checked_add(filled)?).ok()?;
            match rustix::io::retry_on_intr(|| rustix::io::pread(types, &mut *room, at)).ok()? {
                0 => return None,
                read => filled += read,
            }
        }
        Some(bytes)
    };
    btf::excerpt(&mut read, &PROGRAMS.map(|(_, tracepoint, _)| tracepoint))
}

/// A loader without the types that it reads as soon as it is made, all of them, which would take some 17 MiB: made where
/// they are not to be found.
fn loader<'a>() -> EbpfLoader<'a> {
    let made = std::thread::Builder::new().spawn(|| {
        // The root directory of this thread alone. Where that may not be, the types are read and let go again.
        if unshare_root().is_ok() {
            let _ = rustix::process::chroot(NOWHERE);
        }
        EbpfLoader::new()
    });
    made.ok().and_then(|thread| thread.join().ok()).unwrap_or_default()
}

/// Gives the calling thread a root and a working directory of its own.
#[allow(unsafe_code, reason = "what is unshared may matter to the safety of other code")]
fn unshare_root() -> rustix::io::Result<()> {
    // SAFETY: descriptors stay shared; only the calling thread, which is about to end, sees another root from here on.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::FS) }
}

impl Feed {
    /// Loads the programs and attaches them.
    ///
    /// # Errors
    /// Why not, in a sentence: no right, a kernel without BPF or types, lockdown.
    pub fn attach() -> Result<Feed, String> {
        let types =
            types().map_err(|error| format!("the kernel does not describe its types: {TYPES}: {error}"))?;
        let parse = |excerpt: Vec<u8>| Btf::parse(&excerpt, Default::default()).ok();
        if let Some(btf) = excerpt(&types).and_then(parse) {
            match Feed::load(&btf) {
                // What is forbidden stays so, with all types as with some.
                Err(why) if !FORBIDDEN.iter().any(|error| why.contains(error)) => {}
                other => return other,
            }
        }
        let btf = Btf::from_sys_fs().map_err(tell)?;
        Feed::load(&btf)
    }

    fn load(btf: &Btf) -> Result<Feed, String> {
        let mut programs = loader().btf(Some(btf)).load(OBJECT).map_err(tell)?;
        for (name, tracepoint, is_optional) in PROGRAMS {
            let program = programs.program_mut(name).ok_or("a program is missing")?;
            let program: &mut BtfTracePoint = program.try_into().map_err(tell)?;
            let attached = program.load(tracepoint, btf).and_then(|()| program.attach());
            if let (Err(error), false) = (attached, is_optional) {
                return Err(format!("{tracepoint}: {}", tell(error)));
            }
        }
        let mut take = |name| programs.take_map(name).ok_or("a map is missing");
        let Map::RingBuf(ring) = take("RECORDS")? else { return Err("the ring is none".into()) };
        let descriptor = ring.fd().as_fd().try_clone_to_owned().map_err(tell)?;
        let ring = Ring::of(descriptor, RING).map_err(tell)?;
        let lost = Array::try_from(take("LOST")?).map_err(tell)?;
        let events = Array::try_from(take("EVENTS")?).map_err(tell)?;
        Ok(Feed { ring, lost, lost_before: 0, events, _programs: programs })
    }

    /// Lets the programs see at each exec whether one of these queues of events (fanotify groups, of this process) holds
    /// any; whether they do from now on.
    pub fn watch_queues(&mut self, queues: &[BorrowedFd<'_>]) -> bool {
        let mut wanted: Queues = [0; 3 + 2 * QUEUES];
        if queues.is_empty() || queues.len() > QUEUES {
            return false;
        }
        let head = [u64::from(std::process::id()), queues.len() as u64, 0];
        let descriptors = queues.iter().map(|queue| u64::try_from(queue.as_raw_fd()).unwrap_or(u64::MAX));
        wanted.iter_mut().zip(head.into_iter().chain(descriptors)).for_each(|(to, from)| *to = from);
        if self.events.set(0, wanted, 0).is_err() {
            return false;
        }
        // The program that sees it begin finds them.
        let Ok(thread) = std::thread::Builder::new().spawn(|| {}) else { return false };
        let _ = thread.join();
        self.events.get(&0, 0).is_ok_and(|found| found.get(2) == Some(&(queues.len() as u64)))
    }

    /// Hands on every record that was begun before the call; whether all were there. When not, some were lost.
    pub fn drain(&mut self, each: &mut dyn FnMut(&[u8])) -> bool {
        let Ok(end) = self.ring.end() else { return false };
        let mut impatient: Option<Instant> = None;
        let mut any = false;
        while !self.ring.has_read(end) {
            match self.ring.next(each) {
                Ok(Next::Taken) => {
                    (any, impatient) = (true, None);
                    continue;
                }
                Ok(Next::Busy | Next::Empty) => {}
                Err(_) => return false,
            }
            // Another processor is in the midst of writing the next one.
            if impatient.get_or_insert_with(Instant::now).elapsed() > PATIENCE {
                return false;
            }
            std::thread::yield_now();
        }
        if !any {
            // Records are lost when the ring is full, and then there is something in it.
            return true;
        }
        let lost = self.lost.get(&0, 0).unwrap_or(u64::MAX);
        std::mem::replace(&mut self.lost_before, lost) == lost
    }
}

impl AsFd for Feed {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ring.as_fd()
    }
}

/// An error with its causes, in a line.
fn tell(error: impl std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    // The kernel's checker may have written pages.
    text.lines().next().unwrap_or_default().chars().take(300).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_excerpt_of_the_kernels_types_is_enough() {
        let Ok(types) = types() else {
            println!("SKIPPED the_excerpt_of_the_kernels_types_is_enough: this kernel describes no types");
            return;
        };
        if let Err(why) = Feed::attach() {
            println!("SKIPPED the_excerpt_of_the_kernels_types_is_enough: BPF is refused here: {why}");
            return;
        }
        let excerpt = excerpt(&types).unwrap();
        println!("{} bytes", excerpt.len());
        let btf = Btf::parse(&excerpt, Default::default()).unwrap();
        Feed::load(&btf).unwrap();
    }
}
