//! The monitor: what it says when it begins, what it sees, and what it leaves behind.

#![allow(clippy::disallowed_methods, reason = "tests make, change and remove their own files")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on ends")]

use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;
use waxseal_scenarios::files::*;
use waxseal_scenarios::{
    Change, Expect, Fs, Machine, Story, Watching, for_each_filesystem, is_root, mismatch, skip, tools, watch,
};

#[test]
fn ready_says_by_what_and_how_much_is_watched() {
    let machine = Machine::new();
    write(machine.at("a/file"), "x");
    machine.watch_tree("");
    machine.init();
    let watching = machine.watch();
    let backend = watching.ready["backend"].as_str().unwrap();
    assert!(["fanotify", "inotify"].contains(&backend), "{backend}");
    assert!(watching.ready["watching"].as_u64().unwrap() > 0);
    watching.stop();
}

#[test]
fn files_in_directories_that_have_just_been_made() {
    Story {
        rule: "",
        needs: &[],
        root: false,
        before: |place| write(place.at("file"), "x"),
        then: |place| {
            for number in 0..50 {
                write(place.at(&format!("new-{number}/deep/er/file")), number.to_string());
            }
        },
        expect: |_| {
            let below = |number: u32| {
                ["", "/deep", "/deep/er", "/deep/er/file"]
                    .map(|name| Expect::added(format!("new-{number}{name}")))
            };
            (0..50).flat_map(below).collect()
        },
    }
    .on(Fs::ALL);
}

#[test]
fn what_changed_while_nobody_watched_is_found_at_the_start() {
    let machine = Machine::new();
    write(machine.at("changed"), "old");
    write(machine.at("gone"), "old");
    machine.watch_tree("");
    machine.init();
    append(machine.at("changed"), b"x");
    fs::remove_file(machine.at("gone")).unwrap();
    write(machine.at("new"), "unlike the others");
    let mut watching = machine.watch();
    let expected = [Expect::modified("changed"), Expect::removed("gone"), Expect::added("new")];
    watching.wait_for_changes(|changes| mismatch(machine.tree(), &expected, changes));
    watching.stop();
}

#[test]
fn a_change_that_is_undone_is_resolved() {
    let machine = Machine::new();
    write(machine.at("file"), "x");
    chmod(machine.at("file"), 0o644);
    machine.watch_tree("attributes = [\"content\", \"mode\"]");
    machine.init();
    let mut watching = machine.watch();
    chmod(machine.at("file"), 0o600);
    let change = watching.next_matching(|line| line["type"] == "change");
    chmod(machine.at("file"), 0o644);
    let resolved = watching.next_matching(|line| line["type"] == "resolved");
    assert_eq!(resolved["id"], change["id"]);
    assert_eq!(resolved["path"], change["path"]);
    watching.stop();
    machine.check().expect_intact();
}

#[test]
fn a_path_that_changes_again_keeps_its_id() {
    let machine = Machine::new();
    write(machine.at("file"), "x");
    machine.watch_tree("");
    machine.init();
    let mut watching = machine.watch();
    let size =
        |size: u64| move |line: &serde_json::Value| line["type"] == "change" && line["after"]["size"] == size;
    append(machine.at("file"), b"y");
    let first = watching.next_matching(size(2));
    append(machine.at("file"), b"z");
    let second = watching.next_matching(size(3));
    assert_eq!(first["id"], second["id"]);
    assert!(second["count"].as_u64() > first["count"].as_u64(), "{first} {second}");
    watching.stop();
    let report = machine.check().expect_changed();
    assert_eq!(report.changes[0].0["id"], first["id"]);
}

#[test]
fn what_the_monitor_saw_is_on_record_afterwards() {
    let machine = Machine::new();
    write(machine.at("file"), "x");
    machine.watch_tree("");
    machine.init();
    let mut watching = machine.watch();
    append(machine.at("file"), b"y");
    let change = watching.next_matching(|line| line["type"] == "change");
    watching.stop();
    let output = machine.waxseal(["--json", "changes"]).expect_code(1);
    assert!(output.lines().iter().any(|line| line["id"] == change["id"]), "{output:?}");
}

#[test]
fn one_command_seals_and_watches() {
    let machine = Machine::new();
    write(machine.at("file"), "x");
    let mut watching = machine.watch_paths(&[machine.tree()]);
    append(machine.at("file"), b"y");
    let change = watching.next_matching(|line| line["type"] == "change");
    assert_eq!(change["path"], machine.at("file").to_str().unwrap());
    watching.stop();
    machine.check().expect_changed();
}

