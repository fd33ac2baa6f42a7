//! What happens to names and files below a root.

use crate::fixture::{Kind, Place, on_each, path};
use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use waxseal_os::watcher::{Hint, Options, What};

fn append(file: &Path) {
    OpenOptions::new().append(true).open(file).unwrap().write_all(b"x").unwrap();
}

#[test]
fn a_file_is_made_written_touched_and_removed() {
    on_each(&Kind::ALL, |place| {
        let root = place.dir("t");
        let mut ears = place.watch(&[&root]);
        let file = root.join("f");
        fs::write(&file, "1").unwrap();
        ears.hear("its creation", |hint| matches!(hint, Hint::Name { what, .. } if what.has(What::CREATED)));
        ears.hear("its content", |hint| matches!(hint, Hint::Name { what, .. } if what.has(What::CONTENT)));
        ears.hear("its closing", |hint| matches!(hint, Hint::Name { what, .. } if what.has(What::CLOSED)));
        let hint = ears.hear_name(&file);
        assert!(matches!(hint, Hint::Name { deep: false, .. }));
        if let (Hint::Name { process, .. }, true) = (hint, place.kind != Kind::Overlay) {
            assert_eq!(process.unwrap().pid, std::process::id() as i32);
        }
        ears.forget();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        let hint = ears.hear_name(&file);
        assert!(matches!(hint, Hint::Name { what: What::METADATA, deep: false, .. }), "{hint:?}");
        ears.forget();
        fs::remove_file(&file).unwrap();
        ears.hear("its removal", |hint| {
            matches!(hint, Hint::Name { path, what, .. } if *path.name() == *b"f" && what.has(What::DELETED))
        });
    });
}

#[test]
fn directories_made_at_once_with_a_file() {
    on_each(&Kind::ALL, |place| {
        let root = place.dir("t");
        let mut ears = place.watch(&[&root]);
        for round in 0..50 {
            let deep = root.join(format!("a{round}/b/c"));
            fs::create_dir_all(&deep).unwrap();
            fs::write(deep.join("f"), "1").unwrap();
            ears.hear_about(&deep.join("f"));
            if place.kind != Kind::Overlay {
                ears.hear_name(&root.join(format!("a{round}")));
                ears.hear_name(&root.join(format!("a{round}/b")));
                ears.hear_name(&deep);
                ears.hear_name(&deep.join("f"));
            }
            ears.sync(&root);
            ears.forget();
            // Whatever was heard above, the file is watched now.
            append(&deep.join("f"));
            ears.hear_name(&deep.join("f"));
            ears.forget();
        }
    });
}

#[test]
fn that_own_files_are_written_is_left_out_and_that_they_are_closed_is_not() {
    // The kernel takes no such mark below a subvolume of btrfs (EXDEV).
    on_each(&[Kind::Tmpfs, Kind::Ext4, Kind::Xfs], |place| {
        let root = place.dir("t");
        let own = root.join("own");
        fs::write(&own, "1").unwrap();
        let options = Options { own_files: vec![own.clone(), root.join("none")], ..Options::default() };
        let mut ears = place.watch_with(&[&root], options);
        let mut open = OpenOptions::new().append(true).open(&own).unwrap();
        for _ in 0..3 {
            open.write_all(b"x").unwrap();
            ears.sync(&root);
        }
        let at = path(&own);
        let of_it = |hint: &&Hint| matches!(hint, Hint::Name { path, .. } if *path == at);
        let told: Vec<_> = ears.heard.iter().filter(of_it).collect();
        assert!(told.is_empty(), "{told:?}");
        drop(open);
        let hint = ears.hear_name(&own);
        assert!(matches!(hint, Hint::Name { what: What::CLOSED, .. }), "{hint:?}");
    });
}

#[test]
fn a_file_moves_between_directories() {
    on_each(&Kind::ALL, |place| {
        let root = place.dir("t");
        let (a, b) = (place.dir("t/a"), place.dir("t/b"));
        fs::write(a.join("f"), "1").unwrap();
        let mut ears = place.watch(&[&root]);
        fs::rename(a.join("f"), b.join("g")).unwrap();
        ears.hear("both names at once", |hint| {
            matches!(hint, Hint::Renamed { from, to, is_dir: false, .. }
                if *from == path(&a.join("f")) && *to == path(&b.join("g")))
        });
    });
}

