//! The Windows program under wine: it watches a directory, and tells what happens there.
//!
//! wine shows that the calls fit together, not how NTFS behaves.

use super::Outcome;
use super::toolchain::WINE;
use anyhow::{Context, Result};
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

/// wine 8 lacks the library that std takes random numbers from. Not to be shipped.
const RANDOM: &str = "\
#include <windows.h>\n\
BOOLEAN NTAPI SystemFunction036(PVOID, ULONG);\n\
__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE data, SIZE_T size)\n\
{ return SystemFunction036(data, (ULONG)size); }\n";

/// How long anything may take: the first start of wine makes its directories.
const PATIENCE: Duration = Duration::from_secs(180);

/// Watches a directory, changes it, and looks whether that is told.
pub fn watch(program: &Path, work: &Path) -> Result<Outcome> {
    if !Path::new(WINE).is_file() {
        return Ok(Outcome::Skipped("wine64 is not installed".into()));
    }
    let home = work.join("wine");
    let _ = fs::remove_dir_all(home.join("run"));
    let run = home.join("run");
    let watched = run.join("watched");
    fs::create_dir_all(&watched)?;
    fs::copy(program, run.join("waxseal.exe")).context("cannot copy the program")?;
    if !random(&run)? {
        return Ok(Outcome::Failed("the stand-in for bcryptprimitives.dll could not be built".into()));
    }
    for name in ["changes", "goes", "moves"] {
        fs::write(watched.join(name), name)?;
    }
    let mut monitor = Monitor::start(&run, &home)?;
    let outcome = story(&mut monitor, &watched).and_then(|()| status(&run, &home));
    monitor.end();
    Ok(outcome.map_or_else(Outcome::Failed, |()| Outcome::Holds))
}

fn random(run: &Path) -> Result<bool> {
    let source = run.join("random.c");
    fs::write(&source, RANDOM)?;
    let status = Command::new("x86_64-w64-mingw32-gcc")
        .arg("-shared")
        .arg("-o")
        .arg(run.join("bcryptprimitives.dll"))
        .arg(&source)
        .arg("-ladvapi32")
        .status();
    Ok(status.is_ok_and(|status| status.success()))
}

fn story(monitor: &mut Monitor, watched: &Path) -> Result<(), String> {
    let io = |error: std::io::Error| error.to_string();
    let ready = monitor.until("ready", |line| line["type"] == "ready")?;
    if ready["backend"] != "readdirectorychanges" {
        return Err(format!("another backend: {ready}"));
    }
    let is = |kind: &'static str, name: &'static str| {
        move |line: &Value| {
            let path = line["path"].as_str().unwrap_or_default();
            line["type"] == "change" && line["change"] == kind && path.ends_with(&format!("/watched/{name}"))
        }
    };
    fs::write(watched.join("comes"), "new").map_err(io)?;
    monitor.until("a file that is made", is("added", "comes"))?;
    fs::write(watched.join("changes"), "other").map_err(io)?;
    monitor.until("a file that is written", is("modified", "changes"))?;
    fs::remove_file(watched.join("goes")).map_err(io)?;
    monitor.until("a file that is removed", is("removed", "goes"))?;
    fs::rename(watched.join("moves"), watched.join("moved")).map_err(io)?;
    monitor.until("a file that is moved", is("moved", "moved"))?;
    fs::create_dir_all(watched.join("a/b")).map_err(io)?;
    fs::write(watched.join("a/b/deep"), "new").map_err(io)?;
    monitor.until("a file in a new directory", is("added", "a/b/deep"))?;
    Ok(())
}

/// What another process is told of the running monitor.
fn status(run: &Path, home: &Path) -> Result<(), String> {
    let output = program(run, home).arg("status").output().map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    print!("{text}");
    let value: Value = serde_json::from_str(text.lines().next().unwrap_or_default()).unwrap_or_default();
    let monitor = &value["monitor"];
    if monitor["backend"] == "readdirectorychanges" { Ok(()) } else { Err(format!("status says {text}")) }
}

/// The program, to be run on the state of this run.
fn program(run: &Path, home: &Path) -> Command {
    let mut command = Command::new(WINE);
    command
        .arg("waxseal.exe")
        .args(["--json", "--config", "waxseal.toml", "--state-dir", "state"])
        .current_dir(run)
        .env("WINEPREFIX", home.join("prefix"))
        .env("WINEDEBUG", "-all")
        .stdin(Stdio::null());
    command
}

/// The program under wine.
struct Monitor {
    child: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
    prefix: PathBuf,
}

impl Monitor {
    fn start(run: &Path, home: &Path) -> Result<Monitor> {
        let prefix = home.join("prefix");
        let mut child = program(run, home)
            .args(["watch", "watched"])
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot run wine")?;
        let (give, lines) = mpsc::channel();
        if let Some(output) = child.stdout.take() {
            std::thread::spawn(move || {
                for line in BufReader::new(output).lines().map_while(Result::ok) {
                    if give.send(line).is_err() {
                        break;
                    }
                }
            });
        }
        Ok(Monitor { child, lines, seen: Vec::new(), prefix })
    }

    /// Reads on until a line fits.
    fn until(&mut self, what: &str, fits: impl Fn(&Value) -> bool) -> Result<Value, String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(line) = self.lines.recv_timeout(left) else {
                return Err(format!("{what} was not told; what was:\n{}", self.seen.join("\n")));
            };
            println!("{line}");
            let value = serde_json::from_str::<Value>(&line).unwrap_or_default();
            self.seen.push(line);
            if fits(&value) {
                return Ok(value);
            }
        }
    }

    fn end(mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        // The server of this prefix alone.
        let _ = Command::new("/usr/lib/wine/wineserver64").arg("-k").env("WINEPREFIX", &self.prefix).status();
    }
}
