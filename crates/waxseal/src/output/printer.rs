//! Printing that nobody waits for: a thread prints, and whoever has something to say goes on.
//!
//! In: texts, each of whole lines. Out: the same in their order, as fast as they are taken. Where nobody takes them, some
//! are left out at one place, and a text in that place says how many.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Texts are written in pieces of at most this many bytes, as far as they are not larger themselves: a pipe takes such a
/// piece (PIPE_BUF) as a whole or not at all, so that no line is torn when the program ends while nobody reads.
const PIECE: usize = 4096;

/// Where a text belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

/// How much is kept, and how long is waited.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// How many bytes wait to be printed, at most; one text may go beyond it.
    pub room: usize,
    /// How long whoever says something waits for room.
    pub patience: Duration,
    /// It waits on as long as this many bytes are taken in that time.
    pub least: u64,
    /// How long is waited at the end for what is left.
    pub end: Duration,
}

/// What the monitor keeps: some thousand lines. A reader that takes 64 KiB a second, about a hundred lines, is waited for.
pub const LIMITS: Limits =
    Limits { room: 4 << 20, patience: Duration::from_secs(1), least: 64 << 10, end: Duration::from_secs(5) };

/// How printing ended.
#[derive(Debug, Default)]
pub struct Ending {
    /// What was not printed, in texts.
    pub unsaid: u64,
    /// Why printing ended early.
    pub error: Option<io::Error>,
}

/// Prints on a thread of its own.
#[derive(Debug)]
pub struct Printer {
    shared: Arc<Shared>,
    limits: Limits,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    texts: VecDeque<(Stream, Vec<u8>)>,
    /// How large they are together.
    bytes: usize,
    /// How many bytes were taken so far.
    taken: u64,
    /// Since when there has been hardly any room, and what had been taken by then.
    full: Option<(Instant, u64)>,
    /// How many texts were left out after the last one that waits.
    left_out: u64,
    /// How many texts are being written.
    in_hand: u64,
    is_ending: bool,
    is_over: bool,
    error: Option<io::Error>,
}

impl Printer {
    /// A printer that gives pieces of text to `write`, and says of what it left out what `left_out` makes of the number.
    ///
    /// # Errors
    /// When there can be no further thread.
    pub fn start(
        limits: Limits,
        mut write: impl FnMut(Stream, &[u8]) -> io::Result<()> + Send + 'static,
        left_out: impl Fn(u64) -> (Stream, Vec<u8>) + Send + 'static,
    ) -> io::Result<Printer> {
        let shared = Arc::new(Shared::default());
        let printer = Printer { shared: Arc::clone(&shared), limits };
        let thread = std::thread::Builder::new().name("print".into()).stack_size(128 * 1024);
        // Not joined: it may be held up for ever.
        thread.spawn(move || {
            while let Some((stream, piece)) = shared.next_piece() {
                let result = write(stream, &piece);
                shared.note(piece.len(), result, limits, &left_out);
            }
        })?;
        Ok(printer)
    }

    /// Has a text printed, after all that was said before. It waits for room only as long as somebody reads.
    pub fn say(&self, stream: Stream, text: Vec<u8>) {
        let Limits { room, patience, least, .. } = self.limits;
        let mut state = self.shared.lock();
        if state.bytes < room / 2 {
            state.full = None;
        }
        while state.bytes >= room && state.left_out == 0 && !state.is_over {
            let now = Instant::now();
            let taken = state.taken;
            let (since, before) = *state.full.get_or_insert((now, taken));
            let waited = now.saturating_duration_since(since);
            if waited < patience {
                let wait = self.shared.changed.wait_timeout(state, patience - waited);
                state = wait.unwrap_or_else(PoisonError::into_inner).0;
            } else if taken - before >= least {
                state.full = Some((now, taken));
            } else {
                break;
            }
        }
        if state.is_over {
            return;
        }
        if state.left_out > 0 || state.bytes >= room {
            state.left_out += 1;
            return;
        }
        state.push(stream, text);
        self.shared.changed.notify_all();
    }

