//! Taking a baseline: everything that is covered is looked at, recorded, hashed and signed.

use crate::coverage::Coverage;
use crate::error::EngineError;
use crate::evidence::{KeptCount, SealKeeper};
use crate::plan::Plan;
use crate::tree::{self, Tree};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use waxseal_ledger::{Name, Seal, Signer, SigningKey, directory_hash, rules_hash};
use waxseal_model::record::Writer;
use waxseal_model::{Digest, FileType, RawPath, Timestamp};
use waxseal_observe::{Entry, FileError, Look, Node, Options, Progress, Visitor, now, scan};
use waxseal_policy::ChangeRule;
use waxseal_store::{Baseline, Builder, HostKeys, NewBaseline, RecordSink, StateDir, Store, StoreError};

/// What could not be looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// Where, if it is one place.
    pub path: Option<RawPath>,
    /// Why, for people.
    pub message: String,
}

impl Trouble {
    /// Trouble at a path.
    pub fn at(path: RawPath, message: impl Into<String>) -> Trouble {
        Trouble { path: Some(path), message: message.into() }
    }
}

/// What was sealed.
#[derive(Debug)]
pub struct Sealed {
    /// The open store.
    pub store: Store,
    /// The baseline as stored.
    pub baseline: NewBaseline,
    /// What could not be read, and is sealed by what stat alone shows.
    pub troubles: Vec<Trouble>,
    /// What came of keeping contents.
    pub kept: KeptCount,
}

/// Who seals, and with what words.
#[derive(Debug)]
pub struct Sealer<'a> {
    /// Signs the seal; its name is the baseline's origin. The host's key, which signs the log, signs it too.
    pub key: &'a dyn Signer,
    /// The name of this host's log, which begins with its first baseline.
    pub log: Name,
    /// Who, for the list of baselines.
    pub who: String,
    /// Why, for the list of baselines.
    pub note: String,
}

/// What a directory's walk knows.
pub struct SealDir {
    /// Index of the root in the coverage; unused for the list of roots.
    root: usize,
}

struct Sealing<'a> {
    coverage: &'a Coverage,
    sink: &'a dyn RecordSink,
    keeper: SealKeeper<'a>,
    /// Whether any watch keeps contents.
    keeps: bool,
    /// Roots that were sealed before and stay as they are.
    held: BTreeMap<RawPath, tree::Sealed>,
    progress: &'a Progress,
    entries: AtomicU64,
    files: AtomicU64,
    troubles: Mutex<Vec<Trouble>>,
    failure: Mutex<Option<StoreError>>,
}

/// Takes and seals the first baseline of a state directory. Either all of it is stored durably, or nothing.
///
/// # Errors
/// When there is a baseline already, when the disk is full or fails, or when the scan was stopped.
pub fn seal_first(
    dir: &StateDir,
    coverage: &Coverage,
    sealer: &Sealer<'_>,
    options: &Options,
    progress: &Progress,
) -> Result<Sealed, EngineError> {
    let builder = Builder::new(dir)?;
    let keys = HostKeys::create(dir, sealer.log.clone(), sealer.key.verifier_key())?;
    let roots = coverage.roots().iter().map(|root| root.path.clone()).collect();
    let taken = take(coverage, &builder, 0, BTreeMap::new(), roots, options, progress)?;
    let kept = taken.kept;
    let (baseline, troubles) = taken.sign(coverage, sealer, keys.host(), None, progress)?;
    let store = builder.finish(&baseline, &keys)?;
    Ok(Sealed { store, baseline, troubles, kept })
}

/// Seals roots that the baseline does not hold yet, beside those that it holds, as its next generation. What
/// was sealed before stays as it is. Either all of it is stored durably, or nothing.
///
/// # Errors
/// When the disk is full or fails, or when the scan was stopped.
pub fn seal_more(
    store: &Store,
    baseline: &Baseline,
    coverage: &Coverage,
    roots: Vec<RawPath>,
    sealer: &Sealer<'_>,
    options: &Options,
    progress: &Progress,
) -> Result<(NewBaseline, Vec<Trouble>), EngineError> {
    let held = Tree::open(store, &baseline.stored.root)?.roots().clone();
    let host = store.host_key(now())?;
    let used = store.evidence_size()?.stored;
    let extension = store.extend()?;
    let taken = take(coverage, &extension, used, held, roots, options, progress)?;
    let (next, troubles) = taken.sign(coverage, sealer, &host, Some(baseline), progress)?;
    extension.finish(store, &next)?;
    Ok((next, troubles))
}

