//! Schedules streams over SHA-NI, several at a time.

use crate::lanes::Work;
use crate::shani::ShaNi;
use crate::{Block, State};

/// How many streams SHA-NI interleaves at most. Sixteen registers hold no more.
pub(crate) const STREAMS: usize = 4;

/// Compresses everything in `works` and hands each stream's tag and new state to `done`.
pub(crate) fn run<'a, T>(
    kernel: ShaNi,
    mut works: impl Iterator<Item = Work<'a, T>>,
    done: &mut impl FnMut(T, State),
) {
    let mut lanes: [Option<Work<'a, T>>; STREAMS] = std::array::from_fn(|_| works.next());
    loop {
        let count = match lanes.iter().flatten().count() {
            0 => return,
            1 => step::<T, 1>(kernel, &mut lanes),
            2 => step::<T, 2>(kernel, &mut lanes),
            3 => step::<T, 3>(kernel, &mut lanes),
            _ => step::<T, 4>(kernel, &mut lanes),
        };
        for slot in &mut lanes {
            if slot.as_mut().is_some_and(|work| work.advance(count))
                && let Some(work) = std::mem::replace(slot, works.next())
            {
                done(work.tag, work.state);
            }
        }
    }
}

/// Compresses as many blocks of the `N` occupied lanes as the shortest has; returns that number.
fn step<T, const N: usize>(kernel: ShaNi, lanes: &mut [Option<Work<'_, T>>; STREAMS]) -> usize {
    let mut states = [[0; 8]; N];
    let mut blocks: [&[Block]; N] = [&[]; N];
    for ((state, blocks), work) in states.iter_mut().zip(&mut blocks).zip(lanes.iter().flatten()) {
        (*state, *blocks) = (work.state, work.current());
    }
    let count = blocks.iter().map(|blocks| blocks.len()).min().unwrap_or(0);
    kernel.compress(&mut states, blocks, count);
    for (work, state) in lanes.iter_mut().flatten().zip(states) {
        work.state = state;
    }
    count
}
