use super::*;
use crate::testing::{TinyDisk, file, state_below, store, store_in};
use waxseal_model::FileState;

/// Counts mode and content; a move is as severe as the change that it is.
struct TestRules;

thread_local! {
    /// Who writes in this test.
    static WRITERS: std::cell::RefCell<Vec<u32>> = const { std::cell::RefCell::new(Vec::new()) };
}

impl Rules for TestRules {
    fn differences(&self, _: &str, before: &Seen, after: &Seen) -> AttributeSet {
        let (before, after) = (&before.state, &after.state);
        let mut fields = AttributeSet::EMPTY;
        if before.mode != after.mode {
            fields.insert(Attribute::Mode);
        }
        if before.digests != after.digests {
            fields.insert(Attribute::Content);
        }
        fields
    }

    fn severity_of_move(&self, _: &Found) -> Severity {
        Severity::Low
    }

    fn actors(&self, found: &Found) -> Vec<Actor> {
        assert!(!found.path.as_bytes().is_empty());
        WRITERS.with(|writers| writers.borrow().iter().map(|pid| Actor::unknown(*pid)).collect())
    }

    fn severity_by(&self, found: &Found, actors: &[Actor]) -> Severity {
        if actors.iter().any(|actor| actor.pid == 666) { Severity::Critical } else { found.severity }
    }
}

fn path(text: &str) -> RawPath {
    RawPath::new(text.as_bytes())
}

fn seen(state: FileState) -> Seen {
    Seen { state, user: Some("root".into()), group: None }
}

fn found(at: &str, kind: ChangeKind, before: Option<FileState>, after: Option<FileState>) -> Found {
    Found {
        path: path(at),
        watch: "w".into(),
        kind,
        fields: AttributeSet::EMPTY,
        severity: Severity::Medium,
        source: Source::Scan,
        before: before.map(seen),
        after: after.map(seen),
        from: None,
    }
}

pub(crate) fn modified(at: &str, content: u8) -> Found {
    let mut found = found(at, ChangeKind::Modified, Some(file(1, 1)), Some(file(1, content)));
    found.fields = AttributeSet::of(&[Attribute::Content]);
    found
}

fn added(at: &str, inode: u64, content: u8) -> Found {
    found(at, ChangeKind::Added, None, Some(file(inode, content)))
}

fn removed(at: &str, inode: u64, content: u8) -> Found {
    found(at, ChangeKind::Removed, Some(file(inode, content)), None)
}

/// Commits these findings of a look at `scope`.
fn commit_in(store: &Store, all: &[Found], scope: &[Place], blind: &[&str]) -> Vec<Outcome> {
    try_commit(&mut store.findings().unwrap(), store, all, scope, blind).unwrap()
}

fn try_commit(
    findings: &mut Findings,
    store: &Store,
    all: &[Found],
    scope: &[Place],
    blind: &[&str],
) -> Result<Vec<Outcome>, StoreError> {
    all.iter().for_each(|found| findings.add(found).unwrap());
    let looked_at = |path: &RawPath| !blind.iter().any(|blind| path.as_bytes() == blind.as_bytes());
    let now = Timestamp::new(1000, 0);
    let generation = store.newest_generation().unwrap();
    let commit = Commit {
        cause: "test",
        set: None,
        now,
        generation,
        rules: &TestRules,
        scope,
        kept: &[],
        looked_at: &looked_at,
    };
    let mut outcomes = Vec::new();
    findings.commit(store, &commit, Some(&mut outcomes))?;
    Ok(outcomes)
}

pub(crate) fn written_by(pids: &[u32]) {
    WRITERS.with(|writers| *writers.borrow_mut() = pids.to_vec());
}

