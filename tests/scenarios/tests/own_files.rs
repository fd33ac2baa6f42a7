//! What others do to the state directory while the monitor runs.

#![allow(clippy::disallowed_methods, reason = "tests make, change and remove their own files")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on ends")]

use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;
use waxseal_scenarios::files::*;
use waxseal_scenarios::{Machine, Watching};

/// A machine that beats every second, so that keys change while it is looked at.
fn machine() -> Machine {
    let machine = Machine::new();
    for name in ["a", "b"] {
        write(machine.at(name), "1");
    }
    machine.watch_tree("[ledger]\nheartbeat = \"1s\"");
    machine
}

fn shell(dir: &Path, script: &str) {
    assert!(Command::new("sh").arg("-c").arg(script).current_dir(dir).status().unwrap().success());
}

/// Waits for the change of an own file.
#[track_caller]
fn told(watching: &mut Watching, path: &Path, change: &str) -> Value {
    let path = path.to_str().unwrap();
    watching
        .next_matching(|line| line["type"] == "change" && line["path"] == path && line["change"] == change)
}

fn beat(watching: &mut Watching) {
    watching.next_matching(|line| line["type"] == "heartbeat");
}

#[test]
fn what_others_do_to_the_own_files_is_critical_told_and_on_record() {
    let machine = machine();
    machine.init();
    let state = machine.state_dir();
    let mut watching = machine.watch();
    let named = watching.ready["actors"].is_string();
    if named {
        shell(&state, ": >> waxseal.db");
        let change = told(&mut watching, &state.join("waxseal.db"), "modified");
        assert!(change["fields"].as_array().unwrap().contains(&"content".into()), "{change}");
        assert!(change["actor"]["pid"].is_number(), "{change}");
    }
    for (script, name, change) in [
        ("chmod 0644 log.key", "log.key", "metadata"),
        ("mv waxseal.vkey ../kept", "waxseal.vkey", "removed"),
        ("echo > strange", "strange", "added"),
        ("echo >> sealing.vkey", "sealing.vkey", "modified"),
        ("cp epoch.key ../epoch; echo > epoch.key; mv ../epoch epoch.key", "epoch.key", "modified"),
    ] {
        // A moment's change of the key, and files of no name that is known, are not told where nobody is named.
        if !named && (name == "epoch.key" || name == "strange") {
            continue;
        }
        shell(&state, script);
        let line = told(&mut watching, &state.join(name), change);
        assert_eq!((&line["severity"], line["id"].is_string()), (&"critical".into(), true), "{line}");
    }
    shell(&state, "chmod 0755 .");
    told(&mut watching, &state, "metadata");
    let count = watching.open_changes().len();
    beat(&mut watching);
    watching.stop();
    shell(
        &state,
        "chmod 0700 .; chmod 0600 log.key; mv ../kept waxseal.vkey; rm strange; sed -i '$d' sealing.vkey",
    );
    machine.waxseal(["verify"]).expect_code(0);
    // A check looks at the watched paths, and takes none of it back.
    machine.waxseal(["check"]);
    let open = machine.recorded();
    assert_eq!(open.len(), count, "{open:?}");
    let log = machine.waxseal(["log", "--json", "--severity", "critical"]).expect_code(0).lines();
    assert!(log.len() >= count, "{log:?}");
    // Somebody has taken note of it.
    machine.waxseal(["approve", "--all", "--yes"]).expect_code(0);
    assert_eq!(machine.recorded().len(), 0);
    machine.waxseal(["verify"]).expect_code(0);
    machine.waxseal(["check"]).expect_code(0);
}

#[track_caller]
fn expect_quiet(machine: &Machine) {
    let mut watching = machine.watch();
    append(machine.at("a"), b"x");
    machine.sync();
    for arguments in [
        &["check"][..],
        &["check", "--quick"],
        &["status"],
        &["changes"],
        &["log"],
        &["verify"],
        &["log", "checkpoint"],
        &["approve", "--all", "--yes"],
        &["diff", machine.at("b").to_str().unwrap()],
    ] {
        machine.waxseal(arguments);
    }
    // Keys have changed by then, and everything was looked at.
    (0..3).for_each(|_| beat(&mut watching));
    machine.sync();
    let own: Vec<_> = watching.seen().iter().filter(|line| line["severity"] == "critical").collect();
    assert!(own.is_empty(), "{own:?}");
    watching.stop();
}

#[test]
fn what_waxseal_itself_does_is_never_told() {
    let machine = machine();
    machine.init();
    expect_quiet(&machine);
}

#[test]
fn without_root_the_own_files_are_guarded_as_well() {
    let machine = machine().as_ordinary_user();
    machine.init();
    expect_quiet(&machine);
    let mut watching = machine.watch();
    shell(&machine.state_dir(), "echo >> log.key");
    told(&mut watching, &machine.state_dir().join("log.key"), "modified");
    watching.stop();
}

#[test]
fn a_database_that_is_taken_away_is_told() {
    let machine = machine();
    machine.init();
    let state = machine.state_dir();
    let mut watching = machine.watch();
    shell(&state, "mv waxseal.db ../kept");
    watching.next_matching(|line| {
        line["type"] == "error" && line["error"].as_str().unwrap().contains("is lost when it ends")
    });
    told(&mut watching, &state.join("waxseal.db"), "removed");
    shell(&state, "mv ../kept waxseal.db");
    watching.stop();
    machine.waxseal(["verify"]).expect_code(0);
}

#[test]
fn a_broken_seal_is_critical_and_the_monitor_goes_on() {
    let machine = Machine::new();
    write(machine.at("a"), "sealed");
    machine.watch_tree("");
    machine.init();
    let file = machine.state_dir().join("waxseal.db");
    let database = rusqlite::Connection::open(&file).unwrap();
    database.execute("UPDATE baseline SET seal = replace(seal, 'a', 'b')", []).unwrap();
    drop(database);
    let mut monitor = machine.watch();
    let told = |line: &Value| line["type"] == "change" && line["path"] == json!(file);
    let line = match monitor.seen().iter().find(|line| told(line)) {
        Some(line) => line.clone(),
        None => monitor.next_matching(told),
    };
    assert_eq!((&line["severity"], &line["change"]), (&json!("critical"), &json!("modified")));
    write(machine.at("a"), "changed");
    monitor.next_matching(|line| line["type"] == "change" && line["path"] == json!(machine.at("a")));
    monitor.stop();
    assert_eq!(machine.recorded().iter().filter(|change| change.0["severity"] == "critical").count(), 1);
    machine.waxseal(["status"]).expect_code(2);
}
