//! `cargo xtask arrows`: the shape of the house, kept by a test instead of by memory.
//!
//! In: `cargo metadata`, `Cargo.lock`, the sources. Out: one finding a line for each arrow that points the wrong
//! way, each library outside its home, each package too many, each use of files or `unsafe` in the wrong room.

mod edges;
mod lock;
mod rules;
mod sources;

use anyhow::Result;
use std::process::ExitCode;

/// Prints what does not hold.
pub fn run() -> Result<ExitCode> {
    let report = report()?;
    for finding in &report.findings {
        println!("arrows: {finding}");
    }
    println!(
        "arrows: {} packages in Cargo.lock (at most {}) and {} of notify, {} findings",
        report.packages,
        rules::PACKAGE_CEILING,
        report.of_notify,
        report.findings.len()
    );
    Ok(if report.findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

struct Report {
    findings: Vec<String>,
    packages: usize,
    of_notify: usize,
}

fn report() -> Result<Report> {
    let mut findings = edges::findings()?;
    let lock = lock::read()?;
    findings.extend(lock::findings(&lock));
    findings.extend(sources::findings()?);
    let packages = lock::counted(&lock);
    Ok(Report { findings, packages, of_notify: lock.len() - packages })
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_workspace_keeps_its_shape() {
        let report = super::report().unwrap();
        assert!(report.findings.is_empty(), "{:#?}", report.findings);
    }
}
