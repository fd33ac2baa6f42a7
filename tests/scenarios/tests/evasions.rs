//! The thirty ways of writing past a monitor, each by its number: what has to be found at once is found
//! after `sync`, what the kernel does not tell by a quick scan, and what moves no time by a full one.
//! The others are where the same is told at length: 8 and 9 in `mapped`, 21 in `hostile`, 23 and 24 in `evasion`,
//! 14 in `clock`, 15 and 27 in `torture`.

#![allow(clippy::disallowed_methods, reason = "tests make, change and remove their own files")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on ends")]

use rustix::process::Signal;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Stdio};
use waxseal_scenarios::files::*;
use waxseal_scenarios::{Expect, Fs, Machine, Mounted, is_root, mismatch, skip, tools};

/// A tree on a filesystem of its own, and a place beside it.
struct Ground {
    mounted: Mounted,
    machine: Machine,
}

impl Ground {
    fn on(filesystem: Fs) -> Option<Self> {
        let mounted = Mounted::new(filesystem).map_err(|why| skip(&why)).ok()?;
        let tree = mounted.root().join("tree");
        fs::create_dir(&tree).unwrap();
        fs::create_dir(mounted.root().join("outside")).unwrap();
        Some(Self { machine: Machine::with_tree(&tree), mounted })
    }

    fn out(&self, name: &str) -> std::path::PathBuf {
        self.mounted.root().join("outside").join(name)
    }

    fn seal(&self) {
        self.machine.watch_tree("");
        self.machine.init();
    }
}

/// Everything up to now is on record, and this is it.
#[track_caller]
fn recorded(machine: &Machine, expected: &[Expect]) {
    machine.sync();
    if let Some(wrong) = mismatch(machine.tree(), expected, &machine.recorded()) {
        panic!("{wrong}");
    }
}

#[test]
fn e01_directories_made_and_filled_at_once() {
    let Some(ground) = Ground::on(Fs::Tmpfs) else { return };
    ground.seal();
    let watching = ground.machine.watch();
    for number in 0..500 {
        write(ground.machine.at(&format!("{number}/a/b/c/f")), number.to_string());
    }
    let names = ["", "/a", "/a/b", "/a/b/c", "/a/b/c/f"];
    let below = |number: u32| names.map(|name| Expect::added(format!("{number}{name}")));
    recorded(&ground.machine, &(0..500).flat_map(below).collect::<Vec<_>>());
    watching.stop();
}

#[test]
fn e02_trees_moved_in() {
    let Some(ground) = Ground::on(Fs::Tmpfs) else { return };
    ground.seal();
    let watching = ground.machine.watch();
    for number in 0..200 {
        write(ground.out(&format!("{number}/a/f")), number.to_string());
        fs::rename(ground.out(&number.to_string()), ground.machine.at(&number.to_string())).unwrap();
    }
    let below = |number: u32| ["", "/a", "/a/f"].map(|name| Expect::added(format!("{number}{name}")));
    recorded(&ground.machine, &(0..200).flat_map(below).collect::<Vec<_>>());
    watching.stop();
}

#[test]
fn e03_e04_written_through_a_hard_link_outside() {
    for when in ["before the seal", "before the start", "after the start"] {
        let Some(ground) = Ground::on(Fs::Ext4) else { return };
        let (conf, link) = (ground.machine.at("conf"), ground.out("x"));
        write(&conf, "old");
        let make = |now: &str| {
            if now == when {
                fs::hard_link(&conf, &link).unwrap()
            }
        };
        make("before the seal");
        ground.seal();
        make("before the start");
        let watching = ground.machine.watch();
        make("after the start");
        append(&link, b"evil");
        recorded(&ground.machine, &[Expect::modified("conf").after("size", 7)]);
        watching.stop();
    }
}

#[test]
fn e05_written_through_a_mount_of_a_private_namespace() {
    let Some(ground) = Ground::on(Fs::Ext4) else { return };
    write(ground.machine.at("f"), "old");
    ground.seal();
    let watching = ground.machine.watch();
    let script = "mkdir -p \"$1\" && mount --bind \"$0\" \"$1\" && printf evil >> \"$1/f\"";
    let there = ground.machine.home().join("elsewhere");
    let arguments = [ground.machine.tree(), &there].map(|path| path.to_str().unwrap().to_owned());
    let words = ["--mount", "sh", "-c", script].map(str::to_owned);
    if let Err(why) = tools::try_run("unshare", words.into_iter().chain(arguments)) {
        return skip(&why);
    }
    recorded(&ground.machine, &[Expect::modified("f").after("size", 7)]);
    watching.stop();
}

