//! What surrounds the program: pipes that close, few open files, no config yet, other programs that read its output.

#![allow(clippy::disallowed_methods, reason = "tests make, change and remove their own files")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on ends")]

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;
use waxseal_scenarios::files::*;
use waxseal_scenarios::{Expect, Machine, Report, is_root, mismatch, tools, watch};

#[test]
fn without_options_an_ordinary_user_has_everything_at_home() {
    let machine = Machine::new();
    write(machine.at("file"), "x");
    let machine = machine.as_ordinary_user();
    if tools::run("id", ["-u"]).trim() != "0" {
        // The tests' own user may have set where things are.
        return;
    }
    let tree = machine.tree().as_os_str().to_owned();
    machine.waxseal_bare(["init".into(), tree]).expect_code(0);
    assert!(machine.home().join(".config/waxseal/waxseal.toml").is_file());
    assert!(machine.home().join(".local/state/waxseal/waxseal.db").is_file());
    machine.waxseal_bare(["check"]).expect_code(0);
    append(machine.at("file"), b"y");
    machine.waxseal_bare(["check"]).expect_code(1);
}

#[test]
fn five_thousand_changes_are_a_report_of_one_screen() {
    let machine = Machine::new();
    for number in 0..5000 {
        write(machine.at(&format!("{}/{number}", number % 9)), "x");
    }
    machine.watch_tree("");
    machine.init();
    for number in 0..5000 {
        append(machine.at(&format!("{}/{number}", number % 9)), b"y");
    }
    let lines = |arguments: &[&str]| machine.waxseal(arguments).expect_code(1).text().lines().count();
    assert!(lines(&["check"]) <= 50, "{} lines", lines(&["check"]));
    assert!(lines(&["check", "--all"]) >= 5000);
    assert!(lines(&["changes"]) <= 60, "{} lines", lines(&["changes"]));
    assert!(machine.waxseal(["check"]).text().contains("5,000"), "how many is not said");
}

#[test]
fn a_reader_that_goes_away_is_no_reason_to_panic() {
    let machine = Machine::new();
    for number in 0..3000 {
        write(machine.at(&number.to_string()), "x");
    }
    machine.watch_tree("");
    machine.init();
    for number in 0..3000 {
        append(machine.at(&number.to_string()), b"y");
    }
    for arguments in [
        &["check", "--all"][..],
        &["--json", "check"],
        &["changes", "--all"],
        &["baseline", "export", "--format", "json"],
    ] {
        let output = machine.waxseal_into_closed_pipe(arguments);
        assert!(!output.stderr.contains("panicked"), "{arguments:?}: {}", output.stderr);
        assert_ne!(output.code, Some(101), "{arguments:?}");
        assert_ne!(
            output.code,
            Some(0),
            "{arguments:?}: not everything was said, and the code says that all is well"
        );
    }
    assert_eq!(machine.check().summary["modified"], 3000);
}

/// With few open files everything is slower, and complete; with next to none it says what it could not open. It is
/// never wrong.
#[test]
fn a_low_limit_of_open_files_hides_nothing() {
    if !tools::has("prlimit") {
        return;
    }
    let machine = Machine::new();
    write_at(&make_deep(machine.tree(), "level", 300), "payload", b"old");
    // On every level of this one something waits until all below has been seen.
    let mut level = machine.at("ladder");
    for number in 0..150 {
        for sibling in ["a", "b", "y", "z"] {
            write(level.join(sibling).join("file"), format!("{number}"));
        }
        level.push("m");
    }
    for number in 0..300 {
        write(machine.at(&format!("wide-{number}/file")), "x");
    }
    // Large enough to be streamed side by side, each from a directory of its own.
    for number in 0..80 {
        write(machine.at(&format!("large-{number}/file")), vec![number; 100_000]);
    }
    // More roots than open files.
    let apart: Vec<_> = (0..120).map(|number| machine.home().join(format!("apart-{number}"))).collect();
    for path in &apart {
        write(path.join("file"), "x");
    }
    let mut roots: Vec<&Path> = apart.iter().map(|path| path.as_path()).collect();
    roots.push(machine.tree());
    let config = watch("all", &roots, "attributes = \"all\"");
    machine.configure(&config);
    machine.waxseal_under(&["prlimit", "--nofile=64:64"], ["init"]).expect_code(0);
    let checked = machine.check().expect_intact().summary["checked"].clone();
    let changed =
        [machine.at("wide-7/file"), machine.at("large-9/file"), level.parent().unwrap().join("z/file")];
    for path in &changed {
        append(path, b"y");
    }
    for limit in [20, 24, 64, 128, 256, 1024, 4096] {
        let limited = ["prlimit", &format!("--nofile={limit}:{limit}")];
        let output = machine.waxseal_under(&limited, ["--json", "check"]);
        if limit < 64 && output.code == Some(2) && output.stdout.is_empty() {
            // Not even the database could be opened.
            assert!(!output.stderr.is_empty(), "{output:?}");
            continue;
        }
        let report = Report::new(output, false);
        let known = |path: &[u8]| changed.iter().any(|changed| changed.as_os_str().as_bytes() == path);
        let strange = report.changes.iter().find(|change| !known(&change.path()));
        assert!(strange.is_none(), "{limit}: what could not be opened is not changed: {strange:?}");
        if limit >= 64 || report.errors.is_empty() {
            let report = report.expect_changed();
            assert_eq!(report.changes.len(), 3, "{limit}: {:#?}", report.output);
            assert_eq!(report.summary["checked"], checked, "{limit}: {}", report.summary);
        } else {
            report.expect_incomplete();
        }
    }
}

