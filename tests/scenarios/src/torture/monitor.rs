//! The monitor under torture: its lines are counted and not kept, for there are hundreds of thousands of them.

use crate::machine::Machine;
use rustix::process::{Pid, Signal, kill_process};
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::thread::JoinHandle;
use std::time::Duration;

/// How long the monitor may take for what the torture waits for: the machine is loaded on purpose.
const PATIENCE: Duration = Duration::from_secs(240);

/// What all monitors of a run said together.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub lines: AtomicU64,
    /// Rescans because the kernel's queue overflowed.
    pub overflows: AtomicU64,
    /// Rescans for other reasons.
    pub other_rescans: AtomicU64,
    pub errors: AtomicU64,
    pub blind: AtomicU64,
}

/// How a monitor is run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mode {
    /// With the queue that it asks for, instead of the one that the system grants by default.
    pub full_queue: bool,
    /// Whether it scans again what it was blind for; if not, it is the control.
    pub reconcile: bool,
}

pub(super) struct Monitor {
    child: Child,
    ready: Receiver<()>,
    reader: Option<JoinHandle<()>>,
    stderr: std::path::PathBuf,
}

impl Monitor {
    pub fn start(machine: &Machine, mode: Mode, counts: &Arc<Counts>) -> Self {
        let inner = machine.command(&machine.state_dir(), ["--json", "watch"]);
        let mut command = if mode.full_queue { inner } else { with_the_usual_queue(machine, &inner) };
        if !mode.reconcile {
            command.env("WAXSEAL_TEST_NO_RECONCILE", "1");
        }
        let stderr = machine.home().join("stderr");
        let errors = File::options().create(true).append(true).open(&stderr).expect("a file for stderr");
        let mut child = command.stdout(Stdio::piped()).stderr(errors).spawn().expect("waxseal starts");
        let stdout = BufReader::new(child.stdout.take().expect("stdout"));
        let (is_ready, ready) = mpsc::channel();
        let counts = Arc::clone(counts);
        let reader = std::thread::spawn(move || {
            let mut kept = kept_lines();
            for line in stdout.lines().map_while(Result::ok) {
                counts.take(&line);
                if let Some(file) = &mut kept {
                    writeln!(file, "{line}").expect("the lines are kept");
                }
                if line.starts_with("{\"type\":\"ready\"") {
                    let _ = is_ready.send(());
                }
            }
        });
        Self { child, ready, reader: Some(reader), stderr }
    }

    /// Waits until nothing can be missed any more.
    #[track_caller]
    pub fn wait_until_ready(&self) {
        if self.ready.recv_timeout(PATIENCE).is_err() {
            panic!("the monitor did not become ready: {}", self.complaints());
        }
    }

    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a pid");
        kill_process(pid, signal).expect("kill");
    }

    /// Ends it as a power cut would.
    pub fn kill(self) {
        self.signal(Signal::KILL);
    }

    /// Ends it as the service manager would; it must end well.
    #[track_caller]
    pub fn stop(mut self) {
        self.signal(Signal::TERM);
        let status = self.child.wait().expect("wait");
        assert_eq!(status.code(), Some(0), "{}", self.complaints());
    }

    fn complaints(&self) -> String {
        std::fs::read_to_string(&self.stderr).unwrap_or_default()
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

/// Where `WAXSEAL_TORTURE_LINES` wants everything that the monitor says to be kept: what led to a difference is found
/// there.
fn kept_lines() -> Option<BufWriter<File>> {
    let file = File::options().create(true).append(true).open(std::env::var_os("WAXSEAL_TORTURE_LINES")?);
    Some(BufWriter::new(file.expect("the file for the lines")))
}

/// Where the system's limits may not be changed, as in a container, the queue is the one that everybody has.
fn with_the_usual_queue(machine: &Machine, inner: &Command) -> Command {
    let script = "mount -o bind,ro /proc/sys /proc/sys && exec \"$0\" \"$@\"";
    machine.under(&["unshare", "--mount", "--propagation", "slave", "sh", "-c", script], inner)
}

impl Counts {
    fn take(&self, line: &str) {
        let add = |count: &AtomicU64| count.fetch_add(1, Ordering::Relaxed);
        add(&self.lines);
        match line.strip_prefix("{\"type\":\"").and_then(|rest| rest.split('"').next()) {
            Some("rescan") if line.contains("\"reason\":\"overflow\"") => drop(add(&self.overflows)),
            Some("rescan") => drop(add(&self.other_rescans)),
            Some("error") => drop(add(&self.errors)),
            Some("blind") => drop(add(&self.blind)),
            _ => {}
        }
    }
}
