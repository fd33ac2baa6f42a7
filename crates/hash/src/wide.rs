//! Schedules streams over the lanes of a wide kernel. A lane whose stream ends takes the next one, so the lanes
//! stay full however different the lengths are.

use crate::lanes::Work;
use crate::{Block, State};
use std::cmp::Reverse;

/// The states of `L` streams side by side: row `i` holds word `i` of every stream.
#[repr(align(64))]
pub(crate) struct Columns<const L: usize>(pub(crate) [[u32; L]; 8]);

impl<const L: usize> Columns<L> {
    fn set(&mut self, lane: usize, state: &State) {
        for (row, word) in self.0.iter_mut().zip(state) {
            row[lane] = *word;
        }
    }

    fn get(&self, lane: usize) -> State {
        self.0.map(|row| row[lane])
    }
}

/// A kernel that compresses `L` streams in lock step, at the same cost however many of them matter.
pub(crate) trait Wide<const L: usize>: Copy {
    /// Compresses the first `count` blocks of every lane; panics if a lane has fewer.
    fn compress(self, state: &mut Columns<L>, blocks: [&[Block]; L], count: usize);
}

/// Runs the lanes of `kernel` until fewer than `fewest` streams (at most `L`) are left, and returns those, longest first.
pub(crate) fn run<'a, T, const L: usize>(
    kernel: impl Wide<L>,
    fewest: usize,
    mut works: impl Iterator<Item = Work<'a, T>>,
    done: &mut impl FnMut(T, State),
) -> [Option<Work<'a, T>>; L] {
    let mut states = Columns([[0; L]; 8]);
    let mut lanes: [Option<Work<'a, T>>; L] = std::array::from_fn(|_| works.next());
    let mut active = 0;
    for (lane, work) in lanes.iter().enumerate() {
        if let Some(work) = work {
            states.set(lane, &work.state);
            active += 1;
        }
    }
    while active >= fewest.clamp(1, L) {
        let count = step(kernel, &mut states, &lanes);
        for (lane, slot) in lanes.iter_mut().enumerate() {
            let Some(work) = slot else { continue };
            if !work.advance(count) {
                continue;
            }
            let next = works.next();
            if let Some(next) = &next {
                let ended = states.get(lane);
                states.set(lane, &next.state);
                work.state = ended;
            } else {
                work.state = states.get(lane);
                active -= 1;
            }
            if let Some(work) = std::mem::replace(slot, next) {
                done(work.tag, work.state);
            }
        }
    }
    for (lane, work) in lanes.iter_mut().enumerate() {
        if let Some(work) = work {
            work.state = states.get(lane);
        }
    }
    lanes.sort_unstable_by_key(|work| Reverse(work.as_ref().map_or(0, Work::left)));
    lanes
}

/// Compresses as many blocks of every lane as the lane with the fewest has; returns that number.
fn step<T, const L: usize>(
    kernel: impl Wide<L>,
    states: &mut Columns<L>,
    lanes: &[Option<Work<'_, T>>; L],
) -> usize {
    // An empty lane reads along with another one, and its result is never looked at.
    let Some(filler) = lanes.iter().flatten().next().map(Work::current) else { return 0 };
    let blocks = std::array::from_fn(|lane| lanes[lane].as_ref().map_or(filler, Work::current));
    let count = blocks.iter().map(|blocks| blocks.len()).min().unwrap_or(0);
    kernel.compress(states, blocks, count);
    count
}
