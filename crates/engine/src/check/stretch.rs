//! A stretch of the directories that a scan comes by, so that a long scan can be done piece by piece.

use std::cmp::Ordering;
use waxseal_model::RawPath;

/// Directories from one to another, in the order of a walk: each directory before what is in it, names by their bytes. What
/// lies directly in a directory belongs to it. Everything, by default.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stretch {
    /// The first one; the first of all when absent. It need not exist.
    pub from: Option<RawPath>,
    /// The first one that does not belong to it; none when absent.
    pub to: Option<RawPath>,
}

impl Stretch {
    /// Whether it is everything.
    pub fn is_all(&self) -> bool {
        self.from.is_none() && self.to.is_none()
    }

    /// Whether a directory belongs to it.
    pub fn holds(&self, directory: &RawPath) -> bool {
        self.from.as_ref().is_none_or(|from| walk_order(from, directory).is_le())
            && self.begins_before_end(directory)
    }

    /// Whether a directory, or one below it, belongs to it.
    pub fn reaches(&self, directory: &RawPath) -> bool {
        let leads_to =
            |from: &RawPath| walk_order(from, directory).is_le() || from.below(directory).is_some();
        self.from.as_ref().is_none_or(leads_to) && self.begins_before_end(directory)
    }

    fn begins_before_end(&self, directory: &RawPath) -> bool {
        self.to.as_ref().is_none_or(|to| walk_order(directory, to).is_lt())
    }
}

/// The order in which a walk comes by directories: a slash ends a name, so it counts less than any byte of one.
pub fn walk_order(a: &RawPath, b: &RawPath) -> Ordering {
    // No name holds a zero byte.
    let rank = |byte: &u8| if *byte == b'/' { 0 } else { *byte };
    a.as_bytes().iter().map(rank).cmp(b.as_bytes().iter().map(rank))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> RawPath {
        RawPath::new(text.as_bytes())
    }

    const WALK: [&str; 9] = ["/", "/a", "/a/b", "/a/b/c", "/a/c", "/a!", "/a-b", "/b", "/b/\u{1}"];

    #[test]
    fn a_directory_comes_before_what_is_in_it_and_that_before_the_next() {
        let mut sorted: Vec<RawPath> = WALK.iter().rev().map(|text| path(text)).collect();
        sorted.sort_by(walk_order);
        assert_eq!(sorted, WALK.map(path));
    }

    #[test]
    fn pieces_hold_every_directory_once_and_are_reached_from_above() {
        for cuts in [vec![], vec![0], vec![3], vec![1, 4, 5], (0..WALK.len()).collect()] {
            let mut ends: Vec<Option<RawPath>> = cuts.iter().map(|at| Some(path(WALK[*at]))).collect();
            ends.push(None);
            let mut from = None;
            let mut held = Vec::new();
            for to in ends {
                let piece = Stretch { from: from.clone(), to: to.clone() };
                assert_eq!(piece.is_all(), cuts.is_empty());
                for text in WALK {
                    let below = |other: &&&str| path(other).below(&path(text)).is_some();
                    let any = WALK.iter().filter(below).any(|other| piece.holds(&path(other)));
                    // A cut need not be there any more, so that the way to it may lead nowhere.
                    assert!(piece.reaches(&path(text)) || !any, "{text} of {piece:?}");
                    held.extend(piece.holds(&path(text)).then_some(text));
                }
                from = to;
            }
            assert_eq!(held, WALK);
        }
    }

    #[test]
    fn what_lies_outside_is_not_walked() {
        let piece = Stretch { from: Some(path("/a/b/c")), to: Some(path("/a!")) };
        let reached: Vec<&str> = WALK.into_iter().filter(|text| piece.reaches(&path(text))).collect();
        assert_eq!(reached, ["/", "/a", "/a/b", "/a/b/c", "/a/c"]);
    }
}
