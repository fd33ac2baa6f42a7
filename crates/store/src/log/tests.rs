use super::*;
use crate::changes::tests::{commit, modified, written_by};
use crate::testing::{TinyDisk, baseline, record, state_below, store, store_in};
use crate::{Gap, RecordSink};
use std::fs;
use waxseal_ledger::leaf::LeafText;
use waxseal_ledger::merkle::leaf_hash;
use waxseal_ledger::verify::{Problem, Report, Trust, Walk};
use waxseal_ledger::{Checkpoint, VerificationFile};
use waxseal_model::{Actor, RawPath};

const MINUTE: i64 = 60;

fn at(seconds: i64) -> Timestamp {
    Timestamp::new(2_000_000_000 + seconds, 0)
}

/// What a stranger has who took the verification file away.
pub(crate) fn trust(store: &Store) -> Trust {
    let text = fs::read_to_string(store.dir().verification()).unwrap();
    VerificationFile::parse(&text).unwrap().trust()
}

/// What the log and the tables say.
fn examine(log: &read::LogSnapshot<'_>, trust: &Trust) -> Result<(Report, Vec<Disagreement>), StoreError> {
    let mut walk = Walk::new(trust, log.checkpoint()?.unwrap_or_default());
    let (mut agreement, mut wrong) = (Agreement::default(), Vec::new());
    log.each_leaf(0, |entry| -> Result<(), StoreError> {
        match &entry.bytes {
            Some(bytes) => walk.leaf(bytes, Some(entry.hash)),
            None => walk.missing_leaf(entry.hash),
        }
        if let Some(bytes) = entry.bytes.as_deref()
            && let Ok(leaf) = Leaf::parse(bytes)
        {
            agreement.leaf(entry.seq, &leaf, leaf_hash(bytes));
        }
        Ok(())
    })?;
    agreement.compare(log, |one| wrong.push(one))?;
    Ok((walk.finish(), wrong))
}

fn walk(store: &Store, trust: &Trust) -> (Report, Vec<Disagreement>) {
    store.log_snapshot(|log| examine(log, trust)).unwrap()
}

#[track_caller]
pub(crate) fn expect_proven(store: &Store) -> Report {
    let (report, wrong) = walk(store, &trust(store));
    assert!(report.is_proven() && report.proven == report.size, "{:?}", report.problems);
    assert_eq!(wrong, []);
    assert_eq!(report.size, store.log_size().unwrap());
    report
}

#[test]
fn what_becomes_known_of_an_actor_later_is_told_by_the_log_as_well() {
    let home = tempfile::tempdir().unwrap();
    let store = store_in(&state_below(home.path()));
    let path = RawPath::new(*b"/t/a");
    written_by(&[7]);
    commit(&store, &[modified("/t/a", 2)]);
    let open = || store.open_change_of(&path).unwrap().unwrap();
    let known = Actor { package: Some("dash 1".into()), ..open().actors.remove(0) };
    let elsewhere = RawPath::new(*b"/t/b");
    let known = [(path.clone(), vec![known.clone()]), (elsewhere, vec![known])].into_iter().collect();
    let told = || kinds(&store).iter().filter(|kind| **kind == "change").count();
    let before = told();
    store.complete_actors(&known, at(1)).unwrap();
    assert_eq!(open().actors.first().and_then(|actor| actor.package.as_deref()), Some("dash 1"));
    assert_eq!(open().count, 1, "nothing more has changed");
    assert_eq!(told(), before + 1);
    expect_proven(&store);
    // Once is enough.
    store.complete_actors(&known, at(2)).unwrap();
    assert_eq!(told(), before + 1);
}

fn kinds(store: &Store) -> Vec<&'static str> {
    let mut kinds = Vec::new();
    let each = |entry: Entry| -> Result<(), StoreError> {
        kinds.push(Leaf::parse(&entry.bytes.unwrap()).unwrap().event.kind());
        Ok(())
    };
    store.log_snapshot(|log| log.each_leaf(0, each)).unwrap();
    kinds
}

