//! What one worker does: list directories, read small files in batches, stream large ones in lanes.

use super::descriptors::Opened;
use super::mounted::Mounted;
use super::node::Node;
use super::queue::{At, BATCH_BYTES, DirTask, FileTask, Own, Queue, SMALL, Work};
use super::{Options, Progress, Root, Visitor};
use crate::entry::{Entry, Look, Problem};
use crate::probe::{self, ATTEMPTS};
use crate::read::{Content, PIECE, Stream, to_model};
use std::borrow::Cow;
use std::cell::RefCell;
use std::mem::MaybeUninit;
use std::ops::Range;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use waxseal_hash::update_hashers;
use waxseal_model::{Digest, Digests, FileState, FileType, RawPath};
use waxseal_os::files::{Dir, File, FileError};
use waxseal_os::remote::Mounts;

/// What all workers of a scan share.
pub(super) struct Shared<'a, V: Visitor> {
    pub queue: &'a Queue<V::Dir>,
    pub visitor: &'a V,
    pub options: &'a Options,
    pub progress: &'a Progress,
    /// Mounts that may never answer.
    pub remote: Mounts,
    pub mounted: Mounted,
    pub result: Mutex<Option<Digest>>,
}

/// Where an entry is: the directory that holds it, and its name there.
type Place<'n> = Result<(Arc<Opened>, Cow<'n, [u8]>), FileError>;

/// The directory of the file that was read last, if it is not kept open anyway: the next file is often there too.
struct Here<D>(Option<(Arc<Node<D>>, Dir)>);

impl<D> Here<D> {
    /// The directory of a file.
    fn dir<'a>(&'a mut self, task: &'a FileTask<D>) -> Result<&'a Dir, FileError> {
        if let Some(dir) = &task.dir {
            return Ok(dir);
        }
        let same = |(node, _): &(Arc<Node<D>>, Dir)| Arc::ptr_eq(node, &task.node) && !node.is_roots();
        let known = self.0.take().filter(same);
        let dir = match known {
            Some((_, dir)) => dir,
            None => task.node.open_for(task.index)?,
        };
        Ok(&self.0.insert((Arc::clone(&task.node), dir)).1)
    }
}

/// The directory that holds the last root, by its path and the root's anchor: the next one is often there too.
#[derive(Default)]
struct Above(RefCell<Option<(Reached, Arc<Opened>)>>);

type Reached = (RawPath, Option<RawPath>);

/// The memory that a worker reuses.
struct Buffers {
    names: Vec<MaybeUninit<u8>>,
    arena: Vec<u8>,
}

/// The buffer of directory lists.
const NAMES: usize = 32 * 1024;

/// One file of a batch that has been read into the arena.
struct Whole<D> {
    task: FileTask<D>,
    file: File,
    before: FileState,
    bytes: Range<usize>,
}

/// One file that is being streamed.
struct Lane<D> {
    task: FileTask<D>,
    file: File,
    before: FileState,
    stream: Stream,
    len: usize,
}

