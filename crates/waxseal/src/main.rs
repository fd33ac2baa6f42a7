//! The program: arguments in, one command each, output and exit code out.

mod agent;
mod args;
mod commands;
mod content;
mod context;
mod output;
mod publish;

use args::{Arguments, Command};
use clap::Parser;
use context::Context;
use output::style;
use std::process::ExitCode;
use waxseal_os::front;

/// How a command ended, in the codes of `diff`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exit {
    /// Nothing differs.
    Same = 0,
    /// Something differs.
    Differs = 1,
    /// Trouble: also a check that could not look everywhere.
    Trouble = 2,
}

fn main() -> ExitCode {
    waxseal_os::limits::bound_allocator();
    let arguments = Arguments::parse();
    // The monitor is ended by signals to its own process, and needs nobody in front; whoever follows the log is as well.
    let is_ended_by_signals = match &arguments.command {
        Command::Watch(_) => true,
        Command::Log(log) => log.follow,
        _ => false,
    };
    let front = if is_ended_by_signals { Ok(None) } else { front::stand() };
    match front {
        Ok(Some(code)) => return ExitCode::from(code),
        Ok(None) => {}
        Err(error) => {
            style::error(&format!("a mount that does not answer can keep the program from ending: {error}"))
        }
    }
    style::choose_color(arguments.global.color);
    let result =
        Context::new(&arguments.global).and_then(|context| commands::run(arguments.command, &context));
    let exit = result.unwrap_or_else(|error| {
        if is_broken_pipe(&error) {
            return Exit::Trouble;
        }
        style::error(&format!("{error:#}"));
        Exit::Trouble
    });
    front::tell(exit as u8);
    ExitCode::from(exit as u8)
}

/// Whoever read our output has gone (`waxseal changes | head`): nobody is left to be told.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let io = error.chain().filter_map(|cause| cause.downcast_ref::<std::io::Error>());
    io.into_iter().any(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}
