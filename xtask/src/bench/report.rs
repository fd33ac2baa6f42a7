//! The tables.

use super::goals::{GOALS, PEAK_BINDS, PEAK_MIB};
use super::measure::Run;
use super::{Options, Row};
use crate::project::{self, find_program};
use anyhow::{Context, Result};
use std::fmt::Write;
use std::process::Command;
use std::{env, fs};

/// Those beside whom everyone is put, and the heads of their columns.
const YARDSTICKS: &[(&str, &str)] = &[
    ("aide --init", "÷ AIDE"),
    ("hashdeep -c sha256 -r -j2", "÷ hashdeep"),
    ("limit: walk + read + SHA-256 of one stream", "÷ limit"),
];

/// The section on one tree.
pub fn table(options: &Options, tree: &str, rows: &[Row]) -> String {
    let mut out = String::new();
    let cache = if options.cold { "cold" } else { "warm" };
    let _ = writeln!(out, "### Tree `{tree}`, {cache} cache\n");
    let _ = writeln!(out, "{}\n", circumstances());
    let heads: String = YARDSTICKS.iter().map(|(_, head)| format!(" {head} |")).collect();
    let _ =
        writeln!(out, "| what | rounds | wall s, least / median | CPU s | peak MiB | other load |{heads}");
    let _ = writeln!(out, "|---|---|---|---|---|---|{}", "---|".repeat(YARDSTICKS.len()));
    for row in rows.iter().filter(|row| row.runs.iter().any(Option::is_some)) {
        let _ = writeln!(out, "{}", line(rows, row));
    }
    let goals = goals(options.cold, tree, rows);
    if !goals.is_empty() {
        let _ = writeln!(out, "\n| goal | at most | measured | |\n|---|---|---|---|\n{}", goals.join("\n"));
    }
    out
}

fn line(rows: &[Row], row: &Row) -> String {
    let walls = each(row, |run| run.wall.as_secs_f64());
    let least = walls.iter().copied().fold(f64::INFINITY, f64::min);
    let mut line = format!(
        "| {}{} | {} | {least:.2} / {:.2} | {:.2} | {:.0} | {:.2} |",
        row.contender.name.replace('|', "\\|"),
        trouble(row),
        walls.len(),
        median(walls.clone()),
        median(each(row, |run| run.cpu.as_secs_f64())),
        peak_mib(row),
        median(each(row, |run| run.other_load)),
    );
    for (name, _) in YARDSTICKS {
        let shown = ratio(rows, row.contender.name, name).map_or_else(|| "–".into(), show_ratio);
        let _ = write!(line, " {shown} |");
    }
    line
}

/// A note where a run did not end with 0: its time is then not that of the whole work.
fn trouble(row: &Row) -> String {
    let codes: Vec<String> =
        row.runs.iter().flatten().filter(|run| run.code != 0).map(|run| run.code.to_string()).collect();
    if codes.is_empty() { String::new() } else { format!(" (exit {})", codes.join(", ")) }
}

fn goals(cold: bool, tree: &str, rows: &[Row]) -> Vec<String> {
    let verdict = |kept| if kept { "kept" } else { "**missed**" };
    let mut lines = Vec::new();
    for goal in GOALS.iter().filter(|goal| goal.tree == tree && goal.cold == cold) {
        let Some(ratio) = ratio(rows, goal.what, goal.beside) else { continue };
        lines.push(format!(
            "| {} ÷ {} | {} | {} | {} |",
            goal.what,
            goal.beside,
            show_ratio(goal.at_most),
            show_ratio(ratio),
            verdict(ratio <= goal.at_most)
        ));
    }
    for row in rows.iter().filter(|row| PEAK_BINDS.contains(&row.contender.name)) {
        let peak = peak_mib(row);
        let name = row.contender.name;
        lines
            .push(format!("| peak MiB of {name} | {PEAK_MIB} | {peak:.1} | {} |", verdict(peak <= PEAK_MIB)));
    }
    lines
}