    /// Waits until everything is printed, but no longer than the limit says.
    pub fn end(&self) -> Ending {
        let mut state = self.shared.lock();
        // A second time, nothing more is waited for.
        let wait = if state.is_ending { Duration::ZERO } else { self.limits.end };
        let deadline = Instant::now() + wait;
        state.is_ending = true;
        self.shared.changed.notify_all();
        while !state.is_over {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let unsaid = state.texts.len() as u64 + state.in_hand + state.left_out;
                return Ending { unsaid, error: None };
            }
            state = self.shared.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        Ending { unsaid: 0, error: state.error.take() }
    }
}

impl State {
    fn push(&mut self, stream: Stream, text: Vec<u8>) {
        self.bytes += text.len();
        self.texts.push_back((stream, text));
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the next texts of one stream that make a piece; `None` when there will be none.
    fn next_piece(&self) -> Option<(Stream, Vec<u8>)> {
        let mut state = self.lock();
        loop {
            if state.is_over {
                return None;
            }
            if let Some((stream, mut piece)) = state.texts.pop_front() {
                state.in_hand = 1;
                while let Some((_, text)) = state
                    .texts
                    .pop_front_if(|(next, text)| *next == stream && piece.len() + text.len() <= PIECE)
                {
                    state.in_hand += 1;
                    piece.extend_from_slice(&text);
                }
                return Some((stream, piece));
            }
            if state.is_ending {
                state.is_over = true;
                self.changed.notify_all();
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// A piece was taken, or will never be.
    fn note(
        &self,
        length: usize,
        result: io::Result<()>,
        limits: Limits,
        left_out: impl Fn(u64) -> (Stream, Vec<u8>),
    ) {
        let mut state = self.lock();
        state.in_hand = 0;
        state.taken += length as u64;
        state.bytes = state.bytes.saturating_sub(length);
        if let Err(error) = result {
            state.error = Some(error);
            state.is_over = true;
            (state.texts, state.bytes) = (VecDeque::new(), 0);
        } else if state.left_out > 0 && state.bytes <= limits.room / 2 {
            let count = std::mem::take(&mut state.left_out);
            let (stream, text) = left_out(count);
            state.push(stream, text);
        }
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    const LONG: Duration = Duration::from_secs(60);
    const SMALL: Limits = Limits { room: 100_000, patience: Duration::ZERO, least: 1, end: LONG };

    /// A printer into a channel; a piece is only taken when there is room in it, or somebody takes one.
    fn printer(limits: Limits, room: usize) -> (Printer, mpsc::Receiver<Vec<u8>>) {
        let (sender, pieces) = mpsc::sync_channel(room);
        let write =
            move |_, piece: &[u8]| sender.send(piece.to_vec()).map_err(|_| io::ErrorKind::BrokenPipe.into());
        let left_out = |count| (Stream::Out, format!("left out {count}\n").into_bytes());
        (Printer::start(limits, write, left_out).unwrap(), pieces)
    }

    fn line(number: u64) -> Vec<u8> {
        format!("{number:020}\n").into_bytes()
    }

    #[test]
    fn everything_is_printed_in_order_and_in_pieces_of_whole_lines() {
        // Room for as many pieces as there are lines: nobody takes one before the end.
        let (printer, pieces) = printer(SMALL, 5000);
        (0..4000).for_each(|number| printer.say(Stream::Out, line(number)));
        let long = [vec![b'x'; 3 * PIECE], vec![b'\n']].concat();
        printer.say(Stream::Out, long.clone());
        let ending = printer.end();
        assert!(ending.unsaid == 0 && ending.error.is_none());
        let pieces: Vec<Vec<u8>> = pieces.try_iter().collect();
        assert!(pieces.iter().all(|piece| piece.ends_with(b"\n")));
        assert!(pieces.iter().all(|piece| piece.len() <= PIECE || *piece == long));
        let expected: Vec<u8> = (0..4000).flat_map(line).chain(long).collect();
        assert_eq!(pieces.concat(), expected);
    }

    #[test]
    fn the_order_is_kept_between_the_streams_of_one_printer() {
        let (sender, pieces) = mpsc::channel();
        let write =
            move |stream, piece: &[u8]| sender.send((stream, piece.to_vec())).map_err(io::Error::other);
        let printer = Printer::start(SMALL, write, |_| (Stream::Out, Vec::new())).unwrap();
        let streams = [Stream::Out, Stream::Err, Stream::Err, Stream::Out];
        (0..).zip(streams).for_each(|(number, stream)| printer.say(stream, line(number)));
        printer.end();
        let printed: Vec<(Stream, Vec<u8>)> = pieces.try_iter().collect();
        assert_eq!(printed.iter().flat_map(|(_, piece)| piece.clone()).collect::<Vec<_>>(), {
            (0..4).flat_map(line).collect::<Vec<_>>()
        });
        let order: Vec<Stream> =
            printed.iter().flat_map(|(stream, piece)| vec![*stream; piece.len() / line(0).len()]).collect();
        assert_eq!(order, streams);
    }

    #[test]
    fn when_nobody_reads_it_goes_on_and_says_how_much_is_missing_and_where() {
        let (printer, pieces) = printer(SMALL, 0);
        const ALL: u64 = 100_000;
        (0..ALL).for_each(|number| printer.say(Stream::Out, line(number)));
        assert!(printer.shared.lock().bytes <= SMALL.room + PIECE);
        let reader = std::thread::spawn(move || pieces.iter().collect::<Vec<_>>().concat());
        // Room again: what is said from now on comes after the gap.
        while printer.shared.lock().left_out > 0 {
            std::thread::yield_now();
        }
        printer.say(Stream::Out, line(ALL));
        assert_eq!(printer.end().unsaid, 0);
        drop(printer);
        let printed = String::from_utf8(reader.join().unwrap()).unwrap();
        let gap: Vec<(usize, &str)> =
            printed.lines().enumerate().filter(|(_, line)| line.starts_with("left out ")).collect();
        let [(at, gap)] = gap[..] else { panic!("{gap:?}") };
        let left_out: u64 = gap["left out ".len()..].parse().unwrap();
        assert_eq!(at as u64 + left_out, ALL);
        let before: String = (0..at as u64).map(|number| String::from_utf8(line(number)).unwrap()).collect();
        assert_eq!(printed, format!("{before}{gap}\n{ALL:020}\n"));
    }

    #[test]
    fn a_slow_reader_is_waited_for() {
        let (printer, pieces) = printer(Limits { patience: LONG, ..SMALL }, 0);
        let reader = std::thread::spawn(move || pieces.iter().collect::<Vec<_>>().concat());
        (0..50_000).for_each(|number| printer.say(Stream::Out, line(number)));
        assert_eq!(printer.end().unsaid, 0);
        drop(printer);
        assert!(reader.join().unwrap() == (0..50_000).flat_map(line).collect::<Vec<_>>());
    }

    #[test]
    fn a_reader_that_has_gone_is_an_error_at_the_end_and_holds_nobody_up() {
        let (printer, pieces) = printer(Limits { patience: LONG, ..SMALL }, 0);
        drop(pieces);
        (0..50_000).for_each(|number| printer.say(Stream::Out, line(number)));
        assert_eq!(printer.end().error.unwrap().kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn the_end_does_not_wait_for_ever() {
        let (printer, _pieces) = printer(Limits { end: Duration::ZERO, ..SMALL }, 0);
        (0..7).for_each(|number| printer.say(Stream::Out, line(number)));
        assert_eq!(printer.end().unsaid, 7);
    }
}
