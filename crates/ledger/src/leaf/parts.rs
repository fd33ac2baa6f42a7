//! The pieces of leaves, each with a limit that keeps the whole within its own.

use crate::tree::sha256;
use waxseal_model::wire::{Input, WireError, put_bytes, put_varint};
use waxseal_model::{Actor, Digest, FileState, RawPath, actor, record};

/// The longest text, in bytes.
const MAX_TEXT: usize = 4096;
/// The longest path that stands in a leaf as a whole, in bytes: as long as the kernel takes one in a single call.
const MAX_PATH: usize = 4096;
/// How much is shown of a longer one.
const SHOWN: usize = 1024;
/// The longest state that stands in a leaf as a whole, in bytes. Only extended attributes make longer ones.
const MAX_STATE: usize = 512;

/// A text of at most 4096 bytes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LeafText(Box<str>);

impl LeafText {
    /// This text, or as much of its beginning as fits.
    pub fn new(text: &str) -> LeafText {
        LeafText(text.get(..text.floor_char_boundary(MAX_TEXT)).unwrap_or_default().into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn put(&self, out: &mut Vec<u8>) {
        put_bytes(out, self.0.as_bytes());
    }

    pub(super) fn read(input: &mut Input<'_>) -> Result<LeafText, WireError> {
        let bytes = input.bytes()?;
        let text = std::str::from_utf8(bytes).ok().filter(|text| text.len() <= MAX_TEXT);
        text.map(|text| LeafText(text.into())).ok_or(WireError::Malformed("text"))
    }
}

/// A path: as a whole up to 4096 bytes; a longer one by its length, its SHA-256 and its first 1024 bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeafPath {
    /// The path.
    Whole(RawPath),
    /// What stands for a longer one.
    Long {
        /// How long it is in bytes, more than 4096.
        len: u64,
        /// Its SHA-256.
        hash: Digest,
        /// Its first 1024 bytes.
        start: Box<[u8; SHOWN]>,
    },
}

impl LeafPath {
    /// What stands for this path.
    pub fn new(path: &RawPath) -> LeafPath {
        let bytes = path.as_bytes();
        match bytes.first_chunk() {
            Some(start) if bytes.len() > MAX_PATH => {
                LeafPath::Long { len: bytes.len() as u64, hash: sha256(&[bytes]), start: Box::new(*start) }
            }
            _ => LeafPath::Whole(path.clone()),
        }
    }

    /// Whether it stands for this path.
    pub fn is(&self, path: &RawPath) -> bool {
        match self {
            LeafPath::Whole(own) => own == path,
            LeafPath::Long { .. } => *self == LeafPath::new(path),
        }
    }

    /// The path, or the beginning of one that is too long.
    pub fn shown(&self) -> &[u8] {
        match self {
            LeafPath::Whole(path) => path.as_bytes(),
            LeafPath::Long { start, .. } => start.as_slice(),
        }
    }

    pub(super) fn put(&self, out: &mut Vec<u8>) {
        match self {
            LeafPath::Whole(path) => put_bytes(out, path.as_bytes()),
            LeafPath::Long { len, hash, start } => {
                put_varint(out, *len);
                out.extend_from_slice(hash);
                out.extend_from_slice(start.as_slice());
            }
        }
    }

    pub(super) fn read(input: &mut Input<'_>) -> Result<LeafPath, WireError> {
        let len = input.varint()?;
        match usize::try_from(len) {
            Ok(short) if short <= MAX_PATH => Ok(LeafPath::Whole(RawPath::new(input.take(short)?))),
            _ => Ok(LeafPath::Long { len, hash: input.array()?, start: Box::new(input.array()?) }),
        }
    }
}

/// A file state in the encoding of the baseline: as a whole up to 512 bytes; a longer one by its length and SHA-256.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeafState {
    /// The state.
    Whole(Box<FileState>),
    /// What stands for a longer one.
    Long {
        /// How many bytes it takes, more than 512.
        len: u64,
        /// Their SHA-256.
        hash: Digest,
    },
}

impl LeafState {
    /// What stands for this state.
    pub fn new(state: &FileState) -> LeafState {
        let bytes = record::state_to_bytes(state);
        if bytes.len() > MAX_STATE {
            LeafState::Long { len: bytes.len() as u64, hash: sha256(&[&bytes]) }
        } else {
            LeafState::Whole(Box::new(state.clone()))
        }
    }

    pub(super) fn put(&self, out: &mut Vec<u8>) {
        match self {
            LeafState::Whole(state) => put_bytes(out, &record::state_to_bytes(state)),
            LeafState::Long { len, hash } => {
                put_varint(out, *len);
                out.extend_from_slice(hash);
            }
        }
    }

