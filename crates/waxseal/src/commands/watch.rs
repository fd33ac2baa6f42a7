//! `watch`: the monitor, in the foreground.

use crate::Exit;
use crate::args::WatchArgs;
use crate::commands::add::add;
use crate::commands::init;
use crate::commands::status::monitor_text;
use crate::context::{Context, absolute_all, scan_options};
use crate::output::report::write_change;
use crate::output::{describe, json_line, out, say, style, warn};
use anyhow::bail;
use std::io::Write;
use waxseal_engine::monitor::{Event, Monitor};
use waxseal_engine::trust;
use waxseal_model::json::{self, Object};
use waxseal_model::{Change, RawPath};
use waxseal_os::signals::{Request, Signals};
use waxseal_os::{limits, watcher};
use waxseal_store::{Lock, StateDir, Store, StoreError};

/// Watches until it is told to end.
pub fn run(args: &WatchArgs, context: &Context) -> anyhow::Result<Exit> {
    let signals = Signals::block();
    let only = absolute_all(&args.paths)?;
    let store = match StateDir::open(&context.state_path, limits::effective_uid()) {
        Ok(dir) if dir.has_database() => Store::open(&dir)?,
        Ok(_) | Err(StoreError::NoState(_)) if !only.is_empty() => {
            init::seal(&only, args.key.as_deref(), false, context)?.store
        }
        Ok(dir) => Store::open(&dir)?,
        Err(error) => return Err(error.into()),
    };
    let since = limits::now();
    let mut lock = match Lock::take(store.dir(), &holder(since, None)) {
        Err(StoreError::Locked(_, holder)) => bail!(
            "another monitor is running on {}: {}",
            crate::context::show(store.dir().path()),
            monitor_text(&holder)
        ),
        other => other?,
    };
    let coverage = context.coverage(context.config()?);
    let uncovered: Vec<RawPath> =
        only.iter().filter(|path| coverage.owner(path).is_none()).cloned().collect();
    let coverage = if uncovered.is_empty() {
        coverage
    } else {
        add(&uncovered, args.key.as_deref(), args.yes, &store, context)?;
        context.coverage(context.config()?)
    };
    let baseline = store.current_baseline()?;
    let mut teller = Teller { context, since: since.to_string() };
    let seal = context.verifier_key(store.dir());
    if let Err(error) = seal.and_then(|key| trust::verify(&baseline, &key).map_err(anyhow::Error::msg)) {
        teller.trouble(
            None,
            &format!("the baseline's seal is broken: {error:#}; watching goes on, untrusted"),
        )?;
    }
    let options = scan_options(coverage.config());
    let monitor = Monitor { store: &store, baseline: &baseline, coverage: &coverage, options, only };
    let started = monitor.start()?;
    let stopper = started.stopper();
    // Ends with the process: nobody waits for a signal that never comes.
    std::thread::Builder::new().name("signals".into()).stack_size(64 * 1024).spawn(move || {
        loop {
            match signals.wait() {
                Request::End => stopper.stop(),
                Request::Reload => warn("SIGHUP: this version reads its config only when it starts"),
            }
        }
    })?;
    let mut failed = None;
    started.run(&mut |event| {
        if let Event::Ready { coverage, .. } = &event {
            lock.describe(&holder(since, Some(&backends(coverage))));
        }
        if let Err(error) = teller.tell(event) {
            failed.get_or_insert(error);
        }
    })?;
    failed.map_or(Ok(Exit::Same), |error| Err(error.into()))
}

/// What others learn of this monitor while it holds the lock.
fn holder(since: waxseal_model::Timestamp, backend: Option<&str>) -> String {
    let mut object = Object::new();
    object.insert("pid".into(), std::process::id().into());
    object.insert("since".into(), since.to_string().into());
    object.insert("backend".into(), backend.map_or("starting", |backend| backend).into());
    json::line(&object)
}

/// The names of what watches, each once.
fn backends(coverage: &[watcher::Coverage]) -> String {
    let mut backends: Vec<&str> = coverage.iter().map(|part| part.backend.name()).collect();
    backends.sort_unstable();
    backends.dedup();
    backends.join("+")
}

/// Prints what the monitor tells.
struct Teller<'a> {
    context: &'a Context,
    since: String,
}

