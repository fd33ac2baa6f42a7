//! A program that is given something on its standard input, and may be anything.
//!
//! In: a program with its arguments, and bytes. Out: that it took them and ended well, or why not, with the beginning of what it
//! said. It runs without a shell, in a process group of its own, which is ended when its time is over.

use std::io::{self, Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// How much of what it says is kept, in bytes.
pub const MAX_OUTPUT: usize = 1024;
/// How often is looked whether it has ended.
const LOOK: Duration = Duration::from_millis(20);
/// How long its last words are waited for: somebody else may hold its output.
const LAST_WORDS: Duration = Duration::from_millis(200);
const STACK: usize = 128 * 1024;

/// Why it did not go well.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// It could not be started.
    #[error("it cannot be started: {0}")]
    Start(io::Error),
    /// It did not end in time, and was ended.
    #[error("it did not end within {} s and was ended", .0.as_secs_f64())]
    Late(Duration),
    /// It ended in another way than well.
    #[error("it ended with {status}{}", said(.output))]
    Failed {
        /// How it ended.
        status: ExitStatus,
        /// The beginning of what it wrote to its error output, or else its output; it may be anything.
        output: Vec<u8>,
    },
}

fn said(output: &[u8]) -> String {
    let text = waxseal_model::escape::for_people(output.trim_ascii());
    if text.is_empty() { String::new() } else { format!(": {text}") }
}

/// Runs a program to its end. Of the environment it has `PATH` and `LANG`, and its directory is the root.
///
/// # Errors
/// When it cannot be started, does not end in time, or does not end well.
pub fn feed(argv: &[String], input: &[u8], timeout: Duration) -> Result<(), CommandError> {
    let Some((program, arguments)) = argv.split_first() else {
        return Err(CommandError::Start(io::ErrorKind::InvalidInput.into()));
    };
    let mut command = Command::new(program);
    command.args(arguments).env_clear().env("LANG", "C.UTF-8");
    command.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    #[cfg(unix)]
    {
        command.current_dir("/");
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
    }
    let mut child = command.spawn().map_err(CommandError::Start)?;
    let end = Instant::now() + timeout;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    // Whoever holds these beyond its end keeps nothing but a thread, until the group is ended.
    let input = input.to_vec();
    let started = stdin.map_or(Ok(()), |mut stdin| {
        // It need not read what it is given.
        helper(move || drop(stdin.write_all(&input)))
    });
    let outputs = [stderr.map(|pipe| drain(Box::new(pipe))), stdout.map(|pipe| drain(Box::new(pipe)))];
    let status = match started {
        Ok(()) => wait(&mut child, end),
        Err(error) => {
            end_group(&mut child);
            child.wait().and(Err(error))
        }
    };
    let status = match status {
        Ok(Some(status)) => status,
        Ok(None) => return Err(CommandError::Late(timeout)),
        Err(error) => return Err(CommandError::Start(error)),
    };
    if status.success() {
        return Ok(());
    }
    let words = outputs.into_iter().flatten().flatten();
    let words = words.filter_map(|output| output.recv_timeout(LAST_WORDS).ok());
    let output = words.into_iter().find(|output| !output.trim_ascii().is_empty()).unwrap_or_default();
    Err(CommandError::Failed { status, output })
}

/// Waits for its end; `None` when that takes too long. Then nothing is left of it.
fn wait(child: &mut Child, end: Instant) -> io::Result<Option<ExitStatus>> {
    loop {
        if has_ended(child)? {
            end_group(child);
            return child.wait().map(Some);
        }
        if Instant::now() >= end {
            end_group(child);
            child.wait()?;
            return Ok(None);
        }
        thread::sleep(LOOK);
    }
}

