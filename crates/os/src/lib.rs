//! Every system call that Waxseal makes: safe opens, attributes, directory lists, kernel events.
//!
//! In: names and descriptors. Out: file states and hints, as plain types. The sole home of unsafe system calls.

#[cfg(unix)]
pub mod accounts;
pub mod agent;
#[cfg(unix)]
pub mod attributes;
pub mod clock;
pub mod command;
#[cfg(unix)]
pub mod control;
pub mod errno;
#[cfg(target_os = "linux")]
pub mod fanotify;
mod file_error;
#[cfg(target_os = "linux")]
pub mod files;
#[cfg(target_os = "linux")]
pub mod front;
#[cfg(target_os = "linux")]
pub mod guard;
#[cfg(target_os = "linux")]
pub mod inotify;
#[cfg(unix)]
pub mod limits;
pub mod medium;
#[cfg(target_os = "linux")]
pub mod mounts;
pub mod paths;
#[cfg(target_os = "linux")]
pub mod priority;
pub mod process;
#[cfg(target_os = "linux")]
pub mod put;
#[cfg(target_os = "linux")]
pub mod remote;
#[cfg(unix)]
pub mod signals;
mod stamp;
#[cfg(unix)]
pub mod terminal;
#[cfg(target_os = "linux")]
pub mod watcher;
mod watching;

#[cfg(target_os = "macos")]
mod macos;
#[cfg(not(target_os = "linux"))]
mod other;
#[cfg(any(windows, test))]
mod windows;

#[cfg(target_os = "macos")]
pub use macos::{files, priority};
#[cfg(not(target_os = "linux"))]
pub use other::{front, guard, mounts, put, remote, watcher};
#[cfg(windows)]
pub use windows::{accounts, attributes, control, files, limits, priority, signals, terminal};
