//! Which package names which other, from `cargo metadata`.

use super::rules::{HOMES, ROOMS, Room, WORKSHOP};
use crate::project;
use anyhow::{Context, Result, bail};
use serde_json::Value;

/// One declared dependency of one package of the workspace.
struct Edge {
    from: String,
    to: String,
    for_tests: bool,
}

/// The arrows of the workspace that are not allowed.
pub fn findings() -> Result<Vec<String>> {
    let metadata = metadata()?;
    let mut findings = Vec::new();
    for package in list(&metadata, "packages") {
        let name = short_name(text(package, "name"));
        if WORKSHOP.contains(&name) {
            continue;
        }
        let Some(room) = room(name) else {
            findings
                .push(format!("{name}: not a crate of the architecture page; add it there and to the table"));
            continue;
        };
        for dependency in list(package, "dependencies") {
            let edge = Edge {
                from: name.into(),
                to: text(dependency, "name").into(),
                for_tests: text(dependency, "kind") == "dev",
            };
            findings.extend(judge(room, &edge));
        }
    }
    Ok(findings)
}

/// Why an edge is not allowed, if it is not.
fn judge(room: &Room, edge: &Edge) -> Option<String> {
    let Edge { from, to, for_tests } = edge;
    if let Some(ours) = self::room(short_name(to)).filter(|_| is_ours(to)) {
        let allowed = room.may_use.contains(&ours.name) || (*for_tests && ours.layer < room.layer);
        return (!allowed).then(|| format!("{from} may not use {}", ours.name));
    }
    let (_, homes) = HOMES.iter().find(|(library, _)| library == to)?;
    let allowed = *for_tests || homes.contains(&room.name);
    (!allowed).then(|| format!("{from} may not use {to}: its home is {}", homes.join(", ")))
}

fn metadata() -> Result<Value> {
    let output = project::cargo()
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .output()
        .context("cannot run cargo metadata")?;
    if !output.status.success() {
        bail!("cargo metadata failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    serde_json::from_slice(&output.stdout).context("cannot read what cargo metadata printed")
}

fn room(name: &str) -> Option<&'static Room> {
    ROOMS.iter().find(|room| room.name == name)
}

fn is_ours(package: &str) -> bool {
    package == "waxseal" || package.starts_with("waxseal-")
}

fn short_name(package: &str) -> &str {
    package.strip_prefix("waxseal-").unwrap_or(package)
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(from: &str, to: &str, for_tests: bool) -> Option<String> {
        judge(room(from).unwrap(), &Edge { from: from.into(), to: to.into(), for_tests })
    }

    #[test]
    fn arrows_point_down() {
        assert_eq!(verdict("policy", "waxseal-store", false).unwrap(), "policy may not use store");
        assert!(verdict("policy", "waxseal-store", true).is_some());
        assert!(verdict("alert", "waxseal-engine", false).is_some());
        assert!(verdict("web", "waxseal-os", false).is_some());
        assert!(verdict("web", "waxseal-os", true).is_none());
        assert!(verdict("engine", "waxseal-store", false).is_none());
    }

    #[test]
    fn libraries_stay_at_home() {
        assert_eq!(
            verdict("engine", "rusqlite", false).unwrap(),
            "engine may not use rusqlite: its home is store"
        );
        assert!(verdict("engine", "rusqlite", true).is_none());
        assert!(verdict("ledger", "sha2", false).is_none());
        assert!(verdict("engine", "thiserror", false).is_none());
    }

    #[test]
    fn layers_and_tables_agree() {
        for room in ROOMS {
            for used in room.may_use {
                let used = self::room(used).unwrap();
                assert!(
                    used.layer < room.layer,
                    "{} uses {} of its own layer or above",
                    room.name,
                    used.name
                );
            }
        }
    }
}
