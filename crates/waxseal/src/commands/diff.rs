//! `diff`: how a path differs from its baseline: attribute by attribute, and line by line.

use crate::Exit;
use crate::args::DiffArgs;
use crate::content::{self, Side};
use crate::context::{Context, scan_options};
use crate::output::difference::{self, Compared};
use crate::output::report::write_change;
use crate::output::{json_line, out, say};
use anyhow::bail;
use waxseal_engine::coverage::Coverage;
use waxseal_engine::single::{self, Now};
use waxseal_model::{Change, ChangeId, FileType, RawPath, json};
use waxseal_policy::secret;
use waxseal_store::Store;

/// Compares one path now, without recording anything; with an id, shows that change as it was last recorded.
pub fn run(args: &DiffArgs, context: &Context) -> anyhow::Result<Exit> {
    let store = context.store()?;
    let coverage = context.coverage(context.config()?);
    let given = args.target.to_str().and_then(|text| text.parse::<ChangeId>().ok());
    let change = match given {
        Some(id) => match store.change(id)? {
            Some(change) => change,
            None => bail!("there is no change {id}: see `waxseal changes`"),
        },
        None => {
            let path = waxseal_os::paths::absolute(&args.target)?;
            match now(&store, &coverage, &path)? {
                Some(change) => change,
                None => {
                    say(context, &format!("{path} is as it was sealed"));
                    return Ok(Exit::Same);
                }
            }
        }
    };
    let compared = compare(&store, &coverage, &change)?;
    let mut out = out();
    if context.json {
        json_line(&mut out, &json::change(&change))?;
        if let Some(compared) = compared {
            json_line(&mut out, &difference::object(&change.path, &compared))?;
        }
    } else {
        write_change(&mut out, &change)?;
        if let Some(compared) = compared {
            difference::write(&mut out, &compared)?;
        }
    }
    Ok(Exit::Differs)
}

/// How a path differs now; the open change about it lends its name.
fn now(store: &Store, coverage: &Coverage, path: &RawPath) -> anyhow::Result<Option<Change>> {
    let baseline = store.current_baseline()?;
    let options = scan_options(coverage.config());
    let found = match single::look(store, &baseline, coverage, path, &options.hashing)? {
        Now::Same => return Ok(None),
        Now::Differs(found) => found,
        Now::NotSealed => {
            bail!("{path} is not in the baseline, and does not exist: see `waxseal baseline show`")
        }
        Now::NotCovered => bail!("{path} is not covered by any watch: see `waxseal config show`"),
        Now::Unknown(problem) => bail!("{path}: {problem}"),
    };
    let change = found.unrecorded(waxseal_os::clock::now());
    Ok(Some(match store.open_change_of(path)? {
        Some(open) => Change {
            id: open.id,
            set: open.set,
            first: open.first,
            count: open.count,
            actors: open.actors,
            ..change
        },
        None => change,
    }))
}

/// How the contents differ, where the change is about contents.
fn compare(store: &Store, coverage: &Coverage, change: &Change) -> anyhow::Result<Option<Compared>> {
    let state = |side: &Option<waxseal_model::change::Seen>| {
        side.as_ref().map(|seen| seen.state.clone()).filter(|state| state.file_type == FileType::File)
    };
    let (before, after) = (state(&change.before), state(&change.after));
    let hash =
        |state: &Option<waxseal_model::FileState>| state.as_ref().and_then(|state| state.digests.sha256);
    if hash(&before) == hash(&after) {
        return Ok(None);
    }
    if secret::is_secret(&change.path) || change.from.as_ref().is_some_and(secret::is_secret) {
        return Ok(Some(Compared::Secret));
    }
    let mut sides = Vec::new();
    for (word, state) in [("approved", before), ("new", after)] {
        let Some(state) = state else {
            sides.push(Vec::new());
            continue;
        };
        match content::of(store, coverage, &change.path, &state)? {
            Side::Known(content) => sides.push(content),
            Side::Unknown(why) => return Ok(Some(Compared::Unknown(format!("the {word} one {why}")))),
        }
    }
    if sides.iter().any(|content| secret::holds_secret(content)) {
        return Ok(Some(Compared::Secret));
    }
    let (before, after) = (sides.first(), sides.get(1));
    let bytes = |side: Option<&Vec<u8>>| side.cloned().unwrap_or_default();
    Ok(Some(Compared::Known(waxseal_diff::difference(&bytes(before), &bytes(after)))))
}
