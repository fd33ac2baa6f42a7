use super::*;
use crate::text::flipped;
use crate::vkey::Name;
use proptest::prelude::*;

/// The seed 00..1f under the passphrase "correct horse", made by an independent program.
const VECTOR: &str = "waxseal-sealing-key-v1
vkey waxseal.example/host/alpha+df59cc18+AQOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4
kdf argon2id m=64 t=2 p=2
salt QEFCQ0RFRkdISUpLTE1OTw==
cipher xchacha20-poly1305
nonce YGFiY2RlZmdoaWprbG1ub3BxcnN0dXZ3
key XYhqej6u/gmEmxMESW+iJ6AHe0MHeCXoeMp8sSeMXw81Fo+GJPNHNwi0bUHFqd+b
sum 396f4f21e765d82649e5e2d805268ad371134401cd976d51113b50f49373c8cd
";
const PLAIN: &str =
    "PRIVATE+KEY+waxseal.example/host/alpha+df59cc18+AQABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f\n";
const PASSPHRASE: &[u8] = b"correct horse";

fn cheap() -> KdfParams {
    KdfParams::new(8, 1, 1).unwrap()
}

/// The file with a sum that fits, as somebody who changes it on purpose would write it.
fn with_fitting_sum(text: &str) -> String {
    let body = text.rsplit_once("sum ").unwrap().0;
    format!("{body}sum {}\n", hex(&sha256(&[body.as_bytes()])))
}

#[test]
fn the_vector_of_an_independent_program_opens_and_is_written_alike() {
    let file = KeyFile::parse(VECTOR).unwrap();
    assert!(file.is_protected());
    let key = file.unlock(Some(PASSPHRASE)).unwrap();
    assert_eq!(key.to_plain_text().as_str(), PLAIN);
    assert_eq!(file.verifier_key(), key.verifier_key());

    let (salt, nonce) = (std::array::from_fn(|i| 0x40 + i as u8), std::array::from_fn(|i| 0x60 + i as u8));
    let params = KdfParams::new(64, 2, 2).unwrap();
    assert_eq!(protect(&key, PASSPHRASE, params, salt, nonce).unwrap(), VECTOR);
}

#[test]
fn an_unprotected_file_needs_no_passphrase() {
    let file = KeyFile::parse(PLAIN).unwrap();
    assert!(!file.is_protected());
    let key = file.unlock(None).unwrap();
    assert_eq!(file.verifier_key(), key.verifier_key());
    assert!(file.unlock(Some(b"ignored")).is_ok());
}

#[test]
fn a_new_protected_file_opens_with_its_passphrase_only() {
    let key = SigningKey::generate(Name::for_host("a")).unwrap();
    let text = key.to_protected_text(PASSPHRASE, cheap()).unwrap();
    assert_ne!(text, key.to_protected_text(PASSPHRASE, cheap()).unwrap(), "salt and nonce are fresh");
    let plain = key.to_plain_text();
    assert!(!text.contains(plain.trim_end().splitn(5, '+').nth(4).unwrap()));

    let file = KeyFile::parse(&text).unwrap();
    assert_eq!(file.unlock(Some(PASSPHRASE)).unwrap().to_plain_text(), plain);
    assert_eq!(file.unlock(None).unwrap_err(), KeyError::PassphraseMissing);
    assert_eq!(file.unlock(Some(b"")).unwrap_err(), KeyError::PassphraseMissing);
    assert_eq!(file.unlock(Some(b"Correct horse")).unwrap_err(), KeyError::PassphraseWrong);
    assert_eq!(key.to_protected_text(b"", cheap()).unwrap_err(), KeyError::PassphraseEmpty);
}

#[test]
fn the_default_parameters_are_written_and_read() {
    let key = KeyFile::parse(PLAIN).unwrap().unlock(None).unwrap();
    let text = key.to_protected_text(PASSPHRASE, KdfParams::default()).unwrap();
    assert!(text.contains("\nkdf argon2id m=65536 t=3 p=1\n"));
    assert!(KeyFile::parse(&text).unwrap().unlock(Some(PASSPHRASE)).is_ok());
}

#[test]
fn a_file_cannot_keep_the_machine_busy() {
    let with =
        |kdf: &str| KeyFile::parse(&with_fitting_sum(&VECTOR.replace("m=64 t=2 p=2", kdf))).map(|_| ());
    assert_eq!(with("m=1048576 t=16 p=16"), Ok(()));
    for excessive in
        ["m=1048577 t=3 p=1", "m=64 t=17 p=2", "m=1024 t=1 p=17", "m=4294967295 t=4294967295 p=1"]
    {
        assert!(matches!(with(excessive), Err(KeyError::Excessive(_))), "{excessive}");
    }
    for bad in
        ["m=15 t=1 p=2", "m=64 t=0 p=1", "m=64 t=1 p=0", "m=064 t=1 p=1", "m=99999999999 t=1 p=1", "m=64 t=1"]
    {
        assert!(matches!(with(bad), Err(KeyError::Damaged(_))), "{bad}");
    }
}

