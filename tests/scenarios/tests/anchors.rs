//! Checkpoints that leave the machine: whoever keeps one proves by it what was there, and a place that is gone, slow or
//! broken keeps nobody waiting and loses nothing.

#![allow(clippy::disallowed_methods, reason = "tests make, change and remove their own files")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on ends")]

use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use waxseal_scenarios::files::*;
use waxseal_scenarios::{Fs, Machine, Mounted, skip, toml_string, tools, until};

/// A machine with something to watch, and with these places for checkpoints.
fn with_places(places: &str) -> Machine {
    let machine = Machine::new();
    write(machine.at("file"), "x");
    machine.watch_tree(&format!("[ledger]\npublish_every = \"1s\"\n{places}"));
    machine
}

fn directory(path: &Path) -> String {
    let path = toml_string(path.to_str().unwrap());
    format!("[[ledger.publish]]\nname = \"medium\"\nkind = \"directory\"\npath = {path}\n")
}

fn command(argv: &[&str], timeout: &str) -> String {
    let argv: Vec<String> = argv.iter().map(|word| toml_string(word)).collect();
    let argv = argv.join(", ");
    format!(
        "[[ledger.publish]]\nname = \"program\"\nkind = \"command\"\nargv = [{argv}]\ntimeout = \"{timeout}\"\n"
    )
}

/// What is in a directory, the oldest checkpoint first.
fn published(directory: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.sort();
    found
}

/// Of the checkpoint that is on record.
fn current(machine: &Machine) -> Vec<u8> {
    machine.waxseal(["log", "checkpoint"]).expect_code(0).stdout
}

fn places(machine: &Machine) -> Vec<Value> {
    machine.waxseal(["--json", "status"]).lines()[0]["published"].as_array().unwrap().clone()
}

/// Each kept checkpoint proves the log as it is.
fn prove(machine: &Machine, directory: &Path) {
    for file in published(directory) {
        let file = file.to_str().unwrap().to_owned();
        machine.waxseal(["verify".to_owned(), "--checkpoint".to_owned(), file]).expect_code(0);
    }
}

fn newest_is_there(machine: &Machine, directory: &Path) -> bool {
    let newest = current(machine);
    published(directory).last().is_some_and(|last| fs::read(last).unwrap() == newest)
}

#[test]
fn each_checkpoint_becomes_a_file_of_its_own() {
    let home = tempfile::tempdir().unwrap();
    let machine = with_places(&directory(home.path()));
    machine.init();
    assert_eq!(published(home.path()).len(), 1, "at sealing");
    assert!(newest_is_there(&machine, home.path()));
    write(machine.at("file"), "y");
    machine.check().expect_changed();
    assert!(newest_is_there(&machine, home.path()));
    // That it was looked again is on record as well.
    machine.check().expect_changed();
    assert_eq!(published(home.path()).len(), 3);
    let mut watching = machine.watch();
    until("the start is published", || published(home.path()).len() > 3);
    write(machine.at("more"), "y");
    watching.next_matching(|line| {
        line["type"] == "change" && line["path"] == machine.at("more").to_str().unwrap()
    });
    until("the change is published", || newest_is_there(&machine, home.path()));
    watching.stop();
    assert!(newest_is_there(&machine, home.path()), "at the stop");
    prove(&machine, home.path());
    let [place] = &places(&machine)[..] else { panic!("one place") };
    let log = String::from_utf8(current(&machine)).unwrap();
    assert_eq!(place["leaves"].to_string(), log.lines().nth(1).unwrap(), "{place}");
    assert!(place.get("error").is_none(), "{place}");
    let size: u64 = log.lines().nth(1).unwrap().parse().unwrap();
    assert!(home.path().join(format!("{size:020}.checkpoint")).is_file());
}

#[test]
fn a_medium_that_is_gone_gets_the_newest_when_it_returns() {
    let home = tempfile::tempdir().unwrap();
    let medium = home.path().join("medium");
    let machine = with_places(&directory(&medium));
    let said = machine.init();
    assert!(said.stderr.contains("could not be published to \"medium\""), "{said:?}");
    assert!(!medium.exists(), "what is not the medium was made in its place");
    write(machine.at("file"), "y");
    // It changes no exit code.
    let said = machine.waxseal(["check"]).expect_code(1);
    assert!(said.stderr.contains("could not be published to \"medium\""), "{said:?}");
    let [place] = &places(&machine)[..] else { panic!("one place") };
    assert!(place["error"].is_string() && place["failing_since"].is_string(), "{place}");
    assert!(place.get("leaves").is_none(), "{place}");
    let watching = machine.watch();
    fs::create_dir(&medium).unwrap();
    until("the medium has the newest", || newest_is_there(&machine, &medium));
    assert_eq!(published(&medium).len(), 1, "only the newest");
    until("status says so", || places(&machine)[0].get("error").is_none());
    watching.stop();
    prove(&machine, &medium);
}

