//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;

const HELP: &str = "\
Proves a log that `waxseal log export` wrote, offline.

Usage: waxseal-verify [--verification FILE] [--public-key FILE] [--checkpoint FILE]… [--witness FILE]… DIR

  DIR                    the export
  --verification FILE    the verification file that was kept when the log began
  --public-key FILE      the host's verifier key, one line; instead of the verification file, or to compare it with
  --checkpoint FILE      a checkpoint that was kept; may be given several times. The newest one proves most
  --witness FILE         the verifier key of a witness that has to have cosigned the log, one line; may be given several times
  -h, --help             this text
  -V, --version          the version

Exit codes: 0 the log is proven, 1 it is broken, 2 it could not be verified.
";

/// What was asked for.
pub enum Command {
    /// Only this text.
    Say(&'static str),
    /// A verification.
    Verify(Arguments),
}

/// What a verification needs.
#[derive(Debug, Default, PartialEq)]
pub struct Arguments {
    /// The export.
    pub export: PathBuf,
    /// The verification file.
    pub verification: Option<PathBuf>,
    /// The file with the host's verifier key.
    pub public_key: Option<PathBuf>,
    /// Checkpoints that were kept.
    pub checkpoints: Vec<PathBuf>,
    /// The files with the verifier keys of witnesses.
    pub witnesses: Vec<PathBuf>,
}

/// Reads the command line.
///
/// # Errors
/// When it is wrong: what to say about it.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Command, String> {
    let mut arguments = arguments.into_iter();
    let (mut out, mut export, mut options) = (Arguments::default(), None, true);
    while let Some(argument) = arguments.next() {
        let text = argument.to_string_lossy().into_owned();
        if !options || !text.starts_with('-') {
            if export.replace(PathBuf::from(argument)).is_some() {
                return Err("only one export is verified at a time".into());
            }
            continue;
        }
        let mut value = || arguments.next().map(PathBuf::from).ok_or_else(|| format!("{text} needs a file"));
        match text.as_str() {
            "--" => options = false,
            "-h" | "--help" => return Ok(Command::Say(HELP)),
            "-V" | "--version" => {
                return Ok(Command::Say(concat!("waxseal-verify ", env!("CARGO_PKG_VERSION"), "\n")));
            }
            "--verification" => out.verification = Some(value()?),
            "--public-key" => out.public_key = Some(value()?),
            "--witness" => out.witnesses.push(value()?),
            "--checkpoint" => out.checkpoints.push(value()?),
            _ => return Err(format!("{text:?} is not an option (see --help)")),
        }
    }
    out.export = export.ok_or("which export? (see --help)")?;
    Ok(Command::Verify(out))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Arguments, String> {
        match parse(line.split_whitespace().map(OsString::from))? {
            Command::Verify(arguments) => Ok(arguments),
            Command::Say(text) => Err(text.into()),
        }
    }

    #[test]
    fn options_stand_anywhere() {
        let arguments =
            parsed("--checkpoint a dir --public-key k --checkpoint b --witness w --verification v").unwrap();
        assert_eq!(arguments.export, PathBuf::from("dir"));
        assert_eq!(arguments.checkpoints, [PathBuf::from("a"), PathBuf::from("b")]);
        assert_eq!(arguments.witnesses, [PathBuf::from("w")]);
        assert_eq!((arguments.public_key, arguments.verification), (Some("k".into()), Some("v".into())));
        assert_eq!(parsed("-- --dir").unwrap().export, PathBuf::from("--dir"));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for wrong in ["", "--checkpoint", "a b", "--chekpoint a b", "-x a", "--"] {
            assert!(parsed(wrong).is_err(), "{wrong}");
        }
        assert_eq!(parsed("--help"), Err(HELP.to_owned()));
    }
}
