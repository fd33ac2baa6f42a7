//! What is asked of the audit system: whether it is on, its rules, and, where the config wants that, rules of our own.
//!
//! In: the right to (`CAP_AUDIT_CONTROL`, in the first namespaces). Out: whether programs that begin are told. Who gets
//! the audit log is never touched. The messages are those of `include/uapi/linux/audit.h`.

use super::super::netlink::{HEADER, Socket, half, split, word};
use rustix::io::Errno;
use std::io::Error;
use std::time::{Duration, Instant};

/// Requests (`AUDIT_GET`, …).
const GET: u16 = 1000;
const SET: u16 = 1001;
const ADD_RULE: u16 = 1011;
const DELETE_RULE: u16 = 1012;
const LIST_RULES: u16 = 1013;
/// `NLMSG_ERROR`, which with the error 0 says that a request was done, and `NLMSG_DONE`.
const ANSWER: u16 = 2;
const DONE: u16 = 3;
/// `NLM_F_REQUEST | NLM_F_ACK`
const REQUEST: u16 = 5;

/// `AUDIT_FILTER_TASK`, `AUDIT_FILTER_EXIT`: rules for processes that begin, and for system calls that end.
const OF_TASKS: u32 = 1;
const OF_CALLS: u32 = 4;
/// `AUDIT_NEVER`, `AUDIT_ALWAYS`
const NEVER: u32 = 0;
const ALWAYS: u32 = 2;
/// `AUDIT_ARCH`, `AUDIT_FILTERKEY`
const ARCH: u32 = 11;
const KEY: u32 = 210;
/// Conditions about who calls (users, groups, login, session, labels: below 100 but for the architecture) leave some
/// programs untold; those about the call's outcome and for whom the record is do not. `AUDIT_SUCCESS`
const SUCCESS: u32 = 104;
/// `AUDIT_EQUAL`
const EQUAL: u32 = 0x4000_0000;
/// The name of our own rules.
const NAME: &[u8] = b"waxseal";

/// Words of the mask of system calls, and fields that a rule may have (`AUDIT_BITMASK_SIZE`, `AUDIT_MAX_FIELDS`).
const WORDS: usize = 64;
/// Where `struct audit_rule_data` has what, in bytes.
const MASK_AT: usize = 12;
const FIELDS_AT: usize = MASK_AT + 4 * WORDS;
const VALUES_AT: usize = FIELDS_AT + 4 * WORDS;
const OPERATORS_AT: usize = VALUES_AT + 4 * WORDS;
const TEXT_AT: usize = OPERATORS_AT + 4 * WORDS;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// A rule with its texts, at most.
const BUFFER: usize = 64 * 1024;
const ROOM: libc::c_int = 1 << 20;

/// The architecture of ordinary programs here (`AUDIT_ARCH_…`) and, after it, of 32-bit programs that run here too, each
/// with the numbers of `execve` and `execveat`.
const ARCHITECTURES: &[(u32, [u32; 2])] = match () {
    () if cfg!(target_arch = "x86_64") => &[(0xC000_003E, [59, 322]), (0x4000_0003, [11, 358])],
    () if cfg!(all(target_arch = "aarch64", target_endian = "little")) => {
        &[(0xC000_00B7, [221, 281]), (0x4000_0028, [11, 387])]
    }
    () if cfg!(target_arch = "riscv64") => &[(0xC000_00F3, [221, 281])],
    () if cfg!(target_arch = "s390x") => &[(0x8000_0016, [11, 354])],
    () if cfg!(all(target_arch = "powerpc64", target_endian = "little")) => &[(0xC000_0015, [11, 362])],
    () => &[],
};

/// The audit system.
#[derive(Debug)]
pub struct Control(Socket);

/// Whether it is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// 0 off, 1 on, 2 on and not to be changed before the next start.
    pub enabled: u32,
    /// The process that gets the log, or 0.
    pub owner: u32,
}

impl Control {
    /// Opens a way to ask.
    ///
    /// # Errors
    /// In a kernel without audit.
    pub fn open() -> Result<Control, Error> {
        Socket::open(libc::NETLINK_AUDIT, 0, ROOM).map(Control)
    }

    /// Asks, and hands on every answer until `is_last` says so. Answers are told apart by their types alone, which is
    /// enough with one question at a time.
    fn ask(&self, kind: u16, data: &[u8], is_last: &mut dyn FnMut(u16, &[u8]) -> bool) -> Result<(), Error> {
        self.0.send(&request(kind, data))?;
        let deadline = Instant::now() + PATIENCE;
        let mut buffer = vec![0; BUFFER];
        loop {
            let mut rest = match self.0.receive(&mut buffer) {
                Ok(bytes) => bytes,
                Err(Errno::AGAIN) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return Err(Error::other("the audit system does not answer"));
                    }
                    self.0.wait(left);
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            while let Some((message, after)) = split(rest) {
                rest = after;
                let body = message.get(HEADER..).unwrap_or_default();
                let kind = half(message, 4).unwrap_or(0);
                if kind == ANSWER
                    && let Some(error) = word(body, 0).map(u32::cast_signed).filter(|error| *error != 0)
                {
                    return Err(Error::from_raw_os_error(error.saturating_neg()));
                }
                if is_last(kind, body) {
                    return Ok(());
                }
            }
        }
    }

