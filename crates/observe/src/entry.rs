//! One name of a directory as a scan sees it.

use waxseal_model::{Digest, Digests, FileState, FileType};
use waxseal_os::files::FileError;

/// How closely a name is to be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Look {
    /// The stat suffices: nothing is opened or read.
    #[default]
    Stat,
    /// Everything: content, link target, extended attributes, flags.
    Full,
    /// Everything, of a file that may grow meanwhile: its content is read up to the length it had when it was
    /// opened. With `prefix`, the digests of its first so many bytes are taken as well, in the same pass.
    Growing {
        /// Length in bytes of the beginning that is hashed on its own.
        prefix: Option<u64>,
    },
}

/// Why a name could not be looked at as asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// A system call failed.
    #[error("{0}")]
    File(#[from] FileError),
    /// It changed during every attempt to read it.
    #[error("it never held still: it changed during each of {0} attempts to read it")]
    Unstable(u32),
    /// More of it lies in holes than the limit lets us hash.
    #[error("it has {holes} bytes in holes, more than scan.max_sparse allows: raise it, or exclude the file")]
    TooSparse {
        /// Bytes that are not allocated.
        holes: u64,
    },
}

/// One name of a directory: what was seen, and what the visitor makes of it. `D` is what a visitor keeps
/// of a directory.
#[derive(Debug)]
pub struct Entry<D> {
    /// The name; of a root, the whole path.
    pub name: Box<[u8]>,
    /// The type, as the list of the directory or stat has it; absent when even stat failed. A closer look may find
    /// another one, which the state then has.
    pub file_type: Option<FileType>,
    /// The state: from stat alone at first, with digests and attributes once it has been looked at.
    /// Absent when even stat failed, or when the name vanished during the scan; before the look also where the plan
    /// does not want it (see [`Visitor::wants_stat`](crate::Visitor::wants_stat)).
    pub state: Option<FileState>,
    /// How closely to look; set by the visitor's plan.
    pub look: Look,
    /// Set by the plan of a directory that is to be walked.
    pub descend: Option<Box<D>>,
    /// The digests of the beginning that [`Look::Growing`] asked for; absent when the file is shorter.
    pub prefix: Option<Box<Digests>>,
    /// What the visitor returned for this directory, when the scan is bottom-up.
    pub child: Option<Box<Digest>>,
    /// Why the look failed.
    pub problem: Option<Problem>,
}

impl<D> Entry<D> {
    /// An entry of which nothing but the name is known.
    pub fn new(name: &[u8]) -> Entry<D> {
        Entry {
            name: name.into(),
            file_type: None,
            state: None,
            look: Look::Stat,
            descend: None,
            prefix: None,
            child: None,
            problem: None,
        }
    }

    /// What stat showed.
    pub(crate) fn stated(&mut self, state: FileState) {
        self.file_type = Some(state.file_type);
        self.state = Some(state);
    }
}
