//! Contents for showing: those that are kept, and those that still stand on the disk.

use waxseal_engine::coverage::Coverage;
use waxseal_engine::evidence;
use waxseal_model::{FileState, RawPath};
use waxseal_store::{Store, StoreError};

/// The longest content that is compared, in bytes: both are in memory at once.
const LONGEST: u64 = 64 << 20;

/// A content, or why it is not known.
pub enum Side {
    /// Its bytes.
    Known(Vec<u8>),
    /// What is the matter with it, as the end of a sentence.
    Unknown(String),
}

/// The content that a state at this path has.
///
/// # Errors
/// As the database says. That a content is not kept, or not what was kept any more, is no error.
pub fn of(store: &Store, coverage: &Coverage, path: &RawPath, state: &FileState) -> anyhow::Result<Side> {
    let Some(hash) = &state.digests.sha256 else {
        return Ok(Side::Unknown("could not be read when it was found".into()));
    };
    if state.size > LONGEST {
        return Ok(Side::Unknown("is too large to be compared".into()));
    }
    let mut bytes = Vec::new();
    let kept = store.content::<StoreError>(hash, |piece| {
        bytes.extend_from_slice(piece);
        Ok(())
    });
    match kept {
        Ok(Some(_)) => Ok(Side::Known(bytes)),
        Err(StoreError::Rotten { why, .. }) => Ok(Side::Unknown(format!("is kept, and damaged: {why}"))),
        Err(error) => Err(error.into()),
        Ok(None) => match evidence::on_disk(coverage, path, state) {
            Some(bytes) => Ok(Side::Known(bytes)),
            None => Ok(Side::Unknown(evidence::why_not(coverage, path, state))),
        },
    }
}
