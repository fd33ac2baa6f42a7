//! The names of users and groups, through the system's own look-up.

use std::collections::HashMap;
use std::ffi::CStr;

/// Names by number, asked once each and remembered until dropped.
#[derive(Debug, Default)]
pub struct Accounts {
    users: HashMap<u32, Option<String>>,
    groups: HashMap<u32, Option<String>>,
}

/// The name of the user this process acts as, or the number when there is none.
pub fn me() -> String {
    let uid = crate::limits::effective_uid();
    user_name(uid).unwrap_or_else(|| uid.to_string())
}

/// The name, or else the number, of the user who logged in to the session that this process belongs to, if anybody did
/// (`/proc/self/loginuid`, which no process without the right `CAP_AUDIT_CONTROL` can set anew).
#[allow(clippy::disallowed_methods, reason = "a file of /proc is neither a link nor a FIFO")]
pub fn login() -> Option<String> {
    let text = std::fs::read_to_string("/proc/self/loginuid").ok()?;
    let uid: u32 = text.trim().parse().ok().filter(|uid| *uid != u32::MAX)?;
    Some(user_name(uid).unwrap_or_else(|| uid.to_string()))
}

/// How many names are remembered; more numbers than this are asked anew.
const REMEMBERED: usize = 4096;
/// The largest buffer offered to the system for one account.
const LARGEST: usize = 1 << 20;

impl Accounts {
    /// The name of a user, if the system knows one.
    pub fn user(&mut self, uid: u32) -> Option<String> {
        remember(&mut self.users, uid, user_name)
    }

    /// The name of a group, if the system knows one.
    pub fn group(&mut self, gid: u32) -> Option<String> {
        remember(&mut self.groups, gid, group_name)
    }
}

fn remember(
    known: &mut HashMap<u32, Option<String>>,
    id: u32,
    ask: fn(u32) -> Option<String>,
) -> Option<String> {
    if known.len() >= REMEMBERED {
        known.clear();
    }
    known.entry(id).or_insert_with(|| ask(id)).clone()
}

/// Calls `ask` with growing buffers until the answer fits.
fn with_buffer(
    mut ask: impl FnMut(&mut [libc::c_char]) -> Result<Option<String>, libc::c_int>,
) -> Option<String> {
    let mut buffer = vec![0 as libc::c_char; 1024];
    loop {
        match ask(&mut buffer) {
            Ok(name) => return name,
            Err(libc::ERANGE) if buffer.len() < LARGEST => buffer.resize(buffer.len() * 4, 0),
            Err(_) => return None,
        }
    }
}

#[allow(unsafe_code, reason = "getpwuid_r has no safe wrapper that asks the system's name services")]
fn user_name(uid: u32) -> Option<String> {
    with_buffer(|buffer| {
        // SAFETY: all zero bytes are a valid passwd (null pointers, zero ids).
        let mut entry: libc::passwd = unsafe { std::mem::zeroed() };
        let mut found = std::ptr::null_mut();
        // SAFETY: every pointer is valid for the call, and the length is the buffer's.
        match unsafe { libc::getpwuid_r(uid, &mut entry, buffer.as_mut_ptr(), buffer.len(), &mut found) } {
            0 if found.is_null() => Ok(None),
            // SAFETY: on success pw_name points to a NUL-terminated string within the buffer.
            0 => Ok(Some(unsafe { CStr::from_ptr(entry.pw_name) }.to_string_lossy().into_owned())),
            error => Err(error),
        }
    })
}

#[allow(unsafe_code, reason = "getgrgid_r has no safe wrapper that asks the system's name services")]
fn group_name(gid: u32) -> Option<String> {
    with_buffer(|buffer| {
        // SAFETY: all zero bytes are a valid group (null pointers, zero ids).
        let mut entry: libc::group = unsafe { std::mem::zeroed() };
        let mut found = std::ptr::null_mut();
        // SAFETY: every pointer is valid for the call, and the length is the buffer's.
        match unsafe { libc::getgrgid_r(gid, &mut entry, buffer.as_mut_ptr(), buffer.len(), &mut found) } {
            0 if found.is_null() => Ok(None),
            // SAFETY: on success gr_name points to a NUL-terminated string within the buffer.
            0 => Ok(Some(unsafe { CStr::from_ptr(entry.gr_name) }.to_string_lossy().into_owned())),
            error => Err(error),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_has_a_name_and_the_highest_number_has_none() {
        let mut accounts = Accounts::default();
        assert_eq!(accounts.user(0).as_deref(), Some("root"));
        assert_eq!(accounts.group(0).as_deref(), Some("root"));
        assert_eq!(accounts.user(u32::MAX - 7), None);
        assert_eq!(accounts.user(u32::MAX - 7), None);
    }
}
