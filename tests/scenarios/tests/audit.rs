//! The audit system in place of programs in the kernel, where the config has it tell which programs run.

#![allow(clippy::disallowed_methods, reason = "tests make, change and remove their own files")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on ends")]

use std::fs;
use std::process::Command;
use waxseal_scenarios::files::*;
use waxseal_scenarios::{Machine, is_root, skip, tools, watch};

#[test]
fn where_the_config_says_so_the_audit_system_tells_who_wrote() {
    if !is_root() || !tools::has("cc") {
        return skip("needs root and a compiler for C");
    }
    let machine = Machine::new();
    let without = machine.home().join("without-bpf");
    if let Err(why) = tools::compile(include_str!("../c/without_bpf.c"), &without) {
        return skip(&why);
    }
    write(machine.at("sealed"), "x");
    let rules = watch("tree", &[machine.tree()], "");
    machine.configure(&format!("{rules}\n[actors]\naudit_rules = true\n"));
    machine.init();
    let watching = machine.watch_under(&[without.to_str().unwrap(), "bpf"]);
    if watching.ready["actors"] != "audit" {
        return skip(&format!("the audit system is refused: {}", watching.ready["actors_refused"]));
    }
    let shell = fs::canonicalize("/bin/sh").unwrap();
    for number in 0..200 {
        let file = machine.at(&format!("f{number}"));
        assert!(Command::new("sh").args(["-c", "echo $$ > \"$0\""]).arg(file).status().unwrap().success());
    }
    machine.sync();
    let changes = machine.recorded();
    assert_eq!(changes.len(), 200);
    for change in changes {
        let actor = &change.0["actor"];
        let path = change.0["path"].as_str().unwrap();
        let pid: u64 = fs::read_to_string(path).unwrap().trim().parse().unwrap();
        assert_eq!(actor["pid"], pid, "{actor}");
        assert_eq!(actor["source"], "audit", "{actor}");
        assert_eq!(actor["exe"], shell.to_str().unwrap(), "{actor}");
        assert_eq!(actor["args"][3], path, "{actor}");
    }
    watching.stop();
}
