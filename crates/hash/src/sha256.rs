//! SHA-256 (FIPS 180-4): the state of one stream, and many of them fed at once.

use crate::backend::{Kernels, Narrow};
use crate::lanes::{self, Work};
use crate::{Backend, Block, INITIAL, State};

/// The running SHA-256 digest of one message.
///
/// Streams are plain values: each call picks the kernel, so one stream may be fed alone now and among many the
/// next time. A clone goes its own way, which gives the digest of a prefix.
#[derive(Clone)]
pub struct Sha256 {
    state: State,
    /// The first `length % 64` bytes are input that does not fill a block yet.
    buffer: Block,
    /// Input so far, in bytes. SHA-256 is defined for less than 2^61.
    length: u64,
}

impl Sha256 {
    /// The digest of nothing so far.
    pub fn new() -> Self {
        Self { state: INITIAL, buffer: [0; 64], length: 0 }
    }

    /// Appends `data` with the fastest kernel for a single stream. For several streams at once,
    /// [`update_many`] is faster.
    pub fn update(&mut self, data: &[u8]) {
        let narrow = Narrow::detect();
        let mut state = self.state;
        if let Some((first, body)) = self.take(data) {
            if let Some(first) = first {
                narrow.compress(&mut state, &[first]);
            }
            narrow.compress(&mut state, body);
            self.state = state;
        }
    }

    /// The digest of everything appended.
    pub fn finish(self) -> [u8; 32] {
        let (padding, count) = pad(self.kept(), self.length);
        let mut state = self.state;
        Narrow::detect().compress(&mut state, &padding[..count]);
        bytes(state)
    }

    fn kept(&self) -> &[u8] {
        &self.buffer[..(self.length % 64) as usize]
    }

    /// Takes in all of `data` except for the compression of its whole blocks: a block completed with kept input
    /// and those that lie in `data` are returned, the rest is kept. `None` if no block is complete.
    fn take<'a>(&mut self, data: &'a [u8]) -> Option<(Option<Block>, &'a [Block])> {
        let used = self.kept().len();
        self.length = self.length.wrapping_add(data.len() as u64);
        let free = &mut self.buffer[used..];
        let (first, data) = if used == 0 {
            (None, data)
        } else if let Some((head, data)) = data.split_at_checked(free.len()) {
            free.copy_from_slice(head);
            (Some(self.buffer), data)
        } else {
            free[..data.len()].copy_from_slice(data);
            return None;
        };
        let (body, tail) = data.as_chunks();
        self.buffer[..tail.len()].copy_from_slice(tail);
        (first.is_some() || !body.is_empty()).then_some((first, body))
    }
}

impl Default for Sha256 {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sha256").field("length", &self.length).finish_non_exhaustive()
    }
}

/// Appends to many streams at once, with the fastest kernels of this machine: the same as [`Sha256::update`]
/// on each. Any number of streams and any lengths; best are sixteen or more of similar length, in pieces that
/// stay in the processor's second-level cache together (64 KiB each).
pub fn update_many(jobs: &mut [(&mut Sha256, &[u8])]) {
    Backend::detect().update_many(jobs);
}

/// The digests of many whole messages, with the fastest kernels of this machine; `digests` is emptied first and
/// ends as long as `messages`. Allocates only where `digests` has to grow.
pub fn digest_many(messages: &[&[u8]], digests: &mut Vec<[u8; 32]>) {
    Backend::detect().digest_many(messages, digests);
}

/// The digests of many whole messages, with the fastest kernels of this machine: `done` gets each message's
/// position and digest, in the order in which they end. Allocates nothing.
///
/// Best are dozens of messages a call; a long message should come early, so that it does not run on alone.
pub fn digest_each<'a>(messages: impl IntoIterator<Item = &'a [u8]>, done: impl FnMut(usize, [u8; 32])) {
    Backend::detect().digest_each(messages, done);
}

impl Backend {
    /// As [`update_many`], with this backend.
    pub fn update_many(self, jobs: &mut [(&mut Sha256, &[u8])]) {
        self.kernels().update_each(jobs.iter_mut().map(|(stream, data)| (&mut **stream, *data)));
    }

    /// As [`digest_many`], with this backend.
    pub fn digest_many(self, messages: &[&[u8]], digests: &mut Vec<[u8; 32]>) {
        digests.clear();
        digests.resize(messages.len(), [0; 32]);
        let slots = messages.iter().copied().zip(digests);
        self.kernels().digest_each(slots, |slot, digest| *slot = digest);
    }

    /// As [`digest_each`], with this backend.
    pub fn digest_each<'a>(
        self,
        messages: impl IntoIterator<Item = &'a [u8]>,
        done: impl FnMut(usize, [u8; 32]),
    ) {
        let numbered = messages.into_iter().enumerate().map(|(at, message)| (message, at));
        self.kernels().digest_each(numbered, done);
    }
}

impl Kernels {
    /// Appends to each stream.
    pub(crate) fn update_each<'s, 'a>(self, jobs: impl Iterator<Item = (&'s mut Sha256, &'a [u8])>) {
        let works = jobs.filter_map(|(stream, data)| {
            let (first, body) = stream.take(data)?;
            let state = stream.state;
            Some(Work::continuing(stream, state, first, body))
        });
        lanes::run(self, works, |stream, state| stream.state = state);
    }

    /// Digests each message and hands its tag and digest to `done`.
    pub(crate) fn digest_each<'a, T>(
        self,
        messages: impl Iterator<Item = (&'a [u8], T)>,
        mut done: impl FnMut(T, [u8; 32]),
    ) {
        let works = messages.map(|(message, tag)| {
            let (body, tail) = message.as_chunks();
            let (padding, count) = pad(tail, message.len() as u64);
            Work::ending(tag, INITIAL, body, padding, count)
        });
        lanes::run(self, works, |tag, state| done(tag, bytes(state)));
    }
}

/// The last one or two blocks of a message of `length` bytes that ends in `tail` (shorter than a block), and
/// how many they are (FIPS 180-4, section 5.1.1).
fn pad(tail: &[u8], length: u64) -> ([Block; 2], usize) {
    let mut blocks = [[0; 64]; 2];
    let count = if tail.len() < 56 { 1 } else { 2 };
    blocks[0][..tail.len()].copy_from_slice(tail);
    blocks[0][tail.len()] = 0x80;
    blocks[count - 1][56..].copy_from_slice(&length.wrapping_mul(8).to_be_bytes());
    (blocks, count)
}

fn bytes(state: State) -> [u8; 32] {
    let mut digest = [0; 32];
    for (bytes, word) in digest.as_chunks_mut().0.iter_mut().zip(state) {
        *bytes = word.to_be_bytes();
    }
    digest
}
