//! How contents differ, for people and for machines.

use crate::output::{describe, style};
use anstyle::{AnsiColor, Style};
use std::io::{self, Write};
use std::ops::Range;
use waxseal_diff::{Binary, Difference, Hunk, Kind, Line, Tag, Text};
use waxseal_model::json::{self, Object};
use waxseal_model::{RawPath, escape};

const REMOVED: Style = AnsiColor::Red.on_default();
const ADDED: Style = AnsiColor::Green.on_default();

/// What can be said of two contents.
#[derive(Debug)]
pub enum Compared {
    /// How they differ.
    Known(Difference),
    /// They are not shown: at least one is a secret.
    Secret,
    /// They cannot be compared, and why.
    Unknown(String),
}

/// For people.
pub fn write(out: &mut impl Write, compared: &Compared) -> io::Result<()> {
    match compared {
        Compared::Known(Difference::Same) => Ok(()),
        Compared::Known(Difference::Text(text)) => write_text(out, text),
        Compared::Known(Difference::Binary(binary)) => write_binary(out, binary),
        Compared::Secret => writeln!(
            out,
            "\nthe content is a secret and is not shown; it is kept, and `restore` can put it back"
        ),
        Compared::Unknown(why) => writeln!(out, "\nthe contents cannot be compared: {why}"),
    }
}

fn write_text(out: &mut impl Write, text: &Text) -> io::Result<()> {
    let faint = style::FAINT;
    writeln!(out, "\n{faint}--- approved{faint:#}\n{faint}+++ found{faint:#}")?;
    if text.encodings.0 != text.encodings.1 {
        let (old, new) = (text.encodings.0.name(), text.encodings.1.name());
        writeln!(out, "{faint}the encoding was {old} and is {new}{faint:#}")?;
    }
    for hunk in &text.hunks {
        writeln!(out, "{faint}{}{faint:#}", heading(hunk))?;
        hunk.lines.iter().try_for_each(|line| write_line(out, line))?;
    }
    if text.is_cut {
        let (removed, added) = (describe::count(text.removed), describe::count(text.added));
        writeln!(out, "{faint}… and more: {removed} lines went, {added} came in all{faint:#}")?;
    }
    Ok(())
}

fn write_line(out: &mut impl Write, line: &Line) -> io::Result<()> {
    let (sign, style) = match line.tag {
        Tag::Same => (' ', Style::new()),
        Tag::Removed => ('-', REMOVED),
        Tag::Added => ('+', ADDED),
    };
    write!(out, "{style}{sign}{style:#}")?;
    let last = line.parts.len().saturating_sub(1);
    for (i, part) in line.parts.iter().enumerate() {
        let style = if part.is_marked { style.bold().underline() } else { style };
        write!(out, "{style}{}{style:#}", escaped(&part.text, i < last))?;
    }
    writeln!(out)?;
    if line.is_open {
        writeln!(out, "\\ no newline at the end")?;
    }
    Ok(())
}

/// Safe for a terminal. Tabs stay; blanks are made visible at the end of a line, and only there.
fn escaped(text: &str, goes_on: bool) -> String {
    let parts: Vec<&str> = text.split('\t').collect();
    let last = parts.len().saturating_sub(1);
    let safe = parts.iter().enumerate().map(|(i, part)| {
        // Blanks at the end of what is escaped would be made visible.
        let end = if i < last || goes_on { "." } else { "" };
        let safe = escape::for_people(format!(".{part}{end}").as_bytes());
        let safe = safe.strip_prefix('.').unwrap_or(&safe);
        safe.strip_suffix(end).unwrap_or(safe).to_string()
    });
    safe.collect::<Vec<_>>().join("\t")
}

