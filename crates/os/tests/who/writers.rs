//! A thousand short-lived writers: each is known, and none is taken for another.

use crate::fixture::{Heard, Watched, program_of, real, with_record};
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use waxseal_os::process::Processes;

pub const WRITERS: usize = 1000;

/// How one writes.
#[derive(Debug, Clone, Copy)]
pub enum How {
    Shell,
    Touch,
}

fn write(how: How, dir: &Path, number: usize) -> u32 {
    let file = dir.join(number.to_string());
    let mut child = match how {
        How::Shell => Command::new("sh").args(["-c", "echo x > \"$0\""]).arg(file).spawn().unwrap(),
        How::Touch => Command::new("touch").arg(file).spawn().unwrap(),
    };
    assert!(child.wait().unwrap().success());
    child.id()
}

/// The numbers of the processes that wrote, by the number of the file.
fn storm(how: How, dir: &Path, at_once: usize) -> Vec<u32> {
    let pids = std::sync::Mutex::new(vec![0; WRITERS]);
    let next = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    if number >= WRITERS {
                        return;
                    }
                    let pid = write(how, dir, number);
                    pids.lock().unwrap()[number] = pid;
                }
            });
        }
    });
    pids.into_inner().unwrap()
}

#[derive(Debug, PartialEq, Clone, Copy)]
pub struct Score {
    /// Every event of a file was traced to the process that wrote it, with its program and arguments.
    pub right: usize,
    /// Some were, and the others were not traced.
    pub partly: usize,
    pub unknown: usize,
    pub wrong: usize,
}

fn score(how: How, pids: &[u32], heard: &Heard, dir: &Path) -> Score {
    let mut score = Score { right: 0, partly: 0, unknown: 0, wrong: 0 };
    let exe = real(match how {
        How::Shell => "sh",
        How::Touch => "touch",
    });
    for (number, pid) in pids.iter().enumerate() {
        let writers = heard.get(number.to_string().as_bytes()).unwrap();
        let file = dir.join(number.to_string()).to_str().unwrap().to_owned();
        let is_right = |writer: &waxseal_os::process::Writer| {
            let (found, args) = program_of(writer);
            writer.key.pid == *pid && found == exe && args.contains(&file)
        };
        // A process that was a zombie when it was asked has no program any more: that is not wrong.
        let is_unknown =
            |writer: &waxseal_os::process::Writer| writer.key.pid == *pid && program_of(writer).0.is_empty();
        if writers.iter().flatten().any(|writer| !is_right(writer) && !is_unknown(writer)) {
            score.wrong += 1;
            println!("wrong: {number} by {pid}: {writers:?}");
        } else if writers.iter().all(|writer| writer.as_ref().is_some_and(|writer| is_right(writer))) {
            score.right += 1;
        } else if writers.iter().flatten().any(|writer| is_right(writer)) {
            score.partly += 1;
        } else {
            score.unknown += 1;
        }
    }
    score
}

pub fn run(watched: &mut Watched, how: How, at_once: usize, busy: Duration) -> Score {
    let (pids, heard) = watched.while_doing(busy, |dir| storm(how, dir, at_once));
    let score = score(how, &pids, &heard, watched.dir.path());
    println!("{how:?}, {at_once} at once, {busy:?} a read, {:?}: {score:?}", watched.processes.source());
    score
}

const ALL_RIGHT: Score = Score { right: WRITERS, partly: 0, unknown: 0, wrong: 0 };

#[test]
fn each_of_a_thousand_short_lived_writers_is_known() {
    for how in [How::Shell, How::Touch] {
        for (at_once, busy) in [(1, 0), (8, 0), (8, 5)] {
            let Some(mut watched) = with_record("each_of_a_thousand_short_lived_writers_is_known") else {
                return;
            };
            assert_eq!(run(&mut watched, how, at_once, Duration::from_millis(busy)), ALL_RIGHT);
            assert_eq!(watched.processes.losses(), 0);
        }
    }
}

#[test]
fn what_the_connector_tells_is_right_or_unknown() {
    for (at_once, busy) in [(1, 0), (8, 0), (8, 5)] {
        for how in [How::Shell, How::Touch] {
            let name = "what_the_connector_tells_is_right_or_unknown";
            let Some(processes) = crate::fixture::from_connector(name) else { return };
            let score = run(&mut Watched::new(processes), how, at_once, Duration::from_millis(busy));
            assert_eq!(score.wrong, 0);
            assert!(score.right + score.partly > 0, "{score:?}");
        }
    }
}

#[test]
fn one_that_is_asked_after_the_event_is_right_or_unknown() {
    if !crate::fixture::is_root() {
        println!("SKIPPED one_that_is_asked_after_the_event_is_right_or_unknown: needs root");
        return;
    }
    for (at_once, busy) in [(1, 0), (8, 5)] {
        let mut watched = Watched::new(Processes::without_record().unwrap());
        let score = run(&mut watched, How::Shell, at_once, Duration::from_millis(busy));
        assert_eq!(score.wrong, 0);
        assert!(busy > 0 || score.right + score.partly > 0, "{score:?}");
    }
}
