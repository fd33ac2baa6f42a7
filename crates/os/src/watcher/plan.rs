//! Which part of which root is watched by what, and the watching of it.
//!
//! Everything is put in place before anything is compared, so that a change after that is seen, and a change before
//! it is found by whoever scans then.

use super::chain::Chain;
use super::coverage::{Backend, Coverage, blind};
use super::filesystem::Filesystem;
use super::layer;
use super::places::{self, Root, WatchRoot};
use super::selftest::{self, Verdict};
use super::{Hint, Options};
use crate::fanotify::{Group, MarkError, Resolver, top_level};
use crate::inotify::Tree;
use crate::mounts::{self, Mount, Nature, rebase};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use std::os::fd::{AsFd, OwnedFd};
use waxseal_model::{DeviceNumber, RawPath};

/// How many parts of a filesystem are looked through for each directory, and held open for it, at most.
const PARTS: usize = 64;

/// Everything that watches.
#[derive(Debug)]
pub(super) struct Plan {
    pub roots: Vec<Root>,
    pub table: Vec<Mount>,
    pub filesystems: Vec<Filesystem>,
    pub trees: Vec<Tree>,
    pub chain: Chain,
    pub coverage: Vec<Coverage>,
}

/// What watched before: filesystems and trees.
pub(super) type Old = (Vec<Filesystem>, Vec<Tree>);

/// A root, or the part of it on one mount.
struct Area<'a> {
    root: &'a Root,
    /// Real path.
    top: RawPath,
    mount: &'a Mount,
    /// The top, or the nearest existing directory above it; `None` where it is better left alone.
    object: Option<OwnedFd>,
    is_dir: bool,
}

/// How an area came to be watched.
struct Watched {
    backend: Backend,
    tested: bool,
    notes: Vec<String>,
}

struct Builder<'a> {
    options: &'a Options,
    roots: &'a [Root],
    table: &'a [Mount],
    /// What watched so far and may go on doing so.
    old: Old,
    filesystems: Vec<(Filesystem, bool)>,
    /// Filesystems that cannot be marked, and why.
    unmarked: Vec<(DeviceNumber, String)>,
    trees: Vec<Tree>,
    chain: Chain,
    hints: &'a mut Vec<Hint>,
}

/// Puts all watches in place for the roots as they are now. What still fits of `old` is kept, with its queue; what does
/// not is left in `old`. On an error all of it is.
pub(super) fn build(
    asked: &[WatchRoot],
    options: &Options,
    table: Vec<Mount>,
    old: &mut Old,
    hints: &mut Vec<Hint>,
) -> Result<Plan, Errno> {
    let mut chain = Chain::new();
    let mut roots = Vec::with_capacity(asked.len());
    let mut objects = Vec::with_capacity(asked.len());
    for root in asked {
        let (root, object) = places::resolve(root, &mut |dir, real, _, _| chain.add(dir, real, false))?;
        roots.push(root);
        objects.push(object);
    }
    let mut builder = Builder {
        options,
        roots: &roots,
        table: &table,
        old: std::mem::take(old),
        filesystems: Vec::new(),
        unmarked: Vec::new(),
        trees: Vec::new(),
        chain,
        hints,
    };
    let mut areas: Vec<Area<'_>> =
        roots.iter().zip(objects).flat_map(|(root, object)| areas(root, object, &table)).collect();
    // Shorter ones first: a tree then covers the roots below its top as well.
    areas.sort_by_key(|area| area.top.as_bytes().len());
    let mut coverage: Vec<Coverage> = areas.iter().filter_map(|area| builder.area(area)).collect();
    coverage.sort_by(|a, b| (&a.root, &a.place).cmp(&(&b.root, &b.place)));
    drop(areas);
    let Builder { filesystems, trees, chain, old: rest, .. } = builder;
    *old = rest;
    let filesystems = filesystems.into_iter().map(|(filesystem, _)| filesystem).collect();
    Ok(Plan { filesystems, trees, chain, coverage, roots, table })
}

fn areas<'a>(root: &'a Root, object: OwnedFd, table: &'a [Mount]) -> Vec<Area<'a>> {
    // What does not answer is judged by its path.
    let Some(own) = mounts::holding(table, root.found.and(root.mount), &root.real) else { return Vec::new() };
    let is_dir = root.found.is_some_and(|found| found.is_dir);
    let mut areas = vec![Area { root, top: root.real.clone(), mount: own, object: Some(object), is_dir }];
    if !root.cross || !is_dir {
        return areas;
    }
    for mount in
        table.iter().filter(|mount| mount.point.below(&root.real).is_some_and(|rest| !rest.is_empty()))
    {
        let top = mount.point.clone();
        if mount.nature() != Nature::Local {
            // Opening what another machine holds can take for ever.
            areas.push(Area { root, top, mount, object: None, is_dir: true });
            continue;
        }
        let Ok((object, is_dir)) = open_point(&mount.point) else { continue };
        // Another mount over it hides it.
        if mounts::id_of(object.as_fd()).is_none_or(|id| id == mount.id) {
            areas.push(Area { root, top, mount, object: Some(object), is_dir });
        }
    }
    areas
}

