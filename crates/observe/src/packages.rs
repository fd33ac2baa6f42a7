//! Which package a file belongs to, by the package manager's own lists; no program is run.
//!
//! In: a path. Out: the package's name and version, as dpkg has them below `/var/lib/dpkg`: `info/PACKAGE[:ARCH].list`
//! has a path a line, `status` the versions, `diversions` (dpkg-divert(1)) who gave another package's file another name.
//! The lists are read through for each path that is new; answers are kept until a package comes or goes.

use std::collections::HashMap;
use std::mem::MaybeUninit;
use waxseal_model::{FileState, RawPath, Timestamp};
use waxseal_os::files::{Dir, File};

/// Where dpkg keeps its lists.
const ADMIN: &str = "/var/lib/dpkg";
/// How large a list and the status may be, in bytes; larger ones are not believed.
const MOST_BYTES: u64 = 64 << 20;
/// How many answers are kept.
const MOST_KNOWN: usize = 512;
/// Directories at the top that may be links into `/usr`: packages may still name what is in them by the old names.
const ALIASES: [&[u8]; 6] = [b"bin", b"sbin", b"lib", b"lib32", b"lib64", b"libx32"];

/// What packages own.
#[derive(Debug)]
pub struct Packages {
    admin: RawPath,
    /// Of what the links at the top are looked up.
    root: RawPath,
    known: HashMap<RawPath, Option<String>>,
    seen: Option<[Stamp; 3]>,
}

/// A package, and its architecture where the name of its list says so.
type Owner = (Vec<u8>, Option<Vec<u8>>);

/// What shows that a file is another: inode, size, times.
type Stamp = Option<(u64, u64, Timestamp, Timestamp)>;

impl Default for Packages {
    fn default() -> Packages {
        Packages::at(RawPath::new(ADMIN.as_bytes()), RawPath::new(*b"/"))
    }
}

impl Packages {
    /// Those whose lists are in this directory.
    pub fn at(admin: RawPath, root: RawPath) -> Packages {
        Packages { admin, root, known: HashMap::new(), seen: None }
    }

    /// The package that owns this file, as `name version`. None when no package does, or more than one, or that cannot be
    /// told.
    pub fn owner(&mut self, path: &RawPath) -> Option<String> {
        let now = [&b"info"[..], b"status", b"diversions"].map(|name| self.stamp(name));
        if self.seen.as_ref() != Some(&now) || self.known.len() >= MOST_KNOWN {
            self.known.clear();
            self.seen = Some(now);
        }
        if let Some(known) = self.known.get(path) {
            return known.clone();
        }
        let owner = self.look_up(path);
        self.known.insert(path.clone(), owner.clone());
        owner
    }

    fn stamp(&self, name: &[u8]) -> Stamp {
        let (parent, name) = Dir::parent_of(&self.admin.join(name)).ok()?;
        let FileState { inode, size, mtime, ctime, .. } = parent.stat(&name).ok()?;
        Some((inode, size, mtime, ctime))
    }

    fn look_up(&self, path: &RawPath) -> Option<String> {
        let aliases = self.aliases();
        let diversions = read(&self.admin.join(b"diversions")).unwrap_or_default();
        let wanted = Wanted::of(path.as_bytes(), &aliases, &diversions);
        let mut owners = self.owners(&wanted)?;
        owners.sort();
        // One package in two architectures is one; two packages would be a guess.
        let (first, others) = owners.split_first()?;
        let status = read(&self.admin.join(b"status"))?;
        let version = version(&status, &first.0, first.1.as_deref())?;
        let same = others.iter().all(|other| other.0 == first.0);
        same.then(|| Some(format!("{} {version}", std::str::from_utf8(&first.0).ok()?))).flatten()
    }

    /// Which directories at the top are links, and where they lead: `/bin` and `/usr/bin`.
    fn aliases(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        let Ok((top, _)) = Dir::parent_of(&self.root.join(b"bin")) else { return Vec::new() };
        let target = |alias: &[u8]| {
            let target = top.open_node(alias).and_then(|node| node.read_link()).ok()?;
            let target = target.strip_prefix(b"/").unwrap_or(&target);
            Some(([b"/", alias].concat(), [b"/", target].concat()))
        };
        ALIASES.into_iter().filter_map(target).collect()
    }

    /// Packages that have one of these names.
    fn owners(&self, wanted: &Wanted) -> Option<Vec<Owner>> {
        let (admin, info) = Dir::parent_of(&self.admin.join(b"info")).ok()?;
        let lists_in = admin.open_dir(&info).ok()?;
        let mut lists = Vec::new();
        let mut buffer = vec![MaybeUninit::uninit(); 32 * 1024];
        let listed = lists_in.list(&mut buffer, |name, _| {
            if let Some(package) = name.strip_suffix(b".list") {
                lists.push(package.to_vec());
            }
        });
        listed.ok()?;
        let mut owners = Vec::new();
        let mut text = Vec::new();
        for package in lists {
            let (name, arch) = match package.iter().position(|byte| *byte == b':') {
                Some(at) => (package.get(..at)?.to_vec(), package.get(at + 1..).map(<[u8]>::to_vec)),
                None => (package.clone(), None),
            };
            let (file, state) = match lists_in.open_file(&[&package[..], b".list"].concat()) {
                Ok(open) => open,
                // It went meanwhile.
                Err(_) => continue,
            };
            read_into(&file, state.size, &mut text)?;
            if wanted.is_in(&text, &name) {
                owners.push((name, arch));
            }
        }
        Some(owners)
    }
}

