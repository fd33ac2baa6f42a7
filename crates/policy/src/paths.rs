//! The paths of a watch: absolute, literal or with globs in some components.
//!
//! In a path `*`, `?`, `[…]` and `{…}` are globs within one component, and a backslash takes the meaning from the
//! character after it. `**` has no place here: what lies below a path is covered anyway.

use globset::{GlobBuilder, GlobMatcher};
use waxseal_model::RawPath;

/// One configured path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WatchPath {
    /// Exactly this path.
    Literal(RawPath),
    /// Every path that these components match.
    Glob(GlobPath),
}

/// A path with globs in at least one component. Equal when written alike.
#[derive(Debug, Clone)]
pub struct GlobPath {
    text: String,
    prefix: RawPath,
    prefix_depth: usize,
    components: Vec<Component>,
}

/// One component of a [`GlobPath`].
#[derive(Debug, Clone)]
pub enum Component {
    /// Exactly this name; the caller need not list the directory.
    Name(Box<[u8]>),
    /// Every name that this glob matches, hidden ones too.
    Pattern(GlobMatcher),
}

/// Why a text is not a path that can be watched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WatchPathError {
    /// Nothing was written.
    #[error("the path is empty")]
    Empty,
    /// It does not begin with `/`.
    #[error("the path must be absolute: begin it with '/'")]
    NotAbsolute,
    /// It contains a NUL character.
    #[error("the path must not contain a NUL character")]
    Nul,
    /// It has a `..` or an escaped `.` component.
    #[error("the path must not contain '{0}': write where it leads")]
    Dots(&'static str),
    /// It has a `**` component.
    #[error(
        "'**' has no place in a path: everything below a path is watched anyway, use '*' for one component"
    )]
    Recursive,
    /// A component is not a valid glob: the component, and why.
    #[error("the part '{0}' is not a valid glob: {1}")]
    Glob(String, String),
}

impl WatchPath {
    /// Reads a path as the config writes it; repeated slashes, `.` components and trailing slashes fall away.
    ///
    /// # Errors
    /// When it cannot be watched; the message says what to do.
    pub fn parse(text: &str) -> Result<WatchPath, WatchPathError> {
        if text.is_empty() {
            return Err(WatchPathError::Empty);
        }
        if !text.starts_with('/') {
            return Err(WatchPathError::NotAbsolute);
        }
        if text.contains('\0') {
            return Err(WatchPathError::Nul);
        }
        let parts: Vec<&str> = text.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
        let components = parts.iter().map(|part| Component::parse(part)).collect::<Result<Vec<_>, _>>()?;
        let fixed = components.iter().take_while(|c| c.name().is_some()).count();
        let root = RawPath::new(*b"/");
        let prefix = components.iter().map_while(Component::name).fold(root, |path, name| path.join(name));
        if fixed == components.len() {
            return Ok(WatchPath::Literal(prefix));
        }
        let components = components.into_iter().skip(fixed).collect();
        let text = format!("/{}", parts.join("/"));
        Ok(WatchPath::Glob(GlobPath { text, prefix, prefix_depth: fixed, components }))
    }

    /// Whether this is the path, or one of the paths, meant; what lies below one is not.
    pub fn matches(&self, path: &RawPath) -> bool {
        match self {
            WatchPath::Literal(literal) => literal == path,
            WatchPath::Glob(glob) => glob.matches(path),
        }
    }

    /// The path as the config writes it; none when it is a literal that is not UTF-8, which no config can hold.
    pub fn text(&self) -> Option<String> {
        match self {
            WatchPath::Literal(path) => escape_literal(path),
            WatchPath::Glob(glob) => Some(glob.text.clone()),
        }
    }
}

impl GlobPath {
    /// The deepest directory above the first glob: where expansion begins.
    pub fn prefix(&self) -> &RawPath {
        &self.prefix
    }

    /// The components below [`GlobPath::prefix`], outermost first; the first is a pattern.
    pub fn components(&self) -> &[Component] {
        &self.components
    }

    /// The component this far below the prefix, counted from 0.
    pub fn component(&self, index: usize) -> Option<&Component> {
        self.components.get(index)
    }

    /// How many components the whole path has: what it matches has as many.
    pub fn depth(&self) -> usize {
        self.prefix_depth + self.components.len()
    }

    /// The path as it was written, without repeated slashes.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether this is one of the paths meant; what lies below one is not.
    pub fn matches(&self, path: &RawPath) -> bool {
        self.matches_bytes(path.as_bytes())
    }

    pub(crate) fn matches_bytes(&self, path: &[u8]) -> bool {
        let prefix = self.prefix.as_bytes();
        let Some(rest) = path.strip_prefix(prefix) else { return false };
        // The prefix "/" ends in a slash itself.
        let rest = if prefix == b"/" { Some(rest) } else { rest.strip_prefix(b"/") };
        let Some(rest) = rest else { return false };
        let mut names = rest.split(|b| *b == b'/');
        self.components.iter().all(|c| names.next().is_some_and(|name| c.matches(name)))
            && names.next().is_none()
    }
}

impl PartialEq for GlobPath {
    fn eq(&self, other: &GlobPath) -> bool {
        self.text == other.text
    }
}

impl Eq for GlobPath {}

