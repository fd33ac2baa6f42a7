//! What can be changed about a file, and must be found: by a full check, by a quick one, and by the monitor.

#![allow(clippy::disallowed_methods, reason = "tests make, change and remove their own files")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on ends")]

use std::fs;
use std::os::unix::fs::{MetadataExt, chown, symlink};
use waxseal_scenarios::files::*;
use waxseal_scenarios::tools::{self, Flags, sha256};
use waxseal_scenarios::{Expect, Fs, Machine, Place, Story, is_root, skip};

const STANDARD: &str = "attributes = \"standard\"";
const ALL: &str = "attributes = \"all\"";

/// Filesystems that can be marked as a whole, so that what happens through names outside of the tree is told.
const MARKED: &[Fs] = &[Fs::Ext4, Fs::Xfs, Fs::Btrfs, Fs::Tmpfs];

const NOTHING: fn(&Place) -> Vec<Expect> = |_| Vec::new();

#[test]
fn s01_one_appended_byte_is_one_change() {
    Story {
        rule: STANDARD,
        needs: &["sha256sum"],
        root: false,
        before: |place| {
            write(place.at("sub/file"), "old content\n");
            write(place.at("sub/other"), "untouched\n");
        },
        then: |place| append(place.at("sub/file"), b"x"),
        expect: |place| {
            vec![
                Expect::modified("sub/file")
                    .fields(&["content", "size", "mtime"])
                    .before("size", 12)
                    .after("size", 13)
                    .before("sha256", "40eda80edfc38b36bdcdc408aa6ff2cc40b708e46ece9dfd2b2801a05a18a5fc")
                    .after("sha256", sha256(&place.at("sub/file"))),
            ]
        },
    }
    .on_all();
}

#[test]
fn s02_same_length_with_the_time_put_back() {
    Story {
        rule: STANDARD,
        needs: &["sha256sum"],
        root: false,
        before: |place| write(place.at("file"), "0123456789"),
        then: |place| overwrite_unseen(place.at("file")),
        expect: |place| {
            let sum = sha256(&place.at("file"));
            vec![Expect::modified("file").fields(&["content"]).after("sha256", sum)]
        },
    }
    .on_all();
}

#[test]
fn s03_a_watch_on_ctime_sees_that_something_moved() {
    Story {
        rule: "attributes = [\"mode\", \"owner\", \"group\", \"size\", \"mtime\", \"ctime\"]",
        needs: &[],
        root: false,
        before: |place| write(place.at("file"), "0123456789"),
        then: |place| overwrite_unseen(place.at("file")),
        // The content differs, whether or not it counts: the kind says so, and the fields say what counts.
        expect: |_| vec![Expect::modified("file").fields(&["ctime"])],
    }
    .on(&[Fs::Ext4]);
}

#[test]
fn s03_a_watch_without_content_says_so() {
    let machine = Machine::new();
    write(machine.at("file"), "0123456789");
    machine.watch_tree("attributes = [\"mode\", \"owner\", \"group\", \"size\", \"mtime\"]");
    machine.init();
    overwrite_unseen(machine.at("file"));
    let report = machine.check();
    let says_so = report.output.stderr.contains("content");
    assert!(
        !report.changes.is_empty() || says_so,
        "intact, and no word of the content: {:#?}",
        report.output
    );
}

#[test]
fn s04_times_are_compared_in_nanoseconds() {
    Story {
        rule: STANDARD,
        needs: &[],
        root: false,
        before: |place| {
            write(place.at("file"), "same");
            set_mtime(place.at("file"), 1_700_000_000, 111_111_111);
        },
        then: |place| set_mtime(place.at("file"), 1_700_000_000, 111_111_112),
        expect: |_| vec![Expect::metadata("file").fields(&["mtime"])],
    }
    .on_all();
}

#[test]
fn s04_content_changed_within_the_same_second() {
    Story {
        rule: STANDARD,
        needs: &[],
        root: false,
        before: |place| {
            write(place.at("file"), "aaaa");
            set_mtime(place.at("file"), 1_700_000_000, 1);
        },
        then: |place| {
            fs::write(place.at("file"), "bbbb").unwrap();
            set_mtime(place.at("file"), 1_700_000_000, 2);
        },
        expect: |_| vec![Expect::modified("file").fields(&["content", "mtime"])],
    }
    .on_all();
}

