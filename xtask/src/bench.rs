//! `cargo xtask bench`: the whole program beside its peers and beside the limit, in the same run.
//!
//! In: a directory for the trees, the number of rounds. Out: one table for each tree, as Markdown, on request also in
//! `docs/benchmarks.md`. Runs are interleaved, in an order that rotates from round to round, and compared round by
//! round: what else the machine does then weighs on all alike.

mod contenders;
mod goals;
pub mod limit;
mod measure;
mod report;
pub mod watch;
mod workload;

use crate::project;
use anyhow::{Context, Result, bail};
use contenders::Contender;
use measure::Run;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

/// What to measure, and how often.
#[derive(clap::Args)]
pub struct Options {
    /// Where the trees and the states lie; trees that are there already are used again
    #[arg(long, default_value = "/var/tmp/waxseal-bench")]
    dir: PathBuf,
    /// Which trees: small, big, dirs (made), usr (this machine's /usr)
    #[arg(long, value_delimiter = ',', default_value = "small,usr")]
    trees: Vec<String>,
    /// Which contenders take part (all of them by default), by the beginning of their names
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// How often each of them runs
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// In how many of the rounds the slow peers take part (in all of them by default)
    #[arg(long)]
    peer_rounds: Option<usize>,
    /// Empty the page cache before every run (as root only)
    #[arg(long)]
    cold: bool,
    /// Put the tables into docs/benchmarks.md
    #[arg(long)]
    write: bool,
    #[command(flatten)]
    workload: workload::Sizes,
}

/// The runs of one contender; `None` where it did not take part in the round.
pub struct Row {
    contender: Contender,
    runs: Vec<Option<Run>>,
}

/// Makes what is missing, measures, prints.
pub fn run(options: &Options) -> Result<ExitCode> {
    if options.cold && !rustix::process::geteuid().is_root() {
        bail!("only root can empty the page cache: leave --cold out");
    }
    let programs = build()?;
    fs::create_dir_all(&options.dir).with_context(|| format!("cannot make {}", options.dir.display()))?;
    let dir = fs::canonicalize(&options.dir)?;
    for name in &options.trees {
        let tree = if name == "usr" {
            PathBuf::from("/usr")
        } else {
            workload::make(&dir, name, &options.workload)?
        };
        let rows = measure_tree(options, &programs, &dir, name, &tree)?;
        let table = report::table(options, name, &rows);
        println!("{table}");
        if options.write {
            report::write(name, options.cold, &table)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The release builds of the program and of this tool, which is the limit's program.
pub struct Programs {
    waxseal: PathBuf,
    /// Its scan, with nothing stored.
    scan_only: PathBuf,
    xtask: PathBuf,
}

fn build() -> Result<Programs> {
    let scan_only = ["waxseal-observe", "--example", "scan_only"];
    for package in [&["waxseal"][..], &["xtask"], &scan_only] {
        let mut cargo = project::cargo();
        let status = cargo.args(["build", "--release", "--quiet", "--package"]).args(package).status()?;
        if !status.success() {
            bail!("cannot build {}", package.join(" "));
        }
    }
    let release = project::target_dir().join("release");
    Ok(Programs {
        waxseal: release.join("waxseal"),
        scan_only: release.join("examples/scan_only"),
        xtask: release.join("xtask"),
    })
}

fn measure_tree(
    options: &Options,
    programs: &Programs,
    dir: &Path,
    name: &str,
    tree: &Path,
) -> Result<Vec<Row>> {
    let work = dir.join(format!("work-{name}"));
    if work.exists() {
        fs::remove_dir_all(&work)?;
    }
    fs::create_dir_all(&work)?;
    let wanted = |contender: &Contender| {
        options.only.is_empty() || options.only.iter().any(|only| contender.name.starts_with(only.as_str()))
    };
    let contenders: Vec<_> = contenders::all(programs, &work, tree)?.into_iter().filter(wanted).collect();
    for contender in &contenders {
        eprintln!("{name}: preparing {}", contender.name);
        contender.prepare()?;
    }
    if !options.cold {
        warm_up(programs, tree)?;
    }
    let mut rows: Vec<_> =
        contenders.into_iter().map(|contender| Row { contender, runs: Vec::new() }).collect();
    for round in 0..options.rounds {
        let count = rows.len();
        for place in 0..count {
            let Some(row) = rows.get_mut((place + round) % count) else { continue };
            let takes_part =
                !row.contender.is_slow_peer || round < options.peer_rounds.unwrap_or(options.rounds);
            let run = if takes_part { Some(row.contender.run(options.cold)?) } else { None };
            if let Some(run) = &run {
                eprintln!("{name}: round {round}: {}: {run}", row.contender.name);
            }
            row.runs.push(run);
        }
    }
    fs::remove_dir_all(&work)?;
    Ok(rows)
}

/// Reads the whole tree, so that the first run does not pay for all.
fn warm_up(programs: &Programs, tree: &Path) -> Result<()> {
    let mut command = Command::new(&programs.xtask);
    let status = command.args(["bench-limit", "read"]).arg(tree).stdout(Stdio::null()).status()?;
    if !status.success() {
        bail!("cannot read {}", tree.display());
    }
    Ok(())
}
