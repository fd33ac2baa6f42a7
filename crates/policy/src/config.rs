//! The config as meant: every default filled in, every name checked, every glob compiled.

use crate::paths::WatchPath;
use crate::select::Patterns;
use crate::settings::{Channel, Settings};
use std::time::Duration;
use waxseal_model::{Algorithm, AttributeSet, RawPath, Severity};

/// A whole config. What only later versions act on is checked all the same and kept as [`Settings`].
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The watches, in the order of the text; at least one. Other parts name them by index.
    pub watches: Vec<Watch>,
    /// How the periodic scans run.
    pub scan: Scan,
    /// How it is known who makes changes.
    pub actors: Actors,
    /// What is kept of file contents.
    pub evidence: Evidence,
    /// What is kept of the log, how often it says that the monitor is alive, and where its checkpoints go.
    pub ledger: Ledger,
    /// `[alerts]`
    pub alerts: Settings,
    /// `[[channel]]`, in the order of the text; names are unique.
    pub channels: Vec<Channel>,
    /// `[[route]]`, in the order of the text; every channel and watch it names exists.
    pub routes: Vec<Route>,
    /// `[log]`
    pub log: Settings,
    /// `[explain]`
    pub explain: Settings,
    /// `[reputation]`
    pub reputation: Settings,
    /// `[dashboard]`
    pub dashboard: Settings,
    /// `[fleet]`
    pub fleet: Settings,
    /// The sections that the text has and that this version checks but does not act on, so that it can be said.
    pub unused: Vec<String>,
}

/// A named set of rules: which paths, what is excluded, which attributes count, how severe a change is.
#[derive(Debug, Clone, PartialEq)]
pub struct Watch {
    /// Unique; one line without control characters. By default the first path.
    pub name: String,
    /// At least one.
    pub paths: Vec<WatchPath>,
    /// What is left out, relative to each path.
    pub exclude: Patterns,
    /// Where not empty, the only files that count, relative to each path.
    pub include: Patterns,
    /// The attributes that count; not empty.
    pub attributes: AttributeSet,
    /// How severe a change is.
    pub severity: Severity,
    /// Which changes are expected by nature.
    pub change: ChangeRule,
    /// Which approved contents are kept.
    pub keep: Keep,
    /// Who puts the approved version back.
    pub restore: Restore,
    /// How deep it reaches: 0 the path itself, 1 its direct children, …; none is no limit.
    pub recursion: Option<u32>,
    /// Whether it goes on into filesystems mounted below its paths.
    pub cross_filesystems: bool,
    /// Whether its paths may be absent without making a check incomplete.
    pub optional: bool,
    /// Who may write: where there are such rules, whom none of them allows makes a change more severe.
    pub actors: Vec<ActorRule>,
}

/// How it is known who makes changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Actors {
    /// Whether the audit system may be given rules of our own, and switched on: only then, and only where it has to stand in
    /// for a better source.
    pub audit_rules: bool,
}

/// Programs that may write what a watch covers.
#[derive(Debug, Clone, PartialEq)]
pub struct ActorRule {
    /// The executables, at least one. Whoever runs one of them may write, and whoever was begun by such a process.
    pub programs: Vec<WatchPath>,
    /// How severe a change is at least that somebody else made.
    pub otherwise: Severity,
}

impl ActorRule {
    /// Whether this executable is one of them.
    pub fn means(&self, exe: &RawPath) -> bool {
        self.programs.iter().any(|program| program.matches(exe))
    }
}

/// Which changes a watch takes as the nature of its files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeRule {
    /// None: every change is reported.
    Any,
    /// Files may grow; what was there must stay as it is.
    AppendOnly,
    /// New files are tracked at severity info; old ones may not change.
    AdditionsAllowed,
}

impl ChangeRule {
    /// All of them.
    pub const ALL: [ChangeRule; 3] = [ChangeRule::Any, ChangeRule::AppendOnly, ChangeRule::AdditionsAllowed];

    /// The name in the config.
    pub const fn name(self) -> &'static str {
        match self {
            ChangeRule::Any => "any",
            ChangeRule::AppendOnly => "append-only",
            ChangeRule::AdditionsAllowed => "additions-allowed",
        }
    }
}

/// Which approved contents are kept, for differences and restore.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// Whether contents are kept at all.
    pub content: bool,
    /// The largest file whose content is kept, in bytes.
    pub max_file: u64,
}