/// A tree of directory records that has been stored and not signed.
struct Taken {
    root: Digest,
    scan_start: Timestamp,
    entries: u64,
    files: u64,
    troubles: Vec<Trouble>,
    kept: KeptCount,
}

/// Scans `roots` into `sink`, which keeps contents of so many bytes already; the record of roots holds them and those of `held`.
fn take(
    coverage: &Coverage,
    sink: &dyn RecordSink,
    used: u64,
    held: BTreeMap<RawPath, tree::Sealed>,
    roots: Vec<RawPath>,
    options: &Options,
    progress: &Progress,
) -> Result<Taken, EngineError> {
    let scan_start = now();
    let visitor = Sealing {
        coverage,
        sink,
        keeper: SealKeeper::new(coverage, sink, used),
        keeps: coverage.config().watches.iter().any(SealKeeper::wants),
        held,
        progress,
        entries: AtomicU64::new(0),
        files: AtomicU64::new(0),
        troubles: Mutex::default(),
        failure: Mutex::default(),
    };
    let roots = roots.into_iter().map(|path| waxseal_observe::Root { path }).collect();
    let options = Options { bottom_up: true, ..*options };
    let root = scan(roots, SealDir { root: 0 }, &visitor, &options, progress);
    if let Some(error) = visitor.failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(error.into());
    }
    let mut troubles = visitor.troubles.into_inner().unwrap_or_else(PoisonError::into_inner);
    troubles.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(Taken {
        root: root.ok_or(EngineError::Stopped)?,
        scan_start,
        entries: visitor.entries.into_inner(),
        files: visitor.files.into_inner(),
        troubles,
        kept: visitor.keeper.count(),
    })
}

impl Taken {
    fn sign(
        self,
        coverage: &Coverage,
        sealer: &Sealer<'_>,
        host: &SigningKey,
        previous: Option<&Baseline>,
        progress: &Progress,
    ) -> Result<(NewBaseline, Vec<Trouble>), EngineError> {
        let before = previous.map(|baseline| &baseline.stored);
        let counts = [
            self.entries + before.map_or(0, |before| before.entries),
            self.files + before.map_or(0, |before| before.files),
            progress.bytes.load(Ordering::Relaxed) + before.map_or(0, |before| before.bytes),
        ];
        let next = Next {
            previous,
            root: self.root,
            counts,
            rules: waxseal_policy::show(coverage.config()),
            scan_start: self.scan_start,
        };
        Ok((next.sign(sealer, host)?, self.troubles))
    }
}

/// A baseline that is not signed yet.
pub(crate) struct Next<'a> {
    /// The one that it follows.
    pub previous: Option<&'a Baseline>,
    /// Its root hash.
    pub root: Digest,
    /// How many entries and regular files it has, and how many bytes those.
    pub counts: [u64; 3],
    /// By which it was taken.
    pub rules: String,
    /// When what is new in it began to be looked at.
    pub scan_start: Timestamp,
}

impl Next<'_> {
    /// Signs it with the sealing key and that of the host.
    pub fn sign(self, sealer: &Sealer<'_>, host: &SigningKey) -> Result<NewBaseline, EngineError> {
        let Next { previous, root, counts: [entries, files, bytes], rules, scan_start } = self;
        let time = now();
        let before = previous.map(|baseline| &baseline.stored);
        let seal = Seal {
            origin: sealer.key.verifier_key().name().clone(),
            generation: previous.map_or(1, |previous| previous.generation + 1),
            root,
            entries,
            time,
            previous: before.map(|before| before.root),
            rules: rules_hash(&rules),
        };
        Ok(NewBaseline {
            root,
            seal: seal.sign_by(&[sealer.key, host])?,
            rules,
            time,
            // The earliest start: what was sealed then may have changed from then on.
            scan_start: before.map_or(scan_start, |before| before.scan_start.min(scan_start)),
            who: sealer.who.clone(),
            note: sealer.note.clone(),
            entries,
            files,
            bytes,
        })
    }
}

