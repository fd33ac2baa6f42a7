//! What is kept in the state directory: never half of it, never somebody else's, and never lost.

#![allow(clippy::disallowed_methods, reason = "tests make, change and remove their own files")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on ends")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use waxseal_scenarios::files::*;
use waxseal_scenarios::tools;
use waxseal_scenarios::{Expect, Machine, mismatch};

/// A sealed machine with one file.
fn sealed() -> Machine {
    let machine = Machine::new();
    write(machine.at("file"), "x");
    machine.watch_tree("");
    machine.init();
    machine
}

fn database(machine: &Machine) -> PathBuf {
    machine.state_dir().join("waxseal.db")
}

fn sql(file: &Path, statement: &str) -> String {
    tools::run("sqlite3", [file.as_os_str(), statement.as_ref()])
}

#[test]
fn the_database_of_another_program_is_left_alone() {
    if !tools::has("sqlite3") {
        return;
    }
    let machine = sealed();
    let file = database(&machine);
    fs::remove_file(&file).unwrap();
    sql(&file, "CREATE TABLE node(x); INSERT INTO node VALUES(1)");
    for command in [&["check"][..], &["watch"], &["init"], &["status"], &["changes"]] {
        let output = machine.waxseal(command).expect_code(2);
        assert!(
            output.stderr.contains("waxseal.db") || command == ["init"],
            "{command:?}: {}",
            output.stderr
        );
    }
    assert_eq!(sql(&file, "SELECT x FROM node"), "1\n");
}

#[test]
fn a_database_of_a_newer_version_is_left_alone() {
    if !tools::has("sqlite3") {
        return;
    }
    let machine = sealed();
    sql(&database(&machine), "PRAGMA user_version = 9999");
    let output = machine.waxseal(["check"]).expect_code(2);
    assert!(output.stderr.contains("9999"), "{}", output.stderr);
    assert_eq!(sql(&database(&machine), "PRAGMA user_version"), "9999\n");
}

/// Whoever edits the baseline so that it fits a tampered file does not have the key.
#[test]
fn s65_an_edited_baseline_is_never_intact() {
    if !tools::has("sqlite3") {
        return;
    }
    for (statement, word) in [
        ("UPDATE node SET record = zeroblob(length(record))", "changed"),
        ("DELETE FROM node", "missing"),
        ("DELETE FROM baseline", "no baseline"),
        ("UPDATE baseline SET root = zeroblob(32)", ""),
        ("UPDATE baseline SET seal = replace(seal, 'a', 'b')", "seal"),
        ("UPDATE baseline SET rules = rules || '# more'", "seal"),
        ("UPDATE baseline SET generation = 7", "seal"),
        ("DROP TABLE change", "tables are missing"),
    ] {
        let machine = sealed();
        sql(&database(&machine), statement);
        let output = machine.waxseal(["check"]);
        assert_eq!(output.code, Some(2), "{statement}: {output:?}");
        let said = format!("{}{}", output.text(), output.stderr);
        assert!(said.contains(word) && !said.contains("intact"), "{statement}: {output:?}");
    }
}

#[test]
fn s66_the_state_of_another_host_is_not_ours() {
    let machine = sealed();
    let other = Machine::new();
    write(other.at("file"), "x");
    other.watch_tree("");
    other.init();
    fs::copy(database(&other), database(&machine)).unwrap();
    let output = machine.waxseal(["check"]).expect_code(2);
    assert!(!output.text().contains("intact"), "{output:?}");
}

#[test]
fn without_the_public_key_nothing_is_trusted() {
    for damage in ["", "nonsense\n"] {
        let machine = sealed();
        let key = machine.state_dir().join("waxseal.vkey");
        if damage.is_empty() {
            fs::remove_file(&key).unwrap();
        } else {
            fs::write(&key, damage).unwrap();
        }
        let output = machine.waxseal(["check"]).expect_code(2);
        assert!(format!("{}{}", output.text(), output.stderr).contains("waxseal.vkey"), "{output:?}");
        machine.waxseal(["status"]).expect_code(2);
    }
}

#[test]
fn a_state_directory_that_cannot_be_one() {
    let machine = Machine::new();
    write(machine.at("file"), "x");
    machine.watch_tree("");
    let file = machine.home().join("a-file");
    write(&file, "x");
    let output = machine.waxseal_in(&file, ["init"]).expect_code(2);
    assert!(output.stderr.contains("a-file"), "{}", output.stderr);
    machine.waxseal_in(&file.join("below"), ["init"]).expect_code(2);
    machine.waxseal_in(&machine.home().join("not-there"), ["check"]).expect_code(2);
    // One that lies deep, where nothing is yet, is made.
    machine.waxseal_in(&machine.home().join("new/and/deep"), ["init"]).expect_code(0);
}

#[test]
fn a_state_that_may_not_be_written_to_still_shows_what_differs() {
    let machine = Machine::new();
    write(machine.at("file"), "x");
    let machine = machine.as_ordinary_user();
    machine.watch_tree("");
    machine.init();
    append(machine.at("file"), b"y");
    chmod(machine.state_dir(), 0o500);
    for file in below(&machine.state_dir()) {
        chmod(file, 0o400);
    }
    let output = machine.waxseal(["--json", "check"]);
    assert_ne!(output.code, Some(0), "{output:?}");
    assert!(output.code == Some(2) && (!output.stderr.is_empty() || !output.stdout.is_empty()), "{output:?}");
    chmod(machine.state_dir(), 0o700);
    for file in below(&machine.state_dir()) {
        chmod(file, 0o600);
    }
    machine.check().expect_changed();
}

