//! Waxseal's own files: what others do to the state directory while the monitor runs.
//!
//! In: what the guard says of names in it. Out: changes of severity critical, for the engine to record and tell. What this
//! program writes, in this process or another, is no change: it is known by the process, and where the kernel names none, by
//! what may be there.

use super::Event;
use super::engine::{Engine, is_passing};
use super::queue::Queue;
use crate::compare;
use crate::error::EngineError;
use crate::seal::Trouble;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use waxseal_model::change::Seen;
use waxseal_model::{
    Actor, Attribute, AttributeSet, ChangeKind, FileState, FileType, RawPath, Severity, Source,
};
use waxseal_observe::actors::{Describer, Who};
use waxseal_observe::guard::{By, Guard, Touch};
use waxseal_observe::process::{Window, own_program, uptime};
use waxseal_observe::watch::{Process, What};
use waxseal_observe::{now, place};
use waxseal_store::{Commit, Found, Outcome, Place, Rules, Store};

/// The watch that such changes are told of.
pub const WATCH: &str = "Waxseal's own files";
/// The pause after something was told: who does it again and again is told in one.
const PAUSE: Duration = Duration::from_millis(200);
/// How many changes wait to be recorded at most; there are fewer files.
const MOST: usize = 1000;

/// What a file is, and who may do what with it.
const RIGHTS: AttributeSet =
    AttributeSet::of(&[Attribute::Type, Attribute::Mode, Attribute::Owner, Attribute::Group]);
/// The same, and whether it is the same file.
const PLACE: AttributeSet = RIGHTS.union(AttributeSet::of(&[Attribute::Inode]));

/// What somebody did to one of the files.
#[derive(Debug, Clone)]
pub struct Tampered {
    path: RawPath,
    before: Option<FileState>,
    after: Option<FileState>,
    /// Content was, or may have been, written.
    written: bool,
    who: Vec<Who>,
}

/// What is known of the directory and its files.
pub struct Files<'a> {
    store: &'a Store,
    describer: &'a Describer,
    dir: RawPath,
    /// By name; the directory itself without one.
    known: BTreeMap<Option<Vec<u8>>, FileState>,
    /// What happened before then was told, by the clock of processes.
    since: u64,
}

/// Whose work it is.
enum Whose {
    Ours,
    Foreign(Who),
    Unknown,
}

