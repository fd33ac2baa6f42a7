//! Who wrote: which process had a number when something happened, even if it is over by now.
//!
//! In: process numbers from the kernel's events, each with the time within which the event happened. Out: the
//! [`Writer`], or that it is not known; never a guess. Known in advance, since a process that lives for a millisecond
//! cannot be asked: programs in the kernel tell of every process that begins, becomes another program, and ends.

#[cfg(target_os = "linux")]
mod audit;
#[cfg(target_os = "linux")]
mod btf;
#[cfg(target_os = "linux")]
mod connector;
#[cfg(target_os = "linux")]
mod executable;
#[cfg(target_os = "linux")]
mod kernel;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
mod lives;
#[cfg(target_os = "linux")]
mod netlink;
#[cfg(not(target_os = "linux"))]
mod other;
#[cfg(target_os = "linux")]
mod own;
#[cfg(target_os = "linux")]
mod proc;
#[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "nobody is known on other systems"))]
mod program;
#[cfg(target_os = "linux")]
mod record;
#[cfg(target_os = "linux")]
mod ring;
#[cfg(target_os = "linux")]
mod session;
mod writer;

#[cfg(target_os = "linux")]
pub use audit::record as audit_record;
#[cfg(target_os = "linux")]
pub use executable::{Executable, open_executable};
#[cfg(target_os = "linux")]
pub use linux::{Processes, uptime};
#[cfg(not(target_os = "linux"))]
pub use other::{Executable, Origin, Processes, open_executable, origin, own_program, uptime};
#[cfg(target_os = "linux")]
pub use own::{own_program, same_program};
pub use program::{ExeFile, Program, Tally};
#[cfg(target_os = "linux")]
pub use session::{Origin, origin};
pub use waxseal_model::actor::ActorSource as Source;
pub use writer::{Ancestor, Key, State, Window, Writer, boot_time};

/// How many programs are remembered that a process ran before the one that it runs.
pub const EARLIER: usize = waxseal_model::actor::EARLIER;
/// How many ancestors of a process are told.
pub const ANCESTORS: usize = 32;