#[test]
fn all_who_wrote_are_kept_and_one_may_raise_the_severity() {
    let home = tempfile::tempdir().unwrap();
    let store = store_in(&state_below(home.path()));
    let pids = |change: &Change| change.actors.iter().map(|actor| actor.pid).collect::<Vec<_>>();
    let open = || store.open_change_of(&path("/t/a")).unwrap().unwrap();
    written_by(&[7]);
    let outcomes = commit(&store, &[modified("/t/a", 2)]);
    assert!(matches!(&outcomes[..], [Outcome::New(change)] if pids(change) == [7]));
    written_by(&[8, 7]);
    let outcomes = commit(&store, &[modified("/t/a", 3)]);
    assert!(matches!(&outcomes[..], [Outcome::Again(change)] if pids(change) == [8, 7]));
    // Found once more without a word of who it was, then with another who wrote the same.
    written_by(&[]);
    assert!(commit(&store, &[modified("/t/a", 3)]).is_empty());
    assert_eq!(pids(&open()), [8, 7]);
    written_by(&[9]);
    assert!(commit(&store, &[modified("/t/a", 3)]).is_empty());
    assert_eq!((pids(&open()), open().count), (vec![8, 7, 9], 2));
    assert_ne!(open().severity, Severity::Critical);
    // Somebody whose writing makes it worse is news, also when the file was found as it is.
    written_by(&[666]);
    let outcomes = commit(&store, &[modified("/t/a", 3)]);
    assert!(matches!(&outcomes[..], [Outcome::Again(change)] if change.severity == Severity::Critical));
    assert!(commit(&store, &[modified("/t/a", 3)]).is_empty());
    written_by(&[]);
    assert!(commit(&store, &[modified("/t/a", 3)]).is_empty());
    assert_eq!((open().severity, open().count), (Severity::Critical, 3));
    commit(&store, &[modified("/t/a", 4)]);
    assert_eq!(open().severity, Severity::Critical);
}

pub(crate) fn commit(store: &Store, all: &[Found]) -> Vec<Outcome> {
    commit_in(store, all, &[], &[])
}

fn open_changes(store: &Store) -> Vec<Change> {
    let mut all = Vec::new();
    store
        .each_open_change(|change| -> Result<(), StoreError> {
            all.push(change);
            Ok(())
        })
        .unwrap();
    all
}

fn open_paths(store: &Store) -> Vec<String> {
    let mut paths: Vec<String> = open_changes(store).iter().map(|change| change.path.to_string()).collect();
    paths.sort();
    paths
}

