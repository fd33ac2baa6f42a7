//! Where the library's thread leaves events, and the reader takes them.

use super::Wake;
use notify::{Event, EventHandler};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// One thing that the library said.
#[derive(Debug)]
pub(super) enum Letter {
    /// Something happened.
    Event(Event),
    /// The system dropped events.
    Lost,
    /// A watch has ended, or what it said could not be read.
    Broken,
}

/// Bounded: when it is full, that events were lost is all that is kept.
#[derive(Debug)]
pub(super) struct Inbox {
    limit: usize,
    state: Mutex<State>,
    filled: Condvar,
}

#[derive(Debug, Default)]
struct State {
    letters: Vec<Letter>,
    overflowed: bool,
    woken: bool,
}

impl Inbox {
    /// An inbox for at most this many letters.
    pub fn new(limit: usize) -> Inbox {
        Inbox { limit, state: Mutex::default(), filled: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leaves a letter.
    pub fn put(&self, letter: Letter) {
        let mut state = self.lock();
        if state.letters.len() < self.limit {
            state.letters.push(letter);
        } else {
            state.overflowed = true;
        }
        self.filled.notify_all();
    }

    /// Ends a wait.
    pub fn wake(&self) {
        self.lock().woken = true;
        self.filled.notify_all();
    }

    /// Waits until there is something, it is woken, or the time is up (`None`: for ever).
    pub fn wait(&self, timeout: Option<Duration>) -> Wake {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let mut state = self.lock();
        loop {
            let wake = Wake {
                events: !state.letters.is_empty() || state.overflowed,
                woken: std::mem::take(&mut state.woken),
            };
            if wake.events || wake.woken {
                return wake;
            }
            state = match deadline {
                None => self.filled.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return wake;
                    }
                    self.filled.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    /// Takes everything; whether more came than there was room for.
    pub fn take(&self) -> (Vec<Letter>, bool) {
        let mut state = self.lock();
        (std::mem::take(&mut state.letters), std::mem::take(&mut state.overflowed))
    }
}

/// What the library is given.
pub(super) struct Slot(pub Arc<Inbox>);

impl EventHandler for Slot {
    fn handle_event(&mut self, event: notify::Result<Event>) {
        match event {
            Ok(event) if event.need_rescan() => self.0.put(Letter::Lost),
            Ok(event) => self.0.put(Letter::Event(event)),
            Err(_) => self.0.put(Letter::Broken),
        }
    }
}
