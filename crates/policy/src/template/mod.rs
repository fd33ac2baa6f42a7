//! The commented config that `init` writes.
//!
//! In: what the caller found out about the system. Out: text that [`crate::parse`] takes. Lines of prose begin with
//! `# `, keys that are commented out with `#` alone, so that removing that one character puts them in force.

mod system;

use crate::paths::escape_literal;
use crate::schema::{SECTIONS, Shape};
use crate::show::{quote, quote_list};
use std::fmt::Write;
use system::Suggested;
use waxseal_model::RawPath;

pub use system::candidates;

/// What the caller found out about the system.
#[derive(Debug, Clone, Default)]
pub struct SystemFacts {
    /// `ID` and `ID_LIKE` of os-release, blanks between the words: `"ubuntu debian"`.
    pub distribution: Option<String>,
    /// Those of [`candidates`] that are directories, and not links to one.
    pub existing: Vec<String>,
    /// This program, its config, and the unit that starts it: what there is of them.
    pub own: Vec<RawPath>,
    /// The paths that the user gave: they become the only watch.
    pub given_paths: Vec<RawPath>,
}

/// Why no config can be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// TOML is text.
    #[error(
        "{0}: this path is not valid UTF-8, so it cannot be written into a config; give a directory above it"
    )]
    NotUtf8(RawPath),
    /// The caller makes paths absolute.
    #[error("{0}: this path is not absolute")]
    NotAbsolute(RawPath),
}

/// A config for this system, or for the given paths.
///
/// # Errors
/// When a given path cannot be written into a config.
pub fn template(facts: &SystemFacts) -> Result<String, TemplateError> {
    let watches = if facts.given_paths.is_empty() { system::watches(facts) } else { vec![given(facts)?] };
    let mut out = String::from(HEAD);
    for (index, watch) in watches.iter().enumerate() {
        write_watch(&mut out, watch, index == 0);
    }
    out.push_str(SCAN);
    out.push_str(ACTORS);
    out.push_str(LEDGER);
    write_sections(&mut out);
    Ok(out)
}

/// The watch for the paths that the user gave.
fn given(facts: &SystemFacts) -> Result<Suggested, TemplateError> {
    let mut paths: Vec<String> = Vec::new();
    for path in &facts.given_paths {
        let normal =
            RawPath::normalized(path.as_bytes()).map_err(|_| TemplateError::NotAbsolute(path.clone()))?;
        let text = escape_literal(&normal).ok_or_else(|| TemplateError::NotUtf8(path.clone()))?;
        if !paths.contains(&text) {
            paths.push(text);
        }
    }
    Ok(Suggested { paths, ..Suggested::default() })
}

fn write_watch(out: &mut String, watch: &Suggested, explained: bool) {
    out.push('\n');
    prose(out, watch.about);
    out.push_str("[[watch]]\n");
    let explain = |out: &mut String, text: &str| {
        if explained {
            out.push('\n');
            prose(out, text);
        }
    };
    match watch.name {
        "" => {
            explain(out, "What reports call this watch. Without it: its first path.");
            if explained {
                out.push_str("#name = \"my files\"\n");
            }
        }
        name => {
            explain(out, "What reports call this watch.");
            let _ = writeln!(out, "name = {}", quote(name));
        }
    }
    explain(out, PATHS);
    let _ = writeln!(out, "paths = {}", quote_list(&watch.paths));
    explain(out, EXCLUDE);
    write_excludes(out, watch, explained);
    if watch.include.is_empty() {
        explain(out, INCLUDE);
        commented(out, explained, "include = [\"*.conf\"]");
    } else {
        let _ = writeln!(out, "include = {}", quote_list(watch.include));
    }
    explain(out, ATTRIBUTES);
    commented(out, explained, "attributes = \"standard\"");
    explain(out, SEVERITY);
    match watch.severity {
        "" => commented(out, explained, "severity = \"medium\""),
        severity => {
            let _ = writeln!(out, "severity = {}", quote(severity));
        }
    }
    explain(out, CHANGE);
    commented(out, explained, "change = \"any\"");
    explain(out, KEEP);
    if watch.keep {
        commented(out, explained, "keep = { content = true, max_file = \"1 MiB\" }");
    } else {
        out.push_str("keep = { content = false }\n");
    }
    for (text, key) in [
        (RESTORE, "restore = \"manual\""),
        (RECURSION, "recursion = \"unlimited\""),
        (CROSS, "cross_filesystems = false"),
    ] {
        explain(out, text);
        commented(out, explained, key);
    }
    explain(out, OPTIONAL);
    if watch.optional {
        out.push_str("optional = true\n");
    } else {
        commented(out, explained, "optional = false");
    }
}

