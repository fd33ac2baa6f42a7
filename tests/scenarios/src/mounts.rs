//! Real filesystems, made in a file or in memory, mounted for one test.

use crate::{is_root, skip, tools};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// The filesystems that the scenarios run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fs {
    /// Linux's usual one.
    Ext4,
    /// Large files, dynamic inodes.
    Xfs,
    /// Copy on write, subvolumes, anonymous device numbers.
    Btrfs,
    /// In memory.
    Tmpfs,
    /// What containers live on.
    Overlay,
}

impl Fs {
    /// All of them.
    pub const ALL: &'static [Self] = &[Self::Ext4, Self::Xfs, Self::Btrfs, Self::Tmpfs, Self::Overlay];
    /// Those that lie on a device.
    pub const ON_DISK: &'static [Self] = &[Self::Ext4, Self::Xfs, Self::Btrfs];
}

impl Fs {
    /// What makes one on a device, and in how many mebibytes: the smallest that the tools accept, and some room.
    pub(crate) fn maker(self) -> Option<(u64, &'static [&'static str])> {
        match self {
            Self::Ext4 => Some((64, &["mkfs.ext4", "-q", "-F"])),
            Self::Xfs => Some((320, &["mkfs.xfs", "-q"])),
            Self::Btrfs => Some((144, &["mkfs.btrfs", "-q"])),
            Self::Tmpfs | Self::Overlay => None,
        }
    }
}

/// In mebibytes, and how many files there may be on ext4, which has to know ("0": as it sees fit).
struct Sizes {
    ext4: u64,
    xfs: u64,
    btrfs: u64,
    memory: u64,
    inodes: &'static str,
}

impl Sizes {
    /// As an option of mount.
    fn memory(&self) -> String {
        format!("size={}m", self.memory)
    }
}

/// A mounted filesystem; it is unmounted and removed when this is dropped, also by a failing test.
pub struct Mounted {
    /// What has been mounted, in that order.
    mounts: Vec<PathBuf>,
    root: PathBuf,
    _home: TempDir,
}

impl Mounted {
    /// Makes and mounts an empty filesystem, or says why that cannot be done here.
    pub fn new(fs: Fs) -> Result<Self, String> {
        // The smallest sizes that the tools accept, and some room.
        let sizes = Sizes { ext4: 64, xfs: 320, btrfs: 144, memory: 256, inodes: "0" };
        Self::of_sizes(fs, &sizes)
    }

    /// The same with room for some hundred thousand files.
    pub fn roomy(fs: Fs) -> Result<Self, String> {
        Self::of_sizes(fs, &Sizes { ext4: 3072, xfs: 3072, btrfs: 4096, memory: 3072, inodes: "500000" })
    }

    /// An empty directory to mount on.
    fn nothing() -> Result<Self, String> {
        let home = TempDir::with_prefix("waxseal-fs-").map_err(|error| error.to_string())?;
        let root = home.path().join("root");
        create_dir(&root)?;
        Ok(Self { mounts: Vec::new(), root, _home: home })
    }

    fn of_sizes(fs: Fs, sizes: &Sizes) -> Result<Self, String> {
        if !is_root() {
            return Err(format!("{fs:?}: only root can mount"));
        }
        let mut mounted = Self::nothing()?;
        let root = mounted.root.clone();
        match fs {
            Fs::Ext4 => mounted.on_image(sizes.ext4, &["mkfs.ext4", "-q", "-F", "-N", sizes.inodes])?,
            Fs::Xfs => mounted.on_image(sizes.xfs, &["mkfs.xfs", "-q"])?,
            Fs::Btrfs => mounted.on_image(sizes.btrfs, &["mkfs.btrfs", "-q"])?,
            Fs::Tmpfs => mounted.mount(&["-t", "tmpfs", "-o", &sizes.memory(), "tmpfs"], &root)?,
            Fs::Overlay => mounted.overlay(&sizes.memory())?,
        }
        Ok(mounted)
    }

    /// A small filesystem in memory, for its owner alone, to be filled up. `size` is as in mount's manual, "2m".
    pub fn tmpfs_of(size: &str) -> Result<Self, String> {
        if !is_root() {
            return Err("only root can mount".into());
        }
        let mut mounted = Self::nothing()?;
        let root = mounted.root.clone();
        mounted.mount(&["-t", "tmpfs", "-o", &format!("size={size},mode=0700"), "tmpfs"], &root)?;
        Ok(mounted)
    }

