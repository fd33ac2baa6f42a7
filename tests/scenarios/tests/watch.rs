//! The monitor: what it says when it begins, what it sees, and what it leaves behind.

#![allow(clippy::disallowed_methods, reason = "tests make, change and remove their own files")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on ends")]

use std::fs;
use waxseal_scenarios::files::*;
use waxseal_scenarios::{Expect, Fs, Machine, Story, mismatch};

#[test]
fn ready_says_by_what_and_how_much_is_watched() {
    let machine = Machine::new();
    write(machine.at("a/file"), "x");
    machine.watch_tree("");
    machine.init();
    let watching = machine.watch();
    let backend = watching.ready["backend"].as_str().unwrap();
    assert!(["fanotify", "inotify"].contains(&backend), "{backend}");
    assert!(watching.ready["watching"].as_u64().unwrap() > 0);
    watching.stop();
}

#[test]
fn files_in_directories_that_have_just_been_made() {
    Story {
        rule: "",
        needs: &[],
        root: false,
        before: |place| write(place.at("file"), "x"),
        then: |place| {
            for number in 0..50 {
                write(place.at(&format!("new-{number}/deep/er/file")), number.to_string());
            }
        },
        expect: |_| {
            let below = |number: u32| {
                ["", "/deep", "/deep/er", "/deep/er/file"]
                    .map(|name| Expect::added(format!("new-{number}{name}")))
            };
            (0..50).flat_map(below).collect()
        },
    }
    .on(Fs::ALL);
}

#[test]
fn what_changed_while_nobody_watched_is_found_at_the_start() {
    let machine = Machine::new();
    write(machine.at("changed"), "old");
    write(machine.at("gone"), "old");
    machine.watch_tree("");
    machine.init();
    append(machine.at("changed"), b"x");
    fs::remove_file(machine.at("gone")).unwrap();
    write(machine.at("new"), "unlike the others");
    let mut watching = machine.watch();
    let expected = [Expect::modified("changed"), Expect::removed("gone"), Expect::added("new")];
    watching.wait_for_changes(|changes| mismatch(machine.tree(), &expected, changes));
    watching.stop();
}

#[test]
fn a_change_that_is_undone_is_resolved() {
    let machine = Machine::new();
    write(machine.at("file"), "x");
    chmod(machine.at("file"), 0o644);
    machine.watch_tree("attributes = [\"content\", \"mode\"]");
    machine.init();
    let mut watching = machine.watch();
    chmod(machine.at("file"), 0o600);
    let change = watching.next_matching(|line| line["type"] == "change");
    chmod(machine.at("file"), 0o644);
    let resolved = watching.next_matching(|line| line["type"] == "resolved");
    assert_eq!(resolved["id"], change["id"]);
    assert_eq!(resolved["path"], change["path"]);
    watching.stop();
    machine.check().expect_intact();
}

#[test]
fn a_path_that_changes_again_keeps_its_id() {
    let machine = Machine::new();
    write(machine.at("file"), "x");
    machine.watch_tree("");
    machine.init();
    let mut watching = machine.watch();
    let size =
        |size: u64| move |line: &serde_json::Value| line["type"] == "change" && line["after"]["size"] == size;
    append(machine.at("file"), b"y");
    let first = watching.next_matching(size(2));
    append(machine.at("file"), b"z");
    let second = watching.next_matching(size(3));
    assert_eq!(first["id"], second["id"]);
    assert!(second["count"].as_u64() > first["count"].as_u64(), "{first} {second}");
    watching.stop();
    let report = machine.check().expect_changed();
    assert_eq!(report.changes[0].0["id"], first["id"]);
}

#[test]
fn what_the_monitor_saw_is_on_record_afterwards() {
    let machine = Machine::new();
    write(machine.at("file"), "x");
    machine.watch_tree("");
    machine.init();
    let mut watching = machine.watch();
    append(machine.at("file"), b"y");
    let change = watching.next_matching(|line| line["type"] == "change");
    watching.stop();
    let output = machine.waxseal(["--json", "changes"]).expect_code(1);
    assert!(output.lines().iter().any(|line| line["id"] == change["id"]), "{output:?}");
}

#[test]
fn one_command_seals_and_watches() {
    let machine = Machine::new();
    write(machine.at("file"), "x");
    let mut watching = machine.watch_paths(&[machine.tree()]);
    append(machine.at("file"), b"y");
    let change = watching.next_matching(|line| line["type"] == "change");
    assert_eq!(change["path"], machine.at("file").to_str().unwrap());
    watching.stop();
    machine.check().expect_changed();
}
