//! Details that are too old go; everything is proven as before, and nothing else may be missing.

#![allow(clippy::disallowed_methods, reason = "tests make, change and remove their own files")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on ends")]

use serde_json::Value;
use waxseal_scenarios::files::*;
use waxseal_scenarios::{Machine, tools};

const DAY: i64 = 86_400;

#[test]
fn details_that_are_too_old_go_and_nothing_else_passes_for_deleted() {
    let machine = Machine::new();
    let (library, offset) = (machine.home().join("clock.so"), machine.home().join("offset"));
    if !tools::has("cc") {
        return;
    }
    tools::compile_library(include_str!("../c/clock.c"), &library).unwrap();
    for name in ["over", "open"] {
        write(machine.at(name), "1");
    }
    machine.watch_tree("attributes = \"content\"\n[ledger]\ndetail_age = \"30d\"");
    machine.init();
    let mut watching = machine.watch();
    for text in ["2", "1"] {
        write(machine.at("over"), text);
        machine.sync();
    }
    watching.next_matching(|line| line["type"] == "resolved");
    write(machine.at("open"), "2");
    machine.sync();
    watching.stop();
    let export = machine.home().join("export");
    machine.waxseal(["log", "export", export.to_str().unwrap()]).expect_code(0);
    let entries = || machine.waxseal(["log", "--json"]).expect_code(0).lines();
    let before = entries();
    // Too early.
    machine.waxseal(["check"]).expect_code(1);
    assert!(entries().iter().all(|entry| entry["kind"] != "pruned"));

    write(&offset, (40 * DAY).to_string());
    let preload = format!("LD_PRELOAD={}", library.display());
    let by = ["env", &preload, &format!("CLOCK_OFFSET={}", offset.display())];
    machine.waxseal_under(&by, ["check"]).expect_code(1);
    let after = entries();
    let pruned = after.iter().find(|entry| entry["kind"] == "pruned").expect("it is on record");
    assert_eq!(pruned["changes"], 1, "{pruned}");
    assert!(pruned["reason"].as_str().unwrap().contains("30 days"), "{pruned}");
    let is_named = |seq: u64| {
        let rows = pruned["rows"].as_array().unwrap();
        rows.iter().any(|row| {
            (row[0].as_u64().unwrap()..row[0].as_u64().unwrap() + row[1].as_u64().unwrap()).contains(&seq)
        })
    };
    for (seq, old) in before.iter().enumerate() {
        let new = &after[seq];
        assert_eq!(new["seq"], seq as u64, "no number is missing");
        let stays = !["change", "resolved", "blind"].contains(&old["kind"].as_str().unwrap())
            || old["change"]["path"] == machine.at("open").to_str().unwrap();
        assert_eq!((new["kind"] == "deleted", is_named(seq as u64)), (!stays, !stays), "{old} {new}");
    }
    let proof = |code: i32| -> Value {
        machine.waxseal(["verify", "--json"]).expect_code(code).lines().pop().expect("the proof")
    };
    assert_eq!((&proof(0)["deleted"], &proof(0)["outcome"]), (&pruned["leaves"], &"proven".into()));
    assert_eq!(machine.recorded().len(), 1, "what is open stays");
    // An older export grows, and what it had stays; a new one has no more than there is.
    machine.waxseal(["log", "export", export.to_str().unwrap()]).expect_code(0);
    let new = machine.home().join("new");
    machine.waxseal(["log", "export", new.to_str().unwrap()]).expect_code(0);
    assert!(new.join("waxseal/entries").exists());
    // One more that is deleted is found, whatever else goes with it.
    let database = rusqlite::Connection::open(machine.state_dir().join("waxseal.db")).unwrap();
    database
        .execute_batch("UPDATE leaf SET bytes = NULL WHERE seq IN (SELECT max(seq) - 1 FROM leaf)")
        .unwrap();
    drop(database);
    assert_eq!(proof(1)["outcome"], "broken");
}
