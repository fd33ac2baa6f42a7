//! The lives of processes: who had which number when, and what it ran.
//!
//! In: records of what happened, and what `/proc` shows. Out: the writer of a file, or that it cannot be told. Bounded:
//! those that are over are forgotten first, oldest first.

use super::proc::{Process, TICK};
use super::program::{Program, Tally};
use super::record::{Event, Record, path_of};
use super::{ANCESTORS, Ancestor, Key, Source, State, Window, Writer};
use images::{Images, Told};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use waxseal_model::RawPath;

mod images;

/// How many lives are remembered, at some 350 bytes each.
const MOST: usize = 16_384;
/// How many bytes executables and arguments may take.
const MOST_BYTES: usize = 2 << 20;
/// How long a process may take to become another program, from when `/proc` shows it until that is told, in nanoseconds.
const MOMENT: u64 = 1_000_000_000;
/// How many control groups' paths are remembered.
const MOST_GROUPS: usize = 2048;

/// One process from its beginning to its end.
#[derive(Debug)]
struct Life {
    parent: Option<Key>,
    /// What its parent ran when it began this process.
    begun_by: Begun,
    images: Images,
    state: State,
    cgroup: Option<Arc<[u8]>>,
    /// When `/proc` was asked about what it runs, from and until: what it ran before is not known.
    asked: Option<(u64, u64)>,
    /// Its beginning is only known to the tick.
    rounded: bool,
    ended: bool,
    /// When nothing was left of it.
    freed: Option<u64>,
    /// How many lives on record it began.
    children: u32,
    /// Whether it waits to be forgotten.
    queued: bool,
    /// As it was told last.
    writer: Option<Arc<Writer>>,
}

/// What ran when a process was begun.
#[derive(Debug, Clone)]
enum Begun {
    /// It was seen to begin: its parent ran this, if that is known.
    Seen(Option<Arc<Program>>),
    /// It was there already, or its beginning is forgotten.
    Unseen,
}

/// Whom a number belonged to.
#[derive(Debug, Clone)]
pub enum Answer {
    /// This process, without doubt.
    Known(Arc<Writer>),
    /// Nobody on record has the number; perhaps `/proc` knows.
    Stranger,
    /// There is more than one candidate, or too much was missed.
    Doubtful,
}

/// All lives on record.
#[derive(Debug)]
pub struct Lives {
    source: Source,
    lives: BTreeMap<Key, Life>,
    over: VecDeque<Key>,
    tally: Tally,
    groups: HashMap<u64, Arc<[u8]>>,
    /// Of what was over before then, some has been forgotten.
    forgotten: u64,
    /// What happened before then may have been missed.
    complete: u64,
    /// Since then it is known at each exec whether events waited to be read.
    queues: u64,
    /// Events from before then have been read, and asked about.
    quiet: u64,
    most: usize,
    most_bytes: usize,
}

impl Lives {
    /// Nobody is on record yet, and nothing is known of what happened up to now.
    pub fn new(source: Source) -> Lives {
        Lives {
            source,
            lives: BTreeMap::new(),
            over: VecDeque::new(),
            tally: Tally::default(),
            groups: HashMap::new(),
            forgotten: 0,
            complete: u64::MAX,
            queues: u64::MAX,
            quiet: 0,
            most: MOST,
            most_bytes: MOST_BYTES,
        }
    }

    /// How many there are, and how many bytes their programs take.
    pub fn size(&self) -> (usize, usize) {
        (self.lives.len(), self.tally.bytes())
    }

    /// Programs made with it count as bytes of this record.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Records were lost: nothing that is on record can be relied on.
    pub fn forget_all(&mut self) {
        self.lives.clear();
        self.over.clear();
        self.complete = u64::MAX;
    }

    /// Whether everything has been on record for some time.
    pub fn is_complete(&self) -> bool {
        self.complete != u64::MAX
    }

    /// From `now` on everything is on record again.
    pub fn set_complete(&mut self, now: u64) {
        self.complete = now;
    }

    /// From `now` on it is known at each exec whether events waited to be read; `u64::MAX`: it is not.
    pub fn set_queues(&mut self, now: u64) {
        self.queues = now;
    }

    /// A control group has this path.
    pub fn add_group(&mut self, id: u64, path: &[u8]) -> Arc<[u8]> {
        if self.groups.len() >= MOST_GROUPS {
            self.groups.clear();
        }
        let path: Arc<[u8]> = path.into();
        self.groups.insert(id, Arc::clone(&path));
        path
    }

