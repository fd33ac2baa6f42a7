//! One run of one program: wall time, processor time, peak memory, and what else the machine did meanwhile.

use anyhow::{Context, Result};
use std::fmt;
use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use wait4::Wait4;

/// What a run took.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// From start to end.
    pub wall: Duration,
    /// User and system time of the process and of the children that it waited for.
    pub cpu: Duration,
    /// The largest resident set of any one of these processes, in bytes. The kernel counts what the process was
    /// before it became this program, so nothing below this tool's own few MiB can be seen.
    pub peak: u64,
    /// Processors busy with other work meanwhile.
    pub other_load: f64,
    /// The exit code; -1 for the end by a signal.
    pub code: i32,
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (wall, cpu) = (self.wall.as_secs_f64(), self.cpu.as_secs_f64());
        let peak = self.peak >> 20;
        write!(
            f,
            "{wall:.2} s, {cpu:.2} CPU s, {peak} MiB, other load {:.2}, code {}",
            self.other_load, self.code
        )
    }
}

/// Runs a command to its end. Its output goes nowhere: writing a table to a terminal is not what is measured.
pub fn run(mut command: Command, cold: bool) -> Result<Run> {
    if cold {
        drop_caches()?;
    }
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let busy_before = busy();
    let started = Instant::now();
    let child = command.spawn().with_context(|| format!("cannot run {}", command.get_program().display()))?;
    let used = child.wait4()?;
    let wall = started.elapsed();
    let cpu = used.rusage.utime + used.rusage.stime;
    let others = (busy() - busy_before - cpu.as_secs_f64()).max(0.0);
    let other_load = others / wall.as_secs_f64().max(0.001);
    Ok(Run { wall, cpu, peak: used.rusage.maxrss, other_load, code: used.status.code().unwrap_or(-1) })
}

fn drop_caches() -> Result<()> {
    rustix::fs::sync();
    fs::write("/proc/sys/vm/drop_caches", "3").context("cannot empty the page cache")
}

/// The seconds that all processors together have been busy since the machine started; 0 where `/proc` is missing.
fn busy() -> f64 {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let Some(line) = stat.lines().next() else { return 0.0 };
    let ticks: Vec<f64> = line.split_whitespace().skip(1).filter_map(|word| word.parse().ok()).collect();
    // user nice system idle iowait irq softirq steal, in hundredths of a second; guests are in user already.
    let busy = [0, 1, 2, 5, 6, 7].into_iter().filter_map(|index| ticks.get(index)).sum::<f64>();
    busy / 100.0
}
