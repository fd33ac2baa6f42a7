//! The tables. Findings and history are plain, so that people can query them.

use crate::error::StoreError;
use crate::state_dir::StateDir;
use rusqlite::{Connection, TransactionBehavior};
use std::collections::BTreeMap;

/// "WXSL": marks the file as ours.
const APPLICATION_ID: i32 = 0x5758_534c;
/// Raised whenever the tables change; older versions are migrated, newer ones refused.
const VERSION: i32 = 6;

/// Times are microseconds since 1970 (UTC). `record`, `before` and `after` are in the canonical encoding that
/// `docs/baseline-format.md` describes; everything else is readable as it stands.
const TABLES: &str = "
CREATE TABLE node(id INTEGER PRIMARY KEY, hash BLOB NOT NULL, record BLOB NOT NULL);
CREATE INDEX node_by_hash ON node(hash);
CREATE TABLE baseline(
    generation INTEGER PRIMARY KEY, root BLOB NOT NULL, seal TEXT NOT NULL, rules TEXT NOT NULL,
    time INTEGER NOT NULL, scan_start INTEGER NOT NULL, who TEXT NOT NULL, note TEXT NOT NULL,
    entries INTEGER NOT NULL, files INTEGER NOT NULL, bytes INTEGER NOT NULL);
CREATE TABLE change_set(
    id INTEGER PRIMARY KEY AUTOINCREMENT, cause TEXT NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL);
CREATE TABLE change(
    id INTEGER PRIMARY KEY AUTOINCREMENT, change_set INTEGER NOT NULL REFERENCES change_set(id),
    status TEXT NOT NULL, path BLOB NOT NULL, path_text TEXT NOT NULL, watch TEXT NOT NULL,
    kind TEXT NOT NULL, fields TEXT NOT NULL, severity INTEGER NOT NULL, severity_text TEXT NOT NULL,
    source TEXT NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL, count INTEGER NOT NULL,
    before BLOB, before_user TEXT, before_group TEXT, after BLOB, after_user TEXT, after_group TEXT,
    from_path BLOB, closed INTEGER, actors TEXT);
CREATE UNIQUE INDEX change_open ON change(path) WHERE status = 'open';
CREATE INDEX change_by_origin ON change(from_path) WHERE status = 'open' AND from_path IS NOT NULL;
CREATE INDEX change_by_set ON change(change_set);
CREATE TABLE scan(
    id INTEGER PRIMARY KEY, kind TEXT NOT NULL, started INTEGER NOT NULL, ended INTEGER NOT NULL,
    outcome TEXT NOT NULL, checked INTEGER NOT NULL, errors INTEGER NOT NULL, bytes INTEGER NOT NULL);
CREATE TABLE gap(
    id INTEGER PRIMARY KEY AUTOINCREMENT, path BLOB, path_text TEXT, reason TEXT NOT NULL,
    started INTEGER NOT NULL, ended INTEGER NOT NULL);
CREATE TABLE tracked(
    directory BLOB NOT NULL, name BLOB NOT NULL, state BLOB NOT NULL, first INTEGER NOT NULL,
    seen INTEGER NOT NULL, rotated INTEGER, base BLOB,
    PRIMARY KEY(directory, name)) WITHOUT ROWID;
CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
";

/// The log: leaves as `docs/log-format.md` describes them (no bytes where they were deleted by the rules of retention), the
/// hashes above them, and the last checkpoint with the place of the last leaf that announces a key.
const LOG: &str = "
CREATE TABLE leaf(seq INTEGER PRIMARY KEY, bytes BLOB, hash BLOB NOT NULL);
CREATE TABLE level(level INTEGER NOT NULL, seq INTEGER NOT NULL, hash BLOB NOT NULL, PRIMARY KEY(level, seq)) WITHOUT ROWID;
CREATE TABLE checkpoint(id INTEGER PRIMARY KEY CHECK(id = 1), note TEXT NOT NULL, last_key INTEGER NOT NULL);
";

/// How far the places for checkpoints are: what arrived last, and since when and why nothing does.
const ANCHOR: &str = "
CREATE TABLE anchor(name TEXT PRIMARY KEY, size INTEGER, time INTEGER, error TEXT, since INTEGER) WITHOUT ROWID;
";

/// The last checkpoint that each witness cosigned, with its line.
const COSIGNED: &str = "
CREATE TABLE cosigned(name TEXT PRIMARY KEY, note TEXT NOT NULL, line TEXT NOT NULL) WITHOUT ROWID;
";

