//! The record of processes on Linux.

use super::audit::Audit;
use super::connector::{Connector, News};
use super::kernel::Feed as Kernel;
use super::lives::{Answer, Lives};
use super::proc::{self, Folder};
use super::record::Record;
use super::{ANCESTORS, Ancestor, Key, Program, Source, State, Window, Writer, executable, program};
use crate::watcher::{self, Watcher};
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The inode number of the first namespace of process numbers (`PROC_PID_INIT_INO` in the kernel): the records' numbers
/// are those of that one.
const FIRST_NAMESPACE: u64 = 0xEFFF_FFFC;
/// How long a new look at all processes is put off after the last one, when records are lost again and again.
const REST: Duration = Duration::from_secs(1);

/// Knows who wrote. Shared by the thread that reads events and the one that keeps the record from overflowing.
#[derive(Debug)]
pub struct Processes {
    source: Source,
    /// When it began to know.
    started: u64,
    /// What better sources said when they were refused.
    refused: Vec<(Source, String)>,
    inner: Mutex<Inner>,
    /// The descriptors to wait for, and how to end the waiting.
    news: Vec<OwnedFd>,
    end: OwnedFd,
}

/// Where news of processes come from.
#[derive(Debug)]
enum Feed {
    /// Records by programs in the kernel.
    Kernel(Box<Kernel>),
    /// Numbers by the proc connector, programs by the audit system.
    Audit(Box<Audit>),
    /// Numbers by the proc connector; `/proc` knows more.
    Connector(Connector),
}

#[derive(Debug)]
struct Inner {
    lives: Lives,
    feed: Option<Feed>,
    /// Which of the watcher's plans is followed.
    followed: u64,
    /// When all processes were looked at last.
    seeded: Option<Instant>,
    /// How often records were lost.
    losses: u64,
}

impl Processes {
    /// Begins to know, from the best source that there is. With `audit_rules`, the audit system is given rules of our own
    /// where it has none that tell of programs.
    ///
    /// # Errors
    /// Only for want of open files; a source that is refused makes room for the next.
    pub fn start(audit_rules: bool) -> std::io::Result<Processes> {
        let mut refused = Vec::new();
        for source in [Source::ExecCache, Source::Audit, Source::ProcConnector] {
            match Feed::of(source, audit_rules) {
                Ok(feed) => return Processes::with(source, Some(feed), refused),
                Err(why) => refused.push((source, why)),
            }
        }
        Processes::with(Source::Pidfd, None, refused)
    }