/// Whether it has ended. Its number stays its own until it is waited for, so that no other group can be taken for its.
#[cfg(unix)]
fn has_ended(child: &mut Child) -> io::Result<bool> {
    use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
    let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) else { return Ok(true) };
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    match waitid(WaitId::Pid(pid), options) {
        Ok(status) => Ok(status.is_some()),
        Err(rustix::io::Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[cfg(not(unix))]
fn has_ended(child: &mut Child) -> io::Result<bool> {
    child.try_wait().map(|status| status.is_some())
}

/// Ends it with whatever else is in its process group. It has not been waited for.
fn end_group(child: &mut Child) {
    #[cfg(unix)]
    if let Some(group) = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw) {
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
    let _ = child.kill();
}

fn helper(work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new().name("command".into()).stack_size(STACK).spawn(work).map(drop)
}

/// Reads all that it says, and keeps the beginning.
fn drain(mut pipe: Box<dyn Read + Send>) -> io::Result<mpsc::Receiver<Vec<u8>>> {
    let (give, take) = mpsc::channel();
    helper(move || {
        let (mut kept, mut buffer) = (Vec::new(), [0; 4096]);
        while let Ok(read @ 1..) = pipe.read(&mut buffer) {
            let room = MAX_OUTPUT.saturating_sub(kept.len()).min(read);
            kept.extend_from_slice(buffer.get(..room).unwrap_or_default());
        }
        let _ = give.send(kept);
    })?;
    Ok(take)
}

#[cfg(all(test, unix))]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "tests make their own files")]

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn sh(script: &str, input: &[u8], timeout: Duration) -> Result<(), CommandError> {
        feed(&["/bin/sh".into(), "-c".into(), script.into()], input, timeout)
    }

    #[test]
    fn it_gets_every_byte_and_little_else() {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name).display().to_string();
        let script = format!("cat > {}; env > {}; pwd >> {}", at("input"), at("env"), at("env"));
        let input: Vec<u8> = (0..1_000_000u32).map(|n| n as u8).collect();
        sh(&script, &input, LONG).unwrap();
        assert!(std::fs::read(at("input")).unwrap() == input);
        let environment = std::fs::read_to_string(at("env")).unwrap();
        let names: Vec<&str> =
            environment.lines().filter_map(|line| line.split_once('=')).map(|(n, _)| n).collect();
        assert!(
            names.iter().all(|name| ["PATH", "LANG", "PWD", "SHLVL", "_", "OLDPWD"].contains(name)),
            "{names:?}"
        );
        assert!(environment.ends_with("\n/\n"), "{environment}");
        // One that reads nothing has done its work as well.
        sh("exec true", &input, LONG).unwrap();
    }

    #[test]
    fn what_it_says_is_bounded_and_escaped() {
        let error = sh("printf 'a\\033[31mb\\n' >&2; exit 3", b"", LONG).unwrap_err().to_string();
        assert!(
            error.contains("exit status: 3") && error.contains('a') && !error.contains('\x1b'),
            "{error}"
        );
        let error = sh("head -c 10000000 /dev/zero | tr '\\0' x; exit 1", b"", LONG).unwrap_err();
        assert!(
            matches!(&error, CommandError::Failed { output, .. } if output.len() == MAX_OUTPUT),
            "{error}"
        );
        assert!(matches!(feed(&["/nowhere/x".into()], b"", LONG), Err(CommandError::Start(_))));
        assert!(matches!(feed(&[], b"", LONG), Err(CommandError::Start(_))));
    }

    #[test]
    fn one_that_does_not_end_is_ended_with_all_that_it_began() {
        let home = tempfile::tempdir().unwrap();
        let pid = home.path().join("pid");
        let script = format!("sleep 1000 & echo $! > {}; wait", pid.display());
        let late = sh(&script, b"", Duration::from_millis(500)).unwrap_err();
        assert!(matches!(late, CommandError::Late(_)), "{late}");
        let pid: i32 = std::fs::read_to_string(pid).unwrap().trim().parse().unwrap();
        let stat = format!("/proc/{pid}/stat");
        // Gone, or waiting to be taken notice of.
        while std::fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z ")) {
            thread::yield_now();
        }
    }
}
