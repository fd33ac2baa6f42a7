//! `cargo xtask bpf`: makes `crates/os/bpf/process.bpf.o`, which is kept in the repository so that nobody needs clang to
//! build Waxseal.

use crate::project;
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};

#[derive(clap::Args)]
pub struct Options {
    /// Only say whether the object is what the source makes
    #[arg(long)]
    check: bool,
}

/// The compiler of Debian 12. Another version writes another object of the same meaning, so the kept one is of this.
const CLANG: &str = "clang-14";
const STRIP: &str = "llvm-strip-14";
const SOURCE: &str = "process.bpf.c";
const OBJECT: &str = "process.bpf.o";

/// Makes the object, or compares the one that is there.
pub fn run(options: &Options) -> Result<ExitCode> {
    let kept = project::root().join("crates/os/bpf").join(OBJECT);
    let made = make()?;
    if !options.check {
        fs::write(&kept, &made).with_context(|| kept.display().to_string())?;
        println!("{}: {} bytes", kept.display(), made.len());
        return Ok(ExitCode::SUCCESS);
    }
    if fs::read(&kept).ok().as_ref() == Some(&made) {
        println!("{OBJECT} is what {SOURCE} makes");
        return Ok(ExitCode::SUCCESS);
    }
    println!("{OBJECT} is not what {SOURCE} makes: run `cargo xtask bpf`");
    Ok(ExitCode::FAILURE)
}

/// The object that the source makes now.
fn make() -> Result<Vec<u8>> {
    if !has_compiler() {
        bail!("{CLANG} and {STRIP} are needed: install the packages clang-14 and llvm-14");
    }
    let directory = project::root().join("crates/os/bpf");
    let scratch = project::target_dir().join("bpf");
    fs::create_dir_all(&scratch).with_context(|| scratch.display().to_string())?;
    let object = scratch.join(format!("{}-{OBJECT}", std::process::id()));
    let result = compile(&directory, &object);
    let _ = fs::remove_file(&object);
    result
}

fn has_compiler() -> bool {
    [CLANG, STRIP].iter().all(|program| project::find_program(program).is_some())
}

fn compile(directory: &Path, object: &Path) -> Result<Vec<u8>> {
    // The description of types needs -g; what else that writes is of no use to the loader and is stripped.
    let mut clang = Command::new(CLANG);
    clang
        .args(["-target", "bpf", "-mcpu=v3", "-O2", "-g", "-Wall", "-Wextra", "-Werror", "-c", SOURCE, "-o"]);
    clang.arg(object).arg(format!("-ffile-prefix-map={}=.", directory.display())).current_dir(directory);
    let mut strip = Command::new(STRIP);
    strip.arg("-g").arg(object);
    for mut command in [clang, strip] {
        if !command.status().with_context(|| format!("{command:?}"))?.success() {
            bail!("{command:?} failed");
        }
    }
    fs::read(object).with_context(|| object.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kept_object_is_what_the_source_makes() {
        if !has_compiler() {
            println!("SKIPPED the_kept_object_is_what_the_source_makes: needs {CLANG} and {STRIP}");
            return;
        }
        let kept = fs::read(project::root().join("crates/os/bpf").join(OBJECT)).unwrap();
        assert!(kept == make().unwrap(), "run `cargo xtask bpf`");
    }
}
