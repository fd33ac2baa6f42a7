//! Queues that are full, watches that are used up, waits that end.

use crate::fixture::{Ears, Kind, PATIENCE, on_each, path, read_limit, run, usual_limit};
use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};
use waxseal_os::watcher::{Backend, Hint, Loss, Options, Wake, WatchRoot, Watcher, raise_priority};

#[test]
fn a_full_queue_is_told_and_survived() {
    on_each(&Kind::ALL, |place| {
        let root = place.dir("t");
        let sub = place.dir("t/sub");
        let mut ears = place.watch_with(&[&root], Options { queue_limit: 16, ..Options::default() });
        let deadline = Instant::now() + PATIENCE;
        while read_limit() != usual_limit() {
            assert!(Instant::now() < deadline, "the system's limit was not put back");
        }
        // The limit of inotify is the system's own.
        let count = if place.kind == Kind::Overlay { 12_000 } else { 64 };
        for i in 0..count {
            fs::write(sub.join(i.to_string()), "1").unwrap();
        }
        let here = path(&root);
        ears.hear(
            "the loss",
            |hint| matches!(hint, Hint::Lost { root, loss: Loss::Overflow } if *root == here),
        );
        fs::rename(&sub, root.join("moved")).unwrap();
        ears.sync(&root);
        ears.forget();
        fs::write(root.join("moved/1"), "2").unwrap();
        ears.hear_name(&root.join("moved/1"));
    });
}

#[test]
fn processes_can_be_had() {
    on_each(&[Kind::Tmpfs], |place| {
        let root = place.dir("t");
        let mut ears = place.watch_with(&[&root], Options { pidfds: true, ..Options::default() });
        for i in 0..2000 {
            fs::write(root.join(i.to_string()), "1").unwrap();
        }
        let mut count = 0;
        ears.sync(&root);
        for hint in &ears.heard {
            if let Hint::Name { process: Some(process), .. } = hint {
                // A program that another test starts may be the last to close a file of ours.
                let ours = process.pid == std::process::id() as i32;
                count += usize::from(ours && process.pidfd.is_some());
            }
        }
        assert!(count >= 2000, "{count}");
        ears.forget();
        // Other tests start processes, and hold descriptors of those.
        let ours = format!("Pid:\t{}\n", std::process::id());
        let open = fs::read_dir("/proc/self/fdinfo").unwrap().filter_map(Result::ok);
        let pidfds = open
            .filter_map(|entry| fs::read_to_string(entry.path()).ok())
            .filter(|info| info.contains(&ours));
        assert_eq!(pidfds.count(), 0, "descriptors of processes leak");
    });
}

#[test]
fn a_wait_ends() {
    let dir = tempfile::tempdir().unwrap();
    let mut ears = Ears::new(&[dir.path()], Options::default());
    let waker = ears.watcher.waker();
    waker.wake();
    waker.wake();
    assert!(ears.watcher.wait(None).unwrap().woken);
    let thread = std::thread::spawn(move || waker.wake());
    let deadline = Instant::now() + PATIENCE;
    while !ears.watcher.wait(Some(PATIENCE)).unwrap().woken {
        // The filesystem is busy with other tests.
        ears.watcher.read(&mut ears.heard).unwrap();
        assert!(Instant::now() < deadline);
    }
    thread.join().unwrap();
    on_each(&[Kind::Tmpfs], |place| {
        let root = place.dir("t");
        let mut ears = place.watch(&[&root]);
        ears.sync(&root);
        let mut wake = Wake { events: true, woken: false };
        let deadline = Instant::now() + PATIENCE;
        while wake.events {
            ears.watcher.read(&mut ears.heard).unwrap();
            wake = ears.watcher.wait(Some(Duration::ZERO)).unwrap();
            assert!(Instant::now() < deadline, "it is awake without events");
        }
        assert_eq!(wake, Wake::default());
    });
}

#[test]
fn priority_is_raised_or_refused() {
    let raised = std::thread::spawn(raise_priority).join().unwrap();
    println!("raised: {raised}");
}

