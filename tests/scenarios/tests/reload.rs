//! Another config while the monitor runs: applied whole and without a gap, or refused, and the old one stays.

#![allow(clippy::disallowed_methods, reason = "tests make, change and remove their own files")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on ends")]

use rustix::process::Signal;
use serde_json::Value;
use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use waxseal_scenarios::files::*;
use waxseal_scenarios::{
    Change, Ends, Expect, Fs, Machine, Shell, Watching, for_each_filesystem, is_root, mismatch, tools, until,
    watch,
};

/// Puts a config in the place of the one that is there, as editors do.
fn replace(machine: &Machine, toml: &str) {
    let new = machine.home().join("new.toml");
    fs::write(&new, toml).unwrap();
    fs::set_permissions(&new, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    fs::rename(new, machine.config_file()).unwrap();
}

fn wait_for(watching: &mut Watching, outcome: &str) -> Value {
    watching.next_matching(|line| line["type"] == "config" && line["outcome"] == outcome)
}

fn on_path<'c>(changes: &'c [Change], path: &Path) -> Option<&'c Change> {
    changes.iter().find(|change| change.path() == path.as_os_str().as_encoded_bytes())
}

#[test]
fn a_config_that_is_wrong_is_refused_and_the_old_one_stays() {
    let machine = Machine::new();
    write(machine.at("file"), "x");
    machine.watch_tree("");
    machine.init();
    let good = fs::read_to_string(machine.config_file()).unwrap();
    let mut watching = machine.watch();
    replace(&machine, "[[watch]]\npaths = [\"relative\"]\n");
    let refused = wait_for(&mut watching, "refused");
    assert!(refused["error"].as_str().unwrap().contains("relative"), "{refused}");
    write(machine.at("one"), "1");
    machine.sync();
    assert_eq!(mismatch(machine.tree(), &[Expect::added("one")], &machine.recorded()), None);
    // Without any config the old one stays as well.
    fs::remove_file(machine.config_file()).unwrap();
    wait_for(&mut watching, "refused");
    write(machine.at("two"), "2");
    machine.sync();
    let expected = [Expect::added("one"), Expect::added("two")];
    assert_eq!(mismatch(machine.tree(), &expected, &machine.recorded()), None);
    // Asked for, it is said again.
    watching.signal(Signal::HUP);
    wait_for(&mut watching, "refused");
    replace(&machine, &good);
    assert_eq!(wait_for(&mut watching, "applied")["watches"], 1);
    watching.stop();
}

#[test]
fn people_are_told_in_words() {
    let machine = Machine::new();
    machine.watch_tree("");
    machine.init();
    let running = machine.start(["watch"]);
    until("the monitor answers", || machine.waxseal(["sync"]).code == Some(0));
    let pid = i32::try_from(running.pid()).unwrap();
    let hang_up = || rustix::process::kill_process(rustix::process::Pid::from_raw(pid).unwrap(), Signal::HUP);
    let good = fs::read_to_string(machine.config_file()).unwrap();
    replace(&machine, "nonsense");
    hang_up().unwrap();
    // Whatever came first, the second has been read when a new path is watched.
    let other = machine.home().join("other");
    write(other.join("file"), "x");
    replace(&machine, &format!("{good}{}", watch("other", &[&other], "")));
    hang_up().unwrap();
    until("the new path is watched", || on_path(&machine.recorded(), &other.join("file")).is_some());
    let output = running.end(std::time::Duration::from_secs(20));
    assert!(output.stderr.contains("in effect"), "{output:?}");
    assert_eq!(output.stdout.iter().filter(|byte| **byte == b'{').count(), 0, "{output:?}");
}