    pub(super) fn read(input: &mut Input<'_>) -> Result<LeafState, WireError> {
        let len = input.varint()?;
        match usize::try_from(len) {
            Ok(short) if short <= MAX_STATE => {
                let state = record::state_from_bytes(input.take(short)?);
                Ok(LeafState::Whole(Box::new(state.map_err(|_| WireError::Malformed("state"))?)))
            }
            _ => Ok(LeafState::Long { len, hash: input.array()? }),
        }
    }
}

/// The newest actor of a change, in short. All that is known of all of them is in the record, and in [`Details`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Who {
    /// The process.
    pub pid: u32,
    /// The user whose rights it used.
    pub uid: Option<u32>,
    /// The user who logged in.
    pub login_uid: Option<u32>,
    /// The executable.
    pub exe: Option<LeafPath>,
}

impl Who {
    /// This actor in short.
    pub fn of(actor: &Actor) -> Who {
        Who {
            pid: actor.pid,
            uid: actor.uid,
            login_uid: actor.login_uid,
            exe: actor.exe.as_ref().map(LeafPath::new),
        }
    }

    pub(super) fn put(&self, out: &mut Vec<u8>) {
        put_varint(out, self.pid.into());
        put_option(out, self.uid.as_ref(), |uid, out| put_varint(out, (*uid).into()));
        put_option(out, self.login_uid.as_ref(), |uid, out| put_varint(out, (*uid).into()));
        put_option(out, self.exe.as_ref(), LeafPath::put);
    }

    pub(super) fn read(input: &mut Input<'_>) -> Result<Who, WireError> {
        Ok(Who {
            pid: input.small("pid")?,
            uid: read_option(input, |input| input.small("uid"))?,
            login_uid: read_option(input, |input| input.small("uid"))?,
            exe: read_option(input, LeafPath::read)?,
        })
    }
}

/// Who decided something.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct By {
    /// The user, by name or number; empty for the monitor itself.
    pub user: LeafText,
    /// The user who logged in, when that is another or known at all.
    pub login: Option<LeafText>,
    /// Where that login came from: a terminal, or a host.
    pub origin: Option<LeafText>,
}

impl By {
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        self.user.put(out);
        put_option(out, self.login.as_ref(), LeafText::put);
        put_option(out, self.origin.as_ref(), LeafText::put);
    }

    pub(super) fn read(input: &mut Input<'_>) -> Result<By, WireError> {
        Ok(By {
            user: LeafText::read(input)?,
            login: read_option(input, LeafText::read)?,
            origin: read_option(input, LeafText::read)?,
        })
    }
}

/// What a change's record has besides that which stands in its leaf, as the record has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Details<'a> {
    /// The name of the owner before.
    pub before_user: Option<&'a str>,
    /// The name of the group before.
    pub before_group: Option<&'a str>,
    /// The name of the owner now.
    pub after_user: Option<&'a str>,
    /// The name of the group now.
    pub after_group: Option<&'a str>,
    /// The actors, as [`waxseal_model::actor::to_text`] writes them.
    pub actors: Option<&'a str>,
}

impl Details<'_> {
    /// SHA-256 of `waxseal-details-v1`, a zero byte, and the five texts: each a zero byte, or a byte 1, its length as a varint
    /// and its bytes.
    pub fn hash(&self) -> Digest {
        let mut bytes = b"waxseal-details-v1\0".to_vec();
        for text in [self.before_user, self.before_group, self.after_user, self.after_group, self.actors] {
            put_option(&mut bytes, text, |text, out| put_bytes(out, text.as_bytes()));
        }
        sha256(&[&bytes])
    }
}

/// [`Details::hash`] of a record that has nothing but these actors.
pub fn actors_hash(actors: &[Actor]) -> Digest {
    Details { actors: actor::to_text(actors).as_deref(), ..Details::default() }.hash()
}

/// A zero byte, or a byte 1 and the value.
pub(super) fn put_option<T>(out: &mut Vec<u8>, value: Option<T>, put: impl FnOnce(T, &mut Vec<u8>)) {
    out.push(value.is_some().into());
    if let Some(value) = value {
        put(value, out);
    }
}

pub(super) fn read_option<'a, T>(
    input: &mut Input<'a>,
    read: impl FnOnce(&mut Input<'a>) -> Result<T, WireError>,
) -> Result<Option<T>, WireError> {
    if read_bool(input)? { read(input).map(Some) } else { Ok(None) }
}

pub(super) fn read_bool(input: &mut Input<'_>) -> Result<bool, WireError> {
    match input.byte()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(WireError::Malformed("presence")),
    }
}