#[test]
fn a_directory_that_may_only_be_added_to_is_added_to() {
    let mounted = match Mounted::new(Fs::Ext4) {
        Ok(mounted) => mounted,
        Err(why) => return skip(&why),
    };
    let place = mounted.root().join("checkpoints");
    fs::create_dir(&place).unwrap();
    let flags = tools::Flags::set(place.clone(), "a");
    let machine = with_places(&directory(&place));
    machine.init();
    write(machine.at("file"), "y");
    machine.check().expect_changed();
    assert_eq!(published(&place).len(), 2);
    assert!(newest_is_there(&machine, &place));
    fs::remove_file(&published(&place)[0]).expect_err("it may only be added to");
    prove(&machine, &place);
    drop(flags);
}

#[test]
fn another_checkpoint_of_the_same_size_is_not_overwritten() {
    let home = tempfile::tempdir().unwrap();
    let machine = with_places(&directory(home.path()));
    machine.init();
    let [file] = &published(home.path())[..] else { panic!("one file") };
    // The machine's log was begun anew: what is kept tells.
    let another = with_places(&directory(home.path()));
    let said = another.init();
    assert!(said.stderr.contains("says something else"), "{said:?}");
    assert_eq!(fs::read(file).unwrap(), current(&machine));
}

#[test]
fn a_program_gets_the_checkpoint_and_may_fail_flood_or_hang() {
    let home = tempfile::tempdir().unwrap();
    let (kept, failing) = (home.path().join("kept"), home.path().join("failing"));
    let (kept_text, failing_text) = (kept.to_str().unwrap(), failing.to_str().unwrap());
    let script = "if [ -e \"$2\" ]; then head -c 1000000 /dev/zero | tr '\\0' x; printf '\\033[31mno' >&2; exit 3; fi; cat > \"$1\"";
    let machine = with_places(&command(&["/bin/sh", "-c", script, "sh", kept_text, failing_text], "30s"));
    machine.init();
    assert_eq!(fs::read(&kept).unwrap(), current(&machine));
    write(&failing, "");
    write(machine.at("file"), "y");
    let said = machine.waxseal(["check"]).expect_code(1);
    assert!(said.stderr.contains("published to \"program\": it ended with exit status: 3"), "{said:?}");
    assert!(!said.stderr.contains('\x1b') && said.stderr.len() < 3000, "{said:?}");
    assert_ne!(fs::read(&kept).unwrap(), current(&machine));
    // What waits is sent by the next command, although that has nothing new.
    fs::remove_file(&failing).unwrap();
    machine.waxseal(["check"]).expect_code(1);
    assert_eq!(fs::read(&kept).unwrap(), current(&machine));
    // One that hangs is ended.
    let place = command(&["/bin/sh", "-c", "echo $$ > \"$1\"; sleep 1000 & wait", "sh", kept_text], "1s");
    machine.watch_tree(&format!("[ledger]\n{place}"));
    write(machine.at("more"), "y");
    let said = machine.waxseal(["check"]).expect_code(1);
    assert!(said.stderr.contains("did not end within 1 s"), "{said:?}");
    let pid = fs::read_to_string(&kept).unwrap();
    assert!(!Path::new(&format!("/proc/{}", pid.trim())).exists());
}

#[test]
fn the_monitor_follows_the_config_to_other_places() {
    let home = tempfile::tempdir().unwrap();
    let (first, second) = (home.path().join("first"), home.path().join("second"));
    fs::create_dir(&first).unwrap();
    fs::create_dir(&second).unwrap();
    let machine = with_places(&directory(&first));
    machine.init();
    let mut watching = machine.watch();
    until("the start is published", || published(&first).len() > 1);
    let name = "[[ledger.publish]]\nname = \"another\"";
    machine.watch_tree(&format!(
        "[ledger]\npublish_every = \"1s\"\n{}",
        directory(&second).replace("[[ledger.publish]]\nname = \"medium\"", name)
    ));
    watching.next_matching(|line| line["type"] == "config" && line["outcome"] == "applied");
    until("the other place has the newest", || newest_is_there(&machine, &second));
    watching.stop();
    assert!(newest_is_there(&machine, &second));
    assert!(!newest_is_there(&machine, &first));
}
