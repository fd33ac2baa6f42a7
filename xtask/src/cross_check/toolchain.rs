//! The compilers: Debian's, whose std comes as source, and zig for the C parts of macOS.

use crate::project::find_program;
use crate::system_packages::install_missing_of;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A program or file, and the Debian package it comes in.
const PACKAGES: &[(&str, &str)] = &[
    (RUSTC, "rustc-web"),
    (CARGO, "cargo-web"),
    ("x86_64-w64-mingw32-gcc", "gcc-mingw-w64-x86-64"),
    (WINE, "wine64"),
    ("python3", "python3"),
];
const RUSTC: &str = "/usr/bin/rustc";
const CARGO: &str = "/usr/bin/cargo";
/// Debian keeps it out of PATH.
pub const WINE: &str = "/usr/lib/wine/wine64";

/// What builds for other systems.
pub struct Toolchain {
    pub cargo: PathBuf,
    /// Where it is installed; with zig beside it.
    pub zigbuild: Option<PathBuf>,
    target_dir: PathBuf,
}

/// Installs what is missing, as far as this user on this system may.
pub fn install_missing(work: &Path) {
    let mut packages = PACKAGES.to_vec();
    let source = format!("{}/lib/rustlib/src/rust/library/std/Cargo.toml", "/usr");
    packages.push((&source, "rust-web-src"));
    install_missing_of(&packages);
    let venv = work.join("venv");
    if zigbuild(work).is_some() || find_program("python3").is_none() {
        return;
    }
    println!("installing ziglang and cargo-zigbuild into {}", venv.display());
    let quiet =
        |command: &mut Command| command.stdin(Stdio::null()).status().is_ok_and(|status| status.success());
    let made = quiet(Command::new("python3").args(["-m", "venv"]).arg(&venv));
    let packages = ["install", "--quiet", "ziglang==0.17.1", "cargo-zigbuild==0.24.1"];
    if !made || !quiet(Command::new(venv.join("bin/pip")).args(packages)) {
        println!("could not install them");
    }
}

/// cargo-zigbuild: the one installed here before, or the user's own.
fn zigbuild(work: &Path) -> Option<PathBuf> {
    let own = work.join("venv/bin/cargo-zigbuild");
    if own.is_file() { Some(own) } else { find_program("cargo-zigbuild") }
}

impl Toolchain {
    /// What is installed, or why nothing can be built.
    pub fn find(work: &Path) -> Result<Toolchain, String> {
        for (file, package) in [(RUSTC, "rustc-web"), (CARGO, "cargo-web")] {
            if !Path::new(file).is_file() {
                return Err(format!("{file} is not there (Debian's package {package})"));
            }
        }
        let source = Path::new("/usr/lib/rustlib/src/rust/library");
        if !source.is_dir() {
            return Err(format!("{} is not there (Debian's package rust-web-src)", source.display()));
        }
        Ok(Toolchain { cargo: CARGO.into(), zigbuild: zigbuild(work), target_dir: work.join("target") })
    }

    /// A command that builds by this toolchain.
    pub fn cargo(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        let beside = self.zigbuild.as_deref().and_then(Path::parent);
        let path = std::env::var_os("PATH").unwrap_or_default();
        // zig is found by the python beside it, and what cargo starts by the names alone is Debian's.
        let path = std::env::join_paths(
            beside
                .into_iter()
                .chain([Path::new("/usr/bin")])
                .map(PathBuf::from)
                .chain(std::env::split_paths(&path)),
        );
        command
            .current_dir(crate::project::root())
            .env("RUSTC", RUSTC)
            // Building std is an unstable feature of cargo.
            .env("RUSTC_BOOTSTRAP", "1")
            .env("CARGO", CARGO)
            .env("CARGO_TARGET_DIR", &self.target_dir)
            // Stripping takes a tool that Debian does not bring.
            .env("CARGO_PROFILE_DEV_STRIP", "none")
            .env("CARGO_PROFILE_DEV_DEBUG", "0")
            .env_remove("RUSTUP_TOOLCHAIN");
        if let Ok(path) = path {
            command.env("PATH", path);
        }
        command
    }

    /// Where a target's programs are.
    pub fn built(&self, target: &str) -> PathBuf {
        self.target_dir.join(target).join("debug")
    }
}
