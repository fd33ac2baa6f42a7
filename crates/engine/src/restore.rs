//! Restoring: what was approved is put back where it was changed.
//!
//! In: open changes. Out: the paths as they were sealed, each looked at again afterwards, and the changes ended. Each path is looked at
//! once more first: what is not as it was recorded any more is left alone, and the others go through. What stood
//! there is kept as evidence before anything is touched. Nothing follows a link below a root.

mod act;
mod steps;

use crate::coverage::{self, Coverage};
use crate::decide::{Refused, as_recorded};
use crate::error::EngineError;
use crate::tree::Tree;
use crate::{compare, evidence};
use std::collections::{BTreeMap, BTreeSet};
use steps::{Step, Todo};
use waxseal_model::{Attribute, AttributeSet, Change, ChangeKind, Digest, FileState, FileType, RawPath};
use waxseal_observe::probe::Hashing;
use waxseal_observe::{Look, now, place};
use waxseal_store::{Baseline, Decider, Restored, Store, StoreError};

/// What no program can put back: the kernel gives them.
const GIVEN: [Attribute; 3] = [Attribute::Inode, Attribute::Ctime, Attribute::Btime];

/// While so many are put back or fewer, nothing else is recorded, so that a monitor does not tell of them first. What is more takes too long.
const TOGETHER: usize = 2000;

/// Where changes are undone.
#[derive(Debug, Clone, Copy)]
pub struct Restoration<'a> {
    /// Where they are recorded.
    pub store: &'a Store,
    /// What is put back.
    pub baseline: &'a Baseline,
    /// The rules in force.
    pub coverage: &'a Coverage,
    /// How contents are hashed.
    pub hashing: &'a Hashing,
}

/// What would be put back, and what would not.
#[derive(Debug, Default)]
pub struct Plan {
    steps: Vec<Step>,
    /// The others, and why.
    pub refused: Vec<Refused>,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Outcome {
    /// What was put back.
    pub restored: Vec<Restored>,
    /// What was not, and why; it is as it was.
    pub failed: Vec<Refused>,
}

impl Plan {
    /// What would be done, in words, for each change.
    pub fn actions(&self) -> impl Iterator<Item = (&Change, &'static str)> {
        self.steps.iter().map(|step| (&step.change, step.todo.words()))
    }
}

impl Restoration<'_> {
    /// Looks at every path again, and finds out what it takes.
    ///
    /// # Errors
    /// As the database says.
    pub fn plan(&self, changes: Vec<Change>) -> Result<Plan, EngineError> {
        let tree = Tree::open(self.store, &self.baseline.stored.root)?;
        let mut plan = Plan::default();
        for change in changes {
            let refuse = |why: String, is_stale| Refused { change: change.clone(), why, is_stale };
            if self.coverage.is_own(&change.path) {
                let why = "Waxseal's own files are not kept: approve it, or take the state from a copy";
                plan.refused.push(refuse(why.into(), false));
                continue;
            }
            let now = match as_recorded(self.coverage, self.hashing, &change) {
                Ok(now) => now,
                Err(why) => {
                    plan.refused.push(refuse(why, true));
                    continue;
                }
            };
            let at =
                change.from.as_ref().filter(|_| change.kind == ChangeKind::Moved).unwrap_or(&change.path);
            let sealed = tree.find(at)?.map(|sealed| sealed.state);
            match self.todo(&change, now.as_ref(), sealed.as_ref())? {
                Ok(todo) => {
                    let inode = now.as_ref().map(|state| state.inode);
                    let now = now.map(|state| state.file_type);
                    plan.steps.push(Step { change, sealed, now, inode, todo });
                }
                Err(why) => plan.refused.push(refuse(why, false)),
            }
        }
        self.with_links(&tree, &mut plan)?;
        Ok(plan)
    }

    /// What it takes to put a path back, or why that cannot be done.
    fn todo(
        &self,
        change: &Change,
        now: Option<&FileState>,
        sealed: Option<&FileState>,
    ) -> Result<Result<Todo, String>, EngineError> {
        let Some(sealed) = sealed else { return Ok(Ok(Todo::Remove)) };
        if now.is_some_and(|now| now.mount_root) {
            return Ok(Err("another filesystem is mounted there: unmount it first".into()));
        }
        if change.kind == ChangeKind::Moved && sealed.digests.sha256 == now.and_then(|now| now.digests.sha256)
        {
            return Ok(Ok(Todo::MoveBack));
        }
        let same_thing = now.is_some_and(|now| {
            now.file_type == sealed.file_type
                && now.digests.sha256 == sealed.digests.sha256
                && now.target() == sealed.target()
                && now.rdev() == sealed.rdev()
        });
        if same_thing {
            return Ok(Ok(Todo::Adjust));
        }
        Ok(match sealed.file_type {
            FileType::Socket => Err("a socket can only be made by the program that listens on it".into()),
            FileType::Dir => Ok(Todo::MakeDirectory),
            FileType::File => {
                let Some(hash) = sealed.digests.sha256 else {
                    return Ok(Err("its content was not read when it was sealed".into()));
                };
                match self.store.kept(&hash)? {
                    Some(_) => Ok(Todo::Write(hash)),
                    None => Err(format!(
                        "its approved content {}",
                        evidence::why_not(self.coverage, &change.path, sealed)
                    )),
                }
            }
            _ => Ok(Todo::Make),
        })
    }

