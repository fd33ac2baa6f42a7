//! Changes: what was found is compared with what is open, and written in one transaction.

mod commit;
mod elsewhere;
mod survey;

use commit::{below, open_change};
pub use elsewhere::Appeared;
pub use survey::Page;

use crate::Store;
use crate::baseline::number;
use crate::error::StoreError;
use crate::evidence::Content;
use std::collections::{BTreeSet, HashSet};

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row, params_from_iter};
use waxseal_model::change::Seen;
use waxseal_model::{
    Actor, Attribute, AttributeSet, Change, ChangeId, ChangeKind, FileType, RawPath, SetId, Severity, Source,
    Timestamp, actor, record,
};

/// A difference from the baseline as it was seen, before it has an id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Where.
    pub path: RawPath,
    /// The watch whose rules decide.
    pub watch: String,
    /// How it differs.
    pub kind: ChangeKind,
    /// The attributes that count and differ.
    pub fields: AttributeSet,
    /// How much it matters.
    pub severity: Severity,
    /// What made us look.
    pub source: Source,
    /// The baseline's state.
    pub before: Option<Seen>,
    /// The state now.
    pub after: Option<Seen>,
    /// Where it came from.
    pub from: Option<RawPath>,
}

impl Found {
    /// As a change that is not on record, seen at `now`: it has no name and no set.
    pub fn unrecorded(self, now: Timestamp) -> Change {
        Change {
            id: ChangeId::NONE,
            set: SetId::NONE,
            first: now,
            last: now,
            count: 1,
            path: self.path,
            watch: self.watch,
            kind: self.kind,
            fields: self.fields,
            severity: self.severity,
            source: self.source,
            before: self.before,
            after: self.after,
            from: self.from,
            actors: Vec::new(),
        }
    }
}

/// What recording made of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// A new change was opened.
    New(Change),
    /// An open change moved again: its count is higher by one.
    Again(Change),
    /// The path is back in its baseline state.
    Resolved(Change),
}

/// A place, for which recording also settles what is no longer different.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Where.
    pub path: RawPath,
    /// Whether everything below belongs to it.
    pub deep: bool,
}

/// How a collection is recorded.
#[derive(Clone, Copy)]
pub struct Commit<'a> {
    /// What a change set that is opened for it is called.
    pub cause: &'a str,
    /// The set to put new changes into, which an earlier part of the same look opened.
    pub set: Option<SetId>,
    /// The time of what is recorded.
    pub now: Timestamp,
    /// The newest baseline that whoever looked knows of.
    pub generation: u64,
    /// The rules.
    pub rules: &'a dyn Rules,
    /// Where it was looked; everywhere when empty.
    pub scope: &'a [Place],
    /// Contents that were found, to be kept as suspect.
    pub kept: &'a [Content],
    /// Whether a path in scope could be seen.
    pub looked_at: &'a dyn Fn(&RawPath) -> bool,
}

/// What recording needs to know of the rules.
pub trait Rules {
    /// The attributes that count for a watch and differ between two states.
    fn differences(&self, watch: &str, before: &Seen, after: &Seen) -> AttributeSet;
    /// The severity of a move with these differences.
    fn severity_of_move(&self, found: &Found) -> Severity;
    /// Who made this change now, as far as events told, the newest last.
    fn actors(&self, found: &Found) -> Vec<Actor>;
    /// The severity of a change that was made by these.
    fn severity_by(&self, found: &Found, actors: &[Actor]) -> Severity;
}

/// A collection of findings of one look (a scan, or a batch of events), held outside of the database proper
/// until it is committed, so that no number of findings fills the memory and none is recorded by halves.
#[derive(Debug)]
pub struct Findings {
    connection: Connection,
}

/// The new and the old path of a move.
type Pair = (Vec<u8>, Vec<u8>);

const TEMP: &str = "
PRAGMA temp_store = FILE;
CREATE TEMP TABLE found(
    path BLOB PRIMARY KEY, watch TEXT, kind TEXT, fields TEXT, severity INTEGER, source TEXT,
    before BLOB, before_user TEXT, before_group TEXT, after BLOB, after_user TEXT, after_group TEXT,
    from_path BLOB, object_before BLOB, object_after BLOB) WITHOUT ROWID;
CREATE INDEX temp.found_by_object ON found(object_before) WHERE kind = 'removed';
";

impl Store {
    /// Begins a collection.
    ///
    /// # Errors
    /// As the database says.
    pub fn findings(&self) -> Result<Findings, StoreError> {
        let connection = self.database.connect(self.is_read_only(), self.patience)?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.execute_batch(TEMP)?;
        Ok(Findings { connection })
    }
}

