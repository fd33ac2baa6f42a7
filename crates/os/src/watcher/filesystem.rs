//! One marked filesystem: from the kernel's records to hints below the roots.
//!
//! The mark reports everything that happens on the filesystem, so most records concern nobody. Which directories do is
//! remembered by their handles, and so is which objects have one name only: then a record costs two look-ups.

use super::layer;
use super::places::{self, Root, Sight};
use super::selftest::Verdict;
use super::{Cookie, Hint, LAST_READS, Loss, Process, What};
use crate::fanotify::{
    Buffer, Event, FAN_ATTRIB, FAN_CLOSE_WRITE, FAN_CREATE, FAN_DELETE, FAN_FS_ERROR, FAN_MODIFY,
    FAN_MOVED_FROM, FAN_MOVED_TO, FAN_RENAME, Group, Handle, Located, MAX_HANDLE, Renaming, ResolveError,
    Resolver,
};
use crate::mounts::Mount;
use std::collections::{HashMap, HashSet};
use std::os::fd::AsFd;
use std::sync::Arc;
use waxseal_model::{DeviceNumber, RawPath};

/// How many handles each memory keeps, some 100 bytes each.
const REMEMBERED: usize = 8192;
/// Objects with several names that are kept; beyond that every object is looked at.
const LINKED: usize = 65536;
/// How many bufferfuls one call takes at most.
const BUFFERS: usize = 8;

/// A filesystem with its group.
#[derive(Debug)]
pub(super) struct Filesystem {
    pub group: Group,
    /// As the mount table names it.
    pub device: DeviceNumber,
    /// Its mounts that matter to a root, one that shows all of it first.
    pub mounts: Vec<Mount>,
    /// Overlays whose upper layer lies on it, as if each were a mount of that layer.
    pub layers: Vec<Mount>,
    /// Paths of the roots that lie on it.
    pub roots: Vec<RawPath>,
    pub keep_pidfds: bool,
    /// What the self-test showed when the group was made.
    pub verdict: Verdict,
    /// Its queue cannot be read any more.
    pub broken: bool,
    /// The last read emptied its queue.
    pub drained: bool,
    /// The name whose event the self-test waits for, and whether it has come.
    pub canary: Option<(Box<[u8]>, bool)>,
    /// The file by which is known how far its queue has been read.
    pub cookie: Cookie,
    /// As `statfs` names it; `None` when that was not told.
    pub id: Option<[u8; 8]>,
    /// Whether everything was done to hear of cookies that are made on another filesystem.
    pub hears_cookies: bool,
    /// The filesystem of which only names that are made in the directory of the cookies are reported here.
    pub foreign: Option<[u8; 8]>,
    memory: Memory,
    buffer: Buffer,
}

#[derive(Debug, Default)]
struct Memory {
    /// Directories by handle. `None`: of no concern.
    dirs: HashMap<Box<[u8]>, Option<Arc<View>>>,
    /// Objects outside of the roots that had one name when looked at. Another name raises an event of its own.
    single: HashSet<Box<[u8]>>,
    /// Objects that have or had several names.
    linked: HashMap<Box<[u8]>, (u64, DeviceNumber)>,
    linked_full: bool,
    /// All records were seen since the queue was last empty: no half of a pair of records is missing.
    complete: bool,
}

/// How a directory is seen, or, where its own path is too long for the kernel to tell, one above it.
#[derive(Debug, PartialEq)]
struct View {
    sight: Sight,
    exact: bool,
}

/// A name as it is reported.
#[derive(Debug, Clone, PartialEq)]
struct Spot {
    path: RawPath,
    /// It stands for something below it.
    deep: bool,
}

/// What one batch of events needs.
struct Batch<'a> {
    roots: &'a [Root],
    ignored: &'a [RawPath],
    /// One for each mount, opened when first needed, and closed with the batch so as to hold no mount busy.
    resolvers: Option<Vec<Resolver>>,
    out: &'a mut Vec<Hint>,
    lost: Option<Loss>,
}

