//! Names of Windows (16-bit units, not always valid Unicode) as bytes, and paths as Waxseal writes them.
//!
//! A name is its UTF-8; a lone surrogate is three bytes, as in WTF-8. A path begins with `/`, and its parts are between
//! slashes, as on every other system: `C:\Users\x` is `/C:/Users/x`, and `\\server\share\x` is `/server/share/x`. Neither
//! slash can be part of a name, and no server's name ends in a colon, so nothing is lost.

/// The bytes of a name.
pub fn to_bytes(units: impl IntoIterator<Item = u16>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for unit in char::decode_utf16(units) {
        match unit {
            Ok(letter) => bytes.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes()),
            Err(lone) => {
                let unit = lone.unpaired_surrogate();
                bytes.extend([
                    0xe0 | (unit >> 12) as u8,
                    0x80 | (unit >> 6 & 0x3f) as u8,
                    0x80 | (unit & 0x3f) as u8,
                ]);
            }
        }
    }
    bytes
}

/// The units of a name. Bytes that are no name's become U+FFFD.
pub fn from_bytes(bytes: &[u8]) -> Vec<u16> {
    let mut units = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while !rest.is_empty() {
        let (valid, skip) = match std::str::from_utf8(rest) {
            Ok(text) => (text, rest.len()),
            Err(error) => {
                let valid = rest.get(..error.valid_up_to()).unwrap_or_default();
                (std::str::from_utf8(valid).unwrap_or_default(), valid.len())
            }
        };
        units.extend(valid.encode_utf16());
        rest = rest.get(skip..).unwrap_or_default();
        match rest {
            [] => {}
            [0xed, high @ 0xa0..=0xbf, low @ 0x80..=0xbf, ..] => {
                units.push(0xd000 | u16::from(high & 0x3f) << 6 | u16::from(low & 0x3f));
                rest = rest.get(3..).unwrap_or_default();
            }
            [_, after @ ..] => {
                units.push(0xfffd);
                rest = after;
            }
        }
    }
    units
}

/// A path of Windows as Waxseal writes it. What is relative stays so.
pub fn path_to_bytes(units: impl IntoIterator<Item = u16>) -> Vec<u8> {
    let mut bytes = to_bytes(units);
    bytes.iter_mut().filter(|byte| **byte == b'\\').for_each(|byte| *byte = b'/');
    if let Some(rest) = bytes.strip_prefix(b"//?/UNC/") {
        bytes = [b"//", rest].concat();
    } else if let Some(rest) = bytes.strip_prefix(b"//?/") {
        bytes = rest.to_vec();
    }
    match bytes.as_mut_slice() {
        [b'/', b'/', ..] => drop(bytes.remove(0)),
        [drive, b':', ..] if drive.is_ascii_alphabetic() => {
            drive.make_ascii_uppercase();
            bytes.insert(0, b'/');
        }
        _ => {}
    }
    while bytes.len() > 1 && bytes.last() == Some(&b'/') {
        bytes.pop();
    }
    bytes
}

/// The path for Windows.
pub fn path_from_bytes(bytes: &[u8]) -> Vec<u16> {
    let own: Vec<u8> = bytes.iter().map(|byte| if *byte == b'/' { b'\\' } else { *byte }).collect();
    match own.as_slice() {
        // A drive alone would mean its working directory.
        [b'\\', drive @ ..] if drive.len() == 2 && drive.ends_with(b":") => {
            from_bytes(&[drive, b"\\"].concat())
        }
        [b'\\', path @ ..] if path.get(1) == Some(&b':') => from_bytes(path),
        [b'\\', _, ..] => from_bytes(&[b"\\", own.as_slice()].concat()),
        path => from_bytes(path),
    }
}

/// What is typed, as Windows takes it: a drive may stand behind a slash, as Waxseal writes it.
pub fn typed(units: &[u16]) -> Vec<u16> {
    let one_of = |unit: u16, wanted: &[u8]| wanted.iter().any(|byte| u16::from(*byte) == unit);
    let is_letter = |unit: u16| u8::try_from(unit).is_ok_and(|byte| byte.is_ascii_alphabetic());
    match units {
        [slash, letter, colon, rest @ ..]
            if one_of(*slash, br"/\") && is_letter(*letter) && one_of(*colon, b":") =>
        {
            match rest {
                // A drive alone would mean its working directory.
                [] => vec![*letter, *colon, u16::from(b'\\')],
                [slash, ..] if one_of(*slash, br"/\") => [&[*letter, *colon], rest].concat(),
                _ => units.to_vec(),
            }
        }
        _ => units.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn there(path: &str) -> String {
        String::from_utf8(path_to_bytes(path.encode_utf16())).unwrap()
    }

    fn back(path: &str) -> String {
        String::from_utf16(&path_from_bytes(path.as_bytes())).unwrap()
    }

    #[test]
    fn paths_go_there_and_back() {
        let pairs =
            [(r"C:\Users\x", "/C:/Users/x"), (r"C:\", "/C:"), (r"\\server\share\a b", "/server/share/a b")];
        for (theirs, ours) in pairs {
            assert_eq!((there(theirs).as_str(), back(ours).as_str()), (ours, theirs));
        }
        assert_eq!(there(r"\\?\c:\x\"), "/C:/x");
        assert_eq!(there(r"\\?\UNC\server\share"), "/server/share");
        assert_eq!(there(r"a\b"), "a/b");
        assert_eq!(back("a/b"), r"a\b");
    }

    #[test]
    fn a_drive_may_be_typed_behind_a_slash() {
        let go = |path: &str| String::from_utf16(&typed(&path.encode_utf16().collect::<Vec<_>>())).unwrap();
        assert_eq!(go("/C:/x"), "C:/x");
        assert_eq!(go(r"\c:\x"), r"c:\x");
        assert_eq!(go("/C:"), r"C:\");
        for same in [r"C:\x", "/C:x", "/x", "//C:/x", "/", "", "/1:/x"] {
            assert_eq!(go(same), same);
        }
    }

    proptest! {
        #[test]
        fn every_name_survives(units in prop::collection::vec(prop_oneof![any::<u16>(), 0xd700u16..0xe100], 0..12)) {
            prop_assert_eq!(from_bytes(&to_bytes(units.clone())), units);
        }

        #[test]
        fn any_bytes_are_taken(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            from_bytes(&bytes);
            path_from_bytes(&bytes);
        }
    }
}