impl Teller<'_> {
    fn tell(&mut self, event: Event) -> std::io::Result<()> {
        match event {
            Event::Ready { coverage, watching } => self.ready(&coverage, watching),
            Event::Changed(change) => self.changed(&change),
            Event::Resolved(change) => self.resolved(&change),
            Event::Touched(path) => self.touched(&path),
            Event::Rescan { path, reason } => self.rescan(&path, reason),
            Event::Trouble(trouble) => self.trouble(trouble.path.as_ref(), &trouble.message),
            Event::Blind { reason, message } => self.blind(reason, &message),
            Event::Sighted => self.sighted(),
        }
    }

    fn object(&self, object: &Object) -> std::io::Result<()> {
        let mut out = out();
        json_line(&mut out, object)?;
        out.flush()
    }

    fn ready(&self, coverage: &[watcher::Coverage], watching: u64) -> std::io::Result<()> {
        let backend = backends(coverage);
        let mut blind: Vec<&str> = coverage.iter().flat_map(|part| &part.blind).map(String::as_str).collect();
        blind.sort_unstable();
        blind.dedup();
        if self.context.json {
            let mut object = json::object("ready");
            object.insert("backend".into(), backend.into());
            object.insert("watching".into(), watching.into());
            let parts = coverage.iter().map(|part| {
                let mut object = Object::new();
                json::put_path(&mut object, "path", part.place.as_bytes());
                object.insert("backend".into(), part.backend.name().into());
                serde_json::Value::from(object)
            });
            object.insert("coverage".into(), parts.collect::<Vec<_>>().into());
            object.insert("blind".into(), blind.into_iter().collect());
            object.insert("since".into(), self.since.clone().into());
            return self.object(&object);
        }
        let entries = describe::counted(watching, "entry", "entries");
        say(self.context, &format!("watching {entries} with {backend}; end with Ctrl-C"));
        say(self.context, &format!("only scans find: {}", blind.join("; ")));
        Ok(())
    }

    fn changed(&self, change: &Change) -> std::io::Result<()> {
        if self.context.json {
            return self.object(&json::change(change));
        }
        let mut out = out();
        write_change(&mut out, change)?;
        out.flush()
    }

    fn resolved(&self, change: &Change) -> std::io::Result<()> {
        if self.context.json {
            let mut object = json::object("resolved");
            object.insert("id".into(), change.id.to_string().into());
            json::put_path(&mut object, "path", change.path.as_bytes());
            return self.object(&object);
        }
        let mut out = out();
        let (good, faint) = (style::GOOD, style::FAINT);
        writeln!(out, "{good}resolved{good:#} {}  {faint}{}{faint:#}", change.path, change.id)?;
        out.flush()
    }

    fn touched(&self, path: &RawPath) -> std::io::Result<()> {
        if self.context.json {
            let mut object = json::object("touched");
            json::put_path(&mut object, "path", path.as_bytes());
            return self.object(&object);
        }
        let mut out = out();
        let faint = style::FAINT;
        writeln!(out, "{faint}touched  {path}: it came and went{faint:#}")?;
        out.flush()
    }

    fn rescan(&self, path: &RawPath, reason: &str) -> std::io::Result<()> {
        if self.context.json {
            let mut object = json::object("rescan");
            json::put_path(&mut object, "path", path.as_bytes());
            object.insert("reason".into(), reason.into());
            return self.object(&object);
        }
        warn(&format!("{path} is scanned again: {reason}"));
        Ok(())
    }

    fn trouble(&self, path: Option<&RawPath>, message: &str) -> std::io::Result<()> {
        if self.context.json {
            return self.object(&json::error(path.map(RawPath::as_bytes), message));
        }
        let place = path.map(|path| format!("{path}: ")).unwrap_or_default();
        warn(&format!("{place}{message}"));
        Ok(())
    }

    fn blind(&self, reason: &str, message: &str) -> std::io::Result<()> {
        warn(&format!("changes cannot be recorded: {message}"));
        if self.context.json {
            let mut object = json::object("blind");
            object.insert("reason".into(), reason.into());
            return self.object(&object);
        }
        Ok(())
    }

    fn sighted(&self) -> std::io::Result<()> {
        warn("changes are recorded again; everything was looked at");
        if self.context.json {
            return self.object(&json::object("sighted"));
        }
        Ok(())
    }
}
