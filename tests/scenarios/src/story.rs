//! A story told in every way: found by a full check, by a quick check, and by the monitor, with fanotify and with
//! inotify.

use crate::expect::{Expect, mismatch};
use crate::machine::Machine;
use crate::mounts::{Fs, for_each_filesystem};
use crate::{files, is_root, skip, tools};
use std::fs;
use std::path::{Path, PathBuf};

/// Where a story happens: a watched tree, and a directory beside it on the same filesystem.
pub struct Place {
    /// The watched directory.
    pub tree: PathBuf,
    /// A directory that nobody watches.
    pub outside: PathBuf,
}

impl Place {
    /// A path in the tree.
    pub fn at(&self, name: &str) -> PathBuf {
        self.tree.join(name)
    }

    /// A path beside the tree.
    pub fn out(&self, name: &str) -> PathBuf {
        self.outside.join(name)
    }
}

/// What is there when the baseline is sealed, what happens then, and what must be reported of it.
pub struct Story<K = ()> {
    /// Further keys of the watch, in TOML.
    pub rule: &'static str,
    /// Programs without which it cannot be told.
    pub needs: &'static [&'static str],
    /// Whether only root can do what happens in it.
    pub root: bool,
    /// Makes the tree.
    pub before: fn(&Place),
    /// Changes it; what is returned is kept until the end.
    pub then: fn(&Place) -> K,
    /// The changes that must be reported, and no others.
    pub expect: fn(&Place) -> Vec<Expect>,
}

/// Who has to find it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Check,
    Quick,
    Watch,
    /// The monitor without the right to mark filesystems.
    Inotify,
}

/// All of them, or those that `WAXSEAL_WAYS` names, as in `check,quick`: for whoever works on one of them.
fn ways() -> Vec<Way> {
    let all = vec![Way::Check, Way::Quick, Way::Watch, Way::Inotify];
    let Ok(wanted) = std::env::var("WAXSEAL_WAYS") else { return all };
    let is_wanted = |way: &Way| wanted.split(',').any(|name| name.eq_ignore_ascii_case(&format!("{way:?}")));
    let (ways, left_out): (Vec<_>, Vec<_>) = all.into_iter().partition(is_wanted);
    if !left_out.is_empty() {
        skip(&format!("WAXSEAL_WAYS leaves out {left_out:?}"));
    }
    ways
}

/// What the monitor may rest on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Means {
    /// The kernel's events alone.
    Events,
    /// Its scheduled scans as well: for what the kernel does not tell.
    Scans,
}

/// Its removal is reported under every rule; and when it has been, so has everything before it.
const SENTINEL: &str = "zz-sentinel";

impl<K> Story<K> {
    /// Tells the story on every filesystem that can be mounted here; the monitor must find it by events alone.
    pub fn on_all(&self) {
        self.on(Fs::ALL);
    }

    /// Tells the story on these filesystems; the monitor must find it by events alone.
    pub fn on(&self, filesystems: &[Fs]) {
        self.tell_on(filesystems, &ways(), Means::Events);
    }

    /// Tells a story of which the kernel sends no event on these filesystems: the monitor finds it by its scheduled
    /// scans.
    pub fn by_scans_on(&self, filesystems: &[Fs]) {
        self.tell_on(filesystems, &ways(), Means::Scans);
    }

    /// Tells a story of which fanotify tells on these filesystems and inotify does not.
    pub fn by_marks_on(&self, filesystems: &[Fs]) {
        if !is_root() {
            // Nobody else may mark a filesystem.
            return self.by_scans_on(filesystems);
        }
        let (inotify, marks): (Vec<_>, Vec<_>) = ways().into_iter().partition(|way| *way == Way::Inotify);
        self.tell_on(filesystems, &marks, Means::Events);
        self.tell_on(filesystems, &inotify, Means::Scans);
    }

    fn tell_on(&self, filesystems: &[Fs], ways: &[Way], means: Means) {
        if self.root && !is_root() {
            return skip("only root can do this");
        }
        if !self.needs.iter().all(|program| tools::has(program)) {
            return;
        }
        // Without the rights of root, the monitor takes inotify by itself.
        let can_drop = is_root() && ways.contains(&Way::Inotify) && tools::has("setpriv");
        for_each_filesystem(filesystems, |root| {
            for &way in ways.iter().filter(|way| **way != Way::Inotify || can_drop) {
                eprintln!("by {way:?}");
                self.tell(&root.join(format!("{way:?}")), way, means);
            }
        });
    }

    fn tell(&self, directory: &Path, way: Way, means: Means) {
        let place = Place { tree: directory.join("tree"), outside: directory.join("outside") };
        fs::create_dir_all(&place.tree).expect("the tree");
        fs::create_dir_all(&place.outside).expect("the place beside it");
        (self.before)(&place);
        let machine = Machine::with_tree(&place.tree);
        let by_monitor = matches!(way, Way::Watch | Way::Inotify);
        if by_monitor && means == Means::Scans {
            files::write(place.at(SENTINEL), "");
        }
        let every = if means == Means::Scans { "1s" } else { "1h" };
        machine.watch_tree(&format!("{}\n[scan]\nquick_every = \"{every}\"", self.rule));
        machine.init();
        if by_monitor {
            self.found_by_monitor(&machine, &place, way, means);
        } else {
            self.found_by_check(&machine, &place, way);
        }
    }

    fn found_by_check(&self, machine: &Machine, place: &Place, way: Way) {
        let _kept = (self.then)(place);
        let report = if way == Way::Quick { machine.check_quick() } else { machine.check() };
        let expected = (self.expect)(place);
        if let Some(wrong) = mismatch(&place.tree, &expected, &report.changes) {
            panic!("{wrong}\n{:#?}", report.output);
        }
        if expected.is_empty() {
            report.expect_intact();
        } else {
            report.expect_changed();
        }
    }

    fn found_by_monitor(&self, machine: &Machine, place: &Place, way: Way, means: Means) {
        let mut watching = match way {
            Way::Inotify => machine.watch_without_marks(),
            _ => machine.watch(),
        };
        if way == Way::Inotify {
            assert_eq!(watching.ready["backend"], "inotify", "{}", watching.ready);
        }
        let _kept = (self.then)(place);
        let mut expected = (self.expect)(place);
        if means == Means::Events {
            // Nothing more can come of what has happened: the record must be right at once.
            machine.sync();
            let recorded = machine.recorded();
            if let Some(wrong) = mismatch(&place.tree, &expected, &recorded) {
                panic!("{wrong}\non record after sync: {recorded:#?}\nprinted: {:#?}", watching.seen());
            }
        }
        watching.wait_for_changes(|changes| mismatch(&place.tree, &expected, changes));
        if means == Means::Scans {
            // Silence proves nothing until something that happened later has been reported.
            fs::remove_file(place.at(SENTINEL)).expect("the sentinel");
            expected.push(Expect::removed(SENTINEL));
            watching.wait_for_changes(|changes| mismatch(&place.tree, &expected, changes));
        }
        watching.stop();
    }
}
