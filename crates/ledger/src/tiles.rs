//! A log as files that other tools read: C2SP tlog-tiles (<https://c2sp.org/tlog-tiles>), which a directory or a plain web
//! server can hold.
//!
//! In: leaves and hashes in order. Out: files by name and bytes, and the way back. No files are touched here: whoever has
//! some implements [`Put`] or [`Get`].
//!
//! | file | holds |
//! | --- | --- |
//! | `checkpoint` | the checkpoint, a signed note |
//! | `tile/<level>/<n>` | the hashes `256 n` to `256 n + 255` of a level ([`crate::merkle`]), 32 bytes each |
//! | `tile/entries/<n>` | the leaves `256 n` to `256 n + 255`: length (2 bytes, big-endian) and bytes each |
//! | `…/<n>.p/<w>` | the same of the last one, which has only `w` |
//! | `waxseal/cosigned/<id>` | the newest checkpoint that a witness cosigned, by the id of its key |
//! | `waxseal/entries/<n>` | what is left of a bundle of which details were deleted: number in the bundle (1 byte), length, bytes each |
//!
//! `<n>` is written in groups of three digits, all but the last after an `x`: `000`, `x001/234`. The last two lines are no part of
//! the specification; other tools find such a bundle missing, as pruned ones are.

mod verify;
mod write;

pub use verify::verify;
pub use write::{ExportError, Exporter};

use crate::merkle::{Hashes, WIDTH};
use crate::vkey::KeyId;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt::Write;
use waxseal_model::Digest;

/// The name of the checkpoint's file.
pub const CHECKPOINT: &str = "checkpoint";

/// Where the checkpoints lie that witnesses cosigned; how the names of their files begin.
pub const COSIGNED: &str = "waxseal/cosigned/";

/// The longest bundle of 256 entries, in bytes: each has a length of two bytes and at most 65535.
const MAX_BUNDLE: usize = 256 * (3 + 65_535);

/// Where files are written.
pub trait Put {
    /// Why one could not be.
    type Error;

    /// Writes a file. Names have only the characters `a` to `z`, `0` to `9`, `.` and `/`, and lead nowhere above.
    ///
    /// # Errors
    /// When it cannot be written.
    fn put(&mut self, path: &str, bytes: &[u8]) -> Result<(), Self::Error>;
}

/// Where files are read.
pub trait Get {
    /// Why one could not be.
    type Error;

    /// Reads a file; none when there is none of this name, and no more than `limit + 1` bytes, so that a file that is too
    /// long shows.
    ///
    /// # Errors
    /// When it is there and cannot be read.
    fn get(&self, path: &str, limit: usize) -> Result<Option<Vec<u8>>, Self::Error>;
}

/// An export in memory.
impl Put for BTreeMap<String, Vec<u8>> {
    type Error = Infallible;

    fn put(&mut self, path: &str, bytes: &[u8]) -> Result<(), Infallible> {
        self.insert(path.to_owned(), bytes.to_vec());
        Ok(())
    }
}

/// An export in memory.
impl Get for BTreeMap<String, Vec<u8>> {
    type Error = Infallible;

    fn get(&self, path: &str, limit: usize) -> Result<Option<Vec<u8>>, Infallible> {
        let bytes = BTreeMap::get(self, path);
        Ok(bytes.map(|bytes| bytes.iter().take(limit.saturating_add(1)).copied().collect()))
    }
}

/// The name of a tile; `width` is 256 or that of the last one.
pub fn tile_path(level: u8, index: u64, width: u16) -> String {
    path(&format!("tile/{level}"), index, width)
}

/// The name of an entry bundle.
pub fn entries_path(index: u64, width: u16) -> String {
    path("tile/entries", index, width)
}

/// The name of what is left of a bundle.
pub fn remains_path(index: u64, width: u16) -> String {
    path("waxseal/entries", index, width)
}

