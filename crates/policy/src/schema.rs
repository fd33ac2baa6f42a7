//! The shape of the sections that later versions act on, as tables: one row says a key's name, what may stand
//! there, its default and what it is for. Reading, showing and the template all go by these rows.

/// What may stand at a key.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Shape {
    Flag,
    /// A whole number within these bounds.
    Integer(i64, i64),
    /// One line.
    Text,
    /// One of these.
    OneOf(&'static [&'static str]),
    /// A list of lines.
    Texts,
    /// A list of some of these.
    SomeOf(&'static [&'static str]),
    /// A program with its arguments, which may hold any character.
    Command,
    Duration,
    Size,
    /// One window or a list of them.
    Windows,
    /// An absolute path.
    Path,
    /// A list of absolute paths.
    Paths,
    /// An address of http or https, without a password in it.
    Url,
    /// Where a syslog receiver listens.
    SyslogAddress,
    /// Host and port to listen on.
    Listen,
    /// A key `S`, or `S_file`, or `S_env`.
    Secret,
    /// A table of its own.
    Table(&'static [Key]),
}

/// One row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Key {
    pub name: &'static str,
    pub shape: Shape,
    /// As TOML; empty when there is none.
    pub default: &'static str,
    /// As TOML: what the template and error messages show.
    pub example: &'static str,
    /// For the template.
    pub doc: &'static str,
}

const fn key(name: &'static str, shape: Shape, default: &'static str, doc: &'static str) -> Key {
    Key { name, shape, default, example: default, doc }
}

const fn open(name: &'static str, shape: Shape, example: &'static str, doc: &'static str) -> Key {
    Key { name, shape, default: "", example, doc }
}

use Shape::*;

/// The sections, in the order in which they are written, that are [`crate::Settings`].
pub(crate) const SECTIONS: [(&str, &[Key], &str); 6] = [
    ("alerts", ALERTS, "When people are told."),
    ("log", LOG, "An event log in JSON lines for other programs, besides the ledger."),
    ("explain", EXPLAIN, "What explains a change, so that it stays quiet."),
    (
        "reputation",
        REPUTATION,
        "What others know about new or changed programs. Only hashes leave the machine.",
    ),
    ("dashboard", DASHBOARD, "The page that `waxseal serve` shows."),
    ("fleet", FLEET, "Where this machine reports to, if it is one of many."),
];

/// All sections by name, in the order of the contract.
pub(crate) const SECTION_NAMES: [&str; 13] = [
    "watch",
    "scan",
    "actors",
    "evidence",
    "ledger",
    "alerts",
    "channel",
    "route",
    "log",
    "explain",
    "reputation",
    "dashboard",
    "fleet",
];

/// What this version checks but does not act on; shorten it with every feature that arrives.
pub(crate) const UNUSED: &[&str] =
    &["alerts", "channel", "route", "log", "explain", "reputation", "dashboard", "fleet"];

/// The kinds of `[[ledger.publish]]` with the keys that each takes besides `name`, `kind` and `timeout`.
pub(crate) const PUBLISH_KINDS: [(&str, &[Key]); 3] = [
    (
        "directory",
        &[open("path", Path, "\"/media/anchor/waxseal\"", "A directory that exists on the medium.")],
    ),
    (
        "command",
        &[open("argv", Command, "[\"/usr/local/bin/keep\", \"--now\"]", "The program and its arguments.")],
    ),
    (
        "witness",
        &[
            open("url", Url, "\"https://witness.example\"", "Its submission prefix."),
            open(
                "key",
                Text,
                "\"witness.example/w1+20324abe+BCmsuuFBvMrwsi4alNNNC8c2HlJtC/4SyJeUvJMilm3X\"",
                "Its verifier key.",
            ),
        ],
    ),
];