impl<V: Visitor> Shared<'_, V> {
    /// Queues the roots; the queue counts the caller as working until then.
    pub fn start(&self, roots: Vec<Root>, top: V::Dir) {
        let mut roots: Vec<_> = roots.into_iter().map(|root| root.path).collect();
        roots.sort();
        roots.dedup();
        let anchors =
            roots.iter().filter_map(|root| Some((root.clone(), self.visitor.anchor(root)?))).collect();
        let node = Arc::new(Node::roots(top, anchors));
        let mut entries = Vec::new();
        let above = Above::default();
        for path in roots {
            let mut entry = Entry::new(path.as_bytes());
            match self.above(&above, &node, &path).and_then(|(dir, name)| dir.stat(&name)) {
                Ok(state) => entry.stated(state),
                // Below what is no directory (any more) is nothing.
                Err(FileError::NotFound | FileError::WrongType) => {}
                Err(error) => entry.problem = Some(error.into()),
            }
            entries.push(entry);
        }
        self.visitor.plan(&node, &mut entries);
        let mut own = self.queue.own();
        let list = Arc::clone(&node);
        self.hand_out(node, entries, None, &mut own, |path| {
            let (dir, name) = self.above(&above, &list, &RawPath::new(path))?;
            Ok((dir, Cow::Owned(name)))
        });
        while let Some(work) = own.next() {
            self.queue.put_back(work);
        }
        self.queue.finished();
    }

    /// The directory that holds a root, and the root's name there. It stays open while there is room for it.
    fn above(
        &self,
        above: &Above,
        list: &Node<V::Dir>,
        path: &RawPath,
    ) -> Result<(Arc<Opened>, Vec<u8>), FileError> {
        let open = || -> Result<(Arc<Opened>, Vec<u8>), FileError> {
            let (dir, name) = list.parent_of_root(path)?;
            Ok((Arc::new(self.queue.descriptors.opened(dir)), name))
        };
        let Some(parent) = path.parent().filter(|_| self.remote.holding(path).is_none()) else {
            return open();
        };
        // With another anchor it may be another one: links are followed up to there.
        let reached = (parent, list.anchor_of(path).cloned());
        let mut last = above.0.borrow_mut();
        match &*last {
            Some((reached_last, dir)) if *reached_last == reached => {
                Ok((Arc::clone(dir), path.name().to_vec()))
            }
            _ => {
                // Closed first: there may be no room for two.
                *last = None;
                let (dir, name) = open()?;
                // A drive of Windows is in no directory.
                if name == path.name() {
                    *last = Some((reached, Arc::clone(&dir)));
                }
                Ok((dir, name))
            }
        }
    }

    pub fn into_result(self) -> Option<Digest> {
        self.result.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// Works until nothing is left.
    pub fn work(&self) {
        let mut buffers = Buffers { names: vec![MaybeUninit::uninit(); NAMES], arena: Vec::new() };
        let mut own = self.queue.own();
        while let Some(work) = self.queue.take() {
            self.do_one(work, &mut buffers, &mut own);
            self.visitor.breathe();
            while !self.is_stopped()
                && let Some(work) = self.queue.full_stream().or_else(|| own.next())
            {
                self.do_one(work, &mut buffers, &mut own);
                self.visitor.breathe();
            }
            if self.is_stopped() {
                self.queue.stop();
            }
            self.queue.finished();
        }
    }

    fn is_stopped(&self) -> bool {
        self.progress.stop.load(Ordering::Relaxed)
    }

    fn do_one(&self, work: Work<V::Dir>, buffers: &mut Buffers, own: &mut Own<V::Dir>) {
        match work {
            Work::Directory(task) => self.directory(task, buffers, own),
            Work::Batch(files) => self.batch(files, buffers),
            Work::Stream(files, lanes) => {
                self.stream(files, lanes);
                self.queue.stream_ended();
            }
            Work::Again(file) => self.again(file),
        }
    }

    /// Lists a directory, looks at each name, and hands out what is to be looked at closer.
    fn directory(&self, task: DirTask<V::Dir>, buffers: &mut Buffers, own: &mut Own<V::Dir>) {
        let node = task.node;
        let dir = match task.at {
            At::Open(dir) => Ok(dir),
            At::Below(parent, name) => parent.open_dir(&name).map(|dir| self.queue.descriptors.opened(dir)),
            At::ByPath => node.open().map(|dir| self.queue.descriptors.opened(dir)),
            At::Closed(error) => Err(error),
        };
        let dir = match dir {
            Ok(dir) => Arc::new(dir),
            Err(error) => {
                return self.hand_out(node, Vec::new(), Some(error), own, |_| Err(error));
            }
        };
        let mut names: Vec<(Box<[u8]>, bool)> = Vec::new();
        let listing = dir.list(&mut buffers.names, |name, is_file| names.push((name.into(), is_file))).err();
        names.sort_unstable();
        names.dedup_by(|a, b| a.0 == b.0);
        let remote = self.remote.inside(|| node.path());
        let far = |name: &[u8]| {
            let (_, mount) = remote.iter().find(|(at, _)| at == name)?;
            Some(dir.looking_into(mount))
        };
        let by_list = !self.visitor.wants_stat(&node) && !self.mounted.may_be_in(|| node.path());
        let mut entries = Vec::with_capacity(names.len());
        for (name, is_file) in names {
            let mut entry = Entry::new(b"");
            if is_file && by_list {
                entry.file_type = Some(FileType::File);
            } else {
                match far(&name).map_or_else(|| dir.stat(&name), |far| far?.stat(&name)) {
                    Ok(state) => entry.stated(state),
                    Err(FileError::NotFound) => continue,
                    Err(error) => entry.problem = Some(error.into()),
                }
            }
            entry.name = name;
            entries.push(entry);
        }
        Progress::add(&self.progress.entries, entries.len() as u64);
        self.visitor.plan(&node, &mut entries);
        self.hand_out(node, entries, listing, own, |name| {
            let far = far(name).map(|far| far.map(|dir| Arc::new(self.queue.descriptors.opened(dir))));
            Ok((far.unwrap_or_else(|| Ok(Arc::clone(&dir)))?, Cow::Borrowed(name)))
        });
    }

    /// Looks at what is no regular file at once, queues the files and the subdirectories.
    fn hand_out(
        &self,
        node: Arc<Node<V::Dir>>,
        mut entries: Vec<Entry<V::Dir>>,
        listing: Option<FileError>,
        own: &mut Own<V::Dir>,
        place: impl for<'n> Fn(&'n [u8]) -> Place<'n>,
    ) {
        let (mut dirs, mut large) = (Vec::new(), Vec::new());
        let own_before = own.small.len();
        for (index, entry) in entries.iter_mut().enumerate() {
            let Some(file_type) = entry.file_type else { continue };
            // What the plan gave no look has its stat at least.
            let has_enough = entry.look == Look::Stat && entry.state.is_some();
            if has_enough && entry.descend.is_none() {
                continue;
            }
            let given = std::mem::take(&mut entry.name);
            match place(&given) {
                Err(error) => entry.problem = Some(error.into()),
                Ok((dir, name)) => match file_type {
                    FileType::File if entry.look != Look::Stat => {
                        let task = FileTask {
                            node: Arc::clone(&node),
                            index,
                            dir: dir.may_stay().then_some(dir),
                            name: Box::from(&*name),
                            size: entry.state.as_ref().map_or(0, |state| state.size),
                            look: entry.look,
                            attempt: 0,
                        };
                        if task.size <= SMALL { own.small.push(task) } else { large.push(task) }
                    }
                    FileType::Dir => {
                        dirs.extend(self.look_at_directory(&node, index, entry, &given, &dir, &name));
                    }
                    _ => self.look_at_node(entry, &dir, &name),
                },
            }
            entry.name = given;
        }
        let below = if self.options.bottom_up { dirs.len() } else { 0 };
        node.add_pending(own.small.len() - own_before + large.len() + below);
        {
            let mut contents = node.contents.lock().unwrap_or_else(PoisonError::into_inner);
            contents.entries = entries;
            contents.listing = listing;
        }
        self.queue.add(dirs, large, own);
        self.settle(node);
    }

    fn look_at_directory(
        &self,
        node: &Arc<Node<V::Dir>>,
        index: usize,
        entry: &mut Entry<V::Dir>,
        given: &[u8],
        dir: &Arc<Opened>,
        name: &[u8],
    ) -> Option<DirTask<V::Dir>> {
        let full = entry.look != Look::Stat;
        let keep = entry.descend.is_some() && (full || self.queue.descriptors.may_keep());
        let opened = keep.then(|| dir.open_dir(name).map(|dir| self.queue.descriptors.opened(dir)));
        if matches!(opened, Some(Err(FileError::WrongType))) {
            // No directory any more: it is looked at as what it is now.
            entry.descend = None;
            self.look_at_node(entry, dir, name);
            if entry.state.as_ref().is_some_and(|state| state.file_type == FileType::Dir) {
                // A directory again, and nobody has planned what to do below it.
                entry.problem = Some(FileError::WrongType.into());
            }
            return None;
        }
        if full {
            let observed = match &opened {
                Some(Ok(open)) => {
                    open.stat_self().and_then(|state| Ok(probe::with_attributes(state, open.attributes()?)))
                }
                _ => dir.stat(name).and_then(|stat| probe::observe_node(dir, name, stat)),
            };
            match observed {
                Ok(state) => entry.state = Some(state),
                Err(FileError::NotFound) => {
                    entry.state = None;
                    return None;
                }
                Err(error) => entry.problem = Some(error.into()),
            }
        }
        let context = entry.descend.take()?;
        let at = match opened {
            Some(Ok(open)) if open.may_stay() => At::Open(open),
            Some(Err(error)) => At::Closed(error),
            _ if dir.may_stay() => At::Below(Arc::clone(dir), name.into()),
            _ => At::ByPath,
        };
        let child = Arc::new(Node::new(Some((Arc::clone(node), index)), given, *context));
        Some(DirTask { node: child, at })
    }

    fn look_at_node(&self, entry: &mut Entry<V::Dir>, dir: &Dir, name: &[u8]) {
        match probe::observe(dir, name, entry.look, &self.options.hashing) {
            Ok(Some(observation)) => entry.state = Some(observation.state),
            Ok(None) => entry.state = None,
            Err(problem) => entry.problem = Some(problem),
        }
    }

    /// One thing less to wait for; when it was the last, the directory is done, and perhaps those above it.
    fn settle(&self, node: Arc<Node<V::Dir>>) {
        let mut node = node;
        while node.settle_one() {
            let (entries, listing) = {
                let mut contents = node.contents.lock().unwrap_or_else(PoisonError::into_inner);
                (std::mem::take(&mut contents.entries), contents.listing)
            };
            let digest = self.visitor.done(&node, entries, listing);
            let Some((parent, index)) = node.parent() else {
                *self.result.lock().unwrap_or_else(PoisonError::into_inner) = digest;
                return;
            };
            if !self.options.bottom_up {
                return;
            }
            let parent = Arc::clone(parent);
            parent.update(index, |entry| entry.child = digest.map(Box::new));
            node = parent;
        }
    }

    /// Reads small files whole, hashes them side by side.
    fn batch(&self, files: Vec<FileTask<V::Dir>>, buffers: &mut Buffers) {
        let arena = &mut buffers.arena;
        if arena.is_empty() {
            // Made like this, pages that are never used cost no memory.
            *arena = vec![0; BATCH_BYTES as usize];
        }
        let mut wholes: Vec<Whole<V::Dir>> = Vec::with_capacity(files.len());
        let mut used = 0;
        let mut here = Here(None);
        for task in files {
            let Some(opened) = self.open_small(task, &mut here) else { continue };
            if arena.len() - used < opened.before.size as usize {
                self.hash_batch(&mut wholes, arena);
                used = 0;
            }
            if let Some(whole) = self.read_whole(opened, arena, used) {
                used = whole.bytes.end;
                wholes.push(whole);
            }
        }
        self.hash_batch(&mut wholes, arena);
    }

    /// Opens one file that is to be read whole; what fails, or is not small after all, is dealt with.
    fn open_small(&self, task: FileTask<V::Dir>, here: &mut Here<V::Dir>) -> Option<Whole<V::Dir>> {
        if task.look != Look::Full {
            self.alone(task);
            return None;
        }
        match here.dir(&task).and_then(|dir| dir.open_file(&task.name)) {
            Ok((_, before)) if before.size > SMALL => {
                self.queue.add_large(FileTask { size: before.size, ..task });
                None
            }
            Ok((file, before)) => Some(Whole { task, file, before, bytes: 0..0 }),
            Err(error) => {
                self.failed(task, error.into());
                None
            }
        }
    }

    /// Reads one small file into the arena at `start`, where there is room for it; what fails is dealt with.
    fn read_whole(&self, mut whole: Whole<V::Dir>, arena: &mut [u8], start: usize) -> Option<Whole<V::Dir>> {
        let wanted = start + whole.before.size as usize;
        if self.options.hashing.from_disk {
            whole.file.forget_cached();
        }
        let mut end = start;
        while end < wanted {
            let space = arena.get_mut(end..wanted).unwrap_or_default();
            match whole.file.read_at(space, (end - start) as u64) {
                Ok(0) => break,
                Ok(n) => end += n,
                Err(error) => {
                    self.failed(whole.task, error.into());
                    return None;
                }
            }
        }
        whole.bytes = start..end;
        Some(whole)
    }

    /// Hashes what has been read into the arena.
    fn hash_batch(&self, wholes: &mut Vec<Whole<V::Dir>>, arena: &[u8]) {
        let mut digests = vec![Digests::default(); wholes.len()];
        let messages = wholes.iter().map(|w| arena.get(w.bytes.clone()).unwrap_or_default());
        self.options.hashing.algorithms.digest_each(messages, |i, done| {
            if let Some(slot) = digests.get_mut(i) {
                *slot = to_model(done);
            }
        });
        for (whole, digests) in wholes.drain(..).zip(digests) {
            let bytes = whole.bytes.len() as u64;
            Progress::add(&self.progress.bytes, bytes);
            let content = arena.get(whole.bytes.clone()).unwrap_or_default();
            self.visitor.read(&whole.task.node, &whole.task.name, content);
            let content = Content { digests, prefix: None, bytes, complete: bytes == whole.before.size };
            self.read(whole.task, &whole.file, whole.before, content);
        }
    }

    /// Reads one file on its own.
    fn alone(&self, task: FileTask<V::Dir>) {
        let opened = Here(None).dir(&task).and_then(|dir| dir.open_file(&task.name)).map_err(Problem::from);
        let content = opened.and_then(|(file, before)| {
            let content = Content::read_alone(&file, &before, task.look, &self.options.hashing)?;
            Ok((file, before, content))
        });
        match content {
            Ok((file, before, content)) => {
                Progress::add(&self.progress.bytes, content.bytes);
                self.read(task, &file, before, content);
            }
            Err(problem) => self.failed(task, problem),
        }
    }

    /// Streams large files side by side, refilling lanes as they end.
    fn stream(&self, files: Vec<FileTask<V::Dir>>, most: usize) {
        let mut waiting = files;
        let mut lanes: Vec<Lane<V::Dir>> = Vec::with_capacity(most);
        let mut buffer = vec![0; most * PIECE];
        loop {
            while lanes.len() < most
                && let Some(task) = waiting.pop().or_else(|| self.queue.next_large())
            {
                lanes.extend(self.open_lane(task));
            }
            if lanes.is_empty() || self.is_stopped() {
                return;
            }
            let mut failed = Vec::new();
            for (i, (lane, piece)) in lanes.iter_mut().zip(buffer.chunks_mut(PIECE)).enumerate() {
                match lane.stream.fill(&lane.file, piece) {
                    Ok(len) => lane.len = len,
                    Err(error) => {
                        lane.len = 0;
                        failed.push((i, error));
                    }
                }
            }
            let mut jobs: Vec<_> = lanes
                .iter_mut()
                .zip(buffer.chunks(PIECE))
                .map(|(lane, piece)| (&mut lane.stream.hasher, piece.get(..lane.len).unwrap_or_default()))
                .collect();
            update_hashers(&mut jobs);
            drop(jobs);
            Progress::add(&self.progress.bytes, lanes.iter().map(|lane| lane.len as u64).sum());
            self.visitor.breathe();
            for i in (0..lanes.len()).rev() {
                let Some(lane) = lanes.get_mut(i) else { continue };
                lane.stream.piece_hashed();
                if lane.len > 0 {
                    continue;
                }
                let lane = lanes.swap_remove(i);
                match failed.iter().find(|(at, _)| *at == i) {
                    Some((_, error)) => self.failed(lane.task, (*error).into()),
                    None => self.read(lane.task, &lane.file, lane.before, lane.stream.finish()),
                }
            }
        }
    }

    fn open_lane(&self, task: FileTask<V::Dir>) -> Option<Lane<V::Dir>> {
        let opened = Here(None).dir(&task).and_then(|dir| dir.open_file(&task.name)).map_err(Problem::from);
        let stream = opened.and_then(|(file, before)| {
            let stream = Stream::new(&file, &before, task.look, &self.options.hashing)?;
            Ok((file, before, stream))
        });
        match stream {
            Ok((file, before, stream)) => Some(Lane { task, file, before, stream, len: 0 }),
            Err(problem) => {
                self.failed(task, problem);
                None
            }
        }
    }

    /// A file has been read: its state is known, unless it moved meanwhile or may still move unseen.
    fn read(&self, task: FileTask<V::Dir>, file: &File, before: FileState, content: Content) {
        Progress::add(&self.progress.files, 1);
        let growing = matches!(task.look, Look::Growing { .. });
        let settled = growing || probe::is_settled(file, &before);
        let prefix = content.prefix.clone();
        match probe::finish_file(file, before, content, task.look) {
            Ok(Some(state)) if settled => self.known(task, |entry| {
                entry.state = Some(state);
                entry.prefix = prefix.map(Box::new);
            }),
            Ok(_) => self.moved(task),
            Err(error) => self.failed(task, error.into()),
        }
    }

    /// A file moved while it was read: it gets another turn when the rest is done.
    fn moved(&self, task: FileTask<V::Dir>) {
        let task = FileTask { attempt: task.attempt + 1, ..task };
        let pause = probe::pause(task.attempt);
        self.queue.later(task, pause);
    }

    fn failed(&self, task: FileTask<V::Dir>, problem: Problem) {
        match problem {
            Problem::File(FileError::NotFound) => self.known(task, |entry| entry.state = None),
            Problem::File(FileError::WrongType) if task.attempt < ATTEMPTS => self.moved(task),
            problem => self.unreadable(task, problem),
        }
    }

    /// What could not be read still has what stat shows.
    fn unreadable(&self, task: FileTask<V::Dir>, problem: Problem) {
        let stat = Here(None).dir(&task).and_then(|dir| dir.stat(&task.name)).ok();
        self.known(task, |entry| {
            entry.state = entry.state.take().or(stat);
            entry.problem = Some(problem);
        });
    }

    /// Another look, at whatever the name holds by now.
    fn again(&self, task: FileTask<V::Dir>) {
        let observed = Here(None)
            .dir(&task)
            .map_err(Problem::from)
            .and_then(|dir| probe::observe(dir, &task.name, task.look, &self.options.hashing));
        match observed {
            // A directory by now: nobody has planned what to do below it.
            Ok(Some(observation)) if observation.state.file_type == FileType::Dir => {
                self.unreadable(task, FileError::WrongType.into());
            }
            Ok(Some(observation)) => {
                Progress::add(&self.progress.files, 1);
                Progress::add(&self.progress.bytes, observation.bytes);
                self.known(task, |entry| {
                    entry.state = Some(observation.state);
                    entry.prefix = observation.prefix.map(Box::new);
                });
            }
            Ok(None) => self.known(task, |entry| entry.state = None),
            Err(problem) => self.unreadable(task, problem),
        }
    }

    fn known(&self, task: FileTask<V::Dir>, change: impl FnOnce(&mut Entry<V::Dir>)) {
        task.node.update(task.index, change);
        self.settle(task.node);
    }
}
