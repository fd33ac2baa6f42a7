use super::*;
use crate::process::lives::Answer;
use crate::process::{Source, Window};
use proptest::prelude::*;
use std::collections::BTreeMap;
use waxseal_model::RawPath;

const MS: u64 = 1_000_000;

struct World {
    matching: Matching,
    lives: Lives,
}

impl World {
    /// Everything is on record from the beginning; the first process runs `/init`.
    fn new() -> World {
        let mut lives = Lives::new(Source::Audit);
        lives.set_complete(0);
        lives.became(1, 1, Some(process(exec(1, "init"), 1, None, None)), (1, 1));
        World { matching: Matching::new(0), lives }
    }

    fn fork(&mut self, child: u32, time: u64) {
        self.hold(News::Fork { child, parent: 1 }, time);
    }

    fn hold(&mut self, news: News, time: u64) {
        self.matching.hold(Held { news, time, shown: None });
    }

    fn settle(&mut self, now: u64) -> Option<Wait> {
        self.matching.settle(&mut self.lives, now)
    }

    /// What a process runs now: `?` when that is not known.
    fn runs(&mut self, pid: u32, now: u64) -> String {
        match self.lives.writer(pid, Window { since: now, until: now, read: 0 }) {
            Answer::Known(writer) => {
                let exe = writer.program.as_ref().and_then(|program| program.exe.clone());
                exe.map_or("?".into(), |exe| exe.to_string())
            }
            _ => "?".into(),
        }
    }
}

fn exec(pid: u32, name: &str) -> Exec {
    Exec {
        pid,
        time: 0,
        exe: Some(RawPath::new(format!("/{name}").into_bytes())),
        args: Vec::new(),
        args_cut: false,
        uid: 0,
        login_uid: None,
        session: None,
    }
}

#[test]
fn a_record_that_comes_later_is_waited_for() {
    let mut world = World::new();
    world.fork(7, 100 * MS);
    world.hold(News::Exec(7), 101 * MS);
    world.hold(News::Fork { child: 8, parent: 7 }, 102 * MS);
    world.hold(News::Exit(7), 103 * MS);
    let wait = world.settle(104 * MS);
    assert_eq!(wait, Some(Wait { happened: 101 * MS, until: 101 * MS + PATIENCE.1 }));
    world.matching.record(exec(7, "touch"), 95 * MS);
    assert_eq!(world.settle(105 * MS), None);
    // Its copy runs the same.
    assert_eq!(world.runs(8, 106 * MS), "/touch");
}

#[test]
fn a_record_that_does_not_come_is_not_waited_for_long() {
    let mut world = World::new();
    for (pid, patience) in [(7, 20), (8, 10), (9, 5)] {
        let time = u64::from(pid) * 100 * MS;
        world.fork(pid, time);
        world.hold(News::Exec(pid), time);
        assert_eq!(world.settle(time).unwrap().until, time + patience * MS);
        assert_eq!(world.settle(time + patience * MS), None);
        assert_eq!(world.runs(pid, time + 50 * MS), "?");
    }
    for pid in 10..20 {
        world.fork(pid, 2000 * MS);
        world.hold(News::Exec(pid), 2000 * MS);
        world.matching.record(exec(pid, "x"), 2000 * MS);
        assert_eq!(world.settle(2000 * MS), None);
    }
    assert_eq!(world.matching.patience, PATIENCE.1);
}

#[test]
fn what_proc_showed_in_time_stands_in_for_a_record() {
    let mut world = World::new();
    let shown = |name: &str, time: u64| Some((process(exec(7, name), time, None, None), (time, time)));
    world.fork(7, 100 * MS);
    world.matching.hold(Held { news: News::Exec(7), time: 101 * MS, shown: shown("sh", 101 * MS) });
    assert_eq!(world.settle(200 * MS), None);
    assert_eq!(world.runs(7, 201 * MS), "/sh");
    // It became something else before it was asked.
    world.matching.hold(Held { news: News::Exec(7), time: 301 * MS, shown: shown("touch", 301 * MS) });
    world.matching.hold(Held { news: News::Exec(7), time: 302 * MS, shown: None });
    assert_eq!(world.settle(400 * MS), None);
    assert_eq!(world.runs(7, 401 * MS), "?");
}

