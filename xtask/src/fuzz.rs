//! `cargo xtask fuzz`: builds the targets of `fuzz/` with the stable compiler, which can instrument for libFuzzer, and
//! runs each for a while.

use crate::project;
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

#[derive(clap::Args)]
pub struct Options {
    /// How long each target runs
    #[arg(long, default_value = "20")]
    seconds: u32,
    /// Only this one
    target: Option<String>,
}

/// What cargo-fuzz passes too, without the sanitizers, which only a nightly compiler has: coverage by counters, and the
/// operands of comparisons.
const FLAGS: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1";

/// Runs the targets. What fails leaves its input below the target directory, and the command ends with 1.
pub fn run(options: &Options) -> Result<ExitCode> {
    if project::find_program("c++").is_none() {
        bail!("libFuzzer is C++, and there is no C++ compiler: install g++");
    }
    let known = targets()?;
    let wanted: Vec<&String> =
        known.iter().filter(|name| options.target.as_ref().is_none_or(|only| only == *name)).collect();
    if wanted.is_empty() {
        bail!("there is no such target; there are {}", known.join(", "));
    }
    let home = project::target_dir().join("fuzz");
    let programs = build(&home)?;
    let mut failed = Vec::new();
    for name in wanted {
        println!("{name}, {} s", options.seconds);
        if !run_one(&programs.join(name), &home, name, options.seconds)? {
            failed.push(name.as_str());
        }
    }
    if failed.is_empty() {
        println!("fuzz: nothing found");
        return Ok(ExitCode::SUCCESS);
    }
    println!("fuzz: {} failed; the inputs are in {}", failed.join(", "), home.join("artifacts").display());
    Ok(ExitCode::from(1))
}

/// The names of the targets, sorted.
fn targets() -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(project::root().join("fuzz/targets")).context("fuzz/targets")? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            names.extend(path.file_stem().and_then(|stem| stem.to_str()).map(str::to_owned));
        }
    }
    names.sort();
    Ok(names)
}

/// Builds all targets and returns where they are.
fn build(home: &Path) -> Result<PathBuf> {
    let triple = host()?;
    // With a target named, the flags are not for build scripts and macros.
    let status = project::cargo()
        .args([
            "build",
            "--release",
            "--manifest-path",
            "fuzz/Cargo.toml",
            "--target",
            &triple,
            "--target-dir",
        ])
        .arg(home)
        .env("RUSTFLAGS", FLAGS)
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .status()
        .context("cargo")?;
    if !status.success() {
        bail!("the targets cannot be built");
    }
    Ok(home.join(triple).join("release"))
}

fn host() -> Result<String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).arg("-vV").output().context("rustc")?;
    let text = String::from_utf8(output.stdout).context("rustc -vV")?;
    let triple = text.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc names no host")?;
    Ok(triple.to_owned())
}

/// Runs one target with its corpus, which grows, and the seeds; whether nothing was found.
fn run_one(program: &Path, home: &Path, name: &str, seconds: u32) -> Result<bool> {
    let (corpus, artifacts) = (home.join("corpus").join(name), home.join("artifacts"));
    fs::create_dir_all(&corpus)?;
    fs::create_dir_all(&artifacts)?;
    let seeds = project::root().join("fuzz/seeds").join(name);
    let mut command = Command::new(program);
    command.arg(format!("-max_total_time={seconds}"));
    command.arg(format!("-artifact_prefix={}/{name}-", artifacts.display()));
    command.args([
        "-timeout=10",
        "-rss_limit_mb=1024",
        "-max_len=16384",
        "-print_final_stats=1",
        "-verbosity=0",
    ]);
    command.arg(&corpus);
    if seeds.is_dir() {
        command.arg(seeds);
    }
    Ok(command.status().with_context(|| program.display().to_string())?.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A target without seeds starts from nothing, and one without a `[[bin]]` is not built at all.
    #[test]
    fn each_target_is_built_and_has_seeds() {
        let manifest = fs::read_to_string(project::root().join("fuzz/Cargo.toml")).unwrap();
        for name in targets().unwrap() {
            assert!(manifest.contains(&format!("name = \"{name}\"\npath = \"targets/{name}.rs\"")), "{name}");
            let seeds = fs::read_dir(project::root().join("fuzz/seeds").join(&name));
            assert!(seeds.is_ok_and(|seeds| seeds.count() > 0), "{name}");
        }
    }
}
