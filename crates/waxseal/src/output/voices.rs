//! What the monitor prints: whoever does not read it keeps it from nothing.
//!
//! Standard output and standard error have a printer each, so that one that is not read does not silence the other; where
//! they are the same, they share one, so that the order is right.

use super::printer::{LIMITS, Printer, Stream};
use super::{out, style};
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};
use waxseal_model::json;

/// What messages for people go through while there are voices.
static FOR_PEOPLE: Mutex<Option<Arc<Printer>>> = Mutex::new(None);

/// The printers, from their beginning on until this is dropped, which waits for them a bounded time.
#[derive(Debug)]
pub struct Voices {
    out: Arc<Printer>,
    err: Arc<Printer>,
}

impl Voices {
    /// Prints by threads from now on, also what is said by [`say`](super::say) and [`warn`](super::warn).
    ///
    /// # Errors
    /// When there can be no further thread.
    pub fn begin(json: bool) -> io::Result<Voices> {
        let of_out = move |count| (Stream::Out, gap(count, json));
        let out = Arc::new(Printer::start(LIMITS, write, of_out)?);
        let err = if waxseal_os::terminal::is_one_output() {
            Arc::clone(&out)
        } else {
            Arc::new(Printer::start(LIMITS, write, |count| (Stream::Err, gap(count, false)))?)
        };
        *FOR_PEOPLE.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&err));
        Ok(Voices { out, err })
    }

    /// Prints whole lines on standard output.
    pub fn print(&self, text: Vec<u8>) {
        self.out.say(Stream::Out, text);
    }

    /// Waits until everything is printed, but not for a reader that does not read.
    ///
    /// # Errors
    /// Why standard output could not be printed on.
    pub fn end(self) -> io::Result<()> {
        let ending = self.out.end();
        if ending.unsaid > 0 {
            super::warn(&format!("{} lines were not printed: nobody reads them", ending.unsaid));
        }
        ending.error.map_or(Ok(()), Err)
    }
}

impl Drop for Voices {
    fn drop(&mut self) {
        *FOR_PEOPLE.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.out.end();
        self.err.end();
    }
}

/// Prints whole lines for people on standard error.
pub fn to_people(text: String) {
    let printer = FOR_PEOPLE.lock().unwrap_or_else(PoisonError::into_inner).clone();
    match printer {
        Some(printer) => printer.say(Stream::Err, text.into_bytes()),
        // Whether anybody reads it is not ours to know.
        None => drop(write(Stream::Err, text.as_bytes())),
    }
}

fn write(stream: Stream, text: &[u8]) -> io::Result<()> {
    match stream {
        Stream::Out => {
            let mut out = out();
            out.write_all(text)?;
            out.flush()
        }
        Stream::Err => anstream::stderr().lock().write_all(text),
    }
}

/// What stands where lines were left out.
fn gap(count: u64, json: bool) -> Vec<u8> {
    if json {
        let mut object = json::object("skipped");
        object.insert("lines".into(), count.into());
        return format!("{}\n", json::line(&object)).into_bytes();
    }
    let (warn, lines) = (style::WARN, super::describe::counted(count, "line", "lines"));
    format!(
        "{warn}skipped{warn:#}  {lines} that nobody read in time; what is open is shown by `waxseal changes`\n"
    )
    .into_bytes()
}
