//! Writing an export, one record at a time.

use super::{Ends, ExportError, FORMAT, Head, MAX_RECORD, MAX_RULES, MAX_WORDS};
use std::io::{self, Write};
use waxseal_model::Digest;

/// Takes the records of an export in the order of their hashes.
#[derive(Debug)]
pub struct Writer<W> {
    out: W,
    ends: std::vec::IntoIter<(Digest, u64)>,
    at: u64,
}

impl<W: Write> Writer<W> {
    /// Writes everything but the records, of which these are the hashes and the lengths in bytes, in any order, each hash
    /// once or more.
    ///
    /// # Errors
    /// As `out` says; [`ExportError::Damaged`] when something is longer than a reader takes.
    pub fn begin(mut out: W, head: &Head, lengths: Vec<(Digest, u64)>) -> Result<Writer<W>, ExportError> {
        let ends = ends_of(lengths)?;
        let Head { key, seal, rules, who, note } = head;
        if rules.len() as u64 > MAX_RULES || (who.len() as u64).max(note.len() as u64) > MAX_WORDS {
            return Err(ExportError::Damaged("its rules or words are longer than an export may have"));
        }
        let bytes = ends.last().map_or(0, |(_, end)| *end);
        let lines = format!(
            "{FORMAT}\nkey {key}\nseal {}\nrules {}\nwho {}\nnote {}\nrecords {} {bytes}\n\n",
            seal.len(),
            rules.len(),
            who.len(),
            note.len(),
            ends.len()
        );
        for part in [&lines, seal, rules, who, note] {
            out.write_all(part.as_bytes())?;
        }
        for (hash, end) in &ends {
            out.write_all(hash)?;
            out.write_all(&end.to_be_bytes())?;
        }
        Ok(Writer { out, ends: ends.into_iter(), at: 0 })
    }

    /// The hash of the record that is to be pushed next.
    pub fn next(&self) -> Option<Digest> {
        self.ends.as_slice().first().map(|(hash, _)| *hash)
    }

    /// Writes the next record.
    ///
    /// # Errors
    /// As `out` says; [`ExportError::Damaged`] when it has not the length that was told.
    pub fn push(&mut self, record: &[u8]) -> Result<(), ExportError> {
        let end = self.ends.next().map(|(_, end)| end);
        self.at = self.at.saturating_add(record.len() as u64);
        if end != Some(self.at) {
            return Err(ExportError::Damaged("a record has not the length that it had"));
        }
        Ok(self.out.write_all(record)?)
    }

    /// The place that it was written to, with everything in it.
    ///
    /// # Errors
    /// When records are missing, or as `out` says.
    pub fn finish(mut self) -> io::Result<W> {
        if self.next().is_some() {
            return Err(io::Error::other("records are missing"));
        }
        self.out.flush()?;
        Ok(self.out)
    }
}

fn ends_of(mut records: Vec<(Digest, u64)>) -> Result<Ends, ExportError> {
    records.sort_unstable();
    records.dedup_by_key(|(hash, _)| *hash);
    let mut end = 0u64;
    for (_, length) in &mut records {
        if *length == 0 || *length > MAX_RECORD {
            return Err(ExportError::Damaged("a record is empty, or longer than an export may have"));
        }
        end = end.checked_add(*length).ok_or(ExportError::Damaged("its records have no end"))?;
        *length = end;
    }
    Ok(records)
}
