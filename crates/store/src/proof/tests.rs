use super::*;
use crate::StateDir;
use crate::changes::tests::{commit, modified, written_by};
use crate::testing::{baseline, content, noise, record, store};
use crate::{Approved, Decider, Extension, Gap, NewBaseline, RecordSink, ScanKind, ScanRecord};
use fastrand::Rng;
use rusqlite::OpenFlags;
use rusqlite::types::Value;
use std::fs;
use std::path::Path;
use tempfile::TempDir;
use waxseal_ledger::VerificationFile;
use waxseal_ledger::leaf::LeafText;

/// How many single bytes of the file are changed.
const BYTES: usize = 8000;
/// How many single rows are.
const ROWS: usize = 2400;

fn at(seconds: i64) -> Timestamp {
    Timestamp::new(2_000_000_000 + seconds, 0)
}

/// Seals of these tests are this text.
fn check_seal(baseline: &Baseline, _: bool) -> Result<(), String> {
    if baseline.stored.seal == "a note" { Ok(()) } else { Err("it is another text".into()) }
}

/// Some of everything: changes that are open, counted up, over and approved, three baselines, several epochs, a checkpoint that was kept, free pages.
fn sample() -> (TempDir, Store, Trust) {
    let (home, store) = store();
    written_by(&[7]);
    let all: Vec<_> = (0..12).map(|n| modified(&format!("/t/{n}"), 2)).collect();
    commit(&store, &all);
    written_by(&[8]);
    commit(&store, &all[..9]);
    let alive = |n: usize| {
        (0..n)
            .map(|_| Event::Heartbeat { watching: 1, open: 0, backend: LeafText::default() })
            .collect::<Vec<_>>()
    };
    store.log_events(at(0), alive(120)).unwrap();
    let file = fs::read_to_string(store.dir().verification()).unwrap();
    let mut trust = VerificationFile::parse(&file).unwrap().trust();
    trust.keep(store.checkpoint().unwrap().unwrap()).unwrap();
    store.end_epoch(at(1)).unwrap();
    let (root, bytes) = record(&["/a", "/b", "/c"]);
    let extension: Extension = store.extend().unwrap();
    extension.add(&root, &bytes).unwrap();
    extension.finish(&store, &baseline(root)).unwrap();
    store.log_events(at(2), alive(130)).unwrap();
    let gap = |path: &[u8]| Gap {
        path: Some(RawPath::new(path)),
        reason: "overflow".into(),
        started: at(1),
        ended: at(2),
    };
    store.add_gaps(&[gap(b"/t"), Gap { path: None, ..gap(b"") }, gap(b"/t/\xff")], at(2)).unwrap();
    for (kind, checked) in [(ScanKind::Full, 7), (ScanKind::Quick, 8), (ScanKind::Full, 9)] {
        let (started, ended, outcome) = (at(1), at(2), "changed".into());
        let scan = ScanRecord { started, ended, outcome, checked, errors: 1, bytes: 4096 };
        store.add_scan(kind, &scan, at(2)).unwrap();
    }
    store.end_epoch(at(3)).unwrap();
    let texts = ["one", "two", "three"].map(|text| content(text.repeat(900).as_bytes()));
    store.keep_suspect(&texts, at(3)).unwrap();
    assert!(store.drop_evidence(1, "age", None, at(3)).unwrap() > 0);
    store.keep_suspect(&[content(&noise(3000))], at(3)).unwrap();
    written_by(&[]);
    commit(&store, &all[3..6]);
    let change = store.open_change_of(&all[3].path).unwrap().unwrap();
    let approved = Approved { state: change.after.as_ref().map(|seen| seen.state.clone()), change };
    let next = NewBaseline { time: at(4), ..baseline(root) };
    store.approve(2, &mut [].into_iter(), &next, &[approved], &[], &Decider::default()).unwrap();
    let writer = store.writer();
    writer
        .execute_batch(
            "CREATE TABLE filler(x); INSERT INTO filler VALUES(zeroblob(12000)); DROP TABLE filler",
        )
        .unwrap();
    drop(writer);
    (home, store, trust)
}

/// The file of a store that nobody uses any more.
fn image(store: Store) -> (StateDir, Vec<u8>) {
    store.writer().query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    let dir = store.dir().clone();
    drop(store);
    let bytes = fs::read(dir.database()).unwrap();
    (dir, bytes)
}

fn proof(store: &Store, trust: &Trust) -> Proof {
    prove(store, trust, &check_seal).unwrap()
}

/// The proof of a store by what lies beside it.
pub(crate) fn prove_all(store: &Store) -> Proof {
    let file = fs::read_to_string(store.dir().verification()).unwrap();
    proof(store, &VerificationFile::parse(&file).unwrap().trust())
}

