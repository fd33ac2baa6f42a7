//! Witnesses: others who see that the log only grows, and whose word comes with it.

#![allow(clippy::disallowed_methods, reason = "tests make, change and remove their own files")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on ends")]

use serde_json::Value;
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::Command;
use waxseal_scenarios::files::*;
use waxseal_scenarios::witness::{Mood, Witness};
use waxseal_scenarios::{Machine, Output, until, waxseal_verify};

/// A machine whose checkpoints go to this witness.
fn watched_by(witness: &Witness, timeout: &str) -> Machine {
    let machine = Machine::new();
    write(machine.at("file"), "x");
    ask(&machine, witness.address(), witness.vkey(), timeout);
    machine
}

fn ask(machine: &Machine, address: &str, vkey: &str, timeout: &str) {
    machine.watch_tree(&format!(
        "[ledger]\npublish_every = \"1s\"\n[[ledger.publish]]\nname = \"w\"\nkind = \"witness\"\n\
         url = \"{address}/prefix\"\nkey = \"{vkey}\"\ntimeout = \"{timeout}\"\n"
    ));
}

fn verification(machine: &Machine) -> PathBuf {
    machine.state_dir().join("waxseal.verification")
}

fn learn(witness: &Witness, machine: &Machine) {
    witness.learn(&fs::read_to_string(verification(machine)).unwrap());
}

fn place(machine: &Machine) -> Value {
    machine.waxseal(["--json", "status"]).lines()[0]["published"][0].clone()
}

fn leaves(machine: &Machine) -> u64 {
    let note = String::from_utf8(machine.waxseal(["log", "checkpoint"]).expect_code(0).stdout).unwrap();
    note.lines().nth(1).unwrap().parse().unwrap()
}

fn change(machine: &Machine, content: &str) -> Output {
    write(machine.at("file"), content);
    machine.waxseal(["check"]).expect_code(1)
}

