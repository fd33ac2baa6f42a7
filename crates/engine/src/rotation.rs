//! Whether what moved in a directory of logs is their rotation, proved by content.
//!
//! Names that differ only in a number, a date or a compression belong to one family. A family has rotated when the
//! known content of a name is found, as the beginning of what is there, under another of its names. What this cannot
//! explain is reported as if nobody had heard of rotation. Nothing here touches the disk.

use std::collections::BTreeMap;
use waxseal_model::{Digest, FileState, Timestamp};
use waxseal_observe::unpack::Prefixes;

/// How long a rotation may take from the new log to the end of the oldest one: compressing comes between.
const RECENT_SECONDS: i64 = 3600;

/// One name, a regular file before and now (as far as it was or is there).
#[derive(Debug, Clone)]
pub struct Name<'a> {
    /// The name.
    pub name: &'a [u8],
    /// What is known of it.
    pub before: Option<&'a FileState>,
    /// What is there.
    pub now: Option<&'a FileState>,
    /// It is there, and begins with what is known of it.
    pub continues: bool,
    /// When it last rotated.
    pub rotated: Option<Timestamp>,
}

/// A name that ended with a rotation.
#[derive(Debug, Clone, Copy)]
pub struct Ended<'a> {
    /// The name.
    pub name: &'a [u8],
    /// What it held.
    pub held: &'a FileState,
    /// When that was noticed.
    pub time: Timestamp,
    /// It was the oldest of its family, and its content is nowhere any more.
    pub dropped: bool,
}

/// What is to be done about a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is what it was, or has grown.
    Continues,
    /// It is not explained.
    Report,
    /// It holds the content of another name, and is known by what it is now.
    Rotated,
    /// A log that begins anew: what it held is elsewhere.
    Fresh,
    /// A log that is to begin anew and has not yet: what it held is elsewhere.
    Away,
    /// Nothing any more: what it held is elsewhere.
    Gone,
    /// Nothing any more: it was the oldest of its family.
    Dropped,
    /// A copy of the beginning of what another name holds: fine as long as that is there.
    Copying,
}

/// A verdict on a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Judged {
    /// What is to be done.
    pub verdict: Verdict,
    /// Whether what is there is known from now on. As long as one known name of a family is not explained, none of
    /// it moves: a rotation that is seen half done is judged again from its beginning.
    pub settled: bool,
}

/// What [`judge`] needs to know of the disk and the rules.
pub trait Contents {
    /// The beginnings of what a name holds (unpacked); none when that cannot be had.
    fn prefixes(&self, name: &[u8], now: &FileState, lengths: &[u64]) -> Option<Prefixes>;
    /// Whether one may stand for the other as far as rights are concerned.
    fn same_rights(&self, before: &FileState, now: &FileState) -> bool;
    /// Whether the directory holds no name that was not there when it was looked at.
    fn is_steady(&self) -> bool;
}

