//! The control socket: what other processes ask of the monitor.
//!
//! In: peers, who may be slow, many or hostile. Out: requests in the queue, and their answers. Nothing here is waited
//! for by the reader or the engine: each peer has a thread of its own, there are few of them, and none may take long to
//! say what it wants.

use super::queue::Queue;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError, mpsc};
use std::thread;
use std::time::Duration;
use waxseal_model::control::{Answer, LONGEST, Refusal, Request, SOCKET, answer_line};
use waxseal_observe::control::{Listener, Stream};
use waxseal_observe::watch::Waker;
use waxseal_store::StateDir;

/// How many peers are served at a time.
const PEERS: usize = 16;
/// How long a peer may take to say what it wants, and to take its answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often is looked whether somebody who waits for an answer is still there.
const LOOK: Duration = Duration::from_secs(1);
/// The pause after a failure for want of memory or open files.
const PAUSE: Duration = Duration::from_millis(200);
/// How long after a socket could not be made it is tried again.
const AGAIN: Duration = Duration::from_secs(2);
/// Memory for the stack of each thread.
const STACK: usize = 256 * 1024;

/// Somebody who waits until everything before is recorded.
#[derive(Debug)]
pub struct Waiter(mpsc::Sender<Answer>);

impl Waiter {
    /// Somebody, and where the answer arrives.
    pub fn new() -> (Waiter, mpsc::Receiver<Answer>) {
        let (sender, receiver) = mpsc::channel();
        (Waiter(sender), receiver)
    }

    /// Answers. Whoever has gone meanwhile misses it.
    pub fn answer(self, answer: Answer) {
        let _ = self.0.send(answer);
    }
}

/// Where requests are handed in.
#[derive(Debug, Clone)]
pub struct Desk {
    pub queue: Arc<Queue>,
    pub waker: Waker,
}

/// The socket, which may have to be made later, and whether it is closed.
#[derive(Debug)]
pub struct Door {
    dir: StateDir,
    listener: OnceLock<Listener>,
    is_closed: Mutex<bool>,
    closing: Condvar,
}

impl Door {
    /// Listens in a state directory whose lock is held, so that nobody else does; or says why that cannot be done now.
    pub fn new(dir: &StateDir) -> (Door, Option<io::Error>) {
        let (listener, problem) = match Listener::bind(dir.path(), SOCKET) {
            Ok(listener) => (OnceLock::from(listener), None),
            Err(error) => (OnceLock::new(), Some(error)),
        };
        (Door { dir: dir.clone(), listener, is_closed: Mutex::default(), closing: Condvar::new() }, problem)
    }

    /// Serves peers until it is closed; before that tries to make the socket until it can be made.
    pub fn serve(&self, desk: &Desk) {
        if self.listener.get().is_some() || self.make() {
            self.listener.get().into_iter().for_each(|listener| serve(listener, desk));
        }
    }

    /// Makes the socket. False when there will be none.
    fn make(&self) -> bool {
        let mut is_closed = self.is_closed.lock().unwrap_or_else(PoisonError::into_inner);
        while !*is_closed {
            // Under the lock, so that whoever closes it finds the socket.
            match Listener::bind(self.dir.path(), SOCKET) {
                Ok(listener) => return self.listener.set(listener).is_ok(),
                Err(error) if error.kind() == io::ErrorKind::Unsupported => return false,
                Err(_) => {}
            }
            is_closed = self.closing.wait_timeout(is_closed, AGAIN).unwrap_or_else(PoisonError::into_inner).0;
        }
        false
    }

    /// Ends [`Door::serve`].
    pub fn close(&self) {
        let mut is_closed = self.is_closed.lock().unwrap_or_else(PoisonError::into_inner);
        *is_closed = true;
        self.closing.notify_all();
        if let Some(listener) = self.listener.get() {
            listener.closer().close();
        }
    }
}

/// Serves peers until the listener is closed.
fn serve(listener: &Listener, desk: &Desk) {
    let serving = Arc::new(AtomicUsize::new(0));
    loop {
        let mut stream = match listener.accept() {
            Ok(Some(stream)) => stream,
            Ok(None) => return,
            Err(_) => {
                thread::sleep(PAUSE);
                continue;
            }
        };
        if !stream.is_trusted().unwrap_or(false) {
            refuse(&mut stream, "not-permitted", "only the monitor's own user and root may ask");
            continue;
        }
        let place = Place::take(&serving);
        let Some(place) = place else {
            refuse(&mut stream, "busy", "too many others are asking: try again");
            continue;
        };
        let desk = desk.clone();
        // Not joined: it may wait for an answer that only comes when the monitor has time.
        let begun = thread::Builder::new().name("peer".into()).stack_size(STACK).spawn(move || {
            let _place = place;
            let _ = attend(stream, &desk);
        });
        if begun.is_err() {
            thread::sleep(PAUSE);
        }
    }
}

/// Refuses without a thread: the line fits into the socket's buffer, so nobody is waited for.
fn refuse(stream: &mut Stream, reason: &str, error: &str) {
    let _ = stream.write_line(&answer_line(&Err(Refusal::new(reason, error))), PAUSE);
}

fn attend(mut stream: Stream, desk: &Desk) -> io::Result<()> {
    let Some(line) = stream.read_line(LONGEST, Some(PATIENCE))? else { return Ok(()) };
    let answer = match Request::parse(&line) {
        Ok(Request::Sync) => match sync(&stream, desk) {
            Some(answer) => answer,
            None => return Ok(()),
        },
        Err(refusal) => Err(refusal),
    };
    stream.write_line(&answer_line(&answer), PATIENCE)
}

/// Waits until everything is recorded; `None` when the peer has gone.
fn sync(stream: &Stream, desk: &Desk) -> Option<Answer> {
    let (waiter, answer) = Waiter::new();
    desk.queue.ask(waiter);
    desk.waker.wake();
    loop {
        match answer.recv_timeout(LOOK) {
            Ok(answer) => return Some(answer),
            Err(mpsc::RecvTimeoutError::Timeout) if stream.is_over() => return None,
            Err(mpsc::RecvTimeoutError::Timeout) => {}
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                return Some(Err(Refusal::new("ending", "the monitor ended before everything was recorded")));
            }
        }
    }
}

/// One of the peers that are served.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(serving: &Arc<AtomicUsize>) -> Option<Place> {
        // Taken by one thread only, so nobody comes between.
        if serving.load(Ordering::Acquire) >= PEERS {
            return None;
        }
        serving.fetch_add(1, Ordering::AcqRel);
        Some(Place(Arc::clone(serving)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
