//! The command line as typed.

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::ffi::OsString;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  waxseal watch /etc            seal /etc, then print every change as it happens
  waxseal init                  write a config that suits this system, seal what it names
  waxseal check                 hold the disk against the baseline
  waxseal changes               what is open, grouped

Exit codes: 0 nothing differs, 1 something differs, 2 trouble (also: could not look everywhere).";

/// Waxseal seals the files that matter, watches them, and reports every change.
#[derive(Debug, Parser)]
#[command(name = "waxseal", version, about, after_help = EXAMPLES, max_term_width = 100)]
#[command(disable_help_subcommand = false, arg_required_else_help = true)]
pub struct Arguments {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command, before or after its name.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// The config [default: /etc/waxseal/waxseal.toml for root, else in the XDG config directory]
    #[arg(long, global = true, value_name = "FILE", env = "WAXSEAL_CONFIG")]
    pub config: Option<PathBuf>,
    /// Where baselines and history are kept [default: /var/lib/waxseal for root, else in the XDG state directory]
    #[arg(long, global = true, value_name = "DIR", env = "WAXSEAL_STATE_DIR")]
    pub state_dir: Option<PathBuf>,
    /// One JSON object a line on standard output, and nothing else there
    #[arg(long, global = true)]
    pub json: bool,
    /// When to colour
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub color: ColorWhen,
    /// Say only what matters
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Say more
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

/// When to colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ColorWhen {
    /// On a terminal.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write a config, make the keys, take and seal the first baseline
    Init(InitArgs),
    /// Compare the disk with the baseline
    Check(CheckArgs),
    /// Watch, and print every change as it happens; with paths and no baseline, seal them first
    Watch(WatchArgs),
    /// What is watched, since when, and what is open
    Status,
    /// Return when everything that happened before is recorded by the running monitor
    Sync,
    /// Open changes, grouped into change sets
    Changes(ChangesArgs),
    /// One change in full
    Show(ShowArgs),
    /// How a path differs from its baseline
    Diff(DiffArgs),
    /// Make what was found the baseline, and seal it
    Approve(ApproveArgs),
    /// Put the approved version of what was changed back
    Restore(RestoreArgs),
    /// The log: everything seen and decided, in order; its checkpoint; an export of it
    Log(LogArgs),
    /// Prove that the log, the changes and the baselines are what was recorded
    Verify(VerifyArgs),
    /// Baselines through time
    #[command(subcommand)]
    Baseline(BaselineCommand),
    /// Print or verify sums in the format of coreutils
    Hash(HashArgs),
    /// Files of equal content in the baseline
    Duplicates(DuplicatesArgs),
    /// The config: is it right, and what does it mean
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Print completions for a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Args)]
pub struct InitArgs {
    /// What the first watch covers; a good default for this system without
    pub paths: Vec<PathBuf>,
    /// Put the sealing key there (a removable disk, say), or use the key that is there; `ssh-agent` or
    /// `ssh-agent:FINGERPRINT` (or its comment) for an Ed25519 key that an SSH agent holds
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Only these paths and what is below them
    pub paths: Vec<PathBuf>,
    /// Re-hash only what times, size or inode say has moved
    #[arg(long)]
    pub quick: bool,
    /// Show every change, not only the first screen
    #[arg(long)]
    pub all: bool,
    /// Hold the disk against a sealed export (`baseline export FILE`); needs neither config nor state, and records nothing
    #[arg(long, value_name = "FILE", conflicts_with = "quick")]
    pub against: Option<PathBuf>,
    /// What the export must be sealed with: the verification file that was taken away, or a verifier key line
    #[arg(long, value_name = "FILE", requires = "against")]
    pub public_key: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct WatchArgs {
    /// Only these paths; sealed first when there is no baseline yet
    pub paths: Vec<PathBuf>,
    /// Add paths that no watch covers to the config and seal them, without asking
    #[arg(long)]
    pub yes: bool,
    /// Where the sealing key is, for adding paths: a file, or `ssh-agent`
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct ChangesArgs {
    /// Only changes at or below these paths
    pub paths: Vec<PathBuf>,
    /// Only changes at least as severe
    #[arg(long, value_name = "S", value_parser = severity)]
    pub severity: Option<waxseal_model::Severity>,
    /// Only changes that moved since then: a duration back from now ("2h") or a time ("2026-11-24T09:00:00Z")
    #[arg(long, value_name = "T")]
    pub since: Option<String>,
    /// Only changes that this executable, or what it began, has a part in; "unknown": those of unknown processes
    #[arg(long, value_name = "EXE")]
    pub actor: Option<OsString>,
    /// Show every change, not only the first screen
    #[arg(long)]
    pub all: bool,
}

#[derive(Debug, Args)]
pub struct ShowArgs {
    /// A change (c12)
    pub id: waxseal_model::ChangeId,
    /// Write the content of the file, and nothing else, to standard output: as it was approved, or as it was found
    #[arg(long, value_enum, value_name = "SIDE", conflicts_with = "json")]
    pub content: Option<ContentSide>,
}

/// Which content of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum ContentSide {
    /// The approved one
    Before,
    /// The one that was found
    After,
}

#[derive(Debug, Args)]
pub struct DiffArgs {
    /// A path, or a change (c12)
    pub target: PathBuf,
}

#[derive(Debug, Args)]
pub struct ApproveArgs {
    /// Changes (c12), sets (s3), or paths with all that is open below them
    #[arg(required_unless_present = "all", conflicts_with = "all", value_name = "ID|PATH")]
    pub targets: Vec<PathBuf>,
    /// Everything that is open, under the rules of the config as it is now
    #[arg(long)]
    pub all: bool,
    /// Why, for the record
    #[arg(long, value_name = "TEXT")]
    pub note: Option<String>,
    /// Where the sealing key is: a file, or `ssh-agent`
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// Look, and say what would be approved
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
}

#[derive(Debug, Args)]
pub struct RestoreArgs {
    /// Changes (c12), sets (s3), or paths with all that is open below them
    #[arg(required_unless_present = "all", conflicts_with = "all", value_name = "ID|PATH")]
    pub targets: Vec<PathBuf>,
    /// Everything that is open
    #[arg(long)]
    pub all: bool,
    /// Why, for the record
    #[arg(long, value_name = "TEXT")]
    pub note: Option<String>,
    /// Look, and say what would be done
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
}

#[derive(Debug, Args)]
#[command(subcommand_precedence_over_arg = true)]
pub struct LogArgs {
    #[command(subcommand)]
    pub command: Option<LogCommand>,
    /// Only what is about these paths and what is below them
    pub paths: Vec<PathBuf>,
    /// Only since then: a duration back from now ("2h") or a time ("2026-11-24T09:00:00Z")
    #[arg(long, value_name = "T")]
    pub since: Option<String>,
    /// Only until then
    #[arg(long, value_name = "T")]
    pub until: Option<String>,
    /// Only entries of this kind; may be given several times
    #[arg(long, value_name = "K", value_parser = clap::builder::PossibleValuesParser::new(KINDS))]
    pub kind: Vec<String>,
    /// Only changes at least as severe
    #[arg(long, value_name = "S", value_parser = severity)]
    pub severity: Option<waxseal_model::Severity>,
    /// Only what this executable, or what it began, has a part in; "unknown": what unknown processes did
    #[arg(long, value_name = "EXE")]
    pub actor: Option<OsString>,
    /// Go on with new entries as they are recorded, until SIGINT or SIGTERM
    #[arg(long, short)]
    pub follow: bool,
}

/// The kinds of entries.
const KINDS: [&str; 18] = [
    "key",
    "start",
    "stop",
    "change",
    "resolved",
    "approved",
    "restored",
    "sealed",
    "blind",
    "config",
    "alert",
    "heartbeat",
    "scan",
    "touched",
    "clock",
    "pruned",
    "kept",
    "dropped",
];

#[derive(Debug, Subcommand)]
pub enum LogCommand {
    /// Write the log as C2SP tlog-tiles with its checkpoint, for other tools
    Export {
        /// A new directory, or an older export of this log, which then grows
        directory: PathBuf,
    },
    /// Print the current signed checkpoint: keep it elsewhere
    Checkpoint,
}

#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// A checkpoint that was kept; may be given several times. The newest one proves most
    #[arg(long, value_name = "FILE")]
    pub checkpoint: Vec<PathBuf>,
    /// The verifier key line of a witness that has to have cosigned the log; may be given several times
    #[arg(long, value_name = "FILE")]
    pub witness: Vec<PathBuf>,
    /// The verification file that was taken away, or the host's verifier key line
    #[arg(long, value_name = "FILE")]
    pub public_key: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub enum BaselineCommand {
    /// Every generation with who, when, why
    List,
    /// One entry of the baseline, or its summary
    Show {
        /// The entry
        path: Option<PathBuf>,
    },
    /// A whole baseline, sealed, as one file for another medium or machine; or for other tools
    Export(BaselineExportArgs),
    /// What differs between two baselines
    Compare(CompareArgs),
}

#[derive(Debug, Args)]
pub struct BaselineExportArgs {
    /// A new file; standard output without
    pub file: Option<PathBuf>,
    /// The format [default: sealed; json with --json and without FILE]
    #[arg(long)]
    pub format: Option<ExportFormat>,
    /// Another generation than the newest
    #[arg(long, value_name = "N")]
    pub generation: Option<u64>,
}

#[derive(Debug, Args)]
pub struct CompareArgs {
    /// A generation (3), a root hash or eight or more digits of it, or a sealed export (a path)
    pub a: PathBuf,
    /// The same, for the other one
    pub b: PathBuf,
    /// What counts: content, security, standard or all
    #[arg(long, value_name = "GROUP", default_value = "standard", value_parser = attributes)]
    pub attributes: waxseal_model::AttributeSet,
    /// What exports must be sealed with: the verification file that was taken away, or a verifier key line
    #[arg(long, value_name = "FILE")]
    pub public_key: Option<PathBuf>,
    /// Show every difference, not only the first screen
    #[arg(long)]
    pub all: bool,
}

/// Formats of `baseline export`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ExportFormat {
    /// Sealed: what `check --against` and `baseline compare` take.
    Sealed,
    /// One JSON object a line.
    Json,
    /// Comma-separated values with a header.
    Csv,
}

#[derive(Debug, Args)]
pub struct HashArgs {
    /// Regular files; `-` is standard input
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
    /// Verify the sums listed in these files (GNU and BSD formats)
    #[arg(short, long)]
    pub check: bool,
    /// sha256, sha512 or blake3
    #[arg(short, long, default_value = "sha256", value_parser = algorithm)]
    pub algorithm: waxseal_model::Algorithm,
}

#[derive(Debug, Args)]
pub struct DuplicatesArgs {
    /// Only at or below these paths
    pub paths: Vec<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Say what is wrong with it, with line and hint
    Check,
    /// Print it with every default written out
    Show,
}

fn severity(text: &str) -> Result<waxseal_model::Severity, String> {
    waxseal_model::Severity::from_name(text).ok_or("one of info, low, medium, high, critical".into())
}

fn attributes(text: &str) -> Result<waxseal_model::AttributeSet, String> {
    waxseal_model::AttributeSet::group(text).ok_or("one of content, security, standard, all".into())
}

fn algorithm(text: &str) -> Result<waxseal_model::Algorithm, String> {
    waxseal_model::Algorithm::from_name(text).ok_or("one of sha256, sha512, blake3".into())
}