    /// Begins to know from this source alone, as [`Processes::start`] would.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn from(source: Source, audit_rules: bool) -> Result<Processes, String> {
        let feed = if source == Source::Pidfd { None } else { Some(Feed::of(source, audit_rules)?) };
        Processes::with(source, feed, Vec::new()).map_err(|error| error.to_string())
    }

    fn with(
        source: Source,
        feed: Option<Feed>,
        refused: Vec<(Source, String)>,
    ) -> std::io::Result<Processes> {
        // Executables are held against it.
        executable::earliest_boot();
        let news = feed.as_ref().map_or(Vec::new(), Feed::descriptors);
        let news = news.iter().map(BorrowedFd::try_clone_to_owned).collect::<Result<_, _>>()?;
        let mut inner = Inner { lives: Lives::new(source), feed, followed: 0, seeded: None, losses: 0 };
        inner.seed();
        let end = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Processes { source, started: uptime(), refused, inner: Mutex::new(inner), news, end })
    }

    /// Asks `/proc` alone, after the event.
    ///
    /// # Errors
    /// For want of open files.
    pub fn without_record() -> std::io::Result<Processes> {
        Processes::with(Source::Pidfd, None, Vec::new())
    }

    /// Where it knows from.
    pub fn source(&self) -> Option<Source> {
        Some(self.source)
    }

    /// When it began to know, in nanoseconds since the system started. Whoever begins to watch afterwards gets no event from
    /// before.
    pub fn started(&self) -> u64 {
        self.started
    }

    /// Better sources that were refused, and why.
    pub fn refused(&self) -> &[(Source, String)] {
        &self.refused
    }

    /// Whether events are to come with descriptors of processes.
    pub fn wants_pidfds(&self) -> bool {
        self.source != Source::ExecCache
    }

    /// How often records were lost: each time, what happened before is not known any more.
    pub fn losses(&self) -> u64 {
        self.lock().losses
    }

    /// How many processes are on record, and how many bytes their programs take.
    pub fn size(&self) -> (usize, usize) {
        self.lock().lives.size()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Events come from this watcher: what a process was before it became another program while no event waited is told
    /// apart from what it was then. To be called by the thread that reads them, after each read and before it asks who
    /// wrote.
    pub fn follow(&self, watcher: &Watcher) {
        let mut inner = self.lock();
        if std::mem::replace(&mut inner.followed, watcher.plans()) == watcher.plans() {
            return;
        }
        inner.lives.set_queues(u64::MAX);
        if let Some(Feed::Kernel(kernel)) = &mut inner.feed
            && kernel.watch_queues(&watcher.queues_of_processes())
        {
            inner.lives.set_queues(uptime());
        }
    }

    /// Takes everything into account that has happened to processes up to now. To be called after events are read, and
    /// before asking who wrote.
    pub fn catch_up(&self) {
        self.lock().catch_up();
    }

    /// Keeps the record from overflowing, until [`Processes::end`] is called. For a thread of its own; it sleeps while
    /// little happens.
    pub fn serve(&self) {
        if self.news.is_empty() {
            return;
        }
        if self.wants_pidfds() {
            // Whoever is asked late has ended.
            watcher::raise_priority();
        }
        loop {
            let descriptors = [&self.end].into_iter().chain(&self.news);
            let mut fds: Vec<PollFd<'_>> = descriptors.map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
            match poll(&mut fds, None) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(_) => return,
            }
            if fds.first().is_some_and(|end| !end.revents().is_empty()) {
                return;
            }
            self.catch_up();
        }
    }

    /// Ends [`Processes::serve`].
    pub fn end(&self) {
        let _ = rustix::io::write(&self.end, &1u64.to_ne_bytes());
    }

    /// The process that had this number at some moment within the window, or none when that cannot be told without
    /// doubt. `pidfd` is the event's descriptor of it, where it came with one.
    pub fn writer(&self, pid: u32, pidfd: Option<BorrowedFd<'_>>, window: Window) -> Option<Arc<Writer>> {
        let mut inner = self.lock();
        if inner.feed.is_some() {
            match inner.lives.writer(pid, window) {
                Answer::Known(writer) if writer.program.is_none() && self.wants_pidfds() => {
                    return Some(inner.ask(pid, pidfd, window).unwrap_or(writer));
                }
                Answer::Known(writer) => return Some(writer),
                Answer::Doubtful => return None,
                Answer::Stranger => {}
            }
        }
        inner.ask(pid, pidfd, window)
    }

    /// As [`Processes::writer`], of the process that an event named.
    pub fn writer_of(&self, process: &watcher::Process, window: Window) -> Option<Arc<Writer>> {
        let pid = u32::try_from(process.pid).ok()?;
        self.writer(pid, process.pidfd.as_deref().map(AsFd::as_fd), window)
    }

    /// As it is now, or was at its end: users may change without a new program.
    pub fn state_now(&self, writer: &Writer) -> State {
        let inner = self.lock();
        match inner.lives.end_of(writer.key) {
            Some(Some(state)) => return state,
            _ => drop(inner),
        }
        let now = Folder::of(writer.key.pid).and_then(|folder| folder.process());
        let same = now.filter(|now| now.key.start / proc::TICK == writer.key.start / proc::TICK);
        same.map_or(writer.state, |now| State { cgroup: writer.state.cgroup, ..now.state })
    }
}

impl Inner {
    fn catch_up(&mut self) {
        if self.feed.is_none() {
            return;
        }
        let complete = self.drain();
        if !complete {
            self.losses += 1;
            self.lives.forget_all();
            self.seeded = self.seeded.filter(|seeded| seeded.elapsed() < REST);
            if self.seeded.is_some() {
                return;
            }
        }
        if !self.lives.is_complete() && self.seeded.is_none_or(|seeded| seeded.elapsed() >= REST) {
            self.seed();
        }
    }

    /// Looks at all processes that there are. What happens meanwhile is in the records.
    fn seed(&mut self) {
        if self.feed.is_none() {
            return;
        }
        self.seeded = Some(Instant::now());
        let mut parents = Vec::new();
        for pid in proc::numbers() {
            let from = uptime();
            if let Some(process) = Folder::of(pid).and_then(|folder| folder.process()) {
                parents.push((process.key, process.parent));
                self.lives.seed(process, (from, uptime()));
            }
        }
        self.lives.set_parents(&parents);
        if self.drain() {
            self.lives.set_complete(uptime());
        } else {
            self.losses += 1;
            self.lives.forget_all();
        }
    }

    /// Takes all news there are; whether none were lost.
    fn drain(&mut self) -> bool {
        let Inner { lives, feed: Some(feed), .. } = self else { return true };
        match feed {
            Feed::Kernel(kernel) => kernel.drain(&mut |bytes| {
                if let Ok(record) = Record::parse(bytes) {
                    lives.apply(&record);
                }
            }),
            Feed::Audit(audit) => audit.catch_up(lives),
            Feed::Connector(connector) => take_news(connector, lives),
        }
    }

    /// Asks `/proc`. Only believed when nobody else can have had the number since the event.
    fn ask(&self, pid: u32, pidfd: Option<BorrowedFd<'_>>, window: Window) -> Option<Arc<Writer>> {
        let folder = Folder::of(pid)?;
        let process = folder.process()?;
        // It began before the event could happen and is still there, or the event's own descriptor is of a process that
        // still has its number.
        let began_before = process.key.start.saturating_add(proc::TICK) <= window.since;
        if !began_before && !pidfd.is_some_and(is_there) {
            return None;
        }
        let program =
            Program::new(process.exe, &process.args, process.args_cut, process.file, self.lives.tally());
        Some(Arc::new(Writer {
            key: process.key,
            program: Some(program),
            // Nothing tells what it was before it was asked.
            earlier: Box::default(),
            earlier_cut: !process.state.is_kernel,
            state: process.state,
            cgroup: process.cgroup.map(|path| Arc::from(&*path)),
            parents: if self.feed.is_some() {
                self.lives.ancestors_from(process.parent)
            } else {
                ancestors(process.parent, process.key, self.lives.tally())
            },
            source: Source::Pidfd,
        }))
    }
}

