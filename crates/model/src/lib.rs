//! The words of Waxseal as plain types: paths, file states, changes, and the encodings that name them.
//!
//! In: nothing. Out: types that every other crate speaks. No I/O, no clock, no policy.

pub mod acl;
pub mod actor;
pub mod attribute;
pub mod caps;
pub mod cgroup;
pub mod change;
pub mod control;
pub mod digest;
pub mod escape;
pub mod flags;
pub mod json;
pub mod path;
pub mod record;
pub mod secrets;
pub mod state;
pub mod time;
pub mod wire;

pub use actor::{Actor, ActorSource};
pub use attribute::{Attribute, AttributeSet};
pub use change::{Change, ChangeId, ChangeKind, SetId, Severity, Source};
pub use digest::{Algorithm, Digest, Digests};
pub use path::RawPath;
pub use state::{DeviceNumber, Extra, FileState, FileType};
pub use time::Timestamp;
