//! The compilers: Debian's, whose std comes as source, mingw for Windows, and zig for the C parts of macOS where it is
//! installed.

use crate::project::find_program;
use crate::system_packages::install_missing_of;
use anyhow::{Context, Result};
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A program or file, and the Debian package it comes in.
const PACKAGES: &[(&str, &str)] = &[
    (RUSTC, "rustc-web"),
    (CARGO, "cargo-web"),
    ("x86_64-w64-mingw32-gcc", "gcc-mingw-w64-x86-64"),
    (WINE, "wine64"),
];
const RUSTC: &str = "/usr/bin/rustc";
const STD: &str = "/usr/lib/rustlib/src/rust/library/std/Cargo.toml";
const CARGO: &str = "/usr/bin/cargo";
/// Debian keeps it out of PATH.
pub const WINE: &str = "/usr/lib/wine/wine64";

/// Stands in for a C compiler and an archiver where there is none for the system: it answers every question with nothing
/// and makes empty files. Checking reads none of them, so the Rust is checked all the same.
const NO_COMPILER: &str = "#!/bin/sh\n\
    # ar cq ARCHIVE OBJECT...\n\
    case $0 in */ar) test $# -lt 2 || : >\"$2\"; exit 0;; esac\n\
    while test $# -gt 0; do\n\
    case $1 in -o) : >\"$2\"; shift;; -o?*) : >\"${1#-o}\";; esac\n\
    shift\n\
    done\n";

/// What builds for other systems.
pub struct Toolchain {
    pub cargo: PathBuf,
    /// Compiles C for macOS. Where it is installed, if it is.
    pub zigbuild: Option<PathBuf>,
    /// The directory of what stands in for it.
    no_compiler: PathBuf,
    target_dir: PathBuf,
}

/// Installs what is missing, as far as this user on this system may.
pub fn install_missing() {
    let mut packages = PACKAGES.to_vec();
    packages.push((STD, "rust-web-src"));
    install_missing_of(&packages);
}

impl Toolchain {
    /// What is installed, or why nothing can be built.
    pub fn find(work: &Path) -> Result<Toolchain, String> {
        for (file, package) in [(RUSTC, "rustc-web"), (CARGO, "cargo-web")] {
            if !Path::new(file).is_file() {
                return Err(format!("{file} is not there (Debian's package {package})"));
            }
        }
        if !Path::new(STD).is_file() {
            return Err(format!("{STD} is not there (Debian's package rust-web-src)"));
        }
        let no_compiler = work.join("no-compiler");
        pretend(&no_compiler).map_err(|error| format!("{error:#}"))?;
        let zigbuild = find_program("cargo-zigbuild");
        Ok(Toolchain { cargo: CARGO.into(), zigbuild, no_compiler, target_dir: work.join("target") })
    }

    /// A command that builds by this toolchain.
    pub fn cargo(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(crate::project::root())
            // What cargo starts by the names alone is Debian's.
            .env("PATH", path_with([Path::new("/usr/bin")]))
            .env("RUSTC", RUSTC)
            // Building std is an unstable feature of cargo.
            .env("RUSTC_BOOTSTRAP", "1")
            .env("CARGO", CARGO)
            .env("CARGO_TARGET_DIR", &self.target_dir)
            // Stripping takes a tool that Debian does not bring.
            .env("CARGO_PROFILE_DEV_STRIP", "none")
            .env("CARGO_PROFILE_DEV_DEBUG", "0")
            // What SQLite is told of Linux is not true of others.
            .env("LIBSQLITE3_FLAGS", "")
            .env_remove("RUSTFLAGS")
            .env_remove("RUSTUP_TOOLCHAIN");
        command
    }

    /// A command that checks for macOS: with the C parts where zig is installed, without them elsewhere.
    pub fn check_for_macos(&self, target: &str) -> Command {
        let Some(zigbuild) = &self.zigbuild else {
            let name = target.replace('-', "_");
            let mut command = self.cargo(&self.cargo);
            command
                .env(format!("CC_{name}"), self.no_compiler.join("cc"))
                .env(format!("AR_{name}"), self.no_compiler.join("ar"))
                .env("SDKROOT", &self.no_compiler)
                .env("MACOSX_DEPLOYMENT_TARGET", "11.0");
            return command;
        };
        // zig is found by the python beside it.
        let beside = zigbuild.parent().unwrap_or(Path::new("/usr/bin"));
        let mut command = self.cargo(zigbuild);
        command.env("PATH", path_with([beside, Path::new("/usr/bin")]));
        command
    }

    /// Where a target's programs are.
    pub fn built(&self, target: &str) -> PathBuf {
        self.target_dir.join(target).join("debug")
    }
}

/// PATH with these directories before all others.
fn path_with<const N: usize>(first: [&Path; N]) -> OsString {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = first.into_iter().map(PathBuf::from).chain(std::env::split_paths(&path));
    std::env::join_paths(path).unwrap_or_else(|_| OsString::from("/usr/bin"))
}

/// Makes what stands in for a compiler.
fn pretend(dir: &Path) -> Result<()> {
    fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    for name in ["cc", "ar"] {
        let path = dir.join(name);
        fs::write(&path, NO_COMPILER).with_context(|| format!("cannot write {}", path.display()))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_in_for_a_compiler_makes_the_files_that_are_waited_for() {
        let dir = crate::project::target_dir().join("cross-check-test");
        let _ = fs::remove_dir_all(&dir);
        pretend(&dir).unwrap();
        let (object, archive) = (dir.join("x.o"), dir.join("x.a"));
        let run = |command: &mut Command| assert!(command.status().unwrap().success(), "{command:?}");
        run(Command::new(dir.join("cc")).args(["-O2", "-c", "x.c", "-o"]).arg(&object).arg("-g"));
        run(Command::new(dir.join("ar")).arg("cq").arg(&archive).arg(&object));
        run(Command::new(dir.join("ar")).arg("s").arg(&archive));
        run(Command::new(dir.join("cc")).args(["-E", "x.c"]));
        assert!(object.is_file() && archive.is_file());
        fs::remove_dir_all(&dir).unwrap();
    }
}
