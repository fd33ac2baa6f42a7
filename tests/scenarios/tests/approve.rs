//! Approving: what was found, and shown, becomes the baseline; what moved since does not.

#![allow(clippy::disallowed_methods, reason = "tests make, change and remove their own files")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on ends")]

use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use waxseal_scenarios::files::*;
use waxseal_scenarios::{Change, Machine};

/// A sealed tree: `a`, `b`, and a directory with two files.
fn sealed() -> Machine {
    let machine = Machine::new();
    fs::create_dir(machine.at("dir")).unwrap();
    for name in ["a", "b", "dir/one", "dir/two"] {
        write(machine.at(name), name);
    }
    machine.watch_tree("");
    machine.init();
    machine
}

fn approve(machine: &Machine, code: i32, arguments: &[&str]) -> Vec<Value> {
    machine.waxseal([&["--json", "approve"][..], arguments].concat()).expect_code(code).lines()
}

fn of_type<'l>(lines: &'l [Value], kind: &str) -> Vec<&'l Value> {
    lines.iter().filter(|line| line["type"] == kind).collect()
}

fn id_of(machine: &Machine, name: &str) -> String {
    let path = machine.at(name);
    let open = machine.recorded();
    let change = open.iter().find(|change| change.0["path"] == json!(path)).unwrap();
    change.id().to_string()
}

/// What the baseline in a state directory approves: of each entry what counts. The times of a directory that nobody asked about
/// stay as they were sealed, so root hashes need not be the same.
fn entries(machine: &Machine, state: &Path) -> Vec<Value> {
    let lines = machine.waxseal_in(state, ["--json", "baseline", "export"]).expect_code(0).lines();
    let lines = lines.iter().filter(|line| line["type"] == "sealed_entry");
    let reduced = lines.map(|line| {
        let state = &line["state"];
        let is_file = state["type"] == "file";
        let of_file = |key: &str| is_file.then(|| state[key].clone());
        json!([
            line["path"],
            state["type"],
            state["mode"],
            state["target"],
            state["sha256"],
            of_file("size"),
            of_file("mtime")
        ])
    });
    reduced.collect()
}

#[test]
fn what_was_found_becomes_the_baseline_with_who_and_why() {
    let machine = sealed();
    write(machine.at("a"), "other");
    fs::remove_file(machine.at("b")).unwrap();
    fs::create_dir(machine.at("new")).unwrap();
    write(machine.at("new/file"), "new");
    machine.check().expect_changed();
    let planned = approve(&machine, 0, &["--all", "--dry-run"]);
    assert_eq!(of_type(&planned, "plan").len(), 4, "{planned:?}");
    assert_eq!(machine.recorded().len(), 4, "a plan changes nothing");
    let lines = approve(&machine, 0, &["--all", "--yes", "--note", "deploy 7"]);
    assert_eq!(of_type(&lines, "approved").len(), 4, "{lines:?}");
    let [baseline] = of_type(&lines, "baseline")[..] else { panic!("{lines:?}") };
    assert_eq!(baseline["generation"], 2);
    assert_eq!(baseline["note"], "deploy 7");
    machine.check().expect_intact();
    machine.check_quick().expect_intact();
    assert_eq!(machine.recorded().len(), 0);
    let listed = machine.waxseal(["--json", "baseline", "list"]).expect_code(0).lines();
    assert_eq!(listed.len(), 2);
    let log =
        machine.waxseal(["--json", "log", "--kind", "approved", "--kind", "sealed"]).expect_code(0).lines();
    let kinds: Vec<&str> = log.iter().filter_map(|line| line["kind"].as_str()).collect();
    assert_eq!(kinds, ["sealed", "approved", "approved", "approved", "approved", "sealed"]);
    machine.waxseal(["verify"]).expect_code(0);
}

