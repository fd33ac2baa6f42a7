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
    let now = waxseal_os::limits::now();
    let (id, set) = open.as_ref().map_or((ChangeId(0), waxseal_model::SetId(0)), |open| (open.id, open.set));
    let change = Change {
        id,
        set,
        first: open.as_ref().map_or(now, |open| open.first),
        last: now,
        count: open.as_ref().map_or(1, |open| open.count),
        watch: found.watch,
        path: found.path,
        kind: found.kind,
        fields: found.fields,
        severity: found.severity,
        source: found.source,
        before: found.before,
        after: found.after,
        from: found.from,
    };
    let mut out = out();
    if context.json {
        let mut object = json::change(&change);
        if open.is_none() {
            ["id", "set", "first"].into_iter().for_each(|key| drop(object.remove(key)));
        }
        json_line(&mut out, &object)?;
    } else {
        write_change(&mut out, &change)?;
    }
    Ok(Exit::Differs)
}
