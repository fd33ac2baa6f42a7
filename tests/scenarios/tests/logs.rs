//! Files that may grow, directories that may gain files, and names that move: rules meant for noise hide no change.

#![allow(clippy::disallowed_methods, reason = "tests make, change and remove their own files")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on ends")]

use std::fs;
use waxseal_scenarios::files::*;
use waxseal_scenarios::{Expect, Fs, Machine, Place, Story};

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
        expect: |_| vec![Expect::modified("log").fields(&["mode"]).after("mode", "0666")],
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
