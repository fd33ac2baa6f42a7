//! What people type: options before and after the command, paths, exit codes, and what goes to which stream.

#![allow(clippy::disallowed_methods, reason = "tests make, change and remove their own files")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on ends")]

use std::ffi::OsString;
use std::fs;
use waxseal_scenarios::files::*;
use waxseal_scenarios::{Expect, Machine, mismatch, watch};

/// A machine with three sealed files, of which `a/file` and `b/file` have changed.
fn changed_machine() -> Machine {
    let machine = Machine::new();
    for file in ["a/file", "b/file", "c/file"] {
        write(machine.at(file), "old");
    }
    machine.watch_tree("");
    machine.init();
    append(machine.at("a/file"), b"x");
    append(machine.at("b/file"), b"x");
    machine
}

#[test]
fn global_options_stand_before_and_after_the_command() {
    let machine = changed_machine();
    let config: [OsString; 2] = ["--config".into(), machine.config_file().into()];
    let state: [OsString; 2] = ["--state-dir".into(), machine.state_dir().into()];
    let (json, quick, check): (OsString, OsString, OsString) =
        ("--json".into(), "--quick".into(), "check".into());
    let [c, cf] = config.clone();
    let [s, sd] = state.clone();
    let orders: [Vec<OsString>; 4] = [
        vec![c.clone(), cf.clone(), s.clone(), sd.clone(), json.clone(), check.clone(), quick.clone()],
        vec![check.clone(), quick.clone(), c.clone(), cf.clone(), s.clone(), sd.clone(), json.clone()],
        vec![json.clone(), c.clone(), cf.clone(), check.clone(), s.clone(), sd.clone(), quick.clone()],
        vec![s, sd, check, json, quick, c, cf],
    ];
    for order in orders {
        let output = machine.waxseal_bare(order.clone()).expect_code(1);
        let summary = output.lines().pop().unwrap();
        assert_eq!((&summary["modified"], &summary["quick"]), (&2.into(), &true.into()), "{order:?}");
    }
    for command in [&["changes", "--json"][..], &["--json", "changes"], &["status", "--json"]] {
        let output = machine.waxseal(command).expect_code(1);
        assert!(!output.lines().is_empty(), "{command:?}");
    }
}

#[test]
fn what_is_typed_wrong_is_trouble_with_a_hint() {
    let machine = changed_machine();
    for (arguments, word) in [
        (&["chekc"][..], "check"),
        (&["check", "--quik"], "--quick"),
        (&["changes", "--severity", "hihg"], "severity"),
        (&["changes", "--since", "yesterday"], "yesterday"),
        (&["show", "nonsense"], "nonsense"),
        (&["show", "c999999"], "c999999"),
        (&["diff"], "diff"),
        (&["config"], "config"),
        (&[], "Usage"),
    ] {
        let output = machine.waxseal(arguments);
        assert_eq!(output.code, Some(2), "{arguments:?}: {output:?}");
        assert!(output.stderr.contains(word), "{arguments:?}: {output:?}");
        assert!(output.stdout.is_empty(), "{arguments:?}: {output:?}");
    }
}

