//! Evidence: approved and tampered contents are kept, shown line by line, and nobody changes them unnoticed.

#![allow(clippy::disallowed_methods, reason = "tests make, change and remove their own files")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on ends")]

use serde_json::{Value, json};
use std::fs;
use waxseal_scenarios::Machine;
use waxseal_scenarios::files::*;

const SSHD: &str = "Port 22\nPermitRootLogin no\nPasswordAuthentication no\n";

fn sealed(rule: &str, more: &str) -> Machine {
    let machine = Machine::new();
    write(machine.at("sshd_config"), SSHD);
    write(machine.at("data"), [0u8, 1, 2, 3].repeat(500));
    machine.watch_tree(&format!("{rule}\n{more}"));
    machine.init();
    machine
}

fn diff(machine: &Machine, target: &str) -> Value {
    let lines = machine.waxseal(["--json", "diff", target]).expect_code(1).lines();
    let [change, diff] = &lines[..] else { panic!("{lines:?}") };
    assert_eq!(change["type"], "change");
    diff.clone()
}

fn id_of(machine: &Machine, name: &str) -> String {
    let path = machine.at(name);
    let open = machine.recorded();
    open.iter().find(|change| change.0["path"] == json!(path)).unwrap().id().to_string()
}

fn kept(machine: &Machine, id: &str, side: &str) -> Vec<u8> {
    machine.waxseal(["show", id, "--content", side]).expect_code(0).stdout
}

fn contents(machine: &Machine) -> u64 {
    let output = machine.waxseal(["--json", "status"]);
    output.lines()[0]["evidence"]["contents"].as_u64().unwrap()
}

#[test]
fn a_changed_text_is_shown_line_by_line_and_both_versions_are_kept() {
    let machine = sealed("", "");
    let evil = SSHD.replace("Login no", "Login yes");
    write(machine.at("sshd_config"), &evil);
    machine.check().expect_changed();
    let id = id_of(&machine, "sshd_config");
    // The intruder covers it up again, with a third version.
    write(machine.at("sshd_config"), "Port 22\n");
    assert_eq!(kept(&machine, &id, "before"), SSHD.as_bytes());
    assert_eq!(kept(&machine, &id, "after"), evil.as_bytes());
    let told = diff(&machine, &id);
    let unified =
        "@@ -1,3 +1,3 @@\n Port 22\n-PermitRootLogin no\n+PermitRootLogin yes\n PasswordAuthentication no\n";
    assert_eq!((&told["content"], &told["unified"]), (&json!("text"), &json!(unified)));
    // By its path, it is what stands there now.
    let path = machine.at("sshd_config");
    let told = diff(&machine, path.to_str().unwrap());
    assert_eq!((&told["removed"], &told["added"]), (&json!(2), &json!(0)));
    let people = machine.waxseal(["diff", &id]).expect_code(1);
    assert!(people.text().contains("\n-PermitRootLogin no\n+PermitRootLogin yes\n"), "{people:?}");
    let shown = machine.waxseal(["show", &id]).expect_code(1);
    assert_eq!(shown.text().matches("kept     yes").count(), 2, "{shown:?}");
    machine.waxseal(["verify"]).expect_code(0);
}

#[test]
fn the_monitor_keeps_what_it_sees() {
    let machine = sealed("", "");
    let monitor = machine.watch();
    write(machine.at("sshd_config"), "first\n");
    machine.sync();
    write(machine.at("sshd_config"), "second\n");
    write(machine.at("new"), "new\n");
    machine.sync();
    fs::remove_file(machine.at("new")).unwrap();
    machine.sync();
    let id = id_of(&machine, "sshd_config");
    assert_eq!(kept(&machine, &id, "after"), b"second\n");
    monitor.stop();
    // Two were sealed; the first version, the second and the new file came.
    assert_eq!(contents(&machine), 5);
    let log = machine.waxseal(["--json", "log", "--kind", "kept"]).expect_code(0).lines();
    let suspect: Vec<&Value> = log.iter().map(|entry| &entry["suspect"]).collect();
    assert_eq!(suspect[0], false);
    assert!(suspect[1..].iter().all(|suspect| **suspect == true), "{log:?}");
    machine.waxseal(["verify"]).expect_code(0);
}

#[test]
fn what_is_no_text_is_summed_up() {
    let machine = sealed("", "");
    let mut data = [0u8, 1, 2, 3].repeat(500);
    data.splice(900..900, *b"\0/tmp/.hidden/backdoor\0");
    write(machine.at("data"), &data);
    machine.check().expect_changed();
    let told = diff(&machine, &id_of(&machine, "data"));
    assert_eq!(told["content"], "binary");
    assert_eq!((&told["size_before"], &told["size_after"]), (&json!(2000), &json!(2023)));
    assert_eq!(told["strings_added"], json!(["/tmp/.hidden/backdoor"]));
}

