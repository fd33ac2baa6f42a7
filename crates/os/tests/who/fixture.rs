//! A watched directory, and what is known of who wrote there.

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use waxseal_model::RawPath;
use waxseal_os::process::{Processes, Source, Window, Writer, uptime};
use waxseal_os::watcher::{Hint, Options, Process, WatchRoot, Watcher};

/// Who wrote a file, as far as events told; `None` when one of them could not be traced.
pub type Heard = BTreeMap<Vec<u8>, Vec<Option<Arc<Writer>>>>;

pub struct Watched {
    pub dir: tempfile::TempDir,
    pub processes: Arc<Processes>,
    watcher: Watcher,
    since: u64,
    heard: Heard,
    /// How often the end of some work was waited for.
    ends: usize,
    serving: Option<std::thread::JoinHandle<()>>,
}

/// Whether this user may watch filesystems.
pub fn is_root() -> bool {
    fs::read_to_string("/proc/self/status").unwrap().contains("\nUid:\t0\t")
}

/// A watched directory whose writers are known from programs in the kernel; `None`, said aloud, where that is refused.
pub fn with_record(test: &str) -> Option<Watched> {
    if !is_root() {
        println!("SKIPPED {test}: needs root");
        return None;
    }
    let processes = Processes::start(false).unwrap();
    if processes.source() != Some(Source::ExecCache) {
        println!("SKIPPED {test}: BPF is refused here: {:?}", processes.refused());
        return None;
    }
    Some(Watched::new(processes))
}

/// What the proc connector tells; `None`, said aloud, where that is refused.
pub fn from_connector(test: &str) -> Option<Processes> {
    match Processes::from(Source::ProcConnector, false) {
        Ok(processes) => Some(processes),
        Err(why) => {
            println!("SKIPPED {test}: {why}");
            None
        }
    }
}

impl Watched {
    pub fn new(processes: Processes) -> Watched {
        let dir = tempfile::tempdir_in("/dev/shm").unwrap();
        let root = WatchRoot {
            path: RawPath::normalized(dir.path().as_os_str().as_bytes()).unwrap(),
            cross_filesystems: false,
        };
        let options = Options { pidfds: processes.wants_pidfds(), ..Options::default() };
        let watcher = Watcher::start(&[root], options).unwrap();
        processes.follow(&watcher);
        let processes = Arc::new(processes);
        let server = Arc::clone(&processes);
        let serving = Some(std::thread::spawn(move || server.serve()));
        Watched { dir, processes, watcher, since: uptime(), heard: Heard::new(), ends: 0, serving }
    }

    /// Nobody takes records any more but who reads.
    #[must_use]
    pub fn without_server(mut self) -> Watched {
        self.processes.end();
        if let Some(serving) = self.serving.take() {
            serving.join().unwrap();
        }
        self
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Reads what there is to read, after `pause`.
    pub fn read(&mut self, pause: Duration) {
        self.watcher.wait(Some(Duration::from_millis(200))).unwrap();
        std::thread::sleep(pause);
        let (before, mut hints) = (uptime(), Vec::new());
        self.watcher.read(&mut hints).unwrap();
        self.processes.follow(&self.watcher);
        self.processes.catch_up();
        let window = Window { since: self.since, until: uptime(), read: before };
        if self.watcher.is_drained() {
            self.since = before;
        }
        for hint in hints {
            match hint {
                Hint::Name { path, process, .. } => self.hear(path.name(), process, window),
                Hint::Renamed { to, process, .. } => self.hear(to.name(), process, window),
                _ => {}
            }
        }
    }

    fn hear(&mut self, name: &[u8], process: Option<Process>, window: Window) {
        let writer = process.and_then(|process| {
            let pid = u32::try_from(process.pid).unwrap();
            self.processes.writer(pid, process.pidfd.as_deref().map(|fd| fd.as_fd()), window)
        });
        self.heard.entry(name.to_vec()).or_default().push(writer);
    }

    /// Does `work` on another thread, reading meanwhile and until all of it is read; who wrote, by name.
    pub fn while_doing<T: Send>(
        &mut self,
        pause: Duration,
        work: impl FnOnce(&Path) -> T + Send,
    ) -> (T, Heard) {
        let (dir, done) = (self.dir.path().to_path_buf(), AtomicBool::new(false));
        // Another name each time: the removal of the last one is still to be heard of.
        self.ends += 1;
        let end = format!("the end {}", self.ends);
        let result = std::thread::scope(|scope| {
            let worker = scope.spawn(|| {
                let result = work(&dir);
                // The last event of all.
                fs::write(dir.join(&end), "").unwrap();
                done.store(true, Ordering::Release);
                result
            });
            while !done.load(Ordering::Acquire) {
                self.read(pause);
            }
            worker.join().unwrap()
        });
        while !self.heard.contains_key(end.as_bytes()) {
            self.read(pause);
        }
        let mut heard = std::mem::take(&mut self.heard);
        heard.retain(|name, _| !name.starts_with(b"the end "));
        fs::remove_file(self.path(&end)).unwrap();
        (result, heard)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.processes.end();
        if let Some(serving) = self.serving.take() {
            let _ = serving.join();
        }
    }
}

/// The executable and the arguments of a writer.
pub fn program_of(writer: &Writer) -> (String, Vec<String>) {
    let program = writer.program.as_ref();
    let exe = program.and_then(|program| program.exe.as_ref());
    let args = program.map(|program| program.args.to_vec()).unwrap_or_default();
    let args = args.split(|byte| *byte == 0).map(|arg| String::from_utf8_lossy(arg).into_owned());
    let mut args: Vec<String> = args.collect();
    args.pop();
    (exe.map(|exe| String::from_utf8_lossy(exe.as_bytes()).into_owned()).unwrap_or_default(), args)
}

/// Where a program of the system really lies.
pub fn real(program: &str) -> String {
    let found = ["/usr/bin", "/bin"].map(|dir| Path::new(dir).join(program));
    let found = found.into_iter().find(|path| path.exists()).unwrap();
    found.canonicalize().unwrap().to_str().unwrap().to_owned()
}