#[test]
fn two_dashes_end_the_options() {
    let machine = Machine::new();
    write(machine.home().join("-q"), "abc");
    let output = machine.waxseal(["hash", "--", "-q"]).expect_code(0);
    assert_eq!(output.text(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad  -q\n");
    write(machine.home().join("tree/--all"), "x");
    machine.watch_tree("");
    machine.init();
    append(machine.at("--all"), b"x");
    machine.waxseal(["check", "--", "tree/--all"]).expect_code(1);
    // A relative path that no watch covers.
    machine.waxseal(["check", "--", "--all"]).expect_code(2);
}

#[test]
fn people_s_messages_go_to_stderr_and_quiet_means_quiet() {
    let machine = Machine::new();
    write(machine.at("file"), "x");
    machine.watch_tree("");
    let init = machine.init();
    assert_eq!(init.text(), "", "init talks on stdout");
    let check = machine.waxseal(["-q", "check"]).expect_code(0);
    assert_eq!((check.text(), check.stderr.as_str()), ("", ""));
    let check = machine.waxseal(["check"]).expect_code(0);
    assert!(check.text().starts_with("intact"), "{check:?}");
}

#[test]
fn relative_paths_and_paths_with_dots_mean_what_they_say() {
    let machine = changed_machine();
    for path in ["tree/a", "./tree/a/", "tree/b/../a", "tree//a/file"] {
        let output = machine.waxseal(["--json", "check", path]).expect_code(1);
        let paths: Vec<_> = output.lines().into_iter().filter(|line| line["type"] == "change").collect();
        assert_eq!(paths.len(), 1, "{path}: {output:?}");
        assert_eq!(paths[0]["path"], machine.at("a/file").to_str().unwrap(), "{path}");
    }
    machine.waxseal(["check", "tree/c"]).expect_code(0);
    machine.waxseal(["check", "."]).expect_code(2);
}

#[test]
fn changes_of_one_path_and_from_one_moment_on() {
    let machine = changed_machine();
    machine.check().expect_changed();
    let a = machine.at("a");
    let output = machine.waxseal(["--json".into(), "changes".into(), a.into_os_string()]).expect_code(1);
    let changes: Vec<_> = output.lines().into_iter().filter(|line| line["type"] == "change").collect();
    assert_eq!(changes.len(), 1, "{output:?}");
    machine.waxseal(["changes", "--since", "1h"]).expect_code(1);
    machine.waxseal(["changes", "--since", "2099-01-01T00:00:00Z"]).expect_code(0);
    let c = machine.at("c");
    machine.waxseal(["changes".into(), c.into_os_string()]).expect_code(0);
}

#[test]
fn a_sealed_path_that_is_gone_can_be_asked_for() {
    let machine = changed_machine();
    fs::remove_dir_all(machine.at("c")).unwrap();
    let c = machine.at("c");
    let output = machine.waxseal(["--json".into(), "check".into(), c.into_os_string()]).expect_code(1);
    let changes: Vec<_> = output.lines().into_iter().filter(|line| line["type"] == "change").collect();
    assert_eq!(changes.len(), 2, "{output:?}");
    assert!(changes.iter().all(|change| change["change"] == "removed"), "{output:?}");
    // One that never was is no reason to say that all is well.
    let never = machine.at("never");
    let output = machine.waxseal(["check".into(), never.into_os_string()]).expect_code(2);
    assert!(output.stderr.contains("never") || output.text().contains("never"), "{output:?}");
}

#[test]
fn a_change_can_be_shown_and_a_path_held_against_its_baseline() {
    let machine = changed_machine();
    let report = machine.check().expect_changed();
    let id = report.change_at(machine.at("a/file")).unwrap().id().to_owned();
    let output = machine.waxseal(["--json", "show", &id]).expect_code(1);
    assert_eq!(output.lines()[0]["path"], machine.at("a/file").to_str().unwrap());
    let diff =
        |path: &str| machine.waxseal(["--json".into(), "diff".into(), machine.at(path).into_os_string()]);
    let line = diff("a/file").expect_code(1).lines().remove(0);
    assert_eq!((&line["before"]["size"], &line["after"]["size"]), (&3.into(), &4.into()));
    diff("c/file").expect_code(0);
    // By its id it is what was recorded, by its path what is there now.
    fs::write(machine.at("a/file"), "longer than before").unwrap();
    let line = machine.waxseal(["--json", "diff", &id]).expect_code(1).lines().remove(0);
    assert_eq!(line["after"]["size"], 4);
    assert_eq!(diff("a/file").expect_code(1).lines()[0]["after"]["size"], 18);
}

#[test]
fn status_tells_the_monitor_the_checks_and_what_is_open() {
    let machine = changed_machine();
    let status = |code| machine.waxseal(["--json", "status"]).expect_code(code).lines().remove(0);
    let before = status(0);
    assert!(before["monitor"].is_null() && before["open_changes"] == 0, "{before}");
    machine.check().expect_changed();
    machine.check_quick().expect_changed();
    let watching = machine.watch();
    let during = status(1);
    assert_eq!(during["monitor"]["pid"], watching.pid(), "{during}");
    let ready = watching.seen().iter().find(|line| line["type"] == "ready").unwrap();
    for what in ["backend", "coverage", "blind"] {
        assert_eq!(during["monitor"][what], ready[what], "{during}");
    }
    let text = machine.waxseal(["status"]).expect_code(1).text().to_owned();
    let named =
        format!("watched   by {}: {}\n", ready["backend"].as_str().unwrap(), machine.tree().display());
    assert!(text.contains(&named), "{text}");
    assert!(text.contains("\nunseen    only scans find: "), "{text}");
    assert_eq!(during["open_changes"], 2, "{during}");
    for kind in ["last_full_check", "last_quick_check"] {
        assert_eq!(during[kind]["outcome"], "changed", "{during}");
    }
    watching.stop();
    assert!(status(1)["monitor"].is_null());
}

#[test]
fn watch_of_one_path_tells_of_that_path() {
    let machine = Machine::new();
    for file in ["a/file", "b/file"] {
        write(machine.at(file), "old");
    }
    machine.watch_tree("");
    machine.init();
    append(machine.at("b/file"), b"before");
    let mut watching = machine.watch_paths(&[&machine.at("a")]);
    append(machine.at("b/file"), b"x");
    append(machine.at("a/file"), b"x");
    let expected = [Expect::modified("a/file")];
    watching.wait_for_changes(|changes| mismatch(machine.tree(), &expected, changes));
    watching.stop();
    // What was left out is found by whoever looks everywhere.
    let report = machine.check().expect_changed();
    assert_eq!(report.changes.len(), 2, "{:#?}", report.output);
}

#[test]
fn watch_of_a_path_that_no_watch_covers_says_how_to_add_it() {
    let machine = Machine::new();
    write(machine.at("a/file"), "x");
    write(machine.at("b/file"), "x");
    machine.configure(&watch("a", &[&machine.at("a")], ""));
    machine.init();
    let b = machine.at("b");
    let output = machine.waxseal(["watch".into(), b.clone().into_os_string()]).expect_code(2);
    assert!(output.stderr.contains(b.to_str().unwrap()), "{}", output.stderr);
}

#[test]
fn the_baseline_can_be_listed_shown_and_exported() {
    let machine = changed_machine();
    let list = machine.waxseal(["--json", "baseline", "list"]).expect_code(0).lines();
    assert_eq!(list.len(), 1, "{list:?}");
    let export = machine.waxseal(["--json", "baseline", "export"]).expect_code(0);
    let paths: Vec<String> = export
        .lines()
        .iter()
        .filter_map(|line| line["path"].as_str().map(str::to_owned))
        .filter(|path| path.ends_with("/file"))
        .collect();
    assert_eq!(
        paths,
        ["a/file", "b/file", "c/file"].map(|file| machine.at(file).to_str().unwrap().to_owned())
    );
    let csv = machine.waxseal(["baseline", "export", "--format", "csv"]).expect_code(0);
    assert_eq!(csv.text().lines().filter(|line| line.contains("/file")).count(), 3, "{csv:?}");
}

#[test]
fn equal_files_are_found_and_sums_are_verified() {
    let machine = Machine::new();
    for file in ["one", "two", "deep/three"] {
        write(machine.at(file), "the same content");
    }
    write(machine.at("other"), "another content.");
    machine.watch_tree("");
    machine.init();
    let output = machine.waxseal(["--json", "duplicates"]);
    let text = output.text();
    for file in ["one", "two", "deep/three"] {
        assert!(text.contains(machine.at(file).to_str().unwrap()), "{output:?}");
    }
    assert!(!text.contains(machine.at("other").to_str().unwrap()), "{output:?}");
    let files = ["one", "other"].map(|file| machine.at(file).into_os_string());
    let sums = machine.waxseal([vec!["hash".into()], files.to_vec()].concat()).expect_code(0);
    write(machine.home().join("sums"), &sums.stdout);
    machine.waxseal(["hash", "--check", "sums"]).expect_code(0);
    overwrite_unseen(machine.at("one"));
    machine.waxseal(["hash", "--check", "sums"]).expect_code(1);
    fs::remove_file(machine.at("one")).unwrap();
    let output = machine.waxseal(["hash", "--check", "sums"]);
    assert_ne!(output.code, Some(0), "{output:?}");
}
