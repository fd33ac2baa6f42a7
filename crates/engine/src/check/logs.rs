//! The files of a directory of logs, judged together: what is known of each, and where it went.

use super::judge::has_grown;
use super::{CheckDir, Checking};
use crate::compare::compare;
use crate::coverage;
use crate::known::{self, KnownEntry};
use crate::plan::Plan;
use crate::rotation::{self, Verdict};
use std::collections::BTreeSet;
use std::sync::PoisonError;
use waxseal_model::{Attribute, AttributeSet, Digest, FileState, FileType, RawPath, Timestamp};
use waxseal_observe::{Entry, Look, Node, place, unpack};
use waxseal_policy::{Selection, Watch};
use waxseal_store::Tracked;

/// A regular file of a directory of logs: what is known of its name, and what is there.
pub(super) struct Moving {
    pub known: Option<KnownEntry<'static>>,
    pub entry: Option<Entry<CheckDir>>,
}

impl Moving {
    fn name(&self) -> &[u8] {
        match (&self.known, &self.entry) {
            (Some(known), _) => &known.name,
            (None, Some(entry)) => &entry.name,
            (None, None) => b"",
        }
    }

    fn now(&self) -> Option<&FileState> {
        self.entry.as_ref().and_then(|entry| entry.state.as_ref())
    }
}

pub(super) fn owned(known: KnownEntry<'_>) -> KnownEntry<'static> {
    KnownEntry { name: known.name.into_owned().into(), ..known }
}

/// What must be equal for one file to take the place of another.
const RIGHTS: AttributeSet =
    AttributeSet::of(&[Attribute::Mode, Attribute::Owner, Attribute::Group, Attribute::Acl, Attribute::Caps]);

/// A directory of logs as [`rotation`] sees it.
struct Logs<'a> {
    directory: RawPath,
    watch: &'a Watch,
    plan: &'a Plan<'a>,
    /// The files that were there.
    seen: BTreeSet<Vec<u8>>,
}

impl rotation::Contents for Logs<'_> {
    fn prefixes(&self, name: &[u8], now: &FileState, lengths: &[u64]) -> Option<unpack::Prefixes> {
        unpack::prefixes(&self.directory.join(name), now, lengths).ok().flatten()
    }

    fn is_steady(&self) -> bool {
        let is_new = |name: &[u8]| {
            !self.seen.contains(name) && self.plan.selection(name, false) == Selection::Selected
        };
        let new = place::names(&self.directory, is_new).unwrap_or_default();
        let is_file = |name: &[u8]| {
            let there = place::stat(&self.directory.join(name), None).ok().flatten();
            there.is_some_and(|state| state.file_type == FileType::File)
        };
        !new.iter().any(|name| is_file(name))
    }

    fn same_rights(&self, before: &FileState, now: &FileState) -> bool {
        let counted = coverage::counted(self.watch).intersection(RIGHTS);
        compare(before, now, counted).is_none() && (before.is_privileged() || !now.is_privileged())
    }
}

