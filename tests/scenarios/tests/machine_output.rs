//! Every line that the program prints for programs has the shape that the documentation gives for its type.
//!
//! The harness holds each line of every scenario against its schema. Here each type of line is made to be printed, and
//! the schemas are shown to notice what does not belong.

#![allow(clippy::disallowed_methods, reason = "tests make, change and remove their own files")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on ends")]

use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use waxseal_scenarios::files::*;
use waxseal_scenarios::{Machine, Schemas, is_root, tools, watch};

/// The types that anybody can make the program print.
const ORDINARY: &[&str] = &[
    "approved",
    "baseline",
    "change",
    "checkpoint",
    "config",
    "diff",
    "duplicates",
    "entry",
    "error",
    "exported",
    "hash",
    "problem",
    "proof",
    "plan",
    "ready",
    "refused",
    "resolved",
    "baseline_exported",
    "compared",
    "difference",
    "restored",
    "sealed",
    "sealed_entry",
    "set",
    "status",
    "summary",
    "sync",
    "touched",
    "verified",
];

/// Those that take a mount or a full disk.
const ROOT_ONLY: &[&str] = &["blind", "rescan", "sighted"];

/// Those that are made to be printed in tests of their own: `clock`, `heartbeat`, `unread`.
const ELSEWHERE: &[&str] = &["clock", "heartbeat", "skipped"];

#[track_caller]
fn expect_types(lines: &[Value], types: &[&str]) {
    let seen: BTreeSet<&str> = lines.iter().filter_map(|line| line["type"].as_str()).collect();
    for wanted in types {
        assert!(seen.contains(wanted), "no line of type {wanted} was printed, only {seen:?}");
    }
}

fn run(machine: &Machine, code: i32, arguments: &[&OsStr]) -> Vec<Value> {
    let json: OsString = "--json".into();
    let arguments = std::iter::once(json).chain(arguments.iter().map(OsString::from));
    machine.waxseal(arguments).expect_code(code).lines()
}

