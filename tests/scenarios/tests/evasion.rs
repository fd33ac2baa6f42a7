//! What somebody does so that nobody notices: by other ways to the same file, by calls that few programs make, by
//! moving what lies above.

#![allow(clippy::disallowed_methods, reason = "tests make, change and remove their own files")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on ends")]

use rustix::fs::{AtFlags, CWD, FallocateFlags, Mode, OFlags};
use std::fs;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::symlink;
use waxseal_scenarios::files::*;
use waxseal_scenarios::{Expect, Fs, Machine, Place, Story, is_root, mismatch, skip, tools, watch};

#[test]
fn two_files_that_change_places() {
    Story {
        rule: "",
        needs: &[],
        root: false,
        before: |place| {
            write(place.at("a/one"), "content of one");
            write(place.at("b/two"), "content of two");
        },
        then: |place| exchange(place.at("a/one"), place.at("b/two")),
        expect: |_| {
            vec![Expect::modified("a/one").field("content"), Expect::modified("b/two").field("content")]
        },
    }
    // Overlays do not exchange.
    .on(&[Fs::Ext4, Fs::Xfs, Fs::Btrfs, Fs::Tmpfs]);
}

#[test]
fn a_hole_punched_into_a_file_with_the_time_put_back() {
    Story {
        rule: "",
        needs: &[],
        root: false,
        before: |place| {
            write(place.at("file"), vec![b'x'; 256 * 1024]);
            set_mtime(place.at("file"), 1_700_000_000, 5);
        },
        then: |place| {
            let file = fs::OpenOptions::new().write(true).open(place.at("file")).unwrap();
            let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            rustix::fs::fallocate(&file, flags, 64 * 1024, 64 * 1024).unwrap();
            drop(file);
            set_mtime(place.at("file"), 1_700_000_000, 5);
        },
        expect: |_| vec![Expect::modified("file").fields(&["content"])],
    }
    .on_all();
}

#[test]
fn truncated_by_its_name_without_being_opened() {
    Story {
        rule: "",
        needs: &["truncate"],
        root: false,
        before: |place| write(place.at("file"), "0123456789"),
        then: |place| tools::run("truncate", ["--size=4".as_ref(), place.at("file").as_os_str()]),
        expect: |_| vec![Expect::modified("file").field("size").before("size", 10).after("size", 4)],
    }
    .on_all();
}

/// A file that has no name while it is written, and then takes one.
#[test]
fn a_file_that_is_given_its_name_afterwards() {
    Story {
        rule: "",
        needs: &[],
        root: false,
        before: |place| write(place.at("sub/file"), "x"),
        then: |place| {
            let flags = OFlags::WRONLY | OFlags::TMPFILE | OFlags::CLOEXEC;
            let nameless = rustix::fs::open(place.at("sub"), flags, Mode::from_raw_mode(0o600)).unwrap();
            let mut nameless = fs::File::from(nameless);
            nameless.write_all(b"written before it had a name").unwrap();
            let itself = format!("/proc/self/fd/{}", nameless.as_raw_fd());
            rustix::fs::linkat(CWD, itself, CWD, place.at("sub/named"), AtFlags::SYMLINK_FOLLOW).unwrap();
        },
        expect: |_| vec![Expect::added("sub/named").after("size", 28)],
    }
    .on(&[Fs::Ext4, Fs::Xfs, Fs::Btrfs, Fs::Tmpfs]);
}

/// The same content and the same times, in a file that is another one.
#[test]
fn a_copy_in_the_place_of_the_original_with_other_rights() {
    Story {
        rule: "",
        needs: &[],
        root: false,
        before: |place| {
            write(place.at("file"), "same");
            chmod(place.at("file"), 0o600);
            set_mtime(place.at("file"), 1_700_000_000, 7);
        },
        then: |place| {
            write(place.out("copy"), "same");
            chmod(place.out("copy"), 0o644);
            set_mtime(place.out("copy"), 1_700_000_000, 7);
            fs::rename(place.out("copy"), place.at("file")).unwrap();
        },
        expect: |_| vec![Expect::metadata("file").fields(&["mode"]).before("mode", "0600")],
    }
    .on_all();
}

/// Deep below a directory that is moved out, changed where nobody looks, and moved back.
#[test]
fn moved_out_changed_and_moved_back() {
    Story {
        rule: "",
        needs: &[],
        root: false,
        before: |place| {
            write(place.at("a/b/c/file"), "0123456789");
            write(place.at("a/b/other"), "untouched");
        },
        then: |place: &Place| {
            fs::rename(place.at("a"), place.out("a")).unwrap();
            overwrite_unseen(place.out("a/b/c/file"));
            fs::rename(place.out("a"), place.at("a")).unwrap();
        },
        expect: |_| vec![Expect::modified("a/b/c/file").fields(&["content"])],
    }
    .on_all();
}

/// A machine with one sealed file, and the monitor on it; or none where the tests may not mount.
fn watched() -> Option<Machine> {
    if !is_root() {
        skip("only root can mount");
        return None;
    }
    let machine = Machine::new();
    write(machine.at("sub/file"), "0123456789");
    machine.watch_tree("");
    machine.init();
    Some(machine)
}

