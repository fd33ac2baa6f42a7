//! `restore = "auto"`: the monitor puts the approved version back by itself, at once, and gives up before it is kept busy.

#![allow(clippy::disallowed_methods, reason = "tests make, change and remove their own files")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on ends")]

use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::MetadataExt;
use waxseal_scenarios::files::*;
use waxseal_scenarios::{Machine, Watching};

fn sealed(rule: &str) -> Machine {
    let machine = Machine::new();
    for name in ["a", "b", "c"] {
        write(machine.at(name), format!("approved {name}\n"));
    }
    fs::hard_link(machine.at("c"), machine.at("also c")).unwrap();
    machine.watch_tree(rule);
    machine.init();
    machine
}

fn read(machine: &Machine, name: &str) -> String {
    fs::read_to_string(machine.at(name)).unwrap()
}

fn restored(monitor: &mut Watching, machine: &Machine, name: &str) -> Value {
    let path = json!(machine.at(name));
    monitor.next_matching(|line| line["type"] == "restored" && line["path"] == path)
}

#[test]
fn whatever_is_changed_is_put_back_at_once() {
    let machine = sealed("restore = \"auto\"");
    let before = machine.check();
    before.expect_intact();
    let mut monitor = machine.watch();
    write(machine.at("a"), "tampered\n");
    let line = restored(&mut monitor, &machine, "a");
    assert_eq!(read(&machine, "a"), "approved a\n");
    fs::remove_file(machine.at("b")).unwrap();
    restored(&mut monitor, &machine, "b");
    assert_eq!(read(&machine, "b"), "approved b\n");
    write(machine.at("new"), "dropped\n");
    restored(&mut monitor, &machine, "new");
    assert!(!machine.at("new").exists());
    chmod(machine.at("a"), 0o4777);
    restored(&mut monitor, &machine, "a");
    assert_eq!(fs::metadata(machine.at("a")).unwrap().mode() & 0o7777, 0o644);
    machine.sync();
    // Each was on record and told before it was put back.
    let id = &line["id"];
    let seen = monitor.seen().to_vec();
    let at = |kind: &str| seen.iter().position(|line| line["type"] == kind && line["id"] == *id).unwrap();
    assert!(at("change") < at("restored"));
    assert!(seen.iter().all(|line| line["type"] != "resolved"), "{seen:?}");
    let kept = machine.waxseal(["show", id.as_str().unwrap(), "--content", "after"]).expect_code(0);
    assert_eq!(kept.stdout, b"tampered\n");
    monitor.stop();
    machine.check().expect_intact();
    let log = machine.waxseal(["--json", "log", "--kind", "restored"]).expect_code(0).lines();
    assert_eq!(log.len(), 4, "{log:?}");
    assert!(log.iter().all(|entry| entry["user"] == "waxseal"), "{log:?}");
    machine.waxseal(["verify"]).expect_code(0);
}

#[test]
fn names_of_one_file_are_put_back_as_names_of_one_file() {
    let machine = sealed("restore = \"auto\"\nattributes = [\"content\", \"links\"]");
    let mut monitor = machine.watch();
    append(machine.at("c"), b"tampered\n");
    restored(&mut monitor, &machine, "c");
    machine.sync();
    assert_eq!(
        (read(&machine, "c"), read(&machine, "also c")),
        ("approved c\n".into(), "approved c\n".into())
    );
    let inode = |name: &str| fs::metadata(machine.at(name)).unwrap().ino();
    assert_eq!(inode("c"), inode("also c"));
    monitor.stop();
    machine.check().expect_intact();
}

#[test]
fn what_happened_while_it_was_away_is_put_back_as_well() {
    let machine = sealed("restore = \"auto\"");
    write(machine.at("a"), "tampered\n");
    let mut monitor = machine.watch();
    machine.sync();
    assert_eq!(read(&machine, "a"), "approved a\n");
    // What was told before it was ready is there as well.
    write(machine.at("b"), "tampered\n");
    restored(&mut monitor, &machine, "b");
    monitor.stop();
    machine.check().expect_intact();
}

#[test]
fn whoever_keeps_writing_is_not_fought_for_ever() {
    let machine = sealed("restore = \"auto\"");
    let mut monitor = machine.watch();
    for round in 0..5 {
        write(machine.at("a"), format!("tampered {round}\n"));
        restored(&mut monitor, &machine, "a");
    }
    write(machine.at("a"), "tampered at last\n");
    let path = json!(machine.at("a"));
    let line = monitor.next_matching(|line| {
        line["type"] == "change" && line["path"] == path && line["severity"] == "critical"
    });
    assert!(line["actor"]["pid"].is_u64(), "{line}");
    let said = monitor.next_matching(|line| line["type"] == "error" && line["path"] == path);
    assert!(said["error"].as_str().unwrap().contains("left alone"), "{said}");
    machine.sync();
    assert_eq!(read(&machine, "a"), "tampered at last\n");
    // The others are still looked after, and the one that is left alone stays critical.
    write(machine.at("b"), "tampered\n");
    restored(&mut monitor, &machine, "b");
    write(machine.at("a"), "and once more\n");
    machine.sync();
    let open = machine.recorded();
    assert_eq!(open.len(), 1);
    assert_eq!((&open[0].0["severity"], &open[0].0["path"]), (&json!("critical"), &path));
    monitor.stop();
    machine.waxseal(["verify"]).expect_code(0);
}

#[test]
fn what_was_approved_meanwhile_is_what_is_put_back() {
    let machine = sealed("");
    let manual = machine.watch();
    write(machine.at("a"), "release 2\n");
    machine.sync();
    assert_eq!(read(&machine, "a"), "release 2\n");
    machine.waxseal(["approve", "--all", "--yes"]).expect_code(0);
    manual.stop();
    machine.watch_tree("restore = \"auto\"");
    let mut monitor = machine.watch();
    write(machine.at("a"), "tampered\n");
    restored(&mut monitor, &machine, "a");
    assert_eq!(read(&machine, "a"), "release 2\n");
    monitor.stop();
}

#[test]
fn a_baseline_that_nobody_signed_puts_nothing_back() {
    let machine = sealed("restore = \"auto\"");
    let database = rusqlite::Connection::open(machine.state_dir().join("waxseal.db")).unwrap();
    database.execute("UPDATE baseline SET seal = replace(seal, 'a', 'b')", []).unwrap();
    drop(database);
    let mut monitor = machine.watch();
    write(machine.at("a"), "tampered\n");
    monitor.next_matching(|line| {
        line["type"] == "error" && line["error"].as_str().unwrap().contains("nothing is put back")
    });
    machine.sync();
    assert_eq!(read(&machine, "a"), "tampered\n");
    monitor.stop();
}
