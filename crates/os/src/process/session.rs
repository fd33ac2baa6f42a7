//! Where a login session comes from: its terminal, and the host at the other end.
//!
//! In: a session's number, or the processes above a writer. Out: what `systemd-logind` keeps in
//! `/run/systemd/sessions` (its own format, `KEY=value` lines), or else the login records of utmp(5).

use rustix::fs::{Mode, OFlags};
use std::os::fd::OwnedFd;

/// Where a session comes from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Origin {
    /// Its terminal, such as `pts/1`.
    pub terminal: Option<String>,
    /// The remote host, as the login program wrote it down.
    pub remote: Option<String>,
}

/// What a file of sessions may have, in bytes.
const SMALL: usize = 16 * 1024;
/// How much of utmp is read.
const LARGE: usize = 1 << 20;
/// A login that has not ended (`USER_PROCESS`).
const LOGIN: i16 = 7;

/// The origin of a session: by the name that systemd gave it, or its audit number, which systemd takes for a name as
/// well; otherwise by the login record of one of these processes.
pub fn origin(scope: Option<&str>, audit: Option<u32>, uid: Option<u32>, pids: &[u32]) -> Origin {
    let scope = scope.and_then(|unit| unit.strip_prefix("session-")?.strip_suffix(".scope"));
    let names = [scope.map(str::to_owned), audit.map(|number| number.to_string())];
    for name in
        names.into_iter().flatten().filter(|name| name.bytes().all(|byte| byte.is_ascii_alphanumeric()))
    {
        let text = open(&format!("/run/systemd/sessions/{name}")).and_then(|file| read(&file, SMALL));
        if let Some(origin) = text.and_then(|text| parse_session(&text, uid)) {
            return origin;
        }
    }
    let records =
        ["/run/utmp", "/var/run/utmp"].into_iter().find_map(open).and_then(|file| read(&file, LARGE));
    records.and_then(|records| parse_utmp(&records, pids)).unwrap_or_default()
}

fn open(path: &str) -> Option<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    rustix::fs::open(path, flags, Mode::empty()).ok()
}

fn read(file: &OwnedFd, most: usize) -> Option<Vec<u8>> {
    let mut bytes = vec![0; most];
    let mut filled = 0;
    while let Some(room) = bytes.get_mut(filled..).filter(|room| !room.is_empty()) {
        match rustix::io::retry_on_intr(|| rustix::io::read(file, &mut *room)).ok()? {
            0 => break,
            read => filled += read,
        }
    }
    bytes.truncate(filled);
    Some(bytes)
}

/// Only when the session is of this user, where one is known: numbers are used again.
fn parse_session(text: &[u8], uid: Option<u32>) -> Option<Origin> {
    let text = String::from_utf8_lossy(text);
    let value = |key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))?;
        let line = line.trim_matches('"');
        (!line.is_empty()).then(|| line.to_owned())
    };
    let of: u32 = value("UID")?.parse().ok()?;
    if uid.is_some_and(|uid| uid != of) {
        return None;
    }
    Some(Origin { terminal: value("TTY"), remote: value("REMOTE_HOST") })
}

/// Offsets of `struct utmp` (utmp(5)), which are the same on all machines; its size is not.
fn parse_utmp(records: &[u8], pids: &[u32]) -> Option<Origin> {
    let number = |record: &[u8], at: usize| record.get(at..)?.first_chunk().copied().map(i32::from_ne_bytes);
    let text = |record: &[u8], from: usize, to: usize| {
        let field = record.get(from..to)?;
        let field = field.split(|byte| *byte == 0).next().unwrap_or_default();
        (!field.is_empty()).then(|| String::from_utf8_lossy(field).into_owned())
    };
    let mut logins = records.chunks_exact(size_of::<libc::utmpx>()).filter(|record| {
        let kind = record.first_chunk().copied().map(i16::from_ne_bytes);
        let pid = number(record, 4).and_then(|pid| u32::try_from(pid).ok());
        kind == Some(LOGIN) && pid.is_some_and(|pid| pids.contains(&pid))
    });
    logins.next().map(|record| Origin { terminal: text(record, 8, 40), remote: text(record, 76, 332) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_session_of_systemd_is_read_when_it_is_of_that_user() {
        let text = b"# This is private data. Do not parse.\nUID=1000\nUSER=ada\nTTY=pts/1\nREMOTE=1\nREMOTE_HOST=192.0.2.1\n";
        let origin = Origin { terminal: Some("pts/1".into()), remote: Some("192.0.2.1".into()) };
        assert_eq!(parse_session(text, Some(1000)), Some(origin.clone()));
        assert_eq!(parse_session(text, None), Some(origin));
        assert_eq!(parse_session(text, Some(1001)), None);
        assert_eq!(parse_session(b"UID=1000\nTTY=\n", None), Some(Origin::default()));
        assert_eq!(parse_session(b"TTY=pts/1\n", None), None);
    }

    fn record(kind: i16, pid: i32, line: &[u8], host: &[u8]) -> Vec<u8> {
        let mut record = vec![0; size_of::<libc::utmpx>()];
        record[..2].copy_from_slice(&kind.to_ne_bytes());
        record[4..8].copy_from_slice(&pid.to_ne_bytes());
        record[8..8 + line.len()].copy_from_slice(line);
        record[76..76 + host.len()].copy_from_slice(host);
        record
    }

    #[test]
    fn a_login_record_is_found_by_the_process_above() {
        let records = [
            record(2, 7, b"~", b"6.1.0"),
            record(LOGIN, 8, b"pts/0", b"198.51.100.7"),
            record(LOGIN, 9, b"tty1", b""),
        ]
        .concat();
        let remote = Origin { terminal: Some("pts/0".into()), remote: Some("198.51.100.7".into()) };
        assert_eq!(parse_utmp(&records, &[100, 8, 1]), Some(remote));
        assert_eq!(parse_utmp(&records, &[9]), Some(Origin { terminal: Some("tty1".into()), remote: None }));
        assert_eq!(parse_utmp(&records, &[7]), None);
        assert_eq!(parse_utmp(&records[..100], &[7, 8, 9]), None);
    }

    proptest! {
        #[test]
        fn no_text_breaks_it(text in proptest::collection::vec(any::<u8>(), 0..1200)) {
            let _ = (parse_session(&text, None), parse_utmp(&text, &[0, 1]));
        }
    }
}