#[test]
fn a_record_that_comes_too_late_is_not_taken_for_the_next() {
    let mut world = World::new();
    world.fork(7, 100 * MS);
    world.hold(News::Exec(7), 101 * MS);
    assert_eq!(world.settle(200 * MS), None);
    // The record of that, while the next is waited for.
    world.hold(News::Exec(7), 201 * MS);
    world.matching.record(exec(7, "first"), 100 * MS);
    assert!(world.settle(202 * MS).is_some());
    world.matching.record(exec(7, "second"), 200 * MS);
    assert_eq!(world.settle(203 * MS), None);
    assert_eq!(world.runs(7, 204 * MS), "/second");
}

#[test]
fn of_two_programs_and_one_record_neither_is_guessed() {
    let mut world = World::new();
    world.fork(7, 100 * MS);
    world.hold(News::Exec(7), 101 * MS);
    world.hold(News::Exec(7), 102 * MS);
    world.matching.record(exec(7, "which"), 100 * MS);
    assert_eq!(world.settle(110 * MS), Some(Wait { happened: 101 * MS, until: 102 * MS + PATIENCE.1 }));
    assert_eq!(world.settle(130 * MS), None);
    assert_eq!(world.runs(7, 131 * MS), "?");
    // With both, each has its own.
    world.hold(News::Exec(7), 201 * MS);
    world.hold(News::Exec(7), 202 * MS);
    world.matching.record(exec(7, "one"), 200 * MS);
    world.matching.record(exec(7, "two"), 200 * MS);
    assert_eq!(world.settle(203 * MS), None);
    assert_eq!(world.runs(7, 204 * MS), "/two");
}

#[test]
fn a_record_without_news_spoils_those_beside_it() {
    let mut world = World::new();
    world.fork(7, 100 * MS);
    world.hold(News::Exec(7), 101 * MS);
    world.matching.record(exec(7, "stray"), 100 * MS);
    world.matching.record(exec(7, "own"), 100 * MS);
    world.settle(110 * MS);
    assert_eq!(world.settle(130 * MS), None);
    assert_eq!(world.runs(7, 131 * MS), "?");
    // As does one of which the news may have been before anybody listened.
    let mut world = World { matching: Matching::new(99 * MS), ..World::new() };
    world.fork(7, 100 * MS);
    world.hold(News::Exec(7), 101 * MS);
    world.matching.record(exec(7, "before"), 99 * MS);
    assert_eq!(world.settle(130 * MS), None);
    assert_eq!(world.runs(7, 131 * MS), "?");
}

#[test]
fn everything_is_bounded() {
    let mut world = World::new();
    for number in 0..100_000u32 {
        world.matching.record(exec(number, "x"), u64::MAX);
        world.hold(News::Exec(number + 1_000_000), 100 * MS);
        world.settle(100 * MS);
        assert!(world.matching.held.len() <= MOST_HELD);
        assert!(world.matching.waiting_records <= MOST_RECORDS + 1);
        assert!(world.matching.records.len() <= MOST_RECORDS + 1);
        assert!(world.matching.doubts.len() <= MOST_DOUBTS);
    }
    assert_eq!(world.settle(1000 * MS), None);
    assert!(world.matching.held_execs.is_empty() && world.matching.doubts.len() <= MOST_DOUBTS);
}

/// What happens next, to one of a few numbers, after a time in microseconds.
#[derive(Debug, Clone)]
enum Step {
    Fork,
    /// With the time that its record takes in microseconds, if it comes at all, and whether `/proc` shows it.
    Exec(Option<u64>, bool),
    Exit,
    Ask,
}