#[test]
fn s05_a_set_user_id_bit_is_critical() {
    Story {
        rule: "severity = \"medium\"",
        needs: &[],
        root: false,
        before: |place| {
            write(place.at("program"), "#!/bin/sh\n");
            chmod(place.at("program"), 0o755);
        },
        then: |place| chmod(place.at("program"), 0o4755),
        expect: |_| {
            vec![
                Expect::metadata("program")
                    .fields(&["mode"])
                    .before("mode", "0755")
                    .after("mode", "4755")
                    .severity("critical"),
            ]
        },
    }
    .on_all();
}

#[test]
fn s06_owner_and_group_are_told_apart() {
    Story {
        rule: STANDARD,
        needs: &[],
        root: true,
        before: |place| {
            write(place.at("owner"), "a");
            write(place.at("group"), "b");
        },
        then: |place| {
            chown(place.at("owner"), Some(54_321), None).unwrap();
            chown(place.at("group"), None, Some(54_322)).unwrap();
        },
        expect: |_| {
            vec![
                // Nobody has these numbers: no name is made up for them.
                Expect::metadata("owner")
                    .fields(&["owner"])
                    .before("uid", 0)
                    .before("user", "root")
                    .after("uid", 54_321)
                    .after("user", ()),
                Expect::metadata("group")
                    .fields(&["group"])
                    .before("gid", 0)
                    .before("group", "root")
                    .after("gid", 54_322)
                    .after("group", ()),
            ]
        },
    }
    .on_all();
}

#[test]
fn s07_file_capabilities_have_a_name() {
    Story {
        rule: STANDARD,
        needs: &["setcap"],
        root: true,
        before: |place| {
            write(place.at("given"), "x");
            write(place.at("taken"), "x");
            setcap("cap_net_raw=ep", place, "taken");
        },
        then: |place| {
            setcap("cap_sys_admin,cap_net_raw=ep", place, "given");
            tools::run("setcap", ["-r".as_ref(), place.at("taken").as_os_str()]);
        },
        expect: |_| {
            vec![
                Expect::metadata("given")
                    .fields(&["caps"])
                    .before("caps", ())
                    .after("caps", "cap_net_raw,cap_sys_admin=ep"),
                Expect::metadata("taken")
                    .fields(&["caps"])
                    .before("caps", "cap_net_raw=ep")
                    .after("caps", ()),
            ]
        },
    }
    .on_all();
}

fn setcap(caps: &str, place: &Place, name: &str) {
    tools::run("setcap", [caps.as_ref(), place.at(name).as_os_str()]);
}

#[test]
fn s08_extended_attributes_are_named() {
    Story {
        rule: STANDARD,
        needs: &["setfattr"],
        root: false,
        before: |place| {
            write(place.at("added"), "x");
            for name in ["changed", "removed"] {
                write(place.at(name), "x");
                setfattr("user.x", "old", place, name);
            }
        },
        then: |place| {
            setfattr("user.x", "new", place, "added");
            setfattr("user.x", "new", place, "changed");
            tools::run("setfattr", ["-x".as_ref(), "user.x".as_ref(), place.at("removed").as_os_str()]);
        },
        expect: |_| {
            let old = serde_json::json!({"user.x": "b2xk"});
            let new = serde_json::json!({"user.x": "bmV3"});
            vec![
                Expect::metadata("added")
                    .fields(&["xattrs"])
                    .before("xattrs", ())
                    .after("xattrs", new.clone()),
                Expect::metadata("changed")
                    .fields(&["xattrs"])
                    .before("xattrs", old.clone())
                    .after("xattrs", new),
                Expect::metadata("removed").fields(&["xattrs"]).before("xattrs", old).after("xattrs", ()),
            ]
        },
    }
    .on_all();
}

fn setfattr(key: &str, value: &str, place: &Place, name: &str) {
    let path = place.at(name);
    tools::run("setfattr", ["-n".as_ref(), key.as_ref(), "-v".as_ref(), value.as_ref(), path.as_os_str()]);
}