#[test]
fn what_is_moved_in_is_added_and_what_is_moved_out_is_removed() {
    Story {
        rule: "",
        needs: &[],
        root: false,
        before: |place| {
            write(place.at("out/deep/file"), "content that leaves");
            write(place.at("out-file"), "another that leaves");
            write(place.out("in/deep/file"), "content that comes");
            write(place.out("in-file"), "another that comes");
        },
        then: |place| {
            fs::rename(place.at("out"), place.out("was-out")).unwrap();
            fs::rename(place.at("out-file"), place.out("was-out-file")).unwrap();
            fs::rename(place.out("in"), place.at("in")).unwrap();
            fs::rename(place.out("in-file"), place.at("in-file")).unwrap();
        },
        expect: |_| {
            let gone = ["out", "out/deep", "out/deep/file", "out-file"].map(Expect::removed);
            let come = ["in", "in/deep", "in/deep/file", "in-file"].map(Expect::added);
            gone.into_iter().chain(come).collect()
        },
    }
    .on_all();
}

/// A monitor that has told of a file and a directory that they moved.
fn moved() -> (Machine, Watching) {
    let machine = Machine::new();
    write(machine.at("file"), "it moves");
    write(machine.at("dir/inner"), "it moves as well");
    machine.watch_tree("");
    machine.init();
    let mut watching = machine.watch();
    fs::rename(machine.at("file"), machine.at("moved")).unwrap();
    fs::rename(machine.at("dir"), machine.at("moved-dir")).unwrap();
    let moved = ["moved", "moved-dir", "moved-dir/inner"].map(Expect::moved);
    watching.wait_for_changes(|changes| mismatch(machine.tree(), &moved, changes));
    (machine, watching)
}

/// One change stands for two names: when something is found at the new one, the old one is not forgotten.
#[test]
fn a_file_that_was_moved_and_then_changed_is_missing_where_it_was() {
    let (machine, mut watching) = moved();
    append(machine.at("moved"), b"y");
    append(machine.at("moved-dir/inner"), b"y");
    let changed = [
        Expect::added("moved"),
        Expect::removed("file"),
        Expect::moved("moved-dir"),
        Expect::added("moved-dir/inner"),
        Expect::removed("dir/inner"),
    ];
    watching.wait_for_changes(|changes| mismatch(machine.tree(), &changed, changes));
    // And when the new name is gone, nothing but the loss of the old one is left.
    fs::remove_file(machine.at("moved")).unwrap();
    fs::remove_dir_all(machine.at("moved-dir")).unwrap();
    let gone = ["file", "dir", "dir/inner"].map(Expect::removed);
    watching.wait_for_changes(|changes| mismatch(machine.tree(), &gone, changes));
    watching.stop();
}

/// When something has the old name again, nothing has moved from there: as a check of everything says.
#[test]
fn a_name_that_is_used_again_is_not_where_something_came_from() {
    let (machine, watching) = moved();
    write(machine.at("file"), "another");
    // Just as it was, and yet another one.
    tools::run("cp", ["-a".as_ref(), machine.at("moved-dir").as_os_str(), machine.at("dir").as_os_str()]);
    machine.sync();
    let expected = [
        Expect::modified("file").key("from", Value::Null),
        Expect::added("moved").key("from", Value::Null),
        Expect::added("moved-dir"),
        Expect::added("moved-dir/inner").key("from", Value::Null),
    ];
    assert_eq!(mismatch(machine.tree(), &expected, &machine.recorded()), None);
    watching.stop();
    assert_eq!(mismatch(machine.tree(), &expected, &machine.check().changes), None);
}

