//! Which record belongs to which news: the connector tells that a process became a program, a record which program.
//!
//! In: news, in order, and records, which come later, perhaps not at all. Out: the same news, in order, applied to the
//! lives of processes. News wait for their record, for a moment; what cannot be matched without doubt stays unknown,
//! unless `/proc` showed it in time.

use super::record::Exec;
use crate::process::connector::News;
use crate::process::lives::Lives;
use crate::process::proc::Process;
use crate::process::{ExeFile, Key, State};
use std::collections::{HashMap, VecDeque};

/// How many news wait at most, before the oldest are taken as they are. Each may hold what `/proc` showed, some 2 KiB.
const MOST_HELD: usize = 2048;
/// How many records wait for their news, which are there before them: more than these belong to none.
const MOST_RECORDS: usize = 1024;
/// Of how many processes it is remembered that a record may still come for what they became before.
const MOST_DOUBTS: usize = 4096;
/// How long news wait for their record at least and at most, in nanoseconds: less when none came, more when one did.
const PATIENCE: (u64, u64) = (1_000_000, 20_000_000);
/// By how much clocks may differ, in nanoseconds. That the times of records are up to a tick too early needs no margin.
const MARGIN: u64 = 1_000_000;

/// News, with the time of it, and for a program that began what `/proc` showed, and when it was asked.
#[derive(Debug)]
pub struct Held {
    /// What happened.
    pub news: News,
    /// When, in nanoseconds since the system started.
    pub time: u64,
    /// What `/proc` showed, from when to when.
    pub shown: Option<(Process, (u64, u64))>,
}

/// News that wait for a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wait {
    /// When that happened.
    pub happened: u64,
    /// For how long they wait.
    pub until: u64,
}

/// News and records that wait for each other.
#[derive(Debug)]
pub struct Matching {
    held: VecDeque<Held>,
    /// Of how many programs of each process the news are held, and when the last one began.
    held_execs: HashMap<u32, (usize, u64)>,
    /// Records by process, each with a time at or before which its program was asked for.
    records: HashMap<u32, VecDeque<(Exec, u64)>>,
    waiting_records: usize,
    /// What a process became at this time was not matched, so that its record may come yet.
    doubts: HashMap<u32, u64>,
    /// The same, for every process.
    doubt: u64,
    patience: u64,
}

impl Matching {
    /// Of what happened up to now records may come for which there are no news.
    pub fn new(now: u64) -> Matching {
        Matching {
            held: VecDeque::new(),
            held_execs: HashMap::new(),
            records: HashMap::new(),
            waiting_records: 0,
            doubts: HashMap::new(),
            doubt: now,
            patience: PATIENCE.1,
        }
    }

    /// News were lost.
    pub fn forget_all(&mut self, now: u64) {
        self.held.clear();
        self.held_execs.clear();
        self.forget_records(now);
    }

    /// Records were lost.
    pub fn forget_records(&mut self, now: u64) {
        self.records.clear();
        self.waiting_records = 0;
        self.doubts.clear();
        self.doubt = now;
    }

    /// Takes a record, of a program that was asked for at this time or up to a tick later.
    pub fn record(&mut self, exec: Exec, time: u64) {
        self.records.entry(exec.pid).or_default().push_back((exec, time));
        self.waiting_records += 1;
    }

    /// Takes news. Those of all records up to now must be among them when [`Matching::settle`] is called.
    pub fn hold(&mut self, held: Held) {
        if let News::Exec(pid) = held.news {
            let (count, last) = self.held_execs.entry(pid).or_default();
            (*count, *last) = (*count + 1, held.time);
        }
        self.held.push_back(held);
    }

