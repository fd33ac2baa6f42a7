//! Paths as the kernel knows them: bytes, not text.

use crate::escape;
use std::fmt;

/// A path as bytes. Absolute ones start with `/`, have no trailing slash (but for `/` itself), no
/// empty and no `.` component when made with [`RawPath::normalized`]. Never contains NUL.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct RawPath(Box<[u8]>);

impl RawPath {
    /// The path of exactly these bytes, taken from the kernel.
    pub fn new(bytes: impl Into<Box<[u8]>>) -> RawPath {
        RawPath(bytes.into())
    }

    /// An absolute path without empty or `.` components and without a trailing slash.
    ///
    /// # Errors
    /// When it is not absolute, contains NUL, or has a `..` component, whose meaning depends on links.
    pub fn normalized(bytes: &[u8]) -> Result<RawPath, PathError> {
        if bytes.first() != Some(&b'/') {
            return Err(PathError::NotAbsolute);
        }
        if bytes.contains(&0) {
            return Err(PathError::Nul);
        }
        let mut out = Vec::with_capacity(bytes.len());
        for part in bytes.split(|b| *b == b'/') {
            match part {
                b"" | b"." => {}
                b".." => return Err(PathError::ParentComponent),
                part => {
                    out.push(b'/');
                    out.extend_from_slice(part);
                }
            }
        }
        if out.is_empty() {
            out.push(b'/');
        }
        Ok(RawPath(out.into()))
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// This path with one more component.
    pub fn join(&self, name: &[u8]) -> RawPath {
        let mut out = Vec::with_capacity(self.0.len() + 1 + name.len());
        out.extend_from_slice(&self.0);
        if out.last() != Some(&b'/') {
            out.push(b'/');
        }
        out.extend_from_slice(name);
        RawPath(out.into())
    }

    /// The path of the directory that holds it; none for `/`.
    pub fn parent(&self) -> Option<RawPath> {
        if &*self.0 == b"/" {
            return None;
        }
        let slash = self.0.iter().rposition(|b| *b == b'/')?;
        Some(RawPath(self.0.get(..slash.max(1))?.into()))
    }

    /// The last component; empty for `/`.
    pub fn name(&self) -> &[u8] {
        let start = self.0.iter().rposition(|b| *b == b'/').map_or(0, |i| i + 1);
        self.0.get(start..).unwrap_or_default()
    }

    /// What remains of this path below `ancestor`, without a leading slash: empty for the
    /// ancestor itself, none when it is not at or below it. `/srv/tgt` is not below `/srv/t`.
    pub fn below(&self, ancestor: &RawPath) -> Option<&[u8]> {
        let rest = self.0.strip_prefix(&*ancestor.0)?;
        match rest.first() {
            None => Some(rest),
            Some(b'/') => rest.get(1..),
            Some(_) if &*ancestor.0 == b"/" => Some(rest),
            Some(_) => None,
        }
    }

    /// The text for people; see [`escape::for_people`].
    pub fn for_people(&self) -> String {
        escape::for_people(&self.0)
    }
}

impl fmt::Debug for RawPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.for_people())
    }
}

/// Escaped for people.
impl fmt::Display for RawPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.for_people())
    }
}

/// Why bytes are not a path that Waxseal takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// It does not start with `/`.
    #[error("the path must be absolute: begin it with '/'")]
    NotAbsolute,
    /// It has a `..` component.
    #[error("the path must not contain '..': write where it leads")]
    ParentComponent,
    /// It contains a NUL byte.
    #[error("the path must not contain a NUL byte")]
    Nul,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(s: &str) -> RawPath {
        RawPath::normalized(s.as_bytes()).unwrap()
    }

    #[test]
    fn normalizes() {
        assert_eq!(path("//srv/./t/").as_bytes(), b"/srv/t");
        assert_eq!(path("/").as_bytes(), b"/");
        assert_eq!(RawPath::normalized(b"srv"), Err(PathError::NotAbsolute));
        assert_eq!(RawPath::normalized(b"/a/../b"), Err(PathError::ParentComponent));
        assert_eq!(RawPath::normalized(b"/a\0b"), Err(PathError::Nul));
    }

    #[test]
    fn takes_apart_and_joins() {
        assert_eq!(path("/").join(b"etc"), path("/etc"));
        assert_eq!(path("/etc").join(b"passwd").parent(), Some(path("/etc")));
        assert_eq!(path("/etc").parent(), Some(path("/")));
        assert_eq!(path("/").parent(), None);
        assert_eq!(path("/etc/passwd").name(), b"passwd");
    }

    #[test]
    fn below_respects_components() {
        assert_eq!(path("/srv/t/a").below(&path("/srv/t")), Some(&b"a"[..]));
        assert_eq!(path("/srv/t").below(&path("/srv/t")), Some(&b""[..]));
        assert_eq!(path("/srv/tgt").below(&path("/srv/t")), None);
        assert_eq!(path("/srv").below(&path("/")), Some(&b"srv"[..]));
    }
}