#[test]
fn damage_is_told_from_other_kinds_of_file() {
    let parse = |text: &str| KeyFile::parse(text).map(|_| ()).unwrap_err();
    assert_eq!(parse(""), KeyError::NotAKey);
    assert_eq!(parse("-----BEGIN OPENSSH PRIVATE KEY-----\n"), KeyError::NotAKey);
    assert!(matches!(parse(&VECTOR.replace("key-v1", "key-v2")), KeyError::Unsupported(_)));
    let other_kdf = with_fitting_sum(&VECTOR.replace("argon2id", "scrypt"));
    assert!(matches!(parse(&other_kdf), KeyError::Unsupported(_)));
    let other_cipher = with_fitting_sum(&VECTOR.replace("xchacha20-poly1305", "rot13"));
    assert!(matches!(parse(&other_cipher), KeyError::Unsupported(_)));
    for cut in [VECTOR.len() - 2, VECTOR.len() / 2, 30] {
        assert!(matches!(parse(&VECTOR[..cut]), KeyError::Damaged(_)), "{cut}");
    }
    assert!(KeyFile::parse(VECTOR.trim_end()).is_ok(), "only the last line ending may be missing");
    let doubled = with_fitting_sum(&VECTOR.replace("cipher", "cipher xchacha20-poly1305\ncipher"));
    assert!(matches!(parse(&doubled), KeyError::Damaged(_)));
}

#[test]
fn a_header_changed_on_purpose_does_not_open() {
    let other = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
    let vkey = "waxseal.example/host/alpha+df59cc18+AQOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4";
    for changed in [
        VECTOR.replace(vkey, other),
        VECTOR.replace("t=2", "t=1"),
        VECTOR.replace("QEFC", "QEFD"),
        VECTOR.replace("YGFi", "YGFj"),
        VECTOR.replace("key XYhq", "key XYhr"),
    ] {
        assert_ne!(changed, VECTOR);
        let file = KeyFile::parse(&with_fitting_sum(&changed)).unwrap();
        assert_eq!(file.unlock(Some(PASSPHRASE)).unwrap_err(), KeyError::PassphraseWrong);
    }
}

/// Even with the passphrase: a file whose secret is not the one that its public side names.
#[test]
fn a_secret_of_another_key_does_not_open() {
    let key = KeyFile::parse(PLAIN).unwrap().unlock(None).unwrap();
    let other = SigningKey::generate(Name::for_host("b")).unwrap();
    let (salt, nonce) = ([1; 16], [2; 24]);
    let mut text = header(other.verifier_key(), cheap(), &salt, &nonce);
    let seed = key.seed();
    let payload = Payload { msg: seed.as_slice(), aad: text.as_bytes() };
    let sealed = cipher(PASSPHRASE, cheap(), &salt).unwrap().encrypt(&nonce.into(), payload).unwrap();
    text.push_str(&format!("key {}\nsum \n", base64(&sealed)));
    let file = KeyFile::parse(&with_fitting_sum(&text)).unwrap();
    assert!(matches!(file.unlock(Some(PASSPHRASE)), Err(KeyError::Damaged(_))));
}

#[test]
fn nothing_secret_is_printed() {
    let file = KeyFile::parse(PLAIN).unwrap();
    let printed = format!("{file:?}");
    assert!(printed.contains("df59cc18"));
    assert!(!printed.contains("AQABAgMEBQYHCAkK") && !printed.contains("0, 1, 2, 3, 4"));
}

#[test]
fn a_flipped_bit_is_refused() {
    for text in flipped(VECTOR.trim_end()).filter_map(|text| String::from_utf8(text).ok()) {
        assert!(KeyFile::parse(&text).is_err(), "{text}");
    }
}

/// As somebody would do it who wants the program to use other parameters or another key.
#[test]
fn a_flipped_bit_with_a_fitting_sum_does_not_open() {
    let mut parsed = 0;
    for text in flipped(&VECTOR[..VECTOR.len() - 69]).filter_map(|text| String::from_utf8(text).ok()) {
        if let Ok(file) = KeyFile::parse(&with_fitting_sum(&(text + "sum "))) {
            parsed += 1;
            assert!(file.unlock(Some(PASSPHRASE)).is_err(), "{file:?}");
        }
    }
    assert!(parsed > 100, "{parsed}");
}

proptest! {
    #[test]
    fn any_text_is_refused_without_panic(text: String) {
        prop_assert!(KeyFile::parse(&text).is_err());
        let framed = format!("waxseal-sealing-key-v1\n{text}\nsum {text}");
        prop_assert!(KeyFile::parse(&framed).is_err());
        let marked = format!("PRIVATE+KEY+{text}");
        prop_assert!(KeyFile::parse(&marked).is_err());
    }

    #[test]
    fn any_fields_are_read_or_refused_without_panic(field in 1..7usize, value in "[ -~]{0,60}|m=[0-9]{1,10} t=[0-9]{1,3} p=[0-9]{1,3}") {
        let mut lines: Vec<String> = VECTOR.lines().map(str::to_owned).collect();
        let word = lines[field].split_once(' ').unwrap().0.to_owned();
        lines[field] = format!("{word} {value}");
        // Parsing only: unlocking with these parameters may take a while.
        let _ = KeyFile::parse(&with_fitting_sum(&(lines.join("\n") + "\n")));
    }
}
