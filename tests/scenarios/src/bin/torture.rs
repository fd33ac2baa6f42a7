//! The long form of the torture, as `cargo xtask torture` runs it.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a developer's tool: printing is its work")]

use std::process::ExitCode;
use std::time::Duration;
use waxseal_scenarios::Fs;
use waxseal_scenarios::torture::{Length, Options, run};

/// How many differences of one run are shown.
const SHOWN: usize = 20;

/// `SECONDS FILESYSTEMS SEED RUNS NAMES RESTARTS QUEUE RECONCILE`, all given by `cargo xtask torture`.
fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match plan(&arguments) {
        Some(plan) => torture(&plan),
        None => {
            eprintln!("error: run `cargo xtask torture --help`");
            ExitCode::from(2)
        }
    }
}

struct Plan {
    filesystems: Vec<Fs>,
    runs: u64,
    first: Options,
    queue: Queue,
}

#[derive(Clone, Copy)]
enum Queue {
    Usual,
    Full,
    /// One run with each.
    Both,
}

fn plan(arguments: &[String]) -> Option<Plan> {
    let [seconds, filesystems, seed, runs, names, restarts, queue, reconcile] = arguments else {
        return None;
    };
    let filesystems: Option<Vec<Fs>> = filesystems.split(',').map(by_name).collect();
    let filesystems = filesystems?;
    let queue = match queue.as_str() {
        "usual" => Queue::Usual,
        "full" => Queue::Full,
        "both" => Queue::Both,
        _ => return None,
    };
    let first = Options {
        fs: *filesystems.first()?,
        seed: seed.parse().ok()?,
        length: Length::Time(Duration::from_secs(seconds.parse().ok()?)),
        names: names.parse().ok()?,
        sealed_every: 4,
        restarts: restarts.parse().ok()?,
        full_queue: false,
        reconcile: reconcile.parse().ok()?,
    };
    Some(Plan { filesystems, runs: runs.parse().ok()?, first, queue })
}

fn by_name(name: &str) -> Option<Fs> {
    Fs::ALL.iter().copied().find(|fs| format!("{fs:?}").eq_ignore_ascii_case(name))
}

fn torture(plan: &Plan) -> ExitCode {
    let (mut runs, mut operations, mut overflows, mut restarts, mut differences) = (0, 0, 0, 0, 0);
    for run_number in 0..plan.runs {
        for &fs in &plan.filesystems {
            let seed = plan.first.seed + run_number;
            let full_queue = match plan.queue {
                Queue::Usual => false,
                Queue::Full => true,
                Queue::Both => run_number % 2 == 1,
            };
            let outcome = match run(&Options { fs, seed, full_queue, ..plan.first }) {
                Ok(outcome) => outcome,
                Err(why) => {
                    println!("SKIPPED: {fs:?}: {why}");
                    continue;
                }
            };
            println!("{outcome}");
            let never = outcome.never_done();
            if !never.is_empty() {
                println!("  not once: {}", never.join(", "));
            }
            for difference in outcome.differences.iter().take(SHOWN) {
                println!("  {difference}");
            }
            runs += 1;
            operations += outcome.total();
            overflows += outcome.overflows;
            restarts += outcome.restarts;
            differences += outcome.differences.len();
        }
    }
    println!(
        "{runs} runs, {operations} operations, {overflows} overflows, {restarts} restarts: {differences} differences"
    );
    match (differences == 0, plan.first.reconcile, runs) {
        (_, _, 0) => ExitCode::from(2),
        (true, true, _) => ExitCode::SUCCESS,
        (false, false, _) => {
            println!("as it must be: nothing was scanned again after events had been lost");
            ExitCode::SUCCESS
        }
        (true, false, _) => {
            println!("the control found nothing: this torture cannot fail, and proves nothing");
            ExitCode::FAILURE
        }
        (false, true, _) => ExitCode::FAILURE,
    }
}
