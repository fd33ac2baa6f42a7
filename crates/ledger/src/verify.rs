//! Verification of a whole log: leaf by leaf, against all that is known of it.
//!
//! In: what the verifier believes ([`Trust`]), the log's checkpoint, and its leaves in order, each with the hash that is
//! stored for it. Out: a [`Report`] that says how far the log is proven, and every contradiction.
//!
//! Roots that somebody has signed are *anchors*: those of checkpoints that were kept, those in the announcements of
//! keys, and that of the log's own checkpoint. At each anchor the tree so far must have its root. When it has by the stored
//! hashes, a leaf whose bytes have another hash is the one that was altered; when it has by the bytes, it was the hash.
//! When neither gives the root, nothing after the last anchor that did can be trusted.

mod problem;

pub use problem::{Anchor, Problem};

use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::cosignature::{WitnessKey, cosignatures};
use crate::epoch::{Announcement, Chain, ChainError, Position};
use crate::leaf::{Event, Leaf, LeafError};
use crate::merkle::{Edge, leaf_hash};
use crate::note::UnverifiedNote;
use crate::vkey::{Name, VerifierKey};
use std::time::Duration;
use waxseal_model::{Digest, Timestamp};

/// No rule of retention deletes what is younger. So whoever takes a machine cannot have a rule delete what they did there,
/// unless they wait, or set the clock, which shows.
pub const RETENTION_FLOOR: Duration = Duration::from_secs(7 * 24 * 3600);

/// How many contradictions are listed; the others are counted.
pub const MAX_PROBLEMS: usize = 1000;

/// What a verifier believes, from somewhere else than the machine that is examined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trust {
    host: VerifierKey,
    first: Option<VerifierKey>,
    kept: Vec<Checkpoint>,
    witnesses: Vec<WitnessKey>,
}

impl Trust {
    /// Belief in a host's key. The log's first leaf is signed by it, and nothing tells that log from another one that the
    /// same key began: keep a checkpoint, or the verification file.
    pub fn new(host: VerifierKey) -> Trust {
        Trust { host, first: None, kept: Vec::new(), witnesses: Vec::new() }
    }

    pub(crate) fn with_first(host: VerifierKey, first: VerifierKey, checkpoint: Checkpoint) -> Trust {
        Trust { host, first: Some(first), kept: vec![checkpoint], witnesses: Vec::new() }
    }

    /// The host's key.
    pub fn host(&self) -> &VerifierKey {
        &self.host
    }

    /// Adds a witness: a checkpoint that it cosigned is believed like one that was kept, and must have come with the log.
    pub fn believe(&mut self, witness: WitnessKey) {
        if !self.witnesses.contains(&witness) {
            self.witnesses.push(witness);
        }
    }

    /// The witnesses that are believed.
    pub fn witnesses(&self) -> &[WitnessKey] {
        &self.witnesses
    }

    /// The checkpoints that were kept.
    pub fn kept(&self) -> &[Checkpoint] {
        &self.kept
    }

    /// Adds a checkpoint that was kept.
    ///
    /// # Errors
    /// When the host's key has not signed it.
    pub fn keep(&mut self, note: impl AsRef<[u8]>) -> Result<(), CheckpointError> {
        let checkpoint = Checkpoint::open(note, &[&self.host])?;
        self.kept.push(checkpoint);
        Ok(())
    }
}

/// What a witness that is believed says of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cosigned {
    /// Which.
    pub witness: Name,
    /// When it said so last, by its own clock.
    pub time: Timestamp,
    /// How many leaves its checkpoint covers.
    pub size: u64,
}

