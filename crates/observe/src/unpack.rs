//! What a file holds, unpacked where it is compressed: the digests of its beginnings.
//!
//! Everything here is hostile: a file may claim to be compressed and be anything. So decoders run on a thread of
//! their own, whose panic is an answer like any other; they are given no more input than the wanted output can
//! need, stop when they have given that, and may not ask for more than [`MEMORY_KIB`].

use crate::entry::Problem;
use std::io::Read;
use std::sync::{Mutex, PoisonError};
use waxseal_hash::Sha256;
use waxseal_model::{Digest, FileState, RawPath};
use waxseal_os::files::{Dir, File, FileError};

/// What a decoder may allocate, in KiB: a dictionary of 64 MiB as of `xz -9`, and what it needs besides.
const MEMORY_KIB: u32 = 66 * 1024;
/// Compressed data is this much larger than its content at most (a fraction of the content, and bytes).
const OVERHEAD: (u64, u64) = (8, 64 * 1024);
/// The stack of the thread that decodes.
const STACK: usize = 2 << 20;
/// How much is hashed at once.
const PIECE: usize = 64 * 1024;
/// One decoder at a time, so that many compressed files together need no more memory than one.
static DECODER: Mutex<()> = Mutex::new(());

/// The digests of some beginnings of a content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prefixes {
    /// SHA-256 of the first so many bytes, for each length that was asked for; absent where there are fewer.
    pub digests: Vec<Option<Digest>>,
    /// How many bytes were read (unpacked): the longest length asked for, or less where the content ends, or where
    /// what is there cannot be unpacked further.
    pub len: u64,
    /// SHA-256 of these.
    pub all: Digest,
    /// Whether the file is compressed.
    pub packed: bool,
    /// Whether the file is still the one whose state was given.
    pub still: bool,
}

/// How a file is compressed, by its first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Packing {
    Gzip,
    Zstd,
    Xz,
    Bzip2,
}

impl Packing {
    /// The magic numbers of RFC 1952, RFC 8878, the .xz format 1.2 and bzip2.
    fn of(start: &[u8]) -> Option<Packing> {
        match start {
            [0x1f, 0x8b, 8, ..] => Some(Packing::Gzip),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Packing::Zstd),
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some(Packing::Xz),
            [b'B', b'Z', b'h', b'1'..=b'9', ..] => Some(Packing::Bzip2),
            _ => None,
        }
    }

    /// A reader of the content.
    fn open<'r>(self, packed: impl Read + 'r) -> std::io::Result<Box<dyn Read + 'r>> {
        Ok(match self {
            Packing::Gzip => Box::new(flate2::read::MultiGzDecoder::new(packed)),
            Packing::Bzip2 => Box::new(bzip2::read::MultiBzDecoder::new(packed)),
            Packing::Xz => Box::new(lzma_rust2::XzReader::new_mem_limit(packed, true, MEMORY_KIB)),
            Packing::Zstd => {
                let window = u64::from(MEMORY_KIB) * 1024;
                let decoder = ruzstd::decoding::StreamingDecoder::new_with_max_window_size(packed, window);
                Box::new(decoder.map_err(std::io::Error::other)?)
            }
        })
    }
}

