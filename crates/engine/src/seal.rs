//! Taking a baseline: everything that is covered is looked at, recorded, hashed and signed.

use crate::coverage::{Coverage, select};
use crate::error::EngineError;
use crate::tree::{self, Tree};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use waxseal_ledger::{Name, Seal, SigningKey, directory_hash, rules_hash};
use waxseal_model::record::Writer;
use waxseal_model::{Digest, FileType, RawPath, Timestamp};
use waxseal_observe::{Entry, FileError, Look, Node, Options, Progress, Visitor, now, scan};
use waxseal_policy::{ChangeRule, Selection, Watch};
use waxseal_store::{Baseline, Builder, NewBaseline, RecordSink, StateDir, Store, StoreError};

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
}

/// Who seals, and with what words.
#[derive(Debug)]
pub struct Sealer<'a> {
    /// Signs the seal; its name is the baseline's origin.
    pub key: &'a SigningKey,
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
    let roots = coverage.roots().iter().map(|root| root.path.clone()).collect();
    let taken = take(coverage, &builder, BTreeMap::new(), roots, options, progress)?;
    let (baseline, troubles) = taken.sign(coverage, sealer, None, progress);
    let store = builder.finish(&baseline)?;
    Ok(Sealed { store, baseline, troubles })
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
    let extension = store.extend()?;
    let taken = take(coverage, &extension, held, roots, options, progress)?;
    let (next, troubles) = taken.sign(coverage, sealer, Some(baseline), progress);
    extension.finish(&next)?;
    Ok((next, troubles))
}

/// A tree of directory records that has been stored and not signed.
struct Taken {
    root: Digest,
    scan_start: Timestamp,
    entries: u64,
    files: u64,
    troubles: Vec<Trouble>,
}

/// Scans `roots` into `sink`; the record of roots holds them and those of `held`.
fn take(
    coverage: &Coverage,
    sink: &dyn RecordSink,
    held: BTreeMap<RawPath, tree::Sealed>,
    roots: Vec<RawPath>,
    options: &Options,
    progress: &Progress,
) -> Result<Taken, EngineError> {
    let scan_start = now();
    let visitor = Sealing {
        coverage,
        sink,
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
    })
}

impl Taken {
    fn sign(
        self,
        coverage: &Coverage,
        sealer: &Sealer<'_>,
        previous: Option<&Baseline>,
        progress: &Progress,
    ) -> (NewBaseline, Vec<Trouble>) {
        let rules = waxseal_policy::show(coverage.config());
        let time = now();
        let before = previous.map(|baseline| &baseline.stored);
        let entries = self.entries + before.map_or(0, |before| before.entries);
        let seal = Seal {
            origin: sealer.key.verifier_key().name().clone(),
            generation: previous.map_or(1, |previous| previous.generation + 1),
            root: self.root,
            entries,
            time,
            previous: before.map(|before| before.root),
            rules: rules_hash(&rules),
        };
        let baseline = NewBaseline {
            root: self.root,
            seal: seal.sign(sealer.key),
            rules,
            time,
            // The earliest start: what was sealed then may have changed from then on.
            scan_start: before.map_or(self.scan_start, |before| before.scan_start.min(self.scan_start)),
            who: sealer.who.clone(),
            note: sealer.note.clone(),
            entries,
            files: self.files + before.map_or(0, |before| before.files),
            bytes: progress.bytes.load(Ordering::Relaxed) + before.map_or(0, |before| before.bytes),
        };
        (baseline, self.troubles)
    }
}

impl Sealing<'_> {
    fn trouble(&self, path: RawPath, message: String) {
        let mut troubles = self.troubles.lock().unwrap_or_else(PoisonError::into_inner);
        troubles.push(Trouble::at(path, message));
    }
}

impl Visitor for Sealing<'_> {
    type Dir = SealDir;

    fn plan(&self, node: &Node<SealDir>, entries: &mut Vec<Entry<SealDir>>) {
        let plan = Plan::of(self.coverage, node, node.context.root);
        plan.retain_covered(entries);
        for entry in entries {
            let Some(state) = &entry.state else { continue };
            let Some((root, watch)) = plan.rules_of(&entry.name) else { continue };
            entry.look = match watch.change {
                ChangeRule::AppendOnly if state.file_type == FileType::File => Look::Growing { prefix: None },
                _ => Look::Full,
            };
            if plan.may_descend(watch, state, &entry.name) {
                entry.descend = Some(Box::new(SealDir { root }));
            }
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
            writer.push(&entry.name, &state, entry.child.as_deref());
        }
        push_held(&mut writer, None);
        let record = writer.finish();
        let hash = directory_hash(&record);
        if let Err(error) = self.sink.add(&hash, &record) {
            self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
            self.progress.stop.store(true, Ordering::Relaxed);
        }
        // A directory that could not be listed at all has no record: what is in it is not covered.
        Some(hash)
    }
}

