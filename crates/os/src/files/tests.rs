#![allow(clippy::disallowed_methods, reason = "tests make their own files")]

use super::*;
use rustix::fs::CWD;
use std::fs;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use tempfile::TempDir;

/// A directory with one of each kind of object that anybody may make.
struct Place {
    home: TempDir,
    dir: Dir,
}

fn place() -> Place {
    let home = TempDir::new().unwrap();
    let at = |name: &str| home.path().join(name);
    fs::write(at("file"), "content").unwrap();
    fs::create_dir(at("dir")).unwrap();
    symlink("file", at("link")).unwrap();
    symlink("dir", at("link-to-dir")).unwrap();
    symlink("nowhere", at("dangling")).unwrap();
    node(&at("fifo"), rustix::fs::FileType::Fifo);
    node(&at("socket"), rustix::fs::FileType::Socket);
    let dir = open(home.path());
    Place { home, dir }
}

fn node(path: &Path, file_type: rustix::fs::FileType) {
    rustix::fs::mknodat(CWD, path, file_type, Mode::from_raw_mode(0o640), 0).unwrap();
}

fn raw(path: &Path) -> RawPath {
    RawPath::new(path.as_os_str().as_bytes())
}

fn open(path: &Path) -> Dir {
    let (parent, name) = Dir::parent_of(&raw(path)).unwrap();
    parent.open_dir(&name).unwrap()
}

fn names(dir: &Dir, buffer: usize) -> Vec<Vec<u8>> {
    let mut names = Vec::new();
    dir.list(&mut vec![MaybeUninit::uninit(); buffer], |name, _| names.push(name.to_vec())).unwrap();
    names.sort();
    names
}

#[test]
fn each_kind_is_what_it_is_and_links_are_not_followed() {
    let place = place();
    for (name, file_type) in [
        ("file", FileType::File),
        ("dir", FileType::Dir),
        ("link", FileType::Symlink),
        ("link-to-dir", FileType::Symlink),
        ("dangling", FileType::Symlink),
        ("fifo", FileType::Fifo),
        ("socket", FileType::Socket),
    ] {
        assert_eq!(place.dir.stat(name.as_bytes()).unwrap().file_type, file_type, "{name}");
        let node = place.dir.open_node(name.as_bytes()).unwrap();
        assert_eq!(node.stat().unwrap().file_type, file_type, "{name}");
    }
    assert_eq!(place.dir.stat(b"missing"), Err(FileError::NotFound));
    assert_eq!(place.dir.open_node(b"missing").unwrap_err(), FileError::NotFound);
}

#[test]
fn only_regular_files_are_opened_for_reading_and_only_directories_for_listing() {
    let place = place();
    for name in ["dir", "link", "link-to-dir", "dangling", "fifo", "socket"] {
        // The FIFO has no writer: an open that waited for one would not return.
        let refused = place.dir.open_file(name.as_bytes());
        assert!(matches!(refused, Err(FileError::WrongType)), "{name}: {refused:?}");
    }
    for name in ["file", "link", "link-to-dir", "dangling", "fifo", "socket"] {
        let refused = place.dir.open_dir(name.as_bytes());
        assert!(matches!(refused, Err(FileError::WrongType)), "{name}: {refused:?}");
    }
    assert!(matches!(place.dir.open_file(b"missing"), Err(FileError::NotFound)));
    assert!(matches!(place.dir.open_dir(b"missing"), Err(FileError::NotFound)));
}

#[test]
fn a_name_is_one_component_and_nothing_else() {
    let place = place();
    for bad in [&b""[..], b"..", b"dir/file", b"/etc", b"/", b"file\0", b"./file"] {
        assert_eq!(place.dir.stat(bad), Err(FileError::BadName), "{bad:?}");
        assert!(matches!(place.dir.open_file(bad), Err(FileError::BadName)), "{bad:?}");
        assert!(matches!(place.dir.open_dir(bad), Err(FileError::BadName)), "{bad:?}");
        assert!(matches!(place.dir.open_node(bad), Err(FileError::BadName)), "{bad:?}");
    }
    // The directory itself, by which the root of the file system is named.
    assert_eq!(place.dir.stat(b".").unwrap().file_type, FileType::Dir);
    assert!(matches!(place.dir.stat(&[b'n'; 256]), Err(FileError::Os(Errno::NAMETOOLONG))));
}

