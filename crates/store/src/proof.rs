//! Whether everything on record is what was recorded.
//!
//! In: the open database, and what the verifier believes. Out: what is proven, and every contradiction: in the file itself, in the
//! log, between the log and the tables, in the seals and in the directory records of every baseline. All of it is looked at as it stands at one
//! moment, beside a monitor that goes on writing.

use crate::baseline::{self, Baseline, natural};
use crate::error::StoreError;
use crate::log::{Agreement, Disagreement, LogSnapshot};
use crate::{Store, schema};
use rusqlite::Connection;
use std::collections::{BTreeMap, HashSet};
use waxseal_ledger::Leaf;
use waxseal_ledger::leaf::Event;
use waxseal_ledger::merkle::{Edge, leaf_hash};
use waxseal_ledger::tree::directory_hash;
use waxseal_ledger::verify::{self, Report, Trust, Walk};
use waxseal_model::record::Reader;
use waxseal_model::{Digest, RawPath, Timestamp, digest::hex};

/// How many contradictions outside the log are listed; the others are counted.
pub const MAX_PROBLEMS: usize = 1000;

/// How many places of a damaged file SQLite names.
const MAX_DAMAGE: u32 = 20;

/// A contradiction.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The file is not as SQLite writes it, or its tables are not ours.
    #[error("the database: {0}")]
    Database(String),
    /// The log by itself.
    #[error(transparent)]
    Log(#[from] verify::Problem),
    /// Leaves without a number between them: rows are gone.
    #[error("the leaves {from} to {last} are gone from the table")]
    Gone {
        /// The first.
        from: u64,
        /// The last.
        last: u64,
    },
    /// Leaves that no signed root covers.
    #[error("from leaf {from}{} on nothing can be trusted: no checkpoint covers it", since.map_or_else(String::new, |time| format!(" ({time})")))]
    Uncovered {
        /// The first.
        from: u64,
        /// Its time.
        since: Option<Timestamp>,
    },
    /// A hash above the leaves.
    #[error("hash {index} of level {level} of the tree is not the one that follows from the leaves")]
    Level {
        /// Which level, from 1.
        level: u64,
        /// Which of it.
        index: u64,
    },
    /// The place of the last key.
    #[error("the leaf of the last key is said to be another than it is")]
    LastKey,
    /// A table and the log.
    #[error(transparent)]
    Table(#[from] Disagreement),
    /// The seal of a baseline.
    #[error("baseline {generation}: its seal is broken: {why}")]
    Seal {
        /// Which.
        generation: u64,
        /// Why.
        why: String,
    },
    /// A directory record that a baseline needs.
    #[error("baseline {generation}: what was sealed in {path} cannot be trusted: {why}")]
    Record {
        /// Which baseline, the oldest that has it.
        generation: u64,
        /// The directory.
        path: RawPath,
        /// Why.
        why: String,
    },
    /// A directory record that is not what its hash says.
    #[error("the directory record {} was changed", hex(.0))]
    Changed(Digest),
}

/// What came out.
#[derive(Debug, Clone)]
pub struct Proof {
    /// What is proven of the log; its contradictions are among all others.
    pub log: Report,
    /// The contradictions, those of the log among them; at most [`MAX_PROBLEMS`] besides the log's.
    pub problems: Vec<Problem>,
    /// How many more there are.
    pub more: u64,
    /// How many baselines were looked at.
    pub baselines: u64,
    /// How many directory records they have.
    pub records: u64,
}

impl Proof {
    /// Whether everything is proven.
    pub fn is_proven(&self) -> bool {
        self.problems.is_empty() && self.more == 0
    }

    fn add(&mut self, problem: Problem) {
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(problem);
        } else {
            self.more += 1;
        }
    }
}

/// Says what is wrong with the seal of a baseline; whether the host's key must have signed it is the second argument.
pub type SealCheck<'a> = &'a dyn Fn(&Baseline, bool) -> Result<(), String>;

/// Looks at everything on record.
///
/// # Errors
/// When the database could not be looked at. What is damaged is a [`Problem`].
pub fn prove(store: &Store, trust: &Trust, seal: SealCheck<'_>) -> Result<Proof, StoreError> {
    // The file must be sound at any moment: that is looked at beside the rest.
    std::thread::scope(|scope| {
        let damage = scope.spawn(|| store.read(damage));
        store.log_snapshot(|log| {
            let damage = move || {
                damage.join().unwrap_or_else(|_| Err(StoreError::Damaged("it cannot be read".into())))
            };
            prove_snapshot(log, trust, seal, damage)
        })
    })
}

