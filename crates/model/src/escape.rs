//! Escaping of names for people: file names are attacker's text at every exit.

/// Whether a character may change how the text around it is shown, or steer a terminal:
/// controls (C0, DEL, C1), line and paragraph separators, bidirectional marks, invisible format
/// characters, tags and variation of direction (Unicode categories Cc, Zl, Zp and the dangerous part of Cf).
pub fn is_deceptive(c: char) -> bool {
    matches!(c,
        '\u{0}'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{ad}' | '\u{61c}' | '\u{180e}'
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// The bytes as text on one line, reversible: valid UTF-8 that is harmless stays as it is; `\` becomes
/// `\\`, newline, tab and carriage return `\n`, `\t`, `\r`, other deceptive characters `\u{HEX}`,
/// bytes that are not UTF-8 `\xHH`. A leading or trailing blank is written `\u{20}`, so that it is seen.
pub fn for_people(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            push_char(&mut out, c);
        }
        for byte in chunk.invalid() {
            out.push_str(&format!("\\x{byte:02x}"));
        }
    }
    if let Some(rest) = out.strip_prefix(' ') {
        out = format!("\\u{{20}}{rest}");
    }
    if out.ends_with(' ') {
        out.pop();
        out.push_str("\\u{20}");
    }
    out
}

fn push_char(out: &mut String, c: char) {
    match c {
        '\\' => out.push_str("\\\\"),
        '\n' => out.push_str("\\n"),
        '\t' => out.push_str("\\t"),
        '\r' => out.push_str("\\r"),
        c if is_deceptive(c) => out.push_str(&format!("\\u{{{:x}}}", c as u32)),
        c => out.push(c),
    }
}

/// The bytes as the text of a JSON `path`: valid UTF-8 as it is, each bad byte as `\xNN`.
/// Whoever needs the exact bytes takes the `_base64` key that stands beside it.
pub fn lossy_text(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        out.push_str(chunk.valid());
        for byte in chunk.invalid() {
            out.push_str(&format!("\\x{byte:02x}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn steering_text_is_made_visible() {
        assert_eq!(for_people(b"a\nb\x1b[2Jc"), "a\\nb\\u{1b}[2Jc");
        assert_eq!(for_people("x\u{202e}y\u{9b}".as_bytes()), "x\\u{202e}y\\u{9b}");
        assert_eq!(for_people(b"bad\xff\\"), "bad\\xff\\\\");
        assert_eq!(for_people(b" a "), "\\u{20}a\\u{20}");
        assert_eq!(for_people(b" "), "\\u{20}");
        assert_eq!(for_people("h\u{e9}llo".as_bytes()), "h\u{e9}llo");
    }

    proptest! {
        #[test]
        fn nothing_deceptive_leaves_and_no_two_names_look_alike(a: Vec<u8>, b: Vec<u8>) {
            let (ea, eb) = (for_people(&a), for_people(&b));
            prop_assert!(!ea.chars().any(is_deceptive));
            prop_assert_eq!(a == b, ea == eb);
        }
    }
}