impl Component {
    fn parse(part: &str) -> Result<Component, WatchPathError> {
        let bad = |why: String| WatchPathError::Glob(part.to_owned(), why);
        match part {
            ".." => return Err(WatchPathError::Dots("..")),
            "**" => return Err(WatchPathError::Recursive),
            _ => {}
        }
        if let Some(name) = unescape(part).map_err(|why| bad(why.to_owned()))? {
            return match name.as_str() {
                "." => Err(WatchPathError::Dots(".")),
                ".." => Err(WatchPathError::Dots("..")),
                name => Ok(Component::Name(name.as_bytes().into())),
            };
        }
        component_glob(part).map(Component::Pattern).map_err(bad)
    }

    /// The name, when there is only one.
    pub fn name(&self) -> Option<&[u8]> {
        match self {
            Component::Name(name) => Some(name),
            Component::Pattern(_) => None,
        }
    }

    /// Whether this component means the name (without slash). `.` and `..` are never meant.
    pub fn matches(&self, name: &[u8]) -> bool {
        match self {
            Component::Name(own) => **own == *name,
            Component::Pattern(_) if matches!(name, b"" | b"." | b"..") => false,
            Component::Pattern(glob) => glob.is_match_candidate(&globset::Candidate::from_bytes(name)),
        }
    }
}

/// A glob for one name, or why it is none.
pub(crate) fn component_glob(part: &str) -> Result<GlobMatcher, String> {
    let glob =
        GlobBuilder::new(part).literal_separator(true).backslash_escape(true).empty_alternates(true).build();
    glob.map(|glob| glob.compile_matcher()).map_err(|error| error.kind().to_string())
}

/// The text without escapes; none when it has globs.
fn unescape(part: &str) -> Result<Option<String>, &'static str> {
    let mut name = String::with_capacity(part.len());
    let mut chars = part.chars();
    while let Some(c) = chars.next() {
        match c {
            '*' | '?' | '[' | ']' | '{' | '}' => return Ok(None),
            '\\' => name.push(chars.next().ok_or("a backslash at the end; write '\\\\' for a backslash")?),
            c => name.push(c),
        }
    }
    Ok(Some(name))
}

/// The path as the config must write it to mean exactly it: globs escaped. None when it is not UTF-8, since a
/// config is text.
pub fn escape_literal(path: &RawPath) -> Option<String> {
    let text = std::str::from_utf8(path.as_bytes()).ok()?;
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '*' | '?' | '[' | ']' | '{' | '}' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn raw(bytes: &[u8]) -> RawPath {
        RawPath::new(bytes)
    }

    fn glob(text: &str) -> GlobPath {
        match WatchPath::parse(text) {
            Ok(WatchPath::Glob(glob)) => glob,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn literals_are_normalized_and_unescaped() {
        for (text, path) in
            [("/srv//./t/", "/srv/t"), ("/", "/"), (r"/a\[1\]/b\*\\", r"/a[1]/b*\"), ("/a\nb", "/a\nb")]
        {
            assert_eq!(WatchPath::parse(text), Ok(WatchPath::Literal(raw(path.as_bytes()))), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_watched_is_refused() {
        use WatchPathError::*;
        for (text, error) in [
            ("", Empty),
            ("srv", NotAbsolute),
            ("~/x", NotAbsolute),
            ("/a/../b", Dots("..")),
            (r"/a/\.\./b", Dots("..")),
            ("/a/**/b", Recursive),
            ("/a\0b", Nul),
        ] {
            assert_eq!(WatchPath::parse(text), Err(error), "{text}");
        }
        for text in ["/a/[b", "/a/{b", "/a/b}", r"/a/b\", "/a/[z-a]", "/a/{b/c}"] {
            assert!(matches!(WatchPath::parse(text), Err(Glob(..))), "{text}");
        }
    }

    #[test]
    fn globs_match_their_own_depth_only() {
        let keys = glob("/home/*/.ssh");
        assert_eq!((keys.prefix(), keys.depth()), (&raw(b"/home"), 3));
        assert!(keys.matches(&raw(b"/home/ann/.ssh")));
        assert!(keys.matches(&raw(b"/home/.hidden/.ssh")));
        assert!(keys.matches(&raw(b"/home/\xff\n/.ssh")));
        for other in [
            "/home/ann",
            "/home/ann/.ssh/config",
            "/home/a/b/.ssh",
            "/homes/a/.ssh",
            "/home/../.ssh",
            "/home//.ssh",
        ] {
            assert!(!keys.matches(&raw(other.as_bytes())), "{other}");
        }
        let top = glob("/{lib,lib64}/[a-c]?");
        assert_eq!(top.prefix(), &raw(b"/"));
        assert!(top.matches(&raw(b"/lib64/bz")));
        assert!(!top.matches(&raw(b"/lib/zz")));
        assert!(top.component(1).is_some_and(|c| c.matches(b"c1") && !c.matches(b"c")));
    }

    proptest! {
        #[test]
        fn escaping_gives_the_literal_back(name in "[^/\0]{1,12}") {
            prop_assume!(name != "." && name != "..");
            let path = raw(format!("/{name}").as_bytes());
            let text = escape_literal(&path).unwrap();
            prop_assert_eq!(WatchPath::parse(&text), Ok(WatchPath::Literal(path)));
        }

        #[test]
        fn no_text_panics_and_what_is_taken_reads_back(text in r"/[a-z.*?\[\]{}!^,:/\\\-é]{0,16}") {
            if let Ok(path) = WatchPath::parse(&text) {
                prop_assert_eq!(WatchPath::parse(&path.text().unwrap()), Ok(path));
            }
        }
    }
}
