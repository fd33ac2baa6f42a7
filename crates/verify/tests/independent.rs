//! A second verifier, written in another language from `docs/log-format.md`, comes to the same end.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "tests make their own files, and fail where that fails"
)]

#[allow(dead_code, reason = "each test uses a part")]
mod made;

use made::{Files, Log};
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use waxseal_ledger::leaf::{By, LeafPath, LeafText, Pruned, Sealed, Who};
use waxseal_ledger::{Event, tiles};
use waxseal_model::{Actor, RawPath, SetId, Timestamp};

/// Whether it proves the export, and what it says; none when there is no Python.
fn python(home: &Path, kept: &[&str]) -> Option<(bool, String)> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/independent.py");
    let run = Command::new("python3").arg(script).args(["log", "kept"]).args(kept).current_dir(home).output();
    let Ok(output) = run else {
        skip("there is no python3, so the second verifier did not run");
        return None;
    };
    let text = [output.stdout, output.stderr].concat();
    Some((output.status.success(), String::from_utf8(text).unwrap()))
}

/// To the test's output, and to the file that `cargo xtask test` reads for its closing line.
fn skip(why: &str) {
    let line = format!("independent::{}: {why}", std::thread::current().name().unwrap_or("?"));
    eprintln!("SKIPPED: {line}");
    if let Some(file) = std::env::var_os("WAXSEAL_SKIPS") {
        let mut file = fs::OpenOptions::new().append(true).create(true).open(file).unwrap();
        writeln!(file, "{line}").unwrap();
    }
}

fn put(home: &Path, log: &Log, files: &Files) {
    let _ = fs::remove_dir_all(home.join("log"));
    made::write(files, &home.join("log"));
    fs::write(home.join("kept"), log.file.to_string()).unwrap();
}

/// Every kind that the other leaves are not of.
fn others() -> Vec<Event> {
    let path = || LeafPath::new(&RawPath::new([b"/", &[b'z'; 5000][..]].concat()));
    let time = Timestamp::from_micros(-5);
    vec![
        Event::Start { program: LeafText::new("waxseal"), rules: [1; 32], baseline: Some((1, [2; 32])) },
        Event::Stop { reason: LeafText::new("SIGTERM") },
        Event::Sealed(Box::new(Sealed {
            generation: 1,
            root: [3; 32],
            entries: 1000,
            files: 90,
            bytes: 12_345,
            scan_start: time,
            rules: [4; 32],
            seal: [5; 32],
            by: By::default(),
            note: LeafText::new("é"),
        })),
        Event::Blind { reason: LeafText::new("overflow"), path: Some(path()), since: time, until: None },
        Event::Config { rules: [6; 32], previous: Some([7; 32]) },
        Event::Alert {
            id: 1,
            channel: LeafText::new("mail"),
            delivered: false,
            attempts: 9,
            set: SetId(1),
            answer: LeafText::new("550"),
        },
        Event::Heartbeat { watching: 1 << 40, open: 0, backend: LeafText::default() },
        Event::Touched { path: path(), who: Some(Who::of(&Actor::unknown(3))), details: [8; 32] },
        Event::Pruned(Box::default()),
        Event::Scan(Box::default()),
        Event::Kept { suspect: true, contents: 2, bytes: 1 << 30, list: [9; 32] },
        Event::Dropped { reason: LeafText::new("budget"), contents: vec![(1, [9; 32]), (300, [10; 32])] },
    ]
}

#[test]
fn it_proves_what_we_prove() {
    let home = tempfile::tempdir().unwrap();
    let mut log = Log::of(3, 300);
    fs::write(home.path().join("middle"), log.checkpoint()).unwrap();
    let last = log.tail.time();
    for event in others() {
        log.leaves.extend(log.tail.append(last, event));
    }
    log.leaves.extend(log.tail.append(
        Timestamp::new(5, 0),
        Event::Heartbeat { watching: 1, open: 1, backend: LeafText::default() },
    ));
    put(home.path(), &log, &log.export());
    assert!(tiles::verify(&log.export(), &log.file.trust()).unwrap().is_proven());
    let Some((proven, text)) = python(home.path(), &["middle"]) else { return };
    assert!(proven, "{text}");
    assert!(text.starts_with("proven: 917 leaves, 3 epochs, 1 alert, "), "{text}");
    assert!(text.contains(" 1 clock,") && !text.contains("unknown"), "{text}");
}

/// Details that were deleted: only those that are named may be missing.
#[test]
fn it_proves_a_log_of_which_details_were_deleted() {
    let home = tempfile::tempdir().unwrap();
    let mut log = Log::of(3, 300);
    let late = Timestamp::new(log.tail.time().seconds + 30 * 24 * 3600, 0);
    let is_key = |index: u64| matches!(log.leaves[index as usize].leaf.event, Event::Key(_));
    let rows: Vec<(u64, u64)> = vec![(2, 200), (203, 3)];
    assert!(!rows.iter().any(|(first, count)| (*first..first + count).any(is_key)));
    let pruned = Pruned { rows: rows.clone(), ..Pruned::default() };
    log.leaves.extend(log.tail.append(late, Event::Pruned(Box::new(pruned))));
    let is_gone = |index: u64| rows.iter().any(|(first, count)| (*first..first + count).contains(&index));
    let files = log.export_without(is_gone);
    put(home.path(), &log, &files);
    let report = tiles::verify(&files, &log.file.trust()).unwrap();
    assert!(report.is_proven() && report.deleted == 203, "{:?}", report.problems);
    let Some((proven, text)) = python(home.path(), &[]) else { return };
    assert!(proven && text.contains(" 203 deleted,"), "{text}");
    let files = log.export_without(|index| is_gone(index) || index == 202);
    put(home.path(), &log, &files);
    assert!(!tiles::verify(&files, &log.file.trust()).unwrap().is_proven());
    let (proven, text) = python(home.path(), &[]).unwrap();
    assert!(!proven && text.contains("leaf 202 is missing"), "{text}");
}

#[test]
fn it_finds_what_we_find() {
    let home = tempfile::tempdir().unwrap();
    let mut log = Log::of(2, 130);
    fs::write(home.path().join("middle"), log.checkpoint()).unwrap();
    log.grow(5);
    let original = log.export();
    for name in original.keys() {
        for part in [3, 2] {
            let mut files = original.clone();
            let bytes = files.get_mut(name).unwrap();
            let at = bytes.len() / part;
            bytes[at] ^= 1;
            put(home.path(), &log, &files);
            assert!(!tiles::verify(&files, &log.file.trust()).unwrap().is_proven(), "{name}");
            let Some((proven, text)) = python(home.path(), &["middle"]) else { return };
            assert!(!proven && text.starts_with("broken: "), "{name}: {text}");
        }
    }
    put(home.path(), &log, &original);
    assert!(python(home.path(), &["middle"]).unwrap().0);
}
