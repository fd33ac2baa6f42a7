//! Every system call that Waxseal makes: safe opens, attributes, directory lists, kernel events.
//!
//! In: names and descriptors. Out: file states and hints, as plain types. The sole home of unsafe system calls.

pub mod accounts;
pub mod attributes;
pub mod files;
pub mod limits;
pub mod paths;
pub mod terminal;
