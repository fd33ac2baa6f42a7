//! One to four SHA-256 streams with the SHA-NI instructions, interleaved to hide their latency.
#![allow(unsafe_code, reason = "SHA-NI intrinsics; every block says why it is sound")]

use crate::{Block, K, State};
use std::arch::x86_64::*;

/// Proof that this processor has SHA-NI (and SSSE3, SSE4.1): only [`ShaNi::detect`] makes one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ShaNi(());

impl ShaNi {
    /// The proof, if the processor supports it.
    pub(crate) fn detect() -> Option<Self> {
        (is_x86_feature_detected!("sha")
            && is_x86_feature_detected!("ssse3")
            && is_x86_feature_detected!("sse4.1"))
        .then_some(Self(()))
    }

    /// Compresses the first `count` blocks of each of `N` streams.
    pub(crate) fn compress<const N: usize>(
        self,
        states: &mut [State; N],
        blocks: [&[Block]; N],
        count: usize,
    ) {
        assert!(blocks.iter().all(|lane| lane.len() >= count), "a lane is shorter than the step");
        // SAFETY: `self` proves the features; the assertion covers every read of `count` blocks per lane.
        unsafe { compress(states, &blocks.map(|lane| lane.as_ptr()), count) }
    }
}

/// Compresses `count` blocks of each of `N` streams.
///
/// # Safety
///
/// Every pointer must be readable for `count` blocks.
#[target_feature(enable = "sha,ssse3,sse4.1")]
unsafe fn compress<const N: usize>(states: &mut [State; N], blocks: &[*const Block; N], count: usize) {
    let mut kept = [[_mm_setzero_si128(); 2]; N];
    for (kept, state) in kept.iter_mut().zip(states.iter()) {
        *kept = load_state(state);
    }
    for index in 0..count {
        let mut working = kept;
        let mut w = [[_mm_setzero_si128(); 4]; N];
        for (w, lane) in w.iter_mut().zip(blocks) {
            // SAFETY: the caller promises `count` blocks behind every pointer, and `index < count`.
            *w = unsafe { load_block(lane.add(index)) };
        }
        let [first, others @ ..] = &K;
        for i in 0..4 {
            for (working, w) in working.iter_mut().zip(&w) {
                rounds4(&first.as_chunks().0[i], working, w[i]);
            }
        }
        for k in others {
            for i in 0..4 {
                for (working, w) in working.iter_mut().zip(&mut w) {
                    schedule4(w, i);
                    rounds4(&k.as_chunks().0[i], working, w[i]);
                }
            }
        }
        for (kept, working) in kept.iter_mut().zip(working) {
            *kept = [_mm_add_epi32(kept[0], working[0]), _mm_add_epi32(kept[1], working[1])];
        }
    }
    for (state, kept) in states.iter_mut().zip(kept) {
        store_state(state, kept);
    }
}

/// Four rounds with their constants and message words.
#[inline]
#[target_feature(enable = "sha")]
fn rounds4(k: &[u32; 4], [abef, cdgh]: &mut [__m128i; 2], w: __m128i) {
    let k = k.map(u32::cast_signed);
    let input = _mm_add_epi32(w, _mm_set_epi32(k[3], k[2], k[1], k[0]));
    *cdgh = _mm_sha256rnds2_epu32(*cdgh, *abef, input);
    *abef = _mm_sha256rnds2_epu32(*abef, *cdgh, _mm_shuffle_epi32::<0x0e>(input));
}

/// Replaces the four oldest message words (register `i`) by the next four.
#[inline]
#[target_feature(enable = "sha,ssse3")]
fn schedule4(w: &mut [__m128i; 4], i: usize) {
    let [w0, w1, w2, w3] = [w[i], w[(i + 1) % 4], w[(i + 2) % 4], w[(i + 3) % 4]];
    let sum = _mm_add_epi32(_mm_sha256msg1_epu32(w0, w1), _mm_alignr_epi8::<4>(w3, w2));
    w[i] = _mm_sha256msg2_epu32(sum, w3);
}

/// The sixteen message words of one block.
///
/// # Safety
///
/// The block must be readable.
#[inline]
#[target_feature(enable = "ssse3")]
unsafe fn load_block(block: *const Block) -> [__m128i; 4] {
    let swap = _mm_set_epi64x(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203);
    let mut words = [_mm_setzero_si128(); 4];
    for (i, word) in words.iter_mut().enumerate() {
        // SAFETY: four times 16 bytes of one readable block of 64; no alignment is needed.
        *word = _mm_shuffle_epi8(unsafe { _mm_loadu_si128(block.cast::<__m128i>().add(i)) }, swap);
    }
    words
}

/// The state in the order that the instructions want: words a, b, e, f and c, d, g, h, from the top down.
#[inline]
#[target_feature(enable = "ssse3,sse4.1")]
fn load_state(state: &State) -> [__m128i; 2] {
    let at: *const __m128i = state.as_ptr().cast();
    // SAFETY: a state is 32 bytes; no alignment is needed.
    let (dcba, hgfe) = unsafe { (_mm_loadu_si128(at), _mm_loadu_si128(at.add(1))) };
    let cdab = _mm_shuffle_epi32::<0xb1>(dcba);
    let efgh = _mm_shuffle_epi32::<0x1b>(hgfe);
    [_mm_alignr_epi8::<8>(cdab, efgh), _mm_blend_epi16::<0xf0>(efgh, cdab)]
}

/// The inverse of [`load_state`].
#[inline]
#[target_feature(enable = "ssse3,sse4.1")]
fn store_state(state: &mut State, [abef, cdgh]: [__m128i; 2]) {
    let feba = _mm_shuffle_epi32::<0x1b>(abef);
    let dchg = _mm_shuffle_epi32::<0xb1>(cdgh);
    let at: *mut __m128i = state.as_mut_ptr().cast();
    // SAFETY: a state is 32 bytes; no alignment is needed.
    unsafe {
        _mm_storeu_si128(at, _mm_blend_epi16::<0xf0>(feba, dchg));
        _mm_storeu_si128(at.add(1), _mm_alignr_epi8::<8>(dchg, feba));
    }
}
