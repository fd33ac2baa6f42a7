//! `verify`: what was not changed is proven, and whatever was is found and named.

#![allow(clippy::disallowed_methods, reason = "tests make, change and remove their own files")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on ends")]

use rusqlite::Connection;
use serde_json::Value;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use waxseal_scenarios::Machine;
use waxseal_scenarios::files::*;

/// A sealed machine with something on record, and what was taken away from it when it was sealed.
fn sealed() -> (Machine, PathBuf) {
    let machine = Machine::new();
    write(machine.at("file"), "x");
    // Places in the log are counted here: what is kept has entries of its own.
    machine.watch_tree("keep = { content = false }");
    let said = machine.init();
    let kept = machine.home().join("kept");
    let verification = machine.state_dir().join("waxseal.verification");
    assert!(said.stderr.contains(verification.to_str().unwrap()), "{said:?}");
    fs::copy(verification, &kept).unwrap();
    write(machine.at("file"), "y");
    machine.check().expect_changed();
    write(machine.at("more"), "x");
    machine.check().expect_changed();
    (machine, kept)
}

fn verify(machine: &Machine, arguments: &[&OsStr], code: i32) -> Vec<Value> {
    let words = ["--json", "verify"].map(OsStr::new);
    let lines = machine.waxseal([&words[..], arguments].concat()).expect_code(code).lines();
    if let Some(last) = lines.last() {
        assert_eq!(last["type"], "proof", "{lines:?}");
        assert_eq!(last["outcome"], if code == 0 { "proven" } else { "broken" }, "{lines:?}");
    }
    lines
}

fn by(kept: &Path) -> [&OsStr; 2] {
    ["--public-key".as_ref(), kept.as_os_str()]
}

/// What it says is broken, in words.
fn told(lines: &[Value]) -> Vec<&str> {
    lines.iter().filter_map(|line| line["problem"].as_str()).collect()
}

fn sql(machine: &Machine, statement: &str) {
    let connection = Connection::open(machine.state_dir().join("waxseal.db")).unwrap();
    connection.execute_batch(statement).unwrap();
}

/// The whole database in one file.
fn image(machine: &Machine) -> Vec<u8> {
    let file = machine.state_dir().join("waxseal.db");
    let connection = Connection::open(&file).unwrap();
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    drop(connection);
    fs::read(file).unwrap()
}

/// Another file takes its place.
fn put(machine: &Machine, bytes: &[u8]) {
    let file = machine.state_dir().join("waxseal.db");
    for end in ["db-wal", "db-shm"] {
        let _ = fs::remove_file(file.with_extension(end));
    }
    fs::write(file, bytes).unwrap();
}

#[test]
fn what_was_recorded_is_proven_beside_a_running_monitor() {
    let (machine, kept) = sealed();
    let lines = verify(&machine, &[], 0);
    assert_eq!((&lines[0]["trust"], lines[0]["leaves"].as_u64()), (&"own".into(), Some(6)));
    let output = machine.waxseal(["verify"]).expect_code(0);
    assert!(output.text().starts_with("proven: 6 of 6 leaves of the log"), "{output:?}");
    assert!(output.stderr.contains("proves nothing against whoever could replace those"), "{output:?}");
    let lines = verify(&machine, &by(&kept), 0);
    assert_eq!((&lines[0]["trust"], lines[0]["kept"].as_u64()), (&"given".into(), Some(2)));
    let checkpoint = machine.home().join("checkpoint");
    fs::write(&checkpoint, machine.waxseal(["log", "checkpoint"]).expect_code(0).stdout).unwrap();
    let mut watching = machine.watch();
    write(machine.at("file"), "z");
    machine.sync();
    let key = machine.state_dir().join("waxseal.vkey");
    let arguments = [
        "--public-key".as_ref(),
        key.as_os_str(),
        "--checkpoint".as_ref(),
        checkpoint.as_os_str(),
        "--checkpoint".as_ref(),
        checkpoint.as_os_str(),
    ];
    let lines = verify(&machine, &arguments, 0);
    assert_eq!(lines[0]["kept"].as_u64(), Some(6));
    assert_eq!(lines[0]["leaves"], lines[0]["proven"]);
    // It goes on.
    write(machine.at("file"), "zz");
    watching.next_matching(|line| line["type"] == "change" && line["count"] == 3);
    watching.stop();
    verify(&machine, &by(&kept), 0);
}

