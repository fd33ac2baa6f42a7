//! Every kind comes back byte for byte, nothing else is read, and the sizes hold.

use super::*;
use crate::epoch::Announcer;
use proptest::prelude::*;
use waxseal_model::change::Seen;
use waxseal_model::digest::hex;
use waxseal_model::{Actor, DeviceNumber, Digests, Extra, FileState, FileType, RawPath, json};

pub(crate) fn state(size: u64) -> FileState {
    FileState {
        file_type: FileType::File,
        mode: 0o644,
        uid: 0,
        gid: 0,
        size,
        links: 1,
        inode: 12_345_678,
        device: DeviceNumber { major: 8, minor: 1 },
        mount_root: false,
        mtime: Timestamp::new(1_767_225_600, 123_456_789),
        ctime: Timestamp::new(1_767_225_600, 123_456_789),
        btime: Some(Timestamp::new(1_767_225_000, 5)),
        flags: Some(0x80000),
        digests: Digests { sha256: Some([0xaa; 32]), ..Digests::default() },
        extra: None,
    }
}

pub(crate) fn change(path: &[u8], size: u64) -> Change {
    let seen =
        |size| Some(Seen { state: state(size), user: Some("root".into()), group: Some("root".into()) });
    Change {
        id: ChangeId(7),
        set: SetId(3),
        first: Timestamp::new(1_767_225_601, 1_000),
        last: Timestamp::new(1_767_225_602, 2_000),
        watch: "system".into(),
        path: RawPath::new(path),
        kind: ChangeKind::Modified,
        fields: AttributeSet::CONTENT,
        severity: Severity::High,
        source: Source::Event,
        count: 2,
        before: seen(10),
        after: seen(size),
        from: None,
        actors: vec![Actor {
            pid: 812,
            uid: Some(33),
            login_uid: Some(1000),
            exe: Some(RawPath::new(*b"/usr/sbin/php-fpm")),
            args: vec!["php-fpm".into()],
            ..Actor::unknown(812)
        }],
    }
}

pub(crate) fn leaf(event: Event) -> Leaf {
    Leaf { time: Timestamp::from_micros(1_767_225_600_000_001), event }
}

fn text(text: &str) -> LeafText {
    LeafText::new(text)
}

fn path(bytes: &[u8]) -> LeafPath {
    LeafPath::new(&RawPath::new(bytes))
}

/// One of every kind, and of every way in which a field can be there or not.
pub(crate) fn samples() -> Vec<Event> {
    let time = Timestamp::from_micros(-1_500_001);
    let by = By { user: text("root"), login: Some(text("ada")), origin: Some(text("192.0.2.1")) };
    let decision = Decision {
        id: ChangeId(7),
        path: path(b"/etc/passwd"),
        state: Some(LeafState::new(&state(3))),
        by: by.clone(),
        note: text("planned \u{1b}[2J"),
    };
    let mut moved = ChangeLeaf::of(&change(b"/etc/\xff\n", 11));
    (moved.from, moved.before, moved.who) = (Some(path(b"/old")), None, None);
    let mut wide = state(1);
    let xattrs = [(b"user.big"[..].into(), vec![b'x'; 2000].into())].into();
    wide.extra = Some(Box::new(Extra { xattrs, ..Extra::default() }));
    let mut long = ChangeLeaf::of(&change(&[b"/", &[b'y'; 9000][..]].concat(), 11));
    long.after = Some(LeafState::new(&wide));
    vec![
        Event::Key(Announcement {
            epoch: 300,
            key: [1; 32],
            announcer: Announcer::Previous,
            root: [2; 32],
            signature: [3; 64],
        }),
        Event::Start { program: text("waxseal 0.1.0"), rules: [4; 32], baseline: Some((2, [5; 32])) },
        Event::Start { program: text(""), rules: [4; 32], baseline: None },
        Event::Stop { reason: text("SIGTERM") },
        Event::Change(Box::new(ChangeLeaf::of(&change(b"/etc/passwd", 11)))),
        Event::Change(Box::new(moved)),
        Event::Change(Box::new(long)),
        Event::Resolved { id: ChangeId(7), path: path(b"/etc/passwd") },
        Event::Approved(Box::new(decision.clone())),
        Event::Restored(Box::new(Decision {
            id: ChangeId::NONE,
            state: None,
            by: By::default(),
            ..decision
        })),
        Event::Sealed(Box::new(Sealed {
            generation: 2,
            root: [6; 32],
            entries: 100_000,
            files: 90_000,
            bytes: 1 << 40,
            scan_start: time,
            rules: [7; 32],
            seal: [8; 32],
            by,
            note: text(""),
        })),
        Event::Blind { reason: text("overflow"), path: Some(path(b"/srv")), since: time, until: Some(time) },
        Event::Blind { reason: text("disk-full"), path: None, since: time, until: None },
        Event::Config { rules: [9; 32], previous: Some([10; 32]) },
        Event::Config { rules: [9; 32], previous: None },
        Event::Alert {
            id: 5,
            channel: text("mail"),
            delivered: true,
            attempts: 2,
            set: SetId(3),
            answer: text("250 ok"),
        },
        Event::Heartbeat { watching: 123_456, open: 3, backend: text("fanotify+inotify") },
        Event::Touched { path: path(b"/tmp/x"), who: Some(Who::of(&Actor::unknown(9))), details: [11; 32] },
        Event::Clock,
        Event::Scan(Box::new(Scan {
            full: true,
            started: time,
            ended: time,
            outcome: text("intact"),
            checked: 300,
            errors: 1,
            bytes: 1 << 40,
        })),
        Event::Pruned(Box::new(Pruned {
            reason: text("older than 3y"),
            changes: 2,
            rows: vec![(0, 3), (7, 1 << 40), ((1 << 41), 1)],
        })),
        Event::Kept { suspect: true, contents: 3, bytes: 1 << 30, list: [12; 32] },
        Event::Dropped { reason: text("budget"), contents: vec![(7, [13; 32]), (1 << 40, [14; 32])] },
    ]
}

