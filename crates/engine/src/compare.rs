//! Observation against baseline, attribute by attribute.

use waxseal_model::state::{XATTR_ACL_ACCESS, XATTR_ACL_DEFAULT, XATTR_CAPS};
use waxseal_model::{Attribute, AttributeSet, ChangeKind, FileState, FileType, Timestamp};

/// What a stat alone shows; the other attributes need the object to be opened.
pub const SHOWN_BY_STAT: AttributeSet = AttributeSet::of(&[
    Attribute::Type,
    Attribute::Size,
    Attribute::Rdev,
    Attribute::Mode,
    Attribute::Owner,
    Attribute::Group,
    Attribute::Mtime,
    Attribute::Ctime,
    Attribute::Btime,
    Attribute::Inode,
    Attribute::Links,
]);

/// All attributes that differ, counted or not.
pub fn differences(before: &FileState, after: &FileState) -> AttributeSet {
    let mut differ = AttributeSet::EMPTY;
    let mut note = |attribute, differs: bool| {
        if differs {
            differ.insert(attribute);
        }
    };
    let same_type = before.file_type == after.file_type;
    let files = same_type && before.file_type == FileType::File;
    note(Attribute::Type, !same_type);
    note(Attribute::Content, files && before.digests.agree(&after.digests) == Some(false));
    note(Attribute::Size, files && before.size != after.size);
    note(Attribute::Target, same_type && before.target() != after.target());
    note(Attribute::Rdev, same_type && before.rdev() != after.rdev());
    note(Attribute::Mode, before.mode != after.mode);
    note(Attribute::Owner, before.uid != after.uid);
    note(Attribute::Group, before.gid != after.gid);
    let xattr = |name| before.xattr(name) != after.xattr(name);
    note(Attribute::Acl, xattr(XATTR_ACL_ACCESS) || xattr(XATTR_ACL_DEFAULT));
    note(Attribute::Caps, xattr(XATTR_CAPS));
    note(Attribute::Xattrs, before.plain_xattrs().ne(after.plain_xattrs()));
    note(Attribute::Flags, before.flags.unwrap_or(0) != after.flags.unwrap_or(0));
    note(Attribute::Mtime, before.mtime != after.mtime);
    note(Attribute::Ctime, before.ctime != after.ctime);
    note(Attribute::Btime, before.btime != after.btime);
    note(Attribute::Inode, before.inode != after.inode);
    note(Attribute::Links, before.links != after.links);
    if before.file_type == FileType::Dir || after.file_type == FileType::Dir {
        differ = differ.difference(AttributeSet::NOT_FOR_DIRECTORIES);
    }
    differ
}

/// The change from one state to another under rules that count `counted`: `None` when nothing that counts differs.
pub fn compare(
    before: &FileState,
    after: &FileState,
    counted: AttributeSet,
) -> Option<(ChangeKind, AttributeSet)> {
    let differ = differences(before, after);
    let fields = differ.intersection(counted);
    (!fields.is_empty()).then(|| (kind_of(before, differ), fields))
}

/// The kind says what happened, also when the rules count only a sign of it.
fn kind_of(before: &FileState, differ: AttributeSet) -> ChangeKind {
    if differ.contains(Attribute::Type) {
        return ChangeKind::Retyped;
    }
    let holds = match before.file_type {
        FileType::File => AttributeSet::of(&[Attribute::Content, Attribute::Size]),
        _ => AttributeSet::of(&[Attribute::Target, Attribute::Rdev]),
    };
    if differ.intersection(holds).is_empty() { ChangeKind::Metadata } else { ChangeKind::Modified }
}

/// Whether a stat proves (as far as times can) that nothing has moved since the baseline, so that a quick check need
/// not look closer. What changed at or after `racy_from` may have been read before it changed.
pub fn is_untouched(baseline: &FileState, stat: &FileState, racy_from: Timestamp) -> bool {
    baseline.file_type == stat.file_type
        && baseline.mode == stat.mode
        && baseline.uid == stat.uid
        && baseline.gid == stat.gid
        && baseline.inode == stat.inode
        && baseline.mtime == stat.mtime
        && baseline.ctime == stat.ctime
        && (baseline.file_type == FileType::Dir
            || baseline.size == stat.size && baseline.links == stat.links && stat.ctime < racy_from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use waxseal_model::{DeviceNumber, Digests, Extra};

    fn file() -> FileState {
        FileState {
            file_type: FileType::File,
            mode: 0o644,
            uid: 0,
            gid: 0,
            size: 3,
            links: 1,
            inode: 7,
            device: DeviceNumber::default(),
            mount_root: false,
            mtime: Timestamp::new(10, 1),
            ctime: Timestamp::new(10, 1),
            btime: None,
            flags: None,
            digests: Digests { sha256: Some([1; 32]), ..Digests::default() },
            extra: None,
        }
    }

    #[test]
    fn one_nanosecond_and_one_bit_are_seen() {
        let mut after = file();
        after.mtime.nanos += 1;
        let seen = compare(&file(), &after, AttributeSet::STANDARD);
        assert_eq!(seen, Some((ChangeKind::Metadata, AttributeSet::of(&[Attribute::Mtime]))));
        after.digests.sha256 = Some([2; 32]);
        let (kind, fields) = compare(&file(), &after, AttributeSet::CONTENT).unwrap();
        assert_eq!((kind, fields), (ChangeKind::Modified, AttributeSet::of(&[Attribute::Content])));
    }

    #[test]
    fn what_does_not_count_is_quiet_and_equal_states_are() {
        let mut after = file();
        after.inode = 8;
        after.links = 2;
        assert_eq!(compare(&file(), &after, AttributeSet::STANDARD), None);
        assert_eq!(compare(&file(), &file(), AttributeSet::EVERYTHING), None);
    }

    #[test]
    fn each_kind_of_object_has_its_own_content() {
        let mut link = file();
        link.file_type = FileType::Symlink;
        link.digests = Digests::default();
        link.extra = Some(Box::new(Extra { target: Some(b"a".as_slice().into()), ..Extra::default() }));
        let mut other = link.clone();
        other.extra = Some(Box::new(Extra { target: Some(b"b".as_slice().into()), ..Extra::default() }));
        let (kind, fields) = compare(&link, &other, AttributeSet::STANDARD).unwrap();
        assert_eq!((kind, fields), (ChangeKind::Modified, AttributeSet::of(&[Attribute::Target])));
        let (kind, fields) = compare(&file(), &link, AttributeSet::CONTENT).unwrap();
        assert_eq!((kind, fields), (ChangeKind::Retyped, AttributeSet::of(&[Attribute::Type])));
    }

    #[test]
    fn times_of_directories_never_count() {
        let dir = FileState { file_type: FileType::Dir, ..file() };
        let after =
            FileState { mtime: Timestamp::new(99, 0), ctime: Timestamp::new(99, 0), links: 9, ..dir.clone() };
        assert_eq!(compare(&dir, &after, AttributeSet::EVERYTHING), None);
    }

    #[test]
    fn what_changed_while_the_baseline_was_taken_is_looked_at_again() {
        let stat = file();
        assert!(is_untouched(&file(), &stat, Timestamp::new(11, 0)));
        assert!(!is_untouched(&file(), &stat, Timestamp::new(10, 1)));
        let touched = FileState { ctime: Timestamp::new(10, 2), ..file() };
        assert!(!is_untouched(&file(), &touched, Timestamp::new(11, 0)));
    }
}
