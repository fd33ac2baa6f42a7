//! Names that came and went, each told once.
//!
//! When a look finds that a new name is gone already, the event of its end may still be on its way and lead to another
//! look at nothing. Only a name that has appeared again since can have come and gone again.

use std::collections::HashSet;
use waxseal_model::RawPath;

/// How many names are remembered. Beyond it some are forgotten, and may be told twice.
const MOST: usize = 10_000;

/// Names that appeared, by the events.
#[derive(Debug, Default)]
pub struct Arrived {
    names: HashSet<RawPath>,
    /// There were too many to name.
    many: bool,
}

impl Arrived {
    /// A name appeared.
    pub fn add(&mut self, path: RawPath) {
        if self.names.len() >= MOST {
            self.add_many();
        }
        if !self.many {
            self.names.insert(path);
        }
    }

    /// More names appeared than are told here.
    pub fn add_many(&mut self) {
        self.names.clear();
        self.many = true;
    }
}

/// Names that were told to have come and gone.
#[derive(Debug, Default)]
pub struct Touched(HashSet<RawPath>);

impl Touched {
    /// These names appeared (again), so that they can come and go again.
    pub fn forget(&mut self, arrived: &Arrived) {
        if arrived.many {
            self.0.clear();
        }
        for path in &arrived.names {
            self.0.remove(path);
        }
    }

    /// That this name is gone was told in other words: whatever is heard of its end later is no news.
    pub fn was_told(&mut self, path: &RawPath) {
        self.is_news(path);
    }

    /// Whether this name, which is gone, is to be told.
    pub fn is_news(&mut self, path: &RawPath) -> bool {
        if self.0.len() >= MOST {
            self.0.clear();
        }
        self.0.insert(path.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(number: usize) -> RawPath {
        RawPath::new(format!("/t/{number}").as_bytes())
    }

    fn arrived(numbers: impl IntoIterator<Item = usize>) -> Arrived {
        let mut arrived = Arrived::default();
        numbers.into_iter().for_each(|number| arrived.add(path(number)));
        arrived
    }

    #[test]
    fn a_name_is_told_once_until_it_appears_again() {
        let mut touched = Touched::default();
        touched.forget(&arrived([1]));
        assert!(touched.is_news(&path(1)));
        // Its end is heard of later.
        assert!(!touched.is_news(&path(1)));
        touched.forget(&arrived([2]));
        assert!(!touched.is_news(&path(1)));
        assert!(touched.is_news(&path(2)));
        touched.forget(&arrived([1]));
        assert!(touched.is_news(&path(1)));
    }

    #[test]
    fn what_was_told_otherwise_is_no_news_until_it_appears_again() {
        let mut touched = Touched::default();
        touched.was_told(&path(1));
        assert!(!touched.is_news(&path(1)));
        touched.forget(&arrived([1]));
        assert!(touched.is_news(&path(1)));
    }

    #[test]
    fn a_storm_is_rather_told_twice_than_not_at_all() {
        let mut touched = Touched::default();
        assert!(touched.is_news(&path(7)));
        touched.forget(&arrived(0..3 * MOST));
        assert!((0..3 * MOST).all(|number| touched.is_news(&path(number))));
        assert!(touched.0.len() <= MOST);
    }
}
