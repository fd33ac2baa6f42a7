//! Eight SHA-256 streams at once, for x86-64 processors without SHA-NI: word `i` of every stream shares one
//! 256-bit register.
#![allow(unsafe_code, reason = "AVX2 intrinsics; every block says why it is sound")]

use crate::wide::{Columns, Wide};
use crate::{Block, K};
use std::arch::x86_64::*;

/// Proof that this processor has AVX2: only [`Avx2::detect`] makes one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Avx2(());

impl Avx2 {
    /// The proof, if the processor and the operating system support it.
    pub(crate) fn detect() -> Option<Self> {
        is_x86_feature_detected!("avx2").then_some(Self(()))
    }
}

impl Wide<8> for Avx2 {
    fn compress(self, state: &mut Columns<8>, blocks: [&[Block]; 8], count: usize) {
        assert!(blocks.iter().all(|lane| lane.len() >= count), "a lane is shorter than the step");
        // SAFETY: `self` proves the feature; the assertion covers every read of `count` blocks per lane.
        unsafe { compress(state, &blocks.map(|lane| lane.as_ptr()), count) }
    }
}

// The rounds are macros so that every index is a literal: the compiler does not unroll loops this long.

/// Round `$t + $i`; the caller rotates the names of the working variables instead of their contents.
macro_rules! round {
    ($t:ident + $i:literal, $w:ident, $a:ident $b:ident $c:ident $d:ident $e:ident $f:ident $g:ident $h:ident) => {
        let sum1 = xor3(ror::<6, 26>($e), ror::<11, 21>($e), ror::<25, 7>($e));
        let sum0 = xor3(ror::<2, 30>($a), ror::<13, 19>($a), ror::<22, 10>($a));
        let choice = _mm256_xor_si256($g, _mm256_and_si256($e, _mm256_xor_si256($f, $g)));
        let majority =
            _mm256_or_si256(_mm256_and_si256($a, $b), _mm256_and_si256($c, _mm256_or_si256($a, $b)));
        let input = add($h, add(_mm256_set1_epi32($t[$i].cast_signed()), $w[$i]));
        let t1 = add(input, add(sum1, choice));
        $d = add($d, t1);
        $h = add(t1, add(sum0, majority));
    };
}

/// Sixteen rounds with the constants `$t` and the message words `$w`, each word made by `$step` just before its
/// round: the two chains of dependent instructions then overlap.
macro_rules! rounds16 {
    ($t:ident, $step:ident $w:ident, $a:ident $b:ident $c:ident $d:ident $e:ident $f:ident $g:ident $h:ident) => {
        $step!($w, 0);
        round!($t + 0, $w, $a $b $c $d $e $f $g $h);
        $step!($w, 1);
        round!($t + 1, $w, $h $a $b $c $d $e $f $g);
        $step!($w, 2);
        round!($t + 2, $w, $g $h $a $b $c $d $e $f);
        $step!($w, 3);
        round!($t + 3, $w, $f $g $h $a $b $c $d $e);
        $step!($w, 4);
        round!($t + 4, $w, $e $f $g $h $a $b $c $d);
        $step!($w, 5);
        round!($t + 5, $w, $d $e $f $g $h $a $b $c);
        $step!($w, 6);
        round!($t + 6, $w, $c $d $e $f $g $h $a $b);
        $step!($w, 7);
        round!($t + 7, $w, $b $c $d $e $f $g $h $a);
        $step!($w, 8);
        round!($t + 8, $w, $a $b $c $d $e $f $g $h);
        $step!($w, 9);
        round!($t + 9, $w, $h $a $b $c $d $e $f $g);
        $step!($w, 10);
        round!($t + 10, $w, $g $h $a $b $c $d $e $f);
        $step!($w, 11);
        round!($t + 11, $w, $f $g $h $a $b $c $d $e);
        $step!($w, 12);
        round!($t + 12, $w, $e $f $g $h $a $b $c $d);
        $step!($w, 13);
        round!($t + 13, $w, $d $e $f $g $h $a $b $c);
        $step!($w, 14);
        round!($t + 14, $w, $c $d $e $f $g $h $a $b);
        $step!($w, 15);
        round!($t + 15, $w, $b $c $d $e $f $g $h $a);
    };
}

/// The first sixteen message words are those of the block.
macro_rules! keep {
    ($w:ident, $i:literal) => {};
}

/// Turns the message word of round `t + $i` into that of round `t + $i + 16`, in place.
macro_rules! schedule {
    ($w:ident, $i:literal) => {
        $w[$i] = next_word($w[$i], $w[($i + 1) % 16], $w[($i + 9) % 16], $w[($i + 14) % 16]);
    };
}

