//! The text of a seal, as if a key that is known had signed it.
#![no_main]

use std::sync::LazyLock;
use waxseal_ledger::{KeyFile, Seal, SigningKey, note};

static KEY: LazyLock<SigningKey> = LazyLock::new(|| {
    KeyFile::parse(include_str!("../plain.key"))
        .and_then(|file| file.unlock(None))
        .expect("the key of the tests")
});

libfuzzer_sys::fuzz_target!(|text: &str| {
    let Ok(note) = note::sign(text, &[&KEY]) else { return };
    let keys = [KEY.verifier_key().clone()];
    if let Ok(seal) = Seal::verify(&note, &keys) {
        // There is one way to write a seal.
        assert_eq!(seal.sign(&[&KEY]), note);
    }
});
