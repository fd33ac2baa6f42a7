//! Which contents are kept, and where they come from: what is sealed, and what is found in its place.
//!
//! In: file states under watches that keep contents. Out: contents for the evidence store, each proven to be that of the state by its
//! hash. A content is kept once, however many files have it. There is a budget for all of them; when it is used up, the
//! oldest go that neither the newest baseline nor an open change needs, and when all are needed, no more are kept.

use crate::coverage::Coverage;
use crate::error::EngineError;
use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use waxseal_ledger::Hasher;
use waxseal_model::{ChangeKind, Digest, FileState, FileType, RawPath};
use waxseal_observe::{content, now};
use waxseal_policy::Watch;
use waxseal_store::{Approved, Content, ContentWriter, Findings, RecordSink, Store, StoreError};

/// How many compressed bytes wait in memory before they are stored.
const PENDING: u64 = 16 << 20;

/// How many contents of new files one look keeps: whoever unpacks an archive is not to fill the evidence with it.
const MOST_ADDED: usize = 1000;

/// Whether the content of such a file is to be kept.
fn is_kept(watch: &Watch, state: &FileState) -> bool {
    state.file_type == FileType::File && watch.keep.content && state.size <= watch.keep.max_file
}

/// The content of a file, if it is still that of its state.
fn fetch(coverage: &Coverage, path: &RawPath, state: &FileState) -> Result<Option<Content>, StoreError> {
    let mut writer = ContentWriter::default();
    let mut written = Ok(());
    let whole = content::read(path, coverage.anchor(path).as_ref(), state.size, |piece| {
        if written.is_ok() {
            written = writer.write(piece);
        }
    });
    written?;
    if !whole.unwrap_or(false) {
        return Ok(None);
    }
    let content = writer.finish()?;
    Ok(Some(content).filter(|content| state.digests.sha256.as_ref() == Some(content.hash())))
}

/// The bytes of a file, if they are still those of its state.
pub fn on_disk(coverage: &Coverage, path: &RawPath, state: &FileState) -> Option<Vec<u8>> {
    let (mut bytes, mut hasher) = (Vec::new(), Hasher::default());
    let whole = content::read(path, coverage.anchor(path).as_ref(), state.size, |piece| {
        hasher.update(piece);
        bytes.extend_from_slice(piece);
    });
    (whole.is_ok_and(|whole| whole) && Some(hasher.finish()) == state.digests.sha256).then_some(bytes)
}

/// Why a content is not kept, as far as the rules say.
pub fn why_not(coverage: &Coverage, path: &RawPath, state: &FileState) -> String {
    match coverage.owner(path).map(|owner| &owner.watch.keep) {
        Some(keep) if !keep.content => "is not kept: its watch has keep = { content = false }".into(),
        Some(keep) if state.size > keep.max_file => {
            "is not kept: it is larger than its watch's max_file".into()
        }
        _ => "is not kept".into(),
    }
}

/// What came of keeping the contents of what is sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KeptCount {
    /// Files whose content is kept.
    pub files: u64,
    /// Files that are larger than their watch's limit.
    pub too_large: u64,
    /// Files for which the budget has no room.
    pub no_room: u64,
    /// Files that moved before they could be read again, or could not be read.
    pub missed: u64,
}

/// Keeps contents while a baseline is taken, from many threads.
pub(crate) struct SealKeeper<'a> {
    coverage: &'a Coverage,
    sink: &'a dyn RecordSink,
    room: u64,
    used: AtomicU64,
    files: AtomicU64,
    too_large: AtomicU64,
    no_room: AtomicU64,
    missed: AtomicU64,
}

impl<'a> SealKeeper<'a> {
    /// With the contents that are kept already using so many bytes of the budget.
    pub fn new(coverage: &'a Coverage, sink: &'a dyn RecordSink, used: u64) -> SealKeeper<'a> {
        SealKeeper {
            coverage,
            sink,
            room: coverage.config().evidence.budget,
            used: AtomicU64::new(used),
            files: AtomicU64::default(),
            too_large: AtomicU64::default(),
            no_room: AtomicU64::default(),
            missed: AtomicU64::default(),
        }
    }

    /// Whether contents of this watch are kept.
    pub fn wants(watch: &Watch) -> bool {
        watch.keep.content
    }

    /// Keeps what was read for a baseline just now.
    pub fn read(&self, watch: &Watch, bytes: &[u8]) -> Result<(), StoreError> {
        if !Self::wants(watch) || bytes.len() as u64 > watch.keep.max_file || self.is_full() {
            return Ok(());
        }
        let mut writer = ContentWriter::default();
        writer.write(bytes)?;
        self.put(&writer.finish()?).map(drop)
    }

    /// Keeps the content of a file that is sealed, unless that has been done.
    pub fn sealed(&self, watch: &Watch, path: &RawPath, state: &FileState) -> Result<(), StoreError> {
        let Some(hash) = state.digests.sha256.filter(|_| Self::wants(watch)) else { return Ok(()) };
        let counter = if state.size > watch.keep.max_file {
            &self.too_large
        } else if self.sink.is_kept(&hash)? {
            &self.files
        } else if self.is_full() {
            &self.no_room
        } else {
            match fetch(self.coverage, path, state)? {
                None => &self.missed,
                Some(content) if self.put(&content)? => &self.files,
                Some(_) => &self.no_room,
            }
        };
        counter.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.used.load(Ordering::Relaxed) >= self.room
    }

    /// Whether there was room for it.
    fn put(&self, content: &Content) -> Result<bool, StoreError> {
        let stored = content.stored();
        if self.used.fetch_add(stored, Ordering::Relaxed).saturating_add(stored) > self.room {
            self.used.fetch_sub(stored, Ordering::Relaxed);
            return Ok(false);
        }
        if !self.sink.keep(content)? {
            self.used.fetch_sub(stored, Ordering::Relaxed);
        }
        Ok(true)
    }

    pub fn count(self) -> KeptCount {
        KeptCount {
            files: self.files.into_inner(),
            too_large: self.too_large.into_inner(),
            no_room: self.no_room.into_inner(),
            missed: self.missed.into_inner(),
        }
    }
}

