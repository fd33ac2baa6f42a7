//! What Windows does in another way than Unix. Parsers that call nothing are tested everywhere.

pub mod reparse;
pub mod wide;

#[cfg(windows)]
pub mod accounts;
#[cfg(windows)]
pub mod attributes;
#[cfg(windows)]
pub mod control;
#[cfg(windows)]
pub mod files;
#[cfg(windows)]
mod handle;
#[cfg(windows)]
pub mod limits;
#[cfg(windows)]
pub mod paths;
#[cfg(windows)]
pub mod priority;
#[cfg(windows)]
pub mod signals;
#[cfg(windows)]
pub mod terminal;