#[test]
fn s09_access_lists_also_of_people_who_do_not_exist() {
    Story {
        rule: STANDARD,
        needs: &["setfacl"],
        root: false,
        before: |place| {
            write(place.at("file"), "x");
            fs::create_dir(place.at("directory")).unwrap();
        },
        then: |place| {
            tools::run("setfacl", ["-m".as_ref(), "u:54321:r".as_ref(), place.at("file").as_os_str()]);
            let directory = place.at("directory");
            tools::run(
                "setfacl",
                ["-d".as_ref(), "-m".as_ref(), "u:54321:rwx".as_ref(), directory.as_os_str()],
            );
        },
        expect: |_| {
            vec![
                Expect::metadata("file").fields(&["acl"]).before("acl", ()),
                Expect::metadata("directory").fields(&["acl"]).before("acl", ()),
            ]
        },
    }
    .on_all();
}

#[test]
fn s10_immutable_and_append_flags() {
    Story {
        rule: STANDARD,
        needs: &["chattr"],
        root: true,
        before: |place| {
            write(place.at("fixed"), "x");
            write(place.at("growing"), "x");
        },
        then: |place| [Flags::set(place.at("fixed"), "i"), Flags::set(place.at("growing"), "a")],
        expect: |_| {
            vec![
                Expect::metadata("fixed").fields(&["flags"]).after("flags", serde_json::json!(["immutable"])),
                Expect::metadata("growing").fields(&["flags"]).after("flags", serde_json::json!(["append"])),
            ]
        },
    }
    .by_scans_on(Fs::ON_DISK);
}

/// ext4 sets a flag on a directory when it grows beyond one block. Nobody set it, and nobody wants to hear of it.
#[test]
fn s10_flags_that_the_kernel_sets_are_quiet() {
    // 85 such names fill a block of 4096 bytes.
    const NAMES: usize = 200;
    fn name(number: usize) -> String {
        format!("directory/name-long-enough-to-fill-the-block-{number}")
    }
    Story {
        rule: ALL,
        needs: &["lsattr"],
        root: false,
        before: |place| write(place.at("directory/first"), "x"),
        then: |place| {
            (0..NAMES).for_each(|number| write(place.at(&name(number)), number.to_string()));
            let flags = tools::run("lsattr", ["-d".as_ref(), place.at("directory").as_os_str()]);
            let flags = flags.split(' ').next().unwrap_or_default();
            assert!(flags.contains('I'), "the directory is too small for this test: {flags}");
        },
        expect: |_| (0..NAMES).map(|number| Expect::added(name(number))).collect(),
    }
    .on(&[Fs::Ext4]);
}

#[test]
fn s11_a_security_label_is_an_attribute_of_its_own() {
    Story {
        rule: STANDARD,
        needs: &["setfattr"],
        root: true,
        before: |place| {
            write(place.at("file"), "x");
            setfattr("security.waxseal", "old", place, "file");
        },
        then: |place| setfattr("security.waxseal", "new", place, "file"),
        expect: |_| {
            let (old, new) = (
                serde_json::json!({"security.waxseal": "b2xk"}),
                serde_json::json!({"security.waxseal": "bmV3"}),
            );
            vec![Expect::metadata("file").fields(&["xattrs"]).before("xattrs", old).after("xattrs", new)]
        },
    }
    .on(Fs::ON_DISK);
}

#[test]
fn s12_a_hard_link_made_outside_the_tree() {
    let story = Story {
        rule: ALL,
        needs: &[],
        root: false,
        before: |place| write(place.at("file"), "x"),
        then: |place| fs::hard_link(place.at("file"), place.out("link")).unwrap(),
        expect: |place| {
            let inode = fs::metadata(place.at("file")).unwrap().ino();
            vec![
                Expect::metadata("file")
                    .fields(&["links", "ctime"])
                    .before("links", 1)
                    .after("links", 2)
                    .after("inode", inode),
            ]
        },
    };
    story.by_marks_on(MARKED);
    story.by_scans_on(&[Fs::Overlay]);
}

#[test]
fn s13_content_changed_through_a_link_outside_the_tree() {
    let story = Story {
        rule: STANDARD,
        needs: &[],
        root: false,
        before: |place| {
            write(place.at("file"), "0123456789");
            fs::hard_link(place.at("file"), place.out("link")).unwrap();
        },
        then: |place| overwrite_unseen(place.out("link")),
        expect: |_| vec![Expect::modified("file").fields(&["content"])],
    };
    story.by_marks_on(MARKED);
    story.by_scans_on(&[Fs::Overlay]);
}