#[test]
fn a_state_is_what_the_system_says() {
    let place = place();
    let path = place.home.path().join("file");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o4711)).unwrap();
    fs::hard_link(&path, place.home.path().join("other")).unwrap();
    let (file, state) = place.dir.open_file(b"file").unwrap();
    let metadata = fs::metadata(&path).unwrap();
    assert_eq!(state.mode, 0o4711);
    assert_eq!((state.uid, state.gid), (metadata.uid(), metadata.gid()));
    assert_eq!((state.size, state.links, state.inode), (7, 2, metadata.ino()));
    assert_eq!(state.mtime, Timestamp::new(metadata.mtime(), metadata.mtime_nsec() as u32));
    assert_eq!(state.ctime, Timestamp::new(metadata.ctime(), metadata.ctime_nsec() as u32));
    assert_eq!(rustix::fs::makedev(state.device.major, state.device.minor), metadata.dev());
    assert!(state.rdev().is_none() && !state.mount_root);
    assert_eq!(file.stat().unwrap(), state);
    assert_eq!(place.dir.stat(b"file").unwrap(), state);
    let null = open(Path::new("/dev")).stat(b"null").unwrap();
    assert_eq!((null.file_type, null.rdev()), (FileType::CharDev, Some(DeviceNumber { major: 1, minor: 3 })));
}

#[test]
fn a_mount_point_is_known_as_one() {
    let proc = open(Path::new("/")).stat(b"proc").unwrap();
    assert!(proc.mount_root, "{proc:?}");
}

#[test]
fn a_descriptor_stays_with_its_object_whatever_the_name_becomes() {
    let place = place();
    let (file, before) = place.dir.open_file(b"file").unwrap();
    fs::rename(place.home.path().join("file"), place.home.path().join("moved")).unwrap();
    symlink("/etc/passwd", place.home.path().join("file")).unwrap();
    let mut buffer = [0; 16];
    assert_eq!(file.read_at(&mut buffer, 0).unwrap(), 7);
    assert_eq!(&buffer[..7], b"content");
    assert_eq!(file.read_at(&mut buffer, 5).unwrap(), 2);
    assert_eq!(file.read_at(&mut buffer, 7).unwrap(), 0);
    assert_eq!(file.stat().unwrap().inode, before.inode);
    assert!(matches!(place.dir.open_file(b"file"), Err(FileError::WrongType)));
}

#[test]
fn every_name_is_listed_once_however_small_the_buffer() {
    let home = TempDir::new().unwrap();
    let mut expected: Vec<Vec<u8>> =
        (0..3000).map(|n| format!("{n:04}{}", "x".repeat(n % 250)).into_bytes()).collect();
    expected.extend([b"new\nline".to_vec(), b"\xff\xfe".to_vec(), b"...".to_vec(), vec![b'n'; 255]]);
    for name in &expected {
        fs::write(home.path().join(std::ffi::OsStr::from_bytes(name)), "").unwrap();
    }
    expected.sort();
    let dir = open(home.path());
    assert_eq!(names(&dir, 4096), expected);
    // A descriptor is read from where it stands: a second list needs a second open.
    assert_eq!(names(&open(home.path()), 256 * 1024), expected);
}

#[test]
fn a_list_calls_nothing_a_file_that_is_none() {
    let Place { home: _home, dir } = place();
    let mut files = Vec::new();
    dir.list(&mut vec![MaybeUninit::uninit(); 4096], |name, is_file| {
        files.extend(is_file.then(|| name.to_vec()));
    })
    .unwrap();
    // Some filesystems do not say.
    assert!(files.is_empty() || files == [b"file"], "{files:?}");
}

#[test]
fn what_shows_a_change_is_what_the_state_shows() {
    let Place { home, dir } = place();
    let (file, state) = dir.open_file(b"file").unwrap();
    assert_eq!(file.stamp().unwrap(), Stamp::from(&state));
    fs::write(home.path().join("file"), "longer content").unwrap();
    let (moved, now) = (file.stamp().unwrap(), file.stat().unwrap());
    assert_eq!(moved, Stamp::from(&now));
    assert_ne!(moved, Stamp::from(&state));
}

