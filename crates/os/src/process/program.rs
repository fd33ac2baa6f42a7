//! What a process runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use waxseal_model::RawPath;

/// An executable and its arguments, as they were when the process became it. Shared by those that were begun as copies.
#[derive(Debug)]
pub struct Program {
    /// The executable, from the root of its own mounts; `None` when it is not known.
    pub exe: Option<RawPath>,
    /// The arguments, each ended by a zero byte; the last may be cut.
    pub args: Box<[u8]>,
    /// Whether arguments are missing at the end.
    pub args_cut: bool,
    /// The file that the executable is, if that is known.
    pub file: Option<ExeFile>,
    tally: Tally,
    size: usize,
}

/// A file, apart from its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExeFile {
    /// The device of its filesystem: major and minor number. Of some filesystems (btrfs) the kernel's own number is
    /// another than the one that programs are told.
    pub device: (u32, u32),
    /// Its inode number.
    pub inode: u64,
    /// A process ran it then, in nanoseconds since the system started.
    pub since: u64,
}

/// How many bytes all programs take together that were made with it.
#[derive(Debug, Clone, Default)]
pub struct Tally(Arc<AtomicUsize>);

impl Tally {
    /// Bytes.
    pub fn bytes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// What a program takes besides its texts.
const OVERHEAD: usize = size_of::<Program>() + 2 * size_of::<usize>();

impl Program {
    /// A program, counted in the tally until nobody knows it any more.
    pub fn new(
        exe: Option<RawPath>,
        args: &[u8],
        args_cut: bool,
        file: Option<ExeFile>,
        tally: &Tally,
    ) -> Arc<Program> {
        let size = OVERHEAD + args.len() + exe.as_ref().map_or(0, |exe| exe.as_bytes().len());
        tally.0.fetch_add(size, Ordering::Relaxed);
        Arc::new(Program { exe, args: args.into(), args_cut, file, tally: tally.clone(), size })
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.tally.0.fetch_sub(self.size, Ordering::Relaxed);
    }
}

/// By what it is called with. The same may be told of one file in two ways.
impl PartialEq for Program {
    fn eq(&self, other: &Program) -> bool {
        (&self.exe, &self.args, self.args_cut) == (&other.exe, &other.args, other.args_cut)
    }
}

impl Eq for Program {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_knows_any_more_counts_no_more() {
        let tally = Tally::default();
        let one = Program::new(Some(RawPath::new(*b"/bin/sh")), b"sh\0", false, None, &tally);
        let alone = tally.bytes();
        let copy = Arc::clone(&one);
        assert_eq!(tally.bytes(), alone);
        let other = Program::new(None, b"", true, None, &tally);
        assert!(tally.bytes() > alone);
        drop((one, other));
        assert_eq!(tally.bytes(), alone);
        drop(copy);
        assert_eq!(tally.bytes(), 0);
    }
}