/// The monitor, too, whichever way it watches.
#[test]
fn a_low_limit_of_open_files_does_not_blind_the_monitor() {
    if !tools::has("prlimit") {
        return;
    }
    let machine = Machine::new();
    let mut level = machine.at("ladder");
    for number in 0..100 {
        write(level.join("a/file"), format!("{number}"));
        write(level.join("z/file"), format!("{number}"));
        level.push("m");
    }
    machine.watch_tree("");
    machine.init();
    let limit = ["prlimit", "--nofile=64:64"];
    let unmarked =
        ["prlimit", "--nofile=64:64", "setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin"];
    let ways =
        if is_root() && tools::has("setpriv") { vec![&limit[..], &unmarked[..]] } else { vec![&limit[..]] };
    for (round, by) in ways.into_iter().enumerate() {
        let mut watching = machine.watch_under(by);
        let file = level.parent().unwrap().join("z/file");
        append(&file, b"more");
        write(machine.at(&format!("ladder/new-{round}")), "new");
        let modified = file.strip_prefix(machine.tree()).unwrap().as_os_str().as_bytes();
        let expected = [Expect::added(format!("ladder/new-{round}")), Expect::modified(modified)];
        watching.wait_for_changes(|changes| mismatch(machine.tree(), &expected, changes));
        assert!(!watching.seen().iter().any(|line| line["type"] == "error"), "{:#?}", watching.seen());
        watching.stop();
    }
}

#[test]
fn our_sums_are_those_of_coreutils_for_every_name() {
    if !tools::has("sha256sum") {
        return;
    }
    let machine = Machine::new();
    let names: [&[u8]; 6] = [b"plain", b"with blank", b"new\nline", b"back\\slash", b"\xff\xfe", b"*star"];
    for (number, name) in names.iter().enumerate() {
        let path = machine.tree().join(Path::new(std::ffi::OsStr::from_bytes(name)));
        write(path, format!("content {number}").repeat(number * 1000));
    }
    let files: Vec<_> =
        names.iter().map(|name| machine.tree().join(Path::new(std::ffi::OsStr::from_bytes(name)))).collect();
    let ours = machine
        .waxseal(std::iter::once("hash".into()).chain(files.iter().map(|file| file.clone().into_os_string())))
        .expect_code(0);
    // Bytes that are no text are in the output of both.
    let theirs = std::process::Command::new("sha256sum").args(&files).output().unwrap().stdout;
    assert_eq!(ours.stdout, theirs, "ours:\n{ours:?}\ntheirs:\n{}", String::from_utf8_lossy(&theirs));
    // Each verifies the other's.
    let sums = machine.home().join("sums");
    write(&sums, &theirs);
    machine.waxseal(["hash", "--check", "sums"]).expect_code(0);
    write(&sums, &ours.stdout);
    let verified = std::process::Command::new("sha256sum").args(["--check", "--strict"]).arg(&sums).output();
    assert!(verified.unwrap().status.success());
}

