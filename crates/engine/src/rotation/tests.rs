#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends")]

use super::*;
use waxseal_model::{DeviceNumber, Digests, FileType};

/// A content of this length whose digests are told by its letters: each letter is a byte.
#[derive(Default)]
struct Disk(BTreeMap<Vec<u8>, String>);

fn digest(content: &str) -> Digest {
    let mut digest = [0; 32];
    digest[0] = content.len() as u8;
    for (at, byte) in content.bytes().enumerate() {
        digest[1 + at % 31] = digest[1 + at % 31].wrapping_mul(31).wrapping_add(byte);
    }
    digest
}

fn state(content: &str) -> FileState {
    FileState {
        file_type: FileType::File,
        mode: 0o640,
        uid: 0,
        gid: 0,
        size: content.len() as u64,
        links: 1,
        inode: 1,
        device: DeviceNumber::default(),
        mount_root: false,
        mtime: Timestamp::new(1, 0),
        ctime: Timestamp::new(1, 0),
        btime: None,
        flags: None,
        digests: Digests { sha256: Some(digest(content)), ..Digests::default() },
        extra: None,
    }
}

impl Contents for Disk {
    fn prefixes(&self, name: &[u8], _: &FileState, lengths: &[u64]) -> Option<Prefixes> {
        let content = self.0.get(name)?;
        let most = lengths.iter().copied().max().unwrap_or(0).min(content.len() as u64);
        let prefix = |len: &u64| content.get(..*len as usize).map(digest);
        Some(Prefixes {
            digests: lengths.iter().map(prefix).collect(),
            len: most,
            all: digest(&content[..most as usize]),
            packed: name.ends_with(b"gz"),
            still: true,
        })
    }

    fn is_steady(&self) -> bool {
        true
    }

    fn same_rights(&self, before: &FileState, now: &FileState) -> bool {
        before.mode == now.mode
    }
}

/// Each line: name, what was known (`-` for nothing), what is there, the verdict.
fn tell(story: &[(&str, &str, &str, Verdict)]) -> Vec<bool> {
    tell_at(story, None, &[])
}

/// The same, where all has `rotated` and some names have `ended`.
fn tell_at(
    story: &[(&str, &str, &str, Verdict)],
    rotated: Option<Timestamp>,
    ended: &[Ended<'_>],
) -> Vec<bool> {
    let of = |content: &str| (content != "-").then(|| state(content));
    let states: Vec<_> = story.iter().map(|(_, before, now, _)| (of(before), of(now))).collect();
    let disk =
        Disk(story.iter().map(|(name, _, now, _)| (name.as_bytes().to_vec(), (*now).into())).collect());
    let names: Vec<Name<'_>> = story
        .iter()
        .zip(&states)
        .map(|((name, before, now, _), (known, there))| Name {
            name: name.as_bytes(),
            before: known.as_ref(),
            now: there.as_ref(),
            continues: known.is_some() && there.is_some() && now.starts_with(before),
            rotated,
        })
        .collect();
    let judged = judge(&names, ended, Timestamp::new(100_000, 0), &disk);
    for ((name, before, now, expected), found) in story.iter().zip(&judged) {
        assert_eq!(found.verdict, *expected, "{name}: {before} -> {now} of {story:?}");
    }
    judged.into_iter().map(|judged| judged.settled).collect()
}

use Verdict::{Away, Continues, Copying, Dropped, Fresh, Gone, Report, Rotated};

#[test]
fn a_chain_of_generations() {
    tell(&[
        ("log", "new", "x", Fresh),
        ("log.1", "older", "new+", Rotated),
        ("log.2.gz", "-", "older", Rotated),
    ]);
    tell(&[("log", "cc", "", Fresh), ("log.1", "bb", "cc", Rotated), ("log.2.gz", "aa", "bb", Rotated)]);
    tell(&[("log", "cc", "-", Away), ("log.1", "-", "cc", Rotated)]);
    tell(&[("log.1", "cc", "-", Gone), ("log.1.gz", "-", "cc", Rotated), ("log", "d", "de", Continues)]);
}

#[test]
fn dates_and_other_spellings() {
    tell(&[("app.log", "one", "t", Fresh), ("app-20260102.log", "-", "one", Rotated)]);
    tell(&[("app.log", "one", "t", Fresh), ("app.log-20260102-1767312000.zst", "-", "one", Rotated)]);
    tell(&[("app.log", "one", "t", Fresh), ("app.log.old", "-", "one", Rotated)]);
    // Another log may not stand in.
    tell(&[("app.log", "one", "t", Report), ("other.log", "-", "one", Report)]);
}

#[test]
fn an_altered_byte_is_reported_and_nothing_settles() {
    let settled = tell(&[
        ("log", "secret", "x", Report),
        ("log.1", "-", "sEcret", Report),
        ("log.2", "-", "", Copying),
    ]);
    assert_eq!(settled, [false, false, false]);
    // The old generation is known: what became of it does not help the altered one.
    tell(&[
        ("log", "secret", "x", Report),
        ("log.1", "old", "sEcret", Report),
        ("log.2", "-", "old", Rotated),
    ]);
}

#[test]
fn what_was_never_seen_is_the_log_between_two_looks() {
    tell(&[
        ("log", "aa", "dd", Fresh),
        ("log.1", "-", "cc", Fresh),
        ("log.2", "-", "bb", Fresh),
        ("log.3", "-", "aa", Rotated),
        ("log.4", "-", "zz", Report),
    ]);
    // The log was empty when it was seen last.
    tell(&[
        ("log", "", "cc", Continues),
        ("log.1.gz", "-", "bb", Fresh),
        ("log.1", "aa", "-", Gone),
        ("log.2.gz", "-", "aa", Rotated),
        ("log.3.gz", "-", "zz", Report),
    ]);
}

#[test]
fn the_oldest_ends_once_for_each_rotation() {
    tell(&[("log", "c", "", Fresh), ("log.1", "b", "c", Rotated), ("log.2", "a", "b", Rotated)]);
    // One rotation does not excuse two ends, nor an end in the middle.
    tell(&[
        ("log", "d", "", Fresh),
        ("log.1", "-", "d", Rotated),
        ("log.2", "b", "-", Report),
        ("log.3", "a", "-", Dropped),
    ]);
    tell(&[
        ("log", "d", "", Fresh),
        ("log.1", "-", "d", Rotated),
        ("log.2", "b", "-", Report),
        ("log.3", "a", "a", Continues),
    ]);
    tell(&[("log", "d", "d", Continues), ("log.3", "a", "-", Report)]);
    let recent = Some(Timestamp::new(99_000, 0));
    let one_left =
        |rest| [("log", "d", "d", Continues), ("log.2", "b", "b", Continues), ("log.3", "a", "-", rest)];
    tell_at(&one_left(Dropped), recent, &[]);
    tell_at(&[("log", "d", "d", Continues), ("log.1", "a", "-", Report)], recent, &[]);
    let long_ago = Some(Timestamp::new(9_000, 0));
    tell_at(&one_left(Report), long_ago, &[]);
    // What was seen to move on in the same look as the log has not been dropped.
    let held = state("b");
    let ended = |seconds, dropped| {
        let time = Timestamp::new(seconds, 0);
        [Ended { name: b"log.1.gz", held: &held, time, dropped }]
    };
    tell_at(&one_left(Dropped), recent, &ended(99_000, false));
    tell_at(&one_left(Report), recent, &ended(99_000, true));
    tell_at(&one_left(Dropped), recent, &ended(98_000, true));
}

#[test]
fn a_file_that_moved_is_not_taken_for_another_of_the_same_content() {
    let file = |content, inode| FileState { inode, ..state(content) };
    let (newest, one, two, four, empty) =
        (file("c", 5), file("bb", 1), file("aa", 2), file("aa", 4), file("", 6));
    let there = [("log", ""), ("log.1", "c"), ("log.2.gz", "bb"), ("log.3.gz", "aa")];
    let disk = Disk(there.map(|(name, content)| (name.as_bytes().to_vec(), content.to_string())).into());
    let name = |name: &'static str, before, now| Name {
        name: name.as_bytes(),
        before,
        now,
        continues: false,
        rotated: None,
    };
    // What is gone comes first, as a check lists it.
    let names = [
        name("log.1.gz", Some(&one), None),
        name("log.4.gz", Some(&four), None),
        name("log", Some(&newest), Some(&empty)),
        name("log.1", None, Some(&newest)),
        name("log.2.gz", Some(&two), Some(&one)),
        name("log.3.gz", None, Some(&two)),
    ];
    let judged = judge(&names, &[], Timestamp::new(100_000, 0), &disk);
    let verdicts: Vec<_> = judged.iter().map(|judged| judged.verdict).collect();
    assert_eq!(verdicts, [Gone, Dropped, Fresh, Rotated, Rotated, Rotated]);
}

