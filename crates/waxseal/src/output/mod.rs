//! What people and programs are shown.

pub mod describe;
pub mod difference;
pub mod printer;
pub mod progress;
pub mod report;
pub mod style;
pub mod voices;

use crate::context::Context;
use std::io::Write;
use waxseal_model::json::{self, Object};

/// Standard output, locked, colours taken out where they do not belong.
pub fn out() -> anstream::AutoStream<std::io::StdoutLock<'static>> {
    anstream::AutoStream::auto(std::io::stdout().lock())
}

/// One line of machine output.
pub fn json_line(out: &mut impl Write, object: &Object) -> std::io::Result<()> {
    writeln!(out, "{}", json::line(object))
}

/// A sentence for people, on standard error, unless they want silence.
pub fn say(context: &Context, text: &str) {
    if !context.quiet {
        voices::to_people(format!("{text}\n"));
    }
}

/// Something people must know, on standard error.
pub fn warn(text: &str) {
    voices::to_people(format!("{}warning:{:#} {text}\n", style::WARN, style::WARN));
}
