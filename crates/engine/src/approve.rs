//! Approving: what was found, and shown, becomes the baseline.
//!
//! In: open changes. Out: the next generation of the baseline, signed, and the changes ended, in one transaction. Each path is
//! looked at once more first: what is not as it was recorded any more is refused, and the others go through.

use crate::coverage::Coverage;
use crate::decide::{Refused, as_recorded};
use crate::error::EngineError;
use crate::evidence;
use crate::graft::{Edits, graft, misplaced};
use crate::seal::{Next, Sealer};
use crate::tree::Tree;
use std::collections::{BTreeMap, BTreeSet};
use waxseal_ledger::leaf::By;
use waxseal_model::{Change, ChangeKind, RawPath};
use waxseal_observe::now;
use waxseal_observe::probe::Hashing;
use waxseal_store::{Approved, Baseline, Decider, NewBaseline, Store};

/// What would be approved, and what would not.
#[derive(Debug, Default)]
pub struct Plan {
    /// Changes whose paths are as they were recorded, with their states.
    pub approved: Vec<Approved>,
    /// The others, and why.
    pub refused: Vec<Refused>,
}

/// Where changes are approved.
#[derive(Debug, Clone, Copy)]
pub struct Approval<'a> {
    /// Where they are recorded.
    pub store: &'a Store,
    /// The baseline that the new one follows.
    pub baseline: &'a Baseline,
    /// The rules in force.
    pub coverage: &'a Coverage,
    /// How contents are hashed.
    pub hashing: &'a Hashing,
}

impl Approval<'_> {
    /// Looks at every path again.
    ///
    /// # Errors
    /// As the database says.
    pub fn plan(&self, changes: Vec<Change>) -> Result<Plan, EngineError> {
        let mut plan = Plan::default();
        for change in changes {
            match as_recorded(self.coverage, self.hashing, &change) {
                Ok(state) => plan.approved.push(Approved { change, state }),
                Err(why) => plan.refused.push(Refused { change, why, is_stale: true }),
            }
        }
        let tree = Tree::open(self.store, &self.baseline.stored.root)?;
        let astray = misplaced(&tree, &self.edits(&plan.approved), &|path| self.is_root(path))?;
        plan.set_aside(&astray);
        Ok(plan)
    }

    /// Seals the next generation with what the plan approves. Its rules are those of the one before, unless `rules` are given.
    ///
    /// # Errors
    /// [`waxseal_store::StoreError::Superseded`] when the record moved since the plan was made, which then has to be made
    /// again; others as the disk says. Nothing has been approved then.
    pub fn seal(
        &self,
        plan: &Plan,
        rules: Option<String>,
        sealer: &Sealer<'_>,
        by: By,
    ) -> Result<(u64, NewBaseline), EngineError> {
        let tree = Tree::open(self.store, &self.baseline.stored.root)?;
        let grafted = graft(&tree, self.edits(&plan.approved), &|path| self.is_root(path))?;
        let stored = &self.baseline.stored;
        let host = self.store.host_key(now())?;
        let counts = grafted.difference.applied_to([stored.entries, stored.files, stored.bytes]);
        let rules = rules.unwrap_or_else(|| stored.rules.clone());
        let previous = Some(self.baseline);
        let next = Next { previous, root: grafted.root, counts, rules, scan_start: now() };
        let next = next.sign(sealer, &host)?;
        let mut records = grafted.records.iter().map(|(hash, record)| (hash, record.as_slice()));
        let kept = evidence::of_approved(self.store, self.coverage, &plan.approved)?;
        let decider = Decider { by, note: sealer.note.clone() };
        let generation = self.store.approve(
            self.baseline.generation,
            &mut records,
            &next,
            &plan.approved,
            &kept,
            &decider,
        )?;
        Ok((generation, next))
    }

    /// What these approvals make of the tree.
    fn edits(&self, approved: &[Approved]) -> Edits {
        let approved = || approved.iter().filter(|one| !self.coverage.is_own(&one.change.path));
        let mut edits = BTreeMap::new();
        for Approved { change, .. } in approved() {
            if let Some(from) = change.from.as_ref().filter(|_| change.kind == ChangeKind::Moved) {
                edits.insert(from.clone(), None);
            }
        }
        // A name from which one thing has moved may be that to which another has.
        edits.extend(approved().map(|one| (one.change.path.clone(), one.state.clone())));
        edits
    }

    fn is_root(&self, path: &RawPath) -> bool {
        self.coverage.root_at(path).is_some()
    }
}

impl Plan {
    fn set_aside(&mut self, astray: &BTreeSet<RawPath>) {
        if astray.is_empty() {
            return;
        }
        for Approved { change, state } in std::mem::take(&mut self.approved) {
            if astray.contains(&change.path) {
                let parent = change.path.parent().map(|parent| parent.to_string()).unwrap_or_default();
                let why = format!("the directory it is in is not approved: approve {parent} with it");
                self.refused.push(Refused { change, why, is_stale: false });
            } else {
                self.approved.push(Approved { change, state });
            }
        }
    }
}
