//! Checkpoints on their way to where they are kept.
//!
//! In: the newest checkpoint on record, and the places for it (directories, programs, witnesses). Out: a copy in each place, and on record how far each place is.
//! Each place has a thread of its own, which waits for the record to grow and for nobody else: a place that is slow, gone or hostile
//! keeps neither the engine nor the other places waiting. Only the newest checkpoint is sent; it proves all before it.

use crate::witness::{Cosigned, Witness};
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};
use waxseal_os::{clock, command, medium};
use waxseal_store::{Growth, Newest, Store};

/// The first wait after a failure; each further one is twice as long.
const FIRST_WAIT: Duration = Duration::from_secs(2);
/// The longest wait after failures.
const LONGEST_WAIT: Duration = Duration::from_secs(300);
/// TLS takes much of it without optimization.
const STACK: usize = 2 * 1024 * 1024;

/// A place for checkpoints.
#[derive(Debug, Clone)]
pub struct Place {
    /// By which it is on record.
    pub name: String,
    /// How long one attempt may take.
    pub timeout: Duration,
    /// What it is.
    pub to: To,
}

/// What a place is.
#[derive(Debug, Clone)]
pub enum To {
    /// A directory, which must exist: a file for each checkpoint, named by its size, never changed.
    Directory(PathBuf),
    /// A program with its arguments, which gets the checkpoint on its standard input.
    Command(Vec<String>),
    /// A witness, which cosigns it.
    Witness(Box<Witness>),
}

/// What became of a place; told when it changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct News {
    /// The name of the place.
    pub place: String,
    /// How many leaves the checkpoint covers that has arrived after failures, or why it has not.
    pub outcome: Result<u64, String>,
}

/// Told from the threads.
pub type Tell = Arc<dyn Fn(News) + Send + Sync>;

/// The places, each with its thread.
pub struct Publisher {
    store: Arc<Store>,
    growth: Arc<Growth>,
    tell: Tell,
    team: Arc<Team>,
}

/// The threads that go on by the same settings.
#[derive(Default)]
struct Team {
    ending: AtomicBool,
    /// Others have taken over.
    replaced: AtomicBool,
    /// How long the last attempt may take, in milliseconds.
    patience: AtomicUsize,
    working: Mutex<usize>,
    done: Condvar,
}

impl Publisher {
    /// Begins to send what is on record in `store`, at once and then whenever `growth` says that there is more, to each place at
    /// most every `every`.
    pub fn begin(
        store: Arc<Store>,
        growth: Arc<Growth>,
        every: Duration,
        places: Vec<Place>,
        tell: Tell,
    ) -> Publisher {
        let mut publisher = Publisher { store, growth, tell, team: Arc::default() };
        publisher.spawn(every, places);
        publisher
    }

    /// Goes on by other settings. What is on its way arrives by the old ones.
    pub fn replace(&mut self, every: Duration, places: Vec<Place>) {
        self.team.replaced.store(true, Ordering::Release);
        self.growth.wake();
        self.team = Arc::default();
        self.spawn(every, places);
    }

    /// Sends the newest checkpoint for the last time, and waits for it no longer than this.
    pub fn end(self, patience: Duration) {
        self.team.patience.store(patience.as_millis() as usize, Ordering::Release);
        self.team.ending.store(true, Ordering::Release);
        self.growth.wake();
        let working = self.team.working.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = self.team.done.wait_timeout_while(working, patience, |working| *working > 0);
    }

    fn spawn(&mut self, every: Duration, places: Vec<Place>) {
        for place in places {
            let (store, growth) = (Arc::clone(&self.store), Arc::clone(&self.growth));
            let (team, tell) = (Arc::clone(&self.team), Arc::clone(&self.tell));
            let name = place.name.clone();
            *team.working.lock().unwrap_or_else(PoisonError::into_inner) += 1;
            let own = Worker { place, every, store, growth, team, tell, failures: 0, next: Instant::now() };
            let thread = thread::Builder::new().name("publish".into()).stack_size(STACK);
            if let Err(error) = thread.spawn(move || own.run()) {
                *self.team.working.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
                (self.tell)(News { place: name, outcome: Err(error.to_string()) });
            }
        }
    }
}

struct Worker {
    place: Place,
    every: Duration,
    store: Arc<Store>,
    growth: Arc<Growth>,
    team: Arc<Team>,
    tell: Tell,
    failures: u32,
    /// Not before.
    next: Instant,
}

impl Worker {
    fn run(mut self) {
        while !self.team.replaced.load(Ordering::Acquire) {
            let seen = self.growth.seen();
            let ending = self.team.ending.load(Ordering::Acquire);
            let mut until = Some(self.next);
            if ending || self.next <= Instant::now() {
                until = self.catch_up(ending);
            }
            if ending {
                break;
            }
            match until {
                Some(until) => self.growth.rest(seen, until),
                None => self.growth.wait(seen),
            }
        }
        *self.team.working.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        self.team.done.notify_all();
    }