/// The proof by this connection, which alone sees what it has not committed.
fn look(connection: &Connection, trust: &Trust) -> Result<Proof, StoreError> {
    prove_snapshot(&LogSnapshot { connection }, trust, &check_seal, || damage(connection))
}

/// Everything that somebody reads of the tables, in every way in which it is read: row by row, and by number, hash and path.
fn dump(file: &Path, tables: &[String], leaves: u64, hashes: &[Digest]) -> rusqlite::Result<Vec<Vec<Value>>> {
    let connection = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let mut all = Vec::new();
    let mut take = |sql: &str, parameter: Option<Value>| -> rusqlite::Result<()> {
        let mut query = connection.prepare_cached(sql)?;
        let columns = query.column_count();
        let mut rows = query.query(rusqlite::params_from_iter(parameter))?;
        while let Some(row) = rows.next()? {
            all.push((0..columns).map(|i| row.get(i)).collect::<Result<_, _>>()?);
        }
        all.push(Vec::new());
        Ok(())
    };
    for table in tables {
        take(table, None)?;
    }
    take("SELECT id, path FROM change WHERE status = 'open' ORDER BY path", None)?;
    take("SELECT id FROM change WHERE change_set = 1", None)?;
    for seq in 0..leaves {
        take("SELECT bytes, hash FROM leaf WHERE seq = ?1", Some(Value::Integer(seq as i64)))?;
    }
    for hash in hashes {
        take("SELECT record FROM node WHERE hash = ?1", Some(Value::Blob(hash.to_vec())))?;
    }
    Ok(all)
}

/// The tables of which verification speaks. Of the others `docs/log-format.md` says why not.
const TABLES: [&str; 11] = [
    "leaf",
    "level",
    "checkpoint",
    "change",
    "baseline",
    "node",
    "gap",
    "scan",
    "change_set",
    "evidence",
    "piece",
];

/// Whether the column is more than a number by which nobody asks, or a name.
fn says_something(table: &str, column: &str) -> bool {
    !matches!((table, column), ("gap" | "scan", "id") | ("change_set", "cause"))
}

/// What reads every column of every table by its name.
fn queries(connection: &Connection) -> Vec<String> {
    let all = TABLES;
    let query = |table| {
        let query = connection.prepare(&format!("SELECT * FROM {table}")).unwrap();
        let columns = query.column_names();
        let columns: Vec<&str> = columns.into_iter().filter(|column| says_something(table, column)).collect();
        format!("SELECT {} FROM {table}", columns.join(", "))
    };
    all.map(query).to_vec()
}

/// Whether SQLite itself, or what the file says of its version, shows that it was damaged.
fn is_damaged(file: &Path, tables: &str) -> bool {
    let look = || -> rusqlite::Result<bool> {
        let connection = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        let number = |pragma: &str| {
            connection.query_row(&format!("PRAGMA {pragma}"), [], |row| row.get::<_, Value>(0))
        };
        Ok(number("integrity_check")? != Value::Text("ok".into())
            || number("application_id")? != Value::Integer(0x5758_534c)
            || number("user_version")? != Value::Integer(6)
            || connection.is_readonly("main")?
            || schema_text(&connection)? != tables)
    };
    look().unwrap_or(true)
}

fn schema_text(connection: &Connection) -> rusqlite::Result<String> {
    connection.query_row(
        "SELECT group_concat(type || name || tbl_name || coalesce(sql, '')) FROM sqlite_schema",
        [],
        |row| row.get(0),
    )
}

/// What came of changed bytes.
#[derive(Debug, Default)]
struct Counts {
    found: usize,
    unseen: usize,
    damaged: usize,
    refused: usize,
}

