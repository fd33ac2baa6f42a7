//! Where the config covers less than the baseline, or the disk shows less than the config asks for.

use super::{CheckDir, Checking};
use crate::coverage;
use crate::seal::Trouble;
use crate::tree::Sealed;
use waxseal_model::record::Reader;
use waxseal_model::{Attribute, Digest, RawPath};
use waxseal_observe::Node;
use waxseal_policy::Selection;

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
    pub(super) fn report_coverage(&self) {
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
