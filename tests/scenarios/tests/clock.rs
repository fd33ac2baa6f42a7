//! The clock on the wall, set back and forth while the monitor runs.

#![allow(clippy::disallowed_methods, reason = "tests make, change and remove their own files")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on ends")]

use rustix::time::{ClockId, Timespec, clock_gettime, clock_settime};
use waxseal_scenarios::files::*;
use waxseal_scenarios::{Expect, Fs, Machine, Mounted, mismatch, skip, tools};

const DAY: i64 = 86_400;

/// By the monitor's clock alone: the machine's is not ours to set.
#[test]
fn s60_a_clock_set_back_and_forward_is_told_once_and_changes_nothing() {
    let machine = Machine::new();
    let (library, offset) = (machine.home().join("clock.so"), machine.home().join("offset"));
    if !tools::has("cc") {
        return;
    }
    tools::compile_library(include_str!("../c/clock.c"), &library).unwrap();
    for name in ["a", "b", "c", "d"] {
        write(machine.at(name), "1");
    }
    machine.watch_tree("attributes = \"all\"");
    machine.init();
    write(&offset, "0");
    let preload = format!("LD_PRELOAD={}", library.display());
    let by = ["env", &preload, &format!("CLOCK_OFFSET={}", offset.display())];
    let mut watching = machine.watch_under(&by);
    let expect = |names: &[&str]| {
        machine.sync();
        let expected: Vec<_> = names.iter().copied().map(Expect::modified).collect();
        assert_eq!(mismatch(machine.tree(), &expected, &machine.recorded()), None);
    };
    append(machine.at("a"), b"x");
    expect(&["a"]);
    for (seconds, moved, name) in [(-2 * DAY, -2 * DAY, "b"), (3 * DAY, 5 * DAY, "c"), (0, -3 * DAY, "d")] {
        write(&offset, seconds.to_string());
        append(machine.at(name), b"x");
        let told = watching.next_matching(|line| line["type"] == "clock")["seconds"].as_f64().unwrap();
        assert!((told - moved as f64).abs() < 1.0, "{told}, not {moved}");
    }
    expect(&["a", "b", "c", "d"]);
    let told = watching.seen().iter().filter(|line| line["type"] == "clock").count();
    assert_eq!(told, 3);
    watching.stop();
    // What is found later is found by contents and the times of the files, whatever the clock says.
    write(&offset, (-30 * DAY).to_string());
    let watching = machine.watch_under(&by);
    expect(&["a", "b", "c", "d"]);
    watching.stop();
}

/// The machine's clock, while something is written. Only where it is allowed by name, since everything else that runs
/// here sees that clock as well for a moment.
#[test]
fn e14_the_clock_set_back() {
    if std::env::var_os("WAXSEAL_TEST_SET_CLOCK").is_none() {
        return skip("the machine's clock is not ours to set, unless WAXSEAL_TEST_SET_CLOCK says so");
    }
    let mounted = Mounted::new(Fs::Ext4).unwrap();
    let machine = Machine::with_tree(&mounted.root().join("tree"));
    for name in ["live", "asleep"] {
        write(machine.at(name), "0123456789");
    }
    machine.watch_tree("");
    machine.init();
    let watching = machine.watch();
    at_another_time(-3600, || overwrite_unseen(machine.at("live")));
    machine.sync();
    let found = |name| Expect::modified(name).fields(&["content"]);
    assert_eq!(mismatch(machine.tree(), &[found("live")], &machine.recorded()), None);
    watching.stop();
    // While nobody watches: a full scan finds it, whatever the times of the file say.
    at_another_time(-3600, || overwrite_unseen(machine.at("asleep")));
    let report = machine.check();
    let expected = [found("live"), found("asleep")];
    assert_eq!(mismatch(machine.tree(), &expected, &report.changes), None);
}

/// Does something by another time, and puts the clock right by the one that nobody sets.
fn at_another_time(seconds: i64, act: impl FnOnce()) {
    let (wall, up) = (clock_gettime(ClockId::Realtime), clock_gettime(ClockId::Boottime));
    let set = |shift: i64| {
        let now = clock_gettime(ClockId::Boottime);
        let nanoseconds = wall.tv_nsec + now.tv_nsec - up.tv_nsec;
        let time = Timespec {
            tv_sec: wall.tv_sec + now.tv_sec - up.tv_sec + nanoseconds.div_euclid(1_000_000_000) + shift,
            tv_nsec: nanoseconds.rem_euclid(1_000_000_000),
        };
        clock_settime(ClockId::Realtime, time)
    };
    set(seconds).expect("the clock may be set");
    act();
    set(0).expect("the clock may be set");
}
