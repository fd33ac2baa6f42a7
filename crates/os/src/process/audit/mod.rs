//! The audit system as a source: the kernel writes down which process became which program before that program runs.
//!
//! In: audit records by multicast, which whoever owns the audit log does not notice, and the proc connector's news, which
//! say when processes begin and end. Out: lives of processes. It is only listened to where the system audits programs
//! that begin anyway, or the config asks for rules of our own.

mod control;
mod matching;
pub mod record;

use super::connector::{Connector, News};
use super::lives::Lives;
use super::netlink::{HEADER, Socket, half};
use super::proc::Folder;
use super::{linux, uptime};
use control::{Control, Own};
use matching::{Held, Matching};
use record::Events;
use rustix::io::Errno;
use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

/// The group of all records, as a bit (`AUDIT_NLGRP_READLOG`).
const ALL_RECORDS: u32 = 1;
/// How many bytes the kernel may keep for us.
const ROOM: libc::c_int = 16 << 20;
/// A record is at most 8970 bytes (`MAX_AUDIT_MESSAGE_LENGTH`).
const BUFFER: usize = 16 * 1024;

/// The records, and the news that they complete.
#[derive(Debug)]
pub struct Audit {
    connector: Connector,
    log: Log,
    matching: Matching,
    /// Rules of our own, where the config asks for them; they end with this.
    _own: Option<Own>,
}

impl Audit {
    /// Begins to listen. With `own_rules`, programs that begin are told from now on, by rules of our own that end with
    /// this.
    ///
    /// # Errors
    /// Why not, for people: above all when the system does not audit programs that begin.
    pub fn listen(own_rules: bool) -> Result<Audit, String> {
        let asked = |error| format!("the audit system cannot be asked: {error}");
        let control = Control::open().map_err(asked)?;
        let tells = control.status().and_then(|status| Ok(status.enabled != 0 && control.tells_programs()?));
        let own = match tells.map_err(asked)? {
            true => None,
            false if own_rules => {
                let own = Own::add(control);
                Some(own.map_err(|error| format!("the audit system takes no rules: {error}"))?)
            }
            false => return Err("the system does not audit which programs begin".into()),
        };
        let connector = Connector::listen();
        let connector =
            connector.map_err(|error| format!("the proc connector is needed besides: {error}"))?;
        let log = Log::join().map_err(|error| format!("audit records cannot be read: {error}"))?;
        Ok(Audit { connector, log, matching: Matching::new(uptime()), _own: own })
    }

    /// What to wait for.
    pub fn descriptors(&self) -> [BorrowedFd<'_>; 2] {
        [self.connector.as_fd(), self.log.0.as_fd()]
    }

    /// Takes everything into account that has happened up to now, and waits a moment for the records of it: they come a
    /// little later than what they tell. False when news were lost.
    pub fn catch_up(&mut self, lives: &mut Lives) -> bool {
        let began = uptime();
        loop {
            if !self.read() {
                self.matching.forget_all(uptime());
                return false;
            }
            let Some(wait) = self.matching.settle(lives, uptime()).filter(|wait| wait.happened <= began)
            else {
                return true;
            };
            self.log.0.wait(Duration::from_nanos(wait.until.saturating_sub(uptime())));
        }
    }

    /// Takes all records, then all news: what a record tells is among the news, which are told at once. False when news
    /// were lost.
    fn read(&mut self) -> bool {
        let Audit { connector, log, matching, .. } = self;
        log.drain(matching);
        let mut fresh = VecDeque::new();
        // The connector tells times by the clock that stands still while the system sleeps.
        let slept = linux::slept();
        let mut complete = connector.drain(&mut |news, time| fresh.push_back((news, time)));
        while let Some((news, time)) = fresh.pop_front() {
            let shown = match news {
                News::Exec(pid) => {
                    let from = uptime();
                    let process = Folder::of(pid).and_then(|folder| folder.process());
                    // Who has the number by now, or what it became since, is among the news before this counts.
                    complete &= connector.drain(&mut |news, time| fresh.push_back((news, time)));
                    process.map(|process| (process, (from, uptime())))
                }
                _ => None,
            };
            matching.hold(Held { news, time: time.saturating_add(slept), shown });
        }
        complete
    }
}

/// The socket of records.
#[derive(Debug)]
struct Log(Socket, Events, Clock);

impl Log {
    fn join() -> Result<Log, std::io::Error> {
        let socket = Socket::open(libc::NETLINK_AUDIT, ALL_RECORDS, ROOM)?;
        Ok(Log(socket, Events::default(), Clock::new()))
    }

    /// Takes all records that there are.
    fn drain(&mut self, matching: &mut Matching) {
        let Log(socket, events, clock) = self;
        clock.look();
        let mut buffer = [0; BUFFER];
        loop {
            match socket.receive(&mut buffer) {
                Ok([]) | Err(Errno::AGAIN) => return,
                // One message each; its length in the header was another in older kernels.
                Ok(message) => {
                    let (kind, text) = (half(message, 4).unwrap_or(0), message.get(HEADER..));
                    if let Some(exec) = events.take(kind, text.unwrap_or_default()) {
                        let time = clock.since_boot(exec.time);
                        matching.record(exec, time);
                    }
                }
                // Records are missing: what they would have told stays unknown.
                Err(Errno::NOBUFS) => {
                    events.clear();
                    matching.forget_records(uptime());
                }
                Err(_) => return,
            }
        }
    }
}

/// Turns the times of records, by the clock on the wall, into times since the system started. That clock may be set
/// meanwhile: then a record seems older than it is, never younger.
#[derive(Debug)]
struct Clock {
    /// When the system started by that clock, in nanoseconds: as it was seen last, and before.
    now: u64,
    before: u64,
}

impl Clock {
    fn new() -> Clock {
        let now = linux::boot_by_wall();
        Clock { now, before: now }
    }

    /// Sees whether it was set.
    fn look(&mut self) {
        self.before = std::mem::replace(&mut self.now, linux::boot_by_wall());
    }

    /// Nanoseconds, at most what they really are.
    fn since_boot(&self, milliseconds: u64) -> u64 {
        milliseconds.saturating_mul(1_000_000).saturating_sub(self.now.max(self.before))
    }
}