const ALERTS: &[Key] = &[
    key("settle", Duration, "\"5s\"", "How long to wait after the first change of a set for the rest of it."),
    key(
        "grouping",
        OneOf(&["set", "change"]),
        "\"set\"",
        "One message for a change set, or one for every change.",
    ),
    key(
        "digest",
        OneOf(&["off", "daily", "weekly"]),
        "\"off\"",
        "Collect what is below high into one message.",
    ),
    key("quiet_hours", Windows, "[]", "Times when only critical changes are told, such as \"22:00-07:00\"."),
    open("repeat", Duration, "\"1h\"", "Tell again until somebody acknowledges it."),
];

const LOG: &[Key] = &[
    open(
        "file",
        Path,
        "\"/var/log/waxseal/events.jsonl\"",
        "Where it is written. Without it there is no event log.",
    ),
    key("format", OneOf(&["waxseal", "ecs", "ocsf"]), "\"waxseal\"", "The schema of the lines."),
    key(
        "rotate",
        Table(ROTATE),
        "{ size = \"64 MiB\", every = \"1d\", keep = 7 }",
        "When a new file is begun.",
    ),
];

const ROTATE: &[Key] = &[
    key("size", Size, "\"64 MiB\"", "At this size."),
    key("every", Duration, "\"1d\"", "At this age."),
    key("keep", Integer(0, 10_000), "7", "How many old files stay."),
];

const EXPLAIN: &[Key] = &[
    key(
        "packages",
        SomeOf(&["dpkg", "rpm", "apk", "pacman"]),
        "[\"dpkg\", \"rpm\", \"apk\", \"pacman\"]",
        "The package managers whose transactions explain changes, where they are installed.",
    ),
    key("windows", Windows, "[]", "Maintenance windows that come back, such as \"Sun 02:00-04:00\"."),
];

const REPUTATION: &[Key] = &[
    key("virustotal", Table(VIRUSTOTAL), "{ enabled = false }", "VirusTotal; needs a key."),
    key("hashlookup", Table(HASHLOOKUP), "{ enabled = false }", "CIRCL hashlookup; needs no key."),
    key("malwarebazaar", Table(MALWAREBAZAAR), "{ enabled = false }", "MalwareBazaar; needs a key."),
    key(
        "hash_sets",
        Table(HASH_SETS),
        "{ good = [], bad = [] }",
        "Files with hashes known to be good or bad.",
    ),
    key("yara", Table(YARA), "{ rules = [] }", "YARA rules that run over what changed."),
];

const VIRUSTOTAL: &[Key] = &[
    key("enabled", Flag, "false", "Whether it is asked."),
    open("key", Secret, "\"…\"", "The API key."),
    key("url", Url, "\"https://www.virustotal.com\"", "Its base address."),
];

const HASHLOOKUP: &[Key] = &[
    key("enabled", Flag, "false", "Whether it is asked."),
    key("url", Url, "\"https://hashlookup.circl.lu\"", "Its base address."),
];

const MALWAREBAZAAR: &[Key] = &[
    key("enabled", Flag, "false", "Whether it is asked."),
    open("key", Secret, "\"…\"", "The Auth-Key."),
    key("url", Url, "\"https://mb-api.abuse.ch\"", "Its base address."),
];

const HASH_SETS: &[Key] = &[
    key("good", Paths, "[]", "Files with a hash a line: known to be good."),
    key("bad", Paths, "[]", "Files with a hash a line: known to be bad."),
];

const YARA: &[Key] = &[
    key("rules", Paths, "[]", "Files with rules."),
    key("max_file", Size, "\"32 MiB\"", "Larger files are not looked at."),
    key("timeout", Duration, "\"10s\"", "How long one file may take."),
];

const DASHBOARD: &[Key] = &[key("listen", Listen, "\"127.0.0.1:8787\"", "Where it listens.")];

const FLEET: &[Key] = &[
    open("server", Url, "\"https://gateway.example.org:8443\"", "The gateway. Without it there is no fleet."),
    open("ca_file", Path, "\"/etc/waxseal/fleet-ca.pem\"", "Whom to trust to be the gateway."),
    open("cert_file", Path, "\"/etc/waxseal/agent.pem\"", "This machine's certificate."),
    open("key_file", Path, "\"/etc/waxseal/agent.key\"", "Its key."),
];

