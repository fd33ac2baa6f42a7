//! Every system call that Waxseal makes: safe opens, attributes, directory lists, kernel events.
//!
//! In: names and descriptors. Out: file states and hints, as plain types. The sole home of unsafe system calls.

pub mod accounts;
pub mod attributes;
#[cfg(target_os = "linux")]
pub mod control;
#[cfg(target_os = "linux")]
pub mod fanotify;
pub mod files;
#[cfg(target_os = "linux")]
pub mod front;
#[cfg(target_os = "linux")]
pub mod inotify;
pub mod limits;
#[cfg(target_os = "linux")]
pub mod mounts;
pub mod paths;
#[cfg(target_os = "linux")]
pub mod priority;
#[cfg(target_os = "linux")]
pub mod process;
#[cfg(target_os = "linux")]
pub mod remote;
pub mod signals;
pub mod terminal;
#[cfg(target_os = "linux")]
pub mod watcher;
