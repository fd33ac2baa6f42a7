//! Trees that somebody made to stop the program, to fool it, or to lead it out of the tree.

#![allow(clippy::disallowed_methods, reason = "tests make, change and remove their own files")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on ends")]

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use waxseal_scenarios::files::*;
use waxseal_scenarios::tools::{self, sha256};
use waxseal_scenarios::{
    Change, Expect, Fs, Machine, for_each_filesystem, is_root, meanwhile, mismatch, skip, watch,
};

#[test]
fn links_that_lead_out_of_the_tree_are_links_and_no_more() {
    let machine = Machine::new();
    let secret = machine.home().join("secret");
    write(secret.join("inside"), "nobody watches this");
    symlink(&secret, machine.at("directory")).unwrap();
    symlink(secret.join("inside"), machine.at("file")).unwrap();
    symlink("../secret/inside", machine.at("relative")).unwrap();
    symlink("/proc/self/root", machine.at("magic")).unwrap();
    symlink(".", machine.at("loop")).unwrap();
    symlink("itself", machine.at("itself")).unwrap();
    symlink("nowhere", machine.at("dangling")).unwrap();
    machine.watch_tree("attributes = \"all\"");
    machine.init();
    append(secret.join("inside"), b" at all");
    write(secret.join("new"), "x");
    for report in [machine.check(), machine.check_quick()] {
        // The tree itself and seven links.
        assert_eq!(report.expect_intact().summary["checked"], 8);
    }
}

#[test]
fn a_watched_path_that_is_a_link_is_not_followed_and_init_says_so() {
    let machine = Machine::new();
    let target = machine.home().join("target");
    write(target.join("file"), "x");
    let link = machine.home().join("link");
    symlink(&target, &link).unwrap();
    machine.configure(&watch("link", &[&link], ""));
    let output = machine.init();
    assert!(output.stderr.contains(link.to_str().unwrap()), "{}", output.stderr);
    append(target.join("file"), b"y");
    machine.check().expect_intact();
    fs::remove_file(&link).unwrap();
    symlink(machine.tree(), &link).unwrap();
    let report = machine.check().expect_changed();
    assert!(report.change_at(&link).is_some_and(|change| change.fields().contains(&"target")));
}

/// Directories and files that are swapped with links to others over and over while the tree is checked: whatever the
/// check says, it is never about what lies outside.
/// A look at one path goes through no link either: what was sealed is not found where the link leads.
#[test]
fn a_directory_replaced_by_a_link_hides_nothing_from_a_look_at_one_path() {
    let machine = Machine::new();
    write(machine.at("dir/deep/file"), "x");
    write(machine.at("other"), "y");
    machine.watch_tree("");
    machine.init();
    fs::rename(machine.at("dir"), machine.home().join("elsewhere")).unwrap();
    symlink(machine.home().join("elsewhere"), machine.at("dir")).unwrap();
    write(machine.home().join("elsewhere/deep/new"), "z");
    let deep = machine.at("dir/deep");
    let output = machine.waxseal([OsStr::new("--json"), "check".as_ref(), deep.as_os_str()]).expect_code(1);
    let changes: Vec<Change> =
        output.lines().into_iter().filter(|line| line["type"] == "change").map(Change).collect();
    let expected = ["dir/deep", "dir/deep/file"].map(Expect::removed);
    assert_eq!(mismatch(machine.tree(), &expected, &changes), None, "{output:?}");
    let file = machine.at("dir/deep/file");
    let output = machine.waxseal([OsStr::new("--json"), "diff".as_ref(), file.as_os_str()]).expect_code(1);
    assert_eq!(output.lines()[0]["change"], "removed");
}

