//! `cargo xtask test`: everything that must hold, in one command, with one closing line.
//!
//! In: the working tree, the system's tools. Out: the output of each step, then what was skipped and what failed,
//! by name, and at last `N passed, N failed, N skipped`.

use crate::{arrows, project, system_packages};
use anyhow::{Context, Result};
use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

/// The variable that names the file to which a test appends `TEST: WHY` when it, or a part of it, cannot run here.
const SKIPS_VARIABLE: &str = "WAXSEAL_SKIPS";

/// Runs every step, whatever the earlier ones said.
pub fn run() -> Result<ExitCode> {
    let started = Instant::now();
    system_packages::install_missing();
    let mut tally = Tally::default();
    tally.check("arrows", arrows::run()? == ExitCode::SUCCESS);
    lints(&mut tally);
    tests(&mut tally)?;
    tally.print();
    println!("took {} s", started.elapsed().as_secs());
    println!("{} passed, {} failed, {} skipped", tally.passed(), tally.failed.len(), tally.skipped());
    Ok(if tally.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn lints(tally: &mut Tally) {
    if project::has_cargo_component("fmt") {
        tally.check("formatting", step(project::cargo().args(["fmt", "--all", "--check"])));
    } else {
        tally.not_run.push("formatting: rustfmt is not installed".into());
    }
    if project::has_cargo_component("clippy") {
        let mut clippy = project::cargo();
        clippy.args(["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"]);
        tally.check("lints", step(&mut clippy));
    } else {
        tally.not_run.push("lints: clippy is not installed".into());
    }
}

/// Builds the programs, which the scenario tests run, then runs every test of the workspace.
fn tests(tally: &mut Tally) -> Result<()> {
    if !step(project::cargo().args(["build", "--workspace", "--bins", "--locked"])) {
        tally.check("build", false);
        return Ok(());
    }
    let skips = project::target_dir().join("skipped-tests");
    fs::write(&skips, "").with_context(|| format!("cannot write {}", skips.display()))?;
    let mut command = project::cargo();
    command.args(["test", "--workspace", "--no-fail-fast", "--locked"]).env(SKIPS_VARIABLE, &skips);
    // Built just now: the scenario tests need not ask cargo again.
    command.env("WAXSEAL_BINARY", project::target_dir().join("debug/waxseal"));
    announce(&command);
    let mut child = command.stdout(Stdio::piped()).spawn().context("cannot run cargo")?;
    let failed_before = tally.failed.len();
    if let Some(output) = child.stdout.take() {
        for line in BufReader::new(output).split(b'\n') {
            let line = String::from_utf8_lossy(&line?).into_owned();
            println!("{line}");
            tally.read_line(&line);
        }
    }
    let success = child.wait()?.success();
    if !success && tally.failed.len() == failed_before {
        // A test program that could not be built or was killed prints no result.
        tally.check("a test program did not finish (see above)", false);
    }
    tally.skips.extend(fs::read_to_string(&skips)?.lines().map(str::to_owned));
    Ok(())
}

fn step(command: &mut Command) -> bool {
    announce(command);
    command.status().is_ok_and(|status| status.success())
}

fn announce(command: &Command) {
    let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy()).collect();
    println!("== cargo {}", words.join(" "));
    let _ = std::io::stdout().flush();
}

/// What the steps said.
#[derive(Default)]
struct Tally {
    ok: usize,
    failed: Vec<String>,
    /// Steps and tests that were not begun.
    not_run: Vec<String>,
    /// `TEST: WHY`, one for each thing that a test which ended well could not do.
    skips: Vec<String>,
}

impl Tally {
    fn check(&mut self, name: &str, holds: bool) {
        if holds {
            self.ok += 1;
        } else {
            self.failed.push(name.into());
        }
    }

    /// Takes note of one line of the test harness, `test NAME ... ok|FAILED|ignored`.
    fn read_line(&mut self, line: &str) {
        let Some((name, outcome)) = line.strip_prefix("test ").and_then(|rest| rest.rsplit_once(" ... "))
        else {
            return;
        };
        let outcome = outcome.trim_end();
        if outcome == "ok" {
            self.ok += 1;
        } else if outcome.starts_with("FAILED") {
            self.failed.push(name.into());
        } else if outcome.starts_with("ignored") {
            self.not_run.push(format!("{name}: {outcome}"));
        }
    }

    /// Tests that could not do all of their work: they ended well, and yet they did not pass.
    fn incomplete(&self) -> usize {
        let test = |skip: &'_ String| skip.split_once(": ").map_or(skip.clone(), |(test, _)| test.to_owned());
        self.skips.iter().map(test).collect::<BTreeSet<_>>().len()
    }

    fn passed(&self) -> usize {
        self.ok.saturating_sub(self.incomplete())
    }

    fn skipped(&self) -> usize {
        self.not_run.len() + self.incomplete()
    }

    fn print(&self) {
        println!();
        for skip in self.not_run.iter().chain(&self.skips) {
            println!("SKIPPED: {skip}");
        }
        for name in &self.failed {
            println!("FAILED: {name}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_harness_is_counted() {
        let mut tally = Tally::default();
        for line in [
            "running 5 tests",
            "test a::b ... ok",
            "test a::skips - should panic ... ok",
            "test a::c ... FAILED",
            "test a::d ... ignored, needs a network",
            "test result: FAILED. 2 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s",
        ] {
            tally.read_line(line);
        }
        tally.skips.push("x::skips: no xfs".into());
        tally.skips.push("x::skips: no btrfs".into());
        assert_eq!((tally.passed(), tally.failed.len(), tally.skipped()), (1, 1, 2));
    }
}
