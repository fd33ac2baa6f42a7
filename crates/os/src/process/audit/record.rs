//! Records of the audit system: which process became which program.
//!
//! In: the texts of records, as the kernel multicasts them. Out: one [`Exec`] for each program that was begun. An event
//! is several records with one stamp: `SYSCALL` (who, and the executable), `EXECVE` (the arguments), others, and `EOE` at
//! the end; events of several processors come mixed. Texts that a process chose are in quotes, or in hexadecimal digits
//! when they hold a blank, a quote or anything that is not printable ASCII, so none of them can pass for another field.

use std::collections::VecDeque;
use waxseal_model::RawPath;

/// A system call with its circumstances (`AUDIT_SYSCALL` of `include/uapi/linux/audit.h`).
const CALL: u16 = 1300;
/// The arguments of a program (`AUDIT_EXECVE`). There is one only when the program has been begun.
const ARGUMENTS: u16 = 1309;
/// The end of an event (`AUDIT_EOE`).
const END: u16 = 1320;

/// How much of the arguments is kept, as by the program in the kernel.
const MOST_ARGS: usize = super::super::proc::ARGS;
/// How many events may be unfinished at once; the oldest makes room.
const MOST_OPEN: usize = 64;

/// A process that became a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exec {
    /// Its number.
    pub pid: u32,
    /// In milliseconds by the clock on the wall: when it asked for that, or up to a tick before.
    pub time: u64,
    /// The executable; `None` when that cannot be told for certain.
    pub exe: Option<RawPath>,
    /// The arguments, each ended by a zero byte; the last may be cut.
    pub args: Vec<u8>,
    /// Whether arguments are missing.
    pub args_cut: bool,
    /// Its effective user.
    pub uid: u32,
    /// The user who logged in.
    pub login_uid: Option<u32>,
    /// The number of the login session.
    pub session: Option<u32>,
}

/// Puts records together. Bounded.
#[derive(Debug, Default)]
pub struct Events(VecDeque<Open>);

/// An event of which the end has not come.
#[derive(Debug)]
struct Open {
    serial: u64,
    time: u64,
    call: Option<Call>,
    args: Option<Args>,
}

#[derive(Debug, PartialEq, Eq)]
struct Call {
    pid: u32,
    exe: Option<RawPath>,
    uid: u32,
    login_uid: Option<u32>,
    session: Option<u32>,
}

impl Events {
    /// Takes a record of this type. `None` when that does not end an event, or ends one that begins no program.
    pub fn take(&mut self, kind: u16, text: &[u8]) -> Option<Exec> {
        if !matches!(kind, CALL | ARGUMENTS | END) {
            // Above all the messages of programs, which may say anything.
            return None;
        }
        let (time, serial, rest) = stamp(text)?;
        let known = self.0.iter().position(|open| open.serial == serial && open.time == time);
        if kind == END {
            return self.0.remove(known?).and_then(Open::finish);
        }
        let index = known.unwrap_or_else(|| {
            if self.0.len() >= MOST_OPEN {
                self.0.pop_front();
            }
            self.0.push_back(Open { serial, time, call: None, args: None });
            self.0.len() - 1
        });
        let open = self.0.get_mut(index)?;
        match kind {
            CALL => open.call = parse_call(rest),
            _ => open.args.get_or_insert_default().take(rest),
        }
        None
    }

