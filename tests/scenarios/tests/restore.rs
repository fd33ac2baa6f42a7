//! Restoring: what was approved comes back exactly, whatever was done to it, and nothing outside of the tree is touched.

#![allow(clippy::disallowed_methods, reason = "tests make, change and remove their own files")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on ends")]

use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::{MetadataExt, chown, lchown, symlink};
use std::path::{Path, PathBuf};
use waxseal_scenarios::files::*;
use waxseal_scenarios::{Fs, Machine, Mounted, for_each_filesystem, is_root, skip, tools};

const NEEDS_ROOT: &str = "owners, devices and flags take root";

fn restore(machine: &Machine, code: i32, arguments: &[&str]) -> Vec<Value> {
    machine.waxseal([&["--json", "restore"][..], arguments].concat()).expect_code(code).lines()
}

fn of_type<'l>(lines: &'l [Value], kind: &str) -> Vec<&'l Value> {
    lines.iter().filter(|line| line["type"] == kind).collect()
}

/// What an independent program says of everything below a directory: type, mode, owner, size, modification time, link target, names
/// of one object, attributes and contents.
fn picture(tree: &Path) -> String {
    let script = r#"cd "$1" && find . -printf '%P %y %m %U %G %s %n %l ' \( -type d -printf '\n' -o -printf '%T@\n' \) | sed 's/ d \([0-7]*\) \([0-9]* [0-9]*\) [0-9]* [0-9]* / d \1 \2 /' | sort
        find . -type f -print0 | sort -z | xargs -0r sha256sum
        find . ! -type l -print0 | sort -z | xargs -0r getfacl -pn 2>/dev/null
        find . -print0 | sort -z | xargs -0r getfattr -hd -m - 2>/dev/null
        find . -type f -print0 | sort -z | xargs -0r lsattr -d 2>/dev/null; true"#;
    tools::run("sh", ["-c", script, "sh", tree.to_str().unwrap()])
}

/// A tree with everything that a tree can hold.
fn furnish(tree: &Path) {
    let at = |name: &str| tree.join(name);
    fs::create_dir_all(at("dir/deep/deeper")).unwrap();
    for name in ["file", "dir/one", "dir/deep/two", "dir/deep/deeper/three", "set", "gone"] {
        write(at(name), format!("approved content of {name}\n"));
    }
    fs::hard_link(at("dir/one"), at("second name")).unwrap();
    symlink("file", at("link")).unwrap();
    make_fifo(at("fifo"));
    write_sparse(at("sparse"), 1 << 19);
    chmod(at("set"), 0o4711);
    chmod(at("dir/deep"), 0o2750);
    set_mtime(at("file"), 1_700_000_000, 123_456_789);
    if is_root() {
        chown(at("dir/one"), Some(1234), Some(4321)).unwrap();
        lchown(at("link"), Some(77), Some(78)).unwrap();
        make_device(at("device"), 1, 3);
        tools::run("setfacl", ["-m".as_ref(), "u:1234:r".as_ref(), at("gone").as_os_str()]);
        tools::run("setfattr", ["-n", "user.note", "-v", "approved", at("file").to_str().unwrap()]);
        tools::run("setcap", ["cap_net_raw+ep", at("dir/deep/two").to_str().unwrap()]);
    }
}

/// Everything of it is changed.
fn wreck(tree: &Path) {
    let at = |name: &str| tree.join(name);
    write(at("file"), "tampered\n");
    append(at("dir/one"), b"through one name\n");
    fs::remove_file(at("gone")).unwrap();
    fs::remove_dir_all(at("dir/deep")).unwrap();
    chmod(at("set"), 0o777);
    fs::remove_file(at("link")).unwrap();
    symlink("/etc/passwd", at("link")).unwrap();
    fs::remove_file(at("fifo")).unwrap();
    fs::create_dir(at("fifo")).unwrap();
    write(at("fifo/inside"), "hidden");
    append(at("sparse"), b"x");
    write(at("added"), "dropped by the intruder");
    fs::create_dir(at("new dir")).unwrap();
    write(at("new dir/tool"), "dropped as well");
    if is_root() {
        fs::remove_file(at("device")).unwrap();
        tools::run("setfattr", ["-n", "user.evil", "-v", "yes", at("set").to_str().unwrap()]);
    }
}

fn comes_back(tree: &Path, machine: &Machine) {
    furnish(tree);
    machine.watch_tree("");
    machine.init();
    let before = picture(tree);
    let blocks = fs::metadata(tree.join("sparse")).unwrap().blocks();
    wreck(tree);
    machine.check().expect_changed();
    let planned = restore(machine, 0, &["--all", "--dry-run"]);
    assert!(of_type(&planned, "plan").len() > 10, "{planned:?}");
    assert_ne!(picture(tree), before);
    let lines = restore(machine, 0, &["--all", "--yes", "--note", "incident 7"]);
    assert_eq!(of_type(&lines, "restored").len(), of_type(&planned, "plan").len(), "{lines:?}");
    let after = picture(tree);
    assert_eq!(after, before, "{lines:?}");
    assert!(fs::metadata(tree.join("sparse")).unwrap().blocks() <= blocks.max(16));
    machine.check().expect_intact();
    assert_eq!(machine.recorded().len(), 0);
    let log = machine.waxseal(["--json", "log", "--kind", "restored"]).expect_code(0).lines();
    assert_eq!(log.len(), of_type(&lines, "restored").len());
    assert!(log.iter().all(|entry| entry["note"] == "incident 7"), "{log:?}");
    machine.waxseal(["verify"]).expect_code(0);
}

