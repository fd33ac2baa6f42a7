//! `watch`: the monitor.

use crate::Exit;
use crate::args::WatchArgs;
use crate::context::Context;

/// Watches until it is told to end.
pub fn run(_args: &WatchArgs, _context: &Context) -> anyhow::Result<Exit> {
    anyhow::bail!("being written")
}
