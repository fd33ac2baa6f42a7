//! Who made a change.

use crate::digest::{self, Digest};
use crate::json::{self, Object};
use crate::path::RawPath;
use crate::time::Timestamp;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

/// How it is known who made a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ActorSource {
    /// Programs in the kernel told of the process before it could write.
    ExecCache,
    /// The system's audit records.
    Audit,
    /// The kernel told of the process, and it was asked while it lived.
    ProcConnector,
    /// The process was asked after the event.
    Pidfd,
}

impl ActorSource {
    /// All of them, the best first.
    pub const ALL: [ActorSource; 4] =
        [ActorSource::ExecCache, ActorSource::Audit, ActorSource::ProcConnector, ActorSource::Pidfd];

    /// The contract's name.
    pub const fn name(self) -> &'static str {
        match self {
            ActorSource::ExecCache => "exec-cache",
            ActorSource::Audit => "audit",
            ActorSource::ProcConnector => "proc-connector",
            ActorSource::Pidfd => "pidfd",
        }
    }

    /// The source of this name.
    pub fn from_name(name: &str) -> Option<ActorSource> {
        ActorSource::ALL.into_iter().find(|source| source.name() == name)
    }
}

/// What stands for a source where it is not known who made a change.
pub const UNKNOWN: &str = "unknown";

/// A process that made a change, or only its number when it cannot be told which process that was.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Actor {
    /// Its number at that time.
    pub pid: u32,
    /// How it is known; `None` when it is not, and then nothing else is either.
    pub source: Option<ActorSource>,
    /// When it began.
    pub started: Option<Timestamp>,
    /// Its executable, from the root of its own mounts.
    pub exe: Option<RawPath>,
    /// The package that owns the executable, as `name version`.
    pub package: Option<String>,
    /// The executable's SHA-256, when that is certain.
    pub exe_hash: Option<Digest>,
    /// What it was before, within the time in which the change was made, oldest first: executables that may have made the
    /// change as well; at most [`EARLIER`].
    pub earlier: Vec<RawPath>,
    /// Whether there were more of those, or some are not known.
    pub earlier_cut: bool,
    /// Its arguments, secrets masked; bytes that are not UTF-8 as `\xNN`.
    pub args: Vec<String>,
    /// Whether more arguments were left out.
    pub args_cut: bool,
    /// The user whose rights it used.
    pub uid: Option<u32>,
    /// That user's name.
    pub user: Option<String>,
    /// The user who logged in.
    pub login_uid: Option<u32>,
    /// That user's name.
    pub login_user: Option<String>,
    /// Where that login came from: a terminal.
    pub terminal: Option<String>,
    /// Where that login came from: a remote host.
    pub remote: Option<String>,
    /// Who began it, nearest first.
    pub parents: Vec<Parent>,
    /// Its systemd unit.
    pub unit: Option<String>,
    /// The container that it runs in.
    pub container: Option<Container>,
}

/// One that began a process, or one that began that one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parent {
    /// Its number.
    pub pid: u32,
    /// Its executable.
    pub exe: Option<RawPath>,
}

/// A container, by its control group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// Its id.
    pub id: String,
    /// What runs it.
    pub runtime: String,
    /// The Kubernetes pod that it belongs to, by the pod's id.
    pub pod: Option<String>,
}

/// How many of the programs are told that an actor was before.
pub const EARLIER: usize = 8;

/// How many actors of one change are kept: the first, and the newest.
pub const MOST: usize = 8;

impl Actor {
    /// One of which nothing but its number is known.
    pub fn unknown(pid: u32) -> Actor {
        Actor { pid, ..Actor::default() }
    }

    /// Whether this is the same process.
    pub fn is_same(&self, other: &Actor) -> bool {
        self.pid == other.pid
            && self.started == other.started
            && self.source.is_some() == other.source.is_some()
            && self.exe == other.exe
    }

