//! `sync`: when it returns, everything before is on record; when it cannot be, it says why.

#![allow(clippy::disallowed_methods, reason = "tests make, change and remove their own files")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on ends")]

use serde_json::Value;
use std::fs;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;
use waxseal_scenarios::files::*;
use waxseal_scenarios::{
    Expect, Fs, Machine, Shell, Watching, for_each_filesystem, is_root, mismatch, tools, until,
};

fn sync_line(machine: &Machine, state: &Path, code: i32) -> Value {
    let output = machine.waxseal_in(state, ["--json", "sync"]).expect_code(code);
    let lines = output.lines();
    assert_eq!(lines.len(), 1, "{output:?}");
    assert_eq!(lines[0]["type"], "sync");
    assert_eq!(lines[0]["recorded"], code == 0);
    lines[0].clone()
}

fn all_at_once(machine: &Machine) {
    for round in 0..5 {
        let expected: Vec<Expect> = (0..=round)
            .flat_map(|round| {
                let below = move |n: i32| Expect::added(format!("{round}/{n}"));
                (0..200).map(below).chain([Expect::added(round.to_string())])
            })
            .collect();
        for n in 0..200 {
            write(machine.at(&format!("{round}/{n}")), format!("{round} {n}"));
        }
        machine.sync();
        let recorded = machine.recorded();
        assert_eq!(mismatch(machine.tree(), &expected, &recorded), None);
    }
}

#[test]
fn everything_before_it_is_on_record() {
    for_each_filesystem(Fs::ALL, |root| {
        let tree = root.join("tree");
        fs::create_dir(&tree).unwrap();
        let ways: &[fn(&Machine) -> Watching] = if is_root() && tools::has("setpriv") {
            &[Machine::watch, Machine::watch_without_marks]
        } else {
            &[Machine::watch]
        };
        for way in ways {
            fs::remove_dir_all(&tree).unwrap();
            fs::create_dir(&tree).unwrap();
            let machine = Machine::with_tree(&tree);
            machine.watch_tree("");
            machine.init();
            let watching = way(&machine);
            all_at_once(&machine);
            watching.stop();
        }
    });
}

#[test]
fn the_state_may_lie_below_the_watched_tree() {
    let machine = Machine::new();
    machine.watch_tree("");
    let state = machine.at("state");
    machine.waxseal_in(&state, ["init"]).expect_code(0);
    let watching = machine.watch_in(&state);
    for n in 0..20 {
        write(machine.at(&n.to_string()), "x");
        machine.waxseal_in(&state, ["sync"]).expect_code(0);
        let changes = machine.waxseal_in(&state, ["--json", "changes"]).expect_code(1);
        let here = machine.at(&n.to_string());
        assert!(changes.lines().iter().any(|line| line["path"] == here.to_str().unwrap()), "{n}");
    }
    assert!(!files_of(&state).iter().any(|name| name.contains("cookie")), "{:?}", files_of(&state));
    watching.stop();
    assert!(!files_of(&state).contains(&"control".to_owned()), "the socket is left behind");
}

fn files_of(dir: &Path) -> Vec<String> {
    let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name());
    names.map(|name| name.to_string_lossy().into_owned()).collect()
}

#[test]
fn without_a_monitor_it_says_so() {
    let machine = Machine::new();
    machine.watch_tree("");
    machine.waxseal(["sync"]).expect_code(2);
    machine.init();
    let output = machine.waxseal(["sync"]).expect_code(2);
    assert!(output.stderr.contains("waxseal watch") && output.stderr.contains("waxseal check"), "{output:?}");
    assert_eq!(sync_line(&machine, &machine.state_dir(), 2)["reason"], "no-monitor");
    // Nor is the socket of one that was killed taken for a monitor; and the next monitor listens all the same.
    machine.watch().kill();
    assert!(files_of(&machine.state_dir()).contains(&"control".to_owned()));
    assert_eq!(sync_line(&machine, &machine.state_dir(), 2)["reason"], "no-monitor");
    let watching = machine.watch();
    let output = machine.waxseal(["-q", "sync"]).expect_code(0);
    assert_eq!((output.stdout.len(), output.stderr.as_str()), (0, ""));
    sync_line(&machine, &machine.state_dir(), 0);
    watching.stop();
}

