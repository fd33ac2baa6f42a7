//! Files that may grow, directories that may gain files, and names that move: rules meant for noise hide no change.

#![allow(clippy::disallowed_methods, reason = "tests make, change and remove their own files")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on ends")]

use std::fs;
use waxseal_scenarios::files::*;
use waxseal_scenarios::{Expect, Fs, Machine, Place, Story, mismatch, tools};

const APPEND_ONLY: &str = "change = \"append-only\"";
const ADDITIONS_ALLOWED: &str = "change = \"additions-allowed\"";

fn make_log(place: &Place) {
    write(place.at("log"), "first line\nsecond line\n");
}

#[test]
fn s44_a_log_that_grows_is_quiet() {
    Story {
        rule: APPEND_ONLY,
        needs: &[],
        root: false,
        before: make_log,
        then: |place| append(place.at("log"), b"third line\n"),
        expect: |_| Vec::new(),
    }
    .on_all();
}

#[test]
fn s45_an_old_line_rewritten_while_the_log_grows() {
    Story {
        rule: APPEND_ONLY,
        needs: &[],
        root: false,
        before: make_log,
        then: |place| fs::write(place.at("log"), "FIRST line\nsecond line\nthird line\n").unwrap(),
        expect: |_| vec![Expect::modified("log").field("content")],
    }
    .on_all();
}

#[test]
fn s45_the_old_length_is_what_must_hold_and_not_a_round_number() {
    Story {
        rule: APPEND_ONLY,
        needs: &[],
        root: false,
        before: |place| write(place.at("log"), vec![b'x'; 200_001]),
        then: |place| {
            let mut content = vec![b'x'; 300_000];
            content[200_000] = b'y';
            fs::write(place.at("log"), content).unwrap();
        },
        expect: |_| vec![Expect::modified("log").field("content")],
    }
    .on(&[Fs::Ext4]);
}

#[test]
fn s46_a_log_that_shrinks() {
    Story {
        rule: APPEND_ONLY,
        needs: &[],
        root: false,
        before: make_log,
        then: |place| {
            fs::OpenOptions::new().write(true).open(place.at("log")).unwrap().set_len(5).unwrap();
        },
        expect: |_| vec![Expect::modified("log").field("size").before("size", 23).after("size", 5)],
    }
    .on_all();
}

#[test]
fn s46_rights_on_a_log_count_all_the_same() {
    Story {
        rule: APPEND_ONLY,
        needs: &[],
        root: false,
        before: |place| {
            make_log(place);
            chmod(place.at("log"), 0o640);
        },
        then: |place| {
            append(place.at("log"), b"third line\n");
            chmod(place.at("log"), 0o666);
        },
        expect: |_| vec![Expect::metadata("log").fields(&["mode"]).after("mode", "0666")],
    }
    .on_all();
}

#[test]
fn s50_a_known_file_put_in_the_place_of_another() {
    Story {
        rule: "",
        needs: &[],
        root: false,
        before: |place| {
            write(place.at("sshd"), "the real one");
            write(place.at("other"), "known as well");
        },
        then: |place| {
            fs::remove_file(place.at("sshd")).unwrap();
            fs::rename(place.at("other"), place.at("sshd")).unwrap();
        },
        expect: |place| {
            let from = place.at("other").to_str().unwrap().to_owned();
            vec![Expect::modified("sshd").field("content").key("from", from), Expect::removed("other")]
        },
    }
    .on_all();
}

#[test]
fn s50_a_file_moved_aside_and_another_in_its_place() {
    let machine = Machine::new();
    write(machine.at("sshd"), "the real one");
    write(machine.at("other"), "known as well");
    machine.watch_tree("");
    machine.init();
    fs::rename(machine.at("sshd"), machine.at("sshd.old")).unwrap();
    fs::rename(machine.at("other"), machine.at("sshd")).unwrap();
    for report in [machine.check(), machine.check_quick()] {
        let report = report.expect_changed();
        let kind = |name: &str| report.change_at(machine.at(name)).map(|change| change.kind());
        assert_eq!(kind("sshd"), Some("modified"), "{:#?}", report.output);
        assert_eq!(kind("other"), Some("removed"), "{:#?}", report.output);
        assert!(matches!(kind("sshd.old"), Some("moved" | "added")), "{:#?}", report.output);
    }
}

