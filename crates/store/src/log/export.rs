//! The log as files for other tools.

use super::{Rows, broken_log};
use crate::Store;
use crate::error::StoreError;
use crate::state_dir::{make_directories, read_bytes, replace};
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use waxseal_ledger::merkle::Edge;
use waxseal_ledger::note::{self, UnverifiedNote};
use waxseal_ledger::tiles::{CHECKPOINT, COSIGNED, ExportError, Exporter, Put, cosigned_path};
use waxseal_ledger::{Checkpoint, CheckpointError};

/// What was exported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exported {
    /// The checkpoint that the export ends with, as the database has it.
    pub checkpoint: Checkpoint,
    /// How many leaves an older export in this place had.
    pub before: Option<u64>,
}

/// Files that may lie in a directory in which an export was begun and not finished.
const BEGUN: [&str; 3] = ["tile", "waxseal", "checkpoint.new"];

impl Store {
    /// Writes the log as C2SP tlog-tiles into a directory: a new or empty one, or one with an older export of this log, which then
    /// grows. Its checkpoint comes last and takes the place of the old one at once; so an export that was not finished
    /// is the older one, or has none.
    ///
    /// # Errors
    /// [`StoreError::Foreign`] when something else is in the directory; [`StoreError::Damaged`] when leaves are missing;
    /// or when files cannot be written.
    pub fn export_log(&self, directory: &Path) -> Result<Exported, StoreError> {
        make_directories(directory)?;
        let old = older(directory)?;
        let mut out = Directory { path: directory.to_path_buf(), outdated: BTreeSet::new() };
        let checkpoint = self.log_snapshot(|log| {
            let note = log.checkpoint()?.ok_or_else(|| StoreError::Log("there is none yet".into()))?;
            let own = claimed(&note).map_err(|error| StoreError::Damaged(error.to_string()))?;
            if let Some(old) = &old {
                let is_ours = old.origin == own.origin
                    && old.size <= own.size
                    && Edge::read(old.size, &Rows(log.connection)).map_err(broken_log)?.root() == old.root;
                if !is_ours {
                    let why = "holds the export of another log, or this log was rewritten since: see `waxseal verify`, or give another directory";
                    return Err(StoreError::Foreign(directory.to_path_buf(), why.into()));
                }
            }
            let mut exporter = Exporter::new(&mut out);
            let mut next = 0;
            log.each_leaf(0, |entry| {
                // What the checkpoint does not cover is no part of the export.
                if next < own.size {
                    if entry.seq != next {
                        return Err(StoreError::Damaged(format!("leaf {next} of the log is missing")));
                    }
                    exporter.leaf(entry.bytes.as_deref(), entry.hash).map_err(not_exported)?;
                    next += 1;
                }
                Ok(())
            })?;
            if next < own.size {
                return Err(StoreError::Damaged(format!("leaf {next} of the log is missing")));
            }
            let cosigned = log.cosigned()?;
            for one in &cosigned {
                let whole = one.whole();
                let parsed = UnverifiedNote::parse(&whole).map_err(|error| StoreError::Damaged(error.to_string()))?;
                // Its line comes last.
                if let Some(line) = parsed.claimed_signatures().last() {
                    exporter.put(&cosigned_path(line.id), whole.as_bytes()).map_err(not_exported)?;
                }
            }
            let lines = cosigned.iter().filter(|one| one.note == note).map(|one| one.line.as_str());
            let note: String = [note.as_str()].into_iter().chain(lines).collect();
            exporter.finish(&note).map_err(not_exported)?;
            Ok(own)
        })?;
        out.remove_outdated();
        Ok(Exported { checkpoint, before: old.map(|old| old.size) })
    }
}

fn not_exported(error: ExportError<StoreError>) -> StoreError {
    match error {
        ExportError::Put(error) => error,
        ExportError::TooLong(_) => StoreError::Damaged(error.to_string()),
    }
}

fn claimed(note: &str) -> Result<Checkpoint, CheckpointError> {
    Checkpoint::claimed(&UnverifiedNote::parse(note)?)
}

/// The checkpoint of an export that is there. None in a directory in which nothing else is.
fn older(directory: &Path) -> Result<Option<Checkpoint>, StoreError> {
    let foreign = |why: &str| StoreError::Foreign(directory.to_path_buf(), why.into());
    let path = directory.join(CHECKPOINT);
    if fs::symlink_metadata(&path).is_ok() {
        let note = String::from_utf8(read_bytes(&path, note::MAX_LEN as u64)?).unwrap_or_default();
        let old = claimed(&note).map_err(|_| foreign("has a file `checkpoint` that is no checkpoint"))?;
        return Ok(Some(old));
    }
    for entry in fs::read_dir(directory).map_err(|error| StoreError::io(directory, error))? {
        let name = entry.map_err(|error| StoreError::io(directory, error))?.file_name();
        if !BEGUN.iter().any(|begun| name == *begun) {
            return Err(foreign("is not empty, and what is in it is no export of a log"));
        }
    }
    Ok(None)
}

/// Where an export is written.
struct Directory {
    path: PathBuf,
    /// Directories of tiles that were not full, each with the name of the one that still is not.
    outdated: BTreeSet<(PathBuf, Option<String>)>,
}

impl Put for Directory {
    type Error = StoreError;

    fn put(&mut self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        let path = self.path.join(name);
        let partial = name.rsplit_once(".p/");
        match partial {
            Some((whole, width)) => {
                self.outdated.insert((self.path.join(format!("{whole}.p")), Some(width.to_owned())));
            }
            None => drop(self.outdated.insert((self.path.join(format!("{name}.p")), None))),
        }
        if fs::symlink_metadata(&path).is_ok() {
            if read_bytes(&path, bytes.len() as u64).is_ok_and(|old| old == bytes) {
                return Ok(());
            }
            // What has this name never changes: one that differs is proof of something, and stays.
            if name != CHECKPOINT && !name.starts_with(COSIGNED) {
                let why = "is of an older export, and not what the log has there: see `waxseal verify`, or give another directory";
                return Err(StoreError::Foreign(path, why.into()));
            }
        }
        if let Some(parent) = path.parent() {
            make_directories(parent)?;
        }
        replace(&path, bytes, 0o644).map_err(|error| match error {
            StoreError::Full => StoreError::Io(path.clone(), io::ErrorKind::StorageFull.into()),
            other => other,
        })
    }
}

impl Directory {
    /// Removes the tiles that were not full and are now, or have more: the new checkpoint needs others. Those that cannot be
    /// removed do no harm.
    fn remove_outdated(&self) {
        for (directory, current) in &self.outdated {
            let Ok(entries) = fs::read_dir(directory) else { continue };
            for entry in entries.flatten() {
                if current.as_ref().is_none_or(|current| entry.file_name() != current.as_str()) {
                    let _ = fs::remove_file(entry.path());
                }
            }
            if current.is_none() {
                let _ = fs::remove_dir(directory);
            }
        }
    }
}
