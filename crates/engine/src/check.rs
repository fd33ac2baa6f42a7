//! The disk against the baseline: a scan whose visitor merges each directory with its sealed record.

use crate::compare::{self, SHOWN_BY_STAT, compare};
use crate::coverage::{self, Coverage};
use crate::error::EngineError;
use crate::rules::RecordRules;
use crate::seal::{Plan, Trouble, racy_from};
use crate::tree::{Sealed, Tree};
use std::cmp::Ordering as Order;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use waxseal_model::change::Seen;
use waxseal_model::record::{self, Reader};
use waxseal_model::{
    Attribute, AttributeSet, ChangeKind, Digest, FileState, FileType, RawPath, Severity, Source, Timestamp,
};
use waxseal_observe::{Accounts, Entry, FileError, Look, Node, Options, Problem, Progress, Visitor, now};
use waxseal_policy::{ChangeRule, Selection, Watch};
use waxseal_store::{Baseline, Commit, Findings, Found, Outcome, Place, Store, StoreError};

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
}

/// What a check works on.
#[derive(Debug, Clone, Copy)]
pub struct Scan<'a> {
    /// Where changes are recorded.
    pub store: &'a Store,
    /// What the disk is held against.
    pub baseline: &'a Baseline,
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
}

impl Report {
    /// Whether a path is within what was asked for.
    pub fn is_in_scope(&self, path: &RawPath) -> bool {
        let holds = |target: &Place| match path.below(&target.path) {
            Some(below) => target.deep || below.is_empty(),
            None => false,
        };
        self.scope.is_empty() || self.scope.iter().any(holds)
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
    /// The watch was added after the baseline was sealed: its entries await approval.
    unsealed_watch: bool,
    /// Set by the plan: every name is as it was sealed, and every sealed name is there.
    untouched: AtomicBool,
}

impl CheckDir {
    fn new(root: usize, sealed: Option<Digest>, unsealed_watch: bool) -> CheckDir {
        CheckDir { root, sealed, record: OnceLock::new(), unsealed_watch, untouched: AtomicBool::new(false) }
    }
}

struct Checking<'a> {
    store: &'a Store,
    coverage: &'a Coverage,
    tree: &'a Tree<'a>,
    request: &'a Request,
    racy_from: Timestamp,
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
    outcomes: Option<&mut Vec<Outcome>>,
    unrecorded: &mut dyn FnMut(Found),
) -> Result<Report, EngineError> {
    let Scan { store, baseline, coverage, progress, findings } = *scan;
    let tree = Tree::open(store, &baseline.stored.root)?;
    let roots = roots_of(coverage, &tree, request)?;
    let mut checking = Checking {
        store,
        coverage,
        tree: &tree,
        request,
        racy_from: racy_from(baseline.stored.scan_start),
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
    };
    checking.compare_rules(&baseline.stored.rules);
    checking.report_coverage();
    let top = CheckDir::new(0, None, false);
    let options = Options { bottom_up: false, ..*options };
    let roots = roots.into_iter().map(|path| waxseal_observe::Root { path }).collect();
    waxseal_observe::scan(roots, top, &checking, &options, progress);
    let clear = || findings.lock().unwrap_or_else(PoisonError::into_inner).clear();
    if let Some(error) = checking.failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
        clear()?;
        return Err(error.into());
    }
    if progress.stop.load(Ordering::Relaxed) {
        clear()?;
        return Err(EngineError::Stopped);
    }
    let mut troubles = checking.troubles.into_inner().unwrap_or_else(PoisonError::into_inner);
    troubles.sort_by(|a, b| a.path.cmp(&b.path));
    let mut scope = request.targets.clone();
    let deepened = checking.deepened.into_inner().unwrap_or_else(PoisonError::into_inner);
    scope.iter_mut().for_each(|target| target.deep |= deepened.contains(&target.path));
    let mut report = Report {
        checked: checking.checked.into_inner(),
        troubles,
        vanished: checking.vanished.into_inner().unwrap_or_else(PoisonError::into_inner),
        recorded: Ok(()),
        blind: checking.blind.into_inner().unwrap_or_else(PoisonError::into_inner),
        scope,
    };
    let rules = RecordRules { coverage };
    let time = now();
    let mut findings = findings.lock().unwrap_or_else(PoisonError::into_inner);
    let looked_at = |path: &RawPath| report.looked_at(path);
    let commit = Commit {
        cause: &request.cause,
        now: time,
        rules: &rules,
        scope: &report.scope,
        looked_at: &looked_at,
    };
    report.recorded = findings.commit(store, &commit, outcomes);
    if report.recorded.is_err() {
        findings.each(unrecorded)?;
        findings.clear()?;
    }
    Ok(report)
}

