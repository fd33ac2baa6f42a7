//! Who wrote where, as events told: kept beside the places that are to be looked at, until a change is recorded.

use std::collections::BTreeMap;
use std::sync::Arc;
use waxseal_model::{Actor, RawPath, actor};
use waxseal_observe::actors::{Describer, Who};

/// How many writers of one path are kept: the first, and the newest.
const MOST: usize = actor::MOST;

/// Who wrote at which path. The newest are last.
#[derive(Debug, Default)]
pub struct Writers(BTreeMap<RawPath, Marks>);

/// Who wrote at one place. The newest are last.
#[derive(Debug, Clone, Default)]
pub struct Marks {
    who: Vec<Who>,
    /// A directory was moved: what is below it was as well, by the same hand.
    deep: bool,
}

impl Marks {
    /// One who wrote there, if that is known; `deep` when a directory was moved.
    pub fn of(who: Option<Who>, deep: bool) -> Marks {
        Marks { deep: deep && who.is_some(), who: who.into_iter().collect() }
    }

    /// Somebody wrote there.
    fn add(&mut self, who: Who, deep: bool) {
        self.deep |= deep;
        if self.who.last() == Some(&who) {
            return;
        }
        self.who.retain(|known| *known != who);
        self.who.push(who);
        if self.who.len() > MOST {
            self.who.remove(1);
        }
    }

    /// What others wrote there after it.
    pub fn append(&mut self, later: Marks) {
        later.who.into_iter().for_each(|who| self.add(who, later.deep));
    }

    /// Whether nobody is known to have written there.
    pub fn is_empty(&self) -> bool {
        self.who.is_empty()
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        *self = Marks::default();
    }
}

impl Writers {
    /// They wrote at a path.
    pub fn add(&mut self, path: RawPath, marks: Marks) {
        if !marks.who.is_empty() {
            self.0.entry(path).or_default().append(marks);
        }
    }

    /// Whether nobody is known to have written.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Who wrote at this path, or moved a directory above it.
    pub fn of(&self, path: &RawPath) -> &[Who] {
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
        let mut actors = Vec::new();
        let found = self.writers.of(path).iter().map(|who| self.describer.actor(who, path));
        actor::add(&mut actors, found.collect());
        actors
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
        let add = |writers: &mut Writers, at, pid, deep| {
            writers.add(path(at), Marks::of(Some(Who::Unknown(pid)), deep));
        };
        add(&mut writers, "/t/a", 1, false);
        add(&mut writers, "/t/a", 2, false);
        add(&mut writers, "/t/a", 1, false);
        add(&mut writers, "/t/d", 3, true);
        add(&mut writers, "/t/d/x", 4, false);
        assert_eq!(pids(&writers, "/t/a"), [2, 1]);
        assert_eq!(pids(&writers, "/t/a/b"), [0u32; 0]);
        assert_eq!(pids(&writers, "/t/d/x"), [4]);
        assert_eq!(pids(&writers, "/t/d/y/z"), [3]);
        assert_eq!(pids(&writers, "/t"), [0u32; 0]);
        for pid in 10..30 {
            add(&mut writers, "/t/a", pid, false);
        }
        assert_eq!(pids(&writers, "/t/a").len(), MOST);
        assert_eq!((pids(&writers, "/t/a")[0], pids(&writers, "/t/a")[MOST - 1]), (2, 29));
    }
}
