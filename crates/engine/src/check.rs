//! The disk against the baseline: a scan whose visitor merges each directory with its sealed record.

mod covered;
mod elsewhere;
mod judge;
mod logs;
mod open;
mod scope;
mod stretch;
mod survey;

use crate::compare;
use crate::coverage::{self, Coverage};
use crate::error::EngineError;
use crate::evidence;
use crate::known::{self, KnownEntry};
use crate::plan::Plan;
use crate::rules::RecordRules;
use crate::seal::{Trouble, racy_from};
use crate::tree::{Sealed, Tree};
use crate::written::Written;
use judge::mount_moved;
use logs::{Moving, owned};
use open::OpenPaths;
use scope::{around_of, roots_of, with_other_ends};
use std::cmp::Ordering as Order;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
pub use stretch::{Stretch, walk_order};
pub(crate) use survey::{Manner, Survey, survey};
use waxseal_model::record::{self, Reader};
use waxseal_model::{Digest, FileState, FileType, RawPath, SetId, Source, Timestamp};
use waxseal_observe::{Accounts, Entry, FileError, Look, Node, Options, Progress, Visitor, now};
use waxseal_policy::{ChangeRule, Selection, Watch};
use waxseal_store::{
    Baseline, Commit, Findings, Found, Outcome, Place, SealedFile, Store, StoreError, Tracked,
};

/// What to check, and how.
#[derive(Debug, Clone)]
pub struct Request {
    /// These places; everything that is covered when empty. In a place that is not deep, a directory that is new,
    /// gone or another one is checked with everything below it all the same.
    pub targets: Vec<Place>,
    /// Re-hash only what times, size or inode say has moved.
    pub quick: bool,
    /// What made us look.
    pub source: Source,
    /// What the change set is called.
    pub cause: String,
    /// The set to put new changes into, which an earlier part of the same look opened.
    pub set: Option<SetId>,
    /// Whether to say where the config leads nowhere, or guards less than was sealed.
    pub speaks_of_coverage: bool,
    /// Who wrote there, where events told.
    pub written: Option<Arc<Written>>,
}

/// What a check works on.
#[derive(Debug, Clone, Copy)]
pub struct Scan<'a> {
    /// Where changes are recorded.
    pub store: &'a Store,
    /// What the disk is held against.
    pub baseline: &'a Baseline,
    /// The export that the baseline comes from, when it does not come from the store.
    pub export: Option<&'a SealedFile>,
    /// The number of the newest baseline on record, which is that one unless it cannot be trusted.
    pub newest: u64,
    /// What is looked at, and by which rules.
    pub coverage: &'a Coverage,
    /// Counters for showing, and the way to end the check early.
    pub progress: &'a Progress,
    /// Where findings are collected; empty before and after.
    pub findings: &'a Mutex<Findings>,
}

/// What a check found out, beside the changes, which are in the store.
#[derive(Debug)]
pub struct Report {
    /// Entries that were looked at.
    pub checked: u64,
    /// What could not be looked at, sorted by path.
    pub troubles: Vec<Trouble>,
    /// Targets that are neither there nor sealed nor tracked.
    pub vanished: Vec<RawPath>,
    /// Whether the changes could be recorded.
    pub recorded: Result<(), StoreError>,
    /// Where changes may exist that this check could not see.
    blind: BTreeSet<RawPath>,
    scope: Vec<Place>,
    /// Directories whose entries were looked at besides.
    around: BTreeSet<RawPath>,
    /// New names outside of the scope of what moved out of it.
    went: BTreeSet<RawPath>,
}

impl Report {
    /// Whether the change of a path belongs to this look: it is within what was asked for, or the new name of
    /// something that was.
    pub fn concerns(&self, path: &RawPath) -> bool {
        self.is_in_scope(path) || self.went.contains(path)
    }

    /// Whether a path is within what was asked for.
    fn is_in_scope(&self, path: &RawPath) -> bool {
        let holds = |target: &Place| match path.below(&target.path) {
            Some(below) => target.deep || below.is_empty(),
            None => false,
        };
        self.scope.is_empty() || self.is_around(path) || self.scope.iter().any(holds)
    }