#[test]
fn what_ended_in_the_midst_of_a_rotation_is_found_again() {
    let (held, there) = (state("aa"), state("aa"));
    let disk = Disk([(b"log.4".to_vec(), "aa".into())].into());
    let name = Name { name: b"log.4", before: None, now: Some(&there), continues: false, rotated: None };
    let judged = |seconds| {
        let time = Timestamp::new(seconds, 0);
        let ended = Ended { name: b"log.3", held: &held, time, dropped: false };
        judge(std::slice::from_ref(&name), &[ended], Timestamp::new(100_000, 0), &disk)
    };
    assert_eq!(judged(99_000), [Judged { verdict: Rotated, settled: true }]);
    assert_eq!(judged(9_000), [Judged { verdict: Report, settled: true }]);
}

#[test]
fn copies_in_the_making() {
    tell(&[("log", "abc", "abcd", Continues), ("log.1", "-", "ab", Copying)]);
    tell(&[("log.1", "abc", "abc", Continues), ("log.1.gz", "-", "", Copying)]);
    tell(&[("log.1", "abc", "abc", Continues), ("log.1.gz", "-", "ax", Report)]);
    tell(&[("log.1", "abc", "abc", Continues), ("log.9", "-", "", Report)]);
    tell(&[("sentinel", "-", "", Report)]);
}

#[test]
fn names_fall_into_families() {
    let family =
        |name: &str| (String::from_utf8(parse(name.as_bytes()).0).unwrap(), parse(name.as_bytes()).1);
    assert_eq!(family("syslog.2.gz"), ("syslog.".into(), Age::Counted(2)));
    assert_eq!(family("app-2026-01-02.log"), ("app.log.".into(), Age::Dated(20_260_102)));
    assert_eq!(family("app.log-20260102T030405Z"), ("app.log.".into(), Age::Dated(20_260_102_030_405)));
    assert_eq!(family("log2"), ("log2.".into(), Age::Live));
    assert_eq!(family("2.log"), ("2.log.".into(), Age::Live));
    assert_eq!(family("log.old"), ("log.".into(), Age::Counted(1)));
    assert_eq!(parse(b""), (b".".to_vec(), Age::Live));
    parse(format!("log.{}", "9".repeat(300)).as_bytes());
}
