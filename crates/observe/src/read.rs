//! The content of one regular file, piece by piece, holes skipped.

use crate::entry::{Look, Problem};
use crate::probe::Hashing;
use waxseal_hash::Hasher;
use waxseal_model::{Digests, FileState};
use waxseal_os::files::{File, FileError};

/// How much is read at once: pieces that stay in the second-level cache hash fastest (performance, section 0).
pub(crate) const PIECE: usize = 64 * 1024;
/// Files smaller than this are not asked for holes.
const SPARSE_FROM: u64 = 1 << 20;

/// What reading a file gave.
#[derive(Debug, Default)]
pub(crate) struct Content {
    /// Digests of the whole content.
    pub digests: Digests,
    /// Digests of the beginning, where asked for and long enough.
    pub prefix: Option<Digests>,
    /// Bytes hashed.
    pub bytes: u64,
    /// Whether as much could be read as the stat promised.
    pub complete: bool,
}

impl Content {
    /// Reads and hashes one file on its own.
    pub fn read_alone(
        file: &File,
        before: &FileState,
        look: Look,
        hashing: &Hashing,
    ) -> Result<Content, Problem> {
        let mut stream = Stream::new(file, before, look, hashing)?;
        let mut buffer = vec![0; PIECE.min(usize::try_from(before.size).unwrap_or(PIECE)).max(1)];
        loop {
            let len = stream.fill(file, &mut buffer)?;
            if len == 0 {
                return Ok(stream.finish());
            }
            stream.hasher.update(buffer.get(..len).unwrap_or_default());
            stream.piece_hashed();
        }
    }
}

/// The progress of reading one file. The file itself stands beside it.
pub(crate) struct Stream {
    /// Takes every piece that [`Stream::fill`] gives.
    pub hasher: Hasher,
    size: u64,
    offset: u64,
    short: bool,
    prefix_at: Option<u64>,
    prefix: Option<Digests>,
    /// The stretch of data at or after the offset, for files with holes.
    data: Option<(u64, u64)>,
}

impl Stream {
    pub fn new(file: &File, before: &FileState, look: Look, hashing: &Hashing) -> Result<Stream, Problem> {
        let size = before.size;
        if hashing.from_disk {
            file.forget_cached();
        }
        let first = if size >= SPARSE_FROM { file.next_data(0, size) } else { Some((0, size)) };
        let sparse = first.is_none_or(|(start, end)| start > 0 || end < size);
        if sparse {
            let holes = size.saturating_sub(file.allocated()?);
            if holes > hashing.max_sparse {
                return Err(Problem::TooSparse { holes });
            }
        }
        let mut stream = Stream {
            hasher: Hasher::new(hashing.algorithms),
            size,
            offset: 0,
            short: false,
            prefix_at: match look {
                Look::Growing { prefix } => prefix.filter(|at| *at <= size),
                _ => None,
            },
            prefix: None,
            data: sparse.then(|| first.unwrap_or((size, size))),
        };
        stream.piece_hashed();
        Ok(stream)
    }

    /// The next piece into `buffer`: its length, 0 at the end or where the file turned out shorter than its
    /// stat said. The caller hashes it and then calls [`Stream::piece_hashed`].
    pub fn fill(&mut self, file: &File, buffer: &mut [u8]) -> Result<usize, FileError> {
        let boundary = self.prefix_at.unwrap_or(self.size);
        let left = boundary.saturating_sub(self.offset).min(buffer.len() as u64);
        if left == 0 || self.short {
            return Ok(0);
        }
        let (hole, left) = self.stretch(file, left);
        let buffer = buffer.get_mut(..left as usize).unwrap_or_default();
        let len = if hole {
            buffer.fill(0);
            buffer.len()
        } else {
            file.read_at(buffer, self.offset)?
        };
        self.short = len == 0;
        self.offset += len as u64;
        Ok(len)
    }

    /// Whether a hole lies at the offset, and how many of the next `left` bytes are of that kind.
    fn stretch(&mut self, file: &File, left: u64) -> (bool, u64) {
        let Some((mut start, mut end)) = self.data else { return (false, left) };
        if self.offset >= end {
            (start, end) = file.next_data(self.offset, self.size).unwrap_or((self.size, self.size));
            self.data = Some((start, end));
        }
        if self.offset < start {
            (true, left.min(start - self.offset))
        } else {
            // An end at the offset would be no progress: the file moved, and the last stat will tell.
            (false, left.min(end.saturating_sub(self.offset)).max(1))
        }
    }

    /// To be called when everything given so far has been hashed.
    pub fn piece_hashed(&mut self) {
        if self.prefix_at == Some(self.offset) {
            self.prefix = Some(to_model(self.hasher.clone().finish()));
            self.prefix_at = None;
        }
    }

    /// The digests.
    pub fn finish(self) -> Content {
        Content {
            complete: self.offset == self.size,
            digests: to_model(self.hasher.finish()),
            prefix: self.prefix,
            bytes: self.offset,
        }
    }
}

/// The digests in the words of the model.
pub(crate) fn to_model(digests: waxseal_hash::Digests) -> Digests {
    Digests {
        sha256: Some(digests.sha256),
        blake3: digests.blake3.map(Box::new),
        sha512: digests.sha512.map(Box::new),
    }
}
