//! The scans of the monitor: what only they find, that nobody waits for them, and that they go on where they ended.

#![allow(clippy::disallowed_methods, reason = "tests make, change and remove their own files")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on ends")]

use rustix::process::Signal;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::time::{Duration, Instant};
use waxseal_scenarios::files::*;
use waxseal_scenarios::{Expect, Fs, Machine, Mounted, mismatch, skip, tools};

/// How long is waited for a scan. The machine that runs the tests is busy with others, and scans give way.
const PATIENCE: Duration = Duration::from_secs(120);

/// The line of `status`, as soon as it is as wanted.
#[track_caller]
fn status(machine: &Machine, wanted: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let output = machine.waxseal(["--json", "status"]);
        let line = output.lines().remove(0);
        if wanted(&line) {
            return line;
        }
        assert!(Instant::now() < deadline, "{line:#}");
    }
}

/// Changes the content of a file below its filesystem: the kernel tells nobody, and no time moves.
fn write_to_device(image: &Path, old: &[u8], new: &[u8]) {
    let content = fs::read(image).unwrap();
    let places: Vec<usize> =
        content.windows(old.len()).enumerate().filter(|(_, at)| *at == old).map(|(at, _)| at).collect();
    assert!(!places.is_empty(), "the content is not in the image");
    let file = fs::OpenOptions::new().write(true).open(image).unwrap();
    for at in places {
        file.write_all_at(new, at as u64).unwrap();
    }
    file.sync_all().unwrap();
}

#[test]
fn s18_a_write_below_the_filesystem_is_found_by_a_full_scan_although_the_kernel_remembers_the_old_content() {
    for fs in [Fs::Ext4, Fs::Xfs] {
        let mounted = match Mounted::new(fs) {
            Ok(mounted) => mounted,
            Err(why) => return skip(&why),
        };
        let tree = mounted.root().join("tree");
        let file = tree.join("sub/file");
        let line = |word: &str| {
            format!("{word} in a file that nobody has written to since it was sealed\n").repeat(200)
        };
        write(&file, line("approved"));
        write(tree.join("other"), "x");
        tools::run("sync", ["-f", file.to_str().unwrap()]);
        let machine = Machine::with_tree(&tree);
        machine.watch_tree("[scan]\nquick_every = \"1d\"\nfull_every = \"1s\"\ncpu_budget = \"100%\"");
        machine.init();
        let mut watching = machine.watch();
        let before = fs::metadata(&file).unwrap();
        write_to_device(&mounted.image(), line("approved").as_bytes(), line("tampered").as_bytes());
        // Unless it was evicted meanwhile, everybody still sees this.
        assert!(fs::metadata(&file).unwrap().ctime_nsec() == before.ctime_nsec());
        let expected = [Expect::modified("sub/file").fields(&["content"]).key("source", "scan")];
        watching.wait_for_changes(|changes| mismatch(&tree, &expected, changes));
        // And back.
        write_to_device(&mounted.image(), line("tampered").as_bytes(), line("approved").as_bytes());
        watching.wait_for_changes(|changes| mismatch(&tree, &[], changes));
        watching.stop();
    }
}

/// Enough to hash that a scan with the least share of a processor takes a while, in several slices.
fn slow_to_scan(machine: &Machine) {
    for part in 0..4 {
        fs::create_dir(machine.at(&format!("part-{part}"))).unwrap();
        for number in 0..8 {
            write_sparse(machine.at(&format!("part-{part}/{number}")), 10 << 20);
        }
    }
}

const SLOW: &str = "[scan]\nfull_every = \"1s\"\ncpu_budget = \"1%\"";