/// One line a glob, each with its reason.
fn write_excludes(out: &mut String, watch: &Suggested, explained: bool) {
    if watch.exclude.is_empty() {
        commented(out, explained, "exclude = [\"*.log\", \"**/cache/**\"]");
        return;
    }
    out.push_str("exclude = [\n");
    for (glob, why) in watch.exclude {
        let _ = writeln!(out, "    {}, # {why}", quote(glob));
    }
    out.push_str("]\n");
}

/// A key that shows its default, in the watch where all keys are explained.
fn commented(out: &mut String, explained: bool, text: &str) {
    if explained {
        let _ = writeln!(out, "#{text}");
    }
}

fn prose(out: &mut String, text: &str) {
    for line in text.lines() {
        let _ = writeln!(out, "{}", format!("# {line}").trim_end());
    }
}

/// The sections that later versions act on, all commented out.
fn write_sections(out: &mut String) {
    out.push_str(LATER);
    for (name, keys, about) in SECTIONS {
        out.push('\n');
        prose(out, about);
        let _ = writeln!(out, "#[{name}]");
        for key in keys {
            prose(out, key.doc);
            // Tables are shown on one line, which is as good a form.
            let value = if matches!(key.shape, Shape::Secret) { "\"…\"" } else { key.example };
            let _ = writeln!(out, "#{} = {value}", key.name);
        }
        if name == "alerts" {
            out.push_str(CHANNEL);
        }
    }
}

const HEAD: &str = "\
# Waxseal: what is sealed and watched on this machine.
#
# Lines that begin with # are comments. A key such as `#severity = \"medium\"` shows its default; remove the # to
# change it. `waxseal config check` says what is wrong with this file, `waxseal config show` shows what is in
# force.
";

const PATHS: &str = "\
What is watched, with everything below it. Absolute; *, ?, [a-z] and {a,b} are allowed within one part, such
as \"/home/*/.ssh\". Where two watches overlap, the one with the deeper path decides.";

const EXCLUDE: &str = "\
What is left out, as in a .gitignore: relative to each path, \"*.log\" anywhere below it, \"/mtab\" only directly
in it, \"cache/\" only directories with all that is in them, \"!keep.log\" takes one back in. The last match decides.
What is left out is not protected: each line is a place where a change goes unseen.";

const INCLUDE: &str = "Where given, only the files that one of these matches; exclude still wins.";

