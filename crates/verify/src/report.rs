//! What people are told.

use std::fmt::Write;
use waxseal_ledger::verify::{Cosigned, Report, Trust};

/// The report as text: the contradictions, how far the log is proven, and what that rests on.
pub fn text(report: &Report, trust: &Trust) -> String {
    let mut out = String::new();
    for problem in &report.problems {
        let _ = writeln!(out, "{problem}");
    }
    if report.more > 0 {
        let _ = writeln!(out, "and {} more", report.more);
    }
    let Report { proven, size, .. } = report;
    let verdict = if report.is_proven() { "proven" } else { "broken" };
    let _ = writeln!(
        out,
        "{verdict}: {proven} of {size} leaves of the log of {} are proven",
        trust.host().name()
    );
    if let Some(since) = report.unproven_since {
        let _ = writeln!(out, "from leaf {proven} ({since}) on nothing can be trusted");
    } else if !report.is_proven() && proven < size {
        let _ = writeln!(out, "from leaf {proven} on nothing can be trusted");
    }
    if let Some(last) = report.last {
        let _ =
            writeln!(out, "the last leaf is of {last}; a log that was cut back ends earlier than it should");
    }
    for Cosigned { witness, time, size } in &report.cosigned {
        let _ = writeln!(
            out,
            "at {time} {} had seen {size} leaves of this log, and nothing else",
            witness.as_str()
        );
    }
    match trust.kept().iter().map(|kept| kept.size).max() {
        Some(newest) => {
            let _ = writeln!(out, "the newest checkpoint that was kept covers {newest} leaves");
        }
        None if !report.cosigned.is_empty() => {}
        None => out.push_str(
            "no checkpoint was kept: this cannot tell the log from another one that the same key began\n",
        ),
    }
    if report.clock_set_back > 0 {
        let _ = writeln!(out, "the clock was set back {} times", report.clock_set_back);
    }
    if report.deleted > 0 {
        let _ =
            writeln!(out, "the details of {} leaves were deleted by the rules of retention", report.deleted);
    }
    for index in &report.restarts {
        let _ = writeln!(
            out,
            "at leaf {index} the chain of keys began anew; a checkpoint that was kept covers it"
        );
    }
    if report.unknown > 0 {
        let _ = writeln!(out, "{} leaves are of kinds that a newer program knows", report.unknown);
    }
    out
}
