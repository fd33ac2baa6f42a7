//! The state directory: who may own it, and what is in it.

use crate::error::StoreError;
use crate::permissions;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A state directory that only its owner can change.
#[derive(Debug, Clone)]
pub struct StateDir {
    path: PathBuf,
}

impl StateDir {
    /// The directory at `path`, which must exist.
    ///
    /// # Errors
    /// [`StoreError::NoState`] when it does not exist; [`StoreError::Insecure`] when it is a link, belongs to
    /// somebody else than `uid`, or others may write to it.
    pub fn open(path: &Path, uid: u32) -> Result<StateDir, StoreError> {
        let insecure = |why| Err(StoreError::Insecure(path.to_path_buf(), why));
        let meta = match fs::symlink_metadata(path) {
            Ok(meta) => meta,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(StoreError::NoState(path.to_path_buf()));
            }
            Err(error) => return Err(StoreError::io(path, error)),
        };
        if meta.is_symlink() {
            return insecure("is a symbolic link: give the directory that it points to");
        }
        if !meta.is_dir() {
            return insecure("is not a directory: give another one with --state-dir");
        }
        if permissions::belongs_to_another(&meta, uid) {
            return insecure("belongs to another user: give one of your own with --state-dir, or chown it");
        }
        if permissions::others_may_write(&meta) {
            return insecure(
                "may be written to by others: `chmod go-w` it after making sure that nobody did",
            );
        }
        Ok(StateDir { path: path.to_path_buf() })
    }

    /// None: for a store in memory.
    pub(crate) fn nowhere() -> StateDir {
        StateDir { path: PathBuf::new() }
    }

    /// The directory at `path`, made durably (with those above it) when missing, for its owner only.
    ///
    /// # Errors
    /// As [`StateDir::open`], and when it cannot be made.
    pub fn create(path: &Path, uid: u32) -> Result<StateDir, StoreError> {
        if fs::symlink_metadata(path).is_err() {
            if let Some(parent) = path.parent() {
                make_directories(parent)?;
            }
            match permissions::create_dir(path) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(StoreError::io(path, error));
                }
                _ => sync_parent(path).map_err(|error| StoreError::io(path, error))?,
            }
        }
        StateDir::open(path, uid)
    }

    /// Whether others than the owner may look into it: it is made for its owner alone.
    pub fn others_may_read(&self) -> bool {
        fs::symlink_metadata(&self.path).is_ok_and(|meta| permissions::others_may_read(&meta))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The database.
    pub fn database(&self) -> PathBuf {
        self.path.join("waxseal.db")
    }

    /// The files that a monitor writes all the time: the database and its log.
    pub fn written(&self) -> [PathBuf; 2] {
        [self.database(), self.path.join("waxseal.db-wal")]
    }

    /// The host's key, which signs the log.
    pub fn log_key(&self) -> PathBuf {
        self.path.join("log.key")
    }

    /// The key of the log's epoch.
    pub fn epoch_key(&self) -> PathBuf {
        self.path.join("epoch.key")
    }

    /// The verifier key line of the key that seals baselines.
    pub fn sealing_verifier_key(&self) -> PathBuf {
        self.path.join("sealing.vkey")
    }

    /// What is taken away, to verify the log with later.
    pub fn verification(&self) -> PathBuf {
        self.path.join("waxseal.verification")
    }

    /// The sealing key, unless it was put elsewhere.
    pub fn sealing_key(&self) -> PathBuf {
        self.path.join("sealing.key")
    }

    /// The verifier key line of the host's key.
    pub fn verifier_key(&self) -> PathBuf {
        self.path.join("waxseal.vkey")
    }

    /// The lock of the one monitor.
    pub fn lock_file(&self) -> PathBuf {
        self.path.join("waxseal.lock")
    }

    /// Whether a baseline was ever sealed here.
    pub fn has_database(&self) -> bool {
        fs::symlink_metadata(self.database()).is_ok()
    }
}

/// Reads a small text file: a key, a config.
///
/// # Errors
/// When it cannot be read, is larger than 4 MiB, or is not UTF-8.
pub fn read_text(path: &Path) -> Result<String, StoreError> {
    let bytes = read_bytes(path, 4 << 20)?;
    String::from_utf8(bytes).map_err(|_| StoreError::io(path, io::Error::other("it is not UTF-8 text")))
}

