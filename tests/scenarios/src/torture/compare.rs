//! The program's open changes against what the disk was and is.

use super::walk::State;
use crate::report::path_of;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap};

pub(super) type Disk = BTreeMap<Vec<u8>, State>;

/// What is wrong with the record, one line for each difference.
pub(super) fn differences(before: &Disk, after: &Disk, changes: &[Value]) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut at: HashMap<Vec<u8>, &Value> = HashMap::new();
    for change in changes {
        if at.insert(path_of(change), change).is_some() {
            wrong.push(format!("two open changes of one path: {change}"));
        }
    }
    // What has moved is one change, at the new name.
    let moved = changes.iter().filter(|change| change["change"] == "moved");
    let sources: BTreeSet<Vec<u8>> = moved.filter_map(from_of).collect();
    let paths: BTreeSet<&Vec<u8>> = before.keys().chain(after.keys()).chain(at.keys()).collect();
    for path in paths {
        let states = (before.get(path), after.get(path));
        let problem = match (states, at.get(path)) {
            ((Some(_), None), None) if sources.contains(path) => None,
            (states, Some(change)) => judge(states, change, before),
            ((old, new), None) if same(old, new) => None,
            ((old, new), None) => Some(format!("no change\n  was {old:?}\n  is  {new:?}")),
        };
        wrong.extend(problem.map(|problem| format!("{}: {problem}", String::from_utf8_lossy(path))));
    }
    wrong
}

/// Whether no attribute differs that counts.
fn same(old: Option<&State>, new: Option<&State>) -> bool {
    old == new
}

fn judge((old, new): (Option<&State>, Option<&State>), change: &Value, before: &Disk) -> Option<String> {
    let kind = change["change"].as_str().unwrap_or_default();
    let source = (kind == "moved").then(|| from_of(change)).flatten();
    let sealed = source.as_ref().map_or(old, |source| before.get(source));
    let fits = match (old, new) {
        (None, Some(_)) => kind == "added" || (kind == "moved" && sealed.is_some()),
        (Some(_), None) => kind == "removed",
        (Some(old), Some(new)) if old.kind != new.kind => kind == "retyped",
        (Some(old), Some(new)) => old != new && matches!(kind, "modified" | "metadata"),
        (None, None) => false,
    };
    if !fits {
        return Some(format!("the change is wrong: {change}\n  was {old:?}\n  is  {new:?}"));
    }
    let sides = [("before", sealed), ("after", new)];
    sides.into_iter().find_map(|(name, state)| {
        let state = state?;
        let wrong = describes(state, &change[name])?;
        Some(format!("{name}.{wrong} is wrong: {change}\n  was {old:?}\n  is  {new:?}"))
    })
}

fn from_of(change: &Value) -> Option<Vec<u8>> {
    match (change["from_base64"].as_str(), change["from"].as_str()) {
        (Some(exact), _) => STANDARD.decode(exact).ok(),
        (None, Some(text)) => Some(text.into()),
        (None, None) => None,
    }
}

/// The key that says something else than the state.
fn describes(state: &State, said: &Value) -> Option<&'static str> {
    let is = |key: &'static str, wanted: Value| (said[key] != wanted).then_some(key);
    let xattr = said["xattrs"][super::walk::XATTR].as_str().and_then(|value| STANDARD.decode(value).ok());
    is("type", state.kind.into())
        .or_else(|| is("mode", format!("{:04o}", state.mode).into()))
        .or_else(|| is("uid", state.owner.0.into()))
        .or_else(|| is("gid", state.owner.1.into()))
        .or_else(|| (xattr != state.xattr).then_some("xattrs"))
        .or_else(|| {
            let rest = state.rest.as_ref()?;
            let target = rest.target.as_deref().map(String::from_utf8_lossy);
            is("mtime", rfc3339(rest.mtime).into())
                .or_else(|| is("sha256", rest.sha256.clone().into()))
                .or_else(|| is("target", target.map(String::from).into()))
                .or_else(|| (state.kind == "file").then(|| is("size", rest.size.into())).flatten())
        })
}

/// Seconds and nanoseconds as the record writes them: UTC, with microseconds. The calendar is Hinnant's
/// `civil_from_days`.
fn rfc3339((seconds, nanoseconds): (i64, i64)) -> String {
    let (days, rest) = (seconds.div_euclid(86_400) + 719_468, seconds.rem_euclid(86_400));
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    let micros = nanoseconds / 1000;
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn file(mode: u32) -> State {
        State { kind: "file", mode, owner: (0, 0), xattr: None, rest: None }
    }

    fn disk(entries: &[(&str, u32)]) -> Disk {
        entries.iter().map(|(path, mode)| (path.as_bytes().to_vec(), file(*mode))).collect()
    }

    fn state(mode: &str) -> Value {
        json!({"type": "file", "mode": mode, "uid": 0, "gid": 0})
    }

    #[test]
    fn times_are_written_as_the_record_writes_them() {
        assert_eq!(rfc3339((0, 0)), "1970-01-01T00:00:00.000000Z");
        assert_eq!(rfc3339((951_782_399, 123_456_789)), "2000-02-28T23:59:59.123456Z");
        assert_eq!(rfc3339((951_782_400, 999)), "2000-02-29T00:00:00.000000Z");
        assert_eq!(rfc3339((-1, 0)), "1969-12-31T23:59:59.000000Z");
    }

    #[test]
    fn whatever_is_missing_wrong_or_too_much_is_a_difference() {
        let before = disk(&[("/a", 0o644), ("/gone", 0o644), ("/same", 0o644)]);
        let after = disk(&[("/a", 0o600), ("/new", 0o644), ("/same", 0o644)]);
        let changes = [
            json!({"path": "/a", "change": "metadata", "before": state("0644"), "after": state("0600")}),
            json!({"path": "/gone", "change": "removed", "before": state("0644")}),
            json!({"path": "/new", "change": "added", "after": state("0644")}),
        ];
        let count = |changes: &[Value]| differences(&before, &after, changes).len();
        assert_eq!(count(&changes), 0);
        for missing in 0..3 {
            let mut rest = changes.to_vec();
            rest.remove(missing);
            assert_eq!(count(&rest), 1);
        }
        let mut stale = changes.clone();
        stale[0]["after"] = state("0640");
        assert_eq!(count(&stale), 1);
        let too_much =
            json!({"path": "/same", "change": "metadata", "before": state("0644"), "after": state("0600")});
        assert_eq!(count(&[&changes[..], &[too_much]].concat()), 1);
        let moved = json!({"path": "/new", "change": "moved", "from": "/gone", "before": state("0644"), "after": state("0644")});
        assert_eq!(count(&[changes[0].clone(), moved]), 0);
    }
}