fn heartbeat() -> Vec<Event> {
    vec![Event::Heartbeat { watching: 1, open: 0, backend: LeafText::default() }]
}

#[test]
fn what_is_recorded_is_in_the_log_and_proven() {
    let (_home, store) = store();
    assert_eq!(kinds(&store), ["key", "sealed"]);
    written_by(&[7]);
    commit(&store, &[modified("/t/a", 2), modified("/t/b", 2)]);
    // Who wrote it is known better: it is not told, and is on record.
    written_by(&[8]);
    assert!(commit(&store, &[modified("/t/a", 2), modified("/t/b", 2)]).is_empty());
    written_by(&[]);
    commit(&store, &[modified("/t/b", 2)]);
    let gap = Gap { path: None, reason: "downtime".into(), started: at(0), ended: at(1) };
    store.add_gaps(&[gap], at(2)).unwrap();
    let (root, bytes) = record(&["/a", "/b", "/c"]);
    let extension = store.extend().unwrap();
    extension.add(&root, &bytes).unwrap();
    extension.finish(&store, &baseline(root)).unwrap();
    let mut told = kinds(&store);
    told.retain(|kind| *kind != "key");
    let changes = ["change", "change", "change", "change", "resolved"];
    assert_eq!(told[1..6], changes);
    assert_eq!(told[6..], ["blind", "clock", "sealed"]);
    expect_proven(&store);
    // Nothing new says nothing.
    let size = store.log_size().unwrap();
    commit(&store, &[modified("/t/b", 2)]);
    assert_eq!(store.log_size().unwrap(), size);
}

#[test]
fn what_was_not_committed_has_not_happened() {
    let (_home, store) = store();
    let before = (store.log_size().unwrap(), store.checkpoint().unwrap());
    {
        let mut writer = store.writer();
        let transaction = writer.transaction_with_behavior(TransactionBehavior::Immediate).unwrap();
        let mut log = store.appending();
        log.add(&transaction, at(1), Event::Heartbeat { watching: 1, open: 0, backend: LeafText::default() })
            .unwrap();
        log.sign(&transaction).unwrap();
    }
    assert_eq!((store.log_size().unwrap(), store.checkpoint().unwrap()), before);
    store.log_events(at(2), heartbeat()).unwrap();
    assert!(expect_proven(&store).size > before.0);
}

#[test]
fn two_processes_go_on_with_one_log() {
    let (_home, first) = store();
    let second = Store::open(first.dir()).unwrap();
    for n in 0..300 {
        let store = if n % 3 == 0 { &first } else { &second };
        store.log_events(at(n * MINUTE), heartbeat()).unwrap();
    }
    let report = expect_proven(&first);
    assert!(report.epoch >= Some(19), "{:?}", report.epoch);
    assert!(first.log_size().unwrap() > 300);
}

#[test]
fn an_epoch_ends_with_its_time_with_a_stop_and_when_the_clock_is_set_back() {
    let (_home, store) = store();
    let epoch = || expect_proven(&store).epoch.unwrap();
    let keys = || fs::read_to_string(store.dir().epoch_key()).unwrap();
    store.log_events(at(0), heartbeat()).unwrap();
    let (begun, key) = (epoch(), keys());
    store.log_events(at(14 * MINUTE), heartbeat()).unwrap();
    assert_eq!((epoch(), keys() == key), (begun, true));
    store.log_events(at(16 * MINUTE), heartbeat()).unwrap();
    assert_eq!((epoch(), keys() == key), (begun + 1, false));
    store.end_epoch(at(17 * MINUTE)).unwrap();
    assert_eq!(epoch(), begun + 2);
    // Nothing was recorded since.
    store.end_epoch(at(18 * MINUTE)).unwrap();
    assert_eq!(epoch(), begun + 2);
    store.log_events(at(19 * MINUTE), heartbeat()).unwrap();
    store.log_events(at(-60 * MINUTE), heartbeat()).unwrap();
    assert_eq!(epoch(), begun + 3);
    assert!(kinds(&store).contains(&"clock"));
    assert!(!store.dir().path().join("epoch.key.next").exists());
}

