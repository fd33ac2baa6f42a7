//! Who made a change.

/// How it is known who made a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ActorSource {
    /// Programs in the kernel told of the process before it could write.
    ExecCache,
    /// The system's audit records.
    Audit,
    /// The kernel told of the process, and it was asked while it lived.
    ProcConnector,
    /// The process was asked after the event.
    Pidfd,
}

impl ActorSource {
    /// All of them, the best first.
    pub const ALL: [ActorSource; 4] =
        [ActorSource::ExecCache, ActorSource::Audit, ActorSource::ProcConnector, ActorSource::Pidfd];

    /// The contract's name.
    pub const fn name(self) -> &'static str {
        match self {
            ActorSource::ExecCache => "exec-cache",
            ActorSource::Audit => "audit",
            ActorSource::ProcConnector => "proc-connector",
            ActorSource::Pidfd => "pidfd",
        }
    }

    /// The source of this name.
    pub fn from_name(name: &str) -> Option<ActorSource> {
        ActorSource::ALL.into_iter().find(|source| source.name() == name)
    }
}
