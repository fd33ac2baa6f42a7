//! Where the writers work: a wide namespace in the watched tree, and a place beside it.

use super::rng::Rng;
use std::fs;
use std::io;
use std::path::PathBuf;

/// Files of the top level's directories, and of those below them.
const SHALLOW: usize = 250;
const DEEP: usize = 16;
/// Directories that come, go and move, in each of the directories that stay.
const MOVING: usize = 4;

/// The names that the writers use.
#[derive(Debug, Clone)]
pub(super) struct Ground {
    pub tree: PathBuf,
    pub outside: PathBuf,
    directories: usize,
}

impl Ground {
    /// At least so many names of files.
    pub fn new(tree: PathBuf, outside: PathBuf, names: usize) -> Self {
        Self { tree, outside, directories: names.div_ceil(SHALLOW).max(1) }
    }

    /// Makes the directories, and a file under one name of `every`.
    pub fn furnish(&self, every: usize, rng: &mut Rng) -> io::Result<()> {
        fs::create_dir_all(&self.outside)?;
        for directory in 0..self.directories {
            let directory = self.tree.join(format!("d{directory}"));
            fs::create_dir_all(&directory)?;
            for file in (0..SHALLOW).filter(|file| file % every == 0) {
                fs::write(directory.join(format!("f{file}")), content(rng))?;
            }
            for moving in 0..MOVING {
                let below = directory.join(format!("s{moving}/s0"));
                fs::create_dir_all(&below)?;
                fs::write(below.join("f0"), content(rng))?;
                fs::write(below.with_file_name("f1"), content(rng))?;
            }
        }
        Ok(())
    }

    /// A directory that stays where it is.
    pub fn fixed(&self, rng: &mut Rng) -> PathBuf {
        self.tree.join(format!("d{}", rng.below(self.directories)))
    }

    /// A directory that may be there, or be something else.
    pub fn moving(&self, rng: &mut Rng) -> PathBuf {
        let mut path = self.fixed(rng).join(format!("s{}", rng.below(MOVING)));
        while rng.once_in(3) {
            path.push(format!("s{}", rng.below(MOVING)));
        }
        path
    }

    /// A file that may be there, or be something else.
    pub fn file(&self, rng: &mut Rng) -> PathBuf {
        if rng.once_in(4) {
            self.moving(rng).join(format!("f{}", rng.below(DEEP)))
        } else {
            self.fixed(rng).join(format!("f{}", rng.below(SHALLOW)))
        }
    }
}

/// Content that no other file is likely to have: up to 2 KiB.
pub(super) fn content(rng: &mut Rng) -> Vec<u8> {
    let words = 1 + rng.below(256);
    (0..words).flat_map(|_| rng.next().to_le_bytes()).collect()
}
