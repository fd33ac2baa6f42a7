//! What goes wrong around the record: no room, clocks that jump, two monitors, kills under load.

#![allow(clippy::disallowed_methods, reason = "tests make, change and remove their own files")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on ends")]

use rustix::process::Signal;
use serde_json::Value;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use waxseal_scenarios::files::*;
use waxseal_scenarios::{Machine, tools};

const DAY: i64 = 86_400;

#[test]
fn status_says_while_nothing_can_be_recorded() {
    let Some((machine, mounted, state)) = Machine::sealed_with_little_room() else { return };
    let mut watching = machine.watch_in(&state);
    let status =
        |code: i32| machine.waxseal_in(&state, ["--json", "status"]).expect_code(code).lines()[0].clone();
    assert_eq!(status(0)["monitor"]["unrecorded"], Value::Null);
    let filler = mounted.fill();
    append(machine.at("file"), b"y");
    watching.next_matching(|line| line["type"] == "blind");
    assert_eq!(status(2)["monitor"]["unrecorded"]["reason"], "disk-full");
    let text = machine.waxseal_in(&state, ["status"]).expect_code(2);
    assert!(text.text().contains("changes cannot be recorded since "), "{}", text.text());
    filler.remove();
    watching.next_matching(|line| line["type"] == "sighted");
    assert_eq!(status(1)["monitor"]["unrecorded"], Value::Null);
    watching.stop();
    machine.waxseal_in(&state, ["verify"]).expect_code(0);
}

/// The disk fills up again and again, while keys change every second.
#[test]
fn no_room_for_checkpoints_and_keys_loses_nothing() {
    let Some((machine, mounted)) = Machine::with_little_room("8m") else { return };
    write(machine.at("file"), "x");
    machine.watch_tree("[ledger]\nheartbeat = \"1s\"");
    let state = mounted.root().join("state");
    machine.waxseal_in(&state, ["init"]).expect_code(0);
    let mut watching = machine.watch_in(&state);
    for round in 0..4 {
        watching.next_matching(|line| line["type"] == "heartbeat");
        let filler = mounted.fill();
        // By a heartbeat, or by a finding.
        if round % 2 == 0 {
            append(machine.at("file"), b"y");
        }
        watching.next_matching(|line| line["type"] == "blind");
        filler.remove();
        watching.next_matching(|line| line["type"] == "sighted");
    }
    watching.next_matching(|line| line["type"] == "heartbeat");
    watching.stop();
    machine.waxseal_in(&state, ["verify"]).expect_code(0);
    let log = machine.waxseal_in(&state, ["--json", "log", "--kind", "blind"]).expect_code(0).lines();
    assert_eq!(log.iter().filter(|entry| entry["reason"] == "disk-full").count(), 4);
}

#[test]
fn a_clock_that_jumps_both_ways_breaks_no_proof() {
    let machine = Machine::new();
    let (library, offset) = (machine.home().join("clock.so"), machine.home().join("offset"));
    if !tools::has("cc") {
        return;
    }
    tools::compile_library(include_str!("../c/clock.c"), &library).unwrap();
    let names = ["a", "b", "c", "d"];
    for name in names {
        write(machine.at(name), "1");
    }
    machine.watch_tree("attributes = \"content\"\n[ledger]\nheartbeat = \"1s\"");
    machine.init();
    write(&offset, "0");
    let preload = format!("LD_PRELOAD={}", library.display());
    let by = ["env", &preload, &format!("CLOCK_OFFSET={}", offset.display())];
    let mut watching = machine.watch_under(&by);
    for (seconds, name) in [(5 * DAY, "a"), (-3 * DAY, "b"), (400 * DAY, "c"), (0, "d")] {
        write(&offset, seconds.to_string());
        append(machine.at(name), b"x");
        let path = machine.at(name);
        watching.next_matching(|line| line["type"] == "change" && line["path"] == path.to_str().unwrap());
        watching.next_matching(|line| line["type"] == "heartbeat");
    }
    watching.stop();
    let proof = machine.waxseal(["--json", "verify"]).expect_code(0).lines().pop().unwrap();
    assert!(proof["clock_set_back"].as_u64() >= Some(2), "{proof}");
    let log = machine.waxseal(["--json", "log"]).expect_code(0).lines();
    let keys = log.iter().filter(|entry| entry["kind"] == "key").count();
    assert!(keys >= 5, "an epoch ends with each heartbeat: {keys}");
    // Each entry that is young enough by its own time, whatever stands before and after it.
    let recent =
        machine.waxseal(["--json", "log", "--since", "1d", "--kind", "change"]).expect_code(0).lines();
    let paths: Vec<&str> = recent.iter().filter_map(|entry| entry["change"]["path"].as_str()).collect();
    for (name, is_recent) in [("a", true), ("b", false), ("c", true), ("d", true)] {
        let path = machine.at(name);
        assert_eq!(paths.contains(&path.to_str().unwrap()), is_recent, "{name}: {paths:?}");
    }
    machine.waxseal(["changes", "--since", "1d"]).expect_code(1);
}