/// The name of the newest checkpoint that a witness with a key of this id cosigned. Unlike other files it changes.
pub fn cosigned_path(id: KeyId) -> String {
    format!("{COSIGNED}{id}")
}

fn path(start: &str, index: u64, width: u16) -> String {
    let digits = index.to_string();
    let groups = digits.len().div_ceil(3);
    let digits = format!("{digits:0>len$}", len = groups * 3);
    let mut path = start.to_owned();
    for (i, group) in digits.as_bytes().chunks(3).enumerate() {
        path.push_str(if i + 1 < groups { "/x" } else { "/" });
        path.extend(group.iter().map(|digit| char::from(*digit)));
    }
    if u64::from(width) != WIDTH {
        let _ = write!(path, ".p/{width}");
    }
    path
}

/// How many hashes the tile has that begins with hash `index * 256` of a row of `len`; none when it has none.
fn width(len: u64, index: u64) -> Option<u16> {
    let before = index.checked_mul(WIDTH)?;
    let width = len.checked_sub(before).filter(|width| *width > 0)?;
    u16::try_from(width.min(WIDTH)).ok()
}

/// The entries of a bundle that should have `width`; none when it has not, or not in this form.
fn entries(bytes: &[u8], width: u16) -> Option<Vec<&[u8]>> {
    let (mut rest, mut entries) = (bytes, Vec::with_capacity(width.into()));
    while entries.len() < usize::from(width) {
        let entry;
        (entry, rest) = split_entry(rest)?;
        entries.push(entry);
    }
    rest.is_empty().then_some(entries)
}

/// The entries of what is left of a bundle, each with its number, in ascending order.
fn remains(bytes: &[u8], width: u16) -> Option<Vec<(u8, &[u8])>> {
    let (mut rest, mut entries) = (bytes, Vec::<(u8, &[u8])>::new());
    while let Some((&number, more)) = rest.split_first() {
        let entry;
        (entry, rest) = split_entry(more)?;
        let ascends = entries.last().is_none_or(|(last, _)| *last < number);
        if !ascends || u16::from(number) >= width {
            return None;
        }
        entries.push((number, entry));
    }
    Some(entries)
}

fn split_entry(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.split_first_chunk::<2>()?;
    rest.split_at_checked(u16::from_be_bytes(*len).into())
}

/// The hashes of a log of this size that lies in tiles, for proofs.
pub struct TileHashes<'g, G> {
    files: &'g G,
    size: u64,
}

impl<'g, G: Get> TileHashes<'g, G> {
    /// The hashes in these files of a log of `size` leaves.
    pub fn new(files: &'g G, size: u64) -> TileHashes<'g, G> {
        TileHashes { files, size }
    }

    /// A tile; none when it is not there or not of the right length.
    fn tile(&self, level: u8, index: u64) -> Result<Option<Vec<Digest>>, G::Error> {
        let row = crate::merkle::level_len(self.size, level);
        let Some(width) = width(row, index) else { return Ok(None) };
        tile(self.files, level, index, width)
    }
}

/// A tile; none when it is not there or not of the right length.
fn tile<G: Get>(files: &G, level: u8, index: u64, width: u16) -> Result<Option<Vec<Digest>>, G::Error> {
    let len = usize::from(width) * 32;
    let bytes = files.get(&tile_path(level, index, width), len)?;
    Ok(bytes.filter(|bytes| bytes.len() == len).map(|bytes| bytes.as_chunks::<32>().0.to_vec()))
}

impl<G: Get> Hashes for TileHashes<'_, G> {
    type Error = G::Error;

    fn read(&self, level: u8, first: u64, count: u16) -> Result<Vec<Digest>, G::Error> {
        let tile = self.tile(level, first / WIDTH)?.unwrap_or_default();
        let skip = usize::try_from(first % WIDTH).unwrap_or(usize::MAX);
        Ok(tile.into_iter().skip(skip).take(count.into()).collect())
    }
}

#[cfg(test)]
pub(crate) mod tests;