/// What is to be done about each name, in the order given. `gone` are names that ended.
pub fn judge(names: &[Name<'_>], gone: &[Ended<'_>], now: Timestamp, contents: &dyn Contents) -> Vec<Judged> {
    let first = |n: &Name<'_>| if n.continues { Verdict::Continues } else { Verdict::Report };
    let mut verdicts: Vec<Judged> =
        names.iter().map(|n| Judged { verdict: first(n), settled: true }).collect();
    let mut families: BTreeMap<Vec<u8>, Vec<usize>> = BTreeMap::new();
    for (at, name) in names.iter().enumerate() {
        families.entry(parse(name.name).0).or_default().push(at);
    }
    for (key, members) in families {
        let members: Vec<(usize, &Name<'_>)> =
            members.into_iter().filter_map(|at| Some((at, names.get(at)?))).collect();
        if members.iter().all(|(_, name)| name.continues) {
            continue;
        }
        let recent = now.minus_seconds(RECENT_SECONDS);
        let ended = gone.iter().filter(|one| one.time >= recent && parse(one.name).0 == key);
        let family = Family {
            ages: members.iter().map(|(_, name)| parse(name.name).1).collect(),
            names: members.iter().map(|(_, name)| *name).collect(),
            recent,
            ended: ended.copied().collect(),
            contents,
        };
        let judged = family.judge();
        let unexplained = |(verdict, (_, name)): (&Verdict, &(usize, &Name<'_>))| {
            matches!(verdict, Verdict::Report | Verdict::Copying) && name.before.is_some()
        };
        let half_done = judged.iter().zip(&members).any(unexplained);
        for ((at, _), verdict) in members.iter().zip(judged) {
            if let Some(slot) = verdicts.get_mut(*at) {
                *slot = Judged { verdict, settled: !half_done || verdict == Verdict::Continues };
            }
        }
    }
    verdicts
}

/// Which generation of a log a name is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Age {
    /// The one that is written.
    Live,
    /// Numbered: the higher, the older.
    Counted(u64),
    /// Dated: the higher, the newer.
    Dated(u128),
}

impl Age {
    /// Whether it is newer than another; none where that cannot be said.
    fn is_newer(self, than: Age) -> Option<bool> {
        match (self, than) {
            (Age::Live, _) => Some(than != Age::Live),
            (_, Age::Live) => Some(false),
            (Age::Counted(a), Age::Counted(b)) => Some(a < b),
            (Age::Dated(a), Age::Dated(b)) => Some(a > b),
            _ => None,
        }
    }
}

/// Endings of compressed files.
const PACKED: [&[u8]; 8] = [b"gz", b"xz", b"zst", b"bz2", b"z", b"Z", b"zstd", b"lzma"];
/// From how many digits on a number is a date or a time.
const DATE_DIGITS: usize = 6;

/// The family of a name (its parts that say which log it is), and its generation.
fn parse(name: &[u8]) -> (Vec<u8>, Age) {
    let mut parts: Vec<&[u8]> = name.split(|b| b".-_@".contains(b)).collect();
    if parts.len() > 1 && parts.last().is_some_and(|last| PACKED.contains(last)) {
        parts.pop();
    }
    let is_number = |part: &[u8]| {
        part.first().is_some_and(u8::is_ascii_digit)
            && part.iter().all(|b| b.is_ascii_digit() || b"TZ".contains(b))
    };
    let (mut key, mut digits, mut old) = (Vec::new(), Vec::new(), false);
    for (at, part) in parts.iter().enumerate() {
        if at > 0 && is_number(part) {
            digits.extend(part.iter().filter(|b| b.is_ascii_digit()));
        } else if at > 0 && [b"old".as_slice(), b"bak", b"prev"].contains(part) {
            old = true;
        } else {
            key.extend_from_slice(part);
            key.push(b'.');
        }
    }
    let number = digits.iter().take(30).fold(0_u128, |n, b| n * 10 + u128::from(b - b'0'));
    let age = match digits.len() {
        0 if old => Age::Counted(1),
        0 => Age::Live,
        DATE_DIGITS.. => Age::Dated(number),
        _ => Age::Counted(u64::try_from(number).unwrap_or(u64::MAX)),
    };
    (key, age)
}

struct Family<'a> {
    names: Vec<&'a Name<'a>>,
    ages: Vec<Age>,
    recent: Timestamp,
    /// Names of the family that ended lately.
    ended: Vec<Ended<'a>>,
    contents: &'a dyn Contents,
}

/// What may be where another name's content has gone.
struct Candidate {
    at: usize,
    /// It is the file of a known name, unaltered.
    renamed: bool,
    found: Option<Prefixes>,
}

