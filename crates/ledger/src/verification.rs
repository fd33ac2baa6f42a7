//! The verification file: what is taken away from a machine when its log begins, to verify the log with later.
//!
//! ```text
//! waxseal-verification-v1
//! host <verifier key of the host>
//! epoch <verifier key of epoch 0>
//! seal <verifier key>                 none or more: the keys that seal this machine's baselines
//!
//! <the log's first checkpoint, a signed note, verbatim>
//! ```
//!
//! Exactly these lines, each ending in a newline, one blank between a word and its value. It has public data only.

use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::epoch::epoch_name;
use crate::verify::Trust;
use crate::vkey::{VerifierKey, VkeyError};
use std::fmt;

const FORMAT: &str = "waxseal-verification-v1";

/// How many keys that seal baselines a file may name.
const MAX_SEALS: usize = 100;

/// A verification file whose parts belong together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerificationFile {
    host: VerifierKey,
    first: VerifierKey,
    seals: Vec<VerifierKey>,
    note: String,
    checkpoint: Checkpoint,
}

/// Why text is not a verification file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerificationError {
    /// Text that is none.
    #[error("this is not a verification file of Waxseal: {0}")]
    Form(&'static str),
    /// One of its keys is none.
    #[error("a key of the verification file is damaged: {0}")]
    Key(#[from] VkeyError),
    /// Its checkpoint does not hold.
    #[error("the verification file is damaged: {0}")]
    Checkpoint(#[from] CheckpointError),
}

impl VerificationFile {
    /// The file of a log: the keys of the host and of epoch 0, those that seal baselines, and a checkpoint that the first two
    /// have signed.
    ///
    /// # Errors
    /// When these do not belong together.
    pub fn new(
        host: VerifierKey,
        first: VerifierKey,
        seals: Vec<VerifierKey>,
        checkpoint: &str,
    ) -> Result<VerificationFile, VerificationError> {
        if *first.name() != epoch_name(host.name(), 0) {
            return Err(VerificationError::Form("its second key is not that of the host's epoch 0"));
        }
        if seals.len() > MAX_SEALS {
            return Err(VerificationError::Form("it names more than 100 keys"));
        }
        let opened = Checkpoint::open(checkpoint, &[&host, &first])?;
        Ok(VerificationFile { host, first, seals, note: checkpoint.to_owned(), checkpoint: opened })
    }

    /// Reads a file.
    ///
    /// # Errors
    /// When it is none, or its parts do not belong together.
    pub fn parse(text: &str) -> Result<VerificationFile, VerificationError> {
        let (head, note) = text.split_once("\n\n").ok_or(VerificationError::Form("it is cut short"))?;
        let mut lines = head.split('\n');
        if lines.next() != Some(FORMAT) {
            return Err(VerificationError::Form("its first line is another"));
        }
        let host = key(lines.next(), "host ", "its second line has no key of a host")?;
        let first = key(lines.next(), "epoch ", "its third line has no key of an epoch")?;
        let seals = lines.map(|line| key(Some(line), "seal ", "it has a line of another kind"));
        let seals = seals.take(MAX_SEALS + 1).collect::<Result<_, _>>()?;
        VerificationFile::new(host, first, seals, note)
    }

    /// The host's key.
    pub fn host(&self) -> &VerifierKey {
        &self.host
    }

    /// The keys that seal baselines.
    pub fn seals(&self) -> &[VerifierKey] {
        &self.seals
    }

    /// The first checkpoint.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// What somebody believes who has only this file.
    pub fn trust(&self) -> Trust {
        Trust::with_first(self.host.clone(), self.first.clone(), self.checkpoint.clone())
    }
}

/// The verifier key of a line. Unlike elsewhere no other line ending is let pass, so that a file has one form.
fn key(line: Option<&str>, word: &str, missing: &'static str) -> Result<VerifierKey, VerificationError> {
    let text = line.and_then(|line| line.strip_prefix(word)).ok_or(VerificationError::Form(missing))?;
    if text.ends_with(char::is_control) {
        return Err(VerificationError::Form(missing));
    }
    Ok(VerifierKey::parse(text)?)
}

/// The file's text.
impl fmt::Display for VerificationFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{FORMAT}\nhost {}\nepoch {}", self.host, self.first)?;
        self.seals.iter().try_for_each(|key| writeln!(f, "seal {key}"))?;
        write!(f, "\n{}", self.note)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::epoch::EpochKey;
    use crate::tail::Tail;
    use crate::tail::tests::{host, key as epoch_key, time};
    use crate::text::flipped;

    fn file(seals: usize) -> (VerificationFile, EpochKey) {
        let (host, first) = (host(), epoch_key(0));
        let (tail, _) = Tail::begin(&host, &first, time(0)).unwrap();
        let note = tail.checkpoint(&host, &first).unwrap();
        let seals = vec![host.verifier_key().clone(); seals];
        let (host, key) = (host.verifier_key().clone(), first.verifier_key().clone());
        (VerificationFile::new(host, key, seals, &note).unwrap(), first)
    }

    #[test]
    fn a_file_is_read_and_written_alike() {
        for seals in [0, 1, 3] {
            let (file, _) = file(seals);
            let text = file.to_string();
            assert_eq!(VerificationFile::parse(&text).as_ref(), Ok(&file));
            assert_eq!((file.checkpoint().size, file.seals().len()), (1, seals));
            assert_eq!(file.trust().kept(), std::slice::from_ref(file.checkpoint()));
        }
    }

    #[test]
    fn parts_of_other_logs_are_refused() {
        let (good, _) = file(1);
        let text = good.to_string();
        let (other, _) = file(1);
        let line = |text: &str, n: usize| text.split('\n').nth(n).unwrap().to_owned();
        let cases = [
            text.replace(&line(&text, 2), &line(&other.to_string(), 2)),
            text.replace("verification-v1", "verification-v2"),
            text.replacen("host ", "", 1),
            text.replacen("host ", "host  ", 1),
            text.replacen("\nhost", "\n\nhost", 1),
            text.replacen("\nseal", "\nother", 1),
            text.replacen("\n\n", "\r\n\n", 1),
            text.replacen("\n\n", "\n", 1),
            text.trim_end().to_owned(),
            format!("{text}\n"),
            String::new(),
        ];
        for text in cases {
            assert!(VerificationFile::parse(&text).is_err(), "{text}");
        }
        let (many, _) = file(0);
        let text = many.to_string().replacen(
            "\n\n",
            &format!("\n{}\n", format!("seal {}\n", good.host()).repeat(101)),
            1,
        );
        assert!(matches!(VerificationFile::parse(&text), Err(VerificationError::Form(_))));
    }

    #[test]
    fn a_flipped_bit_is_refused() {
        for text in flipped(&file(1).0.to_string()).filter_map(|text| String::from_utf8(text).ok()) {
            assert!(VerificationFile::parse(&text).is_err(), "{text}");
        }
    }
}