    /// The contract's object.
    pub fn to_json(&self) -> Object {
        let mut out = Object::new();
        out.insert("pid".into(), self.pid.into());
        if let Some(started) = self.started {
            out.insert("started".into(), started.to_string().into());
        }
        if let Some(exe) = &self.exe {
            json::put_path(&mut out, "exe", exe.as_bytes());
        }
        if let Some(package) = &self.package {
            out.insert("package".into(), package.clone().into());
        }
        if let Some(hash) = &self.exe_hash {
            out.insert("exe_hash".into(), digest::hex(hash).into());
        }
        json::put_paths(&mut out, "earlier", &self.earlier);
        if self.earlier_cut {
            out.insert("earlier_cut".into(), true.into());
        }
        if !self.args.is_empty() {
            out.insert("args".into(), self.args.clone().into());
        }
        if self.args_cut {
            out.insert("args_cut".into(), true.into());
        }
        let mut put = |key: &str, value: Option<Value>| {
            if let Some(value) = value {
                out.insert(key.into(), value);
            }
        };
        let text = |text: &Option<String>| text.clone().map(Value::from);
        put("uid", self.uid.map(Value::from));
        put("user", text(&self.user));
        put("login_uid", self.login_uid.map(Value::from));
        put("login_user", text(&self.login_user));
        put("terminal", text(&self.terminal));
        put("remote", text(&self.remote));
        let parents: Vec<Value> = self.parents.iter().map(|parent| parent.to_json().into()).collect();
        put("parents", (!parents.is_empty()).then(|| parents.into()));
        put("unit", text(&self.unit));
        put("container", self.container.as_ref().map(|container| container.id.clone().into()));
        put("runtime", self.container.as_ref().map(|container| container.runtime.clone().into()));
        put("pod", self.container.as_ref().and_then(|container| text(&container.pod)));
        out.insert("source".into(), self.source.map_or(UNKNOWN, ActorSource::name).into());
        out
    }

    /// Reads what [`Actor::to_json`] wrote; `None` when it is something else.
    pub fn from_json(value: &Value) -> Option<Actor> {
        let text = |key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
        let number = |key: &str| value.get(key).and_then(Value::as_u64).and_then(|n| u32::try_from(n).ok());
        let list = |key: &str| value.get(key).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let container = |id| Container { id, runtime: text("runtime").unwrap_or_default(), pod: text("pod") };
        Some(Actor {
            pid: number("pid")?,
            source: text("source").and_then(|name| ActorSource::from_name(&name)),
            started: text("started").and_then(|time| Timestamp::from_rfc3339(&time)),
            exe: path(value, "exe"),
            package: text("package"),
            exe_hash: text("exe_hash").and_then(|hash| digest::unhex(&hash)?.try_into().ok()),
            earlier: paths(value, "earlier")?,
            earlier_cut: value.get("earlier_cut").and_then(Value::as_bool).unwrap_or(false),
            args: list("args").iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            args_cut: value.get("args_cut").and_then(Value::as_bool).unwrap_or(false),
            uid: number("uid"),
            user: text("user"),
            login_uid: number("login_uid"),
            login_user: text("login_user"),
            terminal: text("terminal"),
            remote: text("remote"),
            parents: list("parents").iter().filter_map(Parent::from_json).collect(),
            unit: text("unit"),
            container: text("container").map(container),
        })
    }

    /// Whether one of these executables has a part in it: this process ran it, or one that it descends from.
    pub fn descends_from(&self, wanted: &dyn Fn(&RawPath) -> bool) -> bool {
        self.exe.iter().chain(&self.earlier).any(wanted) || self.was_begun_by(wanted)
    }

    /// Whether a process that it descends from ran one of these executables when it began the next.
    pub fn was_begun_by(&self, wanted: &dyn Fn(&RawPath) -> bool) -> bool {
        self.parents.iter().filter_map(|parent| parent.exe.as_ref()).any(wanted)
    }

    /// Whether everything that the process ran in that time is known, and is one of these executables.
    pub fn ran_only(&self, allowed: &dyn Fn(&RawPath) -> bool) -> bool {
        !self.earlier_cut && self.exe.as_ref().is_some_and(allowed) && self.earlier.iter().all(allowed)
    }

    /// Takes what is known of the executable besides, unless it is known already. Whether that was news.
    fn take_facts(&mut self, other: &Actor) -> bool {
        let package = self.package.is_none() && other.package.is_some();
        let hash = self.exe_hash.is_none() && other.exe_hash.is_some();
        if package {
            self.package.clone_from(&other.package);
        }
        if hash {
            self.exe_hash = other.exe_hash;
        }
        package || hash
    }

    /// Takes what the same process was before, as told for another of its changes.
    fn take_earlier(&mut self, older: &Actor) {
        let more = std::mem::take(&mut self.earlier).into_iter().filter(|exe| !older.earlier.contains(exe));
        self.earlier = older.earlier.iter().cloned().chain(more).collect();
        self.earlier_cut |= older.earlier_cut || self.earlier.len() > EARLIER;
        self.earlier.truncate(EARLIER);
    }
}