/// Where to begin: the given paths, or every root that is configured or was sealed.
fn roots_of(coverage: &Coverage, tree: &Tree<'_>, request: &Request) -> Result<Vec<RawPath>, EngineError> {
    if request.targets.is_empty() {
        let configured = coverage.roots().iter().map(|root| root.path.clone());
        // A sealed root that a glob no longer matches has vanished: looking for it finds that out.
        let sealed =
            tree.roots().keys().filter(|path| coverage.selection(path, true).0 != Selection::Skipped);
        let sealed = sealed.filter(|path| coverage.root_at(path).is_none() && is_glob_match(coverage, path));
        return Ok(configured.chain(sealed.cloned()).collect());
    }
    for path in request.targets.iter().map(|target| &target.path) {
        // Whether it is a directory is not known yet: covered as either is covered.
        let covered = [true, false].iter().any(|dir| coverage.selection(path, *dir).0 != Selection::Skipped);
        if !covered {
            let why =
                if coverage.is_own(path) { "is Waxseal's own state" } else { "is not covered by any watch" };
            let hint = "see `waxseal config show` for what is";
            return Err(EngineError::NotCovered(format!("{path} {why}: {hint}")));
        }
    }
    let deep: Vec<&Place> = request.targets.iter().filter(|target| target.deep).collect();
    let below = |path: &RawPath| deep.iter().any(|outer| path.below(&outer.path).is_some());
    let inner = coverage.roots().iter().map(|root| root.path.clone()).filter(below);
    Ok(request.targets.iter().map(|target| target.path.clone()).chain(inner).collect())
}

fn is_glob_match(coverage: &Coverage, path: &RawPath) -> bool {
    coverage
        .config()
        .watches
        .iter()
        .flat_map(|watch| &watch.paths)
        .any(|watched| coverage::means(watched, path))
}

