//! Contents of files that are kept: the approved ones, and those found in their place.
//!
//! In: contents, piece by piece. Out: the same bytes, or the word that they are not the same any more. A content is kept once, under
//! its SHA-256, in pieces of at most [`PIECE`] bytes, each compressed with zstd (RFC 8878) on its own, so that no
//! content has to be in memory whole when it is read. What is kept and dropped is told in the log: nothing
//! can be added, changed or taken away unnoticed.

use crate::Store;
use crate::baseline::{self, number};
use crate::error::StoreError;
use crate::log::{self, Appending};
use rusqlite::{Connection, OptionalExtension};
use std::collections::HashSet;
use std::sync::PoisonError;
use std::time::{Duration, Instant};
use waxseal_ledger::leaf::{Event, LeafText, MAX_DROPPED, contents_hash};
use waxseal_ledger::{Hasher, Leaf};
use waxseal_model::record::Reader;
use waxseal_model::{Digest, Timestamp};

/// How many bytes of a content are compressed together, at most.
pub const PIECE: usize = 1 << 20;

/// The effort of compression: level 3 of zstd, its default.
const LEVEL: i32 = 3;

/// A content that is to be kept, compressed.
#[derive(Debug, Clone)]
pub struct Content {
    hash: Digest,
    size: u64,
    pieces: Vec<Vec<u8>>,
}

impl Content {
    /// The SHA-256 of its bytes.
    pub fn hash(&self) -> &Digest {
        &self.hash
    }

    /// How many bytes are stored of it.
    pub fn stored(&self) -> u64 {
        self.pieces.iter().map(|piece| piece.len() as u64).sum()
    }
}

/// Takes the bytes of a content. What it holds in memory is the compressed content and one piece.
#[derive(Debug, Default)]
pub struct ContentWriter {
    hasher: Hasher,
    size: u64,
    piece: Vec<u8>,
    pieces: Vec<Vec<u8>>,
}

impl ContentWriter {
    /// The next bytes.
    ///
    /// # Errors
    /// When they cannot be compressed, for want of memory.
    pub fn write(&mut self, mut bytes: &[u8]) -> Result<(), StoreError> {
        self.hasher.update(bytes);
        self.size += bytes.len() as u64;
        while let Some((now, later)) = bytes.split_at_checked(PIECE - self.piece.len()) {
            self.piece.extend_from_slice(now);
            self.end_piece()?;
            bytes = later;
        }
        self.piece.extend_from_slice(bytes);
        Ok(())
    }

    /// The content.
    ///
    /// # Errors
    /// When it cannot be compressed, for want of memory.
    pub fn finish(mut self) -> Result<Content, StoreError> {
        if !self.piece.is_empty() {
            self.end_piece()?;
        }
        Ok(Content { hash: self.hasher.finish(), size: self.size, pieces: self.pieces })
    }

    fn end_piece(&mut self) -> Result<(), StoreError> {
        let compressed = zstd::bulk::compress(&self.piece, LEVEL);
        self.pieces.push(compressed.map_err(|error| StoreError::io("zstd", error))?);
        self.piece.clear();
        Ok(())
    }
}

/// For how long nothing is dropped when that has not given room: to find out what is needed takes a walk over the baseline.
const FULL: Duration = Duration::from_secs(60);

/// What is known of the room that is used.
#[derive(Debug)]
pub(crate) struct Room {
    /// Stored bytes of contents up to this leaf.
    used: u64,
    leaf: i64,
    /// When everything that was kept was needed.
    full_since: Option<Instant>,
}

impl Default for Room {
    fn default() -> Room {
        Room { used: 0, leaf: -1, full_since: None }
    }
}

/// In how many pieces a content of this size is stored.
pub(crate) fn pieces(size: u64) -> i64 {
    number(size.div_ceil(PIECE as u64))
}

/// What is known of a content that is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    /// How many bytes it has.
    pub size: u64,
    /// The leaf that tells of its keeping.
    pub leaf: u64,
}

