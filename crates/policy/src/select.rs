//! Which entries below a watch's path count: gitignore-style globs, on bytes.
//!
//! The rules are git's (anchored when there is a slash that is not the last character, `**` for any number of
//! directories, a trailing slash for directories only, the last match decides, what is excluded takes everything
//! below it along) with one difference: a later `!` glob re-includes even below an excluded directory. `{a,b}` is
//! a choice. `?` and `[…]` stand for one byte and never for a slash.

use crate::config::Watch;
use crate::paths::component_glob;
use globset::{Candidate, Glob, GlobBuilder, GlobMatcher, GlobSet};

/// What becomes of one entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Selection {
    /// It is looked at and reported.
    Selected,
    /// A directory that is walked for what may be selected below it, and is not reported itself.
    WalkOnly,
    /// It is left alone, with everything below it.
    Skipped,
}

/// What the directories above an entry decided. Made by [`Watch::root_scope`] and [`Watch::descend`], so that a
/// walk asks about each directory once; copying it is free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scope {
    /// Which exclude took it, if one did.
    excluded_by: Option<usize>,
    /// Whether an include took it.
    included: bool,
}

impl Scope {
    const ROOT: Scope = Scope { excluded_by: None, included: false };
}

/// Why a text is not a glob.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GlobProblem {
    /// Nothing is left to match.
    #[error("it is empty")]
    Empty,
    /// A part between two slashes is empty.
    #[error("it has an empty part between two slashes, so it can match nothing")]
    EmptyPart,
    /// A part is `.` or `..`.
    #[error("it has a '.' or '..' part, so it can match nothing")]
    Dots,
    /// It contains NUL.
    #[error("it contains a NUL character, so it can match nothing")]
    Nul,
    /// An include cannot exclude.
    #[error("'!' belongs in `exclude`; write '\\!' for a name that begins with '!'")]
    NegatedInclude,
    /// The glob library refuses a part: the part, and why.
    #[error("in the part '{0}': {1}")]
    Part(String, String),
    /// All globs of the list together are too large.
    #[error("the globs of this list are too large together: {0}")]
    TooLarge(String),
}

/// A compiled list of globs. Equal when written alike.
#[derive(Debug, Clone, Default)]
pub struct Patterns {
    sources: Vec<String>,
    set: GlobSet,
    details: Vec<Detail>,
    /// Any match decides, whichever it is: nothing is negated or for directories only.
    plain: bool,
    reincludes: bool,
}

#[derive(Debug, Clone)]
struct Detail {
    negated: bool,
    directories_only: bool,
    /// The parts of a negated glob, to tell whether it could match below a directory; empty for others.
    steps: Vec<Step>,
}

#[derive(Debug, Clone)]
enum Step {
    /// `**`
    Any,
    One(GlobMatcher),
}

/// One glob, understood but not yet part of a set.
struct Pattern {
    glob: Glob,
    detail: Detail,
}

impl Patterns {
    /// Compiles an `exclude` list, in which `!` re-includes.
    ///
    /// # Errors
    /// Each glob that is none, with its index in the list.
    pub fn exclude(sources: &[String]) -> Result<Patterns, Vec<(usize, GlobProblem)>> {
        Patterns::compile(sources, true)
    }

    /// Compiles an `include` list.
    ///
    /// # Errors
    /// Each glob that is none, with its index in the list.
    pub fn include(sources: &[String]) -> Result<Patterns, Vec<(usize, GlobProblem)>> {
        Patterns::compile(sources, false)
    }

