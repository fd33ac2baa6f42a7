//! The report of changes: what matters first, one screen unless all is asked for.

use super::{describe, style};
use std::collections::BTreeMap;
use std::io::{self, Write};
use waxseal_model::{Actor, Change, ChangeId, ChangeKind, RawPath, Severity};

/// How many changes a report of one screen shows in full: each takes up to six lines.
const SHOWN: usize = 6;
/// How many directories it names.
const DIRECTORIES: usize = 5;

/// Adds up changes without keeping them, and keeps the first screen of them.
#[derive(Debug, Default)]
pub struct Report {
    kinds: BTreeMap<ChangeKind, u64>,
    severities: BTreeMap<Severity, u64>,
    directories: BTreeMap<RawPath, u64>,
    first: Vec<Change>,
    keep_all: bool,
    total: u64,
}

/// The most directories that are counted apart; beyond it, changes count for the directory above.
const MOST_DIRECTORIES: usize = 20_000;

impl Report {
    /// An empty report; with `all`, every change is shown.
    pub fn new(all: bool) -> Report {
        Report { keep_all: all, ..Report::default() }
    }

    /// Counts a change. Changes come worst first.
    pub fn add(&mut self, change: Change) {
        self.total += 1;
        *self.kinds.entry(change.kind).or_default() += 1;
        *self.severities.entry(change.severity).or_default() += 1;
        let mut directory = change.path.parent().unwrap_or_else(|| change.path.clone());
        while self.directories.len() >= MOST_DIRECTORIES && !self.directories.contains_key(&directory) {
            match directory.parent() {
                Some(parent) => directory = parent,
                None => break,
            }
        }
        *self.directories.entry(directory).or_default() += 1;
        if self.keep_all || self.first.len() < SHOWN {
            self.first.push(change);
        }
    }

    /// How many changes of a kind.
    pub fn kind(&self, kind: ChangeKind) -> u64 {
        self.kinds.get(&kind).copied().unwrap_or(0)
    }

    /// How many changes.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Writes the report.
    pub fn write(&self, out: &mut impl Write) -> io::Result<()> {
        if self.total == 0 {
            return Ok(());
        }
        let (strong, faint) = (style::STRONG, style::FAINT);
        let list = |counts: Vec<String>| counts.join(", ");
        let kinds = self.kinds.iter().map(|(kind, n)| format!("{} {}", describe::count(*n), kind.name()));
        let severities =
            self.severities.iter().rev().map(|(s, n)| format!("{} {}", describe::count(*n), s.name()));
        let total = describe::counted(self.total, "change", "changes");
        writeln!(
            out,
            "{strong}{total}{strong:#}: {} ({})",
            list(kinds.collect()),
            list(severities.collect())
        )?;
        if self.directories.len() > 1 {
            self.write_clusters(out)?;
        }
        for change in &self.first {
            writeln!(out)?;
            write_change(out, change)?;
        }
        let left = self.total - self.first.len() as u64;
        if left > 0 {
            let more = describe::counted(left, "more change", "more changes");
            writeln!(out, "\n{faint}and {more}: show them with --all, or take them from --json{faint:#}")?;
        }
        Ok(())
    }

    fn write_clusters(&self, out: &mut impl Write) -> io::Result<()> {
        let mut clusters: Vec<_> = self.directories.iter().collect();
        clusters.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
        let width = clusters.iter().take(DIRECTORIES).map(|(_, n)| describe::count(**n).len()).max();
        for (directory, n) in clusters.iter().take(DIRECTORIES) {
            writeln!(out, "  {:>width$} in {directory}", describe::count(**n), width = width.unwrap_or(1))?;
        }
        let others = clusters.len().saturating_sub(DIRECTORIES);
        if others > 0 {
            writeln!(
                out,
                "  the rest in {}",
                describe::counted(others as u64, "other directory", "other directories")
            )?;
        }
        Ok(())
    }
}

/// One change: its line, then what differs, old and new.
pub fn write_change(out: &mut impl Write, change: &Change) -> io::Result<()> {
    let (color, strong, faint) = (style::severity(change.severity), style::STRONG, style::FAINT);
    let severity = change.severity.name();
    let headline = describe::headline(change);
    write!(out, "{color}{severity:<8}{color:#} {headline:<9} {strong}{}{strong:#}", change.path)?;
    if change.id != ChangeId::NONE {
        write!(out, "  {faint}{}", change.id)?;
    }
    if change.count > 1 {
        write!(out, ", seen in {} states", describe::count(change.count))?;
    }
    writeln!(out, "{faint:#}")?;
    for (name, old, new) in describe::differences(change) {
        if old.chars().count() + new.chars().count() > 70 {
            writeln!(out, "         {name:<8} {old}\n           {faint}now{faint:#}    {new}")?;
        } else {
            writeln!(out, "         {name:<8} {old} {faint}now{faint:#} {new}")?;
        }
    }
    write_actors(out, &change.actors)
}

/// Who did it, a line each.
pub fn write_actors(out: &mut impl Write, actors: &[Actor]) -> io::Result<()> {
    for actor in actors {
        writeln!(out, "         by       {}", describe::actor(actor))?;
    }
    Ok(())
}
