//! What a command asks of the running monitor, and what it is answered: one JSON object a line each way.
//!
//! In: bytes of a peer that may run another version. Out: a [`Request`] or an [`Answer`].

use crate::json::{self, Object};

/// The name of the socket in the state directory.
pub const SOCKET: &str = "control";
/// The longest line, in bytes.
pub const LONGEST: usize = 64 * 1024;

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// To be answered when everything that has happened by now is recorded.
    Sync,
}

/// Why something was not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// One word, for programs: `disk-full`, `database-busy`, `database`, `ending`, `busy`, `not-permitted` or
    /// `not-understood`.
    pub reason: String,
    /// The same for people.
    pub error: String,
}

/// What is answered.
pub type Answer = Result<(), Refusal>;

impl Refusal {
    /// A refusal.
    pub fn new(reason: &str, error: impl Into<String>) -> Refusal {
        Refusal { reason: reason.into(), error: error.into() }
    }
}

impl Request {
    /// As a line, without newline.
    pub fn to_line(&self) -> String {
        let mut object = json::object("request");
        let Request::Sync = self;
        object.insert("command".into(), "sync".into());
        json::line(&object)
    }

    /// From a line.
    ///
    /// # Errors
    /// What to answer when it is no request that this version knows.
    pub fn parse(line: &[u8]) -> Result<Request, Refusal> {
        let refused = |why: String| Refusal::new("not-understood", why);
        let object: Object =
            serde_json::from_slice(line).map_err(|error| refused(format!("no JSON object: {error}")))?;
        match object.get("command").and_then(serde_json::Value::as_str) {
            Some("sync") => Ok(Request::Sync),
            Some(_) => Err(refused(
                "a command that this monitor does not know: it may be of an older version".into(),
            )),
            None => Err(refused("no command is named".into())),
        }
    }
}

/// An answer as a line, without newline.
pub fn answer_line(answer: &Answer) -> String {
    let mut object = json::object("answer");
    object.insert("ok".into(), answer.is_ok().into());
    if let Err(refusal) = answer {
        object.insert("reason".into(), refusal.reason.clone().into());
        object.insert("error".into(), refusal.error.clone().into());
    }
    json::line(&object)
}

/// An answer from a line; one that is not understood is a refusal.
///
/// # Errors
/// The refusal.
pub fn parse_answer(line: &[u8]) -> Answer {
    let strange = || {
        Refusal::new("not-understood", "the monitor's answer is not understood: it may be of another version")
    };
    let object: Object = serde_json::from_slice(line).map_err(|_| strange())?;
    let text = |key: &str| object.get(key).and_then(serde_json::Value::as_str);
    match (object.get("ok").and_then(serde_json::Value::as_bool), text("reason"), text("error")) {
        (Some(true), ..) => Ok(()),
        (Some(false), Some(reason), Some(error)) => Err(Refusal::new(reason, error)),
        _ => Err(strange()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_said_is_understood() {
        assert_eq!(Request::parse(Request::Sync.to_line().as_bytes()), Ok(Request::Sync));
        let refusal = Refusal::new("disk-full", "the \"disk\" is\nfull");
        for answer in [Ok(()), Err(refusal)] {
            let line = answer_line(&answer);
            assert!(!line.contains('\n'));
            assert_eq!(parse_answer(line.as_bytes()), answer);
        }
    }

    #[test]
    fn what_is_not_known_is_refused() {
        for line in [
            "",
            "sync",
            "[]",
            "{}",
            "{\"command\":1}",
            "{\"command\":\"format\"}",
            "{\"command\":\"sync\"} x",
        ] {
            assert_eq!(Request::parse(line.as_bytes()).unwrap_err().reason, "not-understood", "{line}");
        }
        for line in ["", "{}", "{\"ok\":1}", "{\"ok\":false}", "{\"ok\":false,\"reason\":\"x\"}"] {
            assert_eq!(parse_answer(line.as_bytes()).unwrap_err().reason, "not-understood", "{line}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_strange(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Request::parse(&bytes);
            let _ = parse_answer(&bytes);
        }
    }
}
