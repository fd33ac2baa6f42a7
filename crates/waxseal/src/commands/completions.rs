//! `completions`: what a shell needs to complete our arguments.

use crate::Exit;
use crate::args::Arguments;
use crate::context::Context;
use anyhow::bail;
use clap::CommandFactory;
use std::io::Write;

/// Prints the script.
pub fn run(shell: clap_complete::Shell, context: &Context) -> anyhow::Result<Exit> {
    if context.json {
        bail!("the script for a shell is no JSON: leave out --json");
    }
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "waxseal", &mut script);
    std::io::stdout().lock().write_all(&script)?;
    Ok(Exit::Same)
}