/// "A watch added by reload is scanned, and its entries are one change set of `added`, at severity info."
#[test]
fn a_watch_that_is_added_is_one_set_of_additions() {
    let machine = Machine::new();
    let other = machine.home().join("other");
    for number in 0..20 {
        write(other.join(format!("d/{number}")), number.to_string());
    }
    machine.watch_tree("");
    machine.init();
    let first = fs::read_to_string(machine.config_file()).unwrap();
    let mut watching = machine.watch();
    write(machine.at("before"), "x");
    replace(&machine, &format!("{first}{}", watch("other", &[&other], "severity = \"critical\"")));
    assert_eq!(wait_for(&mut watching, "applied")["watches"], 2);
    let rescan = watching.next_matching(|line| line["type"] == "rescan");
    assert_eq!((rescan["path"].as_str(), rescan["reason"].as_str()), (other.to_str(), Some("reload")));
    watching.wait_for_changes(|changes| (changes.len() < 23).then(|| format!("{changes:?}")));
    let recorded = machine.recorded();
    let of_other = |change: &&Change| change.path().starts_with(other.as_os_str().as_encoded_bytes());
    let added: Vec<&Change> = recorded.iter().filter(of_other).collect();
    assert_eq!(added.len(), 22, "{recorded:?}");
    for change in &added {
        assert_eq!((change.kind(), change.severity()), ("added", "info"), "{change:?}");
        assert_eq!(change.0["set"], added[0].0["set"]);
        assert_eq!(change.0["watch"], "other");
    }
    assert_ne!(on_path(&recorded, &machine.at("before")).unwrap().0["set"], added[0].0["set"]);
    // And what happens from then on is seen as it happens.
    write(other.join("d/new"), "x");
    machine.sync();
    assert_eq!(on_path(&machine.recorded(), &other.join("d/new")).unwrap().severity(), "critical");
    watching.stop();
}

#[test]
fn a_watch_that_is_taken_away_is_said_to_be_missing() {
    let machine = Machine::new();
    let other = machine.home().join("other");
    write(other.join("file"), "x");
    write(machine.at("file"), "x");
    let (one, two) = (watch("tree", &[machine.tree()], ""), watch("other", &[&other], ""));
    machine.configure(&format!("{one}{two}"));
    machine.init();
    let mut watching = machine.watch();
    append(other.join("file"), b"y");
    machine.sync();
    replace(&machine, &one);
    wait_for(&mut watching, "applied");
    watching.next_matching(|line| line["type"] == "error" && line["path"] == other.to_str().unwrap());
    append(other.join("file"), b"z");
    write(machine.at("new"), "x");
    machine.sync();
    let recorded = machine.recorded();
    assert!(on_path(&recorded, &machine.at("new")).is_some());
    // Nobody has decided on it, so it stays open, as it was.
    assert_eq!(on_path(&recorded, &other.join("file")).unwrap().0["after"]["size"], 2);
    watching.stop();
    machine.check().expect_incomplete();
}

/// Files are made all the time, while the config changes back and forth: none may be missing at the end.
fn without_a_gap(tree: &Path, way: fn(&Machine) -> Watching) {
    let machine = Machine::with_tree(tree);
    write(machine.at("a/file"), "x");
    write(machine.at("b/file"), "x");
    let configs = [
        watch("tree", &[machine.tree()], ""),
        watch("tree", &[machine.tree()], "exclude = [\"/none\"]") + &watch("a", &[&machine.at("a")], ""),
        watch("a", &[&machine.at("a")], "") + &watch("b", &[&machine.at("b")], ""),
    ];
    machine.configure(&configs[0]);
    machine.init();
    let mut watching = way(&machine);
    let (stop, made, round) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(1));
    std::thread::scope(|scope| {
        let (at, stop, made, now) = (|name: String| machine.at(&name), &stop, &made, &round);
        let _ends = Ends(stop);
        scope.spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                std::thread::yield_now();
                if made.load(Ordering::Relaxed) > now.load(Ordering::Relaxed) * 150 {
                    // The disk is small: the rest of this round is left out.
                    continue;
                }
                let number = made.fetch_add(1, Ordering::Relaxed);
                write(at(format!("a/{number}/deep/file")), "x");
                write(at(format!("b/{number}")), "x");
            }
        });
        for round in 1..10 {
            replace(&machine, &configs[round % 3]);
            wait_for(&mut watching, "applied");
            now.store(round + 1, Ordering::Relaxed);
        }
    });
    machine.sync();
    let recorded = machine.recorded();
    let paths: std::collections::BTreeSet<Vec<u8>> = recorded.iter().map(Change::path).collect();
    for number in 0..made.load(Ordering::Relaxed) {
        for name in [format!("a/{number}/deep/file"), format!("b/{number}")] {
            assert!(paths.contains(machine.at(&name).as_os_str().as_encoded_bytes()), "{name} is missing");
        }
    }
    watching.stop();
}