#[test]
fn asked_before_the_monitor_is_ready_it_waits_for_the_check_at_the_start() {
    let machine = Machine::new();
    for n in 0..2000 {
        write(machine.at(&format!("{}/{n}", n % 40)), n.to_string());
    }
    machine.watch_tree("");
    machine.init();
    for n in 0..2000 {
        append(machine.at(&format!("{}/{n}", n % 40)), b"y");
    }
    let running = machine.start(["--json", "watch"]);
    // At the first moment at which there is a monitor to ask.
    until("the monitor answers", || machine.waxseal(["sync"]).code == Some(0));
    assert_eq!(machine.recorded().len(), 2000);
    assert_eq!(running.end(Duration::from_secs(60)).code, Some(0));
}

#[test]
fn while_nothing_can_be_recorded_it_fails_and_says_why() {
    let Some((machine, mounted, state)) = Machine::sealed_with_little_room() else { return };
    let mut watching = machine.watch_in(&state);
    sync_line(&machine, &state, 0);
    let filler = mounted.fill();
    append(machine.at("file"), b"y");
    assert_eq!(sync_line(&machine, &state, 2)["reason"], "disk-full");
    let output = machine.waxseal_in(&state, ["sync"]).expect_code(2);
    assert!(output.stderr.contains("full"), "{output:?}");
    filler.remove();
    watching.next_matching(|line| line["type"] == "sighted");
    sync_line(&machine, &state, 0);
    watching.stop();
}

#[test]
fn slow_and_strange_peers_stop_nobody() {
    let machine = Machine::new();
    machine.watch_tree("");
    machine.init();
    let watching = machine.watch();
    let socket = machine.state_dir().join("control");
    let connect = || UnixStream::connect(&socket).unwrap();
    // They say nothing, half of something, too much, and nonsense.
    let mute: Vec<UnixStream> = (0..10).map(|_| connect()).collect();
    let mut half = connect();
    half.write_all(b"{\"command\":").unwrap();
    let mut much = connect();
    let _ = much.write_all(&vec![b'x'; 1 << 20]);
    let mut nonsense = connect();
    nonsense.write_all(b"{\"command\":\"\\u001b[2J\"}\n").unwrap();
    write(machine.at("new"), "x");
    machine.sync();
    assert_eq!(mismatch(machine.tree(), &[Expect::added("new")], &machine.recorded()), None);
    // More than are served at a time: others are told to try again, and get their turn when these are given up.
    let more: Vec<UnixStream> = (0..40).map(|_| connect()).collect();
    write(machine.at("other"), "x");
    until("the monitor answers", || machine.waxseal(["sync"]).code == Some(0));
    let expected = [Expect::added("new"), Expect::added("other")];
    assert_eq!(mismatch(machine.tree(), &expected, &machine.recorded()), None);
    drop((mute, half, much, nonsense, more));
    watching.stop();
}

/// What stands in the way of the socket at the start is gone later: it is made then.
#[test]
fn a_socket_that_cannot_be_made_at_the_start_is_made_later() {
    let machine = Machine::new();
    machine.watch_tree("");
    machine.init();
    let in_the_way = machine.state_dir().join("control");
    write(in_the_way.join("file"), "x");
    let watching = machine.watch();
    let said =
        |line: &Value| line["error"].as_str().is_some_and(|text| text.contains("socket cannot be made"));
    assert!(watching.seen().iter().any(said), "{:?}", watching.seen());
    assert_eq!(sync_line(&machine, &machine.state_dir(), 2)["reason"], "unreachable");
    fs::remove_dir_all(&in_the_way).unwrap();
    until("the monitor answers", || machine.waxseal(["sync"]).code == Some(0));
    watching.stop();
    // And one that is never made keeps no monitor from its end.
    write(in_the_way.join("file"), "x");
    machine.watch().stop();
}

#[test]
fn a_path_longer_than_a_sockets_address_will_do() {
    let machine = Machine::new();
    machine.watch_tree("");
    let state = machine.home().join("long".repeat(40)).join("state");
    machine.waxseal_in(&state, ["init"]).expect_code(0);
    let watching = machine.watch_in(&state);
    sync_line(&machine, &state, 0);
    watching.stop();
}

/// What the kernel makes up raises no event: for `sync` it is scanned.
#[test]
fn what_raises_no_event_is_scanned() {
    let mut shell = Shell::start();
    let machine = Machine::with_tree(&shell.descriptors());
    machine.watch_tree("attributes = [\"type\"]");
    machine.init();
    let watching = machine.watch();
    assert_eq!(watching.ready["backend"], "polling", "{}", watching.ready);
    for number in 7..9 {
        shell.order(&format!("exec {number}</dev/null"));
        machine.sync();
        let expected: Vec<Expect> = (7..=number).map(|number| Expect::added(number.to_string())).collect();
        assert_eq!(mismatch(machine.tree(), &expected, &machine.recorded()), None);
    }
    watching.stop();
}