#[test]
fn secrets_are_kept_and_never_shown() {
    let machine = Machine::new();
    let key = "-----BEGIN OPENSSH PRIVATE KEY-----\nhush\n";
    let at_the_end = format!("{}{key}", "x".repeat(3 << 19));
    for (name, content) in [("tls.key", "hush one\n"), ("notes", key), ("deep", &at_the_end)] {
        write(machine.at(name), content);
    }
    machine.watch_tree("keep = { content = true, max_file = \"4 MiB\" }");
    machine.init();
    assert_eq!(contents(&machine), 3);
    for name in ["tls.key", "notes", "deep"] {
        write(machine.at(name), "hush two\n");
    }
    machine.check().expect_changed();
    for name in ["tls.key", "notes", "deep"] {
        let id = id_of(&machine, name);
        let told = diff(&machine, &id);
        assert_eq!((&told["content"], told.as_object().unwrap().len()), (&json!("secret"), 3), "{told}");
        let people = machine.waxseal(["diff", &id]).expect_code(1);
        assert!(!people.text().contains("hush"), "{people:?}");
        let refused = machine.waxseal(["show", &id, "--content", "before"]).expect_code(2);
        assert!(refused.stdout.is_empty() && refused.stderr.contains("not shown"), "{refused:?}");
    }
}

#[test]
fn what_is_not_kept_is_said() {
    let machine = sealed("keep = { content = true, max_file = \"1 KiB\" }", "");
    let said = machine.waxseal(["--json", "status"]).lines();
    assert_eq!(said[0]["evidence"]["contents"], 1);
    write(machine.at("data"), [0u8, 9].repeat(1000));
    machine.check().expect_changed();
    let id = id_of(&machine, "data");
    let told = diff(&machine, &id);
    assert_eq!(told["content"], "unknown");
    assert!(told["error"].as_str().unwrap().contains("max_file"), "{told}");
    let refused = machine.waxseal(["show", &id, "--content", "before"]).expect_code(2);
    assert!(refused.stderr.contains("is not kept"), "{refused:?}");
    let second = sealed("keep = { content = false }", "");
    assert_eq!(contents(&second), 0);
}

#[test]
fn the_budget_is_kept_and_what_is_needed_stays() {
    let machine = Machine::new();
    // What looks random is not smaller when it is compressed.
    let noise = |seed: u32| {
        let mut state = seed;
        let next = move |_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        (0..20_000).map(next).collect::<Vec<u8>>()
    };
    write(machine.at("one"), noise(1));
    write(machine.at("two"), noise(2));
    machine.watch_tree("[evidence]\nbudget = \"100 KiB\"\n");
    let output = machine.init();
    assert!(output.stderr.contains("the contents of 2 files"), "{output:?}");
    for round in 3..12 {
        write(machine.at("one"), noise(round));
        machine.check().expect_changed();
    }
    let status = machine.waxseal(["--json", "status"]).lines();
    let stored = status[0]["evidence"]["stored"].as_u64().unwrap();
    assert!((60_000..=102_400).contains(&stored), "{stored}");
    let id = id_of(&machine, "one");
    assert_eq!(kept(&machine, &id, "before"), noise(1));
    assert_eq!(kept(&machine, &id, "after"), noise(11));
    let dropped = machine.waxseal(["--json", "log", "--kind", "dropped"]).expect_code(0).lines();
    assert!(!dropped.is_empty());
    machine.waxseal(["verify"]).expect_code(0);
    // A budget that cannot hold what is approved.
    let small = Machine::new();
    write(small.at("one"), noise(1));
    write(small.at("two"), noise(2));
    small.watch_tree("[evidence]\nbudget = \"30 KiB\"\n");
    let output = small.init();
    assert!(output.stderr.contains("without room"), "{output:?}");
    assert_eq!(contents(&small), 1);
}

#[test]
fn what_is_approved_is_kept() {
    let machine = sealed("", "");
    write(machine.at("sshd_config"), "approved\n");
    machine.check().expect_changed();
    machine.waxseal(["approve", "--all", "--yes"]).expect_code(0);
    write(machine.at("sshd_config"), "again\n");
    machine.check().expect_changed();
    let told = diff(&machine, &id_of(&machine, "sshd_config"));
    assert_eq!(told["unified"], "@@ -1 +1 @@\n-approved\n+again\n");
    machine.waxseal(["verify"]).expect_code(0);
}

#[test]
fn a_kept_content_that_rotted_is_found_and_said() {
    let machine = sealed("", "");
    write(machine.at("sshd_config"), "other\n");
    machine.check().expect_changed();
    let id = id_of(&machine, "sshd_config");
    // Somebody with the rights to it swaps what is kept of the two.
    let database = rusqlite::Connection::open(machine.state_dir().join("waxseal.db")).unwrap();
    let both = "SELECT id, bytes FROM piece ORDER BY length(bytes) LIMIT 2";
    let rows: Vec<(i64, Vec<u8>)> = database
        .prepare(both)
        .unwrap()
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    database.execute("UPDATE piece SET bytes = ?1 WHERE id = ?2", (&rows[0].1, &rows[1].0)).unwrap();
    database.execute("UPDATE piece SET bytes = ?1 WHERE id = ?2", (&rows[1].1, &rows[0].0)).unwrap();
    drop(database);
    let told = diff(&machine, &id);
    assert_eq!(told["content"], "unknown");
    assert!(told["error"].as_str().unwrap().contains("damaged"), "{told}");
    let verified = machine.waxseal(["--json", "verify"]).expect_code(1).lines();
    let evidence = verified.iter().filter(|line| line["about"] == "evidence").count();
    assert_eq!(evidence, 2, "{verified:?}");
}