impl Parent {
    fn to_json(&self) -> Object {
        let mut out = Object::new();
        out.insert("pid".into(), self.pid.into());
        if let Some(exe) = &self.exe {
            json::put_path(&mut out, "exe", exe.as_bytes());
        }
        out
    }

    fn from_json(value: &Value) -> Option<Parent> {
        let pid = value.get("pid")?.as_u64().and_then(|pid| u32::try_from(pid).ok())?;
        Some(Parent { pid, exe: path(value, "exe") })
    }
}

fn path(value: &Value, key: &str) -> Option<RawPath> {
    let exact = value.get(format!("{key}_base64")).and_then(Value::as_str);
    match exact.map(|text| STANDARD.decode(text)) {
        Some(bytes) => Some(RawPath::new(bytes.ok()?)),
        None => Some(RawPath::new(value.get(key)?.as_str()?.as_bytes())),
    }
}

/// Reads what [`json::put_paths`] wrote.
fn paths(value: &Value, key: &str) -> Option<Vec<RawPath>> {
    let list = |key: &str| value.get(key).and_then(Value::as_array);
    let texts = |list: &Vec<Value>| list.iter().filter_map(|one| one.as_str().map(str::to_owned)).collect();
    let texts: Vec<String> = list(key).map(texts).unwrap_or_default();
    match list(&format!("{key}_base64")) {
        Some(exact) => {
            let decoded = exact.iter().map(|one| Some(RawPath::new(STANDARD.decode(one.as_str()?).ok()?)));
            decoded.collect()
        }
        None => Some(texts.into_iter().map(|text| RawPath::new(text.into_bytes())).collect()),
    }
}

/// Adds actors to those on record: each once, the newest last. When there are too many, the first is kept, and the newest.
pub fn add(known: &mut Vec<Actor>, more: Vec<Actor>) {
    for mut actor in more {
        known.retain(|old| {
            let is_same = old.is_same(&actor);
            if is_same {
                actor.take_earlier(old);
                actor.take_facts(old);
            }
            !is_same
        });
        known.push(actor);
    }
    if known.len() > MOST {
        let surplus = known.len() - MOST;
        known.drain(1..=surplus);
    }
}

/// Adds what has become known of executables since to actors on record. Whether that was news.
pub fn complete(known: &mut [Actor], by: &[Actor]) -> bool {
    let mut is_news = false;
    for actor in known {
        for other in by {
            is_news |= other.is_same(actor) && actor.take_facts(other);
        }
    }
    is_news
}

/// Several actors as one JSON text, for the record.
pub fn to_text(actors: &[Actor]) -> Option<String> {
    let list: Vec<Value> = actors.iter().map(|actor| actor.to_json().into()).collect();
    (!list.is_empty()).then(|| Value::from(list).to_string())
}