/// What came out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// How many leaves were looked at.
    pub size: u64,
    /// The root over their stored hashes.
    pub root: Digest,
    /// The leaves before this index are those that were recorded, but for those that [`Report::problems`] names.
    pub proven: u64,
    /// The time of the first leaf that is not proven, if there is one.
    pub unproven_since: Option<Timestamp>,
    /// The time of the last leaf.
    pub last: Option<Timestamp>,
    /// The log's own checkpoint, if it is one.
    pub checkpoint: Option<Checkpoint>,
    /// What the witnesses that are believed say, each at most once.
    pub cosigned: Vec<Cosigned>,
    /// The number of the last epoch.
    pub epoch: Option<u64>,
    /// Leaves of versions or kinds that this program does not know: proven, and not understood.
    pub unknown: u64,
    /// Leaves whose details were deleted, and a later leaf says that the rules of retention did.
    pub deleted: u64,
    /// How often the clock was set back.
    pub clock_set_back: u64,
    /// Keys that the host's key announced in the middle of the log, before a checkpoint that was kept.
    pub restarts: Vec<u64>,
    /// The contradictions, in the order of the leaves; at most [`MAX_PROBLEMS`].
    pub problems: Vec<Problem>,
    /// How many more there are.
    pub more: u64,
}

impl Report {
    /// Whether everything is proven.
    pub fn is_proven(&self) -> bool {
        self.problems.is_empty() && self.more == 0
    }
}

/// What is compared, the largest last to be looked at; at the same size what was kept before what the machine says of itself.
fn sort(anchors: &mut [(u64, Digest, Anchor)]) {
    anchors.sort_by_key(|(size, _, anchor)| (std::cmp::Reverse(*size), *anchor != Anchor::Own));
}

/// The checkpoint of this host that the witness has cosigned, and when; none when it has not.
fn cosigned(
    note: &[u8],
    host: &VerifierKey,
    witness: &WitnessKey,
) -> Result<Option<(Checkpoint, Timestamp)>, CheckpointError> {
    // That the log's own is no checkpoint has been said.
    let Ok(parsed) = UnverifiedNote::parse(note) else { return Ok(None) };
    let Some(own) = cosignatures(&parsed, std::slice::from_ref(witness))?.pop() else { return Ok(None) };
    // The format has no later times than these.
    let time = Timestamp::new(i64::try_from(own.time).unwrap_or(i64::MAX), 0);
    Ok(Some((Checkpoint::open(note, &[host])?, time)))
}

/// A log on its way through verification.
#[derive(Debug, Clone)]
pub struct Walk {
    first: Option<VerifierKey>,
    chain: Chain,
    /// The leaf from which on keys cannot be followed.
    lost: bool,
    note: Vec<u8>,
    own: Option<Checkpoint>,
    /// What is still to be compared, the largest first.
    anchors: Vec<(u64, Digest, Anchor)>,
    /// By the hashes that are stored.
    edge: Edge,
    /// By the bytes, since they first differed.
    by_bytes: Option<Edge>,
    /// Leaves since the last anchor whose bytes have another hash.
    differing: Vec<(u64, Option<Timestamp>)>,
    /// Leaves whose bytes are not there.
    missing: Vec<Missing>,
    pruned: Vec<Named>,
    proven: u64,
    unproven_since: Option<Timestamp>,
    rewritten: bool,
    last: Option<Timestamp>,
    restarted: Vec<(u64, Option<Timestamp>)>,
    report: Notes,
}

/// Leaves whose bytes are not there, in a row.
#[derive(Debug, Clone, Copy)]
struct Missing {
    from: u64,
    end: u64,
    /// They were recorded no earlier than the leaf before them.
    since: Option<Timestamp>,
}

/// Leaves that another one says were deleted.
#[derive(Debug, Clone, Copy)]
struct Named {
    from: u64,
    end: u64,
    /// Which one, and its time.
    by: u64,
    time: Timestamp,
}

/// What the report says that nothing else depends on.
#[derive(Debug, Clone, Default)]
struct Notes {
    cosigned: Vec<Cosigned>,
    unknown: u64,
    clock_set_back: u64,
    restarts: Vec<u64>,
    problems: Vec<Problem>,
    more: u64,
}

impl Notes {
    fn add(&mut self, problem: Problem) {
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(problem);
        } else {
            self.more += 1;
        }
    }
}

