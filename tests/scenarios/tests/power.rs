//! The power is cut below the filesystem, at any moment: what was printed is on record, what is there is proven, and nothing
//! has to be mended by hand.

#![allow(clippy::disallowed_methods, reason = "tests make, change and remove their own files")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on ends")]

use rustix::process::Signal;
use serde_json::Value;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;
use waxseal_scenarios::files::*;
use waxseal_scenarios::{Fs, Machine, Powered, skip, tools};

/// How often the power is cut of each filesystem, unless `WAXSEAL_POWER_ROUNDS` says another number.
const ROUNDS: u32 = 6;

/// How many files change.
const FILES: usize = 400;

fn rounds() -> u32 {
    std::env::var("WAXSEAL_POWER_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(ROUNDS)
}

/// Numbers that look random, and are the same in each run for as far as that matters.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }

    /// Any moment within so many microseconds: there is nothing to wait for.
    fn moment(&mut self, micros: u64) {
        thread::sleep(Duration::from_micros(self.below(micros)));
    }
}

/// A machine whose state lies on a disk that may lose its power, sealed.
struct Story {
    machine: Machine,
    power: Powered,
    /// What was taken away when it was sealed.
    verification: PathBuf,
    /// The newest checkpoint that was printed.
    checkpoint: PathBuf,
    printed: BTreeMap<String, Value>,
}

impl Story {
    fn new(fs: Fs) -> Option<Story> {
        let power = match Powered::new(fs) {
            Ok(power) => power,
            Err(why) => {
                skip(&why);
                return None;
            }
        };
        let machine = Machine::new().with_state(&power.root().join("state"));
        for number in 0..FILES {
            write(machine.at(&number.to_string()), "sealed");
        }
        machine.watch_tree("");
        let mut power = power;
        machine.init();
        // From the moment at which it said that it has sealed.
        power.cut();
        power.back();
        let verification = machine.home().join("verification");
        fs::copy(machine.state_dir().join("waxseal.verification"), &verification).unwrap();
        let checkpoint = machine.home().join("checkpoint");
        let mut story = Story { machine, power, verification, checkpoint, printed: BTreeMap::new() };
        story.keep();
        story.expect_recorded("init");
        Some(story)
    }

    /// Takes the present checkpoint away.
    fn keep(&mut self) {
        let note = self.machine.waxseal(["log", "checkpoint"]).expect_code(0);
        fs::write(&self.checkpoint, note.stdout).unwrap();
    }

    fn note(&mut self, line: &str) {
        // The last line may be torn.
        let Ok(line) = serde_json::from_str::<Value>(line) else { return };
        if let ("change", Some(id)) = (line["type"].as_str().unwrap_or_default(), line["id"].as_str()) {
            self.printed.insert(id.to_owned(), line.clone());
        }
    }

    /// Runs a command while files change, and cuts the power: after so many lines, and some time more.
    fn run(&mut self, words: &[&str], dice: &mut Dice, lines_before: u64, ends: bool) {
        let mut running = self.machine.watch_unread(words);
        let lines = running.read();
        let is_over = AtomicBool::new(false);
        let tree = self.machine.tree().to_owned();
        let (first, step) = (dice.below(FILES as u64) as usize, 1 + dice.below(7) as usize);
        thread::scope(|scope| {
            scope.spawn(|| {
                for number in (0..).map(|n| (first + n * step) % FILES) {
                    if is_over.load(Ordering::Relaxed) {
                        break;
                    }
                    append(tree.join(number.to_string()), b"x");
                }
            });
            let mut count = 0;
            while count < lines_before {
                let Ok(line) = lines.recv() else { break };
                count += 1;
                self.note(&line);
            }
            self.keep();
            if ends {
                running.signal(Signal::TERM);
            }
            dice.moment(if ends { 60_000 } else { 5_000 });
            lines.try_iter().for_each(|line| self.note(&line));
            self.power.cut();
            is_over.store(true, Ordering::Relaxed);
        });
        running.kill();
        if self.power.stops_writers() {
            lines.iter().for_each(|line| self.note(&line));
        }
        self.power.back();
    }

    /// Everything that was printed is on record, and the log goes on from the checkpoint that was kept.
    #[track_caller]
    fn expect_recorded(&self, when: &str) {
        let words: [&OsStr; 5] = [
            "verify".as_ref(),
            "--public-key".as_ref(),
            self.verification.as_ref(),
            "--checkpoint".as_ref(),
            self.checkpoint.as_ref(),
        ];
        let output = self.machine.waxseal(words);
        assert_eq!(output.code, Some(0), "{when}: {output:?}");
        let output = self.machine.waxseal(["--json", "changes"]);
        assert!(matches!(output.code, Some(0 | 1)), "{when}: {output:?}");
        let recorded: BTreeMap<String, Value> = output
            .lines()
            .into_iter()
            .filter_map(|line| Some((line["id"].as_str()?.to_owned(), line)))
            .collect();
        for (id, printed) in &self.printed {
            let kept = recorded.get(id).unwrap_or_else(|| panic!("{when}: printed and lost: {printed}"));
            assert_eq!(kept["path"], printed["path"], "{when}");
            assert!(
                kept["count"].as_u64() >= printed["count"].as_u64(),
                "{when}: {kept} is older than {printed}"
            );
        }
    }