#[test]
fn a_key_that_was_announced_and_not_put_in_place_is_found() {
    let (_home, store) = store();
    store.log_events(at(0), heartbeat()).unwrap();
    let old = fs::read(store.dir().epoch_key()).unwrap();
    store.end_epoch(at(1)).unwrap();
    let new = fs::read(store.dir().epoch_key()).unwrap();
    let next = store.dir().path().join("epoch.key.next");
    // The power went before the new key took the place of the old one, or while the old one was being overwritten.
    for left in [old.clone(), vec![0; old.len()]] {
        fs::write(store.dir().epoch_key(), &left).unwrap();
        fs::write(&next, &new).unwrap();
        Store::open(store.dir()).unwrap().log_events(at(2), heartbeat()).unwrap();
        assert_eq!(fs::read(store.dir().epoch_key()).unwrap(), new);
        assert!(!next.exists());
        expect_proven(&store);
    }
    // It went before the announcement was on disk: the key beside it is of no use.
    fs::write(&next, &old).unwrap();
    Store::open(store.dir()).unwrap().log_events(at(3), heartbeat()).unwrap();
    expect_proven(&store);
}

/// A key that could not take its place is the only one with which the log goes on: nothing may be written over it.
#[test]
fn a_key_that_cannot_take_its_place_is_not_written_over_by_the_next_one() {
    let (_home, store) = store();
    let (place, next) = (store.dir().epoch_key(), store.dir().path().join("epoch.key.next"));
    store.log_events(at(0), heartbeat()).unwrap();
    // No file takes the place of a directory.
    let block = || {
        fs::remove_file(&place).unwrap();
        fs::create_dir(&place).unwrap();
    };
    block();
    let error = store.end_epoch(at(1)).unwrap_err();
    assert!(error.to_string().contains("epoch.key"), "{error}");
    let announced = fs::read(&next).unwrap();
    // Recording goes on, by the key that was announced, also when its time is over.
    store.log_events(at(2), heartbeat()).unwrap();
    store.log_events(at(20 * MINUTE), heartbeat()).unwrap();
    assert_eq!(fs::read(&next).unwrap(), announced);
    let epoch = walk(&store, &trust(&store)).0.epoch;
    store.end_epoch(at(21 * MINUTE)).unwrap_err();
    assert_eq!(walk(&store, &trust(&store)).0.epoch, epoch, "no further key is announced");
    // The power goes, and whoever comes next finds it; while there is no place for it, that one records as well.
    let again = Store::open(store.dir()).unwrap();
    again.log_events(at(22 * MINUTE), heartbeat()).unwrap();
    expect_proven(&again);
    assert_eq!(fs::read(&next).unwrap(), announced);
    fs::remove_dir(&place).unwrap();
    again.end_epoch(at(40 * MINUTE)).unwrap();
    assert_eq!((place.is_file(), next.exists()), (true, false));
    // The first one finds that it has been done, and takes nothing back.
    store.log_events(at(60 * MINUTE), heartbeat()).unwrap();
    store.end_epoch(at(61 * MINUTE)).unwrap();
    expect_proven(&store);
}