impl Walk {
    /// Begins with what is believed and the log's own checkpoint, which is verified when its size is reached.
    pub fn new(trust: &Trust, checkpoint: impl Into<Vec<u8>>) -> Walk {
        let note = checkpoint.into();
        let mut report = Notes::default();
        let claimed = UnverifiedNote::parse(&note).map_err(CheckpointError::Note);
        let own = match claimed.and_then(|note| Checkpoint::claimed(&note)) {
            Ok(checkpoint) => Some(checkpoint),
            Err(error) => {
                report.add(Problem::Checkpoint(error));
                None
            }
        };
        let kept = trust.kept.iter().map(|kept| (kept.size, kept.root, Anchor::Kept));
        let mut anchors: Vec<_> = kept.collect();
        anchors.extend(own.as_ref().map(|own| (own.size, own.root, Anchor::Own)));
        sort(&mut anchors);
        Walk {
            first: trust.first.clone(),
            chain: Chain::new(trust.host.clone()),
            lost: false,
            note,
            own,
            anchors,
            edge: Edge::new(),
            by_bytes: None,
            differing: Vec::new(),
            missing: Vec::new(),
            pruned: Vec::new(),
            proven: 0,
            unproven_since: None,
            rewritten: false,
            last: None,
            restarted: Vec::new(),
            report,
        }
    }

    /// Takes the checkpoints that came with the log besides its own, and what the witnesses that are believed say of all of
    /// them. Before the first leaf.
    pub fn cosigned(&mut self, trust: &Trust, others: impl IntoIterator<Item = Vec<u8>>) {
        if trust.witnesses.is_empty() {
            return;
        }
        let mut notes = vec![self.note.clone()];
        notes.extend(others);
        for witness in &trust.witnesses {
            let (mut newest, mut failed) = (None::<Cosigned>, false);
            for note in &notes {
                match cosigned(note, trust.host(), witness) {
                    Ok(Some((checkpoint, time))) => {
                        let Checkpoint { size, root, .. } = checkpoint;
                        self.anchors.push((size, root, Anchor::Cosigned));
                        if newest.as_ref().is_none_or(|newest| (newest.size, newest.time) < (size, time)) {
                            newest = Some(Cosigned { witness: witness.name().clone(), time, size });
                        }
                    }
                    Ok(None) => {}
                    Err(error) => {
                        failed = true;
                        self.report.add(Problem::Cosigned { witness: witness.name().clone(), error });
                    }
                }
            }
            if newest.is_none() && !failed {
                self.report.add(Problem::NotCosigned(witness.name().clone()));
            }
            self.report.cosigned.extend(newest);
        }
        sort(&mut self.anchors);
    }

    /// Adds what whoever reads the leaves has found.
    pub(crate) fn add(&mut self, problem: Problem) {
        self.report.add(problem);
    }

    /// How many leaves the log's own checkpoint says that there are.
    pub fn claimed_size(&self) -> Option<u64> {
        self.own.as_ref().map(|own| own.size)
    }

    /// How many leaves have been looked at.
    pub fn size(&self) -> u64 {
        self.edge.size()
    }

    /// The next leaf, with the hash that is stored for it where one is.
    pub fn leaf(&mut self, bytes: &[u8], stored: Option<Digest>) {
        let own = leaf_hash(bytes);
        self.hashed_leaf(bytes, own, stored);
    }

    /// [`Walk::leaf`] for a caller that has hashed the leaf: `own` must be [`leaf_hash`] of the bytes.
    pub fn hashed_leaf(&mut self, bytes: &[u8], own: Digest, stored: Option<Digest>) {
        self.parsed_leaf(&Leaf::parse(bytes), own, stored);
    }