impl Checking<'_> {
    /// Judges the files of a directory of logs together. Names that are new and not explained are returned.
    pub(super) fn rotate(
        &self,
        node: &Node<CheckDir>,
        plan: &Plan<'_>,
        files: Vec<Moving>,
    ) -> Vec<Entry<CheckDir>> {
        let (Some(root), false) = (self.coverage.roots().get(node.context.root), files.is_empty()) else {
            return Vec::new();
        };
        let seen =
            files.iter().filter(|file| file.now().is_some()).map(|file| file.name().to_vec()).collect();
        let logs = Logs { directory: node.path(), watch: self.coverage.watch(root), plan, seen };
        let names: Vec<_> = files.iter().map(|file| self.as_name(file, logs.watch)).collect();
        let tracked = node.context.tracked.get().map(Vec::as_slice).unwrap_or_default();
        let gone: Vec<_> = tracked
            .iter()
            .filter(|one| known::is_gone(one))
            .map(|one| rotation::Ended {
                name: &one.name,
                held: &one.state,
                time: one.seen,
                dropped: one.rotated.is_none(),
            })
            .collect();
        let verdicts = rotation::judge(&names, &gone, self.started, &logs);
        let (mut appeared, mut verified) = (Vec::new(), Vec::new());
        for (file, judged) in files.into_iter().zip(verdicts) {
            let verdict = judged.verdict;
            let (name, path) = (file.name().to_vec(), logs.directory.join(file.name()));
            if judged.settled {
                let ended = tracked.iter().find(|one| known::is_gone(one) && one.name == name);
                verified.extend(self.verified(&name, &file, verdict, ended.and_then(|one| one.base)));
            }
            match (verdict, file.known, file.entry) {
                (Verdict::Continues, Some(known), Some(entry)) => self.both(path, &known, entry, false),
                (Verdict::Fresh, Some(known), Some(entry)) => self.both(path, &known, entry, true),
                (Verdict::Report, Some(known), Some(entry)) if entry.state.is_some() => {
                    self.both(path, &known, entry, false);
                }
                (Verdict::Report, Some(known), _) => self.missing(plan, path, &known),
                (Verdict::Report, None, Some(entry)) => appeared.push(entry),
                _ => {}
            }
        }
        if self.survey.is_some() {
            verified.iter().for_each(|one| self.leave(&logs.directory.join(&one.name)));
        } else if let Err(error) = self.store.retrack(&logs.directory, &verified) {
            self.fail(error);
        }
        appeared
    }

    fn as_name<'f>(&self, file: &'f Moving, watch: &Watch) -> rotation::Name<'f> {
        let known = file.known.as_ref();
        let continues = match (known, &file.entry) {
            (Some(known), Some(Entry { state: Some(now), look, prefix, .. })) => {
                *look == Look::Stat || has_grown(watch, &known.state, now, prefix.as_deref())
            }
            // It has rotated, and its place may stay empty.
            (Some(known), _) => known.is_away(),
            (None, _) => false,
        };
        rotation::Name {
            name: file.name(),
            before: known.map(|known| &known.state),
            now: file.now(),
            continues,
            rotated: known.and_then(|known| known.rotated),
        }
    }

    /// What is known from now on of a name that was verified, where that is new.
    /// `ended` is the sealed state that the name has if it ended before.
    fn verified(
        &self,
        name: &[u8],
        file: &Moving,
        verdict: Verdict,
        ended: Option<Digest>,
    ) -> Option<Tracked> {
        let known = file.known.as_ref();
        let before = known.map(|known| &known.state);
        let stated = |state: FileState, rotated: Option<Timestamp>| {
            let sealed = known.filter(|known| known.seen.is_none());
            let base = known.map_or(ended, |known| known.base);
            let base = base.or_else(|| sealed.map(|s| known::base_of(&s.state)));
            Some(Tracked { name: name.to_vec(), state, seen: self.started, rotated, base })
        };
        let now = Some(self.started);
        match (verdict, before, file.now()) {
            (Verdict::Continues, Some(before), Some(after)) => {
                let looked = file.entry.as_ref().is_some_and(|entry| entry.look != Look::Stat);
                let away = known.is_some_and(KnownEntry::is_away);
                let state = if away { known::begun(before, after) } else { known::grown(before, after) };
                if looked && state != *before { stated(state, known.and_then(|k| k.rotated)) } else { None }
            }
            (Verdict::Rotated, _, Some(after)) | (Verdict::Fresh, None, Some(after)) => {
                stated(after.clone(), now)
            }
            (Verdict::Fresh, Some(before), Some(after)) => stated(known::begun(before, after), now),
            (Verdict::Away, Some(before), None) => stated(known::away(before), now),
            (Verdict::Gone, Some(before), None) => stated(known::gone(before), now),
            (Verdict::Dropped, Some(before), None) => stated(known::gone(before), None),
            _ => None,
        }
    }

    /// A log that is a place of its own has grown: that is what is known of it from now on.
    pub(super) fn root_has_grown(&self, path: &RawPath, known: &KnownEntry<'_>, now: &FileState) {
        let is_place = known.name.as_ref() == path.as_bytes();
        let (Some(directory), true) = (path.parent(), is_place) else { return };
        let state = known::grown(&known.state, now);
        if state == known.state {
            return;
        }
        if self.survey.is_some() {
            return self.leave(path);
        }
        let base = known.base.or_else(|| Some(known::base_of(&known.state)));
        let name = path.name().to_vec();
        let one = Tracked { name, state, seen: self.started, rotated: known.rotated, base };
        if let Err(error) = self.store.retrack(&directory, &[one]) {
            self.fail(error);
        }
    }

    /// Targets in a directory of logs that are neither there nor known.
    pub(super) fn came_and_went(&self, directory: &RawPath, seen: &BTreeSet<Vec<u8>>) {
        let targets = self.request.targets.iter().map(|target| &target.path);
        let unseen = targets.filter(|path| {
            path.parent().is_some_and(|parent| parent == *directory) && !seen.contains(path.name())
        });
        let mut vanished = self.vanished.lock().unwrap_or_else(PoisonError::into_inner);
        vanished.extend(unseen.cloned());
    }
}