#[test]
fn directories_move_within_in_and_out() {
    on_each(&Kind::ALL, |place| {
        let root = place.dir("t");
        let out = place.dir("out");
        place.dir("t/d/e/e");
        place.dir("t/k");
        place.dir("out/tree/sub");
        fs::write(out.join("tree/sub/f"), "1").unwrap();
        fs::write(root.join("d/e/f"), "1").unwrap();
        let mut ears = place.watch(&[&root]);
        append(&root.join("d/e/f"));
        ears.hear_name(&root.join("d/e/f"));
        // Within: the same watches, under another path.
        fs::rename(root.join("d"), root.join("k/d2")).unwrap();
        ears.hear("the move", |hint| matches!(hint, Hint::Renamed { is_dir: true, .. }));
        ears.sync(&root);
        ears.forget();
        append(&root.join("k/d2/e/f"));
        ears.hear_name(&root.join("k/d2/e/f"));
        // In.
        fs::rename(out.join("tree"), root.join("tree")).unwrap();
        let hint = ears.hear_about(&root.join("tree/sub/f"));
        assert!(matches!(hint, Hint::Name { deep: true, .. }), "{hint:?}");
        ears.sync(&root);
        ears.forget();
        append(&root.join("tree/sub/f"));
        ears.hear_name(&root.join("tree/sub/f"));
        // Out: what happens to it there is nobody's business.
        ears.forget();
        fs::rename(root.join("tree"), out.join("tree")).unwrap();
        let hint = ears.hear_name(&root.join("tree"));
        assert!(matches!(hint, Hint::Name { deep: true, .. }), "{hint:?}");
        ears.sync(&root);
        ears.sync(&root);
        ears.forget();
        append(&out.join("tree/sub/f"));
        ears.sync(&root);
        let about: Vec<_> = ears
            .heard
            .iter()
            .filter(|hint| matches!(hint, Hint::Name { path, .. } if *path.name() == *b"f"))
            .collect();
        assert!(about.is_empty(), "{about:?}");
    });
}

#[test]
fn a_directory_itself_changes() {
    on_each(&Kind::ALL, |place| {
        let root = place.dir("t");
        let sub = place.dir("t/d");
        let mut ears = place.watch(&[&root]);
        fs::set_permissions(&sub, fs::Permissions::from_mode(0o700)).unwrap();
        let at = path(&sub);
        ears.hear("the directory's own change", |hint| match hint {
            Hint::Itself { dir, .. } => *dir == at,
            Hint::Name { path, .. } => *path == at,
            _ => false,
        });
    });
}

#[test]
fn names_that_are_no_text() {
    on_each(&Kind::ALL, |place| {
        let root = place.dir("t");
        let mut ears = place.watch(&[&root]);
        // xfs and ext4 take any bytes; so do the others.
        for name in [&b"a\nb"[..], b"\xff\xfe", b"\x1b[31m", b"x (deleted)", b" ", b"...", b"#12"] {
            let file = root.join(OsStr::from_bytes(name));
            fs::create_dir(&file).unwrap();
            ears.hear_name(&file);
            ears.sync(&file);
        }
    });
}

#[test]
fn a_hard_link_outside_of_the_root() {
    on_each(&Kind::MARKED, |place| {
        let (root, out) = (place.dir("t"), place.dir("out"));
        let old = root.join("old");
        fs::write(&old, "1").unwrap();
        fs::hard_link(&old, out.join("x")).unwrap();
        let inode = fs::metadata(&old).unwrap().ino();
        let mut ears = place.watch(&[&root]);
        append(&out.join("x"));
        let of = |inode: u64| move |hint: &Hint| matches!(hint, Hint::Object { inode: i, .. } if *i == inode);
        let hint = ears.hear("a link from before", of(inode));
        if let Hint::Object { device, .. } = hint {
            let dev = fs::metadata(&old).unwrap().dev();
            assert_eq!((device.major, device.minor), (libc::major(dev), libc::minor(dev)));
        }
        // One made while watching, written again and again through the name outside.
        let new = root.join("new");
        fs::write(&new, "1").unwrap();
        fs::hard_link(&new, out.join("y")).unwrap();
        let inode = fs::metadata(&new).unwrap().ino();
        for _ in 0..3 {
            ears.sync(&root);
            ears.forget();
            append(&out.join("y"));
            ears.hear("a new link", of(inode));
        }
        // A file outside that gets a second name, inside, after it has been seen with one.
        append_new(&out.join("z"));
        ears.sync(&root);
        fs::hard_link(out.join("z"), root.join("z")).unwrap();
        ears.sync(&root);
        ears.forget();
        append(&out.join("z"));
        ears.hear("a late link", of(fs::metadata(root.join("z")).unwrap().ino()));
        // A descriptor opened by a name that is gone goes on being reported by that name.
        let both = root.join("both");
        fs::write(&both, "1").unwrap();
        fs::hard_link(&both, root.join("stays")).unwrap();
        let mut open = OpenOptions::new().append(true).open(&both).unwrap();
        fs::remove_file(&both).unwrap();
        ears.sync(&root);
        ears.forget();
        open.write_all(b"y").unwrap();
        ears.hear("a write by a name that is gone", of(fs::metadata(root.join("stays")).unwrap().ino()));
    });
}

