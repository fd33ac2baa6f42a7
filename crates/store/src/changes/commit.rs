//! From what was collected to what is on record: one transaction, with the leaves of the log.

use super::{
    CHANGE_COLUMNS, Commit, Findings, Found, Outcome, Place, Rules, SHARED, change_from, found_from,
    shared_values,
};
use crate::Store;
use crate::approve::newest;
use crate::baseline::number;
use crate::error::StoreError;
use crate::evidence;
use crate::log::Appending;
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row, TransactionBehavior, params_from_iter};
use std::collections::BTreeMap;
use waxseal_ledger::leaf::{ChangeLeaf, Event, LeafPath};
use waxseal_model::change::Seen;
use waxseal_model::{Actor, Change, ChangeId, RawPath, Severity, Timestamp, actor};

impl Findings {
    /// Records everything in one durable transaction: opens what is new, counts up what moved again, and resolves the
    /// open changes in scope that were not found although their path was looked at. What is different now is
    /// appended to `outcomes`, where the caller wants to know.
    ///
    /// # Errors
    /// [`StoreError::Superseded`] when a newer baseline has been sealed, others as the database says; nothing has been
    /// recorded then.
    pub fn commit(
        &mut self,
        store: &Store,
        commit: &Commit<'_>,
        mut outcomes: Option<&mut Vec<Outcome>>,
    ) -> Result<(), StoreError> {
        let Commit { cause, set, now, generation, rules, scope, kept, looked_at } = *commit;
        self.pair_moves(rules)?;
        store.writable()?;
        // The store's own writer waits as well: there is one writer at a time in this process.
        let _writer = store.writer();
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        if newest(&transaction)? != generation {
            return Err(StoreError::Superseded);
        }
        let mut log = store.appending();
        let mut set = set.map(|set| number(set.0));
        {
            // First what is over: whoever has been told of a new change has been told of all that was over by then.
            let mut back = Vec::new();
            no_longer_found(&transaction, scope, looked_at, &mut |id, _| back.push(id))?;
            back.sort_unstable();
            back.dedup();
            resolve(&transaction, now, back, &mut log, &mut outcomes)?;
            let mut query = transaction.prepare(&format!("SELECT {SHARED} FROM temp.found ORDER BY path"))?;
            let mut rows = query.query([])?;
            while let Some(row) = rows.next()? {
                let found = found_from(row)?;
                let outcome = record_one(&transaction, found, cause, now, rules, &mut set)?;
                let told = match &outcome {
                    Recorded::Told(Outcome::New(change) | Outcome::Again(change))
                    | Recorded::Noted(change) => Some(ChangeLeaf::of(change)),
                    Recorded::Told(Outcome::Resolved(_)) | Recorded::Nothing => None,
                };
                if let Some(leaf) = told {
                    log.add(&transaction, now, Event::Change(Box::new(leaf)))?;
                }
                if let (Some(outcomes), Recorded::Told(outcome)) = (&mut outcomes, outcome) {
                    outcomes.push(outcome);
                }
            }
        }
        kept.iter().try_for_each(|content| evidence::insert(&transaction, content).map(drop))?;
        evidence::tell(&transaction, &mut log, now, true)?;
        log.sign(&transaction)?;
        transaction.commit()?;
        log.settle();
        self.clear()
    }
}

impl Store {
    /// Adds what has become known since of those who made open changes, by path; other changes stay as they are. What is
    /// added is in the log as well.
    ///
    /// # Errors
    /// As the database says; nothing is added then.
    pub fn complete_actors(
        &self,
        known: &BTreeMap<RawPath, Vec<Actor>>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.with_log(|connection, log| {
            for (path, by) in known {
                let Some(mut open) = open_change(connection, path)? else { continue };
                if actor::complete(&mut open.actors, by) {
                    put_actors(connection, open.id, &open.actors)?;
                    log.add(connection, now, Event::Change(Box::new(ChangeLeaf::of(&open))))?;
                }
            }
            Ok(())
        })
    }
}

