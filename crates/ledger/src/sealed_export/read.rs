//! Reading an export: the head at once, each record when it is asked for.
//!
//! Memory: the head, and one record at a time. A record is found by its hash without reading the index: hashes are spread
//! evenly, so where one stands is known to within a few lines.

use super::{ExportError, FAMILY, FORMAT, Head, INDEX_LINE, MAX_HEADER, MAX_RECORD, MAX_RULES, MAX_WORDS};
use crate::note;
use crate::text::decimal;
use crate::tree::{DIRECTORY_DOMAIN, directory_hash};
use crate::vkey::VerifierKey;
use sha2::{Digest as _, Sha256};
use std::io;
use waxseal_model::Digest;

/// Where an export is read from.
pub trait Bytes {
    /// How many bytes there are.
    ///
    /// # Errors
    /// As the file system says.
    fn size(&self) -> io::Result<u64>;

    /// Fills the buffer with what stands at this place.
    ///
    /// # Errors
    /// As the file system says; also when there is less.
    fn read_at(&self, at: u64, buffer: &mut [u8]) -> io::Result<()>;
}

impl Bytes for [u8] {
    fn size(&self) -> io::Result<u64> {
        Ok(self.len() as u64)
    }

    fn read_at(&self, at: u64, buffer: &mut [u8]) -> io::Result<()> {
        let from = usize::try_from(at).ok().and_then(|at| self.get(at..)?.get(..buffer.len()));
        buffer.copy_from_slice(from.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

impl<B: Bytes + ?Sized> Bytes for &B {
    fn size(&self) -> io::Result<u64> {
        (**self).size()
    }

    fn read_at(&self, at: u64, buffer: &mut [u8]) -> io::Result<()> {
        (**self).read_at(at, buffer)
    }
}

/// An export of which the form of the head is right. Nothing of it has been verified.
#[derive(Debug)]
pub struct SealedExport<B> {
    bytes: B,
    head: Head,
    count: u64,
    /// Where the index and the records begin, and the file ends.
    pub(super) index: u64,
    records: u64,
    end: u64,
}

/// How many lines of the index are read together.
const STRIDE: u64 = 64;

/// How much of a record is hashed at once.
const CHUNK: usize = 64 << 10;

impl<B: Bytes> SealedExport<B> {
    /// Reads the head.
    ///
    /// # Errors
    /// When it is no export, of a newer version, or its parts are not as long as they are said to be.
    pub fn open(bytes: B) -> Result<SealedExport<B>, ExportError> {
        let len = bytes.size()?;
        let mut lines = vec![0; usize::try_from(len).unwrap_or(usize::MAX).min(MAX_HEADER)];
        bytes.read_at(0, &mut lines)?;
        let lengths = Lengths::parse(&lines)?;
        let Lengths { key, header, seal, rules, who, note, count, records } = lengths;
        let mut at = header;
        let mut text = |length: u64| {
            let mut buffer = Vec::new();
            if length > len.saturating_sub(at) {
                return Err(ExportError::Damaged("it is cut short"));
            }
            buffer.resize(usize::try_from(length).unwrap_or(usize::MAX), 0);
            bytes.read_at(at, &mut buffer)?;
            at += length;
            String::from_utf8(buffer).map_err(|_| ExportError::Damaged("its text is not UTF-8"))
        };
        let head = Head { key, seal: text(seal)?, rules: text(rules)?, who: text(who)?, note: text(note)? };
        let lines = count.checked_mul(INDEX_LINE as u64);
        let first = lines.and_then(|lines| lines.checked_add(at));
        let end = first.and_then(|first| first.checked_add(records));
        match (first, end) {
            (Some(first), Some(end)) if end == len => {
                Ok(SealedExport { bytes, head, count, index: at, records: first, end })
            }
            (_, Some(end)) if end < len => Err(ExportError::Damaged("something follows its end")),
            _ => Err(ExportError::Damaged("it is cut short")),
        }
    }

    /// What it says about its baseline.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// How many directory records it has.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The directory record of this hash.
    ///
    /// # Errors
    /// When it is missing or does not have the hash.
    pub fn record(&self, hash: &Digest) -> Result<Vec<u8>, ExportError> {
        let (from, to) = self.find(hash)?.ok_or(ExportError::Damaged("a directory record is missing"))?;
        let length = self.length(from, to)?;
        let mut record = Vec::new();
        record.try_reserve_exact(length).map_err(|_| io::Error::from(io::ErrorKind::OutOfMemory))?;
        record.resize(length, 0);
        self.bytes.read_at(self.records + from, &mut record)?;
        if directory_hash(&record) == *hash {
            Ok(record)
        } else {
            Err(ExportError::Damaged("a directory record was changed"))
        }
    }

    /// Reads the whole file once: every record is where the index says, has its hash, and stands there once. `each` is
    /// told how many bytes were read, now and then.
    ///
    /// # Errors
    /// The first that is wrong.
    pub fn check_records(&self, mut each: impl FnMut(u64)) -> Result<(), ExportError> {
        let (mut before, mut from, mut at) = (None, 0, 0);
        let mut buffer = vec![0; CHUNK];
        while at < self.count {
            for (hash, to) in self.lines(at, STRIDE)? {
                if before.is_some_and(|before| before >= hash) {
                    return Err(ExportError::Damaged("its index is not in order"));
                }
                let length = self.length(from, to)?;
                let mut sum = Sha256::new().chain_update(DIRECTORY_DOMAIN);
                let (mut place, mut left) = (self.records + from, length);
                while left > 0 {
                    let chunk = buffer.get_mut(..left.min(CHUNK)).unwrap_or_default();
                    self.bytes.read_at(place, chunk)?;
                    sum.update(&*chunk);
                    place += chunk.len() as u64;
                    left -= chunk.len();
                }
                if Digest::from(sum.finalize()) != hash {
                    return Err(ExportError::Damaged("a directory record was changed"));
                }
                each(length as u64);
                (before, from, at) = (Some(hash), to, at + 1);
            }
        }
        if self.records + from == self.end {
            Ok(())
        } else {
            Err(ExportError::Damaged("its index ends early"))
        }
    }

    /// The length of a record, when it lies among the records.
    fn length(&self, from: u64, to: u64) -> Result<usize, ExportError> {
        let wrong = ExportError::Damaged("its index points astray");
        let length = to.checked_sub(from).filter(|length| (1..=MAX_RECORD).contains(length));
        match length {
            Some(length) if to <= self.end - self.records => usize::try_from(length).map_err(|_| wrong),
            _ => Err(wrong),
        }
    }

    /// Lines of the index from `first` on, at most `count`.
    fn lines(&self, first: u64, count: u64) -> Result<Vec<(Digest, u64)>, ExportError> {
        let count = count.min(self.count.saturating_sub(first));
        let mut buffer = vec![0; count as usize * INDEX_LINE];
        self.bytes.read_at(self.index + first * INDEX_LINE as u64, &mut buffer)?;
        let line = |line: &[u8; INDEX_LINE]| {
            let (hash, end) = line.split_first_chunk::<32>()?;
            Some((*hash, u64::from_be_bytes(*end.first_chunk::<8>()?)))
        };
        Ok(buffer.as_chunks::<INDEX_LINE>().0.iter().filter_map(line).collect())
    }

    /// Where the record of this hash begins and ends, among the records.
    fn find(&self, hash: &Digest) -> Result<Option<(u64, u64)>, ExportError> {
        // It stands in [low, high), if anywhere.
        let (mut low, mut high) = (0, self.count);
        let share = |n: u64| ((u128::from(prefix(hash)) * u128::from(n)) >> 64) as u64;
        let mut guess = share(self.count);
        while low < high {
            let first = guess.saturating_sub(STRIDE / 2).clamp(low, high - 1);
            // The line before tells where the first one begins.
            let lines = self.lines(first, STRIDE.min(high - first))?;
            let Some(((least, _), (most, _))) = lines.first().zip(lines.last()) else { return Ok(None) };
            if hash < least {
                high = first;
            } else if hash > most {
                low = first + lines.len() as u64;
            } else {
                let Ok(nth) = lines.binary_search_by(|(at, _)| at.cmp(hash)) else { return Ok(None) };
                let end = |nth: usize| lines.get(nth).map(|(_, end)| *end);
                let from = match (nth.checked_sub(1), first.checked_sub(1)) {
                    (Some(before), _) => end(before),
                    (None, Some(before)) => self.lines(before, 1)?.first().map(|(_, end)| *end),
                    (None, None) => Some(0),
                };
                return Ok(from.zip(end(nth)));
            }
            // Whoever wrote hashes that are not spread evenly gets them halved.
            guess = low + (high - low) / 2;
        }
        Ok(None)
    }
}

fn prefix(hash: &Digest) -> u64 {
    hash.first_chunk::<8>().map_or(0, |first| u64::from_be_bytes(*first))
}

/// The lines of the head.
struct Lengths {
    key: VerifierKey,
    header: u64,
    seal: u64,
    rules: u64,
    who: u64,
    note: u64,
    count: u64,
    records: u64,
}

impl Lengths {
    fn parse(bytes: &[u8]) -> Result<Lengths, ExportError> {
        if !bytes.starts_with(format!("{FORMAT}\n").as_bytes()) {
            return Err(if bytes.starts_with(FAMILY.as_bytes()) {
                ExportError::Newer
            } else {
                ExportError::Other
            });
        }
        let header = bytes.windows(2).position(|two| two == b"\n\n").map(|at| at + 2);
        let header = header.ok_or(ExportError::Damaged("its head has no end"))?;
        let text = bytes.get(..header - 2).and_then(|head| std::str::from_utf8(head).ok());
        let text = text.ok_or(ExportError::Damaged("its head is not UTF-8"))?;
        let mut lines = text.split('\n').skip(1);
        let mut field = |name: &str| lines.next()?.strip_prefix(name)?.strip_prefix(' ');
        let missing = || ExportError::Damaged("a line of its head is another");
        let key = field("key").filter(|key| !key.ends_with(char::is_control)).ok_or_else(missing)?;
        let mut length = |name, limit| {
            let length = field(name).and_then(decimal::<u64>).ok_or_else(missing)?;
            if length > limit {
                Err(ExportError::Damaged("a part is longer than it may be"))
            } else {
                Ok(length)
            }
        };
        let seal = length("seal", note::MAX_LEN as u64)?;
        let (rules, who, note) =
            (length("rules", MAX_RULES)?, length("who", MAX_WORDS)?, length("note", MAX_WORDS)?);
        let (count, records) = field("records").and_then(|both| both.split_once(' ')).ok_or_else(missing)?;
        let (count, records) = decimal(count).zip(decimal(records)).ok_or_else(missing)?;
        if lines.next().is_some() {
            return Err(missing());
        }
        Ok(Lengths {
            key: VerifierKey::parse(key)?,
            header: header as u64,
            seal,
            rules,
            who,
            note,
            count,
            records,
        })
    }
}
