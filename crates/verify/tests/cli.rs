//! The program as people run it: what it says and how it ends.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests make their own files, and fail where that fails"
)]

#[allow(dead_code, reason = "each test uses a part")]
mod made;

use made::Log;
use std::fs;
use std::path::Path;
use std::process::Command;

/// The exit code and all that was printed.
fn run(directory: &Path, arguments: &[&str]) -> (i32, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_waxseal-verify"))
        .args(arguments)
        .current_dir(directory)
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(text).unwrap())
}

/// An export in `log`, and beside it `kept` (the verification file), `key`, and checkpoints `half` and `now`.
fn set_up() -> (tempfile::TempDir, Log) {
    let home = tempfile::tempdir().unwrap();
    let mut log = Log::of(2, 200);
    fs::write(home.path().join("half"), log.checkpoint()).unwrap();
    log.turn();
    log.grow(200);
    fs::write(home.path().join("now"), log.checkpoint()).unwrap();
    fs::write(home.path().join("kept"), log.file.to_string()).unwrap();
    fs::write(home.path().join("key"), format!("{}\n", log.file.host())).unwrap();
    made::write(&log.export(), &home.path().join("log"));
    (home, log)
}

#[test]
fn an_export_is_proven() {
    let (home, _) = set_up();
    for arguments in [
        &["--verification", "kept", "log"][..],
        &[
            "--verification",
            "kept",
            "--public-key",
            "key",
            "--checkpoint",
            "half",
            "--checkpoint",
            "now",
            "log",
        ],
    ] {
        let (code, text) = run(home.path(), arguments);
        assert_eq!(code, 0, "{text}");
        assert!(
            text.contains("proven: 603 of 603 leaves of the log of waxseal/alpha.example are proven"),
            "{text}"
        );
        assert!(text.contains("the last leaf is of 2026-01-01T00:15:03"), "{text}");
    }
    let (code, text) = run(home.path(), &["--public-key", "key", "log"]);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("no checkpoint was kept"), "{text}");
}

#[test]
fn what_is_broken_is_said() {
    let (home, log) = set_up();
    let bundle = home.path().join("log/tile/entries/001");
    let mut bytes = fs::read(&bundle).unwrap();
    // The first leaf of the bundle, after its length: a byte of its path.
    bytes[2 + 40] ^= 1;
    fs::write(&bundle, &bytes).unwrap();
    let (code, text) = run(home.path(), &["--verification", "kept", "log"]);
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("leaf 256 (2026-01-01T00:06:24.000000Z) was altered"), "{text}");
    assert!(text.contains("broken: 603 of 603 leaves"), "{text}");

    // An older export in the place of the newer one.
    fs::remove_dir_all(home.path().join("log")).unwrap();
    let mut older = Log { leaves: log.leaves[..402].to_vec(), ..log };
    let half = fs::read(home.path().join("half")).unwrap();
    let mut files = older.export();
    files.insert("checkpoint".into(), half);
    made::write(&files, &home.path().join("log"));
    assert_eq!(run(home.path(), &["--verification", "kept", "--checkpoint", "half", "log"]).0, 0);
    let (code, text) = run(home.path(), &["--verification", "kept", "--checkpoint", "now", "log"]);
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("it was cut, or is an older copy"), "{text}");

    // The log of another host, and none.
    older = Log::of(1, 3);
    fs::remove_dir_all(home.path().join("log")).unwrap();
    made::write(&older.export(), &home.path().join("log"));
    assert_eq!(run(home.path(), &["--verification", "kept", "log"]).0, 1);
    fs::remove_dir_all(home.path().join("log")).unwrap();
    fs::create_dir(home.path().join("log")).unwrap();
    assert_eq!(run(home.path(), &["--verification", "kept", "log"]).0, 1);
}

#[test]
fn what_cannot_be_verified_ends_with_2() {
    let (home, _) = set_up();
    for arguments in [
        &[][..],
        &["log"],
        &["--verification", "kept", "nowhere"],
        &["--verification", "kept", "key"],
        &["--verification", "key", "log"],
        &["--verification", "nowhere", "log"],
        &["--verification", "log", "log"],
        &["--public-key", "kept", "log"],
        &["--verification", "kept", "--checkpoint", "key", "log"],
        &["--verification", "kept", "--unknown", "log"],
    ] {
        let (code, text) = run(home.path(), arguments);
        assert_eq!(code, 2, "{arguments:?}: {text}");
        assert!(text.starts_with("waxseal-verify: ") && text.ends_with('\n'), "{text}");
    }
    let (code, text) = run(home.path(), &["--help"]);
    assert!(code == 0 && text.contains("Usage: waxseal-verify"), "{text}");
}

/// A FIFO would keep a careless reader for ever, and a directory is no tile.
#[cfg(unix)]
#[test]
fn what_is_no_file_is_trouble() {
    let (home, _) = set_up();
    let tile = home.path().join("log/tile/0/000");
    fs::remove_file(&tile).unwrap();
    if Command::new("mkfifo").arg(&tile).status().is_ok_and(|status| status.success()) {
        let (code, text) = run(home.path(), &["--verification", "kept", "log"]);
        assert_eq!(code, 2, "{text}");
        assert!(text.contains("not a regular file"), "{text}");
        fs::remove_file(&tile).unwrap();
    }
    fs::create_dir(&tile).unwrap();
    assert_eq!(run(home.path(), &["--verification", "kept", "log"]).0, 2);
}
