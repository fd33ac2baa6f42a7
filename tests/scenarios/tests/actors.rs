//! Who made a change: each of many short-lived writers is named, and none is taken for another.

#![allow(clippy::disallowed_methods, reason = "tests make, change and remove their own files")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on ends")]

use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use waxseal_scenarios::files::*;
use waxseal_scenarios::{Machine, Watching, skip};

/// A monitor that knows who writes from programs in the kernel; `None`, said aloud, where that is refused.
fn watch(machine: &Machine) -> Option<Watching> {
    let watching = machine.watch();
    if watching.ready["actors"] == "exec-cache" {
        return Some(watching);
    }
    skip(&format!("who wrote is only known by {} here", watching.ready["actors"]));
    None
}

fn machine() -> Machine {
    let machine = Machine::new();
    write(machine.at("sealed"), "x");
    machine.watch_tree("");
    machine.init();
    machine
}

/// The open changes, by name.
fn by_name(machine: &Machine) -> BTreeMap<String, Value> {
    machine.sync();
    let name = |change: &Value| Path::new(change["path"].as_str().unwrap()).file_name().unwrap().to_owned();
    let changes = machine.recorded().into_iter().map(|change| change.0);
    changes.map(|change| (name(&change).into_string().unwrap(), change)).collect()
}

/// Each of `count` processes writes a file of its own, so many at once. Their numbers, by that of the file.
fn storm(machine: &Machine, count: usize, at_once: usize) -> Vec<u32> {
    let (pids, next) = (Mutex::new(vec![0; count]), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        return;
                    }
                    let file = machine.at(&format!("f{number}"));
                    let mut child =
                        Command::new("sh").args(["-c", "echo $$ > \"$0\""]).arg(file).spawn().unwrap();
                    assert!(child.wait().unwrap().success());
                    pids.lock().unwrap()[number] = child.id();
                }
            });
        }
    });
    pids.into_inner().unwrap()
}

#[test]
fn each_of_a_thousand_short_lived_writers_is_named() {
    let shell = fs::canonicalize("/bin/sh").unwrap();
    for at_once in [1, 8] {
        let machine = machine();
        let Some(watching) = watch(&machine) else { return };
        let pids = storm(&machine, 1000, at_once);
        let changes = by_name(&machine);
        for (number, pid) in pids.into_iter().enumerate() {
            let change = &changes[&format!("f{number}")];
            let actor = &change["actor"];
            assert_eq!(actor["pid"], pid, "{change}");
            assert_eq!(actor["exe"], shell.to_str().unwrap(), "{change}");
            assert_eq!(actor["source"], "exec-cache", "{change}");
            let file = machine.at(&format!("f{number}"));
            assert_eq!(actor["args"][3], file.to_str().unwrap(), "{change}");
            assert_eq!(actor["parents"][0]["pid"], std::process::id(), "{change}");
            assert!(change.get("actors").is_none(), "{change}");
        }
        watching.stop();
    }
}

#[test]
fn all_who_wrote_are_named_the_newest_last() {
    let machine = machine();
    let Some(watching) = watch(&machine) else { return };
    for word in ["one", "two", "three"] {
        let script = format!("echo {word} >> {}", machine.at("sealed").display());
        assert!(Command::new("sh").args(["-c", &script]).status().unwrap().success());
        machine.sync();
    }
    let changes = by_name(&machine);
    let change = &changes["sealed"];
    let words: Vec<&str> =
        change["actors"].as_array().unwrap().iter().map(|one| one["args"][2].as_str().unwrap()).collect();
    assert!(words[0].starts_with("echo one") && words[2].starts_with("echo three"), "{change}");
    assert_eq!(change["actors"][2], change["actor"]);
    let shown = machine.waxseal(["show", change["id"].as_str().unwrap()]).expect_code(1);
    assert_eq!(shown.text().matches("         by       ").count(), 3, "{}", shown.text());
    watching.stop();
}

#[test]
fn whoever_removes_moves_or_touches_is_named_and_secrets_are_not_told() {
    let machine = machine();
    write(machine.home().join("out/tree/deep/file"), "z");
    let Some(mut watching) = watch(&machine) else { return };
    let run = |script: &str| {
        let mut shell = Command::new("sh");
        let status = shell.args(["-c", script, "--password=hunter2"]).current_dir(machine.tree()).status();
        assert!(status.unwrap().success());
    };
    run("rm sealed");
    run(&format!("mv {}/out/tree .; true", machine.home().display()));
    run("echo x > short; rm short; true");
    // It came and went, seen or not.
    let short =
        watching.next_matching(|line| line["path"].as_str().is_some_and(|path| path.ends_with("/short")));
    assert!(short["actor"]["exe"].is_string(), "{short}");
    let changes = by_name(&machine);
    for (name, program) in [("sealed", "rm"), ("tree", "mv"), ("deep", "mv"), ("file", "mv")] {
        let actor = &changes[name]["actor"];
        assert!(actor["exe"].as_str().unwrap().ends_with(&format!("/{program}")), "{}", changes[name]);
    }
    for line in watching.seen() {
        assert!(!line.to_string().contains("hunter2"), "{line}");
    }
    let database = fs::read(machine.state_dir().join("waxseal.db-wal")).unwrap_or_default();
    assert!(!database.windows(7).any(|part| part == b"hunter2"));
    watching.stop();
}

#[test]
fn status_says_how_it_is_known() {
    let machine = machine();
    let watching = machine.watch();
    let status = machine.waxseal(["status", "--json"]).lines();
    assert_eq!(status[0]["monitor"]["actors"], watching.ready["actors"]);
    watching.stop();
}

#[test]
fn whom_no_rule_allows_makes_a_change_critical() {
    let machine = Machine::new();
    for name in ["by-touch", "by-shell", "by-child", "by-name"] {
        write(machine.at(name), "x");
    }
    let env = fs::canonicalize("/usr/bin/env").unwrap();
    let touch = fs::canonicalize("/usr/bin/touch").unwrap();
    machine.watch_tree(&format!(
        "severity = \"low\"\nattributes = \"all\"\n[[watch.actor]]\nprograms = [{:?}, {:?}]",
        env.to_str().unwrap(),
        touch.to_str().unwrap()
    ));
    machine.init();
    let Some(watching) = watch(&machine) else { return };
    let at = |name: &str| machine.at(name);
    let run = |command: &mut Command| assert!(command.status().unwrap().success());
    run(Command::new("touch").arg(at("by-touch")));
    run(Command::new("sh").args(["-c", "echo y >> $0; true"]).arg(at("by-shell")));
    // It calls itself an allowed program.
    run(std::os::unix::process::CommandExt::arg0(
        Command::new("sh").args(["-c", "echo y >> $0; true"]).arg(at("by-name")),
        touch.to_str().unwrap(),
    ));
    // `env` becomes the shell: who a process was before counts as little as what it calls itself.
    run(Command::new("env").args(["sh", "-c", "echo y >> $0; true"]).arg(at("by-child")));
    let changes = by_name(&machine);
    assert_eq!(changes["by-touch"]["severity"], "low");
    for name in ["by-shell", "by-child", "by-name"] {
        assert_eq!(changes[name]["severity"], "critical", "{}", changes[name]);
    }
    let by = |actor: &str| {
        let output = machine.waxseal(["--json", "changes", "--actor", actor]);
        output.lines().iter().filter(|line| line["type"] == "change").count()
    };
    assert_eq!((by("touch"), by(touch.to_str().unwrap()), by("unknown")), (1, 1, 0));
    assert_eq!(by("sh"), 0, "the executable is what counts, and that is another name");
    watching.stop();
}
