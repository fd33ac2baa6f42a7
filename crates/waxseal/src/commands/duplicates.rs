//! `duplicates`: files of equal content in the baseline.

use crate::Exit;
use crate::args::DuplicatesArgs;
use crate::context::{Context, absolute_all};
use crate::output::{describe, json_line, out};
use std::collections::HashMap;
use std::io::Write;
use waxseal_engine::tree::Tree;
use waxseal_model::digest::hex;
use waxseal_model::json::{self, Object};
use waxseal_model::{Digest, FileState, RawPath};

/// Files of one content.
#[derive(Debug, Default)]
struct Group {
    size: u64,
    /// Device, inode and path: several names of one inode share their bytes already.
    files: Vec<(u64, RawPath)>,
}

/// Lists groups of equal files, those first that waste most. Empty files are left out, and so are the names of one
/// inode, which share their bytes.
pub fn run(args: &DuplicatesArgs, context: &Context) -> anyhow::Result<Exit> {
    let store = context.store()?;
    let baseline = store.current_baseline()?;
    let tree = Tree::open(&store, &baseline.stored.root)?;
    let paths = absolute_all(&args.paths)?;
    let wanted = |path: &RawPath| paths.is_empty() || paths.iter().any(|outer| path.below(outer).is_some());
    let content = |state: &FileState| state.digests.sha256.filter(|_| state.size > 0);
    // Twice over the baseline: what is unique is most of it, and is counted in 20 bytes instead of being kept.
    let mut counts: HashMap<[u8; 16], u32> = HashMap::new();
    tree.each(&mut |path, state| {
        if let Some(digest) = content(state).filter(|_| wanted(path)) {
            *counts.entry(short(&digest)).or_default() += 1;
        }
    })?;
    counts.retain(|_, n| *n > 1);
    let mut groups: HashMap<Digest, Group> = HashMap::new();
    tree.each(&mut |path, state| {
        let Some(digest) = content(state).filter(|_| wanted(path)) else { return };
        if counts.contains_key(&short(&digest)) {
            let group = groups.entry(digest).or_default();
            group.size = state.size;
            group.files.push((state.inode, path.clone()));
        }
    })?;
    let mut groups: Vec<(Digest, Group)> = groups.into_iter().filter(|(_, g)| g.copies() > 1).collect();
    groups.sort_by(|(a, x), (b, y)| y.wasted().cmp(&x.wasted()).then(a.cmp(b)));
    write(&groups, context)?;
    Ok(Exit::Same)
}

fn short(digest: &Digest) -> [u8; 16] {
    let mut short = [0; 16];
    short.copy_from_slice(digest.split_at(16).0);
    short
}

impl Group {
    /// How many inodes hold the content.
    fn copies(&self) -> u64 {
        let mut inodes: Vec<u64> = self.files.iter().map(|(inode, _)| *inode).collect();
        inodes.sort_unstable();
        inodes.dedup();
        inodes.len() as u64
    }

    fn wasted(&self) -> u64 {
        self.size.saturating_mul(self.copies().saturating_sub(1))
    }
}

fn write(groups: &[(Digest, Group)], context: &Context) -> std::io::Result<()> {
    let mut out = out();
    for (digest, group) in groups {
        if context.json {
            let mut object = json::object("duplicates");
            object.insert("sha256".into(), hex(digest).into());
            object.insert("size".into(), group.size.into());
            let files = group.files.iter().map(|(_, path)| {
                let mut file = Object::new();
                json::put_path(&mut file, "path", path.as_bytes());
                serde_json::Value::from(file)
            });
            object.insert("files".into(), files.collect::<Vec<_>>().into());
            json_line(&mut out, &object)?;
            continue;
        }
        writeln!(out, "{} each, sha256 {}", describe::bytes(group.size), hex(digest))?;
        for (_, path) in &group.files {
            writeln!(out, "  {path}")?;
        }
    }
    if !context.json && !context.quiet {
        let wasted = groups.iter().map(|(_, group)| group.wasted()).sum();
        let sets = describe::counted(groups.len() as u64, "set", "sets");
        writeln!(out, "{sets} of equal files, {} in surplus copies", describe::bytes(wasted))?;
    }
    out.flush()
}
