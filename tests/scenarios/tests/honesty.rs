//! A check that could not look everywhere does not say that all is well, and a baseline is whole or not there.

#![allow(clippy::disallowed_methods, reason = "tests make, change and remove their own files")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on ends")]

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;
use std::time::Duration;
use waxseal_scenarios::files::*;
use waxseal_scenarios::{Fs, Machine, for_each_filesystem, is_root, meanwhile, tools};

#[test]
fn s52_what_cannot_be_read_is_counted() {
    let machine = Machine::new();
    write(machine.at("readable"), "x");
    write(machine.at("secret"), "x");
    write(machine.at("closed/file"), "x");
    let machine = machine.as_ordinary_user();
    chmod(machine.at("secret"), 0);
    chmod(machine.at("closed"), 0);
    machine.watch_tree("");
    machine.waxseal(["init"]);
    let report = machine.check().expect_incomplete();
    assert!(report.has_error_at(machine.at("secret")), "{:#?}", report.output);
    assert!(report.has_error_at(machine.at("closed")), "{:#?}", report.output);
    assert_eq!(report.errors.len(), 2, "{:#?}", report.errors);
    chmod(machine.at("closed"), 0o755);
}

#[test]
fn s53_what_could_be_read_when_it_was_sealed_and_cannot_now() {
    let machine = Machine::new();
    write(machine.at("readable"), "x");
    write(machine.at("secret"), "x");
    write(machine.at("closed/file"), "x");
    let machine = machine.as_ordinary_user();
    machine.watch_tree("");
    machine.init();
    machine.check().expect_intact();
    chmod(machine.at("secret"), 0);
    chmod(machine.at("closed"), 0);
    let report = machine.check().expect_incomplete();
    for path in ["secret", "closed"] {
        assert!(report.has_error_at(machine.at(path)), "{path}: {:#?}", report.output);
        // That the rights were taken away is a change all the same.
        let change = report.change_at(machine.at(path)).unwrap();
        assert!(change.fields().contains(&"mode"), "{path}: {:#?}", report.output);
    }
    assert!(
        report.change_at(machine.at("closed/file")).is_none(),
        "not seen is not removed: {:#?}",
        report.output
    );
    chmod(machine.at("closed"), 0o755);
}

#[test]
fn s54_a_file_that_never_holds_still_is_never_clean() {
    let machine = Machine::new();
    let busy = machine.at("busy");
    write(&busy, vec![b'a'; 8 << 20]);
    machine.watch_tree("");
    machine.init();
    let file = busy.clone();
    let write_on = move |round: u64| {
        use std::os::unix::fs::FileExt;
        let file = fs::OpenOptions::new().write(true).open(&file).unwrap();
        file.write_all_at(&round.to_le_bytes(), (round * 4096) % (8 << 20)).unwrap();
    };
    for quick in [false, true] {
        let write_on = write_on.clone();
        let report = meanwhile(write_on, || if quick { machine.check_quick() } else { machine.check() });
        let known = report.has_error_at(&busy) || report.change_at(&busy).is_some();
        assert!(known, "{:#?}", report.output);
        assert_ne!(report.outcome(), "intact");
    }
}

#[test]
fn s55_files_deleted_during_the_scan() {
    const FILES: u64 = 4000;
    let machine = Machine::new();
    for number in 0..FILES {
        write(machine.at(&format!("{}/{number}", number % 20)), "x");
    }
    machine.watch_tree("");
    machine.init();
    let tree = machine.tree().to_owned();
    let remove = move |round: u64| {
        if round < FILES {
            fs::remove_file(tree.join(format!("{}/{round}", round % 20))).unwrap();
        }
    };
    let report = meanwhile(remove, || machine.check());
    assert!(report.changes.iter().all(|change| change.kind() == "removed"), "{:#?}", report.output);
    assert_eq!(report.errors.len(), 0, "{:#?}", report.errors);
    for number in 0..FILES {
        let _ = fs::remove_file(machine.at(&format!("{}/{number}", number % 20)));
    }
    let report = machine.check().expect_changed();
    assert_eq!(report.summary["removed"], FILES);
}

#[test]
fn s56_equal_files_that_change_places_are_no_change() {
    let machine = Machine::new();
    let (a, b) = (machine.at("a"), machine.at("b"));
    for path in [&a, &b] {
        write(path, vec![b'x'; 100_000]);
        set_mtime(path, 1_700_000_000, 0);
    }
    machine.watch_tree("attributes = \"standard\"");
    machine.init();
    for _ in 0..10 {
        let (a, b) = (a.clone(), b.clone());
        let report = meanwhile(move |_| exchange(&a, &b), || machine.check());
        assert!(report.changes.is_empty(), "{:#?}", report.output);
    }
}