/// How much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EvidenceSize {
    /// Contents.
    pub contents: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The bytes that are stored of them.
    pub stored: u64,
}

impl Store {
    /// What is known of a content, if it is kept.
    ///
    /// # Errors
    /// As the database says.
    pub fn kept(&self, hash: &Digest) -> Result<Option<Kept>, StoreError> {
        self.read(|connection| kept(connection, hash))
    }

    /// Calls `each` with the bytes of a content, piece by piece; gives its size, or nothing when it is not kept. Nothing of it is proven before
    /// the end: whoever writes it somewhere gives it a name only then.
    ///
    /// # Errors
    /// [`StoreError::Rotten`] when the bytes are not those that were kept; others as the database says, or of `each`.
    pub fn content<E: From<StoreError>>(
        &self,
        hash: &Digest,
        mut each: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<Option<u64>, E> {
        let connection = self.take_reader()?;
        let read = read(&connection, hash, &mut each);
        self.put_reader(connection);
        read
    }

    /// How much is kept.
    ///
    /// # Errors
    /// As the database says.
    pub fn evidence_size(&self) -> Result<EvidenceSize, StoreError> {
        self.read(size)
    }

    /// Keeps contents that were found where they differ from the baseline, durably.
    ///
    /// # Errors
    /// As the database says; nothing is kept then.
    pub fn keep_suspect(&self, contents: &[Content], time: Timestamp) -> Result<(), StoreError> {
        self.with_log(|connection, log| {
            contents.iter().try_for_each(|content| insert(connection, content).map(drop))?;
            tell(connection, log, time, true)
        })
    }

    /// Whether so many more bytes fit into the budget, after contents that neither the newest baseline nor an open change needs
    /// were dropped where that helps.
    ///
    /// # Errors
    /// As the database says.
    pub fn make_room(&self, bytes: u64, budget: u64, time: Timestamp) -> Result<bool, StoreError> {
        if bytes > budget {
            return Ok(false);
        }
        let mut room = self.room.lock().unwrap_or_else(PoisonError::into_inner);
        if self.used(&mut room)?.saturating_add(bytes) <= budget {
            return Ok(true);
        }
        // Another process may have dropped some.
        *room = Room { full_since: room.full_since, ..Room::default() };
        let used = self.used(&mut room)?;
        if used.saturating_add(bytes) <= budget {
            return Ok(true);
        }
        if room.full_since.is_some_and(|since| since.elapsed() < FULL) {
            return Ok(false);
        }
        // Some more than is needed now, so that this is not done for every single one.
        let over = used.saturating_add(bytes).saturating_add(budget / 20).saturating_sub(budget);
        let gone = self.drop_evidence(over, "budget", None, time)?;
        let fits = used.saturating_add(bytes).saturating_sub(gone) <= budget;
        *room = Room { full_since: (!fits).then(Instant::now), ..Room::default() };
        Ok(fits)
    }

    /// How many bytes are stored; what was added since the last time is added to what is known.
    fn used(&self, room: &mut Room) -> Result<u64, StoreError> {
        self.read(|connection| {
            let sql =
                "SELECT coalesce(sum(stored), 0), coalesce(max(leaf), ?1) FROM evidence WHERE leaf > ?1";
            let (stored, leaf): (i64, i64) = connection
                .prepare_cached(sql)?
                .query_row([room.leaf], |row| Ok((row.get(0)?, row.get(1)?)))?;
            room.used += stored.unsigned_abs();
            room.leaf = leaf;
            Ok(room.used)
        })
    }

    /// Drops the contents that were kept before this time and that nothing needs any more.
    ///
    /// # Errors
    /// As the database says; nothing is dropped then.
    pub(crate) fn drop_older_evidence(
        &self,
        before: Timestamp,
        reason: &str,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let old = self.read(|connection| {
            let mut query = connection.prepare("SELECT DISTINCT leaf FROM evidence ORDER BY leaf")?;
            let mut first_young = None;
            for leaf in query.query_map([], |row| row.get::<_, i64>(0))? {
                let leaf = leaf?.unsigned_abs();
                let bytes = log::leaf_bytes(connection, leaf)?;
                if Leaf::parse(&bytes).is_ok_and(|leaf| leaf.time > before) {
                    break;
                }
                first_young = Some(leaf + 1);
            }
            Ok(first_young)
        })?;
        if old.is_some() {
            self.drop_evidence(u64::MAX, reason, old, now)?;
        }
        Ok(())
    }

    /// Drops contents that neither the newest baseline nor an open change needs, oldest first, until at least so many stored bytes are
    /// gone or none is left that may go; of those that are no older than a leaf, where one is given, none. Gives how many bytes went.
    ///
    /// # Errors
    /// As the database says; nothing is dropped then.
    pub fn drop_evidence(
        &self,
        bytes: u64,
        reason: &str,
        before: Option<u64>,
        time: Timestamp,
    ) -> Result<u64, StoreError> {
        let mut gone = 0;
        self.with_log(|connection, log| {
            let (mut dropped, mut ranges) = (Vec::<(u64, Digest)>::new(), Vec::new());
            let (open, needed) = (open_contents(connection)?, sealed_contents(connection)?);
            let mut query = connection.prepare(
                "SELECT leaf, hash, stored, size, first FROM evidence WHERE leaf < ?1 ORDER BY leaf, hash",
            )?;
            let mut rows = query.query([before.map_or(i64::MAX, number)])?;
            while gone < bytes
                && let Some(row) = rows.next()?
            {
                let hash: Digest = row.get(1)?;
                if !needed.contains(&hash) && !open.contains(&hash) {
                    gone += row.get::<_, i64>(2)?.unsigned_abs();
                    dropped.push((row.get::<_, i64>(0)?.unsigned_abs(), hash));
                    let (size, first): (i64, i64) = (row.get(3)?, row.get(4)?);
                    ranges.push((first, first.saturating_add(pieces(size.unsigned_abs()))));
                }
            }
            drop(rows);
            for range in ranges {
                connection.prepare_cached("DELETE FROM piece WHERE id >= ?1 AND id < ?2")?.execute(range)?;
            }
            for contents in dropped.chunks(MAX_DROPPED) {
                for (_, hash) in contents {
                    connection.prepare_cached("DELETE FROM evidence WHERE hash = ?1")?.execute([hash])?;
                }
                let contents = contents.to_vec();
                log.add(connection, time, Event::Dropped { reason: LeafText::new(reason), contents })?;
            }
            Ok(())
        })?;
        Ok(gone)
    }
}

/// How much is kept.
pub(crate) fn size(connection: &Connection) -> Result<EvidenceSize, StoreError> {
    let sql = "SELECT count(*), coalesce(sum(size), 0), coalesce(sum(stored), 0) FROM evidence";
    Ok(connection.query_row(sql, [], |row| {
        let count = |column| row.get::<_, i64>(column).map(i64::unsigned_abs);
        Ok(EvidenceSize { contents: count(0)?, bytes: count(1)?, stored: count(2)? })
    })?)
}

pub(crate) fn kept(connection: &Connection, hash: &Digest) -> Result<Option<Kept>, StoreError> {
    let mut query = connection.prepare_cached("SELECT size, leaf FROM evidence WHERE hash = ?1")?;
    let row = query.query_row([hash], |row| {
        let count = |column| row.get::<_, i64>(column).map(i64::unsigned_abs);
        Ok(Kept { size: count(0)?, leaf: count(1)? })
    });
    Ok(row.optional()?)
}

/// The contents that the newest baseline has.
fn sealed_contents(connection: &Connection) -> Result<HashSet<Digest>, StoreError> {
    let root = "SELECT root FROM baseline ORDER BY generation DESC LIMIT 1";
    let root: Option<Digest> = connection.query_row(root, [], |row| row.get(0)).optional()?;
    let (mut contents, mut seen) = (HashSet::new(), HashSet::new());
    let mut directories: Vec<Digest> = root.into_iter().collect();
    while let Some(hash) = directories.pop() {
        if !seen.insert(hash) {
            continue;
        }
        let record = baseline::record(connection, &hash)?;
        for entry in Reader::new(&record)? {
            let entry = entry?;
            contents.extend(entry.state.digests.sha256);
            directories.extend(entry.child);
        }
    }
    Ok(contents)
}

/// The contents of open changes.
fn open_contents(connection: &Connection) -> Result<HashSet<Digest>, StoreError> {
    let sql = format!("SELECT {} FROM change WHERE status = 'open'", crate::changes::CHANGE_COLUMNS);
    let mut query = connection.prepare(&sql)?;
    let mut open = HashSet::new();
    for change in query.query_map([], crate::changes::change_from)? {
        let change = change?;
        let sides = [change.before, change.after].into_iter().flatten();
        open.extend(sides.filter_map(|seen| seen.state.digests.sha256));
    }
    Ok(open)
}

/// The bytes of a content, as [`Store::content`].
pub(crate) fn read<E: From<StoreError>>(
    connection: &Connection,
    hash: &Digest,
    each: &mut dyn FnMut(&[u8]) -> Result<(), E>,
) -> Result<Option<u64>, E> {
    let sql = "SELECT size, first FROM evidence WHERE hash = ?1";
    let row = connection.prepare_cached(sql).and_then(|mut query| {
        query.query_row([hash], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?))).optional()
    });
    let Some((size, first)) = row.map_err(StoreError::from)? else { return Ok(None) };
    let size = size.unsigned_abs();
    let rotten = |why: &str| StoreError::Rotten { hash: *hash, why: why.to_string() };
    let (mut hasher, mut read) = (Hasher::default(), 0u64);
    let mut buffer = vec![0; PIECE.min(usize::try_from(size).unwrap_or(PIECE))];
    let mut query =
        connection.prepare_cached("SELECT bytes FROM piece WHERE id = ?1").map_err(StoreError::from)?;
    for number in 0..pieces(size) {
        let mut rows = query.query([first.saturating_add(number)]).map_err(StoreError::from)?;
        let row = rows.next().map_err(StoreError::from)?.ok_or_else(|| rotten("a piece is missing"))?;
        let bytes = row.get_ref(0).map_err(StoreError::from)?;
        let bytes = bytes.as_blob().map_err(|_| rotten("it is no bytes"))?;
        let unpacked = zstd::bulk::decompress_to_buffer(bytes, buffer.as_mut_slice());
        let unpacked = unpacked.ok().and_then(|len| buffer.get(..len));
        let piece = unpacked.ok_or_else(|| rotten("it cannot be decompressed"))?;
        read += piece.len() as u64;
        hasher.update(piece);
        each(piece)?;
    }
    if read != size || hasher.finish() != *hash {
        return Err(rotten("it has another hash").into());
    }
    Ok(Some(size))
}