/// The median of the ratios of wall times in the rounds in which both took part.
fn ratio(rows: &[Row], what: &str, beside: &str) -> Option<f64> {
    let find = |name: &str| rows.iter().find(|row| row.contender.name == name);
    let (what, beside) = (find(what)?, find(beside)?);
    let pair = |(a, b): (&Option<Run>, &Option<Run>)| {
        Some(a.as_ref()?.wall.as_secs_f64() / b.as_ref()?.wall.as_secs_f64())
    };
    let ratios: Vec<f64> = what.runs.iter().zip(&beside.runs).filter_map(pair).collect();
    (!ratios.is_empty()).then(|| median(ratios))
}

fn show_ratio(ratio: f64) -> String {
    if ratio < 0.4 { format!("1/{:.1}", 1.0 / ratio) } else { format!("{ratio:.2}") }
}

fn each(row: &Row, value: impl Fn(&Run) -> f64) -> Vec<f64> {
    row.runs.iter().flatten().map(value).collect()
}

fn peak_mib(row: &Row) -> f64 {
    each(row, |run| run.peak as f64 / f64::from(1 << 20)).into_iter().fold(0.0, f64::max)
}

/// The middle of the values, or the mean of the two in the middle; NaN of none.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match (values.get(middle), values.len() % 2) {
        (Some(upper), 0) => (values.get(middle - 1).unwrap_or(upper) + upper) / 2.0,
        (Some(value), _) => *value,
        (None, _) => f64::NAN,
    }
}

/// When, by which command, on what machine, against which versions.
pub fn circumstances() -> String {
    let words: Vec<String> = env::args().skip(1).collect();
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model =
        cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ").map(|(_, name)| name));
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let versions: Vec<String> = [("aide", "--version"), ("hashdeep", "-V"), ("sha256sum", "--version")]
        .into_iter()
        .filter(|(program, _)| find_program(program).is_some())
        .map(|(program, option)| format!("{program} {}", version(program, option)))
        .collect();
    format!(
        "{}, `cargo xtask {}`; {processors} × {}, Linux {}; {}; {}.",
        first_line("date", &["-u", "+%F"]),
        words.join(" "),
        model.unwrap_or("unknown processor"),
        first_line("uname", &["-r"]),
        first_line("rustc", &["--version"]),
        versions.join(", "),
    )
}

/// The last word of what a program says about its version.
fn version(program: &str, option: &str) -> String {
    first_line(program, &[option]).split_whitespace().next_back().unwrap_or("?").to_owned()
}

fn first_line(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let text = output.map(|output| [output.stdout, output.stderr].concat()).unwrap_or_default();
    String::from_utf8_lossy(&text).lines().next().unwrap_or("?").to_owned()
}

/// Puts a section into the page, in the place of the last one on the same tree.
pub fn write(tree: &str, cold: bool, table: &str) -> Result<()> {
    let page = project::root().join("docs/benchmarks.md");
    let old = fs::read_to_string(&page).unwrap_or_else(|_| "# Benchmarks\n".into());
    let name = format!("{tree} {}", if cold { "cold" } else { "warm" });
    fs::create_dir_all(project::root().join("docs"))?;
    fs::write(&page, replace_section(&old, &name, table))
        .with_context(|| format!("cannot write {}", page.display()))
}

fn replace_section(page: &str, name: &str, table: &str) -> String {
    let (begin, end) = (format!("<!-- bench: {name} -->"), format!("<!-- end: {name} -->"));
    let section = format!("{begin}\n{}\n{end}", table.trim_end());
    let place =
        page.find(&begin).and_then(|from| Some((from, from + page.get(from..)?.find(&end)? + end.len())));
    match place.and_then(|(from, to)| Some((page.get(..from)?, page.get(to..)?))) {
        Some((head, tail)) => format!("{head}{section}{tail}"),
        None => format!("{}\n\n{section}\n", page.trim_end()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_takes_the_place_of_the_old_one() {
        let first = replace_section("# Benchmarks\n", "usr warm", "one");
        let both = replace_section(&first, "small warm", "two");
        let again = replace_section(&both, "usr warm", "three");
        assert!(again.contains("three") && again.contains("two") && !again.contains("one\n"));
        assert_eq!(again.matches("<!-- bench: usr warm -->").count(), 1);
    }

    #[test]
    fn ratios_read_well() {
        assert_eq!(show_ratio(1.0 / 16.0), "1/16.0");
        assert_eq!(show_ratio(0.8), "0.80");
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(Vec::new()).is_nan());
    }
}
