//! Who wrote where, as events told: kept beside the places that are to be looked at, until a change is recorded.

use std::collections::BTreeMap;
use std::sync::Arc;
use waxseal_model::{Actor, RawPath};
use waxseal_observe::actors::{Describer, Who};

/// How many writers of one path are kept: the first, and the newest.
const MOST: usize = waxseal_model::actor::MOST;

/// Who wrote at which path. The newest are last.
#[derive(Debug, Default)]
pub struct Writers(BTreeMap<RawPath, Marks>);

#[derive(Debug, Default)]
struct Marks {
    who: Vec<Who>,
    /// A directory came, went or was moved: what is below it did the same, by the same hand.
    deep: bool,
}

impl Writers {
    /// Somebody wrote at a path.
    pub fn add(&mut self, path: RawPath, who: Who, deep: bool) {
        let marks = self.0.entry(path).or_default();
        marks.deep |= deep;
        marks.who.retain(|known| *known != who);
        marks.who.push(who);
        if marks.who.len() > MOST {
            marks.who.remove(1);
        }
    }

    /// Whether nobody is known to have written.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many paths are noted.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Takes those of these paths.
    pub fn take_of(&mut self, goes: impl Fn(&RawPath) -> bool) -> Writers {
        let (go, stay) = std::mem::take(&mut self.0).into_iter().partition(|(path, _)| goes(path));
        self.0 = stay;
        Writers(go)
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Who wrote at this path, or moved a directory above it.
    fn of(&self, path: &RawPath) -> &[Who] {
        if let Some(marks) = self.0.get(path) {
            return &marks.who;
        }
        let mut above = path.parent();
        while let Some(directory) = above {
            if let Some(marks) = self.0.get(&directory).filter(|marks| marks.deep) {
                return &marks.who;
            }
            above = directory.parent();
        }
        &[]
    }
}

/// Writers, and how to tell who they are.
#[derive(Debug)]
pub struct Written {
    writers: Writers,
    describer: Arc<Describer>,
}

impl Written {
    /// These writers; none at all when nobody is known to have written.
    pub fn new(writers: Writers, describer: &Arc<Describer>) -> Option<Arc<Written>> {
        let written = Written { writers, describer: Arc::clone(describer) };
        (!written.writers.is_empty()).then(|| Arc::new(written))
    }

    /// Who made the change of this path, the newest last.
    pub fn actors(&self, path: &RawPath) -> Vec<Actor> {
        self.writers.of(path).iter().map(|who| self.describer.actor(who)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> RawPath {
        RawPath::new(text.as_bytes())
    }

    fn pids(writers: &Writers, at: &str) -> Vec<u32> {
        writers.of(&path(at)).iter().map(Who::pid).collect()
    }

    #[test]
    fn writers_are_kept_by_path_and_a_moved_directory_speaks_for_what_is_in_it() {
        let mut writers = Writers::default();
        writers.add(path("/t/a"), Who::Unknown(1), false);
        writers.add(path("/t/a"), Who::Unknown(2), false);
        writers.add(path("/t/a"), Who::Unknown(1), false);
        writers.add(path("/t/d"), Who::Unknown(3), true);
        writers.add(path("/t/d/x"), Who::Unknown(4), false);
        assert_eq!(pids(&writers, "/t/a"), [2, 1]);
        assert_eq!(pids(&writers, "/t/a/b"), [0u32; 0]);
        assert_eq!(pids(&writers, "/t/d/x"), [4]);
        assert_eq!(pids(&writers, "/t/d/y/z"), [3]);
        assert_eq!(pids(&writers, "/t"), [0u32; 0]);
        for pid in 10..30 {
            writers.add(path("/t/a"), Who::Unknown(pid), false);
        }
        assert_eq!(pids(&writers, "/t/a").len(), MOST);
        assert_eq!((pids(&writers, "/t/a")[0], pids(&writers, "/t/a")[MOST - 1]), (2, 29));
    }
}