    /// Takes what `/proc` showed at some time from `asked.0` to `asked.1`.
    pub fn seed(&mut self, process: Process, asked: (u64, u64)) {
        let Process { key, parent, exe, args, args_cut, file, state, cgroup } = process;
        let key = self.find(key).unwrap_or(key);
        let program = Program::new(exe, &args, args_cut, file, &self.tally);
        let cgroup = cgroup.map(|path| Arc::from(&*path));
        let parent = self.newest(parent).filter(|parent| parent.start <= key.start.saturating_add(TICK));
        match self.lives.get_mut(&key) {
            Some(life) => {
                life.images = Images::new(asked.0, Some(program), false);
                life.state = State { cgroup: life.state.cgroup, ..state };
                life.cgroup = cgroup.or_else(|| life.cgroup.take());
                life.asked = Some(asked);
                life.writer = None;
            }
            None => {
                let images = Images::new(asked.0, Some(program), false);
                self.begin(key, parent, Begun::Unseen, images, state, cgroup);
                if let Some(life) = self.lives.get_mut(&key) {
                    life.asked = Some(asked);
                    life.rounded = true;
                }
            }
        }
    }

    /// Those that were seeded before their parents get them now. `parents` has numbers and their parents' numbers.
    pub fn set_parents(&mut self, parents: &[(Key, u32)]) {
        for (key, parent) in parents {
            let Some(key) = self.find(*key) else { continue };
            let Some(parent) = self.newest(*parent).filter(|parent| parent.start <= key.start + TICK) else {
                continue;
            };
            let ran = self.lives.get(&parent).and_then(|life| life.images.program().cloned());
            let Some(life) = self.lives.get_mut(&key).filter(|life| life.parent.is_none()) else { continue };
            life.parent = Some(parent);
            // What it runs now may have begun it; what it runs later has not.
            life.begun_by = Begun::Seen(ran);
            life.writer = None;
            self.count_child(parent);
        }
    }

    /// Takes a record.
    pub fn apply(&mut self, record: &Record<'_>) {
        let (time, key, event, state) = match *record {
            Record::Cgroup { id, path } => {
                self.add_group(id, path);
                return;
            }
            Record::Process { time, key, event, state } => (time, key, event, state),
        };
        match event {
            Event::Fork(parent) => self.fork(time, key, parent, state),
            Event::Exec { names, args, args_cut, file, quiet } => {
                let exe = names.map(|names| RawPath::new(path_of(names)));
                let program = Program::new(exe, args, args_cut, file, &self.tally);
                self.exec(time, key, program, quiet, state);
            }
            Event::Exit => self.end(key, Some(state)),
            Event::Free => {
                self.end(key, None);
                if let Some(life) = self.found(key) {
                    life.freed = Some(time);
                }
            }
            Event::Moved(path) => {
                let path = self.add_group(state.cgroup, path);
                if let Some(life) = self.found(key) {
                    life.state.cgroup = state.cgroup;
                    life.cgroup = Some(path);
                    life.writer = None;
                }
            }
        }
        self.make_room(time);
    }

    /// A process began at this time as a copy of the one that has the other number.
    pub fn copied(&mut self, child: u32, parent: u32, time: u64) {
        let from = self.newest(parent);
        let state = from.and_then(|from| self.lives.get(&from)).map(|from| from.state);
        let unknown = State { uid: u32::MAX, login_uid: None, session: None, cgroup: 0, is_kernel: false };
        let parent = from.unwrap_or(Key { pid: parent, start: 0 });
        self.fork(time, Key { pid: child, start: time }, parent, state.unwrap_or(unknown));
        self.make_room(time);
    }

    /// The process of this number became another program: what `/proc` shows, or one that is not known.
    pub fn became(&mut self, pid: u32, time: u64, now: Option<Process>, asked: (u64, u64)) {
        let key = self.newest(pid).or(now.as_ref().map(|now| now.key)).unwrap_or(Key { pid, start: time });
        let unknown = State { uid: u32::MAX, login_uid: None, session: None, cgroup: 0, is_kernel: false };
        if !self.lives.contains_key(&key) {
            self.begin(key, None, Begun::Unseen, Images::new(time, None, false), unknown, None);
        }
        let program = now
            .as_ref()
            .map(|now| Program::new(now.exe.clone(), &now.args, now.args_cut, now.file, &self.tally));
        let quiet = self.quiet;
        let Some(life) = self.lives.get_mut(&key) else { return };
        // What `/proc` showed later is newer.
        if life.asked.is_some_and(|(from, _)| from > time) && now.is_none() {
            return;
        }
        // A process shows its new program a moment before that is told: what was shown at its last change may have been
        // this one already.
        let shown_early = life.asked.is_some_and(|(_, until)| until <= time && time - until < MOMENT)
            && (program.is_none() || life.images.program() == program.as_ref());
        if shown_early {
            life.images.forget();
        }
        life.images.become_(time, program, false, quiet);
        life.writer = None;
        if let Some(now) = now {
            life.state = now.state;
            life.cgroup = now.cgroup.map(|path| Arc::from(&*path)).or_else(|| life.cgroup.take());
            life.asked = Some(asked);
        }
        self.make_room(time);
    }

