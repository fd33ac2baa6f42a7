//! Filesystems to watch, mounted where only the test's own thread sees them: they vanish with the thread, even when it
//! panics or is killed.

use std::ffi::CString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use waxseal_model::RawPath;
use waxseal_os::watcher::{Backend, Hint, Options, WatchRoot, Watcher};

pub const PATIENCE: Duration = Duration::from_secs(20);
const SYSCTL: &str = "/proc/sys/fs/fanotify/max_queued_events";

/// What the queue limit is when no watcher is being made.
pub fn usual_limit() -> &'static str {
    static LIMIT: OnceLock<String> = OnceLock::new();
    LIMIT.get_or_init(read_limit)
}

pub fn read_limit() -> String {
    fs::read_to_string(SYSCTL).unwrap_or_default()
}

/// A kind of filesystem, and what watches it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    Tmpfs,
    Ext4,
    Xfs,
    /// A subvolume, which cannot be marked itself.
    Btrfs,
    /// Cannot be marked itself, but its upper layer can.
    Layered,
    /// Cannot be marked at all, since its upper layer is out of sight: inotify.
    Overlay,
}

impl Kind {
    pub const MARKED: [Kind; 4] = [Kind::Tmpfs, Kind::Ext4, Kind::Xfs, Kind::Btrfs];
    pub const ALL: [Kind; 6] =
        [Kind::Tmpfs, Kind::Ext4, Kind::Xfs, Kind::Btrfs, Kind::Layered, Kind::Overlay];

    pub fn backend(self) -> Backend {
        if self == Kind::Overlay { Backend::Inotify } else { Backend::Fanotify }
    }
}

/// A filesystem, mounted.
pub struct Place {
    pub kind: Kind,
    /// Where it is mounted.
    pub at: PathBuf,
    scratch: tempfile::TempDir,
}

impl Drop for Place {
    fn drop(&mut self) {
        // The directory below could not be removed with things mounted in it. What stays goes with the thread.
        let _ = run("umount", &["-R", "-l", self.scratch.path().join("m").to_str().unwrap()]);
    }
}

pub fn path(path: &Path) -> RawPath {
    RawPath::normalized(path.as_os_str().as_bytes()).unwrap()
}

