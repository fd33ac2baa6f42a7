//! One careful look at one name: open, stat, read, stat again, until it held still.

use crate::entry::{Look, Problem};
use crate::read::Content;
use std::time::Duration;
use waxseal_hash::Algorithms;
use waxseal_model::{Digests, Extra, FileState, FileType};
use waxseal_os::attributes::Attributes;
use waxseal_os::clock;
use waxseal_os::files::{Dir, File, FileError, Stamp};

/// How often a file that moves is read before it is called unstable.
pub const ATTEMPTS: u32 = 7;
/// A file whose content moved within this many seconds is asked for writers (see [`is_settled`]).
const RECENT_SECONDS: i64 = 60;

/// The pause before the attempt of this number (1 is the second attempt): 5 ms, doubling.
pub(crate) fn pause(attempt: u32) -> Duration {
    Duration::from_millis(5 << attempt.min(8).saturating_sub(1))
}

/// How contents are hashed.
#[derive(Debug, Clone, Copy)]
pub struct Hashing {
    /// Which digests.
    pub algorithms: Algorithms,
    /// A file with more bytes than this in holes is not hashed.
    pub max_sparse: u64,
    /// Whether the kernel is to read contents from the disk again, whatever it has of them in memory.
    pub from_disk: bool,
}

/// What one look found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    /// The state, with everything the look asked for.
    pub state: FileState,
    /// Digests of the beginning that [`Look::Growing`] asked for.
    pub prefix: Option<Digests>,
    /// Bytes that were hashed for it.
    pub bytes: u64,
}

/// Looks at a name until what it holds stands still for one look: `None` when nothing has the name.
/// Sleeps between attempts, half a second in all at most.
///
/// # Errors
/// When it cannot be read, never holds still, or is too sparse.
pub fn observe(
    dir: &Dir,
    name: &[u8],
    look: Look,
    hashing: &Hashing,
) -> Result<Option<Observation>, Problem> {
    let mut previous = None;
    for attempt in 0..ATTEMPTS {
        if attempt > 0 {
            std::thread::sleep(pause(attempt));
        }
        match attempt_once(dir, name, look, hashing) {
            Ok(Some((observation, settled))) => {
                // A writer that maps the file moves no times: two equal readings in a row stand for rest.
                if settled || previous.as_ref() == Some(&observation) {
                    return Ok(Some(observation));
                }
                previous = Some(observation);
            }
            Ok(None) => previous = None,
            Err(Problem::File(FileError::NotFound)) => return Ok(None),
            Err(Problem::File(FileError::WrongType)) => previous = None,
            Err(problem) => return Err(problem),
        }
    }
    Err(Problem::Unstable(ATTEMPTS))
}

/// One attempt: `None` when it moved meanwhile.
fn attempt_once(
    dir: &Dir,
    name: &[u8],
    look: Look,
    hashing: &Hashing,
) -> Result<Option<(Observation, bool)>, Problem> {
    let stat = dir.stat(name)?;
    if look == Look::Stat {
        return Ok(Some((Observation { state: stat, prefix: None, bytes: 0 }, true)));
    }
    match stat.file_type {
        FileType::File => {
            let (file, before) = dir.open_file(name)?;
            let content = Content::read_alone(&file, &before, look, hashing)?;
            let settled = is_settled(&file, &before);
            let prefix = content.prefix.clone();
            let bytes = content.bytes;
            let state = finish_file(&file, before, content, look)?;
            Ok(state.map(|state| (Observation { state, prefix, bytes }, settled)))
        }
        _ => Ok(Some((Observation { state: observe_node(dir, name, stat)?, prefix: None, bytes: 0 }, true))),
    }
}

/// The whole state of what is not a regular file; `stat` is returned with what a descriptor shows.
pub(crate) fn observe_node(dir: &Dir, name: &[u8], stat: FileState) -> Result<FileState, FileError> {
    if stat.file_type == FileType::Dir {
        return match dir.open_dir(name) {
            Ok(dir) => Ok(with_attributes(dir.stat_self()?, dir.attributes()?)),
            Err(FileError::WrongType) => Err(FileError::WrongType),
            // What may not be listed can still be looked at.
            Err(_) => Ok(with_attributes(stat, dir.open_node(name)?.attributes()?)),
        };
    }
    let node = dir.open_node(name)?;
    let mut state = node.stat()?;
    if state.file_type == FileType::Symlink {
        state.extra.get_or_insert_default().target = Some(node.read_link()?);
    }
    let attributes = node.attributes()?;
    Ok(with_attributes(state, attributes))
}

/// The state with what a descriptor showed.
pub(crate) fn with_attributes(mut state: FileState, attributes: Attributes) -> FileState {
    state.flags = attributes.flags;
    if !attributes.xattrs.is_empty() {
        state.extra.get_or_insert_with(|| Box::new(Extra::default())).xattrs = attributes.xattrs;
    }
    state
}

/// Whether `after` is the same object at rest. A growing file may have grown.
pub(crate) fn held_still(before: &FileState, after: &Stamp, look: Look) -> bool {
    match look {
        Look::Growing { .. } => after.size >= before.size && after.inode == before.inode,
        _ => *after == Stamp::from(before),
    }
}

/// The whole state of a file that has been read, or `None` when it moved meanwhile.
pub(crate) fn finish_file(
    file: &File,
    before: FileState,
    content: Content,
    look: Look,
) -> Result<Option<FileState>, FileError> {
    let attributes = file.attributes()?;
    let after = file.stamp()?;
    if !content.complete || !held_still(&before, &after, look) {
        return Ok(None);
    }
    let mut state = with_attributes(before, attributes);
    state.digests = content.digests;
    Ok(Some(state))
}

/// Whether nothing can move the content without moving the times: no process has the file open for writing or
/// mapped writable. Only asked of files whose times moved lately: a mapping that is older than that has been
/// written back, and its next store moves the times again (except on tmpfs; see the limitations).
pub(crate) fn is_settled(file: &File, state: &FileState) -> bool {
    let recent = clock::now().minus_seconds(RECENT_SECONDS);
    state.mtime < recent || file.has_writer() != Some(true)
}