#[test]
fn a_directory_without_a_name_lists_nothing() {
    let home = TempDir::new().unwrap();
    let path = home.path().join("gone");
    fs::create_dir(&path).unwrap();
    let dir = open(&path);
    fs::remove_dir(&path).unwrap();
    let listed = dir.list(&mut vec![MaybeUninit::uninit(); 4096], |_, _| panic!("a name"));
    assert!(matches!(listed, Ok(()) | Err(FileError::NotFound)), "{listed:?}");
    assert_eq!(dir.stat(b"x"), Err(FileError::NotFound));
}

#[test]
fn paths_longer_than_a_call_takes_are_reached() {
    let home = TempDir::new().unwrap();
    let name = "d".repeat(250);
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut here = rustix::fs::open(home.path(), flags, Mode::empty()).unwrap();
    let mut path = raw(home.path());
    for _ in 0..20 {
        rustix::fs::mkdirat(&here, &name, Mode::from_raw_mode(0o700)).unwrap();
        here = rustix::fs::openat(&here, &name, flags, Mode::empty()).unwrap();
        path = path.join(name.as_bytes());
    }
    assert!(path.as_bytes().len() > libc::PATH_MAX as usize);
    let (parent, last) = Dir::parent_of(&path.join(b"file")).unwrap();
    assert_eq!(last, b"file");
    assert_eq!(parent.stat(b"file"), Err(FileError::NotFound));
    assert_eq!(parent.stat(b".").unwrap().inode, rustix::fs::fstat(&here).unwrap().st_ino);
}

#[test]
fn what_lies_above_a_path_may_be_a_link() {
    let place = place();
    let below = place.home.path().join("link-to-dir/new");
    let (parent, name) = Dir::parent_of(&raw(&below)).unwrap();
    assert_eq!((parent.stat(b".").unwrap().file_type, &name[..]), (FileType::Dir, &b"new"[..]));
    let through_file = Dir::parent_of(&raw(&place.home.path().join("file/below")));
    assert!(matches!(through_file, Err(FileError::WrongType)), "{through_file:?}");
    assert!(matches!(Dir::parent_of(&raw(&place.home.path().join("missing/x"))), Err(FileError::NotFound)));
    let (root, name) = Dir::parent_of(&RawPath::new(b"/".as_slice())).unwrap();
    assert_eq!((root.stat(&name).unwrap().file_type, &name[..]), (FileType::Dir, &b"."[..]));
}

#[test]
fn links_below_an_anchor_lead_nowhere() {
    let place = place();
    let home = place.home.path();
    std::fs::create_dir_all(home.join("dir/sub")).unwrap();
    std::fs::write(home.join("dir/sub/inner"), "x").unwrap();
    let below = raw(&home.join("link-to-dir/sub/inner"));
    let from = |anchor: &Path| Dir::parent_below(&below, &raw(anchor)).map(|(dir, name)| dir.stat(&name));
    assert!(matches!(from(home), Err(FileError::WrongType)));
    assert!(
        matches!(from(&home.join("link-to-dir")), Err(FileError::WrongType)),
        "the anchor itself is none"
    );
    assert!(matches!(from(&home.join("link-to-dir/sub")), Ok(Ok(_))), "links above it are followed");
    assert!(matches!(from(Path::new("/")), Err(FileError::WrongType)));
    let plain = raw(&home.join("dir/sub/inner"));
    assert!(Dir::parent_below(&plain, &raw(home)).unwrap().0.stat(b"inner").is_ok());
    // The same where it is done component by component.
    let home = fs::File::open(home).unwrap();
    for (path, reached) in [("dir/sub", true), ("link-to-dir/sub", false), ("link-to-dir", false)] {
        let parts = open_parts(Some(home.as_fd()), path.as_bytes(), OFlags::NOFOLLOW);
        let at_once = open_unfollowed(home.as_fd(), path.as_bytes());
        assert_eq!((parts.is_ok(), at_once.is_ok()), (reached, reached), "{path}");
    }
}