#[test]
fn s78_a_renamed_directory_is_one_line_per_path() {
    Story {
        rule: "",
        needs: &[],
        root: false,
        before: |place| {
            write(place.at("old/a"), "content of a");
            write(place.at("old/sub/b"), "content of b");
        },
        then: |place| fs::rename(place.at("old"), place.at("new")).unwrap(),
        expect: |place| {
            let moved =
                |from: &str, to: &str| Expect::moved(to).key("from", place.at(from).to_str().unwrap());
            vec![
                moved("old", "new"),
                moved("old/a", "new/a"),
                moved("old/sub", "new/sub"),
                moved("old/sub/b", "new/sub/b"),
            ]
        },
    }
    .on_all();
}

#[test]
fn s51_a_new_file_is_fine_and_then_it_is_held_to_what_it_was() {
    let machine = Machine::new();
    write(machine.at("old"), "x");
    machine.watch_tree(ADDITIONS_ALLOWED);
    machine.init();
    write(machine.at("new"), "as first seen");
    machine.check().expect_intact();
    fs::write(machine.at("new"), "tampered with").unwrap();
    for report in [machine.check(), machine.check_quick()] {
        let report = report.expect_changed();
        let change = report.change_at(machine.at("new")).unwrap();
        assert_eq!((change.kind(), report.changes.len()), ("modified", 1), "{:#?}", report.output);
    }
}

#[test]
fn s51_old_files_may_not_change_where_new_ones_are_fine() {
    Story {
        rule: ADDITIONS_ALLOWED,
        needs: &[],
        root: false,
        before: |place| {
            write(place.at("changed"), "x");
            write(place.at("gone"), "x");
        },
        then: |place| {
            write(place.at("sub/new"), "fine");
            append(place.at("changed"), b"y");
            fs::remove_file(place.at("gone")).unwrap();
        },
        expect: |_| vec![Expect::modified("changed"), Expect::removed("gone")],
    }
    .on_all();
}

