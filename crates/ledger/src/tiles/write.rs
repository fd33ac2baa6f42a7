//! From leaves to tiles.

use super::{CHECKPOINT, Put, entries_path, remains_path, tile_path};
use crate::merkle::{Edge, WIDTH};
use waxseal_model::Digest;

/// The tiles of a growing tree, each given away when it is full.
#[derive(Default)]
pub(super) struct Rows {
    edge: Edge,
    /// The last tile of each level, and how many full ones are before it.
    rows: Vec<(u64, Vec<Digest>)>,
}

impl Rows {
    pub(super) fn size(&self) -> u64 {
        self.edge.size()
    }

    /// Adds a leaf hash; `full` is given the level, number and hashes of each tile that is full with it.
    pub(super) fn push<E>(
        &mut self,
        hash: Digest,
        mut full: impl FnMut(u8, u64, &[Digest]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut new = vec![(0, hash)];
        self.edge.push(hash, |kept| new.push((kept.level, kept.hash)));
        for (level, hash) in new {
            if self.rows.len() <= usize::from(level) {
                self.rows.resize(usize::from(level) + 1, (0, Vec::new()));
            }
            let Some((before, row)) = self.rows.get_mut(usize::from(level)) else { continue };
            row.push(hash);
            if row.len() as u64 == WIDTH {
                full(level, *before, row)?;
                *before += 1;
                row.clear();
            }
        }
        Ok(())
    }

    /// Gives away the tiles that are not full.
    pub(super) fn finish<E>(
        self,
        mut partial: impl FnMut(u8, u64, &[Digest]) -> Result<(), E>,
    ) -> Result<(), E> {
        for (level, (before, row)) in self.rows.iter().enumerate() {
            if !row.is_empty() {
                partial(level as u8, *before, row)?;
            }
        }
        Ok(())
    }
}

/// Why an export was not finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ExportError<E> {
    /// A file could not be written.
    #[error(transparent)]
    Put(E),
    /// What is stored as a leaf is longer than any leaf.
    #[error("leaf {0} is longer than 65535 bytes")]
    TooLong(u64),
}

/// Writes a log as tiles: [`Exporter::leaf`] for each leaf in order, then [`Exporter::finish`]. The checkpoint comes last, so
/// that an export that was not finished has none.
pub struct Exporter<'p, P> {
    out: &'p mut P,
    rows: Rows,
    /// Of the last bundle: whole as long as nothing is missing, and what is left.
    bundle: Vec<u8>,
    remains: Vec<u8>,
    whole: bool,
}

impl<'p, P: Put> Exporter<'p, P> {
    /// An export to this place.
    pub fn new(out: &'p mut P) -> Self {
        Exporter { out, rows: Rows::default(), bundle: Vec::new(), remains: Vec::new(), whole: true }
    }

    /// The next leaf: its stored bytes, none where they were deleted, and its stored hash.
    ///
    /// # Errors
    /// When a file cannot be written, or the leaf is too long for a bundle.
    pub fn leaf(&mut self, bytes: Option<&[u8]>, hash: Digest) -> Result<(), ExportError<P::Error>> {
        let index = self.rows.size();
        match bytes {
            Some(bytes) => {
                let len = u16::try_from(bytes.len()).map_err(|_| ExportError::TooLong(index))?;
                let entry = [&len.to_be_bytes()[..], bytes].concat();
                self.bundle.extend_from_slice(&entry);
                self.remains.push((index % WIDTH) as u8);
                self.remains.extend_from_slice(&entry);
            }
            None => self.whole = false,
        }
        let out = &mut *self.out;
        self.rows.push(hash, |level, n, row| put_tile(out, level, n, row)).map_err(ExportError::Put)?;
        if self.rows.size().is_multiple_of(WIDTH) {
            self.put_bundle(index / WIDTH, WIDTH as u16)?;
        }
        Ok(())
    }

    /// Writes a file that is no part of the tree, such as a checkpoint that was cosigned.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn put(&mut self, path: &str, bytes: &[u8]) -> Result<(), ExportError<P::Error>> {
        self.out.put(path, bytes).map_err(ExportError::Put)
    }

    /// Writes what is left, and the log's checkpoint, which must be of the size that was exported.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn finish(mut self, checkpoint: &str) -> Result<(), ExportError<P::Error>> {
        let size = self.rows.size();
        if !size.is_multiple_of(WIDTH) {
            self.put_bundle(size / WIDTH, (size % WIDTH) as u16)?;
        }
        let Exporter { out, rows, .. } = self;
        rows.finish(|level, n, row| put_tile(out, level, n, row)).map_err(ExportError::Put)?;
        out.put(CHECKPOINT, checkpoint.as_bytes()).map_err(ExportError::Put)
    }

    fn put_bundle(&mut self, index: u64, width: u16) -> Result<(), ExportError<P::Error>> {
        let (path, bytes) = if self.whole {
            (entries_path(index, width), &self.bundle)
        } else {
            (remains_path(index, width), &self.remains)
        };
        self.out.put(&path, bytes).map_err(ExportError::Put)?;
        self.bundle.clear();
        self.remains.clear();
        self.whole = true;
        Ok(())
    }
}

fn put_tile<P: Put>(out: &mut P, level: u8, index: u64, row: &[Digest]) -> Result<(), P::Error> {
    out.put(&tile_path(level, index, row.len() as u16), row.as_flattened())
}
