//! Runs of whole blocks, and the kernels that they go to.
//!
//! What comes in: [`Work`], one per stream, from an iterator that may be long. What goes out: each stream's new
//! state, in the order in which they end. A lane whose stream ends takes the next one, so the lanes stay full
//! however different the lengths are. Nothing here allocates.

use crate::backend::{Kernels, Narrow, WideKernel};
use crate::{Block, State, portable};
#[cfg(target_arch = "x86_64")]
use crate::{interleaved, wide};
use std::ops::Range;

/// The blocks that one stream has to compress now: some from scratch memory before the body (input kept from an
/// earlier call), the body in the caller's memory, and some from scratch memory after it (the padding).
pub(crate) struct Work<'a, T> {
    /// What the caller wants back with the state.
    pub(crate) tag: T,
    pub(crate) state: State,
    scratch: [Block; 2],
    before: Range<usize>,
    body: &'a [Block],
    after: Range<usize>,
}

impl<'a, T> Work<'a, T> {
    /// One kept block, if any, then `body`. Together they must not be empty.
    pub(crate) fn continuing(tag: T, state: State, first: Option<Block>, body: &'a [Block]) -> Self {
        let before = 0..usize::from(first.is_some());
        Self { tag, state, scratch: [first.unwrap_or([0; 64]), [0; 64]], before, body, after: 0..0 }
    }

    /// `body`, then the first `count` blocks of `padding`; `count` is 1 or 2.
    pub(crate) fn ending(tag: T, state: State, body: &'a [Block], padding: [Block; 2], count: usize) -> Self {
        Self { tag, state, scratch: padding, before: 0..0, body, after: 0..count.min(2) }
    }

    /// The next blocks that lie side by side in memory; empty only at the end.
    pub(crate) fn current(&self) -> &[Block] {
        if !self.before.is_empty() {
            &self.scratch[self.before.clone()]
        } else if !self.body.is_empty() {
            self.body
        } else {
            &self.scratch[self.after.clone()]
        }
    }

    /// Drops the first `count` of the current blocks; true if there are no more at all.
    pub(crate) fn advance(&mut self, count: usize) -> bool {
        if !self.before.is_empty() {
            self.before.start += count;
        } else if !self.body.is_empty() {
            self.body = &self.body[count..];
        } else {
            self.after.start += count;
        }
        self.left() == 0
    }

    pub(crate) fn left(&self) -> usize {
        self.before.len() + self.body.len() + self.after.len()
    }
}

/// Compresses everything in `works` and hands each stream's tag and new state to `done`.
pub(crate) fn run<'a, T>(
    kernels: Kernels,
    works: impl Iterator<Item = Work<'a, T>>,
    mut done: impl FnMut(T, State),
) {
    match kernels.wide {
        #[cfg(target_arch = "x86_64")]
        WideKernel::Avx512 { kernel, fewest } => {
            let rest = wide::run(kernel, fewest, works, &mut done);
            narrow(kernels.narrow, rest.into_iter().flatten(), &mut done);
        }
        #[cfg(target_arch = "x86_64")]
        WideKernel::Avx2 { kernel, fewest } => {
            let rest = wide::run(kernel, fewest, works, &mut done);
            narrow(kernels.narrow, rest.into_iter().flatten(), &mut done);
        }
        WideKernel::None => narrow(kernels.narrow, works, &mut done),
    }
}

fn narrow<'a, T>(narrow: Narrow, works: impl Iterator<Item = Work<'a, T>>, done: &mut impl FnMut(T, State)) {
    match narrow {
        #[cfg(target_arch = "x86_64")]
        Narrow::ShaNi(kernel) => interleaved::run(kernel, works, done),
        Narrow::Portable => one_by_one(works, done),
    }
}

fn one_by_one<'a, T>(works: impl Iterator<Item = Work<'a, T>>, done: &mut impl FnMut(T, State)) {
    for mut work in works {
        loop {
            let mut state = work.state;
            let blocks = work.current();
            let count = blocks.len();
            portable::compress(&mut state, blocks);
            work.state = state;
            if work.advance(count) {
                break;
            }
        }
        done(work.tag, work.state);
    }
}