pub fn run(program: &str, arguments: &[&str]) -> Result<(), String> {
    let output = Command::new(program).args(arguments).output().map_err(|e| format!("{program}: {e}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr).trim()))
}

/// Unmounts what nobody uses. Programs that other tests start hold our open files for an instant, so one refusal is
/// none.
pub fn unmount(at: &Path) {
    let deadline = Instant::now() + PATIENCE;
    while let Err(why) = run("umount", &[at.to_str().unwrap()]) {
        assert!(why.contains("busy") && Instant::now() < deadline, "{why}");
    }
}

/// Gives the thread a mount namespace of its own.
#[allow(unsafe_code, reason = "mount namespaces of threads have no safe wrapper")]
pub fn own_mounts() -> Result<(), String> {
    // SAFETY: the thread shares nothing that depends on its mount namespace with others.
    if unsafe { libc::unshare(libc::CLONE_NEWNS) } != 0 {
        return Err(format!("unshare: {}", std::io::Error::last_os_error()));
    }
    let (none, root) = (CString::new("none").unwrap(), CString::new("/").unwrap());
    // SAFETY: all pointers are C strings that outlive the call, or null where that is allowed.
    let result = unsafe {
        let flags = libc::MS_REC | libc::MS_PRIVATE;
        libc::mount(none.as_ptr(), root.as_ptr(), std::ptr::null(), flags, std::ptr::null())
    };
    if result == 0 { Ok(()) } else { Err(format!("mount: {}", std::io::Error::last_os_error())) }
}

/// Calls `test` on each kind of filesystem that this machine has, each in a thread of its own.
pub fn on_each(kinds: &[Kind], test: fn(&Place)) {
    usual_limit();
    for kind in kinds.iter().copied() {
        let thread = std::thread::spawn(move || match Place::new(kind) {
            Ok(place) => test(&place),
            Err(why) => println!("SKIPPED: {kind:?}: {why}"),
        });
        if let Err(panic) = thread.join() {
            println!("FAILED: on {kind:?}");
            std::panic::resume_unwind(panic);
        }
    }
}

impl Place {
    pub fn new(kind: Kind) -> Result<Place, String> {
        own_mounts()?;
        let scratch = tempfile::tempdir().map_err(|e| e.to_string())?;
        let at = scratch.path().join("m");
        fs::create_dir(&at).unwrap();
        let image = scratch.path().join("image");
        let (m, img) = (at.to_str().unwrap(), image.to_str().unwrap());
        match kind {
            Kind::Tmpfs => run("mount", &["-t", "tmpfs", "none", m])?,
            Kind::Ext4 | Kind::Xfs | Kind::Btrfs => {
                fs::File::create(&image).unwrap().set_len(400 << 20).unwrap();
                match kind {
                    Kind::Ext4 => run("mkfs.ext4", &["-q", "-F", img])?,
                    Kind::Xfs => run("mkfs.xfs", &["-q", img])?,
                    _ => run("mkfs.btrfs", &["-q", img])?,
                }
                run("mount", &["-o", "loop", img, m])?;
            }
            Kind::Layered | Kind::Overlay => {
                run("mount", &["-t", "tmpfs", "none", m])?;
                for part in ["lower", "upper", "work", "merged"] {
                    fs::create_dir(at.join(part)).unwrap();
                }
                let options = format!("lowerdir={m}/lower,upperdir={m}/upper,workdir={m}/work");
                let merged = at.join("merged");
                run("mount", &["-t", "overlay", "-o", &options, "none", merged.to_str().unwrap()])?;
                if kind == Kind::Overlay {
                    // Something else bears the layer's name, as in another mount namespace.
                    run("mount", &["-t", "tmpfs", "none", &format!("{m}/upper")])?;
                }
                return Ok(Place { kind, at: merged, scratch });
            }
        }
        if kind == Kind::Btrfs {
            run("btrfs", &["-q", "subvolume", "create", &format!("{m}/sv")])?;
            unmount(&at);
            // The loop device goes with its last mount; this makes another.
            run("mount", &["-o", "loop,subvol=sv", img, m])?;
        }
        Ok(Place { kind, at, scratch })
    }

    /// A directory that is there.
    pub fn dir(&self, name: &str) -> PathBuf {
        let dir = self.at.join(name);
        fs::create_dir_all(&dir).unwrap();
        dir
    }

    /// A watcher of roots that is known to use the backend of this kind of filesystem.
    pub fn watch(&self, roots: &[&Path]) -> Ears {
        self.watch_with(roots, Options { queue_limit: 1 << 16, ..Options::default() })
    }

    pub fn watch_with(&self, roots: &[&Path], options: Options) -> Ears {
        let canary_dir = options.canary_dir.clone().or(Some(self.at.clone()));
        let ears = Ears::new(roots, Options { canary_dir, ..options });
        for coverage in ears.watcher.coverage() {
            assert_eq!(coverage.backend, self.kind.backend(), "{coverage:?}");
            // The canary is made on the overlay, and not on the filesystem of its layer.
            let tested = coverage.backend == Backend::Fanotify && self.kind != Kind::Layered;
            assert_eq!(coverage.tested, tested, "{coverage:?}");
        }
        ears
    }
}

/// A watcher, and all that it has said.
pub struct Ears {
    pub watcher: Watcher,
    pub heard: Vec<Hint>,
}

impl Ears {
    pub fn new(roots: &[&Path], options: Options) -> Ears {
        let roots: Vec<_> =
            roots.iter().map(|root| WatchRoot { path: path(root), cross_filesystems: true }).collect();
        Ears { watcher: Watcher::start(&roots, options).unwrap(), heard: Vec::new() }
    }

    /// Waits until something that fits has been heard since the last [`Ears::forget`].
    pub fn hear(&mut self, what: &str, fits: impl Fn(&Hint) -> bool) -> Hint {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(hint) = self.heard.iter().find(|hint| fits(hint)) {
                return hint.clone();
            }
            assert!(Instant::now() < deadline, "not heard: {what}; heard {:#?}", self.heard);
            self.watcher.wait(Some(Duration::from_millis(200))).unwrap();
            self.watcher.read(&mut self.heard).unwrap();
        }
    }

    /// Waits for a hint at exactly this path.
    pub fn hear_name(&mut self, at: &Path) -> Hint {
        let at = path(at);
        self.hear(&format!("{at}"), |hint| matches!(hint, Hint::Name { path, .. } if *path == at))
    }

    /// Waits for a hint that sends whoever follows it to this path: at it, or at all below a directory above it.
    pub fn hear_about(&mut self, at: &Path) -> Hint {
        let at = path(at);
        self.hear(&format!("anything about {at}"), |hint| match hint {
            Hint::Name { path, deep, .. } => *path == at || (*deep && at.below(path).is_some()),
            Hint::Renamed { to, is_dir, .. } => *to == at || (*is_dir && at.below(to).is_some()),
            _ => false,
        })
    }

    /// Waits until everything before this call has been heard: a file in a watched directory tells.
    pub fn sync(&mut self, dir: &Path) {
        let cookie = dir.join(format!("cookie-{:?}", Instant::now()));
        fs::write(&cookie, "").unwrap();
        self.hear_name(&cookie);
        fs::remove_file(&cookie).unwrap();
    }

    pub fn forget(&mut self) {
        self.heard.clear();
    }
}