/// The contents of files that are kept, by their SHA-256, each in pieces that are compressed with zstd one by one and numbered on from
/// `first`. `leaf` is the one that told of the keeping; it is less than zero only while a transaction is written.
const EVIDENCE: &str = "
CREATE TABLE evidence(
    hash BLOB PRIMARY KEY, size INTEGER NOT NULL, stored INTEGER NOT NULL, first INTEGER NOT NULL, leaf INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX evidence_by_leaf ON evidence(leaf, hash);
CREATE TABLE piece(id INTEGER PRIMARY KEY, bytes BLOB NOT NULL);
";

/// Makes the tables in a new file.
pub(crate) fn create(connection: &Connection) -> Result<(), StoreError> {
    // Before there is a table: what retention frees goes back to the disk in portions.
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    connection.pragma_update(None, "application_id", APPLICATION_ID)?;
    connection.pragma_update(None, "user_version", VERSION)?;
    connection.execute_batch(TABLES)?;
    connection.execute_batch(LOG)?;
    connection.execute_batch(ANCHOR)?;
    connection.execute_batch(COSIGNED)?;
    connection.execute_batch(EVIDENCE)?;
    Ok(())
}

/// What each version changed, from the first one on.
const STEPS: [&str; VERSION as usize - 1] =
    ["ALTER TABLE change ADD COLUMN actors TEXT", LOG, ANCHOR, COSIGNED, EVIDENCE];

/// Brings the tables of an older version up to date.
///
/// # Errors
/// As the database says; then nothing has been changed.
pub(crate) fn migrate(connection: &mut Connection) -> Result<(), StoreError> {
    let version = |connection: &Connection| {
        connection.pragma_query_value(None, "user_version", |row| row.get::<_, i32>(0))
    };
    if !(1..VERSION).contains(&version(connection)?) {
        return Ok(());
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Another process may have done it meanwhile.
    let done = usize::try_from(version(&transaction)?).unwrap_or_default();
    for step in STEPS.iter().skip(done.saturating_sub(1)) {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "user_version", VERSION)?;
    transaction.commit()?;
    Ok(())
}

/// Whether the tables are of an older version that can be brought up to date.
///
/// # Errors
/// As the database says.
pub(crate) fn is_older(connection: &Connection) -> Result<bool, StoreError> {
    let version: i32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    Ok((1..VERSION).contains(&version))
}

/// Refuses files that are not ours.
pub(crate) fn check(connection: &Connection, dir: &StateDir) -> Result<(), StoreError> {
    let number = |pragma| connection.pragma_query_value(None, pragma, |row| row.get::<_, i32>(0));
    if number("application_id")? != APPLICATION_ID {
        let why = "is not a Waxseal database: give another --state-dir, or move the file away".to_string();
        return Err(StoreError::Foreign(dir.database(), why));
    }
    match number("user_version")? {
        VERSION => {}
        other if other > VERSION => return Err(StoreError::Newer(dir.database(), other, VERSION)),
        other => {
            let why = format!(
                "has version {other}, and this program reads version {VERSION}: use the program that wrote it"
            );
            return Err(StoreError::Foreign(dir.database(), why));
        }
    }
    let tables: i64 = connection.query_row(
        "SELECT count(*) FROM sqlite_schema WHERE name IN ('node','baseline','change_set','change','scan','gap','tracked','meta','leaf','level','checkpoint','anchor','cosigned','evidence','piece')",
        [],
        |row| row.get(0),
    )?;
    if tables == 15 { Ok(()) } else { Err(StoreError::Damaged("tables are missing".into())) }
}

/// What the file has besides our tables and indexes, or has of them in another form: a trigger, say, which would act on whatever
/// is recorded from then on.
///
/// # Errors
/// As the database says.
pub(crate) fn foreign(connection: &Connection) -> Result<Vec<String>, StoreError> {
    let ours = Connection::open_in_memory()?;
    create(&ours)?;
    let (ours, mut theirs) = (objects(&ours)?, objects(connection)?);
    let mut wrong = Vec::new();
    for (name, what) in ours {
        match theirs.remove(&name) {
            None => wrong.push(format!("{} is missing", show(&name))),
            Some(found) if found != what => wrong.push(format!("{} is not as it was made", show(&name))),
            Some(_) => {}
        }
    }
    wrong.extend(theirs.keys().map(|name| format!("{} is not of Waxseal", show(name))));
    Ok(wrong)
}

/// Kind and name of an object.
type Named = (String, String);

/// Every object, with the table it belongs to and what made it, blanks aside.
fn objects(connection: &Connection) -> Result<BTreeMap<Named, (String, Option<String>)>, StoreError> {
    let mut query = connection.prepare("SELECT type, name, tbl_name, sql FROM sqlite_schema")?;
    let rows = query.query_map([], |row| {
        let sql: Option<String> = row.get(3)?;
        let plain = sql.map(|sql| sql.split_whitespace().collect::<Vec<_>>().join(" "));
        Ok(((row.get(0)?, row.get(1)?), (row.get(2)?, plain)))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn show((kind, name): &Named) -> String {
    let escaped = |text: &str| waxseal_model::escape::for_people(text.as_bytes());
    format!("the {} {}", escaped(kind), escaped(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{state_below, store_in};
    use crate::{EvidenceSize, Store};
    use std::fs;

    fn open_after(damage: impl FnOnce(&StateDir)) -> StoreError {
        let home = tempfile::tempdir().unwrap();
        let dir = state_below(home.path());
        drop(store_in(&dir));
        damage(&dir);
        Store::open(&dir).map(|store| store.current_baseline().map(drop)).unwrap_err()
    }

    fn sql(dir: &StateDir, statement: &str) {
        Connection::open(dir.database()).unwrap().execute_batch(statement).unwrap();
    }

    #[test]
    fn files_of_others_and_of_later_versions_are_refused() {
        let error = open_after(|dir| sql(dir, "PRAGMA application_id = 1"));
        assert!(matches!(error, StoreError::Foreign(..)), "{error}");
        let error = open_after(|dir| sql(dir, "PRAGMA user_version = 7"));
        assert!(matches!(error, StoreError::Newer(_, 7, _)) && !error.is_contradiction(), "{error}");
        let error = open_after(|dir| sql(dir, "DROP TABLE tracked"));
        assert!(matches!(error, StoreError::Damaged(_)), "{error}");
    }

    #[test]
    fn an_older_version_is_brought_up_to_date() {
        let home = tempfile::tempdir().unwrap();
        let dir = state_below(home.path());
        drop(store_in(&dir));
        let evidence = "DROP TABLE evidence; DROP TABLE piece";
        sql(&dir, &format!("{evidence}; PRAGMA user_version = 5"));
        assert_eq!(Store::open(&dir).unwrap().evidence_size().unwrap(), EvidenceSize::default());
        sql(&dir, &format!("{evidence}; DROP TABLE cosigned; PRAGMA user_version = 4"));
        assert_eq!(Store::open(&dir).unwrap().cosigned().unwrap(), []);
        let before_anchors = format!("{evidence}; DROP TABLE cosigned; DROP TABLE anchor");
        sql(&dir, &format!("{before_anchors}; PRAGMA user_version = 3"));
        assert_eq!(Store::open(&dir).unwrap().anchored().unwrap(), []);
        let before_log =
            format!("{before_anchors}; DROP TABLE leaf; DROP TABLE level; DROP TABLE checkpoint");
        sql(&dir, &format!("{before_log}; PRAGMA user_version = 2"));
        assert_eq!(Store::open(&dir).unwrap().log_size().unwrap(), 0);
        sql(&dir, &before_log);
        sql(&dir, "ALTER TABLE change DROP COLUMN actors; PRAGMA user_version = 1");
        let store = Store::open(&dir).unwrap();
        assert_eq!(store.count_open().unwrap(), [0; 5]);
        store.each_open_change(|_| Ok::<_, StoreError>(())).unwrap();
        assert_eq!(foreign(&Connection::open(dir.database()).unwrap()).unwrap(), Vec::<String>::new());
        Store::open(&dir).unwrap();
    }

    #[test]
    fn what_is_no_database_or_half_of_one_is_refused() {
        let error = open_after(|dir| fs::write(dir.database(), vec![0xa5; 8192]).unwrap());
        assert!(matches!(error, StoreError::Damaged(_)), "{error}");
        // SQLite takes an empty file for an empty database.
        let error = open_after(|dir| fs::write(dir.database(), "").unwrap());
        assert!(matches!(error, StoreError::Foreign(..)), "{error}");
        let error = open_after(|dir| {
            fs::OpenOptions::new().write(true).open(dir.database()).unwrap().set_len(5000).unwrap();
        });
        assert!(matches!(error, StoreError::Damaged(_)), "{error}");
        let error = open_after(|dir| {
            fs::remove_file(dir.database()).unwrap();
            fs::create_dir(dir.database()).unwrap();
        });
        assert!(matches!(error, StoreError::Sqlite(_)), "{error}");
    }

    #[test]
    fn a_link_in_the_place_of_the_database_is_not_followed() {
        let error = open_after(|dir| {
            let elsewhere = dir.path().join("elsewhere");
            fs::rename(dir.database(), &elsewhere).unwrap();
            std::os::unix::fs::symlink(&elsewhere, dir.database()).unwrap();
        });
        assert!(matches!(error, StoreError::Sqlite(_)), "{error}");
    }
}
