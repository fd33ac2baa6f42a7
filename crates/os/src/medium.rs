//! Files that are written once, on media that may be gone, and that may only be added to.
//!
//! In: a directory, a name, bytes. Out: the file, whole and durable, or not there. A directory that may only be added to
//! (`chattr +a`) refuses to rename and to remove what is in it, so a file is written without a name and then given one;
//! where the filesystem has no such files, under another name.

#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "this is the home of file access")]

use std::io;
use std::path::Path;

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// It was written.
    Written,
    /// It was there, with these bytes.
    There,
}

/// Puts a file into a directory that exists, and that no link leads to. One that is there is never changed.
///
/// # Errors
/// As the system says; [`io::ErrorKind::AlreadyExists`] when a file of this name says something else.
pub fn put_once(directory: &Path, name: &str, bytes: &[u8]) -> io::Result<Put> {
    let directory = Directory::open(directory)?;
    if directory.has(name, bytes)? {
        // Whoever wrote it may have been interrupted before it was durable.
        directory.sync()?;
        return Ok(Put::There);
    }
    let written = match directory.write_unnamed(name, bytes) {
        Err(error) if is_unsupported(&error) => directory.write_renamed(name, bytes),
        other => other,
    };
    match written {
        // Somebody else was faster.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && directory.has(name, bytes)? => {
            directory.sync()?;
            Ok(Put::There)
        }
        Err(error) => Err(error),
        Ok(()) => directory.sync().map(|()| Put::Written),
    }
}

