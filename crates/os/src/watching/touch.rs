//! What a guard over a directory says, on every system.

use super::hint::{Process, What};

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
    /// By a process that is over, so that its program is to be found out in another way.
    Gone(Process),
    /// The kernel does not tell.
    Unknown,
}

/// What a guard says.
#[derive(Debug, Default)]
pub struct Told {
    /// What happened, in order, as far as that is known.
    pub touches: Vec<Touch>,
    /// Anything may have happened: events were lost, or somebody asked to look.
    pub anything: bool,
    /// Nothing more was waiting: all that happened before was told by now.
    pub drained: bool,
    /// The guard was ended.
    pub ended: bool,
}