fn append_new(file: &Path) {
    fs::write(file, "1").unwrap();
    append(file);
}

#[test]
fn what_is_outside_or_ignored_is_not_heard() {
    on_each(&Kind::ALL, |place| {
        let (root, out, state) = (place.dir("t"), place.dir("out"), place.dir("t/state"));
        let options = Options { ignored: vec![path(&state)], ..Options::default() };
        let mut ears = place.watch_with(&[&root], options);
        // Not a place below the root, though the name begins like it.
        let near = place.dir("tt");
        for dir in [&out, &state, &near] {
            append_new(&dir.join("db"));
            fs::create_dir_all(dir.join("a/b")).unwrap();
            fs::write(dir.join("a/b/c"), "1").unwrap();
            fs::rename(dir.join("a"), dir.join("a2")).unwrap();
            fs::remove_dir_all(dir.join("a2")).unwrap();
        }
        ears.sync(&root);
        let wrong: Vec<_> = ears
            .heard
            .iter()
            .filter(|hint| !matches!(hint, Hint::Name { path, .. } if path.name().starts_with(b"cookie-")))
            .filter(|hint| !matches!(hint, Hint::Itself { .. }))
            .collect();
        assert!(wrong.is_empty(), "{wrong:?}");
    });
}

#[test]
fn a_file_made_without_a_name() {
    on_each(&Kind::MARKED, |place| {
        let root = place.dir("t");
        let Ok(early) = nameless(&root) else {
            return println!("SKIPPED: {:?} makes no files without a name", place.kind);
        };
        link(&early, &root.join("early"));
        let mut ears = place.watch(&[&root]);
        let late = nameless(&root).unwrap();
        (&late).write_all(b"1").unwrap();
        link(&late, &root.join("late"));
        ears.hear_name(&root.join("late"));
        ears.sync(&root);
        for file in [&late, &early] {
            ears.forget();
            let mut writer = file;
            writer.write_all(b"2").unwrap();
            let inode = file.metadata().unwrap().ino();
            ears.hear(
                "a write by the made-up name",
                |hint| matches!(hint, Hint::Object { inode: i, .. } if *i == inode),
            );
        }
    });
}

fn nameless(root: &Path) -> std::io::Result<fs::File> {
    use std::os::unix::fs::OpenOptionsExt;
    OpenOptions::new().write(true).custom_flags(libc::O_TMPFILE).open(root)
}

fn link(file: &fs::File, to: &Path) {
    use std::os::fd::AsRawFd;
    let from = format!("/proc/self/fd/{}", file.as_raw_fd());
    let flags = rustix::fs::AtFlags::SYMLINK_FOLLOW;
    rustix::fs::linkat(rustix::fs::CWD, from, rustix::fs::CWD, to, flags).unwrap();
}

#[test]
fn paths_longer_than_the_kernel_can_tell() {
    on_each(&Kind::ALL, |place: &Place| {
        let root = place.dir("t");
        let mut ears = place.watch(&[&root]);
        let name = "n".repeat(250);
        let open = |dir: &rustix::fd::OwnedFd| {
            rustix::fs::openat(dir, &name, rustix::fs::OFlags::DIRECTORY, rustix::fs::Mode::empty()).unwrap()
        };
        let mode = rustix::fs::Mode::RWXU;
        let mut dir: rustix::fd::OwnedFd = fs::File::open(&root).unwrap().into();
        for _ in 0..40 {
            rustix::fs::mkdirat(&dir, &name, mode).unwrap();
            dir = open(&dir);
        }
        ears.sync(&root);
        ears.forget();
        let flags = rustix::fs::OFlags::CREATE | rustix::fs::OFlags::WRONLY;
        let file = rustix::fs::openat(&dir, "f", flags, mode).unwrap();
        let hint = ears.hear("the file, or a directory above it", |hint| {
            matches!(hint, Hint::Name { path, deep, .. }
                if path.as_bytes().len() > 3500 && (*deep || *path.name() == *b"f"))
        });
        drop((file, hint));
    });
}
