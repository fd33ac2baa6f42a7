//! What somebody does to the files while the program is at work.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;

/// Runs a piece of mischief over and over on a thread of its own while something else is done.
pub fn meanwhile<T>(mischief: impl Fn(u64) + Send + 'static, work: impl FnOnce() -> T) -> T {
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let (started, first) = mpsc::channel();
    let thread = thread::spawn(move || {
        let mut round = 0;
        while !stopped.load(Ordering::Relaxed) {
            mischief(round);
            if round == 0 {
                let _ = started.send(());
            }
            round += 1;
        }
    });
    first.recv().expect("the mischief began");
    let ends = Ends(&stop);
    let result = work();
    drop(ends);
    thread.join().expect("the mischief went well");
    result
}

/// Ends whoever looks at it when it is dropped: also when the work fails its test.
pub struct Ends<'a>(pub &'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