#[test]
fn of_two_inits_at_once_one_seals() {
    let machine = Machine::new();
    for number in 0..2000 {
        write(machine.at(&format!("{}/{number}", number % 40)), "x");
    }
    machine.watch_tree("");
    let begun: Vec<_> = (0..4).map(|_| machine.start(["init"])).collect();
    let limit = Duration::from_secs(120);
    let codes: Vec<_> = begun.into_iter().map(|running| running.finish(limit)).collect();
    let sealed = codes.iter().filter(|output| output.code == Some(0)).count();
    assert_eq!(sealed, 1, "{codes:?}");
    for output in codes.iter().filter(|output| output.code != Some(0)) {
        assert!(output.code == Some(2) && !output.stderr.is_empty(), "{output:?}");
    }
    machine.check().expect_intact();
}

#[test]
fn an_init_beside_a_monitor_is_refused() {
    let machine = sealed();
    let watching = machine.watch();
    machine.waxseal(["init"]).expect_code(2);
    watching.stop();
    machine.check().expect_intact();
}

#[test]
fn a_key_elsewhere_is_used_and_kept_secret() {
    let machine = Machine::new();
    write(machine.at("file"), "x");
    machine.watch_tree("");
    let key = machine.home().join("disk/sealing.key");
    fs::create_dir(machine.home().join("disk")).unwrap();
    let with_key = ["init".into(), "--key".into(), key.clone().into_os_string()];
    machine.waxseal(with_key.clone()).expect_code(0);
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o077, 0);
    assert!(!machine.state_dir().join("sealing.key").exists());
    machine.check().expect_intact();
    // The same key seals another state: both name it.
    let other = machine.home().join("other-state");
    machine.waxseal_in(&other, with_key).expect_code(0);
    let line = |state: &Path, name: &str| fs::read_to_string(state.join(name)).unwrap();
    assert_eq!(line(&machine.state_dir(), "sealing.vkey"), line(&other, "sealing.vkey"));
    // Each has a log of its own.
    assert_ne!(line(&machine.state_dir(), "waxseal.vkey"), line(&other, "waxseal.vkey"));
}

/// The last printed line of each change, by id.
fn printed(lines: &[serde_json::Value]) -> BTreeMap<String, serde_json::Value> {
    let changes = lines.iter().filter(|line| line["type"] == "change");
    changes.map(|line| (line["id"].as_str().unwrap().to_owned(), line.clone())).collect()
}

#[test]
fn s62_what_a_killed_monitor_had_printed_is_on_record() {
    let machine = Machine::new();
    for number in 0..300 {
        write(machine.at(&number.to_string()), "old");
    }
    machine.watch_tree("");
    machine.init();
    for round in 0..5 {
        let mut watching = machine.watch();
        for number in 0..60 {
            append(machine.at(&(round * 60 + number).to_string()), b"x");
        }
        // Somewhere in the middle of it.
        let last = machine.at(&(round * 60 + round * 14).to_string());
        watching.next_matching(|line| line["type"] == "change" && line["path"] == last.to_str().unwrap());
        let before = printed(watching.seen());
        watching.kill();
        let recorded = printed(&machine.waxseal(["--json", "changes"]).expect_code(1).lines());
        for (id, change) in &before {
            let kept = recorded.get(id).unwrap_or_else(|| panic!("{change} is not on record"));
            assert_eq!(kept["path"], change["path"]);
        }
    }
    // Nothing was lost between the monitors, and nothing is there twice.
    let report = machine.check().expect_changed();
    assert_eq!(report.summary["modified"], 300);
}

#[test]
fn a_restarted_monitor_goes_on_with_the_same_ids() {
    let machine = sealed();
    let mut watching = machine.watch();
    append(machine.at("file"), b"y");
    let first = watching.next_matching(|line| line["type"] == "change");
    watching.kill();
    append(machine.at("file"), b"z");
    write(machine.at("meanwhile"), "not like the other");
    let mut watching = machine.watch();
    let expected = [Expect::modified("file").after("size", 3), Expect::added("meanwhile")];
    watching.wait_for_changes(|changes| mismatch(machine.tree(), &expected, changes));
    let id =
        watching.open_changes().iter().find(|change| change.kind() == "modified").unwrap().id().to_owned();
    assert_eq!(first["id"], id);
    watching.stop();
}

/// The monitor says that it cannot record, goes on, and finds everything when there is room again.
#[test]
fn s61_no_room_under_a_running_monitor() {
    let Some((machine, mounted)) = Machine::with_little_room("4m") else { return };
    for number in 0..200 {
        write(machine.at(&number.to_string()), "old");
    }
    machine.watch_tree("keep = { content = false }");
    let state = mounted.root().join("state");
    machine.waxseal_in(&state, ["init"]).expect_code(0);
    let mut watching = machine.watch_in(&state);
    append(machine.at("0"), b"x");
    watching.next_matching(|line| line["type"] == "change");
    let filler = mounted.fill();
    for number in 1..200 {
        append(machine.at(&number.to_string()), b"a longer piece of text");
    }
    let blind = watching.next_matching(|line| line["type"] == "blind");
    assert_eq!(blind["reason"], "disk-full");
    let told = watching.seen().iter().filter(|line| line["type"] == "change").count();
    let recorded = machine.waxseal_in(&state, ["--json", "changes"]);
    let kept = printed(&recorded.lines()).len();
    assert!(kept >= printed(watching.seen()).len(), "{told} were told, and {kept} are on record");
    filler.remove();
    let expected: Vec<_> = (0..200).map(|number| Expect::modified(number.to_string())).collect();
    watching.wait_for_changes(|changes| mismatch(machine.tree(), &expected, changes));
    watching.stop();
    let output = machine.waxseal_in(&state, ["--json", "check"]).expect_code(1);
    assert_eq!(output.lines().pop().unwrap()["modified"], 200);
}