    fn is_around(&self, path: &RawPath) -> bool {
        self.around.contains(path) || path.parent().is_some_and(|parent| self.around.contains(&parent))
    }

    /// Whether the path could be looked at.
    fn looked_at(&self, path: &RawPath) -> bool {
        let mut at = Some(path.clone());
        while let Some(candidate) = at {
            if self.blind.contains(&candidate) {
                return false;
            }
            at = candidate.parent();
        }
        self.is_in_scope(path)
    }
}

/// What the walk of one directory knows.
struct CheckDir {
    root: usize,
    /// The hash of its sealed record; absent where nothing was sealed.
    sealed: Option<Digest>,
    /// The record, from when the directory's turn comes: those that wait hold none.
    record: OnceLock<Vec<u8>>,
    /// What was verified since, where files may only grow.
    tracked: OnceLock<Vec<Tracked>>,
    /// The watch was added after the baseline was sealed: its entries await approval.
    unsealed_watch: bool,
    /// A survey only comes through it: what it looks at lies below.
    passed: bool,
    /// Set by the plan: every name is as it was sealed, and every sealed name is there.
    untouched: AtomicBool,
}

impl CheckDir {
    fn new(root: usize, sealed: Option<Digest>, unsealed_watch: bool) -> CheckDir {
        CheckDir {
            root,
            sealed,
            record: OnceLock::new(),
            tracked: OnceLock::new(),
            unsealed_watch,
            passed: false,
            untouched: AtomicBool::new(false),
        }
    }
}

struct Checking<'a> {
    store: &'a Store,
    coverage: &'a Coverage,
    tree: &'a Tree<'a>,
    request: &'a Request,
    racy_from: Timestamp,
    /// When this look began.
    started: Timestamp,
    /// Directories of logs that are looked at because of targets in them: a log that moved can only be judged with
    /// its neighbours.
    around: BTreeSet<RawPath>,
    /// What a quick look does not pass over.
    open: OpenPaths,
    /// Paths and globs of the watches under which the baseline was taken.
    sealed_paths: BTreeSet<RawPath>,
    findings: &'a Mutex<Findings>,
    accounts: Mutex<Accounts>,
    troubles: Mutex<Vec<Trouble>>,
    blind: Mutex<BTreeSet<RawPath>>,
    /// Shallow targets that turned out to need a look at everything below them.
    deepened: Mutex<BTreeSet<RawPath>>,
    vanished: Mutex<Vec<RawPath>>,
    checked: AtomicU64,
    failure: Mutex<Option<StoreError>>,
    progress: &'a Progress,
    /// Nothing is recorded, and only these directories are looked at.
    survey: Option<Manner<'a>>,
}

