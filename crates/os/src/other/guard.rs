//! Systems without a guard.

use crate::watching::hint::{Process, What};
use std::io;
use std::path::{Path, PathBuf};

/// What happened to a name, by one process.
#[derive(Debug, Clone)]
pub struct Touch {
    /// The name in the directory; `None`: the directory itself.
    pub name: Option<Vec<u8>>,
    /// How.
    pub what: What,
    /// By whom.
    pub by: By,
}

/// By whom something was done.
#[derive(Debug, Clone)]
pub enum By {
    /// By this process, or by another that runs this program.
    Us,
    /// By a process that runs another program.
    Another(Process),
    /// By a process that is over.
    Gone(Process),
    /// The kernel does not tell.
    Unknown,
}

/// What a guard says.
#[derive(Debug, Default)]
pub struct Told {
    /// What happened.
    pub touches: Vec<Touch>,
    /// Anything may have happened.
    pub anything: bool,
    /// Nothing more was waiting.
    pub drained: bool,
    /// It was ended.
    pub ended: bool,
}

/// There is none.
#[derive(Debug)]
pub enum Guard {}

/// Reaches nobody.
#[derive(Debug, Clone)]
pub struct Bell(());

impl Bell {
    /// Nobody looks.
    pub fn look(&self) {}

    /// There is nothing to end.
    pub fn end(&self) {}
}

impl Guard {
    /// There is none.
    ///
    /// # Errors
    /// Always.
    pub fn new(_dir: &Path, _written: &[PathBuf]) -> io::Result<Guard> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Never.
    pub fn names_processes(&self) -> bool {
        match *self {}
    }

    /// Never called.
    pub fn bell(&self) -> Bell {
        match *self {}
    }

    /// Never called.
    ///
    /// # Errors
    /// None.
    pub fn wait(&mut self) -> io::Result<Told> {
        match *self {}
    }
}
