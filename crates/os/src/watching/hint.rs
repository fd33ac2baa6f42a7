//! What a watcher says.

#[cfg(target_os = "linux")]
use crate::fanotify::{
    FAN_ATTRIB, FAN_CLOSE_WRITE, FAN_CREATE, FAN_DELETE, FAN_MODIFY, FAN_MOVED_FROM, FAN_MOVED_TO, FAN_RENAME,
};
#[cfg(target_os = "linux")]
use rustix::fs::inotify::ReadFlags;
#[cfg(target_os = "linux")]
use std::os::fd::OwnedFd;
#[cfg(target_os = "linux")]
use std::sync::Arc;
use waxseal_model::{DeviceNumber, RawPath};

/// The process that did it.
#[derive(Debug, Clone)]
pub struct Process {
    /// Its number, which may be another's by now.
    pub pid: i32,
    /// A descriptor of it, when it was asked for ([`super::Options::pidfds`]) and the process had not ended when the
    /// event was read. Keep it no longer than needed: it counts as an open file.
    #[cfg(target_os = "linux")]
    pub pidfd: Option<Arc<OwnedFd>>,
}

/// What kinds of things happened, several of them perhaps, in an order that nobody knows.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct What(u8);

impl What {
    /// Content was written or cut.
    pub const CONTENT: What = What(1);
    /// A file open for writing was closed.
    pub const CLOSED: What = What(2);
    /// Attributes were changed.
    pub const METADATA: What = What(4);
    /// The name was made.
    pub const CREATED: What = What(8);
    /// The name was removed.
    pub const DELETED: What = What(16);
    /// The name was moved here or away.
    pub const MOVED: What = What(32);

    /// Whether any of `other` happened.
    pub fn has(self, other: What) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether nothing but `other` happened.
    pub fn is_only(self, other: What) -> bool {
        self.0 & !other.0 == 0
    }

    /// Both together.
    #[must_use]
    pub const fn with(self, other: What) -> What {
        What(self.0 | other.0)
    }

    /// Whether a name came, went or moved.
    pub fn is_of_names(self) -> bool {
        self.has(What::CREATED.with(What::DELETED).with(What::MOVED))
    }

    #[cfg(target_os = "linux")]
    pub(crate) fn of_fanotify(mask: u64) -> What {
        let pairs = [
            (FAN_MODIFY, What::CONTENT),
            (FAN_CLOSE_WRITE, What::CLOSED),
            (FAN_ATTRIB, What::METADATA),
            (FAN_CREATE, What::CREATED),
            (FAN_DELETE, What::DELETED),
            (FAN_RENAME | FAN_MOVED_FROM | FAN_MOVED_TO, What::MOVED),
        ];
        pairs.into_iter().filter(|(bit, _)| mask & bit != 0).fold(What(0), |what, (_, more)| what.with(more))
    }

    #[cfg(target_os = "linux")]
    pub(crate) fn of_inotify(flags: ReadFlags) -> What {
        let pairs = [
            (ReadFlags::MODIFY, What::CONTENT),
            (ReadFlags::CLOSE_WRITE, What::CLOSED),
            (ReadFlags::ATTRIB, What::METADATA),
            (ReadFlags::CREATE, What::CREATED),
            (ReadFlags::DELETE, What::DELETED),
            (ReadFlags::MOVED_FROM | ReadFlags::MOVED_TO, What::MOVED),
        ];
        pairs
            .into_iter()
            .filter(|(bits, _)| flags.intersects(*bits))
            .fold(What(0), |what, (_, more)| what.with(more))
    }
}

impl std::fmt::Debug for What {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names = ["content", "closed", "metadata", "created", "deleted", "moved"];
        let set: Vec<_> =
            names.iter().enumerate().filter(|(i, _)| self.0 & (1 << i) != 0).map(|(_, n)| *n).collect();
        f.write_str(&set.join("|"))
    }
}

/// Why events were lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Loss {
    /// The kernel's queue was full.
    Overflow,
    /// The kernel's queue cannot be read, or an event in it was not understood.
    Unreadable,
    /// A directory that the kernel named could not be found.
    Unresolved,
    /// The user's inotify watches are used up.
    Limit,
    /// Directories of an inotify tree moved faster than they could be followed.
    Astray,
    /// Another backend had to take over.
    OtherBackend,
}

impl Loss {
    /// In a word, for programs.
    pub const fn word(self) -> &'static str {
        match self {
            Loss::Overflow => "overflow",
            Loss::Unreadable => "unreadable",
            Loss::Unresolved => "unresolved",
            Loss::Limit => "limit",
            Loss::Astray => "astray",
            Loss::OtherBackend => "backend",
        }
    }
}

/// Where something may have changed. A hint is never a fact: the kernel merges events and says nothing of their order,
/// so whoever gets a hint looks at what is there now.
///
/// Paths are given below the roots as the roots were given, whatever links lead to them.
#[derive(Debug, Clone)]
pub enum Hint {
    /// Something at this name may have changed.
    Name {
        /// Its path.
        path: RawPath,
        /// A directory came, went or was moved: look at everything below the name as well.
        deep: bool,
        /// What happened.
        what: What,
        /// Who did it, if known.
        process: Option<Process>,
    },
    /// A name was moved. Both names are to be looked at, with all that is below when it is a directory.
    Renamed {
        /// Its path before.
        from: RawPath,
        /// Its path now.
        to: RawPath,
        /// Whether it is a directory.
        is_dir: bool,
        /// Who did it, if known.
        process: Option<Process>,
    },
    /// The directory's own attributes may have changed.
    Itself {
        /// The directory.
        dir: RawPath,
        /// Who did it, if known.
        process: Option<Process>,
    },
    /// The clock on the wall was set, or the system slept.
    ClockSet,
    /// An object with several names was changed through a name that lies outside of all roots, or its number of names
    /// was: look at all the names of it that are known. Only for objects that have, or had, several names.
    Object {
        /// Its inode number.
        inode: u64,
        /// Its device, as `stat` tells it.
        device: DeviceNumber,
        /// Who did it, if known.
        process: Option<Process>,
    },
    /// Events were lost: anything below the root may have changed.
    Lost {
        /// The root.
        root: RawPath,
        /// Why.
        loss: Loss,
    },
    /// Something was mounted or unmounted at, above or below this place: everything below it may have changed.
    MountChanged {
        /// The place.
        at: RawPath,
    },
    /// A filesystem reports that it is damaged.
    FilesystemError {
        /// A root that lies on it.
        root: RawPath,
        /// The error number that it gives, such as `EUCLEAN` (117).
        errno: i32,
    },
}