fn words<'w>(words: &'w [&'w str]) -> Vec<&'w OsStr> {
    words.iter().map(OsStr::new).collect()
}

/// A tree with an object of each type, names of all sorts, and something to find in it.
fn furnished() -> Machine {
    let machine = Machine::new();
    write(machine.at("file"), "x");
    write(machine.at("same"), "the same in both");
    write(machine.at("again"), "the same in both");
    write(machine.at("gone"), "gone soon");
    write(machine.at("moved"), "elsewhere soon");
    write(machine.at("retyped"), "no file soon");
    write(machine.at("mode"), "mode");
    write(machine.tree().join(OsStr::from_bytes(b"latin \xe9\n")), "not UTF-8");
    write(machine.tree().join(OsStr::from_bytes(b"moved \xe9")), "not UTF-8 either");
    symlink(OsStr::from_bytes(b"nowhere \xff"), machine.at("link")).unwrap();
    make_fifo(machine.at("fifo"));
    make_socket(machine.at("socket"));
    if is_root() {
        make_device(machine.at("device"), 1, 3);
    }
    machine.watch_tree("attributes = \"all\"\n[scan]\nhashes = [\"sha256\", \"blake3\", \"sha512\"]");
    machine
}

/// Something of every kind happens.
fn disturb(machine: &Machine) {
    append(machine.at("file"), b"y");
    write(machine.at("new"), "new");
    chmod(machine.at("new"), 0o4755);
    fs::remove_file(machine.at("gone")).unwrap();
    fs::rename(machine.at("moved"), machine.at("moved-here")).unwrap();
    let tree = machine.tree();
    let (from, to) = (OsStr::from_bytes(b"moved \xe9"), OsStr::from_bytes(b"here \xe9"));
    fs::rename(tree.join(from), tree.join(to)).unwrap();
    fs::remove_file(machine.at("retyped")).unwrap();
    fs::create_dir(machine.at("retyped")).unwrap();
    chmod(machine.at("mode"), 0o600);
    fs::remove_file(machine.at("link")).unwrap();
    symlink("somewhere", machine.at("link")).unwrap();
}

/// Lines of all commands that end by themselves.
fn lines_of_commands() -> Vec<Value> {
    let machine = furnished();
    let mut lines = run(&machine, 0, &words(&["init"]));
    lines.extend(run(&machine, 0, &words(&["check"])));
    lines.extend(run(&machine, 0, &words(&["status"])));
    disturb(&machine);
    // Nothing is recorded yet, so there is no id.
    lines.extend(run(&machine, 1, &[OsStr::new("diff"), machine.at("file").as_os_str()]));
    lines.extend(run(&machine, 1, &words(&["check", "--quick"])));
    lines.extend(run(&machine, 1, &words(&["check"])));
    lines.extend(run(&machine, 1, &words(&["status"])));
    lines.extend(run(&machine, 1, &words(&["changes"])));
    lines.extend(run(&machine, 1, &words(&["show", "c1"])));
    lines.extend(run(&machine, 1, &words(&["diff", "c1"])));
    lines.extend(run(&machine, 0, &words(&["baseline", "list"])));
    lines.extend(run(&machine, 0, &words(&["baseline", "show"])));
    lines.extend(run(&machine, 0, &["baseline".as_ref(), "show".as_ref(), machine.at("link").as_os_str()]));
    lines.extend(run(&machine, 0, &words(&["baseline", "export"])));
    lines.extend(run(&machine, 0, &words(&["duplicates"])));
    lines.extend(run(&machine, 0, &words(&["log"])));
    lines.extend(run(&machine, 0, &words(&["log", "checkpoint"])));
    let sealed = machine.home().join("sealed");
    let with = |words: &[&'static str]| -> Vec<&OsStr> {
        words.iter().map(|word| OsStr::new(*word)).chain([sealed.as_os_str()]).collect()
    };
    lines.extend(run(&machine, 0, &with(&["baseline", "export"])));
    lines.extend(run(&machine, 1, &with(&["check", "--against"])));
    lines.extend(run(&machine, 0, &with(&["baseline", "compare", "1"])));
    let export = machine.home().join("export");
    for _ in 0..2 {
        lines.extend(run(&machine, 0, &["log".as_ref(), "export".as_ref(), export.as_os_str()]));
    }
    lines.extend(run(&machine, 0, &words(&["verify"])));
    lines.extend(run(&machine, 0, &words(&["config", "check"])));
    lines.extend(run(&machine, 2, &words(&["sync"])));
    lines.extend(run(&machine, 0, &words(&["config", "show"])));
    // A broken seal and a config that is none.
    fs::remove_file(machine.state_dir().join("waxseal.vkey")).unwrap();
    lines.extend(run(&machine, 2, &words(&["check"])));
    lines.extend(run(&machine, 1, &words(&["verify"])));
    machine.configure("no config");
    lines.extend(run(&machine, 2, &words(&["status"])));
    lines.extend(lines_of_hash());
    lines.extend(lines_of_comparison());
    lines
}

/// Lines of two generations that differ.
fn lines_of_comparison() -> Vec<Value> {
    let machine = Machine::new();
    write(machine.at("file"), "x");
    machine.watch_tree("");
    machine.init();
    write(machine.at("file"), "another");
    machine.check().expect_changed();
    let mut lines = run(&machine, 0, &words(&["approve", "--all", "--yes"]));
    lines.extend(run(&machine, 1, &words(&["baseline", "compare", "1", "2"])));
    lines
}

/// Whoever reads lines of JSON gets lines of JSON, or an error.
#[test]
fn what_is_no_json_is_not_printed_among_json() {
    let machine = Machine::new();
    write(machine.at("file"), "x");
    machine.watch_tree("exclude = [\"*.log\"]\n[scan]\nthreads = 2");
    machine.init();
    let shown = run(&machine, 0, &words(&["config", "show"]));
    assert_eq!(shown.len(), 1, "{shown:?}");
    let config = &shown[0]["config"];
    assert_eq!(config["watch"][0]["exclude"], json!(["*.log"]), "{config}");
    assert_eq!(config["watch"][0]["keep"]["content"], true, "{config}");
    assert_eq!(config["watch"][0]["cross_filesystems"], false, "{config}");
    assert_eq!(config["scan"]["threads"], 2, "{config}");
    for refused in [&["baseline", "export", "--format", "csv"][..], &["completions", "bash"]] {
        let output = machine.waxseal(std::iter::once("--json").chain(refused.iter().copied())).expect_code(2);
        assert!(output.stdout.is_empty(), "{output:?}");
        assert!(output.stderr.contains("leave out --json"), "{output:?}");
        machine.waxseal(refused.iter().copied()).expect_code(0);
    }
}

fn lines_of_hash() -> Vec<Value> {
    let machine = Machine::new();
    let (good, bad) = (machine.at("good"), machine.tree().join(OsStr::from_bytes(b"bad \xff")));
    write(&good, "good");
    write(&bad, "bad");
    let mut lines = Vec::new();
    for algorithm in ["sha256", "blake3", "sha512"] {
        let arguments = ["hash", "-", "--algorithm", algorithm].map(OsStr::new);
        lines.extend(run(&machine, 0, &[&arguments[..], &[good.as_os_str(), bad.as_os_str()]].concat()));
    }
    let missing = machine.at("missing");
    lines.extend(run(&machine, 2, &["hash".as_ref(), missing.as_os_str(), machine.tree().as_os_str()]));
    let sums = machine.at("SUMS");
    let names = [good.as_os_str(), bad.as_os_str(), missing.as_os_str()].map(OsStr::as_bytes);
    let sum = tools::sha256(&good).into_bytes();
    let text: Vec<u8> = names.iter().flat_map(|name| [&sum[..], b"  ", name, b"\n"].concat()).collect();
    fs::write(&sums, text).unwrap();
    lines.extend(run(&machine, 2, &["hash".as_ref(), "--check".as_ref(), sums.as_os_str()]));
    let outcomes: Vec<&str> = lines.iter().filter_map(|line| line["outcome"].as_str()).collect();
    assert_eq!(outcomes, ["ok", "differs", "unreadable"]);
    lines
}

/// Lines of a monitor that anybody can run, and of the commands beside it.
fn lines_of_monitor() -> Vec<Value> {
    let machine = furnished();
    write(machine.at("secret"), "x");
    let machine = machine.as_ordinary_user();
    chmod(machine.at("secret"), 0);
    let mut lines = run(&machine, 0, &words(&["init"]));
    let mut watching = machine.watch();
    disturb(&machine);
    fs::remove_file(machine.at("new")).unwrap();
    watching.next_matching(|line| line["type"] == "resolved" || line["type"] == "touched");
    // One of so many is gone before anybody can look.
    for number in 0..300 {
        let name = machine.at(&format!("passing-{number}"));
        write(&name, "x");
        fs::remove_file(&name).unwrap();
    }
    watching.next_matching(|line| line["type"] == "touched");
    write(machine.at("once more"), "x");
    watching.next_matching(|line| line["type"] == "change" && line["path"] == json!(machine.at("once more")));
    fs::remove_file(machine.at("once more")).unwrap();
    watching.next_matching(|line| line["type"] == "resolved");
    lines.extend(run(&machine, 0, &words(&["sync"])));
    lines.extend(run(&machine, 0, &words(&["approve", "--all", "--dry-run"])));
    let status = run(&machine, 1, &words(&["status"]));
    assert_eq!(status[0]["monitor"]["pid"], watching.pid(), "{}", status[0]);
    lines.extend(status);
    lines.extend(watching.seen().iter().cloned());
    watching.stop();
    // One of them has moved since, and nobody has seen it.
    write(machine.at("file"), "once more");
    lines.extend(run(&machine, 2, &words(&["approve", "--all", "--yes"])));
    write(machine.at("file"), "not approved");
    lines.extend(run(&machine, 1, &["check".as_ref(), machine.at("file").as_os_str()]));
    lines.extend(run(&machine, 1, &["diff".as_ref(), machine.at("file").as_os_str()]));
    lines.extend(run(&machine, 0, &words(&["restore", "--all", "--dry-run"])));
    lines.extend(run(&machine, 0, &words(&["restore", "--all", "--yes"])));
    lines
}

#[test]
fn every_type_of_line_is_printed_as_documented() {
    let mut lines = lines_of_commands();
    lines.extend(lines_of_monitor());
    expect_types(&lines, ORDINARY);
    let kinds: BTreeSet<&str> = lines.iter().filter_map(|line| line["change"].as_str()).collect();
    let all = ["added", "metadata", "modified", "moved", "removed", "retyped"];
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), all);
    lines.iter().for_each(expect_that_drift_is_noticed);
}

