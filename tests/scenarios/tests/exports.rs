//! Sealed exports: a disk held against one, with nothing else on the machine; and baselines held against each other.

#![allow(clippy::disallowed_methods, reason = "tests make, change and remove their own files")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on ends")]

use serde_json::Value;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use waxseal_scenarios::files::*;
use waxseal_scenarios::{Machine, Report};

fn sealed() -> (Machine, PathBuf) {
    let machine = Machine::new();
    for name in ["a", "b", "dir/one", "dir/two", "log"] {
        write(machine.at(name), name);
    }
    // A channel's secret stays on the machine; the rules are of use without it.
    machine
        .watch_tree("[[channel]]\nname = \"soc\"\nkind = \"slack\"\nurl = \"https://hooks.example/secret\"");
    machine.init();
    let export = machine.home().join("export");
    machine.waxseal(words(&["baseline", "export"], &[&export])).expect_code(0);
    (machine, export)
}

fn words(first: &[&str], paths: &[&Path]) -> Vec<OsString> {
    first.iter().map(OsString::from).chain(paths.iter().map(|path| path.as_os_str().to_owned())).collect()
}

/// A check against an export on a machine that has neither config nor state.
fn against(machine: &Machine, more: &[&str], paths: &[&Path]) -> Report {
    let nowhere = machine.home().join("nowhere");
    let mut arguments = words(&["--json", "--config"], &[&nowhere]);
    arguments.extend(words(&["--state-dir"], &[&nowhere]));
    arguments.extend(words(&["check"], &[]));
    arguments.extend(words(more, paths));
    let output = machine.waxseal_bare(arguments);
    assert!(!nowhere.exists());
    Report::new(output, false)
}

#[test]
fn an_export_is_all_that_a_check_needs() {
    let (machine, export) = sealed();
    let baseline = machine.waxseal(["--json", "baseline", "show"]).expect_code(0).lines().remove(0);
    let report = against(&machine, &["--against"], &[&export]);
    assert_eq!(report.output.code, Some(0), "{:?}", report.output);
    assert_eq!(report.summary["baseline"], baseline["root"]);
    assert!(
        report.output.stderr.contains("names itself") && report.output.stderr.contains("SHA256:"),
        "{:?}",
        report.output
    );
    assert!(!fs::read_to_string(&export).is_ok_and(|text| text.contains("hooks.example/secret")));

    overwrite_unseen(machine.at("a"));
    fs::remove_file(machine.at("b")).unwrap();
    write(machine.at("new"), "x");
    fs::rename(machine.at("dir/one"), machine.at("dir/uno")).unwrap();
    let report = against(&machine, &["--against"], &[&export]);
    assert_eq!(report.output.code, Some(1), "{:?}", report.output);
    // What a check of the state says, but for what is on record only there.
    let reduce = |report: &Report| -> Vec<Value> {
        let mut changes: Vec<Value> = report.changes.iter().map(|change| change.0.clone()).collect();
        for change in &mut changes {
            let change = change.as_object_mut().unwrap();
            for key in ["id", "set", "first", "time"] {
                change.remove(key);
            }
        }
        changes.sort_by_key(|change| change["path"].to_string());
        changes
    };
    let of_state = machine.check();
    assert_eq!(reduce(&report), reduce(&of_state));
    assert_eq!(report.summary["checked"], of_state.summary["checked"]);
    // A part of it.
    let dir = machine.at("dir");
    let report = against(&machine, &["--against"], &[&export, &dir]);
    assert_eq!(report.changes.len(), 1, "{:?}", report.output);
    // Nothing was recorded: what is open is what the check of the state found.
    assert_eq!(machine.recorded().len(), of_state.changes.len());
}

#[test]
fn the_key_that_was_taken_away_decides() {
    let (machine, export) = sealed();
    let state = machine.state_dir();
    for key in ["waxseal.verification", "sealing.vkey"] {
        let key = state.join(key);
        let report = against(&machine, &["--against"], &[&export, Path::new("--public-key"), &key]);
        assert_eq!(report.output.code, Some(0), "{:?}", report.output);
        assert!(!report.output.stderr.contains("names itself"), "{:?}", report.output);
    }
    // Another machine's.
    let (other, foreign) = sealed();
    let key = other.state_dir().join("sealing.vkey");
    let report = against(&machine, &["--against"], &[&export, Path::new("--public-key"), &key]);
    assert_eq!(report.output.code, Some(2), "{:?}", report.output);
    assert_eq!((report.summary["outcome"].as_str(), report.errors.len()), (Some("incomplete"), 1));
    // Where there is a state that is sealed by another key, that is said.
    let output = machine.waxseal(words(&["check", "--against"], &[&foreign]));
    assert!(output.stderr.contains("the state on this machine is sealed by"), "{output:?}");
}