/// Mounts an overlay; where it cannot be, says so.
fn overlay(lower: &Path, upper: &Path, work: &Path, at: &Path) -> bool {
    for directory in [lower, upper, work, at] {
        fs::create_dir_all(directory).unwrap();
    }
    let options =
        format!("lowerdir={},upperdir={},workdir={}", lower.display(), upper.display(), work.display());
    let arguments = ["-t", "overlay", "-o", &options, "overlay", at.to_str().unwrap()];
    tools::try_run("mount", arguments).map_err(|why| skip(&why)).is_ok()
}

#[test]
fn e06_a_container_writes_in_its_root() {
    let Some(ground) = Ground::on(Fs::Ext4) else { return };
    let (upper, root) = (ground.machine.at("upper"), ground.out("root"));
    write(ground.out("lower/f"), "old");
    if !overlay(&ground.out("lower"), &upper, &ground.out("work"), &root) {
        return;
    }
    ground.seal();
    let watching = ground.machine.watch();
    append(root.join("f"), b"evil");
    write(root.join("new"), "x");
    // The overlay marks a directory of its layer when it copies a file up.
    let expected = [
        Expect::metadata("upper").fields(&["xattrs"]),
        Expect::added("upper/f").after("size", 7),
        Expect::added("upper/new"),
    ];
    recorded(&ground.machine, &expected);
    watching.stop();
    tools::run("umount", [&root]);
}

#[test]
fn e07_written_below_an_overlay() {
    let Some(ground) = Ground::on(Fs::Ext4) else { return };
    let tree = ground.machine.tree().to_owned();
    write(ground.out("upper/f"), "old");
    if !overlay(&ground.out("lower"), &ground.out("upper"), &ground.out("work"), &tree) {
        return;
    }
    ground.seal();
    append(ground.out("upper/f"), b"evil");
    let report = ground.machine.check_quick().expect_changed();
    let expected = [Expect::modified("f").after("size", 7)];
    assert_eq!(mismatch(&tree, &expected, &report.changes), None);
    tools::run("umount", [&tree]);
}

