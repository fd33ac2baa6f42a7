//! Small pieces of text that the formats share.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use waxseal_model::Digest;
use waxseal_model::digest::unhex;

/// RFC 4648 base64, standard alphabet, padded.
pub(crate) fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// The bytes of [`base64()`] text; none when it is not the one canonical form of them.
pub(crate) fn unbase64(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

/// Like [`unbase64`] for exactly `N` bytes.
pub(crate) fn unbase64_array<const N: usize>(text: &str) -> Option<[u8; N]> {
    unbase64(text)?.try_into().ok()
}

/// A number in decimal without sign and leading zeros.
pub(crate) fn decimal<T: std::str::FromStr + ToString>(text: &str) -> Option<T> {
    text.parse::<T>().ok().filter(|n| n.to_string() == text)
}

/// A digest in lower-case hexadecimal, 64 digits.
pub(crate) fn digest(text: &str) -> Option<Digest> {
    let lower = text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    unhex(text).filter(|_| lower)?.try_into().ok()
}

/// Without the line ending, if there is one.
pub(crate) fn without_line_end(text: &str) -> &str {
    let text = text.strip_suffix('\n').unwrap_or(text);
    text.strip_suffix('\r').unwrap_or(text)
}

/// Every text that differs from this one in a single bit.
#[cfg(test)]
pub(crate) fn flipped(text: &str) -> impl Iterator<Item = Vec<u8>> {
    (0..text.len() * 8).map(move |bit| {
        let mut bytes = text.as_bytes().to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        bytes
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_canonical_forms_are_read() {
        assert_eq!(decimal::<u64>("0"), Some(0));
        assert_eq!(decimal::<u64>("18446744073709551615"), Some(u64::MAX));
        for bad in ["", "00", "01", "+1", "-0", " 1", "1 ", "18446744073709551616", "1e3"] {
            assert_eq!(decimal::<u64>(bad), None, "{bad:?}");
        }
        assert_eq!(unbase64("AA=="), Some(vec![0]));
        for bad in ["AA", "AB==", "AA==\n", "A A=", "-_=="] {
            assert_eq!(unbase64(bad), None, "{bad:?}");
        }
        assert_eq!(digest(&"0a".repeat(32)), Some([10; 32]));
        for bad in ["0A".repeat(32), "0a".repeat(31), "0a".repeat(33), "0g".repeat(32)] {
            assert_eq!(digest(&bad), None, "{bad:?}");
        }
    }
}
