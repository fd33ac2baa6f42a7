//! POSIX access control lists as text, in the long form of getfacl.
//!
//! The binary form is the kernel's (`include/uapi/linux/posix_acl_xattr.h`): a little-endian version 2,
//! then entries of tag, permissions (16 bits each) and id (32 bits).

const VERSION: u32 = 2;

/// The list as getfacl would print it, one entry a line joined by commas, ids as numbers; `None` when the
/// bytes are not a list. The text of an unreadable list must still differ when its bytes do, so callers show
/// the raw value then.
pub fn to_text(value: &[u8], default: bool) -> Option<String> {
    let (version, entries) = value.split_first_chunk::<4>()?;
    if u32::from_le_bytes(*version) != VERSION || !entries.len().is_multiple_of(8) {
        return None;
    }
    let prefix = if default { "default:" } else { "" };
    let texts: Option<Vec<String>> = entries.chunks_exact(8).map(|e| entry(prefix, e)).collect();
    Some(texts?.join(","))
}

fn entry(prefix: &str, bytes: &[u8]) -> Option<String> {
    let tag = u16::from_le_bytes(bytes.get(0..2)?.try_into().ok()?);
    let perm = u16::from_le_bytes(bytes.get(2..4)?.try_into().ok()?);
    let id = u32::from_le_bytes(bytes.get(4..8)?.try_into().ok()?);
    if perm > 7 {
        return None;
    }
    let who = match tag {
        0x01 => "user:".to_string(),
        0x02 => format!("user:{id}"),
        0x04 => "group:".to_string(),
        0x08 => format!("group:{id}"),
        0x10 => "mask:".to_string(),
        0x20 => "other:".to_string(),
        _ => return None,
    };
    let bit = |mask, c| if perm & mask != 0 { c } else { '-' };
    Some(format!("{prefix}{who}:{}{}{}", bit(4, 'r'), bit(2, 'w'), bit(1, 'x')))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn list(entries: &[(u16, u16, u32)]) -> Vec<u8> {
        let mut out = VERSION.to_le_bytes().to_vec();
        for (tag, perm, id) in entries {
            out.extend(tag.to_le_bytes());
            out.extend(perm.to_le_bytes());
            out.extend(id.to_le_bytes());
        }
        out
    }

    #[test]
    fn prints_as_getfacl_does() {
        let acl =
            list(&[(1, 6, u32::MAX), (2, 4, 1000), (4, 4, u32::MAX), (0x10, 4, u32::MAX), (0x20, 0, 0)]);
        assert_eq!(to_text(&acl, false).unwrap(), "user::rw-,user:1000:r--,group::r--,mask::r--,other::---");
        let default = to_text(&list(&[(8, 7, 4294967294)]), true).unwrap();
        assert_eq!(default, "default:group:4294967294:rwx");
    }

    #[test]
    fn refuses_what_is_no_list() {
        assert_eq!(to_text(b"", false), None);
        assert_eq!(to_text(&[1, 0, 0, 0], false), None);
        assert_eq!(to_text(&list(&[(3, 0, 0)]), false), None);
        assert_eq!(to_text(&list(&[(1, 8, 0)]), false), None);
    }

    proptest! {
        #[test]
        fn never_panics(bytes: Vec<u8>) { let _ = to_text(&bytes, false); }
    }
}