#[test]
fn sums_of_other_programs_are_verified_and_bad_ones_are_not_believed() {
    let machine = Machine::new();
    write(machine.home().join("abc"), "abc");
    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let check = |list: &str| {
        write(machine.home().join("list"), list);
        machine.waxseal(["hash", "--check", "list"])
    };
    for good in [
        format!("{ABC}  abc\n"),
        format!("{ABC} *abc\n"),
        format!("{ABC}  abc\r\n"),
        format!("SHA256 (abc) = {ABC}\n"),
        format!("{}  abc\n", ABC.to_uppercase()),
        format!("{ABC}  abc"),
    ] {
        check(&good).expect_code(0);
    }
    let wrong = ABC.replace('b', "c");
    for (bad, code) in [
        (format!("{wrong}  abc\n"), 1),
        (format!("SHA256 (abc) = {wrong}\n"), 1),
        (String::new(), 2),
        ("nonsense\n".to_owned(), 2),
        (format!("{ABC}  missing\n"), 2),
        (format!("{}  abc\n", &ABC[1..]), 2),
    ] {
        let output = check(&bad);
        assert_eq!(output.code, Some(code), "{bad:?}: {output:?}");
    }
}

#[test]
fn only_regular_files_have_a_sum() {
    let machine = Machine::new();
    make_fifo(machine.at("fifo"));
    make_socket(machine.at("socket"));
    fs::create_dir(machine.at("directory")).unwrap();
    symlink("fifo", machine.at("link")).unwrap();
    for name in ["fifo", "socket", "directory", "link", "missing"] {
        let output = machine.waxseal(["hash".into(), machine.at(name).into_os_string()]).expect_code(2);
        assert!(output.stdout.is_empty() && output.stderr.contains(name), "{name}: {output:?}");
    }
    machine.waxseal(["hash", "/dev/zero"]).expect_code(2);
}

#[test]
fn nothing_to_watch_and_no_config_say_what_to_do() {
    let machine = Machine::new();
    let output = machine.waxseal(["watch"]).expect_code(2);
    assert!(output.stderr.contains("init"), "{}", output.stderr);
    for command in ["check", "status", "changes", "duplicates"] {
        let output = machine.waxseal([command]).expect_code(2);
        assert!(output.stderr.contains("init"), "{command}: {}", output.stderr);
    }
    let output = machine.waxseal(["config", "check"]).expect_code(2);
    assert!(output.stderr.contains("waxseal.toml"), "{}", output.stderr);
}

#[test]
fn a_progress_bar_is_for_terminals() {
    let machine = Machine::new();
    for number in 0..2000 {
        write(machine.at(&number.to_string()), vec![b'x'; 20_000]);
    }
    machine.watch_tree("");
    for command in [&["init"][..], &["check"]] {
        let output = machine.waxseal(command).expect_code(0);
        assert!(!output.stderr.contains(['\r', '\u{1b}']), "{:?}", output.stderr);
    }
}

#[test]
fn a_name_that_is_no_text_has_its_exact_bytes_wherever_it_stands() {
    let machine = Machine::new();
    let old = machine.tree().join(Path::new(std::ffi::OsStr::from_bytes(b"old\xff")));
    let new = machine.tree().join(Path::new(std::ffi::OsStr::from_bytes(b"new\xfe")));
    write(&old, "it moves");
    symlink(std::ffi::OsStr::from_bytes(b"target\xfd"), machine.at("link")).unwrap();
    machine.watch_tree("");
    machine.init();
    fs::rename(&old, &new).unwrap();
    fs::remove_file(machine.at("link")).unwrap();
    symlink(std::ffi::OsStr::from_bytes(b"target\xfc"), machine.at("link")).unwrap();
    let report = machine.check().expect_changed();
    let decode = |value: &serde_json::Value| {
        use base64::Engine;
        base64::engine::general_purpose::STANDARD.decode(value.as_str().expect("base64")).unwrap()
    };
    let moved = report.change_at(&new).expect("the file moved");
    assert_eq!(decode(&moved.0["from_base64"]), old.as_os_str().as_bytes());
    let link = report.change_at(machine.at("link")).expect("the link");
    assert_eq!(decode(&link.0["before"]["target_base64"]), b"target\xfd");
    assert_eq!(decode(&link.0["after"]["target_base64"]), b"target\xfc");
}
