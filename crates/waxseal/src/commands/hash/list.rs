//! Lists of sums, as coreutils and BSD write them. Whoever offers a download wrote the list, too.

use waxseal_model::Algorithm;
use waxseal_model::digest::unhex;

/// One line of a list of sums.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listed {
    pub name: Vec<u8>,
    pub algorithm: Algorithm,
    pub digest: Vec<u8>,
}

/// The name as coreutils writes it: backslash, newline and carriage return escaped, and the line marked by a
/// backslash then. Other characters that could steer a terminal stay, since other tools read these lines back.
pub(super) fn gnu_name(name: &[u8]) -> (&'static str, Vec<u8>) {
    if !name.iter().any(|b| matches!(b, b'\\' | b'\n' | b'\r')) {
        return ("", name.to_vec());
    }
    let escaped = name.iter().flat_map(|b| match b {
        b'\\' => b"\\\\".to_vec(),
        b'\n' => b"\\n".to_vec(),
        b'\r' => b"\\r".to_vec(),
        other => vec![*other],
    });
    ("\\", escaped.collect())
}

/// Reads `SUM  NAME`, `SUM *NAME`, their escaped forms, and `ALGORITHM (NAME) = SUM`. The length of a sum tells
/// its algorithm; 64 digits are SHA-256 unless BLAKE3 was asked for.
pub(super) fn parse_line(line: &[u8], default: Algorithm) -> Option<Listed> {
    let (escaped, line) = match line.strip_prefix(b"\\") {
        Some(rest) => (true, rest),
        None => (false, line),
    };
    let unescaped = |name: &[u8]| if escaped { unescape(name) } else { Some(name.to_vec()) };
    if let Some(open) = line.windows(2).position(|w| w == b" (")
        && let Some(algorithm) = bsd_algorithm(line.get(..open)?)
    {
        let close = line.windows(4).rposition(|w| w == b") = ")?;
        let digest = unhex(std::str::from_utf8(line.get(close + 4..)?).ok()?)?;
        let name = unescaped(line.get(open + 2..close)?)?;
        return right_length(Listed { name, algorithm, digest });
    }
    let end = line.iter().position(|b| *b == b' ')?;
    let digest = unhex(std::str::from_utf8(line.get(..end)?).ok()?)?;
    let name = line.get(end + 1..)?;
    let name = name.strip_prefix(b" ").or_else(|| name.strip_prefix(b"*"))?;
    let algorithm = match digest.len() {
        64 => Algorithm::Sha512,
        _ if default == Algorithm::Blake3 => Algorithm::Blake3,
        _ => Algorithm::Sha256,
    };
    right_length(Listed { name: unescaped(name)?, algorithm, digest })
}

fn right_length(listed: Listed) -> Option<Listed> {
    let length = if listed.algorithm == Algorithm::Sha512 { 64 } else { 32 };
    (listed.digest.len() == length && !listed.name.is_empty()).then_some(listed)
}

fn bsd_algorithm(tag: &[u8]) -> Option<Algorithm> {
    match tag {
        b"SHA256" => Some(Algorithm::Sha256),
        b"SHA512" => Some(Algorithm::Sha512),
        b"BLAKE3" => Some(Algorithm::Blake3),
        _ => None,
    }
}

fn unescape(name: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(name.len());
    let mut bytes = name.iter();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'\\' => match bytes.next()? {
                b'\\' => b'\\',
                b'n' => b'\n',
                b'r' => b'\r',
                _ => return None,
            },
            other => *other,
        });
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUM: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn parse(line: &str) -> Option<(String, Algorithm)> {
        let listed = parse_line(line.as_bytes(), Algorithm::Sha256)?;
        Some((String::from_utf8(listed.name).unwrap(), listed.algorithm))
    }

    #[test]
    fn reads_what_coreutils_and_bsd_write() {
        let sha256 = |name: &str| Some((name.to_string(), Algorithm::Sha256));
        assert_eq!(parse(&format!("{SUM}  a b")), sha256("a b"));
        assert_eq!(parse(&format!("{SUM} *bin")), sha256("bin"));
        assert_eq!(parse(&format!("\\{SUM}  a\\nb\\\\c")), sha256("a\nb\\c"));
        assert_eq!(parse(&format!("SHA256 (x (1) = y) = {SUM}")), sha256("x (1) = y"));
        let long = SUM.repeat(2);
        assert_eq!(parse(&format!("{long}  l")), Some(("l".to_string(), Algorithm::Sha512)));
    }

    #[test]
    fn refuses_what_they_do_not() {
        for line in ["", "abc  x", SUM, &format!("{SUM} x"), &format!("{SUM}  "), &format!("\\{SUM}  a\\q")] {
            assert_eq!(parse(line), None, "{line}");
        }
        assert_eq!(parse(&format!("SHA512 (x) = {SUM}")), None);
    }

    #[test]
    fn names_are_escaped_as_they_are_read_back() {
        let (mark, name) = gnu_name(b"a\nb\\");
        assert_eq!((mark, unescape(&name)), ("\\", Some(b"a\nb\\".to_vec())));
        assert_eq!(gnu_name(b"plain"), ("", b"plain".to_vec()));
    }
}