/// Checks the disk and records what differs.
///
/// # Errors
/// When a given path is not covered, the baseline is missing or damaged, or the scan was stopped. That the changes
/// could not be recorded is no error here but said in the report; `unrecorded` is then called for each of them.
pub fn check(
    scan: &Scan<'_>,
    request: &Request,
    options: &Options,
    mut outcomes: Option<&mut Vec<Outcome>>,
    unrecorded: &mut dyn FnMut(Found),
) -> Result<Report, EngineError> {
    let Scan { store, baseline, coverage, findings, .. } = *scan;
    let tree = match scan.export {
        Some(file) => Tree::of_file(file)?,
        None => Tree::open(store, &baseline.stored.root)?,
    };
    let request = &with_other_ends(store, coverage, request)?;
    let checking = Checking::new(scan, request, &tree, None)?;
    let mut report = checking.walk(options)?;
    let clear = || findings.lock().unwrap_or_else(PoisonError::into_inner).clear();
    // To the store, everything below is in scope; the report then says what was looked at.
    let besides = report.around.iter().map(|path| Place { path: path.clone(), deep: true });
    let mut commit_scope: Vec<Place> = report.scope.iter().cloned().chain(besides).collect();
    if !request.targets.is_empty() {
        let looked = checking.look_elsewhere(&report);
        let elsewhere = match (looked, checking.take_failure()) {
            (Ok(elsewhere), None) => elsewhere,
            (Err(error), _) | (_, Some(error)) => {
                clear()?;
                return Err(error.into());
            }
        };
        commit_scope.extend(elsewhere.gone.iter().cloned());
        report.scope.extend(elsewhere.gone);
        report.went = elsewhere.went;
    }
    let rules = RecordRules { coverage, written: request.written.as_deref() };
    let time = now();
    let mut findings = findings.lock().unwrap_or_else(PoisonError::into_inner);
    let kept = match scan.export.is_some() || store.is_read_only() {
        true => Vec::new(),
        false => evidence::of_findings(store, coverage, &findings)?,
    };
    // What was done to the own files is judged by the monitor alone.
    let looked_at = |path: &RawPath| report.looked_at(path) && !coverage.is_own(path);
    let commit = Commit {
        cause: &request.cause,
        set: request.set,
        now: time,
        generation: scan.newest,
        rules: &rules,
        scope: &commit_scope,
        kept: &kept,
        looked_at: &looked_at,
    };
    let mut recorded = findings.commit(store, &commit, outcomes.as_deref_mut());
    if matches!(recorded, Err(StoreError::Full)) && !kept.is_empty() {
        // That something was found matters more than what it was.
        recorded = findings.commit(store, &Commit { kept: &[], ..commit }, outcomes);
    }
    report.recorded = recorded;
    if report.recorded.is_err() {
        findings.each(unrecorded)?;
        findings.clear()?;
    }
    Ok(report)
}

impl<'a> Checking<'a> {
    fn new(
        scan: &Scan<'a>,
        request: &'a Request,
        tree: &'a Tree<'a>,
        survey: Option<Manner<'a>>,
    ) -> Result<Checking<'a>, EngineError> {
        let Scan { store, baseline, coverage, progress, findings, .. } = *scan;
        let around = around_of(coverage, &request.targets);
        let mut open = OpenPaths::default();
        if request.quick {
            open.add(store, None)?;
        } else {
            around.iter().try_for_each(|directory| open.add(store, Some(directory)))?;
        }
        let mut checking = Checking {
            store,
            coverage,
            tree,
            request,
            racy_from: racy_from(baseline.stored.scan_start),
            started: now(),
            around,
            open,
            sealed_paths: BTreeSet::new(),
            findings,
            accounts: Mutex::default(),
            troubles: Mutex::default(),
            blind: Mutex::default(),
            deepened: Mutex::default(),
            vanished: Mutex::default(),
            checked: AtomicU64::new(0),
            failure: Mutex::default(),
            progress,
            survey,
        };
        checking.compare_rules(&baseline.stored.rules);
        Ok(checking)
    }

    /// Looks at everything that is asked for. What differs is then in the findings.
    fn walk(&self, options: &Options) -> Result<Report, EngineError> {
        let roots = roots_of(self.coverage, self.tree, self.request, &self.around)?;
        self.report_coverage();
        let options = Options { bottom_up: false, ..*options };
        let roots = roots.into_iter().map(|path| waxseal_observe::Root { path }).collect();
        waxseal_observe::scan(roots, CheckDir::new(0, None, false), self, &options, self.progress);
        let failed = match self.take_failure() {
            Some(error) => Some(EngineError::from(error)),
            None => self.progress.stop.load(Ordering::Relaxed).then_some(EngineError::Stopped),
        };
        match failed {
            None => Ok(self.report()),
            Some(error) => {
                self.findings.lock().unwrap_or_else(PoisonError::into_inner).clear()?;
                Err(error)
            }
        }
    }
}

