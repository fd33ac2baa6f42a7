//! `cargo xtask bench-watch`: the monitor beside what its disk can do.
//!
//! In: a directory, on the filesystem that is to be measured. Out: one table. How long from the close of a changed file to
//! its recorded change, beside the durable write of one block to the same disk; what a storm costs the event reader
//! and the writers; when a large tree is ready; what it takes when nothing happens.

use super::{build, report, workload};
use anyhow::{Context, Result, bail};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

/// What to measure, and how often.
#[derive(clap::Args)]
pub struct Options {
    /// Where the trees and the states lie
    #[arg(long, default_value = "/var/tmp/waxseal-bench")]
    dir: PathBuf,
    /// How many changes are timed
    #[arg(long, default_value_t = 500)]
    changes: usize,
    /// Threads that keep the machine busy meanwhile: half of the time computing, half of it writing files
    #[arg(long, default_value_t = 0)]
    load: usize,
    /// How many files the storm makes, by two writers
    #[arg(long, default_value_t = 100_000)]
    storm: usize,
    /// How many seconds nothing happens
    #[arg(long, default_value_t = 20)]
    idle: u64,
    /// Put the table into docs/benchmarks.md
    #[arg(long)]
    write: bool,
    #[command(flatten)]
    workload: workload::Sizes,
}

/// Measures and prints.
pub fn run(options: &Options) -> Result<ExitCode> {
    let program = build()?.waxseal;
    fs::create_dir_all(&options.dir)?;
    let work = fs::canonicalize(&options.dir)?.join("work-watch");
    if work.exists() {
        fs::remove_dir_all(&work)?;
    }
    let bench = Bench { program, work };
    let mut lines = bench.latency(options)?;
    lines.extend(bench.storm(options.storm)?);
    lines.extend(bench.start(options)?);
    lines.extend(bench.idle(Duration::from_secs(options.idle))?);
    let table = format!(
        "### The monitor\n\n{}\n\n| what | measured |\n|---|---|\n{}\n",
        report::circumstances(),
        lines.iter().map(|(what, figure)| format!("| {what} | {figure} |")).collect::<Vec<_>>().join("\n")
    );
    println!("{table}");
    if options.write {
        report::write("watch", false, &table)?;
    }
    fs::remove_dir_all(&bench.work)?;
    Ok(ExitCode::SUCCESS)
}

/// What was measured, and the figure.
type Line = (String, String);

struct Bench {
    program: PathBuf,
    work: PathBuf,
}

impl Bench {
    /// A command on a state and a config of its own; the tree is watched with its contents.
    fn command(&self, name: &str, tree: &Path) -> Result<impl Fn(&[&str]) -> Command> {
        let home = self.work.join(name);
        fs::create_dir_all(&home)?;
        let config = home.join("waxseal.toml");
        let path = serde_json::Value::from(tree.to_str().context("the tree's name is not UTF-8")?);
        fs::write(
            &config,
            format!("[[watch]]\nname = \"bench\"\npaths = [{path}]\nkeep = {{ content = false }}\n"),
        )?;
        let program = self.program.clone();
        Ok(move |words: &[&str]| {
            let mut command = Command::new(&program);
            command.arg("--json").arg("--config").arg(&config).arg("--state-dir").arg(home.join("state"));
            command.args(words).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            command
        })
    }

    fn latency(&self, options: &Options) -> Result<Vec<Line>> {
        let tree = self.work.join("latency-tree");
        fs::create_dir_all(&tree)?;
        let file = |n: usize| tree.join(format!("file{}", n % 100));
        (0..100).try_for_each(|n| fs::write(file(n), vec![0; 4096]))?;
        let command = self.command("latency", &tree)?;
        sealed(&command)?;
        let mut monitor = Monitor::start(&command)?;
        let mut block = fs::File::create(self.work.join("block"))?;
        let stop = AtomicBool::new(false);
        let (changes, blocks) = std::thread::scope(|scope| {
            for number in 0..options.load {
                let (stop, dir) = (&stop, self.work.join(format!("load{number}")));
                scope.spawn(move || busy(stop, &dir));
            }
            let measured = (0..options.changes).map(|n| -> Result<(Duration, Duration)> {
                fs::write(file(n), format!("{n:04096}"))?;
                let closed = Instant::now();
                monitor.wait_for("change")?;
                let change = closed.elapsed();
                block.write_all(&[n as u8; 4096])?;
                let written = Instant::now();
                block.sync_data()?;
                Ok((change, written.elapsed()))
            });
            let measured: Result<Vec<_>> = measured.collect();
            stop.store(true, Ordering::Relaxed);
            measured
        })?
        .into_iter()
        .unzip();
        monitor.end()?;
        let load = options.load;
        Ok(vec![
            (format!("close of a 4 KiB file to its recorded change, told; load {load}"), spread(changes)),
            (
                format!("for comparison: 4 KiB appended and `fdatasync`, in turn with it; load {load}"),
                spread(blocks),
            ),
        ])
    }

