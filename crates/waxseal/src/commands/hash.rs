//! `hash`: sums in the format of coreutils, and their verification.

use crate::Exit;
use crate::args::HashArgs;
use crate::context::{Context, show};
use crate::output::{json_line, out, style};
use anyhow::Context as _;
use std::ffi::OsStr;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use waxseal_hash::Hasher;
use waxseal_model::digest::{hex, unhex};
use waxseal_model::{Algorithm, escape, json};
use waxseal_observe::{Algorithms, sums};
use waxseal_os::files::FileError;

/// How many files' sums are held at a time.
const AT_ONCE: usize = 256;

/// Prints or verifies.
pub fn run(args: &HashArgs, context: &Context) -> anyhow::Result<Exit> {
    if args.check { verify_all(args, context) } else { print_all(args, context) }
}

fn print_all(args: &HashArgs, context: &Context) -> anyhow::Result<Exit> {
    let mut exit = Exit::Same;
    // The names must leave exactly as they are, for other tools to read back: no colours, nothing taken out.
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    for files in args.files.chunks(AT_ONCE) {
        for (path, digest) in files.iter().zip(digests(files, args.algorithm)) {
            match digest {
                Ok(digest) => print_one(&mut out, path, args.algorithm, &digest, context.json)?,
                Err(why) => {
                    style::error(&format!("{}: {why}", show(path)));
                    if context.json {
                        json_line(&mut out, &json::error(Some(path.as_os_str().as_bytes()), &why))?;
                    }
                    exit = Exit::Trouble;
                }
            }
        }
    }
    out.flush()?;
    Ok(exit)
}

fn print_one(
    out: &mut impl Write,
    path: &Path,
    algorithm: Algorithm,
    digest: &[u8],
    as_json: bool,
) -> std::io::Result<()> {
    let name = path.as_os_str().as_bytes();
    if as_json {
        let mut object = json::object("hash");
        json::put_path(&mut object, "path", name);
        object.insert(algorithm.name().into(), hex(digest).into());
        return json_line(out, &object);
    }
    let (mark, name) = gnu_name(name);
    write!(out, "{mark}{}  ", hex(digest))?;
    out.write_all(&name)?;
    out.write_all(b"\n")
}

/// The name as coreutils writes it: backslash, newline and carriage return escaped, and the line marked by a
/// backslash then. Other characters that could steer a terminal stay, since other tools read these lines back.
fn gnu_name(name: &[u8]) -> (&'static str, Vec<u8>) {
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

/// The digest of each file, or why there is none.
fn digests(files: &[PathBuf], algorithm: Algorithm) -> Vec<Result<Vec<u8>, String>> {
    let wanted =
        Algorithms { blake3: algorithm == Algorithm::Blake3, sha512: algorithm == Algorithm::Sha512 };
    let regular: Vec<&Path> = files.iter().map(PathBuf::as_path).filter(|path| !is_stdin(path)).collect();
    let mut sums = sums::of_files(&regular, wanted).into_iter();
    let pick = |digests: &waxseal_model::Digests| digests.get(algorithm).unwrap_or_default().to_vec();
    let of = |path: &PathBuf| match is_stdin(path) {
        true => stdin_digest(wanted).map(|digests| pick(&digests)).map_err(|error| error.to_string()),
        false => match sums.next() {
            Some(Ok(digests)) => Ok(pick(&digests)),
            Some(Err(FileError::WrongType)) => Err("it is not a regular file".into()),
            Some(Err(error)) => Err(error.to_string()),
            None => Err("it was not read".into()),
        },
    };
    files.iter().map(of).collect()
}

fn is_stdin(path: &Path) -> bool {
    path == Path::new("-")
}

fn stdin_digest(wanted: Algorithms) -> std::io::Result<waxseal_model::Digests> {
    let mut hasher = Hasher::new(wanted);
    let mut stdin = std::io::stdin().lock();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match stdin.read(&mut buffer) {
            Ok(0) => break,
            Ok(len) => hasher.update(buffer.get(..len).unwrap_or_default()),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let digests = hasher.finish();
    Ok(waxseal_model::Digests {
        sha256: Some(digests.sha256),
        blake3: digests.blake3.map(Box::new),
        sha512: digests.sha512.map(Box::new),
    })
}

/// One line of a list of sums.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Listed {
    name: Vec<u8>,
    algorithm: Algorithm,
    digest: Vec<u8>,
}

fn verify_all(args: &HashArgs, context: &Context) -> anyhow::Result<Exit> {
    let mut exit = Exit::Same;
    let mut out = out();
    for list in &args.files {
        let (listed, malformed) = read_list(list, args.algorithm)?;
        for (number, why) in &malformed {
            style::error(&format!("{}, line {number}: {why}", show(list)));
            exit = Exit::Trouble;
        }
        if listed.is_empty() {
            anyhow::bail!("{} lists no sums in the formats of coreutils or BSD", show(list));
        }
        for entry in &listed {
            let path = PathBuf::from(OsStr::from_bytes(&entry.name));
            let found = digests(std::slice::from_ref(&path), entry.algorithm).pop();
            let (word, outcome) = match found {
                Some(Ok(digest)) if digest == entry.digest => ("ok", Exit::Same),
                Some(Ok(_)) => ("differs", Exit::Differs),
                Some(Err(_)) | None => ("unreadable", Exit::Trouble),
            };
            exit = exit.max(outcome);
            if context.json {
                let mut object = json::object("verified");
                json::put_path(&mut object, "path", &entry.name);
                object.insert("outcome".into(), word.into());
                json_line(&mut out, &object)?;
            } else if outcome != Exit::Same || !context.quiet {
                let color = if outcome == Exit::Same { style::GOOD } else { style::ERROR };
                writeln!(out, "{}: {color}{word}{color:#}", escape::for_people(&entry.name))?;
            }
        }
    }
    out.flush()?;
    Ok(exit)
}

type Malformed = Vec<(usize, &'static str)>;

fn read_list(list: &Path, default: Algorithm) -> anyhow::Result<(Vec<Listed>, Malformed)> {
    let text = if is_stdin(list) {
        let mut text = Vec::new();
        std::io::stdin().lock().take(MOST_LIST).read_to_end(&mut text)?;
        text
    } else {
        waxseal_store::state_dir::read_bytes(list, MOST_LIST)
            .with_context(|| "cannot read the list of sums")?
    };
    let (mut listed, mut malformed) = (Vec::new(), Vec::new());
    for (index, line) in text.split(|b| *b == b'\n').enumerate() {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() || line.starts_with(b"#") {
            continue;
        }
        match parse_line(line, default) {
            Some(entry) => listed.push(entry),
            None => malformed.push((index + 1, "neither `SUM  NAME` nor `ALGORITHM (NAME) = SUM`")),
        }
    }
    Ok((listed, malformed))
}

/// The largest list that is read.
const MOST_LIST: u64 = 256 << 20;

/// Reads `SUM  NAME`, `SUM *NAME`, their escaped forms, and `ALGORITHM (NAME) = SUM`. The length of a sum tells
/// its algorithm; 64 digits are SHA-256 unless BLAKE3 was asked for.
fn parse_line(line: &[u8], default: Algorithm) -> Option<Listed> {
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