impl Sealing<'_> {
    fn trouble(&self, path: RawPath, message: String) {
        let mut troubles = self.troubles.lock().unwrap_or_else(PoisonError::into_inner);
        troubles.push(Trouble::at(path, message));
    }

    fn fail(&self, error: StoreError) {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        self.progress.stop.store(true, Ordering::Relaxed);
    }
}

impl Visitor for Sealing<'_> {
    type Dir = SealDir;

    fn wants_stat(&self, _: &Node<SealDir>) -> bool {
        false
    }

    fn plan(&self, node: &Node<SealDir>, entries: &mut Vec<Entry<SealDir>>) {
        let plan = Plan::of(self.coverage, node, node.context.root);
        plan.retain_covered(entries);
        for entry in entries {
            let Some(file_type) = entry.file_type else { continue };
            let Some((root, watch)) = plan.rules_of(&entry.name) else { continue };
            entry.look = match watch.change {
                ChangeRule::AppendOnly if file_type == FileType::File => Look::Growing { prefix: None },
                _ => Look::Full,
            };
            if entry.state.as_ref().is_some_and(|state| plan.may_descend(watch, state, &entry.name)) {
                entry.descend = Some(Box::new(SealDir { root }));
            }
        }
    }

    fn read(&self, node: &Node<SealDir>, _: &[u8], content: &[u8]) {
        let root = self.coverage.roots().get(node.context.root).filter(|_| self.keeps && !node.is_roots());
        if let Some(root) = root {
            let kept = self.keeper.read(self.coverage.watch(root), content);
            kept.unwrap_or_else(|error| self.fail(error));
        }
    }

    fn done(
        &self,
        node: &Node<SealDir>,
        entries: Vec<Entry<SealDir>>,
        listing: Option<FileError>,
    ) -> Option<Digest> {
        if let Some(error) = listing {
            self.trouble(node.path(), format!("the directory could not be listed: {error}"));
        }
        let mut writer = Writer::default();
        let mut held = self.held.iter().filter(|_| node.is_roots()).peekable();
        let mut push_held = |writer: &mut Writer, before: Option<&[u8]>| {
            let comes_first = |path: &RawPath| before.is_none_or(|name| path.as_bytes() < name);
            while let Some((path, sealed)) = held.next_if(|(path, _)| comes_first(path)) {
                writer.push(path.as_bytes(), &sealed.state, sealed.child.as_ref());
            }
        };
        let plan = self.keeps.then(|| Plan::of(self.coverage, node, node.context.root));
        for entry in entries {
            push_held(&mut writer, Some(&entry.name));
            if let Some(problem) = entry.problem {
                self.trouble(node.path_of(&entry.name), problem.to_string());
            }
            let Some(state) = entry.state else { continue };
            self.entries.fetch_add(1, Ordering::Relaxed);
            if state.file_type == FileType::File {
                self.files.fetch_add(1, Ordering::Relaxed);
            }
            if let Some((_, watch)) = plan.as_ref().and_then(|plan| plan.rules_of(&entry.name)) {
                let kept = self.keeper.sealed(watch, &node.path_of(&entry.name), &state);
                kept.unwrap_or_else(|error| self.fail(error));
            }
            writer.push(&entry.name, &state, entry.child.as_deref());
        }
        push_held(&mut writer, None);
        let record = writer.finish();
        let hash = directory_hash(&record);
        self.sink.add(&hash, &record).unwrap_or_else(|error| self.fail(error));
        // A directory that could not be listed at all has no record: what is in it is not covered.
        Some(hash)
    }
}

/// The name under which this host seals.
pub fn origin(host: &str) -> Name {
    Name::for_host(host)
}

/// The moment from which on a change may have been missed by the scan that began at `scan_start`: filesystems
/// with coarse times (two seconds at worst) may give a later change an earlier time.
pub fn racy_from(scan_start: Timestamp) -> Timestamp {
    scan_start.minus_seconds(2)
}
