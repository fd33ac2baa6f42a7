//! Where the roots are.

use super::{Hint, What};
use crate::files::Dir;
use crate::paths;
use crate::watching::WatchRoot;
use notify::RecursiveMode;
use std::path::PathBuf;
use waxseal_model::{DeviceNumber, FileType, RawPath};

/// A root, and what its path leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Root {
    /// As given.
    pub path: RawPath,
    /// With links on the way followed, the last name as it is; as given where something on the way is missing.
    pub real: RawPath,
    found: Option<Found>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Found {
    device: DeviceNumber,
    inode: u64,
    is_dir: bool,
}

impl Root {
    /// Looks where it is now.
    pub fn find(asked: &WatchRoot) -> Root {
        let path = asked.path.clone();
        let real = match path.parent() {
            None => path.clone(),
            Some(parent) => paths::real(&paths::to_path(&parent)).unwrap_or(parent).join(path.name()),
        };
        let state = Dir::parent_of(&real).and_then(|(dir, name)| dir.stat(&name)).ok();
        let found = state.map(|state| Found {
            device: state.device,
            inode: state.inode,
            is_dir: state.file_type == FileType::Dir,
        });
        Root { path, real, found }
    }

    /// The directories to watch for it.
    pub fn watches(&self) -> Vec<(PathBuf, RecursiveMode)> {
        let mut watches = Vec::new();
        if self.found.is_some_and(|found| found.is_dir) {
            watches.push((paths::to_path(&self.real), RecursiveMode::Recursive));
        }
        let mut above = self.real.parent();
        while let Some(dir) = above {
            let path = paths::to_path(&dir);
            if paths::is_real_directory(&path) {
                watches.push((path, RecursiveMode::NonRecursive));
                break;
            }
            above = dir.parent();
        }
        watches
    }

    /// A real path below it, as the root gives it.
    pub fn see(&self, real: &RawPath) -> Option<RawPath> {
        let rest = real.below(&self.real)?;
        Some(if rest.is_empty() { self.path.clone() } else { self.path.join(rest) })
    }

    /// The root itself may have changed, with everything below it.
    pub fn itself(&self, what: What) -> Hint {
        let deep = what.is_of_names();
        let path = self.path.clone();
        if path.name().is_empty() {
            Hint::Itself { dir: path, process: None }
        } else {
            Hint::Name { path, deep, what, process: None }
        }
    }
}
