//! What one process ran, one program after the other.

use crate::process::{EARLIER, Program, Window};
use std::sync::Arc;
use waxseal_model::RawPath;

/// A program, from when a process ran it.
#[derive(Debug, Clone)]
struct Image {
    /// Since then.
    from: u64,
    /// `None`: it is not known.
    program: Option<Arc<Program>>,
    /// No event of the process waited to be read when it became this.
    quiet: bool,
}

/// The program that a process runs, and those that it ran before.
#[derive(Debug)]
pub struct Images {
    now: Image,
    /// Oldest first.
    before: Vec<Image>,
    /// What it ran before then is not known.
    unknown: u64,
}

/// What one program takes that a process ran before, with what memory is kept by.
#[cfg(test)]
pub const ONE_BEFORE: usize = size_of::<Image>() + 8;

/// What a process may have been within a window.
#[derive(Debug, PartialEq, Eq)]
pub struct Told {
    /// The last of them.
    pub program: Option<Arc<Program>>,
    /// The executables of those before, oldest first.
    pub earlier: Box<[RawPath]>,
    /// Some of those are not known, or forgotten.
    pub cut: bool,
}

impl Images {
    /// It has run this since then. What it ran before is not known, if there was anything.
    pub fn new(from: u64, program: Option<Arc<Program>>, is_first: bool) -> Images {
        let unknown = if is_first { 0 } else { from };
        Images { now: Image { from, program, quiet: false }, before: Vec::new(), unknown }
    }

    /// What it runs now, if it is known.
    pub fn program(&self) -> Option<&Arc<Program>> {
        self.now.program.as_ref()
    }

    /// It became this. Of what was over before `read`, nobody will ask.
    pub fn become_(&mut self, time: u64, program: Option<Arc<Program>>, quiet: bool, read: u64) {
        if self.now.program.is_some() && self.now.program == program {
            return;
        }
        let old = std::mem::replace(&mut self.now, Image { from: time, program, quiet });
        let over = self.before.iter().skip(1).chain([&old]).take_while(|next| next.from < read).count();
        self.before.drain(..over.min(self.before.len()));
        if self.before.len() >= EARLIER {
            self.before.remove(0);
            self.unknown = self.unknown.max(self.before.first().map_or(old.from, |first| first.from));
        }
        self.before.reserve_exact(1);
        self.before.push(old);
    }

    /// What it runs now is not known after all.
    pub fn forget(&mut self) {
        self.now.program = None;
    }