/// The digests of the first so many bytes of a file, of what is in it where it is compressed by gzip, zstd, xz or
/// bzip2. `state` is what was seen of the file before: of another file by now, nothing is said (`None`).
///
/// # Errors
/// When it cannot be read.
pub fn prefixes(path: &RawPath, state: &FileState, lengths: &[u64]) -> Result<Option<Prefixes>, Problem> {
    let (dir, name) = Dir::parent_of(path)?;
    let (file, before) = match dir.open_file(&name) {
        Ok(open) => open,
        Err(FileError::NotFound | FileError::WrongType) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    if before.inode != state.inode || before.size < state.size {
        return Ok(None);
    }
    let mut start = [0; 6];
    let len = file.read_at(&mut start, 0)?;
    let Some(packing) = Packing::of(start.get(..len).unwrap_or_default()) else {
        return raw(&file, state, lengths);
    };
    let most = lengths.iter().copied().max().unwrap_or(0);
    let room = most.saturating_add(most / OVERHEAD.0).saturating_add(OVERHEAD.1);
    let input = Input { file: &file, offset: 0 }.take(room);
    let mut prefixes = unpack(packing, input, lengths);
    let after = file.stat()?;
    prefixes.still = same(state, &before) && same(state, &after);
    Ok(Some(prefixes))
}

fn same(seen: &FileState, now: &FileState) -> bool {
    seen.size == now.size && seen.mtime == now.mtime && seen.ctime == now.ctime && seen.inode == now.inode
}

/// Of a file that is not compressed. That it is still what was seen is proved by its hash where one is known, so that
/// it may grow meanwhile.
fn raw(file: &File, state: &FileState, lengths: &[u64]) -> Result<Option<Prefixes>, Problem> {
    let most = lengths.iter().copied().max().unwrap_or(0).min(state.size);
    let input = Input { file, offset: 0 }.take(state.size);
    let proof = state.digests.sha256;
    let mut wanted = lengths.to_vec();
    wanted.push(most);
    wanted.extend(proof.map(|_| state.size));
    let mut prefixes = digest(input, &wanted, false);
    let after = file.stat()?;
    let whole = prefixes.digests.get(lengths.len() + 1).copied().flatten();
    prefixes.still = if proof.is_some() { whole == proof } else { same(state, &after) };
    let Some(all) = prefixes.digests.get(lengths.len()).copied().flatten() else { return Ok(None) };
    prefixes.digests.truncate(lengths.len());
    Ok(prefixes.still.then_some(Prefixes { len: most, all, ..prefixes }))
}

/// Of a compressed stream: as far as it can be unpacked.
fn unpack(packing: Packing, input: impl Read + Send, lengths: &[u64]) -> Prefixes {
    let _one = DECODER.lock().unwrap_or_else(PoisonError::into_inner);
    let decode = move || match packing.open(input) {
        Ok(content) => digest(content, lengths, true),
        Err(_) => digest(std::io::empty(), lengths, true),
    };
    std::thread::scope(|scope| {
        let decoder = std::thread::Builder::new().name("unpack".into()).stack_size(STACK);
        let done = decoder.spawn_scoped(scope, decode).ok().and_then(|decoding| decoding.join().ok());
        done.unwrap_or_else(|| digest(std::io::empty(), lengths, true))
    })
}

/// Reads until the longest length, or as far as it goes.
fn digest(mut content: impl Read, lengths: &[u64], packed: bool) -> Prefixes {
    let mut order: Vec<(u64, usize)> = lengths.iter().copied().zip(0..).collect();
    order.sort_unstable();
    let mut order = order.into_iter().peekable();
    let mut digests = vec![None; lengths.len()];
    let (mut hasher, mut len) = (Sha256::new(), 0_u64);
    let mut buffer = vec![0; PIECE];
    loop {
        while let Some((_, at)) = order.next_if(|(length, _)| *length == len) {
            if let Some(slot) = digests.get_mut(at) {
                *slot = Some(hasher.clone().finish());
            }
        }
        let Some((next, _)) = order.peek() else { break };
        let room = usize::try_from(next.saturating_sub(len)).unwrap_or(PIECE).min(PIECE);
        let piece = buffer.get_mut(..room).unwrap_or_default();
        match content.read(piece) {
            Ok(0) => break,
            Ok(read) => {
                hasher.update(piece.get(..read).unwrap_or_default());
                len += read as u64;
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    Prefixes { digests, len, all: hasher.finish(), packed, still: true }
}

/// A file from a place on.
struct Input<'f> {
    file: &'f File,
    offset: u64,
}

impl Read for Input<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.file.read_at(buffer, self.offset).map_err(std::io::Error::other)?;
        self.offset += read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests;