    /// A directory once more, where nobody can write to it; or says why that cannot be done here.
    pub fn read_only(of: &Path) -> Result<Self, String> {
        if !is_root() {
            return Err("only root can mount".into());
        }
        let mut mounted = Self::nothing()?;
        let root = mounted.root.clone();
        mounted.mount(&["--bind", of.to_str().ok_or("a name that is not UTF-8")?], &root)?;
        let root = root.to_str().ok_or("a name that is not UTF-8")?;
        tools::try_run("mount", ["-o", "remount,bind,ro", root])?;
        Ok(mounted)
    }

    /// The directory on which it is mounted.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Writes a file until there is no room left.
    pub fn fill(&self) -> Filler {
        let path = self.root.join("filler");
        let mut file = fs::File::create(&path).expect("a file to fill up with");
        for size in [64 * 1024, 4096, 1] {
            while file.write_all(&vec![0; size]).is_ok() {}
        }
        Filler(file, path)
    }

    /// The file in which a filesystem of a device lies.
    pub fn image(&self) -> PathBuf {
        self.root.with_file_name("image")
    }

    fn on_image(&mut self, mebibytes: u64, mkfs: &[&str]) -> Result<(), String> {
        let image = self.image();
        let file = fs::File::create(&image).map_err(|error| error.to_string())?;
        file.set_len(mebibytes << 20).map_err(|error| error.to_string())?;
        drop(file);
        let image = image.to_str().ok_or("a temporary directory whose name is not UTF-8")?;
        let (program, options) = mkfs.split_first().ok_or("no mkfs")?;
        tools::try_run(program, options.iter().chain([&image]))?;
        let root = self.root.clone();
        self.mount(&["-o", "loop", image], &root)
    }

    /// An overlay whose layers lie on a filesystem of their own: they cannot lie on another overlay.
    fn overlay(&mut self, size: &str) -> Result<(), String> {
        let layers = self.root.with_file_name("layers");
        create_dir(&layers)?;
        self.mount(&["-t", "tmpfs", "-o", size, "tmpfs"], &layers)?;
        for layer in ["lower", "upper", "work"] {
            create_dir(&layers.join(layer))?;
        }
        let at = |layer: &str| layers.join(layer).display().to_string();
        let options = format!("lowerdir={},upperdir={},workdir={}", at("lower"), at("upper"), at("work"));
        let root = self.root.clone();
        self.mount(&["-t", "overlay", "-o", &options, "overlay"], &root)
    }

    fn mount(&mut self, options: &[&str], target: &Path) -> Result<(), String> {
        let target_text = target.to_str().ok_or("a temporary directory whose name is not UTF-8")?;
        tools::try_run("mount", options.iter().chain([&target_text]))?;
        self.mounts.push(target.to_owned());
        Ok(())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        while let Some(target) = self.mounts.pop() {
            let target = target.display().to_string();
            if tools::try_run("umount", [&target]).is_err() {
                // A process of a failed test may still be there; it must not keep the mount.
                let _ = tools::try_run("umount", ["--lazy", &target]);
            }
        }
    }
}

/// Runs a test on each of the filesystems that can be mounted here, and says which cannot. Where none can, the
/// test runs in the temporary directory, on whatever that lies.
pub fn for_each_filesystem(filesystems: &[Fs], test: impl Fn(&Path)) {
    let mut ran = false;
    for &fs in filesystems {
        match Mounted::new(fs) {
            Ok(mounted) => {
                eprintln!("on {fs:?}");
                test(mounted.root());
                ran = true;
            }
            Err(why) => skip(&why),
        }
    }
    if !ran {
        let directory = TempDir::with_prefix("waxseal-").expect("a temporary directory");
        eprintln!("in {}", directory.path().display());
        test(directory.path());
    }
}

fn create_dir(path: &Path) -> Result<(), String> {
    fs::create_dir(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// What takes all the room of a filesystem.
pub struct Filler(fs::File, PathBuf);

impl Filler {
    /// Gives the room back, at once. Removing the file alone would not: a process that another test is just
    /// starting holds every open file of this one until it runs its own program.
    pub fn remove(self) {
        self.0.set_len(0).expect("the filler is cut off");
        fs::remove_file(self.1).expect("the filler is removed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_test_leaves_no_mount_behind() {
        for &fs in Fs::ALL {
            let mounted = match Mounted::new(fs) {
                Ok(mounted) => mounted,
                Err(why) => {
                    skip(&why);
                    continue;
                }
            };
            let root = mounted.root().to_owned();
            fs::write(root.join("file"), "x").unwrap();
            let failed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                let _mounted = mounted;
                panic!("a test that fails");
            }));
            assert!(failed.is_err());
            let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
            assert!(!mounts.contains(root.to_str().unwrap()), "{fs:?} is still mounted");
            assert!(!root.exists());
        }
    }
}
