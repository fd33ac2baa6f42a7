//! Sums of files that a person named, several side by side.

use crate::read::{PIECE, to_model};
use std::path::Path;
use waxseal_hash::{Algorithms, Hasher, update_hashers};
use waxseal_model::Digests;
use waxseal_os::files::{File, FileError};

/// How many files are read side by side.
pub const SIDE_BY_SIDE: usize = 16;

/// One file on its way.
struct Reading {
    file: File,
    hasher: Hasher,
    offset: u64,
    len: usize,
}

/// The digests of each file, read to its end, in the order given. At most [`SIDE_BY_SIDE`] files are open at
/// a time; memory does not grow with their sizes.
pub fn of_files(paths: &[&Path], algorithms: Algorithms) -> Vec<Result<Digests, FileError>> {
    let mut buffer = vec![0; SIDE_BY_SIDE.min(paths.len()) * PIECE];
    paths.chunks(SIDE_BY_SIDE).flat_map(|paths| group(paths, algorithms, &mut buffer)).collect()
}

fn group(paths: &[&Path], algorithms: Algorithms, buffer: &mut [u8]) -> Vec<Result<Digests, FileError>> {
    let open = |path: &&Path| {
        let (file, _) = File::named(path)?;
        Ok(Reading { file, hasher: Hasher::new(algorithms), offset: 0, len: 0 })
    };
    let mut files: Vec<Result<Reading, FileError>> = paths.iter().map(open).collect();
    loop {
        for (slot, piece) in files.iter_mut().zip(buffer.chunks_mut(PIECE)) {
            if let Ok(reading) = slot {
                match reading.file.read_at(piece, reading.offset) {
                    Ok(len) => {
                        reading.len = len;
                        reading.offset += len as u64;
                    }
                    Err(error) => *slot = Err(error),
                }
            }
        }
        let mut jobs: Vec<(&mut Hasher, &[u8])> = files
            .iter_mut()
            .zip(buffer.chunks(PIECE))
            .filter_map(|(slot, piece)| {
                let reading = slot.as_mut().ok()?;
                Some((&mut reading.hasher, piece.get(..reading.len)?))
            })
            .filter(|(_, piece)| !piece.is_empty())
            .collect();
        if jobs.is_empty() {
            return files.into_iter().map(|slot| Ok(to_model(slot?.hasher.finish()))).collect();
        }
        update_hashers(&mut jobs);
    }
}