#[test]
fn what_a_mount_and_a_full_disk_print_is_as_documented() {
    let Some((machine, mounted)) = Machine::with_little_room("8m") else { return };
    write(machine.at("file"), "x");
    fs::create_dir(machine.at("point")).unwrap();
    machine.watch_tree("");
    let state = mounted.root().join("state");
    machine.waxseal_in(&state, ["init"]).expect_code(0);
    let mut watching = machine.watch_in(&state);

    let point = machine.at("point");
    tools::run("mount", [OsStr::new("-t"), "tmpfs".as_ref(), "none".as_ref(), point.as_os_str()]);
    let rescan = watching.next_matching(|line| line["type"] == "rescan");
    // As long as it is looked into, it cannot be taken away.
    machine.waxseal_in(&state, ["sync"]).expect_code(0);
    tools::run("umount", [point.as_os_str()]);
    assert_eq!(rescan["reason"], "mount");

    let filler = mounted.fill();
    append(machine.at("file"), b"y");
    let blind = watching.next_matching(|line| line["type"] == "blind");
    assert_eq!(blind["reason"], "disk-full");
    let unrecorded = machine.waxseal_in(&state, ["--json", "check"]).expect_code(2).lines();
    let change =
        unrecorded.iter().find(|line| line["type"] == "change").expect("a change, though not recorded");
    assert!(change.get("id").is_none(), "{change}");
    filler.remove();
    watching.next_matching(|line| line["type"] == "sighted");

    let mut lines = watching.seen().to_vec();
    lines.extend(unrecorded);
    watching.stop();
    expect_types(&lines, ROOT_ONLY);
    lines.iter().for_each(expect_that_drift_is_noticed);
}

