//! A monitor whose output nobody reads: it works on, says later what it could not say, and ends.

#![allow(clippy::disallowed_methods, reason = "tests make, change and remove their own files")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on ends")]

use rustix::process::Signal;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::sync::mpsc::Receiver;
use std::time::Duration;
use waxseal_scenarios::files::*;
use waxseal_scenarios::{Machine, Schemas, Unread, until};

/// Longer than any line takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// How many lines of names like [`name`] are more than the monitor keeps.
const MANY: usize = 6000;

/// A long name, far below.
fn name(number: usize) -> String {
    let above = "d".repeat(250);
    format!("{above}/{above}/{number:0>250}")
}

fn make_files(machine: &Machine, numbers: std::ops::Range<usize>) {
    fs::create_dir_all(machine.at(&name(0)).parent().unwrap()).unwrap();
    for number in numbers {
        fs::File::create(machine.at(&name(number))).unwrap();
    }
}

fn started(arguments: &[&str]) -> (Machine, Unread) {
    let machine = Machine::new();
    machine.watch_tree("attributes = [\"type\"]");
    machine.init();
    let unread = machine.watch_unread(arguments);
    until("the monitor answers", || machine.waxseal(["sync"]).code == Some(0));
    (machine, unread)
}

/// Changes are not held against their schema here, as other tests do: these are too many.
fn parse(line: &str) -> Value {
    let value: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    if value["type"] != "change" {
        assert_eq!(Schemas::get().problems(&value), [""; 0], "{line}");
    }
    value
}

#[test]
fn it_records_all_the_same_and_says_what_it_left_out() {
    let (machine, mut unread) = started(&["--json", "watch"]);
    make_files(&machine, 0..MANY);
    machine.sync();
    let recorded = machine.waxseal(["--json", "changes"]).expect_code(1);
    let recorded = recorded.text().lines().map(parse).filter(|line| line["type"] == "change");
    let ids: BTreeSet<String> = recorded.map(|change| change["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(ids.len(), MANY + 2);

    let lines = unread.read();
    let mut told = Vec::new();
    let mut left_out = 0;
    // Until the gap is said; whatever follows it is told again.
    while left_out == 0 {
        let line = parse(&lines.recv_timeout(PATIENCE).expect("a line"));
        match line["type"].as_str().unwrap() {
            "change" => told.push(line["id"].as_str().unwrap().to_owned()),
            "skipped" => left_out = line["lines"].as_u64().unwrap(),
            _ => {}
        }
    }
    assert!(told.iter().all(|id| ids.contains(id.as_str())));
    let different: BTreeSet<&String> = told.iter().collect();
    assert!(different.len() as u64 + left_out >= MANY as u64, "{} and {left_out}", different.len());
    make_files(&machine, MANY..MANY + 1);
    let new = machine.at(&name(MANY));
    find(&lines, |line| parse(line)["path"].as_str() == new.to_str());
    unread.signal(Signal::TERM);
    unread.expect_end();
    assert!(lines.recv_timeout(PATIENCE).is_err());
}

#[test]
fn it_ends_when_nobody_reads() {
    let (machine, unread) = started(&["watch"]);
    make_files(&machine, 0..1000);
    machine.sync();
    unread.signal(Signal::TERM);
    unread.expect_end();
}

#[test]
fn what_was_said_is_printed_before_the_end() {
    const FILES: usize = 1000;
    let (machine, mut unread) = started(&["--json", "watch"]);
    make_files(&machine, 0..FILES);
    machine.sync();
    unread.signal(Signal::TERM);
    // More than a pipe holds is left.
    let lines: Vec<Value> = unread.read().into_iter().map(|line| parse(&line)).collect();
    unread.expect_end();
    assert_eq!(lines.iter().filter(|line| line["type"] == "change").count(), FILES + 2);
    assert_eq!(lines[0]["type"], "ready");
}

/// The next line that is wanted; none comes within a long time when the test fails.
fn find(lines: &Receiver<String>, wanted: impl Fn(&str) -> bool) -> String {
    loop {
        let line = lines.recv_timeout(PATIENCE).expect("a line");
        if wanted(&line) {
            return line;
        }
    }
}

#[test]
fn people_are_told_as_well() {
    let (machine, mut unread) = started(&["watch"]);
    make_files(&machine, 0..MANY);
    machine.sync();
    let lines = unread.read();
    assert!(find(&lines, |line| line.starts_with("skipped ")).contains("waxseal changes"));
    write(machine.at("new"), "x");
    find(&lines, |line| line.contains("/new"));
    unread.signal(Signal::TERM);
    unread.expect_end();
}
