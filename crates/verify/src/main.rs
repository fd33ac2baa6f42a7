//! `waxseal-verify`: proves an exported log (`waxseal log export`) on another machine, offline.
//!
//! In: the export, and what was taken away from the machine when its log began or later. Out: whether every leaf is what was
//! recorded, and if not, what is broken and from when on nothing can be trusted. It is small on purpose: all it
//! needs of Waxseal is the crate `ledger`.
//!
//! Exit codes: 0 proven, 1 broken, 2 it could not run.

#![allow(clippy::disallowed_methods, reason = "this program reads exports, and has no other crate to do it")]

mod arguments;
mod directory;
mod report;

use arguments::{Arguments, Command};
use directory::Directory;
use std::io::{self, Write};
use std::process::ExitCode;
use waxseal_ledger::cosignature::WitnessKey;
use waxseal_ledger::verify::Trust;
use waxseal_ledger::{VerificationFile, VerifierKey, note, tiles};

/// The longest line of a verifier key that is read, in bytes.
const MAX_VKEY: usize = 4096;

fn main() -> ExitCode {
    let outcome = arguments::parse(std::env::args_os().skip(1)).and_then(|command| match command {
        Command::Say(text) => say(text).map(|()| true),
        Command::Verify(arguments) => run(&arguments),
    });
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(why) => {
            // Nobody is left to be told when that fails as well.
            let _ = writeln!(io::stderr(), "waxseal-verify: {why}");
            ExitCode::from(2)
        }
    }
}

/// Whether the log is proven.
fn run(arguments: &Arguments) -> Result<bool, String> {
    let trust = trust(arguments)?;
    let directory = Directory::open(&arguments.export)?;
    let report = tiles::verify(&directory, &trust).map_err(|error| error.to_string())?;
    say(&report::text(&report, &trust))?;
    Ok(report.is_proven())
}

/// What is believed, from the files that were given.
fn trust(arguments: &Arguments) -> Result<Trust, String> {
    let verification = match &arguments.verification {
        Some(path) => {
            let text = directory::text(path, note::MAX_LEN)?;
            let file = VerificationFile::parse(&text);
            Some(file.map_err(|error| format!("{}: {error}", path.display()))?)
        }
        None => None,
    };
    let key = match &arguments.public_key {
        Some(path) => {
            let key = VerifierKey::parse(&directory::text(path, MAX_VKEY)?);
            Some(key.map_err(|error| format!("{}: {error}", path.display()))?)
        }
        None => None,
    };
    let mut trust = match (verification, key) {
        (Some(file), Some(key)) if *file.host() != key => {
            return Err("the verification file is of another host than the public key".into());
        }
        (Some(file), _) => file.trust(),
        (None, Some(key)) => Trust::new(key),
        (None, None) => return Err("give --verification FILE or --public-key FILE (see --help)".into()),
    };
    for path in &arguments.checkpoints {
        let note = directory::text(path, note::MAX_LEN)?;
        trust.keep(note).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    for path in &arguments.witnesses {
        let key = WitnessKey::parse(&directory::text(path, MAX_VKEY)?);
        trust.believe(key.map_err(|error| format!("{}: {error}", path.display()))?);
    }
    Ok(trust)
}

fn say(text: &str) -> Result<(), String> {
    let mut out = io::stdout().lock();
    let said = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    said.map_err(|error| format!("standard output: {error}"))
}