impl Family<'_> {
    fn judge(&self) -> Vec<Verdict> {
        let (lengths, candidates) = self.candidates();
        let homes = self.homes(&lengths, &candidates);
        let moved = homes.iter().any(Option::is_some);
        let mut verdicts: Vec<Verdict> = self.names.iter().map(|_| Verdict::Report).collect();
        let between = self.between(&homes);
        let found_again = self.found_again(&homes, &lengths, &candidates);
        let dropped = self.dropped(&homes, &candidates, moved, between.len());
        for (at, name) in self.names.iter().enumerate() {
            let explained = name.before.is_none()
                || homes.get(at).is_some_and(Option::is_some)
                || dropped.contains(&at)
                || name.continues;
            let live = self.ages.get(at) == Some(&Age::Live);
            let holds_other = homes.contains(&Some(at));
            let verdict = match name.now {
                Some(_) if name.continues && homes.get(at).is_some_and(Option::is_some) => Verdict::Fresh,
                _ if name.continues && !holds_other => Verdict::Continues,
                _ if !explained => Verdict::Report,
                Some(_) if holds_other => Verdict::Rotated,
                Some(_) if found_again.contains(&at) => Verdict::Rotated,
                Some(_) if between.contains(&at) => Verdict::Fresh,
                Some(_) if live && name.before.is_some() => Verdict::Fresh,
                Some(now) if name.before.is_some() && moved && now.size == 0 => Verdict::Fresh,
                Some(now) => self.copy(at, now, &lengths, &candidates, moved),
                None if live => Verdict::Away,
                None if dropped.contains(&at) => Verdict::Dropped,
                None => Verdict::Gone,
            };
            if let Some(slot) = verdicts.get_mut(at) {
                *slot = verdict;
            }
        }
        verdicts
    }

    /// The known lengths, and what names hold that are new or hold something else than before.
    fn candidates(&self) -> (Vec<u64>, Vec<Candidate>) {
        let known = self.names.iter().filter_map(|n| n.before).chain(self.ended.iter().map(|one| one.held));
        let mut lengths: Vec<u64> = known.map(|state| state.size).collect();
        lengths.sort_unstable();
        lengths.dedup();
        let mut candidates = Vec::new();
        for (at, name) in self.names.iter().enumerate() {
            let Some(now) = name.now else { continue };
            // A name that held nothing continues with whatever it holds, which may be another's content.
            let filled = name.before.is_some_and(|before| before.size == 0) && now.size > 0;
            if !name.continues || filled || is_another_file(name) {
                // The same file under another name need not be opened: that is most of a rotation.
                let is_same =
                    |known: &&Name<'_>| known.before.is_some_and(|before| is_same_file(before, now));
                let renamed = now.size > 0 && self.names.iter().copied().any(|name| is_same(&name));
                let found = if renamed { None } else { self.contents.prefixes(name.name, now, &lengths) };
                candidates.push(Candidate { at, renamed, found });
            }
        }
        (lengths, candidates)
    }

    /// Where the content of each name that does not continue has gone. Files that are there under another name are placed
    /// first, so that no other of the same content takes their place; then the longest: a shorter one may be the
    /// beginning of a longer one, and not the other way round.
    fn homes(&self, lengths: &[u64], candidates: &[Candidate]) -> Vec<Option<usize>> {
        let mut homes = vec![None; self.names.len()];
        let mut displaced: Vec<(usize, &FileState)> = (0..)
            .zip(&self.names)
            .filter(|(_, name)| !name.continues || is_another_file(name))
            .filter_map(|(at, name)| Some((at, name.before?)))
            .collect();
        let is_there = |before: &FileState| {
            let now = |candidate: &Candidate| self.names.get(candidate.at).and_then(|name| name.now);
            candidates.iter().filter_map(now).any(|now| is_same_file(before, now))
        };
        displaced.sort_by_key(|(_, before)| (!is_there(before), std::cmp::Reverse(before.size)));
        for (at, before) in displaced {
            let fits = |candidate: &&Candidate| {
                let name = self.names.get(candidate.at).and_then(|name| name.now);
                candidate.at != at
                    && !homes.contains(&Some(candidate.at))
                    && (name.is_some_and(|now| is_same_content(before, now))
                        || holds(candidate, before, lengths))
                    && name.is_some_and(|now| self.contents.same_rights(before, now))
            };
            // The very file, or else one of the same length: another log may begin alike.
            let likeness = |candidate: &&Candidate| {
                let now = self.names.get(candidate.at).and_then(|name| name.now);
                let unlike = now.is_none_or(|now| now.size != before.size);
                (!now.is_some_and(|now| is_same_file(before, now)), unlike)
            };
            let home = candidates.iter().filter(fits).min_by_key(likeness).map(|candidate| candidate.at);
            if let Some(slot) = homes.get_mut(at) {
                *slot = home;
            }
        }
        homes
    }

    /// Names newer than whatever holds what was known: they were the live log between two looks.
    fn between(&self, homes: &[Option<usize>]) -> Vec<usize> {
        let Some(live) = self.ages.iter().position(|age| *age == Age::Live) else { return Vec::new() };
        let bounds: Vec<Age> = match homes.get(live).copied().flatten() {
            Some(home) => self.ages.get(home).copied().into_iter().collect(),
            // The log was known to be empty: what was written to it since may have rotated by now.
            None if self
                .names
                .get(live)
                .is_some_and(|n| n.continues && n.before.is_some_and(|b| b.size == 0)) =>
            {
                let is_at = |at: usize| homes.get(at).copied().flatten().unwrap_or(at);
                let known = (0..self.names.len())
                    .filter(|at| *at != live && self.names.get(*at).is_some_and(|n| n.before.is_some()));
                known.filter_map(|at| self.ages.get(is_at(at)).copied()).collect()
            }
            None => return Vec::new(),
        };
        let newer = |at: &usize| {
            let (Some(name), Some(age)) = (self.names.get(*at), self.ages.get(*at)) else { return false };
            name.now.is_some_and(|now| !now.is_privileged())
                && !name.continues
                && !homes.contains(&Some(*at))
                && *age != Age::Live
                && bounds.iter().all(|bound| age.is_newer(*bound) == Some(true))
        };
        (0..self.names.len()).filter(newer).collect()
    }

    /// New names that hold what a name held that ended lately: that look fell into the midst of a rotation.
    fn found_again(&self, homes: &[Option<usize>], lengths: &[u64], candidates: &[Candidate]) -> Vec<usize> {
        let mut found = Vec::new();
        for one in self.ended.iter().filter(|one| one.held.size > 0) {
            let fits = |candidate: &&Candidate| {
                let now = self.names.get(candidate.at).and_then(|name| name.now);
                !homes.contains(&Some(candidate.at))
                    && !found.contains(&candidate.at)
                    && now.is_some_and(|now| {
                        self.contents.same_rights(one.held, now)
                            && (is_same_content(one.held, now) || holds(candidate, one.held, lengths))
                    })
            };
            let at = candidates.iter().find(fits).map(|candidate| candidate.at);
            found.extend(at);
        }
        found
    }

    /// The oldest names, whose content is nowhere any more: as many as the log has rotated.
    fn dropped(
        &self,
        homes: &[Option<usize>],
        candidates: &[Candidate],
        moved: bool,
        between: usize,
    ) -> Vec<usize> {
        let live = self.ages.iter().position(|age| *age == Age::Live);
        let now = live.is_some_and(|live| homes.get(live).is_some_and(Option::is_some));
        let rotated = live.and_then(|live| self.names.get(live)).and_then(|live| live.rotated);
        // Each rotation ends one name, be it in the same look or in a later one.
        let is_due = |time| !self.ended.iter().any(|one| one.dropped && one.time >= time);
        let lately = rotated.is_some_and(|time| time >= self.recent && is_due(time));
        let mut credit = if now { 1 + between } else { usize::from(lately) };
        let mut known: Vec<usize> = (0..self.names.len())
            .filter(|at| self.names.get(*at).is_some_and(|n| n.before.is_some()))
            .collect();
        let age = |at: &usize| self.ages.get(*at).copied().unwrap_or(Age::Live);
        // Where something moved under our eyes, it may be what is missing.
        let is_steady = candidates.iter().all(|candidate| candidate.found.is_some() || candidate.renamed);
        let mut dropped = Vec::new();
        while let Some(oldest) = known
            .iter()
            .copied()
            .find(|at| known.iter().all(|other| other == at || age(other).is_newer(age(at)) == Some(true)))
        {
            let Some(name) = self.names.get(oldest) else { break };
            let lost = !name.continues && homes.get(oldest).is_some_and(Option::is_none);
            let empty = name.before.is_some_and(|before| before.size == 0);
            let free = empty && (moved || lately);
            // What a rotation made is not what it ends.
            let has_successor = now || known.iter().any(|at| *at != oldest && age(at) != Age::Live);
            if age(&oldest) == Age::Live
                || !lost
                || !has_successor
                || !is_steady
                || !self.contents.is_steady()
                || !(free || credit > 0)
            {
                break;
            }
            credit -= usize::from(!free);
            dropped.push(oldest);
            known.retain(|at| *at != oldest);
        }
        dropped
    }

    /// Whether a new name is a copy, perhaps an unfinished one, of what a name holds that is known.
    fn copy(
        &self,
        at: usize,
        now: &FileState,
        lengths: &[u64],
        candidates: &[Candidate],
        moved: bool,
    ) -> Verdict {
        let candidate = candidates.iter().find(|candidate| candidate.at == at);
        let found = candidate.and_then(|candidate| candidate.found.as_ref());
        if now.is_privileged() {
            return Verdict::Report;
        }
        let same =
            |other: &Name<'_>| other.continues && other.before.is_some_and(|b| is_same_content(b, now));
        if self.names.iter().copied().any(same) {
            return Verdict::Copying;
        }
        let Some(found) = found else { return Verdict::Report };
        if found.len == 0 {
            return if moved || self.may_begin(at) { Verdict::Copying } else { Verdict::Report };
        }
        let copied = |original: &&Name<'_>| {
            let (Some(before), Some(there)) = (original.before, original.now) else { return false };
            if !original.continues {
                return false;
            }
            if before.size > 0 && candidate.is_some_and(|candidate| holds(candidate, before, lengths)) {
                return true;
            }
            found.len <= there.size
                && self
                    .contents
                    .prefixes(original.name, there, &[found.len])
                    .is_some_and(|p| !p.packed && p.digests == [Some(found.all)])
        };
        if self.names.iter().copied().any(|name| copied(&name)) { Verdict::Copying } else { Verdict::Report }
    }

    /// Whether an empty file is where a copy of a known one begins: the same name compressed, or the place next to
    /// the live log; or where the log has just rotated.
    fn may_begin(&self, at: usize) -> bool {
        let (Some(name), Some(age)) = (self.names.get(at), self.ages.get(at)) else { return false };
        let known = |other: &Name<'_>| other.before.is_some();
        let lately = self.names.iter().filter_map(|name| name.rotated).any(|time| time >= self.recent);
        let packed = self.names.iter().copied().filter(|n| known(n)).any(|original| {
            let rest = name.name.strip_prefix(original.name).and_then(|rest| rest.strip_prefix(b"."));
            rest.is_some_and(|rest| PACKED.contains(&rest))
        });
        let next = self
            .names
            .iter()
            .zip(&self.ages)
            .filter(|(name, _)| known(name))
            .all(|(_, other)| *other == Age::Live || age.is_newer(*other) == Some(true))
            && self.names.iter().any(|name| known(name));
        lately || packed || next
    }
}

