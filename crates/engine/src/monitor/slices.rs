//! Cuts the scan of everything into slices of about the same work, by what was sealed. What was not sealed falls into one
//! of them as well.

use crate::check::{Stretch, walk_order};
use crate::error::EngineError;
use crate::tree::Tree;
use waxseal_model::{FileState, FileType, RawPath};
use waxseal_store::{Baseline, Store};

/// How many slices there are, about; few enough to say after each how far the scan is.
const SLICES: u64 = 256;
/// The least work in one: below that, finding the way to it would be most of it.
const LEAST: u64 = 64 << 20;
/// The work of looking at an entry, as bytes that could be hashed in that time.
const ENTRY: u64 = 8 << 10;

/// The work of looking at these.
pub fn work(entries: u64, bytes: u64) -> u64 {
    entries.saturating_mul(ENTRY).saturating_add(bytes)
}

/// Where a scan is cut.
#[derive(Debug, Default)]
pub struct Slices {
    /// The first directory of each slice but the first, with the work before it.
    cuts: Vec<(RawPath, u64)>,
    /// All work.
    pub total: u64,
    /// The work of one slice, about.
    pub each: u64,
}

/// One slice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slice {
    /// Its directories.
    pub stretch: Stretch,
    /// The work before it.
    pub before: u64,
}

impl Slices {
    /// The slices for a baseline. `breathe` is called now and then.
    ///
    /// # Errors
    /// When the baseline cannot be read.
    pub fn of(store: &Store, baseline: &Baseline, breathe: &dyn Fn()) -> Result<Slices, EngineError> {
        let each = (work(baseline.stored.entries, baseline.stored.bytes) / SLICES).max(LEAST);
        let mut slices = Slices { each, ..Slices::default() };
        let tree = Tree::open(store, &baseline.stored.root)?;
        let (mut directory, mut begun) = (None, 0);
        let mut last_breath = 0;
        tree.each(&mut |path: &RawPath, state: &FileState| {
            // Everything in a directory comes together; where a walk begins, that place belongs to what is in it.
            let here = if tree.roots().contains_key(path) { Some(path.clone()) } else { path.parent() };
            if directory != here {
                if slices.total.saturating_sub(begun) >= each
                    && let Some(here) = &here
                {
                    slices.cuts.push((here.clone(), slices.total));
                    begun = slices.total;
                }
                directory = here;
            }
            let bytes = if state.file_type == FileType::File { state.size } else { 0 };
            slices.total = slices.total.saturating_add(work(1, bytes));
            last_breath += 1;
            if last_breath % 1000 == 0 {
                breathe();
            }
        })?;
        slices.put_in_order();
        Ok(slices)
    }

    /// Roots within others were come by after those: what is before a cut is only about right there.
    fn put_in_order(&mut self) {
        self.cuts.sort_by(|a, b| walk_order(&a.0, &b.0));
        self.cuts.dedup_by(|a, b| a.0 == b.0);
        let mut most = 0;
        for (_, before) in &mut self.cuts {
            most = most.max(*before);
            *before = most;
        }
    }

    /// The slice that begins with this directory, or with the first of all; it need not be where a cut is.
    pub fn from(&self, from: Option<&RawPath>) -> Slice {
        let is_after = |cut: &&(RawPath, u64)| from.is_none_or(|from| walk_order(&cut.0, from).is_gt());
        let to = self.cuts.iter().find(is_after).map(|cut| cut.0.clone());
        let passed = self.cuts.iter().take_while(|cut| !is_after(cut)).last();
        let before = passed.map_or(0, |cut| cut.1);
        Slice { stretch: Stretch { from: from.cloned(), to }, before }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> RawPath {
        RawPath::new(text.as_bytes())
    }

    #[test]
    fn one_follows_the_other_to_the_end() {
        let cuts = [("/b/c", 70), ("/a", 10), ("/b", 40), ("/a", 20)];
        let cuts = cuts.map(|(at, before)| (path(at), before)).to_vec();
        let mut slices = Slices { cuts, total: 100, each: 10 };
        slices.put_in_order();
        let mut seen = Vec::new();
        let mut from = None;
        loop {
            let slice = slices.from(from.as_ref());
            assert_eq!(slice.stretch.from, from);
            from = slice.stretch.to.clone();
            seen.push((slice.before, from.as_ref().map(ToString::to_string)));
            if from.is_none() {
                break;
            }
        }
        let ends = ["/a", "/b", "/b/c"].map(|end| Some(end.to_string()));
        let [a, b, c] = ends;
        assert_eq!(seen, [(0, a), (10, b), (40, c), (70, None)]);
        // From where the cuts of before were.
        let odd = slices.from(Some(&path("/b/a")));
        assert_eq!((odd.stretch.to, odd.before), (Some(path("/b/c")), 40));
        assert_eq!(Slices::default().from(None), Slice { stretch: Stretch::default(), before: 0 });
    }
}
