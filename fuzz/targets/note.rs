//! Signed notes: nothing that was not signed by the known key is opened.
#![no_main]

use std::sync::LazyLock;
use waxseal_ledger::{KeyFile, SigningKey, UnverifiedNote, VerifierKey};

static KEY: LazyLock<VerifierKey> = LazyLock::new(|| key().verifier_key().clone());

fn key() -> SigningKey {
    KeyFile::parse(include_str!("../plain.key"))
        .and_then(|file| file.unlock(None))
        .expect("the key of the tests")
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(note) = UnverifiedNote::parse(bytes) else { return };
    let _ = (note.claimed_text().len(), note.claimed_signatures().len());
    let text = note.claimed_text().to_owned();
    if let Ok(opened) = note.open(&[KEY.clone()]) {
        assert_eq!(opened.text(), text);
        assert!(!opened.signatures().is_empty());
    }
});
