//! Witnesses: others who see the log grow, and sign that it only grows.
//!
//! In: the log, and a witness's address and key. Out: the newest checkpoint with the witness's line. It is asked as C2SP
//! tlog-witness (<https://c2sp.org/tlog-witness>) says. What it answers counts by its signature alone, so nothing depends on how
//! it is reached; whoever is in between can only keep it from answering.

use crate::http::{Answer, Client};
use std::time::{Duration, Instant};
use waxseal_ledger::cosignature::{WitnessKey, add_checkpoint, own_line};
use waxseal_model::escape;
use waxseal_store::{Newest, Store};

/// How often it is asked at most: with the size that it is known to have seen, with the one that it says then, and once more when the
/// log has grown meanwhile.
const ATTEMPTS: usize = 3;
/// The longest answer that is read, in bytes.
const MAX_ANSWER: u64 = 64 * 1024;
/// How much of an answer nobody expects is told, in bytes.
const TOLD: usize = 200;

/// A witness.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Witness {
    /// Its submission prefix, an address of http or https without a slash at its end.
    pub url: String,
    /// What its cosignatures verify by.
    pub key: WitnessKey,
}

/// A checkpoint that was cosigned, and the witness's line.
pub(crate) struct Cosigned {
    pub(crate) newest: Newest,
    pub(crate) line: String,
}

impl Witness {
    /// Has the newest checkpoint cosigned. `seen` is how many leaves it is known to have seen, 0 when nothing is known.
    pub(crate) fn cosign(&self, store: &Store, seen: u64, timeout: Duration) -> Result<Cosigned, String> {
        let url = format!("{}/add-checkpoint", self.url);
        let client = Client::new(&url)?;
        let end = Instant::now() + timeout;
        let mut seen = seen;
        for _ in 0..ATTEMPTS {
            let newest = store.newest_since(seen).map_err(|error| error.to_string())?;
            let (newest, proof) = newest.ok_or("there is no log yet")?;
            // It may have seen more than this log has by now. Asking without a proof has it say how much.
            let old = if seen > newest.size { 0 } else { seen };
            let body = add_checkpoint(old, &proof, &newest.note).ok_or("the proof is too long")?;
            let Answer { status, body } = client.post(&url, &body, MAX_ANSWER, end)?;
            match status {
                200 => return self.accept(newest, &body),
                409 => {
                    let size = size(&body).ok_or("it answers 409 without a size")?;
                    if size == old {
                        return Err(format!("it has seen {size} leaves, and refuses what follows them"));
                    }
                    if size > newest.size && seen >= size {
                        let has = newest.size;
                        return Err(format!(
                            "it has seen {size} leaves, and the log has {has}: the log was cut back, or another is kept by its key"
                        ));
                    }
                    seen = size;
                }
                _ => return Err(refused(status, &body)),
            }
        }
        Err("it says again and again that it has seen another checkpoint".to_owned())
    }

    fn accept(&self, newest: Newest, body: &str) -> Result<Cosigned, String> {
        match own_line(&newest.note, body, &self.key) {
            Ok(line) => Ok(Cosigned { newest, line }),
            Err(error) => Err(format!("its answer is no cosignature of this checkpoint: {error}")),
        }
    }
}

/// A size, as an answer has it.
fn size(body: &str) -> Option<u64> {
    let digits = body.strip_suffix('\n').unwrap_or(body);
    let is_plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| is_plain)
}

/// Why it refused, in words.
fn refused(status: u16, body: &str) -> String {
    let why = match status {
        404 => {
            "it does not know this log: whoever keeps it has to add the log's key (`host` in the verification file)"
        }
        403 => "it knows another key for this log",
        422 => "it has seen another log under this name: this one was rewritten, or begun anew",
        400 => "it takes this for no request",
        300..400 => "it sends us elsewhere: give the address where it is",
        _ => "it answers something else",
    };
    let said = body.trim();
    let mut end = said.len().min(TOLD);
    while !said.is_char_boundary(end) {
        end -= 1;
    }
    let said = escape::for_people(said.get(..end).unwrap_or_default().as_bytes());
    let colon = if said.is_empty() { "" } else { ": " };
    format!("{why} ({status}{colon}{said})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_number_is_a_size() {
        assert_eq!(size("42\n"), Some(42));
        assert_eq!(size("0"), Some(0));
        for bad in ["", "\n", "+4\n", "4 \n", "4\n\n", "x", "99999999999999999999\n"] {
            assert_eq!(size(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn what_it_says_is_bounded_and_escaped() {
        let said = refused(500, &format!("\u{1b}[31m{}", "ä".repeat(10_000)));
        assert!(said.len() < 1000 && !said.contains('\u{1b}'), "{said}");
        assert!(refused(404, "").ends_with("(404)"));
    }
}
