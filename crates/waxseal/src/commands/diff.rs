//! `diff`: how a path differs from its baseline, attribute by attribute.

use crate::Exit;
use crate::args::DiffArgs;
use crate::context::{Context, scan_options};
use crate::output::report::write_change;
use crate::output::{json_line, out, say};
use anyhow::bail;
use waxseal_engine::single::{self, Now};
use waxseal_model::{Change, ChangeId, RawPath, json};
use waxseal_store::Store;

/// Compares one path now, without recording anything; with an id, the path of that change.
pub fn run(args: &DiffArgs, context: &Context) -> anyhow::Result<Exit> {
    let store = context.store()?;
    let path = match args.target.to_str().and_then(|text| text.parse::<ChangeId>().ok()) {
        Some(id) => match store.change(id)? {
            Some(change) => change.path,
            None => bail!("there is no change {id}: see `waxseal changes`"),
        },
        None => waxseal_os::paths::absolute(&args.target)?,
    };
    let coverage = context.coverage(context.config()?);
    let baseline = store.current_baseline()?;
    let options = scan_options(coverage.config());
    match single::look(&store, &baseline, &coverage, &path, &options.hashing)? {
        Now::Same => {
            say(context, &format!("{path} is as it was sealed"));
            Ok(Exit::Same)
        }
        Now::Differs(found) => show(&store, *found, &path, context),
        Now::NotSealed => {
            bail!("{path} is not in the baseline, and does not exist: see `waxseal baseline show`")
        }
        Now::NotCovered => bail!("{path} is not covered by any watch: see `waxseal config show`"),
        Now::Unknown(problem) => bail!("{path}: {problem}"),
    }
}

fn show(
    store: &Store,
    found: waxseal_store::Found,
    path: &RawPath,
    context: &Context,
) -> anyhow::Result<Exit> {
    let open = store.open_change_of(path)?;
    let now = waxseal_os::clock::now();
    let mut change = found.unrecorded(now);
    if let Some(open) = open {
        change = Change {
            id: open.id,
            set: open.set,
            first: open.first,
            count: open.count,
            actors: open.actors,
            ..change
        };
    }
    let mut out = out();
    if context.json {
        json_line(&mut out, &json::change(&change))?;
    } else {
        write_change(&mut out, &change)?;
    }
    Ok(Exit::Differs)
}