    fn storm(&self, files: usize) -> Result<Vec<Line>> {
        let tree = self.work.join("storm-tree");
        fs::create_dir_all(&tree)?;
        let command = self.command("storm", &tree)?;
        sealed(&command)?;
        let before = storm(&tree, "unwatched", files)?;
        for writer in 0..2 {
            fs::remove_dir_all(tree.join(format!("unwatched{writer}")))?;
        }
        let monitor = Monitor::start(&command)?;
        let during = storm(&tree, "watched", files)?;
        let synced = Instant::now();
        if !command(&["sync"]).status()?.success() {
            bail!("waxseal sync failed after the storm");
        }
        let synced = synced.elapsed();
        let reader = thread_cpu(monitor.child.id(), "events")?;
        let changes = monitor.end()?.iter().filter(|line| is_type(line, "change")).count();
        let per_path = reader.as_secs_f64() * 1e6 / files as f64;
        let ratio = during.as_secs_f64() / before.as_secs_f64();
        Ok(vec![
            (
                format!("storm: {files} files made by 2 writers, watched beside not watched"),
                format!("{:.2} s / {:.2} s = {ratio:.2}", during.as_secs_f64(), before.as_secs_f64()),
            ),
            ("storm: processor time of the event reader for each path".into(), format!("{per_path:.2} µs")),
            (
                "storm: changes recorded, and the time until `waxseal sync` returned".into(),
                format!("{changes}, {:.1} s", synced.as_secs_f64()),
            ),
        ])
    }

    fn start(&self, options: &Options) -> Result<Vec<Line>> {
        let tree = workload::make(&fs::canonicalize(&options.dir)?, "dirs", &options.workload)?;
        let dirs = options.workload.dirs;
        let command = self.command("start", &tree)?;
        sealed(&command)?;
        let began = Instant::now();
        command(&["check", "--quick"]).status()?;
        let quick = began.elapsed().as_secs_f64();
        let slab = slab()?;
        let began = Instant::now();
        let monitor = Monitor::start(&command)?;
        let ready = began.elapsed().as_secs_f64();
        let grown = slab_growth(slab)?;
        monitor.end()?;
        Ok(vec![(
            format!("ready with {dirs} directories, beside `check --quick` of them"),
            format!("{ready:.2} s / {quick:.2} s; the kernel's unreclaimable slab grew by {grown} KiB"),
        )])
    }

    fn idle(&self, time: Duration) -> Result<Vec<Line>> {
        let empty = self.work.join("idle-tree");
        fs::create_dir_all(&empty)?;
        let mut lines = Vec::new();
        for (name, tree) in [("idle", empty.as_path()), ("idle-usr", Path::new("/usr"))] {
            let command = self.command(name, tree)?;
            sealed(&command)?;
            let monitor = Monitor::start(&command)?;
            let pid = monitor.child.id();
            // What the start still has to do is not idling.
            command(&["sync"]).status()?;
            std::thread::sleep(Duration::from_secs(2));
            let before = switches(pid)?;
            std::thread::sleep(time);
            let woken = switches(pid)? - before;
            let (now, peak) = (status_kib(pid, "VmRSS")?, status_kib(pid, "VmHWM")?);
            monitor.end()?;
            lines.push((
                format!("nothing happens for {} s: {}", time.as_secs(), tree.display()),
                format!(
                    "{woken} wake-ups, {:.1} MiB resident (at most {:.1} since the start)",
                    now as f64 / 1024.0,
                    peak as f64 / 1024.0
                ),
            ));
        }
        // The last line names this machine's directory by its own name, not by that of the work.
        if let Some((what, _)) = lines.first_mut() {
            *what = format!("nothing happens for {} s: an empty directory", time.as_secs());
        }
        Ok(lines)
    }
}

/// A running monitor, and what it prints. That is read all the time: a full pipe would keep it from its work.
struct Monitor {
    child: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
}