#[test]
fn s57_truncated_grown_and_replaced_while_it_is_read() {
    let machine = Machine::new();
    let file = machine.at("file");
    write(&file, vec![b'x'; 4 << 20]);
    machine.watch_tree("");
    machine.init();
    let (target, other) = (file.clone(), machine.home().join("other"));
    let mischief = move |round: u64| match round % 3 {
        0 => fs::OpenOptions::new().write(true).open(&target).unwrap().set_len(round % 1000).unwrap(),
        1 => append(&target, &vec![b'y'; 2 << 20]),
        _ => {
            fs::write(&other, "replaced").unwrap();
            fs::rename(&other, &target).unwrap();
        }
    };
    for _ in 0..5 {
        let report = meanwhile(mischief.clone(), || machine.check());
        assert_ne!(report.outcome(), "intact", "{:#?}", report.output);
    }
}

#[test]
fn s58_the_number_of_workers_does_not_matter() {
    let tree = Machine::new();
    for number in 0..500 {
        write(tree.at(&format!("{}/{}/{number}", number % 7, number % 13)), "x".repeat(number * 37));
    }
    let root_hash = |threads: u32| {
        let machine = Machine::with_tree(tree.tree());
        machine.watch_tree(&format!("[scan]\nthreads = {threads}"));
        machine.init();
        let report = machine.check().expect_intact();
        report.summary["baseline"].as_str().expect("the root hash").to_owned()
    };
    let one = root_hash(1);
    assert!(one.len() >= 64, "{one}");
    assert_eq!(one, root_hash(2));
    assert_eq!(one, root_hash(8));
}

#[test]
fn s59_an_unchanged_tree_stays_unchanged() {
    for_each_filesystem(Fs::ALL, |root| {
        let tree = root.join("tree");
        write(tree.join("a/file"), "x");
        write(tree.join("b/empty"), "");
        symlink("a/file", tree.join("link")).unwrap();
        make_fifo(tree.join("fifo"));
        let machine = Machine::with_tree(&tree);
        machine.watch_tree("attributes = \"all\"");
        machine.init();
        for _ in 0..10 {
            machine.check().expect_intact();
            machine.check_quick().expect_intact();
        }
    });
}

/// A clock that jumped leaves files with times far from now; they are as good as any.
#[test]
fn s60_times_in_the_past_and_in_the_future_are_times() {
    for_each_filesystem(&[Fs::Ext4, Fs::Xfs, Fs::Tmpfs], |root| {
        let tree = root.join("tree");
        // xfs keeps times up to 2486, ext4 with small inodes less than that: what it kept is what must be found again.
        for (number, seconds) in
            [0, 1, -1, -1_000_000_000, 4_102_444_800, 9_000_000_000].into_iter().enumerate()
        {
            let file = tree.join(number.to_string());
            write(&file, "x");
            set_mtime(&file, seconds, 999_999_999);
        }
        let machine = Machine::with_tree(&tree);
        machine.watch_tree("attributes = \"all\"");
        machine.init();
        machine.check().expect_intact();
        machine.check_quick().expect_intact();
        overwrite_unseen(tree.join("4"));
        let report = machine.check_quick().expect_changed();
        assert!(report.change_at(tree.join("4")).is_some());
        assert_eq!(report.changes.len(), 1, "{:#?}", report.output);
    });
}

#[test]
fn s61_no_room_for_the_baseline() {
    let Some((machine, mounted)) = Machine::with_little_room("400k") else { return };
    for number in 0..5000 {
        let directory = machine.at(&(number / 100).to_string());
        fs::create_dir_all(&directory).unwrap();
        fs::File::create(directory.join(format!("{}{number}", "a-long-name".repeat(10)))).unwrap();
    }
    machine.watch_tree("keep = { content = false }");
    let state = mounted.root().join("state");
    let output = machine.waxseal_in(&state, ["init"]).expect_code(2);
    assert!(output.stderr.contains("full"), "{}", output.stderr);
    // Half a baseline is none.
    machine.waxseal_in(&state, ["check"]).expect_code(2);
    // With room, all is well, without anything to clean up by hand.
    tools::run("mount", ["-o", "remount,size=64m", mounted.root().to_str().unwrap()]);
    machine.waxseal_in(&state, ["init"]).expect_code(0);
    machine.waxseal_in(&state, ["check"]).expect_code(0);
}

