//! What is to be done to put one path back.

use waxseal_model::{Change, Digest, FileState, FileType, RawPath};

/// One path that is put back.
#[derive(Debug)]
pub struct Step {
    /// The change that is undone.
    pub change: Change,
    /// What was sealed there; nothing when absent.
    pub sealed: Option<FileState>,
    /// What stands there now; nothing when absent.
    pub now: Option<FileType>,
    /// Which object that is.
    pub inode: Option<u64>,
    /// What it takes.
    pub todo: Todo,
}

/// What it takes.
#[derive(Debug)]
pub enum Todo {
    /// It was not sealed.
    Remove,
    /// It stands under another name.
    MoveBack,
    /// Only owner, mode, times and the like differ.
    Adjust,
    /// A directory.
    MakeDirectory,
    /// A link, a pipe or a device.
    Make,
    /// A file, with its content.
    Write(Digest),
    /// Another name of a file that is whole, or is put back as well.
    Link(RawPath),
}

impl Todo {
    /// In words, before a path.
    pub fn words(&self) -> &'static str {
        match self {
            Todo::Remove => "remove",
            Todo::MoveBack => "move back",
            Todo::Adjust => "reset the attributes of",
            Todo::MakeDirectory | Todo::Make => "make again",
            Todo::Write(_) => "write the approved content of",
            Todo::Link(_) => "link again",
        }
    }
}

impl Step {
    /// The path that is as it was sealed afterwards.
    pub fn place(&self) -> &RawPath {
        match (&self.todo, &self.change.from) {
            (Todo::MoveBack, Some(from)) => from,
            (Todo::Write(_) | Todo::Link(_) | Todo::Make | Todo::MakeDirectory, Some(from))
                if self.is_move() =>
            {
                from
            }
            _ => &self.change.path,
        }
    }

    /// Whether it is about something that has another name now.
    pub fn is_move(&self) -> bool {
        self.change.kind == waxseal_model::ChangeKind::Moved
    }
}
