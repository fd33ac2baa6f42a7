//! Mounts that may never answer are not told from others here: a call on one takes as long as it takes.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use waxseal_model::RawPath;

/// A mount that may never answer. There is none.
#[derive(Debug)]
pub struct Remote(Infallible);

impl Remote {
    /// Whether a call has been left behind, so that no other is made.
    pub fn is_stuck(&self) -> bool {
        match self.0 {}
    }
}

/// The mounts of this process that may never answer.
#[derive(Debug, Clone, Default)]
pub struct Mounts;

impl Mounts {
    /// Those there are now.
    pub fn now() -> Mounts {
        Mounts
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        true
    }

    /// The mount that holds an absolute path, if it is one that may never answer.
    pub fn holding(&self, _: &RawPath) -> Option<Arc<Remote>> {
        None
    }

    /// Those right inside a directory, by name.
    pub fn inside(&self, _: impl FnOnce() -> RawPath) -> Vec<(Vec<u8>, Arc<Remote>)> {
        Vec::new()
    }
}

/// How long a call may take: of no meaning here.
pub fn set_deadline(_: Duration) {}
