//! The system's own tools, which set what the program has to find.

use crate::skip;
use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Runs a tool, or says why it failed: in the system's own words, as far as it has any.
pub fn try_run<S: AsRef<OsStr>>(
    program: &str,
    arguments: impl IntoIterator<Item = S>,
) -> Result<String, String> {
    let found = find(program).ok_or_else(|| format!("{program} is not installed"))?;
    let output = Command::new(found)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{program}: {error}"))?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; ");
        return Err(format!("{program}: {words} ({})", output.status));
    }
    String::from_utf8(output.stdout).map_err(|error| format!("{program}: {error}"))
}

/// Runs a tool that must succeed.
#[track_caller]
pub fn run<S: AsRef<OsStr>>(program: &str, arguments: impl IntoIterator<Item = S>) -> String {
    try_run(program, arguments).unwrap_or_else(|error| panic!("{error}"))
}

/// Whether a tool is installed; if not, the test is skipped aloud.
pub fn has(program: &str) -> bool {
    let found = find(program).is_some();
    if !found {
        skip(&format!("{program} is not installed"));
    }
    found
}

/// The SHA-256 of a file as another program sees it.
pub fn sha256(file: &Path) -> String {
    let line = run("sha256sum", [file]);
    // A backslash marks an escaped name.
    line.trim_start_matches('\\').split(' ').next().unwrap_or_default().to_owned()
}

/// Builds a small C program: for calls that need memory shared with the kernel, which the tests, having no `unsafe`
/// code, cannot make themselves.
pub fn compile(source: &str, program: &Path) -> Result<(), String> {
    build(source, program, &[])
}

/// Builds a small C library that is loaded before the others, to stand for calls of the C library.
pub fn compile_library(source: &str, library: &Path) -> Result<(), String> {
    build(source, library, &["-shared", "-fPIC"])
}

fn build(source: &str, output: &Path, more: &[&str]) -> Result<(), String> {
    let file = output.with_extension("c");
    std::fs::write(&file, source).map_err(|error| error.to_string())?;
    let arguments = ["-O1", "-Wall", "-Werror"].iter().chain(more).chain(&["-o"]).map(OsStr::new);
    try_run("cc", arguments.chain([output.as_os_str(), file.as_os_str()])).map(drop)
}

fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(PathBuf::from))
        .map(|directory| directory.join(program))
        .find(|file| file.is_file())
}

/// chattr flags on a file, taken off again when this is dropped, so that the file can be removed.
pub struct Flags {
    file: PathBuf,
    flag: &'static str,
}

impl Flags {
    /// Sets a flag by its letter.
    pub fn set(file: PathBuf, flag: &'static str) -> Self {
        run("chattr", [OsStr::new(&format!("+{flag}")), file.as_os_str()]);
        Self { file, flag }
    }
}

impl Drop for Flags {
    fn drop(&mut self) {
        let _ = try_run("chattr", [OsStr::new(&format!("-{}", self.flag)), self.file.as_os_str()]);
    }
}
