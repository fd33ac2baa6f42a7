//! A story told three ways: found by a full check, by a quick check, and by the monitor.

use crate::expect::{Expect, mismatch};
use crate::machine::Machine;
use crate::mounts::{Fs, for_each_filesystem};
use crate::report::path_of;
use crate::{files, is_root, skip, tools};
use std::fs;
use std::os::unix::ffi::OsStrExt;
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

#[derive(Clone, Copy, Debug)]
enum Way {
    Check,
    Quick,
    Watch,
}

/// All three, or those that `WAXSEAL_WAYS` names, as in `check,quick`: for whoever works on one of them.
fn ways() -> Vec<Way> {
    let all = vec![Way::Check, Way::Quick, Way::Watch];
    let Ok(wanted) = std::env::var("WAXSEAL_WAYS") else { return all };
    let is_wanted = |way: &Way| wanted.split(',').any(|name| name.eq_ignore_ascii_case(&format!("{way:?}")));
    let (ways, left_out): (Vec<_>, Vec<_>) = all.into_iter().partition(is_wanted);
    if !left_out.is_empty() {
        skip(&format!("WAXSEAL_WAYS leaves out {left_out:?}"));
    }
    ways
}

impl<K> Story<K> {
    /// Tells the story on every filesystem that can be mounted here.
    pub fn on_all(&self) {
        self.on(Fs::ALL);
    }

    /// Tells the story on these filesystems.
    pub fn on(&self, filesystems: &[Fs]) {
        if self.root && !is_root() {
            return skip("only root can do this");
        }
        if !self.needs.iter().all(|program| tools::has(program)) {
            return;
        }
        for_each_filesystem(filesystems, |root| {
            for way in ways() {
                eprintln!("by {way:?}");
                self.tell(&root.join(format!("{way:?}")), way);
            }
        });
    }

    fn tell(&self, directory: &Path, way: Way) {
        let place = Place { tree: directory.join("tree"), outside: directory.join("outside") };
        fs::create_dir_all(&place.tree).expect("the tree");
        fs::create_dir_all(&place.outside).expect("the place beside it");
        (self.before)(&place);
        let machine = Machine::with_tree(&place.tree);
        machine.watch_tree(self.rule);
        machine.init();
        match way {
            Way::Check | Way::Quick => self.found_by_check(&machine, &place, way),
            Way::Watch => self.found_by_monitor(&machine, &place),
        }
    }

    fn found_by_check(&self, machine: &Machine, place: &Place, way: Way) {
        let _kept = (self.then)(place);
        let report = if matches!(way, Way::Quick) { machine.check_quick() } else { machine.check() };
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

    fn found_by_monitor(&self, machine: &Machine, place: &Place) {
        let mut watching = machine.watch();
        let _kept = (self.then)(place);
        let mut expected = (self.expect)(place);
        if expected.is_empty() {
            // Silence proves nothing until something that happened later has been reported.
            let sentinel = place.at("zz-sentinel");
            files::write(&sentinel, "");
            watching.next_matching(|line| {
                line["type"] == "change" && path_of(line) == sentinel.as_os_str().as_bytes()
            });
            expected.push(Expect::added("zz-sentinel"));
        }
        watching.wait_for_changes(|changes| mismatch(&place.tree, &expected, changes));
        watching.stop();
    }
}
