//! The names of users. Windows knows owners by security identifiers, which are part of what is compared as
//! `windows.security`; there are no numbers to look up.

/// Names by number: there are none.
#[derive(Debug, Default)]
pub struct Accounts;

impl Accounts {
    /// The name of a user, if the system knows one.
    pub fn user(&mut self, _: u32) -> Option<String> {
        None
    }

    /// The name of a group, if the system knows one.
    pub fn group(&mut self, _: u32) -> Option<String> {
        None
    }
}

/// The name of the user who runs this process.
pub fn me() -> String {
    std::env::var("USERNAME").unwrap_or_else(|_| "unknown".into())
}