impl Monitor {
    fn start(command: &impl Fn(&[&str]) -> Command) -> Result<Monitor> {
        let mut child = command(&["watch"]).stdout(Stdio::piped()).spawn()?;
        let output = BufReader::new(child.stdout.take().context("no output")?);
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            output.lines().map_while(|line| line.ok()).try_for_each(|line| sender.send(line)).is_ok()
        });
        let mut monitor = Monitor { child, lines, seen: Vec::new() };
        monitor.wait_for("ready")?;
        Ok(monitor)
    }

    fn wait_for(&mut self, kind: &str) -> Result<()> {
        loop {
            let Ok(line) = self.lines.recv() else { bail!("the monitor ended before it said `{kind}`") };
            let found = is_type(&line, kind);
            self.seen.push(line);
            if found {
                return Ok(());
            }
        }
    }

    /// Ends it; what it has printed meanwhile is read.
    fn end(mut self) -> Result<Vec<String>> {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        self.child.wait()?;
        self.seen.extend(self.lines.iter());
        Ok(self.seen)
    }
}

fn is_type(line: &str, kind: &str) -> bool {
    line.starts_with(&format!("{{\"type\":\"{kind}\""))
}

fn sealed(command: &impl Fn(&[&str]) -> Command) -> Result<()> {
    if !command(&["init"]).status()?.success() {
        bail!("waxseal init failed");
    }
    Ok(())
}

/// Keeps one processor and the disk busy, half of the time each.
fn busy(stop: &AtomicBool, dir: &Path) {
    let _ = fs::create_dir_all(dir);
    let mut number = 0u64;
    while !stop.load(Ordering::Relaxed) {
        let began = Instant::now();
        while began.elapsed() < Duration::from_millis(1) {
            number = std::hint::black_box(number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
        }
        let _ = fs::write(dir.join((number % 64).to_string()), [7; 8192]);
    }
}

/// How long two writers take to make the files, half of them each.
fn storm(tree: &Path, name: &str, files: usize) -> Result<Duration> {
    let began = Instant::now();
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..2)
            .map(|writer| {
                let dir = tree.join(format!("{name}{writer}"));
                scope.spawn(move || -> Result<()> {
                    fs::create_dir(&dir)?;
                    Ok((0..files / 2).try_for_each(|n| fs::write(dir.join(n.to_string()), b"x"))?)
                })
            })
            .collect();
        writers.into_iter().try_for_each(|writer| writer.join().unwrap_or_else(|_| bail!("a writer failed")))
    })?;
    Ok(began.elapsed())
}

/// Median, 99th percentile and longest, in milliseconds.
fn spread(mut times: Vec<Duration>) -> String {
    times.sort();
    let at = |share: f64| {
        let index = ((times.len() as f64 * share) as usize).min(times.len().saturating_sub(1));
        times.get(index).map_or(f64::NAN, |time| time.as_secs_f64() * 1e3)
    };
    format!("p50 {:.2} ms, p99 {:.2} ms, longest {:.2} ms, of {}", at(0.5), at(0.99), at(1.0), times.len())
}

/// Processor time of the thread of that name (`/proc/PID/task/TID/schedstat`: nanoseconds on a processor first).
fn thread_cpu(pid: u32, name: &str) -> Result<Duration> {
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let task = task?.path();
        if fs::read_to_string(task.join("comm"))?.trim() == name {
            let text = fs::read_to_string(task.join("schedstat"))?;
            let first = text.split_whitespace().next().and_then(|word| word.parse().ok());
            return Ok(Duration::from_nanos(first.context("no schedstat")?));
        }
    }
    bail!("the monitor has no thread `{name}`")
}

/// How often all threads of a process have been put to sleep or off a processor.
fn switches(pid: u32) -> Result<u64> {
    let mut sum = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let text = fs::read_to_string(task?.path().join("status"))?;
        sum += text
            .lines()
            .filter(|line| line.contains("ctxt_switches"))
            .filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok())
            .sum::<u64>();
    }
    Ok(sum)
}

fn status_kib(pid: u32, key: &str) -> Result<u64> {
    field(&fs::read_to_string(format!("/proc/{pid}/status"))?, key)
}

fn slab() -> Result<u64> {
    field(&fs::read_to_string("/proc/meminfo")?, "SUnreclaim")
}

fn slab_growth(before: u64) -> Result<u64> {
    Ok(slab()?.saturating_sub(before))
}

fn field(text: &str, key: &str) -> Result<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).with_context(|| format!("no {key}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_names_the_middle_and_the_ends() {
        let times = (1..=100).rev().map(Duration::from_millis).collect();
        assert_eq!(spread(times), "p50 51.00 ms, p99 100.00 ms, longest 100.00 ms, of 100");
        assert!(spread(Vec::new()).contains("NaN"));
    }

    #[test]
    fn fields_of_proc_are_found_by_their_whole_name() {
        assert_eq!(field("VmRSSX:\t1 kB\nVmRSS:\t 12 kB\n", "VmRSS").unwrap(), 12);
        assert!(field("VmRSS:\n", "VmRSS").is_err());
    }
}