fn says_something_else() -> io::Error {
    io::Error::new(io::ErrorKind::AlreadyExists, "a file of this name is there, and says something else")
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

#[cfg(not(unix))]
use other::Directory;
#[cfg(unix)]
use unix::Directory;

/// Everything is done in the directory that was opened, wherever its path leads meanwhile.
#[cfg(unix)]
mod unix {
    use super::says_something_else;
    use rustix::fs::{self, AtFlags, CWD, FileType, Mode, OFlags};
    use rustix::io::Errno;
    use std::fs::File;
    use std::io::{self, Read, Write};
    use std::os::fd::OwnedFd;
    use std::path::Path;

    const MODE: Mode = Mode::from_raw_mode(0o644);

    pub(super) struct Directory(OwnedFd);

    impl Directory {
        pub(super) fn open(path: &Path) -> io::Result<Directory> {
            match open(path) {
                Ok(directory) => Ok(Directory(directory)),
                Err(Errno::LOOP) => {
                    let message = "a symbolic link leads to it: give its own path";
                    Err(io::Error::new(io::ErrorKind::InvalidInput, message))
                }
                Err(error) => Err(error.into()),
            }
        }

        /// Whether the file is there with these bytes.
        pub(super) fn has(&self, name: &str, bytes: &[u8]) -> io::Result<bool> {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let file = match fs::openat(&self.0, name, flags, Mode::empty()) {
                Ok(file) => file,
                Err(Errno::NOENT) => return Ok(false),
                // A link, a socket, a device without a driver.
                Err(Errno::LOOP | Errno::NXIO | Errno::NODEV) => return Err(says_something_else()),
                Err(error) => return Err(error.into()),
            };
            let found = fs::fstat(&file)?;
            if FileType::from_raw_mode(found.st_mode) != FileType::RegularFile {
                return Err(says_something_else());
            }
            let mut read = Vec::new();
            File::from(file).take(bytes.len() as u64 + 1).read_to_end(&mut read)?;
            if read == bytes { Ok(true) } else { Err(says_something_else()) }
        }

        /// A file that gets its name when it is whole.
        #[cfg(target_os = "linux")]
        pub(super) fn write_unnamed(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
            use std::os::fd::AsRawFd;
            let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
            let mut file = File::from(fs::openat(&self.0, ".", flags, MODE)?);
            file.write_all(bytes)?;
            file.sync_all()?;
            let own = format!("/proc/self/fd/{}", file.as_raw_fd());
            Ok(fs::linkat(CWD, own, &self.0, name, AtFlags::SYMLINK_FOLLOW)?)
        }

        #[cfg(not(target_os = "linux"))]
        pub(super) fn write_unnamed(&self, _: &str, _: &[u8]) -> io::Result<()> {
            Err(io::ErrorKind::Unsupported.into())
        }

        /// A file that is written under another name, and renamed when it is whole.
        pub(super) fn write_renamed(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
            let other = format!("{name}.new");
            let write = || -> io::Result<()> {
                match fs::unlinkat(&self.0, &other, AtFlags::empty()) {
                    Ok(()) | Err(Errno::NOENT) => {}
                    Err(error) => return Err(error.into()),
                }
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
                let mut file = File::from(fs::openat(&self.0, &other, flags, MODE)?);
                file.write_all(bytes)?;
                file.sync_all()?;
                drop(file);
                self.rename(&other, name)
            };
            write().inspect_err(|_| {
                let _ = fs::unlinkat(&self.0, &other, AtFlags::empty());
            })
        }

        /// Without replacing anything.
        fn rename(&self, from: &str, to: &str) -> io::Result<()> {
            #[cfg(target_os = "linux")]
            match fs::renameat_with(&self.0, from, &self.0, to, fs::RenameFlags::NOREPLACE) {
                Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {}
                renamed => return Ok(renamed?),
            }
            match fs::statat(&self.0, to, AtFlags::SYMLINK_NOFOLLOW) {
                Err(Errno::NOENT) => Ok(fs::renameat(&self.0, from, &self.0, to)?),
                Ok(_) => Err(says_something_else()),
                Err(error) => Err(error.into()),
            }
        }

        pub(super) fn sync(&self) -> io::Result<()> {
            Ok(fs::fsync(&self.0)?)
        }
    }

    const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

    #[cfg(target_os = "linux")]
    fn open(path: &Path) -> rustix::io::Result<OwnedFd> {
        use rustix::fs::ResolveFlags;
        match fs::openat2(CWD, path, DIRECTORY, Mode::empty(), ResolveFlags::NO_SYMLINKS) {
            // Before Linux 5.6, or forbidden by a filter that is as old.
            Err(Errno::NOSYS | Errno::PERM) => fs::open(path, DIRECTORY | OFlags::NOFOLLOW, Mode::empty()),
            opened => opened,
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn open(path: &Path) -> rustix::io::Result<OwnedFd> {
        fs::open(path, DIRECTORY | OFlags::NOFOLLOW, Mode::empty())
    }
}

#[cfg(not(unix))]
mod other {
    use super::says_something_else;
    use std::fs::{self, File, OpenOptions};
    use std::io::{self, Read, Write};
    use std::path::{Path, PathBuf};

    pub(super) struct Directory(PathBuf);

    impl Directory {
        pub(super) fn open(path: &Path) -> io::Result<Directory> {
            if fs::symlink_metadata(path)?.is_dir() {
                Ok(Directory(path.to_path_buf()))
            } else {
                Err(io::ErrorKind::NotADirectory.into())
            }
        }

        pub(super) fn has(&self, name: &str, bytes: &[u8]) -> io::Result<bool> {
            let path = self.0.join(name);
            match fs::symlink_metadata(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
                Err(error) => return Err(error),
                Ok(found) if found.is_file() && found.len() == bytes.len() as u64 => {}
                Ok(_) => return Err(says_something_else()),
            }
            let mut read = Vec::new();
            File::open(path)?.take(bytes.len() as u64 + 1).read_to_end(&mut read)?;
            if read == bytes { Ok(true) } else { Err(says_something_else()) }
        }

        pub(super) fn write_unnamed(&self, _: &str, _: &[u8]) -> io::Result<()> {
            Err(io::ErrorKind::Unsupported.into())
        }

        pub(super) fn write_renamed(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
            let (path, other) = (self.0.join(name), self.0.join(format!("{name}.new")));
            let write = || -> io::Result<()> {
                match fs::remove_file(&other) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
                let mut file = OpenOptions::new().write(true).create_new(true).open(&other)?;
                file.write_all(bytes)?;
                file.sync_all()?;
                drop(file);
                if fs::symlink_metadata(&path).is_ok() {
                    return Err(says_something_else());
                }
                fs::rename(&other, &path)
            };
            write().inspect_err(|_| drop(fs::remove_file(&other)))
        }

        pub(super) fn sync(&self) -> io::Result<()> {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

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
        let directory = Directory::open(home.path()).unwrap();
        directory.write_renamed("1", b"one").unwrap();
        let there = directory.write_renamed("1", b"two").unwrap_err();
        assert_eq!(there.kind(), io::ErrorKind::AlreadyExists);
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
        Directory::open(home.path()).unwrap().write_renamed("2", b"two").unwrap();
        assert_eq!(fs::read(&victim).unwrap(), b"precious");
        // A FIFO is not waited for.
        let fifo = home.path().join("3");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        assert_eq!(put_once(home.path(), "3", b"x").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn no_link_leads_to_the_directory() {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir_all(home.path().join("own/below")).unwrap();
        std::os::unix::fs::symlink("own", home.path().join("link")).unwrap();
        std::os::unix::fs::symlink("below", home.path().join("own/link")).unwrap();
        for led in ["link/below", "own/link"] {
            let error = put_once(&home.path().join(led), "1", b"x").unwrap_err();
            assert!(error.to_string().contains("symbolic link"), "{error}");
        }
        assert!(names(&home.path().join("own/below")).is_empty());
    }
}