    /// [`Walk::leaf`] for a caller that has also parsed it: `own` must be [`leaf_hash`] of the bytes that were parsed.
    pub fn parsed_leaf(&mut self, leaf: &Result<Leaf, LeafError>, own: Digest, stored: Option<Digest>) {
        self.compare_anchors();
        let (index, hash) = (self.edge.size(), stored.unwrap_or(own));
        let time = match leaf {
            Ok(leaf) => Some(leaf.time),
            Err(LeafError::Unknown { time, .. }) => Some(*time),
            Err(LeafError::Wire(_)) => None,
        };
        if own != hash {
            self.by_bytes.get_or_insert_with(|| self.edge.clone());
            self.differing.push((index, time));
        }
        match leaf {
            Ok(Leaf { event: Event::Key(announcement), time }) => self.key(index, *time, announcement),
            _ if index == 0 => self.report.add(Problem::FirstKey),
            _ => {}
        }
        if self.proven == index {
            self.unproven_since = time;
        }
        if own == hash {
            self.content(index, leaf, time);
        }
        self.push(hash, own);
    }

    /// The next leaf, of which only the hash is there.
    pub fn missing_leaf(&mut self, stored: Digest) {
        self.compare_anchors();
        let index = self.edge.size();
        if index == 0 {
            self.report.add(Problem::FirstKey);
        }
        match self.missing.last_mut() {
            Some(row) if row.end == index => row.end += 1,
            _ => self.missing.push(Missing { from: index, end: index + 1, since: self.last }),
        }
        self.push(stored, stored);
    }

    fn push(&mut self, hash: Digest, own: Digest) {
        if let Some(edge) = &mut self.by_bytes {
            edge.push(own, |_| {});
        }
        self.edge.push(hash, |_| {});
    }

    /// What only the bytes that were recorded can say.
    fn content(&mut self, index: u64, leaf: &Result<Leaf, LeafError>, time: Option<Timestamp>) {
        match leaf {
            Ok(Leaf { event: Event::Clock, .. }) => self.report.clock_set_back += 1,
            Ok(leaf) => {
                if self.last.is_some_and(|last| leaf.time < last) {
                    self.report.add(Problem::TimeBack { index, time: leaf.time });
                }
                if let Event::Pruned(pruned) = &leaf.event {
                    let rows = pruned
                        .rows
                        .iter()
                        .map(|(from, count)| (*from, from.saturating_add(*count).min(index)));
                    let named = rows.map(|(from, end)| Named { from, end, by: index, time: leaf.time });
                    self.pruned.extend(named);
                }
            }
            Err(LeafError::Unknown { .. }) => self.report.unknown += 1,
            Err(LeafError::Wire(error)) => self.report.add(Problem::NoLeaf { index, error: *error }),
        }
        self.last = time.or(self.last);
    }

    fn key(&mut self, index: u64, time: Timestamp, announcement: &Announcement) {
        let by_bytes = self.by_bytes.as_ref().map(Edge::root);
        let root = by_bytes.filter(|root| *root == announcement.root).unwrap_or_else(|| self.edge.root());
        let followed = self.chain.follow(announcement, &Position { size: index, root, time });
        if index == 0
            && let (Some(first), Some((_, current))) = (&self.first, self.chain.current())
            && first != current
        {
            self.report.add(Problem::OtherFirstKey);
        }
        match followed {
            // Without the keys before, nobody knows whose this one is.
            _ if self.lost => {}
            Ok(()) | Err(ChainError::Root) => self.settle(announcement.root, Anchor::Key(announcement.epoch)),
            Err(ChainError::Restart) => self.restarted.push((index, Some(time))),
            Err(error) => {
                self.lost = true;
                self.report.add(Problem::Key { index, time, error });
            }
        }
    }

    fn compare_anchors(&mut self) {
        let size = self.edge.size();
        while let Some((at, root, anchor)) = self.anchors.pop_if(|(at, ..)| *at <= size) {
            if at < size {
                continue;
            }
            if anchor == Anchor::Own && !self.own_is_signed() {
                continue;
            }
            self.settle(root, anchor);
        }
    }

    /// Whether the log's own checkpoint is signed by the keys of the host and of the epoch.
    fn own_is_signed(&mut self) -> bool {
        let (host, epoch) = (self.chain.host(), self.chain.current().map(|(_, key)| key));
        let keys: Vec<&VerifierKey> = [host].into_iter().chain(epoch.filter(|_| !self.lost)).collect();
        match Checkpoint::open(&self.note, &keys) {
            // That the keys cannot be followed has been said; the host's alone proves nothing more.
            Ok(_) => epoch.is_some() && !self.lost,
            Err(error) => {
                self.report.add(Problem::Checkpoint(error));
                false
            }
        }
    }

