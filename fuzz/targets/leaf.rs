//! Leaves of the log: the encoding is canonical, so what can be read is what would be written.
#![no_main]

use waxseal_ledger::Leaf;
use waxseal_model::json;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(leaf) = Leaf::parse(bytes) {
        assert_eq!(leaf.to_bytes(), bytes);
        json::line(&leaf.to_json(0));
    }
});
