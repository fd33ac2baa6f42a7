//! What the tests of this crate stand on: a state directory of their own, states, and disks without room.

use crate::{Builder, Content, ContentWriter, HostKeys, NewBaseline, RecordSink, StateDir, Store};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;
use waxseal_ledger::tree::directory_hash;
use waxseal_ledger::{Name, SigningKey};
use waxseal_model::record::Writer;
use waxseal_model::{DeviceNumber, Digest, Digests, FileState, FileType, Timestamp};

/// The user who runs the tests.
pub(crate) fn uid(at: &Path) -> u32 {
    std::fs::metadata(at).unwrap().uid()
}

/// An empty state directory below `home`.
pub(crate) fn state_below(home: &Path) -> StateDir {
    StateDir::create(&home.join("state"), uid(home)).unwrap()
}

/// A regular file whose content is told by one byte.
pub(crate) fn file(inode: u64, content: u8) -> FileState {
    FileState {
        file_type: FileType::File,
        mode: 0o644,
        uid: 0,
        gid: 0,
        size: 3,
        links: 1,
        inode,
        device: DeviceNumber { major: 8, minor: 1 },
        mount_root: false,
        mtime: Timestamp::new(10, 1),
        ctime: Timestamp::new(10, 1),
        btime: Some(Timestamp::new(9, 9)),
        flags: None,
        digests: Digests { sha256: Some([content; 32]), ..Digests::default() },
        extra: None,
    }
}

/// A directory record of some files, with its hash.
pub(crate) fn record(names: &[&str]) -> (Digest, Vec<u8>) {
    let mut writer = Writer::default();
    names.iter().zip(1..).for_each(|(name, inode)| writer.push(name.as_bytes(), &file(inode, 1), None));
    let record = writer.finish();
    (directory_hash(&record), record)
}

/// What is stored of a baseline whose roots are in this record.
pub(crate) fn baseline(root: Digest) -> NewBaseline {
    NewBaseline {
        root,
        seal: "a note".into(),
        rules: "rules".into(),
        time: Timestamp::new(100, 0),
        scan_start: Timestamp::new(99, 0),
        who: "root".into(),
        note: "first baseline".into(),
        entries: 2,
        files: 2,
        bytes: 6,
    }
}

/// A content that is to be kept.
pub(crate) fn content(bytes: &[u8]) -> Content {
    let mut writer = ContentWriter::default();
    writer.write(bytes).unwrap();
    writer.finish().unwrap()
}

/// Bytes that cannot be compressed; always the same.
pub(crate) fn noise(len: usize) -> Vec<u8> {
    let mut dice = fastrand::Rng::with_seed(7);
    std::iter::repeat_with(|| dice.u8(..)).take(len).collect()
}

/// Keys of a log in this state directory.
pub(crate) fn keys(dir: &StateDir) -> HostKeys {
    let seal = SigningKey::generate(Name::new("waxseal/test").unwrap()).unwrap();
    HostKeys::create(dir, Name::new("waxseal/test").unwrap(), seal.verifier_key()).unwrap()
}

/// A store with one baseline of the files `/a` and `/b`.
pub(crate) fn store_in(dir: &StateDir) -> Store {
    let builder = Builder::new(dir).unwrap();
    let (root, record) = record(&["/a", "/b"]);
    builder.add(&root, &record).unwrap();
    builder.finish(&baseline(root), &keys(dir)).unwrap()
}

/// A state directory and a store, removed with the first value.
pub(crate) fn store() -> (TempDir, Store) {
    let home = TempDir::new().unwrap();
    let store = store_in(&state_below(home.path()));
    (home, store)
}

/// A filesystem in memory of a given size, mounted until it is dropped.
pub(crate) struct TinyDisk {
    root: PathBuf,
    _home: TempDir,
}

impl TinyDisk {
    /// `size` as in mount's manual. `None` where the tests may not mount: the test is then skipped, which is said.
    pub(crate) fn of(size: &str) -> Option<TinyDisk> {
        let home = TempDir::new().unwrap();
        let root = home.path().join("disk");
        std::fs::create_dir(&root).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size},mode=0700"), "tmpfs"])
            .arg(&root)
            .output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(TinyDisk { root, _home: home });
        }
        skip("a small filesystem cannot be mounted here");
        None
    }

    pub(crate) fn path(&self) -> &Path {
        &self.root
    }

    /// Takes all the room that is left.
    pub(crate) fn fill(&self) -> Filler {
        let path = self.root.join("filler");
        let mut file = std::fs::File::create(&path).unwrap();
        while file.write_all(&[0; 4096]).is_ok() {}
        Filler(file, path)
    }
}

/// What takes all the room of a filesystem.
pub(crate) struct Filler(std::fs::File, PathBuf);

impl Filler {
    /// Leaves room for so many bytes.
    pub(crate) fn leave(&self, bytes: u32) {
        let length = self.0.metadata().unwrap().len();
        self.0.set_len(length.saturating_sub(bytes.into())).unwrap();
    }

    /// Gives the room back, at once. Removing the file alone would not: a process that another test is just
    /// starting holds every open file of this one until it runs its own program.
    pub(crate) fn remove(self) {
        self.0.set_len(0).unwrap();
        std::fs::remove_file(self.1).unwrap();
    }
}

impl Drop for TinyDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.root).output();
    }
}

/// Names the running test and why it cannot run here: to its output, and to the file that `cargo xtask test` reads.
pub(crate) fn skip(why: &str) {
    let line = format!("store::{}: {why}", std::thread::current().name().unwrap_or("?"));
    eprintln!("SKIPPED: {line}");
    if let Some(list) = std::env::var_os("WAXSEAL_SKIPS") {
        let mut list = std::fs::OpenOptions::new().append(true).create(true).open(list).unwrap();
        writeln!(list, "{line}").unwrap();
    }
}
