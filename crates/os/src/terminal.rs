//! The terminal, where secrets are typed and people read.

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

/// Whether standard output and standard error are one and the same: a terminal, or one file for both.
pub fn is_one_output() -> bool {
    let of = |stat: rustix::fs::Stat| (stat.st_dev, stat.st_ino);
    match (rustix::fs::fstat(std::io::stdout()), rustix::fs::fstat(std::io::stderr())) {
        (Ok(out), Ok(err)) => of(out) == of(err),
        _ => false,
    }
}

/// Restores what was typed being shown when dropped.
#[derive(Debug)]
pub struct Hidden(Option<Termios>);

/// Keeps what is typed on standard input from being shown. Does nothing when that is no terminal.
pub fn hide_input() -> Hidden {
    let stdin = std::io::stdin();
    let before = tcgetattr(&stdin).ok();
    if let Some(before) = &before {
        let mut hidden = before.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        let _ = tcsetattr(&stdin, OptionalActions::Flush, &hidden);
    }
    Hidden(before)
}

impl Drop for Hidden {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            let _ = tcsetattr(std::io::stdin(), OptionalActions::Flush, before);
        }
    }
}