/// Another process may have put the key in its place, and then others.
#[test]
fn a_key_in_its_place_is_not_taken_away_by_whoever_could_not_put_it_there() {
    let (_home, store) = store();
    let place = store.dir().epoch_key();
    store.log_events(at(0), heartbeat()).unwrap();
    fs::remove_file(&place).unwrap();
    fs::create_dir(&place).unwrap();
    store.end_epoch(at(1)).unwrap_err();
    fs::remove_dir(&place).unwrap();
    // It is there, and nothing was recorded since.
    Store::open(store.dir()).unwrap().host_key(at(2)).unwrap();
    fs::rename(store.dir().path().join("epoch.key.next"), &place).unwrap();
    store.log_events(at(3), heartbeat()).unwrap();
    store.log_events(at(20 * MINUTE), heartbeat()).unwrap();
    Store::open(store.dir()).unwrap().log_events(at(21 * MINUTE), heartbeat()).unwrap();
    expect_proven(&store);
    store.log_events(at(21 * MINUTE), heartbeat()).unwrap();
    // It is nowhere any more but in memory: it is written again before the next one is announced.
    fs::remove_file(&place).unwrap();
    fs::create_dir(&place).unwrap();
    store.end_epoch(at(22 * MINUTE)).unwrap_err();
    fs::remove_dir(&place).unwrap();
    fs::remove_file(store.dir().path().join("epoch.key.next")).unwrap();
    store.log_events(at(23 * MINUTE), heartbeat()).unwrap();
    store.log_events(at(40 * MINUTE), heartbeat()).unwrap();
    expect_proven(&store);
}

/// A commit of which nobody knows whether it came to the disk: the key that it announces stays.
#[test]
fn a_key_that_may_have_been_announced_is_the_next_one_to_be() {
    let (_home, store) = store();
    store.log_events(at(0), heartbeat()).unwrap();
    let next = store.dir().path().join("epoch.key.next");
    let turn = || {
        let mut writer = store.writer();
        let transaction = writer.transaction_with_behavior(TransactionBehavior::Immediate).unwrap();
        store.appending().end_epoch(&transaction, at(1)).unwrap();
        fs::read(&next).unwrap()
    };
    assert_eq!(turn(), turn());
    store.end_epoch(at(2)).unwrap();
    expect_proven(&store);
}

/// Full at the checkpoint, at the new key, at its place, and anywhere between: nothing is lost, and the log goes on.
#[test]
fn no_room_at_any_moment_of_a_change_of_keys_loses_nothing() {
    let Some(disk) = TinyDisk::of("3m") else { return };
    let dir = state_below(disk.path());
    drop(store_in(&dir));
    let mut refused = 0;
    for pages in 0..24 {
        let store = Store::open(&dir).unwrap();
        let when = |minutes: i64| at((i64::from(pages) * 60 + minutes) * MINUTE);
        store.log_events(when(0), heartbeat()).unwrap();
        let filler = disk.fill();
        filler.leave(pages * 4096);
        let many = (0..i64::from(pages) * 4).flat_map(|_| heartbeat()).collect();
        refused += usize::from(store.log_events(when(1), many).is_err());
        refused += usize::from(store.end_epoch(when(2)).is_err());
        refused += usize::from(store.log_events(when(20), heartbeat()).is_err());
        filler.remove();
        if pages % 2 == 0 {
            expect_proven(&store);
            store.log_events(when(40), heartbeat()).unwrap();
        }
        drop(store);
        let store = Store::open(&dir).unwrap();
        store.log_events(when(41), heartbeat()).unwrap();
        expect_proven(&store);
    }
    assert!(refused > 3, "{refused}");
}

#[test]
fn a_lost_key_does_not_stop_the_log_and_shows() {
    let (_home, store) = store();
    fs::remove_file(store.dir().epoch_key()).unwrap();
    let again = Store::open(store.dir()).unwrap();
    again.log_events(at(0), heartbeat()).unwrap();
    let (report, wrong) = walk(&again, &trust(&again));
    assert!(matches!(report.problems[..], [Problem::Restarted { index: 2, .. }]), "{:?}", report.problems);
    assert_eq!(wrong, []);
    fs::remove_file(again.dir().log_key()).unwrap();
    let error = Store::open(again.dir()).unwrap().log_events(at(1), heartbeat()).unwrap_err();
    assert!(error.to_string().contains("log.key"), "{error}");
}