/// The kinds of channel with the keys that each takes besides `name` and `kind`.
pub(crate) const KINDS: [(&str, &[Key]); 15] = [
    ("discord", &[SECRET_URL, CA_FILE, RATE]),
    ("slack", &[SECRET_URL, CA_FILE, RATE]),
    ("teams", &[SECRET_URL, CA_FILE, RATE]),
    (
        "telegram",
        &[
            open("token", Secret, "\"…\"", "The bot's token."),
            open("chat_id", Text, "\"-100123\"", "The chat to write to."),
            key("url", Url, "\"https://api.telegram.org\"", ""),
            CA_FILE,
            RATE,
        ],
    ),
    (
        "email",
        &[
            open("host", Text, "\"smtp.example.org\"", "The mail server."),
            key("port", Integer(1, 65_535), "587", "587 for starttls, 465 for tls."),
            key("tls", OneOf(&["starttls", "tls", "none"]), "\"starttls\"", "none only on loopback."),
            open("username", Text, "\"alerts\"", ""),
            open("password", Secret, "\"…\"", ""),
            open("from", Text, "\"waxseal@example.org\"", ""),
            open("to", Texts, "[\"ops@example.org\"]", ""),
            CA_FILE,
            RATE,
        ],
    ),
    (
        "ntfy",
        &[
            open("topic", Text, "\"my-alerts\"", ""),
            open("token", Secret, "\"…\"", ""),
            key("url", Url, "\"https://ntfy.sh\"", ""),
            CA_FILE,
            RATE,
        ],
    ),
    ("gotify", &[BASE_URL, open("token", Secret, "\"…\"", ""), CA_FILE, RATE]),
    (
        "matrix",
        &[
            BASE_URL,
            open("room", Text, "\"!abc:example.org\"", ""),
            open("token", Secret, "\"…\"", ""),
            CA_FILE,
            RATE,
        ],
    ),
    (
        "pushover",
        &[
            open("token", Secret, "\"…\"", ""),
            open("user", Secret, "\"…\"", ""),
            key("url", Url, "\"https://api.pushover.net\"", ""),
            CA_FILE,
            RATE,
        ],
    ),
    (
        "twilio",
        &[
            open("account", Secret, "\"…\"", ""),
            open("token", Secret, "\"…\"", ""),
            open("from", Text, "\"+15550100\"", ""),
            open("to", Texts, "[\"+15550101\"]", ""),
            key("url", Url, "\"https://api.twilio.com\"", ""),
            CA_FILE,
            RATE,
        ],
    ),
    (
        "pagerduty",
        &[
            open("routing_key", Secret, "\"…\"", ""),
            key("url", Url, "\"https://events.pagerduty.com\"", ""),
            CA_FILE,
            RATE,
        ],
    ),
    // The address of a webhook often is its own password.
    ("webhook", &[SECRET_URL, open("secret", Secret, "\"whsec_…\"", ""), CA_FILE, RATE]),
    ("syslog", &[open("address", SyslogAddress, "\"tls://logs.example.org:6514\"", ""), CA_FILE]),
    ("journald", &[]),
    ("command", &[open("argv", Command, "[\"/usr/local/bin/tell\", \"--now\"]", ""), RATE]),
];

const SECRET_URL: Key = open("url", Secret, "\"https://…\"", "The address that the service gave you.");
const BASE_URL: Key = open("url", Url, "\"https://push.example.org\"", "The server's base address.");
const CA_FILE: Key = open("ca_file", Path, "\"/etc/ssl/our-ca.pem\"", "A certificate authority of your own.");
const RATE: Key =
    key("per_minute", Integer(1, 6000), "20", "More messages than this become one with a count.");

/// The names of all kinds.
pub(crate) fn kind_names() -> Vec<&'static str> {
    KINDS.iter().map(|(name, _)| *name).collect()
}
