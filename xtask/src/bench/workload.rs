//! Trees to measure on: the same seed gives the same names, sizes and bytes.

use anyhow::{Context, Result, bail};
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

/// How large the trees are.
#[derive(clap::Args, Debug)]
pub struct Sizes {
    /// Files of the tree `small`, in 8,000 directories; 0.5 to 16 KiB each, half of them below 2.5 KiB
    #[arg(long, default_value_t = 200_000)]
    small_files: u64,
    /// Files of the tree `big`
    #[arg(long, default_value_t = 40)]
    big_files: u64,
    /// Size of each file of the tree `big`, in MiB
    #[arg(long, default_value_t = 256)]
    big_mib: u64,
    /// Directories of the tree `dirs`, a small file in every tenth of them
    #[arg(long, default_value_t = 100_000)]
    pub dirs: u64,
    /// Another seed gives other trees
    #[arg(long, default_value_t = 20_240_601)]
    seed: u64,
}

/// The tree of this name below `dir`; made unless it is there already with the same options.
pub fn make(dir: &Path, name: &str, options: &Sizes) -> Result<PathBuf> {
    let root = dir.join(name);
    let (receipt, wanted) = (dir.join(format!("{name}.made")), format!("{options:?}"));
    if fs::read_to_string(&receipt).is_ok_and(|made| made == wanted) {
        return Ok(root);
    }
    if root.exists() {
        bail!("{} was made with other options, or not to its end: remove it first", root.display());
    }
    eprintln!("making {}", root.display());
    match name {
        "small" => small(&root, options),
        "big" => big(&root, options),
        "dirs" => dirs(&root, options),
        _ => bail!("no tree is called {name}: small, big, dirs or usr"),
    }
    .with_context(|| format!("cannot make {}", root.display()))?;
    fs::write(receipt, wanted)?;
    Ok(root)
}

/// Files are written in a shuffled order, so that inodes, names and blocks are not in the same order, as in a tree
/// that has lived.
fn small(root: &Path, options: &Sizes) -> Result<()> {
    let mut random = Random::new(options.seed, 1);
    let mut leaves = Vec::new();
    for (a, b, c) in (0..20).flat_map(|a| (0..20).flat_map(move |b| (0..20).map(move |c| (a, b, c)))) {
        leaves.push(root.join(format!("d{a:02}/e{b:02}/f{c:02}")));
    }
    for leaf in &leaves {
        fs::create_dir_all(leaf)?;
    }
    let mut order: Vec<u64> = (0..options.small_files).collect();
    for last in (1..order.len()).rev() {
        order.swap(last, random.below(last as u64 + 1) as usize);
    }
    let mut body = Vec::new();
    for number in order {
        let size = (random.log_normal(2500.0_f64.ln(), 0.8) as usize).clamp(512, 16_384);
        body.clear();
        body.resize(size, 0);
        random.fill(&mut body);
        let Some(leaf) = leaves.get((number % leaves.len() as u64) as usize) else { continue };
        fs::write(leaf.join(format!("file-{number:06}.dat")), &body)?;
    }
    Ok(())
}

/// Every block is different, and none can be compressed.
fn big(root: &Path, options: &Sizes) -> Result<()> {
    fs::create_dir_all(root)?;
    let mut block = vec![0; 1 << 20];
    for number in 0..options.big_files {
        let mut random = Random::new(options.seed, 100 + number);
        let mut file = File::create(root.join(format!("blob-{number:02}.bin")))?;
        for _ in 0..options.big_mib {
            random.fill(&mut block);
            file.write_all(&block)?;
        }
    }
    Ok(())
}

fn dirs(root: &Path, options: &Sizes) -> Result<()> {
    // Three levels of about the same width.
    let width = (options.dirs as f64).cbrt().ceil() as u64;
    for number in 0..options.dirs {
        let (a, b, c) = (number / (width * width), number / width % width, number % width);
        let path = root.join(format!("a{a:02}/b{b:02}/c{c:02}"));
        fs::create_dir_all(&path)?;
        if number % 10 == 0 {
            writeln!(BufWriter::new(File::create(path.join("one.txt"))?), "{number}")?;
        }
    }
    Ok(())
}

/// SplitMix64 (Steele, Lea and Flood 2014): small, quick, the same everywhere. Not for secrets.
struct Random(u64);

impl Random {
    /// A stream of its own for each part of the trees.
    fn new(seed: u64, part: u64) -> Self {
        let mut random = Self(seed ^ part.wrapping_mul(0xd1b5_4a32_d192_ed03));
        random.next();
        random
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `bound`, which is not 0; the bias of the remainder is far too small to matter here.
    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// Between 0, not included, and 1.
    fn unit(&mut self) -> f64 {
        ((self.next() >> 11) + 1) as f64 / (1_u64 << 53) as f64
    }

    /// By the method of Box and Muller.
    fn log_normal(&mut self, mean: f64, deviation: f64) -> f64 {
        let normal = (-2.0 * self.unit().ln()).sqrt() * (std::f64::consts::TAU * self.unit()).cos();
        (mean + deviation * normal).exp()
    }

    fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let word = self.next().to_le_bytes();
            chunk.copy_from_slice(word.get(..chunk.len()).unwrap_or_default());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_bytes() {
        let bytes = |seed, part| {
            let mut bytes = [0; 21];
            Random::new(seed, part).fill(&mut bytes);
            bytes
        };
        assert_eq!(bytes(1, 2), bytes(1, 2));
        assert_ne!(bytes(1, 2), bytes(2, 2));
        assert_ne!(bytes(1, 2), bytes(1, 3));
    }

    #[test]
    fn half_of_the_sizes_are_below_the_median() {
        let mut random = Random::new(20_240_601, 1);
        let below = (0..10_000).filter(|_| random.log_normal(2500.0_f64.ln(), 0.8) < 2500.0).count();
        assert!((4800..5200).contains(&below), "{below}");
    }
}
