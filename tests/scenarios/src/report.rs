//! What a check or the monitor said, as the contract's objects.

use crate::machine::Output;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

/// A line of type `change`.
#[derive(Clone, Debug)]
pub struct Change(pub Value);

impl Change {
    /// The exact bytes of the path.
    pub fn path(&self) -> Vec<u8> {
        path_of(&self.0)
    }

    /// `added`, `removed`, …
    pub fn kind(&self) -> &str {
        self.0["change"].as_str().expect("change")
    }

    /// The attributes that differ.
    pub fn fields(&self) -> Vec<&str> {
        self.0["fields"]
            .as_array()
            .map(|fields| fields.iter().filter_map(Value::as_str).collect())
            .unwrap_or_default()
    }

    /// How severe it is.
    pub fn severity(&self) -> &str {
        self.0["severity"].as_str().expect("severity")
    }

    /// The id that stays until the change is decided or undone.
    pub fn id(&self) -> &str {
        self.0["id"].as_str().expect("id")
    }
}

/// The exact bytes of an object's `path`.
pub fn path_of(object: &Value) -> Vec<u8> {
    match object["path_base64"].as_str() {
        Some(exact) => STANDARD.decode(exact).expect("base64"),
        None => object["path"].as_str().expect("path").into(),
    }
}

/// The result of `check --json`.
#[derive(Debug)]
pub struct Report {
    /// The lines of type `change`, in the order printed.
    pub changes: Vec<Change>,
    /// The lines of type `error`.
    pub errors: Vec<Value>,
    /// The last line.
    pub summary: Value,
    /// The whole output.
    pub output: Output,
}

impl Report {
    /// Reads the lines and holds them against the contract: the summary comes last, its counts are those of the
    /// lines, and outcome and exit code agree.
    #[track_caller]
    pub fn new(output: Output, quick: bool) -> Self {
        let mut lines = output.lines();
        let summary = lines.pop().unwrap_or_else(|| panic!("check printed nothing on stdout: {output:?}"));
        assert_eq!(summary["type"], "summary", "{output:?}");
        assert_eq!(summary["quick"], quick, "{summary}");
        let changes: Vec<_> =
            lines.iter().filter(|line| line["type"] == "change").cloned().map(Change).collect();
        let errors: Vec<_> = lines.iter().filter(|line| line["type"] == "error").cloned().collect();
        for kind in ["added", "removed", "modified", "metadata", "retyped", "moved"] {
            let counted = changes.iter().filter(|change| change.kind() == kind).count();
            assert_eq!(summary[kind], counted, "{kind} in {output:?}");
        }
        assert_eq!(summary["errors"], errors.len(), "{output:?}");
        let outcome = summary["outcome"].as_str().expect("outcome");
        let code = match outcome {
            "intact" => 0,
            "changed" => 1,
            "incomplete" => 2,
            other => panic!("outcome {other}"),
        };
        assert_eq!(output.code, Some(code), "{output:?}");
        assert!(outcome != "intact" || (changes.is_empty() && errors.is_empty()), "{output:?}");
        Self { changes, errors, summary, output }
    }

    /// `intact`, `changed` or `incomplete`.
    pub fn outcome(&self) -> &str {
        self.summary["outcome"].as_str().expect("outcome")
    }

    /// Fails the test unless everything was looked at and nothing differs.
    #[track_caller]
    pub fn expect_intact(self) -> Self {
        assert_eq!(self.outcome(), "intact", "{:#?}", self.output);
        assert!(self.summary["checked"].as_u64().is_some_and(|checked| checked > 0), "{}", self.summary);
        self
    }

    /// Fails the test unless everything was looked at and something differs.
    #[track_caller]
    pub fn expect_changed(self) -> Self {
        assert_eq!(self.outcome(), "changed", "{:#?}", self.output);
        self
    }

    /// Fails the test unless something could not be looked at.
    #[track_caller]
    pub fn expect_incomplete(self) -> Self {
        assert_eq!(self.outcome(), "incomplete", "{:#?}", self.output);
        assert!(!self.errors.is_empty(), "incomplete, and no place is named: {:#?}", self.output);
        self
    }

    /// The one change at a path, if there is any; two fail the test.
    #[track_caller]
    pub fn change_at(&self, path: impl AsRef<std::path::Path>) -> Option<&Change> {
        let path = path.as_ref().as_os_str().as_encoded_bytes();
        let mut found = self.changes.iter().filter(|change| change.path() == path);
        let first = found.next();
        assert!(found.next().is_none(), "two changes of one path: {:#?}", self.output);
        first
    }

    /// Whether an error names this path.
    pub fn has_error_at(&self, path: impl AsRef<std::path::Path>) -> bool {
        let path = path.as_ref().as_os_str().as_encoded_bytes();
        self.errors.iter().any(|error| error["path"].is_string() && path_of(error) == path)
    }
}
