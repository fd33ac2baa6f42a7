//! One name: what is known of it against what is there, and what is told of it.

use super::{CheckDir, Checking};
use crate::compare::{SHOWN_BY_STAT, compare};
use crate::coverage;
use crate::known::{self, KnownEntry};
use crate::plan::Plan;
use std::collections::BTreeSet;
use std::sync::PoisonError;
use waxseal_model::change::Seen;
use waxseal_model::{AttributeSet, ChangeKind, Digest, FileState, FileType, RawPath, Severity};
use waxseal_observe::{Entry, Look, Problem};
use waxseal_policy::{ChangeRule, Selection, Watch};
use waxseal_store::{Found, Tracked};

impl Checking<'_> {
    pub(super) fn seen(&self, state: FileState) -> Seen {
        let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        let (user, group) = (accounts.user(state.uid), accounts.group(state.gid));
        Seen { state, user, group }
    }

    pub(super) fn found(
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

    pub(super) fn add(&self, found: &Found) {
        let findings = self.findings.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = findings.add(found) {
            drop(findings);
            self.fail(error);
        }
    }

    /// Everything below a sealed directory that is no directory any more, or not there.
    pub(super) fn removed_below(&self, path: &RawPath, child: Option<Digest>) {
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

    pub(super) fn removed(&self, path: RawPath, state: FileState) {
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
    pub(super) fn missing(&self, plan: &Plan<'_>, path: RawPath, sealed: &KnownEntry<'_>) {
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
    pub(super) fn appeared(
        &self,
        plan: &Plan<'_>,
        path: RawPath,
        entry: Entry<CheckDir>,
        unsealed_watch: bool,
    ) {
        let Some((_, watch)) = plan.rules_of(&entry.name) else { return };
        if let Some(problem) = entry.problem {
            self.trouble(path.clone(), problem.to_string());
        }
        let Some(state) = entry.state else { return };
        self.added(path, watch, state, unsealed_watch);
    }

    /// Opens an addition; one of a watch that was not sealed yet awaits approval and alarms nobody.
    fn added(&self, path: RawPath, watch: &Watch, state: FileState, unsealed_watch: bool) {
        let mut found = self.found(path, watch, ChangeKind::Added, AttributeSet::EMPTY, None, Some(state));
        if unsealed_watch {
            found.severity = Severity::Info;
        }
        self.add(&found);
    }

    /// A name that was sealed and is there.
    /// Of a log that began anew (`fresh`) only what is not content counts.
    pub(super) fn both(&self, path: RawPath, sealed: &KnownEntry<'_>, entry: Entry<CheckDir>, fresh: bool) {
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
        // What was verified to go on stands for what was known, so that only the rest can differ.
        let mut before = sealed.state.clone();
        if fresh || sealed.is_away() {
            before = known::begun(&before, &after);
        } else if has_grown(watch, &before, &after, entry.prefix.as_deref()) {
            self.root_has_grown(&path, sealed, &after);
            before = known::grown(&before, &after);
        }
        if sealed.state.file_type == FileType::Dir && after.file_type != FileType::Dir {
            self.removed_below(&path, sealed.child);
        }
        if let Some((kind, fields)) = compare(&before, &after, counted)
            && self.coverage.selection(&path, after.file_type == FileType::Dir).0 == Selection::Selected
        {
            let found = self.found(path, watch, kind, fields, Some(before), Some(after));
            self.add(&found);
        }
    }

    /// New names where new names are fine: tracked from now on, compared when tracked already. With `whole`, the
    /// names are all of the directory, so that one that is tracked and not among them is gone.
    pub(super) fn track(&self, directory: &RawPath, new: Vec<Entry<CheckDir>>, whole: bool) {
        let (tracked, stale): (Vec<_>, Vec<_>) = match self.store.tracked_in(directory) {
            // What stands on a sealed state, or ended, is from when the watch was one for logs.
            Ok(tracked) => tracked.into_iter().partition(|one| one.base.is_none() && !known::is_gone(one)),
            Err(error) => return self.fail(error),
        };
        let (mut first_seen, mut seen_anew) = (Vec::new(), Vec::new());
        let mut here: BTreeSet<Box<[u8]>> = BTreeSet::new();
        for entry in new {
            let path = directory.join(&entry.name);
            here.insert(entry.name.clone());
            let known = tracked.binary_search_by(|one| (*one.name).cmp(&entry.name)).ok();
            match known.and_then(|at| tracked.get(at)) {
                Some(Tracked { state, .. }) => {
                    let sealed = KnownEntry::sealed(entry.name.to_vec().into(), state.clone(), None);
                    self.both(path, &sealed, entry, false);
                }
                None => match (entry.problem, entry.state) {
                    (Some(problem), _) => self.trouble(path, problem.to_string()),
                    // New files are fine here, new rights are not.
                    (None, Some(state)) if state.is_privileged() => {
                        if let Some(owner) = self.coverage.owner(&path) {
                            self.added(path.clone(), owner.watch, state, false);
                        }
                    }
                    (None, Some(state)) => {
                        let (name, seen) = (entry.name.to_vec(), self.started);
                        let is_stale = stale.binary_search_by(|one| one.name.cmp(&name)).is_ok();
                        let list = if is_stale { &mut seen_anew } else { &mut first_seen };
                        list.push(Tracked { name, state, seen, rotated: None, base: None });
                    }
                    (None, None) => {}
                },
            }
        }
        for gone in tracked.iter().filter(|one| whole && !here.contains(&*one.name)) {
            self.removed(directory.join(&gone.name), gone.state.clone());
        }
        if self.survey.is_some() {
            first_seen.iter().chain(&seen_anew).for_each(|one| self.leave(&directory.join(&one.name)));
            return;
        }
        let written = self.store.track(directory, &first_seen);
        if let Err(error) = written.and_then(|()| self.store.retrack(directory, &seen_anew)) {
            self.fail(error);
        }
    }
}

/// A filesystem that appeared or went away hides what is below: nothing can be said of that.
pub(super) fn mount_moved(sealed: &FileState, now: &FileState) -> Option<&'static str> {
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
pub(super) fn has_grown(
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