/// Takes what the connector tells, and asks `/proc` of each process that became another program.
fn take_news(connector: &Connector, lives: &mut Lives) -> bool {
    let mut queue = VecDeque::new();
    // The connector tells times by the clock that stands still while the system sleeps.
    let slept = slept();
    let mut complete = connector.drain(&mut |news, time| queue.push_back((news, time)));
    while let Some((news, time)) = queue.pop_front() {
        let time = time.saturating_add(slept);
        match news {
            News::Fork { child, parent } => lives.copied(child, parent, time),
            News::Exit(pid) => lives.ended(pid),
            News::Exec(pid) => {
                let from = uptime();
                let process = Folder::of(pid).and_then(|folder| folder.process());
                let asked = (from, uptime());
                complete &= connector.drain(&mut |news, time| queue.push_back((news, time)));
                // What was shown may be what it became since, or another that has the number now.
                let again = |(news, _): &(News, u64)| match news {
                    News::Exec(other) | News::Fork { child: other, .. } => *other == pid,
                    News::Exit(_) => false,
                };
                let process = process.filter(|process| process.key.start <= time && !queue.iter().any(again));
                lives.became(pid, time, process, asked);
            }
        }
    }
    complete
}

/// The ancestors that are still there. Each began before its descendant, or it is not its ancestor.
fn ancestors(parent: u32, of: Key, tally: &program::Tally) -> Box<[Ancestor]> {
    let (mut ancestors, mut pid, mut before) = (Vec::new(), parent, of.start);
    while pid != 0 && ancestors.len() < ANCESTORS {
        let Some(process) = Folder::of(pid).and_then(|folder| folder.process()) else { break };
        if process.key.start > before {
            break;
        }
        let program = Program::new(process.exe, &process.args, process.args_cut, process.file, tally);
        ancestors.push(Ancestor { pid, program: Some(program) });
        (pid, before) = (process.parent, process.key.start);
    }
    ancestors.into()
}

/// Whether a process still has its number: it runs, or nobody has asked for its exit code.
fn is_there(pidfd: BorrowedFd<'_>) -> bool {
    use std::os::fd::AsRawFd;
    // SAFETY: the signal 0 is sent to nobody, and a null pointer stands for the default information.
    #[allow(unsafe_code, reason = "the signal 0 has no safe wrapper")]
    let answer = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            0,
            std::ptr::null::<libc::siginfo_t>(),
            0,
        )
    };
    answer == 0 || std::io::Error::last_os_error().raw_os_error() == Some(libc::EPERM)
}

/// The records' numbers are of the first namespace, and so must those of the events be.
fn in_first_namespace() -> Result<(), String> {
    let own = rustix::fs::stat("/proc/self/ns/pid").map_err(|_| "/proc is not to be seen")?;
    if own.st_ino == FIRST_NAMESPACE {
        Ok(())
    } else {
        Err("process numbers are those of a container".into())
    }
}

/// The time since the system started, in nanoseconds.
pub fn uptime() -> u64 {
    nanoseconds(rustix::time::ClockId::Boottime)
}

/// How long the system has slept, in nanoseconds.
pub fn slept() -> u64 {
    let monotonic = nanoseconds(rustix::time::ClockId::Monotonic);
    uptime().saturating_sub(monotonic)
}

/// When the system started by the clock on the wall as it goes now, in nanoseconds; rather too late than too early.
pub fn boot_by_wall() -> u64 {
    let up = uptime();
    nanoseconds(rustix::time::ClockId::Realtime).saturating_sub(up)
}

fn nanoseconds(clock: rustix::time::ClockId) -> u64 {
    let time = rustix::time::clock_gettime(clock);
    u64::try_from(time.tv_sec).unwrap_or(0).saturating_mul(1_000_000_000)
        + u64::try_from(time.tv_nsec).unwrap_or(0)
}

impl Feed {
    fn of(source: Source, audit_rules: bool) -> Result<Feed, String> {
        in_first_namespace()?;
        match source {
            Source::ExecCache => Kernel::attach().map(Box::new).map(Feed::Kernel),
            Source::ProcConnector => {
                let listening = Connector::listen().map(Feed::Connector);
                listening.map_err(|error| format!("the proc connector cannot be listened to: {error}"))
            }
            Source::Audit => Audit::listen(audit_rules).map(Box::new).map(Feed::Audit),
            Source::Pidfd => Err("there is no such record".into()),
        }
    }

    /// What to wait for.
    fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        match self {
            Feed::Kernel(kernel) => vec![kernel.as_fd()],
            Feed::Audit(audit) => audit.descriptors().into(),
            Feed::Connector(connector) => vec![connector.as_fd()],
        }
    }
}
