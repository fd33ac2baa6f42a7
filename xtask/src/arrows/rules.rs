//! The rules themselves: section 2 of the architecture page as tables.

/// A crate of ours: its layer, and which of ours it may use.
pub struct Room {
    /// The name without `waxseal-`.
    pub name: &'static str,
    pub layer: u8,
    pub may_use: &'static [&'static str],
}

const fn room(name: &'static str, layer: u8, may_use: &'static [&'static str]) -> Room {
    Room { name, layer, may_use }
}

/// Every crate under `crates/`. Test code may use whatever lies in a lower layer.
pub const ROOMS: &[Room] = &[
    room("model", 0, &[]),
    room("os", 1, &["model"]),
    room("hash", 1, &[]),
    room("diff", 1, &[]),
    room("policy", 1, &["model"]),
    room("ledger", 1, &["model"]),
    room("observe", 2, &["model", "os", "hash"]),
    room("explain", 2, &["model", "os"]),
    room("store", 2, &["model", "ledger"]),
    room("engine", 3, &["model", "policy", "ledger", "observe", "explain", "store"]),
    room("alert", 3, &["model", "os", "ledger", "store"]),
    room("reputation", 3, &["model", "store"]),
    room("web", 4, &["model", "store"]),
    room("fleet", 4, &["model", "store", "ledger"]),
    room("verify", 5, &["model", "ledger"]),
    room(
        "waxseal",
        5,
        &[
            "model",
            "os",
            "hash",
            "diff",
            "policy",
            "ledger",
            "observe",
            "explain",
            "store",
            "engine",
            "alert",
            "reputation",
            "web",
            "fleet",
        ],
    ),
];

/// Packages that are not shipped: the tables do not bind them.
pub const WORKSHOP: &[&str] = &["xtask", "scenarios"];

/// Libraries that have a home, and the only rooms that may name them outside their tests.
pub const HOMES: &[(&str, &[&str])] = &[
    ("rustix", &["os"]),
    ("libc", &["os"]),
    ("windows-sys", &["os"]),
    ("windows-service", &["os"]),
    ("aya", &["os"]),
    ("landlock", &["os"]),
    ("notify", &["os"]),
    ("sha2", &["hash", "ledger"]),
    ("blake3", &["hash"]),
    ("toml", &["policy"]),
    ("globset", &["policy"]),
    ("regex", &["policy"]),
    ("ed25519-dalek", &["ledger"]),
    ("rusqlite", &["store"]),
    ("zstd", &["store"]),
    ("similar", &["diff"]),
    ("encoding_rs", &["diff"]),
    ("ffuzzy", &["diff"]),
    ("flate2", &["observe"]),
    ("bzip2", &["observe"]),
    ("ruzstd", &["observe"]),
    ("lzma-rust2", &["observe"]),
    ("md-5", &["explain"]),
    ("lettre", &["alert"]),
    ("ureq", &["alert", "reputation"]),
    ("rustls", &["alert", "reputation", "web", "fleet"]),
    ("axum", &["web"]),
    ("tower-http", &["web"]),
    ("askama", &["web"]),
    ("argon2", &["ledger", "web"]),
    ("tokio", &["web", "fleet", "waxseal"]),
    ("tokio-postgres", &["fleet"]),
    ("async-nats", &["fleet"]),
    ("clap", &["waxseal"]),
    ("clap_complete", &["waxseal"]),
    ("indicatif", &["waxseal"]),
    ("tracing-subscriber", &["waxseal"]),
    ("anyhow", &["waxseal"]),
];

/// Where files are opened by `std::fs`: everywhere else names are hostile and go through `os`. `verify` reads an export on
/// the auditor's machine, and is to need as little of ours as it can.
pub const FILES: &[&str] = &["os", "store", "verify"];

/// Where `unsafe` may stand: system calls, and processor instructions.
pub const UNSAFE: &[&str] = &["os", "hash"];

/// How many packages `Cargo.lock` may name, ours included, without those that are only there because of `notify`.
/// Raising it is a decision: say in the commit what the new ones are for.
pub const PACKAGE_CEILING: usize = 199;

/// The packages that `Cargo.lock` names because `notify`, which watches on other systems than Linux, may use them on
/// some system or with some feature, and that nothing else needs. None of them is built on Linux, and most of them
/// nowhere; see decision 18.
pub const OF_NOTIFY: &[&str] = &[
    "inotify",
    "inotify-sys",
    "kqueue",
    "kqueue-sys",
    "mio",
    "notify",
    "notify-types",
    "objc2-core-foundation",
    "objc2-core-services",
    "same-file",
    "walkdir",
    "wasi",
    "winapi-util",
    "xxhash-rust",
];

/// Packages of which two versions are accepted, and why.
pub const DOUBLES: &[(&str, &str)] = &[
    ("getrandom", "ring 0.17 is still on version 0.2, and uses it for one call"),
    ("syn", "curve25519-dalek-derive is still on version 2; both run only while building"),
    ("windows-sys", "ring 0.17 is still on version 0.52, on Windows"),
];