#[test]
fn components_are_counted_whatever_stands_between() {
    let starts = |path: &[u8]| (0..4).map(|component| start_of(path, component)).collect::<Vec<_>>();
    assert_eq!(starts(b"/a/bc/d"), [1, 3, 6, 7]);
    assert_eq!(starts(b"a//bc/"), [0, 3, 6, 6]);
    assert_eq!(starts(b"/"), [1, 1, 1, 1]);
    assert_eq!(starts(b""), [0, 0, 0, 0]);
}

#[test]
fn a_person_may_name_a_link_and_not_a_fifo() {
    let place = place();
    let (_, state) = File::named(&place.home.path().join("link")).unwrap();
    assert_eq!(state.size, 7);
    for name in ["fifo", "dir", "socket", "link-to-dir"] {
        let refused = File::named(&place.home.path().join(name));
        assert!(matches!(refused, Err(FileError::WrongType)), "{name}: {refused:?}");
    }
    assert!(matches!(File::named(Path::new("/dev/null")), Err(FileError::WrongType)));
    assert!(matches!(File::named(&place.home.path().join("dangling")), Err(FileError::NotFound)));
}

#[test]
fn targets_of_links_are_whole() {
    let home = TempDir::new().unwrap();
    let dir = open(home.path());
    for length in [1, 255, 256, 257, 4000, 4095] {
        let target = vec![b't'; length];
        if symlink(std::ffi::OsStr::from_bytes(&target), home.path().join("link")).is_err() {
            assert!(length > 1000, "{length}");
            continue;
        }
        let node = dir.open_node(b"link").unwrap();
        assert_eq!(&*node.read_link().unwrap(), &target[..], "{length}");
        fs::remove_file(home.path().join("link")).unwrap();
    }
    fs::write(home.path().join("file"), "").unwrap();
    assert!(dir.open_node(b"file").unwrap().read_link().is_err());
}

#[test]
fn holes_are_skipped_and_data_is_not() {
    let home = TempDir::new().unwrap();
    let path = home.path().join("sparse");
    let file = fs::File::create(&path).unwrap();
    file.write_all_at(b"x", 10 << 20).unwrap();
    file.set_len(30 << 20).unwrap();
    file.sync_all().unwrap();
    let (file, state) = open(home.path()).open_file(b"sparse").unwrap();
    let (start, end) = file.next_data(0, state.size).unwrap();
    assert!(start <= 10 << 20 && end > 10 << 20, "{start} to {end}");
    if start > 0 {
        // The filesystem knows holes.
        assert!(end < 20 << 20, "{start} to {end}");
        assert_eq!(file.next_data(end, state.size), None);
        assert!(file.allocated().unwrap() < 1 << 20);
    }
    assert!(file.allocated().unwrap() > 0);
}

#[test]
fn a_writer_is_noticed() {
    let place = place();
    let (file, _) = place.dir.open_file(b"file").unwrap();
    let writer = fs::OpenOptions::new().write(true).open(place.home.path().join("file")).unwrap();
    // Where leases cannot be had, that is said.
    assert!(matches!(file.has_writer(), Some(true) | None));
    drop(writer);
    assert_ne!(file.has_writer(), Some(true));
    // Nothing of it remains: a writer that comes later is not kept waiting.
    let mut late = fs::OpenOptions::new().append(true).open(place.home.path().join("file")).unwrap();
    late.write_all(b"!").unwrap();
}

#[test]
fn errors_say_what_to_do() {
    assert_eq!(FileError::from(Errno::NOENT), FileError::NotFound);
    for errno in [Errno::LOOP, Errno::NOTDIR, Errno::ISDIR, Errno::XDEV, Errno::NXIO] {
        assert_eq!(FileError::from(errno), FileError::WrongType);
    }
    assert!(FileError::from(Errno::ACCESS).to_string().contains("run as root"));
    assert!(FileError::from(Errno::MFILE).to_string().contains("ulimit"));
    assert!(FileError::from(Errno::IO).to_string().contains("disk"));
}