impl Checking<'_> {
    fn take_failure(&self) -> Option<StoreError> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// What the scan found out.
    fn report(&self) -> Report {
        let take = |troubles: &Mutex<Vec<Trouble>>| {
            std::mem::take(&mut *troubles.lock().unwrap_or_else(PoisonError::into_inner))
        };
        let mut troubles = take(&self.troubles);
        troubles.sort_by(|a, b| a.path.cmp(&b.path));
        let mut scope = self.request.targets.clone();
        let deepened = std::mem::take(&mut *self.deepened.lock().unwrap_or_else(PoisonError::into_inner));
        scope.iter_mut().for_each(|target| target.deep |= deepened.contains(&target.path));
        if !self.around.is_empty() {
            scope.extend(deepened.into_iter().map(|path| Place { path, deep: true }));
        }
        Report {
            checked: self.checked.load(Ordering::Relaxed),
            troubles,
            vanished: std::mem::take(&mut *self.vanished.lock().unwrap_or_else(PoisonError::into_inner)),
            recorded: Ok(()),
            blind: std::mem::take(&mut *self.blind.lock().unwrap_or_else(PoisonError::into_inner)),
            scope,
            around: self.around.clone(),
            went: BTreeSet::new(),
        }
    }

    fn trouble(&self, path: RawPath, message: impl Into<String>) {
        self.cannot_see(path.clone());
        self.note(Trouble::at(path, message));
    }

    /// Nothing is concluded from what is not found at or below this path.
    fn cannot_see(&self, path: RawPath) {
        self.blind.lock().unwrap_or_else(PoisonError::into_inner).insert(path);
    }

    fn note(&self, trouble: Trouble) {
        self.troubles.lock().unwrap_or_else(PoisonError::into_inner).push(trouble);
    }

    fn fail(&self, error: StoreError) {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        self.progress.stop.store(true, Ordering::Relaxed);
    }

    /// What was sealed at a root, or at the path where a partial check begins.
    fn sealed_at(&self, path: &RawPath) -> Option<Sealed> {
        self.tree.find(path).unwrap_or_else(|error| {
            self.fail(error);
            None
        })
    }

    /// The sealed entries of a directory, sorted by name, one at a time.
    fn sealed_of<'r>(
        &'r self,
        node: &'r Node<CheckDir>,
        entries: &[Entry<CheckDir>],
    ) -> Box<dyn Iterator<Item = KnownEntry<'r>> + 'r> {
        if node.is_roots() {
            // Only what was asked for is compared here; other sealed roots have been dealt with.
            let sealed = entries.iter().filter_map(|entry| {
                let path = RawPath::new(&*entry.name);
                let Sealed { state, child } = self.sealed_at(&path)?;
                Some(KnownEntry::sealed(entry.name.to_vec().into(), state, child))
            });
            return Box::new(sealed.collect::<Vec<_>>().into_iter());
        }
        let Some(hash) = &node.context.sealed else { return Box::new(std::iter::empty()) };
        let record = match node.context.record.get() {
            Some(record) => Ok(record),
            None => self.tree.record(hash).map(|record| node.context.record.get_or_init(|| record)),
        };
        match record.and_then(|record| Ok(Reader::new(record)?)) {
            Ok(reader) => Box::new(reader.map_while(|entry| match entry {
                Ok(record::Entry { name, state, child }) => {
                    Some(KnownEntry::sealed(name.into(), state, child))
                }
                Err(error) => {
                    self.fail(error.into());
                    None
                }
            })),
            Err(error) => {
                self.fail(error);
                Box::new(std::iter::empty())
            }
        }
    }

    /// As [`Checking::sealed_of`], with what was verified since where files may grow.
    fn known_of<'r>(
        &'r self,
        node: &'r Node<CheckDir>,
        entries: &[Entry<CheckDir>],
    ) -> Box<dyn Iterator<Item = KnownEntry<'r>> + 'r> {
        let sealed = self.sealed_of(node, entries);
        if node.is_roots() {
            return Box::new(sealed.flat_map(|entry| self.known_root(entry)));
        }
        if !self.may_rotate(node) {
            return sealed;
        }
        let tracked = match node.context.tracked.get() {
            Some(tracked) => tracked,
            None => {
                let tracked = self.store.tracked_in(&node.path()).unwrap_or_else(|error| {
                    self.fail(error);
                    Vec::new()
                });
                node.context.tracked.get_or_init(|| tracked)
            }
        };
        Box::new(known::overlay(sealed, tracked).into_iter())
    }

    /// A sealed file that is a place of its own, with what was verified since.
    fn known_root<'r>(&self, entry: KnownEntry<'r>) -> Option<KnownEntry<'r>> {
        let path = RawPath::new(&*entry.name);
        let may_grow = entry.state.file_type == FileType::File
            && self.coverage.owner(&path).is_some_and(|owner| owner.watch.change == ChangeRule::AppendOnly);
        let (Some(directory), true) = (path.parent(), may_grow) else { return Some(entry) };
        let tracked = self.store.tracked_in(&directory).unwrap_or_else(|error| {
            self.fail(error);
            Vec::new()
        });
        let base = known::base_of(&entry.state);
        match tracked.into_iter().find(|one| one.name == path.name() && one.base == Some(base)) {
            Some(one) if known::is_gone(&one) => None,
            Some(one) => Some(KnownEntry {
                state: one.state,
                seen: Some(one.seen),
                rotated: one.rotated,
                base: one.base,
                ..entry
            }),
            None => Some(KnownEntry { base: Some(base), ..entry }),
        }
    }

    /// Whether the files of a directory may only grow, and rotate.
    fn may_rotate(&self, node: &Node<CheckDir>) -> bool {
        let root = self.coverage.roots().get(node.context.root);
        !node.is_roots()
            && root.is_some_and(|root| self.coverage.watch(root).change == ChangeRule::AppendOnly)
    }

    /// Whether a directory is looked at beside the targets in it: itself and its entries, and no deeper.
    fn is_around(&self, node: &Node<CheckDir>) -> bool {
        node.is_root() && self.around.contains(&node.path())
    }

    /// How an entry that is known is to be looked at.
    fn look(
        &self,
        quick: bool,
        watch: &Watch,
        known: Option<&KnownEntry<'_>>,
        entry: &Entry<CheckDir>,
    ) -> Look {
        if let Some(known) = known
            && quick
            && let Some(stat) = &entry.state
            && compare::is_untouched(&known.state, stat, known.seen.map_or(self.racy_from, racy_from))
        {
            return Look::Stat;
        }
        let sealed = known.map(|known| &known.state);
        match watch.change {
            ChangeRule::AppendOnly if entry.file_type == Some(FileType::File) => {
                Look::Growing { prefix: sealed.filter(|s| s.file_type == FileType::File).map(|s| s.size) }
            }
            _ => Look::Full,
        }
    }

    /// Whether the walk goes on below a name of the list of roots: a shallow target only does when the directory is
    /// not the one that was sealed.
    fn goes_deep(&self, name: &[u8], sealed: Option<&FileState>, stat: &FileState) -> bool {
        let shallow = |target: &Place| !target.deep && target.path.as_bytes() == name;
        if self.around.contains(&RawPath::new(name)) {
            return true;
        }
        let same = sealed.is_some_and(|sealed| sealed.same_object(stat));
        if !same {
            self.deepen(&RawPath::new(name));
        }
        !same || !self.request.targets.iter().any(shallow)
    }

    fn is_target(&self, path: &RawPath) -> bool {
        self.request.targets.iter().any(|target| target.path == *path)
    }

    /// Whether everything below a path was asked for.
    fn is_below_deep(&self, path: &RawPath) -> bool {
        self.request.targets.iter().any(|target| target.deep && path.below(&target.path).is_some())
    }

    fn deepen(&self, path: &RawPath) {
        self.deepened.lock().unwrap_or_else(PoisonError::into_inner).insert(path.clone());
    }
}