/// What happens below a directory that has just come in is seen as well.
#[test]
fn a_directory_that_was_moved_in_is_watched() {
    let machine = Machine::new();
    write(machine.home().join("in/deep/file"), "x");
    machine.watch_tree("");
    machine.init();
    for without_marks in [false, true] {
        if without_marks && !(is_root() && tools::has("setpriv")) {
            continue;
        }
        let mut watching = if without_marks { machine.watch_without_marks() } else { machine.watch() };
        fs::rename(machine.home().join("in"), machine.at("in")).unwrap();
        let added = ["in", "in/deep", "in/deep/file"].map(Expect::added);
        watching.wait_for_changes(|changes| mismatch(machine.tree(), &added, changes));
        append(machine.at("in/deep/file"), b"y");
        write(machine.at("in/deep/new"), "unlike the others");
        let mut expected = added.to_vec();
        expected[2] = Expect::added("in/deep/file").after("size", 2);
        expected.push(Expect::added("in/deep/new"));
        watching.wait_for_changes(|changes| mismatch(machine.tree(), &expected, changes));
        // Out again, and back to how it was sealed.
        fs::remove_file(machine.at("in/deep/new")).unwrap();
        fs::write(machine.at("in/deep/file"), "x").unwrap();
        fs::rename(machine.at("in"), machine.home().join("in")).unwrap();
        watching.wait_for_changes(|changes| mismatch(machine.tree(), &[], changes));
        watching.stop();
        machine.check().expect_intact();
    }
}

#[test]
fn a_watched_path_that_vanishes_and_comes_back() {
    let machine = Machine::new();
    write(machine.at("a/file"), "x");
    set_mtime(machine.at("a/file"), 1_700_000_000, 0);
    machine.configure(&watch("a", &[&machine.at("a")], ""));
    machine.init();
    for without_marks in [false, true] {
        if without_marks && !(is_root() && tools::has("setpriv")) {
            continue;
        }
        let mut watching = if without_marks { machine.watch_without_marks() } else { machine.watch() };
        fs::rename(machine.at("a"), machine.at("elsewhere")).unwrap();
        let gone = ["a", "a/file"].map(Expect::removed);
        watching.wait_for_changes(|changes| mismatch(machine.tree(), &gone, changes));
        fs::rename(machine.at("elsewhere"), machine.at("a")).unwrap();
        watching.wait_for_changes(|changes| mismatch(machine.tree(), &[], changes));
        // The one that came back is watched.
        append(machine.at("a/file"), b"y");
        let changed = [Expect::modified("a/file")];
        watching.wait_for_changes(|changes| mismatch(machine.tree(), &changed, changes));
        fs::write(machine.at("a/file"), "x").unwrap();
        set_mtime(machine.at("a/file"), 1_700_000_000, 0);
        watching.wait_for_changes(|changes| mismatch(machine.tree(), &[], changes));
        watching.stop();
    }
}

#[test]
fn a_watched_path_replaced_by_a_link_is_retyped_and_not_followed() {
    let machine = Machine::new();
    write(machine.at("a/file"), "x");
    write(machine.at("copy/file"), "x");
    machine.configure(&watch("a", &[&machine.at("a")], ""));
    machine.init();
    let mut watching = machine.watch();
    fs::rename(machine.at("a"), machine.at("away")).unwrap();
    std::os::unix::fs::symlink(machine.at("copy"), machine.at("a")).unwrap();
    let expected = [Expect::retyped("a").after("type", "symlink"), Expect::removed("a/file")];
    watching.wait_for_changes(|changes| mismatch(machine.tree(), &expected, changes));
    watching.stop();
    let report = machine.check().expect_changed();
    assert_eq!(mismatch(machine.tree(), &expected, &report.changes), None);
}

#[test]
fn an_optional_path_that_appears_is_watched_from_then_on() {
    let machine = Machine::new();
    write(machine.at("there/file"), "x");
    let there = watch("there", &[&machine.at("there")], "");
    let later = watch("later", &[&machine.at("later/on")], "optional = true");
    machine.configure(&format!("{there}{later}"));
    machine.init();
    let mut watching = machine.watch();
    write(machine.at("later/on/file"), "x");
    let expected = ["later/on", "later/on/file"].map(Expect::added);
    watching.wait_for_changes(|changes| mismatch(machine.tree(), &expected, changes));
    append(machine.at("later/on/file"), b"y");
    let expected = [Expect::added("later/on"), Expect::added("later/on/file").after("size", 2)];
    watching.wait_for_changes(|changes| mismatch(machine.tree(), &expected, changes));
    watching.stop();
}

#[test]
fn s41_a_mount_over_a_watched_directory_is_told_at_once() {
    let machine = Machine::new();
    for number in 0..50 {
        write(machine.at(&format!("sub/{number}")), "x");
    }
    machine.watch_tree("");
    machine.init();
    let mut watching = machine.watch();
    let over = machine.at("sub");
    if let Err(why) = tools::try_run("mount", ["-t", "tmpfs", "tmpfs", over.to_str().unwrap()]) {
        return skip(&why);
    }
    let over_text = over.to_str().unwrap();
    let error = watching.next_matching(|line| line["type"] == "error" && line["path"] == over_text);
    assert!(error["error"].as_str().unwrap().contains("mounted"), "{error}");
    let changes = watching.open_changes().len();
    tools::run("umount", [&over]);
    append(machine.at("sub/7"), b"y");
    let expected = [Expect::modified("sub/7")];
    watching.wait_for_changes(|changes| mismatch(machine.tree(), &expected, changes));
    assert!(changes <= 1, "{changes} changes for one mount");
    watching.stop();
}