const ATTRIBUTES: &str = "\
What counts as a change: content (type, content, size, target, rdev), security (content, and mode, owner, group,
acl, caps, xattrs, flags), standard (security and mtime), all; or a list, such as [\"content\", \"mode\"].";

const SEVERITY: &str = "How much a change here matters: info, low, medium, high, critical.";

const CHANGE: &str = "\
any: every change is reported. append-only: files may grow, but what was in them must stay, as in logs.
additions-allowed: new files are only noted, but the ones that are known must stay as they are.";

const KEEP: &str = "\
Whether approved contents are kept, so that a change can be shown line by line and undone, and up to which size
of a file. The file must still hold what was sealed when it is read for this; secrets are kept, and never shown.";

const RESTORE: &str = "\
Who puts the approved version back: manual (`waxseal restore`), or auto: the monitor, at once; what was added is
removed then.";

const RECURSION: &str = "How deep: 0 the path itself, 1 also what is directly in it, and so on.";

const CROSS: &str = "Whether to go on into other filesystems that are mounted below.";

const OPTIONAL: &str =
    "Whether the paths may be absent. Otherwise a check says that it could not look everywhere.";

const SCAN: &str = "
# Beside the live watch, everything is looked at again from time to time.
[scan]

# How often to look at what times and sizes say has moved.
#quick_every = \"15m\"

# How often to read every byte again. Times and sizes can be forged, contents cannot.
#full_every = \"24h\"

# How much of one processor these scans may use.
#cpu_budget = \"25%\"

# How many files are read at a time: \"auto\", or 1 to 64.
#threads = \"auto\"

# How contents are hashed. sha256 is always among them; blake3 and sha512 come on top.
#hashes = [\"sha256\"]

# A file with more than this in holes is reported and not read: a few bytes on disk can claim to be terabytes.
#max_sparse = \"32 GiB\"

# How long a network or FUSE filesystem may take for one answer. What does not answer is reported and left.
#deadline = \"30s\"
";

const ACTORS: &str = "
# How it is known who makes changes. The kernel is asked in the best way that it allows.
[actors]

# Whether the audit system may be given rules of our own, and switched on if it is off, to tell which programs run; only
# where nothing better is allowed. Its log then has a line for each of them.
#audit_rules = false
";

const LEDGER: &str = "
# The log of everything that was seen and decided.
[ledger]

# How often it says that the monitor is alive, so that a silence shows; 0 for never.
#heartbeat = \"15m\"

# How old the details of what is over may become, at least 7 days, and how large the database. Then the oldest are
# deleted, and the log says which; their hashes stay, so that everything can be proven as before.
#detail_age = \"1095d\"
#detail_size = \"4 GiB\"

# How often at most each of the places below gets the log's newest checkpoint; besides at the start and the end of the
# monitor. Whoever keeps a checkpoint can prove later that nothing before it was rewritten: they should go where nobody
# who takes this machine can change them.
#publish_every = \"1m\"

# A file for each checkpoint in a directory: a removable medium, a share that can only be added to.
#[[ledger.publish]]
#name = \"medium\"
#kind = \"directory\"
#path = \"/media/anchor/waxseal\"

# A program that gets each checkpoint on its standard input.
#[[ledger.publish]]
#name = \"command\"
#kind = \"command\"
#argv = [\"/usr/local/bin/keep-checkpoint\"]
#timeout = \"30s\"

# A C2SP witness, which signs that it has only seen the log grow. Its keeper needs the log's key: the line `host`
# of the verification file that `waxseal init` names.
#[[ledger.publish]]
#name = \"witness\"
#kind = \"witness\"
#url = \"https://witness.example\"
#key = \"witness.example/w1+20324abe+BCmsuuFBvMrwsi4alNNNC8c2HlJtC/4SyJeUvJMilm3X\"
";

const LATER: &str = "
# What follows is checked by this version; `waxseal config check` says which of it is not acted on yet.

# How much the kept contents of all watches may take up.
#[evidence]
#budget = \"1 GiB\"
";

const CHANNEL: &str = "
# Whom to tell, and how: discord, slack, teams, telegram, email, ntfy, gotify, matrix, pushover, twilio, pagerduty,
# webhook, syslog, journald, command. Keep secrets out of this file: every secret key has a form that ends in
# _file (a file that holds it) and one in _env (an environment variable).
#[[channel]]
#name = \"ops\"
#kind = \"discord\"
#url_file = \"/etc/waxseal/discord-url\"

#[[channel]]
#name = \"mail\"
#kind = \"email\"
#host = \"smtp.example.org\"
#port = 587
#tls = \"starttls\"
#username = \"alerts\"
#password_file = \"/etc/waxseal/smtp-password\"
#from = \"waxseal@example.org\"
#to = [\"ops@example.org\"]

# Which changes go to whom. Without `watches`, those of every watch.
#[[route]]
#channels = [\"ops\"]
#min_severity = \"medium\"
#watches = []
";

#[cfg(test)]
mod tests;
