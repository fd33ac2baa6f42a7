//! The machine's own `/etc` and `/usr`: sealed, and then intact.

#![allow(clippy::disallowed_methods, reason = "tests make, change and remove their own files")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on ends")]

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use waxseal_scenarios::{Change, Machine, Report, is_root, skip, watch};

/// Some gigabytes are read twice.
const LIMIT: Duration = Duration::from_secs(240);

/// Changes that nobody made: the object is there and its own times say that it has not moved since `sealed`.
fn invented(report: &Report, sealed: i64) -> Vec<&Change> {
    let unmoved = |change: &&Change| {
        let path = change.path();
        let now = fs::symlink_metadata(Path::new(OsStr::from_bytes(&path)));
        change.kind() != "removed" && now.is_ok_and(|metadata| metadata.ctime() < sealed)
    };
    report.changes.iter().filter(unmoved).collect()
}

fn seal_and_check(machine: &Machine, ways: &[&[&str]]) {
    let sealed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64;
    machine.start(["init"]).finish(LIMIT).expect_code(0);
    for arguments in ways {
        let quick = arguments.contains(&"--quick");
        let report = Report::new(machine.start(*arguments).finish(LIMIT), quick);
        assert!(report.errors.is_empty(), "{:#?}", report.errors);
        assert!(invented(&report, sealed).is_empty(), "{:#?}", report.output);
        if report.changes.is_empty() {
            report.expect_intact();
        } else {
            // Somebody works on this machine: then it is right to say so.
            skip(&format!("{} files were changed by others meanwhile", report.changes.len()));
        }
    }
}

#[test]
fn etc_and_usr_as_they_are_are_intact() {
    if !is_root() {
        return skip("only root can read all of /etc and /usr");
    }
    let machine = Machine::new();
    machine.configure(&watch("system", &[Path::new("/etc"), Path::new("/usr")], ""));
    seal_and_check(&machine, &[&["--json", "check", "--quick"], &["--json", "check"]]);
}

#[test]
fn the_default_config_suits_this_system_and_is_quiet() {
    if !is_root() {
        return skip("only root can read all that the default config covers");
    }
    let machine = Machine::new();
    // What a full check finds beyond this, the other test would find as well.
    seal_and_check(&machine, &[&["--json", "check", "--quick"]]);
    let config = fs::read_to_string(machine.config_file()).unwrap();
    for path in ["\"/etc\"", "\"/usr"] {
        assert!(config.contains(path), "{path} is not in the default config:\n{config}");
    }
}
