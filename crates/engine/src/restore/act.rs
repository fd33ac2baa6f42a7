//! Doing it, in the order in which nothing stands in the way of anything: first what is to go, the deepest first; then what moved; then
//! directories and what is in them, and at the end what directories themselves say, which all that would move again.

use super::Restoration;
use super::steps::{Step, Todo};
use std::collections::BTreeMap;
use waxseal_model::{Digest, FileState, FileType, RawPath};
use waxseal_observe::put::{self, Dir, Draft};

/// How many files are written before they take their names together: the disk is waited for once.
const BATCH: usize = 128;

/// What became of a step.
type Done = (Step, Result<(), String>);

/// A file that is written, with the directory and the name that it is for.
type Drafted<'d> = Result<(Draft<'d>, &'d Dir, &'d [u8]), String>;

/// Does everything; what fails keeps nothing else from being done.
pub fn all(restoration: &Restoration<'_>, mut steps: Vec<Step>) -> Vec<Done> {
    let mut done = Vec::with_capacity(steps.len());
    steps.sort_by(|a, b| a.place().cmp(b.place()));
    let goes = |step: &Step| matches!(step.todo, Todo::Remove) || step.is_other_directory();
    // What stands in the place of something else.
    let mut cleared: BTreeMap<RawPath, Result<(), String>> = BTreeMap::new();
    for step in steps.iter().rev().filter(|step| goes(step)) {
        cleared.insert(step.change.path.clone(), clear(restoration, step));
    }
    let mut rest = Vec::new();
    for step in steps {
        match cleared.remove(&step.change.path) {
            Some(Err(why)) => done.push((step, Err(why))),
            Some(Ok(())) if matches!(step.todo, Todo::Remove) => done.push((step, Ok(()))),
            _ => rest.push(step),
        }
    }
    let (files, others): (Vec<Step>, Vec<Step>) =
        rest.into_iter().partition(|step| matches!(step.todo, Todo::Write(_)));
    let (last, others): (Vec<Step>, Vec<Step>) =
        others.into_iter().partition(|step| matches!(step.todo, Todo::Adjust | Todo::Link(_)));
    for step in others {
        let result = one(restoration, &step);
        done.push((step, result));
    }
    write_files(restoration, files, &mut done);
    for step in last {
        let result = one(restoration, &step);
        done.push((step, result));
    }
    directories(restoration, &mut done);
    sync(restoration, &mut done);
    done
}

impl Step {
    /// A directory stands where something else was sealed.
    fn is_other_directory(&self) -> bool {
        self.now == Some(FileType::Dir)
            && matches!(self.todo, Todo::Write(_) | Todo::Make | Todo::Link(_))
            && !self.is_move()
    }
}

/// The directory that holds a path, and its name there.
fn parent(restoration: &Restoration<'_>, path: &RawPath) -> Result<(Dir, Vec<u8>), String> {
    let anchor = restoration.coverage.anchor(path);
    Dir::parent_below(path, anchor.as_ref().unwrap_or(path))
        .map_err(|error| format!("the directory it was in cannot be used ({error}): restore that first"))
}

/// Nothing else may have come in between.
fn unmoved(dir: &Dir, name: &[u8], step: &Step) -> Result<(), String> {
    let there = match dir.stat(name) {
        Ok(state) => Some((state.file_type, state.inode)),
        Err(put::FileError::NotFound) => None,
        Err(error) => return Err(error.to_string()),
    };
    let expected = step.now.zip(step.inode);
    if there == expected { Ok(()) } else { Err("something else came to stand there just now".into()) }
}

fn text(error: put::FileError) -> String {
    match error {
        put::FileError::WrongType => "something else came to stand there just now".into(),
        other => other.to_string(),
    }
}

fn clear(restoration: &Restoration<'_>, step: &Step) -> Result<(), String> {
    let (dir, name) = parent(restoration, &step.change.path)?;
    let Some(file_type) = step.now else { return Ok(()) };
    unmoved(&dir, &name, step)?;
    put::loosen(&dir, &name, file_type).map_err(text)?;
    put::remove(&dir, &name, file_type == FileType::Dir).map_err(|error| match file_type {
        FileType::Dir => format!("{error}: restore what is in it as well"),
        _ => error.to_string(),
    })
}

/// Everything but files with their contents.
fn one(restoration: &Restoration<'_>, step: &Step) -> Result<(), String> {
    let Some(sealed) = &step.sealed else { return Ok(()) };
    let (dir, name) = parent(restoration, step.place())?;
    match &step.todo {
        Todo::MoveBack => {
            let (there, now) = parent(restoration, &step.change.path)?;
            unmoved(&there, &now, step)?;
            put::move_back(&there, &now, &dir, &name).map_err(text)?;
            adjust(&dir, &name, sealed)
        }
        Todo::Adjust => {
            unmoved(&dir, &name, step)?;
            // Directories come last.
            if sealed.file_type == FileType::Dir { Ok(()) } else { adjust(&dir, &name, sealed) }
        }
        Todo::Make | Todo::MakeDirectory => {
            make_way(&dir, &name, step)?;
            put::make(&dir, &name, sealed).map_err(text)
        }
        Todo::Link(other) => {
            make_way(&dir, &name, step)?;
            let (there, other) = parent(restoration, other)?;
            put::link(&there, &other, &dir, &name).map_err(text)
        }
        Todo::Remove | Todo::Write(_) => Ok(()),
    }
}