/// What a rotation does, one step after another.
type Steps<'s> = &'s [&'s dyn Fn(&Machine)];

/// A machine with these logs, sealed.
fn sealed_logs(before: &dyn Fn(&Machine)) -> Machine {
    let machine = Machine::new();
    before(&machine);
    machine.watch_tree(APPEND_ONLY);
    machine.init();
    machine
}

/// Tells a rotation twice: looked at after each step, and only at the end; then with the monitor running.
fn quiet(before: &dyn Fn(&Machine), steps: Steps<'_>) {
    let start = || sealed_logs(before);
    let machine = start();
    for step in steps {
        step(&machine);
        machine.check().expect_intact();
        machine.check_quick().expect_intact();
    }
    // What is known now is held to.
    fs::write(machine.at("log"), "forged").unwrap();
    machine.check().expect_changed();

    let machine = start();
    steps.iter().for_each(|step| step(&machine));
    machine.check_quick().expect_intact();
    machine.check().expect_intact();

    let machine = start();
    let mut watching = machine.watch();
    let mut expected = Vec::new();
    for (number, step) in steps.iter().enumerate() {
        step(&machine);
        // What came before this has been looked at when it is reported.
        let sentinel = format!("zz-{number}-sentinel");
        write(machine.at(&sentinel), "x");
        expected.push(Expect::added(sentinel));
        watching.wait_for_changes(|changes| mismatch(machine.tree(), &expected, changes));
    }
    watching.stop();
}

fn rename(machine: &Machine, from: &str, to: &str) {
    fs::rename(machine.at(from), machine.at(to)).unwrap();
}

fn compress(machine: &Machine, tool: &str, name: &str) {
    let name = machine.at(name);
    tools::run(tool, ["-q", "-f", name.to_str().unwrap()]);
    if tool == "zstd" {
        fs::remove_file(name).unwrap();
    }
}

fn make_generations(machine: &Machine) {
    write(machine.at("log"), "the newest line\n".repeat(500));
    write(machine.at("log.1"), "an older line\n".repeat(400));
    for (number, content) in [(2, "a still older line\n"), (3, "the oldest line\n")] {
        write(machine.at(&format!("log.{number}")), content.repeat(300));
        compress(machine, "gzip", &format!("log.{number}"));
    }
}

/// What logrotate does with `rotate 3`, `compress` and `delaycompress`, in its order.
const ROTATION: [&dyn Fn(&Machine); 9] = [
    &|m| append(m.at("log"), b"a last line\n"),
    &|m| compress(m, "gzip", "log.1"),
    &|m| rename(m, "log.3.gz", "log.4.gz"),
    &|m| rename(m, "log.2.gz", "log.3.gz"),
    &|m| rename(m, "log.1.gz", "log.2.gz"),
    &|m| rename(m, "log", "log.1"),
    &|m| write(m.at("log"), ""),
    &|m| fs::remove_file(m.at("log.4.gz")).unwrap(),
    &|m| append(m.at("log"), b"a first line\n"),
];

fn rotate_delayed(machine: &Machine) {
    ROTATION.iter().for_each(|step| step(machine));
}

/// A look falls into the midst of each rotation, each time somewhere else.
#[test]
fn s47_a_rotation_seen_in_two_looks() {
    if !tools::has("gzip") {
        return;
    }
    let machine = sealed_logs(&make_generations);
    for round in 0..2 {
        for cut in 1..ROTATION.len() {
            let (first, second) = ROTATION.split_at(cut);
            for half in [first, second] {
                half.iter().for_each(|step| step(&machine));
                let report = if round == 0 { machine.check() } else { machine.check_quick() };
                let wrong = mismatch(machine.tree(), &[], &report.changes);
                assert_eq!(wrong, None, "cut after step {cut}: {:#?}", report.output);
            }
        }
    }
}

#[test]
fn s47_rename_and_delayed_gzip_over_several_generations() {
    if tools::has("gzip") {
        quiet(&make_generations, &[&rotate_delayed]);
        quiet(&make_generations, &[&rotate_delayed, &rotate_delayed, &rotate_delayed]);
    }
}

#[test]
fn s47_each_step_of_a_rotation_on_its_own() {
    if tools::has("gzip") {
        quiet(
            &make_generations,
            &[
                &|m| compress(m, "gzip", "log.1"),
                &|m| rename(m, "log.3.gz", "log.4.gz"),
                &|m| rename(m, "log.2.gz", "log.3.gz"),
                &|m| rename(m, "log.1.gz", "log.2.gz"),
                &|m| append(m.at("log"), b"a last line\n"),
                &|m| rename(m, "log", "log.1"),
                &|m| append(m.at("log.1"), b"a line by a process that has it open\n"),
                &|m| write(m.at("log"), ""),
                &|m| fs::remove_file(m.at("log.4.gz")).unwrap(),
                &|m| append(m.at("log"), b"a first line\n"),
            ],
        );
    }
}

#[test]
fn s48_a_byte_altered_before_compression() {
    if !tools::has("gzip") {
        return;
    }
    let machine = sealed_logs(&make_generations);
    rename(&machine, "log.3.gz", "log.4.gz");
    rename(&machine, "log.2.gz", "log.3.gz");
    compress(&machine, "gzip", "log.1");
    rename(&machine, "log.1.gz", "log.2.gz");
    rename(&machine, "log", "log.1");
    let mut content = fs::read(machine.at("log.1")).unwrap();
    content[3000] ^= 1;
    fs::write(machine.at("log.1"), content).unwrap();
    write(machine.at("log"), "a first line\n");
    for report in [machine.check(), machine.check_quick(), machine.check()] {
        let report = report.expect_changed();
        let kind = |name: &str| report.change_at(machine.at(name)).map(|change| change.kind());
        assert_eq!(kind("log"), Some("modified"), "{:#?}", report.output);
        assert_eq!(kind("log.1"), Some("modified"), "{:#?}", report.output);
    }
}

fn alter_and_compress(machine: &Machine) {
    rename(machine, "log", "log.1");
    let mut content = fs::read(machine.at("log.1")).unwrap();
    content[2000] ^= 1;
    fs::write(machine.at("log.1"), content).unwrap();
    compress(machine, "gzip", "log.1");
    write(machine.at("log"), "a first line\n");
}

#[test]
fn s48_a_byte_altered_and_compressed_at_once() {
    if !tools::has("gzip") {
        return;
    }
    let machine = Machine::new();
    write(machine.at("log"), "a line that tells\n".repeat(300));
    machine.watch_tree(APPEND_ONLY);
    machine.init();
    alter_and_compress(&machine);
    let expected = [Expect::modified("log").field("content"), Expect::added("log.1.gz")];
    for report in [machine.check(), machine.check_quick()] {
        let report = report.expect_changed();
        assert_eq!(mismatch(machine.tree(), &expected, &report.changes), None);
    }
}

#[test]
fn s48_a_byte_altered_while_the_monitor_runs() {
    if !tools::has("gzip") {
        return;
    }
    let machine = Machine::new();
    write(machine.at("log"), "a line that tells\n".repeat(300));
    machine.watch_tree(APPEND_ONLY);
    machine.init();
    let mut watching = machine.watch();
    alter_and_compress(&machine);
    // By which name the loss is reported depends on whether the file was seen as `log.1` before it was altered.
    watching.wait_for_changes(|changes| {
        let kind = |name: &str| {
            let path = machine.at(name);
            changes.iter().find(|c| c.0["path"] == path.to_str().unwrap()).map(|c| c.kind().to_owned())
        };
        let lost = kind("log").as_deref() == Some("modified") || kind("log.1").as_deref() == Some("removed");
        let added = kind("log.1.gz").as_deref() == Some("added");
        (!lost || !added).then(|| format!("{changes:?}"))
    });
    watching.stop();
    machine.check().expect_changed();
}

#[test]
fn s49_compressed_at_once_by_each_tool() {
    for (tool, ending) in [("gzip", "gz"), ("xz", "xz"), ("zstd", "zst"), ("bzip2", "bz2")] {
        if !tools::has(tool) {
            continue;
        }
        let name = |number: u32| format!("log.{number}.{ending}");
        quiet(
            &|m| write(m.at("log"), "a line\n".repeat(9000)),
            &[
                &|m| {
                    append(m.at("log"), b"a last line\n");
                    rename(m, "log", "log.1");
                    write(m.at("log"), "of the second log\n".repeat(50));
                    compress(m, tool, "log.1");
                },
                &|m| {
                    rename(m, &name(1), &name(2));
                    rename(m, "log", "log.1");
                    compress(m, tool, "log.1");
                    write(m.at("log"), "of the third log\n");
                },
            ],
        );
    }
}

#[test]
fn s49_copytruncate() {
    let truncate = |m: &Machine| {
        fs::OpenOptions::new().write(true).open(m.at("log")).unwrap().set_len(0).unwrap();
    };
    quiet(
        &|m| write(m.at("log"), "a line\n".repeat(5000)),
        &[
            &|m| append(m.at("log"), b"a line more\n"),
            &|m| {
                fs::copy(m.at("log"), m.at("log.1")).unwrap();
            },
            &truncate,
            &|m| append(m.at("log"), b"a first line\n"),
        ],
    );
}

#[test]
fn s49_dated_names_and_empty_logs() {
    quiet(
        &|m| {
            write(m.at("log"), "a line\n".repeat(100));
            write(m.at("log-20260101"), "an older line\n".repeat(100));
            write(m.at("empty.log"), "");
            write(m.at("empty.log.1"), "");
        },
        &[
            &|m| {
                rename(m, "log", "log-20260102");
                write(m.at("log"), "");
            },
            &|m| append(m.at("log"), b"a first line\n"),
            &|m| {
                rename(m, "empty.log.1", "empty.log.2");
                rename(m, "empty.log", "empty.log.1");
                write(m.at("empty.log"), "");
            },
        ],
    );
}

#[test]
fn s45_what_was_written_since_the_seal_is_guarded_as_well() {
    let machine = Machine::new();
    write(machine.at("log"), "sealed\n");
    machine.watch_tree(APPEND_ONLY);
    machine.init();
    append(machine.at("log"), b"an attacker was here\n");
    machine.check().expect_intact();
    fs::write(machine.at("log"), "sealed\nnothing was to be seen\n").unwrap();
    for report in [machine.check_quick(), machine.check()] {
        let report = report.expect_changed();
        assert_eq!(report.change_at(machine.at("log")).unwrap().kind(), "modified", "{:#?}", report.output);
    }
    // Cutting it back to what was sealed loses the line as well.
    fs::write(machine.at("log"), "sealed\n").unwrap();
    machine.check().expect_changed();
    fs::write(machine.at("log"), "sealed\nan attacker was here\nand more\n").unwrap();
    machine.check().expect_intact();
}

#[test]
fn s47_a_file_that_looks_like_a_rotation_and_is_none() {
    Story {
        rule: APPEND_ONLY,
        needs: &[],
        root: false,
        before: |place| {
            make_log(place);
            write(place.at("log.1"), "an older line\n");
        },
        then: |place| {
            write(place.at("log.2"), "forged\n");
            fs::remove_file(place.at("log.1")).unwrap();
        },
        expect: |_| vec![Expect::added("log.2"), Expect::removed("log.1")],
    }
    .on(&[Fs::Ext4]);
}
