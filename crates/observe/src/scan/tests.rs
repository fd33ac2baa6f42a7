#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "tests make the trees they scan")]
use super::*;
use crate::entry::Look;
use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Mutex;
use waxseal_hash::Algorithms;
use waxseal_model::{FileState, FileType};

/// Looks at everything and keeps it by path.
#[derive(Default)]
struct Collect {
    seen: Mutex<BTreeMap<RawPath, FileState>>,
    problems: Mutex<Vec<(RawPath, String)>>,
    done: Mutex<Vec<RawPath>>,
    by_list: bool,
}

impl Visitor for Collect {
    type Dir = ();

    fn wants_stat(&self, _: &Node<()>) -> bool {
        !self.by_list
    }

    fn plan(&self, _: &Node<()>, entries: &mut Vec<Entry<()>>) {
        for entry in entries {
            entry.look = Look::Full;
            if entry.state.as_ref().is_some_and(|s| s.file_type == FileType::Dir) {
                entry.descend = Some(Box::new(()));
            }
        }
    }

    fn done(&self, node: &Node<()>, entries: Vec<Entry<()>>, listing: Option<FileError>) -> Option<Digest> {
        let mut problems = self.problems.lock().unwrap();
        problems.extend(listing.map(|error| (node.path(), error.to_string())));
        for entry in entries {
            let path = node.path_of(&entry.name);
            problems.extend(entry.problem.map(|problem| (path.clone(), problem.to_string())));
            if let Some(state) = entry.state {
                self.seen.lock().unwrap().insert(path, state);
            }
        }
        self.done.lock().unwrap().push(node.path());
        Some([node.is_roots() as u8; 32])
    }
}

#[test]
fn below_a_file_is_nothing() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("file"), "x").unwrap();
    let seen = collect(&dir.path().join("file/below/it"), Some(1), false);
    assert_eq!(*seen.problems.lock().unwrap(), []);
    assert_eq!(seen.seen.lock().unwrap().len(), 0);
}

/// Puts a file in the place of a directory as soon as the directory has been seen.
struct Swap<'a>(&'a Path, Collect);

impl Visitor for Swap<'_> {
    type Dir = ();

    fn plan(&self, node: &Node<()>, entries: &mut Vec<Entry<()>>) {
        self.1.plan(node, entries);
        if self.0.is_dir() {
            std::fs::remove_dir(self.0).unwrap();
            std::fs::write(self.0, "a file by now").unwrap();
        }
    }

    fn done(&self, node: &Node<()>, entries: Vec<Entry<()>>, listing: Option<FileError>) -> Option<Digest> {
        self.1.done(node, entries, listing)
    }
}

#[test]
fn a_file_that_took_the_place_of_a_directory_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("swapped");
    for root in [path.as_path(), dir.path()] {
        let _ = std::fs::remove_file(&path);
        std::fs::create_dir(&path).unwrap();
        let swap = Swap(&path, Collect::default());
        let hashing = Hashing { algorithms: Algorithms::default(), max_sparse: 1 << 30, from_disk: false };
        let options = Options { hashing, threads: Some(1), bottom_up: false };
        scan(vec![Root { path: raw(root) }], (), &swap, &options, &Progress::default());
        let seen = swap.1.seen.into_inner().unwrap();
        let state = &seen[&raw(&path)];
        assert_eq!(state.file_type, FileType::File);
        assert!(state.digests.sha256.is_some(), "seen, and not read");
        assert_eq!(*swap.1.problems.lock().unwrap(), []);
    }
}

fn raw(path: &Path) -> RawPath {
    RawPath::new(path.as_os_str().as_bytes())
}

fn collect(root: &Path, threads: Option<usize>, bottom_up: bool) -> Collect {
    collect_with(root, threads, bottom_up, false)
}

fn collect_with(root: &Path, threads: Option<usize>, bottom_up: bool, by_list: bool) -> Collect {
    let collect = Collect { by_list, ..Collect::default() };
    let hashing = Hashing {
        algorithms: Algorithms { blake3: true, sha512: false },
        max_sparse: 1 << 30,
        from_disk: false,
    };
    let options = Options { hashing, threads, bottom_up };
    let root = Root { path: raw(root) };
    let result = scan(vec![root], (), &collect, &options, &Progress::default());
    assert_eq!(result, Some([1; 32]));
    collect
}