    /// What it ran at any time of this window. When no event of it waited as it became something, after `known`, then
    /// what was read later is of what it ran from then on.
    pub fn within(&self, window: Window, known: u64) -> Told {
        let mut since = window.since;
        let images = || self.before.iter().chain([&self.now]);
        let parted = images().filter(|image| image.quiet && (known..=window.read).contains(&image.from));
        let parted = parted.map(|image| image.from).max();
        // Who became something at that time had done nothing before that was not read.
        if let Some(parted) = parted.filter(|parted| *parted >= since) {
            since = parted.saturating_add(1);
        }
        let ends = images().skip(1).map(|next| next.from).chain([u64::MAX]);
        let mut found: Vec<&Image> = images()
            .zip(ends)
            .filter(|(image, end)| image.from <= window.until && *end >= since)
            .map(|(image, _)| image)
            .collect();
        // The same with the same arguments is no other.
        found.dedup_by(|next, last| next.program.is_some() && next.program == last.program);
        let Some((last, before)) = found.split_last() else {
            // It was read before the process had begun, by what is on record.
            return Told { program: None, earlier: Box::default(), cut: true };
        };
        let exe = |image: &Image| image.program.as_ref()?.exe.clone();
        let mut cut = since < self.unknown;
        let mut earlier: Vec<RawPath> = Vec::new();
        for image in before {
            match exe(image) {
                Some(exe) if earlier.last() == Some(&exe) => {}
                Some(exe) => earlier.push(exe),
                None => cut = true,
            }
        }
        Told { program: last.program.clone(), earlier: earlier.into(), cut }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::program::Tally;
    use super::*;

    fn program(name: &str) -> Option<Arc<Program>> {
        Some(Program::new(
            Some(RawPath::new(name.as_bytes())),
            name.as_bytes(),
            false,
            None,
            &Tally::default(),
        ))
    }

    /// The last, those before, and whether that is all.
    fn told(images: &Images, since: u64, until: u64, read: u64) -> (String, String, bool) {
        let told = images.within(Window { since, until, read }, 0);
        let name = |exe: &RawPath| exe.to_string();
        let exe = told.program.and_then(|program| program.exe.as_ref().map(name));
        let earlier: Vec<_> = told.earlier.iter().map(name).collect();
        (exe.unwrap_or("?".into()), earlier.join(" "), told.cut)
    }

    fn all(last: &str, earlier: &str) -> (String, String, bool) {
        (last.into(), earlier.into(), false)
    }

    #[test]
    fn all_that_it_was_within_the_window_is_told() {
        let mut images = Images::new(10, program("a"), true);
        images.become_(20, program("b"), false, 0);
        images.become_(30, program("c"), false, 0);
        assert_eq!(told(&images, 5, 40, 35), all("c", "a b"));
        assert_eq!(told(&images, 21, 40, 35), all("c", "b"));
        assert_eq!(told(&images, 31, 40, 35), all("c", ""));
        // It was read before the process became the next.
        assert_eq!(told(&images, 5, 25, 0), all("b", "a"));
        assert_eq!(told(&images, 5, 15, 0), all("a", ""));
        assert_eq!(told(&images, 5, 9, 0), ("?".into(), String::new(), true));
        // The beginning of one that was there already is not known.
        let images = Images::new(10, program("a"), false);
        assert_eq!(told(&images, 5, 40, 35), ("a".into(), String::new(), true));
        assert_eq!(told(&images, 10, 40, 35), all("a", ""));
    }

    #[test]
    fn what_was_over_while_no_event_waited_has_no_part_in_what_was_read_later() {
        let mut images = Images::new(10, program("a"), true);
        images.become_(20, program("b"), true, 0);
        assert_eq!(told(&images, 5, 40, 35), all("b", ""));
        assert_eq!(told(&images, 5, 40, 20), all("b", ""));
        assert_eq!(told(&images, 5, 40, 19), all("b", "a"), "the reading had begun");
        assert_eq!(told(&images, 5, 40, 0), all("b", "a"));
        images.become_(30, program("c"), false, 0);
        assert_eq!(told(&images, 5, 40, 35), all("c", "b"));
        // Before then nobody looked whether events waited.
        let told = images.within(Window { since: 5, until: 40, read: 35 }, 25);
        assert_eq!(told.earlier.len(), 2);
    }

    #[test]
    fn what_is_unknown_or_forgotten_is_said() {
        let mut images = Images::new(10, program("a"), true);
        images.become_(20, None, false, 0);
        images.become_(30, program("c"), false, 0);
        assert_eq!(told(&images, 5, 40, 35), ("c".into(), "a".into(), true));
        for n in 0..20u64 {
            images.become_(40 + n, program(&format!("{n}")), false, 0);
        }
        let (last, earlier, cut) = told(&images, 5, 100, 90);
        assert_eq!((last.as_str(), earlier.as_str(), cut), ("19", "11 12 13 14 15 16 17 18", true));
        assert_eq!(told(&images, 55, 100, 90), all("19", "14 15 16 17 18"));
        // Nobody asks any more about what was over before.
        images.become_(100, program("z"), false, 58);
        assert_eq!(images.before.len(), 3);
        assert_eq!(told(&images, 58, 100, 99), all("z", "17 18 19"));
    }

    #[test]
    fn the_same_once_more_is_no_other() {
        let mut images = Images::new(10, program("a"), true);
        for time in 20..100 {
            images.become_(time, program("a"), false, 0);
        }
        assert_eq!(told(&images, 5, 200, 150), all("a", ""));
        images.become_(100, program("b"), false, 0);
        images.become_(110, None, false, 0);
        assert_eq!(told(&images, 5, 200, 150), ("?".into(), "a b".into(), false));
        images.forget();
        assert!(images.program().is_none());
    }
}
