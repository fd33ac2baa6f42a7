//! What is promised, as ratios of one contender to another.

/// A ratio of wall times that shall not be exceeded.
pub struct Goal {
    pub tree: &'static str,
    /// With an empty page cache, or with a full one.
    pub cold: bool,
    pub what: &'static str,
    pub beside: &'static str,
    pub at_most: f64,
}

const fn goal(
    tree: &'static str,
    cold: bool,
    what: &'static str,
    beside: &'static str,
    at_most: f64,
) -> Goal {
    Goal { tree, cold, what, beside, at_most }
}

const INIT: &str = "waxseal init";
const CHECK: &str = "waxseal check";
const QUICK: &str = "waxseal check --quick";
const SCAN: &str = "waxseal's scan alone";
const AIDE: &str = "aide --init";
const AIDE_CHECK: &str = "aide --check";
const HASHDEEP: &str = "hashdeep -c sha256 -r -j2";
const WALK: &str = "limit: walk + statx";
const SHA256: &str = "limit: walk + read + SHA-256 of one stream";

/// The promises on time.
pub const GOALS: &[Goal] = &[
    goal("usr", false, INIT, AIDE, 1.0 / 16.0),
    goal("usr", false, INIT, HASHDEEP, 1.0 / 8.0),
    goal("usr", false, INIT, SHA256, 0.80),
    goal("usr", false, QUICK, WALK, 1.10),
    goal("usr", false, QUICK, AIDE_CHECK, 1.0 / 300.0),
    goal("usr", false, CHECK, INIT, 1.05),
    goal("usr", false, INIT, SCAN, 1.02),
    goal("small", false, INIT, AIDE, 1.0 / 12.0),
    goal("small", false, INIT, HASHDEEP, 1.0 / 12.0),
    goal("small", false, CHECK, INIT, 1.05),
    goal("small", false, INIT, SCAN, 1.02),
    goal("small", true, INIT, AIDE, 1.0 / 10.0),
    goal("small", true, INIT, HASHDEEP, 1.0 / 6.0),
    goal("big", false, INIT, HASHDEEP, 1.0 / 7.0),
];

/// The promise on memory for up to 200,000 files, in MiB, and whom it binds.
pub const PEAK_MIB: f64 = 24.0;
pub const PEAK_BINDS: &[&str] = &[INIT, CHECK, QUICK];
