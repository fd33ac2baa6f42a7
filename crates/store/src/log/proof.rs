//! Whether the tables of changes and baselines say what the log says.

use super::leaf_bytes;
use super::read::LogSnapshot;
use crate::baseline::{self, natural, sealed_leaf};
use crate::changes::{CHANGE_COLUMNS, change_from, fields_text};
use crate::error::StoreError;
use crate::evidence;
use crate::{ScanKind, gaps};
use rusqlite::{Connection, Row};
use std::collections::{BTreeMap, HashMap, VecDeque};
use waxseal_ledger::Leaf;
use waxseal_ledger::leaf::{By, ChangeLeaf, Event, LeafPath, LeafText, Scan, Sealed, contents_hash};
use waxseal_ledger::merkle::leaf_hash;
use waxseal_model::digest::hex;
use waxseal_model::{Change, ChangeId, Digest, RawPath, Timestamp, actor};

/// How many rows of gaps there are at most.
const KEPT: usize = gaps::KEPT.unsigned_abs() as usize;

/// What the leaves say of rows, gathered leaf by leaf in their order.
#[derive(Debug, Default)]
pub struct Agreement {
    /// When the log began: rows from before have no leaves.
    began: Option<Timestamp>,
    /// The first baseline is in the log: then there is nothing from before.
    is_whole: bool,
    /// What is told of each change.
    changes: HashMap<u64, Told>,
    /// The leaf of each baseline.
    baselines: BTreeMap<u64, u64>,
    /// Gaps and scans, in their order, each with its leaf.
    gaps: VecDeque<(u64, GapRow)>,
    scans: Vec<(u64, Scan)>,
    /// Times do not go up with the leaves.
    clock_set_back: bool,
    /// What leaves tell of contents that are kept, by their places.
    kept: BTreeMap<u64, ToldKept>,
    /// Contents that were dropped again, by the leaf that told of their keeping.
    dropped: HashMap<u64, Vec<Digest>>,
}

/// What a leaf tells of contents that are kept.
#[derive(Debug, Clone, Copy)]
struct ToldKept {
    contents: u64,
    bytes: u64,
    list: Digest,
}

/// A row of `gap`: where, why, since and until when.
type GapRow = (Option<LeafPath>, LeafText, i64, i64);

/// What the leaves say of a change, besides what the last of them says by itself.
#[derive(Debug, Clone, Copy)]
struct Told {
    /// The last leaf that tells of it, its time in microseconds, and its hash.
    leaf: u64,
    time: i64,
    hash: Digest,
    /// When it last moved: leaves that count no new state only tell more of the last one.
    last: i64,
    count: u64,
    /// How and when it was said to be over.
    over: Option<(&'static str, i64)>,
}

/// A row and the log that do not agree.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Disagreement {
    /// A change that the log does not have.
    #[error("change {0}: it is in the table, and the log does not tell of it")]
    UnknownChange(ChangeId),
    /// A change that is gone.
    #[error("change {id}: leaf {leaf} tells of it, and it is not in the table")]
    NoChange {
        /// Which.
        id: ChangeId,
        /// The last leaf that tells of it.
        leaf: u64,
    },
    /// A change that says something else.
    #[error("change {id}: the table says something else of it than leaf {leaf}")]
    OtherChange {
        /// Which.
        id: ChangeId,
        /// The last leaf that tells of it.
        leaf: u64,
    },
    /// A row of another table.
    #[error("the table of {table}: row {row} is not what the log, or the other tables, say")]
    Row {
        /// What is in the table.
        table: &'static str,
        /// Its number.
        row: i64,
    },
    /// Rows of another table that are gone.
    #[error("the table of {table}: leaf {leaf} tells of a row that is not there")]
    NoRow {
        /// What is in the table.
        table: &'static str,
        /// The leaf.
        leaf: u64,
    },
    /// Contents that are kept.
    #[error("evidence: the contents that leaf {0} tells of are not those that are kept")]
    Kept(u64),
    /// A content that the log does not have.
    #[error("evidence: the content {} is in the table, and the log does not tell of it", hex(.0))]
    UnknownContent(Digest),
    /// Pieces that belong to no content.
    #[error("evidence: there are pieces that belong to no content")]
    Stray,
    /// A content that is not what was kept.
    #[error("evidence: the content {} is damaged: {why}", hex(hash))]
    Content {
        /// Its SHA-256.
        hash: Digest,
        /// Why.
        why: String,
    },
    /// A baseline that the log does not have.
    #[error("baseline {0}: it is in the table, and the log does not tell of it")]
    UnknownBaseline(u64),
    /// A baseline that is gone.
    #[error("baseline {generation}: leaf {leaf} tells of it, and it is not in the table")]
    NoBaseline {
        /// Its number.
        generation: u64,
        /// The leaf that tells of it.
        leaf: u64,
    },
    /// A baseline that says something else.
    #[error("baseline {generation}: the table says something else of it than leaf {leaf}")]
    OtherBaseline {
        /// Its number.
        generation: u64,
        /// The leaf that tells of it.
        leaf: u64,
    },
}