/// A file with the witness's key.
fn key_file(machine: &Machine, vkey: &str) -> String {
    let path = machine.home().join("witness.vkey");
    fs::write(&path, format!("{vkey}\n")).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn the_word_of_a_witness_comes_with_the_log() {
    let witness = Witness::start();
    let machine = watched_by(&witness, "30s");
    let said = machine.init();
    assert!(said.stderr.contains("does not know this log") && said.stderr.contains("404"), "{said:?}");
    learn(&witness, &machine);
    let key = key_file(&machine, witness.vkey());
    let verify = |code| machine.waxseal(["verify", "--witness", &key]).expect_code(code);
    assert!(verify(1).text().contains("nothing is cosigned by witness.example/w1"));
    let said = change(&machine, "y");
    assert!(!said.stderr.contains("could not be published"), "{said:?}");
    assert_eq!(witness.seen(), leaves(&machine));
    assert!(verify(0).text().contains("2026-01-01T00:00:00"));
    // It grows: the proof is asked for and holds.
    change(&machine, "z");
    assert_eq!(witness.seen(), leaves(&machine));
    assert_eq!(witness.answers(), [404, 200, 200], "what it had seen was known");
    // The export's checkpoint is cosigned, and proves itself elsewhere.
    let export = machine.home().join("export");
    let export_text = export.to_str().unwrap();
    machine.waxseal(["log", "export", export_text]).expect_code(0);
    let note = fs::read_to_string(export.join("checkpoint")).unwrap();
    assert!(note.contains("\n\u{2014} witness.example/w1 "), "{note}");
    let verification = verification(&machine);
    let verification = verification.to_str().unwrap();
    let prove = || {
        let arguments = ["--verification", verification, "--witness", &key, export_text];
        let output = Command::new(waxseal_verify()).args(arguments).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, text) = prove();
    assert!(code == Some(0) && text.contains("witness.example/w1 had seen"), "{text}");
    // What another key has cosigned is not taken for it.
    let other =
        key_file(&machine, "witness.example/w1+20324abe+BCmsuuFBvMrwsi4alNNNC8c2HlJtC/4SyJeUvJMilm3X");
    let verified = machine.waxseal(["verify", "--witness", &other]).expect_code(1);
    assert!(verified.text().contains("nothing is cosigned"), "{verified:?}");
    fs::write(&key, format!("{}\n", witness.vkey())).unwrap();
    // A log that went on is exported with the older word, which still proves that much.
    witness.behave(Mood::Silent);
    ask(&machine, witness.address(), witness.vkey(), "1s");
    change(&machine, "more");
    machine.waxseal(["log", "export", export_text]).expect_code(0);
    let newer = fs::read_to_string(export.join("checkpoint")).unwrap();
    assert!(!newer.contains("witness.example") && newer != note, "{newer}");
    let (code, text) = prove();
    assert!(code == Some(0) && text.contains("had seen"), "{text}");
    // Whoever changes it is found out.
    let cosigned = fs::read_dir(export.join("waxseal/cosigned")).unwrap().next().unwrap().unwrap().path();
    let text = fs::read_to_string(&cosigned).unwrap();
    let size = text.lines().nth(1).unwrap().to_owned();
    fs::write(&cosigned, text.replacen(&size, "3", 1)).unwrap();
    assert_eq!(prove().0, Some(1));
    fs::remove_file(&cosigned).unwrap();
    let (code, text) = prove();
    assert!(code == Some(1) && text.contains("nothing is cosigned"), "{text}");
}

#[test]
fn a_witness_that_is_behind_or_ahead_is_told_what_it_lacks() {
    let witness = Witness::start();
    let machine = watched_by(&witness, "30s");
    machine.init();
    learn(&witness, &machine);
    change(&machine, "y");
    // It was restored from an older state, or another one took its place.
    witness.forget();
    change(&machine, "z");
    assert_eq!(witness.answers(), [404, 200, 409, 200]);
    assert_eq!(witness.seen(), leaves(&machine));
    // Here the machine's state was: the witness has seen more than there is.
    let store = machine.state_dir();
    let copy = store.with_extension("copy");
    Command::new("cp").arg("-a").args([&store, &copy]).status().unwrap();
    change(&machine, "more");
    fs::remove_dir_all(&store).unwrap();
    fs::rename(&copy, &store).unwrap();
    machine.waxseal(["check"]).expect_code(1);
    let seen = witness.seen();
    let behind = place(&machine);
    if leaves(&machine) <= seen {
        let error = behind["error"].as_str().unwrap();
        assert!(error.contains("cut back") || error.contains("rewritten"), "{behind}");
    }
    // It goes on from there as another log under the same name, which the witness refuses for good.
    while leaves(&machine) <= seen {
        change(&machine, &format!("{}", leaves(&machine)));
    }
    let error = place(&machine)["error"].to_string();
    assert!(error.contains("rewritten") && error.contains("422"), "{error}");
    assert_eq!(witness.seen(), seen);
}

#[test]
fn a_witness_that_is_down_keeps_nobody_waiting_and_gets_everything_later() {
    // A port where nobody listens.
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    let vkey = Witness::start().vkey().to_owned();
    let machine = Machine::new();
    write(machine.at("file"), "x");
    ask(&machine, &format!("http://127.0.0.1:{port}"), &vkey, "30s");
    let said = machine.init();
    assert!(said.stderr.contains("could not be published to \"w\""), "{said:?}");
    let mut watching = machine.watch();
    write(machine.at("file"), "y");
    watching.next_matching(|line| {
        line["type"] == "change" && line["path"] == machine.at("file").to_str().unwrap()
    });
    until("status says that it fails", || place(&machine)["error"].is_string());
    let witness = Witness::at(port).unwrap();
    learn(&witness, &machine);
    until("it has everything", || witness.seen() == leaves(&machine));
    until("status says so", || place(&machine).get("error").is_none());
    watching.stop();
    assert_eq!(witness.seen(), leaves(&machine), "at the stop");
    let key = key_file(&machine, &vkey);
    machine.waxseal(["verify", "--witness", &key]).expect_code(0);
}

#[test]
fn a_witness_that_lies_or_says_nothing_is_not_believed() {
    let witness = Witness::start();
    let machine = watched_by(&witness, "1s");
    machine.init();
    learn(&witness, &machine);
    witness.behave(Mood::Lying);
    let said = change(&machine, "y");
    assert!(said.stderr.contains("no cosignature of this checkpoint"), "{said:?}");
    assert!(place(&machine).get("leaves").is_none());
    let key = key_file(&machine, witness.vkey());
    machine.waxseal(["verify", "--witness", &key]).expect_code(1);
    witness.behave(Mood::Silent);
    let said = change(&machine, "z");
    assert!(said.stderr.contains("could not be published") && said.stderr.contains("timeout"), "{said:?}");
    // The monitor sees and records meanwhile, and ends.
    let mut watching = machine.watch();
    write(machine.at("other"), "y");
    watching.next_matching(|line| {
        line["type"] == "change" && line["path"] == machine.at("other").to_str().unwrap()
    });
    watching.stop();
    witness.behave(Mood::Honest);
    change(&machine, "again");
    assert_eq!(witness.seen(), leaves(&machine));
    machine.waxseal(["verify", "--witness", &key]).expect_code(0);
}

#[test]
fn a_key_that_is_none_is_refused_with_the_config() {
    let machine = Machine::new();
    write(machine.at("file"), "x");
    for key in ["nonsense", "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"] {
        ask(&machine, "http://127.0.0.1:1", key, "1s");
        let said = machine.waxseal(["config", "check"]).expect_code(2);
        assert!(said.stderr.contains("\"w\"") && said.stderr.contains("`key`"), "{said:?}");
    }
}
