//! Filesystems that stop answering: those of programs here, which stand for those of servers as well.

#![allow(clippy::disallowed_methods, reason = "tests make, change and remove their own files")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a broken expectation ends the test")]

use std::fs;
use waxseal_scenarios::files::{append, write};
use waxseal_scenarios::{Dead, Fuse, Machine, skip};

/// A watched tree on disk, and a directory in it to mount on.
fn machine(rule: &str) -> Machine {
    let machine = Machine::new();
    write(machine.at("before/file"), "x");
    write(machine.at("yonder/file"), "x");
    fs::create_dir(machine.at("mounted")).unwrap();
    machine.watch_tree(&format!("{rule}\n[scan]\ndeadline = \"1s\""));
    machine
}

#[test]
fn s43_a_file_that_does_not_answer_keeps_nobody_from_the_rest() {
    let machine = machine("cross_filesystems = true");
    let fuse = match Fuse::mount(&machine.at("mounted"), &[("a", "alpha"), ("b", "beta"), ("c", "")]) {
        Ok(fuse) => fuse,
        Err(why) => return skip(&why),
    };
    machine.init();
    let report = machine.check().expect_intact();
    // The list of roots, the tree, three directories, two files on disk and three on the other filesystem.
    assert!(report.summary["checked"].as_u64().unwrap() >= 9, "{}", report.summary);
    fuse.be_silent_about("b");
    append(machine.at("before/file"), b"y");
    append(machine.at("yonder/file"), b"y");
    let report = machine.check().expect_incomplete();
    assert!(report.has_error_at(machine.at("mounted/b")), "{:#?}", report.output);
    let error = report.output.text().lines().find(|line| line.contains("did not answer")).unwrap();
    assert!(error.contains("within 1s"), "{error}");
    for path in ["before/file", "yonder/file"] {
        assert_eq!(report.change_at(machine.at(path)).expect(path).fields(), ["content", "size", "mtime"]);
    }
    assert_eq!(report.changes.len(), 2, "what did not answer has not changed: {:#?}", report.output);
    fuse.answer_again();
    let report = machine.check().expect_changed();
    assert_eq!(report.changes.len(), 2, "{:#?}", report.output);
}

#[test]
fn s43_a_mount_that_never_answers_is_left_alone() {
    // Whether or not what is mounted would be looked into.
    for rule in ["cross_filesystems = true", ""] {
        let machine = machine(rule);
        machine.init();
        let dead = match Dead::mount(&machine.at("mounted")) {
            Ok(dead) => dead,
            Err(why) => return skip(&why),
        };
        append(machine.at("before/file"), b"y");
        append(machine.at("yonder/file"), b"y");
        for quick in [false, true] {
            let report = if quick { machine.check_quick() } else { machine.check() }.expect_incomplete();
            assert!(report.has_error_at(machine.at("mounted")), "{:#?}", report.output);
            assert_eq!(report.changes.len(), 2, "{:#?}", report.output);
        }
        drop(dead);
        let report = machine.check().expect_changed();
        assert_eq!(report.changes.len(), 2, "{:#?}", report.output);
    }
}

#[test]
fn s43_a_watched_path_on_a_mount_that_never_answers() {
    let machine = Machine::new();
    write(machine.at("disk/file"), "x");
    write(machine.at("point/inner/file"), "x");
    let (disk, inner) = (machine.at("disk"), machine.at("point/inner"));
    machine.configure(&format!(
        "[[watch]]\nname = \"both\"\npaths = [\"{}\", \"{}\"]\n[scan]\ndeadline = \"1s\"",
        disk.display(),
        inner.display()
    ));
    machine.init();
    let _dead = match Dead::mount(&machine.at("point")) {
        Ok(dead) => dead,
        Err(why) => return skip(&why),
    };
    append(machine.at("disk/file"), b"y");
    let report = machine.check().expect_incomplete();
    assert!(report.has_error_at(&inner), "{:#?}", report.output);
    assert_eq!(report.changes.len(), 1, "{:#?}", report.output);
    // The monitor starts all the same, and sees what can be seen.
    let mut watching = machine.watch();
    append(machine.at("disk/file"), b"z");
    watching.next_matching(|line| line["type"] == "change" && line["count"] == 2);
    watching.stop();
}