    /// The process of this number ended.
    pub fn ended(&mut self, pid: u32) {
        if let Some(key) = self.newest(pid) {
            self.end(key, None);
        }
    }

    fn fork(&mut self, time: u64, key: Key, parent: Key, state: State) {
        if self.find(key).is_some() {
            return;
        }
        let parent = self.find(parent).unwrap_or(parent);
        let from = self.lives.get(&parent);
        let ran = from.and_then(|from| {
            // What it ran when it was asked is not what it ran before.
            let known = from.asked.is_none_or(|(_, until)| until <= time);
            from.images.program().cloned().filter(|_| known)
        });
        let images = Images::new(key.start, ran.clone().filter(|_| !state.is_kernel), true);
        let cgroup = self.groups.get(&state.cgroup).cloned().or_else(|| from?.cgroup.clone());
        self.begin(key, Some(parent), Begun::Seen(ran), images, state, cgroup);
    }

    fn exec(&mut self, time: u64, key: Key, program: Arc<Program>, quiet: bool, state: State) {
        let cgroup = self.groups.get(&state.cgroup).cloned();
        let Some(key) = self.find(key) else {
            let images = Images::new(time, Some(program), false);
            return self.begin(key, None, Begun::Unseen, images, state, cgroup);
        };
        let read = self.quiet;
        let Some(life) = self.lives.get_mut(&key) else { return };
        // What `/proc` showed later is newer.
        if life.asked.is_none_or(|(from, _)| from <= time) {
            life.asked = None;
            life.images.become_(time, Some(program), quiet, read);
            life.state = state;
            life.cgroup = cgroup.or_else(|| life.cgroup.take());
            life.writer = None;
        }
    }

    fn end(&mut self, key: Key, state: Option<State>) {
        let Some(key) = self.find(key) else { return };
        let Some(life) = self.lives.get_mut(&key) else { return };
        if !life.ended {
            life.ended = true;
            life.writer = None;
        }
        if let Some(state) = state {
            life.state = State { cgroup: life.state.cgroup, ..state };
        }
        self.queue_if_over(key);
    }

    fn begin(
        &mut self,
        key: Key,
        parent: Option<Key>,
        begun_by: Begun,
        images: Images,
        state: State,
        cgroup: Option<Arc<[u8]>>,
    ) {
        if let Some(parent) = parent {
            self.count_child(parent);
        }
        let life = Life {
            parent,
            begun_by,
            images,
            state,
            cgroup,
            asked: None,
            rounded: false,
            ended: false,
            freed: None,
            children: 0,
            queued: false,
            writer: None,
        };
        self.lives.insert(key, life);
    }

    fn count_child(&mut self, parent: Key) {
        if let Some(parent) = self.lives.get_mut(&parent) {
            parent.children = parent.children.saturating_add(1);
        }
    }

    /// The life of this process: the kernel tells its beginning exactly, `/proc` rounded down to the tick.
    fn find(&self, key: Key) -> Option<Key> {
        if self.lives.contains_key(&key) {
            return Some(key);
        }
        let start = key.start / TICK * TICK;
        let within = Key { start, ..key }..Key { start: start.saturating_add(TICK), ..key };
        let is_rounded = key.start == start;
        let mut same = self.lives.range(within).filter(|(_, life)| life.rounded || is_rounded);
        same.next_back().map(|(key, _)| *key)
    }

    fn found(&mut self, key: Key) -> Option<&mut Life> {
        let key = self.find(key)?;
        self.lives.get_mut(&key)
    }

    /// Who has, or had last, this number.
    fn newest(&self, pid: u32) -> Option<Key> {
        let all = Key { pid, start: 0 }..=Key { pid, start: u64::MAX };
        self.lives.range(all).next_back().map(|(key, _)| *key)
    }

    fn queue_if_over(&mut self, key: Key) {
        if let Some(life) = self.lives.get_mut(&key)
            && life.ended
            && life.children == 0
            && !life.queued
        {
            life.queued = true;
            self.over.push_back(key);
        }
    }

