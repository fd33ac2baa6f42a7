//! What an SSH agent answers: no answer but the right one gives a signature.
#![no_main]

use std::sync::LazyLock;
use waxseal_ledger::{KeyFile, SigningKey, agent};

static KEY: LazyLock<SigningKey> = LazyLock::new(|| {
    KeyFile::parse(include_str!("../plain.key"))
        .and_then(|file| file.unlock(None))
        .expect("the key of the tests")
});

libfuzzer_sys::fuzz_target!(|answer: &[u8]| {
    let key = KEY.verifier_key();
    for one in agent::identities(answer).unwrap_or_default() {
        let _ = one.verifier_key(key.name().clone());
    }
    if let Ok(signature) = agent::signature(answer, key, b"message") {
        assert_eq!(signature, KEY.sign(b"message"));
    }
});
