//! Verification of a log that lies in tiles.

use super::write::Rows;
use super::{
    CHECKPOINT, Get, MAX_BUNDLE, cosigned_path, entries, entries_path, remains, remains_path, tile,
    tile_path, width,
};
use crate::merkle::{WIDTH, leaf_hash};
use crate::note;
use crate::verify::{Problem, Report, Trust, Walk};
use std::sync::mpsc::sync_channel;
use waxseal_model::Digest;

/// How many bundles are read ahead.
const AHEAD: usize = 4;

/// Verifies the log in these files: every file is read that its checkpoint speaks of, and every hash is computed. Reading
/// and hashing leaves takes a second thread.
///
/// # Errors
/// When a file is there and cannot be read. That one is missing is a [`Problem`].
pub fn verify<G: Get + Sync>(files: &G, trust: &Trust) -> Result<Report, G::Error>
where
    G::Error: Send,
{
    let note = files.get(CHECKPOINT, note::MAX_LEN)?.unwrap_or_default();
    let mut walk = Walk::new(trust, note);
    let mut cosigned = Vec::new();
    for witness in trust.witnesses() {
        cosigned.extend(files.get(&cosigned_path(witness.id()), note::MAX_LEN)?);
    }
    walk.cosigned(trust, cosigned);
    let size = walk.claimed_size().unwrap_or(0);
    let mut rows = Rows::default();
    let ended = std::thread::scope(|scope| {
        let (sender, parts) = sync_channel(AHEAD);
        scope.spawn(move || {
            for index in 0.. {
                let Some(width) = width(size, index) else { break };
                let part = Part::read(files, index, width);
                let last = !matches!(&part, Ok(Some(_)));
                // The other side hangs up when it has failed.
                if sender.send(part).is_err() || last {
                    break;
                }
            }
        });
        for part in parts {
            let Some(part) = part? else { break };
            part.walk(&mut walk, &mut rows, files)?;
        }
        Ok(())
    });
    ended?;
    let complete = rows.size() == size;
    let (mut walk, mut wrong) = (walk, Vec::new());
    if complete {
        rows.finish(|level, index, row| compare(files, level, index, row, &mut wrong))?;
    }
    wrong.into_iter().for_each(|problem| walk.add(problem));
    Ok(walk.finish())
}

/// A tile of leaf hashes and its bundle, as far as they are there.
struct Part {
    index: u64,
    width: u16,
    hashes: Option<Vec<Digest>>,
    /// Each leaf that is there, and its hash.
    leaves: Vec<Option<(Vec<u8>, Digest)>>,
    problems: Vec<Problem>,
}

impl Part {
    /// None when neither the tile nor the bundle is there: then nothing is known of the leaves from here on.
    fn read<G: Get>(files: &G, index: u64, width: u16) -> Result<Option<Part>, G::Error> {
        let hashes = tile(files, 0, index, width)?;
        let mut problems = Vec::new();
        if hashes.is_none() {
            problems.push(Problem::Tile { path: tile_path(0, index, width) });
        }
        let mut leaves = vec![None; width.into()];
        let path = entries_path(index, width);
        let mut found = true;
        if let Some(bytes) = files.get(&path, MAX_BUNDLE)? {
            match entries(&bytes, width) {
                Some(entries) => leaves = entries.into_iter().map(|entry| Some(hashed(entry))).collect(),
                None => problems.push(Problem::Tile { path }),
            }
        } else {
            let path = remains_path(index, width);
            match files.get(&path, MAX_BUNDLE)?.as_deref().map(|bytes| remains(bytes, width)) {
                Some(Some(entries)) => {
                    for (number, entry) in entries {
                        if let Some(slot) = leaves.get_mut(usize::from(number)) {
                            *slot = Some(hashed(entry));
                        }
                    }
                }
                Some(None) => problems.push(Problem::Tile { path }),
                None => found = false,
            }
        }
        let known = found || hashes.is_some();
        Ok(known.then_some(Part { index, width, hashes, leaves, problems }))
    }

    fn walk<G: Get>(self, walk: &mut Walk, rows: &mut Rows, files: &G) -> Result<(), G::Error> {
        self.problems.into_iter().for_each(|problem| walk.add(problem));
        let mut wrong = Vec::new();
        for (number, leaf) in self.leaves.into_iter().enumerate() {
            let stored = self.hashes.as_ref().and_then(|hashes| hashes.get(number)).copied();
            let hash = match (leaf, stored) {
                (Some((bytes, own)), stored) => {
                    walk.hashed_leaf(&bytes, own, stored);
                    stored.unwrap_or(own)
                }
                (None, Some(stored)) => {
                    walk.missing_leaf(stored);
                    stored
                }
                // Neither the leaf nor its hash: its place is kept by a hash that no leaf has.
                (None, None) => {
                    walk.missing_leaf([0; 32]);
                    [0; 32]
                }
            };
            rows.push(hash, |level, index, row| compare(files, level, index, row, &mut wrong))?;
        }
        debug_assert_eq!(rows.size(), self.index * WIDTH + u64::from(self.width));
        wrong.into_iter().for_each(|problem| walk.add(problem));
        Ok(())
    }
}

fn hashed(entry: &[u8]) -> (Vec<u8>, Digest) {
    (entry.to_vec(), leaf_hash(entry))
}

/// Whether a tile above the leaf hashes is what follows from the level below.
fn compare<G: Get>(
    files: &G,
    level: u8,
    index: u64,
    row: &[Digest],
    wrong: &mut Vec<Problem>,
) -> Result<(), G::Error> {
    let width = row.len() as u16;
    if level > 0 && tile(files, level, index, width)?.is_none_or(|tile| tile != row) {
        wrong.push(Problem::Tile { path: tile_path(level, index, width) });
    }
    Ok(())
}
