//! The monitor in the background.

use crate::machine::parse_line;
use crate::report::Change;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

/// How long a line of the monitor may take before a test fails. Far longer than promised: the machine that runs
/// the tests is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(20);

/// Asks again until something holds, or the test fails: for what no line of the monitor tells.
#[track_caller]
pub fn until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "it did not come to this: {what}");
    }
}

/// A running `waxseal watch --json`; it is ended when this is dropped.
pub struct Watching {
    child: Child,
    lines: Receiver<Value>,
    stderr: Receiver<String>,
    /// The line of type `ready`.
    pub ready: Value,
    seen: Vec<Value>,
    /// The last line of each open change, by id.
    open: BTreeMap<String, Value>,
}

impl Watching {
    #[track_caller]
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("waxseal starts");
        let (sender, lines) = mpsc::channel();
        let stdout = BufReader::new(child.stdout.take().expect("stdout"));
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if sender.send(parse_line(&line)).is_err() {
                    break;
                }
            }
        });
        let (sender, stderr) = mpsc::channel();
        let mut errors = child.stderr.take().expect("stderr");
        thread::spawn(move || {
            let mut bytes = Vec::new();
            let _ = errors.read_to_end(&mut bytes);
            let _ = sender.send(String::from_utf8_lossy(&bytes).into_owned());
        });
        let mut watching =
            Self { child, lines, stderr, ready: Value::Null, seen: Vec::new(), open: BTreeMap::new() };
        watching.ready = watching.next_matching(|line| line["type"] == "ready");
        watching
    }

    /// The process id of the monitor.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Every line so far.
    pub fn seen(&self) -> &[Value] {
        &self.seen
    }

    /// Waits for a line; one that does not come fails the test with everything that came instead.
    #[track_caller]
    pub fn next_matching(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.next_line(deadline) {
                Some(line) if wanted(&line) => return line,
                Some(_) => {}
                None => self.give_up("the line did not come"),
            }
        }
    }

    /// Waits until the open changes are as wanted: `judge` says what is wrong with them, if anything is.
    #[track_caller]
    pub fn wait_for_changes(&mut self, judge: impl Fn(&[Change]) -> Option<String>) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            // Judging is not free, so all that has been printed is taken note of before.
            while let Ok(line) = self.lines.try_recv() {
                self.note(line);
            }
            let Some(wrong) = judge(&self.open_changes()) else { return };
            if self.next_line(deadline).is_none() {
                self.give_up(&wrong);
            }
        }
    }

    /// The changes that are open by the lines so far: the last line of each id, without the resolved ones.
    pub fn open_changes(&self) -> Vec<Change> {
        self.open.values().cloned().map(Change).collect()
    }

    /// Ends the monitor as the service manager would; it must end well.
    #[track_caller]
    pub fn stop(mut self) {
        self.signal(Signal::TERM);
        // The readers end with the program.
        let deadline = Instant::now() + PATIENCE;
        while self.next_line(deadline).is_some() {}
        match self.stderr.recv_timeout(PATIENCE) {
            Ok(stderr) => {
                let status = self.child.wait().expect("wait");
                assert_eq!(status.code(), Some(0), "{stderr}");
            }
            Err(_) => panic!("the monitor did not end on SIGTERM"),
        }
    }

    /// Ends the monitor as a power cut would: nothing that it had not done by now will be done.
    pub fn kill(mut self) {
        self.child.kill().expect("kill");
        self.child.wait().expect("wait");
    }

    /// Sends a signal to the monitor.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).expect("a pid")).expect("a pid");
        kill_process(pid, signal).expect("kill");
    }

    fn next_line(&mut self, deadline: Instant) -> Option<Value> {
        let line = self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())).ok()?;
        self.note(line.clone());
        Some(line)
    }

    fn note(&mut self, line: Value) {
        if let Some(id) = line["id"].as_str() {
            match line["type"].as_str() {
                Some("change") => drop(self.open.insert(id.to_owned(), line.clone())),
                Some("resolved") => drop(self.open.remove(id)),
                _ => {}
            }
        }
        self.seen.push(line);
    }

    #[track_caller]
    fn give_up(&mut self, what: &str) -> ! {
        let _ = self.child.kill();
        let stderr = self.stderr.recv_timeout(PATIENCE).unwrap_or_default();
        let first = self.seen.len().saturating_sub(40);
        let seen: Vec<String> = self.seen.iter().skip(first).map(Value::to_string).collect();
        panic!(
            "{what}\nthe monitor printed {} lines, the last of them:\n{}\nand on stderr:\n{stderr}",
            self.seen.len(),
            seen.join("\n")
        );
    }
}

/// A running `waxseal watch` whose standard output nobody reads, until [`Unread::read`]; it is ended when this is dropped.
pub struct Unread(Child);

impl Unread {
    pub(crate) fn start(mut command: Command) -> Self {
        Self(command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("waxseal starts"))
    }

    /// Sends a signal to the monitor.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.0.id()).expect("a pid")).expect("a pid");
        kill_process(pid, signal).expect("kill");
    }

    /// Reads from now on: each line as it comes.
    pub fn read(&mut self) -> Receiver<String> {
        let (sender, lines) = mpsc::channel();
        let stdout = BufReader::new(self.0.stdout.take().expect("stdout"));
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        lines
    }

    /// Ends it at once.
    pub fn kill(mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }

    /// Waits for its end: the signal that ended it, if one did.
    #[track_caller]
    pub fn wait(mut self) -> Option<i32> {
        self.ended().signal()
    }

    /// Waits for its end, which must be a good one.
    #[track_caller]
    pub fn expect_end(mut self) {
        assert_eq!(self.ended().code(), Some(0));
    }

    #[track_caller]
    fn ended(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Some(status) = self.0.try_wait().expect("wait") {
                return status;
            }
            thread::yield_now();
        }
        panic!("the monitor did not end");
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