impl Default for Keep {
    fn default() -> Keep {
        Keep { content: true, max_file: 1 << 20 }
    }
}

/// Who puts the approved version back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restore {
    /// A person, with `restore`.
    Manual,
    /// The monitor, at once.
    Auto,
}

impl Restore {
    /// Both.
    pub const ALL: [Restore; 2] = [Restore::Manual, Restore::Auto];

    /// The name in the config.
    pub const fn name(self) -> &'static str {
        match self {
            Restore::Manual => "manual",
            Restore::Auto => "auto",
        }
    }
}

/// `[scan]`: the periodic scans beside the live watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scan {
    /// From one quick scan to the next; at least a second.
    pub quick_every: Duration,
    /// From one full scan to the next; at least a second.
    pub full_every: Duration,
    /// How much of one processor a periodic scan may use, 1 to 100 percent.
    pub cpu_budget: u8,
    /// How many files are hashed at a time.
    pub threads: Threads,
    /// The content digests, in the order of [`Algorithm::ALL`]; SHA-256 is always among them.
    pub hashes: Vec<Algorithm>,
    /// A file with more bytes than this in holes is reported and not hashed.
    pub max_sparse: u64,
    /// How long a filesystem of a server or a program (FUSE) may take for one answer; at least a second.
    pub deadline: Duration,
}

impl Default for Scan {
    fn default() -> Scan {
        Scan {
            quick_every: Duration::from_secs(15 * 60),
            full_every: Duration::from_secs(24 * 3600),
            cpu_budget: 25,
            threads: Threads::Auto,
            hashes: vec![Algorithm::Sha256],
            max_sparse: 32 << 30,
            deadline: Duration::from_secs(30),
        }
    }
}

/// How many files are hashed at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Threads {
    /// As the machine suggests.
    Auto,
    /// This many, 1 to 64.
    Fixed(u8),
}

/// `[evidence]`: the store of approved and of tampered contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Evidence {
    /// How much it may hold in all, in bytes.
    pub budget: u64,
}

impl Default for Evidence {
    fn default() -> Evidence {
        Evidence { budget: 1 << 30 }
    }
}

/// `[ledger]`: the log of everything seen and decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ledger {
    /// From one heartbeat of the monitor to the next, at least a second; zero: none are recorded.
    pub heartbeat: Duration,
    /// How old details become before they are deleted; at least a week.
    pub detail_age: Duration,
    /// How large the database becomes before the oldest details are deleted, in bytes; at least 1 MiB.
    pub detail_size: u64,
    /// From one checkpoint that is sent to the same place to the next; at least a second.
    pub publish_every: Duration,
    /// `[[ledger.publish]]`, in the order of the text; names are unique, at most [`Ledger::MOST`].
    pub publish: Vec<Publish>,
}

impl Ledger {
    /// How many places there may be: each has a thread of its own.
    pub const MOST: usize = 16;
}

impl Default for Ledger {
    fn default() -> Ledger {
        Ledger {
            heartbeat: Duration::from_secs(15 * 60),
            detail_age: Duration::from_secs(1095 * 24 * 3600),
            detail_size: 4 << 30,
            publish_every: Duration::from_secs(60),
            publish: Vec::new(),
        }
    }
}

/// `[[ledger.publish]]`: a place for checkpoints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publish {
    /// Unique; one line without control characters. By default the path or the program.
    pub name: String,
    /// How long one attempt may take; at least a second.
    pub timeout: Duration,
    /// What it is.
    pub to: PublishTo,
}

/// What a place for checkpoints is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PublishTo {
    /// The directory at this absolute path: a file for each checkpoint.
    Directory(String),
    /// A program by its absolute path, with its arguments: the checkpoint is its standard input.
    Command(Vec<String>),
    /// A witness as C2SP tlog-witness has them.
    Witness {
        /// Its submission prefix, an address of http or https without a slash at its end.
        url: String,
        /// Its verifier key line. That it is one is not looked at here.
        key: String,
    },
}

impl PublishTo {
    /// The name in the config.
    pub const fn kind(&self) -> &'static str {
        match self {
            PublishTo::Directory(_) => "directory",
            PublishTo::Command(_) => "command",
            PublishTo::Witness { .. } => "witness",
        }
    }
}

/// `[[route]]`: which changes go to which channels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Names of channels; not empty.
    pub channels: Vec<String>,
    /// The mildest severity that is sent.
    pub min_severity: Severity,
    /// Names of watches; empty is all.
    pub watches: Vec<String>,
}
