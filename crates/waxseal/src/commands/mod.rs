//! One file per command.

mod add;
mod approve;
mod baseline;
mod changes;
mod check;
mod compare;
mod completions;
mod config;
mod decide;
mod diff;
mod duplicates;
mod hash;
mod init;
mod log;
mod restore;
mod sealed;
mod show;
mod status;
mod sync;
mod verify;
mod watch;

use crate::Exit;
use crate::args::Command;
use crate::context::Context;

/// Runs a command.
pub fn run(command: Command, context: &Context) -> anyhow::Result<Exit> {
    match command {
        Command::Init(args) => init::run(&args, context),
        Command::Check(args) => check::run(&args, context),
        Command::Watch(args) => watch::run(&args, context),
        Command::Status => status::run(context),
        Command::Sync => sync::run(context),
        Command::Changes(args) => changes::run(&args, context),
        Command::Log(args) => log::run(&args, context),
        Command::Verify(args) => verify::run(&args, context),
        Command::Show(args) => show::run(&args, context),
        Command::Diff(args) => diff::run(&args, context),
        Command::Approve(args) => approve::run(&args, context),
        Command::Restore(args) => restore::run(&args, context),
        Command::Baseline(command) => baseline::run(&command, context),
        Command::Hash(args) => hash::run(&args, context),
        Command::Duplicates(args) => duplicates::run(&args, context),
        Command::Config(command) => config::run(&command, context),
        Command::Completions { shell } => completions::run(shell, context),
    }
}