    /// Forgets what is unfinished.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

impl Open {
    fn finish(self) -> Option<Exec> {
        let (call, args) = (self.call?, self.args?);
        let (args, args_cut) = args.finish();
        let Call { pid, exe, uid, login_uid, session } = call;
        Some(Exec { pid, time: self.time, exe, args, args_cut, uid, login_uid, session })
    }
}

/// `audit(1700000000.123:456): …`: milliseconds, serial number, and what follows.
fn stamp(text: &[u8]) -> Option<(u64, u64, &[u8])> {
    let text = text.strip_prefix(b"audit(")?;
    let end = text.iter().position(|byte| *byte == b')')?;
    let (stamp, rest) = text.split_at_checked(end)?;
    let rest = rest.strip_prefix(b"):")?;
    let (time, serial) = std::str::from_utf8(stamp).ok()?.split_once(':')?;
    let (seconds, milliseconds) = time.split_once('.')?;
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if ![seconds, milliseconds, serial].into_iter().all(is_number) || milliseconds.len() != 3 {
        return None;
    }
    let time = seconds.parse::<u64>().ok()?.checked_mul(1000)?.checked_add(milliseconds.parse().ok()?)?;
    Some((time, serial.parse().ok()?, rest))
}

/// The fields of a record. No value holds a blank.
fn fields(text: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    text.split(|byte| matches!(byte, b' ' | b'\n' | 0)).filter_map(|field| {
        let (key, value) = field.split_at_checked(field.iter().position(|byte| *byte == b'=')?)?;
        Some((key, value.get(1..)?))
    })
}

/// A text that somebody chose: in quotes, or in hexadecimal digits. `None` for what is neither, as where there is none.
fn chosen(value: &[u8]) -> Option<Vec<u8>> {
    if let Some(rest) = value.strip_prefix(b"\"") {
        let text = rest.strip_suffix(b"\"")?;
        return (!text.contains(&b'"')).then(|| text.to_vec());
    }
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (pairs, rest) = value.as_chunks::<2>();
    if pairs.is_empty() || !rest.is_empty() {
        return None;
    }
    pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect()
}

fn number<T: std::str::FromStr>(value: &[u8]) -> Option<T> {
    std::str::from_utf8(value).ok()?.parse().ok()
}

/// A call that succeeded; each field that is needed once.
fn parse_call(text: &[u8]) -> Option<Call> {
    const WANTED: [&[u8]; 6] = [b"success", b"pid", b"exe", b"euid", b"auid", b"ses"];
    let mut found: [Option<&[u8]>; 6] = [None; 6];
    for (key, value) in fields(text) {
        if let Some(place) = WANTED.iter().position(|wanted| *wanted == key).and_then(|at| found.get_mut(at))
            && place.replace(value).is_some()
        {
            return None;
        }
    }
    let [success, pid, exe, uid, login_uid, session] = found;
    if success != Some(b"yes") {
        return None;
    }
    let known = |value: Option<&[u8]>| number::<u32>(value?).filter(|number| *number != u32::MAX);
    Some(Call {
        pid: number(pid?)?,
        exe: exe.and_then(chosen).and_then(executable),
        uid: number(uid?)?,
        login_uid: known(login_uid),
        session: known(session),
    })
}

/// The kernel says in the text that a file has no name any more, but a name may also end so: then it is not known.
fn executable(path: Vec<u8>) -> Option<RawPath> {
    let is_certain = path.starts_with(b"/") && !path.ends_with(b" (deleted)") && !path.contains(&0);
    is_certain.then(|| RawPath::new(path))
}

/// Arguments, of which long ones come in parts, and many in several records.
#[derive(Debug, Default, PartialEq, Eq)]
struct Args {
    /// How many there are.
    count: Option<u64>,
    /// Which one comes next, or is there in part.
    next: u64,
    in_parts: bool,
    bytes: Vec<u8>,
    /// Something was missing or out of order.
    broken: bool,
}

impl Args {
    fn take(&mut self, text: &[u8]) {
        for (key, value) in fields(text) {
            if key == b"argc" {
                self.broken |= self.count.is_some();
                self.count = number(value);
            } else if self.field(key, value).is_none() {
                self.broken = true;
            }
        }
    }

    /// `a3="x"` is an argument, `a3_len=9000` says that it comes in parts, `a3[0]="x"` is one.
    fn field(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        let key = key.strip_prefix(b"a")?;
        let digits = key.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (index, rest) = key.split_at_checked(digits)?;
        let index: u64 = number(index)?;
        let is_part = rest.starts_with(b"[") && rest.ends_with(b"]");
        if !is_part {
            self.end_parts();
        }
        if index != self.next || is_part != self.in_parts {
            return None;
        }
        match rest {
            b"_len" => self.in_parts = true,
            b"" => {
                self.add(&chosen(value)?);
                self.add(b"\0");
                self.next += 1;
            }
            _ if is_part => self.add(&chosen(value)?),
            _ => return None,
        }
        Some(())
    }

    fn end_parts(&mut self) {
        if std::mem::take(&mut self.in_parts) {
            self.add(b"\0");
            self.next += 1;
        }
    }

    /// Keeps a byte more than is told, so that it shows whether something is cut.
    fn add(&mut self, bytes: &[u8]) {
        let room = (MOST_ARGS + 1).saturating_sub(self.bytes.len());
        self.bytes.extend(bytes.iter().take(room));
    }

