//! Which kernels this machine can run, chosen once.

use crate::{Block, State, portable};
#[cfg(target_arch = "x86_64")]
use crate::{avx2::Avx2, avx512::Avx512, measure, shani::ShaNi};
use std::sync::OnceLock;

/// A way of computing SHA-256 of many streams. All give the same digests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Backend {
    /// Sixteen streams at once with AVX-512 F and BW (x86-64).
    Avx512,
    /// Up to four streams at once with the SHA instructions (x86-64).
    ShaNi,
    /// Eight streams at once with AVX2 (x86-64).
    Avx2,
    /// One stream at a time, with what the `sha2` crate finds.
    Portable,
}

impl Backend {
    /// Every backend, the fastest first.
    pub const ALL: [Self; 4] = [Self::Avx512, Self::ShaNi, Self::Avx2, Self::Portable];

    /// The fastest backend of this machine. The first call measures for about a tenth of a millisecond, because
    /// the order differs: AVX-512 was 1.7 times as fast as SHA-NI on one Xeon, and slower on AMD's Zen 4.
    pub fn detect() -> Self {
        static DETECTED: OnceLock<Backend> = OnceLock::new();
        *DETECTED.get_or_init(|| {
            let worthwhile = |backend: Self| backend.is_supported() && backend.kernels().is_worthwhile();
            Self::ALL.into_iter().find(|backend| worthwhile(*backend)).unwrap_or(Self::Portable)
        })
    }

    /// Whether this machine supports it. The functions that take a backend use [`Backend::Portable`] in place
    /// of one that it does not.
    pub fn is_supported(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => Avx512::detect().is_some(),
            #[cfg(target_arch = "x86_64")]
            Self::ShaNi => ShaNi::detect().is_some(),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => Avx2::detect().is_some(),
            Self::Portable => true,
            #[cfg(not(target_arch = "x86_64"))]
            _ => false,
        }
    }

    /// A short name for people: "AVX-512", "SHA-NI", "AVX2" or "portable".
    pub fn name(self) -> &'static str {
        match self {
            Self::Avx512 => "AVX-512",
            Self::ShaNi => "SHA-NI",
            Self::Avx2 => "AVX2",
            Self::Portable => "portable",
        }
    }

    pub(crate) fn kernels(self) -> Kernels {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => Avx512::detect().map_or_else(Kernels::portable, |kernel| {
                static FEWEST: OnceLock<usize> = OnceLock::new();
                let narrow = Narrow::detect();
                let fewest = *FEWEST.get_or_init(|| measure::fewest_streams(kernel, narrow));
                Kernels { wide: WideKernel::Avx512 { kernel, fewest }, narrow }
            }),
            #[cfg(target_arch = "x86_64")]
            Self::ShaNi => Kernels { narrow: Narrow::detect(), ..Kernels::portable() },
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => Avx2::detect().map_or_else(Kernels::portable, |kernel| {
                static FEWEST: OnceLock<usize> = OnceLock::new();
                let narrow = Narrow::Portable;
                let fewest = *FEWEST.get_or_init(|| measure::fewest_streams(kernel, narrow));
                Kernels { wide: WideKernel::Avx2 { kernel, fewest }, narrow }
            }),
            _ => Kernels::portable(),
        }
    }
}

/// The kernels behind a backend. The contained proofs exist only where the processor has the instructions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kernels {
    /// Used while there are enough streams.
    pub(crate) wide: WideKernel,
    /// Used otherwise.
    pub(crate) narrow: Narrow,
}

/// A kernel for many streams, used while there are at least `fewest`, or as many as it has lanes. If `fewest` is
/// more than the lanes, the narrow kernel alone would be faster.
#[derive(Clone, Copy, Debug)]
pub(crate) enum WideKernel {
    #[cfg(target_arch = "x86_64")]
    Avx512 {
        kernel: Avx512,
        fewest: usize,
    },
    #[cfg(target_arch = "x86_64")]
    Avx2 {
        kernel: Avx2,
        fewest: usize,
    },
    None,
}

/// A kernel for one or a few streams.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Narrow {
    #[cfg(target_arch = "x86_64")]
    ShaNi(ShaNi),
    Portable,
}

impl Kernels {
    /// Whether the wide kernel, if there is one, is ever the faster one.
    fn is_worthwhile(self) -> bool {
        match self.wide {
            #[cfg(target_arch = "x86_64")]
            WideKernel::Avx512 { fewest, .. } => fewest <= 16,
            #[cfg(target_arch = "x86_64")]
            WideKernel::Avx2 { fewest, .. } => fewest <= 8,
            WideKernel::None => true,
        }
    }

    fn portable() -> Self {
        Self { wide: WideKernel::None, narrow: Narrow::Portable }
    }
}

impl Narrow {
    /// The fastest kernel for a single stream.
    pub(crate) fn detect() -> Self {
        #[cfg(target_arch = "x86_64")]
        if let Some(kernel) = ShaNi::detect() {
            return Self::ShaNi(kernel);
        }
        Self::Portable
    }

    /// Compresses all of `blocks` into one state.
    pub(crate) fn compress(self, state: &mut State, blocks: &[Block]) {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::ShaNi(kernel) => {
                kernel.compress(std::array::from_mut(state), [blocks], blocks.len());
            }
            Self::Portable => portable::compress(state, blocks),
        }
    }
}