#[test]
fn s14_two_of_three_hard_links_removed() {
    Story {
        rule: ALL,
        needs: &[],
        root: false,
        before: |place| {
            write(place.at("one"), "x");
            fs::hard_link(place.at("one"), place.at("two")).unwrap();
            fs::hard_link(place.at("one"), place.at("three")).unwrap();
        },
        then: |place| {
            fs::remove_file(place.at("two")).unwrap();
            fs::remove_file(place.at("three")).unwrap();
        },
        expect: |_| {
            vec![
                Expect::removed("two"),
                Expect::removed("three"),
                Expect::metadata("one").fields(&["links", "ctime"]).before("links", 3).after("links", 1),
            ]
        },
    }
    .on_all();
}

#[test]
fn s15_a_link_that_points_elsewhere() {
    Story {
        rule: STANDARD,
        needs: &[],
        root: false,
        before: |place| symlink("/usr/bin/true", place.at("link")).unwrap(),
        then: |place| {
            fs::remove_file(place.at("link")).unwrap();
            symlink("/usr/bin/bash", place.at("link")).unwrap();
        },
        expect: |_| {
            vec![
                Expect::modified("link")
                    .field("target")
                    .before("target", "/usr/bin/true")
                    .after("target", "/usr/bin/bash"),
            ]
        },
    }
    .on_all();
}

/// Lengths around which readers of links have cut targets off.
const LONG_TARGETS: [usize; 5] = [255, 256, 257, 258, 4095];

#[test]
fn s16_long_targets_that_differ_in_their_last_byte() {
    Story {
        rule: STANDARD,
        needs: &[],
        root: false,
        before: |place| make_long_links(place, 'a'),
        then: |place| {
            for length in LONG_TARGETS {
                // Some filesystems do not take the longest.
                let _ = fs::remove_file(place.at(&length.to_string()));
            }
            make_long_links(place, 'b');
        },
        expect: |place| {
            let there = |length: &usize| place.at(&length.to_string()).is_symlink();
            let lengths: Vec<_> = LONG_TARGETS.into_iter().filter(there).collect();
            assert!(lengths.len() >= 4);
            let expect = |length: usize| {
                let (old, new) = (long_target(length, 'a'), long_target(length, 'b'));
                Expect::modified(length.to_string())
                    .field("target")
                    .before("target", old)
                    .after("target", new)
            };
            lengths.into_iter().map(expect).collect()
        },
    }
    .on_all();
}

fn long_target(length: usize, last: char) -> String {
    let mut target: String = "directory/".chars().cycle().take(length - 1).collect();
    target.push(last);
    target
}

fn make_long_links(place: &Place, last: char) {
    for length in LONG_TARGETS {
        let made = symlink(long_target(length, last), place.at(&length.to_string()));
        assert!(made.is_ok() || length > 1000, "{made:?}");
    }
}

#[test]
fn s17_what_a_link_points_to_is_not_the_link() {
    Story {
        rule: ALL,
        needs: &[],
        root: false,
        before: |place| {
            write(place.out("target"), "old");
            symlink(place.out("target"), place.at("link")).unwrap();
        },
        then: |place| write(place.out("target"), "new"),
        expect: NOTHING,
    }
    .on_all();
}

#[test]
fn s18_a_directory_replaced_by_a_link_to_its_copy() {
    Story {
        rule: STANDARD,
        needs: &[],
        root: false,
        before: |place| {
            write(place.at("directory/file"), "x");
            write(place.at("directory/sub/file"), "y");
        },
        then: |place| {
            fs::rename(place.at("directory"), place.out("copy")).unwrap();
            symlink(place.out("copy"), place.at("directory")).unwrap();
        },
        expect: |_| {
            vec![
                Expect::retyped("directory").field("type").before("type", "dir").after("type", "symlink"),
                Expect::removed("directory/file"),
                Expect::removed("directory/sub"),
                Expect::removed("directory/sub/file"),
            ]
        },
    }
    .on_all();
}

