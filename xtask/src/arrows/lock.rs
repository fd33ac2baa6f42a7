//! How many packages there are, and which come twice.

use super::rules::{DOUBLES, OF_NOTIFY, PACKAGE_CEILING};
use crate::project;
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::fs;

/// A package of `Cargo.lock`: name and version.
pub type Package = (String, String);

/// The packages of the workspace's lock file.
pub fn read() -> Result<Vec<Package>> {
    let file = project::root().join("Cargo.lock");
    let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    Ok(parse(&text))
}

/// What the lock file should not hold.
pub fn findings(packages: &[Package]) -> Vec<String> {
    let mut findings = Vec::new();
    let counted = counted(packages);
    if counted > PACKAGE_CEILING {
        findings.push(format!("{counted} packages in Cargo.lock, at most {PACKAGE_CEILING} are agreed"));
    }
    let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (name, version) in packages {
        versions.entry(name).or_default().push(version);
    }
    for (name, versions) in &versions {
        let accepted = DOUBLES.iter().find(|(double, _)| double == name);
        match (versions.len(), accepted) {
            (2.., None) => {
                findings.push(format!("{name} comes in {} versions: {}", versions.len(), versions.join(", ")))
            }
            (1, Some(_)) => {
                findings.push(format!("{name} comes once: take it off the list of accepted doubles"))
            }
            _ => {}
        }
    }
    let gone = DOUBLES.iter().filter(|(double, _)| !versions.contains_key(double));
    let unneeded = OF_NOTIFY.iter().filter(|name| !versions.contains_key(**name));
    findings
        .extend(unneeded.map(|name| format!("{name} is gone: take it off the list of what notify brings")));
    findings.extend(
        gone.map(|(double, _)| format!("{double} is gone: take it off the list of accepted doubles")),
    );
    findings
}

/// How many packages count: those of `notify` alone are counted apart, and their list has an end.
pub fn counted(packages: &[Package]) -> usize {
    packages.iter().filter(|(name, _)| !OF_NOTIFY.contains(&name.as_str())).count()
}

/// Reads the two keys that matter; cargo writes each on a line of its own.
fn parse(text: &str) -> Vec<Package> {
    let mut packages = Vec::new();
    let mut name = None;
    for line in text.lines() {
        let Some((key, value)) = line.split_once(" = ") else { continue };
        let value = value.trim_matches('"');
        match key {
            "name" => name = Some(value.to_owned()),
            "version" => packages.extend(name.take().map(|name| (name, value.to_owned()))),
            _ => {}
        }
    }
    packages
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_notify_brings_is_counted_apart() {
        let package = |name: &str| (name.to_owned(), "1.0.0".to_owned());
        assert_eq!(counted(&[package("a"), package("notify"), package("mio")]), 1);
    }

    #[test]
    fn packages_are_read_and_doubles_found() {
        let text = "version = 4\n\n[[package]]\nname = \"a\"\nversion = \"1.0.0\"\ndependencies = [\n \"b\",\n]\n\n\
                    [[package]]\nname = \"a\"\nversion = \"2.0.0\"\n\n[[package]]\nname = \"b\"\nversion = \"1.0.0\"\n";
        let packages = parse(text);
        assert_eq!(packages.len(), 3);
        assert!(findings(&packages).iter().any(|finding| finding == "a comes in 2 versions: 1.0.0, 2.0.0"));
    }
}
