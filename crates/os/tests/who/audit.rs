//! The audit system as a source: joined where the system audits, beside whoever owns its log, and left as it was.

use crate::fixture::{Watched, is_root};
use crate::writers::{How, WRITERS, run};
use std::io::Error;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use waxseal_os::process::{Processes, Source};

/// `AUDIT_GET`, `AUDIT_SET`, `AUDIT_ADD_RULE`, `AUDIT_DEL_RULE`, `AUDIT_LIST_RULES`
const GET: u16 = 1000;
const SET: u16 = 1001;
const ADD: u16 = 1011;
const DELETE: u16 = 1012;
const LIST: u16 = 1013;

/// There is only one audit system.
static ALONE: Mutex<()> = Mutex::new(());

/// A socket to the audit system. Everything here is of the test alone: the program under test has its own.
struct Link(OwnedFd);

impl Link {
    #[allow(unsafe_code, reason = "netlink has no safe wrapper here")]
    fn open() -> Result<Link, Error> {
        // SAFETY: no pointers; the result is checked, and owned from there on.
        let link = unsafe {
            match libc::socket(libc::AF_NETLINK, libc::SOCK_RAW | libc::SOCK_CLOEXEC, libc::NETLINK_AUDIT) {
                -1 => return Err(Error::last_os_error()),
                fd => Link(OwnedFd::from_raw_fd(fd)),
            }
        };
        let (wait, size) = (libc::timeval { tv_sec: 0, tv_usec: 100_000 }, size_of::<libc::timeval>());
        // SAFETY: the pointer is to a structure of the size that is given, and outlives the call.
        let answer = unsafe {
            let wait = (&raw const wait).cast();
            let size = size as libc::socklen_t;
            libc::setsockopt(link.0.as_raw_fd(), libc::SOL_SOCKET, libc::SO_RCVTIMEO, wait, size)
        };
        assert_eq!(answer, 0);
        Ok(link)
    }

    fn send(&self, kind: u16, data: &[u8]) {
        let mut bytes = ((16 + data.len()) as u32).to_ne_bytes().to_vec();
        bytes.extend([kind, 5].map(u16::to_ne_bytes).concat());
        bytes.extend([0u32, 0].map(u32::to_ne_bytes).concat());
        bytes.extend(data);
        assert_eq!(rustix::io::write(&self.0, &bytes).unwrap(), bytes.len());
    }

    /// A message's type and body, unless none comes soon.
    fn next(&self) -> Option<(u16, Vec<u8>)> {
        let mut buffer = vec![0; 1 << 16];
        match rustix::io::read(&self.0, &mut buffer) {
            Ok(size) if size >= 16 => {
                Some((u16::from_ne_bytes([buffer[4], buffer[5]]), buffer[16..size].to_vec()))
            }
            _ => None,
        }
    }

    /// Asks, and gives back the error and all messages of the type that is wanted.
    fn ask(&self, kind: u16, data: &[u8]) -> (i32, Vec<Vec<u8>>) {
        self.send(kind, data);
        let (mut error, mut answers, end) = (None, Vec::new(), Instant::now() + Duration::from_secs(5));
        let mut done = kind != GET && kind != LIST;
        while error.is_none() || !done {
            assert!(Instant::now() < end, "the audit system does not answer");
            match self.next() {
                Some((2, body)) => error = Some(i32::from_ne_bytes(body[..4].try_into().unwrap())),
                Some((3, _)) => done = true,
                Some((same, body)) if same == kind => {
                    done |= kind == GET;
                    answers.push(body);
                }
                _ => {}
            }
            done |= error.is_some_and(|error| error != 0);
        }
        (error.unwrap(), answers)
    }

    /// Whether it is on, and who owns the log.
    fn status(&self) -> (u32, u32) {
        let (error, answers) = self.ask(GET, &[]);
        assert_eq!(error, 0);
        let word = |at: usize| u32::from_ne_bytes(answers[0][at..at + 4].try_into().unwrap());
        (word(4), word(12))
    }

    fn rules(&self) -> Vec<Vec<u8>> {
        self.ask(LIST, &[]).1
    }

    /// Sets a word of the status by its bit in the mask.
    fn set(&self, mask: u32, index: usize, value: u32) {
        let mut words = [0u32; 10];
        (words[0], words[index]) = (mask, value);
        assert_eq!(self.ask(SET, &words.map(u32::to_ne_bytes).concat()).0, 0);
    }
}

/// `-a always,exit -S execve -S execveat -k waxseal-test`, for programs of any architecture.
fn rule() -> Vec<u8> {
    let key = b"waxseal-test";
    let mut words = vec![4u32, 2, 1];
    let mut mask = [0u32; 64];
    for call in [libc::SYS_execve, libc::SYS_execveat] {
        mask[call as usize / 32] |= 1 << (call % 32);
    }
    words.extend(mask);
    for value in [210, key.len() as u32, 0x4000_0000] {
        words.push(value);
        words.extend([0; 63]);
    }
    words.push(key.len() as u32);
    [words.into_iter().flat_map(u32::to_ne_bytes).collect(), key.to_vec()].concat()
}

/// A system that audits which programs begin, until this is dropped; then it is as it was.
struct Audited {
    link: Arc<Link>,
    enabled: u32,
    owner: Option<(std::thread::JoinHandle<usize>, Arc<AtomicBool>)>,
    _alone: MutexGuard<'static, ()>,
}

