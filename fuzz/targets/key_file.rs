//! Key files. One with a passphrase is only read: deriving its key would take the time of thousands of others.
#![no_main]

use waxseal_ledger::KeyFile;

libfuzzer_sys::fuzz_target!(|text: &str| {
    let Ok(file) = KeyFile::parse(text) else { return };
    let _ = file.verifier_key();
    if file.is_protected() {
        assert!(file.unlock(None).is_err());
    } else if let Ok(key) = file.unlock(None) {
        assert_eq!(key.verifier_key(), file.verifier_key());
    }
});