#[test]
fn a_state_from_before_the_log_gets_one() {
    let home = tempfile::tempdir().unwrap();
    let dir = state_below(home.path());
    let store = store_in(&dir);
    commit(&store, &[modified("/t/a", 2)]);
    let sealing = fs::read_to_string(dir.sealing_verifier_key()).unwrap();
    store.writer().execute_batch("DELETE FROM leaf; DELETE FROM level; DELETE FROM checkpoint").unwrap();
    for file in [dir.log_key(), dir.epoch_key(), dir.sealing_verifier_key(), dir.verification()] {
        fs::remove_file(file).unwrap();
    }
    fs::write(dir.verifier_key(), &sealing).unwrap();
    let store = Store::open(&dir).unwrap();
    store.log_events(at(0), heartbeat()).unwrap();
    assert_eq!(kinds(&store), ["key", "heartbeat"]);
    assert_eq!(fs::read_to_string(dir.verifier_key()).unwrap(), sealing);
    expect_proven(&store);
}

/// A log with some of everything, and a checkpoint that was kept half way.
fn sample() -> (tempfile::TempDir, Store, Trust) {
    let (home, store) = store();
    for n in 0..300 {
        commit(&store, &[modified(&format!("/t/{}", n % 50), n as u8)]);
    }
    let mut trust = trust(&store);
    trust.keep(store.checkpoint().unwrap().unwrap()).unwrap();
    store.end_epoch(at(100 * MINUTE)).unwrap();
    for n in 0..20 {
        commit(&store, &[modified(&format!("/t/{n}"), 250)]);
    }
    (home, store, trust)
}

