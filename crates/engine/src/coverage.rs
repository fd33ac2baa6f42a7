//! What the config covers on this disk: the roots to walk, and who decides about a path.
//!
//! Every configured path is a root of its own: a walk that meets the root of another watch leaves it to that one, so that
//! each path is looked at once and the deepest path decides.

use waxseal_model::{AttributeSet, ChangeKind, FileState, RawPath, Severity};
use waxseal_observe::place;
use waxseal_policy::{ChangeRule, Config, GlobPath, Selection, Watch, WatchPath};

/// A configured path as it was found.
#[derive(Debug, Clone)]
pub struct Root {
    /// Where.
    pub path: RawPath,
    /// Which watch of the config.
    pub watch: usize,
    /// Whether a glob led here.
    pub from_glob: bool,
}

/// The config applied to the names that exist now.
#[derive(Debug, Clone)]
pub struct Coverage {
    config: Config,
    /// Sorted by path.
    roots: Vec<Root>,
    own: Vec<RawPath>,
    unmatched: Vec<Unmatched>,
}

/// A configured path that leads nowhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unmatched {
    /// The watch's name.
    pub watch: String,
    /// The path or glob as configured.
    pub path: RawPath,
    /// Why, for people.
    pub why: String,
}

/// How a path is covered.
#[derive(Debug, Clone, Copy)]
pub struct Owner<'c> {
    /// The root at or above the path.
    pub root: &'c Root,
    /// Its watch.
    pub watch: &'c Watch,
}

impl Coverage {
    /// Applies a config. `own` are directories of this program that are never watched as content.
    pub fn new(config: Config, own: Vec<RawPath>) -> Coverage {
        let mut coverage = Coverage { config, roots: Vec::new(), own, unmatched: Vec::new() };
        coverage.refresh();
        coverage
    }

    /// Looks again which names the globs match and which paths exist.
    pub fn refresh(&mut self) {
        let (mut roots, mut unmatched) = (Vec::new(), Vec::new());
        for (index, watch) in self.config.watches.iter().enumerate() {
            for path in &watch.paths {
                let (found, trouble) = match path {
                    WatchPath::Literal(path) => (vec![path.clone()], missing(path)),
                    WatchPath::Glob(glob) => expand(glob),
                };
                if let Some(why) = trouble.filter(|_| !watch.optional) {
                    let path = as_path(path);
                    unmatched.push(Unmatched { watch: watch.name.clone(), path, why });
                }
                let from_glob = matches!(path, WatchPath::Glob(_));
                roots.extend(found.into_iter().map(|path| Root { path, watch: index, from_glob }));
            }
        }
        // A literal path wins over a glob that matches it too.
        roots.sort_by(|a, b| (&a.path, a.from_glob).cmp(&(&b.path, b.from_glob)));
        roots.dedup_by(|a, b| a.path == b.path);
        self.roots = roots;
        self.unmatched = unmatched;
    }

    /// Takes over what another coverage of the same config found that was not there before; what it did not find any
    /// more stays. Whether there was anything.
    pub fn grow(&mut self, fresh: &Coverage) -> bool {
        self.unmatched.clone_from(&fresh.unmatched);
        let new: Vec<Root> =
            fresh.roots.iter().filter(|root| self.root_at(&root.path).is_none()).cloned().collect();
        let any = !new.is_empty();
        self.roots.extend(new);
        self.roots.sort_by(|a, b| a.path.cmp(&b.path));
        any
    }

    /// The config.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// All roots, sorted by path; those that do not exist are among them.
    pub fn roots(&self) -> &[Root] {
        &self.roots
    }

    /// Configured paths that lead nowhere and are not optional.
    pub fn unmatched(&self) -> &[Unmatched] {
        &self.unmatched
    }

    /// The directories of this program that are left out.
    pub fn own(&self) -> &[RawPath] {
        &self.own
    }

