//! Where the type that a directory's list gives of a name may not be the type of what is there.
//!
//! A list tells what the directory itself holds, also of a name on which something else is mounted: `/dev/null` over a
//! regular file, say, as containers do it. What is no regular file must not be opened for reading, so where anything is
//! mounted, and where nobody knows, every name is asked by stat.

use std::collections::BTreeSet;
use std::sync::OnceLock;
use waxseal_model::RawPath;
use waxseal_os::mounts::{self, Mount, Nature};
use waxseal_os::paths;

/// What is known of the mounts in the trees of a scan. Nothing is asked before it is needed.
pub(super) struct Mounted {
    roots: Vec<RawPath>,
    places: OnceLock<Option<Places>>,
}

struct Places {
    /// Directories at or below the roots in which something is mounted.
    holding: BTreeSet<RawPath>,
    /// Roots whose real place is not known by their path.
    unsure: Vec<RawPath>,
}

impl Mounted {
    /// The mounts in the trees below these roots.
    pub fn below(roots: Vec<RawPath>) -> Mounted {
        Mounted { roots, places: OnceLock::new() }
    }

    /// Whether something may be mounted on a name of this directory, which lies at or below a root.
    pub fn may_be_in(&self, directory: impl FnOnce() -> RawPath) -> bool {
        if !mounts::OVER_FILES {
            return false;
        }
        let places = self.places.get_or_init(|| Some(Places::of(&mounts::read().ok()?, &self.roots)));
        let Some(places) = places else { return true };
        if places.holding.is_empty() && places.unsure.is_empty() {
            return false;
        }
        let directory = directory();
        let below = |root: &RawPath| directory.below(root).is_some();
        places.holding.contains(&directory) || places.unsure.iter().any(below)
    }
}

impl Places {
    fn of(table: &[Mount], roots: &[RawPath]) -> Places {
        let in_a_tree = |directory: &RawPath| roots.iter().any(|root| directory.below(root).is_some());
        let holding = table.iter().filter_map(|mount| mount.point.parent()).filter(in_a_tree).collect();
        let unsure = roots.iter().filter(|root| !is_reached_directly(table, root)).cloned().collect();
        Places { holding, unsure }
    }
}

/// Whether no link leads to the root, so that the table of mounts calls it by the same path.
fn is_reached_directly(table: &[Mount], root: &RawPath) -> bool {
    let Some(parent) = root.parent() else { return true };
    // A server that does not answer is not asked.
    let near = |path| mounts::holding(table, None, path).is_some_and(|m| m.nature() != Nature::Remote);
    near(&parent) && paths::real(paths::to_path(&parent).as_path()).is_some_and(|real| real == parent)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> RawPath {
        RawPath::new(text.as_bytes())
    }

    #[test]
    fn only_directories_with_mounts_and_trees_behind_links_or_servers_are_unsure() {
        let temp = tempfile::tempdir().unwrap();
        let real = paths::real(temp.path()).unwrap();
        std::os::unix::fs::symlink(paths::to_path(&real), temp.path().join("link")).unwrap();
        let table = mounts::parse(
            b"20 1 0:1 / / rw - ext4 /dev/root rw\n\
              21 20 0:2 /null /srv/a/masked rw - tmpfs none rw\n\
              22 20 0:3 / /far rw - nfs4 server:/x rw\n",
        );
        let linked = real.join(b"link").join(b"tree");
        let roots = [path("/srv"), path("/"), path("/far/tree"), real.join(b"tree"), linked.clone()];
        let places = Places::of(&table, &roots);
        assert_eq!(places.holding, BTreeSet::from([path("/"), path("/srv/a")]));
        assert_eq!(places.unsure, [path("/far/tree"), linked]);
        let mounted = Mounted { roots: Vec::new(), places: OnceLock::from(Some(places)) };
        for (directory, unsure) in
            [("/srv/a", true), ("/srv/a/masked", false), ("/srv", false), ("/", true), ("/far/tree/x", true)]
        {
            assert_eq!(mounted.may_be_in(|| path(directory)), unsure, "{directory}");
        }
        let quiet = Places::of(&table, &[real.join(b"tree")]);
        assert!(
            quiet.holding.is_empty() && quiet.unsure.is_empty(),
            "what is mounted elsewhere is of no interest"
        );
        let blind = Mounted { roots: Vec::new(), places: OnceLock::from(None) };
        assert!(blind.may_be_in(|| path("/srv")));
    }
}
