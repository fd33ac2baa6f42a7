//! A power cut at each call that writes, of everything that records: what was printed is on record, and the log is proven
//! without repair.

#![allow(clippy::disallowed_methods, reason = "tests make, change and remove their own files")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on ends")]

use rustix::process::Signal;
use serde_json::Value;
use std::collections::BTreeSet;
use waxseal_scenarios::files::*;
use waxseal_scenarios::{Machine, tools};

/// More calls than any of these commands makes.
const MOST: usize = 2000;

/// The library that cuts the power, built in the machine's home.
fn preload(machine: &Machine) -> Option<String> {
    let library = machine.home().join("crash.so");
    if !tools::has("cc") {
        return None;
    }
    tools::compile_library(include_str!("../c/crash.c"), &library).unwrap();
    Some(format!("LD_PRELOAD={}", library.display()))
}

/// Paths of the changes in these lines.
fn paths<'l>(lines: impl IntoIterator<Item = &'l Value>) -> BTreeSet<String> {
    let changes = lines.into_iter().filter(|line| line["type"] == "change");
    changes.map(|line| line["path"].as_str().unwrap().to_owned()).collect()
}

/// Whole lines: the last one may be torn.
fn whole(stdout: &[u8]) -> Vec<Value> {
    stdout.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect()
}

/// Everything that was printed is on record, and the log is proven, before anything has been mended.
#[track_caller]
fn expect_recorded(machine: &Machine, printed: &[Value], at: usize) {
    let output = machine.waxseal(["--json", "changes"]);
    assert_ne!(output.code, Some(2), "after call {at}: {output:?}");
    let (recorded, printed) = (paths(&output.lines()), paths(printed));
    let lost: Vec<_> = printed.difference(&recorded).collect();
    assert!(lost.is_empty(), "after call {at} printed and not on record: {lost:?}");
    let output = machine.waxseal(["verify"]);
    assert_eq!(output.code, Some(0), "after call {at}: {output:?}");
}

#[test]
fn a_check_cut_off_at_each_write() {
    let machine = Machine::new();
    let Some(preload) = preload(&machine) else { return };
    for name in ["a", "b", "c"] {
        write(machine.at(name), "sealed");
    }
    machine.watch_tree("");
    machine.init();
    for at in 1..MOST {
        for name in ["a", "b", "c"] {
            write(machine.at(name), format!("{at}"));
        }
        let cut = format!("CRASH_AT={at}");
        let output = machine.waxseal_under(&["env", &preload, &cut], ["--json", "check"]);
        let printed = whole(&output.stdout);
        expect_recorded(&machine, &printed, at);
        if output.signal.is_none() {
            assert!(at > 10, "only {at} calls that write");
            assert_eq!(paths(&printed).len(), 3);
            return;
        }
    }
    panic!("no end after {MOST} calls");
}

#[test]
fn an_init_cut_off_at_each_write() {
    let machine = Machine::new();
    let Some(preload) = preload(&machine) else { return };
    write(machine.at("a"), "sealed");
    machine.watch_tree("");
    for at in 1..MOST {
        let cut = format!("CRASH_AT={at}");
        let output = machine.waxseal_under(&["env", &preload, &cut], ["init"]);
        let sealed = machine.state_dir().join("waxseal.db").exists();
        if sealed {
            // Named means complete.
            machine.check().expect_intact();
            expect_recorded(&machine, &[], at);
        }
        if output.signal.is_none() {
            assert!(sealed && at > 10, "{output:?}");
            return;
        }
        if sealed {
            std::fs::remove_dir_all(machine.state_dir()).unwrap();
        }
    }
    panic!("no end after {MOST} calls");
}

/// Start, a finding, and the stop with its change of keys.
#[test]
fn a_monitor_cut_off_at_its_writes() {
    let machine = Machine::new();
    let Some(preload) = preload(&machine) else { return };
    write(machine.at("a"), "sealed");
    machine.watch_tree("");
    machine.init();
    for at in (1..MOST).step_by(3) {
        let cut = format!("CRASH_AT={at}");
        let mut watching = machine.watch_unread_under(&["env", &preload, &cut], &["--json", "watch"]);
        let lines = watching.read();
        let mut printed = Vec::new();
        let mut read_until = |wanted: &str| {
            // Lines end when the power does.
            while let Ok(line) = lines.recv() {
                let Ok(line) = serde_json::from_str::<Value>(&line) else { break };
                let is_it = line["type"] == wanted;
                printed.push(line);
                if is_it {
                    break;
                }
            }
        };
        read_until("ready");
        write(machine.at("a"), format!("{at}"));
        read_until("change");
        watching.signal(Signal::TERM);
        read_until("nothing more");
        let signal = watching.wait();
        expect_recorded(&machine, &printed, at);
        if signal.is_none() {
            assert!(at > 10);
            return;
        }
        assert_eq!(signal, Some(Signal::KILL.as_raw()));
    }
    panic!("no end after {MOST} calls");
}
