//! Sixteen SHA-256 streams at once: word `i` of every stream shares one 512-bit register.
#![allow(unsafe_code, reason = "AVX-512 intrinsics; every block says why it is sound")]

use crate::wide::{Columns, Wide};
use crate::{Block, K};
use std::arch::x86_64::*;

/// Proof that this processor has AVX-512 F and BW: only [`Avx512::detect`] makes one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Avx512(());

impl Avx512 {
    /// The proof, if the processor and the operating system support it.
    pub(crate) fn detect() -> Option<Self> {
        (is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw")).then_some(Self(()))
    }
}

impl Wide<16> for Avx512 {
    fn compress(self, state: &mut Columns<16>, blocks: [&[Block]; 16], count: usize) {
        assert!(blocks.iter().all(|lane| lane.len() >= count), "a lane is shorter than the step");
        // SAFETY: `self` proves the features; the assertion covers every read of `count` blocks per lane.
        unsafe { compress(state, &blocks.map(|lane| lane.as_ptr()), count) }
    }
}

// The rounds are macros so that every index is a literal and every message word stays in a register: the
// compiler does not unroll loops this long, and then keeps the words in memory.

/// Round `$t + $i`; the caller rotates the names of the working variables instead of their contents.
macro_rules! round {
    ($t:ident + $i:literal, $w:ident, $a:ident $b:ident $c:ident $d:ident $e:ident $f:ident $g:ident $h:ident) => {
        let sum1 = xor3(_mm512_ror_epi32::<6>($e), _mm512_ror_epi32::<11>($e), _mm512_ror_epi32::<25>($e));
        let sum0 = xor3(_mm512_ror_epi32::<2>($a), _mm512_ror_epi32::<13>($a), _mm512_ror_epi32::<22>($a));
        let choice = _mm512_ternarylogic_epi32::<0xca>($e, $f, $g);
        let majority = _mm512_ternarylogic_epi32::<0xe8>($a, $b, $c);
        let input = add($h, add(_mm512_set1_epi32($t[$i].cast_signed()), $w[$i]));
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

/// Compresses `count` blocks of each of sixteen streams.
///
/// # Safety
///
/// Every pointer must be readable for `count` blocks.
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn compress(state: &mut Columns<16>, blocks: &[*const Block; 16], count: usize) {
    let mut kept = [_mm512_setzero_si512(); 8];
    for (word, row) in kept.iter_mut().zip(&state.0) {
        // SAFETY: a row of `Columns<16>` is 64 bytes.
        *word = unsafe { _mm512_loadu_si512(row.as_ptr().cast()) };
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
        // SAFETY: a row of `Columns<16>` is 64 bytes.
        unsafe { _mm512_storeu_si512(row.as_mut_ptr().cast(), word) };
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn add(a: __m512i, b: __m512i) -> __m512i {
    _mm512_add_epi32(a, b)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn xor3(a: __m512i, b: __m512i, c: __m512i) -> __m512i {
    _mm512_ternarylogic_epi32::<0x96>(a, b, c)
}

/// Message word `t + 16` from words `t`, `t + 1`, `t + 9` and `t + 14`.
#[inline]
#[target_feature(enable = "avx512f")]
fn next_word(w0: __m512i, w1: __m512i, w9: __m512i, w14: __m512i) -> __m512i {
    let small0 = xor3(_mm512_ror_epi32::<7>(w1), _mm512_ror_epi32::<18>(w1), _mm512_srli_epi32::<3>(w1));
    let small1 = xor3(_mm512_ror_epi32::<17>(w14), _mm512_ror_epi32::<19>(w14), _mm512_srli_epi32::<10>(w14));
    add(add(w0, w9), add(small0, small1))
}

/// Block `index` of every stream as sixteen registers of message words, one word of all streams in each.
///
/// # Safety
///
/// Every pointer must be readable for `index + 1` blocks.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn load(blocks: &[*const Block; 16], index: usize) -> [__m512i; 16] {
    let [l0, l1, l2, l3, l4, l5, l6, l7, l8, l9, l10, l11, l12, l13, l14, l15] = *blocks;
    // SAFETY: the caller promises that block `index` of every lane is readable.
    let [a, b, c, d] = unsafe {
        [
            load4([l0, l1, l2, l3], index),
            load4([l4, l5, l6, l7], index),
            load4([l8, l9, l10, l11], index),
            load4([l12, l13, l14, l15], index),
        ]
    };
    let [w0, w4, w8, w12] = join4([a[0], b[0], c[0], d[0]]);
    let [w1, w5, w9, w13] = join4([a[1], b[1], c[1], d[1]]);
    let [w2, w6, w10, w14] = join4([a[2], b[2], c[2], d[2]]);
    let [w3, w7, w11, w15] = join4([a[3], b[3], c[3], d[3]]);
    [w0, w1, w2, w3, w4, w5, w6, w7, w8, w9, w10, w11, w12, w13, w14, w15]
}

/// Block `index` of four lanes: quarter `q` of register `j` has word `4 * q + j` of the four.
///
/// # Safety
///
/// Every pointer must be readable for `index + 1` blocks.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn load4([l0, l1, l2, l3]: [*const Block; 4], index: usize) -> [__m512i; 4] {
    // SAFETY: the caller promises that block `index` of every lane is readable; no alignment is needed.
    let [r0, r1, r2, r3] = unsafe {
        [
            _mm512_loadu_si512(l0.add(index).cast()),
            _mm512_loadu_si512(l1.add(index).cast()),
            _mm512_loadu_si512(l2.add(index).cast()),
            _mm512_loadu_si512(l3.add(index).cast()),
        ]
    };
    let swap = _mm512_broadcast_i32x4(_mm_set_epi64x(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203));
    let (r0, r1) = (_mm512_shuffle_epi8(r0, swap), _mm512_shuffle_epi8(r1, swap));
    let (r2, r3) = (_mm512_shuffle_epi8(r2, swap), _mm512_shuffle_epi8(r3, swap));
    let (low01, high01) = (_mm512_unpacklo_epi32(r0, r1), _mm512_unpackhi_epi32(r0, r1));
    let (low23, high23) = (_mm512_unpacklo_epi32(r2, r3), _mm512_unpackhi_epi32(r2, r3));
    [
        _mm512_unpacklo_epi64(low01, low23),
        _mm512_unpackhi_epi64(low01, low23),
        _mm512_unpacklo_epi64(high01, high23),
        _mm512_unpackhi_epi64(high01, high23),
    ]
}

/// Transposes the quarters of four registers as a 4 x 4 matrix.
#[inline]
#[target_feature(enable = "avx512f")]
fn join4([r0, r1, r2, r3]: [__m512i; 4]) -> [__m512i; 4] {
    let (low01, high01) = (_mm512_shuffle_i32x4::<0x44>(r0, r1), _mm512_shuffle_i32x4::<0xee>(r0, r1));
    let (low23, high23) = (_mm512_shuffle_i32x4::<0x44>(r2, r3), _mm512_shuffle_i32x4::<0xee>(r2, r3));
    [
        _mm512_shuffle_i32x4::<0x88>(low01, low23),
        _mm512_shuffle_i32x4::<0xdd>(low01, low23),
        _mm512_shuffle_i32x4::<0x88>(high01, high23),
        _mm512_shuffle_i32x4::<0xdd>(high01, high23),
    ]
}
