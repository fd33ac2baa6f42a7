//! The config while the monitor runs: that it may have changed, and what it says then.

use crate::context::{Context, scan_options, show};
use crate::output::warn;
use std::path::Path;
use std::time::Duration;
use waxseal_engine::monitor::{Handle, Rules};
use waxseal_os::paths;
use waxseal_os::watcher::PathWatch;

/// Who writes a file does so in several steps: it is read when nothing more has happened for this long.
const QUIET: Duration = Duration::from_millis(100);
/// It is read after this long even so.
const LONGEST: Duration = Duration::from_secs(2);

/// Has the config read again whenever it may have changed, on a thread that ends with the process. Where that cannot be
/// noticed it is said, and SIGHUP is what is left.
pub fn follow(path: &Path, handle: Handle) {
    let path = path.to_owned();
    let shown = show(&path);
    let thread = std::thread::Builder::new().name("config".into()).stack_size(256 * 1024);
    let begun = thread.spawn(move || {
        let Err(error) = notice(&path, &handle);
        warn(&unnoticed(&show(&path), &error.to_string()));
    });
    if let Err(error) = begun {
        warn(&unnoticed(&shown, &error.to_string()));
    }
}

fn notice(path: &Path, handle: &Handle) -> anyhow::Result<std::convert::Infallible> {
    let mut watch = PathWatch::new(&paths::from_path(path))?;
    loop {
        // Also at first: it may have changed since it was read.
        handle.reload(false);
        watch.wait(QUIET, LONGEST)?;
    }
}

fn unnoticed(config: &str, why: &str) -> String {
    format!("changes of {config} are not noticed, send SIGHUP to have it read again: {why}")
}

/// Reads the config, and tells a new one from one that it has read before.
pub struct Loader<'a> {
    context: &'a Context,
    /// The text that was read last, or why there was none.
    last: Result<String, String>,
}

impl Loader<'_> {
    /// A loader that has read this text.
    pub fn new(context: &Context, text: String) -> Loader<'_> {
        Loader { context, last: Ok(text) }
    }

    /// The rules by the config as it is now; `None` when nobody asked and it is as it was.
    pub fn load(&mut self, asked: bool) -> Result<Option<Rules>, String> {
        let text = self.context.config_text().map_err(|error| format!("{error:#}"));
        if !asked && text == self.last {
            return Ok(None);
        }
        self.last.clone_from(&text);
        let config = self.context.parse(&text?).map_err(|error| format!("{error:#}"))?;
        let options = scan_options(&config);
        Ok(Some(Rules { coverage: self.context.coverage(config), options }))
    }
}