    /// Applies news, up to some that wait for a record.
    pub fn settle(&mut self, lives: &mut Lives, now: u64) -> Option<Wait> {
        if self.waiting_records > MOST_RECORDS {
            self.forget_records(now);
        }
        while let Some(Held { news, time, .. }) = self.held.front() {
            let (news, time) = (*news, *time);
            if let News::Exec(pid) = news {
                let found = self.find(pid, now);
                // Only with the records of all its programs that have news it is known which is which.
                let last = self.held_execs.get(&pid).map_or(time, |(_, last)| *last);
                let until = last.min(time.saturating_add(PATIENCE.1)).saturating_add(self.patience);
                if found.is_none() && now < until && self.held.len() <= MOST_HELD {
                    return Some(Wait { happened: time, until });
                }
                self.began(lives, pid, found);
                continue;
            }
            self.held.pop_front();
            match news {
                News::Fork { child, parent } => lives.copied(child, parent, time),
                News::Exit(pid) => lives.ended(pid),
                News::Exec(_) => {}
            }
        }
        // All news are applied, so these have none: they come late, or news are missing.
        for (pid, records) in std::mem::take(&mut self.records) {
            if records.iter().any(|(_, time)| *time > self.doubt_of(pid)) {
                self.doubts.insert(pid, now);
            }
        }
        self.waiting_records = 0;
        self.bound_doubts();
        None
    }

    /// Records of a process up to this time may belong to what it became before.
    fn doubt_of(&self, pid: u32) -> u64 {
        self.doubts.get(&pid).copied().unwrap_or(0).max(self.doubt).saturating_add(MARGIN)
    }

    /// The record of the oldest news of a process. Records of one process come in the order of its programs. So when
    /// there are as many as there are programs, each has its own; when there are fewer, it cannot be told which are missing.
    fn find(&mut self, pid: u32, now: u64) -> Option<Exec> {
        let doubt = self.doubt_of(pid);
        let records = self.records.get_mut(&pid)?;
        let before = records.len();
        while records.pop_front_if(|(_, time)| *time <= doubt).is_some() {}
        self.waiting_records = self.waiting_records.saturating_sub(before - records.len());
        let (count, programs) = (records.len(), self.held_execs.get(&pid).map_or(0, |held| held.0));
        if count > programs {
            // There is a record without news, so that none can be relied on.
            self.records.remove(&pid);
            self.waiting_records = self.waiting_records.saturating_sub(count);
            self.doubts.insert(pid, now);
            return None;
        }
        let found = (count == programs).then(|| records.pop_front()).flatten();
        if records.is_empty() {
            self.records.remove(&pid);
        }
        let (exec, _) = found?;
        self.waiting_records = self.waiting_records.saturating_sub(1);
        Some(exec)
    }

    /// Applies the oldest news, that this process became a program: by its record, or by what `/proc` showed.
    fn began(&mut self, lives: &mut Lives, pid: u32, found: Option<Exec>) {
        let Some(Held { time, shown, .. }) = self.held.pop_front() else { return };
        if let Some((count, _)) = self.held_execs.get_mut(&pid) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.held_execs.remove(&pid);
            }
        }
        // What was shown may be what it became since, or another that has the number now.
        let again = |held: &Held| match held.news {
            News::Exec(other) | News::Fork { child: other, .. } => other == pid,
            News::Exit(_) => false,
        };
        let shown = shown.filter(|(process, _)| process.key.start <= time && !self.held.iter().any(again));
        let (low, high) = PATIENCE;
        match found {
            Some(exec) => {
                self.patience = (self.patience * 2).min(high);
                let (file, cgroup) = shown.map_or((None, None), |(process, _)| {
                    (process.file.filter(|_| process.exe == exec.exe), process.cgroup)
                });
                // Nobody was asked, so that it is not too new either.
                lives.became(pid, time, Some(process(exec, time, file, cgroup)), (0, 0));
            }
            None => {
                self.patience = (self.patience / 2).max(low);
                self.doubts.insert(pid, time);
                self.bound_doubts();
                let (process, asked) = shown.unzip();
                lives.became(pid, time, process, asked.unwrap_or((time, time)));
            }
        }
    }

    fn bound_doubts(&mut self) {
        if self.doubts.len() > MOST_DOUBTS {
            let newest = self.doubts.drain().map(|(_, time)| time).max();
            self.doubt = self.doubt.max(newest.unwrap_or(0));
        }
    }
}

/// As `/proc` would show it.
fn process(exec: Exec, time: u64, file: Option<ExeFile>, cgroup: Option<Vec<u8>>) -> Process {
    let Exec { pid, exe, args, args_cut, uid, login_uid, session, .. } = exec;
    let state = State { uid, login_uid, session, cgroup: 0, is_kernel: false };
    Process { key: Key { pid, start: time }, parent: 0, exe, args, args_cut, file, state, cgroup }
}

#[cfg(test)]
mod tests;