/// An empty tree on a disk of its own, where that can be mounted.
fn on_ext4() -> Option<(Mounted, PathBuf, Machine)> {
    match Mounted::new(Fs::Ext4) {
        Ok(mounted) => {
            let tree = mounted.root().join("tree");
            fs::create_dir(&tree).unwrap();
            let machine = Machine::with_tree(&tree);
            Some((mounted, tree, machine))
        }
        Err(why) => {
            skip(&why);
            None
        }
    }
}

#[test]
fn everything_comes_back_exactly() {
    let machine = Machine::new();
    comes_back(machine.tree(), &machine);
}

#[test]
fn everything_comes_back_exactly_on_every_filesystem() {
    if !is_root() {
        return skip(NEEDS_ROOT);
    }
    for_each_filesystem(&[Fs::Ext4, Fs::Xfs, Fs::Btrfs, Fs::Tmpfs, Fs::Overlay], |root| {
        let tree = root.join("tree");
        fs::create_dir(&tree).unwrap();
        comes_back(&tree, &Machine::with_tree(&tree));
    });
}

#[test]
fn flags_come_back_and_stand_in_nobodys_way() {
    if !is_root() {
        return skip(NEEDS_ROOT);
    }
    let Some((_mounted, tree, machine)) = on_ext4() else { return };
    let chattr = |how: &str, name: &str| tools::run("chattr", [how, tree.join(name).to_str().unwrap()]);
    for name in ["fast", "free"] {
        write(tree.join(name), "approved");
    }
    chattr("+i", "fast");
    machine.watch_tree("");
    machine.init();
    let before = picture(&tree);
    chattr("-i", "fast");
    write(tree.join("fast"), "tampered");
    write(tree.join("free"), "tampered");
    chattr("+ia", "free");
    machine.check().expect_changed();
    restore(&machine, 0, &["--all", "--yes"]);
    assert_eq!(picture(&tree), before);
    machine.check().expect_intact();
    chattr("-i", "fast");
}

#[test]
fn what_moved_goes_back_and_what_is_kept_is_what_stood_there() {
    let machine = Machine::new();
    for name in ["a", "b"] {
        write(machine.at(name), format!("approved {name}"));
    }
    machine.watch_tree("");
    machine.init();
    let inode = fs::metadata(machine.at("a")).unwrap().ino();
    fs::rename(machine.at("a"), machine.at("away")).unwrap();
    write(machine.at("b"), "tampered b");
    write(machine.at("evil"), "dropped");
    machine.check().expect_changed();
    let ids: Vec<String> = machine.recorded().iter().map(|change| change.id().to_string()).collect();
    restore(&machine, 0, &["--all", "--yes"]);
    assert_eq!(fs::metadata(machine.at("a")).unwrap().ino(), inode, "it is the same object");
    assert!(!machine.at("evil").exists() && !machine.at("away").exists());
    machine.check().expect_intact();
    let mut kept: Vec<Vec<u8>> = Vec::new();
    for id in ids {
        kept.push(machine.waxseal(["show", &id, "--content", "after"]).expect_code(0).stdout);
    }
    kept.sort();
    assert_eq!(kept, [b"approved a".to_vec(), b"dropped".to_vec(), b"tampered b".to_vec()]);
}

#[test]
fn what_moved_since_it_was_shown_is_left_alone() {
    let machine = Machine::new();
    write(machine.at("a"), "approved a");
    write(machine.at("b"), "approved b");
    machine.watch_tree("");
    machine.init();
    write(machine.at("a"), "tampered a");
    write(machine.at("b"), "tampered b");
    machine.check().expect_changed();
    write(machine.at("a"), "somebody is working on it");
    let lines = restore(&machine, 2, &["--all", "--yes"]);
    assert_eq!(of_type(&lines, "refused").len(), 1, "{lines:?}");
    assert_eq!(fs::read_to_string(machine.at("a")).unwrap(), "somebody is working on it");
    assert_eq!(fs::read_to_string(machine.at("b")).unwrap(), "approved b");
    // It is on record as it is now, and can be decided about.
    restore(&machine, 0, &["--all", "--yes"]);
    machine.check().expect_intact();
}

#[test]
fn without_a_word_nothing_is_touched() {
    let machine = Machine::new();
    write(machine.at("a"), "approved");
    machine.watch_tree("");
    machine.init();
    write(machine.at("a"), "tampered");
    machine.check().expect_changed();
    let refused = machine.waxseal(["restore", "--all"]).expect_code(2);
    assert!(refused.stderr.contains("--yes"), "{refused:?}");
    assert_eq!(fs::read_to_string(machine.at("a")).unwrap(), "tampered");
}