#[test]
fn no_schema_is_without_a_line() {
    let documented: BTreeSet<&str> = Schemas::get().line_types().collect();
    let printed: BTreeSet<&str> = [ORDINARY, ROOT_ONLY, ELSEWHERE].concat().into_iter().collect();
    assert_eq!(documented, printed);
}

/// A watch that matches nothing yet is watched by nobody, and still has a line.
#[test]
fn a_monitor_with_nothing_to_watch_is_ready_as_documented() {
    let machine = Machine::new();
    let nothing = machine.at("*/nothing");
    machine.configure(&watch("nothing", &[&nothing], "optional = true"));
    machine.init();
    machine.watch().stop();
}

/// The schemas are closed: each key that is new, missing or of another type is a problem.
fn expect_that_drift_is_noticed(line: &Value) {
    let schemas = Schemas::get();
    assert_eq!(schemas.problems(line), [""; 0], "{line}");
    let expect_problem = |changed: Value| {
        assert!(!schemas.problems(&changed).is_empty(), "nothing is wrong with {changed}");
    };
    for pointer in objects_of(line) {
        let mut changed = line.clone();
        changed.pointer_mut(&pointer).unwrap()["surprise"] = json!(true);
        expect_problem(changed);
    }
    for key in line.as_object().unwrap().keys() {
        let mut changed = line.clone();
        changed[key] = json!([null]);
        expect_problem(changed);
    }
    let mut changed = line.clone();
    changed.as_object_mut().unwrap().remove("type");
    expect_problem(changed);
}

/// Where objects with a fixed set of keys stand in a line.
fn objects_of(line: &Value) -> Vec<String> {
    let mut found = vec![String::new()];
    let nested =
        ["/before", "/after", "/state", "/baseline", "/monitor", "/last_full_check", "/open_by_severity"];
    let lists = ["/coverage/0", "/files/0"];
    let there = |pointer: &&str| line.pointer(pointer).is_some_and(Value::is_object);
    found.extend(nested.into_iter().chain(lists).filter(there).map(str::to_owned));
    found
}

#[test]
fn the_lines_in_the_documentation_are_as_documented() {
    let page = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/machine-output.md");
    let text = fs::read_to_string(page).unwrap();
    let lines: Vec<Value> = text
        .lines()
        .filter(|line| line.starts_with("{\"type\":"))
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line}")))
        .collect();
    let all: Vec<&str> = Schemas::get().line_types().collect();
    expect_types(&lines, &all);
    for line in &lines {
        assert_eq!(Schemas::get().problems(line), [""; 0], "{line}");
    }
}