impl Disagreement {
    /// By what it is about: baselines, then changes, then evidence, by their numbers.
    pub(crate) fn order(&self) -> (u8, u64) {
        match self {
            Disagreement::Kept(leaf) => (2, *leaf),
            Disagreement::UnknownContent(_) | Disagreement::Content { .. } | Disagreement::Stray => {
                (2, u64::MAX)
            }
            Disagreement::UnknownBaseline(generation)
            | Disagreement::NoBaseline { generation, .. }
            | Disagreement::OtherBaseline { generation, .. } => (0, *generation),
            Disagreement::UnknownChange(id)
            | Disagreement::NoChange { id, .. }
            | Disagreement::OtherChange { id, .. } => (1, id.0),
            Disagreement::Row { row, .. } => (2, row.unsigned_abs()),
            Disagreement::NoRow { leaf, .. } => (3, *leaf),
        }
    }
}

impl Agreement {
    /// The next leaf, at this place, with the hash of its bytes.
    pub fn leaf(&mut self, seq: u64, leaf: &Leaf, hash: Digest) {
        let time = leaf.time.as_micros();
        self.began.get_or_insert(leaf.time);
        match &leaf.event {
            Event::Change(change) => {
                let before = self.changes.get(&change.id.0).filter(|told| told.count == change.count);
                let last = before.map_or(time, |told| told.last);
                let told = Told { leaf: seq, time, hash, last, count: change.count, over: None };
                self.changes.insert(change.id.0, told);
            }
            Event::Resolved { id, .. } => self.over(*id, "resolved", time),
            Event::Approved(decision) => self.over(decision.id, "approved", time),
            Event::Restored(decision) => self.over(decision.id, "restored", time),
            Event::Sealed(sealed) => {
                self.is_whole |= sealed.generation == 1;
                self.baselines.insert(sealed.generation, seq);
            }
            Event::Blind { reason, path, since, until: Some(until) } => {
                let row = (path.clone(), reason.clone(), since.as_micros(), until.as_micros());
                self.gaps.push_back((seq, row));
                if self.gaps.len() > KEPT {
                    self.gaps.pop_front();
                }
            }
            Event::Scan(scan) => self.scans.push((seq, (**scan).clone())),
            Event::Clock => self.clock_set_back = true,
            Event::Kept { contents, bytes, list, .. } => {
                self.kept.insert(seq, ToldKept { contents: *contents, bytes: *bytes, list: *list });
            }
            Event::Dropped { contents, .. } => {
                for (leaf, hash) in contents {
                    self.dropped.entry(*leaf).or_default().push(*hash);
                }
            }
            _ => {}
        }
    }

    /// A change ended.
    fn over(&mut self, id: ChangeId, how: &'static str, time: i64) {
        if let Some(told) = self.changes.get_mut(&id.0) {
            told.over = Some((how, time));
        }
    }