/// A mount point, which may be a file.
fn open_point(point: &RawPath) -> Result<(OwnedFd, bool), Errno> {
    let dir = places::open_real(&point.parent().unwrap_or_default())?;
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let object = rustix::fs::openat(&dir, point.name(), flags, Mode::empty())?;
    let is_dir = FileType::from_raw_mode(rustix::fs::fstat(&object)?.st_mode) == FileType::Directory;
    Ok((object, is_dir))
}

impl Builder<'_> {
    fn area(&mut self, area: &Area<'_>) -> Option<Coverage> {
        let place = rebase(&area.top, &area.root.real, &area.root.path)?;
        let mut watched = match (area.mount.nature(), &area.object) {
            (Nature::Local, Some(object)) => match self.mark(area.mount, &area.root.path, object) {
                Ok(tested) => Watched { backend: Backend::Fanotify, tested, notes: Vec::new() },
                Err(why) if area.mount.kind != "overlay" => self.inotify(area, object, not_marked(&why)),
                Err(_) => match self.mark_upper(area) {
                    Ok(tested) => {
                        let notes = vec![BESIDE_OVERLAY.to_owned()];
                        Watched { backend: Backend::Fanotify, tested, notes }
                    }
                    Err(why) => self.inotify(area, object, not_marked(&why)),
                },
            },
            (nature, _) => {
                Watched { backend: Backend::Polling, tested: false, notes: vec![unwatched(nature, area)] }
            }
        };
        for dir in &self.chain.missed {
            if area.root.steps.iter().any(|step| step.dir == *dir) {
                watched.notes.push(format!("a change of the way to it in {dir}, which could not be watched"));
            }
        }
        let root = area.root.path.clone();
        let blind = blind(watched.backend, watched.notes);
        Some(Coverage { root, place, backend: watched.backend, tested: watched.tested, blind })
    }

    /// Marks the filesystem that takes the writes of an overlay. True when it is known to work.
    fn mark_upper(&mut self, area: &Area<'_>) -> Result<bool, String> {
        let layer = layer::upper(area.mount, self.table)?;
        let tested = self.mark(&layer.mount, &area.root.path, &layer.object)?;
        let of_it = |(filesystem, _): &&mut (Filesystem, bool)| filesystem.device == layer.mount.device;
        if let Some((filesystem, _)) = self.filesystems.iter_mut().find(of_it) {
            if !filesystem.mounts.contains(&layer.mount) {
                filesystem.mounts.push(layer.mount);
                filesystem.mounts.sort_by_key(|mount| mount.root.as_bytes().len());
            }
            if !filesystem.layers.contains(&layer.shown) {
                filesystem.layers.push(layer.shown);
            }
        }
        Ok(tested)
    }

    /// Marks the filesystem of a mount, for a root. True when it is known to work.
    fn mark(&mut self, mount: &Mount, root: &RawPath, object: &OwnedFd) -> Result<bool, String> {
        let device = mount.device;
        if let Some((_, why)) = self.unmarked.iter().find(|(failed, _)| *failed == device) {
            return Err(why.clone());
        }
        if let Some((filesystem, tested)) =
            self.filesystems.iter_mut().find(|(known, _)| known.device == device)
        {
            if !filesystem.roots.contains(root) {
                filesystem.roots.push(root.clone());
            }
            return Ok(*tested);
        }
        match self.marked(mount, object) {
            Ok((mut filesystem, tested)) => {
                filesystem.roots = vec![root.clone()];
                self.filesystems.push((filesystem, tested));
                Ok(tested)
            }
            Err(why) => {
                self.unmarked.push((device, why.clone()));
                Err(why)
            }
        }
    }

    /// What this process writes itself would wake it for nothing. Where that cannot be left out, as on btrfs, it is read
    /// and dropped.
    fn leave_out_own_files(&self, filesystem: &Filesystem) {
        for path in &self.options.own_files {
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let Ok(file) = rustix::fs::open(path, flags, Mode::empty()) else { continue };
            let _ = filesystem.group.ignore_content(file.as_fd());
        }
    }

    fn marked(&mut self, mount: &Mount, object: &OwnedFd) -> Result<(Filesystem, bool), String> {
        let device = mount.device;
        let known = self.old.0.iter().position(|old| old.device == device && !old.broken);
        let kept = known.map(|position| self.old.0.swap_remove(position));
        let is_new = kept.is_none();
        let mut filesystem = match kept {
            Some(filesystem) => filesystem,
            None => {
                let group = Group::new(self.options.queue_limit, self.options.pidfds);
                Filesystem::new(group.map_err(|error| error.to_string())?, device)
            }
        };
        // Again for a known one: it may have been unmounted and mounted anew, without the mark.
        match filesystem.group.mark_filesystem(object.as_fd()) {
            Err(MarkError::BtrfsSubvolume) => {
                let top = top_level(mount).map_err(|error| error.to_string())?;
                filesystem.group.mark_filesystem(top.as_fd()).map_err(|error| error.to_string())?;
            }
            other => other.map_err(|error| error.to_string())?,
        }
        filesystem.forget();
        filesystem.id = places::filesystem_id(object.as_fd());
        filesystem.keep_pidfds = self.options.pidfds;
        self.leave_out_own_files(&filesystem);
        filesystem.layers = Vec::new();
        filesystem.mounts = relevant(self.table, device, self.roots);
        if filesystem.mounts.is_empty() {
            // It is watched for the sake of what lies elsewhere.
            filesystem.mounts.push(mount.clone());
        }
        if parts(&filesystem.mounts) > PARTS {
            return Err(format!("more than {PARTS} parts of the filesystem are mounted apart"));
        }
        let resolver = filesystem.mounts.iter().find_map(|mount| Resolver::new(mount).ok());
        let resolver = resolver.ok_or("none of its mounts can be opened")?;
        resolver.round_trip(object.as_fd()).map_err(|error| error.to_string())?;
        drop(resolver);
        let verdict = if is_new {
            selftest::run(&mut filesystem, self.table, self.options, self.roots, self.hints)
        } else {
            filesystem.verdict
        };
        filesystem.verdict = verdict;
        match verdict {
            Verdict::Deaf => Err("in the test at the start, its event did not arrive".to_owned()),
            Verdict::Works => Ok((filesystem, true)),
            Verdict::NotTested => Ok((filesystem, false)),
        }
    }

    fn inotify(&mut self, area: &Area<'_>, object: &OwnedFd, why: String) -> Watched {
        let mut notes = vec![why];
        let own = area.top == area.root.real;
        if !area.is_dir && own {
            // The directory above it reports it, also when it comes into being.
            if let Some(dir) = area.root.real.parent()
                && let Ok(fd) = places::open_real(&dir)
            {
                self.chain.add(fd.as_fd(), &dir, true);
            }
            return Watched { backend: Backend::Inotify, tested: false, notes };
        }
        let outcome = if area.is_dir { self.tree(area, object, &mut notes) } else { Err(Errno::NOTDIR) };
        match outcome {
            Ok(()) => Watched { backend: Backend::Inotify, tested: false, notes },
            Err(errno) => {
                notes.push(format!("inotify is not used: {}", std::io::Error::from(errno)));
                Watched { backend: Backend::Polling, tested: false, notes }
            }
        }
    }

    fn tree(&mut self, area: &Area<'_>, object: &OwnedFd, notes: &mut Vec<String>) -> Result<(), Errno> {
        let covering = |tree: &&Tree| {
            area.top
                .below(tree.path())
                .is_some_and(|rest| rest.is_empty() || tree.mount_id().is_some_and(|id| id == area.mount.id))
        };
        if let Some(tree) = self.trees.iter().find(covering) {
            notes.extend(tree.blind_spots());
            return Ok(());
        }
        let same = |tree: &Tree| tree.path() == &area.top && tree.is_top(object.as_fd());
        let tree = match self.old.1.iter().position(same) {
            Some(position) => self.old.1.swap_remove(position),
            None => Tree::new(object.as_fd(), area.top.clone())?,
        };
        notes.extend(tree.blind_spots());
        self.trees.push(tree);
        Ok(())
    }
}

