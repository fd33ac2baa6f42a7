//! How many findings a second are recorded, leaf and checkpoint included, each batch durably, and what one takes on disk.
//!
//! `cargo run --release -p waxseal-store --example append -- DIR [FINDINGS [BATCH]]`; DIR is made, and must not exist.
#![allow(clippy::print_stdout, reason = "a program for people")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a measurement that cannot go on ends"
)]

use std::path::Path;
use std::time::Instant;
use waxseal_ledger::{Name, SigningKey, directory_hash};
use waxseal_model::change::Seen;
use waxseal_model::record::Writer;
use waxseal_model::{
    Actor, Attribute, AttributeSet, ChangeKind, DeviceNumber, Digests, FileState, FileType, RawPath,
    Severity, Source, Timestamp,
};
use waxseal_store::{
    Builder, Commit, Found, HostKeys, NewBaseline, Place, RecordSink, Rules, StateDir, Store,
};

/// All attributes count, nobody wrote.
struct Plain;

impl Rules for Plain {
    fn differences(&self, _: &str, _: &Seen, _: &Seen) -> AttributeSet {
        AttributeSet::EMPTY
    }

    fn severity_of_move(&self, found: &Found) -> Severity {
        found.severity
    }

    fn actors(&self, _: &Found) -> Vec<Actor> {
        Vec::new()
    }

    fn severity_by(&self, found: &Found, _: &[Actor]) -> Severity {
        found.severity
    }
}

fn state(inode: u64, content: u8) -> Seen {
    let time = Timestamp::new(1_790_000_000, 123_456_789);
    let state = FileState {
        file_type: FileType::File,
        mode: 0o644,
        uid: 0,
        gid: 0,
        size: 4096,
        links: 1,
        inode,
        device: DeviceNumber { major: 8, minor: 1 },
        mount_root: false,
        mtime: time,
        ctime: time,
        btime: Some(time),
        flags: None,
        digests: Digests { sha256: Some([content; 32]), ..Digests::default() },
        extra: None,
    };
    Seen { state, user: Some("root".into()), group: Some("root".into()) }
}

fn found(number: u64) -> Found {
    Found {
        path: RawPath::new(format!("/usr/lib/python3/dist-packages/module/file-{number}.py").as_bytes()),
        watch: "usr".into(),
        kind: ChangeKind::Modified,
        fields: [Attribute::Content, Attribute::Mtime].into_iter().collect(),
        severity: Severity::Medium,
        source: Source::Event,
        before: Some(state(number, 1)),
        after: Some(state(number, 2)),
        from: None,
    }
}

fn store(at: &Path) -> Store {
    let home = at.parent().unwrap();
    let uid = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(home).unwrap());
    let dir = StateDir::create(at, uid).unwrap();
    let record = Writer::default().finish();
    let root = directory_hash(&record);
    let seal = SigningKey::generate(Name::new("waxseal/bench").unwrap()).unwrap();
    let keys = HostKeys::create(&dir, Name::new("waxseal/bench").unwrap(), seal.verifier_key()).unwrap();
    let builder = Builder::new(&dir).unwrap();
    builder.add(&root, &record).unwrap();
    let time = Timestamp::new(1_790_000_000, 0);
    let (seal, rules, who, note) = (String::new(), String::new(), String::new(), String::new());
    let baseline =
        NewBaseline { root, seal, rules, time, scan_start: time, who, note, entries: 0, files: 0, bytes: 0 };
    builder.finish(&baseline, &keys).unwrap()
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let at = arguments.next().expect("give a directory that does not exist");
    let mut number = |usual: u64| arguments.next().map_or(usual, |text| text.parse().expect("a number"));
    let (count, batch) = (number(200_000), number(4000));
    let store = store(Path::new(&at));
    let mut findings = store.findings().unwrap();
    let mut record = |numbers: std::ops::Range<u64>| {
        let began = Instant::now();
        numbers.map(found).for_each(|found| findings.add(&found).unwrap());
        let place = Place { path: RawPath::new(&b"/none"[..]), deep: false };
        let now = Timestamp::new(1_790_000_100, 0);
        let scope = &[place];
        let commit = Commit {
            cause: "measured",
            set: None,
            now,
            generation: 1,
            rules: &Plain,
            scope,
            kept: &[],
            looked_at: &|_| true,
        };
        findings.commit(&store, &commit, None).unwrap();
        began.elapsed()
    };
    let before = std::fs::metadata(store.dir().database()).unwrap().len();
    let mut all = std::time::Duration::ZERO;
    for first in (0..count).step_by(batch as usize) {
        all += record(first..count.min(first + batch));
    }
    let mut single: Vec<_> = (count..count + 100).map(|number| record(number..number + 1)).collect();
    single.sort();
    let rate = count as f64 / all.as_secs_f64();
    println!("{count} findings in batches of {batch}: {rate:.0} a second");
    println!("one alone: p50 {:?}, p99 {:?}", single[50], single[99]);
    let size = store.dir().database();
    drop((findings, store));
    let after = std::fs::metadata(size).unwrap().len();
    println!("on disk: {} bytes a finding", (after - before) / (count + 100));
}