#[test]
fn every_size_is_read_and_hashed_whatever_the_number_of_workers() {
    let temp = tempfile::tempdir().unwrap();
    for (i, size) in
        [0, 1, 63, 64, 4096, 65_535, 65_536, 65_537, 131_072, 300_001, 1 << 21].iter().enumerate()
    {
        let dir = temp.path().join(format!("d{}", i % 3));
        std::fs::create_dir_all(&dir).unwrap();
        let bytes: Vec<u8> = (0..*size).map(|b: u32| (b.wrapping_mul(31) >> 3) as u8).collect();
        std::fs::write(dir.join(format!("f{size}")), bytes).unwrap();
    }
    std::os::unix::fs::symlink("nowhere", temp.path().join("link")).unwrap();
    let one = collect(temp.path(), Some(1), true).seen.into_inner().unwrap();
    let eight = collect(temp.path(), Some(8), false).seen.into_inner().unwrap();
    let auto = collect(temp.path(), None, true).seen.into_inner().unwrap();
    assert_eq!(one, eight);
    assert_eq!(one, auto);
    // Sizes that only the open files show.
    let by_list = collect_with(temp.path(), None, true, true).seen.into_inner().unwrap();
    assert_eq!(one, by_list);
    assert_eq!(one.len(), 1 + 3 + 11 + 1);
    for (path, state) in &one {
        if state.file_type == FileType::File {
            let bytes = std::fs::read(std::ffi::OsStr::from_bytes(path.as_bytes())).unwrap();
            let mut hasher = waxseal_hash::Sha256::new();
            hasher.update(&bytes);
            assert_eq!(state.digests.sha256, Some(hasher.finish()), "{path}");
            assert!(state.digests.blake3.is_some());
        }
    }
    assert_eq!(one[&raw(&temp.path().join("link"))].target(), Some(&b"nowhere"[..]));
}

#[test]
fn holes_are_skipped_and_hash_like_zeros() {
    let temp = tempfile::tempdir().unwrap();
    let sparse = temp.path().join("sparse");
    let file = std::fs::File::create(&sparse).unwrap();
    file.set_len(3 << 20).unwrap();
    std::os::unix::fs::FileExt::write_at(&file, b"x", (2 << 20) + 5).unwrap();
    std::fs::write(temp.path().join("plain"), std::fs::read(&sparse).unwrap()).unwrap();
    let seen = collect(temp.path(), None, false).seen.into_inner().unwrap();
    let digests = |name: &str| seen[&raw(&temp.path().join(name))].digests.clone();
    assert_eq!(digests("sparse"), digests("plain"));
}

#[test]
fn directories_are_done_after_what_is_below_them_when_bottom_up() {
    let temp = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(temp.path().join("a/b/c")).unwrap();
    std::fs::write(temp.path().join("a/b/c/f"), "x").unwrap();
    let done = collect(temp.path(), Some(4), true).done.into_inner().unwrap();
    let lengths: Vec<usize> = done.iter().map(|path| path.as_bytes().len()).collect();
    assert!(lengths.is_sorted_by(|a, b| a > b), "{done:?}");
    assert_eq!(done.len(), 5);
}

#[test]
fn two_thousand_levels_are_walked_with_names_beyond_path_max() {
    let temp = tempfile::tempdir().unwrap();
    // Beyond PATH_MAX only relative calls work.
    let levels = 2000;
    let old = std::env::current_dir().unwrap();
    std::env::set_current_dir(temp.path()).unwrap();
    for _ in 0..levels {
        std::fs::create_dir("level").unwrap();
        std::env::set_current_dir("level").unwrap();
    }
    std::fs::write("deepest", "x").unwrap();
    std::env::set_current_dir(old).unwrap();
    let collected = collect(temp.path(), None, true);
    assert!(collected.problems.into_inner().unwrap().is_empty());
    let seen = collected.seen.into_inner().unwrap();
    assert_eq!(seen.len(), levels + 2);
    let deepest = seen.keys().max_by_key(|path| path.as_bytes().len()).unwrap();
    assert!(deepest.as_bytes().len() > levels * 6 && deepest.name() == b"deepest");
}

