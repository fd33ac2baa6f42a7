//! Waxseal's own tooling, run as `cargo xtask COMMAND`.
//!
//! In: the working tree. Out: what a developer or the build server wants to know of it. One file per command.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a developer's tool: printing is its work")]
#![allow(clippy::disallowed_methods, reason = "reads and writes the working tree, never hostile files")]

mod arrows;
mod bench;
mod bpf;
mod cross_check;
mod fuzz;
mod project;
mod system_packages;
mod test;
mod torture;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Waxseal's own tooling", disable_version_flag = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Everything that must hold: architecture, formatting, lints and every test
    Test,
    /// Which crate uses what, how many packages there are, and where files and `unsafe` are used
    Arrows,
    /// Does everything to files that can be done, while the monitor is stopped, overrun and killed; its record must be
    /// what the disk says
    Torture(torture::Options),
    /// Builds the program for macOS and Windows, as far as this machine can, and watches a directory under wine
    CrossCheck,
    /// Times the program beside its peers and beside what the machine can do at all
    Bench(bench::Options),
    /// Times the monitor: changes, storms, its start and its idling
    BenchWatch(bench::watch::Options),
    /// Gives the parsers of untrusted bytes what nobody would write
    Fuzz(fuzz::Options),
    /// Makes the programs that the kernel runs of their source
    Bpf(bpf::Options),
    /// What the machine can do at all: walks, reads or hashes a tree with two threads, and keeps nothing
    BenchLimit(bench::limit::Options),
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Test => test::run(),
        Command::Arrows => arrows::run(),
        Command::Torture(options) => torture::run(&options),
        Command::CrossCheck => cross_check::run(),
        Command::Bench(options) => bench::run(&options),
        Command::BenchWatch(options) => bench::watch::run(&options),
        Command::Fuzz(options) => fuzz::run(&options),
        Command::Bpf(options) => bpf::run(&options),
        Command::BenchLimit(options) => bench::limit::run(&options),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_arguments_are_sound() {
        Arguments::command().debug_assert();
    }
}
