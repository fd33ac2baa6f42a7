//! The programs in the kernel, and what they write.
//!
//! In: nothing but the right to load them (`CAP_BPF` and `CAP_PERFMON`, or `CAP_SYS_ADMIN`). Out: the bytes of records,
//! and whether some were lost.

use super::btf;
use aya::maps::{Array, MapData, RingBuf};
use aya::programs::BtfTracePoint;
use aya::{Btf, Ebpf, EbpfLoader};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};
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

/// Where the kernel describes its types.
const TYPES: &str = "/sys/kernel/btf/vmlinux";
/// How long a record that another processor is just writing is waited for.
const PATIENCE: Duration = Duration::from_millis(200);

/// The programs, attached until dropped.
pub struct Feed {
    ring: RingBuf<MapData>,
    positions: Positions,
    lost: Array<MapData, u64>,
    lost_before: u64,
    _programs: Ebpf,
}

impl std::fmt::Debug for Feed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Feed").field("lost", &self.lost_before).finish_non_exhaustive()
    }
}

/// The kernel's description of its types, some megabytes.
#[expect(clippy::disallowed_methods, reason = "a file of the kernel's own, at a fixed place")]
fn types() -> std::io::Result<Vec<u8>> {
    std::fs::read(TYPES)
}

impl Feed {
    /// Loads the programs and attaches them.
    ///
    /// # Errors
    /// Why not, in a sentence: no right, a kernel without BPF or types, lockdown.
    pub fn attach() -> Result<Feed, String> {
        let raw =
            types().map_err(|error| format!("the kernel does not describe its types: {TYPES}: {error}"))?;
        let excerpt = btf::excerpt(&raw, &PROGRAMS.map(|(_, tracepoint, _)| tracepoint));
        drop(raw);
        if let Some(btf) = excerpt.and_then(|excerpt| Btf::parse(&excerpt, Default::default()).ok())
            && let Ok(feed) = Feed::load(&btf)
        {
            return Ok(feed);
        }
        let btf = Btf::from_sys_fs().map_err(tell)?;
        Feed::load(&btf)
    }

    fn load(btf: &Btf) -> Result<Feed, String> {
        let mut programs = EbpfLoader::new().btf(Some(btf)).load(OBJECT).map_err(tell)?;
        for (name, tracepoint, is_optional) in PROGRAMS {
            let program = programs.program_mut(name).ok_or("a program is missing")?;
            let program: &mut BtfTracePoint = program.try_into().map_err(tell)?;
            let attached = program.load(tracepoint, btf).and_then(|()| program.attach());
            if let (Err(error), false) = (attached, is_optional) {
                return Err(format!("{tracepoint}: {}", tell(error)));
            }
        }
        let mut take = |name| programs.take_map(name).ok_or("a map is missing");
        let ring = RingBuf::try_from(take("RECORDS")?).map_err(tell)?;
        let lost = Array::try_from(take("LOST")?).map_err(tell)?;
        let positions = Positions::of(ring.as_fd()).map_err(tell)?;
        Ok(Feed { ring, positions, lost, lost_before: 0, _programs: programs })
    }

    /// Hands on every record that was begun before the call; whether all were there. When not, some were lost.
    pub fn drain(&mut self, each: &mut dyn FnMut(&[u8])) -> bool {
        let end = self.positions.written();
        let mut impatient: Option<Instant> = None;
        let mut any = false;
        while self.positions.read() < end {
            if let Some(record) = self.ring.next() {
                each(&record);
                (any, impatient) = (true, None);
                continue;
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

/// How far the ring has been written and read. It is described in the kernel's `Documentation/bpf/ringbuf.rst`: a page
/// with the reader's position, then one with the writer's.
struct Positions {
    reader: NonNull<AtomicU64>,
    writer: NonNull<AtomicU64>,
    page: usize,
}

// SAFETY: the pages are only read, through atomics, and stay mapped until this is dropped.
#[allow(unsafe_code, reason = "the pointers are to pages that any thread may read")]
unsafe impl Send for Positions {}

impl Positions {
    fn of(ring: BorrowedFd<'_>) -> std::io::Result<Positions> {
        let page = rustix::param::page_size();
        let reader = map(ring, page, 0)?;
        let writer = map(ring, page, page).inspect_err(|_| unmap(reader, page))?;
        Ok(Positions { reader, writer, page })
    }

    fn read(&self) -> u64 {
        load(self.reader)
    }

    fn written(&self) -> u64 {
        load(self.writer)
    }
}

impl Drop for Positions {
    fn drop(&mut self) {
        unmap(self.reader, self.page);
        unmap(self.writer, self.page);
    }
}

#[allow(unsafe_code, reason = "the kernel's positions lie in pages that it shares")]
fn load(position: NonNull<AtomicU64>) -> u64 {
    // SAFETY: it points to the beginning of a mapped page, and so is aligned; the kernel writes it as one word.
    unsafe { position.as_ref() }.load(Ordering::Acquire)
}

#[allow(unsafe_code, reason = "the kernel's positions lie in pages that it shares")]
fn map(ring: BorrowedFd<'_>, page: usize, offset: usize) -> std::io::Result<NonNull<AtomicU64>> {
    let offset = libc::off_t::try_from(offset).map_err(std::io::Error::other)?;
    // SAFETY: a new mapping, for reading; the descriptor is open.
    let address = unsafe {
        libc::mmap(std::ptr::null_mut(), page, libc::PROT_READ, libc::MAP_SHARED, ring.as_raw_fd(), offset)
    };
    if address == libc::MAP_FAILED {
        return Err(std::io::Error::last_os_error());
    }
    NonNull::new(address.cast()).ok_or_else(|| std::io::Error::other("no address"))
}

#[allow(unsafe_code, reason = "the kernel's positions lie in pages that it shares")]
fn unmap(address: NonNull<AtomicU64>, page: usize) {
    // SAFETY: it was mapped by `map` with this size, and nothing refers to it any more.
    unsafe { libc::munmap(address.as_ptr().cast(), page) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_excerpt_of_the_kernels_types_is_enough() {
        let Ok(raw) = types() else {
            println!("SKIPPED the_excerpt_of_the_kernels_types_is_enough: this kernel describes no types");
            return;
        };
        if let Err(why) = Feed::attach() {
            println!("SKIPPED the_excerpt_of_the_kernels_types_is_enough: BPF is refused here: {why}");
            return;
        }
        let excerpt = btf::excerpt(&raw, &PROGRAMS.map(|(_, tracepoint, _)| tracepoint)).unwrap();
        println!("{} of {} bytes", excerpt.len(), raw.len());
        let btf = Btf::parse(&excerpt, Default::default()).unwrap();
        Feed::load(&btf).unwrap();
    }
}