#[test]
fn what_is_no_file_is_never_read() {
    let temp = tempfile::tempdir().unwrap();
    let fifo = temp.path().join("fifo");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let _socket = std::os::unix::net::UnixListener::bind(temp.path().join("socket")).unwrap();
    let collected = collect(temp.path(), Some(2), false);
    let seen = collected.seen.into_inner().unwrap();
    assert_eq!(seen[&raw(&fifo)].file_type, FileType::Fifo);
    assert_eq!(seen[&raw(&temp.path().join("socket"))].file_type, FileType::Socket);
    assert!(collected.problems.into_inner().unwrap().is_empty());
}

#[test]
fn what_cannot_be_read_has_its_stat_even_if_the_plan_wanted_none() {
    let temp = tempfile::tempdir().unwrap();
    let sparse = temp.path().join("sparse");
    std::fs::File::create(&sparse).unwrap().set_len(2 << 30).unwrap();
    std::fs::write(temp.path().join("plain"), "x").unwrap();
    for by_list in [false, true] {
        let collected = collect_with(temp.path(), None, true, by_list);
        let problems = collected.problems.into_inner().unwrap();
        assert_eq!(problems.iter().map(|(path, _)| path).collect::<Vec<_>>(), [&raw(&sparse)]);
        let seen = collected.seen.into_inner().unwrap();
        assert_eq!(seen[&raw(&sparse)].size, 2 << 30);
        assert_eq!(seen[&raw(&sparse)].digests.sha256, None);
        assert_eq!(seen.len(), 3);
    }
}

#[test]
fn many_small_files_fill_more_than_one_batch() {
    let temp = tempfile::tempdir().unwrap();
    for i in 0..150u32 {
        let size = if i % 2 == 0 { 65_536 } else { i };
        std::fs::write(temp.path().join(format!("f{i}")), vec![i as u8; size as usize]).unwrap();
    }
    let by_stat = collect(temp.path(), Some(1), true).seen.into_inner().unwrap();
    let by_list = collect_with(temp.path(), Some(1), true, true).seen.into_inner().unwrap();
    assert_eq!(by_stat, by_list);
    for i in [0, 1, 128, 149u32] {
        let size = if i % 2 == 0 { 65_536 } else { i };
        let mut hasher = waxseal_hash::Sha256::new();
        hasher.update(&vec![i as u8; size as usize]);
        let digests = &by_list[&raw(&temp.path().join(format!("f{i}")))].digests;
        assert_eq!(digests.sha256, Some(hasher.finish()));
    }
}

#[test]
fn a_root_that_is_missing_has_no_state_and_one_that_is_a_file_is_read() {
    let temp = tempfile::tempdir().unwrap();
    assert!(collect(&temp.path().join("none"), None, true).seen.into_inner().unwrap().is_empty());
    std::fs::write(temp.path().join("file"), "x").unwrap();
    let seen = collect(&temp.path().join("file"), None, true).seen.into_inner().unwrap();
    assert_eq!(seen.len(), 1);
}

#[test]
fn a_scan_that_is_stopped_says_so() {
    let temp = tempfile::tempdir().unwrap();
    let progress = Progress::default();
    progress.stop.store(true, Ordering::Relaxed);
    let hashing = Hashing { algorithms: Algorithms::default(), max_sparse: 0, from_disk: false };
    let options = Options { hashing, threads: None, bottom_up: true };
    let root = Root { path: raw(temp.path()) };
    assert_eq!(scan(vec![root], (), &Collect::default(), &options, &progress), None);
}

#[test]
fn workers_are_added_up_to_the_most_and_no_further() {
    for (least, most) in [(1, 1), (2, 24), (2, 3), (7, 24), (24, 24), (32, 32), (5, 6)] {
        let (mut running, mut steps) = (least, 0);
        while more_workers(running, most) > 0 {
            running += more_workers(running, most);
            steps += 1;
        }
        assert_eq!(running, most);
        assert!(steps <= most.div_ceil(4), "{least} to {most} in {steps}");
    }
    assert_eq!(more_workers(25, 24), 0);
}
