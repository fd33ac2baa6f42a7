//! The Windows program under wine: it watches a directory, and tells what happens there.
//!
//! wine shows that the calls fit together, not how NTFS behaves.

use super::Outcome;
use super::toolchain::WINE;
use anyhow::{Context, Result};
use serde_json::Value;
use std::collections::{BTreeSet, VecDeque};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

/// wine 8 lacks the library that std takes random numbers from. Not to be shipped.
const RANDOM: &str = "\
#include <windows.h>\n\
BOOLEAN NTAPI SystemFunction036(PVOID, ULONG);\n\
__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE data, SIZE_T size)\n\
{ return SystemFunction036(data, (ULONG)size); }\n";

/// How long anything may take: the first start of wine makes its directories.
const PATIENCE: Duration = Duration::from_secs(180);

/// How many of the last lines are shown when one is missing.
const SHOWN: usize = 100;

/// How many files are made at once; what is told of so many is several times what Windows keeps until it is asked for.
const MANY: usize = 1000;

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
    many(monitor, watched)
}

/// Files that are made faster than anybody can listen: all of them are told.
fn many(monitor: &mut Monitor, watched: &Path) -> Result<(), String> {
    let names: BTreeSet<String> = (0..MANY).map(|number| format!("{number}-{}", "long".repeat(20))).collect();
    for name in &names {
        fs::write(watched.join(name), name).map_err(|error| error.to_string())?;
    }
    let mut missing = names;
    let mut scans = 0;
    while !missing.is_empty() {
        let what =
            format!("{} of {MANY} files that were made at once, as {:?},", missing.len(), missing.first());
        let line: Value = serde_json::from_str(&monitor.next(&what)?).unwrap_or_default();
        scans += usize::from(line["type"] == "rescan");
        if line["change"] == "added"
            && let Some((_, name)) = line["path"].as_str().and_then(|path| path.rsplit_once('/'))
        {
            missing.remove(name);
        }
    }
    println!("{MANY} files that were made at once were told; {scans} times events were lost and made good");
    Ok(())
}

/// What another process is told of the running monitor.
fn status(run: &Path, home: &Path) -> Result<(), String> {
    let output = program(run, home).arg("status").output().map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    print!("{text}");
    let value: Value = serde_json::from_str(text.lines().next().unwrap_or_default()).unwrap_or_default();
    let monitor = &value["monitor"];
    let limits =
        monitor["blind"].as_array().is_some_and(|blind| blind.contains(&"alternate data streams".into()));
    if monitor["backend"] == "readdirectorychanges" && limits {
        Ok(())
    } else {
        Err(format!("status says {text}"))
    }
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
    seen: VecDeque<String>,
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
        Ok(Monitor { child, lines, seen: VecDeque::new(), prefix })
    }

    /// Reads on until a line fits.
    fn until(&mut self, what: &str, fits: impl Fn(&Value) -> bool) -> Result<Value, String> {
        loop {
            let line = self.next(what)?;
            println!("{line}");
            let value = serde_json::from_str::<Value>(&line).unwrap_or_default();
            if fits(&value) {
                return Ok(value);
            }
        }
    }

    /// The next line; what was waited for is named when there is none.
    fn next(&mut self, what: &str) -> Result<String, String> {
        let Ok(line) = self.lines.recv_timeout(PATIENCE) else {
            return Err(format!(
                "{what} was not told; what was:\n{}",
                self.seen.make_contiguous().join("\n")
            ));
        };
        if self.seen.len() == SHOWN {
            self.seen.pop_front();
        }
        self.seen.push_back(line.clone());
        Ok(line)
    }

    fn end(mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        // The server of this prefix alone.
        let _ = Command::new("/usr/lib/wine/wineserver64").arg("-k").env("WINEPREFIX", &self.prefix).status();
    }
}
