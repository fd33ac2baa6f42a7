//! `sync`: waits until everything that happened before is in the record.

use crate::Exit;
use crate::commands::status::monitor_text;
use crate::context::Context;
use crate::output::{json_line, out, say, style};
use std::io::ErrorKind;
use std::time::{Duration, Instant};
use waxseal_model::control::{Answer, LONGEST, Refusal, Request, SOCKET, parse_answer};
use waxseal_model::json;
use waxseal_os::control::Stream;
use waxseal_store::{Lock, StateDir};

/// How long a monitor that is just being started may take until it listens.
const STARTING: Duration = Duration::from_secs(10);
/// How often is tried meanwhile.
const PAUSE: Duration = Duration::from_millis(20);
/// How long the monitor may take to accept the question; the answer may take as long as the work.
const PATIENCE: Duration = Duration::from_secs(30);

/// Returns when everything before is recorded. 2 when it is not, or nobody knows.
pub fn run(context: &Context) -> anyhow::Result<Exit> {
    let dir = context.state_dir()?;
    let begun = Instant::now();
    let answer = ask(&dir, &Request::Sync);
    if context.json {
        let mut object = json::object("sync");
        object.insert("recorded".into(), answer.is_ok().into());
        if let Err(refusal) = &answer {
            object.insert("reason".into(), refusal.reason.clone().into());
            object.insert("error".into(), refusal.error.clone().into());
        }
        object.insert("seconds".into(), begun.elapsed().as_secs_f64().into());
        json_line(&mut out(), &object)?;
    }
    match answer {
        Ok(()) => {
            say(context, "everything up to now is recorded");
            Ok(Exit::Same)
        }
        Err(refusal) => {
            style::error(&refusal.error);
            Ok(Exit::Trouble)
        }
    }
}

/// Lets a running monitor, if there is any, take notice of what was decided. It does so by itself with its next work as well.
pub fn settle(dir: &StateDir) {
    if Lock::holder(dir).is_some() {
        let _ = ask(dir, &Request::Sync);
    }
}

/// Asks the running monitor.
fn ask(dir: &StateDir, request: &Request) -> Answer {
    let mut stream = connect(dir)?;
    let broken = |error: std::io::Error| {
        Refusal::new("ended", format!("the monitor did not answer; it may have ended: {error}"))
    };
    stream.write_line(&request.to_line(), PATIENCE).map_err(broken)?;
    match stream.read_line(LONGEST, None).map_err(broken)? {
        Some(line) => parse_answer(&line),
        None => Err(Refusal::new("ended", "the monitor ended before everything was recorded")),
    }
}

/// Connects to the monitor; one that has its lock and does not listen yet is waited for.
fn connect(dir: &StateDir) -> Result<Stream, Refusal> {
    let deadline = Instant::now() + STARTING;
    loop {
        let error = match Stream::connect(dir.path(), SOCKET) {
            Ok(stream) => return Ok(stream),
            Err(error) => error,
        };
        let absent = [ErrorKind::NotFound, ErrorKind::ConnectionRefused].contains(&error.kind());
        let Some(holder) = Lock::holder(dir) else {
            let hint =
                "no monitor is running: start it with `waxseal watch`, or look once with `waxseal check`";
            return Err(Refusal::new("no-monitor", hint));
        };
        if !absent || Instant::now() >= deadline {
            let holder = monitor_text(&holder);
            let why = format!("the monitor cannot be reached ({holder}): {error}");
            return Err(Refusal::new("unreachable", why));
        }
        std::thread::sleep(PAUSE);
    }
}
