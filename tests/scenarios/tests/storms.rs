//! More than can be noted down, and what moves while it is looked at: nothing is lost, the memory stays bounded, and in
//! the end the record is what a check finds.

#![allow(clippy::disallowed_methods, reason = "tests make, change and remove their own files")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on ends")]
#![allow(clippy::print_stderr, reason = "shown by the test runner when a test fails")]

use rusqlite::Connection;
use rustix::process::Signal;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::FileExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use waxseal_scenarios::files::*;
use waxseal_scenarios::{
    Change, Expect, Fs, Machine, Watching, for_each_filesystem, is_root, mismatch, tools,
};

/// How the kernel can be made to tell: by marks of whole filesystems, and by inotify.
fn ways() -> Vec<fn(&Machine) -> Watching> {
    let mut ways: Vec<fn(&Machine) -> Watching> = vec![Machine::watch];
    if is_root() && tools::has("setpriv") {
        ways.push(Machine::watch_without_marks);
    }
    ways
}

/// Runs a test on a filesystem in memory, by each way, with a tree of its own each time.
fn by_each_way(rule: &str, before: fn(&Machine), test: impl Fn(&Machine, &mut Watching)) {
    for_each_filesystem(&[Fs::Tmpfs], |root| {
        for (number, way) in ways().into_iter().enumerate() {
            let tree = root.join(format!("tree-{number}"));
            fs::create_dir(&tree).unwrap();
            let machine = Machine::with_tree(&tree);
            before(&machine);
            machine.watch_tree(rule);
            machine.init();
            let mut watching = way(&machine);
            eprintln!("by {}", watching.ready["backend"]);
            test(&machine, &mut watching);
            watching.stop();
        }
    });
}

/// The most memory that the monitor has had so far, in KiB.
fn peak(watching: &Watching) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", watching.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Kind, origin, mode, size and hash of each changed path.
fn by_path(changes: &[Change]) -> BTreeMap<String, [Value; 5]> {
    let of = |change: &Change| {
        let (line, after) = (&change.0, &change.0["after"]);
        let values = [&line["change"], &line["from"], &after["mode"], &after["size"], &after["sha256"]];
        (String::from_utf8(change.path()).unwrap(), values.map(Value::clone))
    };
    changes.iter().map(of).collect()
}

/// Everything is on record after `sync`, just as a check of the whole finds it afterwards.
#[track_caller]
fn expect_what_a_check_finds(machine: &Machine) {
    machine.sync();
    let recorded = by_path(&machine.recorded());
    let found = by_path(&machine.check().changes);
    let wrong: Vec<_> = found.iter().filter(|(path, change)| recorded.get(*path) != Some(change)).collect();
    if let Some((path, change)) = wrong.first() {
        let (count, all, on_record) = (wrong.len(), found.len(), recorded.get(*path));
        panic!("{count} of {all} are wrong on record: {path}: found {change:?}, on record {on_record:?}");
    }
    let extra = recorded.keys().find(|path| !found.contains_key(*path));
    assert!(extra.is_none(), "on record and not so any more: {extra:?}");
}

#[test]
fn a_million_events_on_one_file_are_one_change() {
    const ROUNDS: u64 = 500_000;
    by_each_way(
        "",
        |machine| write(machine.at("file"), "x"),
        |machine, watching| {
            machine.sync();
            let before = peak(watching);
            let file = fs::OpenOptions::new().write(true).open(machine.at("file")).unwrap();
            for round in 0..ROUNDS {
                // Two different events, which the kernel does not always take for one.
                file.write_all_at(&round.to_le_bytes(), 0).unwrap();
                file.set_permissions(fs::Permissions::from_mode(0o600 + round as u32 % 8)).unwrap();
            }
            drop(file);
            machine.sync();
            let recorded = machine.recorded();
            let expected = [Expect::modified("file").after("size", 8).after("mode", "0607")];
            assert_eq!(mismatch(machine.tree(), &expected, &recorded), None);
            // Each line that was printed of it counts it once more.
            let count = recorded[0].0["count"].as_u64().unwrap();
            watching.next_matching(|line| line["type"] == "change" && line["count"] == count);
            let counts: Vec<u64> = watching.seen().iter().filter_map(|line| line["count"].as_u64()).collect();
            assert_eq!(counts, (1..=count).collect::<Vec<_>>());
            let more = peak(watching).saturating_sub(before);
            assert!(more < 16 * 1024, "{more} KiB more than before the storm");
        },
    );
}