impl Store {
    /// Makes an open change more severe, if it is as it is given and less severe; the log tells of it as well.
    ///
    /// # Errors
    /// As the database says; it stays as it is then.
    pub fn raise(
        &self,
        change: &Change,
        severity: Severity,
        now: Timestamp,
    ) -> Result<Option<Change>, StoreError> {
        let mut raised = None;
        self.with_log(|connection, log| {
            let Some(open) = open_change(connection, &change.path)? else { return Ok(()) };
            if open.id != change.id || open.count != change.count || open.severity >= severity {
                return Ok(());
            }
            let sql = "UPDATE change SET severity = ?2, severity_text = ?3 WHERE id = ?1";
            let row = (number(open.id.0), severity as i64, severity.name());
            connection.prepare_cached(sql)?.execute(row)?;
            let open = Change { severity, ..open };
            log.add(connection, now, Event::Change(Box::new(ChangeLeaf::of(&open))))?;
            raised = Some(open);
            Ok(())
        })?;
        Ok(raised)
    }
}

/// What became of a finding.
enum Recorded {
    /// It is news.
    Told(Outcome),
    /// Only who wrote is known better.
    Noted(Change),
    /// It was known.
    Nothing,
}

pub(super) fn open_change(connection: &Connection, path: &RawPath) -> rusqlite::Result<Option<Change>> {
    connection
        .prepare_cached(&format!("SELECT {CHANGE_COLUMNS} FROM change WHERE path = ?1 AND status = 'open'"))?
        .query_row([path.as_bytes()], change_from)
        .optional()
}

fn put_actors(connection: &Connection, id: ChangeId, actors: &[Actor]) -> rusqlite::Result<()> {
    let sql = "UPDATE change SET actors = ?2 WHERE id = ?1";
    connection.prepare_cached(sql)?.execute((number(id.0), actor::to_text(actors)))?;
    Ok(())
}

fn record_one(
    connection: &Connection,
    mut found: Found,
    cause: &str,
    now: Timestamp,
    rules: &dyn Rules,
    set: &mut Option<i64>,
) -> Result<Recorded, StoreError> {
    let open = open_change(connection, &found.path)?;
    let known = open.as_ref().map_or(&[][..], |open| open.actors.as_slice());
    let mut actors = known.to_vec();
    actor::add(&mut actors, rules.actors(&found));
    let by = |actors: &[Actor]| rules.severity_by(&found, actors);
    // Who wrote may be heard of after the change was found. It is news when it makes the change worse.
    if let Some(open) = &open
        && is_same(open, &found, rules)
        && by(&actors) <= by(known)
    {
        if actors != open.actors {
            put_actors(connection, open.id, &actors)?;
            return Ok(Recorded::Noted(Change { actors, ..open.clone() }));
        }
        return Ok(Recorded::Nothing);
    }
    found.severity = by(&actors);
    let set_id = match open.as_ref().map(|open| number(open.set.0)).or(*set) {
        Some(id) => id,
        None => {
            let sql = "INSERT INTO change_set(cause, first, last) VALUES (?1, ?2, ?2)";
            connection.execute(sql, (cause, now.as_micros()))?;
            *set.insert(connection.last_insert_rowid())
        }
    };
    connection
        .prepare_cached("UPDATE change_set SET last = ?2 WHERE id = ?1")?
        .execute((set_id, now.as_micros()))?;
    let own: [Value; 5] = [
        found.path.for_people().into(),
        found.severity.name().to_string().into(),
        set_id.into(),
        now.as_micros().into(),
        actor::to_text(&actors).into(),
    ];
    connection
        .prepare_cached(
            "INSERT INTO change(path, watch, kind, fields, severity, source, before, before_user, before_group,
                after, after_user, after_group, from_path, path_text, severity_text, change_set, first, last, actors, count, status)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?17, ?18, 1, 'open')
             ON CONFLICT(path) WHERE status = 'open' DO UPDATE SET
                watch = excluded.watch, kind = excluded.kind, fields = excluded.fields, severity = excluded.severity,
                source = excluded.source, before = excluded.before, before_user = excluded.before_user,
                before_group = excluded.before_group, after = excluded.after, after_user = excluded.after_user,
                after_group = excluded.after_group, from_path = excluded.from_path,
                severity_text = excluded.severity_text, last = excluded.last, actors = excluded.actors,
                count = count + 1",
        )?
        .execute(params_from_iter(shared_values(&found).into_iter().chain(own)))?;
    let change = open_change(connection, &found.path)?;
    let news = |change| if open.is_some() { Outcome::Again(change) } else { Outcome::New(change) };
    Ok(change.map_or(Recorded::Nothing, |change| Recorded::Told(news(change))))
}

