//! An excerpt of the kernel's description of its types: what the loader needs takes a tenth of the memory of the whole.
//!
//! In: the description (BTF, `Documentation/bpf/btf.rst` in the kernel). Out: the same, cut after the last type that is
//! needed. Types are known by their position, so that what comes before must stay.

/// What the programs in the kernel name.
const STRUCTS: [&[u8]; 21] = [
    b"qstr",
    b"dentry",
    b"vfsmount",
    b"mount",
    b"path",
    b"file",
    b"mm_struct",
    b"cred",
    b"signal_struct",
    b"kernfs_node",
    b"cgroup",
    b"css_set",
    b"task_struct",
    b"files_struct",
    b"fdtable",
    b"fsnotify_group",
    b"fsnotify_event",
    b"fanotify_event",
    b"pid",
    b"inode",
    b"super_block",
];
/// What the types of tracepoints begin with.
const TRACEPOINT: &[u8] = b"btf_trace_";
/// Bytes of a type without what is its kind's own.
const HEAD: usize = 12;
/// How deep members without a name, and names for types, are followed.
const DEPTH: usize = 16;

const ARRAY: u32 = 3;
const STRUCT: u32 = 4;
const UNION: u32 = 5;
const TYPEDEF: u32 = 8;

/// How much of each part of a description is read at first, in bytes: all that is needed lies within, as a rule.
const FIRST: usize = 768 * 1024;
/// How large a part may be: a description of everything takes some megabytes.
const LARGEST: usize = 64 << 20;

/// Both parts of a description, or their beginnings.
struct Whole<'a> {
    types: &'a [u8],
    strings: &'a [u8],
    /// Where each type begins; the first has the number 1.
    starts: Vec<u32>,
}

/// Cuts a description after the types that are needed for these tracepoints; `None` when it is not understood, or they
/// are not in it. `read` gives so many bytes of it, from there, or none. No more is read and held than is needed.
pub fn excerpt(
    read: &mut dyn FnMut(usize, usize) -> Option<Vec<u8>>,
    tracepoints: &[&str],
) -> Option<Vec<u8>> {
    let head = usize::try_from(word(&read(0, 8)?, 4)?).ok().filter(|head| (24..=4096).contains(head))?;
    let header = read(0, head)?;
    // The magic number in this machine's byte order, and the one version that there is.
    if header.get(..3)? != [&0xeb9f_u16.to_ne_bytes()[..], &[1]].concat() {
        return None;
    }
    let part = |at: usize| {
        let number = |at| usize::try_from(word(&header, at)?).ok();
        let (from, size) = (head.checked_add(number(at)?)?, number(at + 4)?);
        (size <= LARGEST).then_some((from, size))
    };
    let (types, strings) = (part(8)?, part(16)?);
    let mut most = FIRST;
    loop {
        let read_types = read(types.0, types.1.min(most))?;
        let read_strings = read(strings.0, strings.1.min(most))?;
        let whole = Whole::of(&read_types, &read_strings, types.1 > most)?;
        if let Some(excerpt) = excerpt_of(&whole, &header, tracepoints) {
            return Some(excerpt);
        }
        if types.1.max(strings.1) <= most {
            return None;
        }
        most = most.saturating_mul(4);
    }
}

fn excerpt_of(whole: &Whole<'_>, header: &[u8], tracepoints: &[&str]) -> Option<Vec<u8>> {
    let (mut last, mut found) = (0, 0);
    for (index, _) in whole.starts.iter().enumerate() {
        let id = u32::try_from(index).ok()? + 1;
        let (kind, _) = whole.kind(id)?;
        if kind != STRUCT && kind != TYPEDEF {
            continue;
        }
        // What is named beyond the strings that were read is no type that is looked for, or is found next time.
        let Some(name) = whole.name(id) else { continue };
        if kind == STRUCT && STRUCTS.contains(&name) {
            last = last.max(id).max(whole.furthest(id, DEPTH)?);
            found += 1;
        } else if kind == TYPEDEF
            && name
                .strip_prefix(TRACEPOINT)
                .is_some_and(|name| tracepoints.iter().any(|t| t.as_bytes() == name))
        {
            last = last.max(id);
            found += 1;
        }
    }
    (found >= STRUCTS.len() + tracepoints.len()).then(|| whole.cut(header, last))?
}