#[test]
fn what_was_changed_by_hand_is_named() {
    for (damage, about, word) in [
        ("UPDATE leaf SET bytes = (SELECT bytes FROM leaf WHERE seq = 3) WHERE seq = 2", "log", "leaf 2"),
        ("DELETE FROM leaf WHERE seq = 5", "log", "the log ends after 5 leaves"),
        ("UPDATE change SET severity = 0, severity_text = 'info' WHERE id = 1", "change", "change c1"),
        ("UPDATE change SET status = 'resolved', closed = 1 WHERE id = 2", "change", "change c2"),
        ("DELETE FROM change WHERE id = 2", "change", "change c2: leaf 4 tells of it"),
        ("UPDATE scan SET outcome = 'intact' WHERE id = 2", "scan", "the table of scans: row 2"),
        ("DELETE FROM scan", "scan", "the table of scans: leaf 5 tells of a row that is not there"),
        ("UPDATE change_set SET last = last + 1 WHERE id = 1", "set", "the table of change sets: row 1"),
        ("INSERT INTO change_set VALUES(9, 'x', 1, 1)", "set", "row 9"),
        ("DELETE FROM node WHERE id = 1", "baseline", "missing"),
        ("UPDATE baseline SET root = zeroblob(32)", "baseline", "the stored root hash is not the one"),
        ("UPDATE baseline SET note = 'better'", "baseline", "the table says something else"),
        ("UPDATE checkpoint SET note = replace(note, 'vm', 'vn') || 'x'", "log", "checkpoint"),
        ("CREATE TRIGGER quiet AFTER INSERT ON change BEGIN SELECT 1; END", "database", "the trigger quiet"),
        ("DROP TABLE change", "database", "tables are missing"),
    ] {
        let (machine, kept) = sealed();
        sql(&machine, damage);
        for arguments in [&[][..], &by(&kept)] {
            let lines = verify(&machine, arguments, 1);
            let found = lines.iter().any(|line| {
                line["about"] == about && line["problem"].as_str().is_some_and(|text| text.contains(word))
            });
            assert!(found, "{damage}: {lines:?}");
        }
        let output = machine.waxseal(["verify"]).expect_code(1);
        assert!(output.text().contains("broken ") && output.text().contains(word), "{output:?}");
    }
}

#[test]
fn from_when_on_nothing_can_be_trusted_is_said() {
    let (machine, kept) = sealed();
    // Somebody writes leaves anew, with hashes that fit, and cannot sign.
    sql(
        &machine,
        "UPDATE leaf SET bytes = (SELECT bytes FROM leaf WHERE seq = 3), hash = (SELECT hash FROM leaf WHERE seq = 3) WHERE seq = 2",
    );
    let lines = verify(&machine, &by(&kept), 1);
    let wrong = lines.iter().find(|line| line["leaf"] == 2 && line["about"] == "log").unwrap();
    assert!(wrong["problem"].as_str().unwrap().contains("on nothing can be trusted"), "{lines:?}");
    let proof = lines.last().unwrap();
    assert_eq!(proof["proven"], 2, "{proof}");
    assert!(proof.get("unproven_since").is_some(), "{proof}");
    let text = machine.waxseal(["verify"]).expect_code(1);
    assert!(text.text().contains("from leaf 2"), "{text:?}");
}