/// The proof of one moment. `damage` says at last what is wrong with the file as a file of SQLite.
pub(crate) fn prove_snapshot(
    log: &LogSnapshot<'_>,
    trust: &Trust,
    seal: SealCheck<'_>,
    damage: impl FnOnce() -> Result<Vec<String>, StoreError>,
) -> Result<Proof, StoreError> {
    let mut looked = walk(log, trust)?;
    let mut report = looked.walk.finish();
    let found = std::mem::take(&mut report.problems);
    let mut proof = Proof { problems: Vec::new(), more: report.more, log: report, baselines: 0, records: 0 };
    looked.problems.into_iter().for_each(|problem| proof.add(problem));
    proof.problems.extend(found.into_iter().map(Problem::Log));
    let is_said = |problem: &Problem| matches!(problem, Problem::Log(verify::Problem::Rewritten { .. }));
    if proof.log.proven < proof.log.size && !proof.problems.iter().any(is_said) {
        let (from, since) = (proof.log.proven, proof.log.unproven_since);
        proof.add(Problem::Uncovered { from, since });
    }
    let mut wrong = Vec::new();
    if let Err(why) = told(|| looked.agreement.compare(log, |one| wrong.push(one)))? {
        proof.add(Problem::Database(why));
    }
    wrong.sort_by_key(Disagreement::order);
    wrong.into_iter().for_each(|one| proof.add(Problem::Table(one)));
    match told(|| baseline::all(log.connection))? {
        Ok(all) => {
            baselines(log, &all, &|one| seal(one, looked.agreement.covers(one.stored.time)), &mut proof)?
        }
        Err(why) => proof.add(Problem::Database(why)),
    }
    if let Err(why) = told(|| records(log, &mut proof))? {
        proof.add(Problem::Database(why));
    }
    match told(damage)? {
        Ok(damage) => damage.into_iter().for_each(|why| proof.add(Problem::Database(why))),
        Err(why) => proof.add(Problem::Database(why)),
    }
    Ok(proof)
}

/// What a look at the database says, or what it says of its damage.
fn told<T>(look: impl FnOnce() -> Result<T, StoreError>) -> Result<Result<T, String>, StoreError> {
    match look() {
        Ok(answer) => Ok(Ok(answer)),
        Err(StoreError::Damaged(why)) => Ok(Err(why)),
        Err(error) if error.is_contradiction() => Ok(Err(error.to_string())),
        Err(error) => Err(error),
    }
}

/// What is wrong with the file as a file of SQLite: a table and its index that differ, say, or rows out of their order, which
/// some queries would miss.
pub(crate) fn damage(connection: &Connection) -> Result<Vec<String>, StoreError> {
    let mut wrong = schema::foreign(connection)?;
    let mut query = connection.prepare(&format!("PRAGMA integrity_check({MAX_DAMAGE})"))?;
    let rows = query.query_map([], |row| row.get::<_, String>(0))?;
    for row in rows {
        let text = row?;
        wrong.extend(text.lines().filter(|line| *line != "ok").map(str::to_owned));
    }
    Ok(wrong)
}

/// What the leaves say.
struct Looked {
    walk: Walk,
    agreement: Agreement,
    problems: Vec<Problem>,
}

fn walk(log: &LogSnapshot<'_>, trust: &Trust) -> Result<Looked, StoreError> {
    let mut problems = Vec::new();
    let note = match told(|| log.checkpoint())? {
        Ok(note) => note.unwrap_or_default(),
        Err(why) => {
            problems.push(Problem::Database(why));
            String::new()
        }
    };
    let mut walk = Walk::new(trust, note);
    match told(|| log.cosigned())? {
        Ok(cosigned) => walk.cosigned(trust, cosigned.iter().map(|one| one.whole().into_bytes())),
        Err(why) => problems.push(Problem::Database(why)),
    }
    let (mut agreement, mut edge, mut levels) = (Agreement::default(), Edge::new(), BTreeMap::new());
    let (mut next, mut last_key) = (0, None);
    let read = told(|| {
        log.each_leaf(0, |entry| {
            if entry.seq != next {
                problems.push(Problem::Gone { from: next, last: entry.seq.saturating_sub(1) });
                next = entry.seq;
            }
            next = next.saturating_add(1);
            match &entry.bytes {
                Some(bytes) => {
                    let (leaf, own) = (Leaf::parse(bytes), leaf_hash(bytes));
                    walk.parsed_leaf(&leaf, own, Some(entry.hash));
                    // Others are of newer programs, or have been told of by the walk.
                    if let Ok(leaf) = &leaf {
                        if matches!(leaf.event, Event::Key(_)) {
                            last_key = Some(entry.seq);
                        }
                        agreement.leaf(entry.seq, leaf, own);
                    }
                }
                None => walk.missing_leaf(entry.hash),
            }
            edge.push(entry.hash, |kept| {
                levels.insert((u64::from(kept.level), kept.index), kept.hash);
            });
            Ok::<_, StoreError>(())
        })
    })?;
    if let Err(why) = read {
        problems.push(Problem::Database(format!("leaf {next} cannot be read: {why}")));
    }
    if let Err(why) = told(|| rest(log, levels, last_key, &mut problems))? {
        problems.push(Problem::Database(why));
    }
    Ok(Looked { walk, agreement, problems })
}

