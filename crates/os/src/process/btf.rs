//! An excerpt of the kernel's description of its types: what the loader needs takes a tenth of the memory of the whole.
//!
//! In: the description (BTF, `Documentation/bpf/btf.rst` in the kernel). Out: the same, cut after the last type that is
//! needed. Types are known by their position, so that what comes before must stay.

/// What the programs in the kernel name.
const STRUCTS: [&[u8]; 13] = [
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

/// The parts of a description.
struct Whole<'a> {
    header: &'a [u8],
    types: &'a [u8],
    strings: &'a [u8],
    /// Where each type begins; the first has the number 1.
    starts: Vec<u32>,
}

/// Cuts a description after the types that are needed for these tracepoints; `None` when it is not understood, or they
/// are not in it.
pub fn excerpt(raw: &[u8], tracepoints: &[&str]) -> Option<Vec<u8>> {
    let whole = Whole::of(raw)?;
    let (mut last, mut found) = (0, 0);
    for (index, _) in whole.starts.iter().enumerate() {
        let id = u32::try_from(index).ok()? + 1;
        let (kind, _) = whole.kind(id)?;
        let name = whole.name(id)?;
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
    (found >= STRUCTS.len() + tracepoints.len()).then(|| whole.cut(last))?
}

impl<'a> Whole<'a> {
    fn of(raw: &'a [u8]) -> Option<Whole<'a>> {
        let head = usize::try_from(word(raw, 4)?).ok()?;
        // The magic number in this machine's byte order, and the one version that there is.
        if raw.get(..3)? != [&0xeb9f_u16.to_ne_bytes()[..], &[1]].concat() || head < 24 {
            return None;
        }
        let part = |at: usize| {
            let from = head.checked_add(usize::try_from(word(raw, at)?).ok()?)?;
            raw.get(from..from.checked_add(usize::try_from(word(raw, at + 4)?).ok()?)?)
        };
        let (types, strings) = (part(8)?, part(16)?);
        let mut starts = Vec::new();
        let mut at = 0;
        while at < types.len() {
            starts.push(u32::try_from(at).ok()?);
            at = at.checked_add(HEAD + own_size(word(types, at + 4)?)?)?;
        }
        Some(Whole { header: raw.get(..head)?, types, strings, starts })
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
        self.strings.get(from..)?.split(|byte| *byte == 0).next()
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
    fn cut(&self, last: u32) -> Option<Vec<u8>> {
        let end = self.at(last + 1).unwrap_or(self.types.len());
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
        let mut out = self.header.to_vec();
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
        let cut = excerpt(&raw, &tracepoints).unwrap();
        assert!(cut.len() * 3 < raw.len(), "{} of {}", cut.len(), raw.len());
        let (all, some) = (Whole::of(&raw).unwrap(), Whole::of(&cut).unwrap());
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
        assert_eq!(excerpt(&raw, &["no such tracepoint"]), None);
        assert_eq!(excerpt(&cut[..cut.len() - 1], &tracepoints), None);
    }

    proptest! {
        #[test]
        fn no_bytes_break_it(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut raw = [&0xeb9f_u16.to_ne_bytes()[..], &[1, 0], &24u32.to_ne_bytes()].concat();
            raw.extend(bytes);
            let _ = excerpt(&raw, &["a"]);
        }
    }
}
