//! `completions`: what a shell needs to complete our arguments.

use crate::Exit;
use crate::args::Arguments;
use clap::CommandFactory;
use std::io::Write;

/// Prints the script.
pub fn run(shell: clap_complete::Shell) -> anyhow::Result<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "waxseal", &mut script);
    std::io::stdout().lock().write_all(&script)?;
    Ok(Exit::Same)
}