/// Changes single bytes of the file, one after the other.
fn change_bytes(image: &[u8], trust: &Trust, tables: &str, seed: u64, rounds: usize) -> Counts {
    let home = tempfile::tempdir().unwrap();
    let dir = crate::testing::state_below(home.path());
    let file = dir.database();
    let put = |bytes: &[u8]| {
        for end in ["-wal", "-shm"] {
            let _ = fs::remove_file(dir.path().join(format!("waxseal.db{end}")));
        }
        fs::write(&file, bytes).unwrap();
    };
    put(image);
    let untouched = Store::open(&dir).unwrap();
    let leaves = untouched.log_size().unwrap();
    let found = proof(&untouched, trust);
    assert!(found.is_proven(), "{:?}", found.problems);
    let queries = queries(&untouched.writer());
    drop(untouched);
    let hashes: Vec<Digest> =
        [record(&["/a", "/b"]), record(&["/a", "/b", "/c"])].map(|(root, _)| root).to_vec();
    let original = dump(&file, &queries, leaves, &hashes).unwrap();
    let (mut dice, mut counts) = (Rng::with_seed(seed), Counts::default());
    let mut changed = image.to_vec();
    for round in 0..rounds {
        let (mut place, by) = (dice.usize(..image.len()), 1 + dice.usize(..255) as u8);
        // Every second time a byte that most likely says something.
        while round % 2 == 0 && image[place] == 0 {
            place = dice.usize(..image.len());
        }
        changed[place] ^= by;
        put(&changed);
        let what = format!("round {round} of {seed:#x}: byte {place} ^ {by}");
        let result = Store::open(&dir).and_then(|store| prove(&store, trust, &check_seal));
        // Opening a database may mend its header.
        put(&changed);
        let is_same = dump(&file, &queries, leaves, &hashes).is_ok_and(|now| now == original);
        match result {
            Ok(proof) if proof.is_proven() => {
                assert!(is_same, "{what} was not found");
                counts.unseen += 1;
            }
            Ok(proof) => {
                let is_file = |problem: &Problem| matches!(problem, Problem::Database(_));
                if is_same {
                    assert!(
                        proof.problems.iter().all(is_file) && is_damaged(&file, tables),
                        "{what} changed nothing: {:?}",
                        proof.problems
                    );
                    counts.damaged += 1;
                } else {
                    counts.found += 1;
                }
            }
            Err(error) => {
                assert!(!is_same || is_damaged(&file, tables), "{what} changed nothing: {error}");
                counts.refused += 1;
            }
        }
        changed[place] ^= by;
    }
    counts
}