/// Which names of a directory are covered and walked; shared by sealing and checking.
pub(crate) struct Plan<'a> {
    pub coverage: &'a Coverage,
    is_roots: bool,
    root: usize,
    path: RawPath,
    /// The directory's path below its root, with a trailing slash unless empty.
    prefix: Vec<u8>,
    /// Whether other roots, or directories of our own, lie below this one.
    nested: bool,
    /// The watch that decides about every name, unless the names are roots.
    watch: Option<&'a Watch>,
    /// Whether every name is selected and every directory walked, so that nobody need ask.
    everything: bool,
}

impl<'a> Plan<'a> {
    pub fn of<D>(coverage: &'a Coverage, node: &Node<D>, root: usize) -> Plan<'a> {
        let path = node.path();
        let mut prefix = Vec::new();
        if !node.is_roots()
            && let Some(root) = coverage.roots().get(root)
            && let Some(below) = path.below(&root.path)
            && !below.is_empty()
        {
            prefix.extend_from_slice(below);
            prefix.push(b'/');
        }
        let nested = coverage.has_below(&path);
        let is_roots = node.is_roots();
        let watch = coverage.roots().get(root).map(|root| coverage.watch(root)).filter(|_| !is_roots);
        let plain = |watch: &Watch| watch.selects_everything() && watch.recursion.is_none();
        let everything = !nested && watch.is_some_and(plain);
        Plan { coverage, is_roots, root, path, prefix, nested, watch, everything }
    }

    /// The root and the watch that decide about one of the names. A name of the list of roots is a path, which
    /// need not be a root itself when only part of a tree is scanned.
    pub fn rules_of(&self, name: &[u8]) -> Option<(usize, &'a Watch)> {
        if let Some(watch) = self.watch {
            return Some((self.root, watch));
        }
        let owner = self.coverage.owner(&RawPath::new(name))?;
        let root = self.coverage.roots().iter().position(|root| std::ptr::eq(root, owner.root))?;
        Some((root, owner.watch))
    }

    fn path_of(&self, name: &[u8]) -> RawPath {
        if self.is_roots { RawPath::new(name) } else { self.path.join(name) }
    }

    /// How one name is covered.
    pub fn selection(&self, name: &[u8], is_dir: bool) -> Selection {
        if self.everything {
            return Selection::Selected;
        }
        if self.is_roots {
            return self.coverage.selection(&RawPath::new(name), is_dir).0;
        }
        if self.nested {
            let path = self.path_of(name);
            if self.coverage.root_at(&path).is_some() || self.coverage.own().contains(&path) {
                return Selection::Skipped;
            }
        }
        let Some(watch) = self.watch else { return Selection::Skipped };
        let mut relative = Vec::with_capacity(self.prefix.len() + name.len());
        relative.extend_from_slice(&self.prefix);
        relative.extend_from_slice(name);
        select(watch, &relative, is_dir)
    }

    /// Whether a name is the root of another watch, which looks at it itself.
    pub fn is_other_root(&self, name: &[u8]) -> bool {
        self.nested && !self.is_roots && self.coverage.root_at(&self.path_of(name)).is_some()
    }

    /// Takes out what is not covered.
    pub fn retain_covered<D>(&self, entries: &mut Vec<Entry<D>>) {
        if self.everything {
            return;
        }
        entries.retain(|entry| {
            let is_dir = entry.state.as_ref().is_some_and(|state| state.file_type == FileType::Dir);
            self.selection(&entry.name, is_dir) != Selection::Skipped
        });
    }

    /// Whether a directory is walked: its depth and its filesystem allow it.
    pub fn may_descend(&self, watch: &Watch, state: &waxseal_model::FileState, name: &[u8]) -> bool {
        if state.file_type != FileType::Dir
            || (state.mount_root && !self.is_roots && !watch.cross_filesystems)
        {
            return false;
        }
        if watch.recursion.is_none() {
            return true;
        }
        let mut below = self.prefix.clone();
        if !self.is_roots {
            below.extend_from_slice(name);
            below.push(b'/');
        } else if let Some(root) = self.coverage.roots().get(self.root)
            && let Some(path) = RawPath::new(name).below(&root.path)
            && !path.is_empty()
        {
            below.extend_from_slice(path);
            below.push(b'/');
        }
        below.push(b'x');
        watch.depth_allows(&below)
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
