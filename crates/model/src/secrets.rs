//! Secrets in arguments: what looks like one by its name is masked before it is kept anywhere.
//!
//! In: arguments. Out: the same for people and programs, with `***` for each secret. A rule of thumb, not a proof: a
//! secret that nothing announces is not seen.

use crate::escape::lossy_text;

/// What stands for a secret.
pub const MASK: &str = "***";

/// Words that announce a secret, anywhere in a name.
const NAMES: [&str; 14] = [
    "password",
    "passwd",
    "passphrase",
    "passwort",
    "secret",
    "token",
    "apikey",
    "api-key",
    "api_key",
    "accesskey",
    "access-key",
    "access_key",
    "credential",
    "authorization",
];
/// Names that are secrets when they are the whole name.
const WHOLE: [&str; 5] = ["pass", "pwd", "pw", "auth", "key"];
/// Programs whose `-p` takes a password: as the rest of the word, or (true) also as the next one.
const DASH_P: [(&str, bool); 10] = [
    ("mysql", false),
    ("mysqldump", false),
    ("mysqladmin", false),
    ("mysqlimport", false),
    ("mariadb", false),
    ("mariadb-dump", false),
    ("mariadb-admin", false),
    ("sshpass", true),
    ("smbclient", false),
    ("mongosh", true),
];
/// Programs whose `-u` and `--user` take `NAME:PASSWORD`.
const DASH_U: [&str; 2] = ["curl", "wget"];

/// The arguments, the program's own name first, without their secrets.
pub fn mask(args: &[&[u8]]) -> Vec<String> {
    let mut masker = Masker::default();
    args.iter().map(|arg| masker.argument(&lossy_text(arg))).collect()
}

#[derive(Debug, Default)]
struct Masker {
    /// The next word is a secret.
    next: bool,
    /// The next word is a name and a secret.
    next_pair: bool,
    dash_p: Option<bool>,
    dash_u: bool,
}

impl Masker {
    /// One argument, which may be a script of several words.
    fn argument(&mut self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        let blank = |c: char| c.is_whitespace() || matches!(c, ';' | '|' | '&' | '(' | ')');
        loop {
            let at = rest.find(blank).unwrap_or(rest.len());
            let (word, after) = rest.split_at(at);
            if !word.is_empty() || text.is_empty() {
                out.push_str(&self.word(word));
            }
            let Some(separator) = after.chars().next() else { return out };
            if !separator.is_whitespace() {
                // Another command begins.
                *self = Masker::default();
            }
            out.push(separator);
            rest = &after[separator.len_utf8()..];
        }
    }

    fn word(&mut self, word: &str) -> String {
        let bare = word.trim_start_matches(['"', '\'']);
        if std::mem::take(&mut self.next) && !bare.starts_with('-') {
            // The scheme of an authorization is none.
            let scheme = ["bearer", "basic", "token", "digest"].contains(&bare.to_ascii_lowercase().as_str());
            self.next = scheme;
            return if scheme { word.into() } else { MASK.into() };
        }
        if std::mem::take(&mut self.next_pair) {
            return mask_pair(word);
        }
        let program = bare.rsplit('/').next().unwrap_or_default();
        if let Some((_, also_next)) = DASH_P.iter().find(|(name, _)| *name == program) {
            self.dash_p = Some(*also_next);
        }
        self.dash_u |= DASH_U.contains(&program);
        if let (Some(also_next), Some(secret)) = (self.dash_p, bare.strip_prefix("-p")) {
            if secret.is_empty() {
                self.next = also_next;
                return word.into();
            }
            if !is_sensitive(bare.split('=').next().unwrap_or_default()) && !bare.contains('=') {
                return format!("-p{MASK}");
            }
        }
        if self.dash_u && (bare == "-u" || bare == "--user") {
            self.next_pair = true;
            return word.into();
        }
        if self.dash_u
            && let Some(pair) = bare.strip_prefix("--user=")
        {
            return format!("--user={}", mask_pair(pair));
        }
        if let Some((name, _)) = word.split_once('=')
            && is_sensitive(name)
        {
            return format!("{name}={MASK}");
        }
        if let Some((name, value)) = word.split_once(':')
            && is_sensitive(name)
            && !value.starts_with("//")
        {
            self.next = value.is_empty();
            return if value.is_empty() { word.into() } else { format!("{name}:{MASK}") };
        }
        if bare.starts_with('-') && is_sensitive(bare) {
            self.next = true;
            return word.into();
        }
        mask_url(word)
    }
}