/// What the mark on the filesystem of an upper layer does not see.
const BESIDE_OVERLAY: &str = "writes to the lower layers of the overlay, and writes through a hard link that lies \
                              outside of the root";

fn not_marked(why: &str) -> String {
    format!("fanotify is not used: {why}")
}

fn unwatched(nature: Nature, area: &Area<'_>) -> String {
    let kind = &area.mount.kind;
    match nature {
        Nature::Made => {
            format!("the kernel makes up the content of a {kind} filesystem: no change raises an event")
        }
        Nature::Remote => format!("a {kind} filesystem also changes without a word to this kernel"),
        Nature::Local => "it could not be opened".to_owned(),
    }
}

/// The mounts of a filesystem through which some root, or a way to one, is seen. Those that show
/// the most of it come first.
fn relevant(table: &[Mount], device: DeviceNumber, roots: &[Root]) -> Vec<Mount> {
    let matters = |mount: &&Mount| {
        mount.device == device
            && roots.iter().any(|root| {
                mount.point.below(&root.real).is_some()
                    || root.real.below(&mount.point).is_some()
                    || root.steps.iter().any(|step| step.dir.below(&mount.point).is_some())
            })
    };
    let mut mounts: Vec<Mount> = table.iter().filter(matters).cloned().collect();
    mounts.sort_by_key(|mount| mount.root.as_bytes().len());
    mounts
}

/// How many of these mounts show something that none before shows.
fn parts(mounts: &[Mount]) -> usize {
    let is_new = |(index, mount): &(usize, &Mount)| {
        !mounts.iter().take(*index).any(|before| mount.root.below(&before.root).is_some())
    };
    mounts.iter().enumerate().filter(is_new).count()
}