/// The audit system as it is; `None`, said aloud, where it is out of reach, or is somebody's who must not be disturbed.
fn reach(test: &str) -> Option<(Link, MutexGuard<'static, ()>)> {
    let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    if !is_root() {
        println!("SKIPPED {test}: needs root");
        return None;
    }
    let link = match Link::open() {
        Ok(link) => link,
        Err(error) => {
            println!("SKIPPED {test}: this kernel has no audit system: {error}");
            return None;
        }
    };
    let error = link.ask(GET, &[]).0;
    if error != 0 {
        println!("SKIPPED {test}: the audit system is out of reach: {}", Error::from_raw_os_error(-error));
        return None;
    }
    let (enabled, owner) = link.status();
    if enabled != 0 || owner != 0 || !link.rules().is_empty() {
        println!("SKIPPED {test}: this system audits already");
        return None;
    }
    Some((link, alone))
}

impl Audited {
    fn new(test: &str) -> Option<Audited> {
        let (link, alone) = reach(test)?;
        let enabled = link.status().0;
        let audited = Audited { link: Arc::new(link), enabled, owner: None, _alone: alone };
        audited.link.set(1, 1, 1);
        assert_eq!(audited.link.ask(ADD, &rule()).0, 0);
        Some(audited)
    }

    /// Another daemon owns the log from now on, and reads it.
    fn own(&mut self) {
        let daemon = Link::open().unwrap();
        daemon.set(4, 3, std::process::id());
        let ending = Arc::new(AtomicBool::new(false));
        let end = Arc::clone(&ending);
        let reading = std::thread::spawn(move || {
            let mut count = 0;
            while !end.load(Ordering::Acquire) {
                count += usize::from(daemon.next().is_some());
            }
            daemon.set(4, 3, 0);
            count
        });
        self.owner = Some((reading, ending));
    }

    /// How many records the owner got.
    fn disown(&mut self) -> usize {
        self.owner.take().map_or(0, |(reading, ending)| {
            ending.store(true, Ordering::Release);
            reading.join().unwrap()
        })
    }
}

impl Drop for Audited {
    fn drop(&mut self) {
        self.disown();
        assert_eq!(self.link.ask(DELETE, &rule()).0, 0);
        self.link.set(1, 1, self.enabled);
    }
}

/// Of a thousand writers each is known on a machine with nothing else to do, most are on a busy one, and none is taken for
/// another.
fn judge(own_rules: bool, at_once: usize, busy: u64) {
    for how in [How::Shell, How::Touch] {
        let processes = Processes::from(Source::Audit, own_rules).unwrap();
        assert_eq!(processes.source(), Some(Source::Audit));
        let mut watched = Watched::new(processes);
        let score = run(&mut watched, how, at_once, Duration::from_millis(busy));
        assert_eq!(score.wrong, 0);
        // All of them, unless the machine is so busy that a record takes longer to come than it is waited for: beside other
        // builds and tests it was 957 of 1,000 once, and a slower machine may know fewer.
        assert!(score.right >= WRITERS / 2, "{score:?}");
        assert_eq!(watched.processes.losses(), 0);
    }
}

#[test]
fn where_the_system_audits_programs_each_writer_is_known() {
    let name = "where_the_system_audits_programs_each_writer_is_known";
    let Some(_audited) = Audited::new(name) else { return };
    for (at_once, busy) in [(1, 0), (8, 0), (8, 5)] {
        judge(false, at_once, busy);
    }
}

#[test]
fn the_audit_log_may_be_owned_by_another_who_loses_nothing() {
    let name = "the_audit_log_may_be_owned_by_another_who_loses_nothing";
    let Some(mut audited) = Audited::new(name) else { return };
    audited.own();
    let owner = audited.link.status().1;
    assert_eq!(owner, std::process::id());
    judge(false, 8, 0);
    assert_eq!(audited.link.status().1, owner, "still the same owner");
    let count = audited.disown();
    // At least a line of the call, of the arguments and of the end for each program.
    assert!(count >= 3 * 2 * WRITERS, "{count}");
}

#[test]
fn nobody_is_taken_for_another_when_the_audit_system_tells() {
    let Some(_audited) = Audited::new("nobody_is_taken_for_another_when_the_audit_system_tells") else {
        return;
    };
    for pause in [0, 5] {
        let processes = Processes::from(Source::Audit, false).unwrap();
        crate::reuse::judge(&mut Watched::new(processes), Duration::from_millis(pause));
    }
}

#[test]
fn a_system_that_does_not_audit_is_left_alone_unless_the_config_says_so() {
    let name = "a_system_that_does_not_audit_is_left_alone_unless_the_config_says_so";
    let Some((link, alone)) = reach(name) else { return };
    let refused = Processes::from(Source::Audit, false).unwrap_err();
    assert!(refused.contains("does not audit"), "{refused}");
    assert_eq!((link.status(), link.rules().len()), ((0, 0), 0));
    let processes = Processes::from(Source::Audit, true).unwrap();
    assert_eq!(link.status(), (1, 0), "on, and nobody owns the log");
    assert!(!link.rules().is_empty());
    // A second one finds these rules, and adds none.
    let count = link.rules().len();
    let second = Processes::from(Source::Audit, true).unwrap();
    assert_eq!(link.rules().len(), count);
    drop(second);
    assert_eq!((link.status(), link.rules().len()), ((1, 0), count));
    drop(processes);
    assert_eq!((link.status(), link.rules().len()), ((0, 0), 0), "as it was");
    drop(alone);
}

#[test]
fn rules_of_our_own_tell_each_writer() {
    let Some((_link, _alone)) = reach("rules_of_our_own_tell_each_writer") else { return };
    judge(true, 8, 0);
}