/// Names to look for, and in whose lists.
#[derive(Debug)]
struct Wanted(Vec<(Vec<u8>, Whose)>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Whose {
    Anybodys,
    /// The file of this name was put there by that package, and nobody else's is.
    Only(Vec<u8>),
    /// That package gave way the file of this name, which is any other's.
    NotOf(Vec<u8>),
}

impl Wanted {
    /// `diversions` has three lines each: whose name it was, where that file is now, and the package that has the name
    /// instead (`:` for the administrator).
    fn of(path: &[u8], aliases: &[(Vec<u8>, Vec<u8>)], diversions: &[u8]) -> Wanted {
        let lines: Vec<&[u8]> = diversions.split(|byte| *byte == b'\n').collect();
        let (entries, _) = lines.as_chunks::<3>();
        let names = spellings(path, aliases);
        let is_ours = |name: &[u8]| names.iter().any(|own| own == name);
        let of = |names: Vec<Vec<u8>>, whose: Whose| {
            Wanted(names.into_iter().map(|name| (name, whose.clone())).collect())
        };
        // It is a diverted file: its owner knows it by another name.
        if let Some([from, _, by]) = entries.iter().find(|[_, to, _]| is_ours(to)) {
            return of(spellings(from, aliases), Whose::NotOf(by.to_vec()));
        }
        let whose = match entries.iter().find(|[from, ..]| is_ours(from)) {
            Some([_, _, by]) => Whose::Only(by.to_vec()),
            None => Whose::Anybodys,
        };
        of(names, whose)
    }

    fn is_in(&self, list: &[u8], package: &[u8]) -> bool {
        let names = self.0.iter().filter(|(_, whose)| match whose {
            Whose::Anybodys => true,
            Whose::Only(by) => by == package,
            Whose::NotOf(by) => by != package,
        });
        let names: Vec<&[u8]> = names.map(|(name, _)| &name[..]).collect();
        !names.is_empty() && list.split(|byte| *byte == b'\n').any(|line| names.contains(&line))
    }
}

/// The names under which packages may have this file.
fn spellings(path: &[u8], aliases: &[(Vec<u8>, Vec<u8>)]) -> Vec<Vec<u8>> {
    let swapped = |from: &[u8], to: &[u8]| {
        let rest = path.strip_prefix(from).filter(|rest| rest.starts_with(b"/"))?;
        Some([to, rest].concat())
    };
    let others = aliases.iter().flat_map(|(alias, target)| [swapped(alias, target), swapped(target, alias)]);
    [path.to_vec()].into_iter().chain(others.flatten()).collect()
}

/// The version of an installed package, from `status`: fields a line, packages apart by an empty line.
fn version(status: &[u8], package: &[u8], arch: Option<&[u8]>) -> Option<String> {
    let mut found = None;
    let (mut name, mut of, mut state, mut version) = (None, None, None, None);
    // An empty line more ends the last one.
    for line in status.split(|byte| *byte == b'\n').chain([&b""[..]]) {
        if line.is_empty() {
            let is_there =
                |state: &[u8]| !state.ends_with(b" not-installed") && !state.ends_with(b" config-files");
            let fits = name == Some(package)
                && arch.is_none_or(|arch| of == Some(arch))
                && state.is_some_and(is_there);
            if let Some(version) = version.take().filter(|_| fits) {
                found = Some(version);
                break;
            }
            (name, of, state, version) = (None, None, None, None);
            continue;
        }
        let field = |key: &[u8]| line.strip_prefix(key);
        name = name.or(field(b"Package: "));
        of = of.or(field(b"Architecture: "));
        state = state.or(field(b"Status: "));
        version = version.or(field(b"Version: "));
    }
    let version = std::str::from_utf8(found?).ok()?;
    // The characters that a version may have (deb-version(7)), so that nothing else can be in what is told.
    let is_one =
        !version.is_empty() && version.chars().all(|c| c.is_ascii_alphanumeric() || ".+-:~".contains(c));
    is_one.then(|| version.to_owned())
}

/// A whole file; `None` when it cannot be read, or is too large to be believed.
fn read(path: &RawPath) -> Option<Vec<u8>> {
    let (parent, name) = Dir::parent_of(path).ok()?;
    let (file, state) = parent.open_file(&name).ok()?;
    let mut text = Vec::new();
    read_into(&file, state.size, &mut text)?;
    Some(text)
}

fn read_into(file: &File, size: u64, text: &mut Vec<u8>) -> Option<()> {
    let size = usize::try_from(Some(size).filter(|size| *size <= MOST_BYTES)?).ok()?;
    text.clear();
    text.resize(size, 0);
    let mut filled = 0;
    while let Some(room) = text.get_mut(filled..).filter(|room| !room.is_empty()) {
        match file.read_at(room, u64::try_from(filled).ok()?).ok()? {
            0 => break,
            read => filled += read,
        }
    }
    text.truncate(filled);
    Some(())
}

#[cfg(test)]
mod tests;
