//! The lock that makes one monitor (or one init) the only one.

use crate::error::StoreError;
use crate::permissions;
use crate::state_dir::StateDir;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::time::Duration;

/// Held while it lives; the kernel frees it when the process ends, however it ends.
#[derive(Debug)]
pub struct Lock {
    file: File,
    /// Where the holder's line is, when that is not the file itself.
    line: Option<File>,
}

impl Lock {
    /// How many bytes of the holder's line others read.
    pub const LONGEST_LINE: usize = 256 * 1024;

    /// Takes the lock and leaves `holder` (one line, such as `monitor, pid 812`) for others to read.
    ///
    /// # Errors
    /// [`StoreError::Locked`] with the holder's line when it is taken.
    pub fn take(dir: &StateDir, holder: &str) -> Result<Lock, StoreError> {
        let path = dir.lock_file();
        let io = |error| StoreError::io(&path, error);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let mut file = permissions::with_mode(&mut options, 0o600).open(&path).map_err(io)?;
        match try_for_a_moment(&file) {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(StoreError::Locked(dir.path().to_path_buf(), read_holder(dir, &mut file)));
            }
            Err(TryLockError::Error(error)) => return Err(io(error)),
        }
        let line = permissions::LOCKS_KEEP_READERS_OUT.then(|| File::create(line_file(dir)).ok()).flatten();
        let mut lock = Lock { file, line };
        lock.describe(holder);
        Ok(lock)
    }

    /// Leaves another line for others to read, of at most [`Lock::LONGEST_LINE`] bytes. False when it could not be
    /// written: the line is a courtesy, and a full disk must not keep anybody from watching.
    pub fn describe(&mut self, holder: &str) -> bool {
        let file = self.line.as_mut().unwrap_or(&mut self.file);
        // Cut to its length at the end: nobody finds it empty, and what room it has is not given away first.
        file.seek(SeekFrom::Start(0))
            .and_then(|_| file.write_all(holder.as_bytes()))
            .and_then(|()| file.set_len(holder.len() as u64))
            .is_ok()
    }

    /// Who holds the lock now, if anybody does.
    pub fn holder(dir: &StateDir) -> Option<String> {
        let mut file = OpenOptions::new().read(true).open(dir.lock_file()).ok()?;
        match file.try_lock_shared() {
            Err(TryLockError::WouldBlock) => Some(read_holder(dir, &mut file)),
            _ => {
                let _ = file.unlock();
                None
            }
        }
    }
}

/// Not closing alone: a process that is just being started has every open file, and with it the lock, until it runs
/// its own program.
impl Drop for Lock {
    fn drop(&mut self) {
        let _ = self.file.unlock();
    }
}

/// Somebody who only looks whether it is held ([`Lock::holder`]) has it for microseconds: those are waited for.
fn try_for_a_moment(file: &File) -> Result<(), TryLockError> {
    for _ in 0..5 {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(10)),
            other => return other,
        }
    }
    file.try_lock()
}

/// Where the holder's line is on systems on which nobody can read a locked file.
fn line_file(dir: &StateDir) -> PathBuf {
    dir.path().join("waxseal.holder")
}

fn read_holder(dir: &StateDir, file: &mut File) -> String {
    let mut line = None;
    if permissions::LOCKS_KEEP_READERS_OUT {
        line = File::open(line_file(dir)).ok();
    }
    let file = line.as_mut().unwrap_or(file);
    let mut bytes = Vec::new();
    let _ = file
        .seek(SeekFrom::Start(0))
        .and_then(|_| file.take(Lock::LONGEST_LINE as u64).read_to_end(&mut bytes));
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::state_below;

    #[test]
    fn the_second_is_refused_and_told_who_holds_it() {
        let temp = tempfile::tempdir().unwrap();
        let dir = state_below(temp.path());
        assert_eq!(Lock::holder(&dir), None);
        let held = Lock::take(&dir, "monitor, pid 1").unwrap();
        let refused = Lock::take(&dir, "monitor, pid 2").unwrap_err().to_string();
        assert!(refused.contains("monitor, pid 1"), "{refused}");
        assert_eq!(Lock::holder(&dir).as_deref(), Some("monitor, pid 1"));
        drop(held);
        assert!(Lock::take(&dir, "monitor, pid 3").is_ok());
    }

    #[test]
    fn a_line_takes_the_place_of_a_longer_one() {
        let temp = tempfile::tempdir().unwrap();
        let dir = state_below(temp.path());
        let mut held = Lock::take(&dir, r#"{"path":"a\\\"b\u2066"}"#).unwrap();
        assert_eq!(Lock::holder(&dir).as_deref(), Some(r#"{"path":"a\\\"b\u2066"}"#));
        assert!(held.describe("short"));
        assert_eq!(Lock::holder(&dir).as_deref(), Some("short"));
    }

    #[test]
    fn given_up_it_is_free_although_a_child_still_has_the_file() {
        let temp = tempfile::tempdir().unwrap();
        let dir = state_below(temp.path());
        let held = Lock::take(&dir, "monitor, pid 1").unwrap();
        let child = held.file.try_clone().unwrap();
        drop(held);
        assert_eq!(Lock::holder(&dir), None);
        let held = Lock::take(&dir, "monitor, pid 2").unwrap();
        drop((child, held));
    }
}
