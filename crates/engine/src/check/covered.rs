//! Where the config covers less than the baseline, or the disk shows less than the config asks for.

use super::{CheckDir, Checking};
use crate::coverage;
use crate::seal::Trouble;
use crate::tree::Sealed;
use std::collections::BTreeSet;
use std::sync::Arc;
use waxseal_model::record::Reader;
use waxseal_model::{Attribute, Digest, RawPath};
use waxseal_observe::Node;
use waxseal_policy::{ChangeRule, Rules, Selection, Watch};

impl Checking<'_> {
    /// A check that covers less than the baseline does cannot say "intact".
    pub(super) fn compare_rules(&mut self, sealed_rules: &str) {
        let Ok(sealed) = waxseal_policy::parse(sealed_rules, "sealed rules") else {
            self.note(Trouble {
                path: None,
                message: "the rules sealed with the baseline cannot be read".into(),
            });
            return;
        };
        let paths = sealed.watches.iter().flat_map(|watch| &watch.paths);
        self.sealed_paths.extend(paths.map(coverage::as_path));
        if self.speaks_of_coverage() {
            self.note_narrowed(&Rules::new(Arc::new(sealed)));
        }
    }

    /// What guarded a sealed place, and what guards it now, by the places: a watch may have another name by now, and
    /// a new one may stand between.
    fn note_narrowed(&self, sealed: &Rules) {
        let configured = self.coverage.roots().iter().map(|root| &root.path);
        let places: BTreeSet<&RawPath> = self.tree.roots().keys().chain(configured).collect();
        let mut said = BTreeSet::new();
        for place in places {
            let before = sealed.owner(place).and_then(|owner| sealed.watch(owner));
            let (Some(before), Some(now)) = (before, self.coverage.owner(place)) else { continue };
            for what in narrowed(before, now.watch) {
                if said.insert((&now.watch.name, what.clone())) {
                    let message = format!(
                        "watch \"{}\" {what}, which the baseline was sealed to guard: seal anew, or put it back",
                        now.watch.name
                    );
                    self.note(Trouble { path: None, message });
                }
            }
        }
    }

    /// A monitor says where coverage is lacking when it starts, and again with each scheduled scan; not with every
    /// event.
    fn speaks_of_coverage(&self) -> bool {
        self.request.speaks_of_coverage
    }

    /// Configured paths that lead nowhere, and sealed roots that nobody watches any more.
    pub(super) fn report_coverage(&self) {
        // A literal path that was sealed has been removed, which is a change, said as one.
        let sealed = |path: &RawPath| self.tree.roots().contains_key(path);
        let unmatched = self.coverage.unmatched().iter().filter(|_| self.speaks_of_coverage());
        for unmatched in unmatched.filter(|unmatched| !sealed(&unmatched.path)) {
            let message = format!("watch \"{}\": {}", unmatched.watch, unmatched.why);
            self.note(Trouble::at(unmatched.path.clone(), message));
        }
        for path in self.tree.roots().keys() {
            if self.coverage.selection(path, true).0 != Selection::Skipped {
                continue;
            }
            if self.speaks_of_coverage() {
                self.no_longer_covered(path.clone());
            } else {
                self.cannot_see(path.clone());
            }
        }
    }

    /// A directory that was there when its parent was looked at and is not now: removed, if it was sealed.
    pub(super) fn vanished_while_scanned(&self, node: &Node<CheckDir>) {
        let path = node.path();
        if let Some(Sealed { state, child }) = self.sealed_at(&path) {
            self.removed(path.clone(), state);
            self.removed_below(&path, child);
        }
    }

    /// A sealed directory that is not walked any more hides what is in it from this check.
    pub(super) fn below_is_covered(&self, node: &Node<CheckDir>, name: &[u8], child: Option<Digest>) {
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

    pub(super) fn no_longer_covered(&self, path: RawPath) {
        self.trouble(
            path,
            "it is in the baseline, and the config no longer covers it: seal anew, or cover it again",
        );
    }
}

/// In which ways a watch guards less than another one did, for people. How severe a change is, is no part of it:
/// every change is reported at any severity.
fn narrowed(before: &Watch, now: &Watch) -> Vec<String> {
    let mut ways = Vec::new();
    let lost = before.attributes.difference(now.attributes);
    if !lost.is_empty() {
        let names = lost.iter().map(Attribute::name).collect::<Vec<_>>().join(", ");
        ways.push(format!("no longer counts {names}"));
    }
    if now.change != before.change {
        match now.change {
            ChangeRule::Any => {}
            ChangeRule::AppendOnly => ways.push("lets files grow and rotate".into()),
            ChangeRule::AdditionsAllowed => ways.push("lets files be added".into()),
        }
    }
    ways
}