    fn finish(mut self) -> (Vec<u8>, bool) {
        self.end_parts();
        if self.broken {
            return (Vec::new(), true);
        }
        let is_cut = self.bytes.len() > MOST_ARGS || self.count != Some(self.next);
        self.bytes.truncate(MOST_ARGS);
        (self.bytes, is_cut)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SYSCALL: &str = "arch=c000003e syscall=59 success=yes exit=0 a0=55d a1=55e a2=55f a3=8 items=2 ppid=41 pid=42 auid=1000 uid=1000 gid=0 euid=0 suid=0 fsuid=0 egid=0 sgid=0 fsgid=0 tty=pts1 ses=3 comm=\"touch\" exe=\"/usr/bin/touch\" subj=unconfined key=\"x\"";

    fn feed(events: &mut Events, records: &[(u16, &str)]) -> Vec<Exec> {
        let records = records.iter().map(|(kind, text)| (*kind, format!("audit(1700000000.123:9): {text}")));
        records.filter_map(|(kind, text)| events.take(kind, text.as_bytes())).collect()
    }

    fn one(records: &[(u16, &str)]) -> Option<Exec> {
        let mut events = Events::default();
        let found = feed(&mut events, records);
        assert!(events.0.is_empty() && found.len() < 2, "{found:?}");
        found.into_iter().next()
    }

    #[test]
    fn a_program_that_began_is_put_together() {
        let exec = one(&[
            (CALL, SYSCALL),
            (ARGUMENTS, "argc=4 a0=\"touch\" a1=\"\" a2=782079 a3=\"/x\""),
            (1307, "cwd=\"/root\""),
            (1302, "item=0 name=\"/usr/bin/touch\" inode=7 dev=fe:00 mode=0100755 nametype=NORMAL"),
            (1327, "proctitle=746F756368"),
            (END, ""),
        ]);
        let wanted = Exec {
            pid: 42,
            time: 1_700_000_000_123,
            exe: Some(RawPath::new(*b"/usr/bin/touch")),
            args: b"touch\0\0x y\0/x\0".to_vec(),
            args_cut: false,
            uid: 0,
            login_uid: Some(1000),
            session: Some(3),
        };
        assert_eq!(exec, Some(wanted));
    }

    #[test]
    fn events_of_several_processors_may_be_mixed() {
        let mut events = Events::default();
        let mut say = |serial: u64, kind, text: &str| {
            events.take(kind, format!("audit(1700000000.123:{serial}): {text}").as_bytes())
        };
        assert_eq!(say(1, CALL, SYSCALL), None);
        assert_eq!(say(2, CALL, &SYSCALL.replace(" pid=42", " pid=43")), None);
        assert_eq!(say(2, ARGUMENTS, "argc=1 a0=\"two\""), None);
        assert_eq!(say(1, ARGUMENTS, "argc=1 a0=\"one\""), None);
        let two = say(2, END, "").unwrap();
        let first = say(1, END, "").unwrap();
        assert_eq!(
            (two.pid, &two.args[..], first.pid, &first.args[..]),
            (43, &b"two\0"[..], 42, &b"one\0"[..])
        );
    }

    #[test]
    fn what_begins_no_program_is_passed_over() {
        let args = (ARGUMENTS, "argc=1 a0=\"x\"");
        assert_eq!(one(&[(CALL, SYSCALL), (END, "")]), None);
        assert_eq!(one(&[args, (END, "")]), None);
        assert_eq!(one(&[(CALL, &SYSCALL.replace("success=yes", "success=no")), args, (END, "")]), None);
        assert_eq!(one(&[(CALL, &SYSCALL.replace("success=yes ", "")), args, (END, "")]), None);
        assert_eq!(one(&[(END, "")]), None);
    }

    #[test]
    fn messages_of_programs_are_never_records_of_the_kernel() {
        // The types that programs may send: AUDIT_USER, and from AUDIT_FIRST_USER_MSG on.
        for kind in [1005, 1100, 1112, 1199, 2100, 2999] {
            assert_eq!(one(&[(kind, SYSCALL), (kind, "argc=1 a0=\"x\""), (END, "")]), None, "{kind}");
        }
        // Nor does what one says within its own text count.
        let forged = format!("pid=7 uid=0 auid=0 ses=1 msg='audit(1700000000.123:9): {SYSCALL}'");
        assert_eq!(
            one(&[(1112, &forged), (CALL, SYSCALL), (ARGUMENTS, "argc=0"), (END, "")]).unwrap().pid,
            42
        );
    }

    #[test]
    fn texts_that_a_process_chose_are_no_fields() {
        // `x" pid=1 exe="/bin/y` as a name, in hexadecimal digits.
        let hex: String = b"/x\" pid=1 exe=\"/bin/y".iter().map(|byte| format!("{byte:02X}")).collect();
        let call = SYSCALL.replace("\"/usr/bin/touch\"", &hex);
        let exec = one(&[(CALL, &call), (ARGUMENTS, "argc=0"), (END, "")]).unwrap();
        assert_eq!(exec.exe.unwrap().as_bytes(), b"/x\" pid=1 exe=\"/bin/y");
        assert_eq!(exec.pid, 42);
        // What the kernel never writes is not believed at all.
        for twice in ["pid=1", "exe=\"/bin/x\"", "success=yes", "ses=1"] {
            let call = format!("{SYSCALL} {twice}");
            assert_eq!(one(&[(CALL, &call), (ARGUMENTS, "argc=0"), (END, "")]), None, "{twice}");
        }
    }

    #[test]
    fn an_executable_that_is_not_certain_is_unknown() {
        let deleted: String = b"/memfd:x (deleted)".iter().map(|byte| format!("{byte:02X}")).collect();
        for exe in [&deleted, "(null)", "\"relative\"", "\"/half", "7", "2F7", "ZZ", "?", "2F00"] {
            let call = SYSCALL.replace("\"/usr/bin/touch\"", exe);
            let exec = one(&[(CALL, &call), (ARGUMENTS, "argc=1 a0=\"x\""), (END, "")]).unwrap();
            assert_eq!((exec.exe, exec.args), (None, b"x\0".to_vec()), "{exe}");
        }
    }

    #[test]
    fn long_arguments_come_in_parts() {
        let long = "y".repeat(600);
        let first = format!("argc=3 a0=\"sh\" a1_len=1200 a1[0]=\"{long}\"");
        let second = format!("a1[1]=\"{long}\" a2=\"z\"");
        let exec = one(&[(CALL, SYSCALL), (ARGUMENTS, &first), (ARGUMENTS, &second), (END, "")]).unwrap();
        assert_eq!((exec.args.len(), exec.args_cut), (MOST_ARGS, true));
        let short = [
            (CALL, SYSCALL),
            (ARGUMENTS, "argc=2 a0_len=4 a0[0]=\"ab\" a0[1]=6364"),
            (ARGUMENTS, " a1=\"z\""),
            (END, ""),
        ];
        let exec = one(&short).unwrap();
        assert_eq!((&exec.args[..], exec.args_cut), (&b"abcd\0z\0"[..], false));
    }

    #[test]
    fn arguments_that_are_missing_are_not_made_up() {
        for (text, args, cut) in [
            ("argc=3 a0=\"a\" a1=\"b\"", &b"a\0b\0"[..], true),
            ("argc=2 a0=\"a\" a2=\"b\"", b"", true),
            ("argc=2 a1=\"b\" a0=\"a\"", b"", true),
            ("argc=1 a0[0]=\"b\"", b"", true),
            ("argc=1 a0=\"b\" argc=1", b"", true),
            ("argc=1 a99999999999999999999=\"b\"", b"", true),
            ("argc=1 a0=(null)", b"", true),
            ("a0=\"b\"", b"b\0", true),
            ("argc=0", b"", false),
        ] {
            let exec = one(&[(CALL, SYSCALL), (ARGUMENTS, text), (END, "")]).unwrap();
            assert_eq!((&exec.args[..], exec.args_cut), (args, cut), "{text}");
        }
    }

    #[test]
    fn a_stamp_is_whole_or_none() {
        assert_eq!(stamp(b"audit(1.002:3): x"), Some((1002, 3, &b" x"[..])));
        for bad in
            ["audit(1.002:3)", "audit(1.02:3): x", "audit(1:3): x", "audit(+1.002:3): x", "x", "audit("]
        {
            assert_eq!(stamp(bad.as_bytes()), None, "{bad}");
        }
        let huge = format!("audit({}.002:3): x", u64::MAX);
        assert_eq!(stamp(huge.as_bytes()), None);
    }

    #[test]
    fn unfinished_events_are_bounded() {
        let mut events = Events::default();
        for serial in 0..10_000 {
            events.take(CALL, format!("audit(1.002:{serial}): {SYSCALL}").as_bytes());
        }
        assert_eq!(events.0.len(), MOST_OPEN);
    }

    proptest! {
        #[test]
        fn no_bytes_break_it(
            records in proptest::collection::vec(
                (prop_oneof![Just(CALL), Just(ARGUMENTS), Just(END), any::<u16>()], any::<Vec<u8>>()),
                0..30,
            ),
        ) {
            let mut events = Events::default();
            for (kind, text) in records {
                let text = [b"audit(1.002:3): ", &text[..]].concat();
                let _ = events.take(kind, &text);
            }
        }

        #[test]
        fn any_arguments_are_read_as_they_were(
            args in proptest::collection::vec(proptest::collection::vec(1..=255u8, 0..20), 0..20),
        ) {
            let mut text = format!("argc={}", args.len());
            for (index, arg) in args.iter().enumerate() {
                text += &format!(" a{index}={}", written(arg));
            }
            let exec = one(&[(CALL, SYSCALL), (ARGUMENTS, &text), (END, "")]).unwrap();
            let wanted: Vec<u8> = args.iter().flat_map(|arg| [&arg[..], b"\0"].concat()).collect();
            prop_assert_eq!((exec.args, exec.args_cut), (wanted, false));
        }
    }

    /// As the kernel writes a text (`audit_log_untrustedstring`).
    fn written(text: &[u8]) -> String {
        if text.iter().any(|byte| *byte == b'"' || *byte < 0x21 || *byte > 0x7e) {
            text.iter().map(|byte| format!("{byte:02X}")).collect()
        } else {
            format!("\"{}\"", String::from_utf8_lossy(text))
        }
    }
}
