//! Lines of `hash --check`: a name that is read is written as it can be read again.
#![no_main]

#[path = "../../crates/waxseal/src/commands/hash/list.rs"]
mod list;

use waxseal_model::{Algorithm, digest};

libfuzzer_sys::fuzz_target!(|line: &[u8]| {
    for default in [Algorithm::Sha256, Algorithm::Blake3] {
        let Some(listed) = list::parse_line(line, default) else { continue };
        let (mark, name) = list::gnu_name(&listed.name);
        let sum = digest::hex(&listed.digest);
        let again = [mark.as_bytes(), sum.as_bytes(), b"  ", &name].concat();
        let default =
            if listed.algorithm == Algorithm::Blake3 { Algorithm::Blake3 } else { Algorithm::Sha256 };
        assert_eq!(list::parse_line(&again, default), Some(listed));
    }
});