impl<'a> Files<'a> {
    /// As they are now.
    pub fn new(store: &'a Store, describer: &'a Describer, dir: RawPath) -> Files<'a> {
        let mut files = Files { store, describer, dir, known: BTreeMap::new(), since: uptime() };
        for name in files.names() {
            files.refresh(&name);
        }
        files
    }

    /// Waits for what others do, and hands it to the engine, until the guard is ended.
    pub fn serve(mut self, mut guard: Guard, queue: &Queue) {
        loop {
            let told = match guard.wait() {
                Ok(told) => told,
                Err(error) => {
                    let note = format!("Waxseal's own files are not guarded any more: {error}");
                    return queue.add_rest(|work| work.notes.push(note));
                }
            };
            if told.ended {
                return;
            }
            let read = uptime();
            let found = self.judge(told.touches, told.anything);
            if told.drained {
                self.since = read;
            }
            if !found.is_empty() {
                queue.add_rest(|work| {
                    work.tampered.extend(found);
                    work.tampered.truncate(MOST);
                });
                std::thread::sleep(PAUSE);
            }
        }
    }

    /// What is to be told, each path once.
    fn judge(&mut self, touches: Vec<Touch>, anything: bool) -> Vec<Tampered> {
        let mut found: BTreeMap<RawPath, Tampered> = BTreeMap::new();
        let everything = if anything { self.names() } else { BTreeSet::new() };
        let looks = everything.into_iter().map(|name| (name, What::default(), By::Unknown));
        for (name, what, by) in touches.into_iter().map(|one| (one.name, one.what, one.by)).chain(looks) {
            let Some(one) = self.judge_one(&name, what, by) else { continue };
            match found.get_mut(&one.path) {
                Some(before) => {
                    before.after = one.after;
                    before.written |= one.written;
                    for who in one.who {
                        if !before.who.contains(&who) {
                            before.who.push(who);
                        }
                    }
                }
                None => drop(found.insert(one.path.clone(), one)),
            }
        }
        let stays = |one: &Tampered| one.before.is_some() || one.after.is_some();
        found.into_values().filter(stays).collect()
    }

    fn judge_one(&mut self, name: &Option<Vec<u8>>, what: What, by: By) -> Option<Tampered> {
        let before = self.known.get(name).cloned();
        let after = self.refresh(name);
        let whose = self.whose(by);
        let moved = match (&before, &after) {
            (Some(before), Some(after)) => compare::differences(before, after),
            _ => AttributeSet::EMPTY,
        };
        let (foreign, written) = match whose {
            Whose::Ours => return None,
            Whose::Foreign(who) => {
                let is_content = what.has(What::CONTENT.with(What::CLOSED));
                // Every reader of the database writes to its index, and SQLite gives its files to the owner that they have.
                let is_there = before.is_some() && after.is_some();
                let is_usual = is_shared_index(name) || (is_database(name) && what.is_only(What::METADATA));
                if is_usual && is_there && moved.intersection(PLACE).is_empty() {
                    return None;
                }
                (vec![who], is_content || moved.contains(Attribute::Inode))
            }
            Whose::Unknown => {
                if !self.is_wrong(name, before.as_ref(), after.as_ref(), moved) {
                    return None;
                }
                let is_content = [Attribute::Size, Attribute::Mtime, Attribute::Inode];
                (Vec::new(), is_content.iter().any(|one| moved.contains(*one)))
            }
        };
        if before.is_none() && after.is_none() {
            return None;
        }
        Some(Tampered { path: self.path(name), before, after, written, who: foreign })
    }

    /// Whether what is there cannot be what this program made of it, whoever did it.
    fn is_wrong(
        &self,
        name: &Option<Vec<u8>>,
        before: Option<&FileState>,
        after: Option<&FileState>,
        moved: AttributeSet,
    ) -> bool {
        let is_any = |of: AttributeSet| !moved.intersection(of).is_empty();
        let Some(name) = name else {
            return after.is_none() || is_any(PLACE);
        };
        match name.as_slice() {
            // Written by whoever records something: that it is another file, or another's, shows here; the rest `verify` shows.
            b"waxseal.db" | b"waxseal.db-wal" | b"waxseal.db-shm" => {
                (before.is_some() && after.is_none()) || is_any(PLACE)
            }
            b"epoch.key" | b"epoch.key.next" => {
                let path = self.store.dir().path().join(String::from_utf8_lossy(name).as_ref());
                after.is_some() && (is_any(RIGHTS) || !self.store.holds_epoch_key(&path))
            }
            name if is_fixed(name) => {
                before.is_some() != after.is_some() || is_any(AttributeSet::STANDARD.union(PLACE))
            }
            // It may be ours.
            _ => false,
        }
    }

    fn whose(&self, by: By) -> Whose {
        match by {
            By::Us => Whose::Ours,
            By::Unknown => Whose::Unknown,
            By::Another(process) => Whose::Foreign(
                self.writer(&process).unwrap_or(Who::Unknown(u32::try_from(process.pid).unwrap_or(0))),
            ),
            By::Gone(process) => match self.writer(&process) {
                Some(who @ Who::Known(_)) => {
                    let own = own_program();
                    match exe(&who) {
                        Some(exe) if Some(&exe) == own.as_ref() => Whose::Ours,
                        Some(_) => Whose::Foreign(who),
                        None => Whose::Unknown,
                    }
                }
                _ => Whose::Unknown,
            },
        }
    }

    fn writer(&self, process: &Process) -> Option<Who> {
        let processes = self.describer.processes();
        processes.catch_up();
        let window = Window { since: self.since, until: uptime(), read: 0 };
        let writer = processes.writer_of(process, window)?;
        Some(Who::Known(writer))
    }

    /// Every name that is known or there, and the directory itself.
    fn names(&self) -> BTreeSet<Option<Vec<u8>>> {
        let there = place::names(&self.dir, |_| true).unwrap_or_default();
        let there = there.into_iter().map(|name| Some(name.into_vec()));
        self.known.keys().cloned().chain(there).chain([None]).collect()
    }

    /// Looks at a name: the database is never opened by it, for closing it again would take SQLite's locks away.
    fn refresh(&mut self, name: &Option<Vec<u8>>) -> Option<FileState> {
        match place::stat(&self.path(name), None) {
            Ok(Some(state)) => {
                self.known.insert(name.clone(), state.clone());
                Some(state)
            }
            Ok(None) => {
                self.known.remove(name);
                None
            }
            // Nothing is known that was not before.
            Err(_) => self.known.get(name).cloned(),
        }
    }

    fn path(&self, name: &Option<Vec<u8>>) -> RawPath {
        name.as_ref().map_or_else(|| self.dir.clone(), |name| self.dir.join(name))
    }
}

fn exe(who: &Who) -> Option<RawPath> {
    match who {
        Who::Known(writer) => writer.program.as_ref().and_then(|program| program.exe.clone()),
        Who::Unknown(_) => None,
    }
}

fn is_database(name: &Option<Vec<u8>>) -> bool {
    matches!(name.as_deref(), Some(b"waxseal.db" | b"waxseal.db-wal"))
}

fn is_shared_index(name: &Option<Vec<u8>>) -> bool {
    name.as_deref() == Some(b"waxseal.db-shm")
}

/// Files that nobody writes to while a monitor runs.
fn is_fixed(name: &[u8]) -> bool {
    let fixed: [&[u8]; 5] =
        [b"log.key", b"sealing.key", b"sealing.vkey", b"waxseal.vkey", b"waxseal.verification"];
    fixed.contains(&name)
}