#[test]
fn s51_where_new_files_are_fine_the_monitor_holds_them_to_what_they_were() {
    let machine = Machine::new();
    write(machine.at("old"), "x");
    machine.watch_tree("change = \"additions-allowed\"");
    machine.init();
    let mut watching = machine.watch();
    write(machine.at("new"), "as first seen");
    // The monitor has seen it when it has seen something later.
    append(machine.at("old"), b"y");
    let expected = [Expect::modified("old")];
    watching.wait_for_changes(|changes| mismatch(machine.tree(), &expected, changes));
    fs::write(machine.at("new"), "tampered with").unwrap();
    let expected = [Expect::modified("old"), Expect::modified("new")];
    watching.wait_for_changes(|changes| mismatch(machine.tree(), &expected, changes));
    fs::remove_file(machine.at("new")).unwrap();
    let expected = [Expect::modified("old"), Expect::removed("new")];
    watching.wait_for_changes(|changes| mismatch(machine.tree(), &expected, changes));
    watching.stop();
}

#[test]
fn s76_what_came_and_went_is_told_all_the_same() {
    let machine = Machine::new();
    write(machine.at("sentinel"), "x");
    machine.watch_tree("");
    machine.init();
    let mut watching = machine.watch();
    let brief: Vec<_> = (0..30).map(|number| machine.at(&format!("brief-{number}"))).collect();
    for path in &brief {
        write(path, "for a moment");
        fs::remove_file(path).unwrap();
    }
    fs::remove_file(machine.at("sentinel")).unwrap();
    let gone = [Expect::removed("sentinel")];
    watching.wait_for_changes(|changes| mismatch(machine.tree(), &gone, changes));
    for path in &brief {
        let told = watching.seen().iter().any(|line| line["path"] == path.to_str().unwrap());
        assert!(told, "not a word of {}", path.display());
    }
    watching.stop();
}

/// Each coming and going is told once, although the event of its end may come after the look that missed it already.
#[test]
fn what_came_and_went_is_told_once() {
    let machine = Machine::new();
    write(machine.at("sentinel"), "");
    machine.watch_tree("");
    machine.init();
    let mut ways: Vec<fn(&Machine) -> Watching> = vec![Machine::watch];
    if is_root() && tools::has("setpriv") {
        ways.push(Machine::watch_without_marks);
    }
    for watch in ways {
        let mut watching = watch(&machine);
        for number in 0..1000 {
            let path = machine.at(&format!("passing-{number}"));
            write(&path, "x");
            fs::remove_file(path).unwrap();
        }
        append(machine.at("sentinel"), b"x");
        watching
            .wait_for_changes(|changes| mismatch(machine.tree(), &[Expect::modified("sentinel")], changes));
        let mut told: BTreeMap<&str, usize> = BTreeMap::new();
        for line in watching.seen().iter().filter(|line| ["touched", "resolved"].contains(&kind_of(line))) {
            *told.entry(line["path"].as_str().unwrap()).or_default() += 1;
        }
        let twice: Vec<_> = told.values().filter(|count| **count > 1).collect();
        assert!(twice.is_empty(), "{} of {} names were told more than once", twice.len(), told.len());
        assert_eq!(told.len(), 1000);
        watching.stop();
    }
}

fn kind_of(line: &Value) -> &str {
    line["type"].as_str().unwrap_or_default()
}