/// Reads what [`to_text`] wrote; what is no actor is left out.
pub fn from_text(text: &str) -> Vec<Actor> {
    let value: Value = serde_json::from_str(text).unwrap_or_default();
    value.as_array().map_or(Vec::new(), |list| list.iter().filter_map(Actor::from_json).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> Actor {
        Actor {
            pid: 812,
            source: Some(ActorSource::ExecCache),
            started: Some(Timestamp::new(1000, 5000)),
            exe: Some(RawPath::new(*b"/usr/sbin/php\xff")),
            package: Some("php8.2-fpm 8.2.7-1".into()),
            exe_hash: Some([7; 32]),
            earlier: vec![RawPath::new(*b"/usr/bin/a"), RawPath::new(*b"/usr/bin/\xfe")],
            earlier_cut: true,
            args: vec!["php-fpm".into(), "\u{1b}[2J".into()],
            args_cut: true,
            uid: Some(33),
            user: Some("www-data".into()),
            login_uid: Some(1000),
            login_user: Some("ada".into()),
            terminal: Some("pts/1".into()),
            remote: Some("192.0.2.1".into()),
            parents: vec![
                Parent { pid: 7, exe: None },
                Parent { pid: 1, exe: Some(RawPath::new(*b"/sbin/init")) },
            ],
            unit: Some("php.service".into()),
            container: Some(Container { id: "abc".into(), runtime: "docker".into(), pod: Some("p".into()) }),
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        for actor in [full(), Actor::unknown(9)] {
            let text = to_text(&[actor.clone(), full()]).unwrap();
            assert_eq!(from_text(&text), [actor, full()]);
        }
        assert_eq!(to_text(&[]), None);
        for junk in ["", "x", "{}", "[1, {}, {\"pid\": -1}]"] {
            assert_eq!(from_text(junk), []);
        }
        let unknown = Value::from(Actor::unknown(9).to_json()).to_string();
        assert_eq!(unknown, r#"{"pid":9,"source":"unknown"}"#);
    }

    #[test]
    fn what_the_same_process_was_for_one_change_it_was_for_all() {
        let path = |text: &str| RawPath::new(text.as_bytes());
        let one = Actor { earlier: vec![path("/a")], earlier_cut: false, ..full() };
        let two = Actor { earlier: vec![path("/b"), path("/a")], ..one.clone() };
        let none = Actor { earlier: Vec::new(), ..one.clone() };
        let mut known = vec![one];
        add(&mut known, vec![none, two]);
        assert_eq!(known.len(), 1);
        assert_eq!((&known[0].earlier, known[0].earlier_cut), (&vec![path("/a"), path("/b")], false));
        let many = (0..9).map(|n| path(&format!("/{n}"))).collect();
        let more = Actor { earlier: many, ..known[0].clone() };
        add(&mut known, vec![more]);
        assert_eq!((known[0].earlier.len(), known[0].earlier_cut), (EARLIER, true));
    }

    #[test]
    fn only_a_process_that_is_known_throughout_ran_nothing_else() {
        let path = |text: &str| RawPath::new(text.as_bytes());
        let allowed = |exe: &RawPath| [path("/a"), path("/b")].contains(exe);
        let actor = Actor { exe: Some(path("/a")), earlier: vec![path("/b")], ..Actor::default() };
        assert!(actor.ran_only(&allowed));
        assert!(!Actor { earlier: vec![path("/b"), path("/c")], ..actor.clone() }.ran_only(&allowed));
        assert!(!Actor { earlier_cut: true, ..actor.clone() }.ran_only(&allowed));
        assert!(!Actor { exe: None, ..actor.clone() }.ran_only(&allowed));
        assert!(actor.descends_from(&|exe| *exe == path("/b")) && !actor.was_begun_by(&allowed));
    }

    #[test]
    fn what_becomes_known_of_an_executable_is_added_once() {
        let bare = Actor { package: None, exe_hash: None, ..full() };
        let mut known = vec![bare.clone(), Actor::unknown(9)];
        assert!(complete(&mut known, &[full()]));
        assert!(!complete(&mut known, &[full()]));
        assert_eq!(known, [full(), Actor::unknown(9)]);
        assert!(!complete(&mut known, &[Actor { package: Some("other 1".into()), ..full() }]));
        assert!(!complete(&mut [bare.clone()], &[Actor { pid: 7, ..full() }]));
        // Whoever writes again is not known less well.
        add(&mut known, vec![bare]);
        assert_eq!(known, [Actor::unknown(9), full()]);
    }

    #[test]
    fn the_newest_are_last_and_the_first_is_kept() {
        let mut known = Vec::new();
        add(&mut known, (0..20).map(Actor::unknown).collect());
        let pids: Vec<u32> = known.iter().map(|actor| actor.pid).collect();
        assert_eq!(pids, [0, 13, 14, 15, 16, 17, 18, 19]);
        add(&mut known, vec![Actor::unknown(15)]);
        let pids: Vec<u32> = known.iter().map(|actor| actor.pid).collect();
        assert_eq!(pids, [0, 13, 14, 16, 17, 18, 19, 15]);
        // The same number, but somebody else.
        add(&mut known, vec![Actor { started: Some(Timestamp::new(1, 0)), ..Actor::unknown(15) }]);
        assert_eq!(known.len(), MOST);
        assert_eq!(known.iter().filter(|actor| actor.pid == 15).count(), 2);
    }

    #[test]
    fn ancestors_count_and_names_that_it_gave_itself_do_not() {
        let allowed = |exe: &RawPath| exe.as_bytes() == b"/sbin/init";
        assert!(full().descends_from(&allowed));
        let mut other = full();
        other.args = vec!["/sbin/init".into()];
        other.parents.pop();
        assert!(!other.descends_from(&allowed));
        assert!(!Actor::unknown(1).descends_from(&|_| true));
    }
}