#[test]
fn a_state_that_is_older_foreign_cut_or_gone_is_broken() {
    let (machine, kept) = sealed();
    let database = machine.state_dir().join("waxseal.db");
    let older = image(&machine);
    write(machine.at("file"), "later");
    machine.check().expect_changed();
    let checkpoint = machine.home().join("checkpoint");
    fs::write(&checkpoint, machine.waxseal(["log", "checkpoint"]).expect_code(0).stdout).unwrap();
    let with_checkpoint = [&by(&kept)[..], &["--checkpoint".as_ref(), checkpoint.as_os_str()]].concat();
    verify(&machine, &with_checkpoint, 0);
    let newer = image(&machine);
    // An older copy is the log of its day, and only the newer checkpoint knows of more.
    put(&machine, &older);
    let lines = verify(&machine, &with_checkpoint, 1);
    assert!(told(&lines)[0].contains("was cut, or is an older copy"), "{lines:?}");
    verify(&machine, &by(&kept), 0);
    // Half of it, or something else.
    for bytes in [&newer[..newer.len() / 2], &newer[..100], b"no database", b""] {
        put(&machine, bytes);
        let lines = verify(&machine, &by(&kept), 1);
        assert!(lines.iter().any(|line| line["about"] == "database"), "{lines:?}");
    }
    // The state of another machine.
    let (other, theirs) = sealed();
    put(&machine, &image(&other));
    verify(&machine, &by(&kept), 1);
    verify(&other, &by(&theirs), 0);
    let lines = verify(&other, &by(&kept), 1);
    assert!(lines.iter().any(|line| line["about"] == "file"), "{lines:?}");
    // With all its files it proves itself, and no checkpoint of ours is of it.
    verify(&other, &[], 0);
    let lines = verify(&other, &["--checkpoint".as_ref(), checkpoint.as_os_str()], 1);
    assert_eq!(lines[0]["about"], "checkpoint", "{lines:?}");
    // Nothing at all.
    fs::remove_file(&database).unwrap();
    for arguments in [&[][..], &by(&kept)] {
        let lines = verify(&machine, arguments, 1);
        assert!(told(&lines).iter().any(|text| text.contains("it is gone")), "{lines:?}");
    }
    fs::remove_dir_all(machine.state_dir()).unwrap();
    verify(&machine, &by(&kept), 1);
    assert!(verify(&machine, &[], 2).is_empty());
}

#[test]
fn the_files_beside_the_database_are_looked_at() {
    let (machine, kept) = sealed();
    let (other, _) = sealed();
    for name in ["waxseal.vkey", "sealing.vkey", "waxseal.verification"] {
        let file = machine.state_dir().join(name);
        let own = fs::read(&file).unwrap();
        for bytes in [fs::read(other.state_dir().join(name)).unwrap(), b"nothing".to_vec()] {
            fs::write(&file, bytes).unwrap();
            for arguments in [&[][..], &by(&kept)] {
                let lines = verify(&machine, arguments, 1);
                assert!(!told(&lines).is_empty(), "{name}");
            }
        }
        fs::write(&file, own).unwrap();
        verify(&machine, &[], 0);
    }
    fs::remove_file(machine.state_dir().join("waxseal.verification")).unwrap();
    let lines = verify(&machine, &[], 1);
    assert!(told(&lines)[0].contains("it is gone: give --public-key"), "{lines:?}");
}

#[test]
fn what_cannot_be_looked_at_is_trouble() {
    let (machine, kept) = sealed();
    for name in ["missing", "text"] {
        write(machine.home().join("text"), "no key");
        let file = machine.home().join(name);
        assert!(verify(&machine, &by(&file), 2).is_empty());
        assert!(verify(&machine, &["--checkpoint".as_ref(), file.as_os_str()], 2).is_empty());
    }
    // A checkpoint whose signature was changed is of nobody's log.
    let note = machine.waxseal(["log", "checkpoint"]).expect_code(0).text().replace("\n6\n", "\n3\n");
    let file = machine.home().join("changed");
    fs::write(&file, note).unwrap();
    let arguments = [&by(&kept)[..], &["--checkpoint".as_ref(), file.as_os_str()]].concat();
    let lines = verify(&machine, &arguments, 1);
    assert_eq!(lines[0]["about"], "checkpoint", "{lines:?}");
}
