//! Content digests of many files side by side.
//!
//! What comes in: pieces of many files (or many whole small files). What goes out: their digests, bit for bit
//! those of the standards. Nothing here opens a file.
//!
//! One SHA-256 stream is bound by the latency of its own rounds, so one core digests several *files* at once
//! much faster than one after the other. The kernels are chosen at run time:
//!
//! | [`Backend`] | streams per step | needs |
//! |---|---|---|
//! | `Avx512` | 16 | AVX-512 F and BW; with few streams it steps down to SHA-NI, or to one stream at a time |
//! | `ShaNi` | up to 4, interleaved | SHA-NI |
//! | `Avx2` | 8 | AVX2; chosen only where SHA-NI is missing |
//! | `Portable` | 1 | nothing |
//!
//! Layout: [`backend`](Backend) chooses, and `measure` finds from how many streams on the wide kernels pay;
//! `sha256` holds one stream's state and turns input into runs of whole blocks; `lanes` hands those runs to `wide`
//! or `interleaved`, which schedule them; `avx512`, `avx2`, `shani` and `portable` compress; `hasher` adds the
//! other algorithms.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod backend;
mod hasher;
#[cfg(target_arch = "x86_64")]
mod interleaved;
mod lanes;
#[cfg(target_arch = "x86_64")]
mod measure;
mod portable;
mod sha256;
#[cfg(target_arch = "x86_64")]
mod shani;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod wide;

pub use backend::Backend;
pub use hasher::{Algorithms, Digests, Hasher, update_hashers};
pub use sha256::{Sha256, digest_each, digest_many, update_many};

/// One SHA-256 input block.
type Block = [u8; 64];

/// The eight working words of one SHA-256 stream between blocks.
type State = [u32; 8];

/// The state before the first block (FIPS 180-4, section 5.3.3).
const INITIAL: State =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

/// The round constants (FIPS 180-4, section 4.2.2), sixteen rounds a row.
#[cfg(target_arch = "x86_64")]
const K: [[u32; 16]; 4] = [
    [
        0x428a_2f98,
        0x7137_4491,
        0xb5c0_fbcf,
        0xe9b5_dba5,
        0x3956_c25b,
        0x59f1_11f1,
        0x923f_82a4,
        0xab1c_5ed5,
        0xd807_aa98,
        0x1283_5b01,
        0x2431_85be,
        0x550c_7dc3,
        0x72be_5d74,
        0x80de_b1fe,
        0x9bdc_06a7,
        0xc19b_f174,
    ],
    [
        0xe49b_69c1,
        0xefbe_4786,
        0x0fc1_9dc6,
        0x240c_a1cc,
        0x2de9_2c6f,
        0x4a74_84aa,
        0x5cb0_a9dc,
        0x76f9_88da,
        0x983e_5152,
        0xa831_c66d,
        0xb003_27c8,
        0xbf59_7fc7,
        0xc6e0_0bf3,
        0xd5a7_9147,
        0x06ca_6351,
        0x1429_2967,
    ],
    [
        0x27b7_0a85,
        0x2e1b_2138,
        0x4d2c_6dfc,
        0x5338_0d13,
        0x650a_7354,
        0x766a_0abb,
        0x81c2_c92e,
        0x9272_2c85,
        0xa2bf_e8a1,
        0xa81a_664b,
        0xc24b_8b70,
        0xc76c_51a3,
        0xd192_e819,
        0xd699_0624,
        0xf40e_3585,
        0x106a_a070,
    ],
    [
        0x19a4_c116,
        0x1e37_6c08,
        0x2748_774c,
        0x34b0_bcb5,
        0x391c_0cb3,
        0x4ed8_aa4a,
        0x5b9c_ca4f,
        0x682e_6ff3,
        0x748f_82ee,
        0x78a5_636f,
        0x84c8_7814,
        0x8cc7_0208,
        0x90be_fffa,
        0xa450_6ceb,
        0xbef9_a3f7,
        0xc671_78f2,
    ],
];