#[test]
fn of_monitors_that_start_at_once_one_watches_and_the_others_name_it() {
    let machine = Machine::new();
    write(machine.at("file"), "x");
    machine.watch_tree("");
    machine.init();
    let mut all: Vec<_> = (0..6).map(|_| machine.watch_unread(&["--json", "watch"])).collect();
    let readers: Vec<_> = all.iter_mut().map(|one| one.read()).collect();
    // The first line of each, or the end of it.
    let ready: Vec<bool> =
        readers.iter().map(|lines| lines.iter().any(|line| line.contains("\"type\":\"ready\""))).collect();
    assert_eq!(ready.iter().filter(|ready| **ready).count(), 1, "{ready:?}");
    let first = ready.iter().position(|ready| *ready).unwrap();
    let holder = machine.waxseal(["--json", "status"]).expect_code(0).lines()[0]["monitor"]["pid"].clone();
    let refused = machine.waxseal(["watch"]).expect_code(2);
    assert!(refused.stderr.contains(&format!("pid {holder}")), "{}", refused.stderr);
    machine.waxseal(["verify"]).expect_code(0);
    // What a killed monitor leaves in the lock's file is nobody's, whatever it is.
    let last = all.remove(first);
    last.signal(Signal::KILL);
    last.wait();
    fs::write(machine.state_dir().join("waxseal.lock"), b"{\"pid\":1,\xff\x00").unwrap();
    assert_eq!(machine.waxseal(["--json", "status"]).expect_code(0).lines()[0]["monitor"], Value::Null);
    machine.watch().stop();
    machine.waxseal(["verify"]).expect_code(0);
}

/// Kills at moments that nobody chose, while others write: no repair, and nothing that was printed is lost.
#[test]
fn twenty_kills_under_load_leave_a_proven_log() {
    let machine = Machine::new();
    for number in 0..20 {
        write(machine.at(&format!("f{number}")), "0");
    }
    machine.watch_tree("[ledger]\nheartbeat = \"1s\"");
    machine.init();
    let done = AtomicBool::new(false);
    let tree = machine.tree().to_owned();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut round = 0_u64;
            while !done.load(Ordering::Relaxed) {
                round += 1;
                let _ = fs::write(tree.join(format!("f{}", round % 20)), round.to_string());
            }
        });
        let mut seed = 0x2545_f491_4f6c_dd1d_u64;
        for round in 0..20 {
            let mut watching = machine.watch();
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            let mut printed = Vec::new();
            for _ in 0..seed % 40 {
                printed.push(watching.next_matching(|line| line["type"] == "change")["id"].clone());
            }
            watching.kill();
            let output = machine.waxseal(["verify"]);
            if output.code != Some(0) {
                done.store(true, Ordering::Relaxed);
                panic!("round {round}: {output:?}");
            }
            for id in printed.iter().filter_map(Value::as_str) {
                machine.waxseal(["show", id]).expect_code(1);
            }
        }
        done.store(true, Ordering::Relaxed);
    });
}
