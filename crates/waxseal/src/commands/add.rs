//! Adding a path to the config and to the baseline, when `watch` is given one that no watch covers.

use crate::commands::init::{known_key, who};
use crate::context::{Context, scan_options};
use crate::output::progress::with_bar;
use crate::output::{describe, say, warn};
use anyhow::{Context as _, bail};
use std::io::{BufRead, IsTerminal, Write};
use std::path::Path;
use std::sync::Arc;
use waxseal_engine::seal::{Sealer, origin, seal_more};
use waxseal_model::RawPath;
use waxseal_observe::Progress;
use waxseal_store::Store;
use waxseal_store::state_dir::{read_text, replace};

/// Adds a watch of its own for each path and seals it beside what is sealed, when `yes` or the person at the
/// terminal says so.
pub fn add(
    paths: &[RawPath],
    key: Option<&Path>,
    yes: bool,
    store: &Store,
    context: &Context,
) -> anyhow::Result<()> {
    let names = paths.iter().map(RawPath::to_string).collect::<Vec<_>>().join(" ");
    let text = with_watches(paths, &context.config_name(), read_text(&context.config_path)?)?;
    let config = waxseal_policy::parse(&text, &context.config_name())
        .with_context(|| format!("{names} cannot be added to {}", context.config_name()))?;
    if !yes && !asked(&names, context)? {
        bail!("no watch covers {names}: add and seal it with `waxseal watch --yes {names}`");
    }
    let coverage = context.coverage(config);
    let key = known_key(key, store.dir(), context)?;
    let baseline = store.current_baseline()?;
    let log = origin(&waxseal_os::paths::host_name());
    let sealer = Sealer { key: &*key.signing, log, who: who(), note: format!("added {names}") };
    let progress = Arc::new(Progress::default());
    let options = scan_options(coverage.config());
    let (next, troubles) = with_bar(context, "sealing", None, &progress, || {
        seal_more(store, &baseline, &coverage, paths.to_vec(), &sealer, &options, &progress)
    })?;
    replace(&context.config_path, text.as_bytes(), 0o600)?;
    let added = describe::counted(next.entries - baseline.stored.entries, "entry", "entries");
    say(context, &format!("sealed {added} more as generation {}: {names}", baseline.generation + 1));
    for trouble in &troubles {
        let place = trouble.path.as_ref().map(|path| format!("{path}: ")).unwrap_or_default();
        warn(&format!("{place}{}", trouble.message));
    }
    Ok(())
}

/// The config's text with a watch for each path at its end; everything else stays as it was written.
fn with_watches(paths: &[RawPath], origin: &str, mut text: String) -> anyhow::Result<String> {
    for path in paths {
        let Some(literal) = waxseal_policy::escape_literal(path) else {
            bail!(
                "{path} is not UTF-8, and {origin} can only hold UTF-8 paths: watch the directory above it"
            );
        };
        let quoted = serde_json::Value::from(literal).to_string();
        text.push_str(&format!("\n[[watch]]\npaths = [{quoted}]\n"));
    }
    Ok(text)
}

/// Asks the person at the terminal, if there is one.
fn asked(names: &str, context: &Context) -> anyhow::Result<bool> {
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return Ok(false);
    }
    let mut stderr = std::io::stderr();
    write!(stderr, "no watch covers {names}: add it to {} and seal it now? [y/N] ", context.config_name())?;
    stderr.flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
