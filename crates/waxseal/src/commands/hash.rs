//! `hash`: sums in the format of coreutils, and their verification.

mod list;

use crate::Exit;
use crate::args::HashArgs;
use crate::context::{Context, show};
use crate::output::{json_line, out, style};
use anyhow::Context as _;
use list::{Listed, gnu_name, parse_line};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use waxseal_hash::Hasher;
use waxseal_model::digest::hex;
use waxseal_model::{Algorithm, escape, json};
use waxseal_observe::{Algorithms, sums};
use waxseal_os::files::FileError;
use waxseal_os::paths;

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
                        json_line(&mut out, &json::error(Some(path.as_os_str().as_encoded_bytes()), &why))?;
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
    let name = path.as_os_str().as_encoded_bytes();
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
            let path = paths::named(&entry.name);
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