#[test]
fn any_changes_approved_give_the_baseline_that_sealing_anew_gives() {
    let machine = sealed();
    let mut dice = fastrand::Rng::with_seed(20_261_125);
    for round in 0..12 {
        for step in 0..12 {
            disturb(&machine, &mut dice, round * 100 + step);
        }
        let report = machine.check();
        if report.outcome() == "intact" {
            continue;
        }
        let lines = approve(&machine, 0, &["--all", "--yes"]);
        let fresh = machine.home().join(format!("state-{round}"));
        machine.waxseal_in(&fresh, ["--json", "init"]).expect_code(0);
        assert_eq!(entries(&machine, &machine.state_dir()), entries(&machine, &fresh), "round {round}");
        let counted = of_type(&lines, "baseline")[0]["entries"].clone();
        let summary = machine.waxseal_in(&fresh, ["--json", "baseline", "list"]).expect_code(0).lines();
        assert_eq!(counted, summary[0]["entries"], "round {round}");
        assert_eq!(of_type(&lines, "baseline")[0]["files"], summary[0]["files"], "round {round}");
        machine.check().expect_intact();
    }
    machine.waxseal(["verify"]).expect_code(0);
}

/// One change of any kind somewhere in the tree.
fn disturb(machine: &Machine, dice: &mut fastrand::Rng, number: u32) {
    let all = below(machine.tree());
    let directories: Vec<&PathBuf> = all.iter().filter(|path| path.is_dir() && !path.is_symlink()).collect();
    let top = machine.tree().to_path_buf();
    let directory = dice.choice(&directories).map_or(top, |path| (*path).clone());
    let fresh = directory.join(format!("n{number}"));
    let Some(victim) = dice.choice(&all).cloned() else { return write(&fresh, "x") };
    match dice.u8(0..8) {
        0 => write(&fresh, number.to_string()),
        1 => fs::create_dir(&fresh).unwrap(),
        2 => symlink("somewhere", &fresh).unwrap(),
        3 if victim.is_dir() && !victim.is_symlink() => fs::remove_dir_all(&victim).unwrap(),
        3 => fs::remove_file(&victim).unwrap(),
        4 if victim.is_file() && !victim.is_symlink() => append(&victim, b"more"),
        5 if !victim.is_symlink() => chmod(&victim, if dice.bool() { 0o700 } else { 0o755 }),
        6 if !fresh.starts_with(&victim) => fs::rename(&victim, &fresh).unwrap(),
        7 if victim.is_dir() && !victim.is_symlink() => {
            fs::remove_dir_all(&victim).unwrap();
            write(&victim, "a file now");
        }
        _ => {}
    }
}

#[test]
fn what_moved_since_it_was_shown_is_refused_and_recorded_anew_and_the_rest_goes_through() {
    let machine = sealed();
    write(machine.at("a"), "seen");
    write(machine.at("b"), "seen");
    machine.check().expect_changed();
    let id = id_of(&machine, "a");
    write(machine.at("a"), "not seen");
    let lines = approve(&machine, 2, &["--all", "--yes"]);
    assert_eq!(of_type(&lines, "approved").len(), 1, "{lines:?}");
    let [refused] = of_type(&lines, "refused")[..] else { panic!("{lines:?}") };
    assert_eq!(refused["id"], json!(id));
    let open = machine.recorded();
    let [change] = &open[..] else { panic!("{open:?}") };
    assert_eq!((change.id(), change.0["count"].clone()), (id.as_str(), json!(2)), "recorded as it is now");
    approve(&machine, 0, &[&id, "--yes"]);
    machine.check().expect_intact();
    machine.waxseal(["verify"]).expect_code(0);
}

#[test]
fn a_change_a_set_or_a_path_is_what_is_meant() {
    let machine = sealed();
    write(machine.at("a"), "x");
    write(machine.at("dir/one"), "x");
    write(machine.at("dir/two"), "x");
    machine.check().expect_changed();
    let id = id_of(&machine, "a");
    assert_eq!(of_type(&approve(&machine, 0, &[&id, "--yes"]), "approved").len(), 1);
    let directory = machine.at("dir/one");
    approve(&machine, 0, &[directory.to_str().unwrap(), "--yes"]);
    let open = machine.recorded();
    assert_eq!(open.len(), 1, "{open:?}");
    let set = open[0].0["set"].as_str().unwrap().to_string();
    approve(&machine, 0, &[&set, "--yes"]);
    machine.check().expect_intact();
    // What is not open cannot be approved, and that is said.
    approve(&machine, 2, &[&id, "--yes"]);
    machine.waxseal(["approve"]).expect_code(2);
}

#[test]
fn without_a_terminal_and_without_yes_nothing_is_approved() {
    let machine = sealed();
    write(machine.at("a"), "x");
    machine.check().expect_changed();
    machine.waxseal(["approve", "--all"]).expect_code(2);
    assert_eq!(machine.recorded().len(), 1);
}