    /// Sends the newest checkpoint unless it has arrived. Until when to rest; `None` when there is nothing to do before the record
    /// grows.
    fn catch_up(&mut self, ending: bool) -> Option<Instant> {
        let outcome = match self.pending() {
            Ok(None) => return None,
            Ok(Some(pending)) => self.send(&pending, ending),
            Err(error) => Err(error),
        };
        if let Err(error) = &outcome {
            // It is told as well.
            let _ = self.store.anchor_failed(&self.place.name, error, clock::now());
        }
        let (is_good, was_good) = (outcome.is_ok(), self.failures == 0);
        if is_good != was_good {
            (self.tell)(News { place: self.place.name.clone(), outcome });
        }
        self.failures = if is_good { 0 } else { self.failures.saturating_add(1) };
        self.next = Instant::now() + if is_good { self.every } else { wait_after(self.failures, self.every) };
        // After a success the record may have grown since it was read, which the next wait notices.
        (!is_good).then_some(self.next)
    }

    fn pending(&self) -> Result<Option<Pending>, String> {
        let newest = self.store.newest_checkpoint().map_err(|error| error.to_string())?;
        let arrived = self.store.anchored().map_err(|error| error.to_string())?;
        let own = arrived.iter().find(|anchored| anchored.name == self.place.name);
        let arrived = own.and_then(|anchored| anchored.size);
        let is_failing = own.is_some_and(|anchored| anchored.error.is_some());
        let newest = newest.filter(|newest| is_failing || arrived != Some(newest.size));
        Ok(newest.map(|newest| Pending { newest, arrived: arrived.unwrap_or(0) }))
    }

    /// Sends it, and puts on record that it arrived: how many leaves it covers.
    fn send(&self, pending: &Pending, ending: bool) -> Result<u64, String> {
        let mut timeout = self.place.timeout;
        if ending {
            let patience = self.team.patience.load(Ordering::Acquire) as u64;
            // Something must be left for putting it on record.
            timeout = timeout.min(Duration::from_millis(patience * 9 / 10));
        }
        let (name, newest) = (&self.place.name, &pending.newest);
        let (size, recorded) = match &self.place.to {
            To::Directory(path) => {
                put(path, newest)?;
                (newest.size, self.store.anchor_arrived(name, newest.size, clock::now()))
            }
            To::Command(argv) => {
                command::feed(argv, newest.note.as_bytes(), timeout).map_err(|error| error.to_string())?;
                (newest.size, self.store.anchor_arrived(name, newest.size, clock::now()))
            }
            To::Witness(witness) => {
                let Cosigned { newest, line } = witness.cosign(&self.store, pending.arrived, timeout)?;
                (newest.size, self.store.witness_cosigned(name, &newest, &line, clock::now()))
            }
        };
        // It is sent again then, which does no harm.
        recorded.map_err(|error| format!("that it arrived cannot be recorded: {error}"))?;
        Ok(size)
    }
}

/// What a place has not got.
struct Pending {
    newest: Newest,
    /// How many leaves the checkpoint covers that arrived there last.
    arrived: u64,
}

/// Puts a checkpoint into a directory.
fn put(directory: &Path, newest: &Newest) -> Result<(), String> {
    let name = format!("{:020}.checkpoint", newest.size);
    let put = medium::put_once(directory, &name, newest.note.as_bytes());
    put.map(drop).map_err(|error| format!("{name}: {error}"))
}

/// How long to wait after so many failures, a quarter more or less: many machines must not come back at once.
fn wait_after(failures: u32, every: Duration) -> Duration {
    let first = FIRST_WAIT.min(every);
    let wait = first.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(LONGEST_WAIT);
    let share = RandomState::new().build_hasher().finish() % 50;
    wait * (75 + share as u32) / 100
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_have_an_end() {
        let minute = Duration::from_secs(60);
        for (failures, expected) in [(1, 2), (2, 4), (5, 32), (9, 300), (u32::MAX, 300)] {
            let wait = wait_after(failures, minute);
            let expected = Duration::from_secs(expected);
            assert!(wait >= expected * 3 / 4 && wait <= expected * 5 / 4, "{failures}: {wait:?}");
        }
        assert!(wait_after(1, Duration::from_secs(1)) <= Duration::from_millis(1250));
    }

    #[test]
    fn a_directory_gets_a_file_for_each_size() {
        let newest = |size, note: &str| Newest { size, note: note.into() };
        let home = std::env::temp_dir().join(format!("waxseal-publish-{}", std::process::id()));
        assert!(put(&home, &newest(1, "one")).is_err(), "it is not made where the medium is gone");
        waxseal_store::state_dir::make_directories(&home).unwrap();
        put(&home, &newest(1, "one")).unwrap();
        put(&home, &newest(1, "one")).unwrap();
        let error = put(&home, &newest(1, "two")).unwrap_err();
        assert!(error.contains("says something else"), "{error}");
        let name = home.join("00000000000000000001.checkpoint");
        assert_eq!(waxseal_store::state_dir::read_text(&name).unwrap(), "one");
        #[allow(clippy::disallowed_methods, reason = "the test's own directory")]
        std::fs::remove_dir_all(home).unwrap();
    }
}