#[test]
fn e10_written_by_aio_with_the_file_kept_open() {
    let Some(ground) = Ground::on(Fs::Ext4) else { return };
    let program = ground.machine.home().join("aio_write");
    if let Err(why) = tools::compile(include_str!("../c/aio_write.c"), &program) {
        return skip(&why);
    }
    write(ground.machine.at("f"), "old content");
    ground.seal();
    let watching = ground.machine.watch();
    let mut child = Command::new(&program)
        .arg(ground.machine.at("f"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut said).unwrap();
    assert_eq!(said, "written\n");
    // The kernel says nothing while it is open; a quick scan sees the times.
    let report = ground.machine.check_quick().expect_changed();
    let expected = [Expect::modified("f").field("content")];
    assert_eq!(mismatch(ground.machine.tree(), &expected, &report.changes), None);
    child.stdin.take().unwrap().write_all(b"\n").unwrap();
    assert!(child.wait().unwrap().success());
    recorded(&ground.machine, &expected);
    watching.stop();
}

#[test]
fn e11_written_through_a_loop_device() {
    let Some(ground) = Ground::on(Fs::Ext4) else { return };
    let image = ground.machine.at("image");
    write(&image, vec![0; 1 << 20]);
    ground.seal();
    let watching = ground.machine.watch();
    let device = match tools::try_run("losetup", ["--find", "--show", image.to_str().unwrap()]) {
        Ok(device) => device.trim().to_owned(),
        Err(why) => return skip(&why),
    };
    let file = fs::OpenOptions::new().write(true).open(&device).unwrap();
    file.write_all_at(b"evil", 4096).unwrap();
    file.sync_all().unwrap();
    drop(file);
    let expected = [Expect::modified("image").field("content")];
    let report = ground.machine.check_quick().expect_changed();
    tools::run("losetup", ["--detach", &device]);
    assert_eq!(mismatch(ground.machine.tree(), &expected, &report.changes), None);
    recorded(&ground.machine, &expected);
    watching.stop();
}

#[test]
fn e12_flags_that_no_event_tells_of() {
    let Some(ground) = Ground::on(Fs::Ext4) else { return };
    write(ground.machine.at("f"), "x");
    ground.seal();
    let _immutable = tools::Flags::set(ground.machine.at("f"), "i");
    let report = ground.machine.check_quick().expect_changed();
    let expected = [Expect::metadata("f").fields(&["flags"])];
    assert_eq!(mismatch(ground.machine.tree(), &expected, &report.changes), None);
}

#[test]
fn e13_the_time_put_back() {
    let Some(ground) = Ground::on(Fs::Xfs) else { return };
    write(ground.machine.at("f"), "0123456789");
    ground.seal();
    let watching = ground.machine.watch();
    overwrite_unseen(ground.machine.at("f"));
    recorded(&ground.machine, &[Expect::modified("f").fields(&["content"])]);
    watching.stop();
}

#[test]
fn e16_e17_changed_while_the_monitor_is_down() {
    let Some(ground) = Ground::on(Fs::Btrfs) else { return };
    for name in ["edited", "restored"] {
        write(ground.machine.at(name), "0123456789");
    }
    ground.machine.watch_tree("attributes = [\"content\", \"mtime\", \"ctime\"]");
    ground.machine.init();
    ground.machine.watch().stop();
    overwrite_unseen(ground.machine.at("edited"));
    overwrite_unseen(ground.machine.at("restored"));
    overwrite_unseen(ground.machine.at("restored"));
    let watching = ground.machine.watch();
    let expected = [
        Expect::modified("edited").field("content"),
        // The content is as it was, and that somebody was there is said.
        Expect::metadata("restored").fields(&["ctime"]),
    ];
    recorded(&ground.machine, &expected);
    watching.stop();
}

/// Takes a file out of the kernel's memory.
fn evict(path: &Path) {
    let input = format!("if={}", path.display());
    tools::run("dd", [input.as_str(), "iflag=nocache", "count=0"]);
}

#[test]
fn e18_written_below_the_filesystem() {
    let Some(ground) = Ground::on(Fs::Ext4) else { return };
    let mark = b"a line that stands in no other block of this image";
    write(ground.machine.at("f"), mark);
    tools::run("sync", ["--file-system", ground.machine.tree().to_str().unwrap()]);
    ground.seal();
    let image = ground.mounted.image();
    let bytes = fs::read(&image).unwrap();
    let at = bytes.windows(mark.len()).position(|window| window == mark).expect("the file's block");
    let file = fs::OpenOptions::new().write(true).open(&image).unwrap();
    file.write_all_at(b"EVIL", at as u64).unwrap();
    file.sync_all().unwrap();
    // The kernel goes on showing what it has in memory. That gone, a full check sees it; a quick one need not.
    evict(&ground.machine.at("f"));
    let report = ground.machine.check().expect_changed();
    let expected = [Expect::modified("f").fields(&["content"])];
    assert_eq!(mismatch(ground.machine.tree(), &expected, &report.changes), None);
}

#[test]
fn e19_blocks_exchanged_below_the_times() {
    let Some(ground) = Ground::on(Fs::Ext4) else { return };
    let program = ground.machine.home().join("move_extents");
    if let Err(why) = tools::compile(include_str!("../c/move_extents.c"), &program) {
        return skip(&why);
    }
    write(ground.machine.at("target"), vec![b'x'; 8192]);
    write(ground.out("other"), vec![b'y'; 8192]);
    tools::run("sync", ["--file-system", ground.machine.tree().to_str().unwrap()]);
    ground.seal();
    let watching = ground.machine.watch();
    // While the kernel has it in memory, it goes on showing the old content to everybody.
    evict(&ground.machine.at("target"));
    let output =
        Command::new(&program).arg(ground.out("other")).arg(ground.machine.at("target")).output().unwrap();
    if !output.status.success() {
        return skip(&format!("blocks cannot be exchanged: {}", String::from_utf8_lossy(&output.stderr)));
    }
    recorded(&ground.machine, &[Expect::modified("target").fields(&["content"])]);
    watching.stop();
}

#[test]
fn e20_mounted_over_a_file_and_over_a_directory() {
    let Some(ground) = Ground::on(Fs::Ext4) else { return };
    write(ground.machine.at("file"), "x");
    write(ground.machine.at("dir/file"), "x");
    write(ground.out("evil/file"), "evil");
    ground.seal();
    let mut watching = ground.machine.watch();
    for (over, with) in [("file", "evil/file"), ("dir", "evil")] {
        let over = ground.machine.at(over);
        let arguments = [Path::new("--bind"), &ground.out(with), &over];
        if let Err(why) = tools::try_run("mount", arguments) {
            return skip(&why);
        }
        let path = over.to_str().unwrap().to_owned();
        let line = watching.next_matching(|line| {
            line["path"] == *path && matches!(line["type"].as_str(), Some("error" | "change"))
        });
        tools::run("umount", [&over]);
        assert!(line["error"].is_null() || line.to_string().contains("mounted"), "{line}");
    }
    recorded(&ground.machine, &[]);
    watching.stop();
}

#[test]
fn e22_a_file_that_becomes_what_must_not_be_read() {
    let Some(ground) = Ground::on(Fs::Xfs) else { return };
    for name in ["fifo", "device", "sparse"] {
        write(ground.machine.at(name), "x");
    }
    ground.seal();
    let watching = ground.machine.watch();
    for name in ["fifo", "device", "sparse"] {
        fs::remove_file(ground.machine.at(name)).unwrap();
    }
    make_fifo(ground.machine.at("fifo"));
    make_device(ground.machine.at("device"), 1, 5);
    write_sparse(ground.machine.at("sparse"), 1 << 40);
    let expected = [
        Expect::retyped("fifo").after("type", "fifo"),
        Expect::retyped("device").after("type", "chardev"),
        Expect::modified("sparse").field("size"),
    ];
    recorded(&ground.machine, &expected);
    watching.stop();
}

#[test]
fn e25_a_snapshot_in_the_place_of_a_subvolume() {
    let Some(ground) = Ground::on(Fs::Btrfs) else { return };
    if !tools::has("btrfs") {
        return;
    }
    let (sealed, other) = (ground.machine.at("sub"), ground.out("other"));
    for (subvolume, content) in [(&sealed, "old"), (&other, "evil, in a snapshot")] {
        tools::run("btrfs", ["subvolume", "create", subvolume.to_str().unwrap()]);
        write(subvolume.join("f"), content);
    }
    // A subvolume counts as a filesystem of its own.
    ground.machine.watch_tree("cross_filesystems = true");
    ground.machine.init();
    let watching = ground.machine.watch();
    tools::run("btrfs", ["subvolume", "delete", sealed.to_str().unwrap()]);
    tools::run("btrfs", ["subvolume", "snapshot", other.to_str().unwrap(), sealed.to_str().unwrap()]);
    ground.machine.sync();
    let recorded = ground.machine.recorded();
    let path = ground.machine.at("sub/f");
    let found = recorded.iter().find(|change| change.path() == path.as_os_str().as_encoded_bytes());
    assert_eq!(found.expect("the file in the snapshot").kind(), "modified");
    watching.stop();
}

#[test]
fn e26_nobody_is_named_wrongly() {
    let Some(ground) = Ground::on(Fs::Tmpfs) else { return };
    write(ground.machine.at("f"), "");
    ground.seal();
    let mut watching = ground.machine.watch();
    let script = "i=0; while [ $i -lt 1000 ]; do sh -c 'echo >> \"$0\"' \"$0\"; i=$((i+1)); done";
    tools::run("sh", ["-c", script, ground.machine.at("f").to_str().unwrap()]);
    recorded(&ground.machine, &[Expect::modified("f").after("size", 1000)]);
    watching.next_matching(|line| line["type"] == "change" && line["after"]["size"] == 1000);
    // Who it was is not told yet; nobody may be named who was not.
    assert!(
        watching.seen().iter().all(|line| line["actor"].is_null() || line["actor"]["exe"] != "/bin/true")
    );
    watching.stop();
}

#[test]
fn e28_changed_while_the_monitor_is_stopped() {
    let Some(ground) = Ground::on(Fs::Xfs) else { return };
    write(ground.machine.at("f"), "old");
    ground.seal();
    let watching = ground.machine.watch();
    watching.signal(Signal::STOP);
    append(ground.machine.at("f"), b"evil");
    watching.signal(Signal::CONT);
    recorded(&ground.machine, &[Expect::modified("f").after("size", 7)]);
    watching.stop();
}

#[test]
fn e29_prepared_where_nobody_looks() {
    let Some(ground) = Ground::on(Fs::Ext4) else { return };
    write(ground.machine.at("noise/x"), "x");
    ground.machine.watch_tree("exclude = [\"/noise\"]");
    ground.machine.init();
    let watching = ground.machine.watch();
    write(ground.machine.at("noise/evil"), "evil");
    fs::rename(ground.machine.at("noise/evil"), ground.machine.at("evil")).unwrap();
    recorded(&ground.machine, &[Expect::added("evil").after("size", 4)]);
    watching.stop();
}

/// With marks, directories cost nothing; with inotify, the limit is said, and scans find the rest.
#[test]
fn e30_more_directories_than_the_user_may_watch() {
    let Some(ground) = Ground::on(Fs::Ext4) else { return };
    for number in 0..60 {
        write(ground.machine.at(&format!("{number}/f")), "x");
    }
    ground.seal();
    // A user namespace has a limit of its own, so that nobody else is hindered.
    let script = "echo 30 > /proc/sys/user/max_inotify_watches && exec \"$0\" \"$@\"";
    let limited = ["unshare", "--user", "--map-root-user", "sh", "-c", script];
    if !is_root() || tools::try_run("unshare", ["--user", "--map-root-user", "true"]).is_err() {
        return skip("no user namespace can be made");
    }
    let watching = ground.machine.watch_under(&limited);
    assert_eq!(watching.ready["backend"], "inotify", "{}", watching.ready);
    assert!(watching.ready.to_string().contains("max_user_watches"), "{}", watching.ready);
    for number in 0..60 {
        append(ground.machine.at(&format!("{number}/f")), b"y");
    }
    let report = ground.machine.check_quick().expect_changed();
    assert_eq!(report.summary["modified"], 60);
    watching.stop();
}
