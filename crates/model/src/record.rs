//! The canonical directory record: the packed bytes of a directory's entries, which a baseline stores and hashes.
//!
//! ```text
//! record := version(1 byte = 1) entry*            entries sorted by name, names unique and not empty
//! entry  := bytes(name) state [child]             child: 32-byte hash of the subdirectory's own record
//! state  := type(1) presence(varint) mode uid gid size links inode device time(mtime) time(ctime)
//!           [time(btime)] [flags] [sha256(32)] [blake3(32)] [sha512(64)] [bytes(target)] [device(rdev)]
//!           [count (bytes(name) bytes(value))*]   xattrs sorted by name
//! bytes  := length(varint) byte*      device := major(varint) minor(varint)
//! time   := zig-zag seconds(varint) nanoseconds(varint)
//! ```
//!
//! Integers are LEB128 varints in their shortest form. The same entries always give the same bytes, and only the
//! canonical form is read: anything else is an error, so that a hash names one meaning.

use crate::digest::{Digest, Digests};
use crate::state::{DeviceNumber, Extra, FileState, FileType, Xattrs};
use crate::wire::{Input, WireError, put_bytes, put_time, put_varint};

const VERSION: u8 = 1;

const BTIME: u64 = 1 << 0;
const FLAGS: u64 = 1 << 1;
const SHA256: u64 = 1 << 2;
const BLAKE3: u64 = 1 << 3;
const SHA512: u64 = 1 << 4;
const TARGET: u64 = 1 << 5;
const RDEV: u64 = 1 << 6;
const XATTRS: u64 = 1 << 7;
const MOUNT_ROOT: u64 = 1 << 8;
const CHILD: u64 = 1 << 9;
const KNOWN: u64 = (1 << 10) - 1;

/// One entry of a directory record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The name within the directory (in the record of roots: the whole path).
    pub name: &'a [u8],
    /// What was approved.
    pub state: FileState,
    /// The hash of the record of this directory's entries; absent for other types and for
    /// directories whose entries are not covered.
    pub child: Option<Digest>,
}

/// Why bytes are not a directory record. The database is damaged or was changed by another program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// It ends in the middle of a value.
    #[error("the record ends too early")]
    Truncated,
    /// The first byte names a version this program does not know.
    #[error("the record has version {0}; this program reads version {VERSION}")]
    Version(u8),
    /// A value that the writer never writes.
    #[error("the record has a malformed {0}")]
    Malformed(&'static str),
    /// Entries out of order or repeated.
    #[error("the record's entries are out of order")]
    Order,
}

impl From<WireError> for RecordError {
    fn from(error: WireError) -> RecordError {
        match error {
            WireError::Truncated => RecordError::Truncated,
            WireError::Malformed(what) => RecordError::Malformed(what),
        }
    }
}

/// Builds a record entry by entry.
#[derive(Debug)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Default for Writer {
    fn default() -> Self {
        Writer { bytes: vec![VERSION] }
    }
}

impl Writer {
    /// Appends an entry. Entries must come in ascending order of their names.
    pub fn push(&mut self, name: &[u8], state: &FileState, child: Option<&Digest>) {
        put_bytes(&mut self.bytes, name);
        put_state(&mut self.bytes, state, child.is_some());
        if let Some(child) = child {
            self.bytes.extend_from_slice(child);
        }
    }

    /// The record.
    pub fn finish(self) -> Vec<u8> {
        self.bytes
    }
}

/// A state on its own, in the encoding of an entry without name and child.
pub fn state_to_bytes(state: &FileState) -> Vec<u8> {
    let mut out = Vec::with_capacity(96);
    put_state(&mut out, state, false);
    out
}

/// The state of [`state_to_bytes`].
///
/// # Errors
/// When the bytes are not exactly one state in canonical form.
pub fn state_from_bytes(bytes: &[u8]) -> Result<FileState, RecordError> {
    let mut input = Input::new(bytes);
    let (state, has_child) = state(&mut input)?;
    if has_child {
        return Err(RecordError::Malformed("presence"));
    }
    if input.is_empty() { Ok(state) } else { Err(RecordError::Malformed("length")) }
}

/// Reads a record's entries in order. Stops after the first error.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    input: Input<'a>,
    last: Option<&'a [u8]>,
    failed: bool,
}

impl<'a> Reader<'a> {
    /// A reader of these bytes.
    ///
    /// # Errors
    /// When the version is unknown.
    pub fn new(bytes: &'a [u8]) -> Result<Reader<'a>, RecordError> {
        match bytes.split_first() {
            None => Err(RecordError::Truncated),
            Some((&VERSION, rest)) => Ok(Reader { input: Input::new(rest), last: None, failed: false }),
            Some((&other, _)) => Err(RecordError::Version(other)),
        }
    }

    fn entry(&mut self) -> Result<Entry<'a>, RecordError> {
        let name = self.input.bytes()?;
        if name.is_empty() || self.last.is_some_and(|last| last >= name) {
            return Err(RecordError::Order);
        }
        self.last = Some(name);
        let (state, has_child) = state(&mut self.input)?;
        let child = if has_child { Some(self.input.array()?) } else { None };
        Ok(Entry { name, state, child })
    }
}

