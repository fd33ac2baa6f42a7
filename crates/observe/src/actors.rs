//! From a writer to an actor: names for numbers, the unit and the container.
//!
//! In: a process, as the crate `os` knows it. Out: what is told of it. What was told once is remembered.

use crate::executables::Executables;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use waxseal_model::actor::Parent;
use waxseal_model::{Actor, RawPath, Timestamp, cgroup, secrets};
use waxseal_os::accounts::Accounts;
use waxseal_os::process::{Ancestor, Key, Origin, Processes, Writer, boot_time, origin};

/// How many actors are remembered.
const REMEMBERED: usize = 1024;
/// How many are remembered that were told before everything was known of them.
const UNFINISHED: usize = 4096;

/// Who wrote, as far as it is known.
#[derive(Debug, Clone)]
pub enum Who {
    /// This process.
    Known(Arc<Writer>),
    /// A process that had this number.
    Unknown(u32),
}

impl Who {
    /// Its number.
    pub fn pid(&self) -> u32 {
        match self {
            Who::Known(writer) => writer.key.pid,
            Who::Unknown(pid) => *pid,
        }
    }
}

impl PartialEq for Who {
    fn eq(&self, other: &Who) -> bool {
        match (self, other) {
            (Who::Known(a), Who::Known(b)) => {
                (a.key, &a.program, &a.earlier, a.earlier_cut)
                    == (b.key, &b.program, &b.earlier, b.earlier_cut)
            }
            (Who::Unknown(a), Who::Unknown(b)) => a == b,
            _ => false,
        }
    }
}

/// Tells who somebody is.
#[derive(Debug)]
pub struct Describer {
    processes: Arc<Processes>,
    executables: Executables,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    accounts: Accounts,
    known: HashMap<Key, (Arc<Writer>, Actor)>,
    /// Who was told, for which path, before the facts about the executable were known.
    unfinished: Vec<(RawPath, Arc<Writer>)>,
}

impl Describer {
    /// One that asks these processes.
    pub fn new(processes: Arc<Processes>) -> Describer {
        Describer { processes, executables: Executables::default(), state: Mutex::default() }
    }

    /// Where it is known from who wrote.
    pub fn processes(&self) -> &Processes {
        &self.processes
    }

    /// What is known of executables.
    pub fn executables(&self) -> &Executables {
        &self.executables
    }

    /// What is told of somebody who wrote at this path. What comes to be known later of the executable is in
    /// [`Describer::finished`] then.
    pub fn actor(&self, who: &Who, path: &RawPath) -> Actor {
        let actor = self.without_facts(who);
        let Who::Known(writer) = who else { return actor };
        self.executables.ask(writer);
        let Some(facts) = self.executables.facts(writer) else {
            let mut state = self.lock();
            if state.unfinished.len() < UNFINISHED {
                state.unfinished.push((path.clone(), Arc::clone(writer)));
            }
            return actor;
        };
        Actor { package: facts.package, exe_hash: facts.hash, ..actor }
    }

    /// Who was told of a path before everything was known, and is known now, by path.
    pub fn finished(&self) -> BTreeMap<RawPath, Vec<Actor>> {
        let mut finished: BTreeMap<RawPath, Vec<Actor>> = BTreeMap::new();
        // What is still not known is noted again.
        let unfinished = std::mem::take(&mut self.lock().unfinished);
        for (path, writer) in unfinished {
            let actor = self.actor(&Who::Known(writer), &path);
            if actor.package.is_some() || actor.exe_hash.is_some() {
                finished.entry(path).or_default().push(actor);
            }
        }
        finished
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn without_facts(&self, who: &Who) -> Actor {
        let writer = match who {
            Who::Known(writer) => writer,
            Who::Unknown(pid) => return Actor::unknown(*pid),
        };
        let mut state = self.lock();
        if let Some((same, actor)) = state.known.get(&writer.key)
            && (Arc::ptr_eq(same, writer) || same == writer)
        {
            return actor.clone();
        }
        let actor = self.describe(writer, &mut state.accounts);
        if state.known.len() >= REMEMBERED {
            state.known.clear();
        }
        state.known.insert(writer.key, (Arc::clone(writer), actor.clone()));
        actor
    }

    fn describe(&self, writer: &Writer, accounts: &mut Accounts) -> Actor {
        let now = self.processes.state_now(writer);
        let program = writer.program.as_deref();
        let args: Vec<&[u8]> = program.map_or(Vec::new(), |program| {
            let text = program.args.strip_suffix(b"\0").unwrap_or(&program.args);
            if text.is_empty() { Vec::new() } else { text.split(|byte| *byte == 0).collect() }
        });
        let group = writer.cgroup.as_deref().unwrap_or_default();
        let unit = cgroup::unit(group);
        // A process that belongs to no login (a service's) has no such origin.
        let pids: Vec<u32> = writer.parents.iter().map(|parent| parent.pid).chain([writer.key.pid]).collect();
        let login = now.login_uid.map(|uid| origin(unit.as_deref(), now.session, Some(uid), &pids));
        let Origin { terminal, remote } = login.unwrap_or_default();
        Actor {
            pid: writer.key.pid,
            source: Some(writer.source),
            started: Some(started(writer.key)),
            exe: program.and_then(|program| program.exe.clone()),
            package: None,
            exe_hash: None,
            earlier: writer.earlier.to_vec(),
            earlier_cut: writer.earlier_cut,
            args: secrets::mask(&args),
            args_cut: program.is_some_and(|program| program.args_cut),
            uid: Some(now.uid),
            user: accounts.user(now.uid),
            login_uid: now.login_uid,
            login_user: now.login_uid.and_then(|uid| accounts.user(uid)),
            parents: writer.parents.iter().map(parent).collect(),
            terminal,
            remote,
            unit,
            container: cgroup::container(group),
        }
    }
}

fn parent(ancestor: &Ancestor) -> Parent {
    let exe: Option<RawPath> = ancestor.program.as_ref().and_then(|program| program.exe.clone());
    Parent { pid: ancestor.pid, exe }
}

/// When a process began, by the clock on the wall.
fn started(key: Key) -> Timestamp {
    let micros = boot_time().as_micros().saturating_add(i64::try_from(key.start / 1000).unwrap_or(i64::MAX));
    // What `/proc` tells is rounded to a hundredth of a second.
    Timestamp::from_micros(micros - micros.rem_euclid(10_000))
}
