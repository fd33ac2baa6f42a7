//! A state that cannot be written to, and one of a newer program: what each command makes of it.

#![allow(clippy::disallowed_methods, reason = "tests make, change and remove their own files")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on ends")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use waxseal_scenarios::files::*;
use waxseal_scenarios::{Machine, Mounted, skip};

fn changed() -> Machine {
    let machine = Machine::new();
    write(machine.at("a"), "a");
    write(machine.at("b"), "b");
    machine.watch_tree("");
    machine.init();
    append(machine.at("a"), b"x");
    machine.check().expect_changed();
    machine
}

/// What every command does with a state that can only be read, in which one change is open.
fn read_only_commands(machine: &Machine, state: &Path) {
    let run = |arguments: &[&str], code: i32| {
        machine.waxseal_in(state, arguments.iter().copied()).expect_code(code)
    };
    run(&["status"], 1);
    run(&["changes"], 1);
    run(&["show", "c1"], 1);
    run(&["diff", "c1"], 1);
    run(&["log"], 0);
    run(&["log", "checkpoint"], 0);
    run(&["verify"], 0);
    run(&["baseline", "list"], 0);
    run(&["baseline", "show"], 0);
    run(&["baseline", "export", "--format", "json"], 0);
    run(&["baseline", "compare", "1", "1"], 0);
    run(&["duplicates"], 0);
    let export = machine.home().join(format!("export-{}", state.to_str().unwrap().len()));
    let _ = fs::remove_file(&export);
    run(&["baseline", "export", export.to_str().unwrap()], 0);
    run(&["approve", "--all", "--dry-run"], 0);
    for check in [&["--json", "check"][..], &["--json", "check", "--quick"]] {
        let output = run(check, 2);
        let lines = output.lines();
        assert!(lines.iter().any(|line| line["type"] == "change"), "{output:?}");
        let errors: Vec<_> = lines.iter().filter(|line| line["type"] == "error").collect();
        assert!(
            errors.len() == 1 && errors[0]["error"].as_str().unwrap().contains("could not be recorded"),
            "{output:?}"
        );
    }
    for refused in [&["watch"][..], &["approve", "--all", "--yes"]] {
        let output = run(refused, 2);
        assert!(output.stderr.contains("cannot be written to"), "{output:?}");
    }
}

#[test]
fn a_state_on_a_read_only_medium_is_read() {
    let machine = changed();
    let mounted = match Mounted::read_only(&machine.state_dir()) {
        Ok(mounted) => mounted,
        Err(why) => return skip(&why),
    };
    read_only_commands(&machine, mounted.root());
}

/// SQLite wants to make files beside it, and cannot.
#[test]
fn a_state_without_a_write_ahead_log_is_read_on_it() {
    let machine = Machine::new();
    write(machine.at("a"), "a");
    machine.watch_tree("");
    machine.init();
    assert!(!machine.state_dir().join("waxseal.db-wal").exists());
    let mounted = match Mounted::read_only(&machine.state_dir()) {
        Ok(mounted) => mounted,
        Err(why) => return skip(&why),
    };
    let run = |arguments: &[&str], code: i32| {
        machine.waxseal_in(mounted.root(), arguments.iter().copied()).expect_code(code)
    };
    run(&["status"], 0);
    run(&["changes"], 0);
    run(&["verify"], 0);
    run(&["log"], 0);
    run(&["baseline", "export"], 0);
    run(&["duplicates"], 0);
    // It found nothing, and that is not on record.
    let output = run(&["check"], 2);
    assert!(output.text().contains("could not be recorded"), "{output:?}");
    assert!(run(&["watch"], 2).stderr.contains("cannot be written to"));
}

#[test]
fn a_log_that_a_killed_monitor_left_on_it_is_read() {
    let machine = changed();
    let mut watching = machine.watch();
    append(machine.at("b"), b"y");
    watching.next_matching(|line| line["type"] == "change");
    watching.kill();
    let left = machine.home().join("left");
    fs::create_dir(&left).unwrap();
    fs::set_permissions(&left, fs::Permissions::from_mode(0o700)).unwrap();
    for entry in fs::read_dir(machine.state_dir()).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name();
        if entry.file_type().unwrap().is_file() && name != "waxseal.db-shm" {
            fs::copy(entry.path(), left.join(name)).unwrap();
        }
    }
    assert!(fs::metadata(left.join("waxseal.db-wal")).unwrap().len() > 0);
    let mounted = match Mounted::read_only(&left) {
        Ok(mounted) => mounted,
        Err(why) => return skip(&why),
    };
    let lines = machine.waxseal_in(mounted.root(), ["--json", "changes"]).expect_code(1).lines();
    let b = machine.at("b");
    assert!(lines.iter().any(|line| line["path"] == b.to_str().unwrap()), "{lines:?}");
    read_only_commands(&machine, mounted.root());
}

#[test]
fn a_state_that_is_written_elsewhere_is_read_while_it_is() {
    let machine = changed();
    let mut watching = machine.watch();
    let mounted = match Mounted::read_only(&machine.state_dir()) {
        Ok(mounted) => mounted,
        Err(why) => return skip(&why),
    };
    append(machine.at("b"), b"y");
    watching.next_matching(|line| line["type"] == "change");
    let lines = machine.waxseal_in(mounted.root(), ["--json", "changes"]).expect_code(1).lines();
    assert_eq!(lines.iter().filter(|line| line["type"] == "change").count(), 2, "{lines:?}");
    machine.waxseal_in(mounted.root(), ["verify"]).expect_code(0);
    drop(mounted);
    watching.stop();
}

#[test]
fn a_database_of_a_newer_version_is_told_by_every_command() {
    let machine = changed();
    // Bytes 60 to 63 of the header are the version (https://www.sqlite.org/fileformat.html).
    let database = machine.state_dir().join("waxseal.db");
    let mut bytes = fs::read(&database).unwrap();
    bytes[60..64].copy_from_slice(&99u32.to_be_bytes());
    fs::write(&database, bytes).unwrap();
    for command in [
        &["status"][..],
        &["changes"],
        &["show", "c1"],
        &["diff", "c1"],
        &["log"],
        &["log", "checkpoint"],
        &["log", "export", "somewhere"],
        &["verify"],
        &["check"],
        &["check", "--quick"],
        &["watch"],
        &["approve", "--all", "--yes"],
        &["baseline", "list"],
        &["baseline", "show"],
        &["baseline", "export"],
        &["baseline", "compare", "1", "1"],
        &["duplicates"],
    ] {
        let output = machine.waxseal(command.iter().copied()).expect_code(2);
        assert!(
            output.stderr.contains("has version 99") && output.stderr.contains("newer"),
            "{command:?}: {output:?}"
        );
    }
}
