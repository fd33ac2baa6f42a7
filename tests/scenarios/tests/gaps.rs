//! Times in which the monitor could not see: said, made good, and on record with place, reason and length.

#![allow(clippy::disallowed_methods, reason = "tests make, change and remove their own files")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on ends")]

use rustix::process::Signal;
use serde_json::Value;
use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use waxseal_scenarios::files::*;
use waxseal_scenarios::{Expect, Machine, is_root, mismatch, skip, tools, until};

/// The gaps that `status` shows, the latest first, and how many there are.
fn gaps(machine: &Machine, state: &Path) -> (u64, Vec<Value>) {
    let output = machine.waxseal_in(state, ["--json", "status"]);
    let status = output.lines().remove(0);
    let last = status["gaps"]["last"].as_array().unwrap().clone();
    for gap in &last {
        assert!(gap["started"].as_str() <= gap["ended"].as_str(), "{gap}");
    }
    (status["gaps"]["count"].as_u64().unwrap(), last)
}

#[test]
fn the_time_between_two_monitors_is_one() {
    let machine = Machine::new();
    write(machine.at("file"), "x");
    machine.watch_tree("");
    machine.init();
    let state = machine.state_dir();
    assert_eq!(gaps(&machine, &state), (0, Vec::new()));
    // Since it was sealed.
    machine.watch().stop();
    let (count, first) = gaps(&machine, &state);
    assert_eq!((count, first[0]["reason"].as_str(), first[0].get("path")), (1, Some("downtime"), None));
    // From when the first one ended.
    machine.watch().stop();
    let (count, second) = gaps(&machine, &state);
    assert_eq!((count, second[0]["reason"].as_str()), (2, Some("downtime")));
    assert!(second[0]["started"].as_str() > first[0]["ended"].as_str(), "{second:?}");
    // One that is killed is known to have watched when it last recorded something.
    let mut watching = machine.watch();
    append(machine.at("file"), b"y");
    let change = watching.next_matching(|line| line["type"] == "change");
    watching.kill();
    machine.watch().stop();
    let (count, last) = gaps(&machine, &state);
    assert_eq!((count, &last[0]["started"]), (4, &change["time"]));
    let output = machine.waxseal(["status"]).expect_code(1);
    assert!(output.text().contains("gaps      4, the last one: downtime from "), "{output:?}");
}

/// The queue of inotify is the smaller one: it is filled while the monitor cannot read it.
#[test]
fn a_queue_that_overflowed_is_one() {
    if !is_root() || !tools::has("setpriv") {
        return skip("only root can take a right away from the monitor");
    }
    let limit = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
    let limit: usize = limit.trim().parse().unwrap();
    if limit > 50_000 {
        return skip("the queues of inotify are too long to be filled here");
    }
    let machine = Machine::new();
    fs::create_dir(machine.at("d")).unwrap();
    machine.watch_tree("attributes = [\"type\"]");
    machine.init();
    let mut watching = machine.watch_without_marks();
    watching.signal(Signal::STOP);
    for number in 0..limit {
        symlink_of(number, &machine);
    }
    watching.signal(Signal::CONT);
    machine.sync();
    assert_eq!(machine.recorded().len(), limit);
    let rescan = watching.next_matching(|line| line["type"] == "rescan");
    assert_eq!(
        (rescan["path"].as_str(), rescan["reason"].as_str()),
        (machine.tree().to_str(), Some("overflow"))
    );
    let (count, gaps) = gaps(&machine, &machine.state_dir());
    assert_eq!((count, &gaps[0]["reason"], &gaps[0]["path"]), (2, &rescan["reason"], &rescan["path"]));
    watching.stop();
}

/// Two events each: the name is made, and made again elsewhere.
fn symlink_of(number: usize, machine: &Machine) {
    std::os::unix::fs::symlink("x", machine.at(&format!("d/{number}"))).unwrap();
    fs::rename(machine.at(&format!("d/{number}")), machine.at(&number.to_string())).unwrap();
}

#[test]
fn a_disk_without_room_is_one() {
    let Some((machine, mounted, state)) = Machine::sealed_with_little_room() else { return };
    let mut watching = machine.watch_in(&state);
    let filler = mounted.fill();
    append(machine.at("file"), b"y");
    watching.next_matching(|line| line["type"] == "blind");
    // It is said once, however often is tried.
    until("nothing can be recorded", || machine.waxseal_in(&state, ["sync"]).code == Some(2));
    filler.remove();
    watching.next_matching(|line| line["type"] == "sighted");
    machine.waxseal_in(&state, ["sync"]).expect_code(0);
    assert_eq!(watching.seen().iter().filter(|line| line["type"] == "blind").count(), 1);
    let (count, gaps) = gaps(&machine, &state);
    assert_eq!((count, gaps[0]["reason"].as_str()), (2, Some("disk-full")));
    watching.stop();
}

/// The monitor cannot open anything while the mounts change: it goes on, says so, and looks again afterwards.
#[test]
fn events_that_cannot_be_followed_for_want_of_open_files_are_one() {
    if !is_root() || !tools::has("prlimit") {
        return skip("only root can mount, and take open files away");
    }
    let machine = Machine::new();
    write(machine.at("file"), "x");
    fs::create_dir(machine.at("point")).unwrap();
    machine.watch_tree("");
    machine.init();
    let mut watching = machine.watch();
    machine.sync();
    let pid = watching.pid().to_string();
    let limit = |files: &str| {
        tools::run("prlimit", ["--pid", &pid, &format!("--nofile={files}:")].map(OsStr::new));
    };
    // What it has open stays open; nothing new can be opened.
    limit("3");
    let point = machine.at("point");
    tools::run("mount", [OsStr::new("-t"), "tmpfs".as_ref(), "none".as_ref(), point.as_os_str()]);
    let said =
        |line: &Value| line["error"].as_str().is_some_and(|text| text.contains("cannot be followed now"));
    watching.next_matching(said);
    append(machine.at("file"), b"y");
    limit("1024");
    watching.next_matching(|line| line["type"] == "rescan" && line["reason"] == "unreadable");
    tools::run("umount", [point.as_os_str()]);
    machine.sync();
    assert_eq!(mismatch(machine.tree(), &[Expect::modified("file")], &machine.recorded()), None);
    let (_, gaps) = gaps(&machine, &machine.state_dir());
    assert!(gaps.iter().any(|gap| gap["reason"] == "unreadable"), "{gaps:?}");
    watching.stop();
}

/// What happens above the place that a monitor was started for happens to the place.
#[test]
fn a_directory_above_the_watched_part_that_moves_takes_it_along() {
    let machine = Machine::new();
    write(machine.at("a/part/file"), "x");
    write(machine.at("a/other/file"), "x");
    machine.watch_tree("");
    machine.init();
    let watching = machine.watch_paths(&[&machine.at("a/part")]);
    fs::rename(machine.at("a"), machine.at("b")).unwrap();
    machine.sync();
    let expected = [Expect::removed("a/part"), Expect::removed("a/part/file")];
    assert_eq!(mismatch(machine.tree(), &expected, &machine.recorded()), None);
    watching.stop();
}