/// The directory cannot be resolved now, for a reason other than its being deleted.
struct Unresolved;

impl Filesystem {
    pub fn new(group: Group, device: DeviceNumber) -> Filesystem {
        Filesystem {
            group,
            device,
            mounts: Vec::new(),
            layers: Vec::new(),
            roots: Vec::new(),
            keep_pidfds: false,
            verdict: Verdict::NotTested,
            broken: false,
            drained: false,
            canary: None,
            cookie: Cookie::default(),
            id: None,
            hears_cookies: false,
            foreign: None,
            memory: Memory::default(),
            buffer: Buffer::default(),
        }
    }

    /// Forgets what was remembered about paths and names.
    pub fn forget(&mut self) {
        self.memory = Memory::default();
    }

    /// Turns what is queued into hints, without waiting.
    pub fn read(&mut self, roots: &[Root], ignored: &[RawPath], out: &mut Vec<Hint>) {
        let first = out.len();
        let mut buffer = std::mem::take(&mut self.buffer);
        let mut batch = Batch { roots, ignored, resolvers: None, out, lost: None };
        self.drained = false;
        for _ in 0..BUFFERS {
            match self.group.read(&mut buffer) {
                Ok(Some(events)) => {
                    for event in events {
                        match event {
                            Ok(event) => self.take(event, &mut batch),
                            Err(_) => batch.lost = Some(Loss::Unreadable),
                        }
                    }
                }
                Ok(None) => {
                    self.memory.complete = true;
                    self.drained = true;
                    self.cookie.see_empty();
                    break;
                }
                Err(_) => {
                    batch.lost = Some(Loss::Unreadable);
                    self.broken = true;
                    break;
                }
            }
        }
        let lost = batch.lost;
        self.buffer = buffer;
        if !self.layers.is_empty() {
            layer::wait_for_names(out.get(first..).unwrap_or_default());
        }
        if let Some(loss) = lost {
            self.lose(loss, out);
        }
    }

    /// Reads what is queued for a last time.
    pub fn read_last(&mut self, roots: &[Root], ignored: &[RawPath], out: &mut Vec<Hint>) {
        self.cookie.expect(b"");
        for _ in 0..LAST_READS {
            if self.broken || self.cookie.is_seen() {
                return;
            }
            self.read(roots, ignored, out);
        }
        self.lose(Loss::Unreadable, out);
    }

    fn lose(&self, loss: Loss, out: &mut Vec<Hint>) {
        out.extend(self.roots.iter().map(|root| Hint::Lost { root: root.clone(), loss }));
    }

    fn take(&mut self, mut event: Event<'_>, batch: &mut Batch<'_>) {
        if event.is_overflow() {
            // Among the lost may be the moves and links that what is remembered depends on.
            self.forget();
            batch.lost = Some(Loss::Overflow);
            return;
        }
        if event.mask & FAN_FS_ERROR != 0 {
            let errno = event.error.map_or(0, |error| error.errno);
            let hints = self.roots.iter().map(|root| Hint::FilesystemError { root: root.clone(), errno });
            return batch.out.extend(hints);
        }
        if let (Some((name, seen)), Some(event_name)) = (&mut self.canary, event.name) {
            *seen |= **name == *event_name;
        }
        if let Some(name) = event.name {
            self.cookie.see(name);
        }
        if self.foreign.is_some() && event.dir.map(|dir| dir.fsid) == self.foreign {
            return;
        }
        let pidfd = event.pidfd.take().filter(|_| self.keep_pidfds).map(Arc::new);
        let process = (event.pid > 0).then_some(Process { pid: event.pid, pidfd });
        let taken = if event.old.is_some() || event.new.is_some() {
            self.renamed(&event, process, batch)
        } else {
            match (event.dir, event.name) {
                (Some(dir), None | Some(b".")) => self.itself(&dir, process, batch),
                (Some(dir), Some(name)) => self.named(&event, &dir, name, process, batch),
                (None, _) => self.nameless(&event, process, batch),
            }
        };
        if let Err(Unresolved) = taken {
            batch.lost = batch.lost.or(Some(Loss::Unresolved));
        }
    }