    /// Whether what was recorded then needs a leaf. A state may be older than its log.
    pub fn covers(&self, time: Timestamp) -> bool {
        self.is_whole || self.began.is_none_or(|began| time.as_micros() >= began.as_micros())
    }

    /// Holds the rows against what was gathered, which is used up by it; `each` is told what does not agree, in no order that matters.
    ///
    /// # Errors
    /// As the database says.
    pub fn compare(
        &mut self,
        log: &LogSnapshot<'_>,
        mut each: impl FnMut(Disagreement),
    ) -> Result<(), StoreError> {
        let sql = format!("SELECT {CHANGE_COLUMNS}, status, closed, path_text, severity_text FROM change");
        let mut query = log.connection.prepare(&sql)?;
        let mut rows = query.query([])?;
        while let Some(row) = rows.next()? {
            let id = ChangeId(row.get::<_, i64>(13)?.unsigned_abs());
            let Some(told) = self.changes.remove(&id.0) else {
                if self.covers(Timestamp::from_micros(row.get(15)?)) {
                    each(Disagreement::UnknownChange(id));
                }
                continue;
            };
            // What cannot be read is not what was written.
            if !is_told(row, &told).unwrap_or_default() {
                each(Disagreement::OtherChange { id, leaf: told.leaf });
            }
        }
        for (id, told) in std::mem::take(&mut self.changes) {
            each(Disagreement::NoChange { id: ChangeId(id), leaf: told.leaf });
        }
        self.compare_others(log.connection, &mut each)?;
        for row in baseline::all(log.connection)? {
            let generation = row.generation;
            let Some(leaf) = self.baselines.remove(&generation) else {
                if self.covers(row.stored.time) {
                    each(Disagreement::UnknownBaseline(generation));
                }
                continue;
            };
            let told = leaf_bytes(log.connection, leaf).ok().and_then(|bytes| Leaf::parse(&bytes).ok());
            let is_same = |told: &Leaf| match &told.event {
                Event::Sealed(sealed) => {
                    // Who decided stands in the leaf in more detail.
                    Sealed { by: By { user: sealed.by.user.clone(), ..By::default() }, ..(**sealed).clone() }
                        == sealed_leaf(generation, &row.stored)
                        && told.time.as_micros() == row.stored.time.as_micros()
                }
                _ => false,
            };
            if !told.as_ref().is_some_and(is_same) {
                each(Disagreement::OtherBaseline { generation, leaf });
            }
        }
        for (generation, leaf) in std::mem::take(&mut self.baselines) {
            each(Disagreement::NoBaseline { generation, leaf });
        }
        self.compare_evidence(log.connection, &mut each)
    }

    /// The same for what is kept, all of which is read.
    fn compare_evidence(
        &mut self,
        connection: &Connection,
        each: &mut impl FnMut(Disagreement),
    ) -> Result<(), StoreError> {
        let mut there: BTreeMap<u64, (Vec<Digest>, u64)> = BTreeMap::new();
        let mut owned = 0;
        let mut query =
            connection.prepare("SELECT leaf, hash, size, stored, first FROM evidence ORDER BY first")?;
        let mut rows = query.query([])?;
        while let Some(row) = rows.next()? {
            let hash: Digest = row.get(1)?;
            let Some(leaf) = natural(row, 0).ok().filter(|leaf| self.kept.contains_key(leaf)) else {
                each(Disagreement::UnknownContent(hash));
                continue;
            };
            let (list, bytes) = there.entry(leaf).or_default();
            list.push(hash);
            *bytes += row.get::<_, i64>(2)?.unsigned_abs();
            let (size, first): (i64, i64) = (row.get(2)?, row.get(4)?);
            let range = (first, first.saturating_add(evidence::pieces(size.unsigned_abs())));
            let stored =
                "SELECT coalesce(sum(length(bytes)), 0), count(*) FROM piece WHERE id >= ?1 AND id < ?2";
            let (stored, pieces): (i64, i64) =
                connection.prepare_cached(stored)?.query_row(range, |row| Ok((row.get(0)?, row.get(1)?)))?;
            owned += pieces;
            match evidence::read::<StoreError>(connection, &hash, &mut |_| Ok(())) {
                Ok(_) if stored == row.get::<_, i64>(3)? && (pieces > 0 || first == 0) => {}
                Ok(_) => each(Disagreement::Content {
                    hash,
                    why: "its length or its place is not the one that was recorded".into(),
                }),
                Err(StoreError::Rotten { hash, why }) => each(Disagreement::Content { hash, why }),
                Err(error) => return Err(error),
            }
        }
        for (leaf, told) in std::mem::take(&mut self.kept) {
            let (mut list, bytes) = there.remove(&leaf).unwrap_or_default();
            let dropped = self.dropped.remove(&leaf).unwrap_or_default();
            // The sizes of those that were dropped are not on record.
            let is_size = if dropped.is_empty() { bytes == told.bytes } else { bytes <= told.bytes };
            list.extend(dropped);
            list.sort_unstable();
            if !is_size || list.len() as u64 != told.contents || contents_hash(&list) != told.list {
                each(Disagreement::Kept(leaf));
            }
        }
        let all: i64 = connection.query_row("SELECT count(*) FROM piece", [], |row| row.get(0))?;
        if all != owned {
            each(Disagreement::Stray);
        }
        Ok(())
    }
}