    /// Whether it is on.
    ///
    /// # Errors
    /// Without the right, or without an answer.
    pub fn status(&self) -> Result<Status, Error> {
        let mut status = None;
        self.ask(GET, &[], &mut |kind, body| {
            if kind == GET {
                status = status_of(body);
            }
            kind == GET
        })?;
        status.ok_or_else(|| Error::other("the audit system's answer is cut"))
    }

    /// Whether its rules tell of programs that begin.
    ///
    /// # Errors
    /// As [`Control::status`].
    pub fn tells_programs(&self) -> Result<bool, Error> {
        let (mut tells, mut never) = (false, false);
        self.ask(LIST_RULES, &[], &mut |kind, body| {
            if kind == LIST_RULES {
                tells |= tells_programs(body);
                never |= silences_all(body);
            }
            kind == DONE
        })?;
        Ok(tells && !never)
    }

    fn done(&self, kind: u16, data: &[u8]) -> Result<(), Error> {
        self.ask(kind, data, &mut |kind, _| kind == ANSWER)
    }

    fn set_enabled(&self, enabled: bool) -> Result<(), Error> {
        // `struct audit_status`: the mask says that only the second word counts (`AUDIT_STATUS_ENABLED`).
        let words = [1, u32::from(enabled), 0, 0, 0, 0, 0, 0, 0, 0];
        self.done(SET, &words.map(u32::to_ne_bytes).concat())
    }
}

/// Rules of our own, taken back when this is dropped.
#[derive(Debug)]
pub struct Own {
    control: Control,
    rules: Vec<Vec<u8>>,
    switched_on: bool,
}

impl Own {
    /// Has programs that begin told, and switches the audit system on when it is off.
    ///
    /// # Errors
    /// Without the right, or when the audit system is not to be changed.
    pub fn add(control: Control) -> Result<Own, Error> {
        let status = control.status()?;
        let mut own = Own { control, rules: Vec::new(), switched_on: false };
        for (arch, calls) in ARCHITECTURES {
            let rule = rule(*arch, calls);
            match own.control.done(ADD_RULE, &rule) {
                Ok(()) => own.rules.push(rule),
                // Left behind by one that was killed.
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => own.rules.push(rule),
                Err(error) => return Err(error),
            }
        }
        if own.rules.is_empty() {
            return Err(Error::other("no rules are known for this processor"));
        }
        if status.enabled == 0 {
            own.control.set_enabled(true)?;
            own.switched_on = true;
        }
        Ok(own)
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        for rule in &self.rules {
            // It may be that somebody else took it away.
            let _ = self.control.done(DELETE_RULE, rule);
        }
        // Whoever came to own the log since then needs it.
        if self.switched_on && self.control.status().is_ok_and(|status| status.owner == 0) {
            let _ = self.control.set_enabled(false);
        }
    }
}

