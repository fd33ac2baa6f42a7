//! What a story must end in, said so that it can be compared again while the monitor is still at work.

use crate::report::Change;
use serde_json::Value;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// One expected change.
#[derive(Clone, Debug)]
pub struct Expect {
    kind: &'static str,
    /// Relative to the tree; empty for the tree itself.
    path: Vec<u8>,
    fields: Option<Vec<&'static str>>,
    also: Vec<&'static str>,
    severity: Option<&'static str>,
    /// Where (`before`, `after`, or nowhere for the line itself), the key, and what it must be.
    values: Vec<(&'static str, &'static str, Value)>,
}

impl Expect {
    fn new(kind: &'static str, path: impl AsRef<[u8]>) -> Self {
        let path = path.as_ref().to_owned();
        Self { kind, path, fields: None, also: Vec::new(), severity: None, values: Vec::new() }
    }

    /// A path that was not there.
    pub fn added(path: impl AsRef<[u8]>) -> Self {
        Self::new("added", path)
    }

    /// A path that is gone.
    pub fn removed(path: impl AsRef<[u8]>) -> Self {
        Self::new("removed", path)
    }

    /// Content, target or device number differ.
    pub fn modified(path: impl AsRef<[u8]>) -> Self {
        Self::new("modified", path)
    }

    /// Only other attributes differ.
    pub fn metadata(path: impl AsRef<[u8]>) -> Self {
        Self::new("metadata", path)
    }

    /// The type differs.
    pub fn retyped(path: impl AsRef<[u8]>) -> Self {
        Self::new("retyped", path)
    }

    /// The same file under a new name.
    pub fn moved(path: impl AsRef<[u8]>) -> Self {
        Self::new("moved", path)
    }

    /// The line itself has this value; `null` when the key must be absent.
    pub fn key(mut self, key: &'static str, value: impl Into<Value>) -> Self {
        self.values.push(("", key, value.into()));
        self
    }

    /// These attributes differ and no others.
    pub fn fields(mut self, fields: &[&'static str]) -> Self {
        self.fields = Some(fields.to_vec());
        self
    }

    /// This attribute differs, whatever else does.
    pub fn field(mut self, field: &'static str) -> Self {
        self.also.push(field);
        self
    }

    /// It is this severe.
    pub fn severity(mut self, severity: &'static str) -> Self {
        self.severity = Some(severity);
        self
    }

    /// The old state has this value; `null` when the key must be absent.
    pub fn before(mut self, key: &'static str, value: impl Into<Value>) -> Self {
        self.values.push(("before", key, value.into()));
        self
    }

    /// The new state has this value; `null` when the key must be absent.
    pub fn after(mut self, key: &'static str, value: impl Into<Value>) -> Self {
        self.values.push(("after", key, value.into()));
        self
    }

    fn mismatch(&self, change: &Change) -> Option<String> {
        if change.kind() != self.kind {
            return Some(format!("is {}, not {}", change.kind(), self.kind));
        }
        let mut fields = change.fields();
        fields.sort_unstable();
        if let Some(wanted) = &self.fields {
            let mut wanted = wanted.clone();
            wanted.sort_unstable();
            if fields != wanted {
                return Some(format!("has fields {fields:?}, not {wanted:?}"));
            }
        }
        if let Some(missing) = self.also.iter().find(|field| !fields.contains(field)) {
            return Some(format!("has fields {fields:?}, without {missing}"));
        }
        if let Some(severity) = self.severity.filter(|severity| *severity != change.severity()) {
            return Some(format!("is of severity {}, not {severity}", change.severity()));
        }
        self.values.iter().find_map(|(when, key, wanted)| {
            let holder = if when.is_empty() { &change.0 } else { &change.0[when] };
            let found = &holder[key];
            (found != wanted).then(|| format!("has {when}.{key} = {found}, not {wanted}"))
        })
    }
}

/// What is wrong with the changes, if anything: each expected one must be there once, and no other.
pub fn mismatch(tree: &Path, expected: &[Expect], changes: &[Change]) -> Option<String> {
    let mut rest: HashMap<Vec<u8>, Vec<&Change>> = HashMap::new();
    for change in changes {
        rest.entry(change.path()).or_default().push(change);
    }
    for expect in expected {
        let mut path = tree.to_owned();
        if !expect.path.is_empty() {
            path.push(OsStr::from_bytes(&expect.path));
        }
        let Some(change) = rest.get_mut(path.as_os_str().as_bytes()).and_then(Vec::pop) else {
            return Some(format!("no change at {}", path.display()));
        };
        if let Some(wrong) = expect.mismatch(change) {
            return Some(format!("the change at {} {wrong}: {}", path.display(), change.0));
        }
    }
    let mut rest = rest.values().flatten();
    rest.next().map(|change| format!("{} changes too many: {}", rest.count() + 1, change.0))
}
