//! Colours: few, and never the only sign.

use crate::args::ColorWhen;
use anstyle::{AnsiColor, Style};
use std::io::Write;
use waxseal_model::Severity;

/// For errors.
pub const ERROR: Style = AnsiColor::Red.on_default().bold();
/// For warnings.
pub const WARN: Style = AnsiColor::Yellow.on_default().bold();
/// For what is right.
pub const GOOD: Style = AnsiColor::Green.on_default().bold();
/// For what matters less.
pub const FAINT: Style = Style::new().dimmed();
/// For names and headings.
pub const STRONG: Style = Style::new().bold();

/// The colour of a severity.
pub const fn severity(severity: Severity) -> Style {
    match severity {
        Severity::Critical => AnsiColor::Red.on_default().bold(),
        Severity::High => AnsiColor::Red.on_default(),
        Severity::Medium => AnsiColor::Yellow.on_default(),
        Severity::Low | Severity::Info => Style::new().dimmed(),
    }
}

/// Applies `--color`; `auto` honours `NO_COLOR` and the terminal.
pub fn choose_color(when: ColorWhen) {
    let choice = match when {
        ColorWhen::Auto => anstream::ColorChoice::Auto,
        ColorWhen::Always => anstream::ColorChoice::AlwaysAnsi,
        ColorWhen::Never => anstream::ColorChoice::Never,
    };
    choice.write_global();
}

/// An error, on standard error.
pub fn error(text: &str) {
    // The config's errors bring their own heading.
    let text = text.strip_prefix("error: ").unwrap_or(text);
    let _ = writeln!(anstream::stderr(), "{ERROR}error:{ERROR:#} {text}");
}