/// Keeps a content, unless it is kept already; whether it was not. The leaf that tells of it is to follow in the same
/// transaction: [`tell`].
pub(crate) fn insert(connection: &Connection, content: &Content) -> Result<bool, StoreError> {
    let first = "SELECT coalesce(max(id), 0) + 1 FROM piece";
    let first: i64 = connection.prepare_cached(first)?.query_row([], |row| row.get(0))?;
    let first = if content.pieces.is_empty() { 0 } else { first };
    let sql = "INSERT INTO evidence(hash, size, stored, first, leaf) VALUES (?1, ?2, ?3, ?4, -1) ON CONFLICT DO NOTHING";
    let row = (content.hash, number(content.size), number(content.stored()), first);
    if connection.prepare_cached(sql)?.execute(row)? == 0 {
        return Ok(false);
    }
    let mut insert = connection.prepare_cached("INSERT INTO piece(id, bytes) VALUES (?1, ?2)")?;
    for (id, piece) in (first..).zip(&content.pieces) {
        insert.execute((id, piece))?;
    }
    Ok(true)
}

/// What the log is to say of the contents that this transaction keeps; nothing when it keeps none.
pub(crate) fn told(connection: &Connection, suspect: bool) -> Result<Option<Event>, StoreError> {
    let mut query =
        connection.prepare_cached("SELECT hash, size FROM evidence WHERE leaf < 0 ORDER BY hash")?;
    let rows = query.query_map([], |row| Ok((row.get::<_, Digest>(0)?, row.get::<_, i64>(1)?)))?;
    let (mut list, mut bytes) = (Vec::new(), 0);
    for row in rows {
        let (hash, size) = row?;
        list.push(hash);
        bytes += size.unsigned_abs();
    }
    let contents = list.len() as u64;
    Ok((contents > 0).then(|| Event::Kept { suspect, contents, bytes, list: contents_hash(&list) }))
}

