//! Which watch decides about a path, and how severe a change is.

use crate::config::{ChangeRule, Config, Watch};
use crate::paths::{GlobPath, WatchPath};
use crate::select::Selection;
use std::collections::HashMap;
use std::sync::Arc;
use waxseal_model::{Actor, Attribute, AttributeSet, ChangeKind, RawPath, Severity};

/// A config made ready for questions about paths.
#[derive(Debug, Clone)]
pub struct Rules {
    config: Arc<Config>,
    literals: HashMap<Box<[u8]>, usize>,
    globs: Vec<(GlobPath, usize)>,
}

/// The watch that decides about a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner<'p> {
    /// Its index in [`Config::watches`].
    pub watch: usize,
    /// The configured path at or above the path: its literal, or what its glob matched.
    pub root: &'p [u8],
    /// What remains of the path below the root, without a leading slash; empty for the root itself.
    pub relative: &'p [u8],
}

impl Rules {
    /// Rules for this config.
    pub fn new(config: Arc<Config>) -> Rules {
        let mut literals = HashMap::new();
        let mut globs = Vec::new();
        for (index, watch) in config.watches.iter().enumerate() {
            for path in &watch.paths {
                match path {
                    WatchPath::Literal(path) => {
                        literals.insert(path.as_bytes().into(), index);
                    }
                    WatchPath::Glob(glob) => globs.push((glob.clone(), index)),
                }
            }
        }
        Rules { config, literals, globs }
    }

    /// The config behind the rules.
    pub fn config(&self) -> &Arc<Config> {
        &self.config
    }

    /// The watch with the deepest configured path at or above this absolute path; none when no watch reaches it.
    /// At the same depth a literal path comes before a glob, and a glob before those after it in the config.
    ///
    /// Excludes and recursion are not asked: where the deepest watch leaves a path out, no other one takes it.
    pub fn owner<'p>(&self, path: &'p RawPath) -> Option<Owner<'p>> {
        let bytes = path.as_bytes();
        let owner = |end: usize| {
            let root = bytes.get(..end)?;
            let watch = self.watch_of_root(root)?;
            let below = bytes.get(end..)?;
            Some(Owner { watch, root, relative: below.strip_prefix(b"/").unwrap_or(below) })
        };
        let mut end = bytes.len();
        loop {
            if let Some(owner) = owner(end) {
                return Some(owner);
            }
            match bytes.get(..end)?.iter().rposition(|b| *b == b'/') {
                Some(0) if end > 1 => end = 1,
                Some(slash) if slash > 0 => end = slash,
                _ => return None,
            }
        }
    }

    fn watch_of_root(&self, root: &[u8]) -> Option<usize> {
        let literal = self.literals.get(root).copied();
        literal
            .or_else(|| self.globs.iter().find(|(glob, _)| glob.matches_bytes(root)).map(|(_, index)| *index))
    }

    /// The watch that this owner names.
    pub fn watch(&self, owner: Owner<'_>) -> Option<&Watch> {
        self.config.watches.get(owner.watch)
    }

    /// Who decides about this path, and what becomes of it there, recursion included. None when no watch reaches
    /// it.
    pub fn select<'p>(&self, path: &'p RawPath, is_directory: bool) -> Option<(Owner<'p>, Selection)> {
        let owner = self.owner(path)?;
        let watch = self.watch(owner)?;
        if !watch.depth_allows(owner.relative) {
            return Some((owner, Selection::Skipped));
        }
        Some((owner, watch.select(owner.relative, is_directory)))
    }
}

/// Whether the rules of a watch allow an actor to write: it ran nothing but the programs that they mean while it may have
/// written, or it was begun by one of them. Executables decide, which nobody gives himself, unlike names and arguments.
/// Whoever is not known is not allowed, nor who may have been something unknown, nor a container's process: its paths are
/// those of the container.
fn is_allowed(watch: &Watch, actor: &Actor) -> bool {
    let is_meant = |exe: &RawPath| watch.actors.iter().any(|rule| rule.means(exe));
    let is_known = actor.source.is_some() && !actor.earlier_cut && actor.container.is_none();
    is_known && (actor.ran_only(&is_meant) || actor.was_begun_by(&is_meant))
}

/// How severe a change is that was made by these: whom no rule of the watch allows raises it. A change of which no event
/// told who made it stays as it is.
pub fn severity_by(watch: &Watch, severity: Severity, actors: &[Actor]) -> Severity {
    if watch.actors.is_empty() || actors.iter().all(|actor| is_allowed(watch, actor)) {
        return severity;
    }
    let otherwise = watch.actors.iter().map(|rule| rule.otherwise).max();
    otherwise.map_or(severity, |otherwise| severity.max(otherwise))
}

/// How severe a change is.
///
/// `fields` are the attributes that count for this watch and differ. `became_privileged` says that the path is now
/// a file with a set-id bit or capabilities that it did not have before.
pub fn severity_of(
    watch: &Watch,
    kind: ChangeKind,
    fields: AttributeSet,
    became_privileged: bool,
) -> Severity {
    if became_privileged {
        return Severity::Critical;
    }
    if kind == ChangeKind::Added && watch.change == ChangeRule::AdditionsAllowed {
        return Severity::Info;
    }
    // Times alone are set by a touch, and the same content in a new file is what editors and `mv` leave: they
    // prove nothing.
    let harmless = AttributeSet::TIMES.union(AttributeSet::of(&[Attribute::Inode]));
    if kind == ChangeKind::Metadata && fields.difference(harmless).is_empty() {
        return watch.severity.min(Severity::Low);
    }
    watch.severity
}

#[cfg(test)]
mod tests;