fn request(kind: u16, data: &[u8]) -> Vec<u8> {
    let length = u32::try_from(HEADER + data.len()).unwrap_or(u32::MAX);
    let mut bytes = Vec::with_capacity(HEADER + data.len());
    bytes.extend(length.to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(REQUEST.to_ne_bytes());
    bytes.extend([1u32, 0].map(u32::to_ne_bytes).concat());
    bytes.extend(data);
    bytes
}

/// From `struct audit_status`.
fn status_of(body: &[u8]) -> Option<Status> {
    Some(Status { enabled: word(body, 4)?, owner: word(body, 12)? })
}

/// `struct audit_rule_data`: has these calls of an architecture told, under our own name.
fn rule(arch: u32, calls: &[u32]) -> Vec<u8> {
    let mut mask = [0u32; WORDS];
    for call in calls {
        if let Some(word) = usize::try_from(call / 32).ok().and_then(|index| mask.get_mut(index)) {
            *word |= 1 << (call % 32);
        }
    }
    let length = NAME.len() as u32;
    let mut words = vec![OF_CALLS, ALWAYS, 2];
    words.extend(mask);
    for two in [[ARCH, KEY], [arch, length], [EQUAL, EQUAL]] {
        words.extend(two);
        words.extend([0; WORDS - 2]);
    }
    words.push(length);
    let mut bytes: Vec<u8> = words.into_iter().flat_map(u32::to_ne_bytes).collect();
    bytes.extend(NAME);
    bytes
}

/// The conditions of a rule: field, operator, value. `None` when it is cut.
fn conditions(rule: &[u8]) -> Option<Vec<(u32, u32, u32)>> {
    let count = usize::try_from(word(rule, 8)?).ok().filter(|count| *count <= WORDS)?;
    let condition = |index: usize| {
        Some((
            word(rule, FIELDS_AT + 4 * index)?,
            word(rule, OPERATORS_AT + 4 * index)?,
            word(rule, VALUES_AT + 4 * index)?,
        ))
    };
    word(rule, TEXT_AT)?;
    (0..count).map(condition).collect()
}

/// Whether a rule has programs told that begin: perhaps not those of everybody, but not only those in some directory.
fn tells_programs(rule: &[u8]) -> bool {
    let (Some(list), Some(action), Some(conditions)) = (word(rule, 0), word(rule, 4), conditions(rule))
    else {
        return false;
    };
    let Some((native, [call, _])) = ARCHITECTURES.first() else { return false };
    let bit = word(rule, MASK_AT + 4 * (*call as usize / 32)).unwrap_or(0) & 1 << (call % 32);
    let fits = |(field, operator, value): (u32, u32, u32)| match field {
        ARCH => operator == EQUAL && value == *native,
        SUCCESS | KEY => true,
        // About who calls.
        other => other < 100,
    };
    list == OF_CALLS && action == ALWAYS && bit != 0 && conditions.into_iter().all(fits)
}

/// Whether a rule keeps all calls from being told: distributions come with such a one.
fn silences_all(rule: &[u8]) -> bool {
    word(rule, 0) == Some(OF_TASKS)
        && word(rule, 4) == Some(NEVER)
        && conditions(rule).is_some_and(|conditions| conditions.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A rule for all calls with these conditions.
    fn other(list: u32, action: u32, conditions: &[(u32, u32, u32)]) -> Vec<u8> {
        let mut bytes = rule(0, &[]);
        let mut put = |at: usize, value: u32| bytes[at..at + 4].copy_from_slice(&value.to_ne_bytes());
        put(0, list);
        put(4, action);
        put(8, conditions.len() as u32);
        (0..WORDS).for_each(|word| put(MASK_AT + 4 * word, u32::MAX));
        for (index, (field, operator, value)) in conditions.iter().enumerate() {
            put(FIELDS_AT + 4 * index, *field);
            put(OPERATORS_AT + 4 * index, *operator);
            put(VALUES_AT + 4 * index, *value);
        }
        bytes
    }

    #[test]
    fn rules_that_tell_programs_are_known() {
        let (native, calls) = ARCHITECTURES[0];
        assert!(tells_programs(&rule(native, &calls)));
        assert!(!tells_programs(&rule(native, &[calls[0] + 1])));
        for (arch, _) in &ARCHITECTURES[1..] {
            assert!(!tells_programs(&rule(*arch, &calls)));
        }
        assert!(tells_programs(&other(OF_CALLS, ALWAYS, &[])));
        // auid>=1000
        assert!(tells_programs(&other(OF_CALLS, ALWAYS, &[(9, 0x5000_0000, 1000)])));
        // dir=…, path=…, exe=…, perm=wa
        for field in [107, 105, 112, 106] {
            assert!(!tells_programs(&other(OF_CALLS, ALWAYS, &[(field, EQUAL, 3)])), "{field}");
        }
        assert!(!tells_programs(&other(OF_CALLS, NEVER, &[])));
        assert!(!tells_programs(&other(OF_TASKS, ALWAYS, &[])));
        assert!(!tells_programs(&other(OF_CALLS, ALWAYS, &[(ARCH, 0x3000_0000, native)])));
        assert!(silences_all(&other(OF_TASKS, NEVER, &[])));
        assert!(!silences_all(&other(OF_TASKS, NEVER, &[(9, EQUAL, 1000)])));
        assert!(!silences_all(&other(OF_CALLS, NEVER, &[])));
    }

    #[test]
    fn what_is_cut_tells_nothing() {
        let (native, calls) = ARCHITECTURES[0];
        let whole = rule(native, &calls);
        for end in 0..TEXT_AT + 4 {
            assert!(!tells_programs(&whole[..end]), "{end}");
            assert!(!silences_all(&other(OF_TASKS, NEVER, &[])[..end]), "{end}");
        }
        let many = other(OF_CALLS, ALWAYS, &[]);
        let many = [&many[..8], &u32::MAX.to_ne_bytes(), &many[12..]].concat();
        assert!(!tells_programs(&many));
        assert_eq!(status_of(&[0; 15]), None);
    }

    proptest! {
        #[test]
        fn no_bytes_break_it(bytes in proptest::collection::vec(any::<u8>(), 0..1100)) {
            let _ = (tells_programs(&bytes), silences_all(&bytes), status_of(&bytes));
        }
    }
}
