//! Whether the tables of changes and baselines say what the log says.

use super::leaf_bytes;
use super::read::LogSnapshot;
use crate::baseline::{self, sealed_leaf};
use crate::changes::{CHANGE_COLUMNS, change_from, fields_text};
use crate::error::StoreError;
use rusqlite::Row;
use std::collections::{BTreeMap, HashMap};
use waxseal_ledger::Leaf;
use waxseal_ledger::leaf::{By, ChangeLeaf, Event, Sealed};
use waxseal_ledger::merkle::leaf_hash;
use waxseal_model::{Change, ChangeId, Digest, Timestamp, actor};

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
}

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
    /// By what it is about: baselines, then changes, by their numbers.
    pub(crate) fn order(&self) -> (bool, u64) {
        match self {
            Disagreement::UnknownBaseline(generation)
            | Disagreement::NoBaseline { generation, .. }
            | Disagreement::OtherBaseline { generation, .. } => (false, *generation),
            Disagreement::UnknownChange(id)
            | Disagreement::NoChange { id, .. }
            | Disagreement::OtherChange { id, .. } => (true, id.0),
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
            Event::Sealed(sealed) => {
                self.is_whole |= sealed.generation == 1;
                self.baselines.insert(sealed.generation, seq);
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
        Ok(())
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
