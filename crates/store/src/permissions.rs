//! Who may use the files of the state directory, as far as this system tells.
//!
//! On Unix: owner and mode. On Windows files inherit the access list of the directory above, which below a user's
//! profile admits that user and the system; it is neither set nor checked here.

use std::fs::{Metadata, OpenOptions};
use std::io;
use std::path::Path;

#[cfg(unix)]
mod system {
    use super::*;
    use std::fs::DirBuilder;
    use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};

    /// Whether what is locked can be read by nobody else.
    pub(crate) const LOCKS_KEEP_READERS_OUT: bool = false;

    /// Opening a FIFO must not wait for a writer (`O_NONBLOCK` of Linux and of the other systems).
    const NONBLOCK: i32 = if cfg!(target_os = "linux") { 0o4000 } else { 4 };

    /// Has a file that is made admit those whom the mode names.
    pub(crate) fn with_mode(options: &mut OpenOptions, mode: u32) -> &mut OpenOptions {
        options.mode(mode)
    }

    /// Has an open not wait for whoever writes to a FIFO.
    pub(crate) fn without_waiting(options: &mut OpenOptions) -> &mut OpenOptions {
        options.custom_flags(NONBLOCK)
    }

    /// Makes a directory for its owner alone.
    pub(crate) fn create_dir(path: &Path) -> io::Result<()> {
        DirBuilder::new().mode(0o700).create(path)
    }

    /// Whether somebody else than `uid` owns it.
    pub(crate) fn belongs_to_another(meta: &Metadata, uid: u32) -> bool {
        meta.uid() != uid
    }

    /// Whether others than the owner may write to it.
    pub(crate) fn others_may_write(meta: &Metadata) -> bool {
        meta.mode() & 0o022 != 0
    }

    /// Whether others than the owner may read it.
    pub(crate) fn others_may_read(meta: &Metadata) -> bool {
        meta.mode() & 0o055 != 0
    }

    /// Fills the buffer with what stands at a place of a file.
    pub(crate) fn read_at(file: &std::fs::File, at: u64, buffer: &mut [u8]) -> io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(file, buffer, at)
    }

    /// Makes the names in a directory durable.
    pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
        std::fs::File::open(dir)?.sync_all()
    }

    /// Makes the content of a file durable that was written through another handle.
    pub(crate) fn sync_file(path: &Path) -> io::Result<()> {
        std::fs::File::open(path)?.sync_all()
    }
}

#[cfg(not(unix))]
mod system {
    use super::*;

    /// Whether what is locked can be read by nobody else.
    pub(crate) const LOCKS_KEEP_READERS_OUT: bool = true;

    /// Has a file that is made admit those whom its directory's access list admits.
    pub(crate) fn with_mode(options: &mut OpenOptions, _: u32) -> &mut OpenOptions {
        options
    }

    /// There are no FIFOs among files.
    pub(crate) fn without_waiting(options: &mut OpenOptions) -> &mut OpenOptions {
        options
    }

    /// Makes a directory, for those whom the access list above admits.
    pub(crate) fn create_dir(path: &Path) -> io::Result<()> {
        std::fs::create_dir(path)
    }

    /// Not asked.
    pub(crate) fn belongs_to_another(_: &Metadata, _: u32) -> bool {
        false
    }

    /// Not asked.
    pub(crate) fn others_may_write(_: &Metadata) -> bool {
        false
    }

    /// Not asked.
    pub(crate) fn others_may_read(_: &Metadata) -> bool {
        false
    }

    /// Fills the buffer with what stands at a place of a file.
    #[cfg(windows)]
    pub(crate) fn read_at(file: &std::fs::File, mut at: u64, mut buffer: &mut [u8]) -> io::Result<()> {
        while !buffer.is_empty() {
            let read = std::os::windows::fs::FileExt::seek_read(file, buffer, at)?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            at += read as u64;
            buffer = buffer.get_mut(read..).unwrap_or_default();
        }
        Ok(())
    }

    /// Directories cannot be synced: NTFS journals names by itself.
    pub(crate) fn sync_dir(_: &Path) -> io::Result<()> {
        Ok(())
    }

    /// Makes the content of a file durable that was written through another handle. Only what may be written to can be
    /// flushed.
    pub(crate) fn sync_file(path: &Path) -> io::Result<()> {
        OpenOptions::new().write(true).open(path)?.sync_all()
    }
}

pub(crate) use system::*;