impl<'a> Whole<'a> {
    /// `is_cut`: there are more types.
    fn of(types: &'a [u8], strings: &'a [u8], is_cut: bool) -> Option<Whole<'a>> {
        let mut starts = Vec::new();
        let mut at = 0;
        while at < types.len() {
            let size = word(types, at + 4).map(own_size);
            let size = if let Some(size) = size { HEAD + size? } else { HEAD };
            let end = at.checked_add(size)?;
            if end > types.len() {
                if is_cut {
                    break;
                }
                return None;
            }
            starts.push(u32::try_from(at).ok()?);
            at = end;
        }
        // The last name that was read may have been cut.
        let whole = strings.iter().rposition(|byte| *byte == 0)?;
        Some(Whole { types: types.get(..at)?, strings: strings.get(..=whole)?, starts })
    }

    fn at(&self, id: u32) -> Option<usize> {
        let index = usize::try_from(id.checked_sub(1)?).ok()?;
        usize::try_from(*self.starts.get(index)?).ok()
    }

    fn kind(&self, id: u32) -> Option<(u32, usize)> {
        let info = word(self.types, self.at(id)? + 4)?;
        Some((info >> 24 & 0x1f, (info & 0xffff) as usize))
    }

    fn name(&self, id: u32) -> Option<&'a [u8]> {
        let from = usize::try_from(word(self.types, self.at(id)?)?).ok()?;
        self.strings.get(from..)?.split(|byte| *byte == 0).next().filter(|_| from < self.strings.len())
    }

    /// The furthest type that is looked at when a member of this one is looked for.
    fn furthest(&self, id: u32, depth: usize) -> Option<u32> {
        let mut furthest = id;
        let (kind, members) = self.kind(id)?;
        let at = self.at(id)?;
        if depth == 0 || id == 0 {
            return Some(furthest);
        }
        match kind {
            STRUCT | UNION => {
                for member in 0..members {
                    let at = at + HEAD + member * 12;
                    let (name, of) = (word(self.types, at)?, word(self.types, at + 4)?);
                    // Only members without a name are looked into.
                    let deeper = if name == 0 { depth - 1 } else { 0 };
                    furthest = furthest.max(self.resolved(of, deeper)?);
                }
            }
            ARRAY => {
                for at in [at + HEAD, at + HEAD + 4] {
                    furthest = furthest.max(self.resolved(word(self.types, at)?, depth - 1)?);
                }
            }
            _ => {}
        }
        Some(furthest)
    }

    /// The furthest of a type and of those that it is another word for.
    fn resolved(&self, mut id: u32, depth: usize) -> Option<u32> {
        let mut furthest = id;
        for _ in 0..DEPTH {
            if id == 0 {
                return Some(furthest);
            }
            furthest = furthest.max(id);
            let (kind, _) = self.kind(id)?;
            match kind {
                // Typedef, volatile, const, restrict, and the tag of a type.
                8..=11 | 18 => id = word(self.types, self.at(id)? + 8)?,
                ARRAY => return Some(furthest.max(self.furthest(id, depth.max(1))?)),
                _ => return Some(furthest.max(self.furthest(id, depth)?)),
            }
        }
        Some(furthest)
    }

    /// Everything up to this type, with the names that it takes.
    fn cut(&self, header: &[u8], last: u32) -> Option<Vec<u8>> {
        let end = match self.at(last + 1) {
            Some(end) => end,
            // It is the last one of all that were read, which are whole.
            None => self.at(last).map(|_| self.types.len())?,
        };
        let types = self.types.get(..end)?;
        let mut names = 0;
        for id in 1..=last {
            let at = self.at(id)?;
            names = names.max(word(types, at)?);
            let (kind, count) = self.kind(id)?;
            let size = match kind {
                STRUCT | UNION | 19 => 12,
                6 | 13 => 8,
                _ => continue,
            };
            for member in 0..count {
                names = names.max(word(types, at + HEAD + member * size)?);
            }
        }
        let names = usize::try_from(names).ok()?;
        let rest = self.strings.get(names..)?;
        let strings = self.strings.get(..names + rest.iter().position(|byte| *byte == 0)? + 1)?;
        let mut out = Vec::with_capacity(header.len() + end + strings.len());
        out.extend(header);
        let (types_size, strings_size) = (u32::try_from(end).ok()?, u32::try_from(strings.len()).ok()?);
        for (at, value) in [(8, 0), (12, types_size), (16, types_size), (20, strings_size)] {
            out.get_mut(at..at + 4)?.copy_from_slice(&u32::to_ne_bytes(value));
        }
        out.extend(types);
        out.extend(strings);
        Some(out)
    }
}