#[test]
fn events_do_not_wait_for_a_scan_and_the_next_monitor_goes_on_with_it() {
    let machine = Machine::new();
    slow_to_scan(&machine);
    machine.watch_tree(SLOW);
    machine.init();
    let watching = machine.watch();
    let first =
        status(&machine, |line| line["full_scan"]["checked"].as_u64().is_some_and(|checked| checked > 0));
    // What happens is on record before the scan ends.
    write(machine.at("new"), "x");
    machine.sync();
    assert_eq!(mismatch(machine.tree(), &[Expect::added("new")], &machine.recorded()), None);
    let during = status(&machine, |_| true);
    assert_eq!(during["full_scan"]["started"], first["full_scan"]["started"], "{during:#}");
    watching.kill();
    let left = status(&machine, |line| line["monitor"].is_null());
    assert_eq!(left["full_scan"]["started"], first["full_scan"]["started"], "{left:#}");
    let mut watching = machine.watch();
    let after = status(&machine, |line| !line["full_scan"].is_null());
    assert_eq!(after["full_scan"]["started"], first["full_scan"]["started"], "{after:#}");
    let checked = |line: &Value| line["full_scan"]["checked"].as_u64().unwrap();
    assert!(checked(&after) >= checked(&left), "{after:#}\nbefore it was killed: {left:#}");
    // Another share does not make it begin anew.
    machine.watch_tree(&SLOW.replace("1%", "100%"));
    watching.signal(Signal::HUP);
    watching.next_matching(|line| line["type"] == "config" && line["outcome"] == "applied");
    let done = status(&machine, |line| !line["last_full_check"].is_null());
    assert_eq!(done["last_full_check"]["outcome"], "changed", "{done:#}");
    // The new file is in the first slice, which was done by then.
    let all = 1 + 4 + 4 * 8;
    let checked = done["last_full_check"]["checked"].as_u64().unwrap();
    assert!((all..=all + 1).contains(&checked), "{done:#}");
    watching.stop();
}

#[test]
fn a_monitor_ends_at_once_in_the_middle_of_a_scan() {
    let machine = Machine::new();
    slow_to_scan(&machine);
    machine.watch_tree(SLOW);
    machine.init();
    let watching = machine.watch();
    status(&machine, |line| !line["full_scan"].is_null());
    watching.stop();
}

/// What lies where one slice ends and the next begins is looked at as well, and so are the directories themselves.
#[test]
fn every_slice_is_looked_at() {
    if !tools::has("chattr") {
        return;
    }
    let mounted = match Mounted::new(Fs::Ext4) {
        Ok(mounted) => mounted,
        Err(why) => return skip(&why),
    };
    let machine = Machine::with_tree(&mounted.root().join("tree"));
    fs::create_dir(machine.tree()).unwrap();
    slow_to_scan(&machine);
    machine.watch_tree("[scan]\nquick_every = \"1d\"\nfull_every = \"1s\"\ncpu_budget = \"100%\"");
    machine.init();
    let mut watching = machine.watch();
    tools::run("chattr", ["-R", "+d", machine.tree().to_str().unwrap()]);
    let in_part = |part: u32| {
        let files = (0..8).map(move |number| Expect::metadata(format!("part-{part}/{number}")));
        files.chain([Expect::metadata(format!("part-{part}"))])
    };
    let expected: Vec<Expect> = (0..4).flat_map(in_part).chain([Expect::metadata("")]).collect();
    watching.wait_for_changes(|changes| mismatch(machine.tree(), &expected, changes));
    // And back: what is over is found as well.
    tools::run("chattr", ["-R", "-d", machine.tree().to_str().unwrap()]);
    watching.wait_for_changes(|changes| mismatch(machine.tree(), &[], changes));
    watching.stop();
}

#[test]
fn much_that_a_scan_found_is_one_change_set() {
    if !tools::has("chattr") {
        return;
    }
    let mounted = match Mounted::new(Fs::Ext4) {
        Ok(mounted) => mounted,
        Err(why) => return skip(&why),
    };
    let tree = mounted.root().join("tree");
    for number in 0..1200 {
        write(tree.join(format!("{}/{number}", number % 7)), "x");
    }
    let machine = Machine::with_tree(&tree);
    machine.watch_tree("[scan]\nquick_every = \"1s\"");
    machine.init();
    let mut watching = machine.watch();
    tools::run("chattr", ["-R", "+d", tree.to_str().unwrap()]);
    let files = (0..1200).map(|number| Expect::metadata(format!("{}/{number}", number % 7)));
    let directories = (0..7).map(|number| Expect::metadata(number.to_string()));
    let expected: Vec<Expect> = files.chain(directories).chain([Expect::metadata("")]).collect();
    watching.wait_for_changes(|changes| mismatch(&tree, &expected, changes));
    let sets: Vec<Value> = machine
        .waxseal(["--json", "changes"])
        .lines()
        .into_iter()
        .filter(|line| line["type"] == "set" && line["cause"] == "found by a scheduled quick scan")
        .collect();
    // The files may have been come by while the rest was still to be changed.
    assert!(sets.len() <= 2, "{sets:#?}");
    watching.stop();
}
