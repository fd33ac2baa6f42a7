//! One SHA-256 stream with the `sha2` crate, which itself uses the processor's SHA instructions where it can
//! (SHA-NI, ARMv8) and plain code elsewhere.

use crate::{Block, State};

/// Compresses all of `blocks`.
pub(crate) fn compress(state: &mut State, blocks: &[Block]) {
    sha2::block_api::compress256(state, blocks);
}
