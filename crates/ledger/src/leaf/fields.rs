//! The fields of each kind of leaf, in the order in which they are written.

use super::parts::{By, LeafPath, LeafState, LeafText, Who, put_option, read_bool, read_option};
use super::{ChangeLeaf, Decision, Event, MAX_DROPPED, Pruned, Scan, Sealed};
use crate::epoch::{Announcement, Announcer};
use waxseal_model::wire::{Input, WireError, put_varint, put_zigzag};
use waxseal_model::{AttributeSet, ChangeId, ChangeKind, Digest, SetId, Severity, Source, Timestamp};

const SOURCES: [Source; 2] = [Source::Scan, Source::Event];

pub(super) fn put(out: &mut Vec<u8>, event: &Event) {
    match event {
        Event::Key(announcement) => put_announcement(out, announcement),
        Event::Start { program, rules, baseline } => {
            program.put(out);
            put_digest(rules, out);
            put_option(out, baseline.as_ref(), |(generation, root), out| {
                put_varint(out, *generation);
                put_digest(root, out);
            });
        }
        Event::Stop { reason } => reason.put(out),
        Event::Change(change) => put_change(out, change),
        Event::Resolved { id, path } => {
            put_varint(out, id.0);
            path.put(out);
        }
        Event::Approved(decision) | Event::Restored(decision) => {
            put_varint(out, decision.id.0);
            decision.path.put(out);
            put_option(out, decision.state.as_ref(), LeafState::put);
            decision.by.put(out);
            decision.note.put(out);
        }
        Event::Sealed(sealed) => {
            put_varint(out, sealed.generation);
            put_digest(&sealed.root, out);
            put_varint(out, sealed.entries);
            put_varint(out, sealed.files);
            put_varint(out, sealed.bytes);
            put_micros(&sealed.scan_start, out);
            put_digest(&sealed.rules, out);
            put_digest(&sealed.seal, out);
            sealed.by.put(out);
            sealed.note.put(out);
        }
        Event::Blind { reason, path, since, until } => {
            reason.put(out);
            put_option(out, path.as_ref(), LeafPath::put);
            put_micros(since, out);
            put_option(out, until.as_ref(), put_micros);
        }
        Event::Config { rules, previous } => {
            put_digest(rules, out);
            put_option(out, previous.as_ref(), put_digest);
        }
        Event::Alert { id, channel, delivered, attempts, set, answer } => {
            put_varint(out, *id);
            channel.put(out);
            out.push((*delivered).into());
            put_varint(out, *attempts);
            put_varint(out, set.0);
            answer.put(out);
        }
        Event::Heartbeat { watching, open, backend } => {
            put_varint(out, *watching);
            put_varint(out, *open);
            backend.put(out);
        }
        Event::Touched { path, who, details } => {
            path.put(out);
            put_option(out, who.as_ref(), Who::put);
            put_digest(details, out);
        }
        Event::Clock => {}
        Event::Pruned(pruned) => put_pruned(out, pruned),
        Event::Scan(scan) => {
            out.push(scan.full.into());
            put_micros(&scan.started, out);
            put_micros(&scan.ended, out);
            scan.outcome.put(out);
            [scan.checked, scan.errors, scan.bytes].iter().for_each(|n| put_varint(out, *n));
        }
        Event::Kept { suspect, contents, bytes, list } => {
            out.push((*suspect).into());
            put_varint(out, *contents);
            put_varint(out, *bytes);
            put_digest(list, out);
        }
        Event::Dropped { reason, contents } => {
            reason.put(out);
            put_varint(out, contents.len() as u64);
            for (leaf, hash) in contents {
                put_varint(out, *leaf);
                put_digest(hash, out);
            }
        }
    }
}

