//! Files that are written once, on media that may be gone, and that may only be added to.
//!
//! In: a directory, a name, bytes. Out: the file, whole and durable, or not there. A directory that may only be added to
//! (`chattr +a`) refuses to rename and to remove what is in it, so a file is written without a name and then given one;
//! where the filesystem has no such files, under another name.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// It was written.
    Written,
    /// It was there, with these bytes.
    There,
}

/// Puts a file into a directory that exists. One that is there is never changed.
///
/// # Errors
/// As the system says; [`io::ErrorKind::AlreadyExists`] when a file of this name says something else.
pub fn put_once(directory: &Path, name: &str, bytes: &[u8]) -> io::Result<Put> {
    let path = directory.join(name);
    if is_there(&path, bytes)? {
        return Ok(Put::There);
    }
    let written = match unnamed(directory, &path, bytes) {
        Err(error) if is_unsupported(&error) => renamed(directory, &path, name, bytes),
        other => other,
    };
    match written {
        // Somebody else was faster.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && is_there(&path, bytes)? => {
            Ok(Put::There)
        }
        Err(error) => Err(error),
        Ok(()) => Ok(Put::Written),
    }
}

/// Whether the file is there with these bytes.
fn is_there(path: &Path, bytes: &[u8]) -> io::Result<bool> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
        Ok(found) if found.is_file() && found.len() == bytes.len() as u64 => {}
        Ok(_) => return Err(other()),
    }
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, libc::O_NOFOLLOW | libc::O_NONBLOCK);
    let mut read = Vec::new();
    options.read(true).open(path)?.take(bytes.len() as u64 + 1).read_to_end(&mut read)?;
    if read == bytes { Ok(true) } else { Err(other()) }
}

fn other() -> io::Error {
    io::Error::new(io::ErrorKind::AlreadyExists, "a file of this name is there, and says something else")
}

/// A file that gets its name when it is whole.
#[cfg(target_os = "linux")]
fn unnamed(directory: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    use rustix::fs::{AtFlags, CWD, Mode, OFlags, linkat, open};
    use std::os::fd::AsRawFd;
    let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
    let mut file = File::from(open(directory, flags, Mode::from_raw_mode(0o644))?);
    file.write_all(bytes)?;
    file.sync_all()?;
    let own = format!("/proc/self/fd/{}", file.as_raw_fd());
    linkat(CWD, own, CWD, path, AtFlags::SYMLINK_FOLLOW)?;
    sync_directory(directory)
}

#[cfg(not(target_os = "linux"))]
fn unnamed(_: &Path, _: &Path, _: &[u8]) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Whether the filesystem has no files without a name, or no second names.
fn is_unsupported(error: &io::Error) -> bool {
    #[cfg(target_os = "linux")]
    {
        use rustix::io::Errno;
        let known = [Errno::OPNOTSUPP, Errno::ISDIR, Errno::INVAL, Errno::NOSYS, Errno::PERM, Errno::MLINK];
        if Errno::from_io_error(error).is_some_and(|errno| known.contains(&errno)) {
            return true;
        }
    }
    error.kind() == io::ErrorKind::Unsupported
}

/// A file that is written under another name, and renamed when it is whole.
fn renamed(directory: &Path, path: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let temporary = directory.join(format!("{name}.new"));
    let write = || -> io::Result<()> {
        match fs::remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        drop(file);
        if fs::symlink_metadata(path).is_ok() {
            return Err(other());
        }
        fs::rename(&temporary, path)?;
        sync_directory(directory)
    };
    write().inspect_err(|_| drop(fs::remove_file(&temporary)))
}

fn sync_directory(directory: &Path) -> io::Result<()> {
    #[cfg(unix)]
    File::open(directory)?.sync_all()?;
    #[cfg(not(unix))]
    let _ = directory;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_file_is_written_once() {
        let home = tempfile::tempdir().unwrap();
        let put = |bytes: &[u8]| put_once(home.path(), "1", bytes);
        assert_eq!(put(b"one").unwrap(), Put::Written);
        assert_eq!(put(b"one").unwrap(), Put::There);
        for other in [&b"two"[..], b"on", b"ones", b""] {
            assert_eq!(put(other).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        }
        assert_eq!(fs::read(home.path().join("1")).unwrap(), b"one");
        assert_eq!(names(home.path()), ["1"]);
        let gone = put_once(&home.path().join("gone"), "1", b"x").unwrap_err();
        assert_eq!(gone.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn without_files_that_have_no_name_it_is_renamed() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("1");
        fs::write(home.path().join("1.new"), "left by a crash").unwrap();
        renamed(home.path(), &path, "1", b"one").unwrap();
        renamed(home.path(), &path, "1", b"two").unwrap_err();
        assert_eq!(fs::read(&path).unwrap(), b"one");
        assert_eq!(names(home.path()), ["1"]);
    }

    #[cfg(unix)]
    #[test]
    fn what_somebody_laid_there_is_not_followed() {
        let home = tempfile::tempdir().unwrap();
        let victim = home.path().join("victim");
        fs::write(&victim, "precious").unwrap();
        for name in ["1", "2.new"] {
            std::os::unix::fs::symlink(&victim, home.path().join(name)).unwrap();
        }
        put_once(home.path(), "1", b"precious").unwrap_err();
        renamed(home.path(), &home.path().join("2"), "2", b"two").unwrap();
        assert_eq!(fs::read(&victim).unwrap(), b"precious");
    }
}
