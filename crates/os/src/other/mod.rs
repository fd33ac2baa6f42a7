//! What systems besides Linux share: watching by way of the `notify` crate, and nothing where Linux alone needs it.

pub mod front;
pub mod guard;
pub mod mounts;
pub mod put;
pub mod remote;
pub mod watcher;