/// The event of this kind; none for a kind that is not known.
pub(super) fn read(kind: u64, input: &mut Input<'_>) -> Result<Option<Event>, WireError> {
    Ok(Some(match kind {
        1 => Event::Key(read_announcement(input)?),
        2 => Event::Start {
            program: LeafText::read(input)?,
            rules: input.array()?,
            baseline: read_option(input, |input| Ok((input.varint()?, input.array()?)))?,
        },
        3 => Event::Stop { reason: LeafText::read(input)? },
        4 => Event::Change(Box::new(read_change(input)?)),
        5 => Event::Resolved { id: ChangeId(input.varint()?), path: LeafPath::read(input)? },
        6 => Event::Approved(Box::new(read_decision(input)?)),
        7 => Event::Restored(Box::new(read_decision(input)?)),
        8 => Event::Sealed(Box::new(read_sealed(input)?)),
        9 => Event::Blind {
            reason: LeafText::read(input)?,
            path: read_option(input, LeafPath::read)?,
            since: read_micros(input)?,
            until: read_option(input, read_micros)?,
        },
        10 => Event::Config { rules: input.array()?, previous: read_option(input, Input::array)? },
        11 => Event::Alert {
            id: input.varint()?,
            channel: LeafText::read(input)?,
            delivered: read_bool(input)?,
            attempts: input.varint()?,
            set: SetId(input.varint()?),
            answer: LeafText::read(input)?,
        },
        12 => Event::Heartbeat {
            watching: input.varint()?,
            open: input.varint()?,
            backend: LeafText::read(input)?,
        },
        13 => Event::Touched {
            path: LeafPath::read(input)?,
            who: read_option(input, Who::read)?,
            details: input.array()?,
        },
        14 => Event::Clock,
        15 => Event::Pruned(Box::new(read_pruned(input)?)),
        16 => Event::Scan(Box::new(Scan {
            full: read_bool(input)?,
            started: read_micros(input)?,
            ended: read_micros(input)?,
            outcome: LeafText::read(input)?,
            checked: input.varint()?,
            errors: input.varint()?,
            bytes: input.varint()?,
        })),
        17 => Event::Kept {
            suspect: read_bool(input)?,
            contents: input.varint()?,
            bytes: input.varint()?,
            list: input.array()?,
        },
        18 => Event::Dropped { reason: LeafText::read(input)?, contents: read_dropped(input)? },
        0 => return Err(WireError::Malformed("kind")),
        _ => return Ok(None),
    }))
}

/// Rows as distances: from the end of the one before to the beginning, and how many.
fn put_pruned(out: &mut Vec<u8>, pruned: &Pruned) {
    pruned.reason.put(out);
    put_varint(out, pruned.changes);
    let rows = pruned.rows.get(..Pruned::MOST_ROWS).unwrap_or(&pruned.rows);
    put_varint(out, rows.len() as u64);
    let mut end = 0;
    for (first, count) in rows {
        put_varint(out, first.saturating_sub(end));
        put_varint(out, *count);
        end = first.saturating_add(*count);
    }
}

fn read_pruned(input: &mut Input<'_>) -> Result<Pruned, WireError> {
    let (reason, changes, many) = (LeafText::read(input)?, input.varint()?, input.varint()?);
    if many > Pruned::MOST_ROWS as u64 {
        return Err(WireError::Malformed("rows"));
    }
    let (mut rows, mut end) = (Vec::new(), 0_u64);
    for row in 0..many {
        let (gap, count) = (input.varint()?, input.varint()?);
        // Two rows without a leaf between them are one.
        if count == 0 || (gap == 0 && row > 0) {
            return Err(WireError::Malformed("rows"));
        }
        let first = end.checked_add(gap).ok_or(WireError::Malformed("rows"))?;
        end = first.checked_add(count).ok_or(WireError::Malformed("rows"))?;
        rows.push((first, count));
    }
    Ok(Pruned { reason, changes, rows })
}

fn read_dropped(input: &mut Input<'_>) -> Result<Vec<(u64, Digest)>, WireError> {
    let count: usize = input.small("contents")?;
    if count > MAX_DROPPED {
        return Err(WireError::Malformed("contents"));
    }
    (0..count).map(|_| Ok((input.varint()?, input.array()?))).collect()
}