/// Sees to it that what stands there can be replaced, and is what was looked at.
fn make_way(dir: &Dir, name: &[u8], step: &Step) -> Result<(), String> {
    if step.is_move() || step.is_other_directory() {
        return Ok(());
    }
    unmoved(dir, name, step)?;
    match step.now {
        Some(file_type) => {
            put::loosen(dir, name, file_type).map_err(text)?;
            // A directory takes the place of nothing.
            if matches!(step.todo, Todo::MakeDirectory) {
                put::remove(dir, name, false).map_err(text)
            } else {
                Ok(())
            }
        }
        None => Ok(()),
    }
}

fn adjust(dir: &Dir, name: &[u8], sealed: &FileState) -> Result<(), String> {
    let inode = dir.stat(name).map_err(text)?.inode;
    put::adjust(dir, name, inode, sealed).map_err(text)
}

/// Files, batch by batch: written, then on the disk, then named.
fn write_files(restoration: &Restoration<'_>, files: Vec<Step>, done: &mut Vec<Done>) {
    let mut files = files.into_iter().peekable();
    while files.peek().is_some() {
        let batch: Vec<Step> = files.by_ref().take(BATCH).collect();
        let places: Vec<_> = batch.iter().map(|step| parent(restoration, step.place())).collect();
        let mut drafts: Vec<Drafted<'_>> = Vec::with_capacity(batch.len());
        for (step, place) in batch.iter().zip(&places) {
            drafts.push(
                place
                    .as_ref()
                    .map_err(Clone::clone)
                    .and_then(|(dir, name)| Ok((draft(restoration, dir, step)?, dir, name.as_slice()))),
            );
        }
        let written = sync_drafts(&drafts);
        let results: Vec<Result<(), String>> = batch
            .iter()
            .zip(drafts)
            .map(|(step, draft)| {
                let (draft, dir, name) = draft?;
                written.clone()?;
                make_way(dir, name, step)?;
                step.sealed.as_ref().map_or(Ok(()), |sealed| draft.publish(name, sealed).map_err(text))
            })
            .collect();
        drop(places);
        done.extend(batch.into_iter().zip(results));
    }
}

/// The approved file, without a name.
fn draft<'d>(restoration: &Restoration<'_>, dir: &'d Dir, step: &Step) -> Result<Draft<'d>, String> {
    let (Some(sealed), Todo::Write(hash)) = (&step.sealed, &step.todo) else {
        return Err("it was not sealed".into());
    };
    let hash: &Digest = hash;
    let mut draft = Draft::new(dir).map_err(text)?;
    restoration.content(hash, |piece| draft.write(piece).map_err(text))?;
    draft.finish(sealed).map_err(text)?;
    Ok(draft)
}

/// Their contents are on the disk before their names are.
fn sync_drafts(drafts: &[Drafted<'_>]) -> Result<(), String> {
    let mut written = drafts.iter().filter_map(|draft| draft.as_ref().ok());
    match (written.next(), written.next()) {
        (None, _) => Ok(()),
        (Some((draft, ..)), None) => draft.sync().map_err(text),
        (Some(_), Some(_)) => {
            let mut synced = Vec::new();
            for (_, dir, _) in drafts.iter().filter_map(|draft| draft.as_ref().ok()) {
                let device = dir.stat_self().map_err(text)?.device;
                if !synced.contains(&device) {
                    put::sync_filesystem(dir).map_err(text)?;
                    synced.push(device);
                }
            }
            Ok(())
        }
    }
}

/// Directories that were made again, or had other attributes: the deepest first.
fn directories(restoration: &Restoration<'_>, done: &mut [Done]) {
    let is_directory =
        |step: &Step| step.sealed.as_ref().is_some_and(|sealed| sealed.file_type == FileType::Dir);
    let mut which: Vec<&mut Done> =
        done.iter_mut().filter(|(step, result)| result.is_ok() && is_directory(step)).collect();
    which.sort_by(|(a, _), (b, _)| b.place().cmp(a.place()));
    for (step, result) in which {
        let Some(sealed) = &step.sealed else { continue };
        *result = parent(restoration, step.place()).and_then(|(dir, name)| adjust(&dir, &name, sealed));
    }
}

/// The names are on the disk before anything is said of them.
fn sync(restoration: &Restoration<'_>, done: &mut [Done]) {
    let mut synced: BTreeMap<RawPath, Result<(), String>> = BTreeMap::new();
    let count = done.iter().filter(|(_, result)| result.is_ok()).count();
    let mut devices = Vec::new();
    for (step, result) in done.iter_mut().filter(|(_, result)| result.is_ok()) {
        let Some(above) = step.place().parent() else { continue };
        let outcome = synced.entry(above).or_insert_with(|| {
            let dir = match parent(restoration, step.place()) {
                Ok((dir, _)) => dir,
                // It went with what was in it.
                Err(_) if step.sealed.is_none() => return Ok(()),
                Err(why) => return Err(why),
            };
            if count == 1 {
                return put::sync_names(&dir).map_err(text);
            }
            let device = dir.stat_self().map_err(text)?.device;
            if devices.contains(&device) {
                return Ok(());
            }
            devices.push(device);
            put::sync_filesystem(&dir).map_err(text)
        });
        *result = outcome.clone();
    }
}
