//! The log as people and programs read it, and its exports.

#![allow(clippy::disallowed_methods, reason = "tests make, change and remove their own files")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on ends")]

use serde_json::Value;
use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use waxseal_scenarios::files::*;
use waxseal_scenarios::{Machine, tools, waxseal_verify};

/// A sealed machine with two files, of which one was changed by a check.
fn sealed() -> Machine {
    let machine = Machine::new();
    fs::create_dir(machine.at("dir")).unwrap();
    write(machine.at("dir/one"), "x");
    write(machine.at("two"), "x");
    machine.watch_tree("");
    machine.init();
    write(machine.at("dir/one"), "y");
    machine.check().expect_changed();
    machine
}

fn log(machine: &Machine, arguments: &[&OsStr]) -> Vec<Value> {
    let words = ["--json", "log"].map(OsStr::new);
    machine.waxseal([&words[..], arguments].concat()).expect_code(0).lines()
}

fn words<'w>(words: &'w [&'w str]) -> Vec<&'w OsStr> {
    words.iter().map(OsStr::new).collect()
}

fn kinds(lines: &[Value]) -> Vec<&str> {
    lines.iter().filter_map(|line| line["kind"].as_str()).collect()
}

#[test]
fn everything_is_there_in_order_and_without_gaps() {
    let machine = sealed();
    let watching = machine.watch();
    write(machine.at("two"), "y");
    machine.sync();
    write(machine.at("two"), "z");
    machine.sync();
    watching.stop();
    let lines = log(&machine, &[]);
    for (number, line) in lines.iter().enumerate() {
        assert_eq!(line["seq"], number, "{line}");
    }
    let kinds = kinds(&lines);
    assert_eq!(kinds[..4], ["key", "sealed", "kept", "change"], "{kinds:?}");
    for kind in ["start", "stop", "change"] {
        assert!(kinds.contains(&kind), "{kinds:?}");
    }
    assert_eq!(kinds.last(), Some(&"key"), "the epoch ends with the monitor: {kinds:?}");
    // Of the two states of one path, the record has the last one; the first one is told by the entry alone.
    let two = machine.at("two");
    let told = |line: &&Value| line["change"]["path"] == two.to_str().unwrap();
    let changes: Vec<&Value> = lines.iter().filter(told).map(|line| &line["change"]).collect();
    let [first, .., last] = changes[..] else { panic!("{changes:?}") };
    assert!(first.get("details").is_some() && first.get("time").is_none(), "{first}");
    let shown = machine.waxseal(["--json", "show", last["id"].as_str().unwrap()]).expect_code(1).lines();
    assert_eq!(*last, shown[0]);
    assert_eq!((&first["after"]["sha256"], first["count"].as_u64()), (&sum("y"), Some(1)));
    assert_eq!(last["after"]["sha256"], sum("z"));
}

fn sum(text: &str) -> Value {
    let home = tempfile();
    write(&home, text);
    let sum = tools::sha256(&home);
    fs::remove_file(&home).unwrap();
    sum.into()
}

/// A file name that no other test has.
fn tempfile() -> PathBuf {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    std::env::temp_dir().join(format!("waxseal-log-{}-{number}", std::process::id()))
}

#[test]
fn one_asks_for_paths_kinds_severities_and_times() {
    let machine = sealed();
    chmod(machine.at("two"), 0o4755);
    machine.check().expect_changed();
    fs::rename(machine.at("dir/one"), machine.at("elsewhere")).unwrap();
    machine.check().expect_changed();
    let paths = |lines: &[Value]| -> Vec<String> {
        let of = |line: &Value| line["change"]["path"].as_str().or(line["path"].as_str()).map(str::to_owned);
        lines.iter().filter_map(of).collect()
    };
    let (one, two) = (machine.at("dir/one"), machine.at("two"));
    // The whole life of a path: also that it went elsewhere.
    for asked in [&one, &machine.at("dir")] {
        let life = log(&machine, &[asked.as_os_str()]);
        assert!(paths(&life).contains(&one.to_str().unwrap().to_owned()), "{life:?}");
        assert!(!paths(&life).contains(&two.to_str().unwrap().to_owned()), "{life:?}");
    }
    // A name that begins like another is not below it.
    assert!(log(&machine, &[machine.at("di").as_os_str()]).is_empty());
    let critical = log(&machine, &words(&["--severity", "critical"]));
    assert_eq!(paths(&critical), [two.to_str().unwrap()]);
    assert_eq!(kinds(&log(&machine, &words(&["--kind", "sealed", "--kind", "key"]))), ["key", "sealed"]);
    let all = log(&machine, &[]);
    let middle = all[all.len() / 2]["time"].as_str().unwrap();
    let (until, since) =
        (log(&machine, &words(&["--until", middle])), log(&machine, &words(&["--since", middle])));
    assert!(until.len() < all.len() && since.len() < all.len() && until.len() + since.len() >= all.len());
    assert!(log(&machine, &words(&["--since", "2030-01-01T00:00:00Z"])).is_empty());
    assert_eq!(log(&machine, &words(&["--since", "1d"])), all);
    machine.waxseal(["log", "--since", "yesterday"]).expect_code(2);
    machine.waxseal(["log", "--kind", "nonsense"]).expect_code(2);
}

#[test]
fn people_read_one_line_an_entry_whatever_names_there_are() {
    let machine = sealed();
    let evil = machine.tree().join(OsStr::from_bytes(b"evil\n\x1b[31m \xff"));
    write(&evil, "x");
    machine.check().expect_changed();
    let output = machine.waxseal(["log"]).expect_code(0);
    let lines: Vec<&str> = output.text().lines().collect();
    assert_eq!(lines.len(), log(&machine, &[]).len(), "{lines:?}");
    assert!(!output.text().contains('\x1b'), "{lines:?}");
    assert!(
        lines[1].contains("sealed   baseline 1, 4 entries") && lines[1].contains("first baseline"),
        "{lines:?}"
    );
    assert!(lines.iter().any(|line| line.contains("modified") && line.contains("dir/one (content, mtime)")));
    assert!(
        lines.iter().any(|line| line.contains(r"added") && line.contains(r"evil\n\u{1b}[31m \xff")),
        "{lines:?}"
    );
}

#[test]
fn it_is_said_who_did_it() {
    let machine = sealed();
    let watching = machine.watch();
    tools::run("sh", ["-c".as_ref(), "echo more >> \"$0\"".as_ref(), machine.at("two").as_os_str()]);
    machine.sync();
    watching.stop();
    let known = log(&machine, &[machine.at("two").as_os_str()]);
    let Some(exe) = known[0]["change"]["actor"]["exe"].as_str().map(str::to_owned) else { return };
    let by = |actor: &str| log(&machine, &words(&["--actor", actor])).len();
    // What its executable is may have been told after what it did.
    assert_eq!((by(&exe), by("nobody-has-this-name")), (known.len(), 0));
    let name = exe.rsplit('/').next().unwrap();
    assert!(by(name) == known.len() && by("unknown") == 0);
    let text = machine.waxseal(["log"]).expect_code(0);
    assert!(text.text().contains(&format!(", by {exe}")), "{text:?}");
    // The change is told once; the entries after that only say better who.
    let two = machine.at("two").to_str().unwrap().to_owned();
    let about: Vec<_> = text.text().lines().filter(|line| line.contains(&two)).collect();
    assert_eq!(about.iter().filter(|line| line.contains(" modified ")).count(), 1, "{about:#?}");
    assert_eq!(about.iter().filter(|line| line.contains(" who ")).count(), known.len() - 1, "{about:#?}");
}

#[test]
fn whoever_follows_is_told_of_what_comes() {
    let machine = sealed();
    let _watching = machine.watch();
    let mut child = Command::new(waxseal_scenarios::waxseal())
        .args(["--json", "log", "--follow", "--kind", "change"])
        .arg("--config")
        .arg(machine.config_file())
        .arg("--state-dir")
        .arg(machine.state_dir())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = |path: &Path| loop {
        let line: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        if line["change"]["path"] == path.to_str().unwrap() {
            return line["seq"].as_u64().unwrap();
        }
    };
    let first = next(&machine.at("dir/one"));
    write(machine.at("two"), "y");
    let second = next(&machine.at("two"));
    write(machine.at("three"), "y");
    let third = next(&machine.at("three"));
    assert!(first < second && second < third);
    tools::run("kill", ["-TERM", &child.id().to_string()]);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn an_interrupt_ends_it_when_nobody_reads() {
    let machine = sealed();
    let running = machine.start(["log", "--follow"]);
    // Before the signals are taken, one of them ends the program like any other.
    let output = running.end(Duration::from_secs(20));
    assert!(output.code == Some(0) || output.signal.is_some(), "{output:?}");
}

#[test]
fn the_checkpoint_is_printed_as_it_is_signed() {
    let machine = sealed();
    let note = machine.waxseal(["log", "checkpoint"]).expect_code(0);
    let key = fs::read_to_string(machine.state_dir().join("waxseal.vkey")).unwrap();
    let origin = key.split('+').next().unwrap();
    let lines: Vec<&str> = note.text().split('\n').collect();
    assert_eq!((lines[0], lines[1]), (origin, "6"));
    assert!(
        lines[4].starts_with(&format!("\u{2014} {origin} ")) && lines[5].contains("/epoch/0 "),
        "{lines:?}"
    );
    let json = machine.waxseal(["--json", "log", "checkpoint"]).expect_code(0).lines();
    assert_eq!((json[0]["note"].as_str(), json[0]["leaves"].as_u64()), (Some(note.text()), Some(6)));
    machine.waxseal(["log", "--since", "1d", "checkpoint"]).expect_code(2);
}

#[test]
fn an_export_grows_and_is_proven_elsewhere() {
    let machine = sealed();
    let elsewhere = machine.home().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    let kept = elsewhere.join("kept");
    fs::copy(machine.state_dir().join("waxseal.verification"), &kept).unwrap();
    let export = elsewhere.join("log");
    let run = |code: i32| {
        machine.waxseal(["log".as_ref(), "export".as_ref(), export.as_os_str()]).expect_code(code)
    };
    let verify = waxseal_verify();
    let prove = |code: i32| {
        let output = Command::new(verify).arg("--verification").arg(&kept).arg(&export).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        if !tools::has("python3") {
            return;
        }
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../crates/verify/tests/independent.py");
        let output = Command::new("python3").arg(script).arg(&export).arg(&kept).output().unwrap();
        assert_eq!(output.status.success(), code == 0, "{output:?}");
    };
    run(0);
    prove(0);
    for round in 0..3 {
        for file in 0..200 {
            write(machine.at(&format!("{round}/{file}")), "x");
        }
        machine.check().expect_changed();
        let output = run(0);
        assert!(output.stderr.contains("more than before"), "{output:?}");
        prove(0);
    }
    assert!(export.join("tile/1/000.p/2").is_file(), "{:?}", below(&export));
    assert!(
        !export.join("tile/0/000.p").exists(),
        "what was not full and is now is gone: {:?}",
        below(&export)
    );
    // The same again changes nothing.
    let before = below(&export);
    run(0);
    assert_eq!(below(&export), before);
    // What lies there is another: it is not written over.
    let bundle = export.join("tile/entries/000");
    let mut bytes = fs::read(&bundle).unwrap();
    bytes[300] ^= 1;
    fs::write(&bundle, &bytes).unwrap();
    assert!(run(2).stderr.contains("waxseal verify"));
    assert_eq!(fs::read(&bundle).unwrap(), bytes);
    prove(1);
}

#[test]
fn only_an_export_of_this_log_is_grown() {
    let (machine, other) = (sealed(), sealed());
    let place = |name: &str| machine.home().join(name);
    let export = |machine: &Machine, at: &Path, code: i32| {
        machine.waxseal(["log".as_ref(), "export".as_ref(), at.as_os_str()]).expect_code(code)
    };
    export(&other, &place("theirs"), 0);
    let output = export(&machine, &place("theirs"), 2);
    assert!(output.stderr.contains("another log"), "{output:?}");
    fs::create_dir(place("full")).unwrap();
    write(place("full").join("precious"), "x");
    export(&machine, &place("full"), 2);
    assert_eq!(below(&place("full")), [place("full/precious")]);
    write(place("file"), "x");
    export(&machine, &place("file"), 2);
    // One that was begun and not finished has no checkpoint, and is gone on with.
    export(&machine, &place("cut"), 0);
    fs::remove_file(place("cut/checkpoint")).unwrap();
    fs::remove_dir_all(place("cut/tile/0")).unwrap();
    export(&machine, &place("cut"), 0);
    assert!(place("cut/checkpoint").is_file() && place("cut/tile/0").is_dir());
}
