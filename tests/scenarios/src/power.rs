//! A disk whose power is cut: what had not reached it is gone, and the filesystem is mounted again.

use crate::mounts::{Fs, Mounted};
use crate::{is_root, tools};
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// How the power is cut.
enum Cut {
    /// The filesystem is told to stop at once, without writing what it holds (`XFS_IOC_GOINGDOWN`, `NOLOGFLUSH`).
    Shutdown,
    /// The device's content of one moment is kept, by a clone of the file in which it lies.
    Clone(Mounted),
}

/// A mounted filesystem of which a power cut leaves what was on the device.
pub struct Powered {
    cut: Cut,
    image: PathBuf,
    root: PathBuf,
    _home: TempDir,
}

impl Powered {
    /// Makes and mounts one, or says why that cannot be done here.
    pub fn new(fs: Fs) -> Result<Self, String> {
        if !is_root() {
            return Err(format!("{fs:?}: only root can mount"));
        }
        // Not every kernel can shut each of them down.
        let mut powered = Self::with(fs, Cut::Shutdown)?;
        if powered.try_shutdown().is_ok() {
            powered.back();
            return Ok(powered);
        }
        drop(powered);
        let below = Mounted::new(Fs::Xfs).map_err(|why| format!("{fs:?} cannot be shut down, and {why}"))?;
        Self::with(fs, Cut::Clone(below))
    }

    fn with(fs: Fs, cut: Cut) -> Result<Self, String> {
        let (mebibytes, mkfs) = fs.maker().ok_or("it lies on no device")?;
        let home = TempDir::with_prefix("waxseal-power-").map_err(|error| error.to_string())?;
        let root = home.path().join("root");
        fs::create_dir(&root).map_err(|error| error.to_string())?;
        let image = match &cut {
            Cut::Shutdown => home.path().join("image"),
            Cut::Clone(below) => below.root().join("image"),
        };
        let file = fs::File::create(&image).map_err(|error| error.to_string())?;
        file.set_len(mebibytes << 20).map_err(|error| error.to_string())?;
        drop(file);
        let (program, options) = mkfs.split_first().ok_or("no mkfs")?;
        tools::try_run(program, options.iter().map(OsStr::new).chain([image.as_os_str()]))?;
        let powered = Self { cut, image, root, _home: home };
        powered.mount()?;
        Ok(powered)
    }

    /// Where it is mounted.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Whether nothing that is written after the cut succeeds. Otherwise programs go on, and what they do is lost.
    pub fn stops_writers(&self) -> bool {
        matches!(self.cut, Cut::Shutdown)
    }

    /// Cuts the power.
    #[track_caller]
    pub fn cut(&self) {
        match &self.cut {
            Cut::Shutdown => self.try_shutdown().expect("the filesystem is shut down"),
            Cut::Clone(_) => {
                let clone = [OsStr::new("--reflink=always"), self.image.as_os_str(), self.kept().as_os_str()]
                    .map(OsStr::to_owned);
                tools::run("cp", clone);
            }
        }
    }

    /// The power is back: mounts again what was on the device. Nothing may have open files there any more.
    #[track_caller]
    pub fn back(&mut self) {
        self.unmount().expect("it is unmounted");
        if self.kept().exists() {
            fs::rename(self.kept(), &self.image).expect("what was kept takes its place");
        }
        self.mount().expect("it is mounted again");
    }

    fn kept(&self) -> PathBuf {
        self.image.with_extension("kept")
    }

    fn try_shutdown(&self) -> Result<(), String> {
        let words = ["-x", "-c", "shutdown"].map(OsStr::new);
        let said = tools::try_run("xfs_io", words.into_iter().chain([self.root.as_os_str()]))?;
        // It ends well whatever the kernel said. What is shut down cannot be written to.
        let probe = self.root.join("probe");
        match fs::write(&probe, "x").and_then(|()| fs::File::open(&probe)?.sync_all()) {
            Err(_) => Ok(()),
            Ok(()) => {
                let _ = fs::remove_file(probe);
                Err(format!("it cannot be shut down: {said}"))
            }
        }
    }

    fn mount(&self) -> Result<(), String> {
        let words = [OsStr::new("-o"), "loop".as_ref(), self.image.as_os_str(), self.root.as_os_str()];
        tools::try_run("mount", words).map(drop)
    }

    /// Somebody who looks at all mounts may hold it for a moment.
    fn unmount(&self) -> Result<(), String> {
        let mut last = Ok(());
        for _ in 0..100 {
            last = tools::try_run("umount", [&self.root]).map(drop);
            if last.is_ok() {
                break;
            }
        }
        last
    }
}

impl Drop for Powered {
    fn drop(&mut self) {
        if self.unmount().is_err() {
            let _ = tools::try_run("umount", [OsStr::new("--lazy"), self.root.as_os_str()]);
        }
    }
}