/// The inner part of the next test, run where watches are few and marks are not permitted.
#[test]
#[ignore = "run by `watches_that_run_out_are_told`"]
fn few_watches() {
    let dir = tempfile::tempdir().unwrap();
    for i in 0..40 {
        fs::create_dir(dir.path().join(format!("d{i}"))).unwrap();
    }
    let mut ears = Ears::new(&[dir.path()], Options::default());
    let coverage = ears.watcher.coverage().to_vec();
    assert_eq!(coverage[0].backend, Backend::Inotify, "{coverage:?}");
    assert!(coverage[0].blind.iter().any(|text| text.contains("max_user_watches")), "{coverage:?}");
    assert!(coverage[0].blind.iter().any(|text| text.contains("run as root")), "{coverage:?}");
    ears.hear("the limit", |hint| matches!(hint, Hint::Lost { loss: Loss::Limit, .. }));
    fs::write(dir.path().join("f"), "1").unwrap();
    ears.hear_name(&dir.path().join("f"));
}

#[test]
fn watches_that_run_out_are_told() {
    let script =
        "echo 20 > /proc/sys/user/max_inotify_watches && exec \"$0\" --exact limits::few_watches --ignored";
    if let Err(why) = run("unshare", &["-Ur", "true"]) {
        return println!("SKIPPED: {why}");
    }
    let program = std::env::current_exe().unwrap();
    let output = Command::new("unshare").args(["-Ur", "sh", "-c", script]).arg(program).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// The inner part of the next test, run on a filesystem of its own, where no marks or no groups are left.
#[test]
#[ignore = "run by `marks_that_run_out_are_told`"]
fn no_marks() {
    let root = std::env::temp_dir().join("t");
    fs::create_dir(&root).unwrap();
    let mut ears = Ears::new(&[&root], Options::default());
    let coverage = ears.watcher.coverage().to_vec();
    assert_eq!(coverage[0].backend, Backend::Inotify, "{coverage:?}");
    let limit = std::env::var("LIMIT").unwrap();
    let told = format!("raise fs.fanotify.{limit}");
    assert!(coverage[0].blind.iter().any(|text| text.contains(&told)), "{coverage:?}");
    fs::create_dir(root.join("d")).unwrap();
    fs::write(root.join("d/f"), "1").unwrap();
    ears.hear_about(&root.join("d/f"));
}

#[test]
fn marks_that_run_out_are_told() {
    if let Err(why) = run("unshare", &["-Urm", "true"]) {
        return println!("SKIPPED: {why}");
    }
    for (kind, limit) in [("marks", "max_user_marks"), ("groups", "max_user_groups")] {
        let script = format!(
            "mount -t tmpfs none \"$TMPDIR\" && echo 0 > /proc/sys/user/max_fanotify_{kind} && \
             exec \"$0\" --exact limits::no_marks --ignored"
        );
        let program = std::env::current_exe().unwrap();
        let home = tempfile::tempdir().unwrap();
        let mut inner = Command::new("unshare");
        inner.args(["-Urm", "sh", "-c", &script]).arg(program).env("TMPDIR", home.path()).env("LIMIT", limit);
        let output = inner.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && text.contains("1 passed"), "{kind}: {text}{errors}");
    }
}

#[test]
fn a_root_may_keep_to_its_own_filesystem() {
    on_each(&[Kind::Ext4, Kind::Overlay], |place| {
        let (root, sub) = (place.dir("t"), place.dir("t/sub"));
        run("mount", &["-t", "tmpfs", "none", sub.to_str().unwrap()]).unwrap();
        let asked = [WatchRoot { path: path(&root), cross_filesystems: false }];
        let watcher = Watcher::start(&asked, Options::default()).unwrap();
        assert_eq!(watcher.coverage().len(), 1);
        let mut ears = Ears { watcher, heard: Vec::new() };
        fs::write(sub.join("f"), "1").unwrap();
        ears.sync(&root);
        assert!(
            !ears.heard.iter().any(|hint| matches!(hint, Hint::Name { path, .. } if *path.name() == *b"f"))
        );
    });
}
