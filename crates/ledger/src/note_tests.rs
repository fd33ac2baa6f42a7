use super::*;
use crate::keyfile::KeyFile;
use crate::text::flipped;
use proptest::prelude::*;

const PETER_KEY: &str = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
const PETER: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
const PETER_NOTE: &str = "If you think cryptography is the answer to your problem,\n\
    then you don't know what your problem is.\n\n\
    — PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";

const FOO: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
const FOO_NOTE: &str = "This is an example message.\n\n\
    — example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n";

const ALPHA: &str = "waxseal.example/host/alpha+df59cc18+AQOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4";
const ALPHA_NOTE: &str = "waxseal.example/host/alpha\n8\nXcnaeacGWamtVZy3Ad7ZoqudgjqtL0lgz+Nw7/RgQyg=\n\n\
    — waxseal.example/host/alpha 31nMGM/tWBRBU9Gm32+H/oG5AnGraCTP+kDeaptmfCzHl3M/f0xzlGNhfV6wv+Hi/Yp3AqX9BqoJUBH4qwzUGt7CjAI=\n";
/// A cosignature of type 0x04: a key that this program does not use.
const WITNESS_LINE: &str = "— witness.example/w1 IDJKvgAAAABpVbkACs3n6DcjMqPFLm1lfBhxxEU95rxXwSp1+aLn2vlhh9+heBcy4pKdggXvoReXJAOZXbQ/IXsswargF0Qc5ZT8Bg==\n";

fn vkey(line: &str) -> VerifierKey {
    VerifierKey::parse(line).unwrap()
}

fn peter() -> SigningKey {
    KeyFile::parse(PETER_KEY).unwrap().unlock(None).unwrap()
}

fn open(note: &str, keys: &[VerifierKey]) -> Result<SignedNote, NoteError> {
    UnverifiedNote::parse(note)?.open(keys)
}

/// The note with this signature line once more for each of `n` names.
fn with_strangers(note: &str, n: usize) -> String {
    let lines = (0..n).map(|i| format!("— stranger{i} AAAAAAAA\n"));
    lines.fold(note.to_owned(), |note, line| note + &line)
}

#[test]
fn the_published_notes_verify() {
    for (key, note) in [(PETER, PETER_NOTE), (FOO, FOO_NOTE), (ALPHA, ALPHA_NOTE)] {
        let signed = open(note, &[vkey(FOO), vkey(PETER), vkey(ALPHA)]).unwrap();
        assert!(note.starts_with(signed.text()) && signed.text().ends_with('\n'));
        assert_eq!(signed.signatures().len(), 1);
        assert_eq!(signed.signatures()[0].name, *vkey(key).name());
    }
}

/// Ed25519 is deterministic: signing again gives the published bytes.
#[test]
fn signing_gives_the_published_note() {
    let text = PETER_NOTE.split_once("\n\n").unwrap().0.to_owned() + "\n";
    assert_eq!(sign(&text, &[&peter()]).unwrap(), PETER_NOTE);
}

#[test]
fn unknown_keys_are_ignored_also_under_a_known_name() {
    let note = ALPHA_NOTE.to_owned() + WITNESS_LINE;
    let signed = open(&note, &[vkey(ALPHA)]).unwrap();
    assert_eq!(signed.signatures().len(), 1);
    assert_eq!(UnverifiedNote::parse(&note).unwrap().claimed_signatures().len(), 2);

    let same_name = FOO_NOTE.to_owned() + "— example.com/foo AAAAAAAA\n";
    assert!(open(&same_name, &[vkey(FOO)]).is_ok());
}

#[test]
fn nothing_verified_is_refused() {
    assert_eq!(open(FOO_NOTE, &[vkey(PETER)]), Err(NoteError::Unsigned));
    assert_eq!(open(FOO_NOTE, &[]), Err(NoteError::Unsigned));
}

#[test]
fn a_known_key_that_fails_spoils_the_note_wherever_it_stands() {
    let signed = sign("text\n", &[&peter()]).unwrap();
    let line = FOO_NOTE.split_once("\n\n").unwrap().1;
    let note = signed.clone() + line;
    let keys = [vkey(PETER), vkey(FOO)];
    assert_eq!(open(&note, &keys[..1]).unwrap().signatures().len(), 1);
    assert!(
        matches!(open(&note, &keys), Err(NoteError::Invalid { name, .. }) if name.as_str() == "example.com/foo")
    );

    // A good line of the same key before or after the bad one does not help.
    let peter_line = PETER_NOTE.split_once("\n\n").unwrap().1;
    assert!(matches!(open(&(signed + peter_line), &keys), Err(NoteError::Invalid { .. })));
    assert!(matches!(open(&format!("text\n\n{peter_line}"), &keys), Err(NoteError::Invalid { .. })));
}

#[test]
fn a_short_signature_of_a_known_key_is_a_failing_one() {
    let note = "text\n\n— PeterNeumann x08gowE=\n";
    assert!(matches!(open(note, &[vkey(PETER)]), Err(NoteError::Invalid { .. })));
}

#[test]
fn each_key_counts_once() {
    let line = FOO_NOTE.split_once("\n\n").unwrap().1;
    assert_eq!(open(&(FOO_NOTE.to_owned() + line), &[vkey(FOO)]).unwrap().signatures().len(), 1);
    // The same key listed twice is one key, not two.
    assert!(open(FOO_NOTE, &[vkey(FOO), vkey(FOO)]).is_ok());
}

#[test]
fn a_hundred_signatures_are_read_and_no_more() {
    assert!(open(&with_strangers(FOO_NOTE, 15), &[vkey(FOO)]).is_ok());
    assert!(open(&with_strangers(FOO_NOTE, 99), &[vkey(FOO)]).is_ok());
    let error = UnverifiedNote::parse(with_strangers(FOO_NOTE, 100)).unwrap_err();
    assert_eq!(error, NoteError::Malformed("it has more than 100 signatures"));
}