#[test]
fn s61_no_room_later_leaves_the_baseline_as_it_was() {
    let Some((machine, mounted)) = Machine::with_little_room("8m") else { return };
    for number in 0..2000 {
        write(machine.at(&number.to_string()), "x");
    }
    machine.watch_tree("keep = { content = false }");
    let state = mounted.root().join("state");
    machine.waxseal_in(&state, ["init"]).expect_code(0);
    let filler = mounted.fill();
    for number in 0..2000 {
        append(machine.at(&number.to_string()), b"y");
    }
    let output = machine.waxseal_in(&state, ["check"]);
    assert!(output.code == Some(2) || output.code == Some(1), "{output:?}");
    filler.remove();
    let output = machine.waxseal_in(&state, ["--json", "check"]).expect_code(1);
    let summary = output.lines().pop().unwrap();
    assert_eq!(summary["modified"], 2000, "{summary}");
}

#[test]
fn s62_killed_at_any_moment_the_baseline_is_whole_or_not_there() {
    let machine = Machine::new();
    for number in 0..3000 {
        write(machine.at(&format!("{}/{number}", number % 50)), number.to_string());
    }
    machine.watch_tree("");
    for step in 0..30 {
        let state = machine.home().join(format!("state-{step}"));
        let killed = machine.start_in(&state, ["init"]).kill_after(Duration::from_millis(step * 7));
        let check = machine.waxseal_in(&state, ["check"]);
        match check.code {
            Some(0) => {}
            Some(2) => {
                // Not there: then it can be made, without anything to clean up by hand.
                assert_ne!(killed.code, Some(0), "init succeeded, and there is no baseline: {check:?}");
                machine.waxseal_in(&state, ["init"]).expect_code(0);
                machine.waxseal_in(&state, ["check"]).expect_code(0);
            }
            code => panic!("after a kill, check ends with {code:?}: {check:?}"),
        }
    }
}

#[test]
fn s62_killed_during_a_check_nothing_is_lost() {
    let machine = Machine::new();
    for number in 0..2000 {
        write(machine.at(&format!("{}/{number}", number % 50)), number.to_string());
    }
    machine.watch_tree("");
    machine.init();
    for number in 0..2000 {
        append(machine.at(&format!("{}/{number}", number % 50)), b"y");
    }
    for step in 0..15 {
        machine.start(["check"]).kill_after(Duration::from_millis(step * 11));
    }
    let report = machine.check().expect_changed();
    assert_eq!(report.summary["modified"], 2000);
}

#[test]
fn s63_a_second_monitor_is_refused_and_the_first_is_named() {
    let machine = Machine::new();
    write(machine.at("file"), "x");
    machine.watch_tree("");
    machine.init();
    let watching = machine.watch();
    let second = machine.waxseal(["watch"]).expect_code(2);
    assert!(second.stderr.contains(&watching.pid().to_string()), "{}", second.stderr);
    // Other commands work beside it.
    machine.check().expect_intact();
    watching.stop();
    machine.watch().stop();
}

#[test]
fn s63_two_checks_at_once_do_not_disturb_each_other() {
    let machine = Machine::new();
    for number in 0..2000 {
        write(machine.at(&number.to_string()), "x");
    }
    machine.watch_tree("");
    machine.init();
    append(machine.at("7"), b"y");
    let (one, two) = (machine.start(["--json", "check"]), machine.start(["--json", "check"]));
    let limit = Duration::from_secs(120);
    let (one, two) = (one.finish(limit), two.finish(limit));
    for output in [one, two] {
        // One may be told to wait its turn; neither may be wrong.
        match output.code {
            Some(1) => assert_eq!(output.lines().pop().unwrap()["modified"], 1),
            Some(2) => assert!(!output.stderr.is_empty(), "{output:?}"),
            _ => panic!("{output:?}"),
        }
    }
    machine.check().expect_changed();
}

#[test]
fn an_existing_state_is_never_overwritten() {
    let machine = Machine::new();
    write(machine.at("file"), "x");
    machine.watch_tree("");
    machine.init();
    append(machine.at("file"), b"y");
    let output = machine.waxseal(["init"]).expect_code(2);
    assert!(!output.stderr.is_empty());
    machine.check().expect_changed();
}

