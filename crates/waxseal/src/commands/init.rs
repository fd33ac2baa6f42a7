//! `init`: config, keys, first sealed baseline.

use crate::Exit;
use crate::agent::{self, AgentKey};
use crate::args::InitArgs;
use crate::commands::status::in_use;
use crate::context::{Context, absolute_all, scan_options, show};
use crate::output::progress::with_bar;
use crate::output::{describe, json_line, out, say, warn};
use crate::publish;
use anyhow::{Context as _, anyhow, bail};
use std::io::{BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use waxseal_engine::coverage::Coverage;
use waxseal_engine::seal::{Sealed, Sealer, origin, seal_first};
use waxseal_ledger::{KdfParams, KeyFile, Signer, SigningKey};
use waxseal_model::digest::hex;
use waxseal_model::{RawPath, json};
use waxseal_observe::Progress;
use waxseal_os::{accounts, limits, paths};
use waxseal_policy::{Config, SystemFacts};
use waxseal_store::state_dir::{read_text, write_new};
use waxseal_store::{Lock, StateDir, StoreError};
use zeroize::Zeroizing;

/// Writes what is missing and seals.
pub fn run(args: &InitArgs, context: &Context) -> anyhow::Result<Exit> {
    let given = absolute_all(&args.paths)?;
    let sealed = seal(&given, args.key.as_deref(), true, context)?;
    if context.json {
        let mut object = json::object("sealed");
        object.insert("generation".into(), 1.into());
        object.insert("baseline".into(), hex(&sealed.baseline.root).into());
        object.insert("entries".into(), sealed.baseline.entries.into());
        object.insert("files".into(), sealed.baseline.files.into());
        object.insert("bytes_hashed".into(), sealed.baseline.bytes.into());
        object.insert("errors".into(), sealed.troubles.len().into());
        object.insert("verifier_key".into(), read_text(&context.state_dir()?.verifier_key())?.trim().into());
        let mut out = out();
        for trouble in &sealed.troubles {
            json_line(
                &mut out,
                &json::error(trouble.path.as_ref().map(RawPath::as_bytes), &trouble.message),
            )?;
        }
        json_line(&mut out, &object)?;
    }
    Ok(Exit::Same)
}

/// Makes the config (unless there is one), the keys and the first baseline, and says what it did. With `ask`, a
/// passphrase is asked for on a terminal.
pub fn seal(given: &[RawPath], key: Option<&Path>, ask: bool, context: &Context) -> anyhow::Result<Sealed> {
    let state = context.state_path.clone();
    if let Ok(dir) = StateDir::open(&state, limits::effective_uid())
        && dir.has_database()
    {
        return Err(StoreError::Exists(state).into());
    }
    let config = config_for(given, context)?;
    let dir = StateDir::create(&state, limits::effective_uid())?;
    let _lock = Lock::take(&dir, &format!("init, pid {}", std::process::id())).map_err(in_use)?;
    let coverage = context.coverage(config);
    warn_about(&coverage);
    let key_path = key.map_or_else(|| dir.sealing_key(), PathBuf::from);
    let key = signing_key(&key_path, ask)?;
    // The keys first: a baseline whose key was lost could not be trusted; a key without a baseline is used next time.
    if let Some(text) = &key.text {
        write_new(&key_path, text.as_bytes(), 0o600)?;
    }
    let log = origin(&paths::host_name());
    let sealer = Sealer { key: &*key.signing, log, who: who(), note: "first baseline".into() };
    let options = scan_options(coverage.config());
    let progress = Arc::new(Progress::default());
    let sealed = with_bar(context, "sealing", Some(&coverage), &progress, || {
        seal_first(&dir, &coverage, &sealer, &options, &progress)
    })?;
    tell(&sealed, &coverage, &key, &key_path, context);
    publish::once(&sealed.store, &coverage.config().ledger);
    Ok(sealed)
}

/// The config that exists, or a new one.
fn config_for(given: &[RawPath], context: &Context) -> anyhow::Result<Config> {
    if paths::exists(&context.config_path) {
        let config = context.config()?;
        let coverage = context.coverage(config);
        for path in given {
            if coverage.owner(path).is_none() {
                bail!(
                    "{} exists and is used, and no watch in it covers {path}: add the path there, or give another --config",
                    context.config_name()
                );
            }
        }
        say(context, &format!("using {}", context.config_name()));
        return context.config();
    }
    for path in given {
        if waxseal_os::files::Dir::parent_of(path).and_then(|(dir, name)| dir.stat(&name)).is_err() {
            warn(&format!("{path} does not exist (yet): checks are incomplete until it does"));
        }
    }
    let existing = waxseal_policy::candidates();
    let existing = existing.into_iter().filter(|path| paths::is_real_directory(Path::new(path)));
    let facts = SystemFacts {
        distribution: paths::distribution(),
        existing: existing.map(|path| path.to_string()).collect(),
        own: own_files(context),
        given_paths: given.to_vec(),
    };
    let text = waxseal_policy::template(&facts).map_err(|error| anyhow!("{error}"))?;
    let config = waxseal_policy::parse(&text, &context.config_name())?;
    if let Some(parent) = context.config_path.parent() {
        waxseal_store::state_dir::make_directories(parent)?;
    }
    write_new(&context.config_path, text.as_bytes(), 0o600)?;
    say(context, &format!("wrote {}", context.config_name()));
    Ok(config)
}

/// This program, its config, and the units that start it: what there is of them.
fn own_files(context: &Context) -> Vec<RawPath> {
    let program = waxseal_os::process::own_program();
    let config = paths::absolute(&context.config_path).ok();
    let units = ["/etc/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"];
    let units = units.map(|dir| Path::new(dir).join("waxseal.service"));
    let units = units.iter().filter(|path| paths::exists(path)).filter_map(|path| paths::real(path));
    let mut own: Vec<RawPath> = program.into_iter().chain(config).chain(units).collect();
    own.sort_unstable();
    own.dedup();
    own
}

fn warn_about(coverage: &Coverage) {
    for unmatched in coverage.unmatched() {
        warn(&format!("watch \"{}\", {}: {}", unmatched.watch, unmatched.path, unmatched.why));
    }
    for root in coverage.roots() {
        if let Some(target) = paths::link_target(&root.path)
            && let Some(real) = paths::real(&paths::to_path(&root.path))
            && coverage.owner(&real).is_none()
        {
            let target = show(&target);
            warn(&format!(
                "{} is a link to {target}, which no watch covers: it is sealed as a link",
                root.path
            ));
        }
    }
    for own in coverage.own() {
        if coverage.owner(own).is_some() {
            warn(&format!("{own} is Waxseal's own state: it is left out of what is watched"));
        }
    }
    for section in &coverage.config().unused {
        warn(&format!("[{section}] is understood, but this version does nothing with it yet"));
    }
}

/// A key that is ready to sign, and the text of its file when that is still to be written.
pub struct Key {
    /// Signs.
    pub signing: Box<dyn Signer>,
    text: Option<Zeroizing<String>>,
    protected: bool,
}

impl Key {
    /// A key of an agent: there is no file of it.
    fn of_agent(key: AgentKey) -> Key {
        Key { signing: Box::new(key), text: None, protected: true }
    }
}

/// The key that sealed the baseline, from where `typed` says: a file, or an agent.
pub fn known_key(typed: Option<&Path>, dir: &StateDir, context: &Context) -> anyhow::Result<Key> {
    let path = typed.map_or_else(|| dir.sealing_key(), Path::to_path_buf);
    let keys = context.seal_keys(dir)?;
    let sealing = keys.first();
    let key = match (agent::wanted(&path), sealing) {
        (Some(wanted), Some(sealing)) => {
            Key::of_agent(AgentKey::find(wanted, sealing.name(), Some(sealing))?)
        }
        (Some(_), None) => bail!("it is not known which key sealed the baseline"),
        (None, _) if !paths::exists(&path) => {
            bail!("the sealing key is not at {}: give its place with --key", show(&path))
        }
        (None, _) => signing_key(&path, true)?,
    };
    if sealing != Some(key.signing.verifier_key()) {
        bail!("{} is not the key that sealed the baseline", show(&path));
    }
    Ok(key)
}

/// The key at `path`, or a new one.
fn signing_key(path: &Path, ask: bool) -> anyhow::Result<Key> {
    if let Some(wanted) = agent::wanted(path) {
        let key = AgentKey::find(wanted, &origin(&paths::host_name()), None)?;
        return Ok(Key::of_agent(key));
    }
    let terminal = ask && std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
    if paths::exists(path) {
        let text = Zeroizing::new(read_text(path)?);
        let file = KeyFile::parse(&text).map_err(|error| anyhow!("{}: {error}", show(path)))?;
        let protected = file.is_protected();
        let passphrase = match (protected, terminal) {
            (true, true) => Some(ask_passphrase("passphrase of the sealing key: ")?),
            (true, false) => bail!("{} has a passphrase, and there is no terminal to ask for it", show(path)),
            (false, _) => None,
        };
        let signing = file.unlock(passphrase.as_ref().map(|p| p.as_bytes()));
        return Ok(Key {
            signing: Box::new(signing.map_err(|error| anyhow!("{}: {error}", show(path)))?),
            text: None,
            protected,
        });
    }
    let signing = SigningKey::generate(origin(&paths::host_name())).map_err(|error| anyhow!("{error}"))?;
    let passphrase = if terminal { new_passphrase()? } else { None };
    let text = match &passphrase {
        Some(passphrase) => {
            let protected = signing.to_protected_text(passphrase.as_bytes(), KdfParams::default());
            Zeroizing::new(protected.map_err(|error| anyhow!("{error}"))?)
        }
        None => signing.to_plain_text(),
    };
    Ok(Key { signing: Box::new(signing), text: Some(text), protected: passphrase.is_some() })
}

/// Asks twice; an empty answer means none.
fn new_passphrase() -> anyhow::Result<Option<Zeroizing<String>>> {
    loop {
        let first = ask_passphrase("a passphrase for the sealing key (empty for none): ")?;
        if first.is_empty() {
            return Ok(None);
        }
        if *ask_passphrase("once more: ")? == *first {
            return Ok(Some(first));
        }
        warn("the two differ: try again");
    }
}

/// Reads a line from the terminal without showing it.
fn ask_passphrase(prompt: &str) -> anyhow::Result<Zeroizing<String>> {
    let mut stderr = std::io::stderr();
    write!(stderr, "{prompt}")?;
    stderr.flush()?;
    let hidden = waxseal_os::terminal::hide_input();
    let mut line = Zeroizing::new(String::new());
    let read = std::io::stdin().lock().read_line(&mut line);
    drop(hidden);
    writeln!(stderr)?;
    if read.context("the passphrase could not be read")? == 0 {
        bail!("no passphrase was given");
    }
    let text = line.trim_end_matches(['\n', '\r']).to_string();
    Ok(Zeroizing::new(text))
}

/// Who acts, for the record.
pub fn who() -> String {
    accounts::me()
}

fn tell(sealed: &Sealed, coverage: &Coverage, key: &Key, key_path: &Path, context: &Context) {
    let baseline = &sealed.baseline;
    let files = describe::counted(baseline.files, "file", "files");
    let entries = describe::counted(baseline.entries, "entry", "entries");
    let watches = describe::counted(coverage.config().watches.len() as u64, "watch", "watches");
    say(context, &format!("sealed {entries} ({files}, {}) of {watches}", describe::bytes(baseline.bytes)));
    say(context, &format!("root hash    {}", hex(&baseline.root)));
    if let Some(kept) = describe::kept(&sealed.kept) {
        say(context, &format!("kept         {kept}"));
    }
    let line = read_text(&sealed.store.dir().verifier_key()).unwrap_or_default();
    say(context, &format!("verifier key {}", line.trim()));
    say(
        context,
        "             keep a copy of this line elsewhere: with it, anyone can verify what was recorded here",
    );
    say(context, &format!("sealing key  {}", key.signing.verifier_key()));
    say(context, &format!("take away    {}", show(&sealed.store.dir().verification())));
    say(
        context,
        "             keep a copy of this file elsewhere too: `waxseal verify --public-key` proves by it that nothing was rewritten",
    );
    if !key.protected {
        warn(&format!(
            "the sealing key lies unprotected on this machine ({}): move it away, or seal with --key on another disk",
            show(key_path)
        ));
    }
    for trouble in &sealed.troubles {
        let place = trouble.path.as_ref().map(|path| format!("{path}: ")).unwrap_or_default();
        warn(&format!("{place}{}", trouble.message));
    }
    if !sealed.troubles.is_empty() {
        let places = describe::counted(sealed.troubles.len() as u64, "place", "places");
        warn(&format!("{places} could not be looked at: checks are incomplete until they can"));
    }
}
