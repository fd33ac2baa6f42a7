//! A tree must end up watching exactly the directories that there are, each under its path, whatever moved meanwhile.

#![allow(clippy::disallowed_methods, reason = "tests make their own files")]

use super::{ALL, Instance, Tree, open_path};
use fastrand::Rng;
use rustix::fs::inotify::ReadFlags;
use std::collections::BTreeSet;
use std::fs;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use waxseal_model::RawPath;

fn raw(path: &Path) -> RawPath {
    RawPath::new(path.as_os_str().as_bytes())
}

/// Any directory near the top.
fn any_dir(dice: &mut Rng, top: &Path) -> PathBuf {
    (0..=dice.u64(..3)).fold(top.to_owned(), |path, _| path.join(dice.u64(..4).to_string()))
}

/// Makes, moves, exchanges and removes directories, in the tree and out of it. Most attempts fail, which is fine.
fn churn(top: &Path, out: &Path, seed: u64, rounds: usize) {
    // The test is the same each time, but for the order of the threads.
    let mut dice = Rng::with_seed(seed);
    for _ in 0..rounds {
        let (a, b) = (any_dir(&mut dice, top), any_dir(&mut dice, top));
        let aside = out.join(dice.u64(..3).to_string());
        let _ = match dice.u64(..7) {
            0 | 1 => fs::create_dir_all(&a),
            2 => fs::rename(&a, &b),
            3 => fs::rename(&a, &aside),
            4 => fs::rename(&aside, &a),
            5 => fs::remove_dir_all(&a),
            _ => {
                let exchange = rustix::fs::RenameFlags::EXCHANGE;
                let (here, there) = (rustix::fs::CWD, rustix::fs::CWD);
                rustix::fs::renameat_with(here, &a, there, &b, exchange).map_err(Into::into)
            }
        };
    }
}

fn on_disk(dir: &Path, found: &mut BTreeSet<RawPath>) {
    found.insert(raw(dir));
    for entry in fs::read_dir(dir).unwrap() {
        on_disk(&entry.unwrap().path(), found);
    }
}

fn watched(tree: &Tree) -> BTreeSet<RawPath> {
    tree.nodes.keys().map(|wd| tree.path_of(*wd).unwrap()).collect()
}

#[test]
fn knows_every_directory_after_a_storm_of_moves() {
    for seed in 1..=3u64 {
        let scratch = tempfile::tempdir().unwrap();
        let (top, out) = (scratch.path().join("top"), scratch.path().join("out"));
        fs::create_dir(&top).unwrap();
        fs::create_dir(&out).unwrap();
        churn(&top, &out, seed * 31, 200);
        let path = raw(&top);
        let mut tree = Tree::new(open_path(&path).unwrap().as_fd(), path).unwrap();
        let running = AtomicUsize::new(2);
        let mut reports = Vec::new();
        std::thread::scope(|scope| {
            for thread in 0..2u64 {
                let (top, out, running) = (&top, &out, &running);
                scope.spawn(move || {
                    churn(top, out, seed * 1000 + thread + 7, 1000);
                    running.fetch_sub(1, Ordering::SeqCst);
                });
            }
            while running.load(Ordering::SeqCst) > 0 {
                tree.read(&mut reports).unwrap();
            }
        });
        // What is left in the queue, then what left the tree and did not come back.
        let mut before = usize::MAX;
        while reports.len() != before {
            before = reports.len();
            tree.read(&mut reports).unwrap();
        }
        tree.read(&mut reports).unwrap();
        let mut expected = BTreeSet::new();
        on_disk(&top, &mut expected);
        assert_eq!(watched(&tree), expected, "seed {seed}");
        let children: BTreeSet<_> = tree.children.values().copied().chain([tree.top]).collect();
        assert_eq!(children, tree.nodes.keys().copied().collect(), "seed {seed}");
    }
}

/// Watching a directory again, as is done whenever a name in it is looked at, may lose nothing of what happens meanwhile.
#[test]
fn watching_again_loses_nothing() {
    const NAMES: usize = 20_000;
    let dir = tempfile::tempdir().unwrap();
    let instance = Instance::new().unwrap();
    let open = open_path(&raw(dir.path())).unwrap();
    instance.add(open.as_fd(), ALL).unwrap();
    let ended = AtomicBool::new(false);
    let mut heard = 0;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !ended.load(Ordering::Relaxed) {
                instance.add(open.as_fd(), ALL).unwrap();
            }
        });
        let mut events = Vec::new();
        for number in 0..NAMES {
            let path = dir.path().join((number % 100).to_string());
            fs::create_dir(&path).unwrap();
            fs::remove_dir(&path).unwrap();
            if number % 100 == 99 {
                while instance.read(&mut events).unwrap() {}
                heard += events.iter().filter(|event| event.flags.contains(ReadFlags::CREATE)).count();
                events.clear();
            }
        }
        ended.store(true, Ordering::Relaxed);
    });
    assert_eq!(heard, NAMES);
}