    /// Which root a path is, if it is one.
    pub fn root_at(&self, path: &RawPath) -> Option<&Root> {
        let at = self.roots.binary_search_by(|root| root.path.cmp(path)).ok()?;
        self.roots.get(at)
    }

    /// Where links end to be followed on the way to a path: what has become a link below a root leads nowhere.
    pub fn anchor(&self, path: &RawPath) -> Option<RawPath> {
        self.owner(path).map(|owner| owner.root.path.clone())
    }

    /// The deepest root at or above a path, and its watch; exclusions are not asked.
    pub fn owner(&self, path: &RawPath) -> Option<Owner<'_>> {
        // Not parent by parent: a path may have ten thousand of them. A root above the path sorts before it, and what
        // sorts between the two begins like that root.
        let bytes = path.as_bytes();
        let mut limit = bytes;
        loop {
            let after = self.roots.partition_point(|root| root.path.as_bytes() <= limit);
            let root = self.roots.get(after.checked_sub(1)?)?;
            if path.below(&root.path).is_some() {
                return Some(Owner { root, watch: self.watch(root) });
            }
            let common = bytes.iter().zip(root.path.as_bytes()).take_while(|(a, b)| a == b).count();
            limit = match bytes.get(common) {
                Some(b'/') => bytes.get(..common)?,
                _ => {
                    let slash = bytes.get(..common)?.iter().rposition(|b| *b == b'/')?;
                    bytes.get(..slash.max(1))?
                }
            };
        }
    }

    /// The watch of a root.
    pub fn watch(&self, root: &Root) -> &Watch {
        // A root's index is always that of a watch of the same config.
        self.config.watches.get(root.watch).unwrap_or_else(|| &self.config.watches[0])
    }

    /// The watch of this name.
    pub fn watch_named(&self, name: &str) -> Option<&Watch> {
        self.config.watches.iter().find(|watch| watch.name == name)
    }

    /// How a path is covered, exclusions and depth asked: [`Selection::Skipped`] also for what no watch covers.
    pub fn selection(&self, path: &RawPath, is_dir: bool) -> (Selection, Option<Owner<'_>>) {
        if self.is_own(path) {
            return (Selection::Skipped, None);
        }
        let Some(owner) = self.owner(path) else { return (Selection::Skipped, None) };
        let relative = path.below(&owner.root.path).unwrap_or_default();
        (select(owner.watch, relative, is_dir), Some(owner))
    }

    /// Whether a path is covered as a directory or as anything else: for whoever does not know what is there.
    pub fn may_cover(&self, path: &RawPath) -> bool {
        [true, false].into_iter().any(|is_dir| self.selection(path, is_dir).0 != Selection::Skipped)
    }

    /// Whether a root, or a directory of this program, lies below a directory.
    pub fn has_below(&self, directory: &RawPath) -> bool {
        let inside = |path: &RawPath| path.below(directory).is_some_and(|below| !below.is_empty());
        let after = self.roots.partition_point(|root| root.path <= *directory);
        let roots = self.roots.get(after..).unwrap_or_default();
        // Between a directory and what is below it, only names that begin like it can stand (`/srv/t-x`).
        let mut near = roots.iter().take_while(|root| root.path.as_bytes().starts_with(directory.as_bytes()));
        near.any(|root| inside(&root.path)) || self.own.iter().any(inside)
    }

    /// Whether a path is at or below a directory of this program.
    pub fn is_own(&self, path: &RawPath) -> bool {
        self.own.iter().any(|own| path.below(own).is_some())
    }
}

/// Exclusions, inclusions and depth in one answer.
pub fn select(watch: &Watch, relative: &[u8], is_dir: bool) -> Selection {
    if watch.depth_allows(relative) { watch.select(relative, is_dir) } else { Selection::Skipped }
}

/// A configured path as the config writes it.
pub fn as_path(path: &WatchPath) -> RawPath {
    match path {
        WatchPath::Literal(path) => path.clone(),
        WatchPath::Glob(glob) => RawPath::new(glob.text().as_bytes()),
    }
}