fn write_binary(out: &mut impl Write, binary: &Binary) -> io::Result<()> {
    let side = |kind: Kind, size: u64| match kind {
        Kind::Empty => kind.name(),
        _ => format!("{}, {}", kind.name(), describe::bytes(size)),
    };
    let (old, new) = (side(binary.before, binary.sizes.0), side(binary.after, binary.sizes.1));
    writeln!(out, "\ncontent  {old} now {new}")?;
    if let Some(likeness) = binary.likeness {
        writeln!(out, "likeness {likeness} of 100, by fuzzy hash")?;
    }
    for (sign, style, strings) in
        [('-', REMOVED, &binary.strings_removed), ('+', ADDED, &binary.strings_added)]
    {
        for text in strings {
            writeln!(out, "{style}{sign}{}{style:#}", escape::for_people(text.as_bytes()))?;
        }
    }
    if binary.is_cut {
        writeln!(out, "{0}… and more strings{0:#}", style::FAINT)?;
    }
    Ok(())
}

/// As `diff -u` writes it.
fn heading(hunk: &Hunk) -> String {
    let range = |range: &Range<usize>| match range.len() {
        // Where nothing stands, the line before it is named.
        0 => format!("{},0", range.start),
        1 => format!("{}", range.start + 1),
        len => format!("{},{len}", range.start + 1),
    };
    format!("@@ -{} +{} @@", range(&hunk.before), range(&hunk.after))
}

/// For machines: an object of type `diff`.
pub fn object(path: &RawPath, compared: &Compared) -> Object {
    let mut object = json::object("diff");
    json::put_path(&mut object, "path", path.as_bytes());
    let content = match compared {
        Compared::Known(Difference::Same) => "same",
        Compared::Known(Difference::Text(text)) => {
            put_text(&mut object, text);
            "text"
        }
        Compared::Known(Difference::Binary(binary)) => {
            put_binary(&mut object, binary);
            "binary"
        }
        Compared::Secret => "secret",
        Compared::Unknown(why) => {
            object.insert("error".into(), why.clone().into());
            "unknown"
        }
    };
    object.insert("content".into(), content.into());
    object
}

fn put_text(object: &mut Object, text: &Text) {
    object.insert("encoding_before".into(), text.encodings.0.name().into());
    object.insert("encoding_after".into(), text.encodings.1.name().into());
    object.insert("removed".into(), text.removed.into());
    object.insert("added".into(), text.added.into());
    object.insert("unified".into(), unified(text).into());
    object.insert("cut".into(), text.is_cut.into());
}

/// The difference as `diff -u` writes it, without the names of the files.
fn unified(text: &Text) -> String {
    let mut out = String::new();
    for hunk in &text.hunks {
        out.push_str(&heading(hunk));
        out.push('\n');
        for line in &hunk.lines {
            out.push(match line.tag {
                Tag::Same => ' ',
                Tag::Removed => '-',
                Tag::Added => '+',
            });
            line.parts.iter().for_each(|part| out.push_str(&part.text));
            out.push_str(if line.is_open { "\n\\ No newline at end of file\n" } else { "\n" });
        }
    }
    out
}

fn put_binary(object: &mut Object, binary: &Binary) {
    object.insert("kind_before".into(), binary.before.name().into());
    object.insert("kind_after".into(), binary.after.name().into());
    object.insert("size_before".into(), binary.sizes.0.into());
    object.insert("size_after".into(), binary.sizes.1.into());
    if let Some(likeness) = binary.likeness {
        object.insert("likeness".into(), likeness.into());
    }
    object.insert("strings_removed".into(), binary.strings_removed.clone().into());
    object.insert("strings_added".into(), binary.strings_added.clone().into());
    object.insert("cut".into(), binary.is_cut.into());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_safe_for_a_terminal_and_still_readable() {
        assert_eq!(escaped("a b\tc ", true), "a b\tc ");
        assert_eq!(escaped("  a b\t c ", false), format!("  a b\t c{}", escape::for_people(b" ")));
        assert!(!escaped("\x1b[2J\u{202e}", false).contains(['\x1b', '\u{202e}']));
        assert!(!escaped("\r\n", true).contains(['\r', '\n']));
    }
}