/// A storm: whatever was merged or dropped on the way, in the end the record says what the disk says.
#[test]
fn s77_after_a_storm_the_record_is_what_a_check_finds() {
    for_each_filesystem(&[Fs::Tmpfs], |root| {
        let machine = Machine::with_tree(&root.join("tree"));
        for number in 0..500 {
            write(machine.at(&format!("{}/sealed-{number}", number % 10)), "old");
        }
        machine.watch_tree("");
        machine.init();
        let mut watching = machine.watch();
        for round in 0..20_u32 {
            for number in 0..500_u32 {
                let directory = format!("{}", number % 10);
                match (round + number) % 5 {
                    0 => write(machine.at(&format!("{directory}/new-{number}")), round.to_string()),
                    1 => {
                        let before = number.saturating_sub(1);
                        let _ = fs::remove_file(machine.at(&format!("{}/new-{before}", before % 10)));
                    }
                    2 => append(machine.at(&format!("{directory}/sealed-{number}")), b"x"),
                    3 => write(machine.at(&format!("deep-{round}/{number}/file")), "x"),
                    _ => drop(fs::remove_dir_all(machine.at(&format!("deep-{}", round / 2)))),
                }
            }
        }
        // When the second has been told, so has everything that was found together with the first.
        for name in ["sentinel", "sentinel-after-it"] {
            write(machine.at(name), name);
            let path = machine.at(name);
            // It may be told before it has its content as well.
            let is_told = |line: &Value| line["path"] == path.to_str().unwrap();
            watching.next_matching(|line| is_told(line) && line["after"]["size"] == name.len());
        }
        let told = by_path(&watching.open_changes());
        watching.stop();
        let report = machine.check().expect_changed();
        let found = by_path(&report.changes);
        let wrong: Vec<_> = found.iter().filter(|(path, change)| told.get(*path) != Some(change)).collect();
        assert!(
            wrong.is_empty(),
            "{} of {} were told otherwise: {:#?}",
            wrong.len(),
            found.len(),
            wrong.first()
        );
        let extra: Vec<_> = told.keys().filter(|path| !found.contains_key(*path)).collect();
        let shown: Vec<_> = extra.iter().take(5).map(|path| String::from_utf8_lossy(path)).collect();
        assert!(extra.is_empty(), "{} told and not so any more: {shown:#?}", extra.len());
    });
}

/// Kind, size and hash of each changed path.
fn by_path(changes: &[Change]) -> BTreeMap<Vec<u8>, [Value; 3]> {
    let of = |change: &Change| {
        let after = &change.0["after"];
        (change.path(), [change.0["change"].clone(), after["size"].clone(), after["sha256"].clone()])
    };
    changes.iter().map(of).collect()
}

#[test]
fn s53_what_the_monitor_cannot_read_any_more_is_told() {
    let machine = Machine::new();
    write(machine.at("secret"), "x");
    let machine = machine.as_ordinary_user();
    machine.watch_tree("");
    machine.init();
    let mut watching = machine.watch();
    chmod(machine.at("secret"), 0);
    let secret = machine.at("secret");
    watching.next_matching(|line| line["type"] == "error" && line["path"] == secret.to_str().unwrap());
    let expected = [Expect::metadata("secret").fields(&["mode"])];
    watching.wait_for_changes(|changes| mismatch(machine.tree(), &expected, changes));
    watching.stop();
}

/// What people see on their terminal while names are made to steer it.
#[test]
fn s23_the_monitor_prints_no_name_raw() {
    let machine = Machine::new();
    write(machine.at("file"), "x");
    machine.watch_tree("");
    machine.init();
    let running = machine.start(["watch"]);
    while machine.waxseal(["status"]).text().contains("not running") {}
    write(machine.at("\u{1b}[2J\u{202e}red\nmodified  shadow"), "x");
    write(machine.at("last"), "y");
    while !machine.waxseal(["changes"]).text().contains("last") {}
    let output = running.end(Duration::from_secs(20));
    assert_eq!(output.code, Some(0), "{output:?}");
    assert!(output.text().contains("last"), "{output:?}");
    for text in [output.text(), output.stderr.as_str()] {
        assert!(!text.contains(['\u{1b}', '\u{202e}']), "{text:?}");
        assert!(!text.lines().any(|line| line.starts_with("modified  shadow")), "{text:?}");
    }
}

#[test]
fn excluded_files_are_quiet_also_for_the_monitor() {
    Story {
        rule: "exclude = [\"*.log\", \"/cache\"]",
        needs: &[],
        root: false,
        before: |place| {
            write(place.at("a.log"), "x");
            write(place.at("cache/x"), "x");
            write(place.at("kept"), "x");
        },
        then: |place| {
            append(place.at("a.log"), b"y");
            write(place.at("cache/deep/new"), "y");
            write(place.at("deep/new.log"), "y");
            append(place.at("kept"), b"y");
        },
        expect: |_| vec![Expect::modified("kept"), Expect::added("deep")],
    }
    .on(&[Fs::Ext4]);
}
