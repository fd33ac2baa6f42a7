//! What macOS does in another way than Linux.

pub mod files;
pub mod priority;