impl Agreement {
    /// The tables of gaps and scans against the leaves, and that of change sets against the changes.
    fn compare_others(
        &mut self,
        connection: &Connection,
        each: &mut dyn FnMut(Disagreement),
    ) -> Result<(), StoreError> {
        let mut gaps = std::mem::take(&mut self.gaps);
        let sql = "SELECT path, path_text, reason, started, ended, rowid FROM gap ORDER BY rowid DESC";
        let wrong = compare_rows(
            connection,
            sql,
            || gaps.pop_back(),
            |row, told: &GapRow| {
                let path = row.get::<_, Option<Vec<u8>>>(0)?.map(RawPath::new);
                Ok(path.as_ref().map(LeafPath::new) == told.0
                    && row.get::<_, Option<String>>(1)? == path.map(|path| path.for_people())
                    && LeafText::new(&row.get::<_, String>(2)?) == told.1
                    && row.get::<_, i64>(3)? == told.2
                    && row.get::<_, i64>(4)? == told.3)
            },
        )?;
        wrong.into_iter().for_each(|wrong| each(wrong.of("gaps")));
        let mut scans = std::mem::take(&mut self.scans);
        let sql = "SELECT kind, started, ended, outcome, checked, errors, bytes, rowid FROM scan ORDER BY rowid DESC";
        let wrong = compare_rows(
            connection,
            sql,
            || scans.pop(),
            |row, told: &Scan| {
                let kind = if told.full { ScanKind::Full } else { ScanKind::Quick };
                let count = |column| row.get::<_, i64>(column).map(|n| u64::try_from(n).ok());
                Ok(row.get::<_, String>(0)? == kind.name()
                    && row.get::<_, i64>(1)? == told.started.as_micros()
                    && row.get::<_, i64>(2)? == told.ended.as_micros()
                    && LeafText::new(&row.get::<_, String>(3)?) == told.outcome
                    && count(4)? == Some(told.checked)
                    && count(5)? == Some(told.errors)
                    && count(6)? == Some(told.bytes))
            },
        )?;
        wrong.into_iter().for_each(|wrong| each(wrong.of("scans")));
        self.compare_sets(connection, each)
    }