#[test]
fn a_directory_that_became_a_link_leads_nowhere() {
    let machine = Machine::new();
    let outside = machine.home().join("outside");
    fs::create_dir_all(machine.at("dir")).unwrap();
    fs::create_dir(&outside).unwrap();
    write(machine.at("dir/file"), "approved");
    write(outside.join("file"), "not ours to touch");
    machine.watch_tree("");
    machine.init();
    fs::rename(machine.at("dir"), machine.home().join("hidden")).unwrap();
    symlink(&outside, machine.at("dir")).unwrap();
    machine.check().expect_changed();
    // The file alone cannot be put back: its directory is not there.
    let file = machine.at("dir/file");
    let lines = restore(&machine, 2, &[file.to_str().unwrap(), "--yes"]);
    assert_eq!(of_type(&lines, "refused").len(), 1, "{lines:?}");
    assert_eq!(fs::read_to_string(outside.join("file")).unwrap(), "not ours to touch");
    restore(&machine, 0, &["--all", "--yes"]);
    assert!(fs::symlink_metadata(machine.at("dir")).unwrap().is_dir());
    assert_eq!(fs::read_to_string(&file).unwrap(), "approved");
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
    machine.check().expect_intact();
}

#[test]
fn a_full_disk_and_a_read_only_one_leave_what_is_there() {
    if !is_root() {
        return skip("mounting takes root");
    }
    let Some((mounted, tree, machine)) = on_ext4() else { return };
    write(tree.join("file"), "approved ".repeat(20_000));
    machine.watch_tree("");
    machine.init();
    write(tree.join("file"), "tampered");
    machine.check().expect_changed();
    let filler = mounted.fill();
    let lines = restore(&machine, 2, &["--all", "--yes"]);
    assert_eq!(of_type(&lines, "refused").len(), 1, "{lines:?}");
    assert_eq!(fs::read_to_string(tree.join("file")).unwrap(), "tampered");
    filler.remove();
    let remount = |how: &str| tools::run("mount", ["-o", how, mounted.root().to_str().unwrap()]);
    remount("remount,ro");
    let lines = restore(&machine, 2, &["--all", "--yes"]);
    assert!(lines[0]["error"].as_str().unwrap().to_lowercase().contains("read-only"), "{lines:?}");
    remount("remount,rw");
    assert_eq!(fs::read_dir(&tree).unwrap().count(), 1, "nothing is left of the attempts");
    restore(&machine, 0, &["--all", "--yes"]);
    machine.check().expect_intact();
}

#[test]
fn what_is_not_kept_or_has_rotted_is_not_put_back() {
    let machine = Machine::new();
    write(machine.at("large"), "approved ".repeat(1000));
    write(machine.at("small"), "approved");
    machine.watch_tree("keep = { content = true, max_file = \"1 KiB\" }");
    machine.init();
    write(machine.at("large"), "tampered");
    write(machine.at("small"), "tampered as well");
    machine.check().expect_changed();
    let database = rusqlite::Connection::open(machine.state_dir().join("waxseal.db")).unwrap();
    database.execute("UPDATE piece SET bytes = zeroblob(20) WHERE id = 1", []).unwrap();
    drop(database);
    let lines = restore(&machine, 2, &["--all", "--yes"]);
    let errors: Vec<&str> =
        of_type(&lines, "refused").iter().map(|line| line["error"].as_str().unwrap()).collect();
    assert_eq!(errors.len(), 2, "{lines:?}");
    assert!(errors.iter().any(|error| error.contains("max_file")), "{errors:?}");
    assert!(errors.iter().any(|error| error.contains("is damaged")), "{errors:?}");
    assert_eq!(fs::read_to_string(machine.at("small")).unwrap(), "tampered as well");
    assert_eq!(fs::read_dir(machine.tree()).unwrap().count(), 2);
}

#[test]
fn beside_a_monitor_it_is_restored_and_not_merely_resolved() {
    let machine = Machine::new();
    write(machine.at("a"), "approved a");
    machine.watch_tree("");
    machine.init();
    let mut monitor = machine.watch();
    write(machine.at("a"), "tampered");
    machine.sync();
    let id = machine.recorded()[0].id().to_string();
    restore(&machine, 0, &[&id, "--yes"]);
    machine.sync();
    assert_eq!(machine.recorded().len(), 0);
    let log = machine.waxseal(["--json", "log"]).expect_code(0).lines();
    let about: Vec<&Value> = log.iter().filter(|entry| entry["id"] == json!(id)).collect();
    assert_eq!(about.iter().map(|entry| entry["kind"].as_str().unwrap()).collect::<Vec<_>>(), ["restored"]);
    // A name that stands there for a moment while it is put back is no news.
    assert!(monitor.seen().iter().all(|line| line["type"] != "touched"), "{:?}", monitor.seen());
    write(machine.at("a"), "again");
    monitor.next_matching(|line| line["type"] == "change" && line["id"] != json!(id));
    monitor.stop();
    machine.waxseal(["verify"]).expect_code(0);
}
