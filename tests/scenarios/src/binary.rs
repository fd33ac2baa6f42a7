//! Where the program under test is.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The `waxseal` that was built beside this test, or the one that `WAXSEAL_BINARY` names.
pub fn waxseal() -> &'static Path {
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    FOUND.get_or_init(|| env::var_os("WAXSEAL_BINARY").map_or_else(|| built_beside("waxseal"), PathBuf::from))
}

/// The `waxseal-verify` that was built beside this test.
pub fn waxseal_verify() -> &'static Path {
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    FOUND.get_or_init(|| built_beside("waxseal-verify"))
}

/// Tests lie in `target/PROFILE/deps`, programs one level above. A bare `cargo test` of this package does not know that
/// it needs them, or that they have changed; `cargo xtask test` builds them first.
fn built_beside(package: &str) -> PathBuf {
    let test = env::current_exe().expect("the test's own path");
    let above = test.parent().expect("the directory that it lies in");
    let profile =
        if above.ends_with("deps") { above.parent().expect("the profile's directory") } else { above };
    let program = profile.join(package);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("the workspace");
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build.current_dir(root).args(["build", "--package", package]);
    build.env("CARGO_TARGET_DIR", profile.parent().expect("the target directory"));
    if profile.ends_with("release") {
        build.arg("--release");
    }
    assert!(build.status().expect("cargo").success(), "{package} could not be built");
    program
}
