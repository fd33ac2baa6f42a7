//! Putting back what was seen: see [`waxseal_os::put`].

pub use waxseal_os::files::{Dir, FileError};
pub use waxseal_os::put::{
    Draft, TEMPORARY, adjust, link, loosen, make, move_back, remove, sync_filesystem, sync_names,
};