/// What makes two sightings of a name the same object with the same content.
fn object_key(seen: Option<&Seen>) -> Option<Vec<u8>> {
    let state = &seen?.state;
    let mut key = vec![state.file_type as u8];
    key.extend(state.inode.to_le_bytes());
    key.extend(state.device.major.to_le_bytes());
    key.extend(state.device.minor.to_le_bytes());
    let btime = state.btime.unwrap_or_default();
    key.extend(btime.seconds.to_le_bytes());
    key.extend(btime.nanos.to_le_bytes());
    match state.file_type {
        FileType::File => key.extend(state.digests.sha256.as_ref()?),
        FileType::Symlink => key.extend(state.target()?),
        _ => {}
    }
    Some(key)
}

pub(crate) fn fields_text(fields: AttributeSet) -> String {
    fields.iter().map(Attribute::name).collect::<Vec<_>>().join(",")
}

fn fields_from(text: &str) -> AttributeSet {
    text.split(',').filter_map(Attribute::from_name).collect()
}

fn severity_from(rank: i64) -> Severity {
    usize::try_from(rank).ok().and_then(|i| Severity::ALL.get(i).copied()).unwrap_or(Severity::Critical)
}

fn seen_from(row: &Row<'_>, first: usize) -> rusqlite::Result<Option<Seen>> {
    let Some(bytes) = row.get::<_, Option<Vec<u8>>>(first)? else { return Ok(None) };
    let state = record::state_from_bytes(&bytes).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(first, rusqlite::types::Type::Blob, Box::new(error))
    })?;
    Ok(Some(Seen { state, user: row.get(first + 1)?, group: row.get(first + 2)? }))
}

fn bytes_of(seen: Option<&Seen>) -> Option<Vec<u8>> {
    seen.map(|s| record::state_to_bytes(&s.state))
}

/// Columns that a finding and a change share, in this order.
const SHARED: &str = "path, watch, kind, fields, severity, source, before, before_user, before_group,
    after, after_user, after_group, from_path";

/// The values of those columns.
fn shared_values(found: &Found) -> [Value; 13] {
    let (before, after) = (found.before.as_ref(), found.after.as_ref());
    let user = |seen: Option<&Seen>| Value::from(seen.and_then(|seen| seen.user.clone()));
    let group = |seen: Option<&Seen>| Value::from(seen.and_then(|seen| seen.group.clone()));
    [
        found.path.as_bytes().to_vec().into(),
        found.watch.clone().into(),
        found.kind.name().to_string().into(),
        fields_text(found.fields).into(),
        (found.severity as i64).into(),
        found.source.name().to_string().into(),
        bytes_of(before).into(),
        user(before),
        group(before),
        bytes_of(after).into(),
        user(after),
        group(after),
        found.from.as_ref().map(|from| from.as_bytes().to_vec()).into(),
    ]
}

fn found_from(row: &Row<'_>) -> rusqlite::Result<Found> {
    let text = |i| row.get::<_, String>(i);
    Ok(Found {
        path: RawPath::new(row.get::<_, Vec<u8>>(0)?),
        watch: text(1)?,
        kind: ChangeKind::from_name(&text(2)?).unwrap_or(ChangeKind::Modified),
        fields: fields_from(&text(3)?),
        severity: severity_from(row.get(4)?),
        source: Source::from_name(&text(5)?).unwrap_or(Source::Scan),
        before: seen_from(row, 6)?,
        after: seen_from(row, 9)?,
        from: row.get::<_, Option<Vec<u8>>>(12)?.map(RawPath::new),
    })
}

pub(crate) const CHANGE_COLUMNS: &str =
    "path, watch, kind, fields, severity, source, before, before_user, before_group,
    after, after_user, after_group, from_path, id, change_set, first, last, count, actors";

pub(crate) fn change_from(row: &Row<'_>) -> rusqlite::Result<Change> {
    let found = found_from(row)?;
    let unsigned = |i| row.get::<_, i64>(i).map(i64::unsigned_abs);
    Ok(Change {
        id: ChangeId(unsigned(13)?),
        set: SetId(unsigned(14)?),
        first: Timestamp::from_micros(row.get(15)?),
        count: unsigned(17)?,
        actors: row.get::<_, Option<String>>(18)?.map_or(Vec::new(), |text| actor::from_text(&text)),
        ..found.unrecorded(Timestamp::from_micros(row.get(16)?))
    })
}

impl Findings {
    /// Adds one finding; a later one of the same path replaces it.
    ///
    /// # Errors
    /// As the temporary file says.
    pub fn add(&self, found: &Found) -> Result<(), StoreError> {
        let mut insert = self.connection.prepare_cached(&format!(
            "INSERT OR REPLACE INTO temp.found({SHARED}, object_before, object_after)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)"
        ))?;
        let objects = [object_key(found.before.as_ref()), object_key(found.after.as_ref())];
        insert.execute(params_from_iter(shared_values(found).into_iter().chain(objects.map(Value::from))))?;
        Ok(())
    }

