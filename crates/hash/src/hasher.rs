//! Several digests of one file in one pass.

use crate::{Backend, Sha256};
use sha2::Digest as _;

/// Which digests to compute besides SHA-256, which is always computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Algorithms {
    /// Also BLAKE3 with its default length of 32 bytes.
    pub blake3: bool,
    /// Also SHA-512.
    pub sha512: bool,
}

/// The digests of one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Digests {
    /// SHA-256 (FIPS 180-4).
    pub sha256: [u8; 32],
    /// BLAKE3, if asked for.
    pub blake3: Option<[u8; 32]>,
    /// SHA-512 (FIPS 180-4), if asked for.
    pub sha512: Option<[u8; 64]>,
}

/// The running digests of one message. A clone goes its own way, which gives the digests of a prefix.
///
/// About 2 KiB with BLAKE3 as without: keep one per open file, not one per file of a tree.
#[derive(Clone, Debug)]
pub struct Hasher {
    sha256: Sha256,
    blake3: Option<blake3::Hasher>,
    sha512: Option<sha2::Sha512>,
}

impl Hasher {
    /// The digests of nothing so far.
    pub fn new(algorithms: Algorithms) -> Self {
        Self {
            sha256: Sha256::new(),
            blake3: algorithms.blake3.then(blake3::Hasher::new),
            sha512: algorithms.sha512.then(sha2::Sha512::new),
        }
    }

    /// Appends `data`. For several streams at once, [`update_hashers`] is faster.
    pub fn update(&mut self, data: &[u8]) {
        self.sha256.update(data);
        self.update_others(data);
    }

    /// The digests of everything appended.
    pub fn finish(self) -> Digests {
        Digests {
            sha256: self.sha256.finish(),
            blake3: self.blake3.map(|hasher| *hasher.finalize().as_bytes()),
            sha512: self.sha512.map(|hasher| hasher.finalize().into()),
        }
    }

    fn update_others(&mut self, data: &[u8]) {
        if let Some(hasher) = &mut self.blake3 {
            hasher.update(data);
        }
        if let Some(hasher) = &mut self.sha512 {
            hasher.update(data);
        }
    }
}

/// Appends to many streams at once: the same as [`Hasher::update`] on each, with SHA-256 in lanes as in
/// [`update_many`](crate::update_many) and the other algorithms one stream after the other.
pub fn update_hashers(jobs: &mut [(&mut Hasher, &[u8])]) {
    Backend::detect().update_hashers(jobs);
}

impl Backend {
    /// As [`update_hashers`], with this backend for SHA-256.
    pub fn update_hashers(self, jobs: &mut [(&mut Hasher, &[u8])]) {
        for (hasher, data) in &mut *jobs {
            hasher.update_others(data);
        }
        self.kernels().update_each(jobs.iter_mut().map(|(hasher, data)| (&mut hasher.sha256, *data)));
    }
}

impl Algorithms {
    /// The digests of many whole messages: `done` gets each message's position and digests, in the order in
    /// which they end. SHA-256 runs in lanes as in [`digest_each`](crate::digest_each). Allocates nothing.
    pub fn digest_each<'a>(
        self,
        messages: impl IntoIterator<Item = &'a [u8]>,
        mut done: impl FnMut(usize, Digests),
    ) {
        let tagged = messages.into_iter().enumerate().map(|(at, message)| (message, (at, message)));
        Backend::detect().kernels().digest_each(tagged, |(at, message), sha256| {
            let blake3 = self.blake3.then(|| *blake3::hash(message).as_bytes());
            let sha512 = self.sha512.then(|| sha2::Sha512::digest(message).into());
            done(at, Digests { sha256, blake3, sha512 });
        });
    }
}
