//! When everything up to a moment has been read.

use crate::fixture::{Ears, Kind, PATIENCE, on_each, path};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};
use waxseal_os::watcher::{Backend, Hint, Options};

/// Reads until the watcher says that it has read everything from before.
fn catch_up(ears: &mut Ears) {
    let deadline = Instant::now() + PATIENCE;
    ears.watcher.catch_up();
    loop {
        ears.watcher.wait(Some(Duration::ZERO)).unwrap();
        ears.watcher.read(&mut ears.heard).unwrap();
        if ears.watcher.has_caught_up() {
            return;
        }
        assert!(Instant::now() < deadline, "it does not catch up");
    }
}

fn has_heard(ears: &Ears, at: &Path) -> bool {
    let at = path(at);
    ears.heard.iter().any(|hint| matches!(hint, Hint::Name { path, .. } if *path == at))
}

#[test]
fn what_came_before_has_been_read() {
    on_each(&Kind::ALL, |place| {
        let (root, same) = (place.dir("t"), place.dir("state"));
        let other = tempfile::tempdir().unwrap();
        for canary_dir in [Some(same), Some(other.path().to_owned()), Some(root.join("no/such")), None] {
            let mut ears = Ears::new(&[&root], Options { canary_dir, ..Options::default() });
            assert_eq!(ears.watcher.coverage()[0].backend, place.kind.backend());
            for round in 0..3 {
                for i in 0..300 {
                    fs::write(root.join(format!("{round}-{i}")), "1").unwrap();
                }
                catch_up(&mut ears);
                for i in 0..300 {
                    assert!(has_heard(&ears, &root.join(format!("{round}-{i}"))), "{round}-{i}");
                }
                ears.forget();
            }
            assert!(ears.watcher.unheard().is_empty());
        }
        assert_eq!(fs::read_dir(other.path()).unwrap().count(), 0, "cookies are left behind");
    });
}

#[test]
fn what_happens_where_the_cookies_are_made_is_no_hint() {
    on_each(&Kind::ALL, |place| {
        let root = place.dir("t");
        let other = tempfile::tempdir().unwrap();
        let canary_dir = Some(other.path().to_owned());
        let mut ears = Ears::new(&[&root], Options { canary_dir, ..Options::default() });
        catch_up(&mut ears);
        ears.forget();
        for i in 0..50 {
            fs::write(other.path().join(i.to_string()), "1").unwrap();
        }
        catch_up(&mut ears);
        let concerns_root = |hint: &Hint| match hint {
            Hint::Name { path: at, .. } => at.below(&path(&root)).is_some(),
            _ => true,
        };
        let heard: Vec<_> = ears.heard.iter().filter(|hint| concerns_root(hint)).collect();
        assert!(heard.is_empty(), "{heard:?}");
    });
}

#[test]
fn a_loss_before_it_has_been_told() {
    on_each(&Kind::MARKED, |place| {
        let root = place.dir("t");
        let mut ears = place.watch_with(&[&root], Options { queue_limit: 16, ..Options::default() });
        for i in 0..64 {
            fs::write(root.join(i.to_string()), "1").unwrap();
        }
        catch_up(&mut ears);
        assert!(ears.heard.iter().any(|hint| matches!(hint, Hint::Lost { .. })), "{:?}", ears.heard);
    });
}

#[test]
fn it_ends_while_others_go_on_writing() {
    on_each(&[Kind::Tmpfs], |place| {
        let (root, state) = (place.dir("t"), place.dir("state"));
        let mut ears = place.watch_with(&[&root], Options { canary_dir: Some(state), ..Options::default() });
        let stop = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            for writer in 0..2 {
                let (root, stop) = (&root, &stop);
                scope.spawn(move || {
                    for i in 0.. {
                        if stop.load(std::sync::atomic::Ordering::Relaxed) {
                            break;
                        }
                        fs::write(root.join(format!("{writer}-{}", i % 5000)), "1").unwrap();
                    }
                });
            }
            for round in 0..5 {
                let name = root.join(format!("round-{round}"));
                fs::write(&name, "1").unwrap();
                catch_up(&mut ears);
                assert!(has_heard(&ears, &name));
                ears.forget();
            }
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
        });
    });
}

#[test]
fn what_nobody_tells_is_named() {
    let ears = Ears::new(&[Path::new("/proc/self")], Options::default());
    assert_eq!(ears.watcher.coverage()[0].backend, Backend::Polling);
    assert_eq!(ears.watcher.unheard(), [path(Path::new("/proc/self"))]);
}
