//! The ring in which the programs in the kernel write their records.
//!
//! In: its map. Out: the bytes of each record, once. The ring is described in the kernel's
//! `Documentation/bpf/ringbuf.rst`: a page with the reader's position, one with the writer's, then the records, all of
//! them twice in a row so that none is cut by the end. What is mapped counts as memory of this process, so no more of the
//! records is mapped than is being read.

use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

/// How much of the records is mapped at a time, at least, in bytes.
const WINDOW: usize = 64 * 1024;
/// Before each record: its size, and a word that is the kernel's own.
const HEADER: usize = 8;
/// Set in the size while the record is being written.
const BUSY: u32 = 1 << 31;
/// Set in the size when the record is to be left out.
const DISCARD: u32 = 1 << 30;

/// The reader's end of the ring.
pub struct Ring {
    map: OwnedFd,
    read: Pages,
    written: Pages,
    /// How many bytes of records fit; a power of two.
    size: usize,
    page: usize,
    /// What is mapped of the records.
    window: Option<Pages>,
    /// Where the next record begins; positions count on beyond the size.
    position: usize,
}

/// What came of asking for a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// It was handed on, or left out.
    Taken,
    /// It is still being written.
    Busy,
    /// There is none.
    Empty,
}

impl Ring {
    /// The ring of this map, which holds so many bytes.
    ///
    /// # Errors
    /// When it cannot be mapped.
    pub fn of(map: OwnedFd, size: usize) -> Result<Ring, Errno> {
        let page = rustix::param::page_size();
        if !size.is_power_of_two() || size < page {
            return Err(Errno::INVAL);
        }
        let read = Pages::map(map.as_fd(), 0, page, ProtFlags::READ | ProtFlags::WRITE)?;
        let written = Pages::map(map.as_fd(), page, page, ProtFlags::READ)?;
        let position = read.position()?.load(Ordering::Acquire);
        Ok(Ring { map, read, written, size, page, window: None, position })
    }

    /// Up to where records have been begun.
    ///
    /// # Errors
    /// None that is known.
    pub fn end(&self) -> Result<usize, Errno> {
        Ok(self.written.position()?.load(Ordering::Acquire))
    }

    /// Whether all records have been read that were begun before then.
    pub fn has_read(&self, end: usize) -> bool {
        // Positions begin anew after the largest number.
        end.wrapping_sub(self.position).cast_signed() <= 0
    }

    /// Hands on the next record, if it is there.
    ///
    /// # Errors
    /// When it cannot be mapped, or is none.
    pub fn next(&mut self, each: &mut dyn FnMut(&[u8])) -> Result<Next, Errno> {
        if self.has_read(self.end()?) {
            return Ok(Next::Empty);
        }
        let at = self.position & (self.size - 1);
        let state = self.window(at, HEADER)?.state(at)?.load(Ordering::Acquire);
        if state & BUSY != 0 {
            return Ok(Next::Busy);
        }
        let length = usize::try_from(state & !DISCARD).map_err(|_| Errno::INVAL)?;
        if length > self.size - HEADER {
            return Err(Errno::INVAL);
        }
        if state & DISCARD == 0 {
            each(self.window(at, HEADER + length)?.bytes(at + HEADER, length)?);
        }
        self.position = self.position.wrapping_add((HEADER + length).next_multiple_of(8));
        self.read.position()?.store(self.position, Ordering::Release);
        Ok(Next::Taken)
    }

    /// The pages that hold so many bytes of records from there, and perhaps more.
    fn window(&mut self, at: usize, length: usize) -> Result<&Pages, Errno> {
        if !self.window.as_ref().is_some_and(|window| window.holds(at, length)) {
            let from = at & !(self.page - 1);
            let rest = 2 * self.size - from;
            let size = (at - from + length).max(WINDOW).next_multiple_of(self.page).min(rest);
            // Before the next: there is never more than one.
            self.window = None;
            // After the pages with the positions.
            let mut window = Pages::map(self.map.as_fd(), 2 * self.page + from, size, ProtFlags::READ)?;
            window.first = from;
            self.window = Some(window);
        }
        self.window.as_ref().ok_or(Errno::INVAL)
    }
}

impl AsFd for Ring {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.map.as_fd()
    }
}

/// Some pages of the ring, mapped.
struct Pages {
    start: NonNull<u8>,
    /// Which byte of the records is the first.
    first: usize,
    size: usize,
}

// SAFETY: nobody else has the address, and any thread may read what is mapped.
#[allow(unsafe_code, reason = "the pointer is to pages that any thread may read")]
unsafe impl Send for Pages {}

#[allow(unsafe_code, reason = "the ring lies in pages that the kernel shares")]
impl Pages {
    fn map(map: BorrowedFd<'_>, offset: usize, size: usize, access: ProtFlags) -> Result<Pages, Errno> {
        let offset = u64::try_from(offset).map_err(|_| Errno::INVAL)?;
        // SAFETY: the kernel chooses where, so that nothing else is touched.
        let start = unsafe { mmap(std::ptr::null_mut(), size, access, MapFlags::SHARED, map, offset) }?;
        Ok(Pages { start: NonNull::new(start.cast()).ok_or(Errno::NOMEM)?, first: 0, size })
    }

    /// Whether so many bytes from there are within.
    fn holds(&self, at: usize, length: usize) -> bool {
        at.checked_sub(self.first)
            .and_then(|from| from.checked_add(length))
            .is_some_and(|end| end <= self.size)
    }

    /// Where bytes lie that are within; aligned to eight bytes when they should be.
    fn at(&self, at: usize, length: usize) -> Result<NonNull<u8>, Errno> {
        if !self.holds(at, length) {
            return Err(Errno::INVAL);
        }
        // SAFETY: it is within the mapping, by the line above.
        Ok(unsafe { self.start.add(at - self.first) })
    }

    /// The reader's or the writer's position, at the beginning of its page.
    fn position(&self) -> Result<&AtomicUsize, Errno> {
        let word = self.at(0, size_of::<AtomicUsize>())?;
        // SAFETY: it is within the mapping, which lives as long as this, at the beginning of a page, and the kernel reads
        // and writes it as one word.
        Ok(unsafe { word.cast::<AtomicUsize>().as_ref() })
    }

    /// The size of the record that begins there, with its flags.
    fn state(&self, at: usize) -> Result<&AtomicU32, Errno> {
        let word = self.at(at, HEADER)?;
        if !word.cast::<AtomicU32>().is_aligned() {
            return Err(Errno::INVAL);
        }
        // SAFETY: it is within the mapping, which lives as long as this, and aligned; the kernel writes it as one word.
        Ok(unsafe { word.cast::<AtomicU32>().as_ref() })
    }

    /// The bytes of a record. The kernel does not touch them before it is told that they have been read, which
    /// [`Ring::next`] does after they are out of use.
    fn bytes(&self, at: usize, length: usize) -> Result<&[u8], Errno> {
        let start = self.at(at, length)?;
        // SAFETY: they are within the mapping, which lives as long as this, and nobody writes them meanwhile.
        Ok(unsafe { std::slice::from_raw_parts(start.as_ptr(), length) })
    }
}

impl Drop for Pages {
    #[allow(unsafe_code, reason = "the ring lies in pages that the kernel shares")]
    fn drop(&mut self) {
        // SAFETY: it was mapped with this size, and nothing refers to it any more.
        let _ = unsafe { munmap(self.start.as_ptr().cast(), self.size) };
    }
}
