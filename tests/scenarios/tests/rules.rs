//! Which paths are covered, by which rule, and what happens when that changes.

#![allow(clippy::disallowed_methods, reason = "tests make, change and remove their own files")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on ends")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use waxseal_scenarios::files::*;
use waxseal_scenarios::{
    Change, Expect, Fs, Machine, Mounted, Report, Watching, mismatch, skip, toml_string, tools, watch,
};

/// The paths of the changes, relative to the tree.
fn changed(machine: &Machine, report: &Report) -> BTreeSet<String> {
    let relative = |change: &Change| {
        let path = String::from_utf8(change.path()).unwrap();
        Path::new(&path).strip_prefix(machine.tree()).unwrap().to_str().unwrap().to_owned()
    };
    report.changes.iter().map(relative).collect()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn s31_a_path_that_matches_nothing_is_never_clean() {
    let machine = Machine::new();
    write(machine.at("there/file"), "x");
    let missing = machine.at("missing");
    machine.configure(&watch("tree", &[&machine.at("there"), &missing], ""));
    let output = machine.init();
    assert!(output.stderr.contains(missing.to_str().unwrap()), "init is silent: {}", output.stderr);
    let report = machine.check().expect_incomplete();
    assert!(report.has_error_at(&missing), "{:#?}", report.output);
    write(&missing, "x");
    let report = machine.check();
    assert!(
        report.change_at(&missing).is_some_and(|change| change.kind() == "added"),
        "{:#?}",
        report.output
    );
}

#[test]
fn s31_nothing_at_all_is_never_clean() {
    let machine = Machine::new();
    machine.configure(&watch("tree", &[&machine.at("missing")], ""));
    machine.waxseal(["init"]);
    let output = machine.waxseal(["--json", "check"]).expect_code(2);
    assert!(!output.text().contains("\"intact\""), "{output:?}");
}

#[test]
fn s31_an_optional_path_may_be_missing() {
    let machine = Machine::new();
    write(machine.at("there/file"), "x");
    let there = watch("there", &[&machine.at("there")], "");
    let missing = watch("missing", &[&machine.at("missing")], "optional = true");
    machine.configure(&format!("{there}{missing}"));
    machine.init();
    machine.check().expect_intact();
}

#[test]
fn s31_a_glob_that_matches_nothing_is_never_clean() {
    let machine = Machine::new();
    write(machine.at("there/file"), "x");
    machine.configure(&watch("tree", &[&machine.at("there"), &machine.at("none*here")], ""));
    machine.init();
    machine.check().expect_incomplete();
}

#[test]
fn s32_a_path_is_not_the_beginning_of_a_name() {
    let machine = Machine::new();
    write(machine.at("t/file"), "x");
    write(machine.at("tgt/file"), "x");
    machine.configure(&watch("t", &[&machine.at("t")], ""));
    machine.init();
    append(machine.at("tgt/file"), b"y");
    write(machine.at("t-new"), "x");
    machine.check().expect_intact();
    append(machine.at("t/file"), b"y");
    assert_eq!(changed(&machine, &machine.check()), set(&["t/file"]));
}

/// The tree of the table below.
const FILES: &[&str] = &[
    "a.log",
    "a.txt",
    "build/out.o",
    "build/keep/me.txt",
    "cache/x",
    "sub/cache/y",
    "sub/a.log",
    "sub/deep/build/out.o",
    "sub/deep/b.txt",
];

/// Keys of the watch, and the files of which a change must then not be reported.
const EXCLUDES: &[(&str, &[&str])] = &[
    ("", &[]),
    ("exclude = [\"a.log\"]", &["a.log", "sub/a.log"]),
    ("exclude = [\"/a.log\"]", &["a.log"]),
    ("exclude = [\"*.log\"]", &["a.log", "sub/a.log"]),
    ("exclude = [\"sub/*.log\"]", &["sub/a.log"]),
    ("exclude = [\"build\"]", &["build/out.o", "build/keep/me.txt", "sub/deep/build/out.o"]),
    ("exclude = [\"/build\"]", &["build/out.o", "build/keep/me.txt"]),
    ("exclude = [\"build/\"]", &["build/out.o", "build/keep/me.txt", "sub/deep/build/out.o"]),
    ("exclude = [\"build/**\"]", &["build/out.o", "build/keep/me.txt"]),
    ("exclude = [\"**/build/**\"]", &["build/out.o", "build/keep/me.txt", "sub/deep/build/out.o"]),
    ("exclude = [\"**/cache/**\"]", &["cache/x", "sub/cache/y"]),
    ("exclude = [\"**/cache\"]", &["cache/x", "sub/cache/y"]),
    ("exclude = [\"a.txt/\"]", &[]),
    ("exclude = [\"*.log\", \"!sub/a.log\"]", &["a.log"]),
    ("exclude = [\"/build/*\", \"!/build/keep\"]", &["build/out.o"]),
    ("exclude = [\"/build\", \"!/build/keep\"]", &["build/out.o"]),
    ("exclude = [\"sub\", \"!sub/deep\"]", &["sub/cache/y", "sub/a.log"]),
    ("exclude = [\"?.txt\"]", &["a.txt", "sub/deep/b.txt"]),
    ("exclude = [\"[b-z].txt\"]", &["sub/deep/b.txt"]),
    (
        "include = [\"*.txt\"]",
        &["a.log", "build/out.o", "cache/x", "sub/cache/y", "sub/a.log", "sub/deep/build/out.o"],
    ),
    (
        "include = [\"*.txt\"]\nexclude = [\"build\"]",
        &[
            "a.log",
            "build/out.o",
            "build/keep/me.txt",
            "cache/x",
            "sub/cache/y",
            "sub/a.log",
            "sub/deep/build/out.o",
        ],
    ),
    (
        "recursion = 1",
        &[
            "build/out.o",
            "build/keep/me.txt",
            "cache/x",
            "sub/cache/y",
            "sub/a.log",
            "sub/deep/build/out.o",
            "sub/deep/b.txt",
        ],
    ),
    ("recursion = 2", &["build/keep/me.txt", "sub/cache/y", "sub/deep/build/out.o", "sub/deep/b.txt"]),
];

#[test]
fn s33_excludes_includes_and_exceptions() {
    let mut wrong = Vec::new();
    for (rule, quiet) in EXCLUDES {
        let machine = Machine::new();
        for file in FILES {
            write(machine.at(file), "old");
        }
        machine.watch_tree(rule);
        machine.init();
        for file in FILES {
            append(machine.at(file), b"x");
        }
        let quiet = set(quiet);
        let expected: BTreeSet<String> = set(FILES).difference(&quiet).cloned().collect();
        for report in [machine.check(), machine.check_quick()] {
            let found = changed(&machine, &report);
            if found != expected {
                let missing: Vec<_> = expected.difference(&found).collect();
                let extra: Vec<_> = found.difference(&expected).collect();
                wrong.push(format!("{rule:?}: not reported {missing:?}, reported all the same {extra:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn s34_the_deepest_path_decides_and_reports_once() {
    let machine = Machine::new();
    for file in ["file", "in/file", "in/deeper/file"] {
        write(machine.at(file), "old");
    }
    let outer = watch("outer", &[machine.tree()], "severity = \"low\"");
    let inner = watch("inner", &[&machine.at("in")], "severity = \"high\"");
    // In whichever order they stand.
    machine.configure(&format!("{inner}{outer}"));
    machine.init();
    for file in ["file", "in/file", "in/deeper/file"] {
        append(machine.at(file), b"x");
    }
    let report = machine.check().expect_changed();
    assert_eq!(report.changes.len(), 3, "{:#?}", report.output);
    for (file, watch, severity) in
        [("file", "outer", "low"), ("in/file", "inner", "high"), ("in/deeper/file", "inner", "high")]
    {
        let change = report.change_at(machine.at(file)).unwrap();
        assert_eq!((change.0["watch"].as_str().unwrap(), change.severity()), (watch, severity), "{file}");
    }
}

#[test]
fn s34_two_watches_of_one_path_are_refused() {
    let machine = Machine::new();
    write(machine.at("file"), "x");
    let one = watch("one", &[machine.tree()], "");
    let two = watch("two", &[machine.tree()], "severity = \"low\"");
    machine.configure(&format!("{one}{two}"));
    let output = machine.waxseal(["config", "check"]).expect_code(2);
    assert!(output.stderr.contains("one") && output.stderr.contains("two"), "{}", output.stderr);
}

#[test]
fn s35_recursion_none_one_level_and_a_stop_inside() {
    let machine = Machine::new();
    for file in ["file", "a/file", "a/b/file", "a/b/c/file"] {
        write(machine.at(file), "old");
    }
    let cases: &[(&str, &[&str])] = &[
        ("recursion = 0", &[]),
        ("recursion = 1", &["file"]),
        ("recursion = 3", &["file", "a/file", "a/b/file"]),
        ("recursion = \"unlimited\"", &["file", "a/file", "a/b/file", "a/b/c/file"]),
        ("exclude = [\"/a/b\"]", &["file", "a/file"]),
    ];
    for (rule, expected) in cases {
        let machine = Machine::with_tree(machine.tree());
        machine.watch_tree(rule);
        machine.init();
        for file in ["file", "a/file", "a/b/file", "a/b/c/file"] {
            append(machine.at(file), b"x");
        }
        assert_eq!(changed(&machine, &machine.check()), set(expected), "{rule}");
    }
    // The path itself is covered at every depth.
    let alone = Machine::with_tree(machine.tree());
    alone.watch_tree("recursion = 0");
    alone.init();
    chmod(machine.tree(), 0o711);
    let report = alone.check().expect_changed();
    assert_eq!(mismatch(machine.tree(), &[Expect::metadata("").fields(&["mode"])], &report.changes), None);
}

#[test]
fn s36_coverage_that_a_config_takes_away_is_named() {
    let machine = Machine::new();
    write(machine.at("a/file"), "x");
    write(machine.at("b/file"), "x");
    let a = watch("a", &[&machine.at("a")], "");
    let b = watch("b", &[&machine.at("b")], "");
    machine.configure(&format!("{a}{b}"));
    machine.init();
    machine.check().expect_intact();
    machine.configure(&a);
    let report = machine.check().expect_incomplete();
    assert!(report.has_error_at(machine.at("b")), "{:#?}", report.output);
    assert!(report.changes.is_empty(), "no longer covered is not removed: {:#?}", report.changes);
    machine.configure(&format!("{a}{b}"));
    machine.check().expect_intact();
}

#[test]
fn s36_an_exclude_that_hides_sealed_files_is_named() {
    let machine = Machine::new();
    write(machine.at("kept"), "x");
    write(machine.at("hidden"), "x");
    machine.watch_tree("");
    machine.init();
    machine.watch_tree("exclude = [\"hidden\"]");
    append(machine.at("hidden"), b"y");
    let report = machine.check().expect_incomplete();
    assert!(report.errors.iter().any(|error| error.to_string().contains("hidden")), "{:#?}", report.output);
}

/// Fewer attributes, a `change` that lets more pass, also under another name or by a watch in between: none of that
/// may end in "intact". More attributes, stricter rules and other severities are no loss.
#[test]
fn s36_rules_that_let_more_pass_than_was_sealed_are_named() {
    let machine = Machine::new();
    write(machine.at("file"), "x");
    write(machine.at("sub/file"), "x");
    let tree = machine.tree();
    let sub = machine.at("sub");
    let all = |name: &str, rule: &str| watch(name, &[tree], rule);
    let sealed = "attributes = \"security\"\nseverity = \"high\"";
    let narrower = [
        (all("tree", "attributes = \"content\""), "mode"),
        (all("renamed", "attributes = \"content\""), "mode"),
        (all("tree", "attributes = \"security\"\nchange = \"append-only\""), "grow"),
        (all("renamed", "attributes = \"security\"\nchange = \"additions-allowed\""), "added"),
        (format!("{}{}", all("tree", sealed), watch("part", &[&sub], "attributes = [\"content\"]")), "mode"),
    ];
    let equal = [
        all("tree", "attributes = \"standard\""),
        all("renamed", sealed),
        all("tree", "attributes = \"security\"\nseverity = \"info\""),
    ];
    machine.watch_tree(sealed);
    machine.init();
    for (config, word) in narrower {
        machine.configure(&config);
        for report in [machine.check(), machine.check_quick()] {
            let report = report.expect_incomplete();
            let said: Vec<_> = report.errors.iter().filter_map(|error| error["error"].as_str()).collect();
            assert!(said.len() == 1 && said[0].contains(word), "{config}\n{said:?}");
        }
        let mut watching = machine.watch();
        let errors =
            |watching: &Watching| watching.seen().iter().filter(|line| line["type"] == "error").count();
        assert_eq!(errors(&watching), 1, "{config}\n{:#?}", watching.seen());
        // And it is not said again with every event.
        // Of other content: a log that is gone and whose content is elsewhere has rotated.
        write(machine.at("new"), "of its own");
        fs::remove_file(machine.at("file")).unwrap();
        watching.wait_for_changes(|changes| mismatch(tree, &[Expect::removed("file")], &removals(changes)));
        assert_eq!(errors(&watching), 1, "{config}\n{:#?}", watching.seen());
        watching.stop();
        fs::remove_file(machine.at("new")).unwrap();
        // The same file again, as far as the watch counts.
        write(machine.at("file"), "x");
    }
    for config in equal {
        machine.configure(&config);
        let report = machine.check();
        assert!(report.errors.is_empty(), "{config}\n{:#?}", report.output);
    }
}

/// What was noted of logs is not taken for what was noted of additions.
#[test]
fn a_watch_of_logs_that_becomes_one_of_additions_loses_nothing() {
    let machine = Machine::new();
    write(machine.at("log"), "one\n");
    machine.watch_tree("change = \"append-only\"");
    machine.init();
    append(machine.at("log"), b"two\n");
    machine.check().expect_intact();
    machine.watch_tree("change = \"additions-allowed\"");
    let report = machine.check();
    let expected = [Expect::modified("log")];
    assert_eq!(mismatch(machine.tree(), &expected, &report.changes), None, "{:#?}", report.output);
}

fn removals(changes: &[Change]) -> Vec<Change> {
    changes.iter().filter(|change| change.kind() == "removed").cloned().collect()
}

/// A config in which line 5 or later is wrong, and a word that the message must have.
const MALFORMED: &[(&str, &str)] = &[
    ("severity = high", "severity"),
    ("severity = \"terrible\"", "terrible"),
    ("severity = 3", "severity"),
    ("severty = \"high\"", "severity"),
    ("attributes = \"everything\"", "everything"),
    ("attributes = [\"content\", \"colour\"]", "colour"),
    ("change = \"grow\"", "grow"),
    ("exclude = [\"a[\"]", "a["),
    ("exclude = \"*.log", "exclude"),
    ("exclude = [\"*.log\"", "exclude"),
    ("exclude = \"*.log\"", "exclude"),
    ("recursion = -1", "recursion"),
    ("recursion = \"some\"", "some"),
    ("keep = { content = true, max_file = \"8 parsecs\" }", "parsecs"),
    ("keep = { contents = true }", "content"),
    ("restore = \"always\"", "always"),
    ("name = \"again\"", "name"),
    ("[scan]\nthreads = \"many\"", "threads"),
    ("[scan]\nhashes = [\"md4\"]", "md4"),
    ("[scam]\nthreads = 2", "scan"),
    ("[[watch]]\nname = \"no path\"", "paths"),
    ("[[watch]]\nname = \"relative\"\npaths = [\"etc\"]", "etc"),
    ("[[watch]]\nname = \"empty\"\npaths = []", "paths"),
    ("[[watch]]\nname = \"tree\"\npaths = [\"/etc\"]", "tree"),
    ("[[watch]\nname = \"bracket\"", "watch"),
    ("\u{0}", ""),
];

#[test]
fn s37_malformed_configs_are_refused_with_their_line() {
    let machine = Machine::new();
    write(machine.at("file"), "x");
    machine.watch_tree("");
    machine.init();
    let mut wrong = Vec::new();
    for (rule, word) in MALFORMED {
        machine.watch_tree(&format!("\n{rule}"));
        for command in [&["config", "check"][..], &["check"]] {
            let output = machine.waxseal(command);
            let says = &output.stderr;
            if output.code != Some(2) {
                wrong.push(format!("{rule:?}: {command:?} ends with {:?}", output.code));
            } else if !says.contains(word) || !says.contains("waxseal.toml") || !names_a_line(says) {
                wrong.push(format!("{rule:?}: {command:?} says {says:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // The sealed state did not suffer.
    machine.watch_tree("");
    machine.check().expect_intact();
}

/// Whether a message names a line after the file, as in `waxseal.toml:5:8`.
fn names_a_line(message: &str) -> bool {
    message
        .split("waxseal.toml:")
        .skip(1)
        .any(|rest| rest.starts_with(|c: char| c.is_ascii_digit() && c != '0'))
}

#[test]
fn s37_a_config_that_is_missing_or_not_readable_as_one() {
    let machine = Machine::new();
    write(machine.at("file"), "x");
    machine.watch_tree("");
    machine.init();
    fs::remove_file(machine.config_file()).unwrap();
    let output = machine.waxseal(["check"]).expect_code(2);
    assert!(output.stderr.contains("waxseal.toml"), "{}", output.stderr);
    fs::create_dir(machine.config_file()).unwrap();
    machine.waxseal(["check"]).expect_code(2);
    fs::remove_dir(machine.config_file()).unwrap();
    make_fifo(machine.config_file());
    machine.waxseal(["check"]).expect_code(2);
    fs::remove_file(machine.config_file()).unwrap();
    fs::write(machine.config_file(), b"[[watch]]\nname = \"\xff\"\n").unwrap();
    machine.waxseal(["check"]).expect_code(2);
}

#[test]
fn s38_a_watch_that_is_new_brings_its_entries_as_added() {
    let machine = Machine::new();
    for file in ["one/file", "two/file", "three/file"] {
        write(machine.at(file), "x");
    }
    let one = watch("one", &[&machine.at("one")], "");
    let two = watch("two", &[&machine.at("two")], "");
    let three = watch("three", &[&machine.at("three")], "severity = \"high\"");
    machine.configure(&format!("{one}{two}"));
    machine.init();
    machine.configure(&format!("{one}{two}{three}"));
    let report = machine.check().expect_changed();
    let expected = [Expect::added("three").severity("info"), Expect::added("three/file").severity("info")];
    assert_eq!(mismatch(machine.tree(), &expected, &report.changes), None);
    // What was sealed before is still compared.
    append(machine.at("one/file"), b"y");
    let report = machine.check().expect_changed();
    assert!(report.change_at(machine.at("one/file")).is_some_and(|change| change.kind() == "modified"));
}

#[test]
fn s39_a_hash_asked_for_later_does_not_forgive_what_changed_before() {
    let machine = Machine::new();
    write(machine.at("touched"), "0123456789");
    write(machine.at("untouched"), "0123456789");
    machine.watch_tree("");
    machine.init();
    overwrite_unseen(machine.at("touched"));
    machine.watch_tree("[scan]\nhashes = [\"sha256\", \"blake3\"]");
    let report = machine.check().expect_changed();
    let [change] = &report.changes[..] else { panic!("{:#?}", report.output) };
    assert_eq!(
        (change.kind(), change.path()),
        ("modified", machine.at("touched").into_os_string().into_encoded_bytes())
    );
}

#[test]
fn s40_a_check_of_one_path_reports_that_path() {
    let machine = Machine::new();
    for file in ["a/file", "a/deep/file", "ab/file", "b/file"] {
        write(machine.at(file), "old");
    }
    machine.watch_tree("");
    machine.init();
    for file in ["a/file", "a/deep/file", "ab/file", "b/file"] {
        append(machine.at(file), b"x");
    }
    let check = |paths: &[PathBuf]| {
        let mut arguments = vec!["--json".into(), "check".into()];
        arguments.extend(paths.iter().map(|path| path.clone().into_os_string()));
        let output = machine.waxseal(arguments).expect_code(1);
        let paths = output.lines().into_iter().filter(|line| line["type"] == "change");
        let relative = |path: String| Path::new(&path).strip_prefix(machine.tree()).unwrap().to_owned();
        paths.map(|line| relative(line["path"].as_str().unwrap().to_owned())).collect::<BTreeSet<_>>()
    };
    let paths = |names: &[&str]| names.iter().map(PathBuf::from).collect::<BTreeSet<_>>();
    assert_eq!(check(&[machine.at("a")]), paths(&["a/file", "a/deep/file"]));
    assert_eq!(check(&[machine.at("a/deep/file")]), paths(&["a/deep/file"]));
    assert_eq!(check(&[machine.at("a/deep"), machine.at("b")]), paths(&["a/deep/file", "b/file"]));
    machine.waxseal(["check".into(), machine.home().join("elsewhere").into_os_string()]).expect_code(2);
}

/// A file that came into the part, or went out of it, has moved, whichever check looks first; and its change keeps its
/// id and its count, whichever looks next.
#[test]
fn s40_a_check_of_a_part_says_of_moves_what_a_check_of_everything_says() {
    let machine = Machine::new();
    for file in ["a/file", "a/other", "b/stays", "c/x/deep", "c/x/deeper/file"] {
        write(machine.at(file), file);
    }
    machine.watch_tree("");
    machine.init();
    let part = |name: &str| {
        let arguments = ["--json".into(), "check".into(), machine.at(name).into_os_string()];
        Report::new(machine.waxseal(arguments), false).expect_changed()
    };
    let ids = |report: &Report| -> BTreeSet<(String, u64)> {
        report.changes.iter().map(|c| (c.id().to_owned(), c.0["count"].as_u64().unwrap())).collect()
    };
    let from = |name: &str| machine.at(name).to_str().unwrap().to_owned();
    fs::rename(machine.at("a/file"), machine.at("b/file")).unwrap();
    fs::rename(machine.at("c/x"), machine.at("b/x")).unwrap();
    let expected = [
        Expect::moved("b/file").key("from", from("a/file")),
        Expect::moved("b/x").key("from", from("c/x")),
        Expect::moved("b/x/deep").key("from", from("c/x/deep")),
        Expect::moved("b/x/deeper").key("from", from("c/x/deeper")),
        Expect::moved("b/x/deeper/file").key("from", from("c/x/deeper/file")),
    ];
    // First where it went to, then everything, then where it came from: it is there that it is missing.
    let first = part("b");
    assert_eq!(mismatch(machine.tree(), &expected, &first.changes), None, "{:#?}", first.output);
    let all = machine.check().expect_changed();
    assert_eq!(mismatch(machine.tree(), &expected, &all.changes), None, "{:#?}", all.output);
    assert_eq!(ids(&first), ids(&all));
    let left = part("a");
    assert_eq!(mismatch(machine.tree(), &expected[..1], &left.changes), None, "{:#?}", left.output);
    let again = part("b");
    assert_eq!(ids(&again), ids(&all));
    // A part alone cannot know where what is missing went: another one tells, and then both agree.
    fs::rename(machine.at("a/other"), machine.at("b/other")).unwrap();
    let missing = part("a");
    let expected = [Expect::moved("b/file"), Expect::removed("a/other")];
    assert_eq!(mismatch(machine.tree(), &expected, &missing.changes), None, "{:#?}", missing.output);
    assert!(part("b").change_at(machine.at("b/other")).is_some_and(|change| change.kind() == "moved"));
    let expected = [Expect::moved("b/file"), Expect::moved("b/other")];
    assert_eq!(mismatch(machine.tree(), &expected, &part("a").changes), None);
    // And back.
    fs::rename(machine.at("b/other"), machine.at("a/other")).unwrap();
    fs::rename(machine.at("b/file"), machine.at("a/file")).unwrap();
    assert_eq!(machine.check().expect_changed().changes.len(), 4);
}

/// What happens to a file that has moved, seen by an event of it alone, is told as of one that has moved.
#[test]
fn s40_a_moved_file_that_changes_again_stays_a_moved_one() {
    let machine = Machine::new();
    write(machine.at("a/file"), "x");
    fs::create_dir(machine.at("b")).unwrap();
    machine.watch_tree("");
    machine.init();
    let mut watching = machine.watch();
    fs::rename(machine.at("a/file"), machine.at("b/file")).unwrap();
    watching.wait_for_changes(|changes| mismatch(machine.tree(), &[Expect::moved("b/file")], changes));
    chmod(machine.at("b/file"), 0o600);
    let expected = [Expect::moved("b/file").fields(&["mode"]).key("count", 2)];
    watching.wait_for_changes(|changes| mismatch(machine.tree(), &expected, changes));
    let report = machine.check();
    assert_eq!(mismatch(machine.tree(), &expected, &report.changes), None, "{:#?}", report.output);
    // The old name comes and goes: that is no second change.
    write(machine.at("a/file"), "another");
    watching.wait_for_changes(|changes| {
        let there = changes.iter().any(|change| change.kind() == "modified");
        (!there).then(|| "the sealed name does not hold another file yet".to_owned())
    });
    fs::remove_file(machine.at("a/file")).unwrap();
    let report = machine.check();
    let expected = [Expect::moved("b/file").fields(&["mode"])];
    assert_eq!(mismatch(machine.tree(), &expected, &report.changes), None, "{:#?}", report.output);
    watching.stop();
}

#[test]
fn s40_changes_are_listed_by_severity() {
    let machine = Machine::new();
    write(machine.at("low/file"), "old");
    write(machine.at("high/file"), "old");
    let low = watch("low", &[&machine.at("low")], "severity = \"low\"");
    let high = watch("high", &[&machine.at("high")], "severity = \"high\"");
    machine.configure(&format!("{low}{high}"));
    machine.init();
    append(machine.at("low/file"), b"x");
    append(machine.at("high/file"), b"x");
    machine.check().expect_changed();
    for (severity, count) in [("info", 2), ("low", 2), ("medium", 1), ("high", 1), ("critical", 0)] {
        let output = machine.waxseal(["--json", "changes", "--severity", severity]);
        assert_eq!(output.code, Some(i32::from(count > 0)), "{output:?}");
        let changes = output.lines().iter().filter(|line| line["type"] == "change").count();
        assert_eq!(changes, count, "{severity}: {output:?}");
    }
}

#[test]
fn s41_a_mount_over_a_watched_directory_is_one_thing() {
    let machine = Machine::new();
    for number in 0..50 {
        write(machine.at(&format!("sub/{number}")), "x");
    }
    write(machine.at("beside"), "x");
    machine.watch_tree("");
    machine.init();
    let over = machine.at("sub");
    if let Err(why) = tools::try_run("mount", ["-t", "tmpfs", "tmpfs", over.to_str().unwrap()]) {
        return skip(&why);
    }
    let report = machine.waxseal(["--json", "check"]);
    tools::run("umount", [&over]);
    let report = report.expect_code(2);
    let lines = report.lines();
    let errors: Vec<_> = lines.iter().filter(|line| line["type"] == "error").collect();
    assert!(errors.iter().any(|error| error["path"] == over.to_str().unwrap()), "{report:?}");
    let changes = lines.iter().filter(|line| line["type"] == "change").count();
    assert!(changes <= 1, "{changes} changes for one mount: {report:?}");
    machine.check().expect_intact();
}

#[test]
fn s42_an_unmounted_filesystem_is_not_everything_removed() {
    let mounted = match Mounted::new(Fs::Ext4) {
        Ok(mounted) => mounted,
        Err(why) => return skip(&why),
    };
    let machine = Machine::new();
    write(machine.at("beside"), "x");
    for number in 0..50 {
        write(mounted.root().join(format!("data/{number}")), "x");
    }
    let [tree, data] = [machine.tree(), mounted.root()].map(|path| toml_string(path.to_str().unwrap()));
    machine.configure(&format!(
        "[[watch]]\nname = \"both\"\npaths = [{tree}, {data}]\ncross_filesystems = true\n"
    ));
    machine.init();
    machine.check().expect_intact();
    tools::run("umount", [mounted.root()]);
    let report = machine.check();
    tools::run(
        "mount",
        ["-o".as_ref(), "loop".as_ref(), mounted.image().as_os_str(), mounted.root().as_os_str()],
    );
    let report = report.expect_incomplete();
    assert!(report.has_error_at(mounted.root()), "{:#?}", report.output);
    assert!(report.changes.len() <= 1, "{:#?}", report.changes);
    machine.check().expect_intact();
}