fn steps() -> impl Strategy<Value = Vec<(u32, u64, Step)>> {
    let exec = (proptest::option::weighted(0.8, 0..30_000u64), proptest::bool::weighted(0.2));
    let step = prop_oneof![
        2 => Just(Step::Fork),
        6 => exec.prop_map(|(delay, shown)| Step::Exec(delay, shown)),
        1 => Just(Step::Exit),
        2 => Just(Step::Ask),
    ];
    proptest::collection::vec((2..5u32, 1..6000u64, step), 0..60)
}

/// Lets time pass up to `now`, or further while something is waited for; records come when they do.
fn catch_up(world: &mut World, coming: &mut Vec<(u64, Exec, u64)>, mut now: u64) -> u64 {
    let began = now;
    loop {
        coming.sort_by_key(|(due, ..)| *due);
        while let Some((_, exec, asked)) = coming.first().filter(|(due, ..)| *due <= now).cloned() {
            coming.remove(0);
            world.matching.record(exec, asked);
        }
        match world.settle(now).filter(|wait| wait.happened <= began) {
            None => return now,
            Some(wait) => {
                now = coming.first().map_or(wait.until, |(due, ..)| wait.until.min(*due)).max(now + 1)
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]
    #[test]
    fn nothing_is_ever_told_wrong(steps in steps()) {
        let mut world = World::new();
        // What each that lives runs in truth.
        let mut truth: BTreeMap<u32, String> = BTreeMap::new();
        let (mut coming, mut now) = (Vec::<(u64, Exec, u64)>::new(), 100 * MS);
        for (count, (pid, pause, step)) in steps.into_iter().enumerate() {
            now += pause * 1000;
            match step {
                Step::Fork if !truth.contains_key(&pid) => {
                    world.fork(pid, now);
                    truth.insert(pid, "/init".into());
                }
                Step::Exec(delay, is_shown) if truth.contains_key(&pid) => {
                    let name = format!("{count}");
                    // It asked a little earlier, and the clock only goes on every 10 ms.
                    let asked = (now - 300_000) / (10 * MS) * (10 * MS);
                    if let Some(delay) = delay {
                        // One after the other, as the kernel sends them.
                        let due = coming.iter().map(|(due, ..)| *due).fold(now + delay * 1000, u64::max);
                        coming.push((due, exec(pid, &name), asked));
                    }
                    let shown = is_shown.then(|| (process(exec(pid, &name), now, None, None), (now, now)));
                    world.matching.hold(Held { news: News::Exec(pid), time: now, shown });
                    truth.insert(pid, format!("/{name}"));
                }
                Step::Exit if truth.remove(&pid).is_some() => world.hold(News::Exit(pid), now),
                Step::Ask => {
                    now = catch_up(&mut world, &mut coming, now);
                    for (pid, real) in &truth {
                        let told = world.runs(*pid, now);
                        prop_assert!(told == "?" || told == *real, "{pid} runs {real}, not {told}");
                    }
                }
                _ => {}
            }
        }
    }

    #[test]
    fn with_all_records_in_time_everything_is_known(steps in steps()) {
        let mut world = World::new();
        let mut truth: BTreeMap<u32, String> = BTreeMap::new();
        let (mut coming, mut now) = (Vec::new(), 100 * MS);
        for (count, (pid, pause, step)) in steps.into_iter().enumerate() {
            now = catch_up(&mut world, &mut coming, now + pause * 1000);
            match step {
                Step::Fork if !truth.contains_key(&pid) => {
                    world.fork(pid, now);
                    truth.insert(pid, "/init".into());
                }
                Step::Exec(..) if truth.contains_key(&pid) => {
                    let name = format!("{count}");
                    coming.push((now + MS, exec(pid, &name), (now - 300_000) / (10 * MS) * (10 * MS)));
                    world.hold(News::Exec(pid), now);
                    truth.insert(pid, format!("/{name}"));
                }
                Step::Ask => {
                    for (pid, real) in &truth {
                        prop_assert_eq!(&world.runs(*pid, now), real);
                    }
                }
                _ => {}
            }
        }
    }
}