    /// Files that were sealed as names of one object are made names of one object again.
    fn with_links(&self, tree: &Tree<'_>, plan: &mut Plan) -> Result<(), EngineError> {
        let object = |state: &FileState| (state.device, state.inode);
        let mut first: BTreeMap<_, Option<RawPath>> = BTreeMap::new();
        for step in plan.steps.iter().filter(|step| matches!(step.todo, Todo::Write(_))) {
            if let Some(sealed) = step.sealed.as_ref().filter(|sealed| sealed.links > 1) {
                first.insert(object(sealed), None);
            }
        }
        if first.is_empty() {
            return Ok(());
        }
        // A name of the object that is as it was sealed, with the object that was sealed.
        let changed: BTreeSet<RawPath> = plan.steps.iter().map(|step| step.change.path.clone()).collect();
        let mut candidates = Vec::new();
        tree.each(&mut |path, state| {
            if state.file_type == FileType::File
                && first.contains_key(&object(state))
                && !changed.contains(path)
            {
                candidates.push((path.clone(), state.clone()));
            }
        })?;
        for (path, state) in candidates {
            let anchor = self.coverage.anchor(&path);
            let there = place::observe(&path, anchor.as_ref(), Look::Full, self.hashing);
            let is_whole = there.ok().flatten().is_some_and(|there| {
                object(&there.state) == object(&state) && there.state.digests.sha256 == state.digests.sha256
            });
            if is_whole && let Some(first) = first.get_mut(&object(&state)) {
                first.get_or_insert(path);
            }
        }
        for step in plan.steps.iter_mut().filter(|step| matches!(step.todo, Todo::Write(_))) {
            let Some(first) = step.sealed.as_ref().and_then(|sealed| first.get_mut(&object(sealed))) else {
                continue;
            };
            match first {
                Some(other) => step.todo = Todo::Link(other.clone()),
                None => *first = Some(step.change.path.clone()),
            }
        }
        Ok(())
    }

    /// Puts everything back that the plan holds, and records it. What stood there is kept first, where its watch keeps contents.
    ///
    /// # Errors
    /// As the database says; what has been put back until then is found so by the next look.
    pub fn restore(&self, plan: Plan, decider: &Decider) -> Result<Outcome, EngineError> {
        let Plan { steps, refused } = plan;
        let found =
            steps.iter().filter_map(|step| Some((&step.change.path, &step.change.after.as_ref()?.state)));
        let kept = evidence::of_found(self.store, self.coverage, found)?;
        self.store.keep_suspect(&kept, now())?;
        let mut outcome = Outcome { restored: Vec::new(), failed: refused };
        let together = steps.len() <= TOGETHER;
        let failed = &mut outcome.failed;
        let act = || {
            let done = act::all(self, steps);
            let mut restored = Vec::new();
            for (step, result) in done {
                match result.and_then(|()| self.look_again(&step)) {
                    Ok(()) => restored.push(Restored { change: step.change, state: step.sealed }),
                    Err(why) => failed.push(Refused { change: step.change, why, is_stale: true }),
                }
            }
            restored
        };
        outcome.restored = self.store.restore(together, decider, now(), act)?;
        Ok(outcome)
    }

    /// Whether a path is now what was sealed.
    fn look_again(&self, step: &Step) -> Result<(), String> {
        let path = step.place();
        let anchor = self.coverage.anchor(path);
        let look = if step.sealed.is_some() { Look::Full } else { Look::Stat };
        let there =
            place::observe(path, anchor.as_ref(), look, self.hashing).map_err(|error| error.to_string())?;
        match (&step.sealed, there.map(|there| there.state)) {
            (None, None) => Ok(()),
            (None, Some(_)) => Err("it is there again".into()),
            (Some(_), None) => Err("it was put back and is gone again".into()),
            (Some(sealed), Some(there)) => {
                let counted = self
                    .coverage
                    .owner(path)
                    .map_or(AttributeSet::EMPTY, |owner| coverage::counted(owner.watch));
                let left = compare::differences(sealed, &there).intersection(counted);
                let left: Vec<&str> = left
                    .iter()
                    .filter(|one| !GIVEN.contains(one) && is_own(*one, sealed))
                    .map(Attribute::name)
                    .collect();
                let missing = left.join(", ");
                if left.is_empty() { Ok(()) } else { Err(format!("it was put back, but {missing} differ")) }
            }
        }
    }

    /// The bytes of a kept content.
    fn content(
        &self,
        hash: &Digest,
        mut each: impl FnMut(&[u8]) -> Result<(), String>,
    ) -> Result<(), String> {
        let read = self.store.content::<Failure>(hash, |piece| each(piece).map_err(Failure));
        match read {
            Ok(Some(_)) => Ok(()),
            Ok(None) => Err("its approved content is not kept any more".into()),
            Err(Failure(why)) => Err(why),
        }
    }
}

/// Whether an attribute is of the object alone: how many names it has depends on the others.
fn is_own(attribute: Attribute, sealed: &FileState) -> bool {
    attribute != Attribute::Links || sealed.links < 2
}

/// Why a content could not be written.
struct Failure(String);

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Failure {
        Failure(error.to_string())
    }
}
