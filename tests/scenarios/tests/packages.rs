//! Which package the program of a writer belongs to, and what it really was.

#![allow(clippy::disallowed_methods, reason = "tests make, change and remove their own files")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on ends")]

use serde_json::Value;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};
use waxseal_scenarios::files::*;
use waxseal_scenarios::{Machine, Watching, skip};

/// A sealed file, and a monitor that knows who writes from programs in the kernel; `None`, said aloud, where that is
/// refused.
fn watch() -> Option<(Machine, Watching)> {
    let machine = Machine::new();
    for name in ["one", "two", "three"] {
        write(machine.at(name), "x");
    }
    machine.watch_tree("");
    machine.init();
    let watching = machine.watch();
    if watching.ready["actors"] == "exec-cache" {
        return Some((machine, watching));
    }
    skip(&format!("who wrote is only known by {} here", watching.ready["actors"]));
    None
}

/// Who made the open change of a path, as it is on record once everything is.
fn actor_of(machine: &Machine, name: &str) -> Value {
    machine.sync();
    let path = machine.at(name);
    let found = machine.recorded().into_iter().find(|change| change.0["path"] == path.to_str().unwrap());
    found.unwrap_or_else(|| panic!("{name} has no change")).0["actor"].clone()
}

/// Lets a shell append to a file.
fn append_by(shell: &Path, machine: &Machine, name: &str) {
    let script = "echo y >> $0; true";
    assert!(Command::new(shell).args(["-c", script]).arg(machine.at(name)).status().unwrap().success());
}

/// Lets the clock of the filesystem go on: what changed within a tick of the moment when it ran is not certain.
fn grow_old(file: &Path) {
    let changed = fs::metadata(file).unwrap();
    let changed =
        Duration::new(changed.ctime().try_into().unwrap(), changed.ctime_nsec().try_into().unwrap());
    while SystemTime::UNIX_EPOCH.elapsed().unwrap() < changed + Duration::from_millis(50) {
        std::thread::yield_now();
    }
}

fn hash_of(machine: &Machine, file: &Path) -> String {
    let sums = machine.waxseal(["hash", file.to_str().unwrap()]);
    sums.text().split(' ').next().unwrap().to_owned()
}

fn real(program: &str) -> PathBuf {
    fs::canonicalize(Path::new("/bin").join(program)).unwrap()
}

/// A copy of the shell, made some time ago.
fn copy(machine: &Machine, name: &str) -> PathBuf {
    let copy = machine.home().join(name);
    fs::copy(real("bash"), &copy).unwrap();
    grow_old(&copy);
    copy
}

#[test]
fn the_package_and_the_hash_of_a_program_are_told() {
    let Some((machine, watching)) = watch() else { return };
    let bash = real("bash");
    append_by(&bash, &machine, "one");
    let actor = actor_of(&machine, "one");
    assert_eq!(actor["exe"], bash.to_str().unwrap(), "{actor}");
    assert_eq!(actor["exe_hash"], hash_of(&machine, &bash), "{actor}");
    let package = Command::new("dpkg-query").args(["-W", "-f=${Package} ${Version}", "bash"]).output();
    match package.ok().filter(|output| output.status.success()) {
        Some(output) => {
            let package = String::from_utf8(output.stdout).unwrap();
            assert_eq!(actor["package"], package, "{actor}");
            let shown = machine.waxseal(["changes"]);
            let wanted = format!("by       {} ({package}) [{}]", bash.display(), actor["pid"]);
            assert!(shown.text().contains(&wanted), "{}", shown.text());
        }
        None => skip("there is no dpkg, so that no package is known"),
    }
    // Known by now, so that it is told at once.
    append_by(&bash, &machine, "two");
    assert_eq!(actor_of(&machine, "two")["exe_hash"], actor["exe_hash"]);
    watching.stop();
}

#[test]
fn a_shell_from_elsewhere_belongs_to_no_package_and_one_that_was_changed_has_another_hash() {
    let Some((machine, watching)) = watch() else { return };
    let copy = copy(&machine, "bash");
    append_by(&copy, &machine, "one");
    let same = actor_of(&machine, "one");
    assert_eq!(same["exe"], copy.to_str().unwrap(), "{same}");
    assert!(same.get("package").is_none(), "{same}");
    assert_eq!(same["exe_hash"], hash_of(&machine, &real("bash")), "{same}");
    append(&copy, b"something else");
    grow_old(&copy);
    append_by(&copy, &machine, "two");
    let other = actor_of(&machine, "two");
    assert_eq!(other["exe_hash"], hash_of(&machine, &copy), "{other}");
    assert_ne!(other["exe_hash"], same["exe_hash"]);
    watching.stop();
}

#[test]
fn of_a_program_that_is_gone_or_another_by_now_no_hash_is_told() {
    let Some((machine, watching)) = watch() else { return };
    let (gone, other) = (copy(&machine, "gone"), copy(&machine, "other"));
    let run = |shell: &Path, script: &str, file: &str| {
        let status = Command::new(shell).args(["-c", script]).arg(machine.at(file)).arg(shell).status();
        assert!(status.unwrap().success());
    };
    // It removes itself before it writes; the other is replaced by what looks innocent.
    run(&gone, "rm $1; echo y >> $0; true", "one");
    run(&other, "cp /bin/true $1.new; mv $1.new $1; echo y >> $0; true", "two");
    for (name, exe) in [("one", &gone), ("two", &other)] {
        let actor = actor_of(&machine, name);
        assert_eq!(actor["exe"], exe.to_str().unwrap(), "{actor}");
        assert!(actor.get("exe_hash").is_none() && actor.get("package").is_none(), "{actor}");
    }
    watching.stop();
}
