//! Making and changing files, with control over what the kernel keeps about them.

use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps, UTIME_OMIT};
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Writes a file and the directories above it.
#[track_caller]
pub fn write(path: impl AsRef<Path>, content: impl AsRef<[u8]>) {
    let path = path.as_ref();
    fs::create_dir_all(path.parent().expect("a parent")).expect("directories");
    fs::write(path, content).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

/// Appends to a file.
#[track_caller]
pub fn append(path: impl AsRef<Path>, content: &[u8]) {
    use std::io::Write;
    let mut file = fs::OpenOptions::new().append(true).open(path).expect("open");
    file.write_all(content).expect("append");
}

/// Writes other content of the same length into the same file and puts the time of modification back.
#[track_caller]
pub fn overwrite_unseen(path: impl AsRef<Path>) {
    let path = path.as_ref();
    let before = fs::metadata(path).expect("metadata");
    let content: Vec<u8> = fs::read(path).expect("read").iter().map(|byte| byte ^ 1).collect();
    assert!(!content.is_empty(), "an empty file has no other content of its length");
    fs::write(path, content).expect("write");
    set_mtime(path, before.mtime(), before.mtime_nsec());
    let after = fs::metadata(path).expect("metadata");
    assert_eq!((before.size(), before.mtime_nsec()), (after.size(), after.mtime_nsec()));
}

/// Sets the time of modification of a path itself, links not followed.
#[track_caller]
pub fn set_mtime(path: impl AsRef<Path>, seconds: i64, nanoseconds: i64) {
    let times = Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: seconds, tv_nsec: nanoseconds },
    };
    rustix::fs::utimensat(CWD, path.as_ref(), &times, AtFlags::SYMLINK_NOFOLLOW).expect("utimensat");
}

/// Sets the time of last access.
#[track_caller]
pub fn set_atime(path: impl AsRef<Path>, seconds: i64) {
    let times = Timestamps {
        last_access: Timespec { tv_sec: seconds, tv_nsec: 0 },
        last_modification: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
    };
    rustix::fs::utimensat(CWD, path.as_ref(), &times, AtFlags::SYMLINK_NOFOLLOW).expect("utimensat");
}

/// Sets the permissions.
#[track_caller]
pub fn chmod(path: impl AsRef<Path>, mode: u32) {
    rustix::fs::chmod(path.as_ref(), Mode::from_raw_mode(mode)).expect("chmod");
}

/// Makes a FIFO.
#[track_caller]
pub fn make_fifo(path: impl AsRef<Path>) {
    rustix::fs::mknodat(CWD, path.as_ref(), FileType::Fifo, Mode::from_raw_mode(0o644), 0).expect("mkfifo");
}

/// Makes a socket.
#[track_caller]
pub fn make_socket(path: impl AsRef<Path>) {
    rustix::fs::mknodat(CWD, path.as_ref(), FileType::Socket, Mode::from_raw_mode(0o644), 0).expect("mknod");
}

/// Makes a character device.
#[track_caller]
pub fn make_device(path: impl AsRef<Path>, major: u32, minor: u32) {
    let device = rustix::fs::makedev(major, minor);
    let mode = Mode::from_raw_mode(0o644);
    rustix::fs::mknodat(CWD, path.as_ref(), FileType::CharacterDevice, mode, device).expect("mknod");
    assert!(fs::symlink_metadata(path).expect("metadata").file_type().is_char_device());
}

/// Makes directories one below the other, each of this name, and returns the last one, open: no path leads there
/// when they are too many.
#[track_caller]
pub fn make_deep(top: impl AsRef<Path>, name: &str, levels: usize) -> rustix::fd::OwnedFd {
    use rustix::fs::OFlags;
    let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
    let mut here = rustix::fs::open(top.as_ref(), flags, Mode::empty()).expect("open");
    for _ in 0..levels {
        rustix::fs::mkdirat(&here, name, Mode::from_raw_mode(0o755)).expect("mkdir");
        here = rustix::fs::openat(&here, name, flags, Mode::empty()).expect("open");
    }
    here
}

/// Writes a file into an open directory.
#[track_caller]
pub fn write_at(directory: &rustix::fd::OwnedFd, name: &str, content: &[u8]) {
    use rustix::fs::OFlags;
    use std::io::Write;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC;
    let file = rustix::fs::openat(directory, name, flags, Mode::from_raw_mode(0o644)).expect("open");
    fs::File::from(file).write_all(content).expect("write");
}

/// Makes a file of this length that has no blocks but for one byte at its end.
#[track_caller]
pub fn write_sparse(path: impl AsRef<Path>, length: u64) {
    use std::os::unix::fs::FileExt;
    let file = fs::OpenOptions::new().write(true).create_new(true).mode(0o644).open(path).expect("open");
    file.write_all_at(b"x", length - 1).expect("write");
}

/// Swaps two names, in one step.
#[track_caller]
pub fn exchange(a: impl AsRef<Path>, b: impl AsRef<Path>) {
    rustix::fs::renameat_with(CWD, a.as_ref(), CWD, b.as_ref(), rustix::fs::RenameFlags::EXCHANGE)
        .expect("exchange");
}

/// Everything below a directory, links not followed.
pub fn below(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut rest = vec![directory.to_owned()];
    while let Some(directory) = rest.pop() {
        for entry in fs::read_dir(&directory).expect("read_dir") {
            let path = entry.expect("entry").path();
            if fs::symlink_metadata(&path).expect("metadata").is_dir() {
                rest.push(path.clone());
            }
            found.push(path);
        }
    }
    found
}