impl Tampered {
    /// The database, which holds a baseline that nobody signed. Nothing is told of one that cannot be looked at.
    pub fn database(store: &Store) -> Option<Tampered> {
        use std::os::unix::ffi::OsStrExt;
        let path = RawPath::new(store.dir().database().as_os_str().as_bytes());
        let state = place::stat(&path, None).ok().flatten()?;
        Some(Tampered {
            path,
            before: Some(state.clone()),
            after: Some(state),
            written: true,
            who: Vec::new(),
        })
    }

    fn found(&self) -> Found {
        let mut fields = match (&self.before, &self.after) {
            (Some(before), Some(after)) => compare::differences(before, after),
            _ => AttributeSet::EMPTY,
        };
        let kind = match (&self.before, &self.after) {
            (None, _) => ChangeKind::Added,
            (_, None) => ChangeKind::Removed,
            (Some(before), Some(after)) if before.file_type != after.file_type => ChangeKind::Retyped,
            (Some(before), _) if self.written && before.file_type == FileType::File => {
                fields.insert(Attribute::Content);
                ChangeKind::Modified
            }
            _ => ChangeKind::Metadata,
        };
        let seen = |state: &FileState| Seen { state: state.clone(), user: None, group: None };
        Found {
            path: self.path.clone(),
            watch: WATCH.into(),
            kind,
            fields,
            severity: Severity::Critical,
            source: Source::Event,
            before: self.before.as_ref().map(seen),
            after: self.after.as_ref().map(seen),
            from: None,
        }
    }
}

/// The rules for them: everything counts, and nobody may.
struct OwnRules<'a> {
    by: BTreeMap<&'a RawPath, Vec<Actor>>,
}

impl Rules for OwnRules<'_> {
    fn differences(&self, _: &str, before: &Seen, after: &Seen) -> AttributeSet {
        compare::differences(&before.state, &after.state)
    }

    fn severity_of_move(&self, _: &Found) -> Severity {
        Severity::Critical
    }

    fn actors(&self, found: &Found) -> Vec<Actor> {
        self.by.get(&found.path).cloned().unwrap_or_default()
    }

    fn severity_by(&self, _: &Found, _: &[Actor]) -> Severity {
        Severity::Critical
    }
}

impl Engine<'_> {
    /// Records and tells what others did to the own files. Where it cannot be recorded it is told at once, and recorded when
    /// that is possible again.
    pub fn record_tampered(&mut self, tampered: Vec<Tampered>) -> Result<(), EngineError> {
        let is_old = !self.tampered.is_empty();
        let all: Vec<Tampered> = std::mem::take(&mut self.tampered).into_iter().chain(tampered).collect();
        if all.is_empty() || (is_old && self.blind.is_some()) {
            self.tampered = all;
            return Ok(());
        }
        self.tell_if_gone(&all);
        let describe = |one: &Tampered| -> Vec<Actor> {
            one.who.iter().map(|who| self.describer.actor(who, &one.path)).collect()
        };
        let rules = OwnRules { by: all.iter().map(|one| (&one.path, describe(one))).collect() };
        let scope: Vec<Place> = all.iter().map(|one| Place { path: one.path.clone(), deep: false }).collect();
        let mut outcomes = Vec::new();
        let recorded = {
            let mut findings = self.findings();
            let collected = all.iter().try_for_each(|one| findings.add(&one.found()));
            let commit = Commit {
                cause: "done to Waxseal's own files",
                set: None,
                now: now(),
                generation: self.newest,
                rules: &rules,
                scope: &scope,
                kept: &[],
                looked_at: &|_| true,
            };
            let recorded = collected.and_then(|()| findings.commit(self.store, &commit, Some(&mut outcomes)));
            if recorded.is_err() {
                findings.clear()?;
            }
            recorded
        };
        match recorded {
            Ok(()) => {
                for outcome in outcomes {
                    if let Outcome::New(change) | Outcome::Again(change) = outcome {
                        (self.tell)(Event::Changed(Box::new(change)));
                    }
                }
            }
            // Another baseline was sealed: it is taken over before the next try.
            Err(waxseal_store::StoreError::Superseded) => {
                self.tampered = all;
                self.queue.add_rest(|work| work.facts = true);
            }
            Err(error) if is_passing(&error) => {
                for one in all.iter().filter(|_| !is_old) {
                    let mut change = one.found().unrecorded(now());
                    change.actors = describe(one);
                    (self.tell)(Event::Changed(Box::new(change)));
                }
                self.go_blind(&error);
                self.tampered = all;
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// What is recorded into a file that has no name any more is gone with this process.
    fn tell_if_gone(&mut self, all: &[Tampered]) {
        let database = self.store.dir().database();
        for one in all.iter().filter(|one| database.as_os_str().as_encoded_bytes().ends_with(one.path.name()))
        {
            let replaced = match (&one.before, &one.after) {
                (Some(before), Some(after)) => before.inode != after.inode,
                (Some(_), None) => true,
                _ => false,
            };
            if replaced {
                let message = "the database is not the one that this monitor writes to: what it records from now on is \
                               lost when it ends; keep its output, and put the database back from a copy"
                    .to_string();
                (self.tell)(Event::Trouble(Trouble::at(one.path.clone(), message)));
            }
        }
    }
}
