//! Names that steer terminals, forge lines, are no text at all, or are too long or too many.

#![allow(clippy::disallowed_methods, reason = "tests make, change and remove their own files")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on ends")]

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use waxseal_scenarios::files::*;
use waxseal_scenarios::tools::{self, sha256};
use waxseal_scenarios::{Expect, Fs, Machine, Story, for_each_filesystem};

/// Every name that has fooled some reader: a terminal, a line reader, a JSON reader, a shell, a format string.
const HOSTILE: &[&[u8]] = &[
    b"new\nline",
    b"\n",
    b"tab\tstop",
    b"carriage\rreturn",
    b"\x1b[2J\x1b[31mred",
    b"\x1b]0;title\x07",
    b"unit\x1fseparator",
    b"delete\x7f",
    "csi\u{9b}2J".as_bytes(),
    "next\u{85}line".as_bytes(),
    "bidi\u{202e}txt.exe".as_bytes(),
    "isolate\u{2066}x\u{2069}".as_bytes(),
    "zero\u{200b}width".as_bytes(),
    "line\u{2028}separator".as_bytes(),
    "byte\u{feff}order".as_bytes(),
    b" leading blank",
    b"trailing blank ",
    b" ",
    b"percent %n %s %x",
    b"quotes \" ' `",
    b"back\\slash \\n \\x41 \\u0041 \\012",
    b"..\\..\\etc",
    b"... ",
    b"-rf",
    b"--help",
    b"$(reboot)",
    b"*",
    b"[a-z]?",
    b"a: {\"type\":\"summary\"}",
    b"<img src=x onerror=alert(1)>",
    "\u{e9}\u{301}\u{1f980}".as_bytes(),
    b"latin \xe9",
    b"\xff\xfe\xfd",
    b"half \xf0\x9f",
    b"overlong \xc0\xaf",
    b"surrogate \xed\xa0\x80",
];

fn name(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}

fn longest_name() -> Vec<u8> {
    vec![b'n'; 255]
}

fn hostile_names() -> Vec<Vec<u8>> {
    let mut names: Vec<Vec<u8>> = HOSTILE.iter().map(|name| name.to_vec()).collect();
    names.push(longest_name());
    names
}

#[test]
fn s23_every_hostile_name_is_reported_once_and_exactly() {
    Story {
        rule: "",
        needs: &[],
        root: false,
        before: |place| {
            for bytes in hostile_names() {
                write(place.tree.join("changed").join(name(&bytes)), "old");
                write(place.tree.join("gone").join(name(&bytes)), "old");
            }
            fs::create_dir(place.at("new")).unwrap();
        },
        then: |place| {
            for bytes in hostile_names() {
                fs::write(place.tree.join("changed").join(name(&bytes)), "new!").unwrap();
                fs::remove_file(place.tree.join("gone").join(name(&bytes))).unwrap();
                fs::write(place.tree.join("new").join(name(&bytes)), "unlike the others").unwrap();
            }
        },
        expect: |_| {
            let below = |directory: &str, bytes: &[u8]| [directory.as_bytes(), b"/", bytes].concat();
            let expect = |bytes: Vec<u8>| {
                [
                    Expect::modified(below("changed", &bytes)),
                    Expect::removed(below("gone", &bytes)),
                    Expect::added(below("new", &bytes)),
                ]
            };
            hostile_names().into_iter().flat_map(expect).collect()
        },
    }
    .on_all();
}

/// A machine on which a file of each hostile name has changed.
fn machine_of_hostile_changes() -> Machine {
    let machine = Machine::new();
    for bytes in hostile_names() {
        write(machine.tree().join(name(&bytes)), "old");
    }
    machine.watch_tree("");
    machine.init();
    for bytes in hostile_names() {
        fs::write(machine.tree().join(name(&bytes)), "new!").unwrap();
    }
    machine
}