    /// The tree so far should have this root.
    fn settle(&mut self, root: Digest, anchor: Anchor) {
        let size = self.edge.size();
        if self.edge.root() == root {
            for (index, time) in std::mem::take(&mut self.differing) {
                self.report.add(Problem::Altered { index, time });
            }
            self.by_bytes = None;
        } else if self.by_bytes.as_ref().is_some_and(|edge| edge.root() == root) {
            for (index, _) in std::mem::take(&mut self.differing) {
                self.report.add(Problem::Hash { index });
            }
            self.edge = self.by_bytes.take().unwrap_or_default();
        } else {
            if !self.rewritten {
                self.rewritten = true;
                let (from, time) = (self.proven, self.unproven_since);
                self.report.add(Problem::Rewritten { from, time, size, anchor });
            }
            return;
        }
        let is_kept = matches!(anchor, Anchor::Kept | Anchor::Cosigned);
        let vouched = is_kept || (self.restarted.is_empty() && !self.rewritten);
        if vouched {
            self.proven = self.proven.max(size);
            self.unproven_since = None;
        }
        if is_kept {
            let accepted = self.restarted.drain(..).map(|(index, _)| index);
            self.report.restarts.extend(accepted);
        }
    }

    /// What is missing must have been named by a later leaf, and have been old enough. How many leaves were.
    fn compare_missing(&mut self) -> u64 {
        let (missing, mut named) = (std::mem::take(&mut self.missing), std::mem::take(&mut self.pruned));
        named.sort_unstable_by_key(|one| (one.from, one.end));
        let (mut deleted, mut next) = (0, 0);
        for row in missing {
            let mut at = row.from;
            while at < row.end {
                while named.get(next).is_some_and(|one| one.end <= at) {
                    next += 1;
                }
                let Some(one) = named.get(next).filter(|one| one.from < row.end) else { break };
                if one.from > at {
                    self.report.add(Problem::Missing { from: at, end: one.from });
                    at = one.from;
                }
                let end = one.end.min(row.end);
                let age = |since: Timestamp| one.time.as_micros().saturating_sub(since.as_micros());
                if row.since.is_some_and(|since| age(since) < RETENTION_FLOOR.as_micros() as i64) {
                    self.report.add(Problem::TooYoung { from: at, end, by: one.by });
                }
                deleted += end - at;
                at = end;
            }
            if at < row.end {
                self.report.add(Problem::Missing { from: at, end: row.end });
            }
        }
        deleted
    }

    /// The end of the leaves.
    pub fn finish(mut self) -> Report {
        self.compare_anchors();
        let size = self.edge.size();
        for (index, time) in std::mem::take(&mut self.differing) {
            self.report.add(Problem::Differs { index, time });
        }
        for (index, time) in std::mem::take(&mut self.restarted) {
            self.report.add(Problem::Restarted { index, time });
        }
        for (at, _, anchor) in std::mem::take(&mut self.anchors).into_iter().rev() {
            if anchor == Anchor::Own
                && let Err(error) = Checkpoint::open(&self.note, &[self.chain.host()])
            {
                self.report.add(Problem::Checkpoint(error));
            }
            self.report.add(Problem::Short { size, expected: at, anchor });
        }
        let deleted = self.compare_missing();
        if size == 0 {
            self.report.add(Problem::FirstKey);
        }
        let Notes { cosigned, unknown, clock_set_back, restarts, problems, more } = self.report;
        Report {
            size,
            root: self.edge.root(),
            proven: self.proven,
            unproven_since: self.unproven_since,
            last: self.last,
            checkpoint: self.own,
            cosigned,
            epoch: self.chain.current().map(|(number, _)| number),
            unknown,
            deleted,
            clock_set_back,
            restarts,
            problems,
            more,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