/// Reads a regular file of at most `limit` bytes.
///
/// # Errors
/// When it cannot be read, is no regular file, or is larger.
pub fn read_bytes(path: &Path, limit: u64) -> Result<Vec<u8>, StoreError> {
    use std::io::Read;
    let io = |error| StoreError::io(path, error);
    let mut options = OpenOptions::new();
    let mut file = permissions::without_waiting(options.read(true)).open(path).map_err(io)?;
    if !file.metadata().map_err(io)?.is_file() {
        return Err(io(io::Error::other("it is not a regular file")));
    }
    let mut bytes = Vec::new();
    let read = (&mut file).take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(io)?;
    if read as u64 > limit {
        return Err(io(io::Error::other(format!("it is larger than {limit} bytes"))));
    }
    Ok(bytes)
}

/// Writes a new file durably: under a temporary name, synced, then renamed; the directory is synced as well. The
/// file appears whole or not at all.
///
/// # Errors
/// When it exists already, or cannot be written; nothing is left behind then.
pub fn write_new(path: &Path, text: &[u8], mode: u32) -> Result<(), StoreError> {
    if fs::symlink_metadata(path).is_ok() {
        return Err(StoreError::io(path, io::Error::from(io::ErrorKind::AlreadyExists)));
    }
    replace(path, text, mode)
}

/// As [`write_new`], and takes the place of a file that exists.
///
/// # Errors
/// When it cannot be written; the old file stays then.
pub fn replace(path: &Path, text: &[u8], mode: u32) -> Result<(), StoreError> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    let temporary = PathBuf::from(temporary);
    let write = || -> io::Result<()> {
        let _ = fs::remove_file(&temporary);
        let mut options = OpenOptions::new();
        let mut file = permissions::with_mode(options.write(true).create_new(true), mode).open(&temporary)?;
        file.write_all(text)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        sync_parent(path)
    };
    write().map_err(|error| {
        let _ = fs::remove_file(&temporary);
        StoreError::io(path, error)
    })
}

/// Writes a new file durably, as long as it may be: under a temporary name, synced, then given its name; the directory
/// is synced as well. The file appears whole or not at all, and takes nobody's place.
///
/// # Errors
/// When it exists already, cannot be written, or `write` fails; nothing is left behind then.
pub fn write_new_with<T>(
    path: &Path,
    mode: u32,
    write: impl FnOnce(&mut io::BufWriter<fs::File>) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let exists = || StoreError::io(path, io::Error::from(io::ErrorKind::AlreadyExists));
    if fs::symlink_metadata(path).is_ok() {
        return Err(exists());
    }
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}.new", std::process::id()));
    let temporary = PathBuf::from(temporary);
    let mut options = OpenOptions::new();
    let file = permissions::with_mode(options.write(true).create_new(true), mode).open(&temporary);
    let mut out = io::BufWriter::with_capacity(256 << 10, file.map_err(|error| StoreError::io(path, error))?);
    let finish = |out: io::BufWriter<fs::File>| -> io::Result<()> {
        out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        match fs::hard_link(&temporary, path) {
            Ok(()) => fs::remove_file(&temporary)?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(error),
            // A filesystem without links, as most removable ones are.
            Err(_) if fs::symlink_metadata(path).is_ok() => return Err(io::ErrorKind::AlreadyExists.into()),
            Err(_) => fs::rename(&temporary, path)?,
        }
        sync_parent(path)
    };
    let written = write(&mut out).and_then(|value| {
        finish(out).map_err(|error| StoreError::io(path, error))?;
        Ok(value)
    });
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}

/// Makes a directory and those above it where they are missing, durably: each is synced into the one above it.
///
/// # Errors
/// As the file system says.
pub fn make_directories(path: &Path) -> Result<(), StoreError> {
    let above = path.ancestors().take_while(|above| !above.as_os_str().is_empty());
    let missing: Vec<&Path> = above.take_while(|above| !above.is_dir()).collect();
    for directory in missing.into_iter().rev() {
        let made = match fs::create_dir(directory) {
            // Somebody else was faster.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && directory.is_dir() => Ok(()),
            made => made,
        };
        made.and_then(|()| sync_parent(directory)).map_err(|error| StoreError::io(directory, error))?;
    }
    Ok(())
}