#[test]
fn a_change_is_opened_once_counted_up_and_resolved() {
    let (_home, store) = store();
    let first = match &commit(&store, &[modified("/t/a", 2)])[..] {
        [Outcome::New(change)] => change.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!((first.count, first.kind), (1, ChangeKind::Modified));
    // The same again tells nothing.
    assert_eq!(commit(&store, &[modified("/t/a", 2)]), []);
    let again = match &commit(&store, &[modified("/t/a", 3)])[..] {
        [Outcome::Again(change)] => change.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!((again.id, again.set, again.count), (first.id, first.set, 2));
    assert_eq!(again.after.as_ref().unwrap().state.digests.sha256, Some([3; 32]));
    match &commit(&store, &[])[..] {
        [Outcome::Resolved(change)] => assert_eq!(change.id, first.id),
        other => panic!("{other:?}"),
    }
    assert_eq!(open_changes(&store), []);
    // A new change of the same path is another one; the old one stays on record.
    match &commit(&store, &[modified("/t/a", 2)])[..] {
        [Outcome::New(change)] => assert_ne!(change.id, first.id),
        other => panic!("{other:?}"),
    }
    assert_eq!(store.change(first.id).unwrap().unwrap().id, first.id);
}

#[test]
fn what_does_not_count_makes_no_new_line() {
    let (_home, store) = store();
    commit(&store, &[modified("/t/a", 2)]);
    let mut later = modified("/t/a", 2);
    if let Some(after) = &mut later.after {
        after.state.mtime = Timestamp::new(77, 0);
        after.state.inode = 12;
    }
    assert_eq!(commit(&store, &[later]), []);
}

#[test]
fn a_set_holds_what_was_found_together() {
    let (_home, store) = store();
    commit(&store, &[modified("/t/a", 2), modified("/t/b", 2)]);
    commit(&store, &[modified("/t/a", 2), modified("/t/b", 3), modified("/t/c", 2)]);
    let of = |at: &str| store.open_change_of(&path(at)).unwrap().unwrap().set;
    assert_eq!(of("/t/a"), of("/t/b"));
    assert_ne!(of("/t/a"), of("/t/c"));
    let sets = store.open_sets().unwrap();
    assert_eq!(sets.iter().map(|set| set.id).collect::<Vec<_>>(), [of("/t/c"), of("/t/a")]);
}

#[test]
fn only_what_was_looked_at_is_resolved() {
    let (_home, store) = store();
    let all = ["/t/a", "/t/a/in", "/t/a/in/deep", "/t/ab", "/t/a-x", "/u"];
    commit(&store, &all.map(|at| modified(at, 2)));
    // A shallow place is itself and nothing else.
    commit_in(&store, &[], &[Place { path: path("/t/a"), deep: false }], &[]);
    assert_eq!(open_paths(&store), ["/t/a-x", "/t/a/in", "/t/a/in/deep", "/t/ab", "/u"]);
    // What could not be seen stays open.
    let deep = [Place { path: path("/t/a"), deep: true }];
    commit_in(&store, &[], &deep, &["/t/a/in/deep"]);
    assert_eq!(open_paths(&store), ["/t/a-x", "/t/a/in/deep", "/t/ab", "/u"]);
    // A deep one is everything below, and no name that begins alike.
    commit_in(&store, &[], &deep, &[]);
    assert_eq!(open_paths(&store), ["/t/a-x", "/t/ab", "/u"]);
    commit_in(&store, &[], &[Place { path: path("/"), deep: true }], &["/u"]);
    assert_eq!(open_paths(&store), ["/u"]);
    commit(&store, &[]);
    assert_eq!(open_paths(&store), Vec::<String>::new());
}

fn kinds(outcomes: &[Outcome]) -> Vec<(String, ChangeKind, Option<String>)> {
    let change = |outcome: &Outcome| match outcome {
        Outcome::New(change) | Outcome::Again(change) | Outcome::Resolved(change) => change.clone(),
    };
    let tell =
        |change: Change| (change.path.to_string(), change.kind, change.from.map(|from| from.to_string()));
    outcomes.iter().map(change).map(tell).collect()
}

fn told(at: &str, kind: ChangeKind, from: Option<&str>) -> (String, ChangeKind, Option<String>) {
    (at.into(), kind, from.map(Into::into))
}

#[test]
fn the_same_object_under_a_new_name_has_moved() {
    let (_home, store) = store();
    let mut new = added("/t/new", 5, 1);
    if let Some(after) = &mut new.after {
        after.state.mode = 0o600;
    }
    let mut old = removed("/t/old", 5, 1);
    old.severity = Severity::High;
    let outcomes = commit(&store, &[old, new]);
    assert_eq!(kinds(&outcomes), [told("/t/new", ChangeKind::Moved, Some("/t/old"))]);
    let change = &open_changes(&store)[0];
    // What else differs is said, and it is as severe as the loss of the old name.
    assert_eq!(change.fields, AttributeSet::of(&[Attribute::Mode]));
    assert_eq!(change.severity, Severity::High);
    assert_eq!(change.before.as_ref().unwrap().state.mode, 0o644);
}

#[test]
fn a_move_leads_to_its_source() {
    let (_home, store) = store();
    commit(&store, &[removed("/t/old", 5, 1), added("/t/new", 5, 1), added("/t/other", 6, 1)]);
    let place = |path: &str, deep: bool| Place { path: RawPath::new(path.as_bytes()), deep };
    let sources = |places: &[Place]| store.sources_of_moves(places).unwrap().into_iter().collect::<Vec<_>>();
    let old = [RawPath::new(&b"/t/old"[..])];
    assert_eq!(sources(&[place("/t/new", false)]), old);
    assert_eq!(sources(&[place("/t", false), place("/t/new", true)]), old);
    assert_eq!(sources(&[place("/t/other", true), place("/t/ne", true)]), []);
    let destinations =
        |places: &[Place]| store.destinations_of_moves(places).unwrap().into_iter().collect::<Vec<_>>();
    let new = [RawPath::new(&b"/t/new"[..])];
    assert_eq!(destinations(&[place("/t/old", false)]), new);
    assert_eq!(destinations(&[place("/t", true)]), new);
    assert_eq!(destinations(&[place("/t", false), place("/t/new", true), place("/t/ol", true)]), []);
}

#[test]
fn a_content_that_becomes_known_is_recorded() {
    let (_home, store) = store();
    let known = added("/t/new", 5, 1);
    let mut unknown = known.clone();
    if let Some(after) = &mut unknown.after {
        after.state.digests.sha256 = None;
    }
    commit(&store, &[unknown]);
    commit(&store, &[known]);
    assert!(open_changes(&store)[0].after.as_ref().unwrap().state.digests.sha256.is_some());
}

#[test]
fn what_is_not_the_same_object_has_not_moved() {
    let elsewhere = |mut found: Found, change: fn(&mut FileState)| {
        change(&mut found.after.as_mut().unwrap().state);
        found
    };
    let cases: [(Found, Found); 4] = [
        // An inode number that was used again, for other content or for a file that was made later.
        (removed("/old", 5, 1), added("/new", 5, 2)),
        (
            removed("/old", 5, 1),
            elsewhere(added("/new", 5, 1), |state| state.btime = Some(Timestamp::new(50, 0))),
        ),
        (removed("/old", 5, 1), elsewhere(added("/new", 5, 1), |state| state.device.minor = 9)),
        (removed("/old", 5, 1), elsewhere(added("/new", 5, 1), |state| state.file_type = FileType::Fifo)),
    ];
    for (old, new) in cases {
        let (_home, store) = store();
        let outcomes = commit(&store, &[old, new]);
        let expected = [told("/new", ChangeKind::Added, None), told("/old", ChangeKind::Removed, None)];
        assert_eq!(kinds(&outcomes), expected);
    }
}

#[test]
fn a_file_put_in_the_place_of_another_stays_removed_where_it_was() {
    let (_home, store) = store();
    let mut over = found("/sshd", ChangeKind::Modified, Some(file(1, 1)), Some(file(5, 2)));
    over.fields = AttributeSet::of(&[Attribute::Content]);
    let outcomes = commit(&store, &[over, removed("/other", 5, 2)]);
    let expected =
        [told("/other", ChangeKind::Removed, None), told("/sshd", ChangeKind::Modified, Some("/other"))];
    assert_eq!(kinds(&outcomes), expected);
}

#[test]
fn each_name_moves_once() {
    // Two names of one object are gone and two have come: each old name goes with one new one.
    let (_home, store) = store();
    let all = [removed("/a", 5, 1), removed("/b", 5, 1), added("/c", 5, 1), added("/d", 5, 1)];
    let outcomes = commit(&store, &all);
    let expected = [told("/c", ChangeKind::Moved, Some("/a")), told("/d", ChangeKind::Moved, Some("/b"))];
    assert_eq!(kinds(&outcomes), expected);
    // One name is gone and two have come: one of them is new.
    let (_home, store) = self::store();
    let outcomes = commit(&store, &[removed("/a", 5, 1), added("/c", 5, 1), added("/d", 5, 1)]);
    let expected = [told("/c", ChangeKind::Moved, Some("/a")), told("/d", ChangeKind::Added, None)];
    assert_eq!(kinds(&outcomes), expected);
}

#[test]
fn thousands_move_in_one_go() {
    let (_home, store) = store();
    let old = (0..5000).map(|n| removed(&format!("/old/{n}"), n, 1));
    let new = (0..5000).map(|n| added(&format!("/new/{n}"), n, 1));
    let outcomes = commit(&store, &old.chain(new).collect::<Vec<_>>());
    assert_eq!(outcomes.len(), 5000);
    assert!(kinds(&outcomes).iter().all(|(at, kind, from)| {
        *kind == ChangeKind::Moved && from.as_deref() == Some(&*at.replace("/new/", "/old/"))
    }));
}

#[test]
fn any_bytes_are_a_path() {
    let (_home, store) = store();
    let bytes = b"/t/\xff\n\x1b[2J'\"; DROP TABLE change; --".to_vec();
    let mut found = modified("/", 2);
    found.path = RawPath::new(bytes.clone());
    commit(&store, &[found]);
    let change = &open_changes(&store)[0];
    assert_eq!(change.path.as_bytes(), bytes);
    let text: String = store
        .read(|connection| Ok(connection.query_row("SELECT path_text FROM change", [], |row| row.get(0))?))
        .unwrap();
    assert!(!text.contains(['\n', '\u{1b}']), "{text:?}");
}

#[test]
fn the_worst_comes_first_and_is_counted() {
    let (_home, store) = store();
    let mut worst = modified("/z", 2);
    worst.severity = Severity::Critical;
    let mut least = modified("/a", 2);
    least.severity = Severity::Info;
    let findings = store.findings().unwrap();
    for found in [&least, &modified("/m", 2), &worst] {
        findings.add(found).unwrap();
    }
    let mut order = Vec::new();
    findings.each(|found| order.push(found.path.to_string())).unwrap();
    assert_eq!(order, ["/z", "/m", "/a"]);
    findings.clear().unwrap();
    commit(&store, &[least, modified("/m", 2), worst]);
    assert_eq!(open_changes(&store).iter().map(|c| c.path.to_string()).collect::<Vec<_>>(), order);
    assert_eq!(store.count_open().unwrap(), [1, 0, 1, 0, 1]);
}

#[test]
fn without_room_nothing_is_recorded_and_nothing_is_lost() {
    let Some(disk) = TinyDisk::of("2m") else { return };
    let store = store_in(&state_below(disk.path()));
    commit(&store, &[modified("/t/before", 2)]);
    let mut findings = store.findings().unwrap();
    let filler = disk.fill();
    let all: Vec<Found> = (0..3000).map(|n| modified(&format!("/t/{n}"), 2)).collect();
    let refused = try_commit(&mut findings, &store, &all, &[], &[]);
    assert!(matches!(refused, Err(StoreError::Full)), "{refused:?}");
    assert_eq!(open_paths(&store), ["/t/before"]);
    filler.remove();
    // What was collected is still there, and is recorded when there is room.
    let outcomes = try_commit(&mut findings, &store, &[], &[], &[]).unwrap();
    assert_eq!(outcomes.len(), 3001, "three thousand new ones, and one that was not found again");
    assert_eq!(open_paths(&store).len(), 3000);
}

#[test]
fn a_full_disk_is_called_by_its_name_also_when_the_database_is_opened() {
    let Some(disk) = TinyDisk::of("2m") else { return };
    let dir = state_below(disk.path());
    drop(store_in(&dir));
    let filler = disk.fill();
    let refused = Store::open(&dir).and_then(|store| store.findings().map(drop));
    assert!(matches!(refused, Err(StoreError::Full)), "{refused:?}");
    filler.remove();
    commit(&Store::open(&dir).unwrap(), &[modified("/t/a", 2)]);
}

#[test]
fn damaged_rows_are_errors() {
    for damage in [
        "UPDATE change SET before = x'00'",
        "UPDATE change SET after = randomblob(200)",
        "UPDATE change SET severity = 'much'",
        "UPDATE change SET path = 7",
    ] {
        let (_home, store) = store();
        commit(&store, &[modified("/t/a", 2)]);
        store.writer().execute_batch(damage).unwrap();
        let read = store.each_open_change(|_| -> Result<(), StoreError> { Ok(()) });
        assert!(matches!(read, Err(StoreError::Damaged(_))), "{damage}: {read:?}");
        // Neither does it stop what is recorded from then on, where the path is another.
        let mut findings = store.findings().unwrap();
        let place = [Place { path: path("/t/b"), deep: false }];
        let outcome = try_commit(&mut findings, &store, &[modified("/t/b", 2)], &place, &[]);
        assert!(outcome.is_ok(), "{damage}: {outcome:?}");
    }
    // Words that this version does not know are read as the worse or the more common thing.
    let (_home, store) = store();
    commit(&store, &[modified("/t/a", 2)]);
    store
        .writer()
        .execute_batch("UPDATE change SET severity = 99, kind = 'melted', source = 'rumour'")
        .unwrap();
    let change = &open_changes(&store)[0];
    assert_eq!((change.severity, change.kind), (Severity::Critical, ChangeKind::Modified));
}

#[test]
fn a_later_finding_of_a_path_replaces_the_earlier_one() {
    let (_home, store) = store();
    let outcomes = commit(&store, &[modified("/t/a", 2), modified("/t/a", 3)]);
    assert_eq!(outcomes.len(), 1);
    assert_eq!(open_changes(&store)[0].after.as_ref().unwrap().state.digests.sha256, Some([3; 32]));
}

#[test]
fn two_writers_of_one_process_take_turns() {
    let (_home, store) = store();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let store = &store;
            scope.spawn(move || {
                for n in 0..20 {
                    let at = format!("/t/{thread}-{n}");
                    let place = [Place { path: path(&at), deep: false }];
                    commit_in(store, &[modified(&at, 2)], &place, &[]);
                }
            });
        }
    });
    assert_eq!(open_paths(&store).len(), 80);
}