    fn renamed(
        &mut self,
        event: &Event<'_>,
        process: Option<Process>,
        batch: &mut Batch<'_>,
    ) -> Result<(), Unresolved> {
        let mut spots = |side: Option<Renaming<'_>>| -> Result<Vec<Spot>, Unresolved> {
            side.map_or(Ok(Vec::new()), |(dir, name)| self.spots(&dir, name, batch))
        };
        let (from, to) = (spots(event.old)?, spots(event.new)?);
        let is_dir = event.is_dir();
        if is_dir && !(from.is_empty() && to.is_empty()) {
            // Paths of everything below it have changed.
            self.memory.dirs.clear();
        }
        match (from.as_slice(), to.as_slice()) {
            ([from], [to]) if !from.deep && !to.deep => batch.out.push(Hint::Renamed {
                from: from.path.clone(),
                to: to.path.clone(),
                is_dir,
                process,
            }),
            _ => {
                for spot in from.into_iter().chain(to) {
                    batch.out.push(spot.hint(is_dir, What::MOVED, process.clone()));
                }
            }
        }
        Ok(())
    }

    fn itself(
        &mut self,
        dir: &Handle<'_>,
        process: Option<Process>,
        batch: &mut Batch<'_>,
    ) -> Result<(), Unresolved> {
        let Some(view) = self.view(dir, batch)? else { return Ok(()) };
        for path in &view.sight.inside {
            let process = process.clone();
            batch.out.push(if view.exact || path.name().is_empty() {
                Hint::Itself { dir: path.clone(), process }
            } else {
                Hint::Name { path: path.clone(), deep: true, what: What::METADATA, process }
            });
        }
        Ok(())
    }

    fn named(
        &mut self,
        event: &Event<'_>,
        dir: &Handle<'_>,
        name: &[u8],
        process: Option<Process>,
        batch: &mut Batch<'_>,
    ) -> Result<(), Unresolved> {
        let moves = FAN_CREATE | FAN_DELETE | FAN_MOVED_FROM | FAN_MOVED_TO | FAN_RENAME;
        let deep = event.is_dir() && event.mask & moves != 0;
        let spots = self.spots(dir, name, batch)?;
        let outside = spots.is_empty();
        if event.mask & (FAN_MOVED_FROM | FAN_MOVED_TO) != 0 && event.is_dir() && !outside {
            self.memory.dirs.clear();
        }
        let what = What::of_fanotify(event.mask);
        for spot in spots {
            batch.out.push(spot.hint(deep, what, process.clone()));
        }
        if let Some(target) = event.target.filter(|_| !event.is_dir()) {
            if outside && event.mask & FAN_CREATE != 0 && self.is_single_when_created(&target) {
                return Ok(());
            }
            // A file made without a name (O_TMPFILE) goes on being reported by a made-up one when it has got its own.
            let made_up = name.starts_with(b"#");
            let touched = event.mask & (FAN_MODIFY | FAN_CLOSE_WRITE | FAN_ATTRIB) != 0;
            if touched {
                self.object(&target, outside, made_up, process, batch)?;
            }
        }
        Ok(())
    }

    /// Whether an object whose name has just been made has no other. A second name is announced by a record without a
    /// name before the one of its making (`fsnotify_link` in the kernel), so an object that is not known to have had
    /// several is new, unless records were lost of late.
    fn is_single_when_created(&mut self, target: &Handle<'_>) -> bool {
        let memory = &mut self.memory;
        if !memory.complete || memory.linked_full || !self.group.reports().targets {
            return false;
        }
        let key = Key::of(target);
        if memory.linked.contains_key(&*key) {
            return false;
        }
        memory.remember_single(&key);
        true
    }

    /// A record about an object without a name: the number of its names has changed.
    fn nameless(
        &mut self,
        event: &Event<'_>,
        process: Option<Process>,
        batch: &mut Batch<'_>,
    ) -> Result<(), Unresolved> {
        let Some(target) = event.target.filter(|target| target.is_object() && !event.is_dir()) else {
            return Ok(());
        };
        let key = Key::of(&target);
        self.memory.single.remove(&*key);
        let Some((inode, device, links)) = self.look(&target, batch)? else {
            self.memory.linked.remove(&*key);
            return Ok(());
        };
        if links > 0 {
            // One name is left perhaps; but who has it open by another name is still reported by that other name.
            self.memory.remember_linked(&key, inode, device);
            batch.out.push(Hint::Object { inode, device, process });
        }
        Ok(())
    }

    /// Reports an object that may be known by other names than the one in the record.
    fn object(
        &mut self,
        target: &Handle<'_>,
        outside: bool,
        made_up: bool,
        process: Option<Process>,
        batch: &mut Batch<'_>,
    ) -> Result<(), Unresolved> {
        let must_look = outside || made_up || self.memory.linked_full;
        if !must_look && self.memory.linked.is_empty() {
            return Ok(());
        }
        let key = Key::of(target);
        if let Some((inode, device)) = self.memory.linked.get(&*key).copied() {
            batch.out.push(Hint::Object { inode, device, process });
            return Ok(());
        }
        if !must_look || (!self.memory.linked_full && !made_up && self.memory.single.contains(&*key)) {
            return Ok(());
        }
        let Some((inode, device, links)) = self.look(target, batch)? else { return Ok(()) };
        if links > 1 {
            self.memory.remember_linked(&key, inode, device);
        } else if !made_up {
            self.memory.remember_single(&key);
        }
        if links > 1 || (links == 1 && (made_up || self.memory.linked_full)) {
            batch.out.push(Hint::Object { inode, device, process });
        }
        Ok(())
    }

    /// Inode, device and number of names of an object; `None` when it is gone.
    fn look(
        &self,
        target: &Handle<'_>,
        batch: &mut Batch<'_>,
    ) -> Result<Option<(u64, DeviceNumber, u64)>, Unresolved> {
        let object = match batch.resolvers(&self.mounts).first().ok_or(Unresolved)?.object(target) {
            Ok(object) => object,
            Err(ResolveError::Gone) => return Ok(None),
            Err(_) => return Err(Unresolved),
        };
        let stat = rustix::fs::fstat(&object).map_err(|_| Unresolved)?;
        let device =
            DeviceNumber { major: rustix::fs::major(stat.st_dev), minor: rustix::fs::minor(stat.st_dev) };
        // The width of the count differs between machines.
        #[allow(clippy::useless_conversion, reason = "the width of the count differs between machines")]
        Ok(Some((stat.st_ino, device, u64::from(stat.st_nlink))))
    }

    /// How a name in a directory is reported: not at all, once, or several times.
    fn spots(
        &mut self,
        dir: &Handle<'_>,
        name: &[u8],
        batch: &mut Batch<'_>,
    ) -> Result<Vec<Spot>, Unresolved> {
        let Some(view) = self.view(dir, batch)? else { return Ok(Vec::new()) };
        if view.exact {
            let names = view.sight.names(name).into_iter();
            return Ok(names.map(|path| Spot { path, deep: false }).collect());
        }
        let above = view.sight.inside.iter().filter(|path| !path.name().is_empty());
        Ok(above.map(|path| Spot { path: path.clone(), deep: true }).collect())
    }

    /// How a directory is seen; `None` when it is of no concern or has been deleted (then the directory above it
    /// reports that).
    fn view(&mut self, dir: &Handle<'_>, batch: &mut Batch<'_>) -> Result<Option<Arc<View>>, Unresolved> {
        let key = Key::of(dir);
        if let Some(view) = self.memory.dirs.get(&*key) {
            return Ok(view.clone());
        }
        let located = match locate(dir, batch.resolvers(&self.mounts)) {
            Ok(located) => located,
            Err(ResolveError::Gone) => return Ok(None),
            Err(_) => return Err(Unresolved),
        };
        let view = located.and_then(|located| self.seen(&located, batch)).map(Arc::new);
        if self.memory.dirs.len() >= REMEMBERED {
            self.memory.dirs.clear();
        }
        self.memory.dirs.insert(Box::from(&*key), view.clone());
        Ok(view)
    }

    fn seen(&self, located: &Located, batch: &Batch<'_>) -> Option<View> {
        let mut sight = Sight::default();
        let shown = self.mounts.iter().chain(&self.layers);
        for real in shown.filter_map(|mount| mount.shows(&located.inner)) {
            places::see(batch.roots, batch.ignored, &real, &mut sight);
        }
        for mount in &self.mounts {
            // What a bind mount shows at its point is an entry of a directory that it does not show.
            if mount.root.parent().is_some_and(|parent| parent == located.inner) {
                places::see_point(batch.roots, mount.root.name(), &mount.point, &mut sight);
            }
        }
        (!sight.is_nothing()).then_some(View { sight, exact: located.exact })
    }
}