#[test]
fn a_file_renamed_in_a_loop_ends_where_it_is() {
    by_each_way(
        "",
        |machine| {
            for name in ["a/file", "b/other", "b/dir/inner"] {
                write(machine.at(name), name);
            }
        },
        |machine, _| {
            let rename = |from: &str, to: &str| fs::rename(machine.at(from), machine.at(to)).unwrap();
            for _ in 0..3000 {
                rename("a/file", "b/file");
                rename("b/file", "b/elsewhere");
                exchange(machine.at("b/elsewhere"), machine.at("b/other"));
                rename("b/dir", "a/dir");
                rename("b/elsewhere", "a/file");
                rename("a/file", "a/dir/file");
                exchange(machine.at("a/dir/file"), machine.at("b/other"));
                rename("a/dir/file", "a/file");
                rename("a/dir", "b/dir");
            }
            expect_what_a_check_finds(machine);
            assert_eq!(machine.recorded().len(), 0);
            // And somewhere else than it was.
            rename("a/file", "b/dir/last");
            rename("b/other", "a/file");
            rename("b/dir/last", "b/other");
            for round in 0..3000 {
                rename("a/file", &format!("a/{round}"));
                rename(&format!("a/{round}"), "a/file");
            }
            rename("b/dir/inner", "a/last");
            expect_what_a_check_finds(machine);
            assert_ne!(machine.recorded().len(), 0);
        },
    );
}

#[test]
fn a_directory_moved_into_its_own_excluded_part_and_back() {
    by_each_way(
        "exclude = [\"/part/out\"]",
        |machine| {
            for name in ["part/dir/file", "part/dir/deep/file", "part/out/file", "part/kept"] {
                write(machine.at(name), name);
            }
        },
        |machine, _| {
            let rename = |from: &str, to: &str| fs::rename(machine.at(from), machine.at(to)).unwrap();
            let gone = ["part/dir", "part/dir/file", "part/dir/deep", "part/dir/deep/file"];
            for round in 0..3 {
                rename("part/dir", "part/out/dir");
                // Nobody watches there.
                write(machine.at("part/out/dir/deep/new"), round.to_string());
                machine.sync();
                let expected = gone.map(Expect::removed);
                assert_eq!(mismatch(machine.tree(), &expected, &machine.recorded()), None);
                append(machine.at("part/out/dir/deep/file"), b"y");
                rename("part/out/dir", "part/dir");
                append(machine.at("part/dir/file"), b"y");
                machine.sync();
                let expected = [
                    Expect::modified("part/dir/file"),
                    Expect::modified("part/dir/deep/file"),
                    Expect::added("part/dir/deep/new"),
                ];
                assert_eq!(mismatch(machine.tree(), &expected, &machine.recorded()), None);
                for name in ["part/dir/file", "part/dir/deep/file"] {
                    fs::write(machine.at(name), name).unwrap();
                }
                fs::remove_file(machine.at("part/dir/deep/new")).unwrap();
            }
            // Over and over, while it is looked at.
            for _ in 0..500 {
                rename("part/dir", "part/out/dir");
                rename("part/out/dir", "part/dir");
            }
            append(machine.at("part/dir/deep/file"), b"z");
            expect_what_a_check_finds(machine);
            // And the excluded part moved out of its place: it is watched from then on.
            rename("part/out", "part/in");
            append(machine.at("part/in/file"), b"z");
            expect_what_a_check_finds(machine);
            assert!(machine.recorded().iter().any(|change| change.path().ends_with(b"/part/in/file")));
        },
    );
}

/// Another program that holds the database: nothing can be recorded meanwhile.
fn hold(machine: &Machine) -> Connection {
    let connection = Connection::open(machine.state_dir().join("waxseal.db")).unwrap();
    connection.busy_timeout(std::time::Duration::from_secs(20)).unwrap();
    connection.execute_batch("BEGIN EXCLUSIVE").unwrap();
    connection
}

