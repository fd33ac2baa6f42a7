//! Mounts: over roots, below them, several of one filesystem, parts of one.

use crate::fixture::{Ears, Kind, on_each, path, run, unmount};
use std::fs;
use std::path::Path;
use waxseal_os::watcher::{Backend, Hint, Options, WatchRoot, Watcher};

fn mount(arguments: &[&str]) {
    run("mount", arguments).unwrap();
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn something_is_mounted_below_and_over_the_root() {
    on_each(&[Kind::Tmpfs, Kind::Ext4, Kind::Overlay], |place| {
        let (root, sub) = (place.dir("t"), place.dir("t/sub"));
        let mut ears = place.watch(&[&root]);
        for at in [&sub, &root] {
            let here = path(at);
            mount(&["-t", "tmpfs", "none", text(at)]);
            ears.hear("the mount", |hint| matches!(hint, Hint::MountChanged { at } if *at == here));
            ears.forget();
            fs::create_dir(at.join("new")).unwrap();
            fs::write(at.join("new/f"), "1").unwrap();
            ears.hear_name(&at.join("new/f"));
            unmount(at);
            ears.hear(
                "the end of the mount",
                |hint| matches!(hint, Hint::MountChanged { at } if *at == here),
            );
            ears.forget();
            fs::write(at.join("old"), "1").unwrap();
            ears.hear_name(&at.join("old"));
            ears.forget();
        }
    });
}

#[test]
fn media_that_come_back_are_watched_again() {
    on_each(&[Kind::Ext4, Kind::Btrfs], |place| {
        // A mount busy with a watcher could not be unmounted.
        let device =
            std::process::Command::new("findmnt").args(["-n", "-o", "SOURCE", text(&place.at)]).output();
        let device = String::from_utf8(device.unwrap().stdout).unwrap();
        let device = device.trim().split('[').next().unwrap().to_owned();
        let root = place.dir("t");
        let mut ears = place.watch(&[&root]);
        // Keeps the loop device while nothing is mounted.
        let keep = fs::File::open(&device).unwrap();
        for _ in 0..2 {
            fs::write(root.join("f"), "1").unwrap();
            ears.hear_name(&root.join("f"));
            unmount(&place.at);
            let here = path(&root);
            ears.hear("the unmount", |hint| matches!(hint, Hint::MountChanged { at } if *at == here));
            ears.forget();
            let options = if place.kind == Kind::Btrfs { "subvol=sv" } else { "rw" };
            mount(&["-o", options, &device, text(&place.at)]);
            ears.hear("the mount", |hint| matches!(hint, Hint::MountChanged { at } if *at == here));
            ears.forget();
        }
        drop(keep);
    });
}

#[test]
fn bind_mounts_show_the_same_file_under_each_root() {
    on_each(&Kind::MARKED, |place| {
        let source = place.dir("source/sub");
        let bound = place.dir("bound");
        mount(&["--bind", text(&source), text(&bound)]);
        let other = place.dir("elsewhere");
        let mut ears = place.watch(&[&bound, &source]);
        fs::create_dir(source.join("d")).unwrap();
        fs::write(source.join("d/f"), "1").unwrap();
        ears.hear_name(&source.join("d/f"));
        ears.hear_name(&bound.join("d/f"));
        fs::write(other.join("g"), "1").unwrap();
        ears.sync(&bound);
        assert!(
            !ears.heard.iter().any(|hint| matches!(hint, Hint::Name { path, .. } if *path.name() == *b"g"))
        );
        // A single file.
        let (file, target) = (other.join("file"), place.at.join("target"));
        fs::write(&file, "1").unwrap();
        fs::write(&target, "").unwrap();
        mount(&["--bind", text(&file), text(&target)]);
        let mut ears = place.watch(&[&place.at]);
        fs::write(&file, "2").unwrap();
        ears.hear_name(&target);
    });
}

#[test]
fn only_a_part_of_the_filesystem_is_mounted() {
    on_each(&Kind::MARKED, |place| {
        let source = place.dir("part");
        let held = tempfile::tempdir().unwrap();
        let (part, whole) = (held.path().join("part"), held.path().join("whole"));
        fs::create_dir(&part).unwrap();
        fs::create_dir(&whole).unwrap();
        // A directory of the filesystem that is named like the mount point, to mislead.
        let misleading = format!("{}/t", text(&part).trim_start_matches('/'));
        fs::create_dir_all(place.at.join(&misleading)).unwrap();
        mount(&["--bind", text(&source), text(&part)]);
        mount(&["--move", text(&place.at), text(&whole)]);
        let root = part.join("t");
        fs::create_dir_all(root.join("d")).unwrap();
        // Held open, the whole can still be written to when it is not seen any more.
        let outside = fs::File::open(whole.join("part/..")).unwrap();
        run("umount", &["-l", text(&whole)]).unwrap();
        let mut ears = Ears::new(&[&root], Options { canary_dir: Some(part.clone()), ..Options::default() });
        let coverage = ears.watcher.coverage();
        assert!(coverage.iter().all(|c| c.backend == Backend::Fanotify && c.tested), "{coverage:?}");
        fs::write(root.join("d/f"), "1").unwrap();
        ears.hear_name(&root.join("d/f"));
        let flags = rustix::fs::OFlags::CREATE | rustix::fs::OFlags::WRONLY;
        let wrong = format!("{misleading}/wrong");
        rustix::fs::openat(&outside, wrong, flags, rustix::fs::Mode::RWXU).unwrap();
        ears.sync(&root);
        assert!(
            !ears
                .heard
                .iter()
                .any(|hint| matches!(hint, Hint::Name { path, .. } if *path.name() == *b"wrong"))
        );
        assert!(!ears.heard.iter().any(|hint| matches!(hint, Hint::Lost { .. })), "{:?}", ears.heard);
        run("umount", &["-l", text(&part)]).unwrap();
        drop(ears);
        held.close().unwrap();
    });
}

#[test]
fn subvolumes_below_a_root() {
    on_each(&[Kind::Btrfs], |place| {
        let root = place.dir("t");
        let inner = root.join("inner");
        let mut ears = place.watch(&[&root]);
        run("btrfs", &["-q", "subvolume", "create", text(&inner)]).unwrap();
        ears.hear_name(&inner);
        fs::create_dir(inner.join("d")).unwrap();
        fs::write(inner.join("d/f"), "1").unwrap();
        ears.hear_name(&inner.join("d/f"));
        let snapshot = root.join("snapshot");
        run("btrfs", &["-q", "subvolume", "snapshot", text(&inner), text(&snapshot)]).unwrap();
        let hint = ears.hear_name(&snapshot);
        assert!(matches!(hint, Hint::Name { deep: true, .. }), "{hint:?}");
        fs::write(snapshot.join("d/f"), "2").unwrap();
        ears.hear_name(&snapshot.join("d/f"));
    });
}

#[test]
fn made_up_filesystems_are_left_to_scans() {
    let roots = [WatchRoot { path: path(Path::new("/proc/self")), cross_filesystems: false }];
    let watcher = Watcher::start(&roots, Options::default()).unwrap();
    let coverage = watcher.coverage();
    assert_eq!(coverage.len(), 1);
    assert_eq!(coverage[0].backend, Backend::Polling);
    assert!(coverage[0].blind.iter().any(|text| text.contains("proc")), "{coverage:?}");
}

#[test]
fn two_subvolumes_mounted_apart() {
    on_each(&[Kind::Btrfs], |place| {
        let held = tempfile::tempdir().unwrap();
        let (top, other) = (held.path().join("top"), held.path().join("other"));
        fs::create_dir(&top).unwrap();
        fs::create_dir(&other).unwrap();
        let source =
            std::process::Command::new("findmnt").args(["-n", "-o", "SOURCE", text(&place.at)]).output();
        let source = String::from_utf8(source.unwrap().stdout).unwrap();
        let device = source.trim().split('[').next().unwrap();
        mount(&["-o", "subvolid=5", device, text(&top)]);
        run("btrfs", &["-q", "subvolume", "create", text(&top.join("sv2"))]).unwrap();
        mount(&["-o", "subvol=sv2", device, text(&other)]);
        unmount(&top);
        let root = place.dir("t");
        let mut ears = place.watch(&[&root, &other]);
        for dir in [&root, &other] {
            fs::create_dir(dir.join("d")).unwrap();
            fs::write(dir.join("d/f"), "1").unwrap();
            ears.hear_name(&dir.join("d/f"));
        }
        drop(ears);
        unmount(&other);
        held.close().unwrap();
    });
}