/// Where a directory lies, by the first mount that shows it; `None` when none does.
fn locate(dir: &Handle<'_>, resolvers: &[Resolver]) -> Result<Option<Located>, ResolveError> {
    if resolvers.is_empty() {
        return Err(ResolveError::Unmounted);
    }
    for resolver in resolvers {
        let located = resolver.locate(resolver.object(dir)?.as_fd())?;
        if located.is_some() {
            return Ok(located);
        }
    }
    Ok(None)
}

impl Memory {
    fn remember_single(&mut self, key: &[u8]) {
        if self.single.len() >= REMEMBERED {
            self.single.clear();
        }
        self.single.insert(key.into());
    }

    fn remember_linked(&mut self, key: &[u8], inode: u64, device: DeviceNumber) {
        if self.linked.len() < LINKED {
            self.linked.insert(key.into(), (inode, device));
        } else {
            self.linked_full = true;
        }
    }
}

impl Spot {
    fn hint(self, deep: bool, what: What, process: Option<Process>) -> Hint {
        Hint::Name { path: self.path, deep: deep || self.deep, what, process }
    }
}

impl Batch<'_> {
    fn resolvers(&mut self, mounts: &[Mount]) -> &[Resolver] {
        self.resolvers.get_or_insert_with(|| {
            let mut resolvers: Vec<Resolver> = Vec::new();
            for mount in mounts {
                let known = |resolver: &Resolver| mount.root.below(resolver.root()).is_some();
                // What one mount shows need not be looked for in another that shows a part of it.
                if !resolvers.iter().any(known) {
                    resolvers.extend(Resolver::new(mount));
                }
            }
            resolvers
        })
    }
}

/// What an object is remembered by: the kind and the bytes of its handle.
struct Key {
    bytes: [u8; KIND + MAX_HANDLE],
    len: usize,
}

/// How many bytes the kind of a handle takes.
const KIND: usize = size_of::<i32>();

impl Key {
    fn of(handle: &Handle<'_>) -> Key {
        let (mut bytes, len) = ([0; KIND + MAX_HANDLE], KIND + handle.bytes.len().min(MAX_HANDLE));
        let parts = handle.kind.to_ne_bytes().into_iter().chain(handle.bytes.iter().copied());
        bytes.iter_mut().zip(parts).for_each(|(room, byte)| *room = byte);
        Key { bytes, len }
    }
}

impl std::ops::Deref for Key {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}