#[test]
fn links_swapped_during_the_scan_lead_nowhere() {
    let machine = Machine::new();
    let outside = machine.home().join("outside");
    for number in 0..20 {
        write(machine.at(&format!("swapped/sub/{number}")), "sealed");
        write(machine.at(&format!("stays/sub/{number}")), "sealed");
        write(outside.join(format!("sub/secret-{number}")), "of nobody's business");
    }
    write(machine.at("file"), "sealed");
    write(outside.join("secret"), "of nobody's business either");
    let links = machine.home().join("links");
    fs::create_dir(&links).unwrap();
    symlink(&outside, links.join("directory")).unwrap();
    symlink(outside.join("sub"), links.join("sub")).unwrap();
    symlink(outside.join("secret"), links.join("file")).unwrap();
    machine.watch_tree("");
    machine.init();
    let secrets = [sha256(&outside.join("secret")), sha256(&outside.join("sub/secret-0"))];
    let tree = machine.tree().to_owned();
    let swap = move |round: u64| {
        let (inside, link) =
            [("file", "file"), ("swapped", "directory"), ("stays/sub", "sub")][(round % 3) as usize];
        exchange(tree.join(inside), links.join(link));
    };
    for _ in 0..20 {
        let report = meanwhile(swap.clone(), || machine.check());
        let text = report.output.text();
        assert!(!text.contains("secret-"), "a name from outside: {:#?}", report.output);
        assert!(!secrets.iter().any(|secret| text.contains(secret)), "content from outside: {text}");
    }
}

#[test]
fn what_is_no_file_is_never_opened_for_reading() {
    let machine = Machine::new();
    for name in ["one.fifo", "sub/two.fifo"] {
        fs::create_dir_all(machine.at("sub")).unwrap();
        make_fifo(machine.at(name));
    }
    make_socket(machine.at("socket"));
    if is_root() {
        // A tape would rewind, a watchdog would reboot the machine; these two would never end.
        make_device(machine.at("zero"), 1, 5);
        make_device(machine.at("terminal"), 5, 0);
    }
    machine.watch_tree("attributes = \"all\"");
    let opened = Arc::new(AtomicBool::new(false));
    let saw = Arc::clone(&opened);
    let fifos = [machine.at("one.fifo"), machine.at("sub/two.fifo")];
    // A FIFO can be opened for writing without waiting only while somebody has it open for reading.
    let try_to_write = move |round: u64| {
        let fifo = &fifos[(round % 2) as usize];
        if fs::OpenOptions::new().write(true).custom_flags(0o4000).open(fifo).is_ok() {
            saw.store(true, Ordering::Relaxed);
        }
    };
    meanwhile(try_to_write, || {
        machine.init();
        for _ in 0..5 {
            machine.check().expect_intact();
            machine.check_quick().expect_intact();
        }
        let mut watching = machine.watch();
        chmod(machine.at("one.fifo"), 0o600);
        let expected = [Expect::metadata("one.fifo").fields(&["mode", "ctime"])];
        watching.wait_for_changes(|changes| mismatch(machine.tree(), &expected, changes));
        watching.stop();
    });
    assert!(!opened.load(Ordering::Relaxed), "a FIFO was opened for reading");
}

/// Terabytes without content are not read for hours: the file is named, its size is watched.
#[test]
fn sparse_terabytes_are_named_and_not_read() {
    for_each_filesystem(&[Fs::Xfs, Fs::Btrfs, Fs::Tmpfs], |root| {
        let machine = Machine::with_tree(&root.join("tree"));
        fs::create_dir(machine.tree()).unwrap();
        let sparse = machine.at("sparse");
        write_sparse(&sparse, 4 << 40);
        write(machine.at("other"), "x");
        machine.watch_tree("");
        let output = machine.init();
        assert!(output.stderr.contains(sparse.to_str().unwrap()), "{}", output.stderr);
        let report = machine.check().expect_incomplete();
        assert!(report.has_error_at(&sparse), "{:#?}", report.output);
        append(&sparse, b"y");
        append(machine.at("other"), b"y");
        let report = machine.check().expect_incomplete();
        let change = report.change_at(&sparse).expect("the size has changed");
        assert!(change.fields().contains(&"size"), "{:#?}", report.output);
        assert!(report.change_at(machine.at("other")).is_some());
    });
}

#[test]
fn a_log_that_grows_while_it_is_read_is_fine_and_one_that_is_rewritten_is_not() {
    let machine = Machine::new();
    let log = machine.at("log");
    write(&log, vec![b'l'; 3 << 20]);
    machine.watch_tree("change = \"append-only\"");
    machine.init();
    let growing = log.clone();
    let grow = move |_| append(&growing, b"one more line\n");
    for _ in 0..5 {
        meanwhile(grow.clone(), || machine.check()).expect_intact();
    }
    let rewritten = log.clone();
    let rewrite = move |round: u64| {
        use std::os::unix::fs::FileExt;
        let file = fs::OpenOptions::new().write(true).open(&rewritten).unwrap();
        file.write_all_at(&round.to_le_bytes(), 1000).unwrap();
        append(&rewritten, b"one more line\n");
    };
    let report = meanwhile(rewrite, || machine.check());
    assert_ne!(report.outcome(), "intact", "{:#?}", report.output);
    let report = machine.check().expect_changed();
    assert!(report.change_at(&log).is_some_and(|change| change.kind() == "modified"));
}

