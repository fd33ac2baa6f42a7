//! What a content is, by its first bytes.

use encoding_rs::{UTF_16BE, UTF_16LE, WINDOWS_1252};
use std::borrow::Cow;

/// How a text is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// UTF-8, ASCII included.
    Utf8,
    /// UTF-16, as its byte order mark says.
    Utf16,
    /// Windows-1252, which Latin-1 is a part of: any bytes that are not UTF-8 and have no control characters.
    Latin,
}

impl Encoding {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Encoding::Utf8 => "UTF-8",
            Encoding::Utf16 => "UTF-16",
            Encoding::Latin => "Windows-1252",
        }
    }
}

/// What a content is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Nothing.
    Empty,
    /// Text.
    Text(Encoding),
    /// A program or library of Linux.
    Elf,
    /// A program of Windows.
    Pe,
    /// A program of macOS.
    MachO,
    /// An archive or a compressed file, by this name.
    Packed(&'static str),
    /// A picture, by this name.
    Picture(&'static str),
    /// A database of SQLite.
    Sqlite,
    /// A PDF.
    Pdf,
    /// None of these.
    Data,
}

impl Kind {
    /// In words.
    pub fn name(self) -> String {
        match self {
            Kind::Empty => "empty".into(),
            Kind::Text(encoding) => format!("text ({})", encoding.name()),
            Kind::Elf => "ELF program or library".into(),
            Kind::Pe => "Windows program".into(),
            Kind::MachO => "macOS program".into(),
            Kind::Packed(name) => format!("{name} archive"),
            Kind::Picture(name) => format!("{name} picture"),
            Kind::Sqlite => "SQLite database".into(),
            Kind::Pdf => "PDF".into(),
            Kind::Data => "data".into(),
        }
    }
}

/// The first bytes of formats, as their specifications give them.
const MAGIC: &[(&[u8], Kind)] = &[
    (b"\x7fELF", Kind::Elf),
    (b"MZ", Kind::Pe),
    (b"\xfe\xed\xfa\xce", Kind::MachO),
    (b"\xfe\xed\xfa\xcf", Kind::MachO),
    (b"\xce\xfa\xed\xfe", Kind::MachO),
    (b"\xcf\xfa\xed\xfe", Kind::MachO),
    (b"\x1f\x8b", Kind::Packed("gzip")),
    (b"BZh", Kind::Packed("bzip2")),
    (b"\xfd7zXZ\0", Kind::Packed("xz")),
    (b"\x28\xb5\x2f\xfd", Kind::Packed("zstd")),
    (b"PK\x03\x04", Kind::Packed("zip")),
    (b"!<arch>\n", Kind::Packed("ar")),
    (b"\x89PNG\r\n\x1a\n", Kind::Picture("PNG")),
    (b"\xff\xd8\xff", Kind::Picture("JPEG")),
    (b"GIF8", Kind::Picture("GIF")),
    (b"SQLite format 3\0", Kind::Sqlite),
    (b"%PDF-", Kind::Pdf),
];

/// What a content is.
pub fn kind_of(content: &[u8]) -> Kind {
    if content.is_empty() {
        return Kind::Empty;
    }
    let magic = MAGIC.iter().find(|(magic, _)| content.starts_with(magic)).map(|(_, kind)| *kind);
    match magic {
        // Two letters may begin any text.
        Some(Kind::Pe) if text(content).is_some() => Kind::Text(Encoding::Utf8),
        Some(kind) => kind,
        None => text(content).map_or(Kind::Data, |(encoding, _)| Kind::Text(encoding)),
    }
}

/// The content as text, if it is text. Nothing is a text of no lines.
pub(crate) fn text(content: &[u8]) -> Option<(Encoding, Cow<'_, str>)> {
    for (mark, encoding) in [(&b"\xff\xfe"[..], UTF_16LE), (b"\xfe\xff", UTF_16BE)] {
        if let Some(rest) = content.strip_prefix(mark) {
            let text = encoding.decode_without_bom_handling_and_without_replacement(rest)?;
            return is_readable(&text).then_some((Encoding::Utf16, text));
        }
    }
    if let Ok(text) = std::str::from_utf8(content) {
        return is_readable(text).then_some((Encoding::Utf8, Cow::Borrowed(text)));
    }
    let is_plain =
        |byte: &u8| !byte.is_ascii_control() || matches!(byte, b'\t' | b'\n' | b'\r' | 0x0c | 0x1b);
    let letters = content.iter().filter(|byte| byte.is_ascii_graphic() || **byte == b' ').count();
    // A text in Latin letters is ASCII for the most part.
    if !content.iter().all(is_plain) || letters * 2 < content.len() {
        return None;
    }
    let (text, _) = WINDOWS_1252.decode_without_bom_handling(content);
    Some((Encoding::Latin, text))
}

/// Whether it has no control characters but those of texts.
fn is_readable(text: &str) -> bool {
    text.chars().all(|c| !c.is_control() || matches!(c, '\t' | '\n' | '\r' | '\x0c' | '\x1b' | '\u{85}'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodings_are_told_apart() {
        let of = |bytes: &[u8]| text(bytes).map(|(encoding, text)| (encoding, text.into_owned()));
        assert_eq!(of(b""), Some((Encoding::Utf8, String::new())));
        assert_eq!(of("Grüße\n".as_bytes()), Some((Encoding::Utf8, "Grüße\n".into())));
        assert_eq!(of(b"Gr\xfc\xdfe aus K\xf6ln\n"), Some((Encoding::Latin, "Grüße aus Köln\n".into())));
        assert_eq!(of(b"\xff\xfea\0\n\0"), Some((Encoding::Utf16, "a\n".into())));
        assert_eq!(of(b"\xfe\xff\0a"), Some((Encoding::Utf16, "a".into())));
        // Half a character, and no text at all.
        assert_eq!(of(b"\xff\xfea"), None);
        assert_eq!(of(b"a\0b"), None);
        assert_eq!(of(&[0xe9; 40]), None);
    }

    #[test]
    fn formats_are_known_by_their_first_bytes() {
        for (bytes, kind) in [
            (&b"\x7fELF\x02\x01"[..], Kind::Elf),
            (b"MZ\x90\0\x03", Kind::Pe),
            (b"MZ is how it begins\n", Kind::Text(Encoding::Utf8)),
            (b"\x1f\x8b\x08\0", Kind::Packed("gzip")),
            (b"SQLite format 3\0\x10", Kind::Sqlite),
            (b"", Kind::Empty),
            (b"\0\x01", Kind::Data),
        ] {
            assert_eq!(kind_of(bytes), kind, "{bytes:?}");
        }
    }
}
