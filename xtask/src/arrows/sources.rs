//! Where the sources use files and `unsafe`, by their tokens: comments, strings and tests do not count.

use super::rules::{FILES, UNSAFE};
use crate::project;
use anyhow::{Context, Result, anyhow};
use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};
use std::fs;
use std::path::{Path, PathBuf};

/// Uses of files or `unsafe` in crates that should have neither.
pub fn findings() -> Result<Vec<String>> {
    let mut findings = Vec::new();
    let crates = project::root().join("crates");
    for entry in fs::read_dir(&crates).with_context(|| format!("cannot read {}", crates.display()))? {
        let directory = entry?.path();
        let name = directory.file_name().unwrap_or_default().to_string_lossy().into_owned();
        for file in rust_files(&directory.join("src"))? {
            let text =
                fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
            let shown = file.strip_prefix(project::root()).unwrap_or(&file).display().to_string();
            let uses = scan(&text).with_context(|| format!("cannot read {shown} as Rust"))?;
            findings.extend(uses.iter().filter_map(|found| found.complaint(&name, &shown)));
        }
    }
    findings.sort();
    Ok(findings)
}

#[derive(Debug, PartialEq)]
enum Word {
    Files,
    Unsafe,
}

#[derive(Debug)]
struct Use {
    word: Word,
    line: usize,
}

impl Use {
    fn complaint(&self, name: &str, file: &str) -> Option<String> {
        let (homes, word) = match self.word {
            Word::Files => (FILES, "std::fs"),
            Word::Unsafe => (UNSAFE, "unsafe"),
        };
        (!homes.contains(&name))
            .then(|| format!("{file}:{}: {word} outside {}", self.line, homes.join(" and ")))
    }
}

/// The sources below a directory that are not tests by their name.
fn rust_files(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut directories = vec![directory.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in
            fs::read_dir(&directory).with_context(|| format!("cannot read {}", directory.display()))?
        {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_dir() {
                // `tests/` below `src/` holds unit tests split into files.
                if name != "tests" {
                    directories.push(path);
                }
            } else if name.ends_with(".rs") && name != "tests.rs" && !name.ends_with("_tests.rs") {
                files.push(path);
            }
        }
    }
    Ok(files)
}

fn scan(text: &str) -> Result<Vec<Use>> {
    let tokens: TokenStream = text.parse().map_err(|error: proc_macro2::LexError| anyhow!("{error}"))?;
    let mut uses = Vec::new();
    walk(tokens, &mut uses);
    Ok(uses)
}

fn walk(tokens: TokenStream, uses: &mut Vec<Use>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let mut rest = tokens.as_slice();
    while let [first, after @ ..] = rest {
        rest = after;
        match first {
            TokenTree::Punct(punct) if punct.as_char() == '#' => {
                if let [TokenTree::Group(attribute), item @ ..] = after
                    && is_for_tests(attribute)
                {
                    rest = after_item(item);
                }
            }
            TokenTree::Ident(ident) => {
                let line = ident.span().start().line;
                if ident == "unsafe" {
                    uses.push(Use { word: Word::Unsafe, line });
                } else if names_files(&ident.to_string(), after) {
                    uses.push(Use { word: Word::Files, line });
                }
            }
            TokenTree::Group(group) => walk(group.stream(), uses),
            _ => {}
        }
    }
}

/// Whether an attribute is `#[cfg(test)]` or narrower.
fn is_for_tests(attribute: &Group) -> bool {
    let words = words(attribute.stream());
    words.first().is_some_and(|word| word == "cfg")
        && words.iter().any(|word| word == "test")
        && !words.iter().any(|word| word == "not" || word == "any")
}

fn words(tokens: TokenStream) -> Vec<String> {
    tokens
        .into_iter()
        .flat_map(|token| match token {
            TokenTree::Ident(ident) => vec![ident.to_string()],
            TokenTree::Group(group) => words(group.stream()),
            _ => Vec::new(),
        })
        .collect()
}

/// What follows the item at the beginning: it ends with its block, or with a semicolon before any block.
fn after_item(tokens: &[TokenTree]) -> &[TokenTree] {
    let end = tokens.iter().position(|token| match token {
        TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
        TokenTree::Punct(punct) => punct.as_char() == ';',
        _ => false,
    });
    end.and_then(|end| tokens.get(end + 1..)).unwrap_or_default()
}

/// Whether the path that begins here is one of the standard library's ways to files: `std::fs`, `tokio::fs`,
/// `use std::{fs, …}`, `File::open`, `File::create`, `OpenOptions`.
fn names_files(first: &str, after: &[TokenTree]) -> bool {
    if first == "OpenOptions" {
        return true;
    }
    let [TokenTree::Punct(a), TokenTree::Punct(b), next, ..] = after else { return false };
    if a.as_char() != ':' || b.as_char() != ':' {
        return false;
    }
    let second = match next {
        TokenTree::Ident(ident) => vec![ident.to_string()],
        TokenTree::Group(group) => group
            .stream()
            .into_iter()
            .filter_map(
                |token| if let TokenTree::Ident(ident) = token { Some(ident.to_string()) } else { None },
            )
            .collect(),
        _ => Vec::new(),
    };
    let wanted: &[&str] = match first {
        "std" | "tokio" => &["fs"],
        "File" => &["open", "create", "create_new", "options"],
        _ => &[],
    };
    second.iter().any(|word| wanted.contains(&word.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<(Word, usize)> {
        scan(text).unwrap().into_iter().map(|found| (found.word, found.line)).collect()
    }

    #[test]
    fn uses_are_found_in_code() {
        assert_eq!(found("use std::fs;"), [(Word::Files, 1)]);
        assert_eq!(found("use std::{io, fs::File};"), [(Word::Files, 1)]);
        assert_eq!(found("fn f() {\n let x = File::open(p);\n}"), [(Word::Files, 2)]);
        assert_eq!(found("fn f() { m!(unsafe { g() }) }"), [(Word::Unsafe, 1)]);
        assert_eq!(found("#[cfg(not(test))]\nmod a { use std::fs; }"), [(Word::Files, 2)]);
    }

    #[test]
    fn comments_strings_and_tests_do_not_count() {
        assert_eq!(found("// std::fs unsafe\n/// File::open\nfn f() { g(\"unsafe std::fs\") }"), []);
        assert_eq!(found("#[cfg(test)]\nmod tests { use std::fs; }\n#[cfg(test)]\nmod t;"), []);
        assert_eq!(found("use std::io;\nstruct File; impl File { fn metadata() {} }"), []);
        let after = found("#[cfg(test)]\nmod tests { use std::fs; }\nuse std::fs;");
        assert_eq!(after, [(Word::Files, 3)]);
    }
}
