//! Systems without a guard.

pub use crate::watching::touch::{By, Told, Touch};
use std::io;
use std::path::{Path, PathBuf};

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