/// What is kept of the log besides its leaves, for whoever appends.
fn rest(
    log: &LogSnapshot<'_>,
    mut levels: BTreeMap<(u64, u64), Digest>,
    last_key: Option<u64>,
    problems: &mut Vec<Problem>,
) -> Result<(), StoreError> {
    let mut query = log.connection.prepare("SELECT level, seq, hash FROM level ORDER BY level, seq")?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        let (level, index) = (natural(row, 0)?, natural(row, 1)?);
        if levels.remove(&(level, index)) != Some(row.get(2)?) {
            problems.push(Problem::Level { level, index });
        }
    }
    problems.extend(levels.into_keys().map(|(level, index)| Problem::Level { level, index }));
    let mut query = log.connection.prepare("SELECT id, last_key FROM checkpoint")?;
    let rows = query.query_map([], |row| Ok((natural(row, 0)?, natural(row, 1)?)))?;
    let rows: Vec<(u64, u64)> = rows.collect::<Result<_, _>>()?;
    // That there is none has been said.
    if !rows.is_empty() && rows != [(1, last_key.unwrap_or(0))] {
        problems.push(Problem::LastKey);
    }
    let hidden: i64 =
        log.connection.query_row("SELECT count(*) FROM leaf WHERE seq < 0", [], |row| row.get(0))?;
    if hidden != 0 {
        problems.push(Problem::Database("leaves have numbers below zero".into()));
    }
    Ok(())
}

/// The seal and the directory records of each baseline.
fn baselines(
    log: &LogSnapshot<'_>,
    all: &[Baseline],
    seal: &dyn Fn(&Baseline) -> Result<(), String>,
    proof: &mut Proof,
) -> Result<(), StoreError> {
    if all.is_empty() {
        proof.add(Problem::Database("it holds no baseline".into()));
    }
    let mut seen = HashSet::new();
    for baseline in all {
        proof.baselines += 1;
        let generation = baseline.generation;
        if let Err(why) = seal(baseline) {
            proof.add(Problem::Seal { generation, why });
        }
        let mut directories = vec![(None::<RawPath>, baseline.stored.root)];
        while let Some((path, hash)) = directories.pop() {
            if !seen.insert(hash) {
                continue;
            }
            proof.records += 1;
            let read = told(|| {
                let record = baseline::record(log.connection, &hash)?;
                for entry in Reader::new(&record)? {
                    let entry = entry?;
                    let path = match &path {
                        Some(path) => path.join(entry.name),
                        None => RawPath::new(entry.name),
                    };
                    directories.extend(entry.child.map(|child| (Some(path), child)));
                }
                Ok(())
            })?;
            if let Err(why) = read {
                let path = path.unwrap_or_else(|| RawPath::new(*b"/"));
                proof.add(Problem::Record { generation, path, why });
            }
        }
    }
    Ok(())
}

/// Every directory record that is stored, also those that no baseline needs.
fn records(log: &LogSnapshot<'_>, proof: &mut Proof) -> Result<(), StoreError> {
    let mut query = log.connection.prepare("SELECT hash, record FROM node")?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        let hash: Digest = row.get(0)?;
        let record = row.get_ref(1)?;
        if record.as_blob().is_ok_and(|record| directory_hash(record) == hash) {
            continue;
        }
        let is_said = |why: &str| why.contains(&hex(&hash));
        if !proof.problems.iter().any(|one| matches!(one, Problem::Record { why, .. } if is_said(why))) {
            proof.add(Problem::Changed(hash));
        }
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests;