#[test]
fn written_through_a_bind_mount_elsewhere() {
    let Some(machine) = watched() else { return };
    let elsewhere = machine.home().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    let (sub, there) = (machine.at("sub"), elsewhere.to_str().unwrap());
    if let Err(why) = tools::try_run("mount", ["--bind", sub.to_str().unwrap(), there]) {
        return skip(&why);
    }
    for without_marks in [false, true] {
        let mut watching = if without_marks { machine.watch_without_marks() } else { machine.watch() };
        append(elsewhere.join("file"), b"x");
        write(elsewhere.join("new"), without_marks.to_string());
        let size = fs::metadata(machine.at("sub/file")).unwrap().len();
        let expected = [Expect::modified("sub/file").after("size", size), Expect::added("sub/new")];
        let judge = |changes: &[_]| mismatch(machine.tree(), &expected, changes);
        watching.wait_for_changes(judge);
        watching.stop();
    }
    tools::run("umount", [there]);
}

#[test]
fn written_in_another_mount_namespace_and_another_root() {
    let Some(machine) = watched() else { return };
    if !(tools::has("unshare") && tools::has("sh")) {
        return;
    }
    let mut watching = machine.watch();
    let file = machine.at("sub/file");
    let script = format!("printf y >> '{}'", file.display());
    if let Err(why) = tools::try_run("unshare", ["--mount", "sh", "-c", &script]) {
        return skip(&why);
    }
    let expected = [Expect::modified("sub/file").after("size", 11)];
    watching.wait_for_changes(|changes| mismatch(machine.tree(), &expected, changes));
    // The watched directory is all that this one sees.
    let script = "mount --bind \"$0\" /mnt && cd /mnt && printf z >> sub/file";
    if let Err(why) =
        tools::try_run("unshare", ["--mount", "sh", "-c", script, machine.tree().to_str().unwrap()])
    {
        return skip(&why);
    }
    let expected = [Expect::modified("sub/file").after("size", 12)];
    watching.wait_for_changes(|changes| mismatch(machine.tree(), &expected, changes));
    watching.stop();
}

/// What lies above a watched path is followed, so whoever moves it there has changed everything below.
#[test]
fn what_lies_above_the_tree_is_swapped() {
    let machine = Machine::new();
    let real = machine.home().join("parent/watched");
    write(real.join("file"), "the sealed one");
    let other = machine.home().join("other/watched");
    write(other.join("file"), "another content");
    machine.configure(&watch("watched", &[&real], ""));
    machine.init();
    for by_link in [false, true] {
        let mut watching = machine.watch();
        fs::rename(machine.home().join("parent"), machine.home().join("aside")).unwrap();
        if by_link {
            symlink("other", machine.home().join("parent")).unwrap();
        } else {
            fs::rename(machine.home().join("other"), machine.home().join("parent")).unwrap();
        }
        let expected = [Expect::modified("file").field("content")];
        watching.wait_for_changes(|changes| mismatch(&real, &expected, changes));
        // What is there now is watched.
        write(real.join("new"), "x");
        let expected = [Expect::modified("file").field("content"), Expect::added("new")];
        watching.wait_for_changes(|changes| mismatch(&real, &expected, changes));
        // Back to how it was.
        if by_link {
            fs::remove_file(machine.home().join("parent")).unwrap();
        } else {
            fs::rename(machine.home().join("parent"), machine.home().join("other")).unwrap();
        }
        fs::rename(machine.home().join("aside"), machine.home().join("parent")).unwrap();
        watching.wait_for_changes(|changes| mismatch(&real, &[], changes));
        watching.stop();
        fs::remove_file(other.join("new")).unwrap();
    }
}

/// The program's own files, in the middle of what it watches, wake nobody.
#[test]
fn the_state_directory_in_the_tree_raises_nothing() {
    let machine = Machine::new();
    write(machine.at("file"), "x");
    machine.watch_tree("[scan]\nquick_every = \"1s\"");
    let state = machine.at("state");
    machine.waxseal_in(&state, ["init"]).expect_code(0);
    let mut watching = machine.watch_in(&state);
    for round in 0..20_u64 {
        append(machine.at("file"), b"y");
        watching.next_matching(|line| line["type"] == "change" && line["after"]["size"] == round + 2);
    }
    let state = state.to_str().unwrap();
    let about = |line: &&serde_json::Value| line["path"].as_str().is_some_and(|path| path.starts_with(state));
    assert_eq!(watching.seen().iter().find(about), None);
    watching.stop();
}

/// Below a directory that is made, filled and renamed while its watch is being put in place.
#[test]
fn renamed_as_soon_as_it_is_made() {
    Story {
        rule: "",
        needs: &[],
        root: false,
        before: |place| write(place.at("file"), "x"),
        then: |place| {
            for number in 0..40 {
                write(place.at(&format!("tmp-{number}/in/file")), number.to_string());
                fs::rename(place.at(&format!("tmp-{number}")), place.at(&format!("dir-{number}"))).unwrap();
                write(place.at(&format!("dir-{number}/in/late")), format!("late {number}"));
            }
        },
        expect: |_| {
            let below = |number: u32| {
                ["", "/in", "/in/file", "/in/late"].map(|name| Expect::added(format!("dir-{number}{name}")))
            };
            (0..40).flat_map(below).collect()
        },
    }
    .on(&[Fs::Ext4, Fs::Tmpfs]);
}