#[test]
fn every_kind_comes_back() {
    let mut kinds = std::collections::BTreeSet::new();
    for event in samples() {
        kinds.insert((event.code(), event.kind()));
        let leaf = leaf(event);
        let bytes = leaf.to_bytes();
        assert!(bytes.len() <= MAX_LEN);
        assert_eq!(Leaf::parse(&bytes).as_ref(), Ok(&leaf));
        let line = json::line(&leaf.to_json(3));
        assert!(
            line.starts_with(r#"{"type":"entry","seq":3,"time":"2026-01-01T00:00:00.000001Z","kind":""#),
            "{line}"
        );
    }
    assert_eq!(kinds.len(), 18);
    assert_eq!(kinds.iter().map(|(code, _)| *code).collect::<Vec<_>>(), (1..=18).collect::<Vec<_>>());
}

/// The examples of `docs/log-format.md`.
#[test]
fn the_documented_leaf_is_as_documented() {
    let heartbeat = leaf(Event::Heartbeat { watching: 300, open: 2, backend: text("fanotify") });
    assert_eq!(hex(&heartbeat.to_bytes()), "010c828082e288d2a306ac02020866616e6f74696679");
    let mut found = change(b"/etc/motd", 12);
    (found.actors, found.watch) = (Vec::new(), "etc".into());
    let bytes = leaf(Event::Change(Box::new(ChangeLeaf::of(&found)))).to_bytes();
    let expected = "0104828082e288d2a3060703028289fce288d2a3060203011f03657463092f6574632f6d6f74640001490007a4030000\
        0a01cec2f105080180e4ad950d959aef3a80e4ad950d959aef3ad0daad950d05808020aaaaaaaaaaaaaaaaaaaaaaaaaa\
        aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa01490007a40300000c01cec2f105080180e4ad950d959aef3a80e4ad95\
        0d959aef3ad0daad950d05808020aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa004c\
        608ff2951be5f2b6b37caa1b9db4058fd1174ac77cec35b82590c4a9028f86";
    assert_eq!(hex(&bytes), expected);
}

#[test]
fn findings_are_small() {
    let path = b"/usr/share/doc/some-package-with-a-long-name/examples/configuration/example-42.conf";
    let bytes = leaf(Event::Change(Box::new(ChangeLeaf::of(&change(path, 11))))).to_bytes();
    assert!(bytes.len() < 400, "{}", bytes.len());
    let largest = samples().into_iter().map(|event| leaf(event).to_bytes().len()).max();
    assert!(largest < Some(4096));
}

#[test]
fn what_is_too_long_is_cut_or_hashed_and_still_told_apart() {
    let long = |last: u8| path(&[&[b'a'; 5000][..], &[last]].concat());
    assert_ne!(long(1), long(2));
    assert_eq!(long(1).shown().len(), 1024);
    assert!(long(1).is(&RawPath::new([&[b'a'; 5000][..], &[1]].concat())));
    assert!(!long(1).is(&RawPath::new(*b"a")));
    assert_eq!(path(&[b'a'; 4096]).shown().len(), 4096);
    assert_eq!(text(&"é".repeat(3000)).as_str().len(), 4096);
    assert_eq!(text(&("a".to_owned() + &"é".repeat(3000))).as_str().len(), 4095);
}

/// Whatever differs in the record of a change shows in its leaf.
#[test]
fn a_leaf_covers_the_whole_record() {
    let original = change(b"/etc/passwd", 11);
    let own = ChangeLeaf::of(&original);
    assert_eq!(ChangeLeaf::of(&original.clone()), own);
    let edits: [fn(&mut Change); 20] = [
        |c| c.id = ChangeId(8),
        |c| c.set = SetId(8),
        |c| c.first = Timestamp::new(0, 0),
        |c| c.watch.push('x'),
        |c| c.path = RawPath::new(*b"/etc/passwe"),
        |c| c.kind = ChangeKind::Metadata,
        |c| c.fields = AttributeSet::EMPTY,
        |c| c.severity = Severity::Low,
        |c| c.source = Source::Scan,
        |c| c.count = 3,
        |c| c.before = None,
        |c| c.after.as_mut().unwrap().state.mtime.nanos += 1,
        |c| c.after.as_mut().unwrap().user = None,
        |c| c.after.as_mut().unwrap().group = Some("wheel".into()),
        |c| c.before.as_mut().unwrap().user = Some("x".into()),
        |c| c.before.as_mut().unwrap().group = None,
        |c| c.from = Some(RawPath::new(*b"/x")),
        |c| c.actors[0].args.push("x".into()),
        |c| c.actors.clear(),
        |c| c.actors.insert(0, Actor::unknown(1)),
    ];
    for (i, edit) in edits.iter().enumerate() {
        let mut other = original.clone();
        edit(&mut other);
        assert_ne!(ChangeLeaf::of(&other), own, "{i}");
    }
    // The time of the last change is the leaf's own.
    let later = Change { last: Timestamp::new(5, 0), ..original };
    assert_eq!(ChangeLeaf::of(&later), own);
}

#[test]
fn texts_of_the_details_cannot_flow_into_each_other() {
    let a = Details { before_user: Some("a"), before_group: Some(""), ..Details::default() };
    let b = Details { before_user: Some("a"), before_group: None, ..Details::default() };
    let c = Details { before_user: Some(""), before_group: Some("a"), ..Details::default() };
    assert_eq!([a.hash() == b.hash(), a.hash() == c.hash(), b.hash() == c.hash()], [false; 3]);
    assert_ne!(Details::default().hash(), a.hash());
}

#[test]
fn unknown_kinds_and_versions_show_their_time() {
    let time = Timestamp::from_micros(-3);
    let unknown = |version, kind| Err(LeafError::Unknown { version, kind, time });
    assert_eq!(Leaf::parse(&[1, 19, 5, 1, 2, 3]), unknown(1, 19));
    assert_eq!(Leaf::parse(&[2, 4, 5]), unknown(2, 4));
    assert!(matches!(Leaf::parse(&[0, 4, 5]), Err(LeafError::Wire(_))));
    assert!(matches!(Leaf::parse(&[1, 0, 5]), Err(LeafError::Wire(_))));
    assert!(matches!(Leaf::parse(&[]), Err(LeafError::Wire(WireError::Truncated))));
    assert!(matches!(Leaf::parse(&vec![1; 65_536]), Err(LeafError::Wire(_))));
}

#[test]
fn leaves_that_are_cut_or_longer_are_refused() {
    for event in samples() {
        let bytes = leaf(event).to_bytes();
        for len in 0..bytes.len() {
            assert!(
                matches!(Leaf::parse(&bytes[..len]), Err(LeafError::Wire(_))),
                "{len} of {}",
                hex(&bytes)
            );
        }
        assert!(matches!(Leaf::parse(&[&bytes[..], &[0]].concat()), Err(LeafError::Wire(_))));
    }
}

proptest! {
    #[test]
    fn whatever_is_read_is_written_alike(
        sample in 0..20usize, at: prop::sample::Index, value: u8, more in prop::collection::vec(any::<u8>(), 0..4)
    ) {
        let mut bytes = leaf(samples().remove(sample)).to_bytes();
        let at = at.index(bytes.len());
        bytes[at] = value;
        bytes.splice(at..at, more);
        if let Ok(leaf) = Leaf::parse(&bytes) {
            prop_assert_eq!(leaf.to_bytes(), bytes);
            json::line(&leaf.to_json(0));
        }
    }

    #[test]
    fn any_bytes_are_refused_or_are_the_same_again(kind in 0..17u8, rest in prop::collection::vec(any::<u8>(), 0..200)) {
        let bytes = [&[1, kind][..], &rest].concat();
        if let Ok(leaf) = Leaf::parse(&bytes) {
            prop_assert_eq!(leaf.to_bytes(), bytes);
        }
    }

    #[test]
    fn any_time_comes_back(micros: i64) {
        let time = Timestamp::from_micros(micros);
        let leaf = Leaf { time, event: Event::Clock };
        prop_assert_eq!(Leaf::parse(&leaf.to_bytes()).map(|leaf| leaf.time.as_micros()), Ok(time.as_micros()));
    }
}

#[test]
fn what_was_pruned_is_named_in_one_way() {
    let of = |rows: Vec<(u64, u64)>| Leaf {
        time: Timestamp::default(),
        event: Event::Pruned(Box::new(Pruned { rows, ..Pruned::default() })),
    };
    for bad in [vec![(1, 0)], vec![(1, 2), (3, 1)], vec![(u64::MAX, 1)], vec![(1, u64::MAX)]] {
        assert!(Leaf::parse(&of(bad.clone()).to_bytes()).is_err(), "{bad:?}");
    }
    // The most that is named fits.
    let step = u64::MAX / (Pruned::MOST_ROWS as u64 + 1);
    let rows: Vec<_> = (0..Pruned::MOST_ROWS as u64).map(|row| (row * step, step - 1)).collect();
    let bytes = of(rows.clone()).to_bytes();
    assert!(bytes.len() < MAX_LEN, "{}", bytes.len());
    assert_eq!(Leaf::parse(&bytes).unwrap(), of(rows));
}