/// Gathers contents that are to be recorded together with what they belong to.
struct Gathering<'a> {
    store: &'a Store,
    coverage: &'a Coverage,
    pending: Vec<Content>,
    hashes: HashSet<Digest>,
    bytes: u64,
}

impl Gathering<'_> {
    /// Keeps the content of a file, if it is to be kept and is not yet.
    fn add(&mut self, watch: &Watch, path: &RawPath, state: &FileState) -> Result<(), EngineError> {
        let Some(hash) = state.digests.sha256.filter(|_| is_kept(watch, state)) else { return Ok(()) };
        if self.hashes.contains(&hash) || self.store.kept(&hash)?.is_some() {
            return Ok(());
        }
        let budget = self.coverage.config().evidence.budget;
        let room =
            |gathering: &Self, bytes: u64| gathering.store.make_room(gathering.bytes + bytes, budget, now());
        // What does not fit at all is not read.
        if !room(self, 0)? {
            return Ok(());
        }
        let Some(content) = fetch(self.coverage, path, state)? else { return Ok(()) };
        if !room(self, content.stored())? {
            return Ok(());
        }
        self.bytes += content.stored();
        self.hashes.insert(hash);
        self.pending.push(content);
        if self.bytes > PENDING {
            self.store.keep_suspect(&self.pending, now())?;
            (self.pending, self.bytes) = (Vec::new(), 0);
            self.hashes.clear();
        }
        Ok(())
    }
}

/// The contents of what a look found, to be recorded with it; where they are many, most have been stored already. That some could not be
/// kept does not keep the findings from being recorded.
pub(crate) fn of_findings(
    store: &Store,
    coverage: &Coverage,
    findings: &Findings,
) -> Result<Vec<Content>, EngineError> {
    let mut gathering = gathering(store, coverage);
    let (mut added, mut failed) = (0, None);
    findings.each(|found| {
        let Some(watch) = coverage.watch_named(&found.watch).filter(|watch| SealKeeper::wants(watch)) else {
            return;
        };
        let Some(after) = found.after.as_ref().filter(|_| failed.is_none()) else { return };
        if found.kind == ChangeKind::Added {
            added += 1;
            if added > MOST_ADDED {
                return;
            }
        }
        failed = gathering.add(watch, &found.path, &after.state).err();
    })?;
    match failed {
        // Neither is anything else recorded then.
        Some(EngineError::Store(StoreError::Full | StoreError::Busy(_))) | None => Ok(gathering.pending),
        Some(error) => Err(error),
    }
}

/// The contents of what was found at these paths, as far as they are not kept yet.
pub(crate) fn of_found<'f>(
    store: &Store,
    coverage: &Coverage,
    found: impl Iterator<Item = (&'f RawPath, &'f FileState)>,
) -> Result<Vec<Content>, EngineError> {
    let mut gathering = gathering(store, coverage);
    for (path, state) in found {
        if let Some(owner) = coverage.owner(path) {
            gathering.add(owner.watch, path, state)?;
        }
    }
    Ok(gathering.pending)
}

/// The contents of what is about to be approved, as far as they are not kept yet.
pub(crate) fn of_approved(
    store: &Store,
    coverage: &Coverage,
    approved: &[Approved],
) -> Result<Vec<Content>, EngineError> {
    let states = approved.iter().filter_map(|one| Some((&one.change.path, one.state.as_ref()?)));
    of_found(store, coverage, states)
}

fn gathering<'a>(store: &'a Store, coverage: &'a Coverage) -> Gathering<'a> {
    Gathering { store, coverage, pending: Vec::new(), hashes: HashSet::new(), bytes: 0 }
}