#[test]
fn sixteen_keys_sign_and_verify() {
    let keys: Vec<SigningKey> =
        (0..16).map(|i| SigningKey::generate(Name::new(&format!("k{i}")).unwrap()).unwrap()).collect();
    let note = sign("text\n", &keys.iter().collect::<Vec<_>>()).unwrap();
    let known: Vec<VerifierKey> = keys.iter().map(|k| k.verifier_key().clone()).collect();
    assert_eq!(open(&note, &known).unwrap().signatures().len(), 16);
}

#[test]
fn the_last_empty_line_separates() {
    let text = "a\n\n— looks like a signature AAAAAAAA\n\nb\n";
    let note = sign(text, &[&peter()]).unwrap();
    assert_eq!(open(&note, &[vkey(PETER)]).unwrap().text(), text);
    let only_newlines = sign("\n\n\n", &[&peter()]).unwrap();
    assert_eq!(open(&only_newlines, &[vkey(PETER)]).unwrap().text(), "\n\n\n");
}

#[test]
fn what_is_not_a_note_is_refused() {
    let line = FOO_NOTE.split_once("\n\n").unwrap().1;
    let cases = [
        String::new(),
        "\n".to_owned(),
        "\n\n".to_owned(),
        "text\n\n".to_owned(),
        "text\n".to_owned(),
        line.to_owned(),
        format!("\n{line}"),
        format!("text\n{line}"),
        FOO_NOTE.trim_end().to_owned(),
        FOO_NOTE.replace('\n', "\r\n"),
        FOO_NOTE.replace("This", "This\t"),
        FOO_NOTE.replace("This", "This\0"),
        FOO_NOTE.replace("This", "This\x1b[2J"),
        FOO_NOTE.replace("— ", "- "),
        FOO_NOTE.replace("— ", "—  "),
        FOO_NOTE.replace("aQM=", "aQM"),
        FOO_NOTE.replace("aQM=", "aQM= "),
        FOO_NOTE.replace("aQM=", "aQN="),
        FOO_NOTE.replace("foo Uw", "fo+o Uw"),
        FOO_NOTE.replace("foo Uw", "fo\u{a0}o Uw"),
        format!("{FOO_NOTE}\n"),
        format!("{FOO_NOTE}— short AAAAAA==\n"),
        format!("{FOO_NOTE}— nothing \n"),
        format!("{FOO_NOTE}— nothing\n"),
        format!("{FOO_NOTE}comment\n"),
        format!("{}{FOO_NOTE}", "x".repeat(MAX_LEN)),
    ];
    for note in cases {
        let result = UnverifiedNote::parse(&note);
        assert!(matches!(result, Err(NoteError::Malformed(_))), "{:?}", note.get(..200).unwrap_or(&note));
    }
    assert!(matches!(UnverifiedNote::parse(b"a\xff\n\n"), Err(NoteError::Malformed("it is not UTF-8"))));
}

#[test]
fn what_could_not_be_opened_is_not_signed() {
    let key = peter();
    for text in ["", "no newline", "tab\t\n", "\x1b\n", "\r\n"] {
        assert!(matches!(sign(text, &[&key]), Err(NoteError::Malformed(_))), "{text:?}");
    }
    assert!(sign("text\n", &[]).is_err());
    assert!(sign("text\n", &vec![&key; 101]).is_err());
    assert!(sign(&("x".repeat(MAX_LEN) + "\n"), &[&key]).is_err());
}

/// Whatever single bit is flipped, a note with one signature opens no more.
#[test]
fn a_flipped_bit_is_refused() {
    for note in flipped(FOO_NOTE) {
        let opened = UnverifiedNote::parse(&note).and_then(|note| note.open(&[vkey(FOO)]));
        assert!(opened.is_err(), "{}", String::from_utf8_lossy(&note));
    }
}

/// In a line of a key that is not known, a flipped bit is ignored or refused, and the text stays what it was.
#[test]
fn a_flipped_bit_in_a_strangers_line_changes_nothing() {
    let mut ignored = 0;
    for line in flipped(WITNESS_LINE) {
        let note = [ALPHA_NOTE.as_bytes(), &line].concat();
        if let Ok(signed) = UnverifiedNote::parse(&note).and_then(|note| note.open(&[vkey(ALPHA)])) {
            assert!(ALPHA_NOTE.starts_with(signed.text()));
            assert_eq!(signed.signatures().len(), 1);
            ignored += 1;
        }
    }
    assert!(ignored > 100);
}

proptest! {
    #[test]
    fn every_text_that_is_signed_opens_again(text in "[^\\x00-\\x09\\x0b-\\x1f]{0,200}") {
        let text = text + "\n";
        let note = sign(&text, &[&peter()]).unwrap();
        let signed = open(&note, &[vkey(FOO), vkey(PETER)]).unwrap();
        prop_assert_eq!(signed.text(), text);
    }

    #[test]
    fn any_bytes_are_refused_without_panic(bytes: Vec<u8>) {
        prop_assert!(UnverifiedNote::parse(&bytes).and_then(|note| note.open(&[vkey(FOO)])).is_err());
    }

    #[test]
    fn any_text_near_a_note_is_refused_without_panic(
        text in "[a\\n]{0,4}\\n{0,3}(— ?[a-z+]{0,3} ?[A-Za-z0-9+/]{0,12}={0,2}\\n{0,2}){0,4}"
    ) {
        prop_assert!(open(&text, &[vkey(FOO)]).is_err());
    }
}