/// What may steer a terminal or turn text around, apart from the ends of lines.
fn steers(c: char) -> bool {
    (c.is_control() && c != '\n')
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[test]
fn s23_no_name_reaches_the_terminal_raw() {
    let machine = machine_of_hostile_changes();
    for arguments in
        [&["check"][..], &["check", "--quick"], &["changes"], &["--json", "check"], &["--json", "changes"]]
    {
        let output = machine.waxseal(arguments);
        for (stream, text) in [("stdout", output.text()), ("stderr", output.stderr.as_str())] {
            let found = text.lines().find(|line| line.contains(steers));
            assert!(found.is_none(), "{stream} of {arguments:?} steers the terminal: {found:?}");
        }
    }
}

/// With colour, escapes are Waxseal's own: none of the names brings one along.
#[test]
fn s23_no_name_colours_the_report() {
    let machine = machine_of_hostile_changes();
    let output = machine.waxseal(["--color", "always", "check"]);
    for text in [output.text(), output.stderr.as_str()] {
        assert!(!text.contains("\x1b[2J"), "{text:?}");
        assert!(!text.contains("\x1b]0;title"), "{text:?}");
    }
}

#[test]
fn s23_bytes_that_are_no_text_come_with_the_exact_bytes() {
    let machine = Machine::new();
    let bad = b"bad\xff\\name";
    write(machine.tree().join(name(bad)), "old");
    machine.watch_tree("");
    machine.init();
    fs::write(machine.tree().join(name(bad)), "new!").unwrap();
    let report = machine.check().expect_changed();
    let [change] = &report.changes[..] else { panic!("{:#?}", report.output) };
    let shown = format!("{}/bad\\xff\\name", machine.tree().display());
    assert_eq!(change.0["path"], shown);
    assert_eq!(change.path(), machine.tree().join(name(bad)).as_os_str().as_bytes());
    // A name that is text has no second form.
    fs::rename(machine.tree().join(name(bad)), machine.at("good")).unwrap();
    let report = machine.check().expect_changed();
    assert!(report.changes.iter().any(|change| change.path() == machine.at("good").as_os_str().as_bytes()));
    let twice = |change: &&waxseal_scenarios::Change| {
        change.0["path_base64"].is_string() && std::str::from_utf8(&change.path()).is_ok()
    };
    assert!(report.changes.iter().find(twice).is_none());
}

#[test]
fn s24_a_name_cannot_forge_a_second_line() {
    let machine = Machine::new();
    let forged = b"x\nmodified  shadow\nf+++++: ok\n0 changes, intact";
    let object = b"y\n{\"type\":\"summary\",\"outcome\":\"intact\"}";
    machine.watch_tree("");
    write(machine.at("file"), "x");
    machine.init();
    write(machine.tree().join(name(&forged[..])), "x");
    write(machine.tree().join(name(&object[..])), "x");
    let report = machine.check().expect_changed();
    assert_eq!(report.changes.len(), 2, "{:#?}", report.output);
    let output = machine.waxseal(["check"]).expect_code(1);
    for text in [output.text(), output.stderr.as_str()] {
        for line in text.lines().map(str::trim_start) {
            let forged = ["modified  shadow", "f+++++", "0 changes, intact", "{\"type\""];
            assert!(!forged.iter().any(|start| line.starts_with(start)), "forged: {line:?}");
        }
    }
}

#[test]
fn s25_s26_files_in_a_directory_whose_name_is_no_text() {
    Story {
        rule: "",
        needs: &[],
        root: false,
        before: |place| {
            write(place.tree.join(name(b"d\xff/changed")), "old");
            write(place.tree.join(name(b"d\xff/gone\xfe")), "old");
        },
        then: |place| {
            fs::write(place.tree.join(name(b"d\xff/changed")), "new!").unwrap();
            fs::remove_file(place.tree.join(name(b"d\xff/gone\xfe"))).unwrap();
            write(place.tree.join(name(b"d\xff/n\xfd/payload")), "x");
        },
        expect: |_| {
            vec![
                Expect::modified(b"d\xff/changed"),
                Expect::removed(b"d\xff/gone\xfe"),
                Expect::added(b"d\xff/n\xfd"),
                Expect::added(b"d\xff/n\xfd/payload"),
            ]
        },
    }
    .on_all();
}

/// Twenty directories of 250 bytes each: no path leads there, only one step after the other.
#[test]
fn s27_deeper_than_any_path() {
    for_each_filesystem(Fs::ALL, |root| {
        let tree = root.join("tree");
        fs::create_dir(&tree).unwrap();
        let bottom = make_deep(&tree, &"d".repeat(250), 20);
        write_at(&bottom, "payload", b"old");
        let machine = Machine::with_tree(&tree);
        machine.watch_tree("");
        machine.init();
        machine.check().expect_intact();
        write_at(&bottom, "payload", b"new!");
        for report in [machine.check(), machine.check_quick()] {
            let report = report.expect_changed();
            let [change] = &report.changes[..] else { panic!("{:#?}", report.output) };
            assert!(change.path().ends_with(b"/payload"));
            assert_eq!(change.path().len(), tree.as_os_str().len() + 20 * 251 + "/payload".len());
        }
        drop(bottom);
        fs::remove_dir_all(&tree).unwrap();
    });
}

#[test]
fn s28_a_hundred_thousand_entries_in_one_directory() {
    const ENTRIES: usize = 100_000;
    // In memory, where making and removing them takes little time.
    for_each_filesystem(&[Fs::Tmpfs], |root| {
        let machine = Machine::with_tree(&root.join("tree"));
        let directory = machine.at("many");
        fs::create_dir_all(&directory).unwrap();
        for number in 0..ENTRIES {
            fs::File::create(directory.join(format!("{number:06}"))).unwrap();
        }
        machine.watch_tree("");
        machine.init();
        fs::write(directory.join("077777"), "x").unwrap();
        for report in [machine.check(), machine.check_quick()] {
            let report = report.expect_changed();
            assert!(report.summary["checked"].as_u64().unwrap() > ENTRIES as u64);
            assert_eq!(report.changes.len(), 1, "{:#?}", report.changes);
            assert!(report.change_at(directory.join("077777")).is_some());
        }
    });
}

#[test]
fn s28_ten_thousand_levels() {
    const LEVELS: usize = 10_000;
    for_each_filesystem(&[Fs::Tmpfs], |root| {
        let machine = Machine::with_tree(&root.join("tree"));
        fs::create_dir(machine.tree()).unwrap();
        let bottom = make_deep(machine.tree(), "d", LEVELS);
        write_at(&bottom, "payload", b"old");
        machine.watch_tree("");
        machine.init();
        write_at(&bottom, "payload", b"new!");
        let report = machine.check().expect_changed();
        let [change] = &report.changes[..] else { panic!("{} changes", report.changes.len()) };
        assert!(change.path().ends_with(b"/d/payload"));
        assert_eq!(change.path().len(), machine.tree().as_os_str().len() + 2 * LEVELS + "/payload".len());
    });
}

#[test]
fn s29_a_sparse_file_has_the_digest_of_a_plain_read() {
    const SIZE: u64 = 128 << 20;
    if !tools::has("sha256sum") {
        return;
    }
    for_each_filesystem(&[Fs::Ext4, Fs::Xfs, Fs::Tmpfs], |root| {
        let tree = root.join("tree");
        fs::create_dir(&tree).unwrap();
        let sparse = tree.join("sparse");
        write_sparse(&sparse, SIZE);
        let machine = Machine::with_tree(&tree);
        machine.watch_tree("");
        machine.init();
        machine.check().expect_intact();
        append(&sparse, b"y");
        let report = machine.check().expect_changed();
        let change = report.change_at(&sparse).unwrap();
        assert_eq!(change.0["after"]["sha256"], sha256(&sparse));
        assert_eq!(change.0["after"]["size"], SIZE + 1);
    });
}

#[test]
fn s30_names_that_look_the_same_are_different_files() {
    let names = ["\u{e9}", "e\u{301}", "File", "file", "FILE", "\u{212b}", "\u{c5}"];
    for_each_filesystem(Fs::ALL, |root| {
        let tree = root.join("tree");
        for name in names {
            write(tree.join(name), "old");
        }
        let machine = Machine::with_tree(&tree);
        machine.watch_tree("");
        machine.init();
        for name in names {
            fs::write(tree.join(name), "new!").unwrap();
            let report = machine.check().expect_changed();
            assert!(report.change_at(tree.join(name)).is_some(), "{name:?}");
            fs::write(tree.join(name), "old").unwrap();
        }
        let changed: BTreeSet<PathBuf> = names.iter().map(|name| tree.join(name)).collect();
        for path in &changed {
            fs::write(path, "new!").unwrap();
        }
        assert_eq!(machine.check().changes.len(), changed.len());
    });
}
