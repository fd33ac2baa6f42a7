//! What a link holds: the answer to `FSCTL_GET_REPARSE_POINT` (`REPARSE_DATA_BUFFER` of ntifs.h).

use super::wide;

/// The tag of a junction.
pub const MOUNT_POINT: u32 = 0xa000_0003;
/// The tag of a symbolic link.
pub const SYMLINK: u32 = 0xa000_000c;

/// Where a symbolic link or a junction leads, in the spelling of Windows; `None` when it is neither, or cut short.
pub fn target(data: &[u8]) -> Option<Box<[u8]>> {
    let short = |at: usize| Some(usize::from(u16::from_le_bytes(data.get(at..at + 2)?.try_into().ok()?)));
    let tag = u32::from_le_bytes(data.get(..4)?.try_into().ok()?);
    let names = match tag {
        SYMLINK => data.get(20..)?,
        MOUNT_POINT => data.get(16..)?,
        _ => return None,
    };
    let (substitute, print) = ((short(8)?, short(10)?), (short(12)?, short(14)?));
    // The printed name is what the link was made with, but need not be there.
    let (start, len) = if print.1 > 0 { print } else { substitute };
    let name = names.get(start..start + len)?;
    let units = name.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
    Some(wide::to_bytes(units).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn link(tag: u32, substitute: &str, print: &str) -> Vec<u8> {
        let bytes = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
        let (substitute, print) = (bytes(substitute), bytes(print));
        let mut data = tag.to_le_bytes().to_vec();
        data.extend([0; 4]);
        for number in [0, substitute.len(), substitute.len(), print.len()] {
            data.extend((number as u16).to_le_bytes());
        }
        data.extend(if tag == SYMLINK { &[1, 0, 0, 0][..] } else { &[] });
        data.extend(substitute);
        data.extend(print);
        data
    }

    #[test]
    fn links_and_junctions_lead_somewhere() {
        assert_eq!(target(&link(SYMLINK, r"\??\C:\x", r"C:\x")).as_deref(), Some(&br"C:\x"[..]));
        assert_eq!(target(&link(MOUNT_POINT, r"\??\C:\x", "")).as_deref(), Some(&br"\??\C:\x"[..]));
        assert_eq!(target(&link(0x8000_0013, "a", "b")), None);
        let whole = link(SYMLINK, "ab", "cd");
        assert_eq!(target(&whole[..whole.len() - 1]), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken(bytes in prop::collection::vec(any::<u8>(), 0..64), symlink: bool) {
            let mut bytes = bytes;
            let tag = if symlink { SYMLINK } else { MOUNT_POINT };
            bytes.splice(..4.min(bytes.len()), tag.to_le_bytes());
            target(&bytes);
        }
    }
}
