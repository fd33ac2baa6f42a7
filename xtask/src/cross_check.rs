//! `cargo xtask cross-check`: whether the program compiles, and as far as that is possible links and runs, for
//! systems that this one is not.
//!
//! In: the working tree; Debian's compiler with the std that comes as source, mingw, wine, and zig where it is installed.
//! Out: one line for each step, `ok`, `FAILED` or `SKIPPED` with the reason. What Debian has is installed where that is
//! possible. Nothing of what is built here is shipped.

mod toolchain;
mod wine;

use crate::project;
use anyhow::{Context, Result};
use std::fs;
use std::process::{Command, ExitCode};
use std::time::Instant;
use toolchain::Toolchain;

/// The systems, by the names of their targets.
const MACOS: [&str; 2] = ["aarch64-apple-darwin", "x86_64-apple-darwin"];
const WINDOWS: &str = "x86_64-pc-windows-gnu";

/// What the other systems lack is a failure only when it could be tried.
enum Outcome {
    Holds,
    Failed(String),
    Skipped(String),
}

/// Tries every step.
pub fn run() -> Result<ExitCode> {
    let started = Instant::now();
    let work = project::target_dir().join("cross-check");
    fs::create_dir_all(&work).with_context(|| format!("cannot make {}", work.display()))?;
    toolchain::install_missing();
    let mut steps = Vec::new();
    match Toolchain::find(&work) {
        Err(why) => steps.push(("everything".to_owned(), Outcome::Skipped(why))),
        Ok(tools) => {
            for target in MACOS {
                steps.push((format!("macOS: check {target}"), macos(&tools, target)));
            }
            if tools.zigbuild.is_none() {
                let why = "cargo-zigbuild is not in PATH (`pip install ziglang cargo-zigbuild` brings it)";
                steps.push(("macOS: compile the C parts".into(), Outcome::Skipped(why.into())));
            }
            let windows = windows(&tools);
            let watch = match windows {
                Outcome::Holds => wine::watch(&tools.built(WINDOWS).join("waxseal.exe"), &work)?,
                _ => Outcome::Skipped("the program was not built".into()),
            };
            steps.push((format!("Windows: build {WINDOWS}"), windows));
            steps.push(("Windows: watch under wine".into(), watch));
        }
    }
    println!();
    let mut failed = 0;
    for (name, outcome) in &steps {
        match outcome {
            Outcome::Holds => println!("ok: {name}"),
            Outcome::Skipped(why) => println!("SKIPPED: {name}: {why}"),
            Outcome::Failed(why) => {
                failed += 1;
                println!("FAILED: {name}: {why}");
            }
        }
    }
    println!(
        "NOT TRIED: linking for macOS, which takes an SDK, and running anything there; NTFS and its access lists"
    );
    println!("took {} s", started.elapsed().as_secs());
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Checks for macOS. Linking takes the frameworks of an SDK.
fn macos(tools: &Toolchain, target: &str) -> Outcome {
    let mut command = tools.check_for_macos(target);
    command.args(["check", "-p", "waxseal", "--target", target, "-Zbuild-std=std,panic_abort"]);
    step(&mut command)
}

fn windows(tools: &Toolchain) -> Outcome {
    if project::find_program("x86_64-w64-mingw32-gcc").is_none() {
        return Outcome::Skipped("gcc-mingw-w64-x86-64 is not installed".into());
    }
    let mut command = tools.cargo(&tools.cargo);
    command.args(["build", "-p", "waxseal", "--target", WINDOWS, "-Zbuild-std=std,panic_abort"]);
    step(&mut command)
}

fn step(command: &mut Command) -> Outcome {
    let words = command.get_args().map(|word| word.to_string_lossy());
    println!("== {} {}", command.get_program().display(), words.collect::<Vec<_>>().join(" "));
    match command.status() {
        Ok(status) if status.success() => Outcome::Holds,
        Ok(_) => Outcome::Failed("see above".into()),
        Err(error) => Outcome::Failed(error.to_string()),
    }
}