    /// It goes on as if nothing had been, and leaves one key.
    fn expect_goes_on(mut self) {
        let watching = self.machine.watch();
        append(self.machine.at("0"), b"y");
        self.machine.sync();
        self.keep();
        watching.stop();
        self.expect_recorded("at the end");
        let state = self.machine.state_dir();
        assert!(state.join("epoch.key").exists() && !state.join("epoch.key.next").exists());
    }
}

/// The monitor in the middle of a storm, at its start, at its end with the change of keys; and checks.
fn cut_while_it_records(fs: Fs) {
    let Some(mut story) = Story::new(fs) else { return };
    let mut dice = Dice(fs as u64 + 1);
    for round in 0..rounds() {
        let (words, lines, ends): (&[&str], u64, bool) = match round % 3 {
            0 => (&["--json", "watch"], 1 + dice.below(1500), false),
            1 => (&["--json", "watch"], 1 + dice.below(60), true),
            _ => (&["--json", "check"], dice.below(2) * dice.below(300), false),
        };
        story.run(words, &mut dice, lines, ends);
        story.expect_recorded(&format!("{fs:?}, round {round}"));
    }
    assert!(!story.printed.is_empty());
    story.expect_goes_on();
}

#[test]
fn the_power_is_cut_on_ext4() {
    cut_while_it_records(Fs::Ext4);
}

#[test]
fn the_power_is_cut_on_xfs() {
    cut_while_it_records(Fs::Xfs);
}

#[test]
fn the_power_is_cut_on_btrfs() {
    cut_while_it_records(Fs::Btrfs);
}

/// What `init` was doing is done, or is done by the next one.
#[test]
fn the_power_is_cut_during_init() {
    for &fs in Fs::ON_DISK {
        let mut power = match Powered::new(fs) {
            Ok(power) => power,
            Err(why) => {
                skip(&why);
                continue;
            }
        };
        let machine = Machine::new();
        for number in 0..50 {
            write(machine.at(&number.to_string()), "sealed");
        }
        let mut dice = Dice(fs as u64 + 7);
        for round in 0..rounds() {
            let home = power.root().join(format!("{round}/new"));
            let words = words_for(&home, machine.tree());
            let running = machine.start_bare(words.clone());
            dice.moment(120_000);
            power.cut();
            drop(running.kill_after(Duration::ZERO));
            power.back();
            if home.join("state/waxseal.db").exists() {
                // Named means complete.
                expect_sealed(&machine, &home, &format!("{fs:?}, round {round}"));
            } else {
                let output = machine.waxseal_bare(words);
                assert_eq!(output.code, Some(0), "{fs:?}, round {round}: {output:?}");
                power.cut();
                power.back();
                expect_sealed(&machine, &home, &format!("{fs:?}, round {round}, again"));
            }
        }
    }
}

/// On a disk that loses its power, a directory is there for certain once the one above it was synced. The filesystems here do
/// that by themselves with the first file below, so only the calls tell.
#[test]
fn directories_that_are_made_are_synced_into_those_above() {
    if !tools::has("strace") {
        return skip("there is no strace");
    }
    let machine = Machine::new();
    write(machine.at("file"), "sealed");
    let state = machine.home().join("one/two/state");
    let machine = machine.with_state(&state);
    machine.watch_tree("");
    let trace = machine.home().join("trace");
    let calls = "trace=mkdir,mkdirat,fsync,fdatasync";
    let by = ["strace", "-f", "-y", "-qq", "-e", calls, "-o", trace.to_str().unwrap()];
    let output = machine.waxseal_under(&by, ["init"]);
    assert_eq!(output.code, Some(0), "{output:?}");
    let trace = fs::read_to_string(trace).unwrap();
    let lines: Vec<&str> = trace.lines().collect();
    for made in ["one", "one/two", "one/two/state"] {
        let made = machine.home().join(made);
        let name = format!("\"{}\"", made.display());
        let at = lines.iter().position(|line| line.contains("mkdir") && line.contains(&name));
        let at = at.unwrap_or_else(|| panic!("{name} was not made: {trace}"));
        let above = format!("<{}>)", made.parent().unwrap().display());
        let synced = lines[at..].iter().any(|line| line.contains("fsync(") && line.contains(&above));
        assert!(synced, "{above} was not synced after {name} was made: {trace}");
    }
}

fn words_for(home: &Path, tree: &Path) -> Vec<OsString> {
    let mut words = options(home);
    words.extend(["init".into(), tree.into()]);
    words
}

fn options(home: &Path) -> Vec<OsString> {
    let (config, state) = (home.join("etc/waxseal.toml"), home.join("state"));
    vec!["--config".into(), config.into(), "--state-dir".into(), state.into()]
}

#[track_caller]
fn expect_sealed(machine: &Machine, home: &Path, when: &str) {
    for command in ["check", "verify"] {
        let mut words = options(home);
        words.push(command.into());
        let output = machine.waxseal_bare(words);
        assert_eq!(output.code, Some(0), "{when}: {output:?}");
    }
}