/// The newest leaf is the one that tells of the contents that this transaction keeps.
pub(crate) fn settle(connection: &Connection) -> Result<(), StoreError> {
    let leaf = log::size(connection)?.saturating_sub(1);
    connection.prepare_cached("UPDATE evidence SET leaf = ?1 WHERE leaf < 0")?.execute([number(leaf)])?;
    Ok(())
}

/// Tells in the log of the contents that this transaction keeps.
pub(crate) fn tell(
    connection: &Connection,
    log: &mut Appending<'_>,
    time: Timestamp,
    suspect: bool,
) -> Result<(), StoreError> {
    if let Some(event) = told(connection, suspect)? {
        log.add(connection, time, event)?;
        settle(connection)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RecordSink;
    use crate::changes::tests::{commit, modified};
    use crate::proof;
    use crate::testing::{content, noise, store};
    use waxseal_ledger::VerificationFile;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::new(2_000_000_000 + seconds, 0)
    }

    fn bytes(store: &Store, hash: &Digest) -> Result<Option<Vec<u8>>, StoreError> {
        let mut all = Vec::new();
        let size = store.content::<StoreError>(hash, |piece| {
            all.extend_from_slice(piece);
            Ok(())
        })?;
        assert!(size.is_none_or(|size| size == all.len() as u64));
        Ok(size.map(|_| all))
    }

    fn problems(store: &Store) -> Vec<String> {
        let file = std::fs::read_to_string(store.dir().verification()).unwrap();
        let trust = VerificationFile::parse(&file).unwrap().trust();
        let proof = proof::prove(store, &trust, &|_, _| Ok(())).unwrap();
        proof.problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_is_kept_comes_back_whole_and_is_kept_once() {
        let (_home, store) = store();
        // Ends within a piece, at the end of one, just after one; empty; repeated.
        let all: Vec<Vec<u8>> =
            [0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE + 5].iter().map(|len| noise(*len)).collect();
        let contents: Vec<Content> = all.iter().map(|bytes| content(bytes)).collect();
        store.keep_suspect(&contents, at(0)).unwrap();
        let size = store.log_size().unwrap();
        for (content, expected) in contents.iter().zip(&all) {
            assert_eq!(bytes(&store, content.hash()).unwrap().as_ref(), Some(expected));
            assert_eq!(
                store.kept(content.hash()).unwrap().map(|kept| kept.size),
                Some(expected.len() as u64)
            );
        }
        let kept = store.evidence_size().unwrap();
        assert_eq!((kept.contents, kept.bytes), (6, all.iter().map(|bytes| bytes.len() as u64).sum()));
        store.keep_suspect(&contents, at(1)).unwrap();
        assert_eq!((store.evidence_size().unwrap(), store.log_size().unwrap()), (kept, size));
        assert_eq!(bytes(&store, &[9; 32]).unwrap(), None);
        let text = content("same ".repeat(PIECE).as_bytes());
        assert!(text.stored() < text.size / 1000, "{} bytes of {}", text.stored(), text.size);
        // What comes in other portions is the same content.
        let mut writer = ContentWriter::default();
        all[5].chunks(7777).for_each(|part| writer.write(part).unwrap());
        assert_eq!(writer.finish().unwrap().pieces, contents[5].pieces);
        assert_eq!(problems(&store), Vec::<String>::new());
    }

    #[test]
    fn what_rotted_is_said_and_not_given_out() {
        let (_home, store) = store();
        let (small, large) = (content(b"small"), content(&noise(PIECE + 9)));
        store.keep_suspect(&[small.clone(), large.clone()], at(0)).unwrap();
        let sql = |sql: &str| store.writer().execute_batch(sql).unwrap();
        let other = zstd::bulk::compress(b"smelt", LEVEL).unwrap();
        store
            .writer()
            .execute(
                "UPDATE piece SET bytes = ?1 WHERE id = (SELECT first FROM evidence WHERE hash = ?2)",
                (other, small.hash()),
            )
            .unwrap();
        assert!(matches!(bytes(&store, small.hash()), Err(StoreError::Rotten { .. })));
        let bomb = zstd::bulk::compress(&vec![0; 40 << 20], LEVEL).unwrap();
        store
            .writer()
            .execute(
                "UPDATE piece SET bytes = ?1 WHERE id = (SELECT first FROM evidence WHERE hash = ?2)",
                (bomb, small.hash()),
            )
            .unwrap();
        assert!(matches!(bytes(&store, small.hash()), Err(StoreError::Rotten { .. })));
        sql("DELETE FROM piece WHERE length(bytes) < 100 AND id > 1");
        assert!(matches!(bytes(&store, large.hash()), Err(StoreError::Rotten { .. })));
        let said = problems(&store);
        assert_eq!(said.len(), 2, "{said:?}");
        assert!(said.iter().all(|one| one.contains("is damaged")), "{said:?}");
    }

    #[test]
    fn the_oldest_that_nobody_needs_go_first() {
        let (_home, store) = store();
        let all: Vec<Content> = (0..5).map(|n| content(&noise(1000 + n))).collect();
        all.iter()
            .zip(0..)
            .for_each(|(one, n)| store.keep_suspect(std::slice::from_ref(one), at(n)).unwrap());
        // One is that of an open change.
        let mut found = modified("/t/a", 2);
        found.after.as_mut().unwrap().state.digests.sha256 = Some(*all[1].hash());
        commit(&store, &[found]);
        // One is that of the newest baseline.
        let mut writer = waxseal_model::record::Writer::default();
        let mut sealed = crate::testing::file(7, 1);
        sealed.digests.sha256 = Some(*all[0].hash());
        writer.push(b"/t", &sealed, None);
        let bytes = writer.finish();
        let root = waxseal_ledger::directory_hash(&bytes);
        let extension = store.extend().unwrap();
        extension.add(&root, &bytes).unwrap();
        extension.finish(&store, &crate::testing::baseline(root)).unwrap();
        let gone = store.drop_evidence(1500, "budget", None, at(9)).unwrap();
        assert!((1500..2600).contains(&gone), "{gone}");
        let left: Vec<bool> = all.iter().map(|one| store.kept(one.hash()).unwrap().is_some()).collect();
        assert_eq!(left, [true, true, false, false, true]);
        assert_eq!(problems(&store), Vec::<String>::new());
        // By age: the one that is left and nobody needs is of second 4.
        store.drop_older_evidence(at(3), "age", at(10)).unwrap();
        assert_eq!(store.evidence_size().unwrap().contents, 3);
        store.drop_older_evidence(at(4), "age", at(10)).unwrap();
        assert_eq!(store.evidence_size().unwrap().contents, 2);
        assert_eq!(problems(&store), Vec::<String>::new());
        // One more that is gone, or has come, is noticed.
        store.writer().execute("DELETE FROM evidence WHERE hash = ?1", [all[0].hash()]).unwrap();
        assert_eq!(problems(&store).len(), 2, "the leaf's list, and a piece without its content");
    }
}