    fn compile(sources: &[String], may_negate: bool) -> Result<Patterns, Vec<(usize, GlobProblem)>> {
        let mut problems = Vec::new();
        let mut globs = Vec::new();
        let mut details = Vec::new();
        for (index, source) in sources.iter().enumerate() {
            match Pattern::compile(source, may_negate) {
                Ok(pattern) => {
                    globs.push(pattern.glob);
                    details.push(pattern.detail);
                }
                Err(problem) => problems.push((index, problem)),
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let set = GlobSet::new(&globs).map_err(|e| vec![(0, GlobProblem::TooLarge(e.kind().to_string()))])?;
        let plain = details.iter().all(|d| !d.negated && !d.directories_only);
        let reincludes = details.iter().any(|d| d.negated);
        Ok(Patterns { sources: sources.to_vec(), set, details, plain, reincludes })
    }

    /// The globs as they were written.
    pub fn sources(&self) -> &[String] {
        &self.sources
    }

    /// Whether there is no glob.
    pub fn is_empty(&self) -> bool {
        self.sources.is_empty()
    }

    /// The last glob that matches this very entry, as its index.
    fn last_match(&self, relative: &[u8], is_directory: bool) -> Option<usize> {
        let candidate = Candidate::from_bytes(relative);
        // Most entries match nothing, and this asks without allocating.
        if !self.set.is_match_candidate(&candidate) {
            return None;
        }
        if self.plain {
            return Some(0);
        }
        let counts =
            |index: &usize| self.details.get(*index).is_some_and(|d| is_directory || !d.directories_only);
        self.set.matches_candidate(&candidate).into_iter().rev().find(counts)
    }

    fn negated(&self, index: usize) -> bool {
        self.details.get(index).is_some_and(|d| d.negated)
    }

    /// Whether a `!` glob after `index` could match something below this directory.
    fn reincludes_below(&self, directory: &[u8], index: usize) -> bool {
        let later = self.details.iter().skip(index.saturating_add(1));
        self.reincludes && later.filter(|d| d.negated).any(|d| could_match_below(&d.steps, directory))
    }
}

impl PartialEq for Patterns {
    fn eq(&self, other: &Patterns) -> bool {
        self.sources == other.sources
    }
}

impl Eq for Patterns {}

/// Whether the parts of a glob can match a path that begins with all components of this directory and goes on.
fn could_match_below(steps: &[Step], directory: &[u8]) -> bool {
    let mut steps = steps.iter();
    for name in directory.split(|b| *b == b'/') {
        match steps.next() {
            None => return false,
            Some(Step::Any) => return true,
            Some(Step::One(glob)) if !glob.is_match_candidate(&Candidate::from_bytes(name)) => return false,
            Some(Step::One(_)) => {}
        }
    }
    steps.next().is_some()
}

impl Pattern {
    fn compile(source: &str, may_negate: bool) -> Result<Pattern, GlobProblem> {
        let (negated, body) = source.strip_prefix('!').map_or((false, source), |rest| (true, rest));
        if negated && !may_negate {
            return Err(GlobProblem::NegatedInclude);
        }
        if body.contains('\0') {
            return Err(GlobProblem::Nul);
        }
        let (directories_only, body) = body.strip_suffix('/').map_or((false, body), |rest| (true, rest));
        let anchored = body.contains('/');
        let body = body.strip_prefix('/').unwrap_or(body);
        if body.is_empty() {
            return Err(GlobProblem::Empty);
        }
        let mut steps = if anchored { Vec::new() } else { vec![Step::Any] };
        for part in body.split('/') {
            steps.push(step(part)?);
        }
        let glob = whole_glob(body, anchored)?;
        let steps = if negated { steps } else { Vec::new() };
        Ok(Pattern { glob, detail: Detail { negated, directories_only, steps } })
    }
}

fn step(part: &str) -> Result<Step, GlobProblem> {
    match part {
        "" => Err(GlobProblem::EmptyPart),
        "." | ".." => Err(GlobProblem::Dots),
        "**" => Ok(Step::Any),
        part => component_glob(part).map(Step::One).map_err(|why| GlobProblem::Part(part.to_owned(), why)),
    }
}

/// The glob in the library's terms: it has to be told that a name may stand at any depth, and that a trailing `**`
/// takes what is in a directory but not the directory.
fn whole_glob(body: &str, anchored: bool) -> Result<Glob, GlobProblem> {
    let text = match body {
        "**" => body.to_owned(),
        _ if body.ends_with("/**") => format!("{body}/*"),
        _ if anchored => body.to_owned(),
        _ => format!("**/{body}"),
    };
    let glob =
        GlobBuilder::new(&text).literal_separator(true).backslash_escape(true).empty_alternates(true).build();
    glob.map_err(|error| GlobProblem::Part(body.to_owned(), error.kind().to_string()))
}

impl Watch {
    /// What becomes of the entry at this path relative to the watch's path (no leading or trailing slash; empty
    /// for the path itself, which is always selected), whatever the walk did. A walk that goes directory by
    /// directory is cheaper with [`Watch::select_in`].
    pub fn select(&self, relative: &[u8], is_directory: bool) -> Selection {
        if self.selects_everything() {
            return Selection::Selected;
        }
        let mut scope = self.root_scope();
        let slashes = relative.iter().enumerate().filter(|(_, b)| **b == b'/');
        for (end, _) in slashes {
            scope = self.descend(scope, relative.get(..end).unwrap_or_default());
            if scope.excluded_by.is_some() && !self.exclude.reincludes {
                return Selection::Skipped;
            }
        }
        self.select_in(scope, relative, is_directory)
    }

    /// Whether nothing but the recursion depth limits this watch.
    pub fn selects_everything(&self) -> bool {
        self.exclude.is_empty() && self.include.is_empty()
    }

    /// The scope of what lies directly in the watch's path.
    pub fn root_scope(&self) -> Scope {
        Scope::ROOT
    }

    /// The scope of what lies directly in this directory, given the scope in which the directory itself lies.
    pub fn descend(&self, parent: Scope, relative: &[u8]) -> Scope {
        self.step(parent, relative, true)
    }

    /// As [`Watch::select`], given the scope of the directory that holds the entry.
    pub fn select_in(&self, parent: Scope, relative: &[u8], is_directory: bool) -> Selection {
        if relative.is_empty() || self.selects_everything() {
            return Selection::Selected;
        }
        let scope = self.step(parent, relative, is_directory);
        match scope.excluded_by {
            Some(by) if is_directory && self.exclude.reincludes_below(relative, by) => Selection::WalkOnly,
            Some(_) => Selection::Skipped,
            None if self.include.is_empty() || scope.included => Selection::Selected,
            None if is_directory => Selection::WalkOnly,
            None => Selection::Skipped,
        }
    }

    fn step(&self, parent: Scope, relative: &[u8], is_directory: bool) -> Scope {
        let mut scope = parent;
        if let Some(index) = self.exclude.last_match(relative, is_directory) {
            if !self.exclude.negated(index) {
                scope.excluded_by = Some(scope.excluded_by.map_or(index, |by| by.max(index)));
            } else if scope.excluded_by.is_some_and(|by| by < index) {
                scope.excluded_by = None;
            }
        }
        scope.included = scope.included || self.include.last_match(relative, is_directory).is_some();
        scope
    }

    /// Whether the watch's recursion reaches this deep: 0 is the path itself, 1 its direct children, and so on.
    pub fn depth_allows(&self, relative: &[u8]) -> bool {
        let Some(limit) = self.recursion else { return true };
        if relative.is_empty() {
            return true;
        }
        let depth = relative.iter().filter(|b| **b == b'/').count() + 1;
        usize::try_from(limit).is_ok_and(|limit| depth <= limit)
    }
}

#[cfg(test)]
mod tests;
