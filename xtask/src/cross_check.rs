//! `cargo xtask cross-check`: whether the program compiles, and as far as that is possible links and runs, for
//! systems that this one is not.
//!
//! In: the working tree; Debian's compiler of the std that comes as source (no toolchain here has one for other systems),
//! mingw, zig, wine. Out: one line for each step, `ok`, `FAILED` or `SKIPPED` with the reason. What is missing is
//! installed where that is possible. Nothing of what is built here is shipped.

mod toolchain;
mod wine;

use crate::project;
use anyhow::{Context, Result};
use std::fs;
use std::process::{Command, ExitCode};
use std::time::Instant;
use toolchain::Toolchain;

/// The systems, by the names of their targets.
const MACOS: &str = "aarch64-apple-darwin";
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
    toolchain::install_missing(&work);
    let steps: [(&str, Outcome); 3] = match Toolchain::find(&work) {
        Err(why) => {
            let skipped = || Outcome::Skipped(why.clone());
            [
                ("macOS: compile", skipped()),
                ("Windows: build", skipped()),
                ("Windows: watch under wine", skipped()),
            ]
        }
        Ok(tools) => {
            let macos = macos(&tools);
            let windows = windows(&tools);
            let watch = match windows {
                Outcome::Holds => wine::watch(&tools.built(WINDOWS).join("waxseal.exe"), &work)?,
                _ => Outcome::Skipped("the program was not built".into()),
            };
            [("macOS: compile", macos), ("Windows: build", windows), ("Windows: watch under wine", watch)]
        }
    };
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
        "NOT POSSIBLE HERE: linking for macOS, running anything there; NTFS and its access lists under wine"
    );
    println!("took {} s", started.elapsed().as_secs());
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Compiles for macOS, the C parts by zig. Linking takes the frameworks of an SDK.
fn macos(tools: &Toolchain) -> Outcome {
    let Some(zigbuild) = &tools.zigbuild else {
        return Outcome::Skipped("cargo-zigbuild and ziglang are not installed".into());
    };
    let mut command = tools.cargo(zigbuild);
    command.args(["check", "-p", "waxseal", "--target", MACOS, "-Zbuild-std=std,panic_abort"]);
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
    println!("== {command:?}");
    match command.status() {
        Ok(status) if status.success() => Outcome::Holds,
        Ok(_) => Outcome::Failed("see above".into()),
        Err(error) => Outcome::Failed(error.to_string()),
    }
}
