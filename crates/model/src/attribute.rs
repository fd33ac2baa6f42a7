//! The attributes of a file state that a watch may count, and the groups that have names.
//!
//! Names are those of the contract's `fields`; a watch's `attributes` takes either a group or a list.

use std::fmt;

/// One attribute that can differ between two file states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Attribute {
    /// What kind of object it is.
    Type,
    /// The bytes of a regular file.
    Content,
    /// Length in bytes of a regular file.
    Size,
    /// Where a symbolic link points.
    Target,
    /// Major and minor number of a device node.
    Rdev,
    /// Permission bits, set-id bits and sticky bit.
    Mode,
    /// Numeric user id.
    Owner,
    /// Numeric group id.
    Group,
    /// POSIX access and default lists.
    Acl,
    /// File capabilities.
    Caps,
    /// Extended attributes other than lists and capabilities.
    Xattrs,
    /// Inode flags as chattr sets them.
    Flags,
    /// Time of the last content change; settable by anyone who may write.
    Mtime,
    /// Time of the last change of any kind; kept by the kernel.
    Ctime,
    /// Time of birth.
    Btime,
    /// Inode number.
    Inode,
    /// Number of hard links.
    Links,
}

use Attribute::*;

impl Attribute {
    /// Every attribute, in the order in which `fields` lists them.
    pub const ALL: [Attribute; 17] = [
        Type, Content, Size, Target, Rdev, Mode, Owner, Group, Acl, Caps, Xattrs, Flags, Mtime, Ctime, Btime,
        Inode, Links,
    ];

    /// The contract's name.
    pub const fn name(self) -> &'static str {
        match self {
            Type => "type",
            Content => "content",
            Size => "size",
            Target => "target",
            Rdev => "rdev",
            Mode => "mode",
            Owner => "owner",
            Group => "group",
            Acl => "acl",
            Caps => "caps",
            Xattrs => "xattrs",
            Flags => "flags",
            Mtime => "mtime",
            Ctime => "ctime",
            Btime => "btime",
            Inode => "inode",
            Links => "links",
        }
    }

    /// The attribute of this name, if there is one.
    pub fn from_name(name: &str) -> Option<Attribute> {
        Attribute::ALL.into_iter().find(|a| a.name() == name)
    }

    const fn bit(self) -> u32 {
        1 << self as u32
    }
}

/// A set of attributes, in the order of [`Attribute::ALL`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct AttributeSet(u32);

impl AttributeSet {
    /// No attribute.
    pub const EMPTY: AttributeSet = AttributeSet(0);
    /// Group `content`: what the object is and holds.
    pub const CONTENT: AttributeSet = AttributeSet::of(&[Type, Content, Size, Target, Rdev]);
    /// Group `security`: content, and everything that decides who may do what with it.
    pub const SECURITY: AttributeSet =
        AttributeSet::CONTENT.union(AttributeSet::of(&[Mode, Owner, Group, Acl, Caps, Xattrs, Flags]));
    /// Group `standard`, the default: security and mtime.
    pub const STANDARD: AttributeSet = AttributeSet::SECURITY.union(AttributeSet::of(&[Mtime]));
    /// Group `all`.
    pub const EVERYTHING: AttributeSet = AttributeSet::of(&Attribute::ALL);
    /// The times: a change in nothing else is at most of severity `low`.
    pub const TIMES: AttributeSet = AttributeSet::of(&[Mtime, Ctime, Btime]);
    /// What never counts for a directory: an entry inside says more.
    pub const NOT_FOR_DIRECTORIES: AttributeSet = AttributeSet::of(&[Size, Mtime, Ctime, Btime, Links]);

    /// The names of the groups with their members, as a watch may give them.
    pub const GROUPS: [(&'static str, AttributeSet); 4] = [
        ("content", AttributeSet::CONTENT),
        ("security", AttributeSet::SECURITY),
        ("standard", AttributeSet::STANDARD),
        ("all", AttributeSet::EVERYTHING),
    ];

    /// The set of these attributes.
    pub const fn of(list: &[Attribute]) -> AttributeSet {
        let mut bits = 0;
        let mut i = 0;
        while i < list.len() {
            bits |= list[i].bit();
            i += 1;
        }
        AttributeSet(bits)
    }

    /// The group of this name, if there is one.
    pub fn group(name: &str) -> Option<AttributeSet> {
        AttributeSet::GROUPS.iter().find(|(n, _)| *n == name).map(|(_, set)| *set)
    }

    /// Everything in either set.
    pub const fn union(self, other: AttributeSet) -> AttributeSet {
        AttributeSet(self.0 | other.0)
    }

    /// What is in both sets.
    pub const fn intersection(self, other: AttributeSet) -> AttributeSet {
        AttributeSet(self.0 & other.0)
    }

    /// What is in this set and not in the other.
    pub const fn difference(self, other: AttributeSet) -> AttributeSet {
        AttributeSet(self.0 & !other.0)
    }

    /// Whether nothing is in it.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether this attribute is in it.
    pub const fn contains(self, attribute: Attribute) -> bool {
        self.0 & attribute.bit() != 0
    }

    /// Adds one attribute.
    pub fn insert(&mut self, attribute: Attribute) {
        self.0 |= attribute.bit();
    }

    /// The members, in the order of [`Attribute::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Attribute> {
        Attribute::ALL.into_iter().filter(move |a| self.contains(*a))
    }

    /// The set as bits, for storage; see [`AttributeSet::from_bits`].
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// The set of these bits; bits that name no attribute are dropped.
    pub const fn from_bits(bits: u32) -> AttributeSet {
        AttributeSet(bits & AttributeSet::EVERYTHING.0)
    }
}

impl fmt::Debug for AttributeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(Attribute::name)).finish()
    }
}

impl FromIterator<Attribute> for AttributeSet {
    fn from_iter<I: IntoIterator<Item = Attribute>>(iter: I) -> Self {
        let mut set = AttributeSet::EMPTY;
        iter.into_iter().for_each(|a| set.insert(a));
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_found_again() {
        for attribute in Attribute::ALL {
            assert_eq!(Attribute::from_name(attribute.name()), Some(attribute));
        }
        assert_eq!(Attribute::from_name("atime"), None);
    }

    #[test]
    fn groups_nest_as_the_contract_says() {
        assert_eq!(AttributeSet::CONTENT.iter().count(), 5);
        assert_eq!(AttributeSet::SECURITY.iter().count(), 12);
        assert_eq!(AttributeSet::STANDARD.difference(AttributeSet::SECURITY), AttributeSet::of(&[Mtime]));
        assert_eq!(AttributeSet::group("all"), Some(AttributeSet::EVERYTHING));
        assert_eq!(AttributeSet::from_bits(u32::MAX), AttributeSet::EVERYTHING);
    }
}