/// Whether another file took the name and happens to begin like the one before, as logs with a heading do.
fn is_another_file(name: &Name<'_>) -> bool {
    let (Some(before), Some(now)) = (name.before, name.now) else { return false };
    before.size > 0 && before.links > 0 && before.inode != now.inode
}

/// Whether what is there is what is known, byte by byte.
fn is_same_content(before: &FileState, now: &FileState) -> bool {
    before.size == now.size
        && before.digests.sha256.is_some()
        && before.digests.agree(&now.digests) == Some(true)
}

/// Whether what is there is the file that was known, under whatever name.
fn is_same_file(before: &FileState, now: &FileState) -> bool {
    before.same_object(now) && is_same_content(before, now)
}

/// Whether a candidate begins with a known content; an empty one is only held by nothing.
fn holds(candidate: &Candidate, before: &FileState, lengths: &[u64]) -> bool {
    let Some(found) = candidate.found.as_ref().filter(|found| found.still) else { return false };
    let Some(known) = before.digests.sha256 else { return false };
    if before.size == 0 {
        return found.len == 0;
    }
    let at = lengths.binary_search(&before.size).ok();
    let digest: Option<Digest> = at.and_then(|at| found.digests.get(at).copied().flatten());
    digest == Some(known)
}

#[cfg(test)]
mod tests;