#[test]
fn every_changed_byte_that_anybody_would_read_is_found() {
    let (_home, store, trust) = sample();
    let tables = schema_text(&store.writer()).unwrap();
    let (_dir, image) = image(store);
    let counts: Vec<Counts> = std::thread::scope(|scope| {
        let run = |seed| {
            let (image, trust, tables) = (&image, &trust, &tables);
            scope.spawn(move || change_bytes(image, trust, tables, seed, BYTES / 2))
        };
        [0x5eed, 0xc0ffee].map(run).into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    // The test is one: most bytes are of some row, and some are of none.
    let (found, unseen): (usize, usize) =
        (counts.iter().map(|counts| counts.found).sum(), counts.iter().map(|counts| counts.unseen).sum());
    assert!(found > BYTES / 4 && unseen > BYTES / 20, "{counts:?}");
}

/// A single row is another, gone, or there twice.
#[test]
fn every_changed_row_is_found() {
    let (_home, store, trust) = sample();
    let writer = store.writer();
    let tables = TABLES;
    let columns = tables.map(|table| {
        let query = writer.prepare(&format!("SELECT * FROM {table}")).unwrap();
        query.column_names().map(str::to_owned).collect::<Vec<_>>()
    });
    let mut dice = Rng::with_seed(0x70_3e5);
    let (mut rounds, mut refused) = (0, 0);
    while rounds < ROWS {
        let at = dice.usize(..tables.len());
        let (table, columns) = (tables[at], &columns[at]);
        let column = &columns[dice.usize(..columns.len())];
        let key = match table {
            "level" => "level * 1000000 + seq",
            "evidence" => "first",
            _ => "rowid",
        };
        let count: u32 =
            writer.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap();
        let row = dice.usize(..count as usize);
        let (key_value, value): (i64, Value) = writer
            .query_row(&format!("SELECT {key}, {column} FROM {table} LIMIT 1 OFFSET {row}"), [], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .unwrap();
        // By its number alone nobody asks for a record.
        if (table == "node" && column == "id") || !says_something(table, column) {
            continue;
        }
        let new = another(&value, &mut dice);
        let sql = match dice.usize(..8) {
            0 => format!("DELETE FROM {table} WHERE {key} = ?1 AND ?2 IS ?2"),
            _ => format!("UPDATE {table} SET {column} = ?2 WHERE {key} = ?1"),
        };
        writer.execute_batch("SAVEPOINT damage").unwrap();
        let done = writer.execute(&sql, (key_value, &new));
        let found = done.is_ok().then(|| look(&writer, &trust));
        writer.execute_batch("ROLLBACK TO damage; RELEASE damage").unwrap();
        match found {
            // A constraint of the table was in the way.
            None => refused += 1,
            Some(found) => {
                rounds += 1;
                assert!(
                    found.is_err() || found.is_ok_and(|proof| !proof.is_proven()),
                    "{table} {key_value}: {sql}: {value:?} became {new:?}"
                );
            }
        }
    }
    assert!(refused < ROWS, "{refused}");
    assert!(look(&writer, &trust).unwrap().is_proven());
}

/// Another value of the same kind, or of another.
fn another(value: &Value, dice: &mut Rng) -> Value {
    let mut other = |bytes: &[u8]| {
        let mut bytes = bytes.to_vec();
        let place = dice.usize(..bytes.len() + 1);
        match (bytes.get_mut(place), dice.usize(..3)) {
            (Some(byte), 0) => *byte ^= 1 + dice.usize(..127) as u8,
            (Some(_), 1) => drop(bytes.remove(place)),
            _ => bytes.insert(place, dice.usize(..128) as u8),
        }
        bytes
    };
    match value {
        Value::Null => Value::Integer(0),
        Value::Integer(n) => match dice.usize(..4) {
            0 => Value::Integer(n + 1),
            1 => Value::Integer(-n - 1),
            2 => Value::Null,
            _ => Value::Integer(n ^ (1 << dice.usize(..40))),
        },
        Value::Real(_) => Value::Null,
        Value::Text(text) => {
            let text = other(text.as_bytes());
            String::from_utf8(text).map_or(Value::Null, Value::Text)
        }
        Value::Blob(bytes) => Value::Blob(other(bytes)),
    }
}

#[test]
fn what_would_act_on_later_records_is_found() {
    let (_home, store, trust) = sample();
    for (damage, word) in [
        (
            "CREATE TRIGGER quiet AFTER INSERT ON change BEGIN DELETE FROM change WHERE id = new.id; END",
            "quiet",
        ),
        ("CREATE VIEW newest AS SELECT * FROM change", "newest"),
        ("CREATE TABLE more(x)", "more"),
        ("DROP INDEX change_by_set", "change_by_set"),
        ("DROP INDEX node_by_hash; CREATE INDEX node_by_hash ON node(hash) WHERE id > 1", "node_by_hash"),
        ("UPDATE checkpoint SET last_key = 0", "last key"),
        ("DELETE FROM level", "level 1"),
        ("INSERT INTO level VALUES(7, 7, zeroblob(32))", "level 7"),
        ("INSERT INTO leaf VALUES(-1, x'00', zeroblob(32))", "below zero"),
        ("DELETE FROM leaf WHERE seq BETWEEN 20 AND 22", "20 to 22"),
        ("DELETE FROM baseline", "no baseline"),
        ("UPDATE baseline SET seal = 'x' WHERE generation = 2", "baseline 2: its seal"),
        ("DELETE FROM node WHERE id = 2", "baseline 2: what was sealed in /"),
        ("UPDATE node SET record = x'00' WHERE id = 1", "baseline 1: what was sealed in /"),
        ("INSERT INTO node VALUES(9, zeroblob(32), x'01')", "was changed"),
    ] {
        let writer = store.writer();
        writer.execute_batch(&format!("SAVEPOINT damage; {damage}")).unwrap();
        let proof = look(&writer, &trust).unwrap();
        writer.execute_batch("ROLLBACK TO damage; RELEASE damage").unwrap();
        let told: Vec<String> = proof.problems.iter().map(ToString::to_string).collect();
        assert!(told.iter().any(|text| text.contains(word)), "{damage}: {told:?}");
    }
    let proof = proof(&store, &trust);
    assert!(proof.is_proven(), "{:?}", proof.problems);
    assert_eq!((proof.baselines, proof.records), (3, 2));
}

/// Cut, or the copy of an earlier day.
#[test]
fn a_file_that_is_shorter_or_older_is_found() {
    let (_home, store, mut trust) = sample();
    let (dir, older) = image(store);
    let store = Store::open(&dir).unwrap();
    commit(&store, &[modified("/t/late", 3)]);
    trust.keep(store.checkpoint().unwrap().unwrap()).unwrap();
    let (dir, newer) = image(store);
    let result = |bytes: &[u8]| {
        for end in ["-wal", "-shm"] {
            let _ = fs::remove_file(dir.path().join(format!("waxseal.db{end}")));
        }
        fs::write(dir.database(), bytes).unwrap();
        Store::open(&dir).and_then(|store| prove(&store, &trust, &check_seal))
    };
    assert!(result(&newer).unwrap().is_proven());
    let proof = result(&older).unwrap();
    let is_short = |problem: &Problem| matches!(problem, Problem::Log(verify::Problem::Short { .. }));
    assert!(proof.problems.iter().any(is_short), "{:?}", proof.problems);
    for length in (0..newer.len()).step_by(4096).chain([1, 100, 5000]) {
        match result(&newer[..length]) {
            Ok(proof) => assert!(!proof.is_proven(), "{length}"),
            Err(error) => assert!(error.is_contradiction(), "{length}: {error}"),
        }
    }
}