impl Visitor for Checking<'_> {
    type Dir = CheckDir;

    fn anchor(&self, root: &RawPath) -> Option<RawPath> {
        self.coverage.anchor(root).filter(|anchor| anchor != root)
    }

    fn wants_stat(&self, node: &Node<CheckDir>) -> bool {
        self.request.quick || self.is_around(node)
    }

    fn plan(&self, node: &Node<CheckDir>, entries: &mut Vec<Entry<CheckDir>>) {
        let plan = Plan::of(self.coverage, node, node.context.root);
        plan.retain_covered(entries);
        let passed = node.context.passed;
        if node.is_roots() {
            entries.retain(|entry| self.reaches(|| RawPath::new(&*entry.name)));
        }
        // What is only come through is counted where it is looked at.
        let here = |entry: &&Entry<CheckDir>| !node.is_roots() || self.holds(|| RawPath::new(&*entry.name));
        let counted = if passed { 0 } else { entries.iter().filter(here).count() };
        self.checked.fetch_add(counted as u64, Ordering::Relaxed);
        let sealed = self.known_of(node, entries);
        let mut sealed = sealed.peekable();
        let around = self.is_around(node);
        let mut untouched = !node.is_roots();
        let has_open = !self.open.is_empty() && (node.is_roots() || self.open.may_be_in(&node.path()));
        for entry in entries.iter_mut() {
            while sealed.peek().is_some_and(|s| *s.name < *entry.name) {
                sealed.next();
                untouched = false;
            }
            let is_sealed = sealed.peek().is_some_and(|s| *s.name == *entry.name);
            let counterpart = if is_sealed { sealed.next() } else { None };
            let (Some(_), Some((root, watch))) = (entry.file_type, plan.rules_of(&entry.name)) else {
                untouched = false;
                continue;
            };
            let is_open = has_open && self.open.may_hold(&node.path_of(&entry.name));
            let quick = self.request.quick || around && !self.is_target(&node.path_of(&entry.name));
            let quick = quick && !is_open;
            if !passed && (!node.is_roots() || self.holds(|| RawPath::new(&*entry.name))) {
                entry.look = self.look(quick, watch, counterpart.as_ref(), entry);
            }
            untouched &= entry.look == Look::Stat;
            let Some(stat) = &entry.state else { continue };
            let moved_mount = counterpart.as_ref().is_some_and(|s| mount_moved(&s.state, stat).is_some());
            untouched &= !moved_mount;
            if moved_mount {
                continue;
            }
            if !plan.may_descend(watch, stat, &entry.name) {
                // What is no directory any more hides nothing: what was in it is reported as removed.
                if stat.file_type == FileType::Dir && !passed {
                    self.below_is_covered(node, &entry.name, counterpart.as_ref().and_then(|s| s.child));
                }
                continue;
            }
            let sealed_state = counterpart.as_ref().map(|s| &s.state);
            if node.is_roots() && !self.goes_deep(&entry.name, sealed_state, stat) {
                continue;
            }
            if around && !self.is_below_deep(&node.path()) {
                if sealed_state.is_some_and(|sealed| sealed.same_object(stat)) {
                    continue;
                }
                self.deepen(&node.path_of(&entry.name));
            }
            let unsealed_watch = if node.is_roots() {
                counterpart.is_none() && !self.was_configured(watch, &entry.name)
            } else {
                node.context.unsealed_watch
            };
            let child = counterpart.as_ref().and_then(|s| s.child);
            let directory = || node.path_of(&entry.name);
            if self.reaches(directory) {
                let passed = !self.holds(directory);
                entry.descend =
                    Some(Box::new(CheckDir { passed, ..CheckDir::new(root, child, unsealed_watch) }));
            }
        }
        untouched &= sealed.next().is_none();
        drop(sealed);
        if passed {
            entries.retain(|entry| entry.descend.is_some());
        }
        node.context.untouched.store(untouched, Ordering::Relaxed);
    }

    fn done(
        &self,
        node: &Node<CheckDir>,
        mut entries: Vec<Entry<CheckDir>>,
        listing: Option<FileError>,
    ) -> Option<Digest> {
        if node.context.passed || node.context.untouched.load(Ordering::Relaxed) && listing.is_none() {
            return None;
        }
        if node.is_roots() {
            // Where it only came through, another stretch judges.
            entries.retain(|entry| self.holds(|| RawPath::new(&*entry.name)));
        }
        let plan = Plan::of(self.coverage, node, node.context.root);
        if listing == Some(FileError::NotFound) && !node.is_roots() {
            self.vanished_while_scanned(node);
            return None;
        }
        if let Some(error) = listing {
            self.trouble(node.path(), format!("the directory could not be listed: {error}"));
        }
        let path_of = |name: &[u8]| node.path_of(name);
        let rotating = self.may_rotate(node) && listing.is_none();
        let is_file = |state: &FileState| rotating && state.file_type == FileType::File;
        let (mut appeared, mut moving) = (Vec::new(), Vec::new());
        let mut lost = |known: KnownEntry<'_>| match listing {
            Some(_) => {}
            None if is_file(&known.state) => moving.push(Moving { known: Some(owned(known)), entry: None }),
            None => self.missing(&plan, path_of(&known.name), &known),
        };
        let mut both = Vec::new();
        let mut seen = BTreeSet::new();
        let around = self.is_around(node);
        let known = self.known_of(node, &entries);
        let mut known = known.peekable();
        for entry in entries {
            while let Some(missing) = known.next_if(|s| s.name.as_ref().cmp(&*entry.name) == Order::Less) {
                seen.extend(around.then(|| missing.name.to_vec()));
                lost(missing);
            }
            seen.extend(around.then(|| entry.name.to_vec()));
            let counterpart = known.next_if(|s| *s.name == *entry.name);
            let is_plain = entry.problem.is_none() && entry.state.as_ref().is_none_or(is_file);
            match counterpart {
                Some(known) if is_file(&known.state) && is_plain => {
                    both.push(Moving { known: Some(owned(known)), entry: Some(entry) });
                }
                Some(known) => self.both(path_of(&entry.name), &known, entry, false),
                None if rotating && is_plain && entry.state.is_some() => {
                    both.push(Moving { known: None, entry: Some(entry) });
                }
                None => appeared.push(entry),
            }
        }
        for missing in known {
            seen.extend(around.then(|| missing.name.to_vec()));
            lost(missing);
        }
        if around {
            self.came_and_went(&node.path(), &seen);
        }
        moving.extend(both);
        appeared.extend(self.rotate(node, &plan, moving));
        self.new_names(node, &plan, appeared);
        None
    }

    fn breathe(&self) {
        if let Some(survey) = self.survey {
            (survey.breathe)();
        }
    }
}