#[test]
fn a_file_in_a_directory_that_is_not_approved_waits_for_it() {
    let machine = sealed();
    fs::create_dir(machine.at("new")).unwrap();
    write(machine.at("new/file"), "x");
    machine.check().expect_changed();
    let lines = approve(&machine, 2, &[&id_of(&machine, "new/file"), "--yes"]);
    assert_eq!(of_type(&lines, "refused").len(), 1, "{lines:?}");
    approve(&machine, 0, &[&id_of(&machine, "new"), "--yes"]);
    approve(&machine, 0, &[&id_of(&machine, "new/file"), "--yes"]);
    machine.check().expect_intact();
}

#[test]
fn another_key_or_none_approves_nothing() {
    let machine = sealed();
    write(machine.at("a"), "x");
    machine.check().expect_changed();
    let other = Machine::new();
    other.watch_tree("");
    other.init();
    let foreign = other.state_dir().join("sealing.key");
    machine.waxseal(["approve", "--all", "--yes", "--key", foreign.to_str().unwrap()]).expect_code(2);
    let own = machine.state_dir().join("sealing.key");
    let away = machine.home().join("usb.key");
    fs::rename(&own, &away).unwrap();
    machine.waxseal(["approve", "--all", "--yes"]).expect_code(2);
    assert!(!own.exists(), "no key is made in its place");
    assert_eq!(machine.recorded().len(), 1);
    approve(&machine, 0, &["--all", "--yes", "--key", away.to_str().unwrap()]);
    machine.check().expect_intact();
}

#[test]
fn beside_a_monitor_it_takes_notice_and_goes_on_from_there() {
    let machine = sealed();
    let mut watching = machine.watch();
    write(machine.at("a"), "x");
    write(machine.at("added"), "x");
    machine.sync();
    assert_eq!(machine.recorded().len(), 2);
    let lines = approve(&machine, 0, &["--all", "--yes"]);
    assert_eq!(of_type(&lines, "approved").len(), 2, "{lines:?}");
    let told = watching.next_matching(|line| line["type"] == "baseline");
    assert_eq!(told["generation"], 2);
    let approved = watching.seen().iter().filter(|line| line["type"] == "approved").count();
    assert_eq!(approved, 2);
    // From here on the approved state is the one that counts: another one is a change, and this one again is not.
    write(machine.at("a"), "y");
    machine.sync();
    let open = machine.recorded();
    assert_eq!(open.len(), 1, "{open:?}");
    fs::remove_file(machine.at("added")).unwrap();
    machine.sync();
    let kinds: Vec<String> = machine.recorded().iter().map(|change| change.kind().to_string()).collect();
    assert_eq!(kinds.len(), 2, "{kinds:?}");
    assert!(kinds.contains(&"removed".to_string()), "{kinds:?}");
    watching.stop();
    machine.waxseal(["verify"]).expect_code(0);
}

#[test]
fn a_baseline_that_nobody_signed_does_not_come_into_force() {
    let machine = sealed();
    let mut watching = machine.watch();
    write(machine.at("a"), "x");
    machine.sync();
    // Who can write to the database copies the row of the first baseline as the second one.
    let database = rusqlite::Connection::open(machine.state_dir().join("waxseal.db")).unwrap();
    database
        .execute_batch(
            "INSERT INTO baseline(root, seal, rules, time, scan_start, who, note, entries, files, bytes)
             SELECT root, seal, rules, time, scan_start, who, note, entries, files, bytes FROM baseline",
        )
        .unwrap();
    drop(database);
    write(machine.at("b"), "x");
    watching.next_matching(|line| {
        line["type"] == "error"
            && line["error"].as_str().is_some_and(|text| text.contains("seal of baseline 2"))
    });
    machine.sync();
    let open = machine.recorded();
    let below = |change: &&Change| change.path().starts_with(machine.tree().as_os_str().as_encoded_bytes());
    assert_eq!(open.iter().filter(below).count(), 2, "it goes on watching: {open:?}");
    machine.waxseal(["approve", "--all", "--yes"]).expect_code(2);
    watching.stop();
    machine.waxseal(["verify"]).expect_code(1);
}