#[test]
fn nothing_is_missed_meanwhile() {
    for_each_filesystem(&[Fs::Ext4], |root| {
        without_a_gap(&root.join("marks"), Machine::watch);
        if is_root() && tools::has("setpriv") {
            without_a_gap(&root.join("inotify"), Machine::watch_without_marks);
        }
    });
}

#[test]
fn of_many_edits_and_signals_the_last_one_counts() {
    let machine = Machine::new();
    machine.watch_tree("");
    machine.init();
    let first = fs::read_to_string(machine.config_file()).unwrap();
    let other = |number: usize| machine.home().join(format!("other-{number}"));
    for number in 0..40 {
        write(other(number).join("file"), "x");
    }
    let mut watching = machine.watch();
    for number in 0..40 {
        let toml = format!("{first}{}", watch("other", &[&other(number)], ""));
        if number % 2 == 0 {
            // Written in place, half of it first.
            let (one, two) = toml.split_at(toml.len() / 2);
            let mut file = fs::File::create(machine.config_file()).unwrap();
            file.write_all(one.as_bytes()).unwrap();
            watching.signal(Signal::HUP);
            file.write_all(two.as_bytes()).unwrap();
        } else {
            replace(&machine, &toml);
        }
        watching.signal(Signal::HUP);
    }
    let last = other(39).join("file");
    watching.next_matching(|line| line["type"] == "change" && line["path"] == last.to_str().unwrap());
    append(&last, b"y");
    machine.sync();
    assert_eq!(on_path(&machine.recorded(), &last).unwrap().0["after"]["size"], 2);
    watching.stop();
}

#[test]
fn a_link_that_is_turned_to_another_config_is_noticed() {
    let machine = Machine::new();
    machine.watch_tree("");
    machine.init();
    let first = fs::read_to_string(machine.config_file()).unwrap();
    let other = machine.home().join("other");
    write(other.join("file"), "x");
    let versions = machine.home().join("versions");
    write(versions.join("1/waxseal.toml"), &first);
    write(versions.join("2/waxseal.toml"), format!("{first}{}", watch("other", &[&other], "")));
    let at = |name: &str| -> PathBuf { versions.join(name) };
    for name in ["1/waxseal.toml", "2/waxseal.toml"] {
        chmod(at(name), 0o644);
    }
    symlink("1", at("now")).unwrap();
    fs::remove_file(machine.config_file()).unwrap();
    symlink("versions/now/waxseal.toml", machine.config_file()).unwrap();
    let mut watching = machine.watch();
    symlink("2", at("next")).unwrap();
    fs::rename(at("next"), at("now")).unwrap();
    assert_eq!(wait_for(&mut watching, "applied")["watches"], 2);
    // And written to where it leads.
    write(at("2/waxseal.toml"), &first);
    assert_eq!(wait_for(&mut watching, "applied")["watches"], 1);
    watching.stop();
}

#[test]
fn how_often_is_scanned_is_taken_over() {
    let mut shell = Shell::start();
    let machine = Machine::with_tree(&shell.descriptors());
    machine.watch_tree("attributes = [\"type\"]\n[scan]\nquick_every = \"1d\"");
    machine.init();
    let mut watching = machine.watch();
    let slow = fs::read_to_string(machine.config_file()).unwrap();
    replace(&machine, &slow.replace("1d", "1s"));
    wait_for(&mut watching, "applied");
    machine.sync();
    shell.order("exec 9</dev/null");
    watching.wait_for_changes(|changes| mismatch(machine.tree(), &[Expect::added("9")], changes));
    watching.stop();
}

/// What a glob matches by now is watched from the next reading on.
#[test]
fn what_a_glob_matches_by_now_is_watched() {
    let machine = Machine::new();
    write(machine.at("one/kept/file"), "x");
    machine.configure(&watch("kept", &[&machine.at("*/kept")], ""));
    machine.init();
    let mut watching = machine.watch();
    write(machine.at("two/kept/file"), "x");
    watching.signal(Signal::HUP);
    let here = machine.at("two/kept/file");
    watching.next_matching(|line| line["type"] == "change" && line["path"] == here.to_str().unwrap());
    append(&here, b"y");
    machine.sync();
    assert_eq!(on_path(&machine.recorded(), &here).unwrap().0["after"]["size"], 2);
    watching.stop();
}
