//! Verifier key lines: there is one way to write each.
#![no_main]

use waxseal_ledger::VerifierKey;

libfuzzer_sys::fuzz_target!(|line: &str| {
    if let Ok(key) = VerifierKey::parse(line) {
        assert_eq!(VerifierKey::parse(&key.to_string()).ok(), Some(key));
    }
});