/// Whether a finding tells nothing that the open change did not say.
pub(super) fn is_same(open: &Change, found: &Found, rules: &dyn Rules) -> bool {
    let same_side = |a: &Option<Seen>, b: &Option<Seen>| match (a, b) {
        (None, None) => true,
        // A content that was not known and now is, is news: what is compared next is compared with it.
        (Some(a), Some(b)) => {
            rules.differences(&found.watch, a, b).is_empty()
                && a.state.digests.sha256.is_some() == b.state.digests.sha256.is_some()
        }
        _ => false,
    };
    open.kind == found.kind
        && open.fields == found.fields
        && open.from == found.from
        && same_side(&open.before, &found.before)
        && same_side(&open.after, &found.after)
}

/// Calls `over` with the open changes in scope that this collection did not find again, with some more than once.
pub(super) fn no_longer_found(
    connection: &Connection,
    scope: &[Place],
    looked_at: &dyn Fn(&RawPath) -> bool,
    over: &mut dyn FnMut(i64, RawPath),
) -> Result<(), StoreError> {
    let open =
        "SELECT id, path FROM change WHERE status = 'open' AND path NOT IN (SELECT path FROM temp.found)";
    let mut note = |row: &Row<'_>| -> rusqlite::Result<()> {
        let path = RawPath::new(row.get::<_, Vec<u8>>(1)?);
        if looked_at(&path) {
            over(row.get(0)?, path);
        }
        Ok(())
    };
    if scope.is_empty() {
        let mut query = connection.prepare_cached(open)?;
        let mut rows = query.query([])?;
        while let Some(row) = rows.next()? {
            note(row)?;
        }
    }
    for place in scope {
        let mut query = connection.prepare_cached(&format!("{open} AND path = ?1"))?;
        let mut rows = query.query([place.path.as_bytes()])?;
        while let Some(row) = rows.next()? {
            note(row)?;
        }
        if place.deep {
            let (first, end) = below(&place.path);
            let mut query = connection.prepare_cached(&format!("{open} AND path >= ?1 AND path < ?2"))?;
            let mut rows = query.query([first, end])?;
            while let Some(row) = rows.next()? {
                note(row)?;
            }
        }
    }
    Ok(())
}

/// The range of paths below a directory: those that begin with it and a slash, whose successor is `0`.
pub(super) fn below(directory: &RawPath) -> (Vec<u8>, Vec<u8>) {
    let bare = directory.as_bytes().strip_suffix(b"/").unwrap_or(directory.as_bytes());
    ([bare, b"/"].concat(), [bare, b"0"].concat())
}

fn resolve(
    connection: &Connection,
    now: Timestamp,
    back: Vec<i64>,
    log: &mut Appending<'_>,
    outcomes: &mut Option<&mut Vec<Outcome>>,
) -> Result<(), StoreError> {
    for id in back {
        let sql = "UPDATE change SET status = 'resolved', closed = ?2 WHERE id = ?1";
        connection.prepare_cached(sql)?.execute((id, now.as_micros()))?;
        let sql = format!("SELECT {CHANGE_COLUMNS} FROM change WHERE id = ?1");
        let change = connection.prepare_cached(&sql)?.query_row([id], change_from)?;
        let leaf = Event::Resolved { id: change.id, path: LeafPath::new(&change.path) };
        log.add(connection, now, leaf)?;
        if let Some(outcomes) = outcomes {
            outcomes.push(Outcome::Resolved(change));
        }
    }
    Ok(())
}