#[test]
fn what_is_no_export_any_more_is_told_and_nothing_is_checked() {
    let (machine, export) = sealed();
    let good = fs::read(&export).unwrap();
    let broken = machine.home().join("broken");
    let text = |needle: &[u8]| good.windows(needle.len()).position(|at| at == needle).unwrap();
    let flipped = |at: usize| {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        bytes
    };
    let record = flipped(good.len() - 1);
    let cases = [
        Vec::new(),
        b"waxseal-export-v2\n".to_vec(),
        good[..good.len() - 1].to_vec(),
        [&good[..], b"x"].concat(),
        flipped(text(b"\nroot ") + 6),
        flipped(text(b"[[watch]]") + 3),
        record.clone(),
    ];
    for bytes in cases {
        fs::write(&broken, &bytes).unwrap();
        let report = against(&machine, &["--against"], &[&broken]);
        assert_eq!(report.output.code, Some(2), "{:?}", report.output);
        assert_eq!(report.summary["outcome"], "incomplete");
        let output = machine.waxseal(words(&["check", "--against"], &[&broken])).expect_code(2);
        assert!(output.stderr.contains("nothing was checked"), "{output:?}");
        // Two that have the same sealed root are equal, whatever became of the records below it.
        if bytes != record {
            machine.waxseal(words(&["baseline", "compare", "1"], &[&broken])).expect_code(2);
        }
    }
    for none in [machine.home().join("missing"), machine.tree().to_owned()] {
        machine.waxseal(words(&["check", "--against"], &[&none])).expect_code(2);
    }
    let fifo = machine.home().join("fifo");
    make_fifo(&fifo);
    machine.waxseal(words(&["check", "--against"], &[&fifo])).expect_code(2);
}

#[test]
fn an_export_takes_nobodys_place() {
    let (machine, export) = sealed();
    let before = fs::read(&export).unwrap();
    write(machine.home().join("precious"), "precious");
    std::os::unix::fs::symlink(machine.home().join("elsewhere"), machine.home().join("link")).unwrap();
    for taken in [export.clone(), machine.home().join("precious"), machine.home().join("link")] {
        machine.waxseal(words(&["baseline", "export"], &[&taken])).expect_code(2);
    }
    assert_eq!(fs::read(&export).unwrap(), before);
    assert_eq!(fs::read_to_string(machine.home().join("precious")).unwrap(), "precious");
    assert!(!machine.home().join("elsewhere").exists());
    // One baseline has one export, on standard output as well.
    assert_eq!(machine.waxseal(["baseline", "export"]).expect_code(0).stdout, before);
    let again = machine.home().join("again");
    machine.waxseal(words(&["baseline", "export", "--generation", "1"], &[&again])).expect_code(0);
    assert_eq!(fs::read(&again).unwrap(), before);
    machine.waxseal(["baseline", "export", "--generation", "2"]).expect_code(2);
    machine.waxseal(["--json", "baseline", "export", "--format", "sealed"]).expect_code(2);
}

#[test]
fn baselines_are_compared_through_time_and_across_files() {
    let (machine, export) = sealed();
    overwrite_unseen(machine.at("dir/one"));
    fs::remove_file(machine.at("b")).unwrap();
    write(machine.at("dir/sub/new"), "x");
    machine.check().expect_changed();
    machine.waxseal(["approve", "--all", "--yes"]).expect_code(0);
    let newer = machine.home().join("newer");
    machine.waxseal(words(&["baseline", "export"], &[&newer])).expect_code(0);
    let root =
        machine.waxseal(["--json", "baseline", "show"]).expect_code(0).lines().remove(0)["root"].clone();
    let (one, two, root) =
        (Path::new("1"), Path::new("2"), Path::new(&root.as_str().unwrap()[..12]).to_owned());
    for (a, b) in [(one, two), (one, &newer), (&export, two), (&export, &newer), (one, &root)] {
        let lines =
            machine.waxseal(words(&["--json", "baseline", "compare"], &[a, b])).expect_code(1).lines();
        let found: Vec<(String, String)> = lines
            .iter()
            .filter(|line| line["type"] == "difference")
            .map(|line| {
                let path = Path::new(line["path"].as_str().unwrap()).strip_prefix(machine.tree()).unwrap();
                (path.display().to_string(), line["change"].as_str().unwrap().to_owned())
            })
            .collect();
        let expected =
            [("b", "removed"), ("dir/one", "modified"), ("dir/sub", "added"), ("dir/sub/new", "added")];
        assert_eq!(found, expected.map(|(path, kind)| (path.to_owned(), kind.to_owned())));
        let summary = lines.last().unwrap();
        assert_eq!(
            (&summary["type"], &summary["outcome"], &summary["differences"]),
            (&"compared".into(), &"different".into(), &4.into())
        );
        let text = machine.waxseal(words(&["baseline", "compare"], &[a, b])).expect_code(1);
        assert!(text.text().contains("different: 4 differences"), "{text:?}");
    }
    for (a, b) in [(one, one), (one, &*export), (&newer, two)] {
        machine.waxseal(words(&["baseline", "compare"], &[a, b])).expect_code(0);
    }
    for missing in ["3", "99999999", "./1", "deadbeef00"] {
        machine.waxseal(["baseline", "compare", "1", missing]).expect_code(2);
    }
}
