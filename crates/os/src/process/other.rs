//! Systems whose events name no process: nobody is ever known.

use super::{Source, State, Window, Writer};
use crate::watcher;
use std::sync::Arc;

/// Knows nobody.
#[derive(Debug, Default)]
pub struct Processes(());

impl Processes {
    /// Begins to know nobody.
    ///
    /// # Errors
    /// None.
    pub fn start(_audit_rules: bool) -> std::io::Result<Processes> {
        Ok(Processes(()))
    }

    /// The same.
    ///
    /// # Errors
    /// None.
    pub fn without_record() -> std::io::Result<Processes> {
        Ok(Processes(()))
    }

    /// There is no source.
    pub fn source(&self) -> Option<Source> {
        None
    }

    /// Nothing was tried.
    pub fn refused(&self) -> &[(Source, String)] {
        &[]
    }

    /// No records are kept.
    pub fn losses(&self) -> u64 {
        0
    }

    /// Always.
    pub fn started(&self) -> u64 {
        0
    }

    /// Events name no process.
    pub fn wants_pidfds(&self) -> bool {
        false
    }

    /// Events name no process.
    pub fn follow(&self, _watcher: &watcher::Watcher) {}

    /// There is nothing to take into account.
    pub fn catch_up(&self) {}

    /// There is nothing to do.
    pub fn serve(&self) {}

    /// Nothing was begun.
    pub fn end(&self) {}

    /// Nobody.
    pub fn writer_of(&self, _process: &watcher::Process, _window: Window) -> Option<Arc<Writer>> {
        None
    }

    /// As it was known.
    pub fn state_now(&self, writer: &Writer) -> State {
        writer.state
    }
}

/// The file that a process ran.
#[derive(Debug)]
pub struct Executable {
    /// Open for reading.
    pub file: crate::files::File,
    /// As it was when it was opened.
    pub state: waxseal_model::FileState,
    /// Whether it was found by its name.
    pub by_name: bool,
}

/// Nobody's is known.
pub fn open_executable(_writer: &Writer) -> Option<Executable> {
    None
}

/// Where a login session comes from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Origin {
    /// Its terminal.
    pub terminal: Option<String>,
    /// The remote host.
    pub remote: Option<String>,
}

/// Not known.
pub fn origin(_scope: Option<&str>, _audit: Option<u32>, _uid: Option<u32>, _pids: &[u32]) -> Origin {
    Origin::default()
}

/// The beginning of all processes that are known, of which there are none.
pub fn uptime() -> u64 {
    0
}

/// Not known.
pub fn own_program() -> Option<waxseal_model::RawPath> {
    None
}
