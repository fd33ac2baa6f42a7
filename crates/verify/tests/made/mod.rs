//! A log of some epochs with leaves of every common kind, exported to memory.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use waxseal_ledger::leaf::{By, ChangeLeaf, Decision, LeafPath, LeafState, LeafText};
use waxseal_ledger::tiles::{Exporter, Put};
use waxseal_ledger::vkey::Name;
use waxseal_ledger::{EpochKey, Event, SigningKey, Stored, Tail, VerificationFile};
use waxseal_model::change::Seen;
use waxseal_model::{
    Actor, AttributeSet, Change, ChangeId, ChangeKind, DeviceNumber, Digests, FileState, FileType, RawPath,
    SetId, Severity, Source, Timestamp,
};

/// Files in memory.
pub type Files = BTreeMap<String, Vec<u8>>;

/// Writes files below a directory.
pub fn write(files: &Files, directory: &Path) {
    for (path, bytes) in files {
        let path = directory.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
}

/// A log that goes on.
pub struct Log {
    pub host: SigningKey,
    pub epoch: EpochKey,
    pub tail: Tail,
    pub leaves: Vec<Stored>,
    /// What was taken away when it began.
    pub file: VerificationFile,
}

fn time(index: u64) -> Timestamp {
    Timestamp::from_micros(1_767_225_600_000_000 + index as i64 * 1_500_000)
}

impl Log {
    pub fn begin() -> Log {
        let name = Name::for_host("alpha.example");
        let (host, epoch) =
            (SigningKey::generate(name.clone()).unwrap(), EpochKey::generate(&name, 0).unwrap());
        let (tail, begun) = Tail::begin(&host, &epoch, time(0)).unwrap();
        let note = tail.checkpoint(&host, &epoch).unwrap();
        let keys = (host.verifier_key().clone(), epoch.verifier_key().clone());
        let file = VerificationFile::new(keys.0.clone(), keys.1, vec![keys.0], &note).unwrap();
        Log { host, epoch, tail, leaves: vec![begun], file }
    }

    /// A log of this many epochs, each of this many leaves and an announcement.
    pub fn of(epochs: u64, each: u64) -> Log {
        let mut log = Log::begin();
        for number in 0..epochs {
            if number > 0 {
                log.turn();
            }
            log.grow(each);
        }
        log
    }

    pub fn grow(&mut self, leaves: u64) {
        for _ in 0..leaves {
            let index = self.tail.size();
            self.leaves.extend(self.tail.append(time(index), event(index)));
        }
    }

    pub fn turn(&mut self) {
        let next = EpochKey::generate(self.host.verifier_key().name(), self.epoch.number() + 1).unwrap();
        self.leaves.extend(self.tail.turn(&self.epoch, &next, time(self.tail.size())).unwrap());
        self.epoch = next;
    }

    pub fn checkpoint(&self) -> String {
        self.tail.checkpoint(&self.host, &self.epoch).unwrap()
    }

    pub fn export(&self) -> Files {
        let mut files = Files::default();
        self.export_to(&mut files);
        files
    }

    /// An export of a log of which these details were deleted.
    pub fn export_without(&self, is_gone: impl Fn(u64) -> bool) -> Files {
        let mut files = Files::default();
        let mut exporter = Exporter::new(&mut files);
        for leaf in &self.leaves {
            let bytes = Some(leaf.bytes.as_slice()).filter(|_| !is_gone(leaf.index));
            exporter.leaf(bytes, leaf.hash).unwrap();
        }
        exporter.finish(&self.checkpoint()).unwrap();
        files
    }

    pub fn export_to<P: Put<Error: std::fmt::Debug>>(&self, out: &mut P) {
        let mut exporter = Exporter::new(out);
        for leaf in &self.leaves {
            exporter.leaf(Some(&leaf.bytes), leaf.hash).unwrap();
        }
        exporter.finish(&self.checkpoint()).unwrap();
    }
}

fn event(index: u64) -> Event {
    let path = RawPath::new(format!("/srv/www/site-{}/assets/{index}.html", index % 7).into_bytes());
    match index % 8 {
        6 => Event::Resolved { id: ChangeId(index), path: LeafPath::new(&path) },
        7 => Event::Approved(Box::new(Decision {
            id: ChangeId(index),
            path: LeafPath::new(&path),
            state: Some(LeafState::new(&state(index))),
            by: By { user: LeafText::new("root"), login: Some(LeafText::new("ada")), origin: None },
            note: LeafText::new("planned"),
        })),
        _ => Event::Change(Box::new(ChangeLeaf::of(&change(path, index)))),
    }
}

fn state(size: u64) -> FileState {
    FileState {
        file_type: FileType::File,
        mode: 0o644,
        uid: 33,
        gid: 33,
        size,
        links: 1,
        inode: 1_000_000 + size,
        device: DeviceNumber { major: 259, minor: 2 },
        mount_root: false,
        mtime: Timestamp::new(1_767_225_600, 123_456_789),
        ctime: Timestamp::new(1_767_225_600, 123_456_789),
        btime: Some(Timestamp::new(1_767_220_000, 987_654_321)),
        flags: Some(0x80000),
        digests: Digests { sha256: Some([size as u8; 32]), ..Digests::default() },
        extra: None,
    }
}

fn change(path: RawPath, size: u64) -> Change {
    let seen = |size| Some(Seen { state: state(size), user: Some("www-data".into()), group: None });
    let actor =
        Actor { uid: Some(33), exe: Some(RawPath::new(*b"/usr/sbin/php-fpm")), ..Actor::unknown(812) };
    Change {
        id: ChangeId(size),
        set: SetId(size / 10),
        first: time(size),
        last: time(size),
        watch: "web root".into(),
        path,
        kind: ChangeKind::Modified,
        fields: AttributeSet::CONTENT,
        severity: Severity::High,
        source: Source::Event,
        count: 1,
        before: seen(size),
        after: seen(size + 1),
        from: None,
        actors: vec![actor],
    }
}
