//! Records that are lost: what happened before is not known any more, and nothing is told wrongly.

use crate::fixture::{Watched, program_of, real, with_record};
use std::process::Command;
use std::time::Duration;

/// How many processes with a kibibyte of arguments write more than the ring holds.
const MANY: usize = 2500;

fn fill_the_ring() {
    let long = "x".repeat(1200);
    for _ in 0..MANY {
        assert!(Command::new("true").arg(&long).status().unwrap().success());
    }
}

/// Writes as a process that lives on.
fn write_and_stay(watched: &Watched, name: &str) -> std::process::Child {
    let mut shell = Command::new("sh");
    shell.args(["-c", "echo x > $0; read line; true"]).arg(watched.path(name));
    let child = shell.stdin(std::process::Stdio::piped()).spawn().unwrap();
    while std::fs::read(watched.path(name)).unwrap_or_default().is_empty() {
        std::thread::yield_now();
    }
    child
}

#[test]
fn when_the_ring_overflows_those_of_before_are_unknown_and_those_after_are_known() {
    let name = "when_the_ring_overflows_those_of_before_are_unknown_and_those_after_are_known";
    let Some(watched) = with_record(name) else { return };
    // Nobody but the reader takes records from here on.
    let mut watched = watched.without_server();
    watched.read(Duration::ZERO);
    let mut before = write_and_stay(&watched, "before");
    fill_the_ring();
    let (_, heard) = watched.while_doing(Duration::ZERO, |_| ());
    assert!(watched.processes.losses() > 0);
    let writers = heard.get(&b"before"[..]).unwrap();
    assert!(writers.iter().all(Option::is_none), "{writers:?}");
    // All processes have been looked at again, in a second at most.
    let mut tries = 0;
    loop {
        let file = format!("after{tries}");
        let (_, heard) = watched.while_doing(Duration::ZERO, |dir| {
            assert!(Command::new("touch").arg(dir.join(&file)).status().unwrap().success());
        });
        let writers: Vec<_> = heard.get(file.as_bytes()).unwrap().iter().flatten().collect();
        assert!(writers.iter().all(|writer| program_of(writer).0 == real("touch")), "{writers:?}");
        if !writers.is_empty() {
            break;
        }
        tries += 1;
        assert!(tries < 100, "nobody is known any more");
        std::thread::sleep(Duration::from_millis(50));
    }
    // The one of before is on record again, with its parent.
    drop(before.stdin.take());
    assert!(before.wait().unwrap().success());
    assert_eq!(watched.processes.losses(), 1);
}