    /// Calls `each` with every finding, worst first, for showing them when they cannot be recorded.
    ///
    /// # Errors
    /// As the temporary file says.
    pub fn each(&self, mut each: impl FnMut(Found)) -> Result<(), StoreError> {
        let sql = format!("SELECT {SHARED} FROM temp.found ORDER BY severity DESC, path");
        let mut query = self.connection.prepare(&sql)?;
        for row in query.query_map([], found_from)? {
            each(row?);
        }
        Ok(())
    }

    /// Forgets everything that was collected.
    ///
    /// # Errors
    /// As the temporary file says.
    pub fn clear(&self) -> Result<(), StoreError> {
        self.connection.execute("DELETE FROM temp.found", [])?;
        Ok(())
    }

    /// Pairs what was removed with what appeared elsewhere as the same object with the same content.
    fn pair_moves(&self, rules: &dyn Rules) -> Result<(), StoreError> {
        for (new, old) in self.pairs()? {
            let find = format!("SELECT {SHARED} FROM temp.found WHERE path = ?1");
            let find = |path: &[u8]| -> Result<Found, StoreError> {
                Ok(self.connection.prepare_cached(&find)?.query_row([path], found_from)?)
            };
            let (mut found, source) = (find(&new)?, find(&old)?);
            found.from = Some(source.path);
            if found.kind == ChangeKind::Added {
                if let (Some(before), Some(after)) = (&source.before, &found.after) {
                    found.fields = rules.differences(&found.watch, before, after);
                }
                found.kind = ChangeKind::Moved;
                found.before = source.before;
                found.severity = rules.severity_of_move(&found).max(source.severity);
                self.connection.prepare_cached("DELETE FROM temp.found WHERE path = ?1")?.execute([&old])?;
            }
            // Where it took the place of a sealed file, the old name stays `removed`: nothing stands there now.
            self.add(&found)?;
        }
        Ok(())
    }

    /// New and old paths of what moved, each used once.
    fn pairs(&self) -> Result<Vec<Pair>, StoreError> {
        let mut query = self.connection.prepare(
            "SELECT new.path, old.path FROM temp.found AS new JOIN temp.found AS old
                 ON old.kind = 'removed' AND old.object_before = new.object_after
             WHERE new.kind != 'removed' AND new.object_before IS NOT new.object_after
             ORDER BY new.path, old.path",
        )?;
        let mut rows = query.query([])?;
        let (mut pairs, mut taken) = (Vec::<Pair>::new(), HashSet::new());
        while let Some(row) = rows.next()? {
            let (new, old): (Vec<u8>, Vec<u8>) = (row.get(0)?, row.get(1)?);
            let placed = pairs.last().is_some_and(|(last, _)| *last == new);
            if !placed && taken.insert(old.clone()) {
                pairs.push((new, old));
            }
        }
        Ok(pairs)
    }
}

/// The change of this id, open or not.
pub(crate) fn change(connection: &Connection, id: ChangeId) -> Result<Option<Change>, StoreError> {
    let mut query =
        connection.prepare_cached(&format!("SELECT {CHANGE_COLUMNS} FROM change WHERE id = ?1"))?;
    Ok(query.query_row([number(id.0)], change_from).optional()?)
}

/// A change set with what its open changes add up to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeSet {
    /// Its name.
    pub id: SetId,
    /// What made it.
    pub cause: String,
    /// When its first change was seen.
    pub first: Timestamp,
    /// When one of its changes last moved.
    pub last: Timestamp,
}

impl Store {
    /// Where the paths of these places were moved from, by the open changes: such a change stands for two names, so
    /// whoever looks at the new one has to look at the old one as well.
    ///
    /// # Errors
    /// As the database says.
    pub fn sources_of_moves(&self, places: &[Place]) -> Result<BTreeSet<RawPath>, StoreError> {
        let moved = "SELECT from_path FROM change WHERE status = 'open' AND kind = 'moved'";
        // Also below a single directory: it may turn out to be another than the one that was sealed, and then everything
        // below it is looked at.
        self.other_ends(places, "path", moved, |_| true)
    }

    /// Where the paths of these places have moved to, by the open changes: when something has an old name again, nothing
    /// has moved from there.
    ///
    /// # Errors
    /// As the database says.
    pub fn destinations_of_moves(&self, places: &[Place]) -> Result<BTreeSet<RawPath>, StoreError> {
        let moved = "SELECT path FROM change WHERE status = 'open' AND from_path IS NOT NULL";
        self.other_ends(places, "from_path", moved, |place| place.deep)
    }

