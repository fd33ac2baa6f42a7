//! Hides secrets in the lines that an error shows.
//!
//! Works on the text and not on what was read from it, since a line that cannot be read may hold a secret too.
//! When in doubt a line is masked: a reader who wrote it knows what it says.

use crate::schema::{KINDS, Key, SECTIONS, Shape};

/// Where a line with an unknown key may hold a secret under a misspelt name. The empty name is the text before the
/// first header.
const SECTIONS_WITHOUT_SECRETS: [&str; 9] =
    ["watch", "scan", "evidence", "ledger", "alerts", "route", "log", "explain", "dashboard"];

/// Keys of no table that are read by hand, and top-level names that may be followed by `=`.
const PLAIN: [&str; 27] = [
    "name",
    "kind",
    "paths",
    "exclude",
    "include",
    "attributes",
    "severity",
    "change",
    "keep",
    "restore",
    "recursion",
    "optional",
    "watch",
    "scan",
    "evidence",
    "ledger",
    "heartbeat",
    "detail_age",
    "detail_size",
    "publish_every",
    "publish",
    "timeout",
    "alerts",
    "route",
    "log",
    "explain",
    "dashboard",
];

/// The text with secrets replaced by as many bytes of `*`, so that every place in it stays where it was.
pub(super) fn mask_secrets(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut safe_section = false;
    for line in text.split_inclusive('\n') {
        let trimmed = line.trim_start();
        if trimmed.starts_with('[') {
            let name = trimmed.trim_start_matches('[').trim_start();
            let end = name.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(name.len());
            let name = name.get(..end).unwrap_or_default();
            // A list inside a value begins with a bracket as well; then the section stays as it was.
            if SECTIONS_WITHOUT_SECRETS.contains(&name) {
                safe_section = true;
            } else if !name.is_empty() {
                safe_section = false;
            }
        }
        // Where no key is, a secret may go on that was begun on a line above.
        let shown = if line.contains('=') || safe_section || trimmed.starts_with(['#', '[']) {
            shown_part(line, safe_section)
        } else {
            0
        };
        let (shown, hidden) = line.split_at_checked(shown).unwrap_or(("", line));
        out.push_str(shown);
        mask_into(&mut out, hidden);
    }
    out
}

/// How many bytes of the line may be seen: all, or up to the first key whose value must not be.
fn shown_part(line: &str, safe_section: bool) -> usize {
    for (equals, _) in line.match_indices('=') {
        let before = line.get(..equals).unwrap_or_default().trim_end_matches([' ', '\t', '"', '\'']);
        let key = before.rsplit(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap_or_default();
        if is_secret_name(key) || !safe_section && !is_plain_name(key) {
            return equals + 1;
        }
    }
    line.len()
}

fn keys() -> impl Iterator<Item = &'static Key> {
    let sections = SECTIONS.iter().flat_map(|(_, keys, _)| *keys);
    sections.chain(KINDS.iter().flat_map(|(_, keys)| *keys))
}

fn is_secret_name(name: &str) -> bool {
    name == "key" || keys().any(|key| key.shape == Shape::Secret && key.name == name)
}

/// Tables are not plain: what is in them may be secret.
fn is_plain_name(name: &str) -> bool {
    let known = |key: &Key| key.name == name && !matches!(key.shape, Shape::Table(_) | Shape::Secret);
    PLAIN.contains(&name) || keys().any(known)
}

fn mask_into(out: &mut String, value: &str) {
    for c in value.chars() {
        if c.is_whitespace() || matches!(c, '"' | '\'' | '[' | ']' | '{' | '}' | ',') {
            out.push(c);
        } else {
            out.extend(std::iter::repeat_n('*', c.len_utf8()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn secrets_vanish_and_the_rest_stays() {
        let text = "url = \"https://early\"\n[[watch]]\npaths = [\"/etc\"]\npasword = \"p\"\n[[channel]]\nname = \"soc\"\n\
                    kind = \"discord\"\nulr = \"https://hook/abc\" \ntopic = \"open\"\nuser = 'me'\n# url = \"https://old\"\n\
                    to = [\n  \"a@b\",\n]\n[reputation]\nvirustotal = { enabled = true, key = \"abc\" }\n\
                    [reputation.virustotal]\nkey=\"abc\"\n";
        let masked = mask_secrets(text);
        assert_eq!(mask_secrets("name =url = \"https://abc\""), "name =url = \"***********\"");
        assert_eq!(masked.len(), text.len());
        for secret in ["early", "abc", "'me'", "old", "a@b"] {
            assert!(!masked.contains(secret), "{secret} in {masked}");
        }
        for plain in ["\"/etc\"", "\"p\"", "\"soc\"", "\"discord\"", "\"open\""] {
            assert!(masked.contains(plain), "{plain} not in {masked}");
        }
    }

    proptest! {
        #[test]
        fn places_stay(text: String) {
            let masked = mask_secrets(&text);
            prop_assert_eq!(masked.len(), text.len());
            prop_assert_eq!(masked.matches('\n').count(), text.matches('\n').count());
        }
    }
}
