//! Sealed exports as files: written from a store, and read in place of one.

use crate::baseline::{Baseline, NewBaseline};
use crate::error::StoreError;
use crate::permissions;
use crate::{Snapshot, Store};
use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use waxseal_ledger::sealed_export::{Bytes, Head, Writer};
use waxseal_ledger::{ExportError, Seal, SealedExport, VerifierKey};
use waxseal_model::Digest;
use waxseal_model::record::Reader;

/// A sealed export whose seal holds.
#[derive(Debug)]
pub struct SealedFile {
    path: PathBuf,
    export: SealedExport<FileBytes>,
    seal: Seal,
}

#[derive(Debug)]
struct FileBytes(File);

impl Bytes for FileBytes {
    fn size(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, at: u64, buffer: &mut [u8]) -> io::Result<()> {
        permissions::read_at(&self.0, at, buffer)
    }
}

impl SealedFile {
    /// Opens an export. Its seal is verified with one of these keys; with the one that it names itself without any, which
    /// proves nothing against whoever wrote the file.
    ///
    /// # Errors
    /// [`StoreError::Io`] when it is no file that can be read; [`StoreError::Export`] when it is no export, is damaged, or its
    /// seal does not hold.
    pub fn open(path: &Path, keys: Option<&[VerifierKey]>) -> Result<SealedFile, StoreError> {
        let io = |error| StoreError::io(path, error);
        let wrong = |error| StoreError::Export(path.to_path_buf(), error);
        let mut options = OpenOptions::new();
        let file = permissions::without_waiting(options.read(true)).open(path).map_err(io)?;
        if !file.metadata().map_err(io)?.is_file() {
            return Err(io(io::Error::other("it is not a regular file")));
        }
        let export = SealedExport::open(FileBytes(file)).map_err(wrong)?;
        let own = [export.head().key.clone()];
        let seal = export.head().verify(keys.unwrap_or(&own)).map_err(wrong)?;
        Ok(SealedFile { path: path.to_path_buf(), export, seal })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The key that it names.
    pub fn key(&self) -> &VerifierKey {
        &self.export.head().key
    }

    /// What was sealed.
    pub fn seal(&self) -> &Seal {
        &self.seal
    }

    /// The same as if it came from a store. When the scan began, and how many files and bytes it had, is not known.
    pub fn baseline(&self) -> Baseline {
        let Head { seal, rules, who, note, .. } = self.export.head().clone();
        let (root, time, entries) = (self.seal.root, self.seal.time, self.seal.entries);
        let stored =
            NewBaseline { root, seal, rules, time, scan_start: time, who, note, entries, files: 0, bytes: 0 };
        Baseline { generation: self.seal.generation, stored }
    }

    /// Reads the file once from end to end: every record is what it was.
    ///
    /// # Errors
    /// [`StoreError::Export`] with the first thing that is wrong.
    pub fn check_records(&self, each: impl FnMut(u64)) -> Result<(), StoreError> {
        self.export.check_records(each).map_err(|error| self.wrong(error))
    }

    /// The directory record of this hash.
    ///
    /// # Errors
    /// [`StoreError::Export`] when it is missing or does not have the hash.
    pub fn record(&self, hash: &Digest) -> Result<Vec<u8>, StoreError> {
        self.export.record(hash).map_err(|error| self.wrong(error))
    }

    fn wrong(&self, error: ExportError) -> StoreError {
        StoreError::Export(self.path.clone(), error)
    }
}

/// Why an export could not be written.
fn unwritten(path: &Path) -> impl Fn(ExportError) -> StoreError {
    move |error| match error {
        ExportError::Read(error) => StoreError::io(path, error),
        other => StoreError::Export(path.to_path_buf(), other),
    }
}

impl Store {
    /// Writes a baseline as a sealed export; `key` is the one that sealed it, `path` names the place in messages. How many
    /// directory records it has. Memory: 80 bytes for each directory.
    ///
    /// # Errors
    /// When records are missing or damaged, or as `out` says.
    pub fn write_export(
        &self,
        baseline: &Baseline,
        key: &VerifierKey,
        path: &Path,
        out: impl Write,
    ) -> Result<u64, StoreError> {
        let NewBaseline { root, seal, rules, who, note, .. } = baseline.stored.clone();
        let records = self.snapshot();
        let lengths = reached(&records, root)?;
        let count = lengths.len() as u64;
        let head = Head { key: key.clone(), seal, rules, who, note };
        let mut writer = Writer::begin(out, &head, lengths).map_err(unwritten(path))?;
        while let Some(hash) = writer.next() {
            writer.push(&records.record(&hash)?).map_err(unwritten(path))?;
        }
        writer.finish().map_err(|error| StoreError::io(path, error))?;
        Ok(count)
    }
}

/// The hash and length of every record of a tree, each once.
fn reached(records: &Snapshot<'_>, root: Digest) -> Result<Vec<(Digest, u64)>, StoreError> {
    let (mut lengths, mut open) = (Vec::new(), vec![root]);
    let mut seen = HashSet::from([root]);
    while let Some(hash) = open.pop() {
        let record = records.record(&hash)?;
        lengths.push((hash, record.len() as u64));
        for entry in Reader::new(&record)? {
            open.extend(entry?.child.filter(|child| seen.insert(*child)));
        }
    }
    Ok(lengths)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state_dir::write_new_with;
    use crate::testing::{record, store};
    use std::fs;
    use waxseal_ledger::{Name, SigningKey, rules_hash};

    fn sealed(store: &Store, key: &SigningKey) -> Baseline {
        let mut baseline = store.current_baseline().unwrap();
        let seal = Seal {
            origin: key.verifier_key().name().clone(),
            generation: 1,
            root: baseline.stored.root,
            entries: 2,
            time: baseline.stored.time,
            previous: None,
            rules: rules_hash(&baseline.stored.rules),
        };
        baseline.stored.seal = seal.sign(&[key]);
        baseline
    }

    #[test]
    fn what_was_exported_is_read_in_place_of_the_store() {
        let (home, store) = store();
        let key = SigningKey::generate(Name::new("waxseal/test").unwrap()).unwrap();
        let baseline = sealed(&store, &key);
        let path = home.path().join("export");
        let write =
            |out: &mut io::BufWriter<File>| store.write_export(&baseline, key.verifier_key(), &path, out);
        assert_eq!(write_new_with(&path, 0o600, write).unwrap(), 1);
        let refused = write_new_with(&path, 0o600, write).unwrap_err();
        assert!(matches!(refused, StoreError::Io(..)), "{refused}");
        let before = fs::read_dir(home.path()).unwrap().count();
        write_new_with(&home.path().join("other"), 0o600, |_| Err::<(), _>(StoreError::Full)).unwrap_err();
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), before, "nothing is left of the attempt");

        let file = SealedFile::open(&path, None).unwrap();
        file.check_records(|_| ()).unwrap();
        let (root, bytes) = record(&["/a", "/b"]);
        assert_eq!(file.record(&root).unwrap(), bytes);
        let of_file = file.baseline();
        assert_eq!((of_file.generation, of_file.stored.root), (1, root));
        assert_eq!((of_file.stored.who.as_str(), of_file.stored.note.as_str()), ("root", "first baseline"));
        SealedFile::open(&path, Some(&[key.verifier_key().clone()])).unwrap();
        let other = SigningKey::generate(Name::new("waxseal/test").unwrap()).unwrap();
        let refused = SealedFile::open(&path, Some(&[other.verifier_key().clone()]));
        assert!(matches!(refused, Err(StoreError::Export(..))), "{refused:?}");
        SealedFile::open(home.path(), None).unwrap_err();
    }
}