#[test]
fn a_survey_names_what_is_not_on_record() {
    let (_home, store) = store();
    let recorded =
        [modified("/t/a", 2), removed("/t/b", 2, 1), modified("/t/over", 2), added("/t/hidden", 9, 9)];
    commit(&store, &recorded);
    let findings = store.findings().unwrap();
    let now = [
        modified("/t/a", 2),
        modified("/t/b", 2),
        modified("/t/c", 2),
        removed("/t/old", 5, 1),
        added("/t/new", 5, 1),
    ];
    now.iter().for_each(|found| findings.add(found).unwrap());
    findings.note(&path("/t/noted")).unwrap();
    findings.note(&path("/t/a")).unwrap();
    findings.pair(&TestRules).unwrap();
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let page = findings.unrecorded(&TestRules, after.as_ref(), 1).unwrap();
        assert!(page.paths.len() <= 2);
        all.extend(page.paths.iter().map(ToString::to_string));
        after = page.last;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(all, ["/t/b", "/t/c", "/t/old", "/t/new", "/t/noted"]);
    let looked_at = |path: &RawPath| path.as_bytes() != b"/t/hidden";
    assert_eq!(findings.not_found_again(&[], &looked_at).unwrap(), [path("/t/over")]);
    // Nothing of it is recorded.
    assert_eq!(open_changes(&store).len(), recorded.len());
}

#[test]
fn a_later_part_of_a_look_goes_on_with_its_set() {
    let (_home, store) = store();
    commit(&store, &[modified("/t/a", 2)]);
    let set = open_changes(&store)[0].set;
    let mut findings = store.findings().unwrap();
    findings.add(&modified("/t/b", 2)).unwrap();
    let now = Timestamp::new(2000, 0);
    let scope = [Place { path: path("/t/b"), deep: false }];
    let commit = Commit {
        cause: "test",
        set: Some(set),
        now,
        generation: 1,
        rules: &TestRules,
        scope: &scope,
        kept: &[],
        looked_at: &|_| true,
    };
    findings.commit(&store, &commit, None).unwrap();
    assert!(open_changes(&store).iter().all(|change| change.set == set));
    assert_eq!(store.open_sets().unwrap().len(), 1);
}