impl<'a> Iterator for Reader<'a> {
    type Item = Result<Entry<'a>, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed || self.input.is_empty() {
            return None;
        }
        let entry = self.entry();
        self.failed = entry.is_err();
        Some(entry)
    }
}

fn put_device(out: &mut Vec<u8>, device: DeviceNumber) {
    put_varint(out, u64::from(device.major));
    put_varint(out, u64::from(device.minor));
}

fn put_state(out: &mut Vec<u8>, state: &FileState, has_child: bool) {
    let extra = state.extra.as_deref();
    let target = extra.and_then(|e| e.target.as_deref());
    let rdev = extra.and_then(|e| e.rdev);
    let xattrs = extra.map(|e| &e.xattrs).filter(|x| !x.is_empty());
    let present = [
        (BTIME, state.btime.is_some()),
        (FLAGS, state.flags.is_some()),
        (SHA256, state.digests.sha256.is_some()),
        (BLAKE3, state.digests.blake3.is_some()),
        (SHA512, state.digests.sha512.is_some()),
        (TARGET, target.is_some()),
        (RDEV, rdev.is_some()),
        (XATTRS, xattrs.is_some()),
        (MOUNT_ROOT, state.mount_root),
        (CHILD, has_child),
    ];
    out.push(state.file_type as u8);
    put_varint(out, present.iter().filter(|(_, on)| *on).map(|(bit, _)| bit).sum());
    let numbers =
        [u64::from(state.mode), u64::from(state.uid), u64::from(state.gid), state.size, state.links];
    numbers.into_iter().for_each(|n| put_varint(out, n));
    put_varint(out, state.inode);
    put_device(out, state.device);
    put_time(out, state.mtime);
    put_time(out, state.ctime);
    if let Some(btime) = state.btime {
        put_time(out, btime);
    }
    if let Some(flags) = state.flags {
        put_varint(out, u64::from(flags));
    }
    for digest in crate::digest::Algorithm::ALL.into_iter().filter_map(|a| state.digests.get(a)) {
        out.extend_from_slice(digest);
    }
    if let Some(target) = target {
        put_bytes(out, target);
    }
    if let Some(rdev) = rdev {
        put_device(out, rdev);
    }
    if let Some(xattrs) = xattrs {
        put_varint(out, xattrs.len() as u64);
        for (name, value) in xattrs {
            put_bytes(out, name);
            put_bytes(out, value);
        }
    }
}

fn device(input: &mut Input<'_>) -> Result<DeviceNumber, RecordError> {
    Ok(DeviceNumber { major: input.small("device")?, minor: input.small("device")? })
}

fn state(input: &mut Input<'_>) -> Result<(FileState, bool), RecordError> {
    let file_type = FileType::from_code(input.byte()?).ok_or(RecordError::Malformed("type"))?;
    let present = input.varint()?;
    if present & !KNOWN != 0 {
        return Err(RecordError::Malformed("presence"));
    }
    let has = |bit| present & bit != 0;
    let mode: u16 = input.small("mode")?;
    if mode > 0o7777 {
        return Err(RecordError::Malformed("mode"));
    }
    let mut state = FileState {
        file_type,
        mode,
        uid: input.small("uid")?,
        gid: input.small("gid")?,
        size: input.varint()?,
        links: input.varint()?,
        inode: input.varint()?,
        device: device(input)?,
        mount_root: has(MOUNT_ROOT),
        mtime: input.time()?,
        ctime: input.time()?,
        btime: None,
        flags: None,
        digests: Digests::default(),
        extra: None,
    };
    if has(BTIME) {
        state.btime = Some(input.time()?);
    }
    if has(FLAGS) {
        state.flags = Some(input.small("flags")?);
    }
    if has(SHA256) {
        state.digests.sha256 = Some(input.array()?);
    }
    if has(BLAKE3) {
        state.digests.blake3 = Some(Box::new(input.array()?));
    }
    if has(SHA512) {
        state.digests.sha512 = Some(Box::new(input.array()?));
    }
    if has(TARGET) || has(RDEV) || has(XATTRS) {
        let mut extra = Extra::default();
        if has(TARGET) {
            extra.target = Some(input.bytes()?.into());
        }
        if has(RDEV) {
            extra.rdev = Some(device(input)?);
        }
        if has(XATTRS) {
            extra.xattrs = xattrs(input)?;
        }
        state.extra = Some(Box::new(extra));
    }
    Ok((state, has(CHILD)))
}

fn xattrs(input: &mut Input<'_>) -> Result<Xattrs, RecordError> {
    let count = input.varint()?;
    let mut xattrs = Xattrs::new();
    for _ in 0..count {
        let (name, value) = (input.bytes()?, input.bytes()?);
        if xattrs.last_key_value().is_some_and(|(last, _)| &**last >= name) {
            return Err(RecordError::Order);
        }
        xattrs.insert(name.into(), value.into());
    }
    if xattrs.is_empty() { Err(RecordError::Malformed("xattrs")) } else { Ok(xattrs) }
}

#[cfg(test)]
#[path = "record_tests.rs"]
mod tests;
