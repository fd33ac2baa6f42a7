//! Other roots while watching, and a single path that is followed.

use crate::fixture::{Kind, PATIENCE, on_each, path};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;
use waxseal_os::watcher::{Hint, PathWatch, WatchRoot};

fn root(at: &Path) -> WatchRoot {
    WatchRoot { path: path(at), cross_filesystems: true }
}

#[test]
fn what_is_queued_when_roots_change_is_not_lost() {
    on_each(&Kind::ALL, |place| {
        let (a, b, c) = (place.dir("a"), place.dir("a/b"), place.dir("c"));
        // A tree that another takes the place of, one that stays, and one that is new.
        for (before, after) in [(vec![&b], vec![&a]), (vec![&a, &b], vec![&b, &c]), (vec![&b], vec![&b])] {
            let roots: Vec<&Path> = before.iter().map(|at| at.as_path()).collect();
            let mut ears = place.watch(&roots);
            fs::write(b.join("before"), "1").unwrap();
            let asked: Vec<WatchRoot> = after.iter().map(|at| root(at)).collect();
            ears.watcher.set_roots(&asked).unwrap();
            fs::write(b.join("after"), "1").unwrap();
            ears.hear_name(&b.join("before"));
            ears.hear_name(&b.join("after"));
            fs::create_dir(b.join("new")).unwrap();
            fs::write(b.join("new/deep"), "1").unwrap();
            ears.hear_about(&b.join("new/deep"));
            assert!(!ears.heard.iter().any(|hint| matches!(hint, Hint::Lost { .. })), "{:?}", ears.heard);
            fs::remove_dir_all(b.join("new")).unwrap();
        }
    });
}

#[test]
fn roots_that_are_given_up_are_silent() {
    on_each(&Kind::ALL, |place| {
        let (a, b) = (place.dir("a"), place.dir("b"));
        let mut ears = place.watch(&[&a, &b]);
        ears.watcher.set_roots(&[root(&a)]).unwrap();
        ears.sync(&a);
        ears.forget();
        fs::write(b.join("f"), "1").unwrap();
        ears.sync(&a);
        let of_b = |hint: &Hint| matches!(hint, Hint::Name { path: at, .. } if at.below(&path(&b)).is_some());
        assert!(!ears.heard.iter().any(of_b), "{:?}", ears.heard);
    });
}

/// What happens to a path, and whether it is noticed.
#[test]
fn a_path_is_followed() {
    let home = tempfile::tempdir().unwrap();
    let at = |name: &str| home.path().join(name);
    fs::create_dir_all(at("1")).unwrap();
    fs::create_dir_all(at("2")).unwrap();
    for name in ["1/file", "2/file"] {
        fs::write(at(name), name).unwrap();
    }
    symlink("1", at("dir")).unwrap();
    symlink("dir/file", at("link")).unwrap();
    let steps: &[&dyn Fn()] = &[
        &|| fs::write(at("1/file"), "written").unwrap(),
        &|| fs::rename(at("2/file"), at("1/file")).unwrap(),
        &|| fs::remove_file(at("1/file")).unwrap(),
        &|| fs::write(at("1/file"), "again").unwrap(),
        &|| {
            symlink("2", at("next")).unwrap();
            fs::rename(at("next"), at("dir")).unwrap();
        },
        &|| fs::write(at("2/file"), "elsewhere").unwrap(),
        &|| fs::rename(at("2"), at("3")).unwrap(),
        &|| fs::rename(at("3"), at("2")).unwrap(),
        &|| {
            fs::remove_file(at("link")).unwrap();
            fs::write(at("link"), "no link any more").unwrap();
        },
        &|| fs::write(at("link"), "written").unwrap(),
    ];
    let (sender, noticed) = mpsc::channel();
    let link = path(&at("link"));
    std::thread::spawn(move || {
        let mut watch = PathWatch::new(&link).unwrap();
        while sender.send(()).is_ok() {
            watch.wait(Duration::from_millis(10), Duration::from_secs(1)).unwrap();
        }
    });
    noticed.recv_timeout(PATIENCE).unwrap();
    for (number, step) in steps.iter().enumerate() {
        // What the step before it was noticed by once more has been taken by now.
        while noticed.try_recv().is_ok() {}
        step();
        noticed.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("step {number} was not noticed"));
    }
}

#[test]
fn a_path_whose_neighbours_change_is_not_read_again() {
    let home = tempfile::tempdir().unwrap();
    let at = |name: &str| home.path().join(name);
    fs::write(at("file"), "1").unwrap();
    let mut watch = PathWatch::new(&path(&at("file"))).unwrap();
    let (sender, noticed) = mpsc::channel();
    std::thread::spawn(move || {
        watch.wait(Duration::ZERO, Duration::from_secs(1)).unwrap();
        let _ = sender.send(());
    });
    for number in 0..100 {
        fs::write(at(&format!("other-{number}")), "1").unwrap();
    }
    assert!(noticed.try_recv().is_err());
    fs::write(at("file"), "2").unwrap();
    noticed.recv_timeout(PATIENCE).unwrap();
}