#[test]
fn directories_that_come_and_go_while_they_are_scanned() {
    let machine = Machine::new();
    for number in 0..200 {
        write(machine.at(&format!("stable/{number}")), "x");
    }
    machine.watch_tree("");
    machine.init();
    let tree = machine.tree().to_owned();
    let churn = move |round: u64| {
        let directory = tree.join(format!("temporary-{}", round % 7));
        if directory.exists() {
            fs::remove_dir_all(&directory).unwrap();
        } else {
            write(directory.join("a/b/c/file"), round.to_string());
        }
    };
    for _ in 0..10 {
        let report = meanwhile(churn.clone(), || machine.check());
        let strange = |change: &&waxseal_scenarios::Change| {
            change.kind() != "added" || !change.path().windows(10).any(|part| part == b"temporary-")
        };
        assert!(report.changes.iter().find(strange).is_none(), "{:#?}", report.output);
    }
    for number in 0..7 {
        let _ = fs::remove_dir_all(machine.at(&format!("temporary-{number}")));
    }
    machine.check().expect_intact();
}

#[test]
fn two_thousand_levels_and_paths_beyond_what_calls_take_are_watched() {
    for_each_filesystem(&[Fs::Ext4, Fs::Tmpfs], |root| {
        let machine = Machine::with_tree(&root.join("tree"));
        fs::create_dir(machine.tree()).unwrap();
        let bottom = make_deep(machine.tree(), "level", 2000);
        write_at(&bottom, "payload", b"old");
        machine.watch_tree("[scan]\nquick_every = \"1s\"");
        machine.init();
        machine.check().expect_intact();
        let mut watching = machine.watch();
        write_at(&bottom, "payload", b"new!");
        let change = watching.next_matching(|line| line["type"] == "change");
        assert_eq!(change["change"], "modified", "{change}");
        assert!(change["path"].as_str().unwrap().ends_with("/level/payload"));
        watching.stop();
        drop(bottom);
        fs::remove_dir_all(machine.tree()).unwrap();
    });
}

#[test]
fn attributes_as_large_as_the_kernel_takes() {
    if !tools::has("setfattr") {
        return;
    }
    for_each_filesystem(&[Fs::Xfs, Fs::Tmpfs], |root| {
        let machine = Machine::with_tree(&root.join("tree"));
        let file = machine.at("file");
        write(&file, "x");
        let try_set = |name: &str, value: &str| {
            tools::try_run("setfattr", ["-n", name, "-v", value, file.to_str().unwrap()])
        };
        let set = |name: &str, value: &str| drop(try_set(name, value).unwrap());
        let longest = "v".repeat(60_000);
        if let Err(why) = try_set("user.large", &longest) {
            // ext4, where the tests may not mount another one.
            return skip(&why);
        }
        for number in 0..50 {
            set(&format!("user.{number}-{}", "n".repeat(200)), "value");
        }
        machine.watch_tree("");
        machine.init();
        machine.check().expect_intact();
        set("user.large", &format!("{}w", &longest[1..]));
        let report = machine.check().expect_changed();
        assert_eq!(report.change_at(&file).unwrap().fields(), ["xattrs"]);
    });
}

/// A file whose name and content look like a state, a config or a report of the program itself.
#[test]
fn files_that_look_like_its_own_are_content_like_any_other() {
    let machine = Machine::new();
    for name in
        ["waxseal.db", "waxseal.db-wal", "waxseal.toml", "waxseal.lock", "sealing.key", "waxseal.db.new"]
    {
        write(machine.at(name), "x");
    }
    machine.watch_tree("");
    machine.init();
    for name in ["waxseal.db", "sealing.key", "waxseal.db.new"] {
        append(machine.at(name), b"y");
    }
    let report = machine.check().expect_changed();
    assert_eq!(report.changes.len(), 3, "{:#?}", report.output);
    assert!(Path::new(&machine.at("waxseal.db.new")).exists());
}
