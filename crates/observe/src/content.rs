//! The content of one file, for whoever keeps it.

use crate::read::PIECE;
use waxseal_model::RawPath;
use waxseal_os::files::{Dir, FileError};

/// Calls `each` with the first `size` bytes of the regular file at a path, piece by piece; links as for
/// [`place::stat`](crate::place::stat). Whether there were as many. Whether they are those that somebody has seen before is for
/// the caller to say, by their hash.
///
/// # Errors
/// When it cannot be read, or is no regular file.
pub fn read(
    path: &RawPath,
    anchor: Option<&RawPath>,
    size: u64,
    mut each: impl FnMut(&[u8]),
) -> Result<bool, FileError> {
    let (dir, name) = Dir::parent_below(path, anchor.unwrap_or(path))?;
    let (file, _) = dir.open_file(&name)?;
    let mut buffer = vec![0; PIECE.min(usize::try_from(size).unwrap_or(PIECE))];
    let mut offset = 0;
    while offset < size {
        let wanted = buffer.len().min(usize::try_from(size - offset).unwrap_or(PIECE));
        let piece = buffer.get_mut(..wanted).unwrap_or_default();
        let len = file.read_at(piece, offset)?;
        if len == 0 {
            return Ok(false);
        }
        each(piece.get(..len).unwrap_or_default());
        offset += len as u64;
    }
    Ok(true)
}