impl Checking<'_> {
    fn new_names(&self, node: &Node<CheckDir>, plan: &Plan<'_>, appeared: Vec<Entry<CheckDir>>) {
        let (allowed, appeared): (Vec<_>, Vec<_>) = appeared.into_iter().partition(|entry| {
            let is_root = node.is_roots() && self.coverage.root_at(&node.path_of(&entry.name)).is_some();
            !is_root && plan.rules_of(&entry.name).is_some_and(|(_, watch)| coverage::may_appear(watch))
        });
        let watch = self.coverage.roots().get(node.context.root).map(|root| self.coverage.watch(root));
        if node.is_roots() {
            // Single places of perhaps many directories: nothing is said of their neighbours.
            for entry in allowed {
                let path = node.path_of(&entry.name);
                let (Some(directory), name) = (path.parent(), path.name().into()) else { continue };
                self.track(&directory, vec![Entry { name, ..entry }], false);
            }
        } else if watch.is_some_and(coverage::may_appear) {
            self.track(&node.path(), allowed, true);
        }
        for entry in appeared {
            if entry.state.is_none() && entry.problem.is_none() && node.is_roots() {
                let mut vanished = self.vanished.lock().unwrap_or_else(PoisonError::into_inner);
                vanished.push(node.path_of(&entry.name));
                continue;
            }
            let is_dir = entry.state.as_ref().is_some_and(|s| s.file_type == FileType::Dir);
            if plan.selection(&entry.name, is_dir) != Selection::Selected {
                continue;
            }
            let unsealed = node.context.unsealed_watch
                || node.is_roots()
                    && plan.rules_of(&entry.name).is_some_and(|(_, w)| !self.was_configured(w, &entry.name));
            self.appeared(plan, node.path_of(&entry.name), entry, unsealed);
        }
    }

    /// Whether the baseline was taken under rules that named the path or glob by which a root is watched now.
    fn was_configured(&self, watch: &Watch, root: &[u8]) -> bool {
        let path = RawPath::new(root);
        let mut by = watch.paths.iter().filter(|watched| coverage::means(watched, &path)).peekable();
        // Where only part of a tree is checked, the path is no root: whatever covers it was there before.
        by.peek().is_none() || by.any(|watched| self.sealed_paths.contains(&coverage::as_path(watched)))
    }
}
