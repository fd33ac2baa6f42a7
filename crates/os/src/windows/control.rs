//! Commands to a running monitor: there is no way to it here yet, so each says so.

use std::convert::Infallible;
use std::io;
use std::path::Path;
use std::time::Duration;

fn unsupported<T>() -> io::Result<T> {
    Err(io::Error::new(
        io::ErrorKind::Unsupported,
        "commands to a running monitor are not possible on Windows",
    ))
}

/// Accepts peers. There is none.
#[derive(Debug)]
pub struct Listener(Infallible);

/// Ends a [`Listener::accept`] from another thread.
#[derive(Debug, Clone)]
pub struct Closer(Infallible);

impl Closer {
    /// Makes the present and every later call return.
    pub fn close(&self) {
        match self.0 {}
    }
}

impl Listener {
    /// Listens at `name` in `dir`.
    ///
    /// # Errors
    /// `Unsupported`, always.
    pub fn bind(_: &Path, _: &str) -> io::Result<Listener> {
        unsupported()
    }

    /// What ends it.
    pub fn closer(&self) -> Closer {
        match self.0 {}
    }

    /// Waits for the next peer.
    ///
    /// # Errors
    /// None.
    pub fn accept(&self) -> io::Result<Option<Stream>> {
        match self.0 {}
    }
}

/// A connection. There is none.
#[derive(Debug)]
pub struct Stream(Infallible);

impl Stream {
    /// Connects to whoever listens at `name` in `dir`.
    ///
    /// # Errors
    /// `Unsupported`, always.
    pub fn connect(_: &Path, _: &str) -> io::Result<Stream> {
        unsupported()
    }

    /// Whether the peer is this user or root.
    ///
    /// # Errors
    /// None.
    pub fn is_trusted(&self) -> io::Result<bool> {
        match self.0 {}
    }

    /// Reads a line.
    ///
    /// # Errors
    /// None.
    pub fn read_line(&mut self, _: usize, _: Option<Duration>) -> io::Result<Option<Vec<u8>>> {
        match self.0 {}
    }

    /// Writes a line.
    ///
    /// # Errors
    /// None.
    pub fn write_line(&mut self, _: &str, _: Duration) -> io::Result<()> {
        match self.0 {}
    }

    /// Whether the peer has ended.
    pub fn is_over(&self) -> bool {
        match self.0 {}
    }
}