/// Whether a name announces a secret. A name of a file with one (`--password-file`) does not.
fn is_sensitive(name: &str) -> bool {
    let name = name.trim_start_matches(['-', '"', '\'']).to_ascii_lowercase();
    let last = name.rsplit(['.', '_', '-']).next().unwrap_or_default();
    if ["file", "path", "stdin", "fd", "prompt", "length"].contains(&last) || name.contains('/') {
        return false;
    }
    NAMES.iter().any(|word| name.contains(word))
        || WHOLE.contains(&name.as_str())
        || WHOLE.contains(&last) && last != "key"
}

/// `NAME:SECRET`.
fn mask_pair(text: &str) -> String {
    text.split_once(':').map_or_else(|| text.into(), |(name, _)| format!("{name}:{MASK}"))
}

/// The password in `SCHEME://NAME:PASSWORD@HOST`.
fn mask_url(word: &str) -> String {
    let Some((scheme, rest)) = word.split_once("://") else { return word.into() };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    match authority.rsplit_once('@') {
        Some((user, host)) if user.contains(':') => format!("{scheme}://{}@{host}{path}", mask_pair(user)),
        _ => word.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn masked(line: &[&str]) -> Vec<String> {
        mask(&line.iter().map(|arg| arg.as_bytes()).collect::<Vec<_>>())
    }

    #[test]
    fn secrets_are_masked_and_the_rest_is_kept() {
        for (line, wanted) in [
            (&["x", "--password=hunter2", "a"][..], &["x", "--password=***", "a"][..]),
            (&["x", "--password", "hunter2", "a"], &["x", "--password", "***", "a"]),
            (&["x", "--token=a=b"], &["x", "--token=***"]),
            (&["env", "PGPASSWORD=hunter2", "psql"], &["env", "PGPASSWORD=***", "psql"]),
            (&["env", "AWS_SECRET_ACCESS_KEY=x", "A=b"], &["env", "AWS_SECRET_ACCESS_KEY=***", "A=b"]),
            (&["/usr/bin/mysql", "-uroot", "-phunter2", "db"], &["/usr/bin/mysql", "-uroot", "-p***", "db"]),
            (&["mysql", "-p", "db"], &["mysql", "-p", "db"]),
            (&["sshpass", "-p", "hunter2", "ssh", "h"], &["sshpass", "-p", "***", "ssh", "h"]),
            (&["mkdir", "-p", "/a/b", "-pv"], &["mkdir", "-p", "/a/b", "-pv"]),
            (&["curl", "-u", "ada:hunter2", "https://h"], &["curl", "-u", "ada:***", "https://h"]),
            (&["curl", "--user=ada:hunter2"], &["curl", "--user=ada:***"]),
            (&["curl", "-H", "Authorization: Bearer abc"], &["curl", "-H", "Authorization: Bearer ***"]),
            (&["curl", "-H", "X-Api-Key:abc"], &["curl", "-H", "X-Api-Key:***"]),
            (&["git", "clone", "https://ada:hunter2@h/p?q"], &["git", "clone", "https://ada:***@h/p?q"]),
            (&["sh", "-c", "mysql -phunter2 db | grep -p x"], &["sh", "-c", "mysql -p*** db | grep -p x"]),
            (&["sh", "-c", "TOKEN=abc ./run; mkdir -pv a"], &["sh", "-c", "TOKEN=*** ./run; mkdir -pv a"]),
            (&["x", "--password-file=/etc/p", "--key=abc"], &["x", "--password-file=/etc/p", "--key=***"]),
            (&["x", "--pass", "hunter2", "--db-pass=y"], &["x", "--pass", "***", "--db-pass=***"]),
            (&["cp", "/etc/passwd", "/tmp/token:x"], &["cp", "/etc/passwd", "/tmp/token:x"]),
            (&["x", "", " a  b "], &["x", "", " a  b "]),
            (&["touch", "--reference=a", "b=c"], &["touch", "--reference=a", "b=c"]),
        ] {
            assert_eq!(masked(line), wanted, "{line:?}");
        }
    }

    proptest! {
        #[test]
        fn no_arguments_break_it(args in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..60), 0..6)) {
            let args: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
            prop_assert_eq!(mask(&args).len(), args.len());
        }

        #[test]
        fn an_announced_secret_is_never_shown(secret in "[a-z0-9]{6,20}x9", name in "--[a-z]{0,3}(password|token|secret)") {
            let joined = masked(&["x", &format!("{name}={secret}"), &name, &secret]).join(" ");
            prop_assert!(!joined.contains(&secret), "{}", joined);
        }
    }
}