#[test]
fn whatever_is_changed_by_hand_is_found() {
    let (_home, store, trust) = sample();
    let untouched = walk(&store, &trust);
    assert!(untouched.0.is_proven() && untouched.1.is_empty(), "{untouched:?}");
    for damage in [
        "UPDATE leaf SET bytes = bytes || x'00' WHERE seq = 20",
        "UPDATE leaf SET bytes = NULL WHERE seq = 20",
        "UPDATE leaf SET hash = zeroblob(32) WHERE seq = 20",
        "DELETE FROM leaf WHERE seq = 20",
        "DELETE FROM leaf WHERE seq = (SELECT max(seq) FROM leaf)",
        "DELETE FROM leaf WHERE seq > 100",
        "DELETE FROM leaf",
        "UPDATE leaf SET seq = -seq WHERE seq IN (20, 21); UPDATE leaf SET seq = 41 + seq WHERE seq < 0",
        "UPDATE leaf SET bytes = (SELECT bytes FROM leaf WHERE seq = 30), hash = (SELECT hash FROM leaf WHERE seq = 30) WHERE seq = 20",
        "INSERT INTO leaf SELECT max(seq) + 1, bytes, hash FROM leaf",
        "DELETE FROM checkpoint",
        "UPDATE checkpoint SET note = replace(note, 'waxseal', 'waxsea1')",
        "UPDATE change SET severity = 0, severity_text = 'info' WHERE id = 3",
        "UPDATE change SET severity_text = 'info' WHERE id = 3",
        "UPDATE change SET path = x'2f78' WHERE id = 3",
        "UPDATE change SET path_text = '/x' WHERE id = 3",
        "UPDATE change SET kind = 'removed' WHERE id = 3",
        "UPDATE change SET kind = 'nonsense' WHERE id = 3",
        "UPDATE change SET fields = '' WHERE id = 3",
        "UPDATE change SET after = before WHERE id = 3",
        "UPDATE change SET after = NULL WHERE id = 3",
        "UPDATE change SET after = x'00' WHERE id = 3",
        "UPDATE change SET before_user = 'nobody' WHERE id = 3",
        "UPDATE change SET actors = '[]' WHERE id = 3",
        "UPDATE change SET source = 'guess' WHERE id = 3",
        "UPDATE change SET fields = 'content,nonsense' WHERE id = 3",
        "UPDATE change SET severity = 99 WHERE id = 3",
        "UPDATE change SET status = 'resolved', closed = 5 WHERE id = (SELECT max(id) FROM change)",
        "UPDATE change SET status = 'open', closed = NULL WHERE id = 3",
        "UPDATE change SET closed = closed + 1 WHERE id = 3",
        "UPDATE change SET count = count + 1 WHERE id = 3",
        "UPDATE change SET first = first + 1 WHERE id = 3",
        "UPDATE change SET last = last + 1 WHERE id = 3",
        "UPDATE change SET count = -count WHERE id = 3",
        "UPDATE change SET id = -3 WHERE id = 3",
        "INSERT INTO change SELECT 4711, change_set, 'resolved', path, path_text, watch, kind, fields, severity, severity_text, source, 1, 1, count, before, before_user, before_group, after, after_user, after_group, from_path, 1, actors FROM change WHERE id = 3",
        "UPDATE change SET id = 4711 WHERE id = 3",
        "DELETE FROM change WHERE id = 3",
        "UPDATE baseline SET root = zeroblob(32)",
        "UPDATE baseline SET seal = seal || ' '",
        "UPDATE baseline SET rules = ''",
        "UPDATE baseline SET time = time + 1",
        "UPDATE baseline SET scan_start = scan_start - 1",
        "UPDATE baseline SET who = 'nobody'",
        "UPDATE baseline SET note = ''",
        "UPDATE baseline SET entries = entries + 1",
        "UPDATE baseline SET files = files + 1",
        "UPDATE baseline SET bytes = bytes + 1",
        "UPDATE baseline SET generation = 7",
        "INSERT INTO baseline SELECT generation + 1, root, seal, rules, time + 3000000000000000, scan_start, who, note, entries, files, bytes FROM baseline",
        "DELETE FROM baseline",
    ] {
        let writer = store.writer();
        writer.execute_batch("SAVEPOINT damage").unwrap();
        writer.execute_batch(damage).unwrap();
        // The damage is seen by the connection that made it.
        let found = look(&writer, &trust);
        writer.execute_batch("ROLLBACK TO damage; RELEASE damage").unwrap();
        assert!(found > 0, "{damage}");
        drop(writer);
    }
    let untouched = walk(&store, &trust);
    assert!(untouched.0.is_proven() && untouched.1.is_empty(), "{untouched:?}");
}

/// How much is wrong by this connection; what cannot be read is wrong as well.
pub(crate) fn look(connection: &Connection, trust: &Trust) -> usize {
    examine(&read::LogSnapshot { connection }, trust).map_or(1, |(report, wrong)| {
        wrong.len() + report.problems.len() + usize::from(report.proven < report.size)
    })
}

#[test]
fn an_older_copy_in_the_place_of_the_state_is_found() {
    let (_home, store) = store();
    commit(&store, &[modified("/t/a", 2)]);
    let copy = tempfile::tempdir().unwrap();
    let old = copy.path().join("old.db");
    store.writer().execute("VACUUM INTO ?1", [old.to_str().unwrap()]).unwrap();
    commit(&store, &[modified("/t/a", 3)]);
    let mut trust = trust(&store);
    trust.keep(store.checkpoint().unwrap().unwrap()).unwrap();
    let older = Connection::open(&old).unwrap();
    assert!(look(&older, &trust) > 0);
    assert_eq!(look(&store.writer(), &trust), 0);
}

#[test]
fn the_checkpoint_is_a_signed_note_of_the_hosts_key() {
    let (_home, store) = store();
    let line = fs::read_to_string(store.dir().verifier_key()).unwrap();
    let key = waxseal_ledger::VerifierKey::parse(line.trim()).unwrap();
    let checkpoint = Checkpoint::open(store.checkpoint().unwrap().unwrap(), &[&key]).unwrap();
    assert_eq!(checkpoint.size, 2);
}