#[test]
fn s19_files_become_other_things_and_back() {
    Story {
        rule: STANDARD,
        needs: &[],
        root: false,
        before: |place| {
            write(place.at("to-fifo"), "x");
            write(place.at("to-socket"), "x");
            write(place.at("to-directory"), "x");
            make_fifo(place.at("from-fifo"));
            make_socket(place.at("from-socket"));
        },
        then: |place| {
            for name in ["to-fifo", "to-socket", "to-directory", "from-fifo", "from-socket"] {
                fs::remove_file(place.at(name)).unwrap();
            }
            make_fifo(place.at("to-fifo"));
            make_socket(place.at("to-socket"));
            fs::create_dir(place.at("to-directory")).unwrap();
            write(place.at("from-fifo"), "x");
            write(place.at("from-socket"), "x");
        },
        expect: |_| {
            let retyped = |name, before, after| {
                Expect::retyped(name).field("type").before("type", before).after("type", after)
            };
            vec![
                retyped("to-fifo", "file", "fifo"),
                retyped("to-socket", "file", "socket"),
                retyped("to-directory", "file", "dir"),
                retyped("from-fifo", "fifo", "file"),
                retyped("from-socket", "socket", "file"),
            ]
        },
    }
    .on_all();
}

#[test]
fn s19_files_become_devices_and_back() {
    Story {
        rule: STANDARD,
        needs: &[],
        root: true,
        before: |place| {
            write(place.at("to-device"), "x");
            make_device(place.at("from-device"), 1, 3);
        },
        then: |place| {
            fs::remove_file(place.at("to-device")).unwrap();
            fs::remove_file(place.at("from-device")).unwrap();
            make_device(place.at("to-device"), 1, 5);
            write(place.at("from-device"), "x");
        },
        expect: |_| {
            vec![
                Expect::retyped("to-device").field("type").after("type", "chardev").after("rdev", "1:5"),
                Expect::retyped("from-device").field("type").before("rdev", "1:3").after("type", "file"),
            ]
        },
    }
    .on_all();
}

#[test]
fn s20_the_same_device_node_with_another_number() {
    Story {
        rule: STANDARD,
        needs: &[],
        root: true,
        before: |place| {
            make_device(place.at("null"), 1, 3);
            set_mtime(place.at("null"), 1_700_000_000, 0);
        },
        then: |place| {
            fs::remove_file(place.at("null")).unwrap();
            make_device(place.at("null"), 1, 1);
            set_mtime(place.at("null"), 1_700_000_000, 0);
        },
        expect: |_| {
            vec![Expect::modified("null").fields(&["rdev"]).before("rdev", "1:3").after("rdev", "1:1")]
        },
    }
    .on_all();
}

#[test]
fn s21_the_same_content_in_a_new_file_is_low_and_not_silent() {
    Story {
        rule: "attributes = [\"content\", \"size\", \"mode\", \"owner\", \"group\", \"mtime\", \"inode\"]\nseverity = \"high\"",
        needs: &[],
        root: false,
        before: |place| {
            write(place.at("file"), "same");
            set_mtime(place.at("file"), 1_700_000_000, 0);
            write(place.out("twin"), "same");
            set_mtime(place.out("twin"), 1_700_000_000, 0);
        },
        then: |place| fs::rename(place.out("twin"), place.at("file")).unwrap(),
        expect: |_| vec![Expect::metadata("file").fields(&["inode"]).severity("low")],
    }
    .on_all();
}

#[test]
fn s22_reading_is_not_changing() {
    Story {
        rule: STANDARD,
        needs: &[],
        root: false,
        before: |place| write(place.at("file"), "x"),
        then: |place| set_atime(place.at("file"), 1_800_000_000),
        expect: NOTHING,
    }
    .on_all();
}

/// What the program itself reads keeps the time at which somebody else last read it, where the rights allow that.
#[test]
fn s22_checking_leaves_no_trace_on_the_files() {
    if !is_root() {
        return skip("only a file's owner may read it without a trace, and the tests may not own theirs");
    }
    let machine = Machine::new();
    write(machine.at("file"), "x");
    set_atime(machine.at("file"), 1_000_000_000);
    machine.watch_tree("");
    machine.init();
    machine.check().expect_intact();
    assert_eq!(fs::metadata(machine.at("file")).unwrap().atime(), 1_000_000_000);
}
