//! Inode flags, named as in chattr's manual.
//!
//! Bits are those of `FS_IOC_GETFLAGS` (Linux `include/uapi/linux/fs.h`).

/// The flags that people and programs set with chattr, by bit.
const NAMED: [(u32, &str); 15] = [
    (0x0000_0001, "secure-deletion"),
    (0x0000_0002, "undeletable"),
    (0x0000_0004, "compressed"),
    (0x0000_0008, "synchronous"),
    (0x0000_0010, "immutable"),
    (0x0000_0020, "append"),
    (0x0000_0040, "nodump"),
    (0x0000_0080, "noatime"),
    (0x0000_4000, "journal-data"),
    (0x0000_8000, "no-tail-merging"),
    (0x0001_0000, "synchronous-directory"),
    (0x0002_0000, "top-of-directory-hierarchy"),
    (0x0080_0000, "no-copy-on-write"),
    (0x2000_0000, "project-hierarchy"),
    (0x4000_0000, "casefold"),
];

/// The bits that count: those a person sets. The kernel's own (extents, inline data, encryption, verity, index,
/// huge file) say how a filesystem stores a file and move without anybody's doing.
pub const SETTABLE: u32 = {
    let mut bits = 0;
    let mut i = 0;
    while i < NAMED.len() {
        bits |= NAMED[i].0;
        i += 1;
    }
    bits
};

/// The names of the bits, in the order of the bits.
pub fn names(bits: u32) -> impl Iterator<Item = &'static str> {
    NAMED.iter().filter(move |(bit, _)| bits & bit != 0).map(|(_, name)| *name)
}

/// The bits of these names; none when a name is unknown.
pub fn from_names<'a>(mut list: impl Iterator<Item = &'a str>) -> Option<u32> {
    list.try_fold(0, |bits, name| NAMED.iter().find(|(_, n)| *n == name).map(|(bit, _)| bits | bit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_contract_names() {
        assert_eq!(names(0x10 | 0x20).collect::<Vec<_>>(), ["immutable", "append"]);
        assert_eq!(from_names(["append", "immutable"].into_iter()), Some(0x30));
        assert_eq!(from_names(["sticky"].into_iter()), None);
    }

    #[test]
    fn how_a_filesystem_stores_a_file_does_not_count() {
        for kernel_set in [0x0008_0000, 0x1000_0000, 0x0000_0800, 0x0010_0000, 0x0000_1000, 0x0004_0000] {
            assert_eq!(SETTABLE & kernel_set, 0, "{kernel_set:#x}");
        }
    }
}
