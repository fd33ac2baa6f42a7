//! What a scan will come to: a walk that looks at names and sizes, and reads nothing.

use crate::coverage::Coverage;
use crate::plan::Plan;
use std::sync::atomic::{AtomicU64, Ordering};
use waxseal_model::{Digest, FileType};
use waxseal_observe::probe::Hashing;
use waxseal_observe::{Algorithms, Entry, FileError, Node, Options, Progress, Visitor, scan};

struct Counting<'a> {
    coverage: &'a Coverage,
    bytes: AtomicU64,
}

/// The sizes of all covered files together; none when it was stopped.
pub fn count_bytes(coverage: &Coverage, progress: &Progress) -> Option<u64> {
    let counting = Counting { coverage, bytes: AtomicU64::new(0) };
    let roots = coverage.roots().iter().map(|root| waxseal_observe::Root { path: root.path.clone() });
    let hashing = Hashing { algorithms: Algorithms::default(), max_sparse: 0, from_disk: false };
    let options = Options { hashing, threads: Some(1), bottom_up: false };
    scan(roots.collect(), 0, &counting, &options, progress);
    (!progress.stop.load(Ordering::Relaxed)).then(|| counting.bytes.into_inner())
}

impl Visitor for Counting<'_> {
    /// The index of the root.
    type Dir = usize;

    fn plan(&self, node: &Node<usize>, entries: &mut Vec<Entry<usize>>) {
        let plan = Plan::of(self.coverage, node, node.context);
        plan.retain_covered(entries);
        for entry in entries {
            let Some(state) = &entry.state else { continue };
            if state.file_type == FileType::File {
                self.bytes.fetch_add(state.size, Ordering::Relaxed);
            }
            if let Some((root, watch)) = plan.rules_of(&entry.name)
                && plan.may_descend(watch, state, &entry.name)
            {
                entry.descend = Some(Box::new(root));
            }
        }
    }

    fn done(&self, _: &Node<usize>, _: Vec<Entry<usize>>, _: Option<FileError>) -> Option<Digest> {
        None
    }
}