    /// What `select` finds of the changes whose `end` is one of these places, or below it if `deep` says so.
    fn other_ends(
        &self,
        places: &[Place],
        end: &str,
        select: &str,
        deep: impl Fn(&Place) -> bool,
    ) -> Result<BTreeSet<RawPath>, StoreError> {
        self.read(|connection| {
            let mut ends = BTreeSet::new();
            let mut note = |row: &Row<'_>| -> rusqlite::Result<()> {
                ends.extend(row.get::<_, Option<Vec<u8>>>(0)?.map(RawPath::new));
                Ok(())
            };
            let mut itself = connection.prepare_cached(&format!("{select} AND {end} = ?1"))?;
            let mut within =
                connection.prepare_cached(&format!("{select} AND {end} >= ?1 AND {end} < ?2"))?;
            for place in places {
                let path = place.path.as_bytes();
                let mut rows = itself.query([path])?;
                while let Some(row) = rows.next()? {
                    note(row)?;
                }
                if deep(place) {
                    let mut rows = within.query(<[Vec<u8>; 2]>::from(below(&place.path)))?;
                    while let Some(row) = rows.next()? {
                        note(row)?;
                    }
                }
            }
            Ok(ends)
        })
    }

    /// Calls `each` with every open change, worst first, then by path.
    ///
    /// # Errors
    /// As the database says, or the first error of `each`.
    pub fn each_open_change<E: From<StoreError>>(
        &self,
        mut each: impl FnMut(Change) -> Result<(), E>,
    ) -> Result<(), E> {
        let sql =
            format!("SELECT {CHANGE_COLUMNS} FROM change WHERE status = 'open' ORDER BY severity DESC, path");
        let mut stopped = None;
        self.read(|connection| {
            let mut query = connection.prepare(&sql)?;
            for change in query.query_map([], change_from)? {
                if let Err(error) = each(change?) {
                    stopped = Some(error);
                    break;
                }
            }
            Ok(())
        })?;
        stopped.map_or(Ok(()), Err)
    }

    /// Calls `each` with the path of every open change, of those below a directory where one is given.
    ///
    /// # Errors
    /// As the database says.
    pub fn each_open_path(
        &self,
        directory: Option<&RawPath>,
        mut each: impl FnMut(&[u8]),
    ) -> Result<(), StoreError> {
        // No path is empty, and none begins with a byte after the slash.
        let (first, end) = directory.map_or((Vec::new(), b"0".to_vec()), below);
        self.read(|connection| {
            let mut query = connection.prepare_cached(
                "SELECT path FROM change WHERE status = 'open' AND path >= ?1 AND path < ?2",
            )?;
            let mut rows = query.query([first, end])?;
            while let Some(row) = rows.next()? {
                each(row.get_ref(0)?.as_blob().unwrap_or_default());
            }
            Ok(())
        })
    }

    /// The sets that have open changes, newest first.
    ///
    /// # Errors
    /// As the database says.
    pub fn open_sets(&self) -> Result<Vec<ChangeSet>, StoreError> {
        self.read(|connection| {
            let mut query = connection.prepare(
                "SELECT id, cause, first, last FROM change_set
                 WHERE id IN (SELECT change_set FROM change WHERE status = 'open') ORDER BY id DESC",
            )?;
            let rows = query.query_map([], |row| {
                Ok(ChangeSet {
                    id: SetId(row.get::<_, i64>(0)?.unsigned_abs()),
                    cause: row.get(1)?,
                    first: Timestamp::from_micros(row.get(2)?),
                    last: Timestamp::from_micros(row.get(3)?),
                })
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// The change of this id, open or not.
    ///
    /// # Errors
    /// As the database says.
    pub fn change(&self, id: ChangeId) -> Result<Option<Change>, StoreError> {
        self.read(|connection| change(connection, id))
    }

    /// The open change of a path.
    ///
    /// # Errors
    /// As the database says.
    pub fn open_change_of(&self, path: &RawPath) -> Result<Option<Change>, StoreError> {
        self.read(|connection| Ok(open_change(connection, path)?))
    }

    /// How many changes are open, by severity from `info` up.
    ///
    /// # Errors
    /// As the database says.
    pub fn count_open(&self) -> Result<[u64; 5], StoreError> {
        let mut counts = [0; 5];
        self.read(|connection| {
            let sql = "SELECT severity, count(*) FROM change WHERE status = 'open' GROUP BY severity";
            let mut query = connection.prepare(sql)?;
            for row in query.query_map([], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))? {
                let (rank, count) = row?;
                if let Some(slot) = counts.get_mut(severity_from(rank) as usize) {
                    *slot += count.unsigned_abs();
                }
            }
            Ok(())
        })?;
        Ok(counts)
    }
}

#[cfg(test)]
pub(crate) mod tests;