/// How many bytes a type has after its head, by its second word.
fn own_size(info: u32) -> Option<usize> {
    let count = (info & 0xffff) as usize;
    match info >> 24 & 0x1f {
        // Integers, variables and tags of declarations.
        1 | 14 | 17 => Some(4),
        // What is another word for a type, or points to one, functions and floats.
        2 | 7..=12 | 16 | 18 => Some(0),
        ARRAY => Some(12),
        STRUCT | UNION | 15 | 19 => Some(12 * count),
        // Enumerations, and the parameters of functions.
        6 | 13 => Some(8 * count),
        _ => None,
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().copied().map(u32::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn reader(bytes: &[u8]) -> impl FnMut(usize, usize) -> Option<Vec<u8>> {
        |at, size| bytes.get(at..at.checked_add(size)?).map(<[u8]>::to_vec)
    }

    fn whole(raw: &[u8]) -> Whole<'_> {
        let part = |at: usize| {
            let number = |at| word(raw, at).unwrap() as usize;
            &raw[number(4) + number(at)..][..number(at + 4)]
        };
        Whole::of(part(8), part(16), false).unwrap()
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a file of the kernel's own, at a fixed place")]
    fn what_the_kernel_says_is_cut_and_what_is_needed_stays() {
        let Ok(raw) = std::fs::read("/sys/kernel/btf/vmlinux") else {
            println!(
                "SKIPPED what_the_kernel_says_is_cut_and_what_is_needed_stays: this kernel describes no types"
            );
            return;
        };
        let tracepoints = ["sched_process_fork", "sched_process_exec"];
        let mut most = 0;
        let mut from = reader(&raw);
        let cut =
            excerpt(&mut |at, size| from(at, size).inspect(|part| most = most.max(part.len())), &tracepoints);
        let cut = cut.unwrap();
        drop(from);
        assert!(cut.len() * 3 < raw.len(), "{} of {}", cut.len(), raw.len());
        println!("{} of {} bytes, {most} read at once", cut.len(), raw.len());
        let (all, some) = (whole(&raw), whole(&cut));
        for id in 1..=u32::try_from(some.starts.len()).unwrap() {
            assert_eq!((some.kind(id), some.name(id)), (all.kind(id), all.name(id)));
        }
        for name in STRUCTS {
            let of = |whole: &Whole<'_>| {
                (1..=whole.starts.len() as u32)
                    .find(|id| whole.kind(*id).unwrap().0 == STRUCT && whole.name(*id) == Some(name))
            };
            assert_eq!(of(&some), of(&all));
            assert!(of(&some).is_some());
        }
        assert_eq!(excerpt(&mut reader(&raw), &["no such tracepoint"]), None);
        assert_eq!(excerpt(&mut reader(&cut[..cut.len() - 1]), &tracepoints), None);
        // Also of an excerpt that is as long as can be.
        assert_eq!(excerpt(&mut reader(&cut), &tracepoints).as_ref(), Some(&cut));
    }

    proptest! {
        #[test]
        fn no_bytes_break_it(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut raw = [&0xeb9f_u16.to_ne_bytes()[..], &[1, 0], &24u32.to_ne_bytes()].concat();
            raw.extend(bytes);
            let _ = excerpt(&mut reader(&raw), &["a"]);
        }
    }
}