/// Compresses `count` blocks of each of eight streams.
///
/// # Safety
///
/// Every pointer must be readable for `count` blocks.
#[target_feature(enable = "avx2")]
unsafe fn compress(state: &mut Columns<8>, blocks: &[*const Block; 8], count: usize) {
    let mut kept = [_mm256_setzero_si256(); 8];
    for (word, row) in kept.iter_mut().zip(&state.0) {
        // SAFETY: a row of `Columns<8>` is 32 bytes.
        *word = unsafe { _mm256_loadu_si256(row.as_ptr().cast()) };
    }
    for index in 0..count {
        // SAFETY: the caller promises `count` blocks behind every pointer, and `index < count`.
        let mut w = unsafe { load(blocks, index) };
        let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = kept;
        let [first, others @ ..] = &K;
        rounds16!(first, keep w, a b c d e f g h);
        for k in others {
            rounds16!(k, schedule w, a b c d e f g h);
        }
        for (kept, word) in kept.iter_mut().zip([a, b, c, d, e, f, g, h]) {
            *kept = add(*kept, word);
        }
    }
    for (row, word) in state.0.iter_mut().zip(kept) {
        // SAFETY: a row of `Columns<8>` is 32 bytes.
        unsafe { _mm256_storeu_si256(row.as_mut_ptr().cast(), word) };
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn add(a: __m256i, b: __m256i) -> __m256i {
    _mm256_add_epi32(a, b)
}

#[inline]
#[target_feature(enable = "avx2")]
fn xor3(a: __m256i, b: __m256i, c: __m256i) -> __m256i {
    _mm256_xor_si256(_mm256_xor_si256(a, b), c)
}

/// Rotates every word right by `RIGHT`; `LEFT` must be `32 - RIGHT`.
#[inline]
#[target_feature(enable = "avx2")]
fn ror<const RIGHT: i32, const LEFT: i32>(x: __m256i) -> __m256i {
    const { assert!(RIGHT + LEFT == 32) };
    _mm256_or_si256(_mm256_srli_epi32::<RIGHT>(x), _mm256_slli_epi32::<LEFT>(x))
}

/// Message word `t + 16` from words `t`, `t + 1`, `t + 9` and `t + 14`.
#[inline]
#[target_feature(enable = "avx2")]
fn next_word(w0: __m256i, w1: __m256i, w9: __m256i, w14: __m256i) -> __m256i {
    let small0 = xor3(ror::<7, 25>(w1), ror::<18, 14>(w1), _mm256_srli_epi32::<3>(w1));
    let small1 = xor3(ror::<17, 15>(w14), ror::<19, 13>(w14), _mm256_srli_epi32::<10>(w14));
    add(add(w0, w9), add(small0, small1))
}

/// Block `index` of every stream as sixteen registers of message words, one word of all streams in each.
///
/// # Safety
///
/// Every pointer must be readable for `index + 1` blocks.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn load(blocks: &[*const Block; 8], index: usize) -> [__m256i; 16] {
    // SAFETY: the caller promises that block `index` of every lane is readable, and both halves lie inside it.
    let ([w0, w1, w2, w3, w4, w5, w6, w7], [w8, w9, w10, w11, w12, w13, w14, w15]) =
        unsafe { (load_half(blocks, index, 0), load_half(blocks, index, 1)) };
    [w0, w1, w2, w3, w4, w5, w6, w7, w8, w9, w10, w11, w12, w13, w14, w15]
}

/// Message words `8 * half..8 * half + 8` of block `index`; `half` is 0 or 1.
///
/// # Safety
///
/// Every pointer must be readable for `index + 1` blocks.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn load_half(blocks: &[*const Block; 8], index: usize, half: usize) -> [__m256i; 8] {
    let [l0, l1, l2, l3, l4, l5, l6, l7] = *blocks;
    // SAFETY: the caller promises that block `index` of every lane is readable, and both halves lie inside it.
    let [a, b] = unsafe { [load4([l0, l1, l2, l3], index, half), load4([l4, l5, l6, l7], index, half)] };
    [
        _mm256_permute2x128_si256::<0x20>(a[0], b[0]),
        _mm256_permute2x128_si256::<0x20>(a[1], b[1]),
        _mm256_permute2x128_si256::<0x20>(a[2], b[2]),
        _mm256_permute2x128_si256::<0x20>(a[3], b[3]),
        _mm256_permute2x128_si256::<0x31>(a[0], b[0]),
        _mm256_permute2x128_si256::<0x31>(a[1], b[1]),
        _mm256_permute2x128_si256::<0x31>(a[2], b[2]),
        _mm256_permute2x128_si256::<0x31>(a[3], b[3]),
    ]
}

/// Half a block of four lanes: 128-bit half `q` of register `j` has word `4 * q + j` of the four.
///
/// # Safety
///
/// Every pointer must be readable for `index + 1` blocks, and `half` must be 0 or 1.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn load4([l0, l1, l2, l3]: [*const Block; 4], index: usize, half: usize) -> [__m256i; 4] {
    // SAFETY: the caller promises that these 32 bytes of every lane are readable; no alignment is needed.
    let [r0, r1, r2, r3] = unsafe {
        [
            _mm256_loadu_si256(l0.add(index).cast::<__m256i>().add(half)),
            _mm256_loadu_si256(l1.add(index).cast::<__m256i>().add(half)),
            _mm256_loadu_si256(l2.add(index).cast::<__m256i>().add(half)),
            _mm256_loadu_si256(l3.add(index).cast::<__m256i>().add(half)),
        ]
    };
    let swap = _mm256_broadcastsi128_si256(_mm_set_epi64x(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203));
    let (r0, r1) = (_mm256_shuffle_epi8(r0, swap), _mm256_shuffle_epi8(r1, swap));
    let (r2, r3) = (_mm256_shuffle_epi8(r2, swap), _mm256_shuffle_epi8(r3, swap));
    let (low01, high01) = (_mm256_unpacklo_epi32(r0, r1), _mm256_unpackhi_epi32(r0, r1));
    let (low23, high23) = (_mm256_unpacklo_epi32(r2, r3), _mm256_unpackhi_epi32(r2, r3));
    [
        _mm256_unpacklo_epi64(low01, low23),
        _mm256_unpackhi_epi64(low01, low23),
        _mm256_unpacklo_epi64(high01, high23),
        _mm256_unpackhi_epi64(high01, high23),
    ]
}
