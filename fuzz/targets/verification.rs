//! Verification files and checkpoints: there is one way to write each, and none is believed that was not signed.
#![no_main]

use std::sync::LazyLock;
use waxseal_ledger::{Checkpoint, KeyFile, SigningKey, UnverifiedNote, VerificationFile, note};

static KEY: LazyLock<SigningKey> = LazyLock::new(|| {
    KeyFile::parse(include_str!("../plain.key"))
        .and_then(|file| file.unlock(None))
        .expect("the key of the tests")
});

libfuzzer_sys::fuzz_target!(|text: &str| {
    if let Ok(file) = VerificationFile::parse(text) {
        assert_eq!(file.to_string(), text);
    }
    if let Ok(note) = UnverifiedNote::parse(text) {
        let _ = Checkpoint::claimed(&note);
    }
    let Ok(note) = note::sign(text, &[&KEY]) else { return };
    if let Ok(checkpoint) = Checkpoint::open(&note, &[KEY.verifier_key()]) {
        assert_eq!(checkpoint.text(), text);
    }
});