#[test]
fn a_database_that_another_program_holds_is_said_and_nothing_is_lost() {
    by_each_way(
        "",
        |machine| write(machine.at("file"), "x"),
        |machine, watching| {
            machine.sync();
            let held = hold(machine);
            append(machine.at("file"), b"y");
            write(machine.at("new"), "unlike the other");
            let blind = watching.next_matching(|line| line["type"] == "blind");
            assert_eq!(blind["reason"], "database-busy");
            let output = machine.waxseal(["--json", "sync"]).expect_code(2);
            assert_eq!(output.lines()[0]["reason"], "database-busy", "{output:?}");
            let is_below =
                |change: &Change| change.path().starts_with(machine.tree().as_os_str().as_encoded_bytes());
            assert!(!machine.recorded().iter().any(is_below));
            write(machine.at("later"), "when it was held");
            drop(held);
            watching.next_matching(|line| line["type"] == "sighted");
            let expected = [Expect::modified("file"), Expect::added("new"), Expect::added("later")];
            machine.sync();
            // That somebody else had the database open is a change of its own.
            let (below, own): (Vec<_>, Vec<_>) = machine.recorded().into_iter().partition(is_below);
            assert_eq!(mismatch(machine.tree(), &expected, &below), None);
            assert!(own.iter().all(|change| change.severity() == "critical"), "{own:?}");
            assert!(own.len() <= 2, "the database and its log: {own:?}");
            assert_eq!(watching.seen().iter().filter(|line| line["type"] == "blind").count(), 1);
            let status = machine.waxseal(["--json", "status"]).lines().remove(0);
            assert_eq!(status["gaps"]["last"][0]["reason"], "database-busy", "{status}");
        },
    );
}

/// Gives a file so many names, one after the other, and its own in the end.
fn rename_through(file: &Path, names: usize) {
    let mut now = file.to_owned();
    for number in 0..names {
        let next = file.with_file_name(format!("name-{number}"));
        fs::rename(&now, &next).unwrap();
        now = next;
    }
    fs::rename(&now, file).unwrap();
}

/// What happens when no queue can hold any more of it: in directories of its own, so that later events do not heal it.
fn make_late_changes(machine: &Machine) {
    append(machine.at("late/changed"), b"y");
    fs::remove_file(machine.at("late/gone")).unwrap();
    fs::rename(machine.at("late/moved"), machine.at("late/elsewhere")).unwrap();
    write(machine.at("late/deep/er/new"), "a new one");
    chmod(machine.at("late"), 0o700);
}

fn furnish_for_overflow(machine: &Machine) {
    for name in ["changed", "gone", "moved"] {
        write(machine.at(&format!("late/{name}")), name);
    }
    for number in 0..4 {
        write(machine.at(&format!("{number}/file")), number.to_string());
    }
}

#[track_caller]
fn expect_overflow(watching: &mut Watching) {
    watching.next_matching(|line| line["type"] == "rescan" && line["reason"] == "overflow");
}

/// The monitor is stopped while more happens than the kernel keeps for anybody.
#[test]
fn the_kernels_queue_filled_on_purpose() {
    by_each_way("", furnish_for_overflow, |machine, watching| {
        watching.signal(Signal::STOP);
        let most = if watching.ready["backend"] == "fanotify" { 262_144 } else { 16_384 };
        rename_through(&machine.at("0/file"), most);
        make_late_changes(machine);
        watching.signal(Signal::CONT);
        expect_what_a_check_finds(machine);
        assert!(machine.recorded().len() >= 6);
        expect_overflow(watching);
    });
}

/// The engine cannot record, and the reader reads on, until the queue between them is full.
#[test]
fn our_own_queue_filled_on_purpose() {
    by_each_way("", furnish_for_overflow, |machine, watching| {
        machine.sync();
        let before = peak(watching);
        let held = hold(machine);
        append(machine.at("late/changed"), b"x");
        // Slowly enough for the queue of inotify, which is the smaller one.
        for number in 0..4 {
            for _ in 0..4 {
                rename_through(&machine.at(&format!("{number}/file")), 4000);
            }
            rename_through(&machine.at(&format!("{number}/file")), 15_000);
        }
        make_late_changes(machine);
        drop(held);
        expect_what_a_check_finds(machine);
        assert!(machine.recorded().len() >= 6);
        expect_overflow(watching);
        let more = peak(watching).saturating_sub(before);
        assert!(more < 64 * 1024, "{more} KiB more than before the storm");
    });
}
