//! As-typed options become as-meant ones, in one place.

use crate::args::Global;
use crate::output::warn;
use anyhow::{Context as _, anyhow};
use std::path::{Path, PathBuf};
use waxseal_engine::coverage::Coverage;
use waxseal_ledger::VerifierKey;
use waxseal_model::{Algorithm, RawPath};
use waxseal_observe::{Algorithms, Options};
use waxseal_os::{limits, paths};
use waxseal_policy::{Config, Threads};
use waxseal_store::state_dir::read_text;
use waxseal_store::{StateDir, Store};

/// What every command needs to know.
#[derive(Debug)]
pub struct Context {
    /// Where the config is, or would be.
    pub config_path: PathBuf,
    /// Where the state is, or would be.
    pub state_path: PathBuf,
    /// Machine output.
    pub json: bool,
    /// Say only what matters.
    pub quiet: bool,
    /// Say more.
    pub verbose: u8,
}

impl Context {
    /// Fills in the defaults.
    pub fn new(global: &Global) -> anyhow::Result<Context> {
        let config = match &global.config {
            Some(path) => path.clone(),
            None => default_dir("/etc/waxseal", "XDG_CONFIG_HOME", ".config")?.join("waxseal.toml"),
        };
        let state = match &global.state_dir {
            Some(path) => path.clone(),
            None => default_dir("/var/lib/waxseal", "XDG_STATE_HOME", ".local/state")?,
        };
        let absolute = |path: PathBuf| -> anyhow::Result<PathBuf> { Ok(std::path::absolute(path)?) };
        Ok(Context {
            config_path: absolute(config)?,
            state_path: absolute(state)?,
            json: global.json,
            quiet: global.quiet,
            verbose: global.verbose,
        })
    }

    /// Reads and checks the config.
    pub fn config(&self) -> anyhow::Result<Config> {
        self.parse(&self.config_text()?)
    }

    /// Reads the config.
    pub fn config_text(&self) -> anyhow::Result<String> {
        read_text(&self.config_path).with_context(|| {
            format!("cannot read the config; `waxseal init` writes one. {}", self.config_name())
        })
    }

    /// Checks the config's text.
    pub fn parse(&self, text: &str) -> anyhow::Result<Config> {
        if paths::others_may_write(&self.config_path) {
            let hint = "whoever may write it decides what is watched: `chmod go-w` it";
            warn(&format!("{} may be written to by others: {hint}", self.config_name()));
        }
        let config = waxseal_policy::parse(text, &self.config_name())?;
        crate::publish::check_keys(&config.ledger).with_context(|| self.config_name())?;
        Ok(config)
    }

    /// The config's path for people.
    pub fn config_name(&self) -> String {
        show(&self.config_path)
    }

    /// The state directory, which must exist and be safe.
    pub fn state_dir(&self) -> anyhow::Result<StateDir> {
        Ok(StateDir::open(&self.state_path, limits::effective_uid())?)
    }

    /// The state directory for whoever looks at everything: says when others may look into it.
    pub fn guarded_state_dir(&self) -> anyhow::Result<StateDir> {
        let dir = self.state_dir()?;
        if dir.others_may_read() {
            let why = "may be read by others: it holds keys, and the names and hashes of all that is watched";
            warn(&format!("the state directory {} {why}; `chmod 0700` it", show(dir.path())));
        }
        Ok(dir)
    }

    /// The open database, for reading: of a state that cannot be written to as well.
    pub fn store(&self) -> anyhow::Result<Store> {
        Ok(Store::open_to_read(&self.state_dir()?)?)
    }

    /// The config applied to this disk, from now on with its deadline.
    pub fn coverage(&self, config: Config) -> Coverage {
        waxseal_os::remote::set_deadline(config.scan.deadline);
        Coverage::new(config, self.own_directories())
    }

    /// The state directory, which is never watched as content.
    pub fn own_directories(&self) -> Vec<RawPath> {
        paths::real(&self.state_path).into_iter().collect()
    }

    /// The keys by which seals are verified: the one that seals, and the host's. States from before there was a log have
    /// one.
    pub fn seal_keys(&self, dir: &StateDir) -> anyhow::Result<Vec<VerifierKey>> {
        let sealing = Some(dir.sealing_verifier_key()).filter(|path| paths::exists(path));
        sealing.into_iter().chain([dir.verifier_key()]).map(|path| read_verifier_key(&path)).collect()
    }
}

/// The verifier key line in a file.
pub fn read_verifier_key(path: &Path) -> anyhow::Result<VerifierKey> {
    let text = read_text(path)?;
    let line = text.lines().next().unwrap_or_default();
    VerifierKey::parse(line).map_err(|error| anyhow!("{}: {error}", show(path)))
}

/// How the config wants things scanned.
pub fn scan_options(config: &Config) -> Options {
    let wants = |algorithm| config.scan.hashes.contains(&algorithm);
    let algorithms = Algorithms { blake3: wants(Algorithm::Blake3), sha512: wants(Algorithm::Sha512) };
    let max_sparse = config.scan.max_sparse;
    let hashing = waxseal_observe::probe::Hashing { algorithms, max_sparse, from_disk: false };
    let threads = match config.scan.threads {
        Threads::Auto => None,
        Threads::Fixed(threads) => Some(usize::from(threads)),
    };
    Options { hashing, threads, bottom_up: false }
}

/// Typed paths as absolute ones.
pub fn absolute_all(typed: &[PathBuf]) -> anyhow::Result<Vec<RawPath>> {
    typed.iter().map(|path| paths::absolute(path).with_context(|| show(path))).collect()
}

/// A path for people.
pub fn show(path: &Path) -> String {
    paths::from_path(path).for_people()
}

fn default_dir(root: &str, variable: &str, below_home: &str) -> anyhow::Result<PathBuf> {
    if limits::is_root() {
        return Ok(PathBuf::from(root));
    }
    let xdg = std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = match xdg {
        Some(path) => path,
        None => std::env::home_dir()
            .filter(|home| home.is_absolute())
            .ok_or_else(|| anyhow!("no home directory is known: give --config and --state-dir"))?
            .join(below_home),
    };
    Ok(base.join("waxseal"))
}