/// Makes durable what became of this name in the directory that it is in.
pub(crate) fn sync_parent(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    permissions::sync_dir(parent)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{TinyDisk, uid};
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
    use std::process::Command;

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn one_that_is_made_is_for_its_owner_alone() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("deep/er/state");
        let dir = StateDir::create(&path, uid(home.path())).unwrap();
        assert_eq!(fs::metadata(dir.path()).unwrap().mode() & 0o777, 0o700);
        assert!(!dir.has_database());
        // Made already: the same.
        StateDir::create(&path, uid(home.path())).unwrap();
    }

    #[test]
    fn directories_are_made_below_those_that_are_there() {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        for _ in 0..2 {
            make_directories(&at("a/b/c")).unwrap();
        }
        assert!(at("a/b/c").is_dir());
        // A link to a directory is one.
        symlink("a", at("link")).unwrap();
        make_directories(&at("link/d/../e")).unwrap();
        assert!(at("a/e").is_dir());
        fs::write(at("file"), "").unwrap();
        symlink("nowhere", at("dangling")).unwrap();
        for bad in ["file", "file/a", "dangling", "dangling/a"] {
            make_directories(&at(bad)).unwrap_err();
        }
        assert!(!at("nowhere").exists());
    }

    #[test]
    fn one_that_others_could_steer_is_refused() {
        let home = tempfile::tempdir().unwrap();
        let owner = uid(home.path());
        let path = home.path().join("state");
        assert!(matches!(StateDir::open(&path, owner), Err(StoreError::NoState(_))));
        fs::create_dir(&path).unwrap();
        for mode in [0o722, 0o770, 0o1777, 0o702] {
            set_mode(&path, mode);
            let refused = StateDir::open(&path, owner);
            assert!(matches!(refused, Err(StoreError::Insecure(..))), "{mode:o}: {refused:?}");
        }
        // What others may only read is the owner's own business.
        for mode in [0o700, 0o755, 0o750] {
            set_mode(&path, mode);
            let dir = StateDir::open(&path, owner).unwrap();
            assert_eq!(dir.others_may_read(), mode != 0o700, "{mode:o}");
        }
        let refused = StateDir::open(&path, owner + 1);
        assert!(matches!(refused, Err(StoreError::Insecure(..))), "{refused:?}");
        let link = home.path().join("link");
        symlink(&path, &link).unwrap();
        for make in [StateDir::open, StateDir::create] {
            let refused = make(&link, owner);
            assert!(matches!(refused, Err(StoreError::Insecure(..))), "{refused:?}");
        }
        symlink(home.path().join("nowhere"), home.path().join("dangling")).unwrap();
        StateDir::create(&home.path().join("dangling"), owner).unwrap_err();
        assert!(!home.path().join("nowhere").exists(), "made through a link");
        fs::write(home.path().join("file"), "x").unwrap();
        let refused = StateDir::create(&home.path().join("file"), owner);
        assert!(matches!(refused, Err(StoreError::Insecure(..))), "{refused:?}");
    }

    #[test]
    fn a_file_is_written_once_and_replaced_whole() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("key");
        write_new(&path, b"first", 0o600).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        write_new(&path, b"second", 0o600).unwrap_err();
        assert_eq!(read_text(&path).unwrap(), "first");
        replace(&path, b"third", 0o644).unwrap();
        assert_eq!(read_text(&path).unwrap(), "third");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o644);
        // A link that somebody left under the temporary name is not followed, and one at the name itself is replaced.
        let victim = home.path().join("victim");
        fs::write(&victim, "precious").unwrap();
        symlink(&victim, home.path().join("key.new")).unwrap();
        replace(&path, b"fourth", 0o644).unwrap();
        let link = home.path().join("link");
        symlink(&victim, &link).unwrap();
        write_new(&link, b"x", 0o600).unwrap_err();
        replace(&link, b"fifth", 0o600).unwrap();
        assert!(!fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 3);
    }

    #[test]
    fn without_room_the_old_file_stays() {
        let Some(disk) = TinyDisk::of("64k") else { return };
        let path = disk.path().join("key");
        replace(&path, b"old", 0o600).unwrap();
        let filler = disk.fill();
        let refused = replace(&path, &[b'x'; 9000], 0o600);
        assert!(matches!(refused, Err(StoreError::Full)), "{refused:?}");
        assert_eq!(read_text(&path).unwrap(), "old");
        filler.remove();
        assert_eq!(fs::read_dir(disk.path()).unwrap().count(), 1, "nothing is left of the attempt");
    }

    #[test]
    fn only_small_regular_files_of_text_are_read() {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        fs::write(at("text"), "text").unwrap();
        assert_eq!(read_bytes(&at("text"), 4).unwrap(), b"text");
        read_bytes(&at("text"), 3).unwrap_err();
        fs::write(at("bytes"), b"\xff").unwrap();
        read_text(&at("bytes")).unwrap_err();
        read_text(home.path()).unwrap_err();
        read_text(&at("missing")).unwrap_err();
        // Nobody writes to it: a read that waited for somebody would not end.
        assert!(Command::new("mkfifo").arg(at("fifo")).status().unwrap().success());
        read_text(&at("fifo")).unwrap_err();
        read_text(Path::new("/dev/zero")).unwrap_err();
    }
}