fn put_announcement(out: &mut Vec<u8>, announcement: &Announcement) {
    put_varint(out, announcement.epoch);
    put_digest(&announcement.key, out);
    out.push(match announcement.announcer {
        Announcer::Host => 0,
        Announcer::Previous => 1,
    });
    put_digest(&announcement.root, out);
    out.extend_from_slice(&announcement.signature);
}

fn read_announcement(input: &mut Input<'_>) -> Result<Announcement, WireError> {
    Ok(Announcement {
        epoch: input.varint()?,
        key: input.array()?,
        announcer: if read_bool(input)? { Announcer::Previous } else { Announcer::Host },
        root: input.array()?,
        signature: input.array()?,
    })
}

fn put_change(out: &mut Vec<u8>, change: &ChangeLeaf) {
    put_varint(out, change.id.0);
    put_varint(out, change.set.0);
    put_varint(out, change.count);
    put_micros(&change.first, out);
    put_code(out, &ChangeKind::ALL, change.kind);
    put_code(out, &Severity::ALL, change.severity);
    put_code(out, &SOURCES, change.source);
    put_varint(out, change.fields.bits().into());
    change.watch.put(out);
    change.path.put(out);
    put_option(out, change.from.as_ref(), LeafPath::put);
    put_option(out, change.before.as_ref(), LeafState::put);
    put_option(out, change.after.as_ref(), LeafState::put);
    put_option(out, change.who.as_ref(), Who::put);
    put_digest(&change.details, out);
}

fn read_change(input: &mut Input<'_>) -> Result<ChangeLeaf, WireError> {
    Ok(ChangeLeaf {
        id: ChangeId(input.varint()?),
        set: SetId(input.varint()?),
        count: input.varint()?,
        first: read_micros(input)?,
        kind: read_code(input, &ChangeKind::ALL, "change")?,
        severity: read_code(input, &Severity::ALL, "severity")?,
        source: read_code(input, &SOURCES, "source")?,
        fields: read_fields(input)?,
        watch: LeafText::read(input)?,
        path: LeafPath::read(input)?,
        from: read_option(input, LeafPath::read)?,
        before: read_option(input, LeafState::read)?,
        after: read_option(input, LeafState::read)?,
        who: read_option(input, Who::read)?,
        details: input.array()?,
    })
}

fn read_fields(input: &mut Input<'_>) -> Result<AttributeSet, WireError> {
    let bits: u32 = input.small("fields")?;
    let fields = AttributeSet::from_bits(bits);
    if fields.bits() == bits { Ok(fields) } else { Err(WireError::Malformed("fields")) }
}

fn read_decision(input: &mut Input<'_>) -> Result<Decision, WireError> {
    Ok(Decision {
        id: ChangeId(input.varint()?),
        path: LeafPath::read(input)?,
        state: read_option(input, LeafState::read)?,
        by: By::read(input)?,
        note: LeafText::read(input)?,
    })
}

fn read_sealed(input: &mut Input<'_>) -> Result<Sealed, WireError> {
    Ok(Sealed {
        generation: input.varint()?,
        root: input.array()?,
        entries: input.varint()?,
        files: input.varint()?,
        bytes: input.varint()?,
        scan_start: read_micros(input)?,
        rules: input.array()?,
        seal: input.array()?,
        by: By::read(input)?,
        note: LeafText::read(input)?,
    })
}

fn put_digest(digest: &Digest, out: &mut Vec<u8>) {
    out.extend_from_slice(digest);
}

fn put_micros(time: &Timestamp, out: &mut Vec<u8>) {
    put_zigzag(out, time.as_micros());
}

pub(super) fn read_micros(input: &mut Input<'_>) -> Result<Timestamp, WireError> {
    input.zigzag().map(Timestamp::from_micros)
}

/// One byte: which of a list it is.
fn put_code<T: PartialEq>(out: &mut Vec<u8>, all: &[T], value: T) {
    out.push(all.iter().position(|known| *known == value).unwrap_or_default() as u8);
}

fn read_code<T: Copy>(input: &mut Input<'_>, all: &[T], what: &'static str) -> Result<T, WireError> {
    all.get(usize::from(input.byte()?)).copied().ok_or(WireError::Malformed(what))
}