/// Whether a configured path means this path itself.
pub fn means(watched: &WatchPath, path: &RawPath) -> bool {
    match watched {
        WatchPath::Literal(literal) => literal == path,
        WatchPath::Glob(glob) => glob.matches(path),
    }
}

fn missing(path: &RawPath) -> Option<String> {
    let why = match place::stat(path, None) {
        Ok(Some(_)) => return None,
        Ok(None) => "it does not exist".to_string(),
        Err(error) => error.to_string(),
    };
    Some(format!("{why}: correct the path, or say `optional = true` in its watch"))
}

/// The existing paths that a glob matches, and why there are none or not all.
fn expand(glob: &GlobPath) -> (Vec<RawPath>, Option<String>) {
    let mut found = vec![glob.prefix().clone()];
    let mut trouble = None;
    for component in glob.components() {
        let mut next = Vec::new();
        for directory in &found {
            match place::names(directory, |name| component.matches(name)) {
                Ok(names) => next.extend(names.iter().map(|name| directory.join(name))),
                Err(error) => trouble = Some(format!("{directory}: {error}")),
            }
        }
        found = next;
    }
    if found.is_empty() && trouble.is_none() {
        trouble = Some("it matches nothing: correct it, or say `optional = true` in its watch".to_string());
    }
    (found, trouble)
}

/// The attributes of a watch that are counted for a path.
pub fn counted(watch: &Watch) -> AttributeSet {
    watch.attributes
}

/// Whether a path of this watch may appear without anybody being told.
pub fn may_appear(watch: &Watch) -> bool {
    watch.change == ChangeRule::AdditionsAllowed
}

/// How severe a change is under the rules of its watch.
pub fn severity(
    watch: &Watch,
    kind: ChangeKind,
    fields: AttributeSet,
    before: Option<&FileState>,
    after: Option<&FileState>,
) -> Severity {
    let privileged = |state: Option<&FileState>| state.is_some_and(FileState::is_privileged);
    waxseal_policy::severity_of(watch, kind, fields, !privileged(before) && privileged(after))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> RawPath {
        RawPath::normalized(text.as_bytes()).unwrap()
    }

    /// The obvious way, parent by parent.
    fn deepest_above(roots: &[RawPath], path: &RawPath) -> Option<RawPath> {
        let above = roots.iter().filter(|root| path.below(root).is_some());
        above.max_by_key(|root| root.as_bytes().len()).cloned()
    }

    #[test]
    fn the_deepest_root_at_or_above_a_path_decides() {
        let names = ["a", "a-b", "a.b", "ab", "b", "0"];
        let mut paths = vec![path("/")];
        for one in names {
            paths.push(path(&format!("/{one}")));
            for two in names {
                paths.push(path(&format!("/{one}/{two}")));
                paths.extend(names.map(|three| path(&format!("/{one}/{two}/{three}"))));
            }
        }
        // A linear congruence picks the roots, so that every run sees the same thousand sets of them.
        let mut seed = 1_u64;
        for _ in 0..1000 {
            let roots: Vec<RawPath> = (0..1 + seed % 7)
                .map(|_| {
                    seed =
                        seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    paths[(seed >> 33) as usize % paths.len()].clone()
                })
                .collect();
            let list =
                roots.iter().map(|root| format!("\"{root}\"")).collect::<std::collections::BTreeSet<_>>();
            let text = format!("[[watch]]\npaths = [{}]", list.into_iter().collect::<Vec<_>>().join(", "));
            let coverage = Coverage::new(waxseal_policy::parse(&text, "test").unwrap(), Vec::new());
            for path in &paths {
                let found = coverage.owner(path).map(|owner| owner.root.path.clone());
                assert_eq!(found, deepest_above(&roots, path), "{path} under {roots:?}");
            }
        }
    }
}
