//! From how many streams on a wide kernel pays, measured on the machine itself.
//!
//! No table of processors could say: beside SHA-NI, AVX-512 pays from about 10 streams on with one Xeon, never
//! with AMD's Zen 4, and a hypervisor may hide what the processor is. A wrong answer costs speed, not digests.

use crate::backend::Narrow;
use crate::interleaved::STREAMS;
use crate::wide::{Columns, Wide};
use crate::{Block, INITIAL};
use std::hint::black_box;
use std::time::{Duration, Instant};

/// Blocks per lane and round: a wide step then takes about 5 microseconds.
const BLOCKS: usize = 16;

/// The fastest round counts, so that an interruption does not, nor the first microseconds, in which a processor
/// powers up its wide registers.
const ROUNDS: usize = 12;

/// What a wide kernel loses between its steps, in percent: streams of different lengths end at different times,
/// and each end costs a step. Batches of mixed small files lose 8 to 17 % so, and 8 to 11 % with the narrow one.
const STEP_LOSS: u128 = 10;

/// The number of streams from which on one step of `wide` takes less time than `narrow` needs for them all;
/// above `L` if it never does.
pub(crate) fn fewest_streams<const L: usize>(wide: impl Wide<L>, narrow: Narrow) -> usize {
    let input: [Block; BLOCKS] = [[0; 64]; BLOCKS];
    let input = black_box(&input);
    let mut columns = Columns([[0; L]; 8]);
    let mut states = [INITIAL; STREAMS];
    let (mut wide_time, mut narrow_time) = (Duration::MAX, Duration::MAX);
    for _ in 0..ROUNDS {
        wide_time = wide_time.min(time(|| wide.compress(&mut columns, [input; L], BLOCKS)));
        narrow_time = narrow_time.min(time(|| match narrow {
            Narrow::ShaNi(kernel) => kernel.compress(&mut states, [input; STREAMS], BLOCKS),
            Narrow::Portable => states.iter_mut().for_each(|state| narrow.compress(state, input)),
        }));
    }
    black_box((&columns.0, &states));
    let wide_for_all = wide_time.as_nanos() * (100 + STEP_LOSS) * STREAMS as u128;
    usize::try_from(wide_for_all.div_ceil(narrow_time.as_nanos().max(1) * 100)).unwrap_or(usize::MAX)
}

fn time(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}