    fn is_too_much(&self) -> bool {
        self.lives.len() > self.most || self.tally.bytes() > self.most_bytes
    }

    /// Forgets: first those that are over and have no descendants on record, then all that are over, then those that
    /// began longest ago.
    fn make_room(&mut self, now: u64) {
        while self.is_too_much() {
            if let Some(key) = self.over.pop_front() {
                self.remove(key, now);
                continue;
            }
            let mut rest: Vec<Key> =
                self.lives.iter().filter(|(_, life)| life.ended).map(|(key, _)| *key).collect();
            if rest.is_empty() {
                rest = self.lives.keys().copied().collect();
                rest.sort_unstable_by_key(|key| key.start);
                rest.truncate(rest.len() / 8 + 1);
            }
            if rest.is_empty() {
                // What is left is held elsewhere.
                return;
            }
            rest.into_iter().for_each(|key| self.remove(key, now));
        }
    }

    fn remove(&mut self, key: Key, now: u64) {
        let Some(life) = self.lives.remove(&key) else { return };
        self.forgotten = self.forgotten.max(life.freed.unwrap_or(now));
        if let Some(parent) = life.parent {
            if let Some(parent) = self.lives.get_mut(&parent) {
                parent.children = parent.children.saturating_sub(1);
            }
            self.queue_if_over(parent);
        }
    }

    /// Who wrote: the process that had this number at some moment within the window.
    pub fn writer(&mut self, pid: u32, window: Window) -> Answer {
        self.quiet = self.quiet.max(window.since);
        if window.since < self.complete {
            return Answer::Doubtful;
        }
        let all = Key { pid, start: 0 }..=Key { pid, start: window.until };
        let mut candidates = self.lives.range(all).rev();
        let Some((key, life)) = candidates.next() else {
            return if window.since < self.forgotten { Answer::Doubtful } else { Answer::Stranger };
        };
        // Another may have had the number before, within the window.
        let others = key.start > window.since
            && (window.since < self.forgotten
                || candidates.any(|(_, other)| other.freed.is_none_or(|freed| freed >= window.since)));
        // Or after.
        let later = life.ended && window.since < self.forgotten;
        let key = *key;
        if others || later || life.freed.is_some_and(|freed| freed < window.since) {
            return Answer::Doubtful;
        }
        match self.describe(key, window) {
            Some(writer) => Answer::Known(writer),
            None => Answer::Doubtful,
        }
    }

    fn describe(&mut self, key: Key, window: Window) -> Option<Arc<Writer>> {
        let life = self.lives.get(&key)?;
        let told = life.images.within(window, self.queues);
        if let Some(writer) = &life.writer
            && (&told.program, &told.earlier, told.cut)
                == (&writer.program, &writer.earlier, writer.earlier_cut)
        {
            return Some(Arc::clone(writer));
        }
        let Told { program, earlier, cut: earlier_cut } = told;
        let writer = Arc::new(Writer {
            key,
            program,
            earlier,
            earlier_cut,
            state: life.state,
            cgroup: life.cgroup.clone(),
            parents: self.ancestors(life.parent, &life.begun_by),
            source: self.source,
        });
        self.lives.get_mut(&key)?.writer = Some(Arc::clone(&writer));
        Some(writer)
    }

    /// The line of ancestors that begins with this process, nearest first. Each with what it ran when it began the one
    /// before it: what it became since began nobody.
    fn ancestors(&self, first: Option<Key>, begun_by: &Begun) -> Box<[Ancestor]> {
        let mut ancestors = Vec::new();
        let (mut next, mut begun_by) = (first, begun_by);
        while let Some(key) = next.filter(|_| ancestors.len() < ANCESTORS) {
            let life = self.lives.get(&key);
            let program = match begun_by {
                Begun::Seen(program) => program.clone(),
                Begun::Unseen => life.and_then(|life| life.images.program().cloned()),
            };
            ancestors.push(Ancestor { pid: key.pid, program });
            next = life.and_then(|life| life.parent);
            begun_by = life.map_or(&Begun::Unseen, |life| &life.begun_by);
        }
        ancestors.into()
    }

    /// The ancestors of a process whose parent has this number now.
    pub fn ancestors_from(&self, parent: u32) -> Box<[Ancestor]> {
        self.ancestors(self.newest(parent), &Begun::Unseen)
    }

    /// Whether a process is over, with what was true at its end; `None` when it is not on record.
    pub fn end_of(&self, key: Key) -> Option<Option<State>> {
        let life = self.lives.get(&self.find(key)?)?;
        Some(life.ended.then_some(life.state))
    }
}

#[cfg(test)]
mod tests;