#[test]
fn without_a_baseline_nothing_is_intact() {
    let machine = Machine::new();
    write(machine.at("file"), "x");
    machine.watch_tree("");
    let output = machine.waxseal(["check"]).expect_code(2);
    assert!(output.stderr.contains("init"), "what to do is not said: {}", output.stderr);
}

/// The files of the state, with their lengths.
fn state_files(machine: &Machine) -> Vec<(std::path::PathBuf, u64)> {
    below(&machine.state_dir())
        .into_iter()
        .filter_map(|path| {
            let metadata = fs::symlink_metadata(&path).unwrap();
            metadata.is_file().then_some((path, metadata.len()))
        })
        .collect()
}

#[test]
fn a_truncated_or_foreign_state_is_trouble_and_never_clean() {
    let sealed = || {
        let machine = Machine::new();
        write(machine.at("file"), "x");
        machine.watch_tree("");
        machine.init();
        machine
    };
    let names: Vec<_> = state_files(&sealed())
        .into_iter()
        .filter(|(path, length)| {
            *length > 4096 && path.extension().is_none_or(|extension| extension != "lock")
        })
        .map(|(path, _)| path.file_name().unwrap().to_owned())
        .collect();
    assert!(!names.is_empty(), "no database of any size in the state directory");
    for name in names {
        for damage in [Damage::Empty, Damage::Half, Damage::Noise] {
            let machine = sealed();
            let (file, length) =
                state_files(&machine).into_iter().find(|(path, _)| path.file_name() == Some(&name)).unwrap();
            match damage {
                Damage::Empty => fs::write(&file, "").unwrap(),
                Damage::Half => {
                    fs::OpenOptions::new().write(true).open(&file).unwrap().set_len(length / 2).unwrap()
                }
                Damage::Noise => fs::write(&file, vec![0xa5; 65_536]).unwrap(),
            }
            let output = machine.waxseal(["check"]);
            assert_eq!(output.code, Some(2), "{damage:?} of {}: {output:?}", file.display());
            assert!(!output.stderr.is_empty());
        }
    }
}

#[derive(Debug)]
enum Damage {
    Empty,
    Half,
    Noise,
}

#[test]
fn a_state_directory_that_others_could_steer_is_refused() {
    let machine = Machine::new();
    write(machine.at("file"), "x");
    machine.watch_tree("");
    let real = machine.home().join("real");
    fs::create_dir(&real).unwrap();
    fs::set_permissions(&real, fs::Permissions::from_mode(0o700)).unwrap();

    symlink(&real, machine.state_dir()).unwrap();
    machine.waxseal(["init"]).expect_code(2);
    fs::remove_file(machine.state_dir()).unwrap();

    fs::create_dir(machine.state_dir()).unwrap();
    fs::set_permissions(machine.state_dir(), fs::Permissions::from_mode(0o777)).unwrap();
    machine.waxseal(["init"]).expect_code(2);

    if is_root() {
        fs::set_permissions(machine.state_dir(), fs::Permissions::from_mode(0o700)).unwrap();
        chown(machine.state_dir(), Some(54_321), None).unwrap();
        machine.waxseal(["init"]).expect_code(2);
    }
    assert!(fs::read_dir(&real).unwrap().next().is_none(), "something was written through the link");
}

#[test]
fn the_state_is_for_its_owner_alone() {
    let machine = Machine::new();
    write(machine.at("file"), "x");
    machine.watch_tree("");
    machine.init();
    machine.check().expect_intact();
    let open_to_others = |path: &Path| fs::symlink_metadata(path).unwrap().permissions().mode() & 0o077 != 0;
    assert!(!open_to_others(&machine.state_dir()));
    let secret = |path: &&std::path::PathBuf| path.extension().is_none_or(|extension| extension != "vkey");
    let files: Vec<_> = below(&machine.state_dir());
    let open: Vec<_> = files.iter().filter(secret).filter(|path| open_to_others(path)).collect();
    assert!(open.is_empty(), "{open:?}");
}

#[test]
fn the_state_directory_in_the_tree_is_not_content() {
    let machine = Machine::new();
    write(machine.at("file"), "x");
    machine.watch_tree("");
    let state = machine.at("state");
    let output = machine.waxseal_in(&state, ["init"]).expect_code(0);
    assert!(output.stderr.contains("state"), "{}", output.stderr);
    for _ in 0..3 {
        machine.waxseal_in(&state, ["check"]).expect_code(0);
    }
}
