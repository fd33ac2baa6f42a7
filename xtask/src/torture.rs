//! `cargo xtask torture`: does everything that can be done to files, stops, overruns and kills the monitor meanwhile,
//! and holds its record against the disk.
//!
//! In: the options. Out: a line for each run, every difference, and a sum; the exit code says whether there was one.

use crate::project;
use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use std::process::ExitCode;

/// How the monitor's queue in the kernel is chosen.
#[derive(Clone, Copy, ValueEnum)]
enum Queue {
    /// 16,384 events: what a system grants whose limit may not be changed
    Usual,
    /// 262,144 events: what the monitor asks for
    Full,
    /// Both in turn
    Both,
}

/// What is done.
#[derive(Args)]
pub struct Options {
    /// How long each run writes, in seconds
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// On which filesystems
    #[arg(long, value_delimiter = ',', default_value = "ext4,xfs,btrfs,tmpfs")]
    fs: Vec<String>,
    /// What the first run draws from; each further run takes the next number
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many runs on each filesystem
    #[arg(long, default_value_t = 2)]
    runs: u64,
    /// How many names of files there are at least
    #[arg(long, default_value_t = 50_000)]
    names: usize,
    /// Kill the monitor now and then, and start it again
    #[arg(long)]
    restarts: bool,
    /// Which queue overflows
    #[arg(long, value_enum, default_value_t = Queue::Both)]
    queue: Queue,
    /// The control: nothing is scanned again after events were lost, and differences must be found
    #[arg(long, conflicts_with = "restarts")]
    control: bool,
}

/// Builds the program and the torture, and runs it.
pub fn run(options: &Options) -> Result<ExitCode> {
    let built = project::cargo()
        .args(["build", "--locked", "--package", "waxseal", "--package", "waxseal-scenarios", "--bins"])
        .status()
        .context("cannot run cargo")?;
    if !built.success() {
        bail!("the programs could not be built");
    }
    let queue = match options.queue {
        Queue::Usual => "usual",
        Queue::Full => "full",
        Queue::Both => "both",
    };
    let program = project::target_dir().join("debug/torture");
    let status = std::process::Command::new(&program)
        .args([options.seconds.to_string(), options.fs.join(","), options.seed.to_string()])
        .args([options.runs.to_string(), options.names.to_string(), options.restarts.to_string()])
        .args([queue.to_owned(), (!options.control).to_string()])
        .status()
        .with_context(|| format!("cannot run {}", program.display()))?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::from(2), ExitCode::from))
}
