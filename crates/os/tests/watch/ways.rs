//! Roots that come, go, or are elsewhere than they seem.

use crate::fixture::{Kind, on_each, path};
use std::fs;
use std::os::unix::fs::symlink;
use waxseal_os::watcher::{Hint, What};

#[test]
fn a_root_that_comes_later() {
    on_each(&Kind::ALL, |place| {
        let root = place.at.join("a/b/root");
        let mut ears = place.watch(&[&root]);
        for _ in 0..3 {
            fs::create_dir_all(&root).unwrap();
            fs::write(root.join("f"), "1").unwrap();
            ears.hear_about(&root.join("f"));
            ears.forget();
            fs::write(root.join("g"), "1").unwrap();
            ears.hear_about(&root.join("g"));
            ears.sync(&root);
            ears.forget();
            fs::remove_dir_all(place.at.join("a")).unwrap();
            ears.hear_about(&root);
            // Until it has been taken notice of, a new directory there could be taken for the old one.
            ears.hear_about(&root.join("f"));
            ears.forget();
        }
    });
}

#[test]
fn a_directory_above_the_root_is_swapped() {
    on_each(&Kind::ALL, |place| {
        let root = place.dir("a/root");
        place.dir("other/root/sub");
        let mut ears = place.watch(&[&root]);
        fs::write(root.join("f"), "1").unwrap();
        ears.hear_name(&root.join("f"));
        fs::rename(place.at.join("a"), place.at.join("aside")).unwrap();
        fs::rename(place.at.join("other"), place.at.join("a")).unwrap();
        ears.hear(
            "the root at its name",
            |hint| matches!(hint, Hint::Name { path, deep: true, .. } if *path.name() == *b"root"),
        );
        ears.sync(&root);
        ears.forget();
        fs::write(root.join("sub/g"), "1").unwrap();
        ears.hear_name(&root.join("sub/g"));
        fs::write(place.at.join("aside/root/h"), "1").unwrap();
        ears.sync(&root);
        assert!(
            !ears.heard.iter().any(|hint| matches!(hint, Hint::Name { path, .. } if *path.name() == *b"h"))
        );
    });
}

#[test]
fn a_link_on_the_way_is_swapped() {
    on_each(&Kind::ALL, |place| {
        place.dir("releases/1/conf");
        place.dir("releases/2/conf");
        let link = place.at.join("current");
        symlink("releases/1", &link).unwrap();
        let root = link.join("conf");
        let mut ears = place.watch(&[&root]);
        fs::write(place.at.join("releases/1/conf/f"), "1").unwrap();
        ears.hear_name(&root.join("f"));
        symlink("releases/2", place.at.join("next")).unwrap();
        fs::rename(place.at.join("next"), &link).unwrap();
        ears.hear(
            "the root at its name",
            |hint| matches!(hint, Hint::Name { path, deep: true, .. } if *path.name() == *b"conf"),
        );
        ears.forget();
        fs::write(place.at.join("releases/2/conf/g"), "1").unwrap();
        ears.hear_name(&root.join("g"));
    });
}

#[test]
fn roots_that_are_files() {
    on_each(&Kind::ALL, |place| {
        let dir = place.dir("d");
        let file = dir.join("file");
        fs::write(&file, "1").unwrap();
        let absent = dir.join("absent");
        let mut ears = place.watch(&[&file, &absent]);
        fs::write(dir.join("other"), "1").unwrap();
        fs::write(&file, "2").unwrap();
        ears.hear_name(&file);
        assert!(
            !ears
                .heard
                .iter()
                .any(|hint| matches!(hint, Hint::Name { path, .. } if *path.name() == *b"other"))
        );
        ears.forget();
        fs::rename(dir.join("other"), &file).unwrap();
        ears.hear_name(&file);
        ears.forget();
        // What replaced it is watched.
        fs::write(&file, "3").unwrap();
        ears.hear("its content", |hint| {
            matches!(hint, Hint::Name { path, what, .. } if *path.name() == *b"file" && what.has(What::CONTENT))
        });
        fs::write(&absent, "1").unwrap();
        ears.hear_name(&absent);
    });
}

#[test]
fn roots_within_roots_are_heard_once() {
    on_each(&Kind::ALL, |place| {
        let outer = place.dir("o");
        let inner = place.dir("o/i");
        let mut ears = place.watch(&[&outer, &inner]);
        fs::create_dir(inner.join("d")).unwrap();
        ears.hear_name(&inner.join("d"));
        ears.sync(&outer);
        let at = path(&inner.join("d"));
        let count =
            ears.heard.iter().filter(|hint| matches!(hint, Hint::Name { path, .. } if *path == at)).count();
        assert_eq!(count, 1, "{:?}", ears.heard);
    });
}

#[test]
fn a_root_seen_by_two_ways_is_heard_by_both() {
    on_each(&Kind::ALL, |place| {
        let dir = place.dir("d/real");
        symlink("d", place.at.join("l")).unwrap();
        let other = place.at.join("l/real");
        let mut ears = place.watch(&[&dir, &other]);
        fs::write(dir.join("f"), "1").unwrap();
        ears.hear_name(&dir.join("f"));
        ears.hear_name(&other.join("f"));
    });
}