    /// A set is there for its changes, and lasted from the first of them to the last. What it is called is only a name.
    fn compare_sets(
        &self,
        connection: &Connection,
        each: &mut dyn FnMut(Disagreement),
    ) -> Result<(), StoreError> {
        let sql = "SELECT s.id, s.first, s.last, min(c.first), max(c.last), count(c.id),
                          coalesce(max(c.first = s.first), 0), coalesce(max(c.last = s.last), 0)
                   FROM change_set s LEFT JOIN change c ON c.change_set = s.id GROUP BY s.id
                   UNION ALL SELECT change_set, NULL, NULL, NULL, NULL, 0, 0, 0 FROM change
                   WHERE change_set NOT IN (SELECT id FROM change_set)";
        let mut query = connection.prepare(sql)?;
        let mut rows = query.query([])?;
        while let Some(row) = rows.next()? {
            let is_same = || -> rusqlite::Result<bool> {
                let time = |column| row.get::<_, Option<i64>>(column);
                let exact = self.clock_set_back || (time(1)? == time(3)? && time(2)? == time(4)?);
                Ok(row.get::<_, i64>(5)? > 0
                    && row.get::<_, i64>(6)? == 1
                    && row.get::<_, i64>(7)? == 1
                    && exact)
            };
            if !is_same().unwrap_or_default() {
                each(Disagreement::Row { table: "change sets", row: row.get(0).unwrap_or_default() });
            }
        }
        Ok(())
    }
}

/// A row that is not what the log says, or one that is missing.
enum Wrong {
    Row(i64),
    Missing(u64),
}

impl Wrong {
    fn of(self, table: &'static str) -> Disagreement {
        match self {
            Wrong::Row(row) => Disagreement::Row { table, row },
            Wrong::Missing(leaf) => Disagreement::NoRow { table, leaf },
        }
    }
}

/// Holds rows, the newest first, against what the leaves tell, the newest first. The first that differs is told: what follows
/// would differ as well. Rows that are older than all leaves are from before there were such leaves.
fn compare_rows<T>(
    connection: &Connection,
    sql: &str,
    mut told: impl FnMut() -> Option<(u64, T)>,
    is_same: impl Fn(&Row<'_>, &T) -> rusqlite::Result<bool>,
) -> Result<Option<Wrong>, StoreError> {
    let mut query = connection.prepare(sql)?;
    let last = query.column_count().saturating_sub(1);
    let mut rows = query.query([])?;
    loop {
        let Some((leaf, one)) = told() else { return Ok(None) };
        let Some(row) = rows.next()? else { return Ok(Some(Wrong::Missing(leaf))) };
        // What cannot be read is not what was written.
        if !is_same(row, &one).unwrap_or_default() {
            return Ok(Some(Wrong::Row(row.get(last).unwrap_or_default())));
        }
    }
}

/// Whether a row is exactly as this change is written: what it says in other words was not written by this program.
fn is_as_written(row: &Row<'_>, change: &Change) -> rusqlite::Result<bool> {
    let is_text = |column: usize, text: &str| row.get_ref(column).map(|value| value.as_str() == Ok(text));
    let actors = actor::to_text(&change.actors);
    // What is counted has no sign.
    let is_natural = |column: usize| row.get::<_, i64>(column).map(|n| n >= 0);
    Ok(is_natural(13)?
        && is_natural(14)?
        && is_natural(17)?
        && is_text(2, change.kind.name())?
        && is_text(3, &fields_text(change.fields))?
        && row.get::<_, i64>(4)? == change.severity as i64
        && is_text(5, change.source.name())?
        && row.get_ref(18)?.as_str_or_null() == Ok(actors.as_deref())
        && is_text(21, &change.path.for_people())?
        && is_text(22, change.severity.name())?)
}

/// Whether the leaves tell of a change what its row says.
fn is_told(row: &Row<'_>, told: &Told) -> rusqlite::Result<bool> {
    let (status, closed): (String, Option<i64>) = (row.get(19)?, row.get(20)?);
    let (expected, over) = told.over.map_or(("open", None), |(how, time)| (how, Some(time)));
    let change = change_from(row)?;
    if !(status == expected
        && closed == over
        && change.last.as_micros() == told.last
        && is_as_written(row, &change)?)
    {
        return Ok(false);
    }
    // A leaf has one form, so its hash says as much as its bytes.
    let event = Event::Change(Box::new(ChangeLeaf::of(&change)));
    let leaf = Leaf { time: Timestamp::from_micros(told.time), event };
    Ok(leaf_hash(&leaf.to_bytes()) == told.hash)
}