impl Checking<'_> {
    fn trouble(&self, path: RawPath, message: impl Into<String>) {
        self.blind.lock().unwrap_or_else(PoisonError::into_inner).insert(path.clone());
        self.note(Trouble::at(path, message));
    }

    fn note(&self, trouble: Trouble) {
        self.troubles.lock().unwrap_or_else(PoisonError::into_inner).push(trouble);
    }

    fn fail(&self, error: StoreError) {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        self.progress.stop.store(true, Ordering::Relaxed);
    }

    /// A check that covers less than the baseline does cannot say "intact".
    fn compare_rules(&mut self, sealed_rules: &str) {
        let Ok(sealed) = waxseal_policy::parse(sealed_rules, "sealed rules") else {
            self.note(Trouble {
                path: None,
                message: "the rules sealed with the baseline cannot be read".into(),
            });
            return;
        };
        for watch in &sealed.watches {
            self.sealed_paths.extend(watch.paths.iter().map(coverage::as_path));
            let Some(now) = self.coverage.watch_named(&watch.name) else { continue };
            let lost = watch.attributes.difference(now.attributes);
            if !lost.is_empty() {
                let names = lost.iter().map(Attribute::name).collect::<Vec<_>>().join(", ");
                let message = format!(
                    "watch \"{}\" no longer counts {names}, which the baseline was sealed to guard: seal anew, or put them back",
                    watch.name
                );
                self.note(Trouble { path: None, message });
            }
        }
    }

    /// Configured paths that lead nowhere, and sealed roots that nobody watches any more.
    fn report_coverage(&self) {
        for unmatched in self.coverage.unmatched() {
            // A literal path that was sealed has been removed, which is a change, said as one.
            if self.tree.roots().contains_key(&unmatched.path) {
                continue;
            }
            let message = format!("watch \"{}\": {}", unmatched.watch, unmatched.why);
            self.note(Trouble::at(unmatched.path.clone(), message));
        }
        for path in self.tree.roots().keys() {
            if self.coverage.selection(path, true).0 == Selection::Skipped {
                self.no_longer_covered(path.clone());
            }
        }
    }

    /// A directory that was there when its parent was looked at and is not now: removed, if it was sealed.
    fn vanished_while_scanned(&self, node: &Node<CheckDir>) {
        let path = node.path();
        if let Some(Sealed { state, child }) = self.sealed_at(&path) {
            self.removed(path.clone(), state);
            self.removed_below(&path, child);
        }
    }

    /// A sealed directory that is not walked any more hides what is in it from this check.
    fn below_is_covered(&self, node: &Node<CheckDir>, name: &[u8], child: Option<Digest>) {
        let Some(child) = child else { return };
        match self.tree.record(&child).and_then(|record| Ok(Reader::new(&record)?.next().is_some())) {
            Ok(false) => {}
            Ok(true) => {
                let why = "what is in it is in the baseline, and the config no longer covers it: seal anew, or cover it again";
                self.trouble(node.path_of(name), why);
            }
            Err(error) => self.fail(error),
        }
    }

    fn no_longer_covered(&self, path: RawPath) {
        self.trouble(
            path,
            "it is in the baseline, and the config no longer covers it: seal anew, or cover it again",
        );
    }

    fn seen(&self, state: FileState) -> Seen {
        let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        let (user, group) = (accounts.user(state.uid), accounts.group(state.gid));
        Seen { state, user, group }
    }

    fn found(
        &self,
        path: RawPath,
        watch: &Watch,
        kind: ChangeKind,
        fields: AttributeSet,
        before: Option<FileState>,
        after: Option<FileState>,
    ) -> Found {
        let severity = coverage::severity(watch, kind, fields, before.as_ref(), after.as_ref());
        Found {
            path,
            watch: watch.name.clone(),
            kind,
            fields,
            severity,
            source: self.request.source,
            before: before.map(|state| self.seen(state)),
            after: after.map(|state| self.seen(state)),
            from: None,
        }
    }

    fn add(&self, found: &Found) {
        let findings = self.findings.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = findings.add(found) {
            drop(findings);
            self.fail(error);
        }
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
    ) -> Box<dyn Iterator<Item = SealedEntry<'r>> + 'r> {
        if node.is_roots() {
            // Only what was asked for is compared here; other sealed roots have been dealt with.
            let sealed = entries.iter().filter_map(|entry| {
                let path = RawPath::new(&*entry.name);
                let Sealed { state, child } = self.sealed_at(&path)?;
                Some(SealedEntry { name: entry.name.to_vec().into(), state, child })
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
                    Some(SealedEntry { name: name.into(), state, child })
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

    /// How an entry that was sealed is to be looked at.
    fn look(&self, watch: &Watch, sealed: Option<&FileState>, stat: &FileState) -> Look {
        if let Some(sealed) = sealed
            && self.request.quick
            && compare::is_untouched(sealed, stat, self.racy_from)
        {
            return Look::Stat;
        }
        match watch.change {
            ChangeRule::AppendOnly if stat.file_type == FileType::File => {
                Look::Growing { prefix: sealed.filter(|s| s.file_type == FileType::File).map(|s| s.size) }
            }
            _ => Look::Full,
        }
    }

    /// Whether the walk goes on below a name of the list of roots: a shallow target only does when the directory is
    /// not the one that was sealed.
    fn goes_deep(&self, name: &[u8], sealed: Option<&FileState>, stat: &FileState) -> bool {
        let shallow = |target: &Place| !target.deep && target.path.as_bytes() == name;
        let same = sealed.is_some_and(|sealed| sealed.same_object(stat));
        if !same {
            self.deepen(&RawPath::new(name));
        }
        !same || !self.request.targets.iter().any(shallow)
    }

    fn deepen(&self, path: &RawPath) {
        self.deepened.lock().unwrap_or_else(PoisonError::into_inner).insert(path.clone());
    }

    /// Everything below a sealed directory that is no directory any more, or not there.
    fn removed_below(&self, path: &RawPath, child: Option<Digest>) {
        self.deepen(path);
        let Some(child) = child else { return };
        let walked = self.tree.each_below(path, &child, &mut |path, entry| {
            self.removed(path.clone(), entry.state.clone());
            Ok(())
        });
        if let Err(error) = walked {
            self.fail(error);
        }
    }

    fn removed(&self, path: RawPath, state: FileState) {
        let is_dir = state.file_type == FileType::Dir;
        match self.coverage.selection(&path, is_dir) {
            (Selection::Selected, Some(owner)) => {
                let found = self.found(
                    path,
                    owner.watch,
                    ChangeKind::Removed,
                    AttributeSet::EMPTY,
                    Some(state),
                    None,
                );
                self.add(&found);
            }
            (Selection::WalkOnly, _) => {}
            _ => self.no_longer_covered(path),
        }
    }

    /// A sealed name that the directory does not hold (or that cannot be seen).
    fn missing(&self, plan: &Plan<'_>, path: RawPath, sealed: &SealedEntry<'_>) {
        if plan.is_other_root(&sealed.name) {
            return;
        }
        let is_dir = sealed.state.file_type == FileType::Dir;
        if plan.selection(&sealed.name, is_dir) == Selection::Skipped {
            return self.no_longer_covered(path);
        }
        self.removed(path.clone(), sealed.state.clone());
        self.removed_below(&path, sealed.child);
    }

    /// A name that was not sealed.
    fn appeared(&self, plan: &Plan<'_>, path: RawPath, entry: Entry<CheckDir>, unsealed_watch: bool) {
        let Some((_, watch)) = plan.rules_of(&entry.name) else { return };
        if let Some(problem) = entry.problem {
            self.trouble(path.clone(), problem.to_string());
        }
        let Some(state) = entry.state else { return };
        let mut found = self.found(path, watch, ChangeKind::Added, AttributeSet::EMPTY, None, Some(state));
        if unsealed_watch {
            found.severity = Severity::Info;
        }
        self.add(&found);
    }

    fn appeared_at(&self, path: RawPath, state: FileState) {
        let Some(owner) = self.coverage.owner(&path) else { return };
        let found = self.found(path, owner.watch, ChangeKind::Added, AttributeSet::EMPTY, None, Some(state));
        self.add(&found);
    }

    /// A name that was sealed and is there.
    fn both(&self, path: RawPath, sealed: &SealedEntry<'_>, entry: Entry<CheckDir>) {
        let Some(owner) = self.coverage.owner(&path) else { return };
        let watch = owner.watch;
        let Some(after) = entry.state else {
            match entry.problem {
                Some(problem) => self.trouble(path, problem.to_string()),
                None => {
                    self.removed(path.clone(), sealed.state.clone());
                    self.removed_below(&path, sealed.child);
                }
            }
            return;
        };
        if let Some(message) = mount_moved(&sealed.state, &after) {
            self.trouble(path.clone(), message);
            if after.file_type == FileType::Dir {
                return;
            }
        }
        let mut counted = coverage::counted(watch);
        if let Some(problem) = &entry.problem {
            self.trouble(path.clone(), unreadable(problem, &sealed.state));
            counted = counted.intersection(SHOWN_BY_STAT);
        } else if entry.look == Look::Stat {
            return;
        } else if after.file_type == FileType::File
            && sealed.state.file_type == FileType::File
            && sealed.state.digests.sha256.is_none()
        {
            self.trouble(
                path.clone(),
                "the baseline holds no hash of it: it could not be read when it was sealed",
            );
        }
        if has_grown(watch, &sealed.state, &after, entry.prefix.as_deref()) {
            let growth = [Attribute::Content, Attribute::Size, Attribute::Mtime, Attribute::Ctime];
            counted = counted.difference(AttributeSet::of(&growth));
        }
        if sealed.state.file_type == FileType::Dir && after.file_type != FileType::Dir {
            self.removed_below(&path, sealed.child);
        }
        if let Some((kind, fields)) = compare(&sealed.state, &after, counted)
            && self.coverage.selection(&path, after.file_type == FileType::Dir).0 == Selection::Selected
        {
            let found = self.found(path, watch, kind, fields, Some(sealed.state.clone()), Some(after));
            self.add(&found);
        }
    }

    /// New names where new names are fine: tracked from now on, compared when tracked already. With `whole`, the
    /// names are all of the directory, so that one that is tracked and not among them is gone.
    fn track(&self, directory: &RawPath, new: Vec<Entry<CheckDir>>, whole: bool) {
        let tracked = match self.store.tracked_in(directory) {
            Ok(tracked) => tracked,
            Err(error) => return self.fail(error),
        };
        let mut first_seen = Vec::new();
        let mut here: BTreeSet<Box<[u8]>> = BTreeSet::new();
        for entry in new {
            let path = directory.join(&entry.name);
            here.insert(entry.name.clone());
            let known = tracked.binary_search_by(|(name, _)| (**name).cmp(&entry.name)).ok();
            match known.and_then(|at| tracked.get(at)) {
                Some((_, state)) => {
                    let sealed =
                        SealedEntry { name: entry.name.to_vec().into(), state: state.clone(), child: None };
                    self.both(path, &sealed, entry);
                }
                None => match (entry.problem, entry.state) {
                    (Some(problem), _) => self.trouble(path, problem.to_string()),
                    // New files are fine here, new rights are not.
                    (None, Some(state)) if state.is_privileged() => self.appeared_at(path, state),
                    (None, Some(state)) => first_seen.push((entry.name.to_vec(), state)),
                    (None, None) => {}
                },
            }
        }
        for (name, state) in tracked.iter().filter(|(name, _)| whole && !here.contains(&**name)) {
            self.removed(directory.join(name), state.clone());
        }
        if let Err(error) = self.store.track(directory, &first_seen, now()) {
            self.fail(error);
        }
    }
}

impl Visitor for Checking<'_> {
    type Dir = CheckDir;

    fn plan(&self, node: &Node<CheckDir>, entries: &mut Vec<Entry<CheckDir>>) {
        let plan = Plan::of(self.coverage, node, node.context.root);
        plan.retain_covered(entries);
        self.checked.fetch_add(entries.len() as u64, Ordering::Relaxed);
        let sealed = self.sealed_of(node, entries);
        let mut sealed = sealed.peekable();
        let mut untouched = !node.is_roots();
        for entry in entries {
            while sealed.next_if(|s| *s.name < *entry.name).is_some() {
                untouched = false;
            }
            let counterpart = sealed.next_if(|s| *s.name == *entry.name);
            let (Some(stat), Some((root, watch))) = (&entry.state, plan.rules_of(&entry.name)) else {
                untouched = false;
                continue;
            };
            entry.look = self.look(watch, counterpart.as_ref().map(|s| &s.state), stat);
            untouched &= entry.look == Look::Stat;
            let moved_mount = counterpart.as_ref().is_some_and(|s| mount_moved(&s.state, stat).is_some());
            untouched &= !moved_mount;
            if moved_mount {
                continue;
            }
            if !plan.may_descend(watch, stat, &entry.name) {
                // What is no directory any more hides nothing: what was in it is reported as removed.
                if stat.file_type == FileType::Dir {
                    self.below_is_covered(node, &entry.name, counterpart.as_ref().and_then(|s| s.child));
                }
                continue;
            }
            let sealed_state = counterpart.as_ref().map(|s| &s.state);
            if node.is_roots() && !self.goes_deep(&entry.name, sealed_state, stat) {
                continue;
            }
            let unsealed_watch = if node.is_roots() {
                counterpart.is_none() && !self.was_configured(watch, &entry.name)
            } else {
                node.context.unsealed_watch
            };
            let child = counterpart.as_ref().and_then(|s| s.child);
            entry.descend = Some(Box::new(CheckDir::new(root, child, unsealed_watch)));
        }
        untouched &= sealed.next().is_none();
        node.context.untouched.store(untouched, Ordering::Relaxed);
    }

    fn done(
        &self,
        node: &Node<CheckDir>,
        entries: Vec<Entry<CheckDir>>,
        listing: Option<FileError>,
    ) -> Option<Digest> {
        if node.context.untouched.load(Ordering::Relaxed) && listing.is_none() {
            return None;
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
        let mut appeared = Vec::new();
        let sealed = self.sealed_of(node, &entries);
        let mut sealed = sealed.peekable();
        for entry in entries {
            while let Some(missing) = sealed.next_if(|s| s.name.as_ref().cmp(&*entry.name) == Order::Less) {
                if listing.is_none() {
                    self.missing(&plan, path_of(&missing.name), &missing);
                }
            }
            match sealed.next_if(|s| *s.name == *entry.name) {
                Some(sealed) => self.both(path_of(&entry.name), &sealed, entry),
                None => appeared.push(entry),
            }
        }
        for missing in sealed.filter(|_| listing.is_none()) {
            self.missing(&plan, path_of(&missing.name), &missing);
        }
        self.new_names(node, &plan, appeared);
        None
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

/// A sealed entry on its own.
struct SealedEntry<'r> {
    name: std::borrow::Cow<'r, [u8]>,
    state: FileState,
    child: Option<Digest>,
}

/// A filesystem that appeared or went away hides what is below: nothing can be said of that.
fn mount_moved(sealed: &FileState, now: &FileState) -> Option<&'static str> {
    match (sealed.mount_root, now.mount_root) {
        (false, true) => Some("another filesystem was mounted over it: what was sealed here is hidden"),
        (true, false) => {
            Some("the filesystem that was mounted here is gone: what was sealed here cannot be seen")
        }
        _ => None,
    }
}

/// A file that could be read once is worse than one that never could.
fn unreadable(problem: &Problem, sealed: &FileState) -> String {
    let was_read = sealed.file_type == FileType::File && sealed.digests.sha256.is_some();
    if was_read {
        format!("it could be read when it was sealed, and cannot now: {problem}")
    } else {
        problem.to_string()
    }
}

/// Whether a file that may only grow has done nothing else.
fn has_grown(
    watch: &Watch,
    sealed: &FileState,
    now: &FileState,
    prefix: Option<&waxseal_model::Digests>,
) -> bool {
    watch.change == ChangeRule::AppendOnly
        && sealed.file_type == FileType::File
        && now.file_type == FileType::File
        && now.size >= sealed.size
        && prefix.is_some_and(|prefix| sealed.digests.agree(prefix) == Some(true))
}
